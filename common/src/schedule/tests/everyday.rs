//! The four expressions that most people write.

use super::{at, cron, local};

#[test]
fn every_day_at_two() {
    let daily = cron(&["0 2 * * *"], "Europe/Paris");
    let fires = local(&daily, "2024-01-01T00:00:00Z", "2024-01-04T00:00:00Z");
    assert_eq!(fires, ["2024-01-01T02:00:00+01:00", "2024-01-02T02:00:00+01:00", "2024-01-03T02:00:00+01:00"]);
    assert_eq!(daily.fires(at("2023-12-31T23:00:00Z")..at("2024-12-31T23:00:00Z")).count(), 366);
}

#[test]
fn every_four_hours() {
    let fires = local(&cron(&["0 */4 * * *"], "UTC"), "2024-02-28T22:00:00Z", "2024-03-01T01:00:00Z");
    let hours: Vec<_> = fires.iter().map(|fire| &fire[8..16]).collect();
    let expected = ["29T00:00", "29T04:00", "29T08:00", "29T12:00", "29T16:00", "29T20:00", "01T00:00"];
    assert_eq!(hours, expected);
}

#[test]
fn the_first_of_each_month() {
    let fires = local(&cron(&["0 0 1 * *"], "UTC"), "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z");
    let expected: Vec<_> = (1..=12).map(|month| format!("2024-{month:02}-01T00:00:00+00:00")).collect();
    assert_eq!(fires, expected);
}

#[test]
fn at_six_from_monday_to_friday() {
    let fires = local(&cron(&["0 6 * * 1-5"], "UTC"), "2024-01-05T00:00:00Z", "2024-01-16T00:00:00Z");
    // 2024-01-05 is a Friday.
    let days: Vec<_> = fires.iter().map(|fire| &fire[8..16]).collect();
    assert_eq!(days, ["05T06:00", "08T06:00", "09T06:00", "10T06:00", "11T06:00", "12T06:00", "15T06:00"]);
}
