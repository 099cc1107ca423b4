//! A pipeline's schedule: when it fires, and which interval each fire ends.

use std::ops::{Range, RangeInclusive};

use serde::{Deserialize, Serialize};

use super::clock;
use super::cron::Cron;
use super::engine::{END, FIRST};
use super::every::Every;
use super::fires::{Fires, Intervals};
use super::zone::Zone;
use crate::{Interval, Millis, Timestamp};

/// A day more than what is searched, on either side: a zone's clock is never that far off.
const EARLIEST: Timestamp = Timestamp((FIRST - 86_400) * 1_000);
const LATEST: Timestamp = Timestamp((END + 86_400) * 1_000);

/// What makes a schedule fire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Timing {
    /// When any of these expressions does, once where several do.
    Cron(Vec<Cron>),
    /// A steady period since `start`, else since 1970-01-01T00:00:00Z.
    Every(Every),
}

/// What a document says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// What makes it fire.
    #[serde(flatten)]
    pub timing: Timing,
    /// Whose clock cron means.
    pub timezone: Zone,
    /// No interval starts before: the first instant of `start_date`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// No interval starts after: the last instant of `end_date`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// A run starts that long after its interval's end.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delay: Millis,
}

fn is_zero(delay: &Millis) -> bool {
    delay.0 == 0
}

/// Why parts that are right do not make a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// An empty list.
    #[error("a schedule has no cron expression: write one such as 0 2 * * *, or leave the schedule out")]
    NoCron,
    /// `end_date` before `start_date`.
    #[error("a schedule ends ({end}) before it starts ({start}): write an end_date that is not before start_date")]
    EndsBeforeStart {
        /// As given.
        start: Timestamp,
        /// As given.
        end: Timestamp,
    },
    /// The bounds leave nothing.
    #[error("a schedule never fires: no interval starts between its start_date and its end_date, within 1970-2100")]
    NeverFires,
    /// A delay beyond all schedules.
    #[error("a schedule's delay cannot be {0}: write at most 3653d")]
    Delay(Millis),
}

/// When a pipeline fires. Each fire ends the interval that the fire before began; the first one only begins.
///
/// Fires are known for 1970–2100. No question takes more than a few searches of the calendar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Definition", into = "Definition")]
pub struct Schedule {
    definition: Definition,
    /// The first fire that ends an interval, and the last one.
    first: Timestamp,
    last: Timestamp,
}

impl Schedule {
    /// Refuses what would never fire.
    pub fn new(definition: Definition) -> Result<Self, Unfit> {
        if let Timing::Cron(list) = &definition.timing
            && list.is_empty()
        {
            return Err(Unfit::NoCron);
        }
        if definition.delay > Millis(3_653 * 86_400_000) {
            return Err(Unfit::Delay(definition.delay));
        }
        if let (Some(start), Some(end)) = (definition.start, definition.end)
            && end < start
        {
            return Err(Unfit::EndsBeforeStart { start, end });
        }
        let mut schedule = Self { definition, first: Timestamp(i64::MIN), last: LATEST };
        let start = schedule.definition.start.unwrap_or(EARLIEST);
        // The first bound that is not before the start begins the first interval; the last that is not after the end begins the last one.
        let first = schedule.bound_after(Timestamp(start.0.saturating_sub(1))).and_then(|bound| schedule.bound_after(bound));
        let last = match schedule.definition.end {
            Some(end) => schedule.bound_at_or_before(end).map(|bound| schedule.bound_after(bound).unwrap_or(bound)),
            None => Some(LATEST),
        };
        match first.zip(last) {
            Some((first, last)) if first <= last => (schedule.first, schedule.last) = (first, last),
            _ => return Err(Unfit::NeverFires),
        }
        Ok(schedule)
    }

    /// What it was made of.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The first fire after `at`.
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        if at < self.first {
            return Some(self.first);
        }
        self.bound_after(at).filter(|fire| *fire <= self.last)
    }

    /// The last fire not after `at`.
    pub fn previous_at_or_before(&self, at: Timestamp) -> Option<Timestamp> {
        self.bound_at_or_before(at.min(self.last)).filter(|fire| *fire >= self.first)
    }

    /// The fires from `range.start` on, before `range.end`. Also from the last one back.
    pub fn fires(&self, range: Range<Timestamp>) -> Fires<'_> {
        Fires::new(self, range)
    }

    /// The interval that a fire ends: from the fire before on, never of zero width. `None` if there is no such fire.
    pub fn interval_of(&self, fire: Timestamp) -> Option<Interval> {
        if self.previous_at_or_before(fire) != Some(fire) {
            return None;
        }
        Interval::new(self.bound_at_or_before(Timestamp(fire.0 - 1))?, fire)
    }

    /// The interval that `at` is in: what is in progress then.
    pub fn interval_at(&self, at: Timestamp) -> Option<Interval> {
        self.interval_of(self.next_after(at)?).filter(|interval| interval.start() <= at)
    }

    /// The intervals that start within a span, both ends of it included: what a backfill's dates mean. Also from the last one back.
    pub fn intervals_starting(&self, within: RangeInclusive<Timestamp>) -> Intervals<'_> {
        Intervals::new(self, within)
    }

    /// When the run of a fire's interval starts: `delay` later.
    pub fn starts(&self, fire: Timestamp) -> Timestamp {
        fire.after(self.definition.delay)
    }

    /// The first fire whose run starts after `now`.
    pub fn next_to_start(&self, now: Timestamp) -> Option<Timestamp> {
        self.next_after(self.undelayed(now))
    }

    /// The last fire whose run starts at `now` or earlier.
    pub fn last_to_start(&self, now: Timestamp) -> Option<Timestamp> {
        self.previous_at_or_before(self.undelayed(now))
    }

    fn undelayed(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_sub_unsigned(self.definition.delay.0))
    }

    /// The first bound of an interval after `at`, whether or not it is within start and end.
    pub(super) fn bound_after(&self, at: Timestamp) -> Option<Timestamp> {
        let at = at.clamp(EARLIEST, LATEST);
        match &self.definition.timing {
            Timing::Cron(list) => {
                let zone = &self.definition.timezone;
                let seconds = at.0.div_euclid(1_000);
                let fires = list.iter().filter_map(|cron| clock::after(cron, zone, seconds));
                fires.min().map(|seconds| Timestamp(seconds * 1_000))
            }
            Timing::Every(every) => match self.definition.start {
                Some(start) if at < start => Some(start),
                start => every.after(start.unwrap_or_default().0, at.0).map(Timestamp),
            }
            .filter(|bound| *bound <= LATEST),
        }
    }

    /// The last bound of an interval not after `at`, whether or not it is within start and end.
    pub(super) fn bound_at_or_before(&self, at: Timestamp) -> Option<Timestamp> {
        let at = at.clamp(EARLIEST, LATEST);
        match &self.definition.timing {
            Timing::Cron(list) => {
                let zone = &self.definition.timezone;
                let seconds = at.0.div_euclid(1_000);
                let fires = list.iter().filter_map(|cron| clock::at_or_before(cron, zone, seconds));
                fires.max().map(|seconds| Timestamp(seconds * 1_000))
            }
            Timing::Every(every) => {
                let anchor = self.definition.start.unwrap_or_default();
                let bound = every.at_or_before(anchor.0, at.0).map(Timestamp);
                bound.filter(|bound| *bound >= self.definition.start.unwrap_or(EARLIEST))
            }
        }
    }
}

impl TryFrom<Definition> for Schedule {
    type Error = Unfit;
    fn try_from(definition: Definition) -> Result<Self, Unfit> {
        Self::new(definition)
    }
}
impl From<Schedule> for Definition {
    fn from(schedule: Schedule) -> Self {
        schedule.definition
    }
}
