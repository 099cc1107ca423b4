//! Timetables: what becomes of intervals that fall due. A run, its interval and where the next begins are one event, so an interval
//! has one run whoever leads.

use penstock_common::event::Cause;
use penstock_common::limits::MAX_INTERVALS_PER_INPUT;
use penstock_common::pipeline::{Catchup, Overlap, ScheduleSpec, TriggerSource};
use penstock_common::record::{Audit, SkipReason, TriggerKind};
use penstock_common::{Digest, Event, Interval, Millis, PipelineName, Reason, RunNo, Timestamp, TriggerName};

use super::Deciding;
use crate::fires::{begin, due_at, intervals_from};
use crate::input::{Answer, Rejection, Submit};
use crate::plan::Plan;

/// How long a timetable that could not go on waits before it looks again.
pub(super) const AGAIN: Millis = Millis(5_000);

/// What becomes of one interval.
enum Fate {
    Run,
    Skip(SkipReason),
    /// Not yet.
    Wait,
}

impl Deciding<'_> {
    /// Every timetable whose time has come.
    pub(crate) fn fire_timetables(&mut self) {
        while self.now.may_fire && self.room() > 0 {
            let Some(name) = self.term.fires.pop(self.now.wall) else { return };
            self.fire(&name);
        }
    }

    fn fire(&mut self, name: &PipelineName) {
        let Some(plan) = self.newest(name).cloned() else { return };
        let Some(schedule) = &plan.pipeline.schedule else { return };
        let due = self.due(name, schedule);
        let whole = due.len() < MAX_INTERVALS_PER_INPUT;
        let mut skipped: Option<(Interval, u64, SkipReason)> = None;
        for (at, interval) in due.iter().enumerate() {
            if self.room() == 0 {
                break;
            }
            let is_newest = whole && at + 1 == due.len();
            match self.fate(name, schedule, *interval, is_newest) {
                Fate::Skip(reason) => {
                    skipped = Some(match skipped.take() {
                        Some((range, count, same)) if same == reason => (joined(range, *interval), count + 1, same),
                        other => {
                            self.skip(name, other);
                            (*interval, 1, reason)
                        }
                    });
                }
                Fate::Run => {
                    self.skip(name, skipped.take());
                    if !self.start_due(name, &plan, *interval, schedule.overlap) {
                        return self.term.fires.set(name, self.now.wall.after(AGAIN));
                    }
                }
                Fate::Wait => {
                    self.skip(name, skipped.take());
                    return self.term.fires.set(name, self.now.wall.after(AGAIN));
                }
            }
        }
        self.skip(name, skipped);
        self.await_next(name);
    }

    /// Intervals that have fallen due and have neither a run nor a reason to have none, oldest first: as many as one input may see.
    fn due(&self, name: &PipelineName, schedule: &ScheduleSpec) -> Vec<Interval> {
        let Some(watermark) = self.state.pipelines.get(name).and_then(|v| v.timetable.watermark) else { return Vec::new() };
        let is_due = |interval: &Interval| due_at(schedule, *interval) <= self.now.wall;
        intervals_from(schedule, watermark).take_while(is_due).take(MAX_INTERVALS_PER_INPUT).collect()
    }

    fn fate(&self, name: &PipelineName, schedule: &ScheduleSpec, interval: Interval, is_newest: bool) -> Fate {
        let Some(versions) = self.state.pipelines.get(name) else { return Fate::Wait };
        if versions.paused.is_some() || versions.timetable.paused.contains_key(&Self::schedule()) {
            return Fate::Skip(SkipReason::Paused);
        }
        let is_old = self.now.wall.since(due_at(schedule, interval)) > schedule.grace;
        match schedule.catchup {
            Catchup::None if is_old => return Fate::Skip(SkipReason::Catchup),
            Catchup::Latest if is_old && !is_newest => return Fate::Skip(SkipReason::Catchup),
            _ => {}
        }
        if schedule.overlap == Overlap::Skip && self.scheduled(name).next().is_some() {
            return Fate::Skip(SkipReason::Overlap);
        }
        let waits = |no: &RunNo| versions.queued.contains(no);
        let is_full = self.scheduled(name).filter(waits).count() >= schedule.max_queued as usize;
        match schedule.catchup {
            _ if !is_full => Fate::Run,
            // Nothing is lost of what catches up: it waits for its turn.
            Catchup::All => Fate::Wait,
            _ => Fate::Skip(SkipReason::MaxQueued),
        }
    }

    /// Runs of its schedule that have not ended.
    fn scheduled(&self, name: &PipelineName) -> impl Iterator<Item = RunNo> + '_ {
        let live = self.state.pipelines.get(name).into_iter().flat_map(|v| v.queued.iter().chain(&v.active));
        live.copied().filter(|no| self.state.runs.get(no).is_some_and(|run| run.record.trigger.kind == TriggerKind::Schedule))
    }

    fn skip(&mut self, name: &PipelineName, skipped: Option<(Interval, u64, SkipReason)>) {
        if let Some((interval, count, reason)) = skipped {
            self.emit(Event::IntervalsSkipped { pipeline: name.clone(), interval, count, reason, at: self.now.now });
        }
    }

    /// False where the cluster has no room for it now.
    fn start_due(&mut self, name: &PipelineName, plan: &Plan, interval: Interval, overlap: Overlap) -> bool {
        let no = RunNo(self.state.last_run.0 + 1);
        let submit = Submit {
            run: super::minted_id(name.name(), &interval.date(&plan.zone), no),
            pipeline: name.clone(),
            version: None,
            params: serde_json::Map::new(),
            interval: Some(interval),
            trigger: TriggerKind::Schedule,
            by: Self::schedule().as_str().into(),
            source: "".into(),
            only: Vec::new(),
            parent: None,
            cause: Some(Cause::Schedule),
            digest: 0,
        };
        if overlap == Overlap::CancelRunning {
            for no in self.scheduled(name).collect::<Vec<_>>() {
                if self.state.runs.get(&no).is_some_and(|run| run.record.cancel.is_none()) {
                    let audit = self.audit("cancel", "", "penstock", &format!("the next run of the schedule is due: {}", submit.run));
                    self.stop_run(no, Reason::Overlap, false, audit);
                }
            }
        }
        match self.submit(submit) {
            Ok(_) => true,
            Err(Rejection::Overloaded { .. }) => false,
            Err(_) => {
                self.skip(name, Some((interval, 1, SkipReason::Refused)));
                true
            }
        }
    }

    /// Sets the time at which the next interval falls due.
    pub(crate) fn await_next(&mut self, name: &PipelineName) {
        self.term.await_fire(self.state, name);
    }

    /// The name under which a schedule can be paused.
    pub(crate) fn schedule() -> TriggerName {
        TriggerName::parse("schedule").unwrap_or_else(|_| unreachable!("a constant name"))
    }

    /// A definition came: where its schedule begins, if it did not have one before, or does not have one any more.
    pub(crate) fn begin_schedule(&mut self, name: &PipelineName, plan: &Plan, is_new: bool) {
        let watermark = self.state.pipelines.get(name).and_then(|v| v.timetable.watermark);
        let to = match (&plan.pipeline.schedule, watermark) {
            (None, None) => return self.await_next(name),
            (None, Some(_)) => None,
            (Some(schedule), Some(at)) if !is_new => match begin(schedule) {
                Some(begin) if begin > at => Some(begin),
                _ => return self.await_next(name),
            },
            // What ran once is not run again because the pipeline came back.
            (Some(schedule), at) => begin(schedule).or_else(|| self.in_progress(schedule)).max(at).max(self.known_until(name)),
        };
        let audit = self.audit("register", "schedule", "penstock", "");
        self.emit(Event::ScheduleMoved { pipeline: name.clone(), to, audit });
        self.await_next(name);
    }

    /// The end of what the ledger knows of, as far as it is past.
    fn known_until(&self, name: &PipelineName) -> Option<Timestamp> {
        let end = self.state.pipelines.get(name)?.timetable.ledger.end()?;
        Some(end.min(self.now.wall))
    }

    /// Where the interval began that is in progress now.
    fn in_progress(&self, schedule: &ScheduleSpec) -> Option<Timestamp> {
        let wall = self.now.wall;
        Some(schedule.times.interval_at(wall).map_or(wall, |interval| interval.start()))
    }

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
        let has = if trigger == Self::schedule() { plan.pipeline.schedule.is_some() } else { plan.trigger(&trigger).is_some() };
        if !has {
            return Err(Rejection::Refused(format!(
                "pipeline {name} has no trigger {trigger}: see what it has with penstock triggers {name}"
            )));
        }
        let is_paused = self.state.pipelines.get(&name).is_some_and(|v| v.timetable.paused.contains_key(&trigger));
        if is_paused == paused {
            return Ok(Answer::Changed(false));
        }
        let audit: Audit = self.audit(if paused { "pause" } else { "resume" }, trigger.as_str(), by, note);
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
            None => {
                let why = format!("pipeline {name} has no trigger {trigger}: see what it has with penstock triggers {name}");
                return Err(Rejection::Refused(why));
            }
        }
        if self.state.pipelines.get(&name).and_then(|v| v.timetable.tokens.get(&trigger)) == digest.as_ref() {
            return Ok(Answer::Changed(false));
        }
        let audit = self.audit(if digest.is_some() { "token" } else { "no token" }, trigger.as_str(), by, note);
        self.emit(Event::TriggerTokenSet { pipeline: name, trigger, digest, audit });
        Ok(Answer::Changed(true))
    }

    /// The plan that new runs of a pipeline get; none where it was taken off.
    pub(crate) fn newest(&self, name: &PipelineName) -> Option<&std::sync::Arc<Plan>> {
        self.state.newest(name)
    }
}

/// Two intervals that touch.
fn joined(first: Interval, second: Interval) -> Interval {
    Interval::new(first.start(), second.end()).unwrap_or(first)
}
