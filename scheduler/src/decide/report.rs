//! An attempt ended: what its task does next.

use std::sync::Arc;

use penstock_common::ids::is_dotted_name;
use penstock_common::limits::{MAX_DETAIL_BYTES, MAX_METRICS_PER_TASK, MAX_RUN_OUTPUT_BYTES, MAX_TASK_OUTPUT_BYTES, POISON_DEATHS};
use penstock_common::metrics::{Metrics, Outputs};
use penstock_common::record::Ended;
use penstock_common::{Event, Fence, Now, Reason, RunNo, SessionId, State, Timestamp};

use super::{Deciding, bounded};
use crate::input::Answer;
use crate::term::{Timer, overdue_at};

/// An end that the leader decides.
pub(crate) fn failed(reason: Reason, detail: &str, now: Now) -> Ended {
    Ended {
        state: State::Failed,
        reason: Some(reason),
        detail: Arc::from(detail),
        exit_code: None,
        started_at: Timestamp(0),
        ended_at: now.now,
        metrics: Metrics::default(),
        outputs: Outputs::default(),
        worker_died: false,
    }
}

impl Deciding<'_> {
    /// A report with another fence, or from another session, is stale and changes nothing; so a report may be repeated.
    pub(crate) fn report(&mut self, session: &SessionId, fence: Fence, ended: Ended) -> Answer {
        match self.state.leases.get(&fence) {
            Some(holder) if holder.session == *session => {
                let (run, task) = (holder.run, holder.task);
                let ended = self.checked(run, ended);
                self.end_attempt(run, task, fence, ended);
                Answer::Reported { current: true }
            }
            _ => Answer::Reported { current: false },
        }
    }

    /// What a worker says is bounded again here: a report never makes state larger than its limits.
    fn checked(&self, no: RunNo, mut ended: Ended) -> Ended {
        ended.detail = bounded(&ended.detail, MAX_DETAIL_BYTES);
        ended.metrics.0.retain(|name, value| value.is_finite() && is_dotted_name(name));
        while ended.metrics.0.len() > MAX_METRICS_PER_TASK {
            ended.metrics.0.pop_last();
        }
        // Deaths and most reasons are the leader's to tell.
        ended.worker_died = false;
        let is_end = match (ended.state, ended.reason) {
            (State::Success, _) => true,
            (State::Skipped | State::Cancelled, reason) => reason.is_some(),
            (State::Failed, Some(reason)) => tells(reason),
            _ => false,
        };
        match ended.state {
            State::Success => ended.reason = None,
            State::Skipped => ended.reason = ended.reason.and(Some(Reason::Task)),
            _ => {}
        }
        if !is_end {
            return failed(Reason::Lost, "its worker reported an end that is none", self.now);
        }
        let bytes = ended.outputs.bytes();
        let used = self.state.runs.get(&no).map_or(0, |run| run.output_bytes);
        let too_large = if bytes > MAX_TASK_OUTPUT_BYTES {
            Some(format!("{bytes} bytes of outputs, {MAX_TASK_OUTPUT_BYTES} is the limit of a task"))
        } else if used + bytes > MAX_RUN_OUTPUT_BYTES {
            Some(format!("{bytes} bytes of outputs and {used} of the run's other tasks, {MAX_RUN_OUTPUT_BYTES} is the limit of a run"))
        } else {
            None
        };
        if let Some(what) = too_large.filter(|_| ended.state == State::Success) {
            ended.state = State::Failed;
            ended.reason = Some(Reason::OutputTooLarge);
            ended.detail = format!("{what}: store the data and pass a reference to it").into();
        }
        if ended.state != State::Success {
            ended.outputs = Outputs::default();
        }
        ended
    }

    /// Ends an attempt and decides what follows: another try, or nothing.
    pub(crate) fn end_attempt(&mut self, no: RunNo, index: u32, fence: Fence, mut ended: Ended) {
        let Some(run) = self.state.runs.get(&no) else { return };
        let task = run.task(index);
        let spec = run.plan.task(index).spec.clone();
        // Else timers of ended attempts would stay for as long as their timeouts.
        if let Some(at) = task.live().and_then(|live| overdue_at(&spec, live.leased_at)) {
            self.term.timers.remove(&(at, Timer::Overdue(fence)));
        }
        let lost = ended.reason == Some(Reason::Lost);
        let mut retry = None;
        if let Some(reason) = run.record.cancel {
            // A success that raced the cancel stands; every other end is the cancel's.
            if ended.state != State::Success {
                ended.state = State::Cancelled;
                ended.reason = Some(reason);
            }
        } else if ended.state == State::Cancelled {
            // Nobody asked for it here: the worker stopped it on its own, as when it was cut off.
            ended.state = State::Failed;
            ended.reason = Some(Reason::Lost);
            retry = (task.lost < spec.max_lost).then_some((self.now.now, true));
        } else if lost {
            if task.deaths + u32::from(ended.worker_died) >= POISON_DEATHS {
                ended.reason = Some(Reason::Poison);
                ended.detail = format!("{POISON_DEATHS} workers died while running it; the last: {}", ended.detail).into();
            } else if task.lost < spec.max_lost {
                retry = Some((self.now.now, true));
            }
        } else if ended.state == State::Failed
            && let Some(reason) = ended.reason
            && spec.retries.covers(reason, ended.exit_code)
            && task.failures < spec.retries.max
        {
            let delay = spec.retries.delay_after(task.failures + 1, unit(self.now.random ^ fence.0));
            retry = Some((self.now.now.after(delay), false));
        }
        self.emit(Event::AttemptEnded { run: no, task: index, fence, ended: Box::new(ended) });
        if let Some((not_before, lost)) = retry {
            self.emit(Event::TaskRetrying { run: no, task: index, not_before, lost });
        }
    }
}

/// Whether a worker can know that an attempt FAILED for this reason.
fn tells(reason: Reason) -> bool {
    use Reason::{ExitCode, Lost, Oom, OutputTooLarge, Spawn, Task, Template, Timeout};
    matches!(reason, ExitCode | Timeout | Spawn | Oom | OutputTooLarge | Template | Task | Lost)
}

/// A number in [0, 1) from random bits (splitmix64, so that neighbouring seeds differ).
fn unit(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}
