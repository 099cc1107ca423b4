//! A lease as a worker gets it: everything one attempt needs, so that workers stay stateless.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::metrics::Outputs;
use crate::pipeline::Task;
use crate::record::TriggerKind;
use crate::{Fence, Interval, PipelineName, RunId, TaskId, TaskKey, Timestamp};

/// The right to one attempt, with what it needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Lease {
    /// The run.
    pub run: RunId,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// The task, or the instance of it.
    pub task: TaskKey,
    /// The instance's number.
    pub instance: Option<u32>,
    /// The instance's item, a JSON text.
    pub item: Option<Arc<str>>,
    /// 1, 2, 3…
    pub number: u32,
    /// The run's generation: with run and task, the idempotency key.
    pub generation: u32,
    /// Rises over all leases of the cluster.
    pub fence: Fence,
    /// What to do.
    pub spec: Arc<Task>,
    /// A JSON object.
    pub params: Arc<str>,
    /// What started the run.
    pub trigger: TriggerKind,
    /// The time the run covers.
    pub interval: Option<Interval>,
    /// Outputs of the upstreams that the task's templates name.
    pub outputs: BTreeMap<TaskId, Outputs>,
    /// The newest earlier interval of the pipeline with a SUCCESS, where its templates name `previous`.
    pub previous: Option<Previous>,
    /// The zone of `interval.date` and of times of day.
    pub zone: Arc<str>,
    /// When this attempt was first leased: a sensor's timeout counts from here.
    pub first_leased_at: Timestamp,
    /// W3C trace context for the child.
    pub traceparent: String,
}

/// What an earlier interval of the same pipeline left.
#[derive(Debug, Clone, PartialEq)]
pub struct Previous {
    /// The interval.
    pub interval: Interval,
    /// Outputs of its tasks, of those that a `previous.outputs.…` names.
    pub outputs: BTreeMap<TaskId, Outputs>,
}

impl Lease {
    /// The same on every attempt of a generation.
    pub fn idempotency_key(&self) -> String {
        format!("{}/{}/{}", self.run, self.task, self.generation)
    }
}
