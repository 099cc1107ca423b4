//! Happenings: events that are emitted, runs that end, files that come. Each waits in the inbox until every trigger has seen it, in
//! order; a run and that its trigger has seen it are one event, so it starts one run whoever leads.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use penstock_common::event::{Cause, Saw};
use penstock_common::limits::{
    EXPRESSION_FUEL, MAX_EVENT_PAYLOAD_BYTES, MAX_EVENTS_PER_RUN, MAX_EVENTS_WAITING, MAX_FILES_PER_TRIGGER, MAX_LIVE_TASKS, MAX_NOTE_BYTES,
};
use penstock_common::pipeline::{TriggerSource, TriggerSpec};
use penstock_common::record::{Happening, TriggerKind, What};
use penstock_common::{Event, EventNo, Interval, PipelineName, TriggerName, engine};

use super::{Deciding, bounded};
use crate::input::{Answer, Emitted, FoundFile, Rejection, Submit};
use crate::plan::Plan;
use crate::state::{Source, Subscriber};

/// What a trigger does with a happening.
enum Take {
    Nothing,
    Start(Option<Interval>),
    Miss(String),
}

impl Deciding<'_> {
    /// An event is accepted once; the same request again is answered with the same number.
    pub(crate) fn emit_event(&mut self, emitted: Emitted) -> Result<Answer, Rejection> {
        let digest = emitted.digest;
        if let Some(event) = self.answered(&emitted.request, digest)? {
            return Ok(Answer::Event(event));
        }
        self.has_room_for_events(1)?;
        if emitted.payload.len() > MAX_EVENT_PAYLOAD_BYTES {
            let what = format!(
                "the event carries {} bytes, {MAX_EVENT_PAYLOAD_BYTES} is the limit: store it and pass a reference",
                emitted.payload.len()
            );
            return Err(Rejection::Refused(what));
        }
        let payload: serde_json::Value = serde_json::from_str(&emitted.payload).unwrap_or_default();
        let event = serde_json::json!({
            "kind": "event", "name": emitted.name, "id": emitted.request.as_str(), "by": bounded(&emitted.by, MAX_NOTE_BYTES), "at": self.now.wall, "payload": payload,
        });
        let what = What::Emitted { name: emitted.name.clone(), id: emitted.request.as_str().into() };
        let no = self.happened(Happening { what, event: event.to_string().into(), at: self.now.now });
        self.answer(emitted.request, digest, no);
        Ok(Answer::Event(no.0))
    }

    /// Files that a trigger found: what is new starts runs, what is gone is forgotten. Without `existing` those of its first look, of
    /// which more comes while it is `partial`, are only noted.
    pub(crate) fn files_found(
        &mut self,
        name: PipelineName,
        trigger: TriggerName,
        found: Vec<FoundFile>,
        gone: Vec<Arc<str>>,
        partial: bool,
    ) -> Result<Answer, Rejection> {
        let plan = self.newest(&name).cloned().ok_or_else(|| self.state.is_off(&name))?;
        let Some(TriggerSource::File { existing, .. }) = plan.trigger(&trigger).map(|t| &t.source) else {
            return Err(Rejection::Refused(format!("pipeline {name} has no trigger {trigger} on files any more")));
        };
        let timetable = self.state.pipelines.get(&name).map(|v| &v.timetable);
        let known = timetable.and_then(|t| t.files.get(&trigger));
        let is_first = known.is_none() || timetable.is_some_and(|t| t.noting.contains(&trigger));
        let is_new = |file: &FoundFile| known.and_then(|files| files.get(&file.path)) != Some(&file.version);
        let new: Vec<FoundFile> = found.into_iter().filter(is_new).collect();
        let forgotten = gone.into_iter().filter(|path| known.is_some_and(|files| files.contains_key(path))).map(|path| (path, None));
        let mut notes: Vec<(Arc<str>, Option<Arc<str>>)> = forgotten.collect();
        let count = known.map_or(0, std::collections::BTreeMap::len);
        if count + new.len() > MAX_FILES_PER_TRIGGER + notes.len() {
            let what = format!("trigger {trigger} of {name} sees {} files", count + new.len());
            return Err(Rejection::Overloaded { what, limit: MAX_FILES_PER_TRIGGER });
        }
        if is_first && !existing {
            notes.extend(new.into_iter().map(|file| (file.path, Some(file.version))));
            self.emit(Event::FilesSeen { pipeline: name, trigger, files: notes, partial });
            return Ok(Answer::Changed(true));
        }
        self.has_room_for_events(new.len())?;
        if is_first || !notes.is_empty() {
            self.emit(Event::FilesSeen { pipeline: name.clone(), trigger: trigger.clone(), files: notes, partial: false });
        }
        let changed = !new.is_empty();
        for file in new {
            let event = serde_json::json!({
                "kind": "file", "path": file.path, "name": file.path.rsplit('/').next(), "size": file.size, "modified": file.modified,
            });
            let what = What::File { pipeline: name.clone(), trigger: trigger.clone(), path: file.path, version: file.version };
            self.happened(Happening { what, event: event.to_string().into(), at: self.now.now });
        }
        Ok(Answer::Changed(changed))
    }

    fn happened(&mut self, happening: Happening) -> EventNo {
        let no = EventNo(self.state.inbox.last.0 + 1);
        self.emit(Event::Happened { event: no, happening: Box::new(happening) });
        no
    }

    fn has_room_for_events(&self, count: usize) -> Result<(), Rejection> {
        let waiting = self.state.inbox.waiting.len();
        if waiting + count > MAX_EVENTS_WAITING {
            return Err(Rejection::Overloaded { what: format!("{waiting} events wait for their runs"), limit: MAX_EVENTS_WAITING });
        }
        Ok(())
    }

    /// Shows what waits to the triggers that it is for, in order, as much as one input may.
    pub(crate) fn handle_inbox(&mut self) {
        while self.room() > 0 {
            let next = self.state.inbox.waiting.first_key_value().filter(|_| !self.term.is_overloaded);
            self.term.is_happening = next.is_some();
            let Some((&no, waiting)) = next else { return };
            let (happening, seen) = (waiting.happening.clone(), waiting.seen.clone());
            match self.next_subscriber(&happening.what, seen.as_ref()) {
                Some(subscriber) => self.show(no, &happening, subscriber),
                None => {
                    let dead = (seen.is_none() && matches!(happening.what, What::Emitted { .. }))
                        .then(|| Arc::from("no trigger of any pipeline takes events of this name"));
                    self.emit(Event::EventHandled { event: no, dead });
                }
            }
        }
    }

    /// The next trigger that a happening is for and that has to do something with it.
    fn next_subscriber(&self, what: &What, seen: Option<&Subscriber>) -> Option<(Subscriber, Take)> {
        let after = seen.map_or(Bound::Unbounded, Bound::Excluded);
        let listening = |source| self.state.listeners.get(source).into_iter().flat_map(|all| all.range((after, Bound::Unbounded)));
        let take = |subscriber: &Subscriber| match self.take(what, subscriber) {
            Take::Nothing => None,
            take => Some((subscriber.clone(), take)),
        };
        match what {
            What::File { pipeline, trigger, .. } => {
                let own = (pipeline.clone(), trigger.clone());
                Some(own).filter(|own| Some(own) != seen).and_then(|own| take(&own))
            }
            What::Emitted { name, .. } => listening(&Source::Event(name.clone())).find_map(take),
            What::Ended { pipeline, .. } => listening(&Source::Pipeline(pipeline.clone())).find_map(take),
        }
    }

    fn take(&self, what: &What, (name, trigger): &Subscriber) -> Take {
        let Some(plan) = self.newest(name) else { return Take::Nothing };
        let Some(spec) = plan.trigger(trigger) else { return Take::Nothing };
        let Some(versions) = self.state.pipelines.get(name) else { return Take::Nothing };
        let interval = match (what, &spec.source) {
            (What::Ended { state, interval, .. }, TriggerSource::Pipelines { names, when }) => {
                // With a schedule of its own it waits for them instead.
                if plan.pipeline.schedule.is_some() || !when.accepts(*state) {
                    return Take::Nothing;
                }
                if names.len() > 1 {
                    let Some(interval) = interval else {
                        return Take::Miss("the run covers no interval, so it cannot be joined with others".to_owned());
                    };
                    if !names.iter().all(|name| self.state.covers(name, *interval, *when)) {
                        return Take::Nothing;
                    }
                }
                *interval
            }
            (What::Emitted { .. }, TriggerSource::Event(_)) | (What::File { .. }, TriggerSource::File { .. }) => None,
            _ => return Take::Nothing,
        };
        if versions.paused.is_some() {
            return Take::Miss(format!("pipeline {name} is paused"));
        }
        if versions.timetable.paused.contains_key(trigger) {
            return Take::Miss(format!("trigger {trigger} of {name} is paused"));
        }
        Take::Start(interval)
    }

    fn show(&mut self, no: EventNo, happening: &Happening, ((name, trigger), take): (Subscriber, Take)) {
        let saw = match take {
            Take::Nothing => return,
            Take::Miss(why) => Saw::Missed(bounded(&why, MAX_NOTE_BYTES)),
            Take::Start(interval) => {
                let Some(plan) = self.newest(&name).cloned() else { return };
                let Some(spec) = plan.trigger(&trigger) else { return };
                if spec.debounce.0 > 0 {
                    let full = self.gathered(&name, &trigger) + 1 >= MAX_EVENTS_PER_RUN;
                    Saw::Gathers(if full { self.now.now } else { self.now.now.after(spec.debounce) })
                } else {
                    let cause = Cause::Event { event: no, trigger: trigger.clone() };
                    let kind = kind_of(&happening.what);
                    let events = std::slice::from_ref(&happening.event);
                    match self.start_triggered(&plan, spec, events, happening.what.source(), kind, interval, cause) {
                        Ok(()) => return,
                        // The cluster has no room for it now: it waits, and what came later waits behind it.
                        Err(Rejection::Overloaded { limit: MAX_LIVE_TASKS, .. }) => {
                            self.term.is_overloaded = true;
                            self.term.timers.set(crate::timers::Timer::RoomAgain, self.now.now.after(super::fire::AGAIN));
                            return;
                        }
                        Err(why) => Saw::Missed(bounded(&why.to_string(), MAX_NOTE_BYTES)),
                    }
                }
            }
        };
        let gathers = matches!(saw, Saw::Gathers(_));
        self.emit(Event::TriggerSaw { event: no, pipeline: name.clone(), trigger: trigger.clone(), saw, at: self.now.now });
        if gathers {
            self.term.await_gathered(self.state, &name, &trigger);
        }
    }

    fn gathered(&self, name: &PipelineName, trigger: &TriggerName) -> usize {
        self.state.pipelines.get(name).and_then(|v| v.timetable.gathered.get(trigger)).map_or(0, |g| g.events.len())
    }

    /// What was gathered long enough starts its run.
    pub(crate) fn start_gathered(&mut self) {
        while self.room() > 0 {
            let Some((name, trigger)) = self.term.gathered.pop(self.now.now) else { return };
            let Some(plan) = self.newest(&name).cloned() else { continue };
            let gathered = self.state.pipelines.get(&name).and_then(|v| v.timetable.gathered.get(&trigger)).cloned();
            let Some((spec, gathered)) = plan.trigger(&trigger).zip(gathered) else { continue };
            let cause = Cause::Gathered(trigger.clone());
            let kind = if matches!(spec.source, TriggerSource::File { .. }) { TriggerKind::File } else { TriggerKind::Event };
            let paused = self.state.pipelines.get(&name).is_some_and(|v| v.is_paused_by(trigger.as_str()));
            let outcome = match paused {
                true => Err(Rejection::Refused(format!("pipeline {name} or its trigger is paused"))),
                false => self.start_triggered(&plan, spec, &gathered.events, &gathered.source, kind, None, cause),
            };
            match outcome {
                Ok(()) => {}
                Err(Rejection::Overloaded { limit: MAX_LIVE_TASKS, .. }) => {
                    self.term.gathered.set((name, trigger), self.now.now.after(super::fire::AGAIN));
                }
                Err(why) => {
                    let why = bounded(&why.to_string(), MAX_NOTE_BYTES);
                    self.emit(Event::GatheredMissed { pipeline: name, trigger, why, at: self.now.now });
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "what a run is made of")]
    fn start_triggered(
        &mut self,
        plan: &Plan,
        spec: &TriggerSpec,
        events: &[Arc<str>],
        source: &str,
        trigger: TriggerKind,
        interval: Option<Interval>,
        cause: Cause,
    ) -> Result<(), Rejection> {
        let params = params_of(plan, spec, events).map_err(|why| Rejection::BadParams(vec![why]))?;
        let name = &plan.pipeline.name;
        let label = interval.map_or_else(|| spec.name.to_string(), |interval| interval.date(&plan.zone));
        let run = self.mint(name.name(), &label);
        let submit = Submit::of(run, name.clone(), trigger, spec.name.as_str().into());
        self.submit(Submit { params, interval, source: source.into(), cause: Some(cause), ..submit }).map(drop)
    }
}

fn kind_of(what: &What) -> TriggerKind {
    match what {
        What::Emitted { .. } => TriggerKind::Event,
        What::Ended { .. } => TriggerKind::Dependency,
        What::File { .. } => TriggerKind::File,
    }
}

/// What a run is given: what the trigger's templates make of `event`, the newest, and `events`; or what the event carries under the
/// names of parameters.
fn params_of(plan: &Plan, spec: &TriggerSpec, events: &[Arc<str>]) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    let read = |text: &Arc<str>| serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
    let all: Vec<serde_json::Value> = events.iter().map(read).collect();
    let newest = all.last().cloned().unwrap_or_default();
    if spec.params.is_empty() {
        let payload = newest.get("payload").and_then(serde_json::Value::as_object).cloned().unwrap_or_default();
        return Ok(payload.into_iter().filter(|(name, _)| plan.pipeline.params.contains_key(name)).collect());
    }
    let engine = engine::engine(EXPRESSION_FUEL);
    let context: BTreeMap<&str, minijinja::Value> = [
        ("event", minijinja::Value::from(minijinja::value::Serde(&newest))),
        ("events", minijinja::Value::from(minijinja::value::Serde(&all))),
    ]
    .into();
    let render = |(name, template): (&String, &String)| {
        let text = engine.render_str(template, &context).map_err(|e| format!("trigger {}: parameter {name}: {e:#}", spec.name))?;
        Ok((name.clone(), serde_json::Value::String(text)))
    };
    spec.params.iter().map(render).collect()
}
