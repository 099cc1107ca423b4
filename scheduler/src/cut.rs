//! Cuts: state as of an entry, cheap to take (pointers to chunks are cloned) and encoded elsewhere; and state from a checkpoint.

use std::sync::Arc;

use penstock_common::limits::TASKS_PER_CHUNK;
use penstock_common::record::{AnswerRecord, ClusterRecord, Mapped, PipelineRecord, PoolRecord, PreviousRecord, RunRecord, TaskRecord};
use penstock_common::{Digest, PipelineName, Seq};

use crate::Scheduler;
use crate::machine::run::Run;
use crate::state::{Answered, Backfill, Inbox, Pool, State, Timetable, Versions};

/// State as of an entry.
#[derive(Debug)]
pub struct Cut {
    /// The entry.
    pub seq: Seq,
    /// The number to give to [`Scheduler::cut`] as `since` once this cut is durable.
    pub number: u64,
    /// All but runs.
    pub cluster: ClusterRecord,
    /// Every run.
    pub runs: Vec<RunCut>,
}

/// A run as of an entry.
#[derive(Debug, Clone)]
pub struct RunCut {
    /// Without its tasks.
    pub record: RunRecord,
    run: Arc<Run>,
    since: u64,
}

/// A checkpoint, read back.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// All but runs.
    pub cluster: ClusterRecord,
    /// Every run.
    pub runs: Vec<SnapshotRun>,
}

/// A run of a checkpoint.
#[derive(Debug, Clone)]
pub struct SnapshotRun {
    /// Without its tasks.
    pub record: RunRecord,
    /// All of them, in index order.
    pub tasks: Vec<TaskRecord>,
}

/// A checkpoint that this program did not write, or whose definitions are missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A definition was not given by `learn`.
    #[error("the definition of {0} version {1} is missing")]
    MissingDefinition(PipelineName, u32),
    /// Records that do not fit together.
    #[error("{0}")]
    Broken(String),
}

impl RunCut {
    /// Chunks are shared, so this copies pointers.
    pub(crate) fn of(run: &Run) -> Self {
        Self { record: run.record.clone(), run: Arc::new(run.clone()), since: 0 }
    }
    /// How many chunks.
    pub fn chunks(&self) -> usize {
        self.run.chunks().len()
    }
    /// Whether the run was changed since the cut before.
    pub fn is_changed(&self) -> bool {
        self.run.changed >= self.since
    }
    /// Whether a chunk was written since the cut before.
    pub fn changed(&self, chunk: usize) -> bool {
        self.run.chunks()[chunk].changed >= self.since
    }
    /// The tasks of one chunk.
    pub fn tasks(&self, chunk: usize) -> Vec<TaskRecord> {
        let first = (chunk * TASKS_PER_CHUNK) as u32;
        (first..).take(self.run.chunks()[chunk].tasks.len()).map(|index| record_of(&self.run, index)).collect()
    }
    /// Items files that its tasks name.
    pub fn items(&self) -> Vec<Digest> {
        (0..self.run.slots()).filter_map(|index| self.run.task(index).rare.as_ref()?.items).collect()
    }
}

pub(crate) fn record_of(run: &Run, index: u32) -> TaskRecord {
    let task = run.task(index);
    let rare = task.rare.as_deref().cloned().unwrap_or_default();
    TaskRecord {
        index,
        id: run.key(index),
        instance: run.instance(index).map(|(_, number)| number),
        mapped: run.mapping.of(index).map(|e| Mapped { count: e.count, segments: e.segments.clone(), counts: e.counts }),
        gone: run.is_gone(index),
        state: task.state,
        reason: task.reason,
        detail: rare.detail,
        changed_at: task.changed_at,
        not_before: task.not_before,
        child: rare.child,
        stopping: rare.stopping,
        tried_until: rare.tried_until,
        failures: task.failures,
        lost: task.lost,
        deaths: task.deaths,
        attempts: task.attempts.clone(),
        outputs: task.outputs.as_deref().cloned().unwrap_or_default(),
        items: rare.items,
    }
}

impl Scheduler {
    /// State as of the last entry; chunks count as changed when written since the cut numbered `since`.
    pub fn cut(&mut self, since: u64) -> Cut {
        self.state.cut += 1;
        let runs = self.state.runs.values().map(|run| RunCut { since, ..RunCut::of(run) }).collect();
        Cut { seq: self.state.seq, number: self.state.cut, cluster: cluster_of(&self.state), runs }
    }

    /// State from a checkpoint. Every definition it names must have been given by [`Scheduler::learn`].
    pub fn restore(&mut self, snapshot: Snapshot, seq: Seq) -> Result<(), RestoreError> {
        let ClusterRecord {
            epoch,
            leader,
            last_run,
            last_fence,
            pipelines,
            drained,
            pools,
            last_event,
            inbox,
            dead,
            backfills,
            answers,
            archived,
        } = snapshot.cluster;
        let mut state = State {
            seq,
            epoch,
            leader,
            last_run,
            last_fence,
            drained: drained.into_iter().collect(),
            archived: archived.into_iter().collect(),
            pools: pools.into_iter().map(|p| (p.name, Pool { slots: p.slots, set: p.set })).collect(),
            inbox: Inbox::restore(last_event, inbox, dead),
            backfills: backfills.into_iter().map(|record| (record.id.clone(), Backfill::new(record))).collect(),
            definitions: std::mem::take(&mut self.state.definitions),
            items: std::mem::take(&mut self.state.items),
            reopening: std::mem::take(&mut self.state.reopening),
            cut: 1,
            ..State::default()
        };
        for PipelineRecord { name, versions, paused, unregistered, previous, timetable } in pipelines {
            let by_number = versions.into_iter().map(|(n, digest, at)| (n, (digest, at))).collect();
            let previous = previous.into_iter().map(|p| (p.interval, p.outputs.into_iter().collect())).collect();
            let timetable = Timetable::restore(timetable);
            state.pipelines.insert(name, Versions { by_number, paused, unregistered, previous, timetable, ..Versions::default() });
        }
        for name in state.pipelines.keys().cloned().collect::<Vec<_>>() {
            state.listen(&name, true);
        }
        for AnswerRecord { request, digest, answer, at } in answers {
            state.answers.insert(request, Answered { digest, answer, at });
        }
        for SnapshotRun { record, tasks } in snapshot.runs {
            let plan = state.plan(&record.pipeline, record.version).cloned();
            let plan = plan.ok_or_else(|| RestoreError::MissingDefinition(record.pipeline.clone(), record.version))?;
            let run = Run::restore(record, plan, tasks, &state.items).map_err(|broken| RestoreError::Broken(broken.0))?;
            state.insert_run(run);
        }
        self.state = state;
        Ok(())
    }
}

fn cluster_of(state: &State) -> ClusterRecord {
    ClusterRecord {
        epoch: state.epoch,
        leader: state.leader.clone(),
        last_run: state.last_run,
        last_fence: state.last_fence,
        pipelines: state.pipelines.iter().map(|(name, versions)| pipeline_of(name, versions)).collect(),
        pools: state.pools.iter().map(|(name, p)| PoolRecord { name: name.clone(), slots: p.slots, set: p.set.clone() }).collect(),
        last_event: state.inbox.last,
        inbox: state.inbox.records(),
        dead: state.inbox.dead.clone(),
        backfills: state.backfills.values().map(|backfill| backfill.record.clone()).collect(),
        drained: state.drained.iter().cloned().collect(),
        answers: state
            .answers
            .iter()
            .map(|(request, a)| AnswerRecord { request: request.clone(), digest: a.digest, answer: a.answer.clone(), at: a.at })
            .collect(),
        archived: state.archived.iter().map(|(id, at)| (id.clone(), *at)).collect(),
    }
}

pub(crate) fn pipeline_of(name: &PipelineName, versions: &Versions) -> PipelineRecord {
    let previous = versions.previous.iter().map(|(interval, outputs)| PreviousRecord {
        interval: *interval,
        outputs: outputs.iter().map(|(task, outputs)| (task.clone(), outputs.clone())).collect(),
    });
    PipelineRecord {
        name: name.clone(),
        versions: versions.by_number.iter().map(|(n, (digest, at))| (*n, *digest, *at)).collect(),
        paused: versions.paused.clone(),
        unregistered: versions.unregistered.clone(),
        previous: previous.collect(),
        timetable: versions.timetable.record(),
    }
}
