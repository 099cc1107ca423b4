//! Places in time: timetables, ledgers and backfills. Ranges of time are written as differences, so that neighbours take few bytes.

use penstock_common::event::Cause;
use penstock_common::record::{Audit, BackfillRecord, LedgerRange, Outcome, SkipReason, TimetableRecord};
use penstock_common::{Digest, EventNo, Interval, TaskId, Timestamp, TriggerName};

use crate::happening::{files, files_of};
use crate::types::{Malformed, digest, id, malformed, ms, required, state_of, time, unflat};
use crate::v1::{self, cause::Kind};

pub(crate) fn skip_reason(word: &str) -> Result<SkipReason, Malformed> {
    SkipReason::parse(word).ok_or_else(|| malformed("reason", format!("{word:?} is not a reason to skip an interval")))
}

/// Intervals as [start, end − start, …], each start counted from the end before.
fn bounds(intervals: impl IntoIterator<Item = Interval>) -> Vec<i64> {
    let mut last = 0;
    let mut bounds = Vec::new();
    for interval in intervals {
        bounds.extend([interval.start().0.wrapping_sub(last), interval.end().0.wrapping_sub(interval.start().0)]);
        last = interval.end().0;
    }
    bounds
}

/// Intervals from [start, end − start, …], each start counted from the end before.
///
/// # Errors
///
/// What is no list of intervals.
pub fn intervals(bounds: &[i64]) -> Result<Vec<Interval>, Malformed> {
    let (pairs, rest) = bounds.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(malformed("bounds", "an even number of values"));
    }
    let mut last = 0i64;
    let interval = |&[from, length]: &[i64; 2]| {
        let start = last.checked_add(from).ok_or_else(|| malformed("bounds", "a time beyond all times"))?;
        last = start.checked_add(length).ok_or_else(|| malformed("bounds", "a time beyond all times"))?;
        Interval::new(Timestamp(start), Timestamp(last)).ok_or_else(|| malformed("bounds", "an interval must start before it ends"))
    };
    pairs.iter().map(interval).collect()
}

fn outcome(word: &str) -> Result<Outcome, Malformed> {
    match word {
        "SUCCESS" => Ok(Outcome::Success),
        "FAILED" => Ok(Outcome::Failed),
        "CANCELLED" => Ok(Outcome::Cancelled),
        other => {
            let reason = other.strip_prefix("SKIPPED(").and_then(|rest| rest.strip_suffix(')'));
            reason.map_or_else(|| Err(malformed("outcome", format!("{other:?} is not one"))), |r| skip_reason(r).map(Outcome::Skipped))
        }
    }
}

fn ledger_of(ranges: Vec<LedgerRange>) -> v1::Ledger {
    v1::Ledger { bounds: bounds(ranges.iter().map(|r| r.interval)), outcomes: ranges.iter().map(|r| r.outcome.word()).collect() }
}

fn ranges_of(ledger: v1::Ledger) -> Result<Vec<LedgerRange>, Malformed> {
    let ranges = intervals(&ledger.bounds)?;
    if ranges.len() != ledger.outcomes.len() {
        return Err(malformed("ledger", "an outcome for each range"));
    }
    ranges.into_iter().zip(&ledger.outcomes).map(|(interval, word)| Ok(LedgerRange { interval, outcome: outcome(word)? })).collect()
}

impl From<TimetableRecord> for v1::Timetable {
    fn from(t: TimetableRecord) -> Self {
        let token =
            |(trigger, digest): (TriggerName, Digest)| v1::TriggerToken { trigger: trigger.to_string(), digest: digest.0.to_vec().into() };
        let paused = |(trigger, audit): (TriggerName, Audit)| v1::PausedTrigger { trigger: trigger.to_string(), audit: Some(audit.into()) };
        let of_tasks = |(tasks, ranges): (Vec<TaskId>, Vec<LedgerRange>)| v1::TaskLedger {
            tasks: tasks.iter().map(ToString::to_string).collect(),
            ledger: Some(ledger_of(ranges)),
        };
        Self {
            watermark_ms: t.watermark.map(|w| w.0),
            paused: t.paused.into_iter().map(paused).collect(),
            skipped: t.skipped.into_iter().map(|(r, count)| v1::SkippedCount { reason: r.as_str().to_owned(), count }).collect(),
            ledger: Some(ledger_of(t.ledger)),
            gathered: t.gathered.into_iter().map(Into::into).collect(),
            files: t.files.into_iter().map(files).collect(),
            noting: t.noting.iter().map(ToString::to_string).collect(),
            tokens: t.tokens.into_iter().map(token).collect(),
            tasks: t.tasks.into_iter().map(of_tasks).collect(),
        }
    }
}

impl TryFrom<v1::Timetable> for TimetableRecord {
    type Error = Malformed;
    fn try_from(t: v1::Timetable) -> Result<Self, Malformed> {
        let paused = |p: v1::PausedTrigger| Ok((id("trigger", &p.trigger)?, required("audit", p.audit)?.into()));
        let token = |t: v1::TriggerToken| Ok((id("trigger", &t.trigger)?, digest(&t.digest)?));
        let skipped = |s: v1::SkippedCount| Ok((skip_reason(&s.reason)?, s.count));
        let of_tasks = |t: v1::TaskLedger| {
            let tasks = t.tasks.iter().map(|task| id("task", task)).collect::<Result<_, Malformed>>()?;
            Ok((tasks, ranges_of(t.ledger.unwrap_or_default())?))
        };
        Ok(Self {
            watermark: t.watermark_ms.map(Timestamp),
            paused: t.paused.into_iter().map(paused).collect::<Result<_, Malformed>>()?,
            skipped: t.skipped.into_iter().map(skipped).collect::<Result<_, Malformed>>()?,
            ledger: ranges_of(t.ledger.unwrap_or_default())?,
            gathered: t.gathered.into_iter().map(TryInto::try_into).collect::<Result<_, Malformed>>()?,
            files: t.files.into_iter().map(files_of).collect::<Result<_, Malformed>>()?,
            noting: t.noting.iter().map(|trigger| id("trigger", trigger)).collect::<Result<_, Malformed>>()?,
            tokens: t.tokens.into_iter().map(token).collect::<Result<_, Malformed>>()?,
            tasks: t.tasks.into_iter().map(of_tasks).collect::<Result<_, Malformed>>()?,
        })
    }
}

impl From<Cause> for v1::Cause {
    fn from(cause: Cause) -> Self {
        let kind = match cause {
            Cause::Schedule => Kind::Schedule(true),
            Cause::Backfill(id) => Kind::Backfill(id.to_string()),
            Cause::Event { event, trigger } => Kind::Event(v1::EventCause { event: event.0, trigger: trigger.to_string() }),
            Cause::Gathered(trigger) => Kind::Gathered(trigger.to_string()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Cause> for Cause {
    type Error = Malformed;
    fn try_from(cause: v1::Cause) -> Result<Self, Malformed> {
        match required("cause", cause.kind)? {
            Kind::Schedule(_) => Ok(Self::Schedule),
            Kind::Backfill(backfill) => Ok(Self::Backfill(id("backfill", &backfill)?)),
            Kind::Event(e) => Ok(Self::Event { event: EventNo(e.event), trigger: id("trigger", &e.trigger)? }),
            Kind::Gathered(trigger) => Ok(Self::Gathered(id("trigger", &trigger)?)),
        }
    }
}

impl From<BackfillRecord> for v1::Backfill {
    fn from(b: BackfillRecord) -> Self {
        Self {
            id: b.id.to_string(),
            pipeline: b.pipeline.full().to_owned(),
            bounds: bounds(b.intervals),
            only: b.only.iter().map(ToString::to_string).collect(),
            params: b.params.to_string(),
            max_active: b.max_active,
            cascade: b.cascade,
            created: Some(b.created.into()),
            next: b.next,
            ended: b.ended.into_iter().flat_map(|(number, state)| [number, v1::State::from(state) as u32]).collect(),
            paused: b.paused.map(Into::into),
            cancelled: b.cancelled.map(Into::into),
            state: v1::State::from(b.state).into(),
            ended_at_ms: ms(b.ended_at),
            request_digest: b.request_digest,
        }
    }
}

impl TryFrom<v1::Backfill> for BackfillRecord {
    type Error = Malformed;
    fn try_from(b: v1::Backfill) -> Result<Self, Malformed> {
        let ended = |(number, state): (u32, u32)| Ok((number, state_of(i32::try_from(state).unwrap_or(-1))?));
        Ok(Self {
            id: id("id", &b.id)?,
            pipeline: id("pipeline", &b.pipeline)?,
            intervals: intervals(&b.bounds)?,
            only: b.only.into_iter().map(Into::into).collect(),
            params: b.params.into(),
            max_active: b.max_active,
            request_digest: b.request_digest,
            cascade: b.cascade,
            created: Audit::from(required("created", b.created)?),
            next: b.next,
            ended: unflat(&b.ended)?.into_iter().map(ended).collect::<Result<_, Malformed>>()?,
            paused: b.paused.map(Into::into),
            cancelled: b.cancelled.map(Into::into),
            state: state_of(b.state)?,
            ended_at: time(b.ended_at_ms),
        })
    }
}
