//! Events: the facts a journal holds. Each carries results, not rules, so that replaying them needs no policy.
//!
//! The scheduler decides and applies them; `penstock-proto` gives them their bytes. A run is named by its
//! [`RunNo`] and a task by its index in the plan (plans number tasks in sorted id order).

use std::sync::Arc;

use crate::metrics::Outputs;
use crate::record::{Audit, BackfillRecord, Ended, Happening, Parent, SkipReason, Trigger};
use crate::{
    BackfillId, Digest, Epoch, EventNo, Fence, Interval, Millis, NodeName, PipelineName, PoolName, Reason, RequestId, RunId, RunNo,
    SessionId, State, Timestamp, TriggerName, WorkerName,
};

/// One fact.
#[allow(missing_docs, reason = "a field's type is its documentation; what it means for each event stands above the event")]
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A new leader took over; written before it decides anything.
    TermStarted { epoch: Epoch, node: NodeName, at: Timestamp },
    /// A pipeline got a new version, whose definition is the blob `digest`; these old versions, bound by no run, are dropped.
    PipelineRegistered { pipeline: PipelineName, version: u32, digest: Digest, dropped: Vec<u32>, at: Timestamp },
    /// A pipeline takes no new run until it is registered again.
    PipelineUnregistered { pipeline: PipelineName, audit: Audit },
    /// Nothing of a pipeline is started, or is again.
    PipelinePaused { pipeline: PipelineName, paused: bool, audit: Audit },
    /// A pool has so many slots; `None`: it is no more.
    PoolSet { pool: PoolName, slots: Option<u32>, audit: Audit },
    /// A run exists and is PENDING.
    RunCreated(Box<RunCreated>),
    /// PENDING to RUNNING.
    RunStarted { run: RunNo, at: Timestamp },
    /// A run leases nothing, or does again.
    RunPaused { run: RunNo, paused: bool, audit: Audit },
    /// A mapped task has so many instances, all PENDING, and is RUNNING. What their items are follows from the state.
    TaskExpanded { run: RunNo, task: u32, count: u32, at: Timestamp },
    /// A worker has the right to one attempt: the task is RUNNING. An attempt that waits has its number still, and a new fence.
    AttemptLeased { run: RunNo, task: u32, number: u32, fence: Fence, worker: WorkerName, session: SessionId, at: Timestamp },
    /// An attempt ended, and the task takes its state; or RUNNING(held).
    AttemptEnded { run: RunNo, task: u32, fence: Fence, ended: Box<Ended>, held: bool },
    /// A sensor's attempt gave its lease back and is probed again at `until`: RUNNING(waiting).
    AttemptWaiting { run: RunNo, task: u32, fence: Fence, until: Timestamp, detail: Arc<str>, at: Timestamp },
    /// An attempt FAILED, and its task goes to RETRY in the same step.
    TaskRetrying { run: RunNo, task: u32, fence: Fence, ended: Box<Ended>, not_before: Timestamp },
    /// A task that needs no worker waits for a person, or for the run it started: RUNNING(waiting).
    TaskWaiting { run: RunNo, task: u32, child: Option<RunId>, at: Timestamp },
    /// The run that a task waits for is being stopped: the task ends for this reason once that run has ended.
    TaskStopping { run: RunNo, task: u32, reason: Reason, detail: Arc<str>, at: Timestamp },
    /// A task without a lease ended.
    TaskEnded(Box<TaskEnded>),
    /// The tasks of these half-open index ranges, all PENDING, are SKIPPED.
    TasksSkipped { run: RunNo, ranges: Vec<(u32, u32)>, reason: Reason, at: Timestamp },
    /// Every task of the run that is not terminal and holds no lease is CANCELLED, teardowns apart unless `teardowns`.
    TasksCancelled { run: RunNo, reason: Reason, teardowns: bool, at: Timestamp },
    /// The run leases nothing more but teardowns, and its running attempts are to be stopped.
    CancelRequested { run: RunNo, reason: Reason, audit: Audit },
    /// The run is terminal.
    RunEnded { run: RunNo, state: State, reason: Option<Reason>, at: Timestamp },
    /// A new life of these tasks (half-open index ranges, all terminal) and of the run, which is PENDING again: it takes its turn.
    GenerationOpened { run: RunNo, generation: u32, ranges: Vec<(u32, u32)>, audit: Audit },
    /// An archived run is live again, as the blob says, still ended.
    RunReopened { run: RunNo, digest: Digest, at: Timestamp },
    /// A task that the run was not asked for is taken to have put this out, as it did in the interval's newest success.
    OutputsRecalled { run: RunNo, task: u32, outputs: Outputs, at: Timestamp },
    /// The run's history and id are durable; state drops it.
    RunArchived { run: RunNo, at: Timestamp },
    /// A worker takes no new lease, or does again.
    WorkerDrained { worker: WorkerName, drained: bool, by: Arc<str>, at: Timestamp },
    /// The next interval of a pipeline's schedule begins here; `None`: it has no schedule any more.
    ScheduleMoved { pipeline: PipelineName, to: Option<Timestamp>, audit: Audit },
    /// A trigger of a pipeline, its `schedule` among them, starts nothing, or does again.
    TriggerPaused { pipeline: PipelineName, trigger: TriggerName, paused: bool, audit: Audit },
    /// So many intervals of a schedule, which cover this time, fell due and have no run; the next begins at its end.
    IntervalsSkipped { pipeline: PipelineName, interval: Interval, count: u64, reason: SkipReason, at: Timestamp },
    /// Something happened that may start runs: it waits until every trigger has seen it.
    Happened { event: EventNo, happening: Box<Happening> },
    /// A trigger has seen it: it gathers it for a run that starts at `until`, or could not take it.
    TriggerSaw { event: EventNo, pipeline: PipelineName, trigger: TriggerName, saw: Saw, at: Timestamp },
    /// What a trigger gathered could not start a run.
    GatheredMissed { pipeline: PipelineName, trigger: TriggerName, why: Arc<str>, at: Timestamp },
    /// A trigger is gone with all that is known of it; or, unless `whole`, the files it has seen are forgotten, since it looks elsewhere now.
    TriggerForgotten { pipeline: PipelineName, trigger: TriggerName, whole: bool, at: Timestamp },
    /// Every trigger has seen it; `dead`: there was none for it.
    EventHandled { event: EventNo, dead: Option<Arc<str>> },
    /// A trigger knows these files (path, version) without a run of their own, and forgets those without a version. `partial`: of its
    /// first look, which only notes what is there, more is to come.
    FilesSeen { pipeline: PipelineName, trigger: TriggerName, files: Vec<(Arc<str>, Option<Arc<str>>)>, partial: bool },
    /// Who calls the webhook of a trigger must show a token with this digest; `None`: nobody may call it.
    TriggerTokenSet { pipeline: PipelineName, trigger: TriggerName, digest: Option<Digest>, audit: Audit },
    /// A backfill exists: its runs are made in turn.
    BackfillCreated(Box<BackfillRecord>),
    /// A backfill makes no further run, or does again.
    BackfillPaused { backfill: BackfillId, paused: bool, audit: Audit },
    /// A backfill makes no further run for good; what runs of it is cancelled.
    BackfillCancelled { backfill: BackfillId, audit: Audit },
    /// Every run of a backfill has ended.
    BackfillEnded { backfill: BackfillId, state: State, at: Timestamp },
    /// The answer to a request id, kept for repeated calls.
    RequestAnswered { request: RequestId, digest: u64, answer: Arc<str>, at: Timestamp },
    /// Answers and archived ids from before this time are forgotten.
    AnswersForgotten { before: Timestamp, archived_before: Timestamp },
}

/// What a run is bound to from its first event on.
#[derive(Debug, Clone, PartialEq)]
pub struct RunCreated {
    /// Its number; one more than the last run's.
    pub run: RunNo,
    /// The id users know.
    pub id: RunId,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// The version, for good.
    pub version: u32,
    /// Checked parameters, defaults included, as a JSON object.
    pub params: Arc<str>,
    /// What started it.
    pub trigger: Trigger,
    /// The time it covers, if any.
    pub interval: Option<Interval>,
    /// Longest time from start to end.
    pub run_timeout: Option<Millis>,
    /// The task that started it.
    pub parent: Option<Parent>,
    /// What it is to be accounted to.
    pub cause: Option<Cause>,
    /// The tasks of the plan that were not asked for, as half-open index ranges: SKIPPED(not_selected) from the beginning.
    pub not_selected: Vec<(u32, u32)>,
    /// Of what was asked for: tells a repeated submit from another run under the same id.
    pub request_digest: u64,
    /// When.
    pub at: Timestamp,
}

/// What a trigger made of a happening, other than a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saw {
    /// It gathers it for a run that starts then, if nothing more comes.
    Gathers(Timestamp),
    /// It could not take it.
    Missed(Arc<str>),
}

/// What a new run is accounted to in the same step: so it is made once, whoever leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The schedule: the next interval begins where this run's ends.
    Schedule,
    /// A happening: this trigger has seen it.
    Event {
        /// Its number.
        event: EventNo,
        /// The trigger.
        trigger: TriggerName,
    },
    /// What a trigger gathered.
    Gathered(TriggerName),
    /// A backfill: its next interval is the one after this run's.
    Backfill(BackfillId),
}

/// How a task without a lease ended.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskEnded {
    /// Its run.
    pub run: RunNo,
    /// Its index.
    pub task: u32,
    /// A terminal state.
    pub state: State,
    /// Why.
    pub reason: Option<Reason>,
    /// For the person who must act.
    pub detail: Arc<str>,
    /// What it puts out.
    pub outputs: Outputs,
    /// Who ended it, if a person did.
    pub audit: Option<Audit>,
    /// FAILED, and goes to RETRY until then in the same step.
    pub not_before: Option<Timestamp>,
    /// When.
    pub at: Timestamp,
}

impl Event {
    /// The task it is about, if it is one.
    pub fn task(&self) -> Option<u32> {
        match self {
            Self::AttemptLeased { task, .. }
            | Self::AttemptEnded { task, .. }
            | Self::AttemptWaiting { task, .. }
            | Self::TaskRetrying { task, .. }
            | Self::TaskWaiting { task, .. }
            | Self::TaskStopping { task, .. }
            | Self::TaskExpanded { task, .. } => Some(*task),
            Self::TaskEnded(end) => Some(end.task),
            _ => None,
        }
    }

    /// The run this event belongs to, if it is one run's.
    pub fn run(&self) -> Option<RunNo> {
        match self {
            Self::RunCreated(c) => Some(c.run),
            Self::TaskEnded(t) => Some(t.run),
            Self::RunStarted { run, .. }
            | Self::AttemptLeased { run, .. }
            | Self::AttemptEnded { run, .. }
            | Self::TaskRetrying { run, .. }
            | Self::RunPaused { run, .. }
            | Self::TaskExpanded { run, .. }
            | Self::AttemptWaiting { run, .. }
            | Self::TaskWaiting { run, .. }
            | Self::TaskStopping { run, .. }
            | Self::RunReopened { run, .. }
            | Self::TasksSkipped { run, .. }
            | Self::OutputsRecalled { run, .. }
            | Self::TasksCancelled { run, .. }
            | Self::CancelRequested { run, .. }
            | Self::RunEnded { run, .. }
            | Self::GenerationOpened { run, .. }
            | Self::RunArchived { run, .. } => Some(*run),
            Self::TermStarted { .. }
            | Self::PipelineRegistered { .. }
            | Self::PipelineUnregistered { .. }
            | Self::PipelinePaused { .. }
            | Self::PoolSet { .. }
            | Self::WorkerDrained { .. }
            | Self::ScheduleMoved { .. }
            | Self::BackfillCreated(_)
            | Self::Happened { .. }
            | Self::GatheredMissed { .. }
            | Self::TriggerForgotten { .. }
            | Self::TriggerSaw { .. }
            | Self::EventHandled { .. }
            | Self::FilesSeen { .. }
            | Self::TriggerTokenSet { .. }
            | Self::BackfillPaused { .. }
            | Self::BackfillCancelled { .. }
            | Self::BackfillEnded { .. }
            | Self::TriggerPaused { .. }
            | Self::IntervalsSkipped { .. }
            | Self::RequestAnswered { .. }
            | Self::AnswersForgotten { .. } => None,
        }
    }
}
