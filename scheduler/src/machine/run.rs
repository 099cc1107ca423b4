//! The run machine, and the run as state holds it: its record, its plan, and its tasks in chunks that are shared
//! with checkpoints and copied only when written.
//!
//! ```text
//! PENDING (queued) ─▶ RUNNING ─▶ SUCCESS | FAILED | CANCELLED
//!     └──────────────────────────▶ CANCELLED          (any of these ─▶ PENDING: a new generation, queued like a new run)
//! ```

use std::sync::Arc;

use penstock_common::limits::TASKS_PER_CHUNK;
use penstock_common::record::{RunRecord, TaskRecord};
use penstock_common::{Reason, State};

use super::Broken;
use super::task::{Task, Upstream};
use crate::plan::Plan;

/// A run in state.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) record: RunRecord,
    pub(crate) plan: Arc<Plan>,
    pub(crate) output_bytes: usize,
    /// The number of the cut during which an event last changed it.
    pub(crate) changed: u64,
    chunks: Vec<Arc<Chunk>>,
}

/// The unit that is copied on write and written to a checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    pub(crate) tasks: Vec<Task>,
    /// The number of the cut during which it was last written.
    pub(crate) changed: u64,
}

impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        self.record == other.record
            && self.plan == other.plan
            && self.output_bytes == other.output_bytes
            && self.chunks.len() == other.chunks.len()
            && self.chunks.iter().zip(&other.chunks).all(|(a, b)| a.tasks == b.tasks)
    }
}

impl Run {
    /// A new run, all its tasks PENDING.
    pub(crate) fn new(mut record: RunRecord, plan: Arc<Plan>, cut: u64) -> Self {
        record.tasks = u32::try_from(plan.len()).unwrap_or(u32::MAX);
        record.counts = [0; 7];
        record.counts[State::Pending as usize] = record.tasks;
        let chunks = plan
            .tasks()
            .chunks(TASKS_PER_CHUNK)
            .map(|tasks| Arc::new(Chunk { tasks: tasks.iter().map(|t| Task::new(t.upstream.len())).collect(), changed: cut }))
            .collect();
        Self { record, plan, output_bytes: 0, changed: cut, chunks }
    }

    /// From a checkpoint: counters are computed again from the states.
    pub(crate) fn restore(record: RunRecord, plan: Arc<Plan>, tasks: Vec<TaskRecord>) -> Result<Self, Broken> {
        if tasks.len() != plan.len() {
            return Err(Broken::new(format_args!(
                "run {} has {} tasks in the checkpoint and {} in its plan",
                record.id,
                tasks.len(),
                plan.len()
            )));
        }
        let mut run = Self::new(record.clone(), plan, 0);
        run.record = record;
        for (index, kept) in (0u32..).zip(tasks) {
            *run.task_mut(index, 0) = Task {
                state: kept.state,
                reason: kept.reason,
                upstream: Upstream::default(),
                failures: kept.failures,
                lost: kept.lost,
                deaths: kept.deaths,
                not_before: kept.not_before,
                attempts: kept.attempts,
                outputs: (!kept.outputs.0.is_empty()).then(|| Box::new(kept.outputs)),
            };
        }
        run.derive(0);
        Ok(run)
    }

    /// Computes what follows from the tasks' states: counts, counters, bytes of outputs.
    pub(crate) fn derive(&mut self, cut: u64) {
        self.record.counts = [0; 7];
        self.output_bytes = 0;
        for index in (0..).take(self.plan.len()) {
            let task = self.task(index);
            let (state, bytes) = (task.state, task.outputs.as_ref().map_or(0, |o| o.bytes()));
            self.record.counts[state as usize] += 1;
            self.output_bytes += bytes;
            self.recount(index, cut);
        }
    }

    pub(crate) fn task(&self, index: u32) -> &Task {
        &self.chunks[index as usize / TASKS_PER_CHUNK].tasks[index as usize % TASKS_PER_CHUNK]
    }

    /// For events from outside: an index that the plan does not have is a broken invariant, not a panic.
    pub(crate) fn check(&self, index: u32) -> Result<(), Broken> {
        if index < self.record.tasks { Ok(()) } else { Err(Broken::new(format_args!("run {} has no task {index}", self.record.id))) }
    }

    pub(crate) fn task_mut(&mut self, index: u32, cut: u64) -> &mut Task {
        let chunk = Arc::make_mut(&mut self.chunks[index as usize / TASKS_PER_CHUNK]);
        chunk.changed = cut;
        &mut chunk.tasks[index as usize % TASKS_PER_CHUNK]
    }

    pub(crate) fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    /// Moves a task and keeps the counts.
    pub(crate) fn go(&mut self, index: u32, to: State, reason: Option<Reason>, cut: u64) -> Result<(), Broken> {
        let task = self.task_mut(index, cut);
        let from = task.state;
        task.go(to, reason)?;
        self.record.counts[from as usize] -= 1;
        self.record.counts[to as usize] += 1;
        Ok(())
    }

    /// Tells the tasks below a terminal one. Returns them.
    pub(crate) fn settle(&mut self, index: u32, cut: u64) -> Result<Vec<u32>, Broken> {
        let Some(outcome) = self.task(index).outcome() else {
            return Err(Broken::new("only a terminal task is settled"));
        };
        let plan = self.plan.clone();
        let downstream = &plan.task(index).downstream;
        for &below in downstream {
            self.task_mut(below, cut).upstream.settle(outcome);
        }
        Ok(downstream.clone())
    }

    /// Computes a task's counters from its upstreams' states.
    pub(crate) fn recount(&mut self, index: u32, cut: u64) {
        let plan = self.plan.clone();
        let upstream = &plan.task(index).upstream;
        let mut counters = Upstream { open: u32::try_from(upstream.len()).unwrap_or(u32::MAX), failed: 0, skipped: 0 };
        for &above in upstream {
            if let Some(outcome) = self.task(above).outcome() {
                counters.settle(outcome);
            }
        }
        self.task_mut(index, cut).upstream = counters;
    }

    pub(crate) fn count(&self, state: State) -> u32 {
        self.record.counts[state as usize]
    }

    /// Tasks that are not terminal.
    pub(crate) fn open_tasks(&self) -> u32 {
        self.count(State::Pending) + self.count(State::Running) + self.count(State::Retry)
    }

    /// Whether its tasks may be leased.
    pub(crate) fn is_active(&self) -> bool {
        self.record.state == State::Running && self.record.cancel.is_none() && self.record.quarantined.is_none()
    }

    /// How the run ends, once every task is terminal.
    pub(crate) fn verdict(&self) -> (State, Option<Reason>) {
        match self.record.cancel {
            Some(Reason::RunTimeout) => (State::Failed, Some(Reason::RunTimeout)),
            Some(reason) => (State::Cancelled, Some(reason)),
            None if self.count(State::Failed) > 0 => (State::Failed, Some(Reason::TaskFailed)),
            None => (State::Success, None),
        }
    }
}

/// Whether a run may go from one state to another.
pub(crate) fn allowed(from: State, to: State) -> bool {
    use State::{Cancelled, Failed, Pending, Running, Success};
    matches!((from, to), (Pending, Running | Cancelled) | (Running, Success | Failed | Cancelled) | (Success | Failed | Cancelled, Pending))
}

/// Moves a run.
pub(crate) fn go(record: &mut RunRecord, to: State, reason: Option<Reason>) -> Result<(), Broken> {
    if !allowed(record.state, to) {
        return Err(Broken::new(format_args!("run {} cannot go from {} to {to}", record.id, record.state)));
    }
    record.state = to;
    record.reason = reason;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_drawing() {
        use State::{Cancelled, Failed, Pending, Running, Success};
        let drawn = [
            (Pending, Running),
            (Pending, Cancelled),
            (Running, Success),
            (Running, Failed),
            (Running, Cancelled),
            (Success, Pending),
            (Failed, Pending),
            (Cancelled, Pending),
        ];
        for from in State::ALL {
            for to in State::ALL {
                assert_eq!(allowed(from, to), drawn.contains(&(from, to)), "{from} -> {to}");
            }
        }
    }
}
