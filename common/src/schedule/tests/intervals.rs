//! What a schedule covers: bounds, periods, delays, and what a backfill's dates select.

use super::{at, cron, definition, local, schedule};
use crate::schedule::{Cron, Definition, Every, Moment, Schedule, Timing, Unfit, Zone};
use crate::{Interval, Millis};

fn daily(zone: &str) -> Definition {
    definition(Timing::Cron(vec![Cron::parse("0 2 * * *").unwrap()]), zone)
}

fn every(text: &str) -> Timing {
    Timing::Every(Every::parse(text).unwrap())
}

fn shown(intervals: impl Iterator<Item = Interval>) -> Vec<String> {
    intervals.map(|i| format!("{}/{}", &i.start().to_string()[..16], &i.end().to_string()[..16])).collect()
}

#[test]
fn a_month_of_dates_selects_31_intervals_by_their_start() {
    let zone = Zone::get("Europe/Paris").unwrap();
    let first = Moment::parse("2024-01-01", &zone).unwrap().first();
    let last = Moment::parse("2024-01-31", &zone).unwrap().last();
    let schedule = Schedule::new(daily("Europe/Paris")).unwrap();
    let intervals = schedule.intervals_starting(first..=last);
    let forward: Vec<_> = intervals.clone().collect();
    assert_eq!(forward.len(), 31);
    assert_eq!(shown(forward.iter().copied().take(1)), ["2024-01-01T01:00/2024-01-02T01:00"]);
    assert_eq!(shown(forward.iter().copied().skip(30)), ["2024-01-31T01:00/2024-02-01T01:00"]);
    assert!(forward.windows(2).all(|pair| pair[0].end() == pair[1].start()), "none overlap and none is left out");
    let mut backward: Vec<_> = intervals.rev().collect();
    backward.reverse();
    assert_eq!(forward, backward);
}

#[test]
fn a_span_without_a_start_selects_nothing() {
    let schedule = cron(&["0 0 1 * *"], "UTC");
    for (from, to) in [("2024-01-01T00:00:01Z", "2024-01-31T00:00:00Z"), ("2024-02-01T00:00:00Z", "2024-01-01T00:00:00Z")] {
        assert_eq!(schedule.intervals_starting(at(from)..=at(to)).count(), 0, "{from}..={to}");
        assert_eq!(schedule.fires(at(from)..at(to)).count(), 0, "{from}..{to}");
    }
    assert_eq!(
        shown(schedule.intervals_starting(at("2024-01-01T00:00:00Z")..=at("2024-01-01T00:00:00Z"))),
        ["2024-01-01T00:00/2024-02-01T00:00"]
    );
}

#[test]
fn no_interval_starts_before_the_start_or_after_the_end() {
    let zone = Zone::get("Europe/Paris").unwrap();
    let bounded = |start: Option<&str>, end: Option<&str>| {
        let start = start.map(|text| Moment::parse(text, &zone).unwrap().first());
        let end = end.map(|text| Moment::parse(text, &zone).unwrap().last());
        Schedule::new(Definition { start, end, ..daily("Europe/Paris") })
    };
    let days = bounded(Some("2024-01-01"), Some("2024-01-02")).unwrap();
    assert_eq!(local(&days, "2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"), ["2024-01-02T02:00:00+01:00", "2024-01-03T02:00:00+01:00"]);
    assert_eq!(days.next_after(at("2020-01-01T00:00:00Z")), Some(at("2024-01-02T01:00:00Z")));
    assert_eq!(days.next_after(at("2024-01-03T01:00:00Z")), None);
    assert_eq!(days.previous_at_or_before(at("2030-01-01T00:00:00Z")), Some(at("2024-01-03T01:00:00Z")));
    assert_eq!(days.previous_at_or_before(at("2024-01-02T00:59:59Z")), None);
    assert_eq!(days.interval_of(at("2024-01-01T01:00:00Z")), None, "the first fire only begins an interval");
    assert_eq!(shown(days.interval_of(at("2024-01-02T01:00:00Z")).into_iter()), ["2024-01-01T01:00/2024-01-02T01:00"]);
    assert_eq!(shown(days.intervals_starting(at("2020-01-01T00:00:00Z")..=at("2030-01-01T00:00:00Z"))).len(), 2);
    // A start exactly at a fire, and one just after it.
    assert_eq!(bounded(Some("2024-01-01T02:00"), None).unwrap().next_after(at("2020-01-01T00:00:00Z")), Some(at("2024-01-02T01:00:00Z")));
    assert_eq!(bounded(Some("2024-01-01T02:01"), None).unwrap().next_after(at("2020-01-01T00:00:00Z")), Some(at("2024-01-03T01:00:00Z")));
    assert!(matches!(bounded(Some("2024-01-02"), Some("2024-01-01")), Err(Unfit::EndsBeforeStart { .. })));
    assert_eq!(bounded(Some("2024-01-01T03:00"), Some("2024-01-01T04:00")), Err(Unfit::NeverFires));
    assert_eq!(bounded(Some("2100-12-31T12:00"), None), Err(Unfit::NeverFires));
    assert_eq!(Schedule::new(definition(Timing::Cron(Vec::new()), "UTC")), Err(Unfit::NoCron));
    assert!(matches!(Schedule::new(Definition { delay: Millis(u64::MAX), ..daily("UTC") }), Err(Unfit::Delay(_))));
}

#[test]
fn the_interval_in_progress_holds_its_start_and_not_its_end() {
    let schedule = cron(&["0 2 * * *"], "UTC");
    let at_two = at("2024-01-02T02:00:00Z");
    assert_eq!(shown(schedule.interval_at(at_two).into_iter()), ["2024-01-02T02:00/2024-01-03T02:00"]);
    assert_eq!(shown(schedule.interval_at(crate::Timestamp(at_two.0 - 1)).into_iter()), ["2024-01-01T02:00/2024-01-02T02:00"]);
    let bounded = Schedule::new(Definition { start: Some(at("2024-01-01T00:00:00Z")), ..daily("UTC") }).unwrap();
    assert_eq!(bounded.interval_at(at("2024-01-01T01:59:59Z")), None, "none has begun");
    assert_eq!(schedule.interval_of(at("2024-01-02T02:00:00.001Z")), None, "not a fire");
}

#[test]
fn a_period_is_counted_from_the_epoch_or_from_the_start_whatever_clocks_show() {
    let quarter = schedule(every("15m"), "Europe/Paris");
    let spring = local(&quarter, "2024-03-31T00:30:00Z", "2024-03-31T01:16:00Z");
    assert_eq!(
        spring,
        ["2024-03-31T01:30:00+01:00", "2024-03-31T01:45:00+01:00", "2024-03-31T03:00:00+02:00", "2024-03-31T03:15:00+02:00"]
    );
    let start = Some(at("2024-01-01T00:07:00.500Z"));
    let anchored = Schedule::new(Definition { start, ..definition(every("1h30m"), "UTC") }).unwrap();
    let fires: Vec<_> = anchored.fires(at("2023-01-01T00:00:00Z")..at("2024-01-01T04:00:00Z")).map(|fire| fire.to_string()).collect();
    assert_eq!(fires, ["2024-01-01T01:37:00.500Z", "2024-01-01T03:07:00.500Z"]);
    assert_eq!(anchored.interval_of(at(&fires[0])).map(|i| i.start()), start);
    let second = schedule(every("1s"), "UTC");
    assert_eq!(second.next_after(at("2024-01-01T00:00:00.999Z")), Some(at("2024-01-01T00:00:01Z")));
    assert_eq!(second.previous_at_or_before(at("2024-01-01T00:00:00.999Z")), Some(at("2024-01-01T00:00:00Z")));
    for (text, says) in
        [("", "is not a period"), ("15", "such as 30s, 15m"), ("999ms", "write 1s to 3653d"), ("0s", "1s"), ("3654d", "3653d")]
    {
        let problem = Every::parse(text).unwrap_err();
        assert!(problem.to_string().contains(says) && problem.at == (0..text.len()), "{text}: {problem}");
    }
}

#[test]
fn a_delay_moves_the_start_of_the_run_and_not_the_interval() {
    let schedule = Schedule::new(Definition { delay: Millis(30 * 60_000), ..daily("UTC") }).unwrap();
    let fire = at("2024-01-02T02:00:00Z");
    assert_eq!(schedule.starts(fire), at("2024-01-02T02:30:00Z"));
    assert_eq!(schedule.interval_of(fire).map(|i| i.end()), Some(fire));
    assert_eq!(schedule.last_to_start(at("2024-01-02T02:29:59Z")), Some(at("2024-01-01T02:00:00Z")));
    assert_eq!(schedule.last_to_start(at("2024-01-02T02:30:00Z")), Some(fire));
    assert_eq!(schedule.next_to_start(at("2024-01-02T02:29:59Z")), Some(fire));
    assert_eq!(schedule.next_to_start(at("2024-01-02T02:30:00Z")), Some(at("2024-01-03T02:00:00Z")));
}

#[test]
fn a_list_fires_when_any_of_it_does_and_once() {
    let list = cron(&["0 6 * * 1-5", "0 8 * * *", "0 6 1 * *"], "UTC");
    assert_eq!(
        local(&list, "2024-03-01T00:00:00Z", "2024-03-03T00:00:00Z"),
        ["2024-03-01T06:00:00+00:00", "2024-03-01T08:00:00+00:00", "2024-03-02T08:00:00+00:00"]
    );
    assert_eq!(list.interval_of(at("2024-03-01T08:00:00Z")).map(|i| i.start()), Some(at("2024-03-01T06:00:00Z")));
}

#[test]
fn a_schedule_reads_back_as_it_is_written() {
    let mut definition = daily("Europe/Paris");
    definition.start = Some(at("2024-01-01T00:00:00Z"));
    definition.delay = Millis(60_000);
    let schedule = Schedule::new(definition).unwrap();
    let text = serde_json::to_string(&schedule).unwrap();
    assert_eq!(text, r#"{"cron":["0 2 * * *"],"timezone":"Europe/Paris","start":"2024-01-01T00:00:00.000Z","delay":"1m"}"#);
    assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule);
    let period = super::schedule(every("15m"), "UTC");
    let text = serde_json::to_string(&period).unwrap();
    assert_eq!(text, r#"{"every":"15m","timezone":"UTC"}"#);
    assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), period);
    for (wrong, says) in [
        (r#"{"cron":["0 25 * * *"],"timezone":"UTC"}"#, "not within 0-23"),
        (r#"{"cron":[],"timezone":"UTC"}"#, "no cron expression"),
        (r#"{"every":"0s","timezone":"UTC"}"#, "a period cannot be 0s"),
        (r#"{"every":"1m","timezone":"europe/paris"}"#, "write Europe/Paris"),
        (r#"{"every":"1m","timezone":"UTC","start":"soon"}"#, "write RFC 3339"),
    ] {
        let error = serde_json::from_str::<Schedule>(wrong).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn at_the_ends_of_what_is_known_there_is_an_end() {
    for zone in ["UTC", "Pacific/Apia", "Pacific/Kiritimati", "Etc/GMT+12"] {
        for schedule in [cron(&["0 0 * * *"], zone), cron(&["0 * * * *"], zone), schedule(every("1h"), zone)] {
            for extreme in [i64::MIN, i64::MIN + 1, -1, 0, 1, 4_133_980_799_999, 4_133_980_800_000, i64::MAX - 1, i64::MAX] {
                let at = crate::Timestamp(extreme);
                if let Some(next) = schedule.next_after(at) {
                    assert!(next > at && schedule.interval_of(next).is_some(), "{zone} {at}");
                }
                if let Some(previous) = schedule.previous_at_or_before(at) {
                    assert!(previous <= at && schedule.interval_of(previous).is_some(), "{zone} {at}");
                }
                schedule.interval_of(at);
                schedule.interval_at(at);
            }
            assert!(schedule.next_after(crate::Timestamp(i64::MIN)).is_some());
            assert!(schedule.previous_at_or_before(crate::Timestamp(i64::MAX)).is_some());
            assert_eq!(schedule.next_after(crate::Timestamp(i64::MAX)), None);
            assert_eq!(schedule.previous_at_or_before(crate::Timestamp(i64::MIN)), None);
        }
    }
}

#[test]
fn a_zone_is_known_without_the_machines_data_and_by_its_own_spelling() {
    let house = include_str!("../../../../ARCHITECTURE.md");
    let version = crate::schedule::tzdb_version();
    assert!(house.contains(&format!("IANA data ({version})")), "ARCHITECTURE.md says which data there is: {version}");
    for (name, says) in
        [("Paris", "not a time zone"), ("europe/paris", "write Europe/Paris"), ("", "not a time zone"), ("é", "not a time zone")]
    {
        let problem = Zone::get(name).unwrap_err();
        assert!(problem.to_string().contains(says) && problem.at == (0..name.len()), "{name}: {problem}");
    }
    for name in crate::schedule::tzdb().available() {
        let zone = Zone::get(name.as_str()).unwrap();
        assert_eq!(zone.name(), name.as_str());
    }
}

#[test]
fn dates_to_the_end_of_all_schedules_hold_what_is_before() {
    let daily = cron(&["0 0 * * *"], "UTC");
    let found: Vec<_> = daily.intervals_starting(at("2100-12-29T00:00:00Z")..=at("2100-12-31T23:59:59Z")).collect();
    assert!(found.len() >= 2 && found[0].start() == at("2100-12-29T00:00:00Z"), "{found:?}");
    assert_eq!(daily.intervals_starting(at("2100-12-31T23:00:00Z")..=at("2100-12-31T23:59:59Z")).count(), 0);
}
