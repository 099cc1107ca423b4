//! What has become possible: timers, skips, ends, starts, leases; as much as one input may yield. What is left over is done at
//! the next tick, which `next_deadline` then asks for at once.

use std::collections::{BTreeMap, BTreeSet};

use penstock_common::limits::{
    ARCHIVED_ID_WINDOW_MS, KEEP_UNSUCCESSFUL_MS, KEEP_UNSUCCESSFUL_RUNS, MAX_LEASE_OUTPUT_BYTES, REQUEST_WINDOW_MS,
};
use penstock_common::metrics::Outputs;
use penstock_common::pipeline::Action;
use penstock_common::record::Audit;
use penstock_common::{Event, Fence, Reason, RunNo, State, Timestamp};

use super::children::Stop;
use super::{Deciding, lease_of, ranges};
use crate::cut::RunCut;
use crate::input::Effect;
use crate::lanes::{Candidate, Match, Next, Wants};
use crate::machine::rule::Verdict;
use crate::machine::run::Run;
use crate::state::{Source, backfill_of, is_of_backfill};
use crate::term::{Held, candidate, gates_are_open, overdue_at, sensor_waits_until};
use crate::timers::Timer;

/// Skipped tasks one event names at most, so that an event stays small.
const SKIPS_PER_EVENT: usize = 4_096;

impl Deciding<'_> {
    pub(crate) fn advance(&mut self) {
        self.lose_gone();
        self.fire_timers();
        self.fire_timetables();
        self.start_gathered();
        self.stop_children();
        loop {
            self.settle();
            self.lease_ready();
            if !self.give_up() {
                return;
            }
        }
    }

    fn settle(&mut self) {
        loop {
            self.settle_tasks();
            self.end_runs();
            self.handle_inbox();
            self.advance_backfills();
            self.start_runs();
            if self.room() == 0 || !self.term.has_to_settle() {
                return;
            }
        }
    }

    /// What follows from tasks that ended or may start: skips open and open skips, until neither does.
    fn settle_tasks(&mut self) {
        loop {
            self.skip_doomed();
            self.open_tasks();
            self.term.open_gates(self.state);
            self.act();
            if self.room() == 0 || !self.term.has_to_settle_tasks() {
                return;
            }
        }
    }

    fn fire_timers(&mut self) {
        while self.room() > 0 {
            let Some(timer) = self.term.timers.pop(self.term.now) else { return };
            self.time_has_come(timer);
        }
    }

    fn time_has_come(&mut self, timer: Timer) {
        match timer {
            Timer::Due(no, task) => {
                let due = !matches!(candidate(self.state, self.term.now, no, task), Candidate::Stale);
                if let Some(run) = self.state.runs.get(&no).filter(|_| due) {
                    self.term.make_ready(run, no, task);
                }
            }
            Timer::WaitedOut(no, task) => self.waited_out(no, task),
            Timer::QueueTimeout(no, task) => {
                let waits = matches!(candidate(self.state, self.term.now, no, task), Candidate::Ready { .. });
                if waits {
                    self.end_task(no, task, State::Failed, Some(Reason::QueueTimeout), "");
                }
            }
            Timer::RunTimeout(no) => self.time_out(no),
            Timer::Overdue(fence) => self.overdue(fence),
            Timer::Housekeeping => self.housekeep(),
            Timer::RoomAgain => {
                self.term.held = Held::default();
                self.term.is_happening = !self.state.inbox.waiting.is_empty();
                self.term.backfilling = self.state.open_backfills();
            }
        }
    }

    /// A sensor that has waited too long looks once more if there is a slot for it; if not it ends. Whether one did.
    fn give_up(&mut self) -> bool {
        let mut any = false;
        while self.room() > 0 && !self.term.matching {
            let Some((no, task)) = self.term.waited_out.pop_first() else { break };
            let Some(run) = self.state.runs.get(&no).filter(|run| run.is_open()) else { continue };
            let Action::Wait(wait) = &run.spec(task).action else { continue };
            let over = sensor_waits_until(run, task).is_some_and(|end| end <= self.term.now);
            let Some(timeout) = wait.timeout.filter(|_| over) else { continue };
            let saw = run.task(task).attempts.last().map(|a| a.detail.clone()).unwrap_or_default();
            self.term.withdraw(run, no, task);
            let detail = format!("not so after {timeout} of waiting, and there is no slot for another probe: {saw}");
            match wait.skip_on_timeout {
                true => self.end_task(no, task, State::Skipped, Some(Reason::Task), &detail),
                false => self.fail_own(no, task, Reason::Timeout, &detail),
            }
            any = true;
        }
        any
    }

    /// A person, another run or what a sensor looks for was waited for too long.
    fn waited_out(&mut self, no: RunNo, task: u32) {
        let Some(run) = self.state.runs.get(&no) else { return };
        if matches!(run.spec(task).action, Action::Wait(_)) {
            self.term.waited_out.insert((no, task));
            return;
        }
        let Some(timeout) = run.spec(task).timeout.filter(|_| run.task(task).waits()) else { return };
        let detail = format!("waited longer than its timeout of {timeout}");
        match (self.state.live_child(run, task), run.task(task).child()) {
            (Some(child), _) => {
                self.stop_child(no, task, child, Stop { reason: Reason::Timeout, now: false, by: "penstock", why: &detail })
            }
            (None, Some(_)) => self.fail_own(no, task, Reason::Timeout, &detail),
            // A person is not asked again.
            (None, None) => self.end_task(no, task, State::Failed, Some(Reason::Timeout), &detail),
        }
    }

    fn time_out(&mut self, no: RunNo) {
        let Some(run) = self.state.runs.get(&no) else { return };
        let record = &run.record;
        if record.state != State::Running || record.cancel.is_some() {
            return;
        }
        let note = format!("longer than run_timeout {}", record.run_timeout.unwrap_or_default());
        let audit = self.audit("run_timeout", "", "penstock", &note);
        self.stop_run(no, Reason::RunTimeout, false, audit);
    }

    /// Stops what runs and cancels what does not; teardowns too if it must be `now`, or where nothing has been set up yet. The runs that
    /// it started follow in [`Self::stop_children`].
    pub(crate) fn stop_run(&mut self, no: RunNo, reason: Reason, now: bool, audit: Audit) {
        let Some(record) = self.state.runs.get(&no).map(|run| &run.record) else { return };
        let (reason, teardowns) = (record.cancel.unwrap_or(reason), now || record.state == State::Pending);
        self.emit(Event::CancelRequested { run: no, reason, audit });
        self.emit(Event::TasksCancelled { run: no, reason, teardowns, at: self.now.now });
        self.term.stop_children(self.state, no);
        let Some(run) = self.state.runs.get(&no) else { return };
        let of_run = self.state.leases.iter().filter(|(_, h)| h.run == no && (now || !run.spec(h.task).teardown));
        let running: Vec<_> = of_run.map(|(f, h)| (*f, h.session.clone())).collect();
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
        self.term.lanes.prune();
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
            let Some(run) = self.state.runs.get(&no).filter(|run| run.is_open()) else {
                self.term.doomed.remove(&no);
                continue;
            };
            let (mut failed, mut others) = (BTreeSet::new(), BTreeMap::<Reason, BTreeSet<u32>>::new());
            for _ in 0..SKIPS_PER_EVENT {
                let Some(task) = self.term.doomed.get_mut(&no).and_then(BTreeSet::pop_first) else {
                    self.term.doomed.remove(&no);
                    break;
                };
                match run.verdict_of(task) {
                    _ if run.task(task).state != State::Pending || run.is_gone(task) => {}
                    Verdict::Skip(Reason::UpstreamFailed) => doom(run, task, &mut failed),
                    Verdict::Skip(reason) => drop(others.entry(reason).or_default().insert(task)),
                    Verdict::Wait | Verdict::Ready => {}
                }
            }
            others.insert(Reason::UpstreamFailed, failed);
            for (reason, tasks) in others {
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
            if run.record.quarantined.is_some() {
                // No event of its own ended it.
                self.tell_parent(no);
                continue;
            }
            if run.record.state.is_terminal() || run.open_tasks() > 0 {
                continue;
            }
            let (state, reason) = run.verdict();
            self.emit(Event::RunEnded { run: no, state, reason, at: self.now.now });
            self.wake(no);
            // In the same entry: so nobody ever finds a task that waits for a run that has ended.
            self.tell_parent(no);
            if state == State::Success {
                self.archive(no);
            } else {
                self.archive_kept();
            }
        }
    }

    /// What waits for a run that ended: its backfill, and what is below its pipeline.
    fn wake(&mut self, no: RunNo) {
        let Some(run) = self.state.runs.get(&no) else { return };
        if let Some(id) = backfill_of(&run.record) {
            self.term.backfilling.insert(id);
        }
        if let Some(below) = self.state.listeners.get(&Source::Pipeline(run.record.pipeline.clone())) {
            self.term.starting.extend(below.iter().map(|(name, _)| name.clone()));
        }
    }

    fn start_runs(&mut self) {
        while self.room() > 0 {
            let Some(name) = self.term.starting.pop_first() else { return };
            let Some(versions) = self.state.pipelines.get(&name) else { continue };
            let newest = versions.by_number.last_key_value().and_then(|(_, (digest, _))| self.state.definitions.get(digest));
            let limit = newest.and_then(|plan| plan.pipeline.max_active_runs).map_or(usize::MAX, |n| n as usize);
            let room = limit.saturating_sub(versions.active.len());
            if room == 0 || versions.paused.is_some() {
                continue;
            }
            let waits = |no: &&RunNo| {
                let is_asking = matches!(self.term.recalls.get(*no), Some(None));
                self.state.runs.get(*no).is_some_and(|run| !is_asking && !run.record.paused && self.state.behind(run).is_none())
            };
            let yields = |no: &RunNo| self.state.runs.get(no).is_some_and(|run| is_of_backfill(&run.record));
            let first = |of_backfill: bool| versions.queued.iter().filter(|no| yields(no) == of_backfill).find(waits).copied();
            // Backfills take what nothing else wants.
            if let Some(no) = first(false).or_else(|| first(true)) {
                if self.has_recalled(no) {
                    self.emit(Event::RunStarted { run: no, at: self.now.now });
                }
                self.term.starting.insert(name);
            }
        }
    }

    fn lease_ready(&mut self) {
        self.term.matching = true;
        while self.room() > 0 {
            let (state, now) = (&*self.state, self.term.now);
            let look = |run, task| match candidate(state, now, run, task) {
                Candidate::Ready { .. } if !gates_are_open(state, run, task) => Candidate::HeldBack,
                other => other,
            };
            let share = |wants: &Wants, pool_slots, slots| state.has_share(wants, pool_slots, slots);
            let next = self.term.lanes.next(look, |pool| state.pool_free(pool), share);
            match next {
                Some(Next::Lease(found)) => self.lease(found),
                Some(Next::Stale(no, task)) => {
                    if let Some(run) = self.state.runs.get(&no) {
                        self.term.left(run, no, task);
                    }
                }
                Some(Next::HeldBack(no, task)) => {
                    if let Some(run) = self.state.runs.get(&no) {
                        self.term.hold_back(self.state, run, no, task);
                    }
                }
                Some(Next::TooWide(no, task)) => {
                    if let Some(run) = self.state.runs.get(&no) {
                        self.term.too_wide(run, no, task);
                    }
                }
                None => {
                    self.term.matching = false;
                    return;
                }
            }
            self.term.open_gates(self.state);
        }
    }

    fn lease(&mut self, Match { run: no, task, session }: Match) {
        let Some(worker) = self.term.lanes.offers(&session).map(|o| o.worker.clone()) else { return };
        let Some(run) = self.state.runs.get(&no) else { return };
        self.term.left(run, no, task);
        let last = run.task(task).attempts.last().map_or(0, |a| a.number);
        let number = if run.task(task).waits() { last } else { last + 1 };
        let fence = Fence(self.state.last_fence.0 + 1);
        let lease = Box::new(lease_of(self.state, run, task, number, fence, self.now.now));
        let previous = lease.previous.iter().flat_map(|previous| previous.outputs.values());
        if lease.outputs.values().chain(previous).map(Outputs::bytes).sum::<usize>() > MAX_LEASE_OUTPUT_BYTES {
            let detail = format!("its templates name more than {MAX_LEASE_OUTPUT_BYTES} bytes of outputs: pass references, not data");
            // A sensor that waits has an attempt, which ends with it.
            return self.end_task(no, task, State::Failed, Some(Reason::OutputTooLarge), &detail);
        }
        self.emit(Event::AttemptLeased { run: no, task, number, fence, worker, session: session.clone(), at: self.now.now });
        if let Some(at) = overdue_at(&lease.spec, self.now.now) {
            self.term.timers.set(Timer::Overdue(fence), at);
        }
        self.effect(Effect::Lease { session, lease });
    }
}

/// A task that an upstream's failure makes impossible, and with it all below that it makes impossible too: one event for the whole
/// cone. What a full event leaves out is touched by it, and so is doomed again.
fn doom(run: &Run, task: u32, failed: &mut BTreeSet<u32>) {
    let mut stack = vec![task];
    while let Some(task) = stack.pop() {
        let waits = run.task(task).state == State::Pending && !run.is_expanded(task);
        if failed.len() < SKIPS_PER_EVENT && waits && failed.insert(task) && run.instance(task).is_none() {
            let broken = run.plan.task(task).downstream.iter().filter(|edge| {
                let chosen_among = run.task(edge.task).upstream.is_chosen_among();
                let impossible = edge.accepts.is_broken_by_failure() && run.plan.task(edge.task).needs.is_all() && !chosen_among;
                impossible && !run.is_expanded(edge.task)
            });
            stack.extend(broken.map(|edge| edge.task));
        }
    }
}
