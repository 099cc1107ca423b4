//! What has become possible: timers, skips, ends, starts, leases; as much as one input may yield. What is left over is done at
//! the next tick, which `next_deadline` then asks for at once.

use std::collections::BTreeSet;

use penstock_common::limits::{
    ARCHIVED_ID_WINDOW_MS, KEEP_UNSUCCESSFUL_MS, KEEP_UNSUCCESSFUL_RUNS, MAX_LEASE_OUTPUT_BYTES, REQUEST_WINDOW_MS,
};
use penstock_common::metrics::Outputs;
use penstock_common::{Event, Fence, Reason, RunNo, State, Timestamp};

use super::{Deciding, lease_of, ranges};
use crate::cut::RunCut;
use crate::input::Effect;
use crate::lanes::{Candidate, Match};
use crate::machine::run::Run;
use crate::machine::task::Verdict;
use crate::term::{Timer, candidate, overdue_at};

/// Skipped tasks one event names at most, so that an event stays small.
const SKIPS_PER_EVENT: usize = 4_096;

impl Deciding<'_> {
    pub(crate) fn advance(&mut self) {
        self.lose_gone();
        self.fire_timers();
        self.skip_doomed();
        self.end_runs();
        self.start_runs();
        self.lease_ready();
    }

    fn fire_timers(&mut self) {
        while self.room() > 0 {
            let Some((at, _)) = self.term.timers.first() else { return };
            if *at > self.term.now {
                return;
            }
            let Some((_, timer)) = self.term.timers.pop_first() else { return };
            self.fire(timer);
        }
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Retry(no, task) => {
                let due =
                    |run: &&Run| run.is_active() && run.task(task).state == State::Retry && run.task(task).not_before <= Some(self.now.now);
                if let Some(run) = self.state.runs.get(&no).filter(due) {
                    self.term.make_ready(run, no, task);
                }
            }
            Timer::QueueTimeout { run: no, task, generation, attempts } => {
                let same_wait = |run: &Run| run.record.generation == generation && run.task(task).attempts.len() == attempts;
                let waits = matches!(candidate(self.state, self.term.now, no, task), Candidate::Ready { .. });
                if waits && self.state.runs.get(&no).is_some_and(same_wait) {
                    self.emit(Event::TaskFailed { run: no, task, reason: Reason::QueueTimeout, at: self.now.now });
                }
            }
            Timer::RunTimeout(no, generation) => self.time_out(no, generation),
            Timer::Overdue(fence) => self.overdue(fence),
            Timer::Housekeeping => self.housekeep(),
        }
    }

    fn time_out(&mut self, no: RunNo, generation: u32) {
        let Some(run) = self.state.runs.get(&no) else { return };
        let record = &run.record;
        if record.state != State::Running || record.generation != generation || record.cancel.is_some() {
            return;
        }
        let note = format!("longer than run_timeout {}", record.run_timeout.unwrap_or_default());
        self.stop_run(no, Reason::RunTimeout, "penstock".into(), note.into());
    }

    /// Stops what runs, cancels what does not.
    pub(crate) fn stop_run(&mut self, no: RunNo, reason: Reason, by: std::sync::Arc<str>, note: std::sync::Arc<str>) {
        self.emit(Event::CancelRequested { run: no, reason, by, note, at: self.now.now });
        self.emit(Event::TasksCancelled { run: no, reason, at: self.now.now });
        let running: Vec<_> = self.state.leases.iter().filter(|(_, h)| h.run == no).map(|(f, h)| (*f, h.session.clone())).collect();
        for (fence, session) in running {
            self.effect(Effect::Cancel { session, fence, reason });
        }
    }

    fn overdue(&mut self, fence: Fence) {
        let Some(holder) = self.state.leases.get(&fence).cloned() else { return };
        self.effect(Effect::Kill { session: holder.session, fence });
        let detail = "its worker did not end it at its timeout, so the leader did";
        self.end_attempt(holder.run, holder.task, fence, super::report::failed(Reason::Timeout, detail, self.now));
    }

    fn housekeep(&mut self) {
        self.term.housekeep_next();
        let now = self.now.now;
        let ago = |ms: u64| Timestamp(now.0.saturating_sub_unsigned(ms));
        let before = ago(REQUEST_WINDOW_MS);
        let archived_before = ago(ARCHIVED_ID_WINDOW_MS);
        let old = self.state.answers.values().any(|a| a.at < before) || self.state.archived.values().any(|at| *at < archived_before);
        if old {
            self.emit(Event::AnswersForgotten { before, archived_before });
        }
        self.archive_kept();
    }

    /// Ended runs that did not succeed stay live for a rerun; the oldest go when they are too many or too old.
    fn archive_kept(&mut self) {
        let horizon = Timestamp(self.now.now.0.saturating_sub_unsigned(KEEP_UNSUCCESSFUL_MS));
        while let Some(&(ended, no)) = self.term.kept.first() {
            let ended_for_good =
                self.state.runs.get(&no).is_some_and(|run| run.record.ended_at == Some(ended) && run.record.state.is_terminal());
            if ended_for_good && ended >= horizon && self.term.kept.len() <= KEEP_UNSUCCESSFUL_RUNS {
                return;
            }
            self.term.kept.pop_first();
            if ended_for_good {
                self.archive(no);
            }
        }
    }

    fn archive(&mut self, no: RunNo) {
        let Some(run) = self.state.runs.get(&no) else { return };
        if self.term.archiving.insert(no) {
            let cut = RunCut::of(run);
            self.effect(Effect::Archive(Box::new(cut)));
        }
    }

    fn skip_doomed(&mut self) {
        while self.room() > 0 {
            let Some((&no, _)) = self.term.doomed.first_key_value() else { return };
            let Some(run) = self.state.runs.get(&no).filter(|run| run.is_active()) else {
                self.term.doomed.remove(&no);
                continue;
            };
            let (mut failed, mut skipped) = (BTreeSet::new(), BTreeSet::new());
            while failed.len() + skipped.len() < SKIPS_PER_EVENT {
                let Some(task) = self.term.doomed.get_mut(&no).and_then(BTreeSet::pop_first) else {
                    self.term.doomed.remove(&no);
                    break;
                };
                match run.task(task).upstream.verdict() {
                    _ if run.task(task).state != State::Pending => {}
                    Verdict::Skip(Reason::UpstreamFailed) => doom(run, task, &mut failed),
                    Verdict::Skip(_) => {
                        skipped.insert(task);
                    }
                    Verdict::Wait | Verdict::Ready => {}
                }
            }
            for (reason, tasks) in [(Reason::UpstreamFailed, failed), (Reason::UpstreamSkipped, skipped)] {
                if !tasks.is_empty() {
                    self.emit(Event::TasksSkipped { run: no, ranges: ranges(tasks), reason, at: self.now.now });
                }
            }
        }
    }

    fn end_runs(&mut self) {
        while self.room() > 0 {
            let Some(no) = self.term.ending.pop_first() else { return };
            let Some(run) = self.state.runs.get(&no) else { continue };
            if run.record.state.is_terminal() || run.open_tasks() > 0 || run.record.quarantined.is_some() {
                continue;
            }
            let (state, reason) = run.verdict();
            self.emit(Event::RunEnded { run: no, state, reason, at: self.now.now });
            if state == State::Success {
                self.archive(no);
            } else {
                self.archive_kept();
            }
        }
    }

    fn start_runs(&mut self) {
        while self.room() > 0 {
            let Some(name) = self.term.starting.pop_first() else { return };
            let Some(versions) = self.state.pipelines.get(&name) else { continue };
            let newest = versions.by_number.last_key_value().and_then(|(_, (digest, _))| self.state.definitions.get(digest));
            let limit = newest.and_then(|plan| plan.pipeline.max_active_runs).map_or(usize::MAX, |n| n as usize);
            let room = limit.saturating_sub(versions.active.len());
            let next = versions.queued.first().copied().filter(|_| room > 0);
            if let Some(no) = next {
                self.emit(Event::RunStarted { run: no, at: self.now.now });
                self.term.starting.insert(name);
            }
        }
    }

    fn lease_ready(&mut self) {
        while self.room() > 0 {
            let (state, now) = (&*self.state, self.term.now);
            let Some(Match { run: no, task, session }) = self.term.lanes.next(|run, task| candidate(state, now, run, task)) else { return };
            let Some(worker) = self.term.lanes.offers(&session).map(|o| o.worker.clone()) else { continue };
            let Some(run) = self.state.runs.get(&no) else { continue };
            let number = run.task(task).attempts.last().map_or(1, |a| a.number + 1);
            let fence = Fence(self.state.last_fence.0 + 1);
            let lease = Box::new(lease_of(run, task, number, fence));
            if lease.outputs.values().map(Outputs::bytes).sum::<usize>() > MAX_LEASE_OUTPUT_BYTES {
                self.emit(Event::TaskFailed { run: no, task, reason: Reason::OutputTooLarge, at: self.now.now });
                continue;
            }
            self.emit(Event::AttemptLeased { run: no, task, number, fence, worker, session: session.clone(), at: self.now.now });
            if let Some(at) = overdue_at(&lease.spec, self.now.now) {
                self.term.timers.insert((at, Timer::Overdue(fence)));
            }
            self.effect(Effect::Lease { session, lease });
        }
    }
}

/// A task that an upstream's failure makes impossible, and with it all below that still wait: one event for the whole cone. What
/// a full event leaves out is touched by it, and so is doomed again.
fn doom(run: &Run, task: u32, failed: &mut BTreeSet<u32>) {
    let mut stack = vec![task];
    while let Some(task) = stack.pop() {
        if failed.len() < SKIPS_PER_EVENT && run.task(task).state == State::Pending && failed.insert(task) {
            stack.extend(&run.plan.task(task).downstream);
        }
    }
}
