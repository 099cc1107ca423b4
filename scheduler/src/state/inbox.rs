//! What happened and waits for its runs, who listens to what, and which files triggers have seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_common::event::{Cause, RunCreated, Saw};
use penstock_common::limits::MAX_DEAD_EVENTS;
use penstock_common::pipeline::TriggerSource;
use penstock_common::record::{DeadRecord, GatheredRecord, Happening, InboxRecord, TriggerKind, What};
use penstock_common::{Event, EventNo, PipelineName, RunNo, Timestamp, TriggerName};

use super::{State, backfill_of};

/// What triggers listen to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// Events of this name.
    Event(Arc<str>),
    /// Ends of this pipeline's runs.
    Pipeline(PipelineName),
    /// Files: whoever leads looks for them.
    Files,
}

/// A trigger of a pipeline.
pub(crate) type Subscriber = (PipelineName, TriggerName);

/// What waits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) happening: Happening,
    pub(crate) seen: Option<Subscriber>,
}

/// What a trigger gathers for one run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Gathered {
    pub(crate) until: Timestamp,
    pub(crate) events: Vec<Arc<str>>,
    pub(crate) source: Arc<str>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Inbox {
    pub(crate) last: EventNo,
    pub(crate) waiting: BTreeMap<EventNo, Waiting>,
    /// What these carry, together: derived.
    pub(crate) bytes: usize,
    /// Oldest first.
    pub(crate) dead: Vec<DeadRecord>,
}

impl Inbox {
    pub(crate) fn restore(last: EventNo, waiting: Vec<InboxRecord>, dead: Vec<DeadRecord>) -> Self {
        let waiting: BTreeMap<_, _> = waiting.into_iter().map(|r| (r.no, Waiting { happening: r.happening, seen: r.seen })).collect();
        let bytes = waiting.values().map(|waiting: &Waiting| waiting.happening.event.len()).sum();
        Self { last, waiting, bytes, dead }
    }

    pub(crate) fn records(&self) -> Vec<InboxRecord> {
        let record = |(no, w): (&EventNo, &Waiting)| InboxRecord { no: *no, happening: w.happening.clone(), seen: w.seen.clone() };
        self.waiting.iter().map(record).collect()
    }

    fn add(&mut self, no: EventNo, happening: Happening) {
        self.last = no;
        self.bytes += happening.event.len();
        self.waiting.insert(no, Waiting { happening, seen: None });
    }

    fn remove(&mut self, no: EventNo) {
        if let Some(waiting) = self.waiting.remove(&no) {
            self.bytes -= waiting.happening.event.len();
        }
    }

    fn bury(&mut self, no: EventNo, trigger: Option<Subscriber>, why: &Arc<str>) {
        let Some(waiting) = self.waiting.get(&no) else { return };
        self.keep(DeadRecord { no, happening: waiting.happening.clone(), trigger, why: why.clone() });
    }

    /// The oldest make room.
    fn keep(&mut self, dead: DeadRecord) {
        self.dead.push(dead);
        let surplus = self.dead.len().saturating_sub(MAX_DEAD_EVENTS);
        self.dead.drain(..surplus);
    }
}

impl Gathered {
    pub(crate) fn restore(record: GatheredRecord) -> (TriggerName, Self) {
        (record.trigger, Self { until: record.until, events: record.events, source: record.source })
    }

    pub(crate) fn record(&self, trigger: &TriggerName) -> GatheredRecord {
        GatheredRecord { trigger: trigger.clone(), until: self.until, events: self.events.clone(), source: self.source.clone() }
    }
}

impl State {
    pub(super) fn apply_to_inbox(&mut self, event: &Event) {
        match event {
            Event::Happened { event, happening } => {
                self.see_file(&happening.what);
                self.inbox.add(*event, (**happening).clone());
            }
            Event::TriggerSaw { event, pipeline, trigger, saw, .. } => {
                let subscriber = (pipeline.clone(), trigger.clone());
                match saw {
                    Saw::Missed(why) => self.inbox.bury(*event, Some(subscriber.clone()), why),
                    Saw::Gathers(until) => self.gather(*event, &subscriber, *until),
                }
                self.seen_by(*event, subscriber);
            }
            Event::EventHandled { event, dead } => {
                if let Some(why) = dead {
                    self.inbox.bury(*event, None, why);
                }
                self.inbox.remove(*event);
            }
            Event::GatheredMissed { pipeline, trigger, why, at } => {
                let timetable = &mut self.pipelines.entry(pipeline.clone()).or_default().timetable;
                let Some(gathered) = timetable.gathered.remove(trigger) else { return };
                let (no, subscriber) = (self.inbox.last, (pipeline.clone(), trigger.clone()));
                for event in gathered.events {
                    let what = What::Emitted { name: trigger.as_str().into(), id: gathered.source.clone() };
                    let happening = Happening { what, event, at: *at };
                    self.inbox.keep(DeadRecord { no, happening, trigger: Some(subscriber.clone()), why: why.clone() });
                }
            }
            Event::TriggerForgotten { pipeline, trigger, whole, .. } => {
                let Some(versions) = self.pipelines.get_mut(pipeline) else { return };
                let timetable = &mut versions.timetable;
                timetable.files.remove(trigger);
                timetable.noting.remove(trigger);
                if *whole {
                    timetable.gathered.remove(trigger);
                    timetable.paused.remove(trigger);
                    timetable.tokens.remove(trigger);
                }
            }
            Event::FilesSeen { pipeline, trigger, files, partial } => {
                let timetable = &mut self.pipelines.entry(pipeline.clone()).or_default().timetable;
                if *partial {
                    timetable.noting.insert(trigger.clone());
                } else {
                    timetable.noting.remove(trigger);
                }
                let known = timetable.files.entry(trigger.clone()).or_default();
                for (path, version) in files {
                    match version {
                        Some(version) => known.insert(path.clone(), version.clone()),
                        None => known.remove(path),
                    };
                }
            }
            _ => {}
        }
    }

    /// The end of a run is a happening, if somebody listens to it.
    pub(super) fn tell_listeners(&mut self, no: RunNo, at: Timestamp) {
        let Some(run) = self.runs.get(&no) else { return };
        let record = &run.record;
        if !self.listeners.contains_key(&Source::Pipeline(record.pipeline.clone())) {
            return;
        }
        let cascades = || backfill_of(record).and_then(|id| self.backfills.get(&id)).is_some_and(|backfill| backfill.record.cascade);
        if record.trigger.kind == TriggerKind::Backfill && !cascades() {
            return;
        }
        let interval = record.interval.map(|i| serde_json::json!({"start": i.start(), "end": i.end(), "date": i.date(&run.plan.zone)}));
        let event = serde_json::json!({
            "kind": "run", "pipeline": record.pipeline.to_string(), "run": record.id.as_str(), "state": record.state.as_str(),
            "interval": interval,
        });
        let what = What::Ended {
            pipeline: record.pipeline.clone(),
            run: record.id.clone(),
            state: record.state,
            interval: record.interval,
            depth: record.trigger.depth,
        };
        let no = EventNo(self.inbox.last.0 + 1);
        self.inbox.add(no, Happening { what, event: event.to_string().into(), at });
    }

    /// A new run is accounted to the happening, or to what was gathered.
    pub(super) fn charge_trigger(&mut self, created: &RunCreated) {
        match &created.cause {
            Some(Cause::Event { event, trigger }) => self.seen_by(*event, (created.pipeline.clone(), trigger.clone())),
            Some(Cause::Gathered(trigger)) => {
                let timetable = &mut self.pipelines.entry(created.pipeline.clone()).or_default().timetable;
                timetable.gathered.remove(trigger);
            }
            _ => {}
        }
    }

    fn seen_by(&mut self, no: EventNo, subscriber: Subscriber) {
        if let Some(waiting) = self.inbox.waiting.get_mut(&no) {
            waiting.seen = Some(subscriber);
        }
    }

    fn gather(&mut self, no: EventNo, (pipeline, trigger): &Subscriber, until: Timestamp) {
        let Some(waiting) = self.inbox.waiting.get(&no) else { return };
        let (event, source) = (waiting.happening.event.clone(), Arc::from(waiting.happening.what.source()));
        let gathered = &mut self.pipelines.entry(pipeline.clone()).or_default().timetable.gathered;
        let entry = gathered.entry(trigger.clone()).or_insert_with(|| Gathered { until, events: Vec::new(), source: Arc::from("") });
        entry.events.push(event);
        (entry.until, entry.source) = (until, source);
    }

    /// A version of a file is seen once.
    fn see_file(&mut self, what: &What) {
        if let What::File { pipeline, trigger, path, version } = what {
            let timetable = &mut self.pipelines.entry(pipeline.clone()).or_default().timetable;
            timetable.files.entry(trigger.clone()).or_default().insert(path.clone(), version.clone());
        }
    }

    /// Keeps who listens to what.
    pub(crate) fn listen(&mut self, name: &PipelineName, listens: bool) {
        let Some(plan) = self.newest(name).cloned() else { return };
        for trigger in &plan.pipeline.triggers {
            let sources: Vec<Source> = match &trigger.source {
                TriggerSource::Event(name) => vec![Source::Event(name.as_str().into())],
                TriggerSource::Pipelines { names, .. } => names.iter().cloned().map(Source::Pipeline).collect(),
                TriggerSource::File { .. } => vec![Source::Files],
            };
            for source in sources {
                let below = self.listeners.entry(source.clone()).or_default();
                let subscriber = (name.clone(), trigger.name.clone());
                if listens {
                    below.insert(subscriber);
                } else {
                    below.remove(&subscriber);
                }
                if below.is_empty() {
                    self.listeners.remove(&source);
                }
            }
        }
    }
}
