//! An attempt ended: what its task does next.

use std::sync::Arc;

use penstock_common::ids::is_dotted_name;
use penstock_common::limits::{MAX_DETAIL_BYTES, MAX_METRICS_PER_TASK, MAX_RUN_OUTPUT_BYTES, MAX_TASK_OUTPUT_BYTES, POISON_DEATHS};
use penstock_common::metrics::{Metrics, Outputs};
use penstock_common::pipeline::{Action, Expect, ExpectAction};
use penstock_common::record::{Ended, Report};
use penstock_common::{Event, Fence, Now, Reason, RunNo, SessionId, State, TaskId, Timestamp};

use super::{Deciding, bounded, ranges};
use crate::input::Answer;
use crate::machine::run::Run;

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
        items: None,
        worker_died: false,
    }
}

impl Deciding<'_> {
    /// A report with another fence, or from another session, is stale and changes nothing; so a report may be repeated.
    pub(crate) fn report(&mut self, session: &SessionId, fence: Fence, report: Report) -> Answer {
        match self.state.leases.get(&fence) {
            Some(holder) if holder.session == *session => {
                let (run, task) = (holder.run, holder.task);
                match report {
                    Report::Ended { mut ended, items } => {
                        ended.items = items.as_ref().map(|items| items.digest());
                        if let Some(items) = items {
                            self.state.items.insert(items.digest(), items);
                        }
                        let ended = self.checked(run, ended);
                        self.end_attempt(run, task, fence, ended);
                    }
                    Report::Waiting { until, detail } => self.wait_on(run, task, fence, until, &detail),
                }
                Answer::Reported { current: true }
            }
            _ => Answer::Reported { current: false },
        }
    }

    /// A sensor gives its slot back until its next probe; a cancelled one ends.
    fn wait_on(&mut self, no: RunNo, task: u32, fence: Fence, until: Timestamp, detail: &str) {
        let Some(run) = self.state.runs.get(&no) else { return };
        if !matches!(run.spec(task).action, Action::Wait(_)) {
            let ended = failed(Reason::Lost, "its worker reported that it waits, and it is no sensor", self.now);
            return self.end_attempt(no, task, fence, ended);
        }
        if let Some(reason) = run.stops(task) {
            let ended = Ended { state: State::Cancelled, ..failed(reason, detail, self.now) };
            return self.end_attempt(no, task, fence, ended);
        }
        let detail = bounded(detail, MAX_DETAIL_BYTES);
        self.emit(Event::AttemptWaiting { run: no, task, fence, until, detail, at: self.now.now });
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

    /// Ends an attempt and decides what follows: another try, a person's verdict, a branch taken, or nothing.
    pub(crate) fn end_attempt(&mut self, no: RunNo, index: u32, fence: Fence, mut ended: Ended) {
        let Some(run) = self.state.runs.get(&no) else { return };
        let task = run.task(index);
        let spec = run.spec(index).clone();
        let mut held = false;
        let mut passed_over = Vec::new();
        if ended.state == State::Success && spec.branch {
            match branches(run, run.node(index), &ended.outputs) {
                Ok(others) => passed_over = others,
                Err(why) => {
                    let detail = bounded(&why, MAX_DETAIL_BYTES);
                    ended = Ended {
                        state: State::Failed,
                        reason: Some(Reason::Branch),
                        detail,
                        outputs: Outputs::default(),
                        items: None,
                        ..ended
                    };
                }
            }
        }
        if ended.state == State::Success
            && let Some(why) = spec.expect.as_ref().and_then(|expect| unexpected(expect, &ended.metrics))
        {
            ended.detail = bounded(&why, MAX_DETAIL_BYTES);
            match spec.expect.as_ref().map(|expect| expect.action) {
                Some(ExpectAction::Fail) => {
                    (ended.state, ended.reason) = (State::Failed, Some(Reason::Expectation));
                    (ended.outputs, ended.items) = (Outputs::default(), None);
                }
                Some(ExpectAction::Hold) => held = true,
                Some(ExpectAction::Alert) | None => {}
            }
        }
        let lost = ended.reason == Some(Reason::Lost);
        let mut retry = None;
        if let Some(reason) = run.stops(index) {
            // A success that raced the cancel stands; every other end is the cancel's.
            held = false;
            if ended.state != State::Success {
                ended.state = State::Cancelled;
                ended.reason = Some(reason);
            }
        } else if ended.state == State::Cancelled {
            // Nobody asked for it here: the worker stopped it on its own, as when it was cut off.
            ended.state = State::Failed;
            ended.reason = Some(Reason::Lost);
            retry = (task.lost < spec.max_lost).then_some(self.now.now);
        } else if lost {
            if task.deaths + u32::from(ended.worker_died) >= POISON_DEATHS {
                ended.reason = Some(Reason::Poison);
                ended.detail = format!("{POISON_DEATHS} workers died while running it; the last: {}", ended.detail).into();
            } else if task.lost < spec.max_lost {
                retry = Some(self.now.now);
            }
        } else if ended.state == State::Failed
            && let Some(reason) = ended.reason
            && spec.retries.covers(reason, ended.exit_code)
            && task.failures < spec.retries.max
        {
            let delay = spec.retries.delay_after(task.failures + 1, unit(self.now.random ^ fence.0));
            retry = Some(self.now.now.after(delay));
        }
        let ended = Box::new(ended);
        match retry {
            Some(not_before) => self.emit(Event::TaskRetrying { run: no, task: index, fence, ended, not_before }),
            None => {
                let succeeded = ended.state == State::Success;
                self.emit(Event::AttemptEnded { run: no, task: index, fence, ended, held });
                if succeeded && !held {
                    self.pass_over(no, passed_over);
                }
            }
        }
    }

    /// A branch did not pick these.
    pub(crate) fn pass_over(&mut self, no: RunNo, tasks: Vec<u32>) {
        let Some(run) = self.state.runs.get(&no) else { return };
        let waiting = tasks.into_iter().filter(|&t| run.task(t).state == State::Pending && !run.is_expanded(t));
        let ranges = ranges(waiting);
        if !ranges.is_empty() {
            self.emit(Event::TasksSkipped { run: no, ranges, reason: Reason::Branch, at: self.now.now });
        }
    }
}

/// The direct downstreams that a branch's output `branch` does not pick, those apart that are also below one that it does; or what is
/// wrong with the output.
pub(crate) fn branches(run: &Run, node: u32, outputs: &Outputs) -> Result<Vec<u32>, String> {
    let downstream: Vec<u32> = run.plan.task(node).downstream.iter().map(|edge| edge.task).collect();
    let names = || downstream.iter().map(|&t| run.plan.task(t).id.as_str()).collect::<Vec<_>>().join(", ");
    let expected = || format!("write {{\"output\": {{\"branch\": \"NAME\"}}}} or a list of names; they are: {}", names());
    let Some(text) = outputs.0.get("branch") else { return Err(format!("it put out no `branch`: {}", expected())) };
    let picked: Vec<String> = match serde_json::from_str(text) {
        Ok(serde_json::Value::String(name)) => vec![name],
        Ok(serde_json::Value::Array(list)) => list
            .into_iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| format!("{item} in `branch` is no name: {}", expected())))
            .collect::<Result<_, _>>()?,
        Ok(serde_json::Value::Null) => Vec::new(),
        _ => return Err(format!("`branch` is {text}: {}", expected())),
    };
    let mut chosen = std::collections::BTreeSet::new();
    for name in picked {
        let task = TaskId::parse(&name).ok().and_then(|id| run.plan.find(&id)).filter(|task| downstream.contains(task));
        chosen.insert(task.ok_or_else(|| format!("`branch` names {name:?}, which is not directly below it: {}", expected()))?);
    }
    let kept = run.plan.cone(chosen, |t| &t.downstream);
    Ok(downstream.into_iter().filter(|task| !kept.contains(task)).collect())
}

/// In what way records are not as expected, if they are not.
fn unexpected(expect: &Expect, metrics: &Metrics) -> Option<String> {
    let mut wrong = Vec::new();
    let records = metrics.records();
    if let Some(least) = expect.min_records.filter(|least| records.is_none_or(|n| n < *least)) {
        let found = records.map_or("none were reported".to_owned(), |n| format!("it had {n}"));
        wrong.push(format!("at least {least} records are expected and {found}"));
    }
    if let Some((most, found)) = expect.max_records.zip(records).filter(|(most, n)| n > most) {
        wrong.push(format!("at most {most} records are expected and it had {found}"));
    }
    let rejected = metrics.rejected().unwrap_or(0.0);
    if let Some(most) = expect.max_rejected.filter(|most| rejected > *most) {
        wrong.push(format!("at most {most} rejected records are expected and it had {rejected}"));
    }
    if let Some(most) = expect.max_rejected_ratio.filter(|most| metrics.rejected_ratio() > *most) {
        let found = (metrics.rejected_ratio() * 100_000.0).round() / 1_000.0;
        wrong.push(format!("at most {} % of the records may be rejected and {found} % were", most * 100.0));
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

/// Whether a worker can know that an attempt FAILED for this reason.
fn tells(reason: Reason) -> bool {
    use Reason::{ExitCode, Lost, Oom, OutputTooLarge, Spawn, Task, Template, Timeout};
    matches!(reason, ExitCode | Timeout | Spawn | Oom | OutputTooLarge | Template | Task | Lost)
}

/// A number in [0, 1) from random bits (splitmix64, so that neighbouring seeds differ).
pub(crate) fn unit(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}
