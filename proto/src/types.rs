//! Runs, tasks, attempts and their ends.

use std::sync::Arc;

use penstock_common::metrics::{Metrics, Outputs};
use penstock_common::record::{AttemptRecord, Audit, Ended, Mapped, Parent, RunRecord, TaskRecord, Trigger, TriggerKind};
use penstock_common::{Digest, Epoch, Fence, Interval, Millis, PipelineName, Reason, RunNo, State, Timestamp};

use crate::v1;

/// A message whose field cannot be what it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Malformed {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

pub(crate) fn malformed(field: &'static str, why: impl ToString) -> Malformed {
    Malformed { field, why: why.to_string() }
}

/// A field that must be there.
pub(crate) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, Malformed> {
    value.ok_or_else(|| malformed(field, "is missing"))
}

/// A typed id.
pub(crate) fn id<T: std::str::FromStr<Err = penstock_common::ids::InvalidId>>(field: &'static str, text: &str) -> Result<T, Malformed> {
    text.parse().map_err(|e| malformed(field, e))
}

pub(crate) fn state_of(n: i32) -> Result<State, Malformed> {
    let index = usize::try_from(n).map_err(|_| malformed("state", n))?;
    State::ALL.get(index).copied().ok_or_else(|| malformed("state", format!("{n} is not a state")))
}

pub(crate) fn reason_of(word: &str) -> Result<Option<Reason>, Malformed> {
    match word {
        "" => Ok(None),
        word => Reason::parse(word).map(Some).ok_or_else(|| malformed("reason", format!("{word:?} is not a reason"))),
    }
}

pub(crate) fn word(reason: Option<Reason>) -> String {
    reason.map_or(String::new(), |r| r.as_str().to_owned())
}

pub(crate) fn digest(bytes: &[u8]) -> Result<Digest, Malformed> {
    Digest::from_slice(bytes).ok_or_else(|| malformed("digest", "32 bytes"))
}

fn maybe_digest(bytes: &[u8]) -> Result<Option<Digest>, Malformed> {
    if bytes.is_empty() { Ok(None) } else { digest(bytes).map(Some) }
}

pub(crate) fn bytes_of(digest: Option<Digest>) -> prost::bytes::Bytes {
    digest.map_or_else(Default::default, |d| d.0.to_vec().into())
}

/// A list of pairs, flat.
pub(crate) fn flat(ranges: Vec<(u32, u32)>) -> Vec<u32> {
    ranges.into_iter().flat_map(|(from, to)| [from, to]).collect()
}

/// Read back.
pub(crate) fn unflat(flat: &[u32]) -> Result<Vec<(u32, u32)>, Malformed> {
    let (pairs, rest) = flat.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(malformed("pairs", "an even number of values"));
    }
    Ok(pairs.iter().map(|&[from, to]| (from, to)).collect())
}

/// Half-open ranges, none empty.
pub(crate) fn ranges(flat: &[u32]) -> Result<Vec<(u32, u32)>, Malformed> {
    let pairs = unflat(flat)?;
    if pairs.iter().any(|(from, to)| from >= to) {
        return Err(malformed("ranges", "pairs of from and to, from below to"));
    }
    Ok(pairs)
}

pub(crate) fn time(ms: i64) -> Option<Timestamp> {
    (ms != 0).then_some(Timestamp(ms))
}

pub(crate) fn ms(time: Option<Timestamp>) -> i64 {
    time.map_or(0, |t| t.0)
}

impl From<State> for v1::State {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Running => Self::Running,
            State::Success => Self::Success,
            State::Failed => Self::Failed,
            State::Retry => Self::Retry,
            State::Skipped => Self::Skipped,
            State::Cancelled => Self::Cancelled,
        }
    }
}

impl From<v1::State> for State {
    fn from(state: v1::State) -> Self {
        match state {
            v1::State::Pending => Self::Pending,
            v1::State::Running => Self::Running,
            v1::State::Success => Self::Success,
            v1::State::Failed => Self::Failed,
            v1::State::Retry => Self::Retry,
            v1::State::Skipped => Self::Skipped,
            v1::State::Cancelled => Self::Cancelled,
        }
    }
}

impl From<Epoch> for v1::Epoch {
    fn from(e: Epoch) -> Self {
        Self { incarnation: e.incarnation, revision: e.revision }
    }
}
impl From<v1::Epoch> for Epoch {
    fn from(e: v1::Epoch) -> Self {
        Self { incarnation: e.incarnation, revision: e.revision }
    }
}

impl From<Interval> for v1::Interval {
    fn from(i: Interval) -> Self {
        Self { start_ms: i.start().0, end_ms: i.end().0 }
    }
}
impl TryFrom<v1::Interval> for Interval {
    type Error = Malformed;
    fn try_from(i: v1::Interval) -> Result<Self, Malformed> {
        Self::new(Timestamp(i.start_ms), Timestamp(i.end_ms)).ok_or_else(|| malformed("interval", "it must start before it ends"))
    }
}

impl From<Trigger> for v1::Trigger {
    fn from(t: Trigger) -> Self {
        Self { kind: t.kind.as_str().to_owned(), by: t.by.to_string(), source: t.source.to_string(), depth: t.depth }
    }
}
impl TryFrom<v1::Trigger> for Trigger {
    type Error = Malformed;
    fn try_from(t: v1::Trigger) -> Result<Self, Malformed> {
        Ok(Self { kind: trigger_kind(&t.kind)?, by: t.by.into(), source: t.source.into(), depth: t.depth })
    }
}

pub(crate) fn trigger_kind(word: &str) -> Result<TriggerKind, Malformed> {
    TriggerKind::parse(word).ok_or_else(|| malformed("trigger", format!("{word:?} is not a kind of trigger")))
}

impl From<RunRecord> for v1::Run {
    fn from(r: RunRecord) -> Self {
        Self {
            no: r.no.0,
            run_id: r.id.to_string(),
            pipeline: r.pipeline.full().to_owned(),
            version: r.version,
            generation: r.generation,
            trigger: Some(r.trigger.into()),
            interval: r.interval.map(Into::into),
            params: r.params.to_string(),
            state: v1::State::from(r.state).into(),
            reason: word(r.reason),
            cancel: word(r.cancel),
            created_at_ms: r.created_at.0,
            started_at_ms: ms(r.started_at),
            ended_at_ms: ms(r.ended_at),
            generation_at_ms: r.generation_at.0,
            run_timeout_ms: r.run_timeout.map_or(0, |d| d.0),
            request_digest: r.request_digest,
            tasks: r.tasks,
            counts: r.counts.to_vec(),
            quarantined: r.quarantined.map_or(String::new(), |q| q.to_string()),
            paused: r.paused,
            parent: r.parent.map(Into::into),
            audit: r.audit.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Run> for RunRecord {
    type Error = Malformed;
    fn try_from(r: v1::Run) -> Result<Self, Malformed> {
        Ok(Self {
            no: RunNo(r.no),
            id: id("run_id", &r.run_id)?,
            pipeline: id::<PipelineName>("pipeline", &r.pipeline)?,
            version: r.version,
            generation: r.generation,
            trigger: required("trigger", r.trigger)?.try_into()?,
            interval: r.interval.map(TryInto::try_into).transpose()?,
            params: r.params.into(),
            state: state_of(r.state)?,
            reason: reason_of(&r.reason)?,
            cancel: reason_of(&r.cancel)?,
            created_at: Timestamp(r.created_at_ms),
            started_at: time(r.started_at_ms),
            ended_at: time(r.ended_at_ms),
            generation_at: Timestamp(r.generation_at_ms),
            run_timeout: (r.run_timeout_ms != 0).then_some(Millis(r.run_timeout_ms)),
            request_digest: r.request_digest,
            tasks: r.tasks,
            counts: r.counts.try_into().map_err(|_| malformed("counts", "there are seven states"))?,
            quarantined: (!r.quarantined.is_empty()).then(|| Arc::from(r.quarantined)),
            paused: r.paused,
            parent: r.parent.map(TryInto::try_into).transpose()?,
            audit: r.audit.into_iter().map(Into::into).collect(),
        })
    }
}

impl From<Audit> for v1::Audit {
    fn from(a: Audit) -> Self {
        Self { at_ms: a.at.0, verb: a.verb.to_string(), subject: a.subject.to_string(), by: a.by.to_string(), note: a.note.to_string() }
    }
}
impl From<v1::Audit> for Audit {
    fn from(a: v1::Audit) -> Self {
        Self { at: Timestamp(a.at_ms), verb: a.verb.into(), subject: a.subject.into(), by: a.by.into(), note: a.note.into() }
    }
}

impl From<Parent> for v1::Parent {
    fn from(p: Parent) -> Self {
        Self { run: p.run.0, run_id: p.id.to_string(), task: p.task, depth: p.depth }
    }
}
impl TryFrom<v1::Parent> for Parent {
    type Error = Malformed;
    fn try_from(p: v1::Parent) -> Result<Self, Malformed> {
        Ok(Self { run: RunNo(p.run), id: id("run_id", &p.run_id)?, task: p.task, depth: p.depth })
    }
}

impl From<Mapped> for v1::Mapped {
    fn from(m: Mapped) -> Self {
        Self { count: m.count, segments: flat(m.segments), counts: m.counts.to_vec() }
    }
}
impl TryFrom<v1::Mapped> for Mapped {
    type Error = Malformed;
    fn try_from(m: v1::Mapped) -> Result<Self, Malformed> {
        let counts = m.counts.try_into().map_err(|_| malformed("counts", "there are seven states"))?;
        Ok(Self { count: m.count, segments: unflat(&m.segments)?, counts })
    }
}

impl From<TaskRecord> for v1::Task {
    fn from(t: TaskRecord) -> Self {
        Self {
            index: t.index,
            id: t.id.to_string(),
            state: v1::State::from(t.state).into(),
            reason: word(t.reason),
            not_before_ms: ms(t.not_before),
            failures: t.failures,
            lost: t.lost,
            deaths: t.deaths,
            attempts: t.attempts.into_iter().map(Into::into).collect(),
            outputs: t.outputs.0,
            instance: t.instance,
            mapped: t.mapped.map(Into::into),
            gone: t.gone,
            detail: t.detail.to_string(),
            changed_at_ms: t.changed_at.0,
            child: t.child.map_or(String::new(), |c| c.to_string()),
            items: bytes_of(t.items),
            stopping: word(t.stopping),
            tried_until_ms: ms(t.tried_until),
        }
    }
}

impl TryFrom<v1::Task> for TaskRecord {
    type Error = Malformed;
    fn try_from(t: v1::Task) -> Result<Self, Malformed> {
        Ok(Self {
            index: t.index,
            id: id("id", &t.id)?,
            state: state_of(t.state)?,
            reason: reason_of(&t.reason)?,
            not_before: time(t.not_before_ms),
            failures: t.failures,
            lost: t.lost,
            deaths: t.deaths,
            attempts: t.attempts.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            outputs: Outputs(t.outputs),
            instance: t.instance,
            mapped: t.mapped.map(TryInto::try_into).transpose()?,
            gone: t.gone,
            detail: t.detail.into(),
            changed_at: Timestamp(t.changed_at_ms),
            child: if t.child.is_empty() { None } else { Some(id("child", &t.child)?) },
            items: maybe_digest(&t.items)?,
            stopping: reason_of(&t.stopping)?,
            tried_until: time(t.tried_until_ms),
        })
    }
}

impl From<AttemptRecord> for v1::Attempt {
    fn from(a: AttemptRecord) -> Self {
        Self {
            number: a.number,
            fence: a.fence.0,
            worker: a.worker.to_string(),
            session: a.session.to_string(),
            state: v1::State::from(a.state).into(),
            reason: word(a.reason),
            detail: a.detail.to_string(),
            leased_at_ms: a.leased_at.0,
            started_at_ms: a.started_at.0,
            ended_at_ms: ms(a.ended_at),
            exit_code: a.exit_code,
            metrics: a.metrics.0,
        }
    }
}

impl TryFrom<v1::Attempt> for AttemptRecord {
    type Error = Malformed;
    fn try_from(a: v1::Attempt) -> Result<Self, Malformed> {
        Ok(Self {
            number: a.number,
            fence: Fence(a.fence),
            worker: id("worker", &a.worker)?,
            session: id("session", &a.session)?,
            state: state_of(a.state)?,
            reason: reason_of(&a.reason)?,
            detail: a.detail.into(),
            leased_at: Timestamp(a.leased_at_ms),
            started_at: Timestamp(a.started_at_ms),
            ended_at: time(a.ended_at_ms),
            exit_code: a.exit_code,
            metrics: Metrics(a.metrics),
        })
    }
}

impl From<Ended> for v1::Ended {
    fn from(e: Ended) -> Self {
        Self {
            state: v1::State::from(e.state).into(),
            reason: word(e.reason),
            detail: e.detail.to_string(),
            exit_code: e.exit_code,
            started_at_ms: e.started_at.0,
            ended_at_ms: e.ended_at.0,
            metrics: e.metrics.0,
            outputs: e.outputs.0,
            worker_died: e.worker_died,
            items: bytes_of(e.items),
        }
    }
}

impl TryFrom<v1::Ended> for Ended {
    type Error = Malformed;
    fn try_from(e: v1::Ended) -> Result<Self, Malformed> {
        Ok(Self {
            state: state_of(e.state)?,
            reason: reason_of(&e.reason)?,
            detail: e.detail.into(),
            exit_code: e.exit_code,
            started_at: Timestamp(e.started_at_ms),
            ended_at: Timestamp(e.ended_at_ms),
            metrics: Metrics(e.metrics),
            outputs: Outputs(e.outputs),
            worker_died: e.worker_died,
            items: maybe_digest(&e.items)?,
        })
    }
}
