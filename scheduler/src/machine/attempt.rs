//! The attempt machine: one try of a task by one worker.
//!
//! ```text
//! RUNNING ─▶ SUCCESS | FAILED | SKIPPED | CANCELLED
//! ```

use std::sync::Arc;

use penstock_common::metrics::Metrics;
use penstock_common::record::{AttemptRecord, Ended};
use penstock_common::{Fence, SessionId, State, Timestamp, WorkerName};

use super::Broken;

/// Whether an attempt may go from one state to another.
pub(crate) fn allowed(from: State, to: State) -> bool {
    matches!((from, to), (State::Running, State::Success | State::Failed | State::Skipped | State::Cancelled))
}

/// A new one.
pub(crate) fn leased(number: u32, fence: Fence, worker: &WorkerName, session: &SessionId, at: Timestamp) -> AttemptRecord {
    AttemptRecord {
        number,
        fence,
        worker: worker.clone(),
        session: session.clone(),
        state: State::Running,
        reason: None,
        detail: Arc::default(),
        leased_at: at,
        started_at: at,
        ended_at: None,
        exit_code: None,
        metrics: Metrics::default(),
    }
}

/// Ends an attempt.
pub(crate) fn end(attempt: &mut AttemptRecord, ended: &Ended) -> Result<(), Broken> {
    if !allowed(attempt.state, ended.state) {
        return Err(Broken::new(format_args!("attempt {} cannot go from {} to {}", attempt.number, attempt.state, ended.state)));
    }
    attempt.state = ended.state;
    attempt.reason = ended.reason;
    attempt.detail = ended.detail.clone();
    attempt.exit_code = ended.exit_code;
    if ended.started_at.0 != 0 {
        attempt.started_at = ended.started_at;
    }
    attempt.ended_at = Some(ended.ended_at);
    attempt.metrics = ended.metrics.clone();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_running_attempt_ends_and_only_in_a_terminal_state() {
        for from in State::ALL {
            for to in State::ALL {
                assert_eq!(allowed(from, to), from == State::Running && to.is_terminal(), "{from} -> {to}");
            }
        }
    }
}
