//! State: what replay yields, and `apply`, the only function that writes it.
//!
//! `apply` holds no default, limit, jitter or policy. Each event is checked against the machines before it changes
//! anything; an event that a run's machine refuses, or a panic inside that run, quarantines the run, decided by the event
//! alone and so alike on every replica. An event that breaks what belongs to no run ends the process.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use penstock_common::event::RunCreated;
use penstock_common::limits::{MAX_ATTEMPTS_KEPT, MAX_DETAIL_BYTES};
use penstock_common::record::{AttemptRecord, RunRecord};
use penstock_common::{
    Digest, Epoch, Event, Fence, NodeName, PipelineName, Reason, RequestId, RunId, RunNo, Seq, SessionId, State as Word, Timestamp,
    WorkerName,
};

use crate::decide::bounded;
use crate::machine::run::{self, Run};
use crate::machine::task::Verdict;
use crate::machine::{Broken, attempt};
use crate::plan::Plan;

/// Equal on every replica that has replayed the same events.
#[derive(Debug, Default)]
pub struct State {
    pub(crate) seq: Seq,
    pub(crate) epoch: Epoch,
    pub(crate) leader: Option<NodeName>,
    pub(crate) last_run: RunNo,
    pub(crate) last_fence: Fence,
    pub(crate) pipelines: BTreeMap<PipelineName, Versions>,
    pub(crate) runs: BTreeMap<RunNo, Run>,
    pub(crate) run_ids: BTreeMap<RunId, RunNo>,
    /// Live leases: derived from the runs' attempts.
    pub(crate) leases: BTreeMap<Fence, Holder>,
    /// The same by session.
    pub(crate) held: BTreeMap<SessionId, BTreeSet<Fence>>,
    pub(crate) drained: BTreeSet<WorkerName>,
    pub(crate) answers: BTreeMap<RequestId, Answered>,
    pub(crate) archived: BTreeMap<RunId, Timestamp>,
    pub(crate) live_tasks: usize,
    /// Definitions by digest, given by `learn`; not state but what state refers to.
    pub(crate) definitions: BTreeMap<Digest, Arc<Plan>>,
    /// The number of the cut that chunks written now belong to.
    pub(crate) cut: u64,
}

/// A pipeline in state.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Versions {
    pub(crate) by_number: BTreeMap<u32, (Digest, Timestamp)>,
    /// Runs that are PENDING, in order of creation: derived.
    pub(crate) queued: BTreeSet<RunNo>,
    /// Runs that are RUNNING: derived.
    pub(crate) active: BTreeSet<RunNo>,
}

/// Who holds a lease on what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) run: RunNo,
    pub(crate) task: u32,
    pub(crate) session: SessionId,
}

/// A kept answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) digest: u64,
    pub(crate) answer: Arc<str>,
    pub(crate) at: Timestamp,
}

/// What an event may have made possible: the leader's term looks at these again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touched {
    Task(RunNo, u32),
    Run(RunNo),
}

impl PartialEq for State {
    /// `seq`, definitions and cut numbers are bookkeeping of the replica.
    fn eq(&self, other: &Self) -> bool {
        self.epoch == other.epoch
            && self.leader == other.leader
            && self.last_run == other.last_run
            && self.last_fence == other.last_fence
            && self.pipelines == other.pipelines
            && self.runs == other.runs
            && self.run_ids == other.run_ids
            && self.leases == other.leases
            && self.held == other.held
            && self.drained == other.drained
            && self.answers == other.answers
            && self.archived == other.archived
            && self.live_tasks == other.live_tasks
    }
}

impl State {
    /// The position of the entry last applied, or being decided.
    pub fn seq(&self) -> Seq {
        self.seq
    }
    /// The term and its leader, as journaled.
    pub fn leader(&self) -> (Epoch, Option<&NodeName>) {
        (self.epoch, self.leader.as_ref())
    }

    pub(crate) fn learn(&mut self, plan: Arc<Plan>) {
        self.definitions.insert(plan.digest, plan);
    }

    pub(crate) fn plan(&self, pipeline: &PipelineName, version: u32) -> Option<&Arc<Plan>> {
        let (digest, _) = self.pipelines.get(pipeline)?.by_number.get(&version)?;
        self.definitions.get(digest)
    }

    pub(crate) fn run_by_id(&self, id: &RunId) -> Option<(RunNo, &Run)> {
        let no = *self.run_ids.get(id)?;
        self.runs.get(&no).map(|run| (no, run))
    }

    /// Applies one event. `touched` collects what the leader must look at again. Returns the leases that a run lost by being set
    /// aside.
    pub(crate) fn apply(&mut self, event: &Event, touched: &mut Vec<Touched>) -> Vec<(Fence, SessionId)> {
        let Some(no) = event.run() else {
            self.apply_to_cluster(event);
            return Vec::new();
        };
        match event {
            Event::RunCreated(created) => self.create_run(created, touched),
            Event::RunArchived { at, .. } => self.archive(no, *at),
            _ => {
                let before = touched.len();
                let outcome = catch_unwind(AssertUnwindSafe(|| self.apply_to_run(no, event, touched)));
                let why = match outcome {
                    Ok(Ok(())) => return Vec::new(),
                    Ok(Err(Broken(why))) => why,
                    Err(_) => "a panic while an event was applied".to_owned(),
                };
                touched.truncate(before);
                touched.push(Touched::Run(no));
                return self.quarantine(no, &bounded(&format!("{why} (entry {}, {event:?})", self.seq), MAX_DETAIL_BYTES));
            }
        }
        Vec::new()
    }

    fn apply_to_cluster(&mut self, event: &Event) {
        match event {
            Event::TermStarted { epoch, node, .. } => {
                self.epoch = *epoch;
                self.leader = Some(node.clone());
            }
            Event::PipelineRegistered { pipeline, version, digest, dropped, at } => {
                let versions = self.pipelines.entry(pipeline.clone()).or_default();
                versions.by_number.insert(*version, (*digest, *at));
                for old in dropped {
                    versions.by_number.remove(old);
                }
            }
            Event::WorkerDrained { worker, drained, .. } => {
                if *drained {
                    self.drained.insert(worker.clone());
                } else {
                    self.drained.remove(worker);
                }
            }
            Event::RequestAnswered { request, digest, answer, at } => {
                self.answers.insert(request.clone(), Answered { digest: *digest, answer: answer.clone(), at: *at });
            }
            Event::AnswersForgotten { before, archived_before } => {
                self.answers.retain(|_, a| a.at >= *before);
                self.archived.retain(|_, at| *at >= *archived_before);
            }
            _ => unreachable!("every other event belongs to a run"),
        }
    }

    fn create_run(&mut self, created: &RunCreated, touched: &mut Vec<Touched>) {
        let Some(plan) = self.plan(&created.pipeline, created.version).cloned() else {
            // Definitions are loaded before the entry that needs them: without one, nothing this replica does can be right.
            unreachable!("run {} needs {} version {}, which was never loaded", created.id, created.pipeline, created.version)
        };
        let record = RunRecord {
            no: created.run,
            id: created.id.clone(),
            pipeline: created.pipeline.clone(),
            version: created.version,
            generation: 1,
            trigger: created.trigger.clone(),
            interval: created.interval,
            params: created.params.clone(),
            state: Word::Pending,
            reason: None,
            cancel: None,
            created_at: created.at,
            started_at: None,
            ended_at: None,
            generation_at: created.at,
            run_timeout: created.run_timeout,
            request_digest: created.request_digest,
            tasks: 0,
            counts: [0; 7],
            quarantined: None,
        };
        self.last_run = created.run;
        self.insert_run(Run::new(record, plan, self.cut));
        touched.push(Touched::Run(created.run));
    }

    /// Adds a run and everything derived from it.
    pub(crate) fn insert_run(&mut self, run: Run) {
        let no = run.record.no;
        let versions = self.pipelines.entry(run.record.pipeline.clone()).or_default();
        match run.record.state {
            Word::Pending => versions.queued.insert(no),
            Word::Running => versions.active.insert(no),
            _ => false,
        };
        if !run.record.state.is_terminal() {
            self.live_tasks += run.record.tasks as usize;
        }
        if run.count(Word::Running) > 0 && run.record.quarantined.is_none() {
            for task in 0..run.record.tasks {
                if let Some(live) = run.task(task).live() {
                    self.held.entry(live.session.clone()).or_default().insert(live.fence);
                    self.leases.insert(live.fence, Holder { run: no, task, session: live.session.clone() });
                }
            }
        }
        self.run_ids.insert(run.record.id.clone(), no);
        self.runs.insert(no, run);
    }

    fn archive(&mut self, no: RunNo, at: Timestamp) {
        if let Some(run) = self.runs.remove(&no) {
            self.run_ids.remove(&run.record.id);
            self.archived.insert(run.record.id, at);
        }
    }

    fn apply_to_run(&mut self, no: RunNo, event: &Event, touched: &mut Vec<Touched>) -> Result<(), Broken> {
        let cut = self.cut;
        let run = self.runs.get_mut(&no).ok_or_else(|| Broken::new(format_args!("there is no run {no}")))?;
        if run.record.quarantined.is_some() {
            return Ok(());
        }
        run.changed = cut;
        match event {
            Event::RunStarted { at, .. } => {
                run::go(&mut run.record, Word::Running, None)?;
                run.record.started_at.get_or_insert(*at);
                run.record.generation_at = *at;
                let waits = |&task: &u32| run.task(task).upstream.verdict() == Verdict::Wait;
                touched.extend((0..run.record.tasks).filter(|task| !waits(task)).map(|task| Touched::Task(no, task)));
                touched.push(Touched::Run(no));
                self.moved(no);
            }
            Event::AttemptLeased { task, number, fence, worker, session, at, .. } => {
                run.check(*task)?;
                if *fence <= self.last_fence {
                    return Err(Broken::new(format_args!("fence {fence} after fence {}", self.last_fence)));
                }
                let expected = run.task(*task).attempts.last().map_or(1, |a| a.number + 1);
                if *number != expected {
                    return Err(Broken::new(format_args!("attempt {number} where {expected} is next")));
                }
                run.go(*task, Word::Running, None, cut)?;
                run.task_mut(*task, cut).attempts.push(AttemptRecord {
                    number: *number,
                    fence: *fence,
                    worker: worker.clone(),
                    session: session.clone(),
                    state: Word::Running,
                    reason: None,
                    detail: Arc::from(""),
                    leased_at: *at,
                    started_at: *at,
                    ended_at: None,
                    exit_code: None,
                    metrics: penstock_common::metrics::Metrics::default(),
                });
                let attempts = &mut run.task_mut(*task, cut).attempts;
                if attempts.len() > MAX_ATTEMPTS_KEPT {
                    attempts.remove(0);
                }
                self.last_fence = *fence;
                self.leases.insert(*fence, Holder { run: no, task: *task, session: session.clone() });
                self.held.entry(session.clone()).or_default().insert(*fence);
            }
            Event::AttemptEnded { task, fence, ended, .. } => {
                run.check(*task)?;
                let live = run.task(*task).live().filter(|a| a.fence == *fence);
                if live.is_none() || !attempt::allowed(Word::Running, ended.state) {
                    return Err(Broken::new(format_args!(
                        "task {task} has no live attempt with fence {fence}, or it cannot become {}",
                        ended.state
                    )));
                }
                run.go(*task, ended.state, ended.reason, cut)?;
                let output_bytes = ended.outputs.bytes();
                let task_state = run.task_mut(*task, cut);
                if let Some(attempt) = task_state.attempts.last_mut() {
                    attempt::end(attempt, ended)?;
                }
                match (ended.state, ended.reason) {
                    (Word::Failed, Some(Reason::Lost | Reason::Poison)) => {
                        task_state.lost += 1;
                        task_state.deaths += u32::from(ended.worker_died);
                    }
                    (Word::Failed, _) => task_state.failures += 1,
                    _ => {}
                }
                if ended.state == Word::Success && output_bytes > 0 {
                    let old = task_state.outputs.replace(Box::new(ended.outputs.clone()));
                    run.output_bytes = run.output_bytes + output_bytes - old.map_or(0, |o| o.bytes());
                }
                self.release(*fence);
                self.settle(no, *task, touched)?;
            }
            Event::TaskRetrying { task, not_before, .. } => {
                run.check(*task)?;
                self.unsettle(no, *task)?;
                let run = self.runs.get_mut(&no).ok_or_else(|| Broken::new("the run is gone"))?;
                run.go(*task, Word::Retry, run.task(*task).reason, cut)?;
                run.task_mut(*task, cut).not_before = Some(*not_before);
                touched.push(Touched::Task(no, *task));
            }
            Event::TaskFailed { task, reason, .. } => {
                run.check(*task)?;
                waits(run, *task)?;
                run.go(*task, Word::Failed, Some(*reason), cut)?;
                self.settle(no, *task, touched)?;
            }
            Event::TasksSkipped { ranges, reason, .. } => {
                for task in ranges.iter().flat_map(|&(from, to)| from..to) {
                    let run = self.runs.get_mut(&no).ok_or_else(|| Broken::new("the run is gone"))?;
                    run.check(task)?;
                    waits(run, task)?;
                    run.go(task, Word::Skipped, Some(*reason), cut)?;
                    self.settle(no, task, touched)?;
                }
            }
            Event::TasksCancelled { reason, .. } => {
                if run.record.cancel != Some(*reason) {
                    return Err(Broken::new(format_args!("tasks of run {} are cancelled and it is not", run.record.id)));
                }
                let open: Vec<u32> = (0..run.record.tasks).filter(|&t| matches!(run.task(t).state, Word::Pending | Word::Retry)).collect();
                for task in open {
                    run.go(task, Word::Cancelled, Some(*reason), cut)?;
                    run.settle(task, cut)?;
                }
                touched.push(Touched::Run(no));
            }
            Event::CancelRequested { reason, .. } => {
                if run.record.state.is_terminal() {
                    return Err(Broken::new(format_args!("run {} has ended and is cancelled", run.record.id)));
                }
                run.record.cancel = Some(*reason);
                touched.push(Touched::Run(no));
            }
            Event::RunEnded { state, reason, at, .. } => {
                if run.open_tasks() > 0 {
                    return Err(Broken::new(format_args!("run {} ends with {} open tasks", run.record.id, run.open_tasks())));
                }
                run::go(&mut run.record, *state, *reason)?;
                run.record.ended_at = Some(*at);
                self.live_tasks -= run.record.tasks as usize;
                touched.push(Touched::Run(no));
                self.moved(no);
            }
            Event::GenerationOpened { generation, ranges, at, .. } => {
                run::go(&mut run.record, Word::Pending, None)?;
                run.record.generation = *generation;
                run.record.generation_at = *at;
                run.record.ended_at = None;
                run.record.cancel = None;
                self.live_tasks += run.record.tasks as usize;
                for task in ranges.iter().flat_map(|&(from, to)| from..to) {
                    run.check(task)?;
                    run.go(task, Word::Pending, None, cut)?;
                    let state = run.task_mut(task, cut);
                    (state.failures, state.lost, state.deaths) = (0, 0, 0);
                    let old = state.outputs.take();
                    run.output_bytes -= old.map_or(0, |o| o.bytes());
                }
                for task in ranges.iter().flat_map(|&(from, to)| from..to) {
                    run.recount(task, cut);
                }
                touched.push(Touched::Run(no));
                self.moved(no);
            }
            _ => return Err(Broken::new("an event that is no run's")),
        }
        Ok(())
    }

    /// A task is terminal: tells those below.
    fn settle(&mut self, no: RunNo, task: u32, touched: &mut Vec<Touched>) -> Result<(), Broken> {
        let run = self.runs.get_mut(&no).ok_or_else(|| Broken::new("the run is gone"))?;
        for below in run.settle(task, self.cut)? {
            touched.push(Touched::Task(no, below));
        }
        touched.push(Touched::Run(no));
        Ok(())
    }

    /// FAILED becomes RETRY in the same step: takes back what `settle` told those below.
    fn unsettle(&mut self, no: RunNo, task: u32) -> Result<(), Broken> {
        let cut = self.cut;
        let run = self.runs.get_mut(&no).ok_or_else(|| Broken::new("the run is gone"))?;
        if run.task(task).state != Word::Failed {
            return Err(Broken::new(format_args!("task {task} is {} and cannot be tried again", run.task(task).state)));
        }
        let plan = run.plan.clone();
        for &below in &plan.task(task).downstream {
            let counters = &mut run.task_mut(below, cut).upstream;
            counters.failed = counters.failed.saturating_sub(1);
            counters.open += 1;
        }
        Ok(())
    }

    fn release(&mut self, fence: Fence) {
        if let Some(holder) = self.leases.remove(&fence)
            && let Some(held) = self.held.get_mut(&holder.session)
        {
            held.remove(&fence);
            if held.is_empty() {
                self.held.remove(&holder.session);
            }
        }
    }

    /// Keeps the pipeline's queued and active runs.
    fn moved(&mut self, no: RunNo) {
        let Some(run) = self.runs.get(&no) else { return };
        let versions = self.pipelines.entry(run.record.pipeline.clone()).or_default();
        versions.queued.remove(&no);
        versions.active.remove(&no);
        match run.record.state {
            Word::Pending => versions.queued.insert(no),
            Word::Running => versions.active.insert(no),
            _ => false,
        };
    }

    /// Sets a run aside: nothing of it is decided any more; its leases are gone, so its workers are told to kill them.
    fn quarantine(&mut self, no: RunNo, why: &str) -> Vec<(Fence, SessionId)> {
        let of_run = self.leases.iter().filter(|(_, h)| h.run == no);
        let released: Vec<_> = of_run.map(|(fence, holder)| (*fence, holder.session.clone())).collect();
        for (fence, _) in &released {
            self.release(*fence);
        }
        let cut = self.cut;
        let Some(run) = self.runs.get_mut(&no) else { return released };
        // The event may be half applied: what is derived is derived again, as a restore would.
        run.derive(cut);
        if !run.record.state.is_terminal() {
            self.live_tasks -= run.record.tasks as usize;
        }
        run.changed = self.cut;
        run.record.quarantined = Some(Arc::from(why));
        run.record.state = Word::Failed;
        run.record.reason = Some(Reason::Quarantined);
        self.moved(no);
        released
    }
}

/// What ends a task without a report must not end one that holds a lease.
fn waits(run: &Run, task: u32) -> Result<(), Broken> {
    match run.task(task).state {
        Word::Running => Err(Broken::new(format_args!("task {task} runs and ends without its report"))),
        _ => Ok(()),
    }
}
