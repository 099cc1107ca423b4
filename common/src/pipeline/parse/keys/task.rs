//! The keys of a task and of the defaults.

use std::collections::BTreeMap;

use super::super::fields::{Key, Located, Template, Uses};
use super::super::values;
use super::{LONG, NO_LIMIT, RawExpect, RawFlow, RawRetries};
use crate::pipeline::{Action, schema};
use crate::{Millis, PoolName, QueueName};

/// A task as it is written, or the defaults.
#[derive(Default)]
pub(in crate::pipeline) struct RawTask {
    pub(in super::super) description: String,
    pub(in super::super) flow: RawFlow,
    /// `None`: something in it is wrong.
    pub(in super::super) action: Option<Action>,
    /// What the templates of its action and its condition use.
    pub(in super::super) uses: Vec<Uses>,
    pub(in super::super) retries: RawRetries,
    pub(in super::super) timeout: Option<Millis>,
    pub(in super::super) queue_timeout: Option<Millis>,
    pub(in super::super) grace: Option<Millis>,
    pub(in super::super) max_lost: Option<u32>,
    pub(in super::super) allow_failure: Option<bool>,
    pub(in super::super) queue: Option<QueueName>,
    pub(in super::super) labels: BTreeMap<String, String>,
    pub(in super::super) pool: Option<PoolName>,
    /// It has a pool, whose name is wrong.
    pub(in super::super) pool_unclear: bool,
    pub(in super::super) pool_slots: Option<Located<u32>>,
    pub(in super::super) priority: Option<i32>,
    pub(in super::super) expect: RawExpect,
    pub(in super::super) env: BTreeMap<String, RawSetting>,
    pub(in super::super) workdir: Option<Template>,
}

/// A value that is a template or names a secret.
#[derive(Debug, Clone)]
pub(in crate::pipeline) enum RawSetting {
    Template(Template),
    Secret(String),
}

/// All keys of a task.
pub(in crate::pipeline) const TASKS: &[&[Key<RawTask>]] = &[TASK, ACTIONS, FLOW, SETTINGS];

/// What a task is.
pub(in crate::pipeline) const TASK: &[Key<RawTask>] =
    &[Key::new("description", "What it is for.", schema::text, |r, n, task| task.description = r.string(n).unwrap_or_default())];

/// What a task does: it has one of these, or does nothing.
pub(in crate::pipeline) const ACTIONS: &[Key<RawTask>] = &[
    Key::new("run", "A program with its arguments, each a template; no shell.", schema::argv, |r, n, task| {
        task.action = values::argv(r, n).map(Action::Run);
    }),
    Key::new("shell", "A script for `sh -eu`; never a template.", schema::text, |r, n, task| {
        task.action = values::script(r, n).map(Action::Shell);
    }),
    Key::new("http", "One request; a text is its `url`.", schema::http, |r, n, task| {
        task.action = values::http(r, n).map(Action::Http);
    }),
    Key::new("sql", "Statements on a named connection.", schema::sql, |r, n, task| task.action = values::sql(r, n).map(Action::Sql)),
    Key::new("wait", "Waits for a file, a request's success, a row or a time.", schema::wait, |r, n, task| {
        task.action = values::wait(r, n).map(Action::Wait);
    }),
    Key::new("pipeline", "Starts another pipeline and waits for it; a text is its `name`.", schema::child, |r, n, task| {
        task.action = values::child(r, n).map(Action::Pipeline);
    }),
    Key::new("approve", "Waits for a person; a text is the `message`.", schema::approve, |r, n, task| {
        task.action = values::approve(r, n).map(Action::Approve);
    }),
    Key::new("container", "An image; a text is `image`.", schema::container, |r, n, task| {
        task.action = values::container(r, n).map(Action::Container);
    }),
    Key::new("noop", "Does nothing: a join.", schema::only_true, |r, n, task| {
        task.action = values::noop(r, n).then_some(Action::Noop);
    }),
];

/// When and how often a task runs.
pub(in crate::pipeline) const FLOW: &[Key<RawTask>] = &[
    Key::new(
        "depends_on",
        "Tasks or groups that must end before it starts; `task[*]` pairs instances.",
        schema::depends_on,
        |r, n, task| {
            values::depends_on(r, n, &mut task.flow);
        },
    ),
    Key::new("trigger_rule", "When it may start, read from how its upstreams ended.", schema::trigger_rule, |r, n, task| {
        task.flow.trigger_rule = values::trigger_rule(r, n);
    }),
    Key::new("if", "An expression; where it is false, the task is skipped.", schema::expression, |r, n, task| {
        task.flow.condition = r.expression(n);
    }),
    Key::new("branch", "Its output `branch` picks the direct downstreams that go on.", schema::flag, |r, n, task| {
        task.flow.branch = r.flag(n).filter(|on| *on).map(|_| n.at);
    }),
    Key::new("for_each", "One instance for each item.", schema::for_each, |r, n, task| {
        task.flow.for_each = Some(Located { at: n.at, value: values::for_each(r, n) });
    }),
    Key::new("max_parallel", "Instances of it that may run at once.", schema::positive, |r, n, task| {
        task.flow.max_parallel = r.integer(n, 1, LONG).map(|value| Located { at: n.at, value });
    }),
    Key::new("max_failed", "Instances of it that may fail: a number, or a part such as 1%.", schema::max_failed, |r, n, task| {
        task.flow.max_failed = values::max_failed(r, n).map(|value| Located { at: n.at, value });
    }),
    Key::new("group", "For display, and as a dependency.", schema::identifier, |r, n, task| {
        task.flow.group = r.name(n).map(|value| Located { at: n.at, value });
    }),
    Key::new("teardown", "It cleans up: it runs whatever happened.", schema::flag, |r, n, task| {
        task.flow.teardown = r.flag(n).filter(|on| *on).map(|_| n.at);
    }),
    Key::new("setup", "What it cleans up after: it runs only if that succeeded.", schema::identifier, |r, n, task| {
        task.flow.setup = r.name(n).map(|value| Located { at: n.at, value });
    }),
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
    Key::new("allow_failure", "Its failure reads as success.", schema::flag, |r, n, task| task.allow_failure = r.flag(n)),
    Key::new("queue", "Which workers may run it.", schema::dotted, |r, n, task| task.queue = r.name(n)),
    Key::new("labels", "Labels a worker must have.", schema::labels, |r, n, task| values::labels(r, n, &mut task.labels)),
    Key::new("pool", "A cluster-wide count that it takes slots of while it runs.", schema::dotted, |r, n, task| {
        task.pool = r.name(n);
        task.pool_unclear = task.pool.is_none();
    }),
    Key::new("pool_slots", "How many slots of the pool.", schema::positive, |r, n, task| {
        task.pool_slots = r.integer(n, 1, LONG).map(|value| Located { at: n.at, value });
    }),
    Key::new("priority", "Higher starts first within a queue.", schema::whole, |r, n, task| {
        task.priority = r.integer(n, i64::from(i32::MIN), i64::from(i32::MAX));
    }),
    Key::new("expect", "What is expected of its records, judged at its end.", schema::expect, |r, n, task| {
        values::expect(r, n, &mut task.expect);
    }),
    Key::new("env", "Variables for its program; values are templates or secrets.", schema::env, |r, n, task| {
        values::env(r, n, &mut task.env);
    }),
    Key::new("workdir", "Its working directory; a template.", schema::text, |r, n, task| task.workdir = r.template(n)),
    Key::later("baseline"),
];

/// A value of `env` or `headers` that is not a text.
pub(in crate::pipeline) const SECRET: &[Key<Option<String>>] =
    &[Key::new("secret", "A secret's name; the worker knows its value.", schema::secret_name, |r, n, name| {
        *name = values::secret_name(r, n)
    })];
