//! When which timetable fires next, by the wall clock; and what triggers gather, by the clock of deadlines. Part of the leader's term: built again from state at takeover.

use std::collections::{BTreeMap, BTreeSet};

use penstock_common::pipeline::ScheduleSpec;
use penstock_common::{Interval, Timestamp};

/// The intervals of a schedule from a time on: each begins where the last ended, whatever the schedule was then.
pub(crate) fn intervals_from(schedule: &ScheduleSpec, watermark: Timestamp) -> impl Iterator<Item = Interval> + '_ {
    let mut at = watermark;
    std::iter::from_fn(move || {
        let start = at;
        at = schedule.times.next_after(start)?;
        Interval::new(start, at)
    })
}

/// The last interval that has ended.
pub(crate) fn last_ended(schedule: &ScheduleSpec, wall: Timestamp) -> Option<Interval> {
    schedule.times.interval_of(schedule.times.previous_at_or_before(wall)?)
}

/// When an interval's run starts.
pub(crate) fn due_at(schedule: &ScheduleSpec, interval: Interval) -> Timestamp {
    schedule.times.starts(interval.end())
}

/// Where the first interval begins, if the definition says so.
pub(crate) fn begin(schedule: &ScheduleSpec) -> Option<Timestamp> {
    let first = schedule.times.next_after(Timestamp(i64::MIN))?;
    schedule.times.definition().start.and_then(|_| Some(schedule.times.interval_of(first)?.start()))
}

#[derive(Debug)]
pub(crate) struct Fires<K> {
    at: BTreeMap<K, Timestamp>,
    in_turn: BTreeSet<(Timestamp, K)>,
}

impl<K> Default for Fires<K> {
    fn default() -> Self {
        Self { at: BTreeMap::new(), in_turn: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Fires<K> {
    pub(crate) fn set(&mut self, name: &K, at: Timestamp) {
        self.drop(name);
        self.at.insert(name.clone(), at);
        self.in_turn.insert((at, name.clone()));
    }

    pub(crate) fn drop(&mut self, name: &K) {
        if let Some(at) = self.at.remove(name) {
            self.in_turn.remove(&(at, name.clone()));
        }
    }

    /// The next that is due, taken out.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<K> {
        let (at, name) = self.in_turn.pop_first()?;
        if at > now {
            self.in_turn.insert((at, name));
            return None;
        }
        self.at.remove(&name);
        Some(name)
    }

    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.in_turn.first().map(|(at, _)| *at)
    }
}
