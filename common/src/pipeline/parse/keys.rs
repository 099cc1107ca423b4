//! Every key of the document: what it is called, what it means, how it is read. [`super::super::schema`] is made from the
//! same tables, so neither knows a key the other does not.
//!
//! A new key is one row here, one reader (in [`super::values`], if it needs its own) and one field of what it is read into.

use std::collections::BTreeMap;

use super::fields::{Key, Located, Template};
use super::values;
use crate::pipeline::{Action, ExitPolicy, Jitter, Location, Param, ParamType, schema};
use crate::{Millis, PipelineName, QueueName, Reason, TaskId};

const LONG: i64 = u32::MAX as i64;
const NO_LIMIT: &str = "for no limit, leave the key out";

/// The document as it is written. What is `None` is not written, or wrong.
#[derive(Default)]
pub(in crate::pipeline) struct Top {
    pub(super) name: Option<PipelineName>,
    pub(super) description: String,
    pub(super) owner: String,
    pub(super) tags: Vec<String>,
    pub(super) params: Params,
    pub(super) max_active_runs: Option<u32>,
    pub(super) run_timeout: Option<Millis>,
    pub(super) env: BTreeMap<String, Template>,
    pub(super) workdir: Option<Template>,
    pub(super) defaults: RawTask,
    pub(super) tasks: BTreeMap<TaskId, (Location, RawTask)>,
}

#[derive(Default)]
pub(in crate::pipeline) struct Params {
    /// By name; `None`: something in it is wrong.
    pub(super) declared: BTreeMap<String, Option<Param>>,
    /// Something is wrong with the whole, so that nothing can be said of a name that is missing.
    pub(super) unclear: bool,
}

/// A task as it is written, or the defaults.
#[derive(Default)]
pub(in crate::pipeline) struct RawTask {
    pub(super) description: String,
    pub(super) depends_on: BTreeMap<TaskId, Location>,
    /// There are more upstreams, which could not be read.
    pub(super) depends_on_unclear: bool,
    pub(super) action: Option<RawAction>,
    pub(super) retries: RawRetries,
    pub(super) timeout: Option<Millis>,
    pub(super) queue_timeout: Option<Millis>,
    pub(super) grace: Option<Millis>,
    pub(super) max_lost: Option<u32>,
    pub(super) queue: Option<QueueName>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) priority: Option<i32>,
    pub(super) env: BTreeMap<String, Template>,
    pub(super) workdir: Option<Template>,
}

pub(in crate::pipeline) enum RawAction {
    Run(Vec<Template>),
    Other(Action),
}

#[derive(Default)]
pub(in crate::pipeline) struct RawRetries {
    pub(super) max: Option<u32>,
    pub(super) delay: Option<Located<Millis>>,
    pub(super) backoff: Option<f64>,
    pub(super) max_delay: Option<Located<Millis>>,
    pub(super) jitter: Option<Jitter>,
    pub(super) on: Option<ExitPolicy>,
    pub(super) not_on: Option<ExitPolicy>,
}

#[derive(Default)]
pub(in crate::pipeline) struct RawParam {
    pub(super) kind: Option<ParamType>,
    pub(super) kind_unclear: bool,
    pub(super) default: Option<Located<values::Scalar>>,
    pub(super) values: Vec<Located<values::Scalar>>,
    pub(super) description: String,
}

/// The document.
pub(in crate::pipeline) const TOP: &[Key<Top>] = &[
    Key::new("pipeline", "Its name: `name` or `namespace/name`.", schema::pipeline_name, |r, n, top| top.name = r.name(n)),
    Key::new("description", "What it is for.", schema::text, |r, n, top| top.description = r.string(n).unwrap_or_default()),
    Key::new("owner", "Whom to ask.", schema::text, |r, n, top| top.owner = r.string(n).unwrap_or_default()),
    Key::new("tags", "For finding it.", schema::texts, |r, n, top| {
        top.tags = r.items(n, "write [one, two], or leave the key out").iter().filter_map(|item| r.string(item)).collect();
    }),
    Key::new("params", "What a run may be given, by name.", schema::params, |r, n, top| values::params(r, n, &mut top.params)),
    Key::new("max_active_runs", "Runs of it that may run at once; more are queued.", schema::positive, |r, n, top| {
        top.max_active_runs = r.integer(n, 1, LONG);
    }),
    Key::new("run_timeout", "Longest time from a run's start to its end.", schema::duration, |r, n, top| {
        top.run_timeout = r.duration(n, Some(NO_LIMIT));
    }),
    Key::new("workdir", "Working directory of all tasks; a template.", schema::text, |r, n, top| top.workdir = r.template(n)),
    Key::new("env", "Variables for the programs of all tasks; values are templates.", schema::env, |r, n, top| {
        values::env(r, n, &mut top.env);
    }),
    Key::new("defaults", "What holds for every task that does not say otherwise, key by key.", schema::defaults, |r, n, top| {
        r.mapping(n, &[SETTINGS], &mut top.defaults);
    }),
    Key::new("tasks", "The tasks, by id.", schema::tasks, |r, n, top| values::tasks(r, n, &mut top.tasks)),
    Key::later("schedule"),
    Key::later("triggers"),
    Key::later("timezone"),
    Key::later("deadline"),
    Key::later("notify"),
    Key::later("depends_on_past"),
    Key::later("start_date"),
    Key::later("end_date"),
    Key::later("max_active_tasks"),
    Key::later("alert_queued_after"),
    Key::later("baseline"),
    Key::later("pool"),
];

/// What a task says of itself only.
pub(in crate::pipeline) const TASK: &[Key<RawTask>] = &[
    Key::new("description", "What it is for.", schema::text, |r, n, task| task.description = r.string(n).unwrap_or_default()),
    Key::new("depends_on", "Tasks that must have succeeded before it starts.", schema::depends_on, values::depends_on),
    Key::new("run", "A program with its arguments, each a template; no shell.", schema::argv, |r, n, task| {
        task.action = values::argv(r, n).map(RawAction::Run);
    }),
    Key::new("shell", "A script for `sh -eu`; never a template.", schema::text, |r, n, task| {
        task.action = r.script(n).map(|script| RawAction::Other(Action::Shell(script)));
    }),
    Key::new("noop", "Does nothing: a join.", schema::only_true, |r, n, task| {
        task.action = values::noop(r, n).then_some(RawAction::Other(Action::Noop));
    }),
    Key::later("http"),
    Key::later("sql"),
    Key::later("wait"),
    Key::later("pipeline"),
    Key::later("approve"),
    Key::later("container"),
    Key::later("if"),
    Key::later("branch"),
    Key::later("trigger_rule"),
    Key::later("for_each"),
    Key::later("max_parallel"),
    Key::later("max_failed"),
    Key::later("group"),
    Key::later("setup"),
    Key::later("teardown"),
];

/// What a task says, or the defaults say for it.
pub(in crate::pipeline) const SETTINGS: &[Key<RawTask>] = &[
    Key::new("retries", "How often and when a failed attempt is tried again; a number is `max`.", schema::retries, |r, n, task| {
        values::retries(r, n, &mut task.retries);
    }),
    Key::new("timeout", "Longest time one attempt may run.", schema::duration, |r, n, task| {
        task.timeout = r.duration(n, Some(NO_LIMIT));
    }),
    Key::new("queue_timeout", "Longest time it may wait for a slot.", schema::duration, |r, n, task| {
        task.queue_timeout = r.duration(n, Some(NO_LIMIT));
    }),
    Key::new("grace", "Time between SIGTERM and SIGKILL.", schema::duration, |r, n, task| task.grace = r.duration(n, None)),
    Key::new("max_lost", "Attempts that may be lost with their worker.", schema::count, |r, n, task| {
        task.max_lost = r.integer(n, 0, LONG);
    }),
    Key::new("queue", "Which workers may run it.", schema::queue_name, |r, n, task| task.queue = r.name(n)),
    Key::new("labels", "Labels a worker must have.", schema::labels, |r, n, task| values::labels(r, n, &mut task.labels)),
    Key::new("priority", "Higher starts first within a queue.", schema::whole, |r, n, task| {
        task.priority = r.integer(n, i64::from(i32::MIN), i64::from(i32::MAX));
    }),
    Key::new("env", "Variables for its program; values are templates.", schema::env, |r, n, task| values::env(r, n, &mut task.env)),
    Key::new("workdir", "Its working directory; a template.", schema::text, |r, n, task| task.workdir = r.template(n)),
    Key::later("pool"),
    Key::later("pool_slots"),
    Key::later("expect"),
    Key::later("allow_failure"),
    Key::later("baseline"),
];

/// `retries`
pub(in crate::pipeline) const RETRIES: &[Key<RawRetries>] = &[
    Key::new("max", "Further attempts after the first.", schema::count, |r, n, raw| raw.max = r.integer(n, 0, LONG)),
    Key::new("delay", "Before the first of them.", schema::duration, |r, n, raw| {
        raw.delay = r.duration(n, None).map(|value| Located { at: n.at, value });
    }),
    Key::new("backoff", "Each later delay is the last times this.", schema::backoff, |r, n, raw| raw.backoff = values::backoff(r, n)),
    Key::new("max_delay", "No delay is longer.", schema::duration, |r, n, raw| {
        raw.max_delay = r.duration(n, None).map(|value| Located { at: n.at, value });
    }),
    Key::new("jitter", "Whether delays are drawn at random: `full` is uniform from zero.", schema::jitter, |r, n, raw| {
        raw.jitter = r.one_of(n, JITTER);
    }),
    Key::new("on", "Only these failures are retried.", schema::policy, |r, n, raw| raw.on = values::policy(r, n)),
    Key::new("not_on", "These failures are never retried.", schema::policy, |r, n, raw| raw.not_on = values::policy(r, n)),
];

/// `retries.on`, `retries.not_on`
pub(in crate::pipeline) const POLICY: &[Key<ExitPolicy>] = &[
    Key::new("reasons", "Why an attempt failed.", schema::reasons, |r, n, raw| raw.reasons = values::reasons(r, n)),
    Key::new("exit_codes", "What its program ended with.", schema::exit_codes, |r, n, raw| raw.exit_codes = values::exit_codes(r, n)),
];

/// One of `params`
pub(in crate::pipeline) const PARAM: &[Key<RawParam>] = &[
    Key::new("type", "Its type.", schema::param_type, |r, n, raw| {
        raw.kind = r.one_of(n, PARAM_TYPES);
        raw.kind_unclear = raw.kind.is_none();
    }),
    Key::new("default", "Used when a run gives none; without it a run must.", schema::scalar, |r, n, raw| {
        raw.default = values::scalar(r, n);
    }),
    Key::new("enum", "The only values allowed.", schema::scalars, |r, n, raw| {
        raw.values = r.items(n, "write the values, or leave the key out").iter().filter_map(|v| values::scalar(r, v)).collect();
    }),
    Key::new("description", "What it is for.", schema::text, |r, n, raw| raw.description = r.string(n).unwrap_or_default()),
];

/// A value of `env` that is not a text.
pub(super) const ENV_VALUE: &[Key<()>] = &[Key::later("secret")];

/// The keys of which a task has exactly one.
pub(in crate::pipeline) const ACTIONS: [&str; 3] = ["run", "shell", "noop"];
/// Actions of later versions.
pub(super) const LATER_ACTIONS: [&str; 6] = ["http", "sql", "wait", "pipeline", "approve", "container"];

pub(in crate::pipeline) const JITTER: &[(&str, Jitter)] = &[("none", Jitter::None), ("full", Jitter::Full)];

pub(in crate::pipeline) const PARAM_TYPES: &[(&str, ParamType)] =
    &[("string", ParamType::String), ("int", ParamType::Int), ("number", ParamType::Number), ("bool", ParamType::Bool)];

/// The reasons of an attempt that another may follow: what `retries` can choose from.
pub(in crate::pipeline) fn retryable() -> impl Iterator<Item = Reason> {
    let of_runs = [Reason::TaskFailed, Reason::UpstreamFailed, Reason::Quarantined];
    Reason::ALL.iter().copied().filter(move |r| r.is_retryable() && !of_runs.contains(r))
}

/// What other tools call ours.
const SYNONYMS: &[(&str, &str)] = &[
    ("args", "run"),
    ("bash", "shell"),
    ("cmd", "run"),
    ("command", "run"),
    ("concurrency", "max_active_runs"),
    ("dag_id", "pipeline"),
    ("default_args", "defaults"),
    ("dependencies", "depends_on"),
    ("environment", "env"),
    ("execution_timeout", "timeout"),
    ("jobs", "tasks"),
    ("name", "pipeline"),
    ("needs", "depends_on"),
    ("parameters", "params"),
    ("retry", "retries"),
    ("script", "shell"),
    ("steps", "tasks"),
    ("upstream", "depends_on"),
    ("working_dir", "workdir"),
];

/// A hint for a key that is not known where it stands, but is elsewhere or under another name.
pub(super) fn elsewhere(found: &str, is_known: &dyn Fn(&str) -> bool) -> Option<String> {
    if let Some((_, ours)) = SYNONYMS.iter().find(|(theirs, ours)| *theirs == found && is_known(ours)) {
        return Some(format!("did you mean `{ours}`?"));
    }
    fn has<T>(table: &[Key<T>], found: &str) -> Option<bool> {
        table.iter().find(|key| key.name == found).map(Key::is_supported)
    }
    let places = [
        (has(SETTINGS, found), "a task or in `defaults`"),
        (has(TASK, found), "a task"),
        (has(RETRIES, found), "`retries`"),
        (has(TOP, found), "the document's top level"),
    ];
    places.into_iter().find_map(|(supported, place)| match supported? {
        true => Some(format!("`{found}` belongs in {place}")),
        false => Some(format!("`{found}` belongs in {place}, and is not supported by this version")),
    })
}
