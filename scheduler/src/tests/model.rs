//! Pipelines written in Rust, modelled programs and modelled workers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_common::lease::Lease;
use penstock_common::metrics::{Metrics, Outputs};
use penstock_common::pipeline::{
    Action, Approve, ChildRun, Condition, Dependency, ForEach, Pipeline, Retries, Task, TriggerRule, Until, Wait, with_uses,
};
use penstock_common::record::{Ended, Report};
use penstock_common::{Fence, Items, Millis, PipelineName, Reason, RunId, Selector, SessionId, State, TaskId, TaskKey, Timestamp};

pub(super) fn s(seconds: u64) -> Millis {
    Millis(seconds * 1_000)
}

pub(super) fn task_id(name: &str) -> TaskId {
    TaskId::parse(name).unwrap()
}

/// A task, or an instance as `t[0]` or `t[name]`.
pub(super) fn key(name: &str) -> TaskKey {
    TaskKey::parse(name).unwrap()
}

pub(super) fn run_id(name: &str) -> RunId {
    RunId::parse(name).unwrap()
}

pub(super) fn selectors(names: &[&str]) -> Vec<Selector> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// An edge as the document writes it: `a`, `a[*]`, `a: failed`.
pub(super) fn edge(text: &str) -> Dependency {
    let (name, when) = text.split_once(": ").map_or((text, None), |(name, when)| (name, Some(when)));
    let when = when.map(|when| match when {
        "success" => Condition::Success,
        "failed" => Condition::Failed,
        "completed" => Condition::Completed,
        "skipped" => Condition::Skipped,
        other => panic!("{other}"),
    });
    let (name, paired) = name.strip_suffix("[*]").map_or((name, false), |name| (name, true));
    Dependency { task: task_id(name), when, paired }
}

/// A task below others, written as [`edge`] reads them; a paired one takes the items of the first.
pub(super) fn below(upstreams: &[&str]) -> Task {
    let depends_on: Vec<Dependency> = upstreams.iter().map(|u| edge(u)).collect();
    let for_each = depends_on.iter().find(|d| d.paired).map(|d| ForEach::SameAs { task: d.task.clone() });
    Task { depends_on, for_each, ..Task::noop() }
}

/// A task below others, under a rule.
pub(super) fn ruled(rule: TriggerRule, upstreams: &[&str]) -> Task {
    Task { trigger_rule: rule, ..below(upstreams) }
}

/// A mapped task over these JSON values.
pub(super) fn each(items: serde_json::Value, upstreams: &[&str]) -> Task {
    let serde_json::Value::Array(items) = items else { panic!("a list") };
    Task { for_each: Some(ForEach::Items(items)), ..below(upstreams) }
}

/// A mapped task over 0, 1, 2…
pub(super) fn range(count: u32, upstreams: &[&str]) -> Task {
    Task { for_each: Some(ForEach::Range { from: 0, to: i64::from(count), step: 1 }), ..below(upstreams) }
}

pub(super) fn retries(max: u32) -> Retries {
    Retries { max, ..Retries::default() }
}

pub(super) fn approve(message: &str) -> Action {
    Action::Approve(Approve { message: message.to_owned() })
}

pub(super) fn sensor() -> Action {
    waiting_for(None, false)
}

/// A sensor that waits for so long.
pub(super) fn waiting_for(timeout: Option<Millis>, skip_on_timeout: bool) -> Action {
    let until = Until::File { path: "x".to_owned(), settle: Millis(0) };
    Action::Wait(Wait { until, every: s(30), timeout, skip_on_timeout })
}

pub(super) fn child(pipeline: &str) -> Action {
    Action::Pipeline(ChildRun { name: PipelineName::parse(pipeline).unwrap(), params: BTreeMap::new(), wait: true })
}

pub(super) fn pipeline(name: &str, tasks: impl IntoIterator<Item = (String, Task)>) -> Pipeline {
    let tasks = tasks.into_iter().map(|(id, task)| (task_id(&id), task)).collect();
    with_uses(Pipeline::of(PipelineName::parse(name).unwrap(), tasks))
}

/// Pipeline `p` of these tasks.
pub(super) fn p<const N: usize>(tasks: [(&str, Task); N]) -> Pipeline {
    pipeline("p", tasks.map(|(id, task)| (id.to_owned(), task)))
}

/// How a modelled program ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    Success,
    /// So many bytes of outputs.
    Output(usize),
    /// Outputs, as JSON texts.
    Put(&'static str, String),
    /// It wrote an items file of so many numbers.
    Items(u32),
    /// It wrote so many records.
    Records(f64),
    /// All of these at once.
    Full {
        outputs: Vec<(&'static str, String)>,
        items: Option<u32>,
        records: f64,
    },
    Exit(i32),
    /// The task said that trying again is of no use.
    Fail,
    Skip,
    /// Stopped by its worker, asked or not.
    Cancelled,
    /// A sensor that did not find it, to be probed again after so long.
    NotYet(u64),
}

/// Its end, as a worker reports it.
pub(super) fn report(outcome: &Outcome, at: i64) -> Report {
    match outcome {
        Outcome::NotYet(ms) => Report::Waiting { until: Timestamp(at + *ms as i64), detail: "not there".into() },
        Outcome::Items(count) | Outcome::Full { items: Some(count), .. } => {
            let items = (0..*count).map(|n| Arc::from(n.to_string())).collect();
            Report::Ended { ended: ended(outcome, at), items: Some(Arc::new(Items::new(items).unwrap())) }
        }
        _ => Report::Ended { ended: ended(outcome, at), items: None },
    }
}

pub(super) fn ended(outcome: &Outcome, at: i64) -> Ended {
    let (state, reason) = match outcome {
        Outcome::Exit(_) => (State::Failed, Some(Reason::ExitCode)),
        Outcome::Fail => (State::Failed, Some(Reason::Task)),
        Outcome::Skip => (State::Skipped, Some(Reason::Task)),
        Outcome::Cancelled => (State::Cancelled, Some(Reason::User)),
        _ => (State::Success, None),
    };
    let outputs = match outcome {
        Outcome::Output(bytes) => BTreeMap::from([("k".to_owned(), "x".repeat(*bytes))]),
        Outcome::Put(key, value) => BTreeMap::from([((*key).to_owned(), value.clone())]),
        Outcome::Full { outputs, .. } => outputs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        _ => BTreeMap::new(),
    };
    let metrics = match outcome {
        Outcome::Records(count) | Outcome::Full { records: count, .. } => BTreeMap::from([(Metrics::RECORDS_OUT.to_owned(), *count)]),
        _ => BTreeMap::new(),
    };
    Ended {
        state,
        reason,
        detail: Arc::from(""),
        exit_code: if let Outcome::Exit(code) = outcome { Some(*code) } else { None },
        started_at: Timestamp(at),
        ended_at: Timestamp(at),
        metrics: Metrics(metrics),
        outputs: Outputs(outputs),
        items: None,
        worker_died: false,
    }
}

/// A modelled worker.
#[derive(Debug, Clone, Default)]
pub(super) struct Worker {
    /// Its present life; `None` while its process is not there.
    pub(super) session: Option<SessionId>,
    /// Its stream to the present leader is open.
    pub(super) connected: bool,
    pub(super) leaving: bool,
    pub(super) slots: u32,
    pub(super) queues: Vec<&'static str>,
    pub(super) labels: Vec<(&'static str, &'static str)>,
    pub(super) running: BTreeMap<Fence, Lease>,
    /// Of those, the ones it was asked to stop.
    pub(super) stopping: BTreeSet<Fence>,
    /// Ended, and the report not acknowledged.
    pub(super) finished: BTreeMap<Fence, Report>,
    /// Every lease of this life.
    pub(super) seen: BTreeSet<Fence>,
    pub(super) lives: u32,
}
