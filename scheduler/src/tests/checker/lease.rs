//! A lease: everything that must hold when an attempt starts.

use penstock_common::pipeline::Task;
use penstock_common::{Fence, Reason, RunNo, SessionId, State, Timestamp, WorkerName};

use super::Checker;
use super::shadow::{RunShadow, Says};

impl Checker {
    pub(super) fn leased(
        &mut self,
        no: RunNo,
        task: u32,
        number: u32,
        fence: Fence,
        (session, worker): (&SessionId, &WorkerName),
        now: Timestamp,
    ) {
        let run = &self.runs[&no];
        let shadow = &run.tasks[task as usize];
        let (name, spec) = (run.name(task), run.spec(task).clone());
        assert!(
            run.may_start(task) && !self.is_paused(run),
            "T8: run {} is {} (cancel {:?}, paused {}) and leases {name}",
            run.id,
            run.state,
            run.cancel,
            run.paused
        );
        assert_ne!(shadow.state, State::Success, "T9: a success is executed again");
        assert!(run.is_present(task) && !run.is_expanded(task), "T2: {name} has instances, or is gone, and is leased");
        assert!(!spec.action.is_the_schedulers(), "{name} needs no worker");
        let resumes = (shadow.state, shadow.reason) == (State::Running, Some(Reason::Waiting));
        let due = shadow.not_before.is_none_or(|at| at <= now);
        match shadow.state {
            State::Pending => {
                assert_eq!(run.says(task), Says::Run, "T2: {name} of {} is leased before its rule is satisfied", run.id);
                assert!(!matches!(run.condition(task), Some(Ok(false) | Err(()))), "T2: {name} is leased and its `if` does not hold");
            }
            State::Retry => assert!(due, "T6: a retry starts before its time"),
            _ => assert!(resumes && due, "T1: {name} is {}({:?}) and is leased", shadow.state, shadow.reason),
        }
        let expected = if resumes { shadow.attempts } else { shadow.attempts + 1 };
        assert_eq!(number, expected, "T3: attempts are numbered without a gap");
        assert!(shadow.live.is_none(), "T3, T4: an attempt starts before the last one ended");
        assert!(fence > self.last_fence, "T4: fence {fence} after {}", self.last_fence);
        let budget = spec.retries.max + spec.max_lost;
        assert!(resumes || shadow.of_generation <= budget, "T6: attempt {} of a generation: {shadow:?}", shadow.of_generation + 1);
        self.limits_hold(run, task, resumes);
        if self.judges_inputs {
            let attached = self.sessions.get(session).expect("a lease to a session that is not attached");
            assert_eq!(attached.worker, *worker);
            assert!(attached.serves(&spec), "T7: {worker} does not serve queue {} with {:?}", spec.queue, spec.labels);
            assert!(!attached.leaving && !self.drained.contains(worker), "a drained or leaving worker gets a lease");
            let taken = self.per_session.get(session).copied().unwrap_or(0);
            assert!(taken < attached.slots, "T7: {taken} of {} slots of {worker} are taken, and one more", attached.slots);
            if self.deep {
                self.goes_first(&name, &spec, now);
            }
        }
        self.last_fence = fence;
        self.live.insert(fence, (no, task, session.clone()));
        *self.per_session.entry(session.clone()).or_default() += 1;
        let shadow = &mut self.runs.get_mut(&no).unwrap().tasks[task as usize];
        (shadow.state, shadow.reason, shadow.not_before, shadow.changed_at) = (State::Running, None, None, now);
        shadow.live = Some(fence);
        shadow.first_probe.get_or_insert(now);
        if !resumes {
            shadow.attempts += 1;
            shadow.of_generation += 1;
        }
    }

    /// T7, of limits that are not a worker's.
    fn limits_hold(&self, run: &RunShadow, task: u32, resumes: bool) {
        let (name, spec) = (run.name(task), run.spec(task));
        // A sensor that waits runs already.
        assert!(
            resumes || self.gate_is_open(run, task),
            "T7: {name} starts beside {} of max_parallel {:?}",
            self.running(run, task),
            spec.max_parallel
        );
        let leased = self.leased_of(run);
        let most = run.plan.pipeline.max_active_tasks;
        assert!(most.is_none_or(|most| leased < most), "T7: {name} starts beside {leased} of max_active_tasks {most:?}");
        if let Some(pool) = &spec.pool {
            let (used, slots) = (self.pool_used(pool), self.pools.get(pool).copied().unwrap_or(0));
            assert!(used.saturating_add(spec.pool_slots) <= slots, "T7: {used} of {slots} of pool {pool}, and {} more", spec.pool_slots);
        }
    }

    /// Instances beside it that are RUNNING.
    fn running(&self, run: &RunShadow, task: u32) -> usize {
        let running = |t: &&u32| run.tasks[**t as usize].state == State::Running;
        run.instances(run.node(task)).iter().filter(running).count()
    }

    pub(super) fn leased_of(&self, run: &RunShadow) -> u32 {
        run.tasks.iter().filter(|t| t.live.is_some()).count() as u32
    }

    /// `max_parallel` lets another instance start.
    pub(super) fn gate_is_open(&self, run: &RunShadow, task: u32) -> bool {
        let most = run.spec(task).max_parallel.filter(|_| run.tasks[task as usize].instance.is_some());
        most.is_none_or(|most| self.running(run, task) < most as usize)
    }

    /// The limits of its run, and the width of its pool, would let it start now.
    pub(super) fn is_free(&self, run: &RunShadow, task: u32) -> bool {
        let resumes = run.tasks[task as usize].state == State::Running;
        let by_run =
            run.spec(task).action.is_the_schedulers() || run.plan.pipeline.max_active_tasks.is_none_or(|most| self.leased_of(run) < most);
        by_run && (resumes || self.gate_is_open(run, task))
    }

    /// No task of a higher priority that could start waits in the same lane.
    fn goes_first(&self, name: &str, spec: &Task, now: Timestamp) {
        let lane = |other: &Task| other.queue == spec.queue && other.labels == spec.labels && other.pool == spec.pool;
        let fits = |other: &Task| other.pool.as_ref().is_none_or(|pool| other.pool_slots <= self.pools.get(pool).copied().unwrap_or(0));
        let better = self.ready(now).find(|(run, t)| {
            let other = run.spec(*t);
            lane(other) && fits(other) && other.priority > spec.priority && self.is_free(run, *t)
        });
        let better = better.map(|(run, t)| format!("{}/{}", run.id, run.name(t)));
        assert_eq!(better, None, "a task of higher priority than {name} waits in the same lane");
    }

    /// Every task that needs a worker and waits for nothing but its turn.
    pub(super) fn ready(&self, now: Timestamp) -> impl Iterator<Item = (&RunShadow, u32)> {
        self.turns(now).filter(|(run, t)| !run.spec(*t).action.is_the_schedulers())
    }

    /// Every task that waits for nothing but its turn.
    pub(super) fn turns(&self, now: Timestamp) -> impl Iterator<Item = (&RunShadow, u32)> {
        let open = self.runs.values().filter(|run| run.archived.is_none() && run.state == State::Running);
        let open = open.filter(|run| !self.is_paused(run));
        open.flat_map(move |run| run.own().filter(move |&t| run.ready(t, now)).map(move |t| (run, t)))
    }
}
