//! Timetables: what becomes of intervals that fall due. A run, its interval and where the next begins are one event, so an interval
//! has one run whoever leads.

use penstock_common::event::Cause;
use penstock_common::limits::MAX_INTERVALS_PER_INPUT;
use penstock_common::pipeline::{Catchup, Overlap, ScheduleSpec};
use penstock_common::record::{SkipReason, TriggerKind};
use penstock_common::{Event, Interval, Millis, PipelineName, Reason, RunId, RunNo, Timestamp};

use super::Deciding;
use crate::input::{Rejection, Submit};
use crate::intervals::{begin, due_at, intervals_from};
use crate::plan::Plan;

/// How long a timetable that could not go on waits before it looks again.
pub(super) const AGAIN: Millis = Millis(5_000);

/// Runs of one schedule that one input starts: what catches up goes on in turn with everything else.
const MAX_STARTED: usize = 256;

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
        let mut later = Vec::new();
        while self.now.may_fire && self.room() > 0 {
            let Some(name) = self.term.fires.pop(self.now.wall) else { break };
            if self.fire(&name) {
                later.push(name);
            }
        }
        later.iter().for_each(|name| self.await_next(name));
    }

    /// Whether it is to go on with the next input.
    fn fire(&mut self, name: &PipelineName) -> bool {
        let Some(plan) = self.newest(name).cloned() else { return false };
        let Some(schedule) = &plan.pipeline.schedule else { return false };
        let watermark = self.state.pipelines.get(name).and_then(|v| v.timetable.watermark);
        let Some(watermark) = watermark else {
            self.begin_schedule(name, &plan, true);
            return false;
        };
        let wall = self.now.wall;
        // What has fallen due and has neither a run nor a reason to have none, oldest first.
        let due = intervals_from(schedule, watermark).take_while(|interval| due_at(schedule, *interval) <= wall);
        let mut due = due.take(MAX_INTERVALS_PER_INPUT + 1).peekable();
        let mut skipped: Option<(Interval, u64, SkipReason)> = None;
        let mut started = 0;
        for _ in 0..MAX_INTERVALS_PER_INPUT {
            let Some(interval) = due.next().filter(|_| self.room() > 0 && started < MAX_STARTED) else { break };
            match self.fate(name, schedule, interval, due.peek().is_none()) {
                Fate::Skip(reason) => {
                    skipped = Some(match skipped.take() {
                        Some((range, count, same)) if same == reason => (joined(range, interval), count + 1, same),
                        other => {
                            self.skip(name, other);
                            (interval, 1, reason)
                        }
                    });
                }
                Fate::Run => {
                    self.skip(name, skipped.take());
                    if !self.start_due(name, &plan, interval, schedule.overlap) {
                        self.term.fires.set(name.clone(), wall.after(AGAIN));
                        return false;
                    }
                    started += 1;
                }
                Fate::Wait => {
                    self.skip(name, skipped.take());
                    self.term.fires.set(name.clone(), wall.after(AGAIN));
                    return false;
                }
            }
        }
        self.skip(name, skipped);
        if started == MAX_STARTED {
            return true;
        }
        self.await_next(name);
        false
    }

    fn fate(&self, name: &PipelineName, schedule: &ScheduleSpec, interval: Interval, is_newest: bool) -> Fate {
        let Some(versions) = self.state.pipelines.get(name) else { return Fate::Wait };
        if versions.is_paused_by(ScheduleSpec::TRIGGER) {
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
        let run = self.mint(name.name(), &interval.date(&plan.zone));
        let submit = Submit {
            interval: Some(interval),
            cause: Some(Cause::Schedule),
            ..Submit::of(run, name.clone(), TriggerKind::Schedule, ScheduleSpec::TRIGGER.into())
        };
        let (id, before) = (submit.run.clone(), self.scheduled(name).collect::<Vec<_>>());
        match self.submit(submit) {
            Ok(_) => {
                if overlap == Overlap::CancelRunning {
                    self.cancel_for(&id, &before);
                }
                true
            }
            Err(Rejection::Overloaded { .. }) => false,
            Err(_) => {
                self.skip(name, Some((interval, 1, SkipReason::Refused)));
                true
            }
        }
    }

    /// A run of the schedule came: those before it are cancelled, as many as one input may; the next run cancels the rest.
    fn cancel_for(&mut self, next: &RunId, before: &[RunNo]) {
        for no in before {
            if self.room() > 0 && self.state.runs.get(no).is_some_and(|run| run.record.cancel.is_none()) {
                let audit = self.audit("cancel", "", "penstock", &format!("the next run of the schedule is due: {next}"));
                self.stop_run(*no, Reason::Overlap, false, audit);
            }
        }
    }

    /// Sets the time at which the next interval falls due.
    pub(crate) fn await_next(&mut self, name: &PipelineName) {
        self.term.await_fire(self.state, name);
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
            // Which interval is in progress only a clock that is trusted says.
            (Some(schedule), None) if !self.now.may_fire && begin(schedule).is_none() => return self.await_next(name),
            // What ran once is not run again because the pipeline came back.
            (Some(schedule), at) => begin(schedule).or_else(|| self.in_progress(schedule)).max(at).max(self.known_until(name)),
        };
        let audit = self.audit("register", ScheduleSpec::TRIGGER, "penstock", "");
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

    /// The plan that new runs of a pipeline get; none where it was taken off.
    pub(crate) fn newest(&self, name: &PipelineName) -> Option<&std::sync::Arc<Plan>> {
        self.state.newest(name)
    }
}

/// Two intervals that touch.
fn joined(first: Interval, second: Interval) -> Interval {
    Interval::new(first.start(), second.end()).unwrap_or(first)
}
