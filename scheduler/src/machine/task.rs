//! The task machine.
//!
//! ```text
//! PENDING ─▶ RUNNING ─▶ SUCCESS
//!    │          │
//!    │          ▼
//!    │       FAILED ─▶ RETRY ─▶ RUNNING
//!    ▼          ▼
//! SKIPPED   CANCELLED      (CANCELLED also from PENDING and RETRY; FAILED also from PENDING and RETRY: queue_timeout;
//!                           SKIPPED also from RUNNING: the task said so; any terminal state ─▶ PENDING: a new generation)
//! ```

use std::sync::Arc;

use penstock_common::metrics::Outputs;
use penstock_common::record::AttemptRecord;
use penstock_common::{Digest, Reason, RunId, State, Timestamp};

use super::Broken;
use super::rule::Upstream;

/// A task of a run, as state holds it. Small: a waiting task is this and nothing on the heap.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Task {
    pub(crate) state: State,
    pub(crate) reason: Option<Reason>,
    /// A mapped task's own, while it has no instances; an instance's, of those it is paired with.
    pub(crate) upstream: Upstream,
    pub(crate) failures: u32,
    pub(crate) lost: u32,
    pub(crate) deaths: u32,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) changed_at: Timestamp,
    pub(crate) attempts: Vec<AttemptRecord>,
    pub(crate) outputs: Option<Box<Outputs>>,
    /// What few tasks have.
    pub(crate) rare: Option<Box<Rare>>,
}

/// What few tasks have.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Rare {
    /// Why it ended as it did, where no attempt says it.
    pub(crate) detail: Arc<str>,
    /// The run it started.
    pub(crate) child: Option<RunId>,
    /// That run is being stopped, and the task ends for this reason once it has ended.
    pub(crate) stopping: Option<Reason>,
    /// When its last try ended, where no attempt says it.
    pub(crate) tried_until: Option<Timestamp>,
    /// Of the items file it wrote.
    pub(crate) items: Option<Digest>,
}

impl Task {
    pub(crate) fn new(upstream: Upstream) -> Self {
        Self {
            state: State::Pending,
            reason: None,
            upstream,
            failures: 0,
            lost: 0,
            deaths: 0,
            not_before: None,
            changed_at: Timestamp(0),
            attempts: Vec::new(),
            outputs: None,
            rare: None,
        }
    }

    /// For a new life of it: attempts go on being counted, everything else begins again.
    pub(crate) fn renewed(&mut self) {
        (self.failures, self.lost, self.deaths) = (0, 0, 0);
        self.outputs = None;
        self.rare = None;
    }

    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// The items file it wrote. What few tasks have is not kept empty, so that a task restored is the task itself.
    pub(crate) fn set_items(&mut self, items: Option<Digest>) {
        if items.is_some() || self.rare.is_some() {
            self.rare().items = items;
        }
        if self.rare.as_deref() == Some(&Rare::default()) {
            self.rare = None;
        }
    }

    pub(crate) fn child(&self) -> Option<&RunId> {
        self.rare.as_ref()?.child.as_ref()
    }

    /// Why it ends once the run that it waits for has ended.
    pub(crate) fn stopping(&self) -> Option<Reason> {
        self.rare.as_ref()?.stopping
    }

    /// RUNNING without a lease: a sensor between probes, a person, another run.
    pub(crate) fn waits(&self) -> bool {
        self.state == State::Running && matches!(self.reason, Some(Reason::Waiting | Reason::Held))
    }

    /// When the present try began: a sensor's goes on over probes, and over workers that were lost.
    pub(crate) fn first_leased(&self, generation_at: Timestamp) -> Option<Timestamp> {
        let since = self.rare.as_ref().and_then(|rare| rare.tried_until).map_or(generation_at, |until| until.max(generation_at));
        let mut attempts = self.attempts.iter().rev().take_while(|a| a.leased_at >= since).peekable();
        let running = attempts.next_if(|a| a.state == State::Running);
        let lost = attempts.take_while(|a| a.reason == Some(Reason::Lost)).last();
        lost.or(running).map(|attempt| attempt.leased_at)
    }

    /// The attempt that holds the lease, if the task is RUNNING.
    pub(crate) fn live(&self) -> Option<&AttemptRecord> {
        self.attempts.last().filter(|a| a.state == State::Running && a.reason.is_none())
    }

    /// The table.
    pub(crate) fn go(&mut self, to: State, reason: Option<Reason>, at: Timestamp) -> Result<(), Broken> {
        if !allowed(self.state, to) {
            return Err(Broken::new(format_args!("a task cannot go from {} to {to}", self.state)));
        }
        self.state = to;
        self.reason = reason;
        self.changed_at = at;
        self.not_before = None;
        Ok(())
    }
}

/// Whether a task may go from one state to another within a generation, or (terminal to PENDING) into the next.
pub(crate) fn allowed(from: State, to: State) -> bool {
    use State::{Cancelled, Failed, Pending, Retry, Running, Skipped, Success};
    match (from, to) {
        (Pending | Retry, Running | Failed | Cancelled | Skipped | Success) => true,
        // From waiting to running and back.
        (Running, Running) => true,
        (Running, Success | Failed | Skipped | Cancelled) => true,
        // Within the step that wrote FAILED: `apply` never lets another event of the run in between.
        (Failed, Retry | Cancelled) => true,
        (Success | Failed | Skipped | Cancelled, Pending) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_drawing() {
        use State::{Cancelled, Failed, Pending, Retry, Running, Skipped, Success};
        let drawn = [
            (Pending, Running),
            (Pending, Success),
            (Pending, Skipped),
            (Pending, Cancelled),
            (Pending, Failed),
            (Running, Running),
            (Running, Success),
            (Running, Failed),
            (Running, Skipped),
            (Running, Cancelled),
            (Failed, Retry),
            (Failed, Cancelled),
            (Retry, Running),
            (Retry, Success),
            (Retry, Skipped),
            (Retry, Cancelled),
            (Retry, Failed),
            (Success, Pending),
            (Failed, Pending),
            (Skipped, Pending),
            (Cancelled, Pending),
        ];
        for from in State::ALL {
            for to in State::ALL {
                assert_eq!(allowed(from, to), drawn.contains(&(from, to)), "{from} -> {to}");
            }
        }
    }

    #[test]
    fn a_waiting_task_is_small() {
        assert!(size_of::<Task>() <= 128, "{} bytes", size_of::<Task>());
    }
}
