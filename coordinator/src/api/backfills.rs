//! Backfills: planned, started, listed.

use penstock_common::schedule::{Every, Zone};
use penstock_common::{BackfillId, Digest, Interval, Millis, PipelineName, State, Timestamp};
use penstock_proto::v1;
use penstock_scheduler::calendar::BackfillView;
use penstock_scheduler::{Answer, BackfillAsked, Input, Planned, Reprocess, RunFilter};
use prost::Message as _;
use tonic::Status;

use super::control::{Control, as_of, named, selectors, unexpected};
use super::schedules::moment;
use super::status;
use crate::handle::Refusal;

/// Runs of which the mean is told.
const RUNS_OF_MEAN: usize = 20;

impl Control {
    pub(super) async fn backfill(&self, request: v1::CreateBackfillRequest) -> Result<v1::CreateBackfillResponse, Status> {
        let name = PipelineName::parse(&request.pipeline).map_err(|e| status::invalid(&e))?;
        let (calendar, zone) = self.calendar(&name).await?;
        let asked = asked(&request, &name, &zone)?;
        let max_active = asked.at_once(calendar.plan.pipeline.depends_on_past);
        let wall = self.clock.wall();
        let mean_run_ms = self.mean_run(&name).await?;
        let plan = {
            let asked = asked.clone();
            self.handle.read(move |scheduler, _| scheduler.plan_backfill(&asked, wall)).await?.map_err(Refusal::from)?
        };
        let intervals = plan.iter().map(|(interval, fate)| planned(*interval, fate, &zone)).collect();
        let (created, seq) = if request.dry_run {
            (false, 0)
        } else {
            // What was shown is what is run: the plan itself goes with it.
            let runs = plan.iter().filter(|(_, fate)| fate.runs()).map(|(interval, _)| *interval).collect();
            match self.handle.command(Input::Backfill(Box::new(BackfillAsked { shown: Some(runs), ..asked }))).await? {
                (Answer::Changed(created), seq) => (created, seq.0),
                (other, _) => return Err(unexpected(&other)),
            }
        };
        Ok(v1::CreateBackfillResponse { intervals, zone: zone.name().to_owned(), created, seq, mean_run_ms, max_active })
    }

    pub(super) async fn backfills(&self, request: v1::ListBackfillsRequest) -> Result<v1::ListBackfillsResponse, Status> {
        let (pipeline, id) = (named::<PipelineName>(&request.pipeline)?, named::<BackfillId>(&request.id)?);
        let one = id.clone();
        let (all, seen) = self.handle.read(move |scheduler, seen| (scheduler.backfills(pipeline.as_ref(), one.as_ref()), seen)).await?;
        if let Some(id) = id.as_ref().filter(|_| all.is_empty()) {
            return Err(Status::not_found(format!("there is no backfill {id}: see what there is with penstock backfills")));
        }
        // Of a pipeline that was taken off, none is known any more.
        let zone = match (&id, all.first()) {
            (Some(_), Some(one)) => self.calendar(&one.record.pipeline).await.map_or_else(|_| Zone::utc(), |(_, zone)| zone),
            _ => Zone::utc(),
        };
        let wire = |view: BackfillView| {
            let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let [succeeded, failed, cancelled] = view.ended.map(count);
            let intervals = count(view.record.intervals.len());
            let pipeline = view.record.pipeline.to_string();
            let mut backfill = v1::Backfill { pipeline, ..v1::Backfill::from(view.record) };
            if id.is_none() {
                (backfill.bounds, backfill.ended) = (Vec::new(), Vec::new());
            }
            let live = view.live.iter().map(ToString::to_string).collect();
            v1::BackfillInfo { backfill: Some(backfill), intervals, succeeded, failed, cancelled, live, zone: zone.name().to_owned() }
        };
        Ok(v1::ListBackfillsResponse { as_of: as_of(seen), backfills: all.into_iter().map(wire).collect() })
    }

    /// The mean of the newest SUCCESS runs, in milliseconds; 0 where there is none.
    async fn mean_run(&self, name: &PipelineName) -> Result<u64, Status> {
        let filter = RunFilter { pipeline: Some(name.clone()), states: vec![State::Success], ..RunFilter::default() };
        let runs = self.history.list(&filter, RUNS_OF_MEAN).await.map_err(|e| status::store(&e))?;
        let took: Vec<u64> = runs.iter().filter_map(|run| Some(run.ended_at?.since(run.started_at?).0)).collect();
        Ok(took.iter().sum::<u64>().checked_div(took.len() as u64).unwrap_or(0))
    }
}

fn asked(request: &v1::CreateBackfillRequest, name: &PipelineName, zone: &Zone) -> Result<BackfillAsked, Status> {
    let needed = |field: &str, text: &str| {
        let missing = || Status::invalid_argument(format!("{field}: say a date such as 2024-01-01, or a time"));
        moment(field, text, zone)?.ok_or_else(missing)
    };
    let (from, until) = (needed("start_date", &request.start_date)?.first(), needed("end_date", &request.end_date)?.last());
    if until < from {
        let why = format!("end_date {} is before start_date {}: both are included", request.end_date, request.start_date);
        return Err(Status::invalid_argument(why));
    }
    let every = match request.every.as_str() {
        "" => None,
        text => {
            let every = text.parse::<Millis>().map_err(|e| Status::invalid_argument(format!("every: {e}")))?;
            Some(Every::new(every).map_err(|e| Status::invalid_argument(format!("every: {e}")))?.period())
        }
    };
    if request.max_active == Some(0) {
        return Err(Status::invalid_argument("max_active: with 0 runs at once a backfill runs nothing: write 1 or more, or leave it out"));
    }
    let params = if request.params.is_empty() { "{}" } else { &request.params };
    Ok(BackfillAsked {
        id: BackfillId::parse(&request.id).map_err(|e| status::invalid(&e))?,
        pipeline: name.clone(),
        from,
        until,
        every,
        reprocess: match request.reprocess() {
            v1::Reprocess::None => Reprocess::None,
            v1::Reprocess::Failed => Reprocess::Failed,
            v1::Reprocess::All => Reprocess::All,
        },
        only: selectors(&request.only)?,
        params: serde_json::from_str(params).map_err(|e| Status::invalid_argument(format!("params: a JSON object is expected: {e}")))?,
        max_active: request.max_active,
        newest_first: request.newest_first,
        cascade: request.cascade,
        shown: None,
        by: request.by.as_str().into(),
        note: request.note.as_str().into(),
        digest: digest_of(request),
    })
}

/// Of what is asked for, whoever asks and why.
fn digest_of(request: &v1::CreateBackfillRequest) -> u64 {
    let asked = v1::CreateBackfillRequest { by: String::new(), note: String::new(), dry_run: false, ..request.clone() };
    Digest::of(&asked.encode_to_vec()).number()
}

fn planned(interval: Interval, fate: &Planned, zone: &Zone) -> v1::PlannedInterval {
    let why = match fate {
        Planned::Run(None) => "never ran".to_owned(),
        Planned::Run(Some(outcome)) => format!("was {}", outcome.word()),
        Planned::Left(outcome) => format!("is {}", outcome.word()),
        Planned::Live(run) => format!("run {run} has not ended"),
        Planned::Other(backfill) => format!("backfill {backfill} will run it"),
        Planned::Scheduled => "the schedule has not come to it yet".to_owned(),
        Planned::NotDue => "not_due".to_owned(),
    };
    let local = |at: Timestamp| zone.local(at);
    v1::PlannedInterval {
        local_start: local(interval.start()),
        local_end: local(interval.end()),
        interval: Some(interval.into()),
        runs: fate.runs(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(request: v1::CreateBackfillRequest) -> Option<Status> {
        let dates = |text: &str| text.to_owned();
        let request =
            v1::CreateBackfillRequest { id: dates("b"), start_date: dates("2024-01-01"), end_date: dates("2024-01-31"), ..request };
        asked(&request, &PipelineName::parse("p").unwrap(), &Zone::utc()).err()
    }

    #[test]
    fn what_a_backfill_cannot_have_is_an_argument_that_is_wrong() {
        assert!(refusal(v1::CreateBackfillRequest { max_active: Some(1), every: "1h".to_owned(), ..Default::default() }).is_none());
        assert!(refusal(v1::CreateBackfillRequest::default()).is_none(), "absent is left to the coordinator");
        for (request, word) in [
            (v1::CreateBackfillRequest { max_active: Some(0), ..Default::default() }, "max_active"),
            (v1::CreateBackfillRequest { every: "soon".to_owned(), ..Default::default() }, "every"),
            (v1::CreateBackfillRequest { every: "10ms".to_owned(), ..Default::default() }, "1s to 3653d"),
        ] {
            let status = refusal(request).unwrap();
            assert!(status.code() == tonic::Code::InvalidArgument && status.message().contains(word), "{status}");
        }
    }

    #[tokio::test]
    async fn a_task_that_the_pipeline_does_not_have_is_an_argument_that_is_wrong() {
        let desk = crate::desk::Desk::new();
        desk.register("pipeline: p\ntasks: {a: {noop: true}}\n");
        let plan = |task: &str| {
            let (id, start_date, end_date) = ("b".to_owned(), "2024-01-01".to_owned(), "2024-01-31".to_owned());
            let (every, only) = ("1d".to_owned(), vec![task.to_owned()]);
            let request = v1::CreateBackfillRequest { id, start_date, end_date, every, only, ..Default::default() };
            let asked = asked(&request, &PipelineName::parse("p").unwrap(), &Zone::utc()).unwrap();
            let planned = desk.scheduler.lock().unwrap().plan_backfill(&asked, Timestamp(0));
            planned.map_err(|rejection| Status::from(Refusal::from(rejection)))
        };
        assert!(plan("+a").is_ok());
        assert_eq!(plan("nope").unwrap_err().code(), tonic::Code::InvalidArgument);
    }
}
