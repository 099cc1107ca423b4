//! Why a run or a task is not running: the whole chain of reasons, each typed, and what would unblock it.

use std::fmt;

use penstock_common::{QueueName, Reason, RunId, State, TaskId, Timestamp, WorkerName};

use crate::Scheduler;
use crate::lanes::Wants;
use crate::machine::run::Run;
use crate::machine::task::Verdict;

/// One link of the chain.
#[allow(missing_docs, reason = "each variant's sentence, written by `Display`, says what its fields are")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It has ended.
    Ended { state: State, reason: Option<Reason> },
    /// It runs.
    Running { worker: WorkerName, attempt: u32, since: Timestamp },
    /// The run is queued: so many runs of the pipeline may be active.
    RunQueued { limit: u32, active: Vec<RunId>, ahead: usize },
    /// A cancel was asked for; attempts are being stopped.
    Cancelling { reason: Reason, running: u32 },
    /// The run was set aside.
    Quarantined { why: String },
    /// An upstream has not ended.
    Upstream { task: TaskId, state: State },
    /// A retry waits for its time.
    RetryAt { at: Timestamp, after: Option<Reason> },
    /// No worker serves the queue with these labels.
    NoWorker { queue: QueueName, labels: Vec<(String, String)> },
    /// Workers do, but each is drained or leaving.
    WorkersClosed { queue: QueueName, workers: usize },
    /// Every slot is taken.
    NoSlot { queue: QueueName, workers: usize, waiting: usize },
}

impl Why {
    /// A stable word for scripts.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ended { .. } => "ended",
            Self::Running { .. } => "running",
            Self::RunQueued { .. } => "run_queued",
            Self::Cancelling { .. } => "cancelling",
            Self::Quarantined { .. } => "quarantined",
            Self::Upstream { .. } => "upstream",
            Self::RetryAt { .. } => "retry_at",
            Self::NoWorker { .. } => "no_worker",
            Self::WorkersClosed { .. } => "workers_closed",
            Self::NoSlot { .. } => "no_slot",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended { state, reason: Some(reason) } => write!(f, "it has ended: {state}({reason})"),
            Self::Ended { state, reason: None } => write!(f, "it has ended: {state}"),
            Self::Running { worker, attempt, since } => write!(f, "it runs: attempt {attempt} on {worker} since {since}"),
            Self::RunQueued { limit, active, ahead } => {
                let active: Vec<_> = active.iter().map(RunId::as_str).collect();
                write!(f, "the run is queued: max_active_runs is {limit}, active: {}, {ahead} queued ahead of it", active.join(", "))
            }
            Self::Cancelling { reason, running } => {
                write!(f, "the run is being cancelled ({reason}): {running} attempts have not stopped yet")
            }
            Self::Quarantined { why } => write!(f, "the run was set aside: {why}"),
            Self::Upstream { task, state } => write!(f, "it waits for {task}, which is {state}"),
            Self::RetryAt { at, after: Some(reason) } => write!(f, "it is tried again at {at}, after FAILED({reason})"),
            Self::RetryAt { at, after: None } => write!(f, "it is tried again at {at}"),
            Self::NoWorker { queue, labels } if labels.is_empty() => {
                write!(f, "no worker serves queue {queue}: start one with penstock worker --queues {queue}")
            }
            Self::NoWorker { queue, labels } => {
                let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "no worker serves queue {queue} with labels {}: start one with --labels {}", labels.join(", "), labels.join(","))
            }
            Self::WorkersClosed { queue, workers } => {
                write!(
                    f,
                    "all {workers} workers of queue {queue} are drained or leaving: undo with penstock drain WORKER --undo, or start another"
                )
            }
            Self::NoSlot { queue, workers, waiting } => {
                write!(
                    f,
                    "every slot of the {workers} workers of queue {queue} is taken, and {waiting} tasks wait: it starts when one is free"
                )
            }
        }
    }
}

impl Scheduler {
    /// The chain of reasons of a task, or of the run. `None` if there is no such live run or task. Only the leader knows workers.
    pub fn explain(&self, id: &RunId, task: Option<&TaskId>) -> Option<Vec<Why>> {
        let (_, run) = self.state.run_by_id(id)?;
        let Some(task) = task else { return Some(self.explain_run(run)) };
        let index = run.plan.find(task)?;
        let mut chain = Vec::new();
        self.explain_task(run, index, &mut chain);
        Some(chain)
    }

    fn explain_run(&self, run: &Run) -> Vec<Why> {
        let record = &run.record;
        if let Some(why) = &record.quarantined {
            return vec![Why::Quarantined { why: why.to_string() }];
        }
        if record.state.is_terminal() {
            return vec![Why::Ended { state: record.state, reason: record.reason }];
        }
        if let Some(reason) = record.cancel {
            return vec![Why::Cancelling { reason, running: run.count(State::Running) }];
        }
        if record.state == State::Pending {
            let versions = self.state.pipelines.get(&record.pipeline);
            let active = versions.into_iter().flat_map(|v| &v.active).filter_map(|no| self.state.runs.get(no));
            let ahead = versions.map_or(0, |v| v.queued.range(..record.no).count());
            let limit = self.plan(&record.pipeline, None).and_then(|(_, plan)| plan.pipeline.max_active_runs).unwrap_or(0);
            return vec![Why::RunQueued { limit, active: active.map(|r| r.record.id.clone()).collect(), ahead }];
        }
        let mut chain = Vec::new();
        let open = (0..record.tasks).filter(|&t| !run.task(t).state.is_terminal());
        let front = open.filter(|&t| run.task(t).upstream.open == 0);
        for index in front.take(100) {
            self.explain_task(run, index, &mut chain);
        }
        chain
    }

    fn explain_task(&self, run: &Run, index: u32, chain: &mut Vec<Why>) {
        let task = run.task(index);
        if task.state.is_terminal() {
            return chain.push(Why::Ended { state: task.state, reason: task.reason });
        }
        if let Some(live) = task.live() {
            chain.push(Why::Running { worker: live.worker.clone(), attempt: live.number, since: live.leased_at });
        }
        if !run.is_active() {
            chain.extend(self.explain_run(run));
            return;
        }
        if task.state == State::Running {
            return;
        }
        if let (State::Retry, Some(at)) = (task.state, task.not_before)
            && at > self.term.now
        {
            return chain.push(Why::RetryAt { at, after: task.reason });
        }
        if task.state == State::Pending && task.upstream.verdict() == Verdict::Wait {
            let plan = &run.plan;
            let open = plan.task(index).upstream.iter().filter(|&&t| !run.task(t).state.is_terminal());
            for &above in open.take(20) {
                chain.push(Why::Upstream { task: plan.task(above).id.clone(), state: run.task(above).state });
                // The chain goes on with what the first of them waits for.
            }
            let first = plan.task(index).upstream.iter().find(|&&t| !run.task(t).state.is_terminal());
            if let Some(&above) = first.filter(|_| chain.len() < 100) {
                self.explain_task(run, above, chain);
            }
            return;
        }
        let spec = &run.plan.task(index).spec;
        let (serving, open, waiting) = self.term.lanes.lane_view(&Wants { queue: spec.queue.clone(), labels: spec.labels.clone() });
        chain.push(match (serving, open) {
            (0, _) => Why::NoWorker { queue: spec.queue.clone(), labels: spec.labels.clone().into_iter().collect() },
            (workers, 0) => Why::WorkersClosed { queue: spec.queue.clone(), workers },
            (_, workers) => Why::NoSlot { queue: spec.queue.clone(), workers, waiting },
        });
    }
}
