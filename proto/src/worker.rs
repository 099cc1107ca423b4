//! Leases and reports.

use std::sync::Arc;

use penstock_common::Fence;
use penstock_common::lease::Lease;
use penstock_common::metrics::Outputs;

use crate::types::{Malformed, id, malformed, trigger_kind};
use crate::v1;

impl From<Lease> for v1::Lease {
    fn from(l: Lease) -> Self {
        Self {
            run_id: l.run.to_string(),
            pipeline: l.pipeline.full().to_owned(),
            task: l.task.to_string(),
            number: l.number,
            generation: l.generation,
            fence: l.fence.0,
            spec: serde_json::to_vec(&*l.spec).unwrap_or_default().into(),
            params: l.params.to_string(),
            trigger: l.trigger.as_str().to_owned(),
            interval: l.interval.map(Into::into),
            outputs: l.outputs.into_iter().map(|(task, o)| (task.to_string(), v1::TaskOutputs { values: o.0 })).collect(),
            traceparent: l.traceparent,
        }
    }
}

impl TryFrom<v1::Lease> for Lease {
    type Error = Malformed;
    fn try_from(l: v1::Lease) -> Result<Self, Malformed> {
        let outputs = l.outputs.into_iter().map(|(task, o)| Ok((id("outputs", &task)?, Outputs(o.values))));
        Ok(Self {
            run: id("run_id", &l.run_id)?,
            pipeline: id("pipeline", &l.pipeline)?,
            task: id("task", &l.task)?,
            number: l.number,
            generation: l.generation,
            fence: Fence(l.fence),
            spec: Arc::new(serde_json::from_slice(&l.spec).map_err(|e| malformed("spec", e))?),
            params: l.params.into(),
            trigger: trigger_kind(&l.trigger)?,
            interval: l.interval.map(TryInto::try_into).transpose()?,
            outputs: outputs.collect::<Result<_, Malformed>>()?,
            traceparent: l.traceparent,
        })
    }
}
