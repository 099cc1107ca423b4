//! Pipelines and pools: registering and reading them.

use std::sync::Arc;

use penstock_common::PipelineName;
use penstock_common::limits::MAX_DOCUMENT_BYTES;
use penstock_common::pipeline::Diagnostics;
use penstock_common::record::PipelineRecord;
use penstock_proto::v1;
use penstock_scheduler::{Answer, Input, Plan, PoolView, Scheduler};
use tonic::Status;

use super::control::{Control, as_of, unexpected};
use super::status;
use crate::handle::Refusal;

impl Control {
    pub(super) async fn register_pipeline(&self, request: v1::RegisterRequest) -> Result<v1::RegisterResponse, Status> {
        let v1::RegisterRequest { document, file } = request;
        let (plan, warnings) = read_document(file, &document)?;
        let (digest, blob) = (plan.digest, plan.pipeline.to_blob().into());
        let pipeline = plan.pipeline.name.to_string();
        let (answer, _) = self.handle.register(Input::Register { plan: Arc::new(plan) }, digest, blob).await?;
        let Answer::Version { version, created } = answer else { return Err(unexpected(&answer)) };
        Ok(v1::RegisterResponse { pipeline, version, created, warnings })
    }

    /// Asks the leader, as a register does.
    pub(super) async fn would_register_pipeline(&self, request: v1::WouldRegisterRequest) -> Result<v1::WouldRegisterResponse, Status> {
        let v1::WouldRegisterRequest { document, file } = request;
        let (plan, warnings) = read_document(file, &document)?;
        let pipeline = plan.pipeline.name.to_string();
        self.handle.room()?;
        let answer = self.handle.read(move |scheduler, _| scheduler.would_register(&plan)).await?;
        let (version, created) = answer.map_err(Refusal::from)?;
        Ok(v1::WouldRegisterResponse { pipeline, version, created, warnings })
    }

    pub(super) async fn pipelines(&self) -> Result<v1::ListPipelinesResponse, Status> {
        let response = self.handle.read(|scheduler, seen| {
            let pipelines = scheduler.pipelines().into_iter().filter_map(|p| wire(scheduler, p, None));
            v1::ListPipelinesResponse { as_of: as_of(seen), pipelines: pipelines.collect() }
        });
        Ok(response.await?)
    }

    pub(super) async fn pipeline(&self, request: v1::GetPipelineRequest) -> Result<v1::GetPipelineResponse, Status> {
        let name = PipelineName::parse(&request.pipeline).map_err(|e| status::invalid(&e))?;
        let version = (request.version != 0).then_some(request.version);
        let wanted = name.clone();
        let found = self.handle.read(move |scheduler, seen| {
            let record = scheduler.pipelines().into_iter().find(|p| p.name == wanted)?;
            let (_, plan) = scheduler.plan(&wanted, version)?;
            let definition = String::from_utf8(plan.pipeline.to_blob()).ok()?;
            Some(v1::GetPipelineResponse { as_of: as_of(seen), pipeline: wire(scheduler, record, version), definition })
        });
        let which = version.map_or(String::new(), |v| format!(" of version {v}"));
        found.await?.ok_or_else(|| Status::not_found(format!("there is no pipeline {name}{which}: see penstock pipelines")))
    }

    pub(super) async fn pools(&self) -> Result<v1::ListPoolsResponse, Status> {
        let wire = |pool: PoolView| v1::PoolInfo {
            name: pool.name.to_string(),
            slots: pool.slots,
            used: pool.used,
            waiting: u32::try_from(pool.waiting).unwrap_or(u32::MAX),
            holders: pool
                .holders
                .into_iter()
                .map(|(run, task, attempt)| v1::HeldAttempt { run_id: run.to_string(), task: task.to_string(), attempt })
                .collect(),
            set: Some(pool.set.into()),
        };
        let response = self.handle.read(move |scheduler, seen| v1::ListPoolsResponse {
            as_of: as_of(seen),
            pools: scheduler.pools().into_iter().map(wire).collect(),
        });
        Ok(response.await?)
    }
}

/// The plan of a document, and what is doubtful about it.
fn read_document(file: String, document: &str) -> Result<(Plan, Vec<String>), Status> {
    if document.len() > MAX_DOCUMENT_BYTES {
        return Err(Status::invalid_argument(format!("the document has {} bytes, {MAX_DOCUMENT_BYTES} is the limit", document.len())));
    }
    let file = if file.is_empty() { "document".to_owned() } else { file };
    let (plan, list) = Plan::load(&file, document).map_err(|all| Status::invalid_argument(all.to_string()))?;
    let warnings = if list.is_empty() { Vec::new() } else { vec![Diagnostics { file, list }.to_string()] };
    Ok((plan, warnings))
}

fn wire(scheduler: &Scheduler, record: PipelineRecord, version: Option<u32>) -> Option<v1::Pipeline> {
    let wanted = |(n, ..): &&(u32, penstock_common::Digest, penstock_common::Timestamp)| version.is_none_or(|v| v == *n);
    let (version, digest, at) = *record.versions.iter().rev().find(wanted)?;
    let (_, plan) = scheduler.plan(&record.name, Some(version))?;
    let (queued, active) = scheduler.run_counts(&record.name);
    Some(v1::Pipeline {
        name: record.name.to_string(),
        version,
        registered_at_ms: at.0,
        description: plan.pipeline.description.clone(),
        tasks: u32::try_from(plan.len()).unwrap_or(u32::MAX),
        digest: digest.to_string(),
        paused: record.paused.map(Into::into),
        unregistered: record.unregistered.map(Into::into),
        queued_runs: u32::try_from(queued).unwrap_or(u32::MAX),
        active_runs: u32::try_from(active).unwrap_or(u32::MAX),
        owner: plan.pipeline.owner.clone(),
        tags: plan.pipeline.tags.clone(),
    })
}
