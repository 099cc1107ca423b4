//! Schedules: what they will do and did, and where they go on.

use penstock_common::schedule::{Moment, Zone};
use penstock_common::{PipelineName, Timestamp};
use penstock_proto::v1;
use penstock_scheduler::Input;
use penstock_scheduler::calendar::{Calendar, DueInterval};
use tonic::Status;

use super::control::{Control, as_of};
use super::status;

/// Intervals in one answer.
const MAX_INTERVALS: usize = 1_000;
/// A schedule that is that far ahead of the clock, by runs that it had, tells that the clock was set back.
const SET_BACK_MS: i64 = 60_000;

impl Control {
    /// A pipeline's place in time, and the zone in which people say dates of it.
    pub(super) async fn calendar(&self, name: &PipelineName) -> Result<(Calendar, Zone), Status> {
        let wanted = name.clone();
        let calendar = self.handle.read(move |scheduler, _| scheduler.calendar(&wanted)).await?;
        let calendar = calendar.ok_or_else(|| Status::not_found(format!("there is no pipeline {name}: see penstock pipelines")))?;
        let zone = Zone::get(calendar.plan.pipeline.zone()).map_err(|e| Status::internal(e.to_string()))?;
        Ok((calendar, zone))
    }

    pub(super) async fn schedule(&self, request: v1::GetScheduleRequest) -> Result<v1::GetScheduleResponse, Status> {
        let name = PipelineName::parse(&request.pipeline).map_err(|e| status::invalid(&e))?;
        let (calendar, zone) = self.calendar(&name).await?;
        let within = match (request.from.as_str(), request.to.as_str()) {
            ("", "") => None,
            (from, to) => Some(span(from, to, &zone)?),
        };
        let limit = match request.limit as usize {
            0 if within.is_some() => MAX_INTERVALS,
            0 => 10,
            n => n.min(MAX_INTERVALS),
        };
        let wanted = name.clone();
        let (intervals, seen) = self.handle.read(move |scheduler, seen| (scheduler.due_intervals(&wanted, within, limit), seen)).await?;
        let distrusted = self.handle.clock_trouble.borrow().clone();
        let stopped = match distrusted {
            None => self.set_back(&name, &calendar, &zone).await?,
            distrusted => distrusted,
        };
        let wire = |due: DueInterval| v1::DueInterval {
            local_start: zone.local(due.interval.start()),
            local_end: zone.local(due.interval.end()),
            local_due: zone.local(due.due_at),
            interval: Some(due.interval.into()),
            due_at_ms: due.due_at.0,
            outcome: due.outcome,
        };
        Ok(v1::GetScheduleResponse {
            as_of: as_of(seen),
            pipeline: name.to_string(),
            zone: zone.name().to_owned(),
            next_begins_ms: calendar.watermark.map_or(0, |at| at.0),
            intervals: intervals.into_iter().map(wire).collect(),
            paused: calendar
                .paused
                .into_iter()
                .map(|(trigger, audit)| v1::PausedBy { trigger: trigger.to_string(), audit: Some(audit.into()) })
                .collect(),
            skipped: calendar.skipped.into_iter().map(|(r, count)| v1::Skipped { reason: r.as_str().to_owned(), count }).collect(),
            stopped: stopped.unwrap_or_default(),
        })
    }

    /// What is to be said where the next interval begins after now and those before it had their runs: the clock was set back.
    async fn set_back(&self, name: &PipelineName, calendar: &Calendar, zone: &Zone) -> Result<Option<String>, Status> {
        let wall = self.clock.wall();
        let Some(next) = calendar.watermark.filter(|next| next.0.saturating_sub(wall.0) > SET_BACK_MS) else { return Ok(None) };
        let wanted = name.clone();
        let ahead = self.handle.read(move |scheduler, _| scheduler.due_intervals(&wanted, Some((wall, next)), MAX_INTERVALS)).await?;
        let was_ahead = ahead.iter().any(|due| !due.outcome.is_empty());
        Ok(was_ahead.then(|| {
            format!(
                "the clock was set back by more than {} s: intervals up to {} are done, and nothing fires before that; penstock schedule \
                 rewind {name} --to TIME sets the next one earlier, and runs those after it again",
                (next.0 - wall.0) / 1_000,
                zone.local(next)
            )
        }))
    }

    pub(super) async fn rewind(&self, request: v1::RewindScheduleRequest) -> Result<v1::RewindScheduleResponse, Status> {
        let v1::RewindScheduleRequest { pipeline, to, by, note } = request;
        let name = PipelineName::parse(&pipeline).map_err(|e| status::invalid(&e))?;
        let (_, zone) = self.calendar(&name).await?;
        let to = moment("to", &to, &zone)?.ok_or_else(|| Status::invalid_argument("to: say where the next interval is to begin"))?.first();
        let (changed, seq) = self.change(Input::Rewind { pipeline: name.clone(), to, by: by.into(), note: note.into() }).await?;
        let (calendar, _) = self.calendar(&name).await?;
        Ok(v1::RewindScheduleResponse { changed, next_begins_ms: calendar.watermark.map_or(0, |at| at.0), seq })
    }
}

/// A date or time as people say it; empty: none.
pub(super) fn moment(field: &str, text: &str, zone: &Zone) -> Result<Option<Moment>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    Moment::parse(text, zone).map(Some).map_err(|e| Status::invalid_argument(format!("{field}: {e}")))
}

/// What is shown of a schedule; where an end is not said, it is all that way.
fn span(from: &str, to: &str, zone: &Zone) -> Result<(Timestamp, Timestamp), Status> {
    let first = moment("from", from, zone)?.map_or(Timestamp(0), |m| m.first());
    let last = moment("to", to, zone)?.map_or(Timestamp(i64::MAX - 1), |m| m.last());
    if last < first {
        return Err(Status::invalid_argument(format!("to {to} is before from {from}: give the earlier one as from")));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_that_ends_before_it_begins_is_refused() {
        let of = |from, to| span(from, to, &Zone::utc());
        let why = of("2024-02-01", "2024-01-01").unwrap_err();
        assert!(why.code() == tonic::Code::InvalidArgument && why.message().contains("2024-01-01 is before from 2024-02-01"), "{why}");
        for (from, to) in [("2024-01-01", "2024-01-01"), ("2024-01-01", ""), ("", "2024-01-01")] {
            assert!(of(from, to).is_ok(), "{from} {to}");
        }
    }
}
