//! Events: the facts a journal holds. Each carries results, not rules, so that replaying them needs no policy.
//!
//! The scheduler decides and applies them; `penstock-proto` gives them their bytes. A run is named by its
//! [`RunNo`] and a task by its index in the plan (plans number tasks in sorted id order).

use std::sync::Arc;

use crate::record::{Ended, Trigger};
use crate::{
    Digest, Epoch, Fence, Interval, Millis, NodeName, PipelineName, Reason, RequestId, RunId, RunNo, SessionId, State, Timestamp,
    WorkerName,
};

/// One fact.
#[allow(missing_docs, reason = "a field's type is its documentation; what it means for each event stands above the event")]
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A new leader took over; written before it decides anything.
    TermStarted { epoch: Epoch, node: NodeName, at: Timestamp },
    /// A pipeline got a new version, whose definition is the blob `digest`; these old versions, bound by no run, are dropped.
    PipelineRegistered { pipeline: PipelineName, version: u32, digest: Digest, dropped: Vec<u32>, at: Timestamp },
    /// A run exists and is PENDING.
    RunCreated(Box<RunCreated>),
    /// PENDING to RUNNING.
    RunStarted { run: RunNo, at: Timestamp },
    /// A worker has the right to one attempt: the task is RUNNING.
    AttemptLeased { run: RunNo, task: u32, number: u32, fence: Fence, worker: WorkerName, session: SessionId, at: Timestamp },
    /// An attempt ended, and the task takes its state.
    AttemptEnded { run: RunNo, task: u32, fence: Fence, ended: Box<Ended> },
    /// FAILED to RETRY in the same step; `lost` says from which budget.
    TaskRetrying { run: RunNo, task: u32, not_before: Timestamp, lost: bool },
    /// A task that never got a lease, or whose retry never started, failed.
    TaskFailed { run: RunNo, task: u32, reason: Reason, at: Timestamp },
    /// The tasks of these half-open index ranges, all PENDING, are SKIPPED.
    TasksSkipped { run: RunNo, ranges: Vec<(u32, u32)>, reason: Reason, at: Timestamp },
    /// Every task of the run that is not terminal and not RUNNING is CANCELLED.
    TasksCancelled { run: RunNo, reason: Reason, at: Timestamp },
    /// The run leases nothing more, and its running attempts are to be stopped.
    CancelRequested { run: RunNo, reason: Reason, by: Arc<str>, note: Arc<str>, at: Timestamp },
    /// The run is terminal.
    RunEnded { run: RunNo, state: State, reason: Option<Reason>, at: Timestamp },
    /// A new life of these tasks (half-open index ranges, all terminal) and of the run, which is PENDING again: it takes its turn.
    GenerationOpened { run: RunNo, generation: u32, ranges: Vec<(u32, u32)>, by: Arc<str>, note: Arc<str>, at: Timestamp },
    /// The run's history and id are durable; state drops it.
    RunArchived { run: RunNo, at: Timestamp },
    /// A worker takes no new lease, or does again.
    WorkerDrained { worker: WorkerName, drained: bool, by: Arc<str>, at: Timestamp },
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
    /// Of what was asked for: tells a repeated submit from another run under the same id.
    pub request_digest: u64,
    /// When.
    pub at: Timestamp,
}

impl Event {
    /// The run this event belongs to, if it is one run's.
    pub fn run(&self) -> Option<RunNo> {
        match self {
            Self::RunCreated(c) => Some(c.run),
            Self::RunStarted { run, .. }
            | Self::AttemptLeased { run, .. }
            | Self::AttemptEnded { run, .. }
            | Self::TaskRetrying { run, .. }
            | Self::TaskFailed { run, .. }
            | Self::TasksSkipped { run, .. }
            | Self::TasksCancelled { run, .. }
            | Self::CancelRequested { run, .. }
            | Self::RunEnded { run, .. }
            | Self::GenerationOpened { run, .. }
            | Self::RunArchived { run, .. } => Some(*run),
            Self::TermStarted { .. }
            | Self::PipelineRegistered { .. }
            | Self::WorkerDrained { .. }
            | Self::RequestAnswered { .. }
            | Self::AnswersForgotten { .. } => None,
        }
    }
}
