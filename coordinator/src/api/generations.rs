//! Rerun and mark: of live runs, and of archived ones, which are brought back first.

use penstock_common::{Digest, RequestId, RunId, RunNo};
use penstock_proto::v1;
use penstock_scheduler::input::Mark;
use penstock_scheduler::{Answer, Input, Rejection};
use prost::Message as _;
use tonic::Status;

use super::control::{Control, selectors, unexpected};
use super::status;
use crate::handle::Refusal;

impl Control {
    pub(super) async fn rerun(&self, request: v1::RerunRunRequest) -> Result<v1::RerunRunResponse, Status> {
        let v1::RerunRunRequest { run_id, request_id, by, note, tasks } = request;
        let run = RunId::parse(&run_id).map_err(|e| status::invalid(&e))?;
        let request = RequestId::parse(&request_id).map_err(|e| status::invalid(&e))?;
        let tasks = selectors(&tasks)?;
        let input = Input::Rerun { run: run.clone(), tasks, request, by: by.into(), note: note.into() };
        let (generation, seq) = self.open_generation(&run, input).await?;
        Ok(v1::RerunRunResponse { generation, seq })
    }

    pub(super) async fn mark(&self, request: v1::MarkTasksRequest) -> Result<v1::MarkTasksResponse, Status> {
        let state = request.state().into();
        let v1::MarkTasksRequest { run_id, tasks, request_id, by, note, .. } = request;
        let run = RunId::parse(&run_id).map_err(|e| status::invalid(&e))?;
        let request = RequestId::parse(&request_id).map_err(|e| status::invalid(&e))?;
        let mark = Mark { run: run.clone(), tasks: selectors(&tasks)?, state, request, by: by.into(), note: note.into() };
        let (generation, seq) = self.open_generation(&run, Input::Mark(Box::new(mark))).await?;
        Ok(v1::MarkTasksResponse { generation, seq })
    }

    /// An archived run is live again first, so that its attempts go on being counted.
    async fn open_generation(&self, run: &RunId, input: Input) -> Result<(u32, u64), Status> {
        let mut outcome = self.handle.command(input.clone()).await;
        // A run that is being archived at this very moment is found live, or in history, a moment later.
        for _ in 0..50 {
            let Err(Refusal::Rejected(Rejection::UnknownRun(_))) = &outcome else { break };
            if !self.reopen(run).await? {
                // Its history is being written: a moment later it is there.
                let id = run.clone();
                if !self.handle.read(move |scheduler, _| scheduler.run(&id).is_some()).await?
                    && self.history.find(run).await.is_ok_and(|found| found.is_none())
                {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            outcome = self.handle.command(input.clone()).await;
            if matches!(&outcome, Err(Refusal::Rejected(Rejection::UnknownRun(_)))) {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
        match outcome? {
            (Answer::Generation(generation), seq) => Ok((generation, seq.0)),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Brings an archived run back; false if there is none.
    async fn reopen(&self, id: &RunId) -> Result<bool, Status> {
        let Some(place) = self.history.find(id).await.map_err(|e| status::store(&e))? else { return Ok(false) };
        let whole = self.history.whole(RunNo(place.no)).await.map_err(|e| status::store(&e))?;
        let Some(run) = whole else {
            let why = format!("run {id} has ended and its history is no longer kept: start a new run of its pipeline");
            return Err(Status::failed_precondition(why));
        };
        let mut items = Vec::new();
        for digest in run.tasks.iter().filter_map(|task| task.items) {
            let read = crate::replica::read_items(&self.store, &self.history.keys, &digest).await;
            items.push(read.map_err(|e| Status::unavailable(e.to_string()))?);
        }
        let tasks = run.tasks.iter().cloned().map(Into::into).collect();
        let blob = v1::ReopenedRun { run: Some(run.record.clone().into()), tasks }.encode_to_vec();
        let digest = Digest::of(&blob);
        let input = Input::Reopen { run: Box::new(run), items, digest };
        self.handle.register(input, digest, blob.into()).await?;
        Ok(true)
    }
}
