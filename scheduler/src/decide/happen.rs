//! Happenings: events that are emitted, runs that end, files that come. Each waits in the inbox until every trigger has seen it, in
//! order; a run and that its trigger has seen it are one event, so it starts one run whoever leads.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use penstock_common::event::{Cause, Saw};
use penstock_common::limits::{
    EXPRESSION_FUEL, MAX_EVENT_BYTES_PER_RUN, MAX_EVENT_BYTES_WAITING, MAX_EVENT_PAYLOAD_BYTES, MAX_EVENTS_PER_RUN, MAX_EVENTS_WAITING,
    MAX_FILES_PER_TRIGGER, MAX_LIVE_TASKS, MAX_NOTE_BYTES, MAX_QUEUED_RUNS_PER_PIPELINE, MAX_TRIGGER_DEPTH,
};
use penstock_common::pipeline::{Ending, TriggerSource, TriggerSpec};
use penstock_common::record::{Happening, TriggerKind, What};
use penstock_common::{Event, EventNo, Interval, PipelineName, TriggerName, engine};

use super::{Deciding, bounded};
use crate::input::{Answer, Emitted, FoundFile, Rejection, Submit};
use crate::plan::Plan;
use crate::state::{Source, Subscriber};
use crate::timers::Timer;

/// Happenings that one input looks at.
const MAX_LOOKED_AT: usize = 10_000;

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
        let bytes = self.state.inbox.bytes;
        if bytes > MAX_EVENT_BYTES_WAITING {
            let what = format!("events that wait for their runs carry {bytes} bytes");
            return Err(Rejection::Overloaded { what, limit: MAX_EVENT_BYTES_WAITING });
        }
        Ok(())
    }

    /// Shows what waits to the triggers that it is for, to each in order, as much as one input may.
    pub(crate) fn handle_inbox(&mut self) {
        for _ in 0..MAX_LOOKED_AT {
            let next = self.state.inbox.waiting.range(self.term.held.from..).next().filter(|_| !self.term.held.all);
            self.term.is_happening = next.is_some();
            let Some((&no, waiting)) = next.filter(|_| self.room() > 0) else { return };
            let (happening, seen) = (waiting.happening.clone(), waiting.seen.clone());
            match self.next_subscriber(no, &happening.what, seen.as_ref()) {
                Some((subscriber, _)) if self.term.held.triggers.contains(&subscriber) => self.hold(no, &happening.what, subscriber),
                Some((subscriber, take)) => self.show(no, &happening, subscriber, take),
                None => {
                    let dead = (seen.is_none() && matches!(happening.what, What::Emitted { .. }))
                        .then(|| Arc::from("no trigger of any pipeline takes events of this name"));
                    self.emit(Event::EventHandled { event: no, dead });
                }
            }
        }
    }

    /// A trigger cannot take a happening now: this one waits, and for this trigger and those behind it also what came later.
    fn hold(&mut self, no: EventNo, what: &What, subscriber: Subscriber) {
        let mut next = Some(subscriber);
        while let Some(subscriber) = next {
            next = self.next_subscriber(no, what, Some(&subscriber)).map(|(subscriber, _)| subscriber);
            self.term.held.triggers.insert(subscriber);
        }
        self.term.held.from = EventNo(no.0 + 1);
        self.term.timers.set(Timer::RoomAgain, self.now.now.after(super::fire::AGAIN));
    }

    /// The next trigger that a happening is for and that has to do something with it.
    fn next_subscriber(&self, no: EventNo, what: &What, seen: Option<&Subscriber>) -> Option<(Subscriber, Take)> {
        let after = seen.map_or(Bound::Unbounded, Bound::Excluded);
        let listening = |source| self.state.listeners.get(source).into_iter().flat_map(|all| all.range((after, Bound::Unbounded)));
        let take = |subscriber: &Subscriber| match self.take(no, what, subscriber) {
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

    fn take(&self, no: EventNo, what: &What, (name, trigger): &Subscriber) -> Take {
        let Some(plan) = self.newest(name) else { return Take::Nothing };
        let Some(spec) = plan.trigger(trigger) else { return Take::Nothing };
        let Some(versions) = self.state.pipelines.get(name) else { return Take::Nothing };
        let interval = match (what, &spec.source) {
            (What::Ended { state, interval, depth, .. }, TriggerSource::Pipelines { names, when }) => {
                // With a schedule of its own it waits for them instead.
                if plan.pipeline.schedule.is_some() || !when.accepts(*state) {
                    return Take::Nothing;
                }
                if *depth >= MAX_TRIGGER_DEPTH {
                    let why = format!("{depth} runs have started one another by their ends: do these pipelines start each other?");
                    return Take::Miss(why);
                }
                if names.len() > 1 {
                    let Some(interval) = interval else {
                        return Take::Miss("the run covers no interval, so it cannot be joined with others".to_owned());
                    };
                    let covered = names.iter().all(|name| self.state.covers(name, *interval, *when));
                    if !covered || self.is_joined_later(no, *interval, names, *when) {
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

    /// Whether the end of another of these, which also waits, will start the run of the interval.
    fn is_joined_later(&self, no: EventNo, of: Interval, names: &[PipelineName], when: Ending) -> bool {
        let mut later = self.state.inbox.waiting.range((Bound::Excluded(no), Bound::Unbounded));
        later.any(|(_, waiting)| {
            let What::Ended { pipeline, state, interval, .. } = &waiting.happening.what else { return false };
            *interval == Some(of) && when.accepts(*state) && names.contains(pipeline)
        })
    }

    fn show(&mut self, no: EventNo, happening: &Happening, (name, trigger): Subscriber, take: Take) {
        let saw = match take {
            Take::Nothing => return,
            Take::Miss(why) => Saw::Missed(bounded(&why, MAX_NOTE_BYTES)),
            Take::Start(interval) => {
                let Some(plan) = self.newest(&name).cloned() else { return };
                let Some(spec) = plan.trigger(&trigger) else { return };
                if spec.debounce.0 > 0 {
                    match self.gathered(&name, &trigger) {
                        // Its run waits for room.
                        Gathering::Full => return self.hold(no, &happening.what, (name, trigger)),
                        Gathering::Last => Saw::Gathers(self.now.now),
                        Gathering::More => Saw::Gathers(self.now.now.after(spec.debounce)),
                    }
                } else {
                    let started = Started {
                        events: std::slice::from_ref(&happening.event),
                        source: happening.what.source(),
                        kind: kind_of(&happening.what),
                        interval,
                        depth: if let What::Ended { depth, .. } = happening.what { depth + 1 } else { 0 },
                        cause: Cause::Event { event: no, trigger: trigger.clone() },
                    };
                    match self.start_triggered(&plan, spec, started) {
                        Ok(()) => return,
                        // The cluster has no room for it now: it waits, and what came later waits behind it.
                        Err(Rejection::Overloaded { limit: MAX_LIVE_TASKS, .. }) => {
                            self.term.held.all = true;
                            self.term.timers.set(Timer::RoomAgain, self.now.now.after(super::fire::AGAIN));
                            return;
                        }
                        // Its pipeline has not.
                        Err(Rejection::Overloaded { limit: MAX_QUEUED_RUNS_PER_PIPELINE, .. }) => {
                            return self.hold(no, &happening.what, (name, trigger));
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

    fn gathered(&self, name: &PipelineName, trigger: &TriggerName) -> Gathering {
        let Some(gathered) = self.state.pipelines.get(name).and_then(|v| v.timetable.gathered.get(trigger)) else {
            return Gathering::More;
        };
        let bytes: usize = gathered.events.iter().map(|event| event.len()).sum();
        match gathered.events.len() {
            MAX_EVENTS_PER_RUN.. => Gathering::Full,
            _ if bytes >= MAX_EVENT_BYTES_PER_RUN => Gathering::Full,
            count if count + 1 == MAX_EVENTS_PER_RUN => Gathering::Last,
            _ if bytes + 2 * MAX_EVENT_PAYLOAD_BYTES >= MAX_EVENT_BYTES_PER_RUN => Gathering::Last,
            _ => Gathering::More,
        }
    }

    /// What was gathered long enough starts its run.
    pub(crate) fn start_gathered(&mut self) {
        while self.room() > 0 {
            let Some((name, trigger)) = self.term.gathered.pop(self.now.now) else { return };
            let gathered = self.state.pipelines.get(&name).and_then(|v| v.timetable.gathered.get(&trigger)).cloned();
            let Some(gathered) = gathered else { continue };
            let plan = self.newest(&name).cloned();
            let spec = plan.as_ref().and_then(|plan| Some((plan, plan.trigger(&trigger)?)));
            let paused = self.state.pipelines.get(&name).is_some_and(|v| v.is_paused_by(trigger.as_str()));
            let outcome = match spec {
                None => Err(Rejection::Refused(format!("pipeline {name} has no trigger {trigger} any more"))),
                Some(_) if paused => Err(Rejection::Refused(format!("pipeline {name} or its trigger is paused"))),
                Some((plan, spec)) => {
                    let kind = if matches!(spec.source, TriggerSource::File { .. }) { TriggerKind::File } else { TriggerKind::Event };
                    let cause = Cause::Gathered(trigger.clone());
                    let (events, source) = (gathered.events.as_slice(), &*gathered.source);
                    self.start_triggered(plan, spec, Started { events, source, kind, interval: None, depth: 0, cause })
                }
            };
            match outcome {
                Ok(()) => {}
                Err(Rejection::Overloaded { limit: MAX_LIVE_TASKS | MAX_QUEUED_RUNS_PER_PIPELINE, .. }) => {
                    self.term.gathered.set((name, trigger), self.now.now.after(super::fire::AGAIN));
                }
                Err(why) => {
                    let why = bounded(&why.to_string(), MAX_NOTE_BYTES);
                    self.emit(Event::GatheredMissed { pipeline: name, trigger, why, at: self.now.now });
                }
            }
        }
    }

    /// A definition came in the place of another: what is known of triggers that it does not have, and of files elsewhere, is forgotten.
    pub(crate) fn forget_triggers(&mut self, name: &PipelineName, old: &Plan, new: &Plan) {
        let path = |spec: &TriggerSpec| if let TriggerSource::File { path, .. } = &spec.source { Some(path.clone()) } else { None };
        for old in &old.pipeline.triggers {
            let new = new.trigger(&old.name);
            let whole = new.is_none();
            if whole || path(old).is_some_and(|old| new.and_then(path) != Some(old)) {
                let (pipeline, trigger, at) = (name.clone(), old.name.clone(), self.now.now);
                if whole && self.state.pipelines.get(name).is_some_and(|v| v.timetable.gathered.contains_key(&old.name)) {
                    let why = "the pipeline was registered without this trigger".into();
                    self.emit(Event::GatheredMissed { pipeline: pipeline.clone(), trigger: trigger.clone(), why, at });
                }
                self.emit(Event::TriggerForgotten { pipeline, trigger, whole, at });
            }
        }
    }

    fn start_triggered(&mut self, plan: &Plan, spec: &TriggerSpec, started: Started<'_>) -> Result<(), Rejection> {
        let Started { events, source, kind, interval, depth, cause } = started;
        let params = params_of(plan, spec, events).map_err(|why| Rejection::BadParams(vec![why]))?;
        let name = &plan.pipeline.name;
        let label = interval.map_or_else(|| spec.name.to_string(), |interval| interval.date(&plan.zone));
        let run = self.mint(name.name(), &label);
        let submit = Submit::of(run, name.clone(), kind, spec.name.as_str().into());
        self.submit(Submit { params, interval, source: source.into(), depth, cause: Some(cause), ..submit }).map(drop)
    }
}

/// Whether a trigger may gather another event for its next run.
enum Gathering {
    More,
    /// One, and then it starts.
    Last,
    Full,
}

/// What a run is started with.
struct Started<'a> {
    events: &'a [Arc<str>],
    source: &'a str,
    kind: TriggerKind,
    interval: Option<Interval>,
    depth: u32,
    cause: Cause,
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
