//! Cuts: state as of an entry, cheap to take (pointers to chunks are cloned) and encoded elsewhere; and state from a checkpoint.

use std::sync::Arc;

use penstock_common::limits::TASKS_PER_CHUNK;
use penstock_common::record::{AnswerRecord, ClusterRecord, PipelineRecord, RunRecord, TaskRecord};
use penstock_common::{PipelineName, Seq};

use crate::Scheduler;
use crate::machine::run::{Chunk, Run};
use crate::machine::task::Task;
use crate::plan::Plan;
use crate::state::{Answered, State, Versions};

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
    plan: Arc<Plan>,
    chunks: Vec<Arc<Chunk>>,
    changed: u64,
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
#[derive(Debug)]
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
    pub(crate) fn of(run: &Run) -> Self {
        Self { record: run.record.clone(), plan: run.plan.clone(), chunks: run.chunks().to_vec(), changed: run.changed, since: 0 }
    }
    /// How many chunks.
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }
    /// Whether the run was changed since the cut before.
    pub fn is_changed(&self) -> bool {
        self.changed >= self.since
    }
    /// Whether a chunk was written since the cut before.
    pub fn changed(&self, chunk: usize) -> bool {
        self.chunks[chunk].changed >= self.since
    }
    /// The tasks of one chunk.
    pub fn tasks(&self, chunk: usize) -> Vec<TaskRecord> {
        let first = chunk * TASKS_PER_CHUNK;
        (first as u32..).zip(&self.chunks[chunk].tasks).map(|(index, task)| record_of(&self.plan, index, task)).collect()
    }
}

pub(crate) fn record_of(plan: &Plan, index: u32, task: &Task) -> TaskRecord {
    TaskRecord {
        index,
        id: plan.task(index).id.clone(),
        state: task.state,
        reason: task.reason,
        not_before: task.not_before,
        failures: task.failures,
        lost: task.lost,
        deaths: task.deaths,
        attempts: task.attempts.clone(),
        outputs: task.outputs.as_deref().cloned().unwrap_or_default(),
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
        let ClusterRecord { epoch, leader, last_run, last_fence, pipelines, drained, answers, archived } = snapshot.cluster;
        let mut state = State {
            seq,
            epoch,
            leader,
            last_run,
            last_fence,
            drained: drained.into_iter().collect(),
            archived: archived.into_iter().collect(),
            definitions: std::mem::take(&mut self.state.definitions),
            cut: 1,
            ..State::default()
        };
        for PipelineRecord { name, versions } in pipelines {
            let by_number = versions.into_iter().map(|(n, digest, at)| (n, (digest, at))).collect();
            state.pipelines.insert(name, Versions { by_number, ..Versions::default() });
        }
        for AnswerRecord { request, digest, answer, at } in answers {
            state.answers.insert(request, Answered { digest, answer, at });
        }
        for SnapshotRun { record, tasks } in snapshot.runs {
            let plan = state.plan(&record.pipeline, record.version).cloned();
            let plan = plan.ok_or_else(|| RestoreError::MissingDefinition(record.pipeline.clone(), record.version))?;
            state.insert_run(Run::restore(record, plan, tasks).map_err(|broken| RestoreError::Broken(broken.0))?);
        }
        self.state = state;
        Ok(())
    }
}

fn cluster_of(state: &State) -> ClusterRecord {
    let pipeline = |(name, versions): (&PipelineName, &Versions)| PipelineRecord {
        name: name.clone(),
        versions: versions.by_number.iter().map(|(n, (digest, at))| (*n, *digest, *at)).collect(),
    };
    ClusterRecord {
        epoch: state.epoch,
        leader: state.leader.clone(),
        last_run: state.last_run,
        last_fence: state.last_fence,
        pipelines: state.pipelines.iter().map(pipeline).collect(),
        drained: state.drained.iter().cloned().collect(),
        answers: state
            .answers
            .iter()
            .map(|(request, a)| AnswerRecord { request: request.clone(), digest: a.digest, answer: a.answer.clone(), at: a.at })
            .collect(),
        archived: state.archived.iter().map(|(id, at)| (id.clone(), *at)).collect(),
    }
}
