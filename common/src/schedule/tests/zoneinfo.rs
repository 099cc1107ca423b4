//! Fires around changes of the clock in twenty zones against Python's: `tests/fixtures/zoneinfo/README.md`.

use super::cron;
use crate::Timestamp;

const FIXTURE: &str = include_str!("../../../../tests/fixtures/zoneinfo/fires.txt");
const SPAN_MINUTES: i64 = 70 * 60;

#[test]
fn fires_around_changes_of_the_clock_are_those_of_another_implementation() {
    let mut zones = std::collections::BTreeSet::new();
    for line in FIXTURE.lines() {
        let fields: Vec<_> = line.split('|').collect();
        let [zone, begin, expression, steps] = fields[..] else { panic!("{line}") };
        let begin: i64 = begin.parse().unwrap();
        let mut at = begin;
        let mut expected = Vec::new();
        for step in steps.split_whitespace() {
            at += step.parse::<i64>().unwrap();
            expected.push(Timestamp(at * 60_000));
        }
        let schedule = cron(&[expression], zone);
        let span = Timestamp(begin * 60_000)..Timestamp((begin + SPAN_MINUTES) * 60_000);
        assert_eq!(schedule.fires(span.clone()).collect::<Vec<_>>(), expected, "{line}");
        expected.reverse();
        assert_eq!(schedule.fires(span).rev().collect::<Vec<_>>(), expected, "{line}");
        zones.insert(zone);
    }
    assert!(zones.len() >= 20, "{zones:?}");
}
