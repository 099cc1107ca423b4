//! How state looks from outside: what replies show.

use std::sync::Arc;

use penstock_common::record::{Change, PipelineRecord, RunRecord, TaskRecord};
use penstock_common::{Event, PipelineName, QueueName, RunId, RunNo, SessionId, State as Word, TaskId, WorkerName};

use crate::Scheduler;
use crate::cut::record_of;
use crate::plan::Plan;

/// Which runs to list.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only of this pipeline.
    pub pipeline: Option<PipelineName>,
    /// Only in one of these states; empty: any.
    pub states: Vec<Word>,
    /// Only older than the run of this number.
    pub before: Option<RunNo>,
}

impl RunFilter {
    /// Whether a run is wanted.
    pub fn wants(&self, record: &RunRecord) -> bool {
        self.pipeline.as_ref().is_none_or(|p| *p == record.pipeline)
            && (self.states.is_empty() || self.states.contains(&record.state))
            && self.before.is_none_or(|no| record.no < no)
    }
}

/// An attached worker, or a drained one that is not attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerView {
    /// Its name.
    pub worker: WorkerName,
    /// Its session, while attached.
    pub session: Option<SessionId>,
    /// Attempts it can run at once.
    pub slots: u32,
    /// Attempts it runs.
    pub used: u32,
    /// Queues it serves.
    pub queues: Vec<QueueName>,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// Drained by a person.
    pub drained: bool,
    /// Takes no new lease, drained or leaving.
    pub closed: bool,
    /// What it runs.
    pub attempts: Vec<(RunId, TaskId, u32)>,
}

impl Scheduler {
    /// A live run.
    pub fn run(&self, id: &RunId) -> Option<&RunRecord> {
        self.state.run_by_id(id).map(|(_, run)| &run.record)
    }

    /// The id of a live run.
    pub fn run_id(&self, no: RunNo) -> Option<&RunId> {
        self.state.runs.get(&no).map(|run| &run.record.id)
    }

    /// A page of a live run's tasks, in index order.
    pub fn tasks(&self, id: &RunId, from: u32, limit: usize) -> Vec<TaskRecord> {
        let Some((_, run)) = self.state.run_by_id(id) else { return Vec::new() };
        (from..run.record.tasks).take(limit).map(|index| record_of(&run.plan, index, run.task(index))).collect()
    }

    /// Live runs, newest first.
    pub fn list(&self, filter: &RunFilter, limit: usize) -> Vec<RunRecord> {
        self.state.runs.values().rev().map(|run| &run.record).filter(|r| filter.wants(r)).take(limit).cloned().collect()
    }

    /// Every pipeline.
    pub fn pipelines(&self) -> Vec<PipelineRecord> {
        let versions = |v: &crate::state::Versions| v.by_number.iter().map(|(n, (digest, at))| (*n, *digest, *at)).collect();
        self.state.pipelines.iter().map(|(name, v)| PipelineRecord { name: name.clone(), versions: versions(v) }).collect()
    }

    /// The plan of a version; `None`: the newest.
    pub fn plan(&self, pipeline: &PipelineName, version: Option<u32>) -> Option<(u32, Arc<Plan>)> {
        let versions = self.state.pipelines.get(pipeline)?;
        let version = version.or_else(|| versions.by_number.last_key_value().map(|(n, _)| *n))?;
        self.state.plan(pipeline, version).map(|plan| (version, plan.clone()))
    }

    /// Every worker the leader knows of.
    pub fn workers(&self) -> Vec<WorkerView> {
        let held = |session: &SessionId| {
            let held = crate::decide::held_by(&self.state, session);
            let attempt = |(_, no, task): &(_, RunNo, u32)| {
                let run = self.state.runs.get(no)?;
                let number = run.task(*task).live()?.number;
                Some((run.record.id.clone(), run.plan.task(*task).id.clone(), number))
            };
            held.iter().filter_map(attempt).collect()
        };
        let attached = self.term.lanes.sessions().map(|(session, offers, used)| WorkerView {
            worker: offers.worker.clone(),
            session: Some(session.clone()),
            slots: offers.slots,
            used,
            queues: offers.queues.iter().cloned().collect(),
            labels: offers.labels.clone().into_iter().collect(),
            drained: self.state.drained.contains(&offers.worker),
            closed: offers.closed(),
            attempts: held(session),
        });
        let absent = self.state.drained.iter().filter(|w| self.term.lanes.session_of(w).is_none()).map(|worker| WorkerView {
            worker: worker.clone(),
            session: None,
            slots: 0,
            used: 0,
            queues: Vec::new(),
            labels: Vec::new(),
            drained: true,
            closed: true,
            attempts: Vec::new(),
        });
        let mut all: Vec<_> = attached.chain(absent).collect();
        all.sort_by(|a, b| a.worker.cmp(&b.worker));
        all
    }

    /// Sessions that hold leases, attached or not: a new leader gives each its full time.
    pub fn holding_sessions(&self) -> Vec<SessionId> {
        self.state.held.keys().cloned().collect()
    }

    /// Ready tasks by queue.
    pub fn queue_depths(&self) -> Vec<(QueueName, usize)> {
        self.term.lanes.depths().into_iter().collect()
    }

    /// Leases that are live.
    pub fn leases(&self) -> usize {
        self.state.leases.len()
    }

    /// Live runs and their tasks that have not ended.
    pub fn live(&self) -> (usize, usize) {
        (self.state.runs.len(), self.state.live_tasks)
    }

    /// What an event changed in a live run, as `watch` shows it. Call after the event was applied.
    pub fn changes(&self, event: &Event) -> Vec<Change> {
        let Some(run) = event.run().and_then(|no| self.state.runs.get(&no)) else { return Vec::new() };
        let change = |task: Option<u32>, state, at| Change {
            at,
            task: task.map(|t| run.plan.task(t).id.clone()),
            state,
            reason: None,
            detail: Arc::from(""),
            attempt: 0,
            worker: None,
            duration: None,
            metrics: Default::default(),
        };
        // An event that the run's machine refused says nothing true of its tasks.
        if run.record.quarantined.is_some() {
            return vec![Change { reason: run.record.reason, ..change(None, run.record.state, run.record.generation_at) }];
        }
        let number = |task: u32, fence| run.task(task).attempts.iter().rev().find(|a| a.fence == fence);
        match event {
            Event::RunCreated(created) => vec![change(None, Word::Pending, created.at)],
            Event::RunStarted { at, .. } => vec![change(None, Word::Running, *at)],
            Event::AttemptLeased { task, number, worker, at, .. } => {
                vec![Change { attempt: *number, worker: Some(worker.clone()), ..change(Some(*task), Word::Running, *at) }]
            }
            Event::AttemptEnded { task, fence, ended, .. } => {
                let attempt = number(*task, *fence);
                vec![Change {
                    reason: ended.reason,
                    detail: ended.detail.clone(),
                    attempt: attempt.map_or(0, |a| a.number),
                    worker: attempt.map(|a| a.worker.clone()),
                    duration: attempt.map(|a| ended.ended_at.since(a.started_at)),
                    metrics: ended.metrics.clone(),
                    ..change(Some(*task), ended.state, ended.ended_at)
                }]
            }
            Event::TaskRetrying { task, not_before, .. } => {
                let last = run.task(*task).attempts.last();
                vec![Change {
                    reason: last.and_then(|a| a.reason),
                    attempt: last.map_or(0, |a| a.number),
                    ..change(Some(*task), Word::Retry, *not_before)
                }]
            }
            Event::TaskFailed { task, reason, at, .. } => {
                vec![Change { reason: Some(*reason), ..change(Some(*task), Word::Failed, *at) }]
            }
            Event::TasksSkipped { ranges, reason, at, .. } => ranges
                .iter()
                .flat_map(|&(from, to)| from..to)
                .map(|task| Change { reason: Some(*reason), ..change(Some(task), Word::Skipped, *at) })
                .collect(),
            Event::TasksCancelled { reason, at, .. } => (0..run.record.tasks)
                .filter(|&t| run.task(t).state == Word::Cancelled && run.task(t).live().is_none())
                .map(|task| Change { reason: Some(*reason), ..change(Some(task), Word::Cancelled, *at) })
                .collect(),
            Event::RunEnded { state, reason, at, .. } => vec![Change { reason: *reason, ..change(None, *state, *at) }],
            Event::GenerationOpened { ranges, at, .. } => {
                let tasks = ranges.iter().flat_map(|&(from, to)| from..to).map(|task| change(Some(task), Word::Pending, *at));
                std::iter::once(change(None, Word::Pending, *at)).chain(tasks).collect()
            }
            _ => Vec::new(),
        }
    }
}
