//! Which expressions are read, and what is said of the others, and where.

use super::{cron, local};
use crate::schedule::Cron;

/// The first fires of 2024 in UTC: month, day, hour, minute.
fn first(text: &str, count: usize) -> Vec<String> {
    let schedule = cron(&[text], "UTC");
    let fires = schedule.fires(super::at("2024-01-01T00:00:00Z")..super::at("2099-01-01T00:00:00Z"));
    fires.take(count).map(|fire| fire.to_string()[..16].to_owned()).collect()
}

fn same(a: &str, b: &str) {
    assert_eq!(first(a, 50), first(b, 50), "{a} and {b}");
}

#[test]
fn numbers_lists_ranges_steps_and_names() {
    same("0 0 * jan mon", "0 0 * 1 1");
    same("0 0 * JAN-Mar,dec Sun,Tue-thu", "0 0 * 1-3,12 0,2-4");
    same("*/20 1-5/2 * * *", "0,20,40 1,3,5 * * *");
    same("5,5,5-6 * * * *", "5,6 * * * *");
    same("00 02 * * *", "0 2 * * *");
    same(" 0\t2  * * * ", "0 2 * * *");
    same("0-59/60 * * * *", "0 * * * *");
    same("0 */24 * * *", "0 0 * * *");
}

#[test]
fn sunday_is_0_and_7_and_monday_1() {
    assert_eq!(first("0 0 * * 0", 2), ["2024-01-07T00:00", "2024-01-14T00:00"]);
    same("0 0 * * 7", "0 0 * * 0");
    same("0 0 * * 5-7", "0 0 * * 5,6,0");
    same("0 0 * * 0-7", "0 0 * * *");
    same("0 0 * * */2", "0 0 * * 0,2,4,6");
    same("0 0 * * 1-7/2", "0 0 * * 1,3,5,0");
    assert_eq!(first("0 0 * * mon", 1), ["2024-01-01T00:00"]);
    assert_eq!(first("0 0 * * sat", 1), ["2024-01-06T00:00"]);
}

#[test]
fn words_stand_for_fields() {
    for (word, fields) in [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        (" @Daily ", "0 0 * * *"),
    ] {
        same(word, fields);
        assert!(Cron::parse(word).unwrap().warnings().is_empty(), "{word}");
    }
}

#[test]
fn either_day_field_is_enough_unless_one_begins_with_a_star() {
    // Fridays and the 13th.
    assert_eq!(first("0 0 13 * 5", 3), ["2024-01-05T00:00", "2024-01-12T00:00", "2024-01-13T00:00"]);
    // Both: odd days that are Mondays, since `*/2` is a star to Vixie's cron.
    assert_eq!(first("0 0 */2 * 1", 3), ["2024-01-01T00:00", "2024-01-15T00:00", "2024-01-29T00:00"]);
    assert_eq!(first("0 0 1-31/2 * 1", 3), ["2024-01-01T00:00", "2024-01-03T00:00", "2024-01-05T00:00"]);
    // As does a list that begins with it: every day is in it, so the other field decides.
    same("0 0 *,5 * 1", "0 0 * * 1");
    same("0 0 13 * */2", "0 0 13 * */2,7");
    assert_eq!(first("0 0 13 * */2", 2), ["2024-01-13T00:00", "2024-02-13T00:00"]);
    // All days, but no star: either is enough, so every day.
    same("0 0 1-31 * 1", "0 0 * * *");
    same("0 0 1 * 0-6", "0 0 * * *");
}

#[test]
fn two_day_fields_are_warned_about() {
    let warnings = |text| {
        let cron = Cron::parse(text).unwrap();
        cron.warnings().iter().map(|warning| (warning.at.clone(), warning.to_string())).collect::<Vec<_>>()
    };
    for silent in ["0 2 * * *", "0 2 13 * *", "0 2 * * 5", "0 2 */2 * *", "0 2 * * */2", "0 2 13 * *,1"] {
        assert_eq!(warnings(silent), [], "{silent}");
    }
    let either = warnings("0 2 13 * 5");
    assert!(either[0].0 == (4..10) && either[0].1.contains("either of them is enough"), "{either:?}");
    let both = warnings("0 2 */2 * 5");
    assert!(both[0].0 == (4..11) && both[0].1.contains("must match both"), "{both:?}");
}

#[test]
fn rare_days_are_found_and_impossible_ones_refused() {
    let leap = cron(&["0 0 29 2 *"], "UTC");
    assert_eq!(local(&leap, "2090-01-01T00:00:00Z", "2101-01-01T00:00:00Z"), ["2092-02-29T00:00:00+00:00", "2096-02-29T00:00:00+00:00"]);
    // A leap day that is a Sunday, since `*/7` begins with a star: both must match. The one of 1976 only begins an interval.
    let sunday = cron(&["0 0 29 2 */7"], "UTC");
    let days = local(&sunday, "1970-01-01T00:00:00Z", "2101-01-01T00:00:00Z");
    let years: Vec<_> = days.iter().map(|day| &day[..4]).collect();
    assert_eq!(years, ["2004", "2032", "2060", "2088"]);
    for (text, at) in [("0 0 30 2 *", 4..8), ("0 0 31 4,6,9,11 *", 4..15), ("0 0 30-31 feb *", 4..13), ("0 0 31 2 */2", 4..8)] {
        let problem = Cron::parse(text).unwrap_err();
        assert!(problem.at == at && problem.message.contains("never fires"), "{text}: {:?} {problem}", problem.at);
    }
    // Either is enough: Mondays of February.
    assert_eq!(first("0 0 30 2 1", 2), ["2024-02-05T00:00", "2024-02-12T00:00"]);
}

#[test]
fn what_is_not_unix_cron_is_refused_with_what_to_write_and_where() {
    for (text, at, says) in [
        ("", 0..0, "five fields"),
        ("   ", 0..3, "is empty"),
        ("0 2 * *", 0..7, "has 4 fields: five are needed, minute, hour, day of month, month, day of week: add day of week"),
        ("5", 0..1, "has 1 field: "),
        ("0 0 2 * * *", 0..1, "without seconds and year that is `0 2 * * *`"),
        ("0 0 2 * * ? 2024", 0..16, "without seconds and year that is `0 2 * * *`"),
        ("*/30 * * * * *", 0..4, "periods below a minute are `every: 30s`"),
        ("0 2 * * * /usr/bin/extract.sh", 10..29, "what runs is said by the tasks"),
        ("CRON_TZ=Europe/Paris 0 2 * * *", 0..20, "write the zone as `timezone:`"),
        ("@reboot", 0..7, "a pipeline outlives each machine"),
        (" @evry", 1..6, "write one of @hourly @daily"),
        ("@every 5m", 0..9, "write `every: 5m`"),
        ("0 2 ? * 1", 4..5, "write * where any will do"),
        ("0 2 L * *", 4..5, "`0 0 1 * *` runs as the month ends"),
        ("0 2 L-3 * *", 4..5, "no last day of the month"),
        ("0 2 15W * *", 4..7, "no nearest weekday"),
        ("0 2 LW * *", 4..6, "no nearest weekday"),
        ("0 2 * * 5L", 8..10, "no last weekday"),
        ("0 2 * * friL", 8..12, "no last weekday"),
        ("0 2 * * mon#2", 8..13, "no nth weekday: write mon "),
        ("H 2 * * *", 0..1, "write the number itself"),
        ("0~59 2 * * *", 0..4, "write the number itself"),
        ("60 2 * * *", 0..2, "the minute \"60\" is not within 0-59"),
        ("0 24 * * *", 2..4, "the hour \"24\" is not within 0-23"),
        ("0 2 0 * *", 4..5, "the day of month \"0\" is not within 1-31"),
        ("0 2 * 13 *", 6..8, "1-12 or jan-dec"),
        ("0 2 * * 8", 8..9, "0-7 or sun-sat, where 0 and 7 are Sunday"),
        ("0 2 * * 1,monday", 10..16, "write mon: names have three letters"),
        ("0 2 jan * *", 4..7, "the day of month \"jan\" is not one"),
        ("0 2 -5 * *", 4..6, "is not one"),
        ("0 2 5- * *", 6..6, "the day of month \"\" is not one"),
        ("0 22-2 * * *", 2..6, "runs backwards: write 22-23,0-2"),
        ("0 2 * * sat-sun", 8..15, "write 6-7: 7 is Sunday as well"),
        ("0 2 * * fri-mon", 8..15, "write 5-6,0-1"),
        ("5/15 * * * *", 0..4, "write 5-59/15, or */15 to begin at 0"),
        ("*/0 * * * *", 2..3, "is not a number from 1"),
        ("*/ * * * *", 2..2, "is not a number from 1"),
        ("*/90 * * * *", 2..4, "a step of 90 is longer than all 60 values of the minute: a cron step begins anew with each hour"),
        ("*/90 * * * *", 2..4, "`every: 90m`"),
        ("0 */36 * * *", 4..6, "`every: 36h`"),
        ("0 2 1,,15 * *", 5..6, "has an empty place in its list"),
        ("0 2 ,1 * *", 4..5, "has an empty place"),
        ("0 2 1, * *", 5..6, "has an empty place"),
        ("0 2 ** * *", 4..6, "is not one"),
        ("0 2 é * *", 4..6, "the day of month \"é\" is not one"),
        ("0 2 99999999999999999999 * *", 4..24, "is not within 1-31"),
        ("0 2 1-99999999999999999999 * *", 6..26, "is not within 1-31"),
    ] {
        let problem = Cron::parse(text).unwrap_err();
        assert!(problem.to_string().contains(says), "{text}: {problem}");
        assert_eq!(problem.at, at, "{text}: {problem}");
    }
    let long = format!("{}0 2 * * *", "0,".repeat(1_000));
    assert!(Cron::parse(&long).unwrap_err().message.contains("2009 bytes"));
}

#[test]
fn an_expression_is_kept_as_it_is_written() {
    let cron: Cron = serde_json::from_str("\" 0 2 * * MON \"").unwrap();
    assert_eq!(cron.as_str(), "0 2 * * MON");
    assert_eq!(serde_json::to_string(&cron).unwrap(), "\"0 2 * * MON\"");
    let wrong = serde_json::from_str::<Cron>("\"0 25 * * *\"").unwrap_err().to_string();
    assert!(wrong.contains("\"25\" is not within 0-23"), "{wrong}");
}
