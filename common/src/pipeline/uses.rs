//! What the templates and the condition of a task name: found once, by the engine's own analysis, when its document is read.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::TaskId;

/// What a task reads of others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Uses {
    /// Of the run: `outputs`.
    #[serde(default, skip_serializing_if = "OutputsOf::is_none")]
    pub outputs: OutputsOf,
    /// Of the interval before: `previous`, which may be no task's outputs but only `previous.interval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<OutputsOf>,
}

/// Tasks whose outputs are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputsOf {
    /// These.
    Tasks(BTreeSet<TaskId>),
    /// Which, only the rendering shows: `outputs[params.which]`.
    Any,
}

impl Default for OutputsOf {
    fn default() -> Self {
        Self::Tasks(BTreeSet::new())
    }
}

impl OutputsOf {
    /// Whether no task's are read.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Tasks(tasks) if tasks.is_empty())
    }
    /// And these as well.
    pub fn extend(&mut self, others: Self) {
        match (&mut *self, others) {
            (Self::Tasks(tasks), Self::Tasks(others)) => tasks.extend(others),
            _ => *self = Self::Any,
        }
    }
}

impl Uses {
    /// And what another text uses.
    pub fn extend(&mut self, other: Self) {
        self.outputs.extend(other.outputs);
        if let Some(previous) = other.previous {
            self.previous.get_or_insert_default().extend(previous);
        }
    }
}
