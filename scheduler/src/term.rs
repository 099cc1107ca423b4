//! Term: what only the present leader knows. Attached workers, ready tasks, timers. Empty at takeover and built from state;
//! `decide` reads it, `apply` cannot see it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use penstock_common::pipeline::{Action, Task};
use penstock_common::{Fence, Millis, Now, PipelineName, Reason, RunNo, SessionId, State as Word, Timestamp, WorkerName};

use crate::gates::{Gate, Gates, Waiting};
use crate::lanes::{Candidate, Lanes, Wants};
use crate::machine::rule::Verdict;
use crate::machine::run::Run;
use crate::state::{State, Touched};

/// The leader's indexes over state.
#[derive(Debug, Default)]
pub(crate) struct Term {
    pub(crate) now: Timestamp,
    pub(crate) lanes: Lanes,
    pub(crate) gates: Gates,
    /// Tasks whose rule is satisfied and whose `if` is to be evaluated, or whose instances are to be made.
    pub(crate) opening: BTreeSet<(RunNo, u32)>,
    /// Tasks whose turn has come and that need no worker.
    pub(crate) acting: BTreeSet<(RunNo, u32)>,
    /// Something may be leased that could not be before.
    pub(crate) matching: bool,
    pub(crate) timers: BTreeSet<(Timestamp, Timer)>,
    /// When the leader steps in for each lease that has a timeout.
    pub(crate) overdue: BTreeMap<Fence, Timestamp>,
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
    /// A task in RETRY may start, or a sensor is probed again.
    Due(RunNo, u32),
    /// A sensor, a person or another run was waited for too long: one wait of the task, named by when it began.
    WaitedOut { run: RunNo, task: u32, since: Timestamp },
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
        if run.is_open() {
            (0..run.slots()).for_each(|task| self.touch_task(state, no, task));
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
                Touched::Everything(no) => {
                    self.forget(no);
                    if let Some(run) = state.runs.get(&no) {
                        self.index_run(state, no, run);
                    }
                }
            }
        }
    }

    fn touch_run(&mut self, state: &State, no: RunNo) {
        let Some(run) = state.runs.get(&no) else { return };
        if !run.is_open() || state.is_paused(run) {
            self.forget(no);
        }
        self.gates.look_at(&Gate::Run(no));
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

    /// A run starts nothing.
    fn forget(&mut self, no: RunNo) {
        self.lanes.forget(no);
        self.gates.forget(no);
        for set in [&mut self.opening, &mut self.acting] {
            let mut others = set.split_off(&(no, 0));
            set.append(&mut others.split_off(&(penstock_common::RunNo(no.0 + 1), 0)));
        }
    }

    fn touch_task(&mut self, state: &State, no: RunNo, index: u32) {
        let Some(run) = state.runs.get(&no).filter(|run| run.is_open()) else { return };
        let task = run.task(index);
        if let Some((node, _)) = run.instance(index) {
            self.gates.look_at(&Gate::Mapped(no, node));
        }
        if run.is_gone(index) {
            return;
        }
        match task.state {
            Word::Pending => match run.verdict_of(index) {
                Verdict::Wait => {}
                Verdict::Skip(_) => {
                    self.doomed.entry(no).or_default().insert(index);
                }
                Verdict::Ready if !state.may_start(run, index) => {}
                Verdict::Ready if opens(run, index) => {
                    self.opening.insert((no, index));
                }
                Verdict::Ready => self.make_ready(run, no, index),
            },
            Word::Retry => match task.not_before {
                Some(at) if at > self.now => {
                    self.timers.insert((at, Timer::Due(no, index)));
                }
                _ if state.may_start(run, index) => self.make_ready(run, no, index),
                _ => {}
            },
            Word::Running if task.reason == Some(Reason::Waiting) => self.touch_waiting(state, run, no, index),
            Word::Running => {
                if let Some(live) = task.live()
                    && let Some(at) = overdue_at(run.spec(index), live.leased_at)
                {
                    self.watch_over(live.fence, at);
                }
            }
            _ => {}
        }
    }

    fn touch_waiting(&mut self, state: &State, run: &Run, no: RunNo, index: u32) {
        let (task, spec) = (run.task(index), run.spec(index));
        match &spec.action {
            Action::Wait(_) => match task.not_before {
                Some(at) if at > self.now => {
                    self.timers.insert((at, Timer::Due(no, index)));
                }
                _ if state.may_start(run, index) => self.make_ready(run, no, index),
                _ => {}
            },
            _ => {
                if let Some(timeout) = spec.timeout {
                    let timer = Timer::WaitedOut { run: no, task: index, since: task.changed_at };
                    self.timers.insert((task.changed_at.after(timeout), timer));
                }
            }
        }
    }

    /// The leader ends an attempt at this time if its worker has not.
    pub(crate) fn watch_over(&mut self, fence: Fence, at: Timestamp) {
        if let Some(before) = self.overdue.insert(fence, at) {
            self.timers.remove(&(before, Timer::Overdue(fence)));
        }
        self.timers.insert((at, Timer::Overdue(fence)));
    }

    /// A lease is over: else timers of ended attempts would stay for as long as their timeouts.
    pub(crate) fn watched(&mut self, fence: Fence) {
        if let Some(at) = self.overdue.remove(&fence) {
            self.timers.remove(&(at, Timer::Overdue(fence)));
        }
    }

    /// A task may start: it waits for its turn from now on.
    pub(crate) fn make_ready(&mut self, run: &Run, no: RunNo, index: u32) {
        let spec = run.spec(index);
        let waiting = Waiting { wants: wants(spec), priority: spec.priority, run: no, task: index };
        match gates_of(run, no, index).first() {
            Some(gate) => self.gates.park(gate, waiting),
            None => self.enter(run, waiting),
        }
        if let Some(timeout) = spec.queue_timeout.filter(|_| !run.task(index).waits()) {
            let (generation, attempts) = (run.record.generation, run.task(index).attempts.len());
            self.timers.insert((self.now.after(timeout), Timer::QueueTimeout { run: no, task: index, generation, attempts }));
        }
    }

    /// Past all gates.
    fn enter(&mut self, run: &Run, waiting: Waiting) {
        self.matching = true;
        match waiting.wants {
            Some(wants) => self.lanes.push(&wants, waiting.priority, waiting.run, waiting.task, run.spec(waiting.task).pool_slots),
            None => {
                self.acting.insert((waiting.run, waiting.task));
            }
        }
    }

    /// What gates that are open now let through.
    pub(crate) fn open_gates(&mut self, state: &State) {
        while self.gates.is_to_look() {
            for (gate, waiting) in self.gates.offers(|gate| is_open(state, gate)) {
                let (no, task) = (waiting.run, waiting.task);
                let Some(run) = state.runs.get(&no).filter(|_| !matches!(candidate(state, self.now, no, task), Candidate::Stale)) else {
                    self.gates.left(&gate, no, task);
                    continue;
                };
                let gates = gates_of(run, no, task);
                match gates.iter().skip_while(|g| **g != gate).nth(1) {
                    Some(next) => self.gates.park(next, waiting),
                    None => self.enter(run, waiting),
                }
            }
        }
    }

    /// A task was started or is no longer to be: the gates it came through may offer another.
    pub(crate) fn left(&mut self, run: &Run, no: RunNo, index: u32) {
        for gate in gates_of(run, no, index) {
            self.gates.left(&gate, no, index);
        }
    }

    /// A task wants more slots than its pool has.
    pub(crate) fn too_wide(&mut self, run: &Run, no: RunNo, index: u32) {
        let spec = run.spec(index);
        if let Some(pool) = &spec.pool {
            let waiting = Waiting { wants: wants(spec), priority: spec.priority, run: no, task: index };
            self.gates.park(&Gate::Pool(pool.clone()), waiting);
        }
    }

    /// A pool has other slots now.
    pub(crate) fn pool_changed(&mut self, state: &State, pool: &penstock_common::PoolName) {
        for waiting in self.gates.release(&Gate::Pool(pool.clone())) {
            if let Some(run) = state.runs.get(&waiting.run) {
                self.enter(run, waiting);
            }
        }
        self.matching = true;
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let backlog = !self.doomed.is_empty()
            || !self.opening.is_empty()
            || !self.acting.is_empty()
            || !self.ending.is_empty()
            || !self.starting.is_empty()
            || !self.gone.is_empty()
            || self.gates.is_to_look()
            || self.matching;
        if backlog { Some(Timestamp(0)) } else { self.timers.first().map(|(at, _)| *at) }
    }
}

/// Whether something is to be decided before the task itself starts: its `if`, or what its instances are.
fn opens(run: &Run, index: u32) -> bool {
    let planned = run.planned(index);
    let mapped = planned.spec.for_each.is_some() && run.instance(index).is_none();
    mapped || asks(run, index)
}

/// Whether its `if` is to be evaluated: of a mapped task once, or for each instance if it is about the item.
pub(crate) fn asks(run: &Run, index: u32) -> bool {
    let planned = run.planned(index);
    planned.spec.condition.is_some() && run.instance(index).is_some() == planned.condition_by_item
}

/// What a task asks of a worker; `None` if it needs none.
pub(crate) fn wants(spec: &Task) -> Option<Wants> {
    let needs_worker = !spec.action.is_the_schedulers();
    needs_worker.then(|| Wants { queue: spec.queue.clone(), labels: spec.labels.clone(), pool: spec.pool.clone() })
}

/// The limits that hold a task back, in the order in which it passes them.
pub(crate) fn gates_of(run: &Run, no: RunNo, index: u32) -> Vec<Gate> {
    let spec = run.spec(index);
    let mapped = run.instance(index).filter(|_| spec.max_parallel.is_some() && !run.task(index).waits());
    let of_run = run.plan.pipeline.max_active_tasks.filter(|_| !spec.action.is_the_schedulers());
    mapped.map(|(node, _)| Gate::Mapped(no, node)).into_iter().chain(of_run.map(|_| Gate::Run(no))).collect()
}

/// Whether a limit lets another task start.
pub(crate) fn is_open(state: &State, gate: &Gate) -> bool {
    let below = |running: u32, limit: Option<u32>| limit.is_none_or(|limit| running < limit);
    match gate {
        Gate::Mapped(no, node) => state.runs.get(no).is_none_or(|run| {
            let running = run.mapping.live(*node).map_or(0, |e| e.count(Word::Running));
            below(running, run.plan.task(*node).spec.max_parallel)
        }),
        Gate::Run(no) => state.runs.get(no).is_none_or(|run| below(run.leased, run.plan.pipeline.max_active_tasks)),
        Gate::Pool(_) => false,
    }
}

const OVERDUE_SLACK: Millis = Millis(30_000);

/// The worker's own clock ends an attempt; the leader steps in only when it should long have done so.
pub(crate) fn overdue_at(spec: &Task, leased_at: Timestamp) -> Option<Timestamp> {
    spec.timeout.map(|timeout| leased_at.after(timeout).after(spec.grace).after(OVERDUE_SLACK))
}

/// Whether a queued task is to be started now, its gates apart.
pub(crate) fn candidate(state: &State, now: Timestamp, no: RunNo, index: u32) -> Candidate {
    let Some(run) = state.runs.get(&no).filter(|run| state.may_start(run, index) && !run.is_gone(index)) else { return Candidate::Stale };
    let task = run.task(index);
    let due = task.not_before.is_none_or(|at| at <= now);
    let ready = match task.state {
        Word::Pending => run.verdict_of(index) == Verdict::Ready,
        Word::Retry => due,
        Word::Running => task.reason == Some(Reason::Waiting) && due && matches!(run.spec(index).action, Action::Wait(_)),
        _ => false,
    };
    if !ready {
        return Candidate::Stale;
    }
    let lost_by = task.attempts.last().filter(|a| a.reason == Some(Reason::Lost) && task.state == Word::Retry);
    Candidate::Ready { avoid: lost_by.map(|a| -> WorkerName { a.worker.clone() }) }
}
