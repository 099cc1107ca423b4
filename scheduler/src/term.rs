//! Term: what only the present leader knows. Attached workers, ready tasks, timers. Empty at takeover and built from state;
//! `decide` reads it, `apply` cannot see it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use penstock_common::pipeline::Task;
use penstock_common::{Fence, Millis, Now, PipelineName, RunNo, SessionId, State as Word, Timestamp, WorkerName};

use crate::lanes::{Candidate, Lanes, Wants};
use crate::machine::run::Run;
use crate::machine::task::Verdict;
use crate::state::{State, Touched};

/// The leader's indexes over state.
#[derive(Debug, Default)]
pub(crate) struct Term {
    pub(crate) now: Timestamp,
    pub(crate) lanes: Lanes,
    pub(crate) timers: BTreeSet<(Timestamp, Timer)>,
    /// Tasks whose rule can no longer be satisfied.
    pub(crate) doomed: BTreeMap<RunNo, BTreeSet<u32>>,
    /// Runs that may have no open task left.
    pub(crate) ending: BTreeSet<RunNo>,
    /// Pipelines that may start a queued run.
    pub(crate) starting: BTreeSet<PipelineName>,
    /// Sessions that are over and whose attempts are being lost, with whether their process died.
    pub(crate) gone: VecDeque<(SessionId, bool, Arc<str>)>,
    /// Ended runs that stay live for reruns, by their end.
    pub(crate) kept: BTreeSet<(Timestamp, RunNo)>,
    /// Runs whose history is being written.
    pub(crate) archiving: BTreeSet<RunNo>,
}

/// What a time that comes makes possible.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A task in RETRY may start.
    Retry(RunNo, u32),
    /// A ready task has waited too long for a slot: one wait of it, named by the generation and the attempts before it.
    QueueTimeout { run: RunNo, task: u32, generation: u32, attempts: usize },
    /// A run's generation has taken too long.
    RunTimeout(RunNo, u32),
    /// The worker should have ended this attempt long ago.
    Overdue(Fence),
    /// Answers and kept runs are looked at for their age.
    Housekeeping,
}

const HOUSEKEEPING: Millis = Millis(60_000);

impl Term {
    /// Indexes a state.
    pub(crate) fn of(state: &State, now: Now) -> Self {
        let mut term = Self { now: now.now, ..Self::default() };
        for (&no, run) in &state.runs {
            term.index_run(state, no, run);
        }
        term.starting = state.pipelines.keys().cloned().collect();
        term.housekeep_next();
        term
    }

    fn index_run(&mut self, state: &State, no: RunNo, run: &Run) {
        self.touch_run(state, no);
        if run.is_active() {
            for task in 0..run.record.tasks {
                self.touch_task(state, no, task);
            }
        }
    }

    pub(crate) fn housekeep_next(&mut self) {
        self.timers.insert((self.now.after(HOUSEKEEPING), Timer::Housekeeping));
    }

    /// Looks again at what an event touched.
    pub(crate) fn absorb(&mut self, state: &State, touched: &mut Vec<Touched>) {
        for touched in touched.drain(..) {
            match touched {
                Touched::Task(run, task) => self.touch_task(state, run, task),
                Touched::Run(run) => self.touch_run(state, run),
            }
        }
    }

    fn touch_run(&mut self, state: &State, no: RunNo) {
        let Some(run) = state.runs.get(&no) else { return };
        if !run.is_active() {
            self.lanes.forget(no);
        }
        match run.record.state {
            Word::Pending => {
                self.starting.insert(run.record.pipeline.clone());
                if run.record.cancel.is_some() {
                    self.ending.insert(no);
                }
            }
            Word::Running => {
                if run.open_tasks() == 0 {
                    self.ending.insert(no);
                }
                if let Some(timeout) = run.record.run_timeout.filter(|_| run.record.cancel.is_none()) {
                    self.timers.insert((run.record.generation_at.after(timeout), Timer::RunTimeout(no, run.record.generation)));
                }
            }
            _ => {
                self.starting.insert(run.record.pipeline.clone());
                // A SUCCESS is archived at once and takes no place among these.
                if run.record.state != Word::Success {
                    self.kept.insert((run.record.ended_at.unwrap_or_default(), no));
                }
            }
        }
    }

    fn touch_task(&mut self, state: &State, no: RunNo, index: u32) {
        let Some(run) = state.runs.get(&no).filter(|run| run.is_active()) else { return };
        let task = run.task(index);
        match task.state {
            Word::Pending => match task.upstream.verdict() {
                Verdict::Wait => {}
                Verdict::Ready => self.make_ready(run, no, index),
                Verdict::Skip(_) => {
                    self.doomed.entry(no).or_default().insert(index);
                }
            },
            Word::Retry => match task.not_before {
                Some(at) if at > self.now => {
                    self.timers.insert((at, Timer::Retry(no, index)));
                }
                _ => self.make_ready(run, no, index),
            },
            Word::Running => {
                if let Some(live) = task.live()
                    && let Some(at) = overdue_at(&run.plan.task(index).spec, live.leased_at)
                {
                    self.timers.insert((at, Timer::Overdue(live.fence)));
                }
            }
            _ => {}
        }
    }

    /// A task waits for a slot from now on.
    pub(crate) fn make_ready(&mut self, run: &Run, no: RunNo, index: u32) {
        let spec = &run.plan.task(index).spec;
        let wants = Wants { queue: spec.queue.clone(), labels: spec.labels.clone() };
        self.lanes.push(&wants, spec.priority, no, index);
        if let Some(timeout) = spec.queue_timeout {
            let (generation, attempts) = (run.record.generation, run.task(index).attempts.len());
            self.timers.insert((self.now.after(timeout), Timer::QueueTimeout { run: no, task: index, generation, attempts }));
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let backlog = !self.doomed.is_empty()
            || !self.ending.is_empty()
            || !self.starting.is_empty()
            || !self.gone.is_empty()
            || self.lanes.can_match();
        if backlog { Some(Timestamp(0)) } else { self.timers.first().map(|(at, _)| *at) }
    }
}

const OVERDUE_SLACK: Millis = Millis(30_000);

/// The worker's own clock ends an attempt; the leader steps in only when it should long have done so.
pub(crate) fn overdue_at(spec: &Task, leased_at: Timestamp) -> Option<Timestamp> {
    spec.timeout.map(|timeout| leased_at.after(timeout).after(spec.grace).after(OVERDUE_SLACK))
}

/// Whether a queued task is to be leased now.
pub(crate) fn candidate(state: &State, now: Timestamp, no: RunNo, index: u32) -> Candidate {
    let Some(run) = state.runs.get(&no).filter(|run| run.is_active()) else { return Candidate::Stale };
    let task = run.task(index);
    let ready = match task.state {
        Word::Pending => task.upstream.verdict() == Verdict::Ready,
        Word::Retry => task.not_before.is_none_or(|at| at <= now),
        _ => false,
    };
    if !ready {
        return Candidate::Stale;
    }
    let lost_by = task.attempts.last().filter(|a| a.reason == Some(penstock_common::Reason::Lost) && task.state == Word::Retry);
    Candidate::Ready { avoid: lost_by.map(|a| -> WorkerName { a.worker.clone() }) }
}
