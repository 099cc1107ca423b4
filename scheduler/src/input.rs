//! What goes into a decision and what comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_common::event::Cause;
use penstock_common::lease::Lease;
use penstock_common::record::{Parent, Report, TriggerKind};
use penstock_common::{
    BackfillId, Digest, Epoch, Event, Fence, Interval, Items, NodeName, PipelineName, PoolName, QueueName, Reason, RequestId, RunId, RunNo,
    Selector, SessionId, State, TaskId, TaskKey, Timestamp, TriggerName, WorkerName,
};

use crate::backfill::BackfillAsked;
use crate::cut::{RunCut, SnapshotRun};
use crate::decide::Recalled;
use crate::plan::Plan;

/// Everything that can make the scheduler decide.
#[derive(Debug, Clone)]
pub enum Input {
    /// Time passed, or work was left over.
    Tick,
    /// The first input of a term.
    StartTerm {
        /// The term.
        epoch: Epoch,
        /// Who leads.
        node: NodeName,
    },
    /// A definition, whose blob is already stored.
    Register {
        /// Compiled and checked.
        plan: Arc<Plan>,
    },
    /// Start a run.
    Submit(Box<Submit>),
    /// Stop a run.
    Cancel {
        /// The run.
        run: RunId,
        /// Teardowns too.
        now: bool,
        /// Who asks, as the client claims.
        by: Arc<str>,
        /// Why, in a person's words.
        note: Arc<str>,
    },
    /// Open a new generation of some tasks, or of what did not succeed and of all below it.
    Rerun {
        /// The run.
        run: RunId,
        /// Which tasks; none: what did not succeed, and all below it.
        tasks: Vec<Selector>,
        /// Minted by the client, so that a repeated call opens one generation.
        request: RequestId,
        /// Who asks, as the client claims.
        by: Arc<str>,
        /// Why, in a person's words.
        note: Arc<str>,
    },
    /// Say how tasks ended.
    Mark(Box<Mark>),
    /// An archived run is live again, so that it can be rerun; its blob is stored.
    Reopen {
        /// As its history says.
        run: Box<SnapshotRun>,
        /// The items files that its tasks name.
        items: Vec<Arc<Items>>,
        /// Of the blob.
        digest: Digest,
    },
    /// A person's yes or no to an `approve` task or to a held one.
    Verdict {
        /// The run.
        run: RunId,
        /// The task.
        task: TaskKey,
        /// Yes.
        approve: bool,
        /// Who says it, as the client claims.
        by: Arc<str>,
        /// Why, in their words.
        note: Arc<str>,
    },
    /// Start nothing of a run, or do again.
    PauseRun {
        /// The run.
        run: RunId,
        /// Pause, or resume.
        paused: bool,
        /// Who asks, as the client claims.
        by: Arc<str>,
        /// Why, in their words.
        note: Arc<str>,
    },
    /// Start nothing of a pipeline, or do again.
    PausePipeline {
        /// The pipeline.
        pipeline: PipelineName,
        /// Pause, or resume.
        paused: bool,
        /// Who asks, as the client claims.
        by: Arc<str>,
        /// Why, in their words.
        note: Arc<str>,
    },
    /// Take no new run of a pipeline until it is registered again.
    Unregister {
        /// The pipeline.
        pipeline: PipelineName,
        /// Who asks, as the client claims.
        by: Arc<str>,
        /// Why, in their words.
        note: Arc<str>,
    },
    /// Set where the next interval of a schedule begins.
    Rewind {
        /// The pipeline.
        pipeline: PipelineName,
        /// At the last time of the schedule that is not after this.
        to: Timestamp,
        /// Who asks, as the client claims.
        by: Arc<str>,
        /// Why, in their words.
        note: Arc<str>,
    },
    /// A trigger of a pipeline, or its `schedule`, starts nothing, or does again.
    PauseTrigger {
        /// The pipeline.
        pipeline: PipelineName,
        /// The trigger.
        trigger: TriggerName,
        /// Pause, or resume.
        paused: bool,
        /// Who asks, as the client claims.
        by: Arc<str>,
        /// Why, in their words.
        note: Arc<str>,
    },
    /// Something happened elsewhere.
    EmitEvent(Emitted),
    /// What a trigger's look at its files found.
    FilesFound {
        /// The pipeline.
        pipeline: PipelineName,
        /// Its trigger.
        trigger: TriggerName,
        /// Files that have settled.
        found: Vec<FoundFile>,
        /// Paths that are no more.
        gone: Vec<Arc<str>>,
        /// More of the same look is to come: what a trigger finds at its first look is noted as a whole.
        partial: bool,
    },
    /// Who calls the webhook of a trigger must show a token with this digest.
    SetTriggerToken {
        /// The pipeline.
        pipeline: PipelineName,
        /// Its trigger, on events.
        trigger: TriggerName,
        /// Of the token; `None`: nobody may call it.
        digest: Option<Digest>,
        /// Who asks, as the client claims.
        by: Arc<str>,
        /// Why, in their words.
        note: Arc<str>,
    },
    /// Run the intervals of some dates.
    Backfill(Box<BackfillAsked>),
    /// A backfill makes no further run, or does again.
    PauseBackfill {
        /// The backfill.
        backfill: BackfillId,
        /// Pause, or resume.
        paused: bool,
        /// Who asks, as the client claims.
        by: Arc<str>,
        /// Why, in their words.
        note: Arc<str>,
    },
    /// A backfill makes no further run, and those it has are cancelled.
    CancelBackfill {
        /// The backfill.
        backfill: BackfillId,
        /// Who asks, as the client claims.
        by: Arc<str>,
        /// Why, in their words.
        note: Arc<str>,
    },
    /// Give a pool so many slots.
    SetPool {
        /// The pool.
        pool: PoolName,
        /// `None`: remove it. `u32::MAX`: no limit.
        slots: Option<u32>,
        /// Who asks, as the client claims.
        by: Arc<str>,
        /// Why, in their words.
        note: Arc<str>,
    },
    /// Lease nothing more to a worker, or lease to it again.
    Drain {
        /// The worker.
        worker: WorkerName,
        /// Drain, or undo it.
        drained: bool,
        /// Who asks, as the client claims.
        by: Arc<str>,
    },
    /// A worker's stream is open.
    Hello(Box<Hello>),
    /// A worker said that it stops: it takes no new lease.
    Leaving {
        /// Its session.
        session: SessionId,
    },
    /// A worker's session is over.
    Gone {
        /// Its session.
        session: SessionId,
        /// Its process ended, as far as can be known; else it only fell silent.
        died: bool,
        /// For the person who must act.
        detail: Arc<str>,
    },
    /// An attempt ended, or waits, says its worker.
    Report {
        /// The session that says so.
        session: SessionId,
        /// Of the attempt's lease.
        fence: Fence,
        /// What; the blob of an items file is stored.
        report: Box<Report>,
    },
    /// A run's history and id are durable.
    Archived {
        /// The run.
        run: RunNo,
    },
    /// What history knows of what a run reads.
    Recalled {
        /// The run.
        run: RunNo,
        /// The newest of each task.
        found: Recalled,
    },
}

/// A run that is asked for.
#[derive(Debug, Clone)]
pub struct Submit {
    /// Minted or chosen by the client.
    pub run: RunId,
    /// Of which pipeline.
    pub pipeline: PipelineName,
    /// Which version; `None`: the newest.
    pub version: Option<u32>,
    /// As given, unchecked.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// The time it covers.
    pub interval: Option<Interval>,
    /// What kind of trigger.
    pub trigger: TriggerKind,
    /// Who asks, as the client claims.
    pub by: Arc<str>,
    /// What of it: an event's id, a file's path, a backfill.
    pub source: Arc<str>,
    /// How many ends of runs are behind it.
    pub depth: u32,
    /// What it is to be accounted to.
    pub cause: Option<Cause>,
    /// Only these tasks; none: every task.
    pub only: Vec<Selector>,
    /// The task that asks for it.
    pub parent: Option<Parent>,
    /// Of what was asked for.
    pub digest: u64,
}

/// An event from outside.
#[derive(Debug, Clone)]
pub struct Emitted {
    /// Minted by who emits it: the same again is the same event.
    pub request: RequestId,
    /// Its name.
    pub name: Arc<str>,
    /// What it carries, as JSON.
    pub payload: Arc<str>,
    /// Who emits it, as the client claims.
    pub by: Arc<str>,
    /// Of what was asked for.
    pub digest: u64,
}

/// A file that a trigger waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFile {
    /// Where.
    pub path: Arc<str>,
    /// What tells one content from another: size, time, entity tag.
    pub version: Arc<str>,
    /// In bytes.
    pub size: u64,
    /// When it was last changed.
    pub modified: Timestamp,
}

impl Submit {
    /// A run of a pipeline's newest version, of every task, which nothing but this asks for.
    pub fn of(run: RunId, pipeline: PipelineName, trigger: TriggerKind, by: Arc<str>) -> Self {
        Self {
            run,
            pipeline,
            version: None,
            params: serde_json::Map::new(),
            interval: None,
            trigger,
            by,
            source: Arc::from(""),
            depth: 0,
            cause: None,
            only: Vec::new(),
            parent: None,
            digest: 0,
        }
    }
}

/// What a person says of tasks.
#[derive(Debug, Clone)]
pub struct Mark {
    /// The run.
    pub run: RunId,
    /// Which tasks.
    pub tasks: Vec<Selector>,
    /// SUCCESS, FAILED or SKIPPED.
    pub state: State,
    /// Minted by the client, so that a repeated call opens one generation.
    pub request: RequestId,
    /// Who asks, as the client claims.
    pub by: Arc<str>,
    /// Why, in their words.
    pub note: Arc<str>,
}

/// A worker introduces itself, on each new stream.
#[derive(Debug, Clone)]
pub struct Hello {
    /// This life of the worker.
    pub session: SessionId,
    /// Its name.
    pub worker: WorkerName,
    /// Attempts it can run at once.
    pub slots: u32,
    /// Queues it serves.
    pub queues: BTreeSet<QueueName>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// It takes no new lease.
    pub leaving: bool,
    /// Attempts it runs, and those whose reports follow.
    pub announced: Announced,
}

/// What a worker holds when it says Hello.
#[derive(Debug, Clone, Default)]
pub struct Announced {
    /// Attempts it runs.
    pub running: BTreeSet<Fence>,
    /// Attempts that ended and whose reports are not acknowledged.
    pub finished: BTreeSet<Fence>,
}

/// What may be done once the events are durable.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Send a lease to a worker.
    Lease {
        /// To which.
        session: SessionId,
        /// What.
        lease: Box<Lease>,
    },
    /// Ask a worker to stop an attempt: SIGTERM, grace, SIGKILL.
    Cancel {
        /// Which worker.
        session: SessionId,
        /// Which attempt.
        fence: Fence,
        /// Why.
        reason: Reason,
    },
    /// Tell a worker to kill an attempt that it no longer holds.
    Kill {
        /// Which worker.
        session: SessionId,
        /// Which attempt.
        fence: Fence,
    },
    /// Write an ended run to history, then say [`Input::Archived`].
    Archive(Box<RunCut>),
    /// Look up what history knows of this, then say [`Input::Recalled`].
    Recall(Box<Recall>),
}

/// Outputs that a run reads of tasks that it does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recall {
    /// The run.
    pub run: RunNo,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// Of which interval.
    pub interval: Interval,
    /// Of which tasks.
    pub tasks: BTreeSet<TaskId>,
}

/// Events, already applied, and effects.
#[derive(Debug, Clone, Default)]
pub struct Decision {
    /// To be appended.
    pub events: Vec<Event>,
    /// To be held until then.
    pub effects: Vec<Effect>,
    /// For whoever asked.
    pub answer: Answer,
}

/// What whoever asked is told, once the events are durable.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Answer {
    /// Done.
    #[default]
    Done,
    /// A pipeline's version; `created` is false where it was there already.
    Version {
        /// The version.
        version: u32,
        /// Whether it is new.
        created: bool,
    },
    /// A run; `created` is false where the same submit came before.
    Run {
        /// The run.
        run: RunId,
        /// Whether it is new.
        created: bool,
        /// The version it is bound to.
        version: u32,
    },
    /// The number of an event.
    Event(u64),
    /// The generation that a rerun opened.
    Generation(u32),
    /// A cancel: the state the run had.
    Cancelled(State),
    /// Whether it was otherwise before.
    Changed(bool),
    /// The report is recorded, now or before; or it is stale and its attempt must not go on.
    Reported {
        /// Whether it carried the current fence.
        current: bool,
    },
}

/// Why an input changed nothing: what was wrong, and what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// No such pipeline.
    #[error("there is no pipeline {0}: register it first (penstock register FILE), or see what there is with: penstock pipelines")]
    UnknownPipeline(PipelineName),
    /// No such version.
    #[error("pipeline {pipeline} has no version {version}; its newest is {newest}")]
    UnknownVersion {
        /// The pipeline.
        pipeline: PipelineName,
        /// Asked for.
        version: u32,
        /// There is.
        newest: u32,
    },
    /// No such run among those that live.
    #[error("there is no live run {0}: it never was, or it has ended and was archived")]
    UnknownRun(RunId),
    /// Parameters that do not fit.
    #[error("{}", .0.join("; "))]
    BadParams(Vec<String>),
    /// The id is taken by a run that was asked for otherwise.
    #[error("run {0} exists already and was asked for with other values: choose another run id")]
    RunExists(RunId),
    /// The id is taken by a backfill that was asked for otherwise.
    #[error(
        "backfill {0} exists already and was asked for with other values: choose another id, or see it with penstock backfills show {0}"
    )]
    BackfillExists(BackfillId),
    /// A request id that came before with another question.
    #[error("request {0} came before with another question: mint a new request id for each")]
    RequestReused(RequestId),
    /// A rerun of a run that has not ended.
    #[error("run {run} is {state}: only an ended run can be rerun; cancel it first (penstock cancel {run})")]
    NotEnded {
        /// The run.
        run: RunId,
        /// Its state.
        state: State,
    },
    /// A rerun of what has nothing to rerun.
    #[error("run {0} has no task that failed, was cancelled or was skipped for one that did: there is nothing to rerun")]
    NothingToRerun(RunId),
    /// No such task.
    #[error("run {run} has no task {task}: see what it has with penstock get {run}")]
    UnknownTask {
        /// The run.
        run: RunId,
        /// The name.
        task: TaskKey,
    },
    /// A submit for a task that the pipeline has not.
    #[error("pipeline {pipeline} has no task {task}: {hint}")]
    NotOfPipeline {
        /// The pipeline.
        pipeline: PipelineName,
        /// The name.
        task: TaskKey,
        /// What may be meant.
        hint: String,
    },
    /// A verb that does not fit the task's state.
    #[error("task {task} of run {run} is {state}: {expected}")]
    WrongState {
        /// The run.
        run: RunId,
        /// The task.
        task: TaskKey,
        /// Its state.
        state: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A pipeline that a person took off.
    #[error("pipeline {pipeline} was unregistered by {} at {at}: register it again to run it", if by.is_empty() { "somebody" } else { by })]
    Unregistered {
        /// The pipeline.
        pipeline: PipelineName,
        /// Who.
        by: Arc<str>,
        /// When.
        at: String,
    },
    /// A pool that nobody has set.
    #[error("pipeline {pipeline} uses the pool {pool}, and there is none: penstock pools set {pool} SLOTS")]
    UnknownPool {
        /// The pipeline.
        pipeline: PipelineName,
        /// The pool.
        pool: PoolName,
    },
    /// A pool that cannot be removed.
    #[error("pool {pool} is used by {by}: register that pipeline without it first")]
    PoolInUse {
        /// The pool.
        pool: PoolName,
        /// A pipeline.
        by: PipelineName,
    },
    /// Dates of which every interval ran, runs, or has not ended.
    #[error("pipeline {0} has nothing to run there: see why with --dry-run; to run again what ran before, --reprocess failed or all")]
    NothingToBackfill(PipelineName),
    /// What was asked for cannot be.
    #[error("{0}")]
    Refused(String),
    /// The run was set aside.
    #[error("run {run} is quarantined: {why}")]
    Quarantined {
        /// The run.
        run: RunId,
        /// The broken invariant.
        why: Arc<str>,
    },
    /// A limit of the cluster or a pipeline: try again later.
    #[error("{what}: {limit} is the limit; try again when some have ended")]
    Overloaded {
        /// What there is too much of.
        what: String,
        /// The limit.
        limit: usize,
    },
    /// Two live workers under one name.
    #[error("a worker named {worker} is attached already (session {other}): give each worker its own --name")]
    WorkerNameTaken {
        /// The name.
        worker: WorkerName,
        /// Who holds it.
        other: SessionId,
    },
    /// A session that never said Hello to this leader.
    #[error("session {0} has not said Hello to this leader")]
    UnknownSession(SessionId),
    /// A worker nobody has heard of.
    #[error("there is no worker {0}: see what there is with: penstock workers")]
    UnknownWorker(WorkerName),
}
