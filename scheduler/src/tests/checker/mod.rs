//! The invariants, numbered as in `docs/invariants.md`, checked after every event and every step.
//!
//! [`Checker`] keeps its own account of every run from the events alone, by rescanning where the scheduler counts, so that a
//! fault in the one is not repeated in the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_common::limits::{ARCHIVED_ID_WINDOW_MS, MAX_EVENT_BYTES_PER_INPUT, MAX_EVENTS_PER_INPUT, POISON_DEATHS};
use penstock_common::pipeline::Task;
use penstock_common::state::Outcome;
use penstock_common::{
    Digest, Epoch, Event, Fence, Now, PipelineName, QueueName, Reason, RunId, RunNo, SessionId, State, Timestamp, WorkerName,
};

use crate::decide::bytes_of;
use crate::lanes::Candidate;
use crate::term::{Term, Timer, candidate, overdue_at};
use crate::{Plan, Scheduler, Snapshot, SnapshotRun};

/// What the checker knows of all runs that ever were, and of the workers attached to the present leader.
#[derive(Debug, Clone, Default)]
pub(super) struct Checker {
    pub(super) runs: BTreeMap<RunNo, RunShadow>,
    pub(super) definitions: BTreeMap<Digest, Arc<Plan>>,
    pub(super) sessions: BTreeMap<SessionId, Attached>,
    /// Off while committed events are read again: who was attached then is forgotten.
    judges_workers: bool,
    /// Off where a scan of everything at every step would take too long.
    pub(super) deep: bool,
    ids: BTreeMap<RunId, RunNo>,
    versions: BTreeMap<PipelineName, BTreeMap<u32, Arc<Plan>>>,
    drained: BTreeSet<WorkerName>,
    live: BTreeMap<Fence, (RunNo, u32, SessionId)>,
    per_session: BTreeMap<SessionId, u32>,
    last_fence: Fence,
    epoch: Epoch,
}

/// A run, as its events tell.
#[derive(Debug, Clone)]
pub(super) struct RunShadow {
    pub(super) id: RunId,
    pub(super) plan: Arc<Plan>,
    pub(super) state: State,
    pub(super) reason: Option<Reason>,
    pub(super) cancel: Option<Reason>,
    pub(super) generation: u32,
    pub(super) tasks: Vec<TaskShadow>,
    started_at: Option<Timestamp>,
    pub(super) archived: Option<Timestamp>,
}

/// A task, as its run's events tell.
#[derive(Debug, Clone, Default)]
pub(super) struct TaskShadow {
    pub(super) state: State,
    pub(super) reason: Option<Reason>,
    pub(super) attempts: u32,
    pub(super) live: Option<Fence>,
    failures: u32,
    lost: u32,
    deaths: u32,
    of_generation: u32,
    not_before: Option<Timestamp>,
    ready_at: Option<Timestamp>,
}

/// A worker's offers to the present leader.
#[derive(Debug, Clone)]
pub(super) struct Attached {
    pub(super) worker: WorkerName,
    pub(super) slots: u32,
    pub(super) queues: BTreeSet<QueueName>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) leaving: bool,
}

impl Attached {
    fn serves(&self, task: &Task) -> bool {
        self.queues.contains(&task.queue) && task.labels.iter().all(|(k, v)| self.labels.get(k) == Some(v))
    }
}

impl RunShadow {
    fn active(&self) -> bool {
        self.state == State::Running && self.cancel.is_none()
    }

    fn outcome(&self, task: u32) -> Option<Outcome> {
        let task = &self.tasks[task as usize];
        Outcome::of(task.state, task.reason)
    }

    fn upstreams_succeeded(&self, task: u32) -> bool {
        self.plan.task(task).upstream.iter().all(|&above| self.outcome(above) == Some(Outcome::Success))
    }

    /// Whether a task waits for nothing but a slot.
    fn ready(&self, task: u32, at: Timestamp) -> bool {
        let shadow = &self.tasks[task as usize];
        self.active()
            && match shadow.state {
                State::Pending => self.upstreams_succeeded(task),
                State::Retry => shadow.not_before.is_none_or(|t| t <= at),
                _ => false,
            }
    }

    fn all_terminal(&self) -> bool {
        self.tasks.iter().all(|t| t.state.is_terminal())
    }

    /// How the run must end, by the rule of `pipelines.md` 3 for `all_success` graphs.
    fn verdict(&self) -> (State, Option<Reason>) {
        match self.cancel {
            Some(Reason::RunTimeout) => (State::Failed, Some(Reason::RunTimeout)),
            Some(reason) => (State::Cancelled, Some(reason)),
            None if self.tasks.iter().any(|t| t.state == State::Failed) => (State::Failed, Some(Reason::TaskFailed)),
            None => (State::Success, None),
        }
    }
}

impl Checker {
    pub(super) fn new() -> Self {
        Self { deep: true, judges_workers: true, ..Self::default() }
    }

    /// What a new leader can know: the committed events, and no worker.
    pub(super) fn reread(&self, committed: &[(i64, Event)]) -> Self {
        let mut checker = Self { definitions: self.definitions.clone(), ..Self::default() };
        for (position, (now, event)) in committed.iter().enumerate() {
            let before = position.checked_sub(1).map(|p| &committed[p].1);
            checker.event(event, before, Timestamp(*now));
        }
        Self { deep: self.deep, judges_workers: true, ..checker }
    }

    /// Judges each event of one decision in turn.
    pub(super) fn observe(&mut self, events: &[Event], now: Timestamp) {
        assert!(events.len() <= MAX_EVENTS_PER_INPUT, "one input yields {} events", events.len());
        let bytes: usize = events.iter().map(bytes_of).sum();
        assert!(bytes <= MAX_EVENT_BYTES_PER_INPUT, "one input yields {bytes} bytes of events");
        for (position, event) in events.iter().enumerate() {
            let before = position.checked_sub(1).map(|p| &events[p]);
            self.event(event, before, now);
        }
    }

    fn event(&mut self, event: &Event, before: Option<&Event>, now: Timestamp) {
        match event {
            Event::TermStarted { epoch, .. } => {
                assert!(*epoch > self.epoch, "L1: epoch {epoch} after {}", self.epoch);
                self.epoch = *epoch;
            }
            Event::PipelineRegistered { pipeline, version, digest, dropped, .. } => {
                let plan = self.definitions[digest].clone();
                let versions = self.versions.entry(pipeline.clone()).or_default();
                assert!(versions.last_key_value().is_none_or(|(n, _)| n + 1 == *version), "versions have no gap");
                versions.insert(*version, plan);
                versions.retain(|n, _| !dropped.contains(n));
            }
            Event::RunCreated(created) => {
                let last = self.runs.last_key_value().map_or(0, |(no, _)| no.0);
                assert_eq!(created.run.0, last + 1, "run numbers have no gap");
                if let Some(old) = self.ids.insert(created.id.clone(), created.run) {
                    let archived = self.runs[&old].archived.expect("R1: a run id is created twice");
                    assert!(
                        archived.after(penstock_common::Millis(ARCHIVED_ID_WINDOW_MS)) <= now,
                        "R1: a run id is created again within its window"
                    );
                }
                let plan = self.versions[&created.pipeline][&created.version].clone();
                let tasks = vec![TaskShadow::default(); plan.len()];
                let run = RunShadow {
                    id: created.id.clone(),
                    plan,
                    state: State::Pending,
                    reason: None,
                    cancel: None,
                    generation: 1,
                    tasks,
                    started_at: None,
                    archived: None,
                };
                self.runs.insert(created.run, run);
            }
            Event::RunStarted { run, .. } => self.run_started(*run, now),
            Event::AttemptLeased { run, task, number, fence, session, worker, .. } => {
                self.leased(*run, *task, *number, *fence, (session, worker), now);
            }
            Event::AttemptEnded { run, task, fence, ended } => {
                let live = self.live.remove(fence).expect("T5: the report of an attempt that is not live");
                assert_eq!((live.0, live.1), (*run, *task), "T5: the report of another task's attempt");
                *self.per_session.get_mut(&live.2).unwrap() -= 1;
                let run = self.runs.get_mut(run).unwrap();
                let cancel = run.cancel;
                let shadow = &mut run.tasks[*task as usize];
                assert_eq!(shadow.state, State::Running, "T1");
                assert_eq!(shadow.live.take(), Some(*fence), "T5: the report does not carry the current fence");
                assert!(ended.state.is_terminal(), "T1: an attempt ends {}", ended.state);
                assert_eq!(
                    ended.reason.is_none(),
                    ended.state == State::Success,
                    "T1: each transition has a reason, and a success needs none"
                );
                if let Some(reason) = cancel {
                    let stands = ended.state == State::Success || (ended.state, ended.reason) == (State::Cancelled, Some(reason));
                    assert!(stands, "an attempt of a cancelled run ends {}({:?})", ended.state, ended.reason);
                }
                (shadow.state, shadow.reason) = (ended.state, ended.reason);
                match (ended.state, ended.reason) {
                    (State::Failed, Some(Reason::Lost | Reason::Poison)) => {
                        shadow.lost += 1;
                        shadow.deaths += u32::from(ended.worker_died);
                    }
                    (State::Failed, _) => shadow.failures += 1,
                    _ => {}
                }
                self.note_ready_below(run_of(event), *task, now);
            }
            Event::TaskRetrying { run, task, not_before, lost } => {
                let ended = match before {
                    Some(Event::AttemptEnded { run: r, task: t, ended, .. }) if (r, t) == (run, task) => ended,
                    other => panic!("T1: RETRY follows the FAILED of the same step, not {other:?}"),
                };
                let run = self.runs.get_mut(run).unwrap();
                let spec = &run.plan.task(*task).spec;
                let shadow = &mut run.tasks[*task as usize];
                assert_eq!(shadow.state, State::Failed, "T1");
                assert!(run.cancel.is_none(), "T8: a cancelled run tries again");
                assert_eq!(*lost, ended.reason == Some(Reason::Lost), "T6: the budget is that of the reason");
                if *lost {
                    assert_eq!(*not_before, now, "a lost attempt is tried again at once");
                    assert!(shadow.lost <= spec.max_lost, "T6: lost {} times of {}", shadow.lost, spec.max_lost);
                    assert!(shadow.deaths < POISON_DEATHS, "T6: poison is tried again");
                } else {
                    assert!(shadow.failures <= spec.retries.max, "T6: failed {} times with {} retries", shadow.failures, spec.retries.max);
                    assert!(ended.reason.is_some_and(Reason::is_retryable), "T6: {:?} is tried again", ended.reason);
                    let longest = spec.retries.delay_after(shadow.failures, 1.0);
                    assert!((now..=now.after(longest)).contains(not_before), "T6: {not_before} is not within {longest} of {now}");
                }
                shadow.state = State::Retry;
                shadow.not_before = Some(*not_before);
                shadow.ready_at = Some(*not_before);
            }
            Event::TaskFailed { run, task, reason, .. } => {
                let run = self.runs.get_mut(run).unwrap();
                assert!(run.ready(*task, now), "T1: queue_timeout of a task that does not wait for a slot");
                let waited = now.since(run.tasks[*task as usize].ready_at.unwrap());
                let timeout = run.plan.task(*task).spec.queue_timeout.expect("queue_timeout without one");
                assert!(waited >= timeout, "queue_timeout {timeout} after {waited}");
                assert_eq!(*reason, Reason::QueueTimeout);
                let shadow = &mut run.tasks[*task as usize];
                (shadow.state, shadow.reason) = (State::Failed, Some(*reason));
            }
            Event::TasksSkipped { run, ranges, reason, .. } => self.skipped(*run, ranges, *reason),
            Event::TasksCancelled { run, reason, .. } => {
                let run = self.runs.get_mut(run).unwrap();
                assert_eq!(run.cancel, Some(*reason), "tasks are cancelled without a cancel");
                for shadow in run.tasks.iter_mut().filter(|t| matches!(t.state, State::Pending | State::Retry)) {
                    (shadow.state, shadow.reason) = (State::Cancelled, Some(*reason));
                }
            }
            Event::CancelRequested { run, reason, .. } => {
                let run = self.runs.get_mut(run).unwrap();
                assert!(!run.state.is_terminal() && run.cancel.is_none(), "R3: a cancel of what has ended, or twice");
                if *reason == Reason::RunTimeout {
                    let (took, timeout) = (now.since(run.started_at.unwrap()), run.plan.pipeline.run_timeout.unwrap());
                    assert!(took >= timeout, "run_timeout {timeout} of run {} after {took}", run.id);
                }
                run.cancel = Some(*reason);
            }
            Event::RunEnded { run, state, reason, .. } => {
                let run = self.runs.get_mut(run).unwrap();
                assert!(!run.state.is_terminal(), "R3: run {} ends twice", run.id);
                assert!(run.all_terminal(), "R4: run {} ends with open tasks", run.id);
                assert_eq!((*state, *reason), run.verdict(), "R4: how run {} ends", run.id);
                (run.state, run.reason) = (*state, *reason);
            }
            Event::GenerationOpened { run, generation, ranges, .. } => self.reopened(*run, *generation, ranges),
            Event::RunArchived { run, .. } => {
                let run = self.runs.get_mut(run).unwrap();
                assert!(run.state.is_terminal() && run.archived.is_none(), "R5: run {} is dropped while it is {}", run.id, run.state);
                run.archived = Some(now);
            }
            Event::WorkerDrained { worker, drained, .. } => {
                if *drained {
                    self.drained.insert(worker.clone());
                } else {
                    self.drained.remove(worker);
                }
            }
            Event::RequestAnswered { .. } | Event::AnswersForgotten { .. } => {}
        }
    }

    fn run_started(&mut self, no: RunNo, now: Timestamp) {
        let pipeline = self.runs[&no].plan.pipeline.name.clone();
        let limit = self.versions[&pipeline].last_key_value().unwrap().1.pipeline.max_active_runs;
        let of_pipeline = |r: &&RunShadow| r.plan.pipeline.name == pipeline && r.archived.is_none();
        let active = self.runs.values().filter(of_pipeline).filter(|r| r.state == State::Running).count();
        assert!(limit.is_none_or(|limit| active < limit as usize), "T7: a run starts beside {active} of max_active_runs {limit:?}");
        let overtaken = self.runs.range(..no).map(|(_, r)| r).filter(of_pipeline).find(|r| r.state == State::Pending && r.cancel.is_none());
        assert!(overtaken.is_none(), "queued runs start in order, but {} overtakes {}", self.runs[&no].id, overtaken.unwrap().id);
        let run = self.runs.get_mut(&no).unwrap();
        assert!(run.state == State::Pending && run.cancel.is_none(), "R3: run {} starts and was {}", run.id, run.state);
        run.state = State::Running;
        run.started_at = Some(now);
        for task in 0..run.tasks.len() as u32 {
            if run.ready(task, now) {
                run.tasks[task as usize].ready_at = Some(now);
            }
        }
    }

    fn leased(&mut self, no: RunNo, task: u32, number: u32, fence: Fence, (session, worker): (&SessionId, &WorkerName), now: Timestamp) {
        let run = &self.runs[&no];
        let shadow = &run.tasks[task as usize];
        let spec = run.plan.task(task).spec.clone();
        assert!(run.active(), "T8: run {} is {} (cancel {:?}) and leases", run.id, run.state, run.cancel);
        assert_ne!(shadow.state, State::Success, "T9: a success is executed again");
        assert!(matches!(shadow.state, State::Pending | State::Retry), "T1: a {} task is leased", shadow.state);
        assert!(run.upstreams_succeeded(task), "T2: a task is leased before its upstreams succeeded");
        assert_eq!(number, shadow.attempts + 1, "T3: attempts are numbered without a gap");
        assert!(shadow.live.is_none(), "T3, T4: an attempt starts before the last one ended");
        assert!(fence > self.last_fence, "T4: fence {fence} after {}", self.last_fence);
        assert!(shadow.not_before.is_none_or(|at| at <= now) || shadow.state == State::Pending, "T6: a retry starts before its time");
        assert!(shadow.of_generation <= spec.retries.max + spec.max_lost, "T6: attempt {} of a generation", shadow.of_generation + 1);
        if self.judges_workers {
            let attached = self.sessions.get(session).expect("a lease to a session that is not attached");
            assert_eq!(attached.worker, *worker);
            assert!(attached.serves(&spec), "T7: {worker} does not serve queue {} with {:?}", spec.queue, spec.labels);
            assert!(!attached.leaving && !self.drained.contains(worker), "a drained or leaving worker gets a lease");
            let taken = self.per_session.get(session).copied().unwrap_or(0);
            assert!(taken < attached.slots, "T7: {taken} of {} slots of {worker} are taken, and one more", attached.slots);
        }
        if self.deep {
            let lane = |other: &Task| other.queue == spec.queue && other.labels == spec.labels;
            let better = self.ready(now).find(|(run, t)| {
                let other = &run.plan.task(*t).spec;
                lane(other) && other.priority > spec.priority
            });
            let better = better.map(|(run, t)| format!("{}/{}", run.id, run.plan.task(t).id));
            assert_eq!(better, None, "a task of higher priority waits in the same lane");
        }
        self.last_fence = fence;
        self.live.insert(fence, (no, task, session.clone()));
        *self.per_session.entry(session.clone()).or_default() += 1;
        let shadow = &mut self.runs.get_mut(&no).unwrap().tasks[task as usize];
        shadow.state = State::Running;
        shadow.reason = None;
        shadow.attempts += 1;
        shadow.of_generation += 1;
        shadow.live = Some(fence);
    }

    fn skipped(&mut self, no: RunNo, ranges: &[(u32, u32)], reason: Reason) {
        let run = self.runs.get_mut(&no).unwrap();
        for task in ranges.iter().flat_map(|&(from, to)| from..to) {
            let shadow = &mut run.tasks[task as usize];
            assert_eq!(shadow.state, State::Pending, "T1: SKIPPED");
            (shadow.state, shadow.reason) = (State::Skipped, Some(reason));
        }
        for task in ranges.iter().flat_map(|&(from, to)| from..to) {
            let above: Vec<_> = run.plan.task(task).upstream.iter().map(|&t| run.outcome(t)).collect();
            let failed = above.contains(&Some(Outcome::Failed));
            let right = match reason {
                Reason::UpstreamFailed => failed,
                Reason::UpstreamSkipped => !failed && above.contains(&Some(Outcome::Skipped)) && !above.contains(&None),
                _ => false,
            };
            assert!(right, "T2: a task is SKIPPED({reason}) with upstreams {above:?}");
        }
    }

    fn reopened(&mut self, no: RunNo, generation: u32, ranges: &[(u32, u32)]) {
        let run = self.runs.get_mut(&no).unwrap();
        assert!(run.state.is_terminal() && run.archived.is_none(), "R3: run {} is {} and gets a generation", run.id, run.state);
        assert_eq!(generation, run.generation + 1);
        let count = run.tasks.len() as u32;
        let mut again: BTreeSet<u32> = (0..count).filter(|&t| run.outcome(t) == Some(Outcome::Failed)).collect();
        loop {
            let below: BTreeSet<u32> = again.iter().flat_map(|&t| run.plan.task(t).downstream.clone()).collect();
            let before = again.len();
            again.extend(below);
            if again.len() == before {
                break;
            }
        }
        let opened: BTreeSet<u32> = ranges.iter().flat_map(|&(from, to)| from..to).collect();
        assert_eq!(opened, again, "a rerun opens what did not succeed, and all below it");
        for task in opened {
            let shadow = &mut run.tasks[task as usize];
            assert!(shadow.state.is_terminal() && shadow.state != State::Success, "T9: a {} task is opened again", shadow.state);
            *shadow = TaskShadow { attempts: shadow.attempts, ..TaskShadow::default() };
        }
        (run.state, run.reason, run.cancel, run.generation) = (State::Pending, None, None, generation);
    }

    fn note_ready_below(&mut self, no: RunNo, task: u32, now: Timestamp) {
        let run = self.runs.get_mut(&no).unwrap();
        if run.outcome(task) != Some(Outcome::Success) {
            return;
        }
        let plan = run.plan.clone();
        for &below in &plan.task(task).downstream {
            if run.upstreams_succeeded(below) {
                run.tasks[below as usize].ready_at = Some(now);
            }
        }
    }

    /// Every task that waits for nothing but a slot.
    fn ready(&self, now: Timestamp) -> impl Iterator<Item = (&RunShadow, u32)> {
        let active = self.runs.values().filter(|run| run.active());
        active.flat_map(move |run| (0..run.tasks.len() as u32).filter(move |&t| run.ready(t, now)).map(move |t| (run, t)))
    }

    /// Judges the leader after a step that left nothing undone.
    pub(super) fn judge(&self, leader: &Scheduler, now: Timestamp) {
        self.state_agrees(leader);
        self.term_agrees(leader, now);
        self.nothing_idles(leader, now);
    }

    /// R3, R4, T1: state is what the events say, run by run and task by task.
    fn state_agrees(&self, leader: &Scheduler) {
        let state = leader.state();
        let there: Vec<_> = self.runs.iter().filter(|(_, run)| run.archived.is_none()).collect();
        assert_eq!(state.runs.keys().collect::<Vec<_>>(), there.iter().map(|(no, _)| *no).collect::<Vec<_>>(), "R5: the live runs");
        let mut open = 0;
        for (no, shadow) in there {
            let run = &state.runs[no];
            let record = &run.record;
            assert_eq!(
                (record.state, record.reason, record.cancel, record.generation),
                (shadow.state, shadow.reason, shadow.cancel, shadow.generation),
                "run {}",
                record.id
            );
            assert_eq!(record.quarantined, None, "run {}", record.id);
            assert_eq!(record.state.is_terminal(), shadow.all_terminal(), "R4: run {} is {}", record.id, record.state);
            let mut counts = [0; 7];
            for (index, expected) in (0..).zip(&shadow.tasks) {
                let task = run.task(index);
                assert_eq!(
                    (task.state, task.reason, task.attempts.len() as u32),
                    (expected.state, expected.reason, expected.attempts.min(penstock_common::limits::MAX_ATTEMPTS_KEPT as u32)),
                    "task {index} of {}",
                    record.id
                );
                assert_eq!(
                    (task.failures, task.lost, task.deaths),
                    (expected.failures, expected.lost, expected.deaths),
                    "T6: budgets of task {index} of {}",
                    record.id
                );
                assert_eq!(task.live().map(|a| a.fence), expected.live, "T4: the live fence of task {index} of {}", record.id);
                counts[task.state as usize] += 1;
            }
            assert_eq!(record.counts, counts, "counts of {}", record.id);
            open += if record.state.is_terminal() { 0 } else { shadow.tasks.len() };
        }
        assert_eq!(state.live_tasks, open);
        let leases: BTreeMap<_, _> = state.leases.iter().map(|(fence, h)| (*fence, (h.run, h.task, h.session.clone()))).collect();
        assert_eq!(leases, self.live, "T4: the live leases");
        let held: usize = state.held.values().map(BTreeSet::len).sum();
        assert_eq!(held, self.live.len());
    }

    /// The term's indexes are what a rebuilt term has, stale entries apart.
    fn term_agrees(&self, leader: &Scheduler, now: Timestamp) {
        let (state, term) = (leader.state(), &leader.term);
        let fresh = |&(no, task): &(RunNo, u32)| matches!(candidate(state, term.now, no, task), Candidate::Ready { .. });
        let queued: BTreeSet<_> = term.lanes.queued().into_iter().filter(fresh).collect();
        let rebuilt = Term::of(state, Now { now, wall: now, random: 0 });
        let number: BTreeMap<&RunId, RunNo> = self.runs.iter().map(|(no, run)| (&run.id, *no)).collect();
        let expected: BTreeSet<_> = self.ready(now).map(|(run, task)| (number[&run.id], task)).collect();
        assert_eq!(queued, expected, "the ready tasks of the incremental term");
        assert_eq!(rebuilt.lanes.queued(), expected, "the ready tasks of a rebuilt term");
        for (at, timer) in &rebuilt.timers {
            let known = match timer {
                // The wait began at some time before: only a rebuilt term starts it anew.
                Timer::QueueTimeout { .. } => term.timers.iter().any(|(t, other)| other == timer && t <= at),
                Timer::Housekeeping => term.timers.iter().any(|(_, other)| other == timer),
                Timer::Retry(..) | Timer::RunTimeout(..) | Timer::Overdue(_) => term.timers.contains(&(*at, timer.clone())),
            };
            assert!(known, "timer {timer:?} at {at} is missing");
        }
        assert!(term.timers.first().is_none_or(|(at, _)| *at > now), "timer {:?} is due at {now} and has not fired", term.timers.first());
        for (run, shadow) in self.runs.iter().filter(|(_, run)| run.active()) {
            for (index, task) in (0..).zip(&shadow.tasks) {
                let leased_at = task.live.and_then(|_| state.runs[run].task(index).live()).map(|a| a.leased_at);
                if let Some(at) = leased_at.and_then(|at| overdue_at(&shadow.plan.task(index).spec, at)) {
                    let timer = (at, Timer::Overdue(task.live.unwrap()));
                    assert!(term.timers.contains(&timer), "the backstop of {:?} is missing", task.live);
                }
            }
        }
        let stale = term.timers.iter().find(|(_, timer)| matches!(timer, Timer::Overdue(fence) if !self.live.contains_key(fence)));
        assert_eq!(stale, None, "the backstop of an attempt that has ended");
        let attached: BTreeSet<_> = term.lanes.sessions().map(|(session, ..)| session.clone()).collect();
        assert_eq!(attached, self.sessions.keys().cloned().collect(), "the attached sessions");
        for (session, offers, used) in term.lanes.sessions() {
            assert_eq!(used, self.per_session.get(session).copied().unwrap_or(0), "slots of {} taken", offers.worker);
            let closed = self.sessions[session].leaving || self.drained.contains(&offers.worker);
            assert_eq!(offers.closed(), closed, "{} takes leases", offers.worker);
        }
    }

    /// Liveness: no ready task waits beside a free slot that fits it, and nothing that could be decided is left.
    fn nothing_idles(&self, leader: &Scheduler, now: Timestamp) {
        for (run, task) in self.ready(now) {
            let spec = &run.plan.task(task).spec;
            let idle = self.sessions.iter().find(|(session, offers)| {
                let taken = self.per_session.get(*session).copied().unwrap_or(0);
                offers.serves(spec) && !offers.leaving && !self.drained.contains(&offers.worker) && taken < offers.slots
            });
            assert!(idle.is_none(), "{}/{} waits beside a free slot of {}", run.id, run.plan.task(task).id, idle.unwrap().1.worker);
        }
        assert!(leader.next_deadline().is_some_and(|at| at > now), "work is left over: {:?}", leader.next_deadline());
    }

    /// X5: state read back from a cut is the state itself.
    pub(super) fn reloads(&self, leader: &mut Scheduler) -> Scheduler {
        let cut = leader.cut(0);
        let runs = cut.runs.iter().map(|run| {
            let tasks = (0..run.chunks()).flat_map(|chunk| run.tasks(chunk)).collect();
            SnapshotRun { record: run.record.clone(), tasks }
        });
        let snapshot = Snapshot { runs: runs.collect(), cluster: cut.cluster };
        let mut reloaded = Scheduler::default();
        self.definitions.values().for_each(|plan| reloaded.learn(plan.clone()));
        reloaded.restore(snapshot, cut.seq).expect("X5: a cut is read back");
        for (no, run) in &leader.state().runs {
            assert!(
                reloaded.state().runs.get(no) == Some(run),
                "X5: run {no} reloaded from a cut differs:\n{:?}\n{run:?}",
                reloaded.state().runs.get(no)
            );
        }
        assert!(reloaded.state() == leader.state(), "X5: state reloaded from a cut differs:\n{:?}\n{:?}", reloaded.state(), leader.state());
        reloaded
    }
}

fn run_of(event: &Event) -> RunNo {
    event.run().expect("an event of a run")
}
