//! Reading runs: live ones from this node's state, archived ones from history. A reader that finds both takes history.

use std::time::Duration;

use penstock_common::limits::{MAX_PAGE_RUNS, MAX_PAGE_TASKS};
use penstock_common::record::RunRecord;
use penstock_common::{RunId, RunNo};
use penstock_proto::v1;
use penstock_scheduler::RunFilter;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::control::{Control, Streamed, as_of, named};
use super::status;

/// A follower that has not confirmed the journal's end for this long refuses where fresh was asked for.
const STALE_MS: u64 = 5_000;

fn page(limit: u32, default: usize, most: usize) -> usize {
    match limit as usize {
        0 => default,
        n => n.min(most),
    }
}

impl Control {
    /// An archived run, if there is one.
    pub(super) async fn archived(&self, id: &RunId) -> Result<Option<RunRecord>, Status> {
        let Some(place) = self.history.find(id).await.map_err(|e| status::store(&e))? else { return Ok(None) };
        self.history.head(RunNo(place.no)).await.map_err(|e| status::store(&e))
    }

    /// Waits until this node holds at least a journal position.
    async fn wait_for(&self, min_seq: u64) -> Result<(), Status> {
        for _ in 0..100 {
            if min_seq == 0 || self.handle.read(move |_, seen| seen.seq.0 >= min_seq).await? {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(Status::unavailable(format!("this coordinator has not reached journal entry {min_seq} in 5 s: ask another")))
    }

    pub(super) async fn read_run(&self, request: v1::GetRunRequest) -> Result<v1::GetRunResponse, Status> {
        let id = RunId::parse(&request.run_id).map_err(|e| status::invalid(&e))?;
        let (from, limit) = (request.from_task, page(request.limit, MAX_PAGE_TASKS, MAX_PAGE_TASKS));
        self.wait_for(request.min_seq).await?;
        let run = id.clone();
        let live = self
            .handle
            .read(move |scheduler, seen| {
                let record = scheduler.run(&run)?.clone();
                Some((record, scheduler.tasks(&run, from, limit), seen))
            })
            .await?;
        let (record, tasks, seen) = match live {
            Some((record, tasks, seen)) => (record, tasks, Some(seen)),
            None => {
                let record = self.archived(&id).await?.ok_or_else(|| Status::not_found(format!("there is no run {id}")))?;
                let tasks = self.history.tasks(record.no, from, limit).await.map_err(|e| status::store(&e))?;
                (record, tasks, None)
            }
        };
        if let Some(seen) = seen
            && request.min_seq > 0
            && seen.age_ms > STALE_MS
        {
            return Err(Status::unavailable(format!("this coordinator last saw the journal's end {} ms ago: ask another", seen.age_ms)));
        }
        let next_task = tasks.last().filter(|_| tasks.len() == limit).map_or(0, |t| t.index + 1);
        let tasks = tasks.into_iter().map(Into::into).collect();
        Ok(v1::GetRunResponse { as_of: seen.and_then(as_of), run: Some(record.into()), tasks, next_task })
    }

    pub(super) async fn read_runs(&self, request: v1::ListRunsRequest) -> Result<v1::ListRunsResponse, Status> {
        let pipeline = named(&request.pipeline)?;
        let states = request.states().map(Into::into).collect();
        let since = (request.since_ms != 0).then_some(penstock_common::Timestamp(request.since_ms));
        let filter = RunFilter { pipeline, states, before: (request.before_no != 0).then_some(RunNo(request.before_no)), since };
        let limit = page(request.limit, 100, MAX_PAGE_RUNS);
        self.wait_for(request.min_seq).await?;
        let wanted = filter.clone();
        let (live, seen) = self.handle.read(move |scheduler, seen| (scheduler.list(&wanted, limit), seen)).await?;
        let archived = self.history.list(&filter, limit).await.map_err(|e| status::store(&e))?;
        let mut runs: std::collections::BTreeMap<RunNo, RunRecord> = archived.into_iter().map(|r| (r.no, r)).collect();
        // A live one counts: a rerun may have brought it further than history knows.
        runs.extend(live.into_iter().map(|r| (r.no, r)));
        let runs = runs.into_values().rev().take(limit).map(Into::into).collect();
        Ok(v1::ListRunsResponse { as_of: as_of(seen), runs })
    }

    /// The run as it is, then every change until it has ended. An archived run is shown once.
    pub(super) async fn watch(&self, request: v1::WatchRunRequest) -> Result<Streamed<v1::WatchRunResponse>, Status> {
        let id = RunId::parse(&request.run_id).map_err(|e| status::invalid(&e))?;
        let (sender, receiver) = mpsc::channel(1_024);
        if self.handle.subscribe(id.clone(), sender).await? {
            let after = request.after_seq;
            // The first pages tell the present whatever was seen before; of later messages only newer ones count.
            let stream = ReceiverStream::new(receiver).filter(move |m| !m.tasks.is_empty() || m.seq > after).map(Ok);
            return Ok(Box::pin(stream));
        }
        let record = self.archived(&id).await?.ok_or_else(|| Status::not_found(format!("there is no run {id}")))?;
        let mut pages = Vec::new();
        let mut from = 0;
        loop {
            let tasks = self.history.tasks(record.no, from, MAX_PAGE_TASKS).await.map_err(|e| status::store(&e))?;
            let more = tasks.len() == MAX_PAGE_TASKS;
            from = tasks.last().map_or(from, |t| t.index + 1);
            let tasks = tasks.into_iter().map(Into::into).collect();
            pages.push(Ok(v1::WatchRunResponse { seq: 0, run: Some(record.clone().into()), tasks, changes: Vec::new(), more }));
            if !more {
                break;
            }
        }
        Ok(Box::pin(tokio_stream::iter(pages)))
    }
}
