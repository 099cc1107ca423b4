//! Why a run or a task is not running: the whole chain of reasons, each typed, and what would unblock it.

mod groups;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use penstock_common::limits::BACKFILL_SHARE_PERCENT;
use penstock_common::pipeline::Action;
use penstock_common::record::{Audit, Outcome};
use penstock_common::{PipelineName, PoolName, QueueName, Reason, RunId, RunNo, State, TaskKey, Timestamp, TriggerName, WorkerName};

use crate::Scheduler;
use crate::machine::rule::Verdict;
use crate::machine::run::Run;
use crate::state::{Behind, is_of_backfill};
use crate::term::{gates_of, is_open, wants};

pub use groups::Group;

/// Links of a chain at most.
const LONGEST: usize = 100;
/// Open upstreams that are named.
const UPSTREAMS_NAMED: usize = 20;

/// One link of the chain.
#[allow(missing_docs, reason = "each variant's sentence, written by `Display`, says what its fields are")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It has ended.
    Ended { state: State, reason: Option<Reason>, detail: Arc<str> },
    /// It runs.
    Running { worker: WorkerName, attempt: u32, since: Timestamp },
    /// The run is queued: so many runs of the pipeline may be active.
    RunQueued { pipeline: PipelineName, limit: u32, active: Vec<RunId>, ahead: usize },
    /// The run waits for SUCCESS of the interval before its own. `run`: the one of it that has not ended.
    Past { pipeline: PipelineName, from: Timestamp, until: Timestamp, became: Option<Outcome>, run: Option<RunId> },
    /// The run waits until another pipeline has run for all of its interval.
    NotCovered { trigger: TriggerName, pipeline: PipelineName },
    /// Backfills hold the share of slots that they may.
    BackfillShare { queue: QueueName, percent: u64 },
    /// A person paused the run.
    RunPaused { run: RunId, by: Option<Audit> },
    /// A person paused the pipeline.
    PipelinePaused { pipeline: PipelineName, by: Audit },
    /// A cancel was asked for; attempts are being stopped, teardowns run.
    Cancelling { reason: Reason, running: u32 },
    /// The run was set aside.
    Quarantined { why: String },
    /// An upstream has not ended.
    Upstream { task: TaskKey, state: State, rule: &'static str },
    /// More upstreams have not ended than are named.
    MoreUpstreams { count: usize },
    /// A mapped task has instances that have not ended.
    Instances { open: u32, of: u32 },
    /// A retry waits for its time.
    RetryAt { at: Timestamp, after: Option<Reason> },
    /// A sensor waits for its next probe.
    ProbeAt { at: Timestamp, saw: Arc<str> },
    /// A person is asked.
    Person { run: RunId, task: TaskKey, message: String, since: Timestamp },
    /// Records were not as expected: a person must decide.
    Held { run: RunId, task: TaskKey, detail: Arc<str> },
    /// The run that it started has not ended.
    Child { run: RunId, state: Option<State>, stopping: Option<Reason> },
    /// As many instances of the mapped task run as may.
    MaxParallel { limit: u32, running: u32 },
    /// As many tasks of the run run as may.
    MaxActiveTasks { limit: u32, running: u32 },
    /// The pool has not enough free slots.
    PoolFull { pool: PoolName, slots: u32, used: u32, wants: u32, holders: Vec<(RunId, TaskKey)> },
    /// Another task's turn comes first, and it waits for the pool.
    PoolReserved { pool: PoolName, run: RunId, task: TaskKey, wants: u32 },
    /// The pool has fewer slots than the task wants.
    PoolTooSmall { pool: PoolName, slots: u32, wants: u32 },
    /// No worker serves the queue with these labels.
    NoWorker { queue: QueueName, labels: Vec<(String, String)> },
    /// Workers do serve it, but each is drained or leaving.
    WorkersClosed { queue: QueueName, labels: Vec<(String, String)>, workers: usize },
    /// Every slot of those that serve it is taken.
    NoSlot { queue: QueueName, labels: Vec<(String, String)>, workers: usize, waiting: usize },
}

fn joined(labels: &[(String, String)], by: &str) -> String {
    labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(by)
}

impl Why {
    /// A stable word for scripts.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ended { .. } => "ended",
            Self::Running { .. } => "running",
            Self::RunQueued { .. } => "run_queued",
            Self::Past { .. } => "past_interval",
            Self::NotCovered { .. } => "not_covered",
            Self::BackfillShare { .. } => "backfill_share",
            Self::RunPaused { .. } => "run_paused",
            Self::PipelinePaused { .. } => "pipeline_paused",
            Self::Cancelling { .. } => "cancelling",
            Self::Quarantined { .. } => "quarantined",
            Self::Upstream { .. } => "upstream",
            Self::MoreUpstreams { .. } => "more_upstreams",
            Self::Instances { .. } => "instances",
            Self::RetryAt { .. } => "retry_at",
            Self::ProbeAt { .. } => "probe_at",
            Self::Person { .. } => "person",
            Self::Held { .. } => "held",
            Self::Child { .. } => "child",
            Self::MaxParallel { .. } => "max_parallel",
            Self::MaxActiveTasks { .. } => "max_active_tasks",
            Self::PoolFull { .. } => "pool_full",
            Self::PoolReserved { .. } => "pool_reserved",
            Self::PoolTooSmall { .. } => "pool_too_small",
            Self::NoWorker { .. } => "no_worker",
            Self::WorkersClosed { .. } => "workers_closed",
            Self::NoSlot { .. } => "no_slot",
        }
    }

    /// What the sentence is made of, for scripts.
    pub fn fields(&self) -> BTreeMap<&'static str, String> {
        let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(",");
        let mut fields = BTreeMap::new();
        let mut set = |name, value: &dyn fmt::Display| drop(fields.insert(name, value.to_string()));
        match self {
            Self::Ended { state, reason, .. } => {
                set("state", state);
                reason.iter().for_each(|reason| set("reason", reason));
            }
            Self::Running { worker, attempt, since } => {
                set("worker", worker);
                set("attempt", attempt);
                set("since", since);
            }
            Self::RunQueued { pipeline, limit, active, ahead } => {
                set("pipeline", pipeline);
                set("limit", limit);
                set("ahead", ahead);
                set("active", &list(&mut active.iter().map(ToString::to_string)));
            }
            Self::Past { pipeline, from, until, became, run } => {
                set("pipeline", pipeline);
                set("from", from);
                set("until", until);
                run.iter().for_each(|run| set("run", run));
                became.iter().for_each(|became| set("became", &became.word()));
            }
            Self::NotCovered { trigger, pipeline } => {
                set("trigger", trigger);
                set("pipeline", pipeline);
            }
            Self::BackfillShare { queue, percent } => {
                set("queue", queue);
                set("percent", percent);
            }
            Self::RunPaused { run, .. } => set("run", run),
            Self::PipelinePaused { pipeline, by } => {
                set("pipeline", pipeline);
                set("by", &by.by);
            }
            Self::Cancelling { reason, running } => {
                set("reason", reason);
                set("running", running);
            }
            Self::Quarantined { why } => set("why", why),
            Self::Upstream { task, state, rule } => {
                set("task", task);
                set("state", state);
                set("rule", rule);
            }
            Self::MoreUpstreams { count } => set("count", count),
            Self::Instances { open, of } => {
                set("open", open);
                set("of", of);
            }
            Self::RetryAt { at, .. } | Self::ProbeAt { at, .. } => set("at", at),
            Self::Person { run, task, .. } | Self::Held { run, task, .. } => {
                set("run", run);
                set("task", task);
            }
            Self::Child { run, state, stopping } => {
                set("run", run);
                state.iter().for_each(|state| set("state", state));
                stopping.iter().for_each(|reason| set("stopping", reason));
            }
            Self::MaxParallel { limit, running } | Self::MaxActiveTasks { limit, running } => {
                set("limit", limit);
                set("running", running);
            }
            Self::PoolFull { pool, slots, used, wants, holders } => {
                set("pool", pool);
                set("slots", slots);
                set("used", used);
                set("wants", wants);
                set("holders", &list(&mut holders.iter().map(|(run, task)| format!("{run}/{task}"))));
            }
            Self::PoolReserved { pool, run, task, wants } => {
                set("pool", pool);
                set("run", run);
                set("task", task);
                set("wants", wants);
            }
            Self::PoolTooSmall { pool, slots, wants } => {
                set("pool", pool);
                set("slots", slots);
                set("wants", wants);
            }
            Self::NoWorker { queue, labels } => {
                set("queue", queue);
                set("labels", &joined(labels, ","));
            }
            Self::WorkersClosed { queue, labels, workers } => {
                set("queue", queue);
                set("labels", &joined(labels, ","));
                set("workers", workers);
            }
            Self::NoSlot { queue, labels, workers, waiting } => {
                set("queue", queue);
                set("labels", &joined(labels, ","));
                set("workers", workers);
                set("waiting", waiting);
            }
        }
        fields
    }

    /// A command that would unblock it; empty if time or another task will.
    pub fn remedy(&self) -> String {
        match self {
            Self::RunQueued { active, .. } => active.first().map_or(String::new(), |run| format!("penstock cancel {run}")),
            Self::Past { run: Some(run), .. } => format!("penstock explain {run}"),
            Self::Past { pipeline, from, .. } => {
                format!("penstock backfill {pipeline} --start-date {from} --end-date {from} --reprocess failed")
            }
            Self::NotCovered { pipeline, .. } => format!("penstock list --pipeline {pipeline}"),
            Self::RunPaused { run, .. } => format!("penstock resume {run}"),
            Self::PipelinePaused { pipeline, .. } => format!("penstock resume --pipeline {pipeline}"),
            Self::Person { run, task, .. } => format!("penstock approve {run} '{task}'"),
            Self::Held { run, task, .. } => format!("penstock release {run} '{task}'"),
            Self::Child { run, .. } => format!("penstock explain {run}"),
            Self::PoolFull { pool, used, wants, .. } => format!("penstock pools set {pool} {}", used.saturating_add(*wants)),
            Self::PoolReserved { run, task, .. } => format!("penstock explain {run} '{task}'"),
            Self::PoolTooSmall { pool, wants, .. } => format!("penstock pools set {pool} {wants}"),
            Self::NoWorker { queue, labels } if labels.is_empty() => format!("penstock worker --queues {queue}"),
            Self::NoWorker { queue, labels } => format!("penstock worker --queues {queue} --labels {}", joined(labels, ",")),
            Self::WorkersClosed { .. } => "penstock drain WORKER --undo".to_owned(),
            Self::Ended { .. }
            | Self::BackfillShare { .. }
            | Self::Running { .. }
            | Self::Cancelling { .. }
            | Self::Quarantined { .. }
            | Self::Upstream { .. }
            | Self::MoreUpstreams { .. }
            | Self::Instances { .. }
            | Self::RetryAt { .. }
            | Self::ProbeAt { .. }
            | Self::MaxParallel { .. }
            | Self::MaxActiveTasks { .. }
            | Self::NoSlot { .. } => String::new(),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |by: &Audit| if by.by.is_empty() { "somebody".to_owned() } else { by.by.to_string() };
        let with = |labels: &[_]| if labels.is_empty() { String::new() } else { format!(" with labels {}", joined(labels, ", ")) };
        let colon = |text: &str| if text.is_empty() { String::new() } else { format!(": {text}") };
        match self {
            Self::Ended { state, reason: Some(reason), detail } => write!(f, "it has ended: {state}({reason}){}", colon(detail)),
            Self::Ended { state, reason: None, .. } => write!(f, "it has ended: {state}"),
            Self::Running { worker, attempt, since } => write!(f, "it runs: attempt {attempt} on {worker} since {since}"),
            Self::RunQueued { pipeline, limit, active, ahead } => {
                let active: Vec<_> = active.iter().map(RunId::as_str).collect();
                let active = active.join(", ");
                write!(f, "the run is queued: max_active_runs of {pipeline} is {limit}, active: {active}, {ahead} queued ahead of it")
            }
            Self::Past { until, became, run, .. } => {
                write!(f, "depends_on_past: it waits for SUCCESS of the interval that ends at {until}")?;
                became.map_or(Ok(()), |became| write!(f, ", which is {}", became.word()))?;
                let link = if became.is_some() { " and" } else { "," };
                run.as_ref().map_or(Ok(()), |run| write!(f, "{link} whose run {run} has not ended"))
            }
            Self::NotCovered { trigger, pipeline } => {
                write!(f, "trigger {trigger}: it waits until pipeline {pipeline} has run for all of its interval")
            }
            Self::BackfillShare { queue, percent } => {
                write!(f, "backfills hold {percent} % of the slots of queue {queue}, and may not hold more")
            }
            Self::RunPaused { by: Some(by), .. } => write!(f, "the run was paused by {} at {}{}", who(by), by.at, colon(&by.note)),
            Self::RunPaused { by: None, .. } => write!(f, "the run is paused"),
            Self::PipelinePaused { pipeline, by } => {
                write!(f, "pipeline {pipeline} was paused by {} at {}{}", who(by), by.at, colon(&by.note))
            }
            Self::Cancelling { reason, running } => {
                write!(f, "the run is being cancelled ({reason}): {running} tasks have not stopped yet")
            }
            Self::Quarantined { why } => write!(f, "the run was set aside: {why}"),
            Self::Upstream { task, state, rule } => write!(f, "it waits for {task}, which is {state} (its rule: {rule})"),
            Self::MoreUpstreams { count } => write!(f, "and for {count} more"),
            Self::Instances { open, of } => write!(f, "{open} of its {of} instances have not ended"),
            Self::RetryAt { at, after: Some(reason) } => write!(f, "it is tried again at {at}, after FAILED({reason})"),
            Self::RetryAt { at, after: None } => write!(f, "it is tried again at {at}"),
            Self::ProbeAt { at, saw } => write!(f, "it looks again at {at}{}", colon(saw)),
            Self::Person { message, since, .. } => write!(f, "since {since} it waits for a person to approve or reject{}", colon(message)),
            Self::Held { detail, .. } => write!(f, "it is held until a person releases or rejects it{}", colon(detail)),
            Self::Child { run, state, stopping } => {
                let state = state.map_or(String::new(), |state| format!(", which is {state}"));
                match stopping {
                    Some(reason) => write!(f, "it is stopping ({reason}): it waits for the end of run {run}{state}"),
                    None => write!(f, "it waits for run {run}{state}"),
                }
            }
            Self::MaxParallel { limit, running } => write!(f, "max_parallel is {limit}, and {running} of its instances run"),
            Self::MaxActiveTasks { limit, running } => write!(f, "max_active_tasks is {limit}, and {running} tasks of this run run"),
            Self::PoolFull { pool, slots, used, wants, holders } => {
                let holders: Vec<_> = holders.iter().map(|(run, task)| format!("{run}/{task}")).collect();
                write!(f, "it wants {wants} of pool {pool}: {used} of {slots} slots are taken by {}", holders.join(", "))
            }
            Self::PoolReserved { pool, run, task, wants } => {
                write!(f, "{run}/{task} comes before it and waits for {wants} slots of pool {pool}")
            }
            Self::PoolTooSmall { pool, slots, wants } => write!(f, "it wants {wants} slots of pool {pool}, which has {slots}"),
            Self::NoWorker { queue, labels } => write!(f, "no worker serves queue {queue}{}", with(labels)),
            Self::WorkersClosed { queue, labels, workers } => {
                write!(f, "all {workers} workers of queue {queue}{} are drained or leaving", with(labels))
            }
            Self::NoSlot { queue, labels, workers, waiting } => {
                write!(f, "every slot of the {workers} workers of queue {queue}{} is taken, and {waiting} tasks wait", with(labels))
            }
        }
    }
}

impl Scheduler {
    /// The chain of reasons of a task. `None` if there is no such live run or task. Only the leader knows workers.
    pub fn explain(&self, id: &RunId, task: &TaskKey) -> Option<Vec<Why>> {
        let (_, run) = self.state.run_by_id(id)?;
        let index = run.find(task)?;
        let mut chain = Vec::new();
        self.explain_task(run, index, &mut chain);
        Some(chain)
    }

    /// What keeps a run as a whole from starting anything.
    fn run_blocked(&self, run: &Run) -> Vec<Why> {
        let record = &run.record;
        if let Some(why) = &record.quarantined {
            return vec![Why::Quarantined { why: why.to_string() }];
        }
        if record.state.is_terminal() {
            return vec![Why::Ended { state: record.state, reason: record.reason, detail: Arc::default() }];
        }
        let mut chain = Vec::new();
        // A pause keeps no clean-up of a cancelled run from running.
        let pauses = record.cancel.is_none();
        if record.paused && pauses {
            let by = record.audit.iter().rev().find(|audit| &*audit.verb == "pause").cloned();
            chain.push(Why::RunPaused { run: record.id.clone(), by });
        }
        let versions = self.state.pipelines.get(&record.pipeline);
        if let Some(by) = versions.and_then(|v| v.paused.clone()).filter(|_| pauses) {
            chain.push(Why::PipelinePaused { pipeline: record.pipeline.clone(), by });
        }
        if let Some(reason) = record.cancel {
            chain.push(Why::Cancelling { reason, running: run.count(State::Running) });
        }
        if record.state == State::Pending {
            let active = versions.into_iter().flat_map(|v| &v.active).filter_map(|no| self.state.runs.get(no));
            let active: Vec<RunId> = active.map(|r| r.record.id.clone()).collect();
            let goes_first = |no: &&RunNo| self.state.runs.get(no).is_some_and(|run| !run.record.paused);
            let ahead = versions.map_or(0, |v| v.queued.range(..record.no).filter(goes_first).count());
            let limit = self.plan(&record.pipeline, None).and_then(|(_, plan)| plan.pipeline.max_active_runs);
            if let Some(limit) = limit.filter(|limit| active.len() >= *limit as usize) {
                chain.push(Why::RunQueued { pipeline: record.pipeline.clone(), limit, active, ahead });
            }
            chain.extend(self.state.behind(run).map(|behind| match behind {
                Behind::Past(until, became) => {
                    let schedule = run.plan.pipeline.schedule.as_ref();
                    let from = schedule.and_then(|schedule| schedule.times.interval_of(until)).map_or(until, |interval| interval.start());
                    let run = self.state.run_until(&record.pipeline, until).map(|run| run.record.id.clone());
                    Why::Past { pipeline: record.pipeline.clone(), from, until, became, run }
                }
                Behind::Upstream(trigger, pipeline) => Why::NotCovered { trigger, pipeline },
            }));
        }
        chain
    }

    fn explain_task(&self, run: &Run, index: u32, chain: &mut Vec<Why>) {
        let task = run.task(index);
        if task.state.is_terminal() {
            let last = task.attempts.last().map(|a| a.detail.clone());
            let detail = task.rare.as_ref().map(|rare| rare.detail.clone()).filter(|d| !d.is_empty()).or(last);
            return chain.push(Why::Ended { state: task.state, reason: task.reason, detail: detail.unwrap_or_default() });
        }
        if task.live().is_none() {
            chain.extend(self.run_blocked(run));
        }
        if run.record.state == State::Pending {
            return;
        }
        self.explain_own(run, index, chain);
    }

    /// Of a task in a run that goes on.
    fn explain_own(&self, run: &Run, index: u32, chain: &mut Vec<Why>) {
        let (task, spec) = (run.task(index), run.spec(index));
        if let Some(expansion) = run.mapping.live(index) {
            chain.push(Why::Instances { open: expansion.open(), of: expansion.count });
            let open = expansion.indices().find(|&i| !run.task(i).state.is_terminal());
            return open.into_iter().for_each(|open| self.explain_own(run, open, chain));
        }
        if let Some(live) = task.live() {
            return chain.push(Why::Running { worker: live.worker.clone(), attempt: live.number, since: live.leased_at });
        }
        let (id, key) = (run.record.id.clone(), run.key(index));
        match (task.state, task.reason) {
            (State::Running, Some(Reason::Held)) => {
                let detail = task.attempts.last().map(|a| a.detail.clone()).unwrap_or_default();
                return chain.push(Why::Held { run: id, task: key, detail });
            }
            (State::Running, Some(Reason::Waiting)) => match (&spec.action, task.child()) {
                (Action::Approve(approve), _) => {
                    return chain.push(Why::Person { run: id, task: key, message: approve.message.clone(), since: task.changed_at });
                }
                (_, Some(child)) => {
                    let state = self.state.run_by_id(child).map(|(_, run)| run.record.state);
                    return chain.push(Why::Child { run: child.clone(), state, stopping: task.stopping() });
                }
                _ => {
                    if let Some(at) = task.not_before.filter(|at| *at > self.term.now) {
                        let saw = task.attempts.last().map(|a| a.detail.clone()).unwrap_or_default();
                        return chain.push(Why::ProbeAt { at, saw });
                    }
                }
            },
            (State::Retry, reason) => {
                if let Some(at) = task.not_before.filter(|at| *at > self.term.now) {
                    return chain.push(Why::RetryAt { at, after: reason });
                }
            }
            (State::Pending, _) if run.verdict_of(index) == Verdict::Wait => return self.explain_upstreams(run, index, chain),
            _ => {}
        }
        self.explain_turn(run, index, chain);
    }

    fn explain_upstreams(&self, run: &Run, index: u32, chain: &mut Vec<Why>) {
        let planned = run.planned(index);
        let rule = if planned.spec.teardown { "teardown" } else { planned.spec.trigger_rule.as_str() };
        let number = run.instance(index).map(|(_, number)| number);
        // A failure that may yet be tolerated waits for the instances beside it, which are named.
        let is_open = |&i: &u32| !run.task(i).state.is_terminal();
        let mut open = Vec::new();
        for edge in &planned.upstream {
            match (run.mapping.live(edge.task), number.filter(|_| edge.paired)) {
                (Some(e), Some(number)) => {
                    let above = e.index_of(number).filter(|&i| run.outcome(i).is_none());
                    open.extend(above.map(|i| if is_open(&i) { i } else { edge.task }));
                }
                (Some(_), None) if edge.paired => {}
                (Some(e), None) => open.extend(e.indices().filter(is_open)),
                (None, _) => open.extend(Some(edge.task).filter(|i| number.is_none() && is_open(i))),
            }
        }
        let source = planned.waits_for_source().filter(|_| number.is_none());
        let own = |source: &u32| !run.task(*source).state.is_terminal() && !open.iter().any(|&above| run.node(above) == *source);
        open.extend(source.filter(own));
        for &above in open.iter().take(UPSTREAMS_NAMED) {
            chain.push(Why::Upstream { task: run.key(above), state: run.task(above).state, rule });
        }
        if open.len() > UPSTREAMS_NAMED {
            chain.push(Why::MoreUpstreams { count: open.len() - UPSTREAMS_NAMED });
        }
        // The chain goes on with what the first of them waits for.
        if let Some(&above) = open.first().filter(|_| chain.len() < LONGEST) {
            self.explain_own(run, above, chain);
        }
    }

    /// Of a task that is ready: whose turn comes first, and for what.
    fn explain_turn(&self, run: &Run, index: u32, chain: &mut Vec<Why>) {
        let spec = run.spec(index);
        for gate in gates_of(run, run.record.no, index) {
            if is_open(&self.state, &gate) {
                continue;
            }
            chain.push(match gate {
                crate::gates::Gate::Mapped(_, node) => Why::MaxParallel {
                    limit: spec.max_parallel.unwrap_or(0),
                    running: run.mapping.live(node).map_or(0, |e| e.count(State::Running)),
                },
                _ => Why::MaxActiveTasks { limit: run.plan.pipeline.max_active_tasks.unwrap_or(0), running: run.leased },
            });
        }
        let Some(wants) = wants(spec) else { return };
        let (serving, open, waiting) = self.term.lanes.lane_view(&wants);
        let full = open > 0 && !self.term.lanes.has_free(&wants);
        let labels = spec.labels.clone().into_iter().collect();
        match (serving, open) {
            (0, _) => chain.push(Why::NoWorker { queue: spec.queue.clone(), labels }),
            (workers, 0) => chain.push(Why::WorkersClosed { queue: spec.queue.clone(), labels, workers }),
            _ if is_of_backfill(&run.record)
                && !full
                && !self.state.has_share(&wants, spec.pool_slots, self.term.lanes.slots_of(&wants)) =>
            {
                chain.push(Why::BackfillShare { queue: spec.queue.clone(), percent: BACKFILL_SHARE_PERCENT });
            }
            (_, workers) if full => chain.push(Why::NoSlot { queue: spec.queue.clone(), labels, workers, waiting }),
            _ => {}
        }
        if let Some(pool) = &spec.pool {
            let (free, slots) = self.state.pool_free(pool);
            let width = spec.pool_slots;
            if width > slots {
                return chain.push(Why::PoolTooSmall { pool: pool.clone(), slots, wants: width });
            }
            if width > free {
                let holders = self.pool_holders(pool, UPSTREAMS_NAMED).into_iter().map(|(run, task, _)| (run, task)).collect();
                return chain.push(Why::PoolFull { pool: pool.clone(), slots, used: slots - free, wants: width, holders });
            }
            if let Some((no, task, wants)) = self.term.lanes.first_for(pool).filter(|(no, task, _)| (*no, *task) != (run.record.no, index))
                && let Some(first) = self.state.runs.get(&no)
            {
                chain.push(Why::PoolReserved { pool: pool.clone(), run: first.record.id.clone(), task: first.key(task), wants });
            }
        }
    }
}
