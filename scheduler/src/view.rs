//! How state looks from outside: what replies show.

use std::sync::Arc;

use penstock_common::record::{Change, PipelineRecord, RunRecord, TaskRecord};
use penstock_common::{
    Event, PipelineName, PoolName, QueueName, Reason, RunId, RunNo, SessionId, State as Word, TaskKey, Timestamp, WorkerName,
};

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
    /// Only created at or after this.
    pub since: Option<Timestamp>,
}

impl RunFilter {
    /// Whether a run is wanted.
    pub fn wants(&self, record: &RunRecord) -> bool {
        self.pipeline.as_ref().is_none_or(|p| *p == record.pipeline)
            && (self.states.is_empty() || self.states.contains(&record.state))
            && self.before.is_none_or(|no| record.no < no)
            && self.since.is_none_or(|at| record.created_at >= at)
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
    pub attempts: Vec<(RunId, TaskKey, u32)>,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolView {
    /// Its name.
    pub name: PoolName,
    /// How many slots it has; `u32::MAX`: no limit.
    pub slots: u32,
    /// How many are taken.
    pub used: u32,
    /// Ready tasks that want it.
    pub waiting: usize,
    /// Who holds slots: run, task, attempt; at most a hundred.
    pub holders: Vec<(RunId, TaskKey, u32)>,
    /// Who set it last.
    pub set: penstock_common::record::Audit,
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

    /// A page of a live run's tasks, in index order; instances that are gone are not shown.
    pub fn tasks(&self, id: &RunId, from: u32, limit: usize) -> Vec<TaskRecord> {
        let Some((_, run)) = self.state.run_by_id(id) else { return Vec::new() };
        (from..run.slots()).filter(|&index| !run.is_gone(index)).take(limit).map(|index| record_of(run, index)).collect()
    }

    /// One task of a live run.
    pub fn task(&self, id: &RunId, key: &TaskKey) -> Option<TaskRecord> {
        let (_, run) = self.state.run_by_id(id)?;
        run.find(key).map(|index| record_of(run, index))
    }

    /// Live runs, newest first.
    pub fn list(&self, filter: &RunFilter, limit: usize) -> Vec<RunRecord> {
        self.state.runs.values().rev().map(|run| &run.record).filter(|r| filter.wants(r)).take(limit).cloned().collect()
    }

    /// Every pipeline.
    pub fn pipelines(&self) -> Vec<PipelineRecord> {
        self.state.pipelines.iter().map(|(name, versions)| crate::cut::pipeline_of(name, versions)).collect()
    }

    /// How many runs of a pipeline are queued, and how many are active.
    pub fn run_counts(&self, pipeline: &PipelineName) -> (usize, usize) {
        self.state.pipelines.get(pipeline).map_or((0, 0), |v| (v.queued.len(), v.active.len()))
    }

    /// Whether there is such a pool.
    pub fn has_pool(&self, pool: &PoolName) -> bool {
        self.state.pools.contains_key(pool)
    }

    /// Every pool.
    pub fn pools(&self) -> Vec<PoolView> {
        let view = |(name, pool): (&PoolName, &crate::state::Pool)| PoolView {
            name: name.clone(),
            slots: pool.slots,
            used: self.state.pool_used.get(name).copied().unwrap_or(0),
            waiting: self.term.lanes.waiting_for(name),
            holders: self.pool_holders(name, 100),
            set: pool.set.clone(),
        };
        self.state.pools.iter().map(view).collect()
    }

    /// Who holds slots of a pool.
    pub(crate) fn pool_holders(&self, pool: &PoolName, limit: usize) -> Vec<(RunId, TaskKey, u32)> {
        let holds = |holder: &crate::state::Holder| {
            let run = self.state.runs.get(&holder.run)?;
            let live = run.task(holder.task).live().filter(|_| run.spec(holder.task).pool.as_ref() == Some(pool))?;
            Some((run.record.id.clone(), run.key(holder.task), live.number))
        };
        self.state.leases.values().filter_map(holds).take(limit).collect()
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
                Some((run.record.id.clone(), run.key(*task), number))
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
            task: task.map(|t| run.key(t)),
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
            Event::AttemptEnded { task, fence, ended, held, .. } => {
                let attempt = number(*task, *fence);
                let state = if *held { Word::Running } else { ended.state };
                vec![Change {
                    reason: if *held { Some(Reason::Held) } else { ended.reason },
                    detail: ended.detail.clone(),
                    attempt: attempt.map_or(0, |a| a.number),
                    worker: attempt.map(|a| a.worker.clone()),
                    duration: attempt.map(|a| ended.ended_at.since(a.started_at)),
                    metrics: ended.metrics.clone(),
                    ..change(Some(*task), state, ended.ended_at)
                }]
            }
            Event::TaskRetrying { task, fence, ended, .. } => {
                let attempt = number(*task, *fence);
                let failed = Change {
                    reason: ended.reason,
                    detail: ended.detail.clone(),
                    attempt: attempt.map_or(0, |a| a.number),
                    worker: attempt.map(|a| a.worker.clone()),
                    duration: attempt.map(|a| ended.ended_at.since(a.started_at)),
                    metrics: ended.metrics.clone(),
                    ..change(Some(*task), Word::Failed, ended.ended_at)
                };
                let retry = Change { reason: ended.reason, attempt: failed.attempt, ..change(Some(*task), Word::Retry, ended.ended_at) };
                vec![failed, retry]
            }
            Event::AttemptWaiting { task, detail, at, .. } => vec![Change {
                reason: Some(Reason::Waiting),
                detail: detail.clone(),
                attempt: run.task(*task).attempts.last().map_or(0, |a| a.number),
                ..change(Some(*task), Word::Running, *at)
            }],
            Event::TaskWaiting { task, child, at, .. } => vec![Change {
                reason: Some(Reason::Waiting),
                detail: child.as_ref().map_or_else(Arc::default, |id| Arc::from(format!("run {id}"))),
                ..change(Some(*task), Word::Running, *at)
            }],
            Event::TaskStopping { task, detail, at, .. } => {
                vec![Change { reason: Some(Reason::Waiting), detail: detail.clone(), ..change(Some(*task), Word::Running, *at) }]
            }
            Event::TaskExpanded { task, at, count, .. } => {
                let detail = Arc::from(format!("{count} instances"));
                vec![Change { detail, ..change(Some(*task), Word::Running, *at) }]
            }
            Event::TaskEnded(end) => {
                let ended = Change { reason: end.reason, detail: end.detail.clone(), ..change(Some(end.task), end.state, end.at) };
                let retry = end.not_before.map(|_| Change { reason: end.reason, ..change(Some(end.task), Word::Retry, end.at) });
                std::iter::once(ended).chain(retry).collect()
            }
            Event::TasksSkipped { ranges, reason, at, .. } => ranges
                .iter()
                .flat_map(|&(from, to)| from..to)
                .map(|task| Change { reason: Some(*reason), ..change(Some(task), Word::Skipped, *at) })
                .collect(),
            Event::TasksCancelled { reason, at, .. } => (0..run.slots())
                .filter(|&t| run.task(t).state == Word::Cancelled && run.task(t).changed_at == *at && !run.is_gone(t))
                .map(|task| Change { reason: Some(*reason), ..change(Some(task), Word::Cancelled, *at) })
                .collect(),
            Event::RunEnded { state, reason, at, .. } => vec![Change { reason: *reason, ..change(None, *state, *at) }],
            Event::GenerationOpened { ranges, audit, .. } => {
                let tasks = ranges.iter().flat_map(|&(from, to)| from..to).filter(|&task| !run.is_gone(task));
                let tasks = tasks.map(|task| change(Some(task), Word::Pending, audit.at));
                std::iter::once(change(None, Word::Pending, audit.at)).chain(tasks).collect()
            }
            // So that whoever watches looks at the run again.
            Event::RunPaused { audit, .. } | Event::CancelRequested { audit, .. } => vec![Change {
                reason: run.record.reason,
                detail: Arc::from(format!("{} by {}", audit.verb, audit.by)),
                ..change(None, run.record.state, audit.at)
            }],
            _ => Vec::new(),
        }
    }
}
