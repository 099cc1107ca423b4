//! The time a run covers, as people write it: a day, or START/END.

use anyhow::{Context as _, bail};
use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use penstock_common::{Interval, Timestamp};

use crate::BadArgument;

/// `2024-01-31` is that day in the pipeline's zone; `START/END` are days (the first instant of each) or RFC 3339.
pub(crate) fn parse(text: &str, zone: &str) -> anyhow::Result<Interval> {
    let tz = TimeZone::get(zone).with_context(|| format!("the zone {zone}"))?;
    let (start, end) = match text.split_once('/') {
        Some((start, end)) => (instant(start, &tz)?, instant(end, &tz)?),
        None => {
            let day: Date = text.parse().map_err(|_| malformed(text))?;
            (start_of(day, &tz)?, start_of(day.checked_add(1.day())?, &tz)?)
        }
    };
    match Interval::new(start, end) {
        Some(interval) => Ok(interval),
        None => bail!(BadArgument(format!("--interval {text}: it must start before it ends"))),
    }
}

fn instant(text: &str, tz: &TimeZone) -> anyhow::Result<Timestamp> {
    match (Timestamp::parse(text), text.parse::<Date>()) {
        (Some(at), _) => Ok(at),
        (None, Ok(day)) => start_of(day, tz),
        (None, Err(_)) => Err(malformed(text)),
    }
}

fn start_of(day: Date, tz: &TimeZone) -> anyhow::Result<Timestamp> {
    Ok(Timestamp(day.to_zoned_datetime(tz.clone())?.timestamp().as_millisecond()))
}

fn malformed(text: &str) -> anyhow::Error {
    anyhow::anyhow!(BadArgument(format!(
        "--interval {text:?}: write a day, 2024-01-31, or START/END, each a day or a time such as 2024-01-31T02:00:00Z"
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::parse;

    #[test]
    fn a_day_is_that_day_in_the_pipelines_zone_however_long_it_is() {
        let day = parse("2024-03-31", "Europe/Paris").unwrap();
        assert_eq!(
            (day.start().to_string().as_str(), day.end().to_string().as_str()),
            ("2024-03-30T23:00:00.000Z", "2024-03-31T22:00:00.000Z")
        );
        let span = parse("2024-01-01/2024-01-02T06:00:00Z", "UTC").unwrap();
        assert_eq!(span.end().to_string(), "2024-01-02T06:00:00.000Z");
        for bad in ["", "yesterday", "2024-13-01", "2024-01-02/2024-01-01", "2024-01-01/2024-01-01"] {
            assert!(parse(bad, "UTC").is_err(), "{bad}");
        }
    }
}
