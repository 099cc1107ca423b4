//! A time: RFC 3339, or a time of day in the pipeline's zone.

use jiff::civil::Time;
use penstock_common::lease::Lease;
use penstock_common::metrics::Outputs;
use penstock_common::schedule::tzdb;
use penstock_common::{Interval, Reason, Timestamp};

use super::Seen;
use crate::attempt::job::Job;
use crate::attempt::judge::Verdict;

pub(super) fn probe(job: &mut Job<'_>, template: &str) -> Result<Seen, Verdict> {
    let text = job.render("wait.time", template)?;
    let time = when(job.lease, text.trim()).map_err(|why| Verdict::failed(Reason::Template, &format!("wait.time: {why}")))?;
    if (job.host.clock)() >= time {
        Ok(Seen::So(Outputs::default()))
    } else {
        Ok(Seen::NotYet(format!("it is not {time} yet"), Some(time)))
    }
}

/// A time of day is one of the day on which the interval ends; without an interval, of the day on which this was first leased, so
/// that waiting over midnight does not wait for another day.
fn when(lease: &Lease, text: &str) -> Result<Timestamp, String> {
    if let Some(time) = Timestamp::parse(text) {
        return Ok(time);
    }
    let of_day =
        of_day(text).ok_or_else(|| format!("{text:?} is neither a time of day such as 06:30 nor RFC 3339 such as 2024-01-31T06:30:00Z"))?;
    let zone = tzdb().get(&lease.zone).map_err(|error| format!("this worker does not know the zone {}: {error}", lease.zone))?;
    let day = lease.interval.as_ref().map_or(lease.first_leased_at, Interval::end);
    let day = jiff::Timestamp::from_millisecond(day.0).map_err(|error| error.to_string())?.to_zoned_datetime(zone.clone()).date();
    let time = day.to_datetime(of_day).to_zoned_datetime(zone).map_err(|error| error.to_string())?;
    Ok(Timestamp(time.timestamp().as_millisecond()))
}

/// `6:30`, `06:30` or `06:30:15`.
fn of_day(text: &str) -> Option<Time> {
    let mut parts = text
        .split(':')
        .map(|part| part.parse::<i8>().ok().filter(|_| matches!(part.len(), 1 | 2) && part.bytes().all(|b| b.is_ascii_digit())));
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    if parts.next().is_some() { None } else { Time::new(hour, minute, second, 0).ok() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use penstock_common::pipeline::Task;
    use penstock_common::record::TriggerKind;
    use penstock_common::{Fence, PipelineName, RunId, TaskKey};

    use super::*;

    fn lease(interval: Option<(&str, &str)>, first: &str) -> Lease {
        let parse = |text| Timestamp::parse(text).unwrap();
        Lease {
            run: RunId::parse("r").unwrap(),
            pipeline: PipelineName::parse("p").unwrap(),
            task: TaskKey::parse("t").unwrap(),
            instance: None,
            item: None,
            number: 1,
            generation: 1,
            fence: Fence(1),
            spec: Arc::new(Task::noop()),
            params: "{}".into(),
            trigger: TriggerKind::Manual,
            interval: interval.and_then(|(start, end)| Interval::new(parse(start), parse(end))),
            outputs: BTreeMap::new(),
            previous: None,
            zone: "Europe/Paris".into(),
            first_leased_at: parse(first),
            traceparent: String::new(),
        }
    }

    #[test]
    fn a_time_of_day_is_of_the_intervals_end_or_else_of_the_first_lease_in_the_zone() {
        let at = |lease: &Lease, text| when(lease, text).map(|time| time.to_string());
        let daily = lease(Some(("2024-01-29T23:00:00Z", "2024-01-30T23:00:00Z")), "2024-03-01T00:00:00Z");
        assert_eq!(at(&daily, "06:30").unwrap(), "2024-01-31T05:30:00.000Z", "the 31st has begun in Paris");
        let manual = lease(None, "2024-07-01T21:00:00Z");
        assert_eq!(at(&manual, "23:30").unwrap(), "2024-07-01T21:30:00.000Z");
        assert_eq!(at(&manual, "0:05:10").unwrap(), "2024-06-30T22:05:10.000Z");
        assert_eq!(at(&manual, "2024-01-31T02:00:00+01:00").unwrap(), "2024-01-31T01:00:00.000Z");
        // There is no 02:30 that night: the first instant after the gap that corresponds.
        assert_eq!(at(&lease(None, "2024-03-31T00:00:00Z"), "02:30").unwrap(), "2024-03-31T01:30:00.000Z");
        for bad in ["", "noon", "24:00", "6", "06:30:15:1", "+6:30", "006:30", "06:60"] {
            assert!(at(&manual, bad).unwrap_err().contains("06:30"), "{bad}");
        }
    }
}
