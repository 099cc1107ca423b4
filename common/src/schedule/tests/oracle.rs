//! The rules for changes of the clock against brute force: each minute is looked at, by the words of the design, in jiff's own terms.
//! It shares neither the parser (fields are drawn as sets), nor the calendar, nor the table of the zone.

use std::collections::BTreeSet;

use jiff::Timestamp as Jiff;
use jiff::tz::{AmbiguousOffset, TimeZone};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::cron;
use crate::Timestamp;
use crate::schedule::tzdb;

/// Where clocks change by an hour, by half of one, by two, by a day, at midnight, for Ramadan, the other way round, or not at all.
const ZONES: [&str; 24] = [
    "Europe/Paris",
    "America/New_York",
    "Australia/Lord_Howe",
    "Europe/Dublin",
    "Africa/Casablanca",
    "Pacific/Apia",
    "America/Havana",
    "America/Sao_Paulo",
    "America/St_Johns",
    "America/Caracas",
    "America/Nuuk",
    "Antarctica/Troll",
    "Antarctica/Casey",
    "Asia/Tehran",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Europe/Moscow",
    "Pacific/Kwajalein",
    "Pacific/Kiritimati",
    "Pacific/Fakaofo",
    "Pacific/Chatham",
    "UTC",
    "Etc/GMT-14",
];

/// The fields as sets, and the text that says the same.
#[derive(Debug, Clone)]
struct Drawn {
    minutes: BTreeSet<i8>,
    hours: BTreeSet<i8>,
    days: Option<BTreeSet<i8>>,
    weekdays: Option<BTreeSet<i8>>,
}

fn text(set: &BTreeSet<i8>) -> String {
    set.iter().map(i8::to_string).collect::<Vec<_>>().join(",")
}

impl Drawn {
    fn text(&self) -> String {
        let day = |set: &Option<BTreeSet<i8>>| set.as_ref().map_or("*".to_owned(), text);
        format!("{} {} {} * {}", text(&self.minutes), text(&self.hours), day(&self.days), day(&self.weekdays))
    }

    fn matches(&self, wall: jiff::civil::DateTime) -> bool {
        let day = self.days.as_ref().map(|days| days.contains(&wall.day()));
        let weekday = self.weekdays.as_ref().map(|days| days.contains(&wall.weekday().to_sunday_zero_offset()));
        let today = match (day, weekday) {
            (None, other) | (other, None) => other.unwrap_or(true),
            (Some(day), Some(weekday)) => day || weekday,
        };
        wall.second() == 0 && today && self.minutes.contains(&wall.minute()) && self.hours.contains(&wall.hour())
    }

    /// Every fire within a span, by the words of the design.
    fn fires(&self, zone: &TimeZone, from: Timestamp, to: Timestamp) -> BTreeSet<Timestamp> {
        let jiff = |ms: i64| Jiff::from_millisecond(ms).unwrap();
        let mut fires = BTreeSet::new();
        if self.hours.len() == 24 {
            // It follows the clock on the wall: whenever that shows it.
            for ms in (from.0..to.0).step_by(60_000) {
                if self.matches(zone.to_datetime(jiff(ms))) {
                    fires.insert(Timestamp(ms));
                }
            }
            return fires;
        }
        // Fixed times: each wall time once. Those of two more days to each side may be at an instant within the span.
        let margin = 2 * 86_400_000;
        for ms in (from.0 - margin..to.0 + margin).step_by(60_000) {
            let wall = TimeZone::UTC.to_datetime(jiff(ms));
            if !self.matches(wall) {
                continue;
            }
            let ambiguous = zone.to_ambiguous_timestamp(wall);
            let at = match ambiguous.offset() {
                AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
                    offset.to_timestamp(wall).unwrap()
                }
                // The first instant after the gap: the change that is no later than where the offset of before leads.
                AmbiguousOffset::Gap { before, .. } => {
                    let within = before.to_timestamp(wall).unwrap();
                    zone.preceding(within + jiff::SignedDuration::from_nanos(1)).next().unwrap().timestamp()
                }
            };
            fires.insert(Timestamp(at.as_millisecond()));
        }
        fires.into_iter().filter(|fire| (from..to).contains(fire)).collect()
    }
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let set = |low: i8, high: i8, size: usize| prop::collection::btree_set(low..=high, 1..=size);
    let hours = prop_oneof![
        2 => Just((0..24).collect::<BTreeSet<i8>>()),
        // The hours in which clocks change.
        4 => set(0, 3, 3),
        2 => set(0, 23, 4),
        1 => (0..24_i8).prop_map(|but| (0..24).filter(|hour| *hour != but).collect()),
    ];
    let minutes = prop_oneof![4 => set(0, 59, 4), 1 => Just((0..60).step_by(15).collect()), 1 => Just(BTreeSet::from([0]))];
    let days = prop_oneof![3 => Just(None), 1 => set(1, 31, 12).prop_map(Some)];
    let weekdays = prop_oneof![3 => Just(None), 1 => set(0, 6, 4).prop_map(Some)];
    (minutes, hours, days, weekdays).prop_map(|(minutes, hours, days, weekdays)| Drawn { minutes, hours, days, weekdays })
}

/// A zone and a change of its clock in 1990–2100, or any day where it has none.
fn change(zone: &str, pick: Index) -> (TimeZone, i64) {
    let zone = tzdb().get(zone).unwrap();
    let (from, to): (Jiff, Jiff) = ("1990-01-03T00:00:00Z".parse().unwrap(), "2100-12-01T00:00:00Z".parse().unwrap());
    let changes: Vec<_> = zone.following(from).map(|change| change.timestamp()).take_while(|change| *change < to).collect();
    let days = usize::try_from((to.as_second() - from.as_second()) / 86_400).unwrap();
    let at = match changes.get(pick.index(changes.len().max(1))) {
        Some(at) => at.as_second(),
        None => from.as_second() + i64::try_from(pick.index(days)).unwrap() * 86_400,
    };
    (zone, at * 1_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn fires_around_a_change_of_the_clock_are_those_of_brute_force(
        drawn in drawn(), zone in select(&ZONES[..]), pick in any::<Index>(), before in 0_i64..3_000, after in 1_i64..3_000, ask in any::<Index>(),
    ) {
        let (tz, change) = change(zone, pick);
        let (from, to) = (Timestamp(change - before * 60_000), Timestamp(change + after * 60_000));
        let expected: Vec<_> = drawn.fires(&tz, from, to).into_iter().collect();
        let schedule = cron(&[&drawn.text()], zone);
        prop_assert_eq!(&schedule.fires(from..to).collect::<Vec<_>>(), &expected, "{} in {}", drawn.text(), zone);
        let mut backward: Vec<_> = schedule.fires(from..to).rev().collect();
        backward.reverse();
        prop_assert_eq!(&backward, &expected);
        // Asked at any moment, not only at fires.
        let at = Timestamp(from.0 + i64::try_from(ask.index(usize::try_from(to.0 - from.0).unwrap())).unwrap());
        let next = expected.iter().copied().find(|fire| *fire > at);
        prop_assert_eq!(schedule.next_after(at).filter(|fire| *fire < to), next);
        let previous = expected.iter().copied().rev().find(|fire| *fire <= at);
        prop_assert_eq!(schedule.previous_at_or_before(at).filter(|fire| *fire >= from), previous);
        // Intervals meet, and none is empty.
        for pair in expected.windows(2) {
            let interval = schedule.interval_of(pair[1]).unwrap();
            prop_assert_eq!((interval.start(), interval.end()), (pair[0], pair[1]));
        }
    }
}
