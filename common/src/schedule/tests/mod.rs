//! The time language against what the documents say, against brute force, and against other implementations.

use super::{Cron, Definition, Schedule, Timing, Zone};
use crate::{Millis, Timestamp};

mod croniter;
mod dst;
mod everyday;
mod fuzz;
mod grammar;
mod intervals;
mod oracle;
mod speed;
mod zoneinfo;

/// A schedule of some expressions without bounds.
fn cron(list: &[&str], zone: &str) -> Schedule {
    let list = list.iter().map(|text| Cron::parse(text).unwrap()).collect();
    schedule(Timing::Cron(list), zone)
}

fn schedule(timing: Timing, zone: &str) -> Schedule {
    Schedule::new(definition(timing, zone)).unwrap()
}

fn definition(timing: Timing, zone: &str) -> Definition {
    Definition { timing, timezone: Zone::get(zone).unwrap(), start: None, end: None, delay: Millis(0) }
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap_or_else(|| panic!("{text}"))
}

/// The fires within a span, as the zone's clock shows them.
fn local(schedule: &Schedule, from: &str, to: &str) -> Vec<String> {
    let fires = schedule.fires(at(from)..at(to));
    let forward: Vec<_> = fires.clone().map(|fire| schedule.definition().timezone.local(fire)).collect();
    let mut backward: Vec<_> = fires.rev().map(|fire| schedule.definition().timezone.local(fire)).collect();
    backward.reverse();
    assert_eq!(forward, backward, "the same from either end");
    forward
}
