//! Changes of the clock in six zones, each a case of its own: fires as they are listed here, from the zone's rules.

use super::{cron, local};

/// Fires in local time, the year left out.
fn fires(list: &[&str], zone: &str, from: &str, to: &str) -> Vec<String> {
    local(&cron(list, zone), from, to).iter().map(|fire| fire[5..].to_owned()).collect()
}

#[test]
fn paris_skips_two_to_three_and_repeats_it() {
    let spring = |text| fires(&[text], "Europe/Paris", "2024-03-30T12:00:00Z", "2024-04-01T12:00:00Z");
    let autumn = |text| fires(&[text], "Europe/Paris", "2024-10-26T12:00:00Z", "2024-10-28T12:00:00Z");
    // Fixed: once, as the gap ends.
    assert_eq!(spring("0 2 * * *"), ["03-31T03:00:00+02:00", "04-01T02:00:00+02:00"]);
    assert_eq!(spring("*/20 2 * * *"), ["03-31T03:00:00+02:00", "04-01T02:00:00+02:00", "04-01T02:20:00+02:00", "04-01T02:40:00+02:00"]);
    // Those of the gap and that of three o'clock are one instant.
    assert_eq!(spring("0 2,3 * * *"), ["03-31T03:00:00+02:00", "04-01T02:00:00+02:00", "04-01T03:00:00+02:00"]);
    assert_eq!(
        fires(&["0 2 * * *", "0 3 * * *"], "Europe/Paris", "2024-03-30T12:00:00Z", "2024-03-31T12:00:00Z"),
        ["03-31T03:00:00+02:00"]
    );
    // Fixed: once, the first time.
    assert_eq!(autumn("0 2 * * *"), ["10-27T02:00:00+02:00", "10-28T02:00:00+01:00"]);
    assert_eq!(autumn("30 2,3 * * *"), ["10-27T02:30:00+02:00", "10-27T03:30:00+01:00", "10-28T02:30:00+01:00", "10-28T03:30:00+01:00"]);
    // All hours but one are still fixed times.
    let hours = fires(&["30 0-3,5-23 * * *"], "Europe/Paris", "2024-10-26T23:00:00Z", "2024-10-27T04:00:00Z");
    assert_eq!(hours, ["10-27T01:30:00+02:00", "10-27T02:30:00+02:00", "10-27T03:30:00+01:00"]);
}

#[test]
fn every_hour_follows_the_clock() {
    let hourly = |text, from, to| fires(&[text], "Europe/Paris", from, to);
    assert_eq!(
        hourly("30 * * * *", "2024-03-31T00:00:00Z", "2024-03-31T03:00:00Z"),
        ["03-31T01:30:00+01:00", "03-31T03:30:00+02:00", "03-31T04:30:00+02:00"]
    );
    assert_eq!(
        hourly("*/30 0-23 * * *", "2024-10-26T23:30:00Z", "2024-10-27T02:00:00Z"),
        ["10-27T01:30:00+02:00", "10-27T02:00:00+02:00", "10-27T02:30:00+02:00", "10-27T02:00:00+01:00", "10-27T02:30:00+01:00"]
    );
    // A list has both kinds.
    assert_eq!(
        fires(&["45 * * * *", "15 2 * * *"], "Europe/Paris", "2024-03-31T00:30:00Z", "2024-03-31T02:00:00Z"),
        ["03-31T01:45:00+01:00", "03-31T03:00:00+02:00", "03-31T03:45:00+02:00"]
    );
}

#[test]
fn new_york_does_so_at_two_and_at_one() {
    let spring = |text| fires(&[text], "America/New_York", "2024-03-09T12:00:00Z", "2024-03-11T12:00:00Z");
    assert_eq!(spring("30 2 * * *"), ["03-10T03:00:00-04:00", "03-11T02:30:00-04:00"]);
    let autumn = |text| fires(&[text], "America/New_York", "2024-11-03T04:00:00Z", "2024-11-03T08:00:00Z");
    assert_eq!(autumn("30 1 * * *"), ["11-03T01:30:00-04:00"]);
    assert_eq!(autumn("0 * * * *"), ["11-03T00:00:00-04:00", "11-03T01:00:00-04:00", "11-03T01:00:00-05:00", "11-03T02:00:00-05:00"]);
    // A rule of before 2007.
    assert_eq!(fires(&["0 2 * * *"], "America/New_York", "2006-04-02T00:00:00Z", "2006-04-03T00:00:00Z"), ["04-02T03:00:00-04:00"]);
}

#[test]
fn lord_howe_moves_by_half_an_hour() {
    let zone = "Australia/Lord_Howe";
    // 2024-10-06: 02:00 becomes 02:30. 2024-04-07: 02:00 becomes 01:30.
    let spring = |text| fires(&[text], zone, "2024-10-05T14:30:00Z", "2024-10-05T17:00:00Z");
    assert_eq!(spring("15 2 * * *"), ["10-06T02:30:00+11:00"]);
    assert_eq!(spring("15,45 2 * * *"), ["10-06T02:30:00+11:00", "10-06T02:45:00+11:00"]);
    assert_eq!(
        spring("*/15 * * * *")[4..8],
        ["10-06T02:30:00+11:00", "10-06T02:45:00+11:00", "10-06T03:00:00+11:00", "10-06T03:15:00+11:00"]
    );
    let autumn = |text| fires(&[text], zone, "2024-04-06T14:00:00Z", "2024-04-06T16:00:00Z");
    assert_eq!(autumn("45 1 * * *"), ["04-07T01:45:00+11:00"]);
    assert_eq!(autumn("45 * * * *"), ["04-07T01:45:00+11:00", "04-07T01:45:00+10:30"]);
    assert_eq!(autumn("0 2 * * *"), ["04-07T02:00:00+10:30"], "the clock goes from 01:59 to 01:30 and shows two o'clock once");
}

#[test]
fn dublins_winter_time_is_the_saving_one() {
    let zone = "Europe/Dublin";
    assert_eq!(fires(&["30 1 * * *"], zone, "2024-03-31T00:00:00Z", "2024-03-31T23:00:00Z"), ["03-31T02:00:00+01:00"]);
    assert_eq!(fires(&["30 1 * * *"], zone, "2024-10-26T23:00:00Z", "2024-10-27T23:00:00Z"), ["10-27T01:30:00+01:00"]);
    assert_eq!(
        fires(&["30 * * * *"], zone, "2024-10-26T23:00:00Z", "2024-10-27T02:00:00Z"),
        ["10-27T00:30:00+01:00", "10-27T01:30:00+01:00", "10-27T01:30:00+00:00"]
    );
}

#[test]
fn casablanca_goes_back_for_ramadan() {
    // 2024: Ramadan from 10 March 03:00 (to 02:00, UTC) to 14 April 02:00 (to 03:00, UTC+1).
    let zone = "Africa/Casablanca";
    assert_eq!(fires(&["30 2 * * *"], zone, "2024-03-10T00:00:00Z", "2024-03-11T00:00:00Z"), ["03-10T02:30:00+01:00"]);
    assert_eq!(
        fires(&["30 * * * *"], zone, "2024-03-10T01:00:00Z", "2024-03-10T03:00:00Z"),
        ["03-10T02:30:00+01:00", "03-10T02:30:00+00:00"]
    );
    assert_eq!(fires(&["30 2 * * *"], zone, "2024-04-14T00:00:00Z", "2024-04-14T23:00:00Z"), ["04-14T03:00:00+01:00"]);
}

#[test]
fn apia_skipped_a_whole_day() {
    // After 2011-12-29T23:59:59-10:00 came 2011-12-31T00:00:00+14:00.
    let zone = "Pacific/Apia";
    let around = |text| fires(&[text], zone, "2011-12-29T00:00:00Z", "2012-01-01T00:00:00Z");
    assert_eq!(around("0 2 * * *"), ["12-29T02:00:00-10:00", "12-31T00:00:00+14:00", "12-31T02:00:00+14:00", "01-01T02:00:00+14:00"]);
    assert_eq!(around("0 0 * * *"), ["12-29T00:00:00-10:00", "12-31T00:00:00+14:00", "01-01T00:00:00+14:00"]);
    // Its only day of the year was skipped.
    assert_eq!(around("0 8,20 30 12 *"), ["12-31T00:00:00+14:00"]);
    assert_eq!(around("0 * 30 12 *"), [] as [&str; 0], "every hour follows the clock, which showed none of that day");
    let hourly = cron(&["0 * * * *"], zone);
    assert_eq!(
        local(&hourly, "2011-12-30T08:30:00Z", "2011-12-30T12:00:00Z"),
        ["2011-12-29T23:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T01:00:00+14:00"]
    );
    // The day that was skipped has no interval of its own, and none is empty.
    let daily = cron(&["0 0 * * *"], zone);
    let interval = daily.interval_of(super::at("2011-12-30T10:00:00Z")).unwrap();
    assert_eq!((interval.start().to_string(), interval.date(zone)), ("2011-12-29T10:00:00.000Z".to_owned(), "2011-12-29".to_owned()));
}
