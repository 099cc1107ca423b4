//! The adapter over the crate `cron`, which does the search through the calendar. The only place that speaks chrono.
//!
//! `cron` wants seconds and a year, counts days 1–7 from Sunday, and combines the day fields with AND: so the sets of the five
//! fields are written anew in its language, and where Vixie's cron combines them with OR, two schedules are merged. It is asked about
//! wall time as if that were UTC, so its own treatment of daylight saving never matters: [`super::clock`] has ours.
//!
//! It knows the years 1970–2100, which bounds each search: some hundred steps where nothing matches.

use chrono::{DateTime, Utc};

use super::field::{DAY, HOUR, MINUTE, MONTH, WEEKDAY, listed};

/// Seconds since 1970-01-01T00:00 as a clock on the wall shows them.
pub(super) type Wall = i64;

/// The first wall time that is searched: 1970-01-01T00:00.
pub(super) const FIRST: Wall = 0;
/// The first one that no longer is: 2101-01-01T00:00.
pub(super) const END: Wall = 4_133_980_800;

/// Five sets of numbers, bit n for n, and how the day fields combine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sets {
    pub(super) minutes: u64,
    pub(super) hours: u64,
    pub(super) days: u64,
    pub(super) months: u64,
    /// 0 is Sunday.
    pub(super) weekdays: u64,
    /// A day must be in both `days` and `weekdays`; else in either.
    pub(super) both: bool,
}

/// Finds the wall times that match.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    /// One, or two that are merged. Each matches at least once.
    schedules: Vec<::cron::Schedule>,
}

impl Engine {
    /// `None` where nothing ever matches. The error is `cron`'s and has no cause known.
    pub(super) fn new(sets: &Sets) -> Result<Option<Self>, ::cron::error::Error> {
        let (any_day, any_weekday) = (sets.days == DAY.all(), sets.weekdays == WEEKDAY.all());
        let halves = if sets.both {
            vec![(sets.days, sets.weekdays)]
        } else if any_day || any_weekday {
            vec![(DAY.all(), WEEKDAY.all())]
        } else {
            vec![(sets.days, WEEKDAY.all()), (DAY.all(), sets.weekdays)]
        };
        let schedules: Vec<_> = halves.into_iter().map(|(days, weekdays)| translate(sets, days, weekdays)).collect::<Result<_, _>>()?;
        let schedules: Vec<_> = schedules.into_iter().filter(|schedule| after(schedule, FIRST - 1).is_some()).collect();
        Ok((!schedules.is_empty()).then_some(Self { schedules }))
    }

    /// The first match later than `wall`.
    pub(super) fn after(&self, wall: Wall) -> Option<Wall> {
        self.schedules.iter().filter_map(|schedule| after(schedule, wall)).min()
    }

    /// The last match earlier than `wall`.
    pub(super) fn before(&self, wall: Wall) -> Option<Wall> {
        self.schedules.iter().filter_map(|schedule| before(schedule, wall)).max()
    }
}

fn translate(sets: &Sets, days: u64, weekdays: u64) -> Result<::cron::Schedule, ::cron::error::Error> {
    let minutes = listed(sets.minutes, MINUTE.all(), 0);
    let hours = listed(sets.hours, HOUR.all(), 0);
    let months = listed(sets.months, MONTH.all(), 0);
    let (days, weekdays) = (listed(days, DAY.all(), 0), listed(weekdays, WEEKDAY.all(), 1));
    format!("0 {minutes} {hours} {days} {months} {weekdays} *").parse()
}

// Its years are unsigned: it is never asked about those before 1970. From 1969-12-31T23:59:59 it adds a second before it looks.
fn after(schedule: &::cron::Schedule, wall: Wall) -> Option<Wall> {
    let from = utc(wall.max(FIRST - 1)).filter(|_| wall < END)?;
    schedule.after(&from).next().map(|found| found.timestamp())
}

fn before(schedule: &::cron::Schedule, wall: Wall) -> Option<Wall> {
    let from = utc(wall.min(END)).filter(|_| wall > FIRST)?;
    schedule.after(&from).next_back().map(|found| found.timestamp())
}

fn utc(wall: Wall) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(wall, 0)
}
