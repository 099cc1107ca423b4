//! State: what replay yields, and `apply`, the only function that writes it.
//!
//! `apply` holds no default, limit, jitter or policy. Each event is checked against the machines before it changes
//! anything; an event that a run's machine refuses, or a panic inside that run, quarantines the run, decided by the event
//! alone and so alike on every replica. An event that breaks what belongs to no run ends the process.

mod apply;
mod backfills;
mod inbox;
mod previous;
mod timetable;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use penstock_common::event::RunCreated;
use penstock_common::limits::MAX_DETAIL_BYTES;
use penstock_common::record::{Audit, Outcome, RunRecord};
use penstock_common::{
    BackfillId, Digest, Epoch, Event, Fence, Items, NodeName, PipelineName, PoolName, Reason, RequestId, RunId, RunNo, Seq, SessionId,
    State as Word, Timestamp, WorkerName,
};

pub(crate) use backfills::{Backfill, Yielding, backfill_of, is_of_backfill};
pub(crate) use inbox::{Inbox, Source, Subscriber};
pub(crate) use timetable::{Behind, Timetable};

use crate::cut::SnapshotRun;
use crate::decide::bounded;
use crate::machine::Broken;
use crate::machine::run::Run;
use crate::plan::Plan;

pub(crate) use previous::Previous;

/// Equal on every replica that has replayed the same events.
#[derive(Debug, Default)]
pub struct State {
    pub(crate) seq: Seq,
    pub(crate) epoch: Epoch,
    pub(crate) leader: Option<NodeName>,
    pub(crate) last_run: RunNo,
    pub(crate) last_fence: Fence,
    pub(crate) pipelines: BTreeMap<PipelineName, Versions>,
    pub(crate) runs: BTreeMap<RunNo, Run>,
    pub(crate) run_ids: BTreeMap<RunId, RunNo>,
    /// Live leases: derived from the runs' attempts.
    pub(crate) leases: BTreeMap<Fence, Holder>,
    /// The same by session.
    pub(crate) held: BTreeMap<SessionId, BTreeSet<Fence>>,
    /// Live runs that a live run's `pipeline` tasks started: derived.
    pub(crate) children: BTreeMap<RunNo, BTreeSet<RunNo>>,
    pub(crate) pools: BTreeMap<PoolName, Pool>,
    pub(crate) backfills: BTreeMap<BackfillId, Backfill>,
    /// What happened and waits for its runs.
    pub(crate) inbox: Inbox,
    /// Triggers by what they listen to: derived.
    pub(crate) listeners: BTreeMap<Source, BTreeSet<Subscriber>>,
    /// Slots taken of each pool that a lease names, whether it is there or not: derived.
    pub(crate) pool_used: BTreeMap<PoolName, u32>,
    /// What backfills' leases take: derived.
    pub(crate) yielding: Yielding,
    pub(crate) drained: BTreeSet<WorkerName>,
    pub(crate) answers: BTreeMap<RequestId, Answered>,
    pub(crate) archived: BTreeMap<RunId, Timestamp>,
    pub(crate) live_tasks: usize,
    /// Definitions by digest, given by `learn`; not state but what state refers to.
    pub(crate) definitions: BTreeMap<Digest, Arc<Plan>>,
    /// Items files by digest, given by `learn_items`.
    pub(crate) items: BTreeMap<Digest, Arc<Items>>,
    /// Archived runs that are about to be live again, given by `learn_run`.
    pub(crate) reopening: BTreeMap<Digest, SnapshotRun>,
    /// The number of the cut that chunks written now belong to.
    pub(crate) cut: u64,
}

/// A pipeline in state.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Versions {
    pub(crate) by_number: BTreeMap<u32, (Digest, Timestamp)>,
    pub(crate) paused: Option<Audit>,
    pub(crate) unregistered: Option<Audit>,
    /// What the newest intervals with SUCCESS left.
    pub(crate) previous: Previous,
    /// Its schedule, its triggers, and what became of its intervals.
    pub(crate) timetable: Timetable,
    /// Runs that are PENDING, in order of creation: derived.
    pub(crate) queued: BTreeSet<RunNo>,
    /// Runs that are RUNNING: derived.
    pub(crate) active: BTreeSet<RunNo>,
}

/// A pool in state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pool {
    /// `u32::MAX`: no limit.
    pub(crate) slots: u32,
    pub(crate) set: Audit,
}

/// Who holds a lease on what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) run: RunNo,
    pub(crate) task: u32,
    pub(crate) session: SessionId,
}

/// A kept answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) digest: u64,
    pub(crate) answer: Arc<str>,
    pub(crate) at: Timestamp,
}

/// What an event may have made possible: the leader's term looks at these again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touched {
    Task(RunNo, u32),
    Run(RunNo),
    /// Every task of it: it was resumed, or it starts.
    Everything(RunNo),
}

impl PartialEq for State {
    /// `seq`, definitions and cut numbers are bookkeeping of the replica.
    fn eq(&self, other: &Self) -> bool {
        self.epoch == other.epoch
            && self.leader == other.leader
            && self.last_run == other.last_run
            && self.last_fence == other.last_fence
            && self.pipelines == other.pipelines
            && self.runs == other.runs
            && self.run_ids == other.run_ids
            && self.leases == other.leases
            && self.held == other.held
            && self.children == other.children
            && self.pools == other.pools
            && self.backfills == other.backfills
            && self.inbox == other.inbox
            && self.listeners == other.listeners
            && self.pool_used == other.pool_used
            && self.yielding == other.yielding
            && self.drained == other.drained
            && self.answers == other.answers
            && self.archived == other.archived
            && self.live_tasks == other.live_tasks
    }
}

impl State {
    /// The position of the entry last applied, or being decided.
    pub fn seq(&self) -> Seq {
        self.seq
    }
    /// The term and its leader, as journaled.
    pub fn leader(&self) -> (Epoch, Option<&NodeName>) {
        (self.epoch, self.leader.as_ref())
    }

    pub(crate) fn learn(&mut self, plan: Arc<Plan>) {
        self.definitions.insert(plan.digest, plan);
    }

    pub(crate) fn plan(&self, pipeline: &PipelineName, version: u32) -> Option<&Arc<Plan>> {
        let (digest, _) = self.pipelines.get(pipeline)?.by_number.get(&version)?;
        self.definitions.get(digest)
    }

    /// The plan that new runs of a pipeline get; none where there is none, or it was taken off.
    pub(crate) fn newest(&self, name: &PipelineName) -> Option<&Arc<Plan>> {
        let versions = self.pipelines.get(name).filter(|versions| versions.unregistered.is_none())?;
        let (_, (digest, _)) = versions.by_number.last_key_value()?;
        self.definitions.get(digest)
    }

    pub(crate) fn run_by_id(&self, id: &RunId) -> Option<(RunNo, &Run)> {
        let no = *self.run_ids.get(id)?;
        self.runs.get(&no).map(|run| (no, run))
    }

    /// The run that a task waits for and that has not ended.
    pub(crate) fn live_child(&self, run: &Run, task: u32) -> Option<RunNo> {
        let id = run.task(task).child().filter(|_| run.task(task).waits())?;
        self.run_by_id(id).filter(|(_, child)| !child.record.state.is_terminal()).map(|(no, _)| no)
    }

    /// Whether a person keeps a run from starting anything. A pause keeps no clean-up of a cancelled run from running.
    pub(crate) fn is_paused(&self, run: &Run) -> bool {
        run.record.cancel.is_none() && self.is_asked_to_pause(run)
    }

    fn is_asked_to_pause(&self, run: &Run) -> bool {
        run.record.paused || self.pipelines.get(&run.record.pipeline).is_some_and(|versions| versions.paused.is_some())
    }

    /// Whether a task of a run may be started now, as far as people and the run's state go.
    pub(crate) fn may_start(&self, run: &Run, task: u32) -> bool {
        run.may_start(task) && !self.is_paused(run)
    }

    /// Slots that a pool has free; none where there is no such pool.
    pub(crate) fn pool_free(&self, pool: &PoolName) -> (u32, u32) {
        let slots = self.pools.get(pool).map_or(0, |p| p.slots);
        (slots.saturating_sub(self.pool_used.get(pool).copied().unwrap_or(0)), slots)
    }

    /// Applies one event. `touched` collects what the leader must look at again. Returns the leases that a run lost by being set
    /// aside.
    pub(crate) fn apply(&mut self, event: &Event, touched: &mut Vec<Touched>) -> Vec<(Fence, SessionId)> {
        let Some(no) = event.run() else {
            self.apply_to_cluster(event, touched);
            return Vec::new();
        };
        match event {
            Event::RunCreated(created) => self.create_run(created, touched),
            Event::RunReopened { digest, .. } => self.reopen(no, digest, touched),
            Event::RunArchived { at, .. } => self.archive(no, *at),
            _ => {
                let before = touched.len();
                let outcome = catch_unwind(AssertUnwindSafe(|| self.apply_to_run(no, event, touched)));
                let why = match outcome {
                    Ok(Ok(())) => return Vec::new(),
                    Ok(Err(Broken(why))) => why,
                    Err(_) => "a panic while an event was applied".to_owned(),
                };
                touched.truncate(before);
                touched.push(Touched::Run(no));
                return self.quarantine(no, &bounded(&format!("{why} (entry {}, {event:?})", self.seq), MAX_DETAIL_BYTES));
            }
        }
        Vec::new()
    }

    fn apply_to_cluster(&mut self, event: &Event, touched: &mut Vec<Touched>) {
        match event {
            Event::TermStarted { epoch, node, .. } => {
                self.epoch = *epoch;
                self.leader = Some(node.clone());
            }
            Event::PipelineRegistered { pipeline, version, digest, dropped, at } => {
                self.listen(pipeline, false);
                let versions = self.pipelines.entry(pipeline.clone()).or_default();
                versions.by_number.insert(*version, (*digest, *at));
                versions.unregistered = None;
                for old in dropped {
                    versions.by_number.remove(old);
                }
                self.listen(pipeline, true);
            }
            Event::PipelineUnregistered { pipeline, audit } => {
                self.listen(pipeline, false);
                self.pipelines.entry(pipeline.clone()).or_default().unregistered = Some(audit.clone());
            }
            Event::PipelinePaused { pipeline, paused, audit } => {
                let versions = self.pipelines.entry(pipeline.clone()).or_default();
                versions.paused = paused.then(|| audit.clone());
                let active = versions.active.iter().copied();
                touched.extend(active.map(|no| if *paused { Touched::Run(no) } else { Touched::Everything(no) }));
            }
            Event::PoolSet { pool, slots, audit } => {
                match slots {
                    Some(slots) => self.pools.insert(pool.clone(), Pool { slots: *slots, set: audit.clone() }),
                    None => self.pools.remove(pool),
                };
            }
            Event::ScheduleMoved { pipeline, to, .. } => {
                self.pipelines.entry(pipeline.clone()).or_default().timetable.watermark = *to;
            }
            Event::TriggerPaused { pipeline, trigger, paused, audit } => {
                let all = &mut self.pipelines.entry(pipeline.clone()).or_default().timetable.paused;
                if *paused {
                    all.insert(trigger.clone(), audit.clone());
                } else {
                    all.remove(trigger);
                }
            }
            Event::TriggerTokenSet { pipeline, trigger, digest, .. } => {
                let all = &mut self.pipelines.entry(pipeline.clone()).or_default().timetable.tokens;
                match digest {
                    Some(digest) => all.insert(trigger.clone(), *digest),
                    None => all.remove(trigger),
                };
            }
            Event::IntervalsSkipped { pipeline, interval, count, reason, .. } => {
                let timetable = &mut self.pipelines.entry(pipeline.clone()).or_default().timetable;
                timetable.watermark = Some(interval.end());
                timetable.ledger.fill(*interval, Outcome::Skipped(*reason));
                *timetable.skipped.entry(*reason).or_default() += count;
            }
            Event::Happened { .. }
            | Event::TriggerSaw { .. }
            | Event::GatheredMissed { .. }
            | Event::TriggerForgotten { .. }
            | Event::EventHandled { .. }
            | Event::FilesSeen { .. } => self.apply_to_inbox(event),
            Event::BackfillCreated(_) | Event::BackfillPaused { .. } | Event::BackfillCancelled { .. } | Event::BackfillEnded { .. } => {
                self.apply_to_backfills(event);
            }
            Event::WorkerDrained { worker, drained, .. } => {
                if *drained {
                    self.drained.insert(worker.clone());
                } else {
                    self.drained.remove(worker);
                }
            }
            Event::RequestAnswered { request, digest, answer, at } => {
                self.answers.insert(request.clone(), Answered { digest: *digest, answer: answer.clone(), at: *at });
            }
            Event::AnswersForgotten { before, archived_before } => {
                self.answers.retain(|_, a| a.at >= *before);
                self.archived.retain(|_, at| *at >= *archived_before);
            }
            _ => unreachable!("every other event belongs to a run"),
        }
    }

    fn create_run(&mut self, created: &RunCreated, touched: &mut Vec<Touched>) {
        let Some(plan) = self.plan(&created.pipeline, created.version).cloned() else {
            // Definitions are loaded before the entry that needs them: without one, nothing this replica does can be right.
            unreachable!("run {} needs {} version {}, which was never loaded", created.id, created.pipeline, created.version)
        };
        let record = RunRecord {
            no: created.run,
            id: created.id.clone(),
            pipeline: created.pipeline.clone(),
            version: created.version,
            generation: 1,
            trigger: created.trigger.clone(),
            interval: created.interval,
            params: created.params.clone(),
            state: Word::Pending,
            reason: None,
            cancel: None,
            paused: false,
            parent: created.parent.clone(),
            audit: Vec::new(),
            created_at: created.at,
            started_at: None,
            ended_at: None,
            generation_at: created.at,
            run_timeout: created.run_timeout,
            request_digest: created.request_digest,
            tasks: 0,
            counts: [0; 7],
            quarantined: None,
        };
        self.last_run = created.run;
        self.charge(created);
        let mut run = Run::new(record, plan, self.cut);
        let left_out: Vec<u32> = created.not_selected.iter().flat_map(|&(from, to)| from..to).filter(|&t| run.check(t).is_ok()).collect();
        for &task in &left_out {
            // PENDING to SKIPPED is always possible.
            drop(run.go(task, Word::Skipped, Some(Reason::NotSelected), created.at, self.cut));
        }
        for task in left_out {
            drop(run.settle(task, created.at, self.cut));
        }
        self.insert_run(run);
        touched.push(Touched::Run(created.run));
    }

    /// Adds a run and everything derived from it.
    pub(crate) fn insert_run(&mut self, run: Run) {
        let no = run.record.no;
        let versions = self.pipelines.entry(run.record.pipeline.clone()).or_default();
        match run.record.state {
            Word::Pending => versions.queued.insert(no),
            Word::Running => versions.active.insert(no),
            _ => false,
        };
        if run.leased > 0 && run.record.quarantined.is_none() {
            for task in 0..run.slots() {
                if let Some(live) = run.task(task).live() {
                    self.held.entry(live.session.clone()).or_default().insert(live.fence);
                    self.leases.insert(live.fence, Holder { run: no, task, session: live.session.clone() });
                    if is_of_backfill(&run.record) {
                        self.yielding.take(run.spec(task));
                    }
                    if let Some(pool) = &run.spec(task).pool {
                        *self.pool_used.entry(pool.clone()).or_default() += run.spec(task).pool_slots;
                    }
                }
            }
        }
        if let Some(parent) = run.record.parent.as_ref().filter(|_| !run.record.state.is_terminal()) {
            self.children.entry(parent.run).or_default().insert(no);
        }
        self.run_ids.insert(run.record.id.clone(), no);
        self.runs.insert(no, run);
        self.weigh(no);
        self.track_backfill(no);
    }

    /// Keeps the number of live tasks, whatever became of a run.
    fn weigh(&mut self, no: RunNo) {
        let Some(run) = self.runs.get_mut(&no) else { return };
        let weight = if run.record.state.is_terminal() { 0 } else { run.record.tasks as usize };
        self.live_tasks = self.live_tasks - run.weight + weight;
        run.weight = weight;
    }

    /// Its history is live again, still ended: a new generation follows in the same entry.
    fn reopen(&mut self, no: RunNo, digest: &Digest, touched: &mut Vec<Touched>) {
        let Some(SnapshotRun { record, tasks }) = self.reopening.remove(digest) else {
            unreachable!("run {no} is reopened from {digest}, which was never loaded")
        };
        let Some(plan) = self.plan(&record.pipeline, record.version).cloned() else {
            unreachable!("run {} needs {} version {}, which was never loaded", record.id, record.pipeline, record.version)
        };
        let id = record.id.clone();
        // What cannot be restored was refused before the event was decided.
        if let Ok(mut run) = Run::restore(record, plan, tasks, &self.items) {
            // Chunks of a checkpoint in which it was live before are no longer what it is.
            run.touch(self.cut);
            self.archived.remove(&id);
            self.insert_run(run);
            touched.push(Touched::Run(no));
        }
    }

    fn archive(&mut self, no: RunNo, at: Timestamp) {
        if let Some(run) = self.runs.remove(&no) {
            self.run_ids.remove(&run.record.id);
            self.archived.insert(run.record.id, at);
        }
    }

    /// What a run that ended leaves for later intervals.
    fn remember(&mut self, no: RunNo) {
        let Some(run) = self.runs.get(&no).filter(|run| run.plan.uses_previous && run.record.state == Word::Success) else { return };
        let Some(interval) = run.record.interval else { return };
        let (pipeline, left) = (run.record.pipeline.clone(), run.leaves());
        self.pipelines.entry(pipeline).or_default().previous.remember(interval, left);
    }

    fn release(&mut self, fence: Fence) {
        let Some(holder) = self.leases.remove(&fence) else { return };
        if let Some(held) = self.held.get_mut(&holder.session) {
            held.remove(&fence);
            if held.is_empty() {
                self.held.remove(&holder.session);
            }
        }
        let run = self.runs.get(&holder.run);
        let spec = run.map(|run| run.spec(holder.task).clone());
        if let (true, Some(spec)) = (run.is_some_and(|run| is_of_backfill(&run.record)), &spec) {
            self.yielding.give_back(spec);
        }
        if let Some((pool, slots)) = spec.as_ref().and_then(|spec| Some((spec.pool.as_ref()?, spec.pool_slots)))
            && let Some(used) = self.pool_used.get_mut(pool)
        {
            *used -= slots;
            if *used == 0 {
                self.pool_used.remove(pool);
            }
        }
    }

    /// Keeps the pipeline's queued and active runs.
    fn moved(&mut self, no: RunNo) {
        let Some(run) = self.runs.get(&no) else { return };
        let versions = self.pipelines.entry(run.record.pipeline.clone()).or_default();
        versions.queued.remove(&no);
        versions.active.remove(&no);
        match run.record.state {
            Word::Pending => versions.queued.insert(no),
            Word::Running => versions.active.insert(no),
            _ => false,
        };
        self.track_backfill(no);
        let Some(run) = self.runs.get(&no) else { return };
        let Some(parent) = run.record.parent.as_ref() else { return };
        if !run.record.state.is_terminal() {
            self.children.entry(parent.run).or_default().insert(no);
        } else if let Some(children) = self.children.get_mut(&parent.run) {
            children.remove(&no);
            if children.is_empty() {
                self.children.remove(&parent.run);
            }
        }
    }

    /// Sets a run aside: nothing of it is decided any more; its leases are gone, so its workers are told to kill them.
    fn quarantine(&mut self, no: RunNo, why: &str) -> Vec<(Fence, SessionId)> {
        let of_run = self.leases.iter().filter(|(_, h)| h.run == no);
        let released: Vec<_> = of_run.map(|(fence, holder)| (*fence, holder.session.clone())).collect();
        for (fence, _) in &released {
            self.release(*fence);
        }
        let cut = self.cut;
        let Some(run) = self.runs.get_mut(&no) else { return released };
        // The event may be half applied: what is derived is derived again, as a restore would.
        run.derive(cut);
        run.changed = self.cut;
        run.record.quarantined = Some(Arc::from(why));
        run.record.state = Word::Failed;
        run.record.reason = Some(Reason::Quarantined);
        self.moved(no);
        self.weigh(no);
        released
    }
}
