//! A pipeline's place in time, and the ledger of what became of its intervals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_common::event::{Cause, RunCreated};
use penstock_common::pipeline::Ending;
use penstock_common::record::{Audit, LedgerRange, Outcome, SkipReason, TimetableRecord, TriggerKind};
use penstock_common::{Digest, Interval, PipelineName, Reason, RunNo, State as Word, TaskId, Timestamp, TriggerName};

use super::inbox::Gathered;
use super::{State, Versions};
use crate::input::Rejection;
use crate::machine::ledger::{Known, Ledger};
use crate::machine::run::Run;

/// A pipeline's place in time.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Timetable {
    /// Where the next interval of the schedule begins.
    pub(crate) watermark: Option<Timestamp>,
    /// Triggers that a person paused, the `schedule` among them.
    pub(crate) paused: BTreeMap<TriggerName, Audit>,
    /// What its triggers gather for one run each.
    pub(crate) gathered: BTreeMap<TriggerName, Gathered>,
    /// Versions of the files that its triggers have seen, by path.
    pub(crate) files: BTreeMap<TriggerName, BTreeMap<Arc<str>, Arc<str>>>,
    /// Triggers of whose first look more is to come.
    pub(crate) noting: BTreeSet<TriggerName>,
    /// Digests of the tokens that open webhooks.
    pub(crate) tokens: BTreeMap<TriggerName, Digest>,
    /// Intervals that were skipped, by reason.
    pub(crate) skipped: BTreeMap<SkipReason, u64>,
    pub(crate) ledger: Ledger,
    pub(crate) tasks: BTreeMap<TaskId, Ledger>,
}

impl Timetable {
    pub(crate) fn restore(record: TimetableRecord) -> Self {
        let mut tasks = BTreeMap::new();
        for (names, ranges) in record.tasks {
            let ledger = Ledger::restore(ranges);
            tasks.extend(names.into_iter().map(|task| (task, ledger.clone())));
        }
        Self {
            watermark: record.watermark,
            paused: record.paused.into_iter().collect(),
            gathered: record.gathered.into_iter().map(Gathered::restore).collect(),
            files: record.files.into_iter().map(|(trigger, files)| (trigger, files.into_iter().collect())).collect(),
            noting: record.noting.into_iter().collect(),
            tokens: record.tokens.into_iter().collect(),
            skipped: record.skipped.into_iter().collect(),
            ledger: Ledger::restore(record.ledger),
            tasks,
        }
    }

    /// Most tasks of a pipeline have the same ranges: they are written once.
    pub(crate) fn record(&self) -> TimetableRecord {
        let mut alike: Vec<(Vec<TaskId>, Vec<LedgerRange>)> = Vec::new();
        let mut places: BTreeMap<Vec<(i64, i64, Outcome)>, usize> = BTreeMap::new();
        for (task, ledger) in &self.tasks {
            let ranges = ledger.records();
            let key = ranges.iter().map(|r| (r.interval.start().0, r.interval.end().0, r.outcome)).collect();
            let place = *places.entry(key).or_insert_with(|| {
                alike.push((Vec::new(), ranges));
                alike.len() - 1
            });
            alike[place].0.push(task.clone());
        }
        TimetableRecord {
            watermark: self.watermark,
            paused: self.paused.iter().map(|(trigger, audit)| (trigger.clone(), audit.clone())).collect(),
            gathered: self.gathered.iter().map(|(trigger, gathered)| gathered.record(trigger)).collect(),
            files: self
                .files
                .iter()
                .map(|(trigger, files)| (trigger.clone(), files.iter().map(|(path, version)| (path.clone(), version.clone())).collect()))
                .collect(),
            noting: self.noting.iter().cloned().collect(),
            tokens: self.tokens.iter().map(|(trigger, digest)| (trigger.clone(), *digest)).collect(),
            skipped: self.skipped.iter().map(|(reason, count)| (*reason, *count)).collect(),
            ledger: self.ledger.records(),
            tasks: alike,
        }
    }
}

/// What a queued run waits for, people and limits apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Behind {
    /// The interval before its own is not SUCCESS.
    Past(Timestamp, Option<Outcome>),
    /// A pipeline that a trigger names has not run for all of its interval.
    Upstream(TriggerName, PipelineName),
}

impl Versions {
    /// A person paused the pipeline, or this trigger of it: it starts nothing.
    pub(crate) fn is_paused_by(&self, trigger: &str) -> bool {
        self.paused.is_some() || self.timetable.paused.contains_key(trigger)
    }
}

impl State {
    /// What a queued run waits for. A person's run waits for nothing.
    pub(crate) fn behind(&self, run: &Run) -> Option<Behind> {
        let interval = run.record.interval?;
        let timetable = &self.pipelines.get(&run.record.pipeline)?.timetable;
        let by_time = matches!(run.record.trigger.kind, TriggerKind::Schedule | TriggerKind::Backfill);
        if run.plan.pipeline.depends_on_past && by_time {
            let before = timetable.ledger.before(interval.start());
            // Nothing is before the first interval, and nothing is known of one that has not ended.
            let is_first = before.is_none() && self.run_until(&run.record.pipeline, interval.start()).is_none();
            if before != Some(Outcome::Success) && !is_first {
                return Some(Behind::Past(interval.start(), before));
            }
        }
        if run.record.trigger.kind != TriggerKind::Schedule {
            return None;
        }
        let awaited = run.plan.pipeline.triggers.iter().filter(|trigger| !timetable.paused.contains_key(&trigger.name));
        awaited.filter_map(|trigger| Some((trigger, trigger.pipelines()?))).find_map(|(trigger, (names, when))| {
            let behind = names.iter().find(|name| !self.covers(name, interval, when))?;
            Some(Behind::Upstream(trigger.name.clone(), behind.clone()))
        })
    }

    /// Whether the newest runs of a pipeline cover an interval, and ended so.
    pub(crate) fn covers(&self, name: &PipelineName, interval: Interval, when: Ending) -> bool {
        let known = self.pipelines.get(name).map_or(Known::Open, |above| above.timetable.ledger.of(interval));
        match when {
            Ending::Success => known == Known::Success,
            Ending::Failure => matches!(known, Known::Failed(_)),
            Ending::Any => matches!(known, Known::Success | Known::Failed(_)),
        }
    }

    /// A run of a pipeline that has not ended and whose interval ends here; one that is active rather than one that is queued.
    pub(crate) fn run_until(&self, name: &PipelineName, end: Timestamp) -> Option<&Run> {
        let live = self.pipelines.get(name).into_iter().flat_map(|versions| versions.active.iter().chain(&versions.queued));
        live.filter_map(|no| self.runs.get(no)).find(|run| run.record.interval.is_some_and(|interval| interval.end() == end))
    }

    /// Why there is no plan for new runs of a pipeline.
    pub(crate) fn is_off(&self, name: &PipelineName) -> Rejection {
        match self.pipelines.get(name).and_then(|versions| versions.unregistered.as_ref()) {
            Some(off) => Rejection::Unregistered { pipeline: name.clone(), by: off.by.clone(), at: off.at.to_string() },
            None => Rejection::UnknownPipeline(name.clone()),
        }
    }

    /// A run is accounted to what caused it.
    pub(super) fn charge(&mut self, created: &RunCreated) {
        match &created.cause {
            Some(Cause::Schedule) => {
                let timetable = &mut self.pipelines.entry(created.pipeline.clone()).or_default().timetable;
                timetable.watermark = created.interval.map(|interval| interval.end());
            }
            Some(Cause::Backfill(id)) => {
                if let Some(backfill) = self.backfills.get_mut(id) {
                    backfill.record.next += 1;
                }
            }
            Some(Cause::Event { .. } | Cause::Gathered(_)) => self.charge_trigger(created),
            None => {}
        }
    }

    /// What a run that ended says of its interval. One that was not asked for all tasks says nothing of the whole.
    pub(super) fn account(&mut self, no: RunNo) {
        let Some(run) = self.runs.get(&no) else { return };
        let Some(interval) = run.record.interval else { return };
        let of = |state| match state {
            Word::Success => Some(Outcome::Success),
            Word::Failed => Some(Outcome::Failed),
            Word::Cancelled => Some(Outcome::Cancelled),
            _ => None,
        };
        let nodes = (0..run.plan.len() as u32).map(|node| (node, run.task(node)));
        let whole = !nodes.clone().any(|(_, task)| task.reason == Some(Reason::NotSelected));
        let ended: Vec<(TaskId, Outcome)> =
            nodes.filter_map(|(node, task)| Some((run.plan.task(node).id.clone(), of(task.state)?))).collect();
        let outcome = of(run.record.state).filter(|_| whole);
        let timetable = &mut self.pipelines.entry(run.record.pipeline.clone()).or_default().timetable;
        if let Some(outcome) = outcome {
            timetable.ledger.set(interval, outcome);
        }
        for (task, outcome) in ended {
            timetable.tasks.entry(task).or_default().set(interval, outcome);
        }
    }
}
