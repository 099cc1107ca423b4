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

use penstock_common::metrics::Outputs;
use penstock_common::record::AttemptRecord;
use penstock_common::state::Outcome;
use penstock_common::{Reason, State, Timestamp};

use super::Broken;

/// A task of a run, as state holds it. Small: a waiting task is this and nothing on the heap.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Task {
    pub(crate) state: State,
    pub(crate) reason: Option<Reason>,
    /// Upstreams by outcome: counters, so that a finished task costs its out-edges and never a rescan.
    pub(crate) upstream: Upstream,
    pub(crate) failures: u32,
    pub(crate) lost: u32,
    pub(crate) deaths: u32,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) attempts: Vec<AttemptRecord>,
    pub(crate) outputs: Option<Box<Outputs>>,
}

/// How many upstreams are still open, and how the others ended (successes are the rest).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Upstream {
    pub(crate) open: u32,
    pub(crate) failed: u32,
    pub(crate) skipped: u32,
}

/// What a task's rule says of its upstreams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Wait,
    Ready,
    Skip(Reason),
}

impl Upstream {
    /// The rule `all_success`: a failure decides at once, a skip only when all have ended, so that final states do not depend on
    /// the order in which upstreams end.
    pub(crate) fn verdict(self) -> Verdict {
        match self {
            Self { failed: 1.., .. } => Verdict::Skip(Reason::UpstreamFailed),
            Self { open: 1.., .. } => Verdict::Wait,
            Self { skipped: 1.., .. } => Verdict::Skip(Reason::UpstreamSkipped),
            Self { .. } => Verdict::Ready,
        }
    }

    /// One upstream ended.
    pub(crate) fn settle(&mut self, outcome: Outcome) {
        self.open = self.open.saturating_sub(1);
        match outcome {
            Outcome::Success => {}
            Outcome::Failed => self.failed += 1,
            Outcome::Skipped => self.skipped += 1,
        }
    }
}

impl Task {
    pub(crate) fn new(upstreams: usize) -> Self {
        Self {
            state: State::Pending,
            reason: None,
            upstream: Upstream { open: u32::try_from(upstreams).unwrap_or(u32::MAX), failed: 0, skipped: 0 },
            failures: 0,
            lost: 0,
            deaths: 0,
            not_before: None,
            attempts: Vec::new(),
            outputs: None,
        }
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        Outcome::of(self.state, self.reason)
    }

    /// The attempt that holds the lease, if the task is RUNNING.
    pub(crate) fn live(&self) -> Option<&AttemptRecord> {
        self.attempts.last().filter(|a| a.state == State::Running)
    }

    /// The table.
    pub(crate) fn go(&mut self, to: State, reason: Option<Reason>) -> Result<(), Broken> {
        if !allowed(self.state, to) {
            return Err(Broken::new(format_args!("a task cannot go from {} to {to}", self.state)));
        }
        self.state = to;
        self.reason = reason;
        if to != State::Retry {
            self.not_before = None;
        }
        Ok(())
    }
}

/// Whether a task may go from one state to another within a generation, or (terminal to PENDING) into the next.
pub(crate) fn allowed(from: State, to: State) -> bool {
    use State::{Cancelled, Failed, Pending, Retry, Running, Skipped, Success};
    match (from, to) {
        (Pending | Retry, Running | Failed | Cancelled) => true,
        (Pending, Skipped) => true,
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
            (Pending, Skipped),
            (Pending, Cancelled),
            (Pending, Failed),
            (Running, Success),
            (Running, Failed),
            (Running, Skipped),
            (Running, Cancelled),
            (Failed, Retry),
            (Failed, Cancelled),
            (Retry, Running),
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
    fn a_failure_decides_at_once_and_a_skip_only_when_all_have_ended() {
        let of = |open, failed, skipped| Upstream { open, failed, skipped }.verdict();
        assert_eq!(of(0, 0, 0), Verdict::Ready);
        assert_eq!(of(1, 0, 0), Verdict::Wait);
        assert_eq!(of(1, 0, 1), Verdict::Wait);
        assert_eq!(of(1, 1, 0), Verdict::Skip(Reason::UpstreamFailed));
        assert_eq!(of(0, 0, 1), Verdict::Skip(Reason::UpstreamSkipped));
        assert_eq!(of(0, 1, 1), Verdict::Skip(Reason::UpstreamFailed));
    }

    #[test]
    fn a_waiting_task_is_small() {
        assert!(size_of::<Task>() <= 128, "{} bytes", size_of::<Task>());
    }
}
