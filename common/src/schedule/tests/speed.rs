//! What questions cost, so that ten thousand schedules are no burden.

use std::hint::black_box;
use std::time::Instant;

use super::{at, cron, schedule};
use crate::Timestamp;
use crate::schedule::{Every, Schedule, Timing};

/// The usual, and the dearest there are: a search to the end of time, and one through every change of the clock.
fn cases() -> Vec<(&'static str, Schedule)> {
    vec![
        ("0 2 * * *", cron(&["0 2 * * *"], "Europe/Paris")),
        ("*/5 * * * *", cron(&["*/5 * * * *"], "Europe/Paris")),
        ("0 6 * * 1-5", cron(&["0 6 * * 1-5"], "America/New_York")),
        ("0 0 13 * 5", cron(&["0 0 13 * 5"], "Australia/Lord_Howe")),
        ("0 0 29 2 */7", cron(&["0 0 29 2 */7"], "Europe/Paris")),
        ("0 * 29 2 */7", cron(&["0 * 29 2 */7"], "Africa/Casablanca")),
        ("every 15m", schedule(Timing::Every(Every::parse("15m").unwrap()), "Europe/Paris")),
    ]
}

#[test]
#[ignore = "a measurement: cargo test --release -p penstock-common speed -- --ignored --nocapture"]
fn questions_take_microseconds() {
    const ROUNDS: i64 = 10_000;
    let start = at("2026-03-01T00:00:00Z");
    for (name, schedule) in cases() {
        type Question = fn(&Schedule, Timestamp) -> bool;
        let questions: [(&str, Question); 3] = [
            ("next_after", |schedule, at| schedule.next_after(at).is_some()),
            ("previous_at_or_before", |schedule, at| schedule.previous_at_or_before(at).is_some()),
            ("interval_at", |schedule, at| schedule.interval_at(at).is_some()),
        ];
        for (question, ask) in questions {
            let clock = Instant::now();
            for n in 0..ROUNDS {
                black_box(ask(&schedule, Timestamp(start.0 + n * 3_607_000)));
            }
            println!("{name:14} {question:22} {:7.2} us", clock.elapsed().as_secs_f64() * 1e6 / ROUNDS as f64);
        }
    }
    let clock = Instant::now();
    for _ in 0..1_000 {
        black_box(cron(&["*/5 2-4 * * 1-5"], "Europe/Paris"));
    }
    println!("parsed and made in {:.1} us", clock.elapsed().as_secs_f64() * 1e3);
}

#[test]
fn no_search_is_unbounded() {
    let clock = Instant::now();
    for (name, schedule) in cases() {
        for year in 1970..2102 {
            let at = at(&format!("{year}-03-01T00:00:00Z"));
            assert!(schedule.next_after(at).is_none_or(|next| next > at), "{name}");
            assert!(schedule.previous_at_or_before(at).is_none_or(|previous| previous <= at), "{name}");
        }
    }
    // Some 2,000 questions; a search that counted minutes would take hours.
    assert!(clock.elapsed().as_secs() < 20, "{:?}", clock.elapsed());
}
