//! Where an attempt's log lies below a log root. Built from parsed ids only.

use crate::{RunId, TaskId};

/// `<run>/<task>/<attempt>.log`
pub fn attempt_log(run: &RunId, task: &TaskId, attempt: u32) -> String {
    format!("{run}/{task}/{attempt}.log")
}
