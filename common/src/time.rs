//! Time as values: milliseconds since the Unix epoch. Nobody in this crate asks a clock.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Millis;

/// Milliseconds since 1970-01-01T00:00:00Z. Shown and parsed as RFC 3339.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This time plus a duration, saturating.
    pub fn after(self, d: Millis) -> Self {
        Self(self.0.saturating_add_unsigned(d.0))
    }
    /// The time from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Millis {
        Millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
    /// Parses RFC 3339, such as `2024-01-31T02:00:00Z`.
    pub fn parse(s: &str) -> Option<Self> {
        s.parse::<jiff::Timestamp>().ok().map(|t| Self(t.as_millisecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}
impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a time: write RFC 3339, such as 2024-01-31T02:00:00Z")))
    }
}

/// What a decision is given from outside. `now` serves deadlines and never runs back; `wall` serves timetables and display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Rises within a term and over terms.
    pub now: Timestamp,
    /// The wall clock, which may jump.
    pub wall: Timestamp,
    /// Randomness of this decision, for jitter.
    pub random: u64,
}

/// The time a run covers: half-open, `[start, end)`, never of zero width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawInterval")]
pub struct Interval {
    start: Timestamp,
    end: Timestamp,
}

#[derive(Deserialize)]
struct RawInterval {
    start: String,
    end: String,
}

impl TryFrom<RawInterval> for Interval {
    type Error = &'static str;
    fn try_from(raw: RawInterval) -> Result<Self, Self::Error> {
        let parse = |s: &str| Timestamp::parse(s).ok_or("interval bounds are RFC 3339 times");
        Self::new(parse(&raw.start)?, parse(&raw.end)?).ok_or("an interval starts before it ends")
    }
}

impl Interval {
    /// `None` unless `start < end`.
    pub fn new(start: Timestamp, end: Timestamp) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }
    /// The first instant covered.
    pub fn start(&self) -> Timestamp {
        self.start
    }
    /// The first instant no longer covered.
    pub fn end(&self) -> Timestamp {
        self.end
    }
    /// The local date of `start` in an IANA zone, as `2024-01-31`; in UTC where the zone is unknown.
    pub fn date(&self, zone: &str) -> String {
        let zone = crate::schedule::tzdb().get(zone).unwrap_or(jiff::tz::TimeZone::UTC);
        jiff::Timestamp::from_millisecond(self.start.0).map(|t| t.to_zoned_datetime(zone).date().to_string()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_with_milliseconds_and_read_back() {
        let t = Timestamp(1_706_666_400_123);
        assert_eq!(t.to_string(), "2024-01-31T02:00:00.123Z");
        assert_eq!(Timestamp::parse(&t.to_string()), Some(t));
    }

    #[test]
    fn an_interval_is_never_empty_and_its_date_is_local() {
        assert_eq!(Interval::new(Timestamp(5), Timestamp(5)), None);
        let start = Timestamp::parse("2024-01-30T23:30:00Z").unwrap();
        let i = Interval::new(start, start.after(Millis(1))).unwrap();
        assert_eq!(i.date("Europe/Paris"), "2024-01-31");
        assert_eq!(i.date("UTC"), "2024-01-30");
    }
}
