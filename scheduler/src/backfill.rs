//! What a backfill would run, and why it would leave the rest: the plan that is shown is the plan that is run.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_common::limits::MAX_BACKFILL_INTERVALS;
use penstock_common::pipeline::ScheduleSpec;
use penstock_common::record::Outcome;
use penstock_common::schedule::{Cron, Definition, Every, Schedule, Timing, Zone};
use penstock_common::{BackfillId, Interval, Millis, PipelineName, RunId, Selector, Timestamp};

use crate::Scheduler;
use crate::decide::not_of;
use crate::input::Rejection;
use crate::machine::ledger::Known;
use crate::state::State;

const DAY: Millis = Millis(86_400_000);

/// A backfill that is asked for.
#[derive(Debug, Clone)]
pub struct BackfillAsked {
    /// Minted or chosen by the client.
    pub id: BackfillId,
    /// Of which pipeline.
    pub pipeline: PipelineName,
    /// Intervals that start at or after this …
    pub from: Timestamp,
    /// … and at or before this.
    pub until: Timestamp,
    /// Intervals of this length from `from` on, for a pipeline that has no schedule.
    pub every: Option<Millis>,
    /// Which of those that ran before.
    pub reprocess: Reprocess,
    /// Only these tasks; empty: every task.
    pub only: Vec<Selector>,
    /// What its runs are given, unchecked.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// Runs of it at once; `None`: [`BackfillAsked::MAX_ACTIVE`], or one at a time where a run waits for the one before.
    pub max_active: Option<u32>,
    /// The newest first.
    pub newest_first: bool,
    /// Ends of its runs start dependents.
    pub cascade: bool,
    /// What was shown to be run, which is what is run. `None`: as it is planned now.
    pub shown: Option<Vec<Interval>>,
    /// Who asks, as the client claims.
    pub by: Arc<str>,
    /// Why, in their words.
    pub note: Arc<str>,
    /// Of what was asked for.
    pub digest: u64,
}

/// Which intervals that ran before are run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reprocess {
    /// None: only those that never ran, or were skipped.
    #[default]
    None,
    /// Also those that failed or were cancelled.
    Failed,
    /// All.
    All,
}

/// What becomes of one interval, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Planned {
    /// It is run: never run before, or so.
    Run(Option<Outcome>),
    /// It is left as it is.
    Left(Outcome),
    /// A run of it has not ended.
    Live(RunId),
    /// Another backfill will run it.
    Other(BackfillId),
    /// The schedule has not come to it yet: it starts it, or skips it and says why.
    Scheduled,
    /// It has not ended.
    NotDue,
}

impl BackfillAsked {
    /// `max_active` where nothing is said.
    pub const MAX_ACTIVE: u32 = 4;

    /// Runs of it at once; `in_order`: each waits for the one before.
    pub fn at_once(&self, in_order: bool) -> u32 {
        self.max_active.unwrap_or(if in_order { 1 } else { Self::MAX_ACTIVE })
    }
}

impl Planned {
    /// Whether it is run.
    pub fn runs(&self) -> bool {
        matches!(self, Self::Run(_))
    }
}

impl Scheduler {
    /// What a backfill would do, interval by interval, in the order of time.
    ///
    /// # Errors
    ///
    /// No such pipeline or task; no schedule and no `every`; too many intervals.
    pub fn plan_backfill(&self, asked: &BackfillAsked, wall: Timestamp) -> Result<Vec<(Interval, Planned)>, Rejection> {
        plan(&self.state, asked, wall)
    }
}

pub(crate) fn plan(state: &State, asked: &BackfillAsked, wall: Timestamp) -> Result<Vec<(Interval, Planned)>, Rejection> {
    let versions = state.pipelines.get(&asked.pipeline).ok_or_else(|| Rejection::UnknownPipeline(asked.pipeline.clone()))?;
    let plan = state.newest(&asked.pipeline).ok_or_else(|| state.is_off(&asked.pipeline))?;
    if let Some(unknown) = asked.only.iter().find(|s| s.task.index.is_some() || plan.find(&s.task.task).is_none()) {
        return Err(not_of(plan, &unknown.task));
    }
    let every = asked.every.map(|every| steady(every, &plan.zone, asked.from)).transpose()?;
    let written = plan.pipeline.schedule.as_ref().map(|schedule| &schedule.times);
    let schedule = every.as_ref().or(written).ok_or_else(|| {
        let why = "has no schedule, so it has no intervals: say how long each is, as with --every 1d";
        Rejection::Refused(format!("pipeline {} {why}", asked.pipeline))
    })?;
    let intervals: Vec<Interval> = schedule.intervals_starting(asked.from..=asked.until).take(MAX_BACKFILL_INTERVALS + 1).collect();
    if intervals.len() > MAX_BACKFILL_INTERVALS {
        let what = format!("these dates hold more than {MAX_BACKFILL_INTERVALS} intervals: backfill one part after another");
        return Err(Rejection::Refused(what));
    }
    let live: BTreeMap<Interval, &RunId> = (versions.queued.iter().chain(&versions.active))
        .filter_map(|no| state.runs.get(no))
        .filter_map(|run| Some((run.record.interval?, &run.record.id)))
        .collect();
    let mut planned_by: BTreeMap<Interval, &BackfillId> = BTreeMap::new();
    for backfill in state.backfills.values().filter(|b| b.is_open() && b.record.pipeline == asked.pipeline && b.record.cancelled.is_none())
    {
        planned_by.extend(backfill.record.intervals.iter().skip(backfill.record.next as usize).map(|i| (*i, &backfill.record.id)));
    }
    let ledgers: Vec<_> = asked.only.iter().map(|s| versions.timetable.tasks.get(&s.task.task)).collect();
    let known = |interval: Interval| match ledgers.as_slice() {
        [] => versions.timetable.ledger.of(interval),
        // The one of the tasks of which least is known counts.
        of_tasks => of_tasks.iter().map(|ledger| ledger.map_or(Known::Open, |l| l.of(interval))).min().unwrap_or(Known::Open),
    };
    // What the schedule is still to look at; paused, it looks at nothing.
    let watermark = versions.timetable.watermark.filter(|_| written.is_some() && !versions.is_paused_by(ScheduleSpec::TRIGGER));
    let is_the_schedules = |interval: Interval| watermark.is_some_and(|watermark| watermark < interval.end());
    let fate = |interval: Interval| {
        if schedule.starts(interval.end()) > wall {
            return Planned::NotDue;
        }
        if let Some(run) = live.get(&interval) {
            return Planned::Live((*run).clone());
        }
        if let Some(other) = planned_by.get(&interval) {
            return Planned::Other((*other).clone());
        }
        if is_the_schedules(interval) {
            return Planned::Scheduled;
        }
        match (known(interval), asked.reprocess) {
            (Known::Open, _) => Planned::Run(None),
            (Known::Skipped(outcome), _) => Planned::Run(Some(outcome)),
            (Known::Failed(outcome), Reprocess::Failed | Reprocess::All) => Planned::Run(Some(outcome)),
            (Known::Failed(outcome), Reprocess::None) => Planned::Left(outcome),
            (Known::Success, Reprocess::All) => Planned::Run(Some(Outcome::Success)),
            (Known::Success, _) => Planned::Left(Outcome::Success),
        }
    };
    Ok(intervals.into_iter().map(|interval| (interval, fate(interval))).collect())
}

/// Intervals of one length from a time on; days are days of the zone, however long they are.
fn steady(every: Millis, zone: &str, from: Timestamp) -> Result<Schedule, Rejection> {
    let refused = |why: String| Rejection::Refused(format!("--every {every}: {why}"));
    let timing = if every == DAY {
        Timing::Cron(vec![Cron::parse("0 0 * * *").map_err(|e| refused(e.to_string()))?])
    } else {
        Timing::Every(Every::new(every).map_err(|e| refused(e.to_string()))?)
    };
    let timezone = Zone::get(zone).map_err(|e| refused(e.to_string()))?;
    let definition = Definition { timing, timezone, start: Some(from), end: None, delay: Millis(0) };
    Schedule::new(definition).map_err(|e| refused(e.to_string()))
}
