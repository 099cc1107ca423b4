//! Term: what only the present leader knows. Attached workers, ready tasks, timers. Empty at takeover and built from state;
//! `decide` reads it, `apply` cannot see it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use penstock_common::pipeline::{Action, Task};
use penstock_common::{
    BackfillId, EventNo, Millis, Now, PipelineName, Reason, RunNo, SessionId, State as Word, Timestamp, TriggerName, WorkerName,
};

use crate::decide::Recalled;
use crate::gates::{Gate, Gates, Waiting};
use crate::intervals::{due_at, intervals_from};
use crate::lanes::{Candidate, Lanes, Rank, Wants};
use crate::machine::rule::Verdict;
use crate::machine::run::Run;
use crate::state::{State, Subscriber, Touched, is_of_backfill};
use crate::timers::{Agenda, Timer, Timers};

/// The leader's indexes over state.
#[derive(Debug, Default)]
pub(crate) struct Term {
    pub(crate) now: Timestamp,
    /// The wall clock at the last input.
    pub(crate) wall: Timestamp,
    /// Whether they may fire, at the last input.
    pub(crate) may_fire: bool,
    /// When timetables fire.
    pub(crate) fires: Agenda<PipelineName>,
    /// When what triggers gather starts its run.
    pub(crate) gathered: Agenda<Subscriber>,
    /// Happenings for whose runs there was no room.
    pub(crate) held: Held,
    /// Something happened that triggers have not seen yet.
    pub(crate) is_happening: bool,
    /// Backfills that may make a run, or end.
    pub(crate) backfilling: BTreeSet<BackfillId>,
    pub(crate) lanes: Lanes,
    pub(crate) gates: Gates,
    /// Tasks whose rule is satisfied and whose `if` is to be evaluated, or whose instances are to be made.
    pub(crate) opening: BTreeSet<(RunNo, u32)>,
    /// Tasks whose turn has come and that need no worker.
    pub(crate) acting: BTreeSet<(RunNo, u32)>,
    /// Sensors whose timeout has passed and that may look once more.
    pub(crate) waited_out: BTreeSet<(RunNo, u32)>,
    /// Something may be leased that could not be before.
    pub(crate) matching: bool,
    pub(crate) timers: Timers,
    /// Tasks whose rule can no longer be satisfied.
    pub(crate) doomed: BTreeMap<RunNo, BTreeSet<u32>>,
    /// Runs that may have no open task left.
    pub(crate) ending: BTreeSet<RunNo>,
    /// Cancelled runs of whose children some may go on, with the first of these.
    pub(crate) stopping: BTreeMap<RunNo, RunNo>,
    /// Pipelines that may start a queued run.
    pub(crate) starting: BTreeSet<PipelineName>,
    /// Sessions that are over and whose attempts are being lost, with whether their process died.
    pub(crate) gone: VecDeque<(SessionId, bool, Arc<str>)>,
    /// Ended runs that stay live for reruns, by their end.
    pub(crate) kept: BTreeSet<(Timestamp, RunNo)>,
    /// What queued runs read of tasks that they do not run; none: it is being looked up.
    pub(crate) recalls: BTreeMap<RunNo, Option<Recalled>>,
    /// Runs whose history is being written.
    pub(crate) archiving: BTreeSet<RunNo>,
}

/// What waits in the inbox until there is room again.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Everything: the cluster is full.
    pub(crate) all: bool,
    /// These triggers take nothing: their pipelines are full.
    pub(crate) triggers: BTreeSet<Subscriber>,
    /// What is older waits for one of them.
    pub(crate) from: EventNo,
}

const HOUSEKEEPING: Millis = Millis(60_000);
/// How long the wall clock is not looked at, where a timetable waits for it.
const LOOK_AT_WALL: Millis = Millis(10_000);
/// How long a timetable that is due and may not fire waits.
const LOOK_AGAIN: Millis = Millis(1_000);

impl Term {
    /// Indexes a state.
    pub(crate) fn of(state: &State, now: Now) -> Self {
        let mut term = Self { now: now.now, wall: now.wall, may_fire: now.may_fire, ..Self::default() };
        state.pipelines.keys().for_each(|name| term.await_fire(state, name));
        for (name, versions) in &state.pipelines {
            versions.timetable.gathered.keys().for_each(|trigger| term.await_gathered(state, name, trigger));
        }
        term.is_happening = !state.inbox.waiting.is_empty();
        term.backfilling = state.open_backfills();
        for (&no, run) in &state.runs {
            term.index_run(state, no, run);
        }
        term.starting = state.pipelines.keys().cloned().collect();
        term.housekeep_next();
        term
    }

    fn index_run(&mut self, state: &State, no: RunNo, run: &Run) {
        self.touch_run(state, no);
        if run.record.cancel.is_some() {
            self.stop_children(state, no);
        }
        if run.is_open() {
            (0..run.slots()).for_each(|task| self.touch_task(state, no, task));
        }
    }

    /// A run was cancelled.
    pub(crate) fn stop_children(&mut self, state: &State, no: RunNo) {
        if state.children.contains_key(&no) {
            self.stopping.insert(no, RunNo(0));
        }
    }

    pub(crate) fn housekeep_next(&mut self) {
        self.timers.set(Timer::Housekeeping, self.now.after(HOUSEKEEPING));
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
                if run.open_tasks() == 0 {
                    self.ending.insert(no);
                }
            }
            Word::Running => {
                if run.open_tasks() == 0 {
                    self.ending.insert(no);
                }
                if let Some(timeout) = run.record.run_timeout.filter(|_| run.record.cancel.is_none()) {
                    self.timers.set(Timer::RunTimeout(no), run.record.generation_at.after(timeout));
                }
            }
            _ => {
                self.timers.drop_run(no);
                self.doomed.remove(&no);
                self.starting.insert(run.record.pipeline.clone());
                if run.record.quarantined.is_some() && run.record.parent.is_some() {
                    self.ending.insert(no);
                }
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
        if let Some(at) = sensor_waits_until(run, index) {
            self.timers.set(Timer::WaitedOut(no, index), at);
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
                    self.timers.set(Timer::Due(no, index), at);
                }
                _ if state.may_start(run, index) => self.make_ready(run, no, index),
                _ => {}
            },
            Word::Running if task.reason == Some(Reason::Waiting) => self.touch_waiting(state, run, no, index),
            Word::Running => {
                // A sensor's attempt goes on over probes: the lease is as old as the state.
                if let Some(live) = task.live()
                    && let Some(at) = overdue_at(run.spec(index), task.changed_at)
                {
                    self.timers.set(Timer::Overdue(live.fence), at);
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
                    self.timers.set(Timer::Due(no, index), at);
                }
                _ if state.may_start(run, index) => self.make_ready(run, no, index),
                _ => {}
            },
            _ => {
                if let Some(timeout) = spec.timeout.filter(|_| task.stopping().is_none()) {
                    self.timers.set(Timer::WaitedOut(no, index), task.changed_at.after(timeout));
                }
            }
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
        if let Some(timeout) = spec.queue_timeout {
            self.timers.set(Timer::QueueTimeout(no, index), self.now.after(timeout));
        }
    }

    /// Past all gates.
    fn enter(&mut self, run: &Run, waiting: Waiting) {
        self.matching = true;
        match waiting.wants {
            Some(wants) => self.lanes.push(
                &wants,
                Rank::new(is_of_backfill(&run.record), waiting.priority),
                waiting.run,
                waiting.task,
                run.spec(waiting.task).pool_slots,
            ),
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
                    match state.runs.get(&no) {
                        // It may have come through another gate before.
                        Some(run) => self.left(run, no, task),
                        None => self.gates.left(&gate, no, task),
                    }
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
        // Also through those that do not hold it back any more.
        for gate in every_gate(run, no, index) {
            self.gates.left(&gate, no, index);
        }
    }

    /// A task that waits for its turn does so no more, and may again.
    pub(crate) fn withdraw(&mut self, run: &Run, no: RunNo, index: u32) {
        let spec = run.spec(index);
        let (wants, pool) = (wants(spec), spec.pool.clone().map(Gate::Pool));
        for gate in every_gate(run, no, index).chain(pool) {
            self.gates.withdraw(&gate, &wants, spec.priority, (no, index));
        }
        if let Some(wants) = wants {
            self.lanes.withdraw(&wants, Rank::new(is_of_backfill(&run.record), spec.priority), no, index);
        }
        self.left(run, no, index);
    }

    /// A task's turn has come and a limit of its run was reached meanwhile: it goes back to that gate.
    pub(crate) fn hold_back(&mut self, state: &State, run: &Run, no: RunNo, index: u32) {
        let gates = gates_of(run, no, index);
        let closed = gates.iter().position(|gate| !is_open(state, gate)).unwrap_or(0);
        for gate in gates.iter().skip(closed) {
            self.gates.left(gate, no, index);
        }
        if let Some(gate) = gates.get(closed) {
            let spec = run.spec(index);
            self.gates.bring_back(gate, Waiting { wants: wants(spec), priority: spec.priority, run: no, task: index });
        }
    }

    /// A task wants more slots than its pool has: it hides no other behind its gates.
    pub(crate) fn too_wide(&mut self, run: &Run, no: RunNo, index: u32) {
        self.left(run, no, index);
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

    /// Sets when a timetable fires next.
    pub(crate) fn await_fire(&mut self, state: &State, name: &PipelineName) {
        self.fires.drop(name);
        let Some(plan) = state.newest(name) else { return };
        let Some(schedule) = &plan.pipeline.schedule else { return };
        match state.pipelines.get(name).and_then(|v| v.timetable.watermark) {
            Some(at) => {
                if let Some(next) = intervals_from(schedule, at).next() {
                    self.fires.set(name.clone(), due_at(schedule, next));
                }
            }
            // It begins as soon as the wall clock is trusted.
            None => self.fires.set(name.clone(), self.wall),
        }
    }

    /// The wall clock shows this now. Where it was set back, timetables wait for what it shows, no longer for what it showed.
    pub(crate) fn see_wall(&mut self, state: &State, now: Now) {
        let is_back = now.wall.after(LOOK_AGAIN) < self.wall;
        (self.wall, self.may_fire) = (now.wall, now.may_fire);
        if is_back {
            state.pipelines.keys().for_each(|name| self.await_fire(state, name));
        }
    }

    /// Sets when what a trigger gathers starts its run.
    pub(crate) fn await_gathered(&mut self, state: &State, name: &PipelineName, trigger: &TriggerName) {
        if let Some(gathered) = state.pipelines.get(name).and_then(|v| v.timetable.gathered.get(trigger)) {
            self.gathered.set((name.clone(), trigger.clone()), gathered.until);
        }
    }

    /// By the clock of deadlines, the time at which the wall clock will show another, if it does not jump: it is looked at again soon.
    fn fire_deadline(&self) -> Option<Timestamp> {
        let wait = self.fires.first()?.since(self.wall).min(LOOK_AT_WALL);
        // A due one that may not fire is looked at again in a while, not at once.
        Some(self.now.after(if self.may_fire { wait } else { wait.max(LOOK_AGAIN) }))
    }

    /// Tasks that follow from others are to be decided.
    pub(crate) fn has_to_settle_tasks(&self) -> bool {
        !self.doomed.is_empty() || !self.opening.is_empty() || !self.acting.is_empty() || self.gates.is_to_look()
    }

    /// These, and runs that end or start.
    pub(crate) fn has_to_settle(&self) -> bool {
        self.has_to_settle_tasks()
            || !self.ending.is_empty()
            || !self.starting.is_empty()
            || !self.backfilling.is_empty()
            || self.is_happening
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let backlog =
            self.has_to_settle() || !self.waited_out.is_empty() || !self.stopping.is_empty() || !self.gone.is_empty() || self.matching;
        if backlog {
            return Some(Timestamp(0));
        }
        self.timers.first().into_iter().chain(self.fire_deadline()).chain(self.gathered.first()).min()
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

/// The limits that hold a task back, in the order in which it passes them. An instance that waits runs already.
pub(crate) fn gates_of(run: &Run, no: RunNo, index: u32) -> Vec<Gate> {
    let waits = run.task(index).waits();
    every_gate(run, no, index).filter(|gate| !waits || !matches!(gate, Gate::Mapped(..))).collect()
}

/// The limits that may hold a task back at some time.
fn every_gate(run: &Run, no: RunNo, index: u32) -> impl Iterator<Item = Gate> + use<> {
    let spec = run.spec(index);
    let mapped = run.instance(index).filter(|_| spec.max_parallel.is_some());
    let of_run = run.plan.pipeline.max_active_tasks.filter(|_| !spec.action.is_the_schedulers());
    mapped.map(|(node, _)| Gate::Mapped(no, node)).into_iter().chain(of_run.map(|_| Gate::Run(no)))
}

/// Whether every limit of its run lets a task start.
pub(crate) fn gates_are_open(state: &State, no: RunNo, index: u32) -> bool {
    state.runs.get(&no).is_none_or(|run| gates_of(run, no, index).iter().all(|gate| is_open(state, gate)))
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

/// When a sensor that holds no lease has waited for too long, from its first probe on.
pub(crate) fn sensor_waits_until(run: &Run, index: u32) -> Option<Timestamp> {
    let task = run.task(index);
    let Action::Wait(wait) = &run.spec(index).action else { return None };
    let between_probes = task.reason == Some(Reason::Waiting) || task.state == Word::Retry;
    Some(task.first_leased(run.record.generation_at).filter(|_| between_probes)?.after(wait.timeout?))
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
