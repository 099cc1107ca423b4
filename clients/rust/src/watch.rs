//! Watching a run over failovers: when a stream breaks it is opened again, and what changed meanwhile is worked out from the
//! tasks' states, so a watcher sees each task's way to its end, if not every step of it.

use std::collections::BTreeMap;

use penstock_proto::v1;
use tonic::Streaming;

use crate::{Client, Error};

/// What a watcher is told.
#[derive(Debug, Clone, Default)]
pub struct Update {
    /// The run as it is now.
    pub run: v1::Run,
    /// What changed since the update before; at first, every task that is not PENDING.
    pub changes: Vec<v1::Change>,
    /// True where `changes` are worked out from states and steps in between may be missing.
    pub caught_up: bool,
}

/// A run being watched.
pub struct Watch {
    client: Client,
    run_id: String,
    stream: Option<Streaming<v1::WatchRunResponse>>,
    seq: u64,
    tasks: BTreeMap<String, (i32, u32)>,
    run_state: Option<i32>,
    ended: bool,
}

impl Watch {
    pub(crate) fn new(client: Client, run_id: String) -> Self {
        Self { client, run_id, stream: None, seq: 0, tasks: BTreeMap::new(), run_state: None, ended: false }
    }

    /// The next update; `None` after the one that shows the run's end.
    pub async fn next(&mut self) -> Result<Option<Update>, Error> {
        if self.ended {
            return Ok(None);
        }
        loop {
            if self.stream.is_none() {
                let request = v1::WatchRunRequest { run_id: self.run_id.clone(), after_seq: self.seq };
                self.stream = Some(self.client.call("watch", request, |mut c, r| async move { c.watch_run(r).await }).await?);
            }
            let Some(stream) = &mut self.stream else { continue };
            match stream.message().await {
                Ok(Some(message)) => {
                    if message.seq < self.seq && message.seq != 0 {
                        // A coordinator that is behind what was seen: another is asked, after a moment.
                        self.stream = None;
                        self.client.elsewhere();
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                        continue;
                    }
                    if let Some(update) = self.take(message) {
                        return Ok(Some(update));
                    }
                }
                Ok(None) | Err(_) => {
                    self.stream = None;
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn take(&mut self, message: v1::WatchRunResponse) -> Option<Update> {
        self.seq = self.seq.max(message.seq);
        let run = message.run.unwrap_or_default();
        let caught_up = !message.tasks.is_empty();
        let mut changes = Vec::new();
        for task in &message.tasks {
            let now = (task.state, task.attempts.last().map_or(0, |a| a.number));
            let before = self.tasks.insert(task.id.clone(), now);
            if before != Some(now) && (before.is_some() || now.0 != v1::State::Pending as i32) {
                changes.push(change_of(task));
            }
        }
        for change in message.changes {
            if !change.task.is_empty() {
                self.tasks.insert(change.task.clone(), (change.state, change.attempt));
            }
            changes.push(change);
        }
        self.ended = penstock_common::State::from(run.state()).is_terminal() && !message.more;
        if message.more && changes.is_empty() {
            return None;
        }
        if self.run_state.replace(run.state) == Some(run.state) && changes.is_empty() && !self.ended {
            return None;
        }
        Some(Update { run, changes, caught_up })
    }
}

fn change_of(task: &v1::Task) -> v1::Change {
    let last = task.attempts.last().cloned().unwrap_or_default();
    let duration_ms = (last.ended_at_ms != 0).then(|| u64::try_from(last.ended_at_ms.saturating_sub(last.started_at_ms)).unwrap_or(0));
    v1::Change {
        at_ms: if last.ended_at_ms != 0 { last.ended_at_ms } else { last.leased_at_ms },
        task: task.id.clone(),
        state: task.state,
        reason: task.reason.clone(),
        detail: last.detail,
        attempt: last.number,
        worker: last.worker,
        duration_ms,
        metrics: last.metrics,
    }
}
