//! The time language: cron expressions, periods, zones and dates become instants, and instants become intervals.
//!
//! ```text
//! text ── Cron (cron, field) ──▶ engine: the calendar, over the crate `cron`
//!      ── Zone (zone) ─────────▶ clock: daylight saving ──▶ Schedule (timetable): next, previous, intervals ──▶ Fires, Intervals (fires)
//!      ── Every (every) ───────────────────────────────────▶
//!      ── Moment (moment): start and end dates
//! ```
//!
//! It is pure: it knows no present. Which interval is due, and what becomes of those that were missed, is the scheduler's.

mod clock;
mod cron;
mod engine;
mod every;
mod field;
mod fires;
mod moment;
mod problem;
mod timetable;
mod zone;

pub use cron::Cron;
pub use every::Every;
pub use fires::{Fires, Intervals};
pub use moment::{Moment, span};
pub use problem::Problem;
pub use timetable::{Definition, Schedule, Timing, Unfit};
pub use zone::{Zone, tzdb, tzdb_version};

#[cfg(test)]
mod tests;
