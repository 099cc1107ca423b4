//! The intervals of schedules: which come next, when their runs start, where the first begins.

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
