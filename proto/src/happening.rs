//! What happened, and what triggers made of it.

use penstock_common::record::{DeadRecord, FileVersion, GatheredRecord, Happening, InboxRecord, What};
use penstock_common::{EventNo, PipelineName, Timestamp, TriggerName};

use crate::types::{Malformed, id, required, state_of};
use crate::v1::{self, happening::What as Wire};

impl From<Happening> for v1::Happening {
    fn from(h: Happening) -> Self {
        let what = match h.what {
            What::Emitted { name, id } => Wire::Emitted(v1::Emitted { name: name.to_string(), id: id.to_string() }),
            What::Ended { pipeline, run, state, interval, depth } => Wire::Ended(v1::EndedRun {
                pipeline: pipeline.full().to_owned(),
                run_id: run.to_string(),
                state: v1::State::from(state).into(),
                interval: interval.map(Into::into),
                depth,
            }),
            What::File { pipeline, trigger, path, version } => Wire::File(v1::FoundFile {
                pipeline: pipeline.full().to_owned(),
                trigger: trigger.to_string(),
                path: path.to_string(),
                version: version.to_string(),
            }),
        };
        Self { what: Some(what), event: h.event.to_string(), at_ms: h.at.0 }
    }
}

impl TryFrom<v1::Happening> for Happening {
    type Error = Malformed;
    fn try_from(h: v1::Happening) -> Result<Self, Malformed> {
        let what = match required("what", h.what)? {
            Wire::Emitted(e) => What::Emitted { name: e.name.into(), id: e.id.into() },
            Wire::Ended(e) => What::Ended {
                pipeline: id("pipeline", &e.pipeline)?,
                run: id("run_id", &e.run_id)?,
                state: state_of(e.state)?,
                interval: e.interval.map(TryInto::try_into).transpose()?,
                depth: e.depth,
            },
            Wire::File(f) => What::File {
                pipeline: id("pipeline", &f.pipeline)?,
                trigger: id("trigger", &f.trigger)?,
                path: f.path.into(),
                version: f.version.into(),
            },
        };
        Ok(Self { what, event: h.event.into(), at: Timestamp(h.at_ms) })
    }
}

/// A pipeline and its trigger, both or neither.
fn of_trigger(pipeline: &str, trigger: &str) -> Result<Option<(PipelineName, TriggerName)>, Malformed> {
    if pipeline.is_empty() { Ok(None) } else { Ok(Some((id("pipeline", pipeline)?, id("trigger", trigger)?))) }
}

fn texts(of: Option<(PipelineName, TriggerName)>) -> (String, String) {
    of.map_or_else(Default::default, |(pipeline, trigger)| (pipeline.full().to_owned(), trigger.to_string()))
}

impl From<InboxRecord> for v1::WaitingEvent {
    fn from(r: InboxRecord) -> Self {
        let (seen_pipeline, seen_trigger) = texts(r.seen);
        Self { no: r.no.0, happening: Some(r.happening.into()), seen_pipeline, seen_trigger }
    }
}
impl TryFrom<v1::WaitingEvent> for InboxRecord {
    type Error = Malformed;
    fn try_from(e: v1::WaitingEvent) -> Result<Self, Malformed> {
        let seen = of_trigger(&e.seen_pipeline, &e.seen_trigger)?;
        Ok(Self { no: EventNo(e.no), happening: required("happening", e.happening)?.try_into()?, seen })
    }
}

impl From<DeadRecord> for v1::DeadEvent {
    fn from(r: DeadRecord) -> Self {
        let (pipeline, trigger) = texts(r.trigger);
        Self { no: r.no.0, happening: Some(r.happening.into()), pipeline, trigger, why: r.why.to_string() }
    }
}
impl TryFrom<v1::DeadEvent> for DeadRecord {
    type Error = Malformed;
    fn try_from(e: v1::DeadEvent) -> Result<Self, Malformed> {
        let trigger = of_trigger(&e.pipeline, &e.trigger)?;
        Ok(Self { no: EventNo(e.no), happening: required("happening", e.happening)?.try_into()?, trigger, why: e.why.into() })
    }
}

impl From<GatheredRecord> for v1::Gathered {
    fn from(g: GatheredRecord) -> Self {
        let events = g.events.iter().map(ToString::to_string).collect();
        Self { trigger: g.trigger.to_string(), until_ms: g.until.0, events, source: g.source.to_string() }
    }
}
impl TryFrom<v1::Gathered> for GatheredRecord {
    type Error = Malformed;
    fn try_from(g: v1::Gathered) -> Result<Self, Malformed> {
        let events = g.events.into_iter().map(Into::into).collect();
        Ok(Self { trigger: id("trigger", &g.trigger)?, until: Timestamp(g.until_ms), events, source: g.source.into() })
    }
}

pub(crate) fn files((trigger, files): (TriggerName, Vec<FileVersion>)) -> v1::TriggerFiles {
    let file = |(path, version): FileVersion| v1::SeenFile { path: path.to_string(), version: version.to_string() };
    v1::TriggerFiles { trigger: trigger.to_string(), files: files.into_iter().map(file).collect() }
}

pub(crate) fn files_of(files: v1::TriggerFiles) -> Result<(TriggerName, Vec<FileVersion>), Malformed> {
    Ok((id("trigger", &files.trigger)?, files.files.into_iter().map(|f| (f.path.into(), f.version.into())).collect()))
}
