//! Schedules and backfills. Dates and times are texts, read in the pipeline's zone by the coordinator.

use penstock_proto::v1;

use crate::{Client, Error, mint};

/// A backfill to be started, or only planned.
#[derive(Debug, Clone, Default)]
pub struct Backfill {
    /// Of which pipeline.
    pub pipeline: String,
    /// Its id; `None`: one is minted.
    pub id: Option<String>,
    /// Of the starts of its intervals, included.
    pub start_date: String,
    /// Included.
    pub end_date: String,
    /// The length of intervals, for a pipeline without a schedule, such as `1d`; empty: those of the schedule.
    pub every: String,
    /// Which of those that ran before.
    pub reprocess: v1::Reprocess,
    /// Only these tasks, as `t`, `+t`, `t+`, `+t+`; empty: every task.
    pub only: Vec<String>,
    /// A JSON object.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// Runs of it at once; 0: as the coordinator thinks fit.
    pub max_active: u32,
    /// The newest first.
    pub newest_first: bool,
    /// Ends of its runs start dependents.
    pub cascade: bool,
    /// Tells the plan, and does nothing.
    pub dry_run: bool,
    /// Why, in a person's words.
    pub note: String,
}

impl Client {
    /// A schedule and its next intervals, or those that end within some time.
    pub async fn schedule(&self, pipeline: &str, from: &str, to: &str, limit: u32) -> Result<v1::GetScheduleResponse, Error> {
        let (pipeline, from, to) = (pipeline.to_owned(), from.to_owned(), to.to_owned());
        let request = v1::GetScheduleRequest { pipeline, from, to, limit };
        self.call("schedule", request, |mut c, r| async move { c.get_schedule(r).await }).await
    }

    /// Sets where the next interval of a schedule begins: at its last time that is not after `to`.
    pub async fn rewind(&self, pipeline: &str, to: &str, note: &str) -> Result<v1::RewindScheduleResponse, Error> {
        let (pipeline, to, by) = (pipeline.to_owned(), to.to_owned(), self.by().to_owned());
        let request = v1::RewindScheduleRequest { pipeline, to, by, note: note.to_owned() };
        self.call("rewind", request, |mut c, r| async move { c.rewind_schedule(r).await }).await
    }

    /// A trigger of a pipeline, or its `schedule`, starts nothing, or does again.
    pub async fn pause_trigger(&self, pipeline: &str, trigger: &str, resume: bool, note: &str) -> Result<v1::PauseTriggerResponse, Error> {
        let (pipeline, trigger, by) = (pipeline.to_owned(), trigger.to_owned(), self.by().to_owned());
        let request = v1::PauseTriggerRequest { pipeline, trigger, resume, by, note: note.to_owned() };
        self.call("pause", request, |mut c, r| async move { c.pause_trigger(r).await }).await
    }

    /// What starts runs of pipelines, or of one of them.
    pub async fn triggers(&self, pipeline: &str) -> Result<v1::ListTriggersResponse, Error> {
        let request = v1::ListTriggersRequest { pipeline: pipeline.to_owned() };
        self.call("triggers", request, |mut c, r| async move { c.list_triggers(r).await }).await
    }

    /// Who calls the webhook of a trigger must show this token; `None`: nobody may. Only its digest leaves this process.
    pub async fn set_trigger_token(
        &self,
        pipeline: &str,
        trigger: &str,
        token: Option<&str>,
    ) -> Result<v1::SetTriggerTokenResponse, Error> {
        let digest = token.map_or_else(Vec::new, |token| penstock_common::Digest::of(token.as_bytes()).0.to_vec());
        let (pipeline, trigger, by) = (pipeline.to_owned(), trigger.to_owned(), self.by().to_owned());
        let request = v1::SetTriggerTokenRequest { pipeline, trigger, digest: digest.into(), by, note: String::new() };
        self.call("token", request, |mut c, r| async move { c.set_trigger_token(r).await }).await
    }

    /// Something happened: starts a run of each pipeline that has a trigger for it. `id`: of the source's; `None`: one is minted.
    pub async fn emit(&self, name: &str, payload: &serde_json::Value, id: Option<&str>) -> Result<v1::EmitEventResponse, Error> {
        let id = id.map_or_else(mint, str::to_owned);
        let request = v1::EmitEventRequest { id, name: name.to_owned(), payload: payload.to_string(), by: self.by().to_owned() };
        self.call("emit", request, |mut c, r| async move { c.emit_event(r).await }).await
    }

    /// Events that started no run where they should have, newest first.
    pub async fn dead_events(&self, limit: u32) -> Result<v1::ListDeadEventsResponse, Error> {
        self.call("events", v1::ListDeadEventsRequest { limit }, |mut c, r| async move { c.list_dead_events(r).await }).await
    }

    /// Starts a backfill, or tells its plan. Safe to repeat: its id is minted before the first try.
    pub async fn backfill(&self, backfill: Backfill) -> Result<(String, v1::CreateBackfillResponse), Error> {
        let id = backfill.id.unwrap_or_else(mint);
        let request = v1::CreateBackfillRequest {
            id: id.clone(),
            pipeline: backfill.pipeline,
            start_date: backfill.start_date,
            end_date: backfill.end_date,
            every: backfill.every,
            reprocess: backfill.reprocess.into(),
            only: backfill.only,
            params: serde_json::Value::Object(backfill.params).to_string(),
            max_active: (backfill.max_active != 0).then_some(backfill.max_active),
            newest_first: backfill.newest_first,
            cascade: backfill.cascade,
            dry_run: backfill.dry_run,
            by: self.by().to_owned(),
            note: backfill.note,
        };
        let answer = self.call("backfill", request, |mut c, r| async move { c.create_backfill(r).await }).await?;
        Ok((id, answer))
    }

    /// Backfills, newest first; of one pipeline, or one of them with its intervals. Empty: any.
    pub async fn backfills(&self, pipeline: &str, id: &str) -> Result<v1::ListBackfillsResponse, Error> {
        let request = v1::ListBackfillsRequest { pipeline: pipeline.to_owned(), id: id.to_owned() };
        self.call("backfills", request, |mut c, r| async move { c.list_backfills(r).await }).await
    }

    /// A backfill makes no further run, or does again.
    pub async fn pause_backfill(&self, id: &str, resume: bool, note: &str) -> Result<v1::PauseBackfillResponse, Error> {
        let request = v1::PauseBackfillRequest { id: id.to_owned(), resume, by: self.by().to_owned(), note: note.to_owned() };
        self.call("pause", request, |mut c, r| async move { c.pause_backfill(r).await }).await
    }

    /// A backfill makes no further run, and those it has are cancelled.
    pub async fn cancel_backfill(&self, id: &str, note: &str) -> Result<v1::CancelBackfillResponse, Error> {
        let request = v1::CancelBackfillRequest { id: id.to_owned(), by: self.by().to_owned(), note: note.to_owned() };
        self.call("cancel", request, |mut c, r| async move { c.cancel_backfill(r).await }).await
    }
}
