//! Durations as people write them: `30s`, `5m`, `2h`, `1d`, `250ms`, `1h30m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A duration in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// What is wrong with a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration: write a number and a unit, such as 250ms, 30s, 5m, 2h, 1d or 1h30m")]
pub struct InvalidDuration(pub String);

impl Millis {
    /// As the standard library's type.
    pub fn std(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl From<Duration> for Millis {
    fn from(d: Duration) -> Self {
        Self(u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
}

impl FromStr for Millis {
    type Err = InvalidDuration;
    fn from_str(s: &str) -> Result<Self, InvalidDuration> {
        let err = || InvalidDuration(s.chars().take(40).collect());
        let mut rest = s;
        let mut total: u64 = 0;
        let mut last = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| err())?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
            let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..letters]).ok_or_else(err)?;
            if *unit >= last {
                return Err(err()); // 5s2h, 1m1m
            }
            last = *unit;
            total = number.checked_mul(*unit).and_then(|n| total.checked_add(n)).ok_or_else(err)?;
            rest = &rest[letters..];
        }
        if s.is_empty() { Err(err()) } else { Ok(Self(total)) }
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (name, unit) in UNITS {
            if rest >= unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}
impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl Serialize for Millis {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        <std::borrow::Cow<'de, str>>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back_as_they_are_shown() {
        for text in ["0s", "250ms", "30s", "5m", "2h", "1d", "1h30m", "1d2h3m4s5ms"] {
            let d: Millis = text.parse().unwrap();
            assert_eq!(d.to_string(), text);
        }
        assert_eq!("90s".parse::<Millis>().unwrap().to_string(), "1m30s");
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in ["", "5", "s", "5 s", "-5s", "5s2h", "1m1m", "1.5h", "5S", "99999999999999999999s", "9999999999999999d"] {
            assert!(text.parse::<Millis>().is_err(), "{text}");
        }
    }
}
