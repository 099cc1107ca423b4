//! The run machine, and the run as state holds it: its record, its plan, and its tasks in chunks that are shared
//! with checkpoints and copied only when written.
//!
//! ```text
//! PENDING (queued) ─▶ RUNNING ─▶ SUCCESS | FAILED | CANCELLED
//!     └──────────────────────────▶ SUCCESS | FAILED (people marked every task) | CANCELLED
//!                                  (any of these ─▶ PENDING: a new generation, queued like a new run)
//! ```

mod instances;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_common::limits::TASKS_PER_CHUNK;
use penstock_common::pipeline::Task as Spec;
use penstock_common::record::{Audit, RunRecord, TaskRecord};
use penstock_common::state::Outcome;
use penstock_common::{Digest, Index, Items, Reason, State, TaskKey, Timestamp};

use super::Broken;
use super::mapping::{Expansion, Mapping};
use super::rule::{Needs, Upstream, Verdict};
use super::task::{Rare, Task};
use crate::plan::{Plan, PlannedTask};

/// The verb of a cancel that stops teardowns too, as the run's audit keeps it.
pub(crate) const CANCEL_NOW: &str = "cancel --now";

/// A run in state.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) record: RunRecord,
    pub(crate) plan: Arc<Plan>,
    pub(crate) output_bytes: usize,
    /// Live leases.
    pub(crate) leased: u32,
    /// What it counts for among live tasks.
    pub(crate) weight: usize,
    /// The number of the cut during which an event last changed it.
    pub(crate) changed: u64,
    pub(crate) mapping: Arc<Mapping>,
    chunks: Vec<Arc<Chunk>>,
    slots: u32,
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
            && self.leased == other.leased
            && self.mapping == other.mapping
            && self.chunks.len() == other.chunks.len()
            && self.chunks.iter().zip(&other.chunks).all(|(a, b)| a.tasks == b.tasks)
    }
}

impl Run {
    /// A new run, all its tasks PENDING.
    pub(crate) fn new(mut record: RunRecord, plan: Arc<Plan>, cut: u64) -> Self {
        let slots = u32::try_from(plan.len()).unwrap_or(u32::MAX);
        record.tasks = slots;
        record.counts = [0; 7];
        record.counts[State::Pending as usize] = slots;
        let open = |t: &PlannedTask| {
            let mut upstream = Upstream::default();
            t.upstream.iter().for_each(|edge| upstream.read(None, edge.accepts));
            Task::new(upstream)
        };
        let chunk = |tasks: &[PlannedTask]| Arc::new(Chunk { tasks: tasks.iter().map(open).collect(), changed: cut });
        let chunks = plan.tasks().chunks(TASKS_PER_CHUNK).map(chunk).collect();
        Self { record, plan, output_bytes: 0, leased: 0, weight: 0, changed: cut, mapping: Arc::default(), chunks, slots }
    }

    /// From a checkpoint: what follows from the tasks' states is computed again.
    pub(crate) fn restore(
        record: RunRecord,
        plan: Arc<Plan>,
        tasks: Vec<TaskRecord>,
        items: &BTreeMap<Digest, Arc<Items>>,
    ) -> Result<Self, Broken> {
        let mut mapping = Mapping::default();
        for (node, task) in (0u32..).zip(tasks.iter().take(plan.len())) {
            if let Some(mapped) = &task.mapped {
                mapping.restore(node, mapped.count, mapped.segments.clone());
            }
        }
        let instances: usize = mapping.nodes().map(|(_, e)| e.capacity() as usize).sum();
        let expected = plan.len() + instances;
        if tasks.len() != expected {
            let found = tasks.len();
            return Err(Broken::new(format_args!("run {} has {found} tasks in the checkpoint and {expected} by its plan", record.id)));
        }
        let mut run = Self::new(record.clone(), plan, 0);
        run.record = record;
        run.mapping = Arc::new(mapping);
        run.grow(instances as u32, 0);
        for (index, kept) in (0u32..).zip(tasks) {
            let rare =
                Rare { detail: kept.detail, child: kept.child, stopping: kept.stopping, tried_until: kept.tried_until, items: kept.items };
            *run.task_mut(index, 0) = Task {
                state: kept.state,
                reason: kept.reason,
                upstream: Upstream::default(),
                failures: kept.failures,
                lost: kept.lost,
                deaths: kept.deaths,
                not_before: kept.not_before,
                changed_at: kept.changed_at,
                attempts: kept.attempts,
                outputs: (!kept.outputs.0.is_empty()).then(|| Box::new(kept.outputs)),
                rare: (rare != Rare::default()).then(|| Box::new(rare)),
            };
        }
        let live: Vec<u32> = run.mapping.nodes().filter(|(_, e)| e.count > 0).map(|(node, _)| node).collect();
        // Those that take another's items come after it: sources are above.
        let mut missing = live;
        while !missing.is_empty() {
            let before = missing.len();
            missing.retain(|&node| match run.items_of(node, items) {
                Ok(found) => {
                    if let Some(expansion) = Arc::make_mut(&mut run.mapping).get_mut(node) {
                        expansion.items = Some(found);
                    }
                    false
                }
                Err(_) => true,
            });
            if missing.len() == before {
                let id = &run.plan.task(missing[0]).id;
                return Err(Broken::new(format_args!("run {}: the items of {id} are not to be found", run.record.id)));
            }
        }
        run.derive(0);
        Ok(run)
    }

    /// Computes what follows from the tasks' states: counts, counters, bytes of outputs.
    pub(crate) fn derive(&mut self, cut: u64) {
        self.record.counts = [0; 7];
        (self.output_bytes, self.leased) = (0, 0);
        let mapping = Arc::make_mut(&mut self.mapping);
        let nodes: Vec<u32> = mapping.nodes().map(|(node, _)| node).collect();
        for node in nodes {
            if let Some(expansion) = mapping.get_mut(node) {
                expansion.counts = [0; 7];
            }
        }
        for index in 0..self.slots {
            let task = self.task(index);
            let (state, bytes) = (task.state, task.outputs.as_ref().map_or(0, |o| o.bytes()));
            let leased = u32::from(task.live().is_some());
            self.output_bytes += bytes;
            self.leased += leased;
            self.count_in(index, state, 1);
        }
        self.record.tasks = self.record.counts.iter().sum();
        for index in 0..self.slots {
            self.recount(index, cut);
        }
    }

    pub(crate) fn task(&self, index: u32) -> &Task {
        &self.chunks[index as usize / TASKS_PER_CHUNK].tasks[index as usize % TASKS_PER_CHUNK]
    }

    /// Everything of it counts as changed: the next checkpoint writes it whole.
    pub(crate) fn touch(&mut self, cut: u64) {
        self.changed = cut;
        for chunk in &mut self.chunks {
            Arc::make_mut(chunk).changed = cut;
        }
    }

    /// Indices there are: nodes of the plan, then instances, those that are gone among them.
    pub(crate) fn slots(&self) -> u32 {
        self.slots
    }

    /// For events from outside: an index that the run does not have is a broken invariant, not a panic.
    pub(crate) fn check(&self, index: u32) -> Result<(), Broken> {
        if index < self.slots { Ok(()) } else { Err(Broken::new(format_args!("run {} has no task {index}", self.record.id))) }
    }

    pub(crate) fn task_mut(&mut self, index: u32, cut: u64) -> &mut Task {
        let chunk = Arc::make_mut(&mut self.chunks[index as usize / TASKS_PER_CHUNK]);
        chunk.changed = cut;
        &mut chunk.tasks[index as usize % TASKS_PER_CHUNK]
    }

    pub(crate) fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    /// The node of the plan that an index is, or is an instance of.
    pub(crate) fn node(&self, index: u32) -> u32 {
        self.instance(index).map_or(index, |(node, _)| node)
    }
    /// The node and the number of an instance.
    pub(crate) fn instance(&self, index: u32) -> Option<(u32, u32)> {
        if (index as usize) < self.plan.len() { None } else { self.mapping.instance(index) }
    }
    pub(crate) fn planned(&self, index: u32) -> &PlannedTask {
        self.plan.task(self.node(index))
    }
    pub(crate) fn spec(&self, index: u32) -> &Arc<Spec> {
        &self.planned(index).spec
    }
    /// A mapped node that has instances now.
    pub(crate) fn is_expanded(&self, index: u32) -> bool {
        self.mapping.live(index).is_some()
    }
    /// An instance of an earlier generation that this one does not have.
    pub(crate) fn is_gone(&self, index: u32) -> bool {
        self.instance(index).is_some_and(|(node, number)| self.mapping.of(node).is_none_or(|e| number >= e.count))
    }
    /// What users call it.
    pub(crate) fn key(&self, index: u32) -> TaskKey {
        match self.instance(index) {
            None => TaskKey::from(self.plan.task(index).id.clone()),
            Some((node, number)) => {
                let items = self.mapping.of(node).and_then(|e| e.items.as_ref());
                let name = items.map_or(Index::Number(number), |items| items.index(number));
                TaskKey { task: self.plan.task(node).id.clone(), index: Some(name) }
            }
        }
    }
    /// The index of what users call so.
    pub(crate) fn find(&self, key: &TaskKey) -> Option<u32> {
        let node = self.plan.find(&key.task)?;
        let Some(wanted) = &key.index else { return Some(node) };
        let expansion = self.mapping.live(node)?;
        let number = expansion.items.as_ref()?.find(wanted)?;
        expansion.index_of(number)
    }

    /// Moves a task and keeps the counts; the last instance of a mapped task that ends, ends that too.
    pub(crate) fn go(&mut self, index: u32, to: State, reason: Option<Reason>, at: Timestamp, cut: u64) -> Result<(), Broken> {
        let task = self.task_mut(index, cut);
        let from = task.state;
        task.go(to, reason, at)?;
        self.count_in(index, from, -1);
        self.count_in(index, to, 1);
        Ok(())
    }

    fn count_in(&mut self, index: u32, state: State, by: i32) {
        let add = |n: &mut u32| *n = n.saturating_add_signed(by);
        match self.instance(index) {
            None if self.is_expanded(index) => {}
            None => add(&mut self.record.counts[state as usize]),
            Some(_) if self.is_gone(index) => {}
            Some((node, _)) => {
                if let Some(expansion) = Arc::make_mut(&mut self.mapping).get_mut(node) {
                    add(&mut expansion.counts[state as usize]);
                }
                add(&mut self.record.counts[state as usize]);
            }
        }
    }

    /// What those below read of it. A failure that may yet be tolerated is not read before all instances have ended.
    pub(crate) fn outcome(&self, index: u32) -> Option<Outcome> {
        let task = self.task(index);
        let outcome = Outcome::of(task.state, task.reason)?;
        if task.state != State::Failed {
            return Some(outcome);
        }
        let spec = self.spec(index);
        if spec.allow_failure {
            return Some(Outcome::Success);
        }
        match (self.instance(index), spec.max_failed) {
            (Some((node, _)), Some(_)) => match self.task(node).state {
                State::Success => Some(Outcome::Success),
                state if state.is_terminal() => Some(Outcome::Failed),
                _ => None,
            },
            _ => Some(outcome),
        }
    }

    /// What its rule says: for a mapped task whether it may be expanded, for an instance whether it may start.
    pub(crate) fn verdict_of(&self, index: u32) -> Verdict {
        if self.instance(index).is_some() {
            return self.task(index).upstream.verdict(Needs::All);
        }
        let planned = self.plan.task(index);
        match self.task(index).upstream.verdict(planned.needs) {
            Verdict::Ready if planned.waits_for_source().is_some_and(|source| !self.task(source).state.is_terminal()) => Verdict::Wait,
            verdict => verdict,
        }
    }

    /// Tells the tasks below a terminal one. Returns those for which that changes something.
    pub(crate) fn settle(&mut self, index: u32, at: Timestamp, cut: u64) -> Result<Vec<u32>, Broken> {
        let mut touched = Vec::new();
        if !self.task(index).state.is_terminal() {
            return Err(Broken::new("only a terminal task is settled"));
        }
        if let Some(outcome) = self.outcome(index) {
            self.tell(index, outcome, cut, &mut touched);
        }
        if self.instance(index).is_none() {
            touched.extend(&self.plan.task(index).feeds);
        }
        if let Some((node, _)) = self.instance(index)
            && let Some(expansion) = self.mapping.live(node).filter(|e| e.open() == 0 && !self.task(node).state.is_terminal())
        {
            let (state, reason) = self.together(node, expansion);
            let deferred: Vec<u32> = match self.plan.task(node).spec.max_failed {
                Some(_) => expansion.indices().filter(|&i| self.task(i).state == State::Failed).collect(),
                None => Vec::new(),
            };
            self.go(node, state, reason, at, cut)?;
            touched.extend(&self.plan.task(node).feeds);
            if !self.plan.task(node).spec.allow_failure {
                for failed in deferred {
                    if let Some(outcome) = self.outcome(failed) {
                        self.tell(failed, outcome, cut, &mut touched);
                    }
                }
            }
        }
        Ok(touched)
    }

    fn tell(&mut self, index: u32, outcome: Outcome, cut: u64, touched: &mut Vec<u32>) {
        let plan = self.plan.clone();
        let number = self.instance(index).map(|(_, number)| number);
        for edge in &plan.task(self.node(index)).downstream {
            let below = match (edge.paired, number) {
                (false, _) | (true, None) => Some(edge.task),
                // Before it is expanded there is nobody to tell: its instances will look.
                (true, Some(number)) => self.mapping.live(edge.task).and_then(|e| e.index_of(number)),
            };
            if let Some(below) = below {
                let before = self.verdict_of(below);
                self.task_mut(below, cut).upstream.settle(outcome, edge.accepts);
                // So that nobody waits for a turn twice.
                if self.verdict_of(below) != before {
                    touched.push(below);
                }
            }
        }
    }

    /// How a mapped task ends with its instances.
    fn together(&self, node: u32, expansion: &Expansion) -> (State, Option<Reason>) {
        let spec = &self.plan.task(node).spec;
        let failed = expansion.count(State::Failed);
        let tolerated = spec.allow_failure || spec.max_failed.map_or(failed == 0, |most| most.tolerates(failed, expansion.count));
        if expansion.count(State::Cancelled) > 0 {
            // One of an earlier generation, of whose instances only others were rerun, keeps its reason.
            let of_one = || expansion.indices().map(|i| self.task(i)).find(|t| t.state == State::Cancelled).and_then(|t| t.reason);
            return (State::Cancelled, self.record.cancel.or_else(of_one));
        }
        if !tolerated {
            return (State::Failed, Some(Reason::TaskFailed));
        }
        if expansion.count(State::Success) + failed > 0 {
            return (State::Success, None);
        }
        let reasons = expansion.indices().filter_map(|i| self.task(i).reason);
        (State::Skipped, reasons.min_by_key(|reason| (*reason != Reason::UpstreamFailed, *reason)))
    }

    pub(crate) fn count(&self, state: State) -> u32 {
        self.record.counts[state as usize]
    }

    /// Tasks that are not terminal.
    pub(crate) fn open_tasks(&self) -> u32 {
        self.count(State::Pending) + self.count(State::Running) + self.count(State::Retry)
    }

    /// Whether anything of it is decided on.
    pub(crate) fn is_open(&self) -> bool {
        self.record.state == State::Running && self.record.quarantined.is_none()
    }

    /// Whether a task of it may be started, pauses apart: in a cancelled run only teardowns.
    pub(crate) fn may_start(&self, index: u32) -> bool {
        self.is_open() && (self.record.cancel.is_none() || self.spec(index).teardown)
    }

    /// The newest of what people did to it.
    pub(crate) fn note(&mut self, audit: Audit) {
        self.record.audit.push(audit);
        if self.record.audit.len() > penstock_common::limits::MAX_AUDIT_PER_RUN {
            self.record.audit.remove(0);
        }
    }
}

/// Whether a run may go from one state to another.
pub(crate) fn allowed(from: State, to: State) -> bool {
    use State::{Cancelled, Failed, Pending, Running, Success};
    matches!(
        (from, to),
        (Pending, Running | Success | Failed | Cancelled)
            | (Running, Success | Failed | Cancelled)
            | (Success | Failed | Cancelled, Pending)
    )
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
            (Pending, Success),
            (Pending, Failed),
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
