//! Walks over a schedule, from either end.

use std::ops::{Range, RangeInclusive};

use super::timetable::Schedule;
use crate::{Interval, Timestamp};

/// The fires within a span.
#[derive(Debug, Clone)]
pub struct Fires<'a> {
    schedule: &'a Schedule,
    /// What is still to come is within `[from, to)`.
    from: Timestamp,
    to: Timestamp,
}

impl<'a> Fires<'a> {
    pub(super) fn new(schedule: &'a Schedule, range: Range<Timestamp>) -> Self {
        Self { schedule, from: range.start, to: range.end }
    }
}

impl Iterator for Fires<'_> {
    type Item = Timestamp;
    fn next(&mut self) -> Option<Timestamp> {
        let fire = self.schedule.next_after(Timestamp(self.from.0.saturating_sub(1))).filter(|fire| *fire < self.to);
        self.from = fire.map_or(self.to, |fire| Timestamp(fire.0 + 1));
        fire
    }
}

impl DoubleEndedIterator for Fires<'_> {
    fn next_back(&mut self) -> Option<Timestamp> {
        let fire = self.schedule.previous_at_or_before(Timestamp(self.to.0.saturating_sub(1))).filter(|fire| *fire >= self.from);
        self.to = fire.unwrap_or(self.from);
        fire
    }
}

/// The intervals that start within a span.
#[derive(Debug, Clone)]
pub struct Intervals<'a> {
    ends: Fires<'a>,
    schedule: &'a Schedule,
}

impl<'a> Intervals<'a> {
    pub(super) fn new(schedule: &'a Schedule, within: RangeInclusive<Timestamp>) -> Self {
        let first = schedule.bound_after(Timestamp(within.start().0.saturating_sub(1)));
        let last = schedule.bound_at_or_before(*within.end());
        // The interval that starts with a bound ends with the next one; with the last bound of all none starts. Where no bound is within, the last ends before the first does.
        let ends = first.and_then(|bound| schedule.bound_after(bound)).zip(last.map(|bound| schedule.bound_after(bound).unwrap_or(bound)));
        let range = ends.map_or(Timestamp(0)..Timestamp(0), |(first, last)| first..Timestamp(last.0 + 1));
        Self { ends: schedule.fires(range), schedule }
    }
}

impl Iterator for Intervals<'_> {
    type Item = Interval;
    fn next(&mut self) -> Option<Interval> {
        self.ends.next().and_then(|end| self.schedule.interval_of(end))
    }
}

impl DoubleEndedIterator for Intervals<'_> {
    fn next_back(&mut self) -> Option<Interval> {
        self.ends.next_back().and_then(|end| self.schedule.interval_of(end))
    }
}
