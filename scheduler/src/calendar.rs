//! How schedules, triggers and backfills look from outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_common::pipeline::{ScheduleSpec, TriggerSource, TriggerSpec};
use penstock_common::record::{Audit, BackfillRecord, DeadRecord, SkipReason};
use penstock_common::schedule::Timing;
use penstock_common::{BackfillId, Digest, Interval, Millis, PipelineName, RunId, State, Timestamp, TriggerName};

use crate::Scheduler;
use crate::intervals::{due_at, intervals_from};
use crate::machine::ledger::Known;
use crate::plan::Plan;
use crate::state::Source;

/// A pipeline's place in time.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// The plan that new runs get.
    pub plan: Arc<Plan>,
    /// Where the next interval of its schedule begins.
    pub watermark: Option<Timestamp>,
    /// Triggers that are paused.
    pub paused: Vec<(TriggerName, Audit)>,
    /// Intervals that were skipped, by reason.
    pub skipped: Vec<(SkipReason, u64)>,
}

/// An interval of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueInterval {
    /// The interval.
    pub interval: Interval,
    /// When its run starts.
    pub due_at: Timestamp,
    /// What became of it; empty: nothing yet.
    pub outcome: String,
}

/// A backfill and how far it is.
#[derive(Debug, Clone)]
pub struct BackfillView {
    /// The backfill.
    pub record: BackfillRecord,
    /// Its runs that have not ended.
    pub live: Vec<RunId>,
    /// How many of its runs ended as SUCCESS, FAILED and CANCELLED.
    pub ended: [usize; 3],
}

/// A trigger on files, as whoever looks for them must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileTrigger {
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// Its name.
    pub trigger: TriggerName,
    /// A path, or the URL of an object store, with `*`, `?` and `[…]`.
    pub path: String,
    /// How long a file must not have changed.
    pub settle: Millis,
    /// How often it is looked for.
    pub every: Millis,
    /// Files that are there at the first look start runs too.
    pub existing: bool,
    /// How many files it knows; `None`: it was never looked for any.
    pub known: Option<usize>,
    /// Of its first look more is to come.
    pub is_noting: bool,
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The name of the event that a call is.
    pub event: String,
    /// Of the token that opens it.
    pub token: Digest,
}

impl Scheduler {
    /// Triggers on files that are to be looked for: those of pipelines that were taken off, and what is paused, are not.
    pub fn file_triggers(&self) -> Vec<FileTrigger> {
        let all = self.state.listeners.get(&Source::Files).into_iter().flatten();
        all.filter_map(|(name, trigger)| self.file_trigger(name, trigger)).collect()
    }

    /// One of them; none where there is none such.
    pub fn file_trigger(&self, name: &PipelineName, trigger: &TriggerName) -> Option<FileTrigger> {
        let versions = self.state.pipelines.get(name)?;
        let timetable = &versions.timetable;
        if versions.is_paused_by(trigger.as_str()) {
            return None;
        }
        let TriggerSource::File { path, settle, every, existing } = &self.state.newest(name)?.trigger(trigger)?.source else { return None };
        Some(FileTrigger {
            pipeline: name.clone(),
            trigger: trigger.clone(),
            path: path.clone(),
            settle: *settle,
            every: *every,
            existing: *existing,
            known: timetable.files.get(trigger).map(BTreeMap::len),
            is_noting: timetable.noting.contains(trigger),
        })
    }

    /// The files that a trigger knows: the version of each, by path.
    pub fn known_files(&self, name: &PipelineName, trigger: &TriggerName) -> BTreeMap<Arc<str>, Arc<str>> {
        self.state.pipelines.get(name).and_then(|versions| versions.timetable.files.get(trigger)).cloned().unwrap_or_default()
    }

    /// The webhook of a trigger; none where it waits for no event, or no token was set.
    pub fn hook(&self, name: &PipelineName, trigger: &TriggerName) -> Option<Hook> {
        let token = *self.state.pipelines.get(name)?.timetable.tokens.get(trigger)?;
        match &self.state.newest(name)?.trigger(trigger)?.source {
            TriggerSource::Event(event) => Some(Hook { event: event.clone(), token }),
            _ => None,
        }
    }

    /// A pipeline's place in time; none where there is no such pipeline, or it was taken off.
    pub fn calendar(&self, name: &PipelineName) -> Option<Calendar> {
        let timetable = &self.state.pipelines.get(name)?.timetable;
        Some(Calendar {
            plan: self.state.newest(name)?.clone(),
            watermark: timetable.watermark,
            paused: timetable.paused.iter().map(|(trigger, audit)| (trigger.clone(), audit.clone())).collect(),
            skipped: timetable.skipped.iter().map(|(reason, count)| (*reason, *count)).collect(),
        })
    }

    /// Intervals of a schedule: those that end within some time, or else the next ones; at most so many.
    pub fn due_intervals(&self, name: &PipelineName, within: Option<(Timestamp, Timestamp)>, limit: usize) -> Vec<DueInterval> {
        let Some(schedule) = self.state.newest(name).and_then(|plan| plan.pipeline.schedule.as_ref()) else { return Vec::new() };
        let Some(timetable) = self.state.pipelines.get(name).map(|versions| &versions.timetable) else { return Vec::new() };
        let shown = |interval: Interval| {
            let outcome = match timetable.ledger.of(interval) {
                Known::Open => String::new(),
                Known::Success => State::Success.to_string(),
                Known::Skipped(outcome) | Known::Failed(outcome) => outcome.word(),
            };
            DueInterval { interval, due_at: due_at(schedule, interval), outcome }
        };
        match (within, timetable.watermark) {
            (Some((from, to)), _) => {
                let fires = schedule.times.fires(from..Timestamp(to.0.saturating_add(1)));
                fires.filter_map(|fire| schedule.times.interval_of(fire)).take(limit).map(shown).collect()
            }
            (None, Some(watermark)) => intervals_from(schedule, watermark).take(limit).map(shown).collect(),
            (None, None) => Vec::new(),
        }
    }

    /// Backfills, newest first.
    pub fn backfills(&self, pipeline: Option<&PipelineName>, id: Option<&BackfillId>) -> Vec<BackfillView> {
        let wanted = |b: &BackfillRecord| pipeline.is_none_or(|p| *p == b.pipeline) && id.is_none_or(|id| *id == b.id);
        let view = |backfill: &crate::state::Backfill| {
            let ended = |state| backfill.record.ended.values().filter(|s| **s == state).count();
            BackfillView {
                record: backfill.record.clone(),
                live: backfill.live.iter().filter_map(|no| self.run_id(*no).cloned()).collect(),
                ended: [ended(State::Success), ended(State::Failed), ended(State::Cancelled)],
            }
        };
        let mut all: Vec<BackfillView> = self.state.backfills.values().filter(|b| wanted(&b.record)).map(view).collect();
        all.sort_by_key(|view| std::cmp::Reverse(view.record.created.at));
        all
    }
}

/// A trigger of a pipeline and how it stands.
#[derive(Debug, Clone)]
pub struct TriggerView {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// What it is; none: the schedule.
    pub spec: Option<TriggerSpec>,
    /// A person paused it.
    pub paused: Option<Audit>,
    /// Events gathered for its next run, and when that starts.
    pub gathered: Option<(usize, Timestamp)>,
    /// Files it has seen.
    pub files: usize,
    /// The texts of the schedule.
    pub times: String,
}

impl TriggerView {
    /// Its name.
    pub fn name(&self) -> &str {
        self.spec.as_ref().map_or(ScheduleSpec::TRIGGER, |spec| spec.name.as_str())
    }
}

impl Scheduler {
    /// What starts runs of pipelines that are not taken off, people apart.
    pub fn triggers(&self, of: Option<&PipelineName>) -> Vec<TriggerView> {
        let mut all = Vec::new();
        for (name, versions) in self.state.pipelines.iter().filter(|(name, _)| of.is_none_or(|of| of == *name)) {
            let Some(plan) = self.state.newest(name) else { continue };
            let timetable = &versions.timetable;
            let view = |spec: Option<&TriggerSpec>, times: String| {
                let trigger = spec.map_or(ScheduleSpec::TRIGGER, |spec| spec.name.as_str());
                TriggerView {
                    pipeline: name.clone(),
                    spec: spec.cloned(),
                    paused: timetable.paused.get(trigger).cloned(),
                    gathered: timetable.gathered.get(trigger).map(|g| (g.events.len(), g.until)),
                    files: timetable.files.get(trigger).map_or(0, BTreeMap::len),
                    times,
                }
            };
            if let Some(schedule) = &plan.pipeline.schedule {
                all.push(view(None, written(&schedule.times.definition().timing)));
            }
            all.extend(plan.pipeline.triggers.iter().map(|spec| view(Some(spec), String::new())));
        }
        all
    }

    /// Events that started no run where they should have, newest first.
    pub fn dead_events(&self, limit: usize) -> Vec<DeadRecord> {
        self.state.inbox.dead.iter().rev().take(limit).cloned().collect()
    }
}

fn written(timing: &Timing) -> String {
    match timing {
        Timing::Cron(list) => list.iter().map(|cron| cron.as_str()).collect::<Vec<_>>().join(" | "),
        Timing::Every(every) => format!("every {every}"),
    }
}
