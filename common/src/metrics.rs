//! What a task reports of itself: named numbers, four of which every pipeline shares, and outputs for downstream.

use std::collections::BTreeMap;

/// Named numbers of one attempt: `records_in`, `records_out`, `records_rejected`, `bytes`, and the task's own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metrics(pub BTreeMap<String, f64>);

impl Metrics {
    /// Records read.
    pub const RECORDS_IN: &'static str = "records_in";
    /// Records written.
    pub const RECORDS_OUT: &'static str = "records_out";
    /// Records refused.
    pub const RECORDS_REJECTED: &'static str = "records_rejected";

    /// The volume a task handled: `records_out`, else `records_in`.
    pub fn records(&self) -> Option<f64> {
        self.0.get(Self::RECORDS_OUT).or_else(|| self.0.get(Self::RECORDS_IN)).copied()
    }
    /// The part of the records that were refused: of those read, else of those written and refused; 0 where there were none.
    pub fn rejected_ratio(&self) -> f64 {
        let rejected = self.rejected().unwrap_or(0.0);
        let all = self.0.get(Self::RECORDS_IN).copied();
        let all = all.unwrap_or_else(|| self.0.get(Self::RECORDS_OUT).copied().unwrap_or(0.0) + rejected);
        if all > 0.0 { rejected / all } else { 0.0 }
    }
    /// Records refused, if told.
    pub fn rejected(&self) -> Option<f64> {
        self.0.get(Self::RECORDS_REJECTED).copied()
    }
}

/// Output values of one task by key, each a JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outputs(pub BTreeMap<String, String>);

impl Outputs {
    /// Bytes of keys and values, as the limits count them.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(k, v)| k.len() + v.len()).sum()
    }
}
