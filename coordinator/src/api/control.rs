//! The Control service: one method a verb; runs and logs are in files of their own.

use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;

use penstock_common::ids::InvalidId;
use penstock_common::limits::MINTED_RUN_ID_WINDOW_MS;
use penstock_common::record::TriggerKind;
use penstock_common::{BackfillId, Digest, NodeName, PipelineName, PoolName, RunId, Selector, TaskKey};
use penstock_proto::v1;
use penstock_scheduler::explain::Why;
use penstock_scheduler::input::Submit;
use penstock_scheduler::{Answer, Input};
use penstock_store::{Store, election};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::{explained, status};
use crate::archive::History;
use crate::clock::Clock;
use crate::handle::{AsOf, Handle, Refusal, Role};
use crate::node::leader_of;

/// What the service needs.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) handle: Handle,
    pub(crate) history: History,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) node: NodeName,
    pub(crate) address: String,
    pub(crate) logs: std::path::PathBuf,
}

pub(super) type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

pub(super) fn as_of(as_of: AsOf) -> Option<v1::AsOf> {
    Some(v1::AsOf { seq: as_of.seq.0, age_ms: as_of.age_ms })
}

/// Which tasks are meant.
pub(super) fn selectors(words: &[String]) -> Result<Vec<Selector>, Status> {
    words.iter().map(|word| word.parse().map_err(|e| status::invalid(&e))).collect()
}

/// What a request names, if it names one.
pub(super) fn named<T: FromStr<Err = InvalidId>>(text: &str) -> Result<Option<T>, Status> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|e| status::invalid(&e)) }
}

pub(super) fn unexpected(answer: &Answer) -> Status {
    Status::internal(format!("the scheduler answered {answer:?}, which is no answer to this"))
}

/// 64 bits of what was asked for: tells a repeated call from another under the same id.
pub(super) fn digest_of(parts: &[&str]) -> u64 {
    Digest::of(parts.join("\0").as_bytes()).number()
}

impl Control {
    /// An input that is answered with whether it changed something.
    pub(super) async fn change(&self, input: Input) -> Result<(bool, u64), Status> {
        match self.handle.command(input).await? {
            (Answer::Changed(changed), seq) => Ok((changed, seq.0)),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// The time in a ULID, if the id is one.
    fn minted_at(id: &RunId) -> Option<i64> {
        let ulid = ulid::Ulid::from_string(id.as_str()).ok()?;
        i64::try_from(ulid.timestamp_ms()).ok()
    }

    /// An archived run under this id: the same submit is answered with it, another is refused.
    async fn submitted_before(&self, id: &RunId, digest: u64) -> Result<Option<v1::SubmitResponse>, Status> {
        let Some(place) = self.history.find(id).await.map_err(|e| status::store(&e))? else { return Ok(None) };
        if place.request_digest == digest {
            return Ok(Some(v1::SubmitResponse { run_id: id.to_string(), version: place.version, created: false, seq: 0 }));
        }
        Err(Refusal::from(penstock_scheduler::Rejection::RunExists(id.clone())).into())
    }
}

#[tonic::async_trait]
impl v1::control_server::Control for Control {
    async fn register(&self, request: Request<v1::RegisterRequest>) -> Result<Response<v1::RegisterResponse>, Status> {
        self.register_pipeline(request.into_inner()).await.map(Response::new)
    }

    async fn would_register(&self, request: Request<v1::WouldRegisterRequest>) -> Result<Response<v1::WouldRegisterResponse>, Status> {
        self.would_register_pipeline(request.into_inner()).await.map(Response::new)
    }

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let v1::SubmitRequest { run_id, pipeline, version, params, interval, by, only } = request.into_inner();
        let run = RunId::parse(&run_id).map_err(|e| status::invalid(&e))?;
        let pipeline = PipelineName::parse(&pipeline).map_err(|e| status::invalid(&e))?;
        let params = if params.is_empty() { "{}".to_owned() } else { params };
        let given = penstock_common::json::read(params.as_bytes())
            .map_err(|e| Status::invalid_argument(format!("params: a JSON object is expected: {e}")))?;
        let interval = interval.map(TryInto::try_into).transpose().map_err(|e| status::malformed(&e))?;
        let digest = digest_of(&[pipeline.full(), &version.to_string(), &params, &format!("{interval:?}"), &only.join(" ")]);
        let only = selectors(&only)?;
        let id = run.clone();
        let known = {
            let run = run.clone();
            self.handle.read(move |scheduler, _| scheduler.run(&run).is_some()).await?
        };
        if !known {
            if let Some(answer) = self.submitted_before(&run, digest).await? {
                return Ok(Response::new(answer));
            }
            let window = i64::try_from(MINTED_RUN_ID_WINDOW_MS).unwrap_or(i64::MAX);
            if Self::minted_at(&run).is_some_and(|at| self.clock.wall().0.saturating_sub(at) > window) {
                return Err(Status::failed_precondition(format!(
                    "run id {run} was minted more than 7 days ago and is not known: mint a new one"
                )));
            }
        }
        let submit = Submit {
            version: (version != 0).then_some(version),
            params: given,
            interval,
            only,
            digest,
            ..Submit::of(run, pipeline, TriggerKind::Manual, by.into())
        };
        let outcome = self.handle.submit(Input::Submit(Box::new(submit))).await;
        if let Err(Refusal::Rejected(penstock_scheduler::Rejection::RunExists(_))) = &outcome
            && let Some(answer) = self.submitted_before(&id, digest).await?
        {
            return Ok(Response::new(answer));
        }
        let (answer, seq) = outcome?;
        let Answer::Run { run, created, version } = answer else { return Err(unexpected(&answer)) };
        Ok(Response::new(v1::SubmitResponse { run_id: run.to_string(), version, created, seq: seq.0 }))
    }

    async fn get_run(&self, request: Request<v1::GetRunRequest>) -> Result<Response<v1::GetRunResponse>, Status> {
        self.read_run(request.into_inner()).await.map(Response::new)
    }

    async fn list_runs(&self, request: Request<v1::ListRunsRequest>) -> Result<Response<v1::ListRunsResponse>, Status> {
        self.read_runs(request.into_inner()).await.map(Response::new)
    }

    async fn list_pipelines(&self, _: Request<v1::ListPipelinesRequest>) -> Result<Response<v1::ListPipelinesResponse>, Status> {
        self.pipelines().await.map(Response::new)
    }

    async fn get_pipeline(&self, request: Request<v1::GetPipelineRequest>) -> Result<Response<v1::GetPipelineResponse>, Status> {
        self.pipeline(request.into_inner()).await.map(Response::new)
    }

    async fn unregister(&self, request: Request<v1::UnregisterRequest>) -> Result<Response<v1::UnregisterResponse>, Status> {
        let v1::UnregisterRequest { pipeline, by, note } = request.into_inner();
        let pipeline = PipelineName::parse(&pipeline).map_err(|e| status::invalid(&e))?;
        let (_, seq) = self.handle.command(Input::Unregister { pipeline, by: by.into(), note: note.into() }).await?;
        Ok(Response::new(v1::UnregisterResponse { seq: seq.0 }))
    }

    async fn pause_pipeline(&self, request: Request<v1::PausePipelineRequest>) -> Result<Response<v1::PausePipelineResponse>, Status> {
        let v1::PausePipelineRequest { pipeline, resume, by, note } = request.into_inner();
        let pipeline = PipelineName::parse(&pipeline).map_err(|e| status::invalid(&e))?;
        let input = Input::PausePipeline { pipeline, paused: !resume, by: by.into(), note: note.into() };
        let (changed, seq) = self.change(input).await?;
        Ok(Response::new(v1::PausePipelineResponse { changed, seq }))
    }

    async fn pause_run(&self, request: Request<v1::PauseRunRequest>) -> Result<Response<v1::PauseRunResponse>, Status> {
        let v1::PauseRunRequest { run_id, resume, by, note } = request.into_inner();
        let run = RunId::parse(&run_id).map_err(|e| status::invalid(&e))?;
        let (changed, seq) = self.change(Input::PauseRun { run, paused: !resume, by: by.into(), note: note.into() }).await?;
        Ok(Response::new(v1::PauseRunResponse { changed, seq }))
    }

    async fn get_schedule(&self, request: Request<v1::GetScheduleRequest>) -> Result<Response<v1::GetScheduleResponse>, Status> {
        self.schedule(request.into_inner()).await.map(Response::new)
    }

    async fn rewind_schedule(&self, request: Request<v1::RewindScheduleRequest>) -> Result<Response<v1::RewindScheduleResponse>, Status> {
        self.rewind(request.into_inner()).await.map(Response::new)
    }

    async fn pause_trigger(&self, request: Request<v1::PauseTriggerRequest>) -> Result<Response<v1::PauseTriggerResponse>, Status> {
        let v1::PauseTriggerRequest { pipeline, trigger, resume, by, note } = request.into_inner();
        let pipeline = PipelineName::parse(&pipeline).map_err(|e| status::invalid(&e))?;
        let trigger = trigger.parse().map_err(|e| status::invalid(&e))?;
        let input = Input::PauseTrigger { pipeline, trigger, paused: !resume, by: by.into(), note: note.into() };
        let (changed, seq) = self.change(input).await?;
        Ok(Response::new(v1::PauseTriggerResponse { changed, seq }))
    }

    async fn list_triggers(&self, request: Request<v1::ListTriggersRequest>) -> Result<Response<v1::ListTriggersResponse>, Status> {
        self.triggers(request.into_inner()).await.map(Response::new)
    }

    async fn set_trigger_token(
        &self,
        request: Request<v1::SetTriggerTokenRequest>,
    ) -> Result<Response<v1::SetTriggerTokenResponse>, Status> {
        self.set_token(request.into_inner()).await.map(Response::new)
    }

    async fn emit_event(&self, request: Request<v1::EmitEventRequest>) -> Result<Response<v1::EmitEventResponse>, Status> {
        self.emit(request.into_inner()).await.map(Response::new)
    }

    async fn list_dead_events(&self, request: Request<v1::ListDeadEventsRequest>) -> Result<Response<v1::ListDeadEventsResponse>, Status> {
        self.dead_events(request.into_inner()).await.map(Response::new)
    }

    async fn create_backfill(&self, request: Request<v1::CreateBackfillRequest>) -> Result<Response<v1::CreateBackfillResponse>, Status> {
        self.backfill(request.into_inner()).await.map(Response::new)
    }

    async fn list_backfills(&self, request: Request<v1::ListBackfillsRequest>) -> Result<Response<v1::ListBackfillsResponse>, Status> {
        self.backfills(request.into_inner()).await.map(Response::new)
    }

    async fn pause_backfill(&self, request: Request<v1::PauseBackfillRequest>) -> Result<Response<v1::PauseBackfillResponse>, Status> {
        let v1::PauseBackfillRequest { id, resume, by, note } = request.into_inner();
        let backfill = BackfillId::parse(&id).map_err(|e| status::invalid(&e))?;
        let (changed, seq) = self.change(Input::PauseBackfill { backfill, paused: !resume, by: by.into(), note: note.into() }).await?;
        Ok(Response::new(v1::PauseBackfillResponse { changed, seq }))
    }

    async fn cancel_backfill(&self, request: Request<v1::CancelBackfillRequest>) -> Result<Response<v1::CancelBackfillResponse>, Status> {
        let v1::CancelBackfillRequest { id, by, note } = request.into_inner();
        let backfill = BackfillId::parse(&id).map_err(|e| status::invalid(&e))?;
        let (changed, seq) = self.change(Input::CancelBackfill { backfill, by: by.into(), note: note.into() }).await?;
        Ok(Response::new(v1::CancelBackfillResponse { changed, seq }))
    }

    async fn list_pools(&self, _: Request<v1::ListPoolsRequest>) -> Result<Response<v1::ListPoolsResponse>, Status> {
        self.leader_only()?;
        self.pools().await.map(Response::new)
    }

    async fn set_pool(&self, request: Request<v1::SetPoolRequest>) -> Result<Response<v1::SetPoolResponse>, Status> {
        let v1::SetPoolRequest { name, slots, by, note } = request.into_inner();
        let pool: PoolName = name.parse().map_err(|e| status::invalid(&e))?;
        let (changed, seq) = self.change(Input::SetPool { pool, slots, by: by.into(), note: note.into() }).await?;
        if slots.is_none() && !changed {
            return Err(Status::not_found(format!("there is no pool {name}: see what there is with: penstock pools list")));
        }
        Ok(Response::new(v1::SetPoolResponse { seq }))
    }

    async fn decide(&self, request: Request<v1::DecideRequest>) -> Result<Response<v1::DecideResponse>, Status> {
        let v1::DecideRequest { run_id, task, approve, by, note } = request.into_inner();
        let run = RunId::parse(&run_id).map_err(|e| status::invalid(&e))?;
        let task = TaskKey::parse(&task).map_err(|e| status::invalid(&e))?;
        let input = Input::Verdict { run, task, approve, by: by.into(), note: note.into() };
        let (_, seq) = self.handle.command(input).await?;
        Ok(Response::new(v1::DecideResponse { seq: seq.0 }))
    }

    async fn mark_tasks(&self, request: Request<v1::MarkTasksRequest>) -> Result<Response<v1::MarkTasksResponse>, Status> {
        self.mark(request.into_inner()).await.map(Response::new)
    }

    type WatchRunStream = Streamed<v1::WatchRunResponse>;

    async fn watch_run(&self, request: Request<v1::WatchRunRequest>) -> Result<Response<Self::WatchRunStream>, Status> {
        self.watch(request.into_inner()).await.map(Response::new)
    }

    async fn cancel_run(&self, request: Request<v1::CancelRunRequest>) -> Result<Response<v1::CancelRunResponse>, Status> {
        let v1::CancelRunRequest { run_id, by, note, now } = request.into_inner();
        let run = RunId::parse(&run_id).map_err(|e| status::invalid(&e))?;
        let input = Input::Cancel { run: run.clone(), now, by: by.into(), note: note.into() };
        match self.handle.command(input).await {
            Ok((Answer::Cancelled(state), seq)) => {
                Ok(Response::new(v1::CancelRunResponse { state: v1::State::from(state).into(), seq: seq.0 }))
            }
            Ok((other, _)) => Err(unexpected(&other)),
            // An archived run has ended: cancelling it changes nothing. Only the leader knows that it is not live again.
            Err(refusal) if !matches!(refusal, Refusal::Rejected(_)) => Err(refusal.into()),
            Err(refusal) => match self.archived(&run).await? {
                Some(record) => Ok(Response::new(v1::CancelRunResponse { state: v1::State::from(record.state).into(), seq: 0 })),
                None => Err(refusal.into()),
            },
        }
    }

    async fn rerun_run(&self, request: Request<v1::RerunRunRequest>) -> Result<Response<v1::RerunRunResponse>, Status> {
        self.rerun(request.into_inner()).await.map(Response::new)
    }

    type ReadLogsStream = Streamed<v1::ReadLogsResponse>;

    async fn read_logs(&self, request: Request<v1::ReadLogsRequest>) -> Result<Response<Self::ReadLogsStream>, Status> {
        self.logs(request.into_inner()).await.map(Response::new)
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        let v1::ExplainRequest { run_id, task } = request.into_inner();
        let run = RunId::parse(&run_id).map_err(|e| status::invalid(&e))?;
        let task = named::<TaskKey>(&task)?;
        self.leader_only()?;
        let (id, of) = (run.clone(), task.clone());
        let explained = self.handle.read(move |scheduler, seen| {
            let chain: Vec<v1::Why> = match of {
                Some(task) => scheduler.explain(&id, &task)?.iter().map(|why| explained::wire(why, why.to_string())).collect(),
                None => scheduler.explain_run(&id)?.iter().map(explained::group).collect(),
            };
            Some(v1::ExplainResponse { as_of: as_of(seen), chain })
        });
        if let Some(response) = explained.await? {
            return Ok(Response::new(response));
        }
        let Some(record) = self.archived(&run).await? else {
            let task = task.map_or(String::new(), |t| format!(", or it has no task {t}"));
            return Err(Status::not_found(format!("there is no run {run}{task}")));
        };
        let why = match task {
            Some(task) => self.archived_end(&record, &task).await?,
            None => Why::Ended { state: record.state, reason: record.reason, detail: Arc::default() },
        };
        Ok(Response::new(v1::ExplainResponse { as_of: None, chain: vec![explained::wire(&why, why.to_string())] }))
    }

    async fn list_workers(&self, _: Request<v1::ListWorkersRequest>) -> Result<Response<v1::ListWorkersResponse>, Status> {
        self.leader_only()?;
        let response = self.handle.read(|scheduler, seen| {
            let info = |w: penstock_scheduler::WorkerView| v1::WorkerInfo {
                name: w.worker.to_string(),
                session: w.session.map_or(String::new(), |s| s.to_string()),
                slots: w.slots,
                used: w.used,
                queues: w.queues.iter().map(ToString::to_string).collect(),
                labels: w.labels.into_iter().collect(),
                drained: w.drained,
                closed: w.closed,
                attempts: w
                    .attempts
                    .into_iter()
                    .map(|(run, task, attempt)| v1::HeldAttempt { run_id: run.to_string(), task: task.to_string(), attempt })
                    .collect(),
            };
            v1::ListWorkersResponse { as_of: as_of(seen), workers: scheduler.workers().into_iter().map(info).collect() }
        });
        Ok(Response::new(response.await?))
    }

    async fn drain_worker(&self, request: Request<v1::DrainWorkerRequest>) -> Result<Response<v1::DrainWorkerResponse>, Status> {
        let v1::DrainWorkerRequest { worker, undo, by } = request.into_inner();
        let worker = worker.parse().map_err(|e| status::invalid(&e))?;
        let (_, seq) = self.handle.command(Input::Drain { worker, drained: !undo, by: by.into() }).await?;
        Ok(Response::new(v1::DrainWorkerResponse { seq: seq.0 }))
    }

    async fn get_cluster(&self, _: Request<v1::GetClusterRequest>) -> Result<Response<v1::GetClusterResponse>, Status> {
        let candidates = election::candidates(&*self.store, &self.history.keys).await.map_err(|e| status::store(&e))?;
        let leader = candidates.first().and_then(leader_of);
        let space = self.store.space().await.unwrap_or_default();
        let (seq, epoch, live_runs, leases) =
            self.handle.read(|s, seen| (seen.seq.0, s.state().leader().0, s.live().0, s.leases())).await?;
        let leading = matches!(&*self.handle.role.borrow(), Role::Leader(_));
        // Every coordinator sees the store; only the leader stops for it.
        let clock = self.handle.clock_trouble.borrow().clone();
        let trouble = crate::chores::trouble_with(&space).map(|t| t.why).or(clock).unwrap_or_default();
        let checkpoint_seq = self.handle.checkpoint.borrow().0;
        Ok(Response::new(v1::GetClusterResponse {
            node: self.node.to_string(),
            leading,
            leader_name: leader.as_ref().map_or(String::new(), |l| l.node.to_string()),
            leader_address: leader.map_or(String::new(), |l| l.address),
            epoch: Some(epoch.into()),
            seq,
            checkpoint_seq,
            store: self.store.describe(),
            store_file_bytes: space.file,
            store_used_bytes: space.used,
            store_quota_bytes: space.quota,
            trouble,
            live_runs: u32::try_from(live_runs).unwrap_or(u32::MAX),
            leases: u32::try_from(leases).unwrap_or(u32::MAX),
        }))
    }
}

impl Control {
    /// Only the leader knows who is attached.
    fn leader_only(&self) -> Result<(), Status> {
        match &*self.handle.role.borrow() {
            Role::Leader(_) => Ok(()),
            Role::Follower(leader) => {
                let leader = leader.clone().filter(|l| l.address != self.address);
                Err(Refusal::NotLeader(leader).into())
            }
            Role::Starting => Err(Refusal::NotLeader(None).into()),
        }
    }
}
