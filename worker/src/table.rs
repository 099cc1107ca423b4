//! What this worker holds: attempts that run, and reports that are not acknowledged. A fence is in it once.

use std::collections::BTreeMap;

use penstock_common::Fence;
use penstock_common::record::Report;
use tokio::sync::watch;

use crate::attempt::Stop;

/// Attempts by fence.
#[derive(Default)]
pub(crate) struct Table {
    running: BTreeMap<Fence, watch::Sender<Stop>>,
    finished: BTreeMap<Fence, Report>,
    /// Finished since the last report.
    fresh: Vec<Fence>,
}

impl Table {
    /// Whether a lease is known: a leader may send it again.
    pub(crate) fn knows(&self, fence: Fence) -> bool {
        self.running.contains_key(&fence) || self.finished.contains_key(&fence)
    }

    pub(crate) fn start(&mut self, fence: Fence) -> watch::Receiver<Stop> {
        let (sender, receiver) = watch::channel(Stop::Go);
        self.running.insert(fence, sender);
        receiver
    }

    pub(crate) fn finish(&mut self, fence: Fence, report: Report) {
        self.running.remove(&fence);
        self.finished.insert(fence, report);
        self.fresh.push(fence);
    }

    /// Recorded, or stale: not to be told again.
    pub(crate) fn acknowledge(&mut self, fence: Fence) {
        self.finished.remove(&fence);
    }

    /// Asks an attempt to stop, if it runs; a kill is never taken back.
    pub(crate) fn stop(&self, fence: Fence, stop: Stop) {
        if let Some(sender) = self.running.get(&fence) {
            sender.send_if_modified(|now| {
                let stronger = *now != Stop::Kill && *now != stop;
                if stronger {
                    *now = stop;
                }
                stronger
            });
        }
    }

    pub(crate) fn stop_all(&self, stop: Stop) {
        for fence in self.running.keys() {
            self.stop(*fence, stop);
        }
    }

    /// Reports that were not sent on this stream yet, at most so many.
    pub(crate) fn take_fresh(&mut self, most: usize) -> Vec<(Fence, Report)> {
        let rest = self.fresh.split_off(self.fresh.len().min(most));
        let taken = std::mem::replace(&mut self.fresh, rest);
        taken.into_iter().filter_map(|fence| Some((fence, self.finished.get(&fence)?.clone()))).collect()
    }

    pub(crate) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// A new stream: everything that is not acknowledged is told again.
    pub(crate) fn tell_all_again(&mut self) {
        self.fresh = self.finished.keys().copied().collect();
    }

    pub(crate) fn running(&self) -> Vec<u64> {
        self.running.keys().map(|f| f.0).collect()
    }

    pub(crate) fn finished(&self) -> Vec<u64> {
        self.finished.keys().map(|f| f.0).collect()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.finished.is_empty()
    }

    pub(crate) fn runs_nothing(&self) -> bool {
        self.running.is_empty()
    }
}
