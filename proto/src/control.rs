//! Changes, as `watch` shows them.

use penstock_common::metrics::Metrics;
use penstock_common::record::Change;
use penstock_common::{Millis, Timestamp};

use crate::types::{Malformed, id, reason_of, state_of, word};
use crate::v1;

impl From<Change> for v1::Change {
    fn from(c: Change) -> Self {
        Self {
            at_ms: c.at.0,
            task: c.task.map_or(String::new(), |t| t.to_string()),
            state: v1::State::from(c.state).into(),
            reason: word(c.reason),
            detail: c.detail.to_string(),
            attempt: c.attempt,
            worker: c.worker.map_or(String::new(), |w| w.to_string()),
            duration_ms: c.duration.map(|d| d.0),
            metrics: c.metrics.0,
        }
    }
}

impl TryFrom<v1::Change> for Change {
    type Error = Malformed;
    fn try_from(c: v1::Change) -> Result<Self, Malformed> {
        let named = |text: &str| (!text.is_empty()).then_some(()).map(|()| text.to_owned());
        Ok(Self {
            at: Timestamp(c.at_ms),
            task: named(&c.task).map(|t| id("task", &t)).transpose()?,
            state: state_of(c.state)?,
            reason: reason_of(&c.reason)?,
            detail: c.detail.into(),
            attempt: c.attempt,
            worker: named(&c.worker).map(|w| id("worker", &w)).transpose()?,
            duration: c.duration_ms.map(Millis),
            metrics: Metrics(c.metrics),
        })
    }
}
