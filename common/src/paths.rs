//! Where an attempt's log lies below a log root. Built from parsed ids only.

use crate::{RunId, TaskId};

/// `<run>/<task>/<attempt>.log`, and `<run>/<task>.<instance>/<attempt>.log` for an instance of a mapped task: by its number, since a
/// rerun may give the same number another item.
pub fn attempt_log(run: &RunId, task: &TaskId, instance: Option<u32>, attempt: u32) -> String {
    match instance {
        None => format!("{run}/{task}/{attempt}.log"),
        Some(instance) => format!("{run}/{task}.{instance}/{attempt}.log"),
    }
}
