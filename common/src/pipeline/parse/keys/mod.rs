//! Every key of the document: what it is called, what it means, how it is read. [`super::super::schema`] is made from the
//! same tables, so neither knows a key the other does not. Here are the keys of the document itself; those of its parts are in
//! files of their own.
//!
//! A new key is one row of a table, one reader (in [`super::values`], if it needs its own) and one field of what it is read
//! into.

mod actions;
mod flow;
mod param;
mod retries;
mod synonyms;
mod task;
mod timing;

use std::collections::BTreeMap;

pub(in crate::pipeline) use self::actions::{
    APPROVE, CHILD, CONTAINER, HTTP, HTTP_OUTPUTS, METHODS, ON_TIMEOUT, PULLS, RawSql, RawStatement, RawWait, SQL, SQL_OUTPUTS, STATEMENT,
    WAIT, WAITED_FOR,
};
pub(in crate::pipeline) use self::flow::{
    Bounds, CONDITIONS, EXPECT, EXPECT_ACTIONS, RANGE, RECORDS, REJECTED, RawEdge, RawExpect, RawFlow, RawRange,
};
pub(in crate::pipeline) use self::param::{PARAM, PARAM_TYPES, Params, RawParam};
pub(in crate::pipeline) use self::retries::{JITTER, POLICY, RETRIES, RETRYABLE, RawRetries};
pub(super) use self::synonyms::elsewhere;
pub(in crate::pipeline) use self::task::{ACTIONS, FLOW, RawSetting, RawTask, SECRET, SETTINGS, TASK, TASKS};
pub(in crate::pipeline) use self::timing::{
    CATCHUPS, ENDINGS, LANDING, OVERLAPS, RawGiven, RawLanding, RawSchedule, RawTrigger, RawUpstream, SCHEDULE, SOURCES, TIMINGS, TRIGGER,
    UPSTREAM, UPSTREAMS,
};
use super::fields::{Key, Located, Placed, Template};
use super::values;
use crate::pipeline::{Location, schema};
use crate::{Millis, PipelineName, TaskId};

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
    pub(super) max_active_tasks: Option<u32>,
    pub(super) run_timeout: Option<Millis>,
    pub(super) timezone: Option<String>,
    /// It has one, which is wrong.
    pub(super) timezone_unclear: bool,
    pub(super) schedule: Option<RawSchedule>,
    pub(super) start_date: Option<Placed>,
    pub(super) end_date: Option<Placed>,
    pub(super) depends_on_past: Option<Located<bool>>,
    pub(super) triggers: Vec<RawTrigger>,
    pub(super) env: BTreeMap<String, RawSetting>,
    pub(super) workdir: Option<Template>,
    pub(super) defaults: RawTask,
    pub(super) tasks: BTreeMap<TaskId, (Location, RawTask)>,
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
    Key::new("max_active_tasks", "Tasks of one run that may run at once.", schema::positive, |r, n, top| {
        top.max_active_tasks = r.integer(n, 1, LONG);
    }),
    Key::new("run_timeout", "Longest time from a run's start to its end.", schema::duration, |r, n, top| {
        top.run_timeout = r.duration(n, Some(NO_LIMIT));
    }),
    Key::new(
        "timezone",
        "The IANA zone of cron, dates, `interval.date` and times of day, such as Europe/Paris.",
        schema::text,
        |r, n, top| {
            top.timezone = values::timezone(r, n);
            top.timezone_unclear = top.timezone.is_none();
        },
    ),
    Key::new("schedule", "When it is run by itself; a text is `cron`.", schema::schedule, |r, n, top| {
        top.schedule = Some(values::schedule(r, n));
    }),
    Key::new("start_date", "No interval of the schedule begins before: a date, or a time.", schema::date, |r, n, top| {
        top.start_date = values::date(r, n);
    }),
    Key::new("end_date", "No interval of the schedule begins after: a date, included, or a time.", schema::date, |r, n, top| {
        top.end_date = values::date(r, n);
    }),
    Key::new("depends_on_past", "An interval waits until the one before is SUCCESS.", schema::flag, |r, n, top| {
        top.depends_on_past = r.flag(n).map(|value| Located { at: n.at, value });
    }),
    Key::new("triggers", "What else starts runs of it.", schema::triggers, |r, n, top| values::triggers(r, n, &mut top.triggers)),
    Key::new("workdir", "Working directory of all tasks; a template.", schema::text, |r, n, top| top.workdir = r.template(n)),
    Key::new("env", "Variables for the programs of all tasks; values are templates or secrets.", schema::env, |r, n, top| {
        values::env(r, n, &mut top.env);
    }),
    Key::new("defaults", "What holds for every task that does not say otherwise, key by key.", schema::defaults, |r, n, top| {
        r.mapping(n, &[SETTINGS], &mut top.defaults);
    }),
    Key::new("tasks", "The tasks, by id.", schema::tasks, |r, n, top| values::tasks(r, n, &mut top.tasks)),
    Key::later("deadline"),
    Key::later("notify"),
    Key::later("alert_queued_after"),
    Key::later("baseline"),
];
