//! Triggers and events.

use penstock_common::pipeline::TriggerSource;
use penstock_common::record::DeadRecord;
use penstock_common::{Digest, PipelineName, RequestId, TriggerName, ids};
use penstock_proto::v1;
use penstock_scheduler::calendar::TriggerView;
use penstock_scheduler::{Answer, Emitted, Input};
use tonic::Status;

use super::control::{Control, as_of, digest_of, named, unexpected};
use super::status;

impl Control {
    pub(super) async fn triggers(&self, request: v1::ListTriggersRequest) -> Result<v1::ListTriggersResponse, Status> {
        let of = named::<PipelineName>(&request.pipeline)?;
        if let Some(name) = &of {
            self.calendar(name).await?;
        }
        let (all, seen) = self.handle.read(move |scheduler, seen| (scheduler.triggers(of.as_ref()), seen)).await?;
        Ok(v1::ListTriggersResponse { as_of: as_of(seen), triggers: all.into_iter().map(|view| self.wire(view)).collect() })
    }

    pub(super) async fn set_token(&self, request: v1::SetTriggerTokenRequest) -> Result<v1::SetTriggerTokenResponse, Status> {
        let v1::SetTriggerTokenRequest { pipeline, trigger, digest, by, note } = request;
        let pipeline = PipelineName::parse(&pipeline).map_err(|e| status::invalid(&e))?;
        let trigger = TriggerName::parse(&trigger).map_err(|e| status::invalid(&e))?;
        let digest = match digest.is_empty() {
            true => None,
            false => Some(Digest::from_slice(&digest).ok_or_else(|| Status::invalid_argument("digest: 32 bytes, the BLAKE3 of a token"))?),
        };
        let input = Input::SetTriggerToken { pipeline, trigger, digest, by: by.into(), note: note.into() };
        let (_, seq) = self.handle.command(input).await?;
        Ok(v1::SetTriggerTokenResponse { seq: seq.0 })
    }

    pub(super) async fn emit(&self, request: v1::EmitEventRequest) -> Result<v1::EmitEventResponse, Status> {
        let v1::EmitEventRequest { id, name, payload, by } = request;
        let request = event_id(&id)?;
        if !ids::is_dotted_name(&name) {
            let rule = "a lower-case letter, then at most 62 of a-z, 0-9, _, . and -";
            return Err(Status::invalid_argument(format!("{name:?} is no name of an event: use {rule}, such as claims.ready")));
        }
        let payload = if payload.is_empty() { "{}".to_owned() } else { payload };
        let _: serde_json::Value =
            serde_json::from_str(&payload).map_err(|e| Status::invalid_argument(format!("payload: JSON is expected: {e}")))?;
        let digest = digest_of(&[&name, &payload]);
        let emitted = Emitted { request, name: name.into(), payload: payload.into(), by: by.into(), digest };
        match self.handle.submit(Input::EmitEvent(emitted)).await? {
            (Answer::Event(event), seq) => Ok(v1::EmitEventResponse { event, seq: seq.0 }),
            (other, _) => Err(unexpected(&other)),
        }
    }

    pub(super) async fn dead_events(&self, request: v1::ListDeadEventsRequest) -> Result<v1::ListDeadEventsResponse, Status> {
        let limit = match request.limit as usize {
            0 => 100,
            n => n.min(1_000),
        };
        let (all, seen) = self.handle.read(move |scheduler, seen| (scheduler.dead_events(limit), seen)).await?;
        Ok(v1::ListDeadEventsResponse { as_of: as_of(seen), events: all.into_iter().map(dead).collect() })
    }

    /// Only the leader knows why a trigger cannot look at its files.
    fn wire(&self, view: TriggerView) -> v1::TriggerInfo {
        let (kind, of) = match view.spec.as_ref().map(|spec| &spec.source) {
            None => ("schedule", view.times.clone()),
            Some(TriggerSource::Event(name)) => ("event", name.clone()),
            Some(TriggerSource::Pipelines { names, .. }) => {
                ("pipelines", names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
            Some(TriggerSource::File { path, .. }) => ("file", path.clone()),
        };
        let trouble =
            view.spec.as_ref().and_then(|spec| self.handle.file_trouble(&(view.pipeline.clone(), spec.name.clone()))).unwrap_or_default();
        let (gathered, starts_at) = view.gathered.unwrap_or_default();
        v1::TriggerInfo {
            pipeline: view.pipeline.to_string(),
            name: view.name().to_owned(),
            kind: kind.to_owned(),
            of,
            gathered: u32::try_from(gathered).unwrap_or(u32::MAX),
            starts_at_ms: starts_at.0,
            files: u32::try_from(view.files).unwrap_or(u32::MAX),
            trouble: trouble.to_string(),
            paused: view.paused.clone().map(Into::into),
        }
    }
}

/// Minted by a client, or chosen by whoever emits.
fn event_id(text: &str) -> Result<RequestId, Status> {
    let rule = "use a letter or a digit, then at most 127 of A-Z, a-z, 0-9, _, . and -, such as batch-4711";
    RequestId::parse(text).map_err(|e| Status::invalid_argument(format!("id: {:?} is no id of an event: {rule}", e.found)))
}

/// With the pipeline's name as it is shown elsewhere: without the namespace that is meant anyhow.
fn dead(record: DeadRecord) -> v1::DeadEvent {
    let pipeline = record.trigger.as_ref().map_or_else(String::new, |(pipeline, _)| pipeline.to_string());
    v1::DeadEvent { pipeline, ..record.into() }
}

#[cfg(test)]
mod tests {
    use penstock_common::record::{Happening, What};
    use penstock_common::{EventNo, Timestamp};

    use super::*;

    #[test]
    fn the_id_of_an_event_is_called_so_where_it_is_wrong() {
        let why = event_id("batch 4711").unwrap_err();
        assert!(why.message().starts_with("id: \"batch 4711\" is no id of an event: use a letter"), "{why}");
        assert!(event_id("batch-4711").is_ok());
    }

    #[test]
    fn a_dead_events_pipeline_is_named_as_elsewhere() {
        let of = |pipeline: &str| {
            let trigger = Some((PipelineName::parse(pipeline).unwrap(), TriggerName::parse("ready").unwrap()));
            let what = What::Emitted { name: "claims.ready".into(), id: "1".into() };
            let happening = Happening { what, event: "{}".into(), at: Timestamp(0) };
            dead(DeadRecord { no: EventNo(1), happening, trigger, why: "".into() }).pipeline
        };
        assert_eq!((of("p").as_str(), of("team/p").as_str()), ("p", "team/p"));
    }
}
