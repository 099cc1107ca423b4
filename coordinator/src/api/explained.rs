//! Reasons as replies show them; and how a task of an archived run ended.

use penstock_common::TaskKey;
use penstock_common::record::RunRecord;
use penstock_proto::v1;
use penstock_scheduler::explain::{Group, Why};
use tonic::Status;

use super::control::Control;
use super::status;

/// Tasks of an archived run that are read at once.
const PAGE: usize = 1_000;

pub(super) fn wire(why: &Why, text: String) -> v1::Why {
    v1::Why {
        kind: why.kind().to_owned(),
        text,
        fields: why.fields().into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        remedy: why.remedy(),
    }
}

/// A reason of some tasks of a run names them in `tasks`, and how many more there are in `more_tasks`.
pub(super) fn group(group: &Group) -> v1::Why {
    let mut wire = wire(&group.why, group.sentence());
    if !group.tasks.is_empty() {
        let names: Vec<String> = group.tasks.iter().map(ToString::to_string).collect();
        wire.fields.insert("tasks".to_owned(), names.join(","));
    }
    if group.more > 0 {
        wire.fields.insert("more_tasks".to_owned(), group.more.to_string());
    }
    wire
}

impl Control {
    /// How a task of an archived run ended.
    pub(super) async fn archived_end(&self, run: &RunRecord, key: &TaskKey) -> Result<Why, Status> {
        let mut from = 0;
        loop {
            let tasks = self.history.tasks(run.no, from, PAGE).await.map_err(|e| status::store(&e))?;
            if let Some(task) = tasks.iter().find(|task| task.id == *key) {
                let last = task.attempts.last().map(|attempt| attempt.detail.clone());
                let detail = Some(task.detail.clone()).filter(|detail| !detail.is_empty()).or(last).unwrap_or_default();
                return Ok(Why::Ended { state: task.state, reason: task.reason, detail });
            }
            from = match tasks.last() {
                Some(last) => last.index + 1,
                None => {
                    return Err(Status::not_found(format!(
                        "run {} has no task {key}: see what it has with penstock get {}",
                        run.id, run.id
                    )));
                }
            };
        }
    }
}
