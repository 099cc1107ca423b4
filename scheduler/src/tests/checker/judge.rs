//! The leader after a step that left nothing undone: its state, its indexes, and that nothing idles.

use std::collections::{BTreeMap, BTreeSet};

use penstock_common::limits::MAX_ATTEMPTS_KEPT;
use penstock_common::{Now, Reason, RunId, RunNo, State, Timestamp};

use super::Checker;
use super::shadow::{RunShadow, Says};
use crate::Scheduler;
use crate::gates::Gate;
use crate::lanes::Candidate;
use crate::term::{Term, candidate, overdue_at};
use crate::timers::Timer;

impl Checker {
    /// Judges the leader after a step that left nothing undone.
    pub(in crate::tests) fn judge(&self, leader: &Scheduler, now: Timestamp) {
        self.state_agrees(leader);
        self.nothing_is_due(now);
        self.term_agrees(leader, now);
        self.timers_agree(leader, now);
        self.nothing_idles(leader, now);
    }

    /// R3, R4, T1: state is what the events say, run by run and task by task.
    fn state_agrees(&self, leader: &Scheduler) {
        let state = leader.state();
        let there: Vec<_> = self.runs.iter().filter(|(_, run)| run.archived.is_none()).collect();
        assert_eq!(state.runs.keys().collect::<Vec<_>>(), there.iter().map(|(no, _)| *no).collect::<Vec<_>>(), "R5: the live runs");
        let mut open = 0;
        for (no, shadow) in there {
            self.run_agrees(leader, *no, shadow);
            open += if shadow.state.is_terminal() { 0 } else { shadow.own().count() };
        }
        assert_eq!(state.live_tasks, open);
        let leases: BTreeMap<_, _> = state.leases.iter().map(|(fence, h)| (*fence, (h.run, h.task, h.session.clone()))).collect();
        assert_eq!(leases, self.live, "T4: the live leases");
        let held: usize = state.held.values().map(BTreeSet::len).sum();
        assert_eq!(held, self.live.len());
        let pools: BTreeMap<_, _> = state.pools.iter().map(|(name, pool)| (name.clone(), pool.slots)).collect();
        assert_eq!(pools, self.pools);
        for pool in self.pools.keys().chain(state.pool_used.keys()) {
            assert_eq!(state.pool_used.get(pool).copied().unwrap_or(0), self.pool_used(pool), "T7: slots of {pool} taken");
        }
    }

    fn run_agrees(&self, leader: &Scheduler, no: RunNo, shadow: &RunShadow) {
        let run = &leader.state().runs[&no];
        let record = &run.record;
        assert_eq!(record.quarantined, None, "run {}", record.id);
        assert_eq!(
            (record.state, record.reason, record.cancel, record.generation, record.paused),
            (shadow.state, shadow.reason, shadow.cancel, shadow.generation, shadow.paused),
            "run {}",
            record.id
        );
        assert_eq!(record.state.is_terminal(), shadow.all_terminal(), "R4: run {} is {}", record.id, record.state);
        assert_eq!(run.slots() as usize, shadow.tasks.len(), "tasks of {}", record.id);
        let (mut counts, mut bytes) = ([0; 7], 0);
        for (index, expected) in (0..).zip(&shadow.tasks) {
            let task = run.task(index);
            let name = shadow.name(index);
            assert_eq!(run.is_gone(index), !shadow.is_present(index), "{name} of {}", record.id);
            if !shadow.is_present(index) {
                continue;
            }
            assert_eq!(run.key(index).to_string(), name);
            assert_eq!(run.find(&run.key(index)), Some(index), "{name} is found by its name");
            assert_eq!(
                (task.state, task.reason, task.attempts.len() as u32),
                (expected.state, expected.reason, expected.attempts.min(MAX_ATTEMPTS_KEPT as u32)),
                "{name} of {}",
                record.id
            );
            assert_eq!(
                (task.failures, task.lost, task.deaths),
                (expected.failures, expected.lost, expected.deaths),
                "T6: budgets of {name} of {}",
                record.id
            );
            assert_eq!(task.live().map(|a| a.fence), expected.live, "T4: the live fence of {name} of {}", record.id);
            assert_eq!((task.not_before, task.child()), (expected.not_before, expected.child.as_ref()), "{name} of {}", record.id);
            assert_eq!(task.stopping(), expected.stopping, "{name} of {} is being stopped", record.id);
            let outputs = task.outputs.as_ref().map(|o| o.0.clone()).unwrap_or_default();
            assert_eq!(outputs, expected.outputs, "outputs of {name} of {}", record.id);
            bytes += outputs.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>();
            if !shadow.is_expanded(index) {
                counts[task.state as usize] += 1;
            }
        }
        assert_eq!((record.counts, run.output_bytes), (counts, bytes), "counts of {}", record.id);
        assert_eq!(record.tasks as usize, shadow.own().count(), "tasks of {}", record.id);
    }

    /// Whether its pipeline's pause keeps a run from starting anything: not from cleaning up once it is cancelled.
    pub(super) fn is_paused(&self, run: &RunShadow) -> bool {
        run.cancel.is_none() && self.paused.contains(&run.plan.pipeline.name)
    }

    /// What upstreams, children, and branches have decided is done.
    fn nothing_is_due(&self, now: Timestamp) {
        let live = |id: &RunId| self.runs.values().find(|run| run.id == *id && run.archived.is_none());
        for run in self.runs.values().filter(|run| run.archived.is_none() && run.state == State::Running) {
            for task in run.own() {
                let shadow = &run.tasks[task as usize];
                if shadow.state == State::Pending {
                    let says = run.says(task);
                    assert!(!matches!(says, Says::Skip(_)), "{} of {} is PENDING and its upstreams say {says:?}", run.name(task), run.id);
                    let stopped = run.cancel.is_some() && !run.spec(task).teardown;
                    assert!(!stopped, "{} of the cancelled {} is PENDING", run.name(task), run.id);
                    let can = run.may_start(task) && !self.is_paused(run) && says == Says::Run;
                    let mapped = run.spec(task).for_each.is_some() && shadow.instance.is_none();
                    assert!(!can || (!mapped && matches!(run.condition(task), None | Some(Ok(true)))), "{} is not opened", run.name(task));
                }
                assert!(run.waits_until(task).is_none_or(|end| end > now), "{} of {} waits beyond its timeout", run.name(task), run.id);
                if let (Some(child), Some(Reason::Waiting)) = (&shadow.child, shadow.reason) {
                    let child = live(child).expect("a task waits for a run that is no more");
                    assert!(!child.state.is_terminal(), "{} of {} waits for {}, which has ended", run.name(task), run.id, child.id);
                    let stopped = run.cancel.is_some() && (!run.spec(task).teardown || run.now);
                    assert!(!stopped || shadow.stopping.is_some(), "{} of the cancelled {} does not stop", run.name(task), run.id);
                    assert!(shadow.stopping.is_none() || child.cancel.is_some(), "{} is to be stopped and goes on", child.id);
                    assert!(!run.now || child.now, "{} is to be stopped with its teardowns", child.id);
                }
            }
            for branch in run.own().filter(|&t| run.spec(t).branch && run.tasks[t as usize].state == State::Success) {
                for other in run.unpicked(branch) {
                    let other = &run.tasks[other as usize];
                    assert_ne!((other.state, other.attempts), (State::Pending, 0), "a branch did not pick it, and it waits");
                }
            }
        }
    }

    /// The term's indexes are what a rebuilt term has, stale entries apart.
    fn term_agrees(&self, leader: &Scheduler, now: Timestamp) {
        let (state, term) = (leader.state(), &leader.term);
        let fresh = |&(no, task): &(RunNo, u32)| !matches!(candidate(state, term.now, no, task), Candidate::Stale);
        let queued = |term: &Term| term.lanes.queued().into_iter().chain(term.gates.waiting()).collect::<Vec<_>>();
        let there: Vec<_> = queued(term).into_iter().filter(fresh).collect();
        let set: BTreeSet<_> = there.iter().copied().collect();
        let rebuilt = Term::of(state, Now { now, wall: now, random: 0, may_fire: true });
        let number: BTreeMap<&RunId, RunNo> = self.runs.iter().map(|(no, run)| (&run.id, *no)).collect();
        let expected: BTreeSet<_> = self.turns(now).map(|(run, task)| (number[&run.id], task)).collect();
        assert_eq!(set, expected, "the tasks of the incremental term that wait for their turn");
        assert_eq!(set.len(), there.len(), "a task waits twice");
        let afresh: BTreeSet<_> = queued(&rebuilt).into_iter().chain(rebuilt.opening.clone()).chain(rebuilt.acting.clone()).collect();
        assert_eq!(afresh, expected, "the tasks of a rebuilt term that wait for their turn");
        let open = |no: &RunNo| self.runs[no].state == State::Running && self.runs[no].archived.is_none();
        for (no, task) in queued(term) {
            assert!(open(&no), "task {task} of {} waits, which has ended", self.runs[&no].id);
        }
        for gate in term.gates.known() {
            if let Gate::Mapped(no, _) | Gate::Run(no) = gate {
                assert!(open(&no), "{gate:?} of a run that has ended");
            }
        }
        let attached: BTreeSet<_> = term.lanes.sessions().map(|(session, ..)| session.clone()).collect();
        assert_eq!(attached, self.sessions.keys().cloned().collect(), "the attached sessions");
        for (session, offers, used) in term.lanes.sessions() {
            assert_eq!(used, self.per_session.get(session).copied().unwrap_or(0), "slots of {} taken", offers.worker);
            let closed = self.sessions[session].leaving || self.drained.contains(&offers.worker);
            assert_eq!(offers.closed(), closed, "{} takes leases", offers.worker);
        }
    }

    fn timers_agree(&self, leader: &Scheduler, now: Timestamp) {
        let (state, term) = (leader.state(), &leader.term);
        let rebuilt = Term::of(state, Now { now, wall: now, random: 0, may_fire: true });
        for (timer, at) in rebuilt.timers.all() {
            let known = term.timers.all().get(timer);
            let right = match timer {
                // The wait began at some time before: only a rebuilt term starts it anew.
                Timer::QueueTimeout(..) => known.is_some_and(|k| k <= at),
                Timer::Housekeeping | Timer::RoomAgain => known.is_some(),
                _ => known == Some(at),
            };
            assert!(right, "timer {timer:?} is {known:?} and should be {at}");
        }
        let first = term.timers.first();
        assert!(first.is_none_or(|at| at > now), "timer {first:?} is due at {now} and has not fired");
        for (timer, at) in term.timers.all() {
            let live = match timer {
                Timer::Due(no, _) | Timer::WaitedOut(no, _) | Timer::QueueTimeout(no, _) | Timer::RunTimeout(no) => {
                    self.runs[no].state == State::Running && self.runs[no].archived.is_none()
                }
                Timer::Overdue(fence) => self.live.contains_key(fence),
                Timer::Housekeeping | Timer::RoomAgain => true,
            };
            assert!(live, "timer {timer:?} at {at} is of what has ended");
        }
        for (no, task, _) in self.live.values() {
            let live = state.runs[no].task(*task).live().unwrap();
            if let Some(at) = overdue_at(self.runs[no].spec(*task), self.runs[no].tasks[*task as usize].changed_at) {
                assert_eq!(term.timers.all().get(&Timer::Overdue(live.fence)), Some(&at), "the backstop of {}", live.fence);
            }
        }
    }

    /// Liveness: no task waits beside everything it needs, and nothing that could be decided is left.
    fn nothing_idles(&self, leader: &Scheduler, now: Timestamp) {
        for (run, task) in self.turns(now).filter(|(run, task)| self.is_free(run, *task)) {
            let spec = run.spec(task);
            let name = format!("{}/{}", run.id, run.name(task));
            assert!(!spec.action.is_the_schedulers(), "{name} needs no worker and waits");
            let idle = self.free_for(run, task);
            let Some(worker) = idle else { continue };
            if run.yields && !self.has_share(spec) {
                continue;
            }
            if let Some(pool) = &spec.pool {
                let free = self.pools.get(pool).copied().unwrap_or(0).saturating_sub(self.pool_used(pool));
                // A wider one whose turn comes first keeps the pool for itself.
                let wider = |(other, t): (&RunShadow, u32)| {
                    let wide = other.spec(t);
                    let fits = wide.pool_slots <= self.pools.get(pool).copied().unwrap_or(0);
                    wide.pool.as_ref() == Some(pool) && wide.pool_slots > free && fits && self.free_for(other, t).is_some()
                };
                if spec.pool_slots > free || self.turns(now).any(wider) {
                    continue;
                }
            }
            panic!("{name} waits beside a free slot of {worker}");
        }
        assert!(leader.next_deadline().is_some_and(|at| at > now), "work is left over: {:?}", leader.next_deadline());
    }

    /// Whether backfills hold less than half of what serves a task's queue.
    fn has_share(&self, spec: &penstock_common::pipeline::Task) -> bool {
        let takes = |(no, task, _): &&(RunNo, u32, penstock_common::SessionId)| {
            self.runs[no].yields && self.runs[no].spec(*task).queue == spec.queue
        };
        let used = self.live.values().filter(takes).count() as u32;
        let open = self.sessions.values().filter(|s| !s.leaving && !self.drained.contains(&s.worker) && s.queues.contains(&spec.queue));
        used == 0 || 2 * (used + 1) <= open.map(|s| s.slots).sum()
    }

    /// A worker with a free slot for a task.
    fn free_for(&self, run: &RunShadow, task: u32) -> Option<&penstock_common::WorkerName> {
        let idle = self.sessions.iter().find(|(session, offers)| {
            let taken = self.per_session.get(*session).copied().unwrap_or(0);
            offers.serves(run.spec(task)) && !offers.leaving && !self.drained.contains(&offers.worker) && taken < offers.slots
        });
        idle.map(|(_, offers)| &offers.worker)
    }
}
