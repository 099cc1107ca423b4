//! What a container or Job is called, and by what it is known again: whose it is, and whether it is earlier or later than ours.
//!
//! A name is made of ids that hold over the whole cluster, so every worker gives an attempt the same name and a runtime refuses it
//! twice. Pure.

use std::collections::BTreeMap;

use penstock_common::lease::Lease;
use penstock_common::{Digest, Fence, WorkerName};

/// The task of the run, hashed: the same for all its attempts.
pub(super) const KEY: &str = "penstock/key";
/// The attempt's number.
pub(super) const ATTEMPT: &str = "penstock/attempt";
/// The lease's fence.
pub(super) const FENCE: &str = "penstock/fence";
/// The worker that started it, hashed.
pub(super) const WORKER: &str = "penstock/worker";
/// For people.
pub(super) const RUN: &str = "penstock/run";
/// For people.
pub(super) const TASK: &str = "penstock/task";

/// An attempt's name and marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// `penstock-<20 hex digits>-<attempt>`: a DNS label, so fit for everything.
    pub(super) name: String,
    key: String,
    number: u32,
    fence: Fence,
    worker: String,
}

/// What another container of the same task is to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Other {
    /// The attempt's own, of this lease or of an earlier one of the same number.
    Same,
    /// An earlier attempt's: it must not go on.
    Earlier,
    /// A later one's: this lease does not hold any more.
    Later,
}

impl Identity {
    /// `worker` is what [`scope`] says.
    pub(super) fn new(cluster: &str, worker: String, lease: &Lease) -> Self {
        let key = short(&[cluster, lease.run.as_str(), lease.task.task.as_str(), &lease.instance.map_or(String::new(), |i| i.to_string())]);
        Self { name: format!("penstock-{key}-{}", lease.number), key, number: lease.number, fence: lease.fence, worker }
    }

    /// The labels; each value is one in Kubernetes too.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        [
            (KEY, self.key.clone()),
            (ATTEMPT, self.number.to_string()),
            (FENCE, self.fence.to_string()),
            (WORKER, self.worker.clone()),
            ("app.kubernetes.io/managed-by", "penstock".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Finds every container of the task.
    pub(super) fn selector(&self) -> String {
        format!("{KEY}={}", self.key)
    }

    /// What the container with these labels is to this attempt. The fence decides, since it alone rises over everything; `None`:
    /// its labels are not Penstock's, or of another task.
    pub(super) fn compare(&self, labels: &BTreeMap<String, String>) -> Option<Other> {
        if labels.get(KEY) != Some(&self.key) {
            return None;
        }
        let number: u32 = labels.get(ATTEMPT)?.parse().ok()?;
        let fence: u64 = labels.get(FENCE)?.parse().ok()?;
        Some(match fence {
            fence if fence > self.fence.0 => Other::Later,
            _ if number == self.number => Other::Same,
            _ => Other::Earlier,
        })
    }
}

/// What a worker's containers are marked with. `place` tells apart workers that share a name: the scratch directory, where the
/// runtime is this machine's own.
pub(super) fn scope(cluster: &str, worker: &WorkerName, place: &str) -> String {
    short(&[cluster, worker.as_str(), place])
}

/// Finds every container of a worker.
pub(super) fn worker_selector(scope: &str) -> String {
    format!("{WORKER}={scope}")
}

/// 80 bits: two tasks of a million-task run share a hash once in 10^12 runs.
fn short(parts: &[&str]) -> String {
    // With lengths, so that no two lists of parts give the same text.
    let text: String = parts.iter().map(|part| format!("{}:{part}", part.len())).collect();
    let mut hex = Digest::of(text.as_bytes()).to_string();
    hex.truncate(20);
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(number: u32, fence: u64) -> Identity {
        Identity { name: String::new(), key: "k".into(), number, fence: Fence(fence), worker: "w".into() }
    }

    #[test]
    fn the_fence_decides_who_is_earlier() {
        let ours = identity(3, 30);
        let other = |number, fence| ours.compare(&identity(number, fence).labels());
        assert_eq!(other(3, 30), Some(Other::Same));
        assert_eq!(other(3, 20), Some(Other::Same), "an earlier lease of this attempt");
        assert_eq!(other(3, 31), Some(Other::Later), "a later lease of this attempt");
        assert_eq!(other(2, 20), Some(Other::Earlier));
        assert_eq!(other(4, 40), Some(Other::Later));
        // Numbers may go back when a store is restored from a copy; fences do not.
        assert_eq!(other(4, 20), Some(Other::Earlier));
        assert_eq!(other(2, 40), Some(Other::Later));
        assert_eq!(Identity { key: "other".into(), ..identity(2, 20) }.compare(&ours.labels()), None);
        assert_eq!(ours.compare(&BTreeMap::from([(KEY.to_owned(), "k".to_owned())])), None, "a label of someone else's");
    }

    #[test]
    fn a_hash_tells_apart_lists_that_are_one_text() {
        assert_ne!(short(&["a", "bc"]), short(&["ab", "c"]));
        assert_eq!(short(&["a", "bc"]).len(), 20);
    }
}
