//! Records: how runs, tasks and attempts look from outside. One shape serves replies, history and checkpoints.

use std::sync::Arc;

use crate::items::Items;
use crate::metrics::{Metrics, Outputs};
use crate::{
    Digest, Fence, Interval, Millis, PipelineName, PoolName, Reason, RunId, RunNo, SessionId, State, TaskId, TaskKey, Timestamp, WorkerName,
};

/// What started a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The kind, such as `manual`.
    pub kind: TriggerKind,
    /// Who or what: a person as the client claims, a trigger's name. Unverified until there are identities.
    pub by: Arc<str>,
}

/// The kinds of trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TriggerKind {
    /// A person or a program asked for it.
    #[default]
    Manual,
    /// A `pipeline` task of another run.
    Pipeline,
}

impl TriggerKind {
    /// The word users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Pipeline => "pipeline",
        }
    }
}

/// What a worker says of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// It ended.
    Ended {
        /// How.
        ended: Ended,
        /// The items file it wrote, for a mapped task below.
        items: Option<Arc<Items>>,
    },
    /// A sensor found that it is not so yet: it gives its slot back, and is probed again at this time.
    Waiting {
        /// When.
        until: Timestamp,
        /// What it saw.
        detail: Arc<str>,
    },
}

/// How an attempt ended, as the worker reports it or the leader decides it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// SUCCESS, FAILED, SKIPPED or CANCELLED.
    pub state: State,
    /// Why, unless SUCCESS.
    pub reason: Option<Reason>,
    /// For the person who must act; at most [`crate::limits::MAX_DETAIL_BYTES`].
    pub detail: Arc<str>,
    /// The program's exit code, if it had one.
    pub exit_code: Option<i32>,
    /// When the program started on the worker; 0 if it did not.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// The task's numbers.
    pub metrics: Metrics,
    /// The task's outputs.
    pub outputs: Outputs,
    /// Of the items file it wrote, whose blob is stored.
    pub items: Option<Digest>,
    /// Its worker's process died: counted against poison.
    pub worker_died: bool,
}

/// One try of a task by one worker.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptRecord {
    /// 1, 2, 3… over all generations.
    pub number: u32,
    /// The number of its lease.
    pub fence: Fence,
    /// Who held it.
    pub worker: WorkerName,
    /// In which life of that worker.
    pub session: SessionId,
    /// RUNNING, SUCCESS, FAILED, SKIPPED or CANCELLED.
    pub state: State,
    /// Why, unless RUNNING or SUCCESS.
    pub reason: Option<Reason>,
    /// For the person who must act.
    pub detail: Arc<str>,
    /// When the lease was decided.
    pub leased_at: Timestamp,
    /// When the program started; the lease's time while it runs.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The program's exit code, if it had one.
    pub exit_code: Option<i32>,
    /// The attempt's numbers.
    pub metrics: Metrics,
}

/// A task of a run: a node of the plan, or an instance of a mapped one.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRecord {
    /// Its index in the run: the plan's nodes come first, instances as they were made.
    pub index: u32,
    /// Its name.
    pub id: TaskKey,
    /// The number of the instance, if it is one.
    pub instance: Option<u32>,
    /// Its instances, if it is a mapped task that has them.
    pub mapped: Option<Mapped>,
    /// An instance of an earlier generation that this one does not have: kept for its attempts, and shown nowhere.
    pub gone: bool,
    /// Where it stands.
    pub state: State,
    /// Why.
    pub reason: Option<Reason>,
    /// For the person who must act, where no attempt says it.
    pub detail: Arc<str>,
    /// When it took its present state; 0 if it never had another.
    pub changed_at: Timestamp,
    /// RETRY: not before this. A sensor: probed again then.
    pub not_before: Option<Timestamp>,
    /// The run it started and waits for.
    pub child: Option<RunId>,
    /// That run is being stopped, and the task ends for this reason once it has ended.
    pub stopping: Option<Reason>,
    /// When its last try ended, where no attempt says it: a probe that was lost and then waited too long for another.
    pub tried_until: Option<Timestamp>,
    /// Failures spent of `retries` in this generation.
    pub failures: u32,
    /// Attempts lost in this generation.
    pub lost: u32,
    /// Lost attempts whose worker process died, in this generation.
    pub deaths: u32,
    /// Every attempt, oldest first.
    pub attempts: Vec<AttemptRecord>,
    /// Of the newest SUCCESS.
    pub outputs: Outputs,
    /// Of the items file of the newest SUCCESS.
    pub items: Option<Digest>,
}

/// The instances of a mapped task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mapped {
    /// How many of the present generation.
    pub count: u32,
    /// Where they are: (first index, how many), in the order of their numbers. More than `count` where an earlier generation had more.
    pub segments: Vec<(u32, u32)>,
    /// How many are in each state, in the order of [`State::ALL`].
    pub counts: [u32; 7],
}

/// What a person did to a run, as claimed: unverified until there are identities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// When.
    pub at: Timestamp,
    /// `cancel`, `rerun`, `mark`, …
    pub verb: Arc<str>,
    /// What of the run; empty: all of it.
    pub subject: Arc<str>,
    /// Who.
    pub by: Arc<str>,
    /// Why, in their words.
    pub note: Arc<str>,
}

/// The task that started a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Its run.
    pub run: RunNo,
    /// The id of that run.
    pub id: RunId,
    /// The task's index in it.
    pub task: u32,
    /// How many runs are above this one.
    pub depth: u32,
}

/// A run without its tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Its number within the cluster.
    pub no: RunNo,
    /// The id users know.
    pub id: RunId,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// The pipeline's version.
    pub version: u32,
    /// 1, and one more with each rerun.
    pub generation: u32,
    /// What started it.
    pub trigger: Trigger,
    /// The time it covers.
    pub interval: Option<Interval>,
    /// A JSON object.
    pub params: Arc<str>,
    /// PENDING, RUNNING, SUCCESS, FAILED, CANCELLED or SKIPPED.
    pub state: State,
    /// Why.
    pub reason: Option<Reason>,
    /// A cancel was asked for, with this reason.
    pub cancel: Option<Reason>,
    /// A person paused it: it leases nothing.
    pub paused: bool,
    /// The task that started it.
    pub parent: Option<Parent>,
    /// What people did to it, oldest first; the newest [`crate::limits::MAX_AUDIT_PER_RUN`].
    pub audit: Vec<Audit>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When it first left PENDING.
    pub started_at: Option<Timestamp>,
    /// When its present generation ended.
    pub ended_at: Option<Timestamp>,
    /// When its present generation started; the run timeout counts from here.
    pub generation_at: Timestamp,
    /// Longest time from a generation's start to its end.
    pub run_timeout: Option<Millis>,
    /// Of what was asked for at submit.
    pub request_digest: u64,
    /// How many tasks it has.
    pub tasks: u32,
    /// How many are in each state, in the order of [`State::ALL`].
    pub counts: [u32; 7],
    /// Set aside for this broken invariant; nothing of it is decided any more.
    pub quarantined: Option<Arc<str>>,
}

/// One change of a task or run, as `watch` shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// When it was decided.
    pub at: Timestamp,
    /// The task; `None` for the run itself.
    pub task: Option<TaskKey>,
    /// The state reached.
    pub state: State,
    /// Why.
    pub reason: Option<Reason>,
    /// For the person who must act.
    pub detail: Arc<str>,
    /// Number of the attempt concerned, 0 if none.
    pub attempt: u32,
    /// The worker concerned.
    pub worker: Option<WorkerName>,
    /// Running time, at an attempt's end.
    pub duration: Option<Millis>,
    /// The attempt's numbers, at its end.
    pub metrics: Metrics,
}

/// Everything a checkpoint holds besides runs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClusterRecord {
    /// The term.
    pub epoch: crate::Epoch,
    /// Its leader.
    pub leader: Option<crate::NodeName>,
    /// The number of the newest run.
    pub last_run: RunNo,
    /// The newest lease's fence.
    pub last_fence: Fence,
    /// Every pipeline.
    pub pipelines: Vec<PipelineRecord>,
    /// Drained workers.
    pub drained: Vec<WorkerName>,
    /// Every pool.
    pub pools: Vec<PoolRecord>,
    /// Kept answers.
    pub answers: Vec<AnswerRecord>,
    /// Runs archived a short while ago.
    pub archived: Vec<(RunId, Timestamp)>,
}

/// A pipeline and its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineRecord {
    /// Its name.
    pub name: PipelineName,
    /// (number, digest of the definition, registered at), oldest first.
    pub versions: Vec<(u32, Digest, Timestamp)>,
    /// A person paused it: nothing of it is started.
    pub paused: Option<Audit>,
    /// A person took it off: it takes no new run until it is registered again.
    pub unregistered: Option<Audit>,
    /// Intervals with SUCCESS and what they put out, for `previous`: by start, the newest.
    pub previous: Vec<PreviousRecord>,
}

/// What an interval left for the next ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousRecord {
    /// The interval.
    pub interval: Interval,
    /// Outputs by task.
    pub outputs: Vec<(TaskId, Outputs)>,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRecord {
    /// Its name.
    pub name: PoolName,
    /// How many slots it has; `u32::MAX`: no limit.
    pub slots: u32,
    /// Who set it last.
    pub set: Audit,
}

/// A kept answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerRecord {
    /// To this request.
    pub request: crate::RequestId,
    /// Digest of the question.
    pub digest: u64,
    /// The answer.
    pub answer: Arc<str>,
    /// When.
    pub at: Timestamp,
}
