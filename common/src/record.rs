//! Records: how runs, tasks and attempts look from outside. One shape serves replies, history and checkpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::items::Items;
use crate::metrics::{Metrics, Outputs};
use crate::{
    BackfillId, Digest, EventNo, Fence, Interval, Millis, PipelineName, PoolName, Reason, RunId, RunNo, SessionId, State, TaskId, TaskKey,
    Timestamp, TriggerName, WorkerName,
};

/// What started a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The kind, such as `manual`.
    pub kind: TriggerKind,
    /// Who or what: a person as the client claims, a trigger's name. Unverified until there are identities.
    pub by: Arc<str>,
    /// What of it: an event's id, a file's path, the run that ended, a backfill. Empty if that says nothing more.
    pub source: Arc<str>,
    /// How many ends of runs are behind it, each of which started the next run.
    pub depth: u32,
}

/// The kinds of trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TriggerKind {
    /// A person or a program asked for it.
    #[default]
    Manual,
    /// A `pipeline` task of another run.
    Pipeline,
    /// Its schedule.
    Schedule,
    /// An event that was emitted.
    Event,
    /// A file.
    File,
    /// The end of another pipeline's run.
    Dependency,
    /// A backfill.
    Backfill,
}

impl TriggerKind {
    /// The word users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Pipeline => "pipeline",
            Self::Schedule => "schedule",
            Self::Event => "event",
            Self::File => "file",
            Self::Dependency => "dependency",
            Self::Backfill => "backfill",
        }
    }

    /// The kind of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Every kind.
    pub const ALL: [Self; 7] = [Self::Manual, Self::Pipeline, Self::Schedule, Self::Event, Self::File, Self::Dependency, Self::Backfill];
}

/// What became of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Its newest run is SUCCESS.
    Success,
    /// Its newest run is FAILED.
    Failed,
    /// Its newest run is CANCELLED.
    Cancelled,
    /// It fell due and no run was made.
    Skipped(SkipReason),
}

/// Why an interval that fell due has no run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SkipReason {
    /// The pipeline or its schedule was paused.
    Paused,
    /// It fell due too long ago, and `catchup` says so.
    Catchup,
    /// Another run had not ended, and `overlap` says so.
    Overlap,
    /// `max_queued` runs were queued.
    MaxQueued,
    /// The run could not be made, as the log says.
    Refused,
}

impl SkipReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Paused, Self::Catchup, Self::Overlap, Self::MaxQueued, Self::Refused];

    /// The word users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Catchup => "catchup",
            Self::Overlap => "overlap",
            Self::MaxQueued => "max_queued",
            Self::Refused => "refused",
        }
    }

    /// The reason of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

impl Outcome {
    /// The word users see, as `SUCCESS` or `SKIPPED(paused)`.
    pub fn word(self) -> String {
        match self {
            Self::Success => State::Success.to_string(),
            Self::Failed => State::Failed.to_string(),
            Self::Cancelled => State::Cancelled.to_string(),
            Self::Skipped(reason) => format!("SKIPPED({})", reason.as_str()),
        }
    }
}

/// A range of time and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerRange {
    /// The range: an interval, or several that touch.
    pub interval: Interval,
    /// What became of it.
    pub outcome: Outcome,
}

/// A backfill: intervals that are run in turn, beside what the schedule starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillRecord {
    /// Its id.
    pub id: BackfillId,
    /// Of which pipeline.
    pub pipeline: PipelineName,
    /// The intervals it runs, in the order in which it runs them.
    pub intervals: Vec<Interval>,
    /// Only these tasks, as selectors; empty: every task.
    pub only: Vec<Arc<str>>,
    /// What its runs are given, a JSON object.
    pub params: Arc<str>,
    /// Runs of it that may be queued or running at once.
    pub max_active: u32,
    /// Of what was asked for.
    pub request_digest: u64,
    /// The ends of its runs start dependents, as those of other runs do.
    pub cascade: bool,
    /// Who asked for it.
    pub created: Audit,
    /// How many of its intervals have a run.
    pub next: u32,
    /// How its runs ended, by the number of their interval.
    pub ended: BTreeMap<u32, State>,
    /// A person paused it.
    pub paused: Option<Audit>,
    /// A person cancelled it.
    pub cancelled: Option<Audit>,
    /// RUNNING, or how it ended: SUCCESS if all its runs did.
    pub state: State,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Something that happened and may start runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// What.
    pub what: What,
    /// What it carries, as JSON: what triggers' templates see as `event`.
    pub event: Arc<str>,
    /// When.
    pub at: Timestamp,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An event was emitted.
    Emitted {
        /// Its name.
        name: Arc<str>,
        /// Its id: minted by who emitted it.
        id: Arc<str>,
    },
    /// A run ended.
    Ended {
        /// Of this pipeline.
        pipeline: PipelineName,
        /// The run.
        run: RunId,
        /// How.
        state: State,
        /// The time it covers.
        interval: Option<Interval>,
        /// How many ends of runs are behind that run.
        depth: u32,
    },
    /// A trigger's file is there, or changed.
    File {
        /// The pipeline.
        pipeline: PipelineName,
        /// Its trigger.
        trigger: TriggerName,
        /// Where.
        path: Arc<str>,
        /// What tells one content from another: size, time, entity tag.
        version: Arc<str>,
    },
}

impl What {
    /// What names it for people: the id of an event or a run, a path.
    pub fn source(&self) -> &str {
        match self {
            Self::Emitted { id, .. } => id,
            Self::Ended { run, .. } => run.as_str(),
            Self::File { path, .. } => path,
        }
    }
}

/// A happening that waits for its runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxRecord {
    /// Its number.
    pub no: EventNo,
    /// What happened.
    pub happening: Happening,
    /// The last trigger that has seen it.
    pub seen: Option<(PipelineName, TriggerName)>,
}

/// A happening that started no run where it should have, or none at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadRecord {
    /// Its number.
    pub no: EventNo,
    /// What happened.
    pub happening: Happening,
    /// The trigger that could not take it; none: there was none for it.
    pub trigger: Option<(PipelineName, TriggerName)>,
    /// Why.
    pub why: Arc<str>,
}

/// A file and what tells one content of it from another.
pub type FileVersion = (Arc<str>, Arc<str>);

/// What a trigger gathers for one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatheredRecord {
    /// The trigger.
    pub trigger: TriggerName,
    /// When its run starts, if nothing more comes.
    pub until: Timestamp,
    /// What came, as JSON, oldest first.
    pub events: Vec<Arc<str>>,
    /// What of the newest is named for people.
    pub source: Arc<str>,
}

/// A pipeline's place in time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TimetableRecord {
    /// Where the next interval of its schedule begins.
    pub watermark: Option<Timestamp>,
    /// Triggers that a person paused, its `schedule` among them.
    pub paused: Vec<(TriggerName, Audit)>,
    /// What its triggers gather.
    pub gathered: Vec<GatheredRecord>,
    /// The files that its triggers have seen: trigger, path, version.
    pub files: Vec<(TriggerName, Vec<FileVersion>)>,
    /// Triggers of whose first look, which only notes what is there, more is to come.
    pub noting: Vec<TriggerName>,
    /// Digests of the tokens that open webhooks of its triggers.
    pub tokens: Vec<(TriggerName, Digest)>,
    /// Intervals that were skipped, by reason.
    pub skipped: Vec<(SkipReason, u64)>,
    /// What became of its intervals.
    pub ledger: Vec<LedgerRange>,
    /// What became of its tasks: those that have the same ranges, and these.
    pub tasks: Vec<(Vec<TaskId>, Vec<LedgerRange>)>,
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
    /// The number of the newest happening.
    pub last_event: EventNo,
    /// Happenings that wait for their runs.
    pub inbox: Vec<InboxRecord>,
    /// The newest that started no run.
    pub dead: Vec<DeadRecord>,
    /// Backfills that have not ended, and the newest of those that have.
    pub backfills: Vec<BackfillRecord>,
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
    /// Its schedule and its triggers.
    pub timetable: TimetableRecord,
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
