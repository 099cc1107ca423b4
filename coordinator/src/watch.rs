//! Who watches which run. Changes are collected as events are applied and sent once they are durable.

use std::collections::BTreeMap;

use penstock_common::limits::MAX_PAGE_TASKS;
use penstock_common::record::Change;
use penstock_common::{Event, RunId, Seq};
use penstock_proto::v1;
use penstock_scheduler::Scheduler;
use tokio::sync::mpsc;

type Sender = mpsc::Sender<v1::WatchRunResponse>;

/// Watchers of this replica.
#[derive(Default)]
pub(crate) struct Watchers {
    by_run: BTreeMap<RunId, Vec<Sender>>,
    collected: BTreeMap<RunId, Vec<Change>>,
}

/// Changes that wait for their entry to be durable.
pub(crate) type Collected = Vec<(RunId, v1::WatchRunResponse)>;

impl Watchers {
    /// The run as it is: the first messages a watcher gets. `None` if the run does not live here.
    pub(crate) fn snapshot(scheduler: &Scheduler, run: &RunId, seq: Seq) -> Option<Vec<v1::WatchRunResponse>> {
        let record = scheduler.run(run)?;
        let mut pages = Vec::new();
        let mut from = 0;
        loop {
            let tasks = scheduler.tasks(run, from, MAX_PAGE_TASKS);
            let more = tasks.len() == MAX_PAGE_TASKS;
            from = tasks.last().map_or(from, |task| task.index + 1);
            pages.push(v1::WatchRunResponse {
                seq: seq.0,
                run: Some(record.clone().into()),
                tasks: tasks.into_iter().map(Into::into).collect(),
                changes: Vec::new(),
                more,
            });
            if !more {
                break;
            }
        }
        Some(pages)
    }

    pub(crate) fn add(&mut self, run: RunId, sender: Sender) {
        let senders = self.by_run.entry(run).or_default();
        senders.retain(|sender| !sender.is_closed());
        senders.push(sender);
    }

    /// Notes what an event, just applied, changed for those who watch.
    pub(crate) fn observe(&mut self, scheduler: &Scheduler, event: &Event) {
        if self.by_run.is_empty() {
            return;
        }
        let Some(id) = event.run().and_then(|no| scheduler.run_id(no)) else { return };
        if self.by_run.contains_key(id) {
            self.collected.entry(id.clone()).or_default().extend(scheduler.changes(event));
        }
    }

    /// What was noted since the last call, as messages of the entry `seq`.
    pub(crate) fn collect(&mut self, scheduler: &Scheduler, seq: Seq) -> Collected {
        let message = |(id, changes): (RunId, Vec<Change>)| {
            let run = scheduler.run(&id)?.clone().into();
            let changes = changes.into_iter().map(Into::into).collect();
            Some((id, v1::WatchRunResponse { seq: seq.0, run: Some(run), tasks: Vec::new(), changes, more: false }))
        };
        std::mem::take(&mut self.collected).into_iter().filter_map(message).collect()
    }

    /// Sends; a watcher that does not keep up is dropped and takes the stream up again.
    pub(crate) fn send(&mut self, collected: Collected) {
        for (id, message) in collected {
            let ended = message.run.as_ref().is_some_and(|run| penstock_common::State::from(run.state()).is_terminal());
            if let Some(senders) = self.by_run.get_mut(&id) {
                senders.retain(|sender| sender.try_send(message.clone()).is_ok() && !ended);
                if senders.is_empty() {
                    self.by_run.remove(&id);
                }
            }
        }
    }

    pub(crate) fn flush(&mut self, scheduler: &Scheduler, seq: Seq) {
        let collected = self.collect(scheduler, seq);
        self.send(collected);
    }

    /// Forgets everybody: their streams end, and they ask again.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
