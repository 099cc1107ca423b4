//! What people ask of schedules and triggers: rewind, pause and resume, tokens of webhooks.

use penstock_common::pipeline::{ScheduleSpec, TriggerSource};
use penstock_common::{Digest, Event, PipelineName, Timestamp, TriggerName};

use super::Deciding;
use crate::input::{Answer, Rejection};
use crate::intervals::begin;

impl Deciding<'_> {
    /// Sets where the next interval begins: at the last time of the schedule that is not after `to`.
    pub(crate) fn rewind(&mut self, name: PipelineName, to: Timestamp, by: &str, note: &str) -> Result<Answer, Rejection> {
        let plan = self.newest(&name).cloned().ok_or_else(|| Rejection::UnknownPipeline(name.clone()))?;
        let Some(schedule) = &plan.pipeline.schedule else {
            return Err(Rejection::Refused(format!("pipeline {name} has no schedule: there is nothing to rewind")));
        };
        let begin = begin(schedule).filter(|begin| to < *begin).or_else(|| schedule.times.previous_at_or_before(to)).unwrap_or(to);
        let before = self.state.pipelines.get(&name).and_then(|v| v.timetable.watermark);
        if before == Some(begin) {
            return Ok(Answer::Changed(false));
        }
        let audit = self.audit("rewind", &begin.to_string(), by, note);
        self.emit(Event::ScheduleMoved { pipeline: name.clone(), to: Some(begin), audit });
        self.await_next(&name);
        Ok(Answer::Changed(true))
    }

    /// A trigger, or the schedule, starts nothing, or does again.
    pub(crate) fn pause_trigger(
        &mut self,
        name: PipelineName,
        trigger: TriggerName,
        paused: bool,
        by: &str,
        note: &str,
    ) -> Result<Answer, Rejection> {
        let plan = self.newest(&name).ok_or_else(|| Rejection::UnknownPipeline(name.clone()))?;
        let is_schedule = trigger.as_str() == ScheduleSpec::TRIGGER;
        let has = if is_schedule { plan.pipeline.schedule.is_some() } else { plan.trigger(&trigger).is_some() };
        if !has {
            return Err(no_trigger(&name, &trigger));
        }
        let is_paused = self.state.pipelines.get(&name).is_some_and(|v| v.timetable.paused.contains_key(&trigger));
        if is_paused == paused {
            return Ok(Answer::Changed(false));
        }
        let audit = self.audit(if paused { "pause" } else { "resume" }, trigger.as_str(), by, note);
        // A queued run may have waited for what this trigger names.
        self.term.starting.insert(name.clone());
        self.emit(Event::TriggerPaused { pipeline: name.clone(), trigger, paused, audit });
        self.await_next(&name);
        Ok(Answer::Changed(true))
    }

    /// Who calls the webhook of a trigger must show a token with this digest from now on.
    pub(crate) fn set_trigger_token(
        &mut self,
        name: PipelineName,
        trigger: TriggerName,
        digest: Option<Digest>,
        by: &str,
        note: &str,
    ) -> Result<Answer, Rejection> {
        let plan = self.newest(&name).ok_or_else(|| self.state.is_off(&name))?;
        match plan.trigger(&trigger).map(|t| &t.source) {
            Some(TriggerSource::Event(_)) => {}
            Some(_) => {
                return Err(Rejection::Refused(format!("trigger {trigger} of {name} waits for no event: it has no webhook to open")));
            }
            None => return Err(no_trigger(&name, &trigger)),
        }
        if self.state.pipelines.get(&name).and_then(|v| v.timetable.tokens.get(&trigger)) == digest.as_ref() {
            return Ok(Answer::Changed(false));
        }
        let audit = self.audit(if digest.is_some() { "token" } else { "no token" }, trigger.as_str(), by, note);
        self.emit(Event::TriggerTokenSet { pipeline: name, trigger, digest, audit });
        Ok(Answer::Changed(true))
    }
}

fn no_trigger(name: &PipelineName, trigger: &TriggerName) -> Rejection {
    Rejection::Refused(format!("pipeline {name} has no trigger {trigger}: see what it has with penstock triggers {name}"))
}
