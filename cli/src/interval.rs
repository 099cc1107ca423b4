//! The time a run covers, as people write it: a day, or START/END.

use penstock_common::Interval;
use penstock_common::schedule::{Zone, span};

use crate::BadArgument;

/// `2024-01-31` is that day in the pipeline's zone; `START/END` are days (the first instant of each) or times.
pub(crate) fn parse(text: &str, zone: &str) -> anyhow::Result<Interval> {
    let wrong = |why: String| BadArgument(format!("--interval {text:?}: {why}"));
    let zone = Zone::get(zone).map_err(|problem| wrong(problem.to_string()))?;
    Ok(span(text, &zone).map_err(wrong)?)
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
        let local = parse("2024-01-01T02:00/2024-01-02T02:00", "Europe/Paris").unwrap();
        assert_eq!(local.end().to_string(), "2024-01-02T01:00:00.000Z");
        for bad in ["", "yesterday", "2024-13-01", "2024-01-02/2024-01-01", "2024-01-01/2024-01-01", "2024-01-01T02:00"] {
            let error = parse(bad, "UTC").unwrap_err();
            assert!(error.is::<crate::BadArgument>(), "{bad}: {error}");
        }
    }
}
