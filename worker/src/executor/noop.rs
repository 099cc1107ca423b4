//! `noop`: nothing. SUCCESS at once, without log, process or system call; no metrics, no outputs.

use std::sync::Arc;

use penstock_common::metrics::{Metrics, Outputs};
use penstock_common::record::{Ended, Report};
use penstock_common::{State, Timestamp};

/// What a task that does nothing reports.
pub(crate) fn report(now: Timestamp) -> Report {
    let ended = Ended {
        state: State::Success,
        reason: None,
        detail: Arc::default(),
        exit_code: None,
        started_at: now,
        ended_at: now,
        metrics: Metrics::default(),
        outputs: Outputs::default(),
        items: None,
        worker_died: false,
    };
    Report::Ended { ended, items: None }
}
