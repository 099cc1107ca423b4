//! A steady period: `every: 15m`.
//!
//! It counts time that passes, not what clocks show, so a change of the clock neither stretches nor shortens it. Its fires are at whole
//! multiples of the period since the anchor: the schedule's start date, else 1970-01-01T00:00:00Z. So they do not depend on when a
//! pipeline was registered, and `every: 15m` is at :00, :15, :30 and :45. What should happen at a time of the local day is cron's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::problem::{Problem, shown};
use crate::Millis;

/// The shortest period: fires are decided one by one.
const MIN: Millis = Millis(1_000);
/// The longest: ten years.
const MAX: Millis = Millis(3_653 * 86_400_000);

/// A period of at least a second and at most ten years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Millis", into = "Millis")]
pub struct Every(Millis);

impl Every {
    /// Reads a duration such as `15m`.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let whole = 0..text.len();
        match text.parse::<Millis>() {
            Ok(period) => Self::new(period).map_err(|problem| Problem { at: whole, ..problem }),
            Err(_) => Err(Problem::new(whole, format!("{} is not a period", shown(text)), "write one such as 30s, 15m, 2h or 1d")),
        }
    }

    /// Of a period that is known. What is wrong has no place.
    pub fn new(period: Millis) -> Result<Self, Problem> {
        if (MIN..=MAX).contains(&period) {
            return Ok(Self(period));
        }
        Err(Problem::new(0..0, format!("a period cannot be {period}"), "write 1s to 3653d"))
    }

    /// The period.
    pub fn period(self) -> Millis {
        self.0
    }

    // Bounded by `MAX`, so it fits.
    fn step(self) -> i64 {
        i64::try_from(self.0.0).unwrap_or(i64::MAX)
    }

    /// The first multiple after `at`, both in milliseconds.
    pub(super) fn after(self, anchor: i64, at: i64) -> Option<i64> {
        at.checked_sub(anchor)?.div_euclid(self.step()).checked_add(1)?.checked_mul(self.step())?.checked_add(anchor)
    }

    /// The last multiple not after `at`, both in milliseconds.
    pub(super) fn at_or_before(self, anchor: i64, at: i64) -> Option<i64> {
        at.checked_sub(anchor)?.div_euclid(self.step()).checked_mul(self.step())?.checked_add(anchor)
    }
}

impl TryFrom<Millis> for Every {
    type Error = Problem;
    fn try_from(period: Millis) -> Result<Self, Problem> {
        Self::new(period)
    }
}
impl From<Every> for Millis {
    fn from(every: Every) -> Self {
        every.0
    }
}
impl FromStr for Every {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        Self::parse(text)
    }
}
impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl fmt::Debug for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Every({})", self.0)
    }
}
