//! The invariants, numbered as in `docs/invariants.md`, checked after every event and every step.
//!
//! [`Checker`] keeps its own account of every run from the events alone ([`shadow`]), by rescanning where the scheduler counts, so that a
//! fault in the one is not repeated in the other. Here is what belongs to no run; [`events`] judges events of runs, [`judge`] the
//! leader after a step.

mod events;
mod generation;
mod judge;
mod lease;
mod shadow;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_common::limits::{MAX_EVENT_BYTES_PER_INPUT, MAX_EVENTS_PER_INPUT};
use penstock_common::pipeline::Task;
use penstock_common::{
    Digest, Epoch, Event, Fence, Items, PipelineName, PoolName, QueueName, RunId, RunNo, SessionId, Timestamp, WorkerName,
};

pub(super) use self::generation::Asked;
pub(super) use self::shadow::RunShadow;
use crate::decide::bytes_of;
use crate::{Plan, Scheduler, Snapshot, SnapshotRun};

/// What the checker knows of all runs that ever were, and of the workers attached to the present leader.
#[derive(Debug, Clone, Default)]
pub(super) struct Checker {
    pub(super) runs: BTreeMap<RunNo, RunShadow>,
    pub(super) definitions: BTreeMap<Digest, Arc<Plan>>,
    pub(super) items: BTreeMap<Digest, Arc<Items>>,
    pub(super) sessions: BTreeMap<SessionId, Attached>,
    /// The generation that the input asks for.
    pub(super) asked: Option<Asked>,
    /// Off while committed events are read again: who was attached then, and what was asked, is forgotten.
    judges_inputs: bool,
    /// Off where a scan of everything at every step would take too long.
    pub(super) deep: bool,
    ids: BTreeMap<RunId, RunNo>,
    versions: BTreeMap<PipelineName, BTreeMap<u32, Arc<Plan>>>,
    paused: BTreeSet<PipelineName>,
    unregistered: BTreeSet<PipelineName>,
    pools: BTreeMap<PoolName, u32>,
    drained: BTreeSet<WorkerName>,
    live: BTreeMap<Fence, (RunNo, u32, SessionId)>,
    per_session: BTreeMap<SessionId, u32>,
    last_fence: Fence,
    epoch: Epoch,
    /// Where the next interval of each schedule begins.
    watermarks: BTreeMap<PipelineName, Timestamp>,
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

impl Checker {
    pub(super) fn new() -> Self {
        Self { deep: true, judges_inputs: true, ..Self::default() }
    }

    /// What a new leader can know: the committed events, and no worker.
    pub(super) fn reread(&self, committed: &[(i64, Event)]) -> Self {
        let (definitions, items) = (self.definitions.clone(), self.items.clone());
        let mut checker = Self { definitions, items, deep: self.deep, ..Self::default() };
        for (now, event) in committed {
            checker.event(event, Timestamp(*now));
        }
        Self { judges_inputs: true, ..checker }
    }

    /// Judges each event of one decision in turn.
    pub(super) fn observe(&mut self, events: &[Event], now: Timestamp) {
        assert!(events.len() <= MAX_EVENTS_PER_INPUT, "one input yields {} events", events.len());
        let bytes: usize = events.iter().map(bytes_of).sum();
        assert!(bytes <= MAX_EVENT_BYTES_PER_INPUT, "one input yields {bytes} bytes of events");
        events.iter().for_each(|event| self.event(event, now));
        self.asked = None;
    }

    fn event(&mut self, event: &Event, now: Timestamp) {
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
                self.unregistered.remove(pipeline);
            }
            Event::PipelineUnregistered { pipeline, .. } => {
                assert!(self.unregistered.insert(pipeline.clone()), "{pipeline} is taken off twice");
            }
            Event::PipelinePaused { pipeline, paused, .. } => {
                let changed = if *paused { self.paused.insert(pipeline.clone()) } else { self.paused.remove(pipeline) };
                assert!(changed, "{pipeline} is paused or resumed twice");
            }
            Event::PoolSet { pool, slots, .. } => {
                match slots {
                    Some(slots) => self.pools.insert(pool.clone(), *slots),
                    None => self.pools.remove(pool),
                };
            }
            Event::WorkerDrained { worker, drained, .. } => {
                let changed = if *drained { self.drained.insert(worker.clone()) } else { self.drained.remove(worker) };
                assert!(changed, "{worker} is drained or undrained twice");
            }
            Event::RequestAnswered { .. } | Event::AnswersForgotten { .. } => {}
            Event::ScheduleMoved { pipeline, to, .. } => {
                match to {
                    Some(to) => self.watermarks.insert(pipeline.clone(), *to),
                    None => self.watermarks.remove(pipeline),
                };
            }
            Event::IntervalsSkipped { pipeline, interval, count, .. } => {
                assert!(*count > 0, "no interval is skipped");
                self.accounted(pipeline, *interval);
            }
            Event::TriggerPaused { .. }
            | Event::TriggerTokenSet { .. }
            | Event::Happened { .. }
            | Event::TriggerSaw { .. }
            | Event::GatheredMissed { .. }
            | Event::TriggerForgotten { .. }
            | Event::EventHandled { .. }
            | Event::FilesSeen { .. }
            | Event::BackfillCreated(_)
            | Event::BackfillPaused { .. }
            | Event::BackfillCancelled { .. }
            | Event::BackfillEnded { .. } => {}
            _ => self.event_of_run(event, now),
        }
    }

    /// I1: intervals of a schedule are accounted for in order, each once.
    fn accounted(&mut self, pipeline: &PipelineName, interval: penstock_common::Interval) {
        let watermark = self.watermarks.insert(pipeline.clone(), interval.end());
        assert_eq!(watermark, Some(interval.start()), "I1: {pipeline} goes on from {watermark:?} with {interval:?}");
    }

    /// Slots of a pool that live leases take.
    fn pool_used(&self, pool: &PoolName) -> u32 {
        let slots = |(no, task, _): &(RunNo, u32, SessionId)| {
            let spec = self.runs[no].spec(*task);
            if spec.pool.as_ref() == Some(pool) { spec.pool_slots } else { 0 }
        };
        self.live.values().map(slots).sum()
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
        self.items.values().for_each(|items| reloaded.learn_items(items.clone()));
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
