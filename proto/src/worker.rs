//! Leases and reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_common::lease::{Lease, Previous};
use penstock_common::metrics::Outputs;
use penstock_common::record::Report;
use penstock_common::{Fence, Items, TaskId, Timestamp};

use crate::types::{Malformed, id, malformed, required, trigger_kind};
use crate::v1;

type Wire = BTreeMap<String, v1::TaskOutputs>;

fn outputs_to(outputs: BTreeMap<TaskId, Outputs>) -> Wire {
    outputs.into_iter().map(|(task, o)| (task.to_string(), v1::TaskOutputs { values: o.0 })).collect()
}

fn outputs_from(outputs: Wire) -> Result<BTreeMap<TaskId, Outputs>, Malformed> {
    outputs.into_iter().map(|(task, o)| Ok((id("outputs", &task)?, Outputs(o.values)))).collect()
}

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
            outputs: outputs_to(l.outputs),
            traceparent: l.traceparent,
            instance: l.instance,
            item: l.item.map(|item| item.to_string()),
            previous: l.previous.map(|p| v1::Previous { interval: Some(p.interval.into()), outputs: outputs_to(p.outputs) }),
            zone: l.zone.to_string(),
            first_leased_at_ms: l.first_leased_at.0,
        }
    }
}

impl TryFrom<v1::Lease> for Lease {
    type Error = Malformed;
    fn try_from(l: v1::Lease) -> Result<Self, Malformed> {
        let previous = |p: v1::Previous| {
            let interval = required("interval", p.interval)?.try_into()?;
            Ok::<_, Malformed>(Previous { interval, outputs: outputs_from(p.outputs)? })
        };
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
            outputs: outputs_from(l.outputs)?,
            traceparent: l.traceparent,
            instance: l.instance,
            item: l.item.map(Arc::from),
            previous: l.previous.map(previous).transpose()?,
            zone: l.zone.into(),
            first_leased_at: Timestamp(l.first_leased_at_ms),
        })
    }
}

impl v1::Report {
    /// The wire form.
    pub fn of(fence: Fence, report: Report) -> Self {
        match report {
            Report::Ended { ended, items } => {
                let texts = items.iter().flat_map(|items| (0..items.len() as u32).filter_map(|n| items.get(n)));
                let has_items = items.is_some();
                let items = texts.map(|item| item.to_string()).collect();
                Self { fence: fence.0, ended: Some(ended.into()), items, waiting: None, has_items }
            }
            Report::Waiting { until, detail } => {
                let waiting = v1::Waiting { until_ms: until.0, detail: detail.to_string() };
                Self { fence: fence.0, ended: None, items: Vec::new(), waiting: Some(waiting), has_items: false }
            }
        }
    }
}

impl TryFrom<v1::Report> for Report {
    type Error = Malformed;
    fn try_from(report: v1::Report) -> Result<Self, Malformed> {
        match (report.ended, report.waiting) {
            (Some(ended), None) => {
                let items = report
                    .has_items
                    .then(|| Items::parse(&report.items.join("\n")).map(Arc::new).map_err(|e| malformed("items", e)))
                    .transpose()?;
                Ok(Self::Ended { ended: ended.try_into()?, items })
            }
            (None, Some(waiting)) => Ok(Self::Waiting { until: Timestamp(waiting.until_ms), detail: waiting.detail.into() }),
            _ => Err(malformed("report", "it says either how the attempt ended or how long it waits")),
        }
    }
}
