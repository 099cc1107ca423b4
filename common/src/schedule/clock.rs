//! What a cron expression's wall times are on the timeline of a zone: the rules for changes of the clock.
//!
//! ```text
//! fixed times            each wall time once: at the first instant at which the clock shows it or a later time. So all of a gap fire
//!   (0 2 * * *)          together as it ends, and an overlap fires the first time only. The order is kept, so one search finds the next.
//! allows every hour      each instant whose wall time matches: nothing within a gap, an overlap twice. Searched segment by segment.
//!   (*/15 * * * *)
//! ```
//!
//! Tested against a brute force over every minute in `tests/oracle.rs`, and against another implementation's in `tests/zoneinfo.rs`.

use super::cron::Cron;
use super::zone::{Instant, Zone};

/// The first fire after `at`.
pub(super) fn after(cron: &Cron, zone: &Zone, at: Instant) -> Option<Instant> {
    if !cron.allows_every_hour() {
        return cron.engine().after(zone.latest_shown(at)).map(|wall| zone.first_showing(wall));
    }
    let mut index = zone.segment(at);
    let mut from = at;
    // Each turn is one change of the clock further, at most to the end of the table.
    while let Some((_, end, offset)) = zone.segment_at(index) {
        match cron.engine().after(from.saturating_add(offset)) {
            Some(wall) if wall - offset < end => return Some(wall - offset),
            _ => (index, from) = (index + 1, end.saturating_sub(1)),
        }
    }
    None
}

/// The last fire not after `at`.
pub(super) fn at_or_before(cron: &Cron, zone: &Zone, at: Instant) -> Option<Instant> {
    if !cron.allows_every_hour() {
        return cron.engine().before(zone.latest_shown(at).saturating_add(1)).map(|wall| zone.first_showing(wall));
    }
    let mut until = at.saturating_add(1);
    for index in (0..=zone.segment(at)).rev() {
        let (begin, _, offset) = zone.segment_at(index)?;
        match cron.engine().before(until.saturating_add(offset)) {
            Some(wall) if wall - offset >= begin => return Some(wall - offset),
            _ => until = begin,
        }
    }
    None
}
