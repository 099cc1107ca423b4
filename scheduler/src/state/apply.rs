//! Events of one run: each is checked against the machines before it changes anything.

use std::collections::BTreeSet;

use penstock_common::limits::MAX_ATTEMPTS_KEPT;
use penstock_common::pipeline::Action;
use penstock_common::{Event, Fence, Reason, RunNo, State as Word, Timestamp};

use super::{Holder, State, Touched, is_of_backfill};
use crate::machine::run::{self, Run};
use crate::machine::{Broken, attempt};

impl State {
    pub(super) fn apply_to_run(&mut self, no: RunNo, event: &Event, touched: &mut Vec<Touched>) -> Result<(), Broken> {
        let cut = self.cut;
        let run = self.runs.get_mut(&no).ok_or_else(|| Broken::new(format_args!("there is no run {no}")))?;
        if run.record.quarantined.is_some() {
            return Ok(());
        }
        run.changed = cut;
        match event {
            Event::RunStarted { at, .. } => {
                run::go(&mut run.record, Word::Running, None)?;
                run.record.started_at.get_or_insert(*at);
                run.record.generation_at = *at;
                touched.push(Touched::Everything(no));
                self.moved(no);
            }
            Event::RunPaused { paused, audit, .. } => {
                run.record.paused = *paused;
                run.note(audit.clone());
                touched.push(if *paused { Touched::Run(no) } else { Touched::Everything(no) });
            }
            Event::TaskExpanded { task, count, at, .. } => {
                run.check(*task)?;
                if run.task(*task).state != Word::Pending {
                    return Err(Broken::new(format_args!("task {task} is {} and gets instances", run.task(*task).state)));
                }
                let items = run.items_of(*task, &self.items).map_err(Broken)?;
                run.expand(*task, items, *count, *at, cut)?;
                let instances = run.mapping.live(*task).into_iter().flat_map(|e| e.indices());
                touched.extend(instances.map(|index| Touched::Task(no, index)));
                // Those that are paired with it have somebody to be paired with.
                let paired = run.plan.task(*task).downstream.iter().filter(|edge| edge.paired);
                touched.extend(paired.map(|edge| Touched::Task(no, edge.task)));
                self.weigh(no);
            }
            Event::AttemptLeased { task, number, fence, worker, session, at, .. } => {
                run.check(*task)?;
                if *fence <= self.last_fence {
                    return Err(Broken::new(format_args!("fence {fence} after fence {}", self.last_fence)));
                }
                let last = run.task(*task).attempts.last().map_or(0, |a| a.number);
                let resumes = run.task(*task).waits();
                let expected = if resumes { last } else { last + 1 };
                if *number != expected || (run.task(*task).state == Word::Running && !resumes) {
                    return Err(Broken::new(format_args!("attempt {number} where {expected} is next, or the last one runs")));
                }
                run.go(*task, Word::Running, None, *at, cut)?;
                let attempts = &mut run.task_mut(*task, cut).attempts;
                if attempts.capacity() == 0 {
                    // Most tasks have one.
                    attempts.reserve_exact(1);
                }
                match attempts.last_mut().filter(|_| resumes) {
                    Some(attempt) => {
                        (attempt.fence, attempt.worker, attempt.session) = (*fence, worker.clone(), session.clone());
                        (attempt.reason, attempt.started_at) = (None, *at);
                    }
                    None => attempts.push(attempt::leased(*number, *fence, worker, session, *at)),
                }
                if attempts.len() > MAX_ATTEMPTS_KEPT {
                    attempts.remove(0);
                }
                run.leased += 1;
                self.last_fence = *fence;
                if is_of_backfill(&run.record) {
                    self.yielding.take(run.spec(*task));
                }
                if let Some(pool) = &run.spec(*task).pool {
                    *self.pool_used.entry(pool.clone()).or_default() += run.spec(*task).pool_slots;
                }
                self.leases.insert(*fence, Holder { run: no, task: *task, session: session.clone() });
                self.held.entry(session.clone()).or_default().insert(*fence);
            }
            Event::AttemptWaiting { task, fence, until, detail, at, .. } => {
                run.check(*task)?;
                holds(run, *task, *fence)?;
                if !matches!(run.spec(*task).action, Action::Wait(_)) {
                    return Err(Broken::new(format_args!("task {task} is no sensor and waits")));
                }
                run.go(*task, Word::Running, Some(Reason::Waiting), *at, cut)?;
                let state = run.task_mut(*task, cut);
                state.not_before = Some(*until);
                if let Some(attempt) = state.attempts.last_mut() {
                    attempt.reason = Some(Reason::Waiting);
                    attempt.detail = detail.clone();
                }
                run.leased -= 1;
                self.release(*fence);
                touched.push(Touched::Task(no, *task));
            }
            Event::AttemptEnded { task, fence, ended, held, .. } => {
                run.check(*task)?;
                holds(run, *task, *fence)?;
                if !attempt::allowed(Word::Running, ended.state) || (*held && ended.state != Word::Success) {
                    return Err(Broken::new(format_args!("the attempt of task {task} cannot become {}", ended.state)));
                }
                let (state, reason) = if *held { (Word::Running, Some(Reason::Held)) } else { (ended.state, ended.reason) };
                run.go(*task, state, reason, ended.ended_at, cut)?;
                let output_bytes = ended.outputs.bytes();
                let task_state = run.task_mut(*task, cut);
                if let Some(attempt) = task_state.attempts.last_mut() {
                    attempt::end(attempt, ended)?;
                }
                match (ended.state, ended.reason) {
                    (Word::Failed, Some(Reason::Lost | Reason::Poison)) => {
                        task_state.lost += 1;
                        task_state.deaths += u32::from(ended.worker_died);
                    }
                    (Word::Failed, _) => task_state.failures += 1,
                    _ => {}
                }
                if ended.state == Word::Success {
                    task_state.set_items(ended.items);
                    if output_bytes > 0 {
                        let old = task_state.outputs.replace(Box::new(ended.outputs.clone()));
                        run.output_bytes = run.output_bytes + output_bytes - old.map_or(0, |o| o.bytes());
                    }
                }
                run.leased -= 1;
                self.release(*fence);
                if !held && ended.state.is_terminal() {
                    self.settle(no, *task, ended.ended_at, touched)?;
                }
            }
            Event::TaskRetrying { task, fence, not_before, ended, .. } => {
                run.check(*task)?;
                holds(run, *task, *fence)?;
                if ended.state != Word::Failed {
                    return Err(Broken::new(format_args!("task {task} ended as {} and is tried again", ended.state)));
                }
                run.go(*task, Word::Failed, ended.reason, ended.ended_at, cut)?;
                run.go(*task, Word::Retry, ended.reason, ended.ended_at, cut)?;
                let state = run.task_mut(*task, cut);
                state.not_before = Some(*not_before);
                if let Some(attempt) = state.attempts.last_mut() {
                    attempt::end(attempt, ended)?;
                }
                match ended.reason {
                    Some(Reason::Lost) => {
                        state.lost += 1;
                        state.deaths += u32::from(ended.worker_died);
                    }
                    _ => state.failures += 1,
                }
                run.leased -= 1;
                self.release(*fence);
                touched.push(Touched::Task(no, *task));
            }
            Event::TaskWaiting { task, child, at, .. } => {
                run.check(*task)?;
                if !matches!(run.task(*task).state, Word::Pending | Word::Retry) || !run.spec(*task).action.is_the_schedulers() {
                    return Err(Broken::new(format_args!("task {task} is {} and cannot wait", run.task(*task).state)));
                }
                run.go(*task, Word::Running, Some(Reason::Waiting), *at, cut)?;
                if child.is_some() {
                    run.task_mut(*task, cut).rare().child = child.clone();
                }
                touched.push(Touched::Task(no, *task));
            }
            Event::TaskStopping { task, reason, detail, .. } => {
                run.check(*task)?;
                if !run.task(*task).waits() || run.task(*task).child().is_none() {
                    return Err(Broken::new(format_args!("task {task} waits for no run and is stopping")));
                }
                let rare = run.task_mut(*task, cut).rare();
                (rare.stopping, rare.detail) = (Some(*reason), detail.clone());
            }
            Event::TaskEnded(end) => {
                let task = end.task;
                run.check(task)?;
                without_lease(run, task)?;
                if run.is_expanded(task) || !end.state.is_terminal() {
                    return Err(Broken::new(format_args!("task {task} cannot be ended as {}", end.state)));
                }
                let since = run.task(task).changed_at;
                run.go(task, end.state, end.reason, end.at, cut)?;
                end_waiting(run, task, since, cut);
                let state = run.task_mut(task, cut);
                let stopping = state.rare.as_mut().and_then(|rare| rare.stopping.take());
                if !end.detail.is_empty() || stopping.is_some() {
                    state.rare().detail = end.detail.clone();
                }
                let old = match end.state {
                    Word::Success if end.outputs.0.is_empty() => None,
                    Word::Success => Some(state.outputs.replace(Box::new(end.outputs.clone()))),
                    // Nobody may build on what a rejected task said.
                    _ => Some(state.outputs.take()),
                };
                if end.state != Word::Success {
                    state.set_items(None);
                }
                if end.state == Word::Failed {
                    state.failures += 1;
                }
                if let Some(old) = old {
                    let now = run.task(task).outputs.as_ref().map_or(0, |o| o.bytes());
                    run.output_bytes = run.output_bytes + now - old.map_or(0, |o| o.bytes());
                }
                if let Some(audit) = &end.audit {
                    run.note(audit.clone());
                }
                match end.not_before {
                    Some(not_before) => {
                        run.go(task, Word::Retry, end.reason, end.at, cut)?;
                        let state = run.task_mut(task, cut);
                        state.not_before = Some(not_before);
                        if state.attempts.last().is_some_and(|a| a.reason == Some(Reason::Lost)) {
                            state.rare().tried_until = Some(end.at);
                        }
                        touched.push(Touched::Task(no, task));
                    }
                    None => self.settle(no, task, end.at, touched)?,
                }
            }
            Event::OutputsRecalled { task, outputs, .. } => {
                run.check(*task)?;
                if run.task(*task).reason != Some(Reason::NotSelected) {
                    return Err(Broken::new(format_args!("task {task} is {} and what it put out is recalled", run.task(*task).state)));
                }
                let bytes = outputs.bytes();
                let old = run.task_mut(*task, cut).outputs.replace(Box::new(outputs.clone()));
                run.output_bytes = run.output_bytes + bytes - old.map_or(0, |o| o.bytes());
            }
            Event::TasksSkipped { ranges, reason, at, .. } => {
                for task in ranges.iter().flat_map(|&(from, to)| from..to) {
                    let run = self.runs.get_mut(&no).ok_or_else(|| Broken::new("the run is gone"))?;
                    run.check(task)?;
                    if run.task(task).state != Word::Pending || run.is_expanded(task) || run.is_gone(task) {
                        return Err(Broken::new(format_args!("task {task} is {} and is skipped", run.task(task).state)));
                    }
                    run.go(task, Word::Skipped, Some(*reason), *at, cut)?;
                    self.settle(no, task, *at, touched)?;
                }
            }
            Event::TasksCancelled { reason, teardowns, at, .. } => {
                if run.record.cancel != Some(*reason) {
                    return Err(Broken::new(format_args!("tasks of run {} are cancelled and it is not", run.record.id)));
                }
                let open = self.runs.get(&no).map_or_else(Vec::new, |run| self.idle(run, *teardowns));
                let run = self.runs.get_mut(&no).ok_or_else(|| Broken::new("the run is gone"))?;
                for &task in &open {
                    let since = run.task(task).changed_at;
                    run.go(task, Word::Cancelled, Some(*reason), *at, cut)?;
                    end_waiting(run, task, since, cut);
                }
                for task in open {
                    self.settle(no, task, *at, touched)?;
                }
                // A pause held teardowns back that may start now.
                let was_paused = self.runs.get(&no).is_some_and(|run| self.is_asked_to_pause(run));
                touched.push(if was_paused { Touched::Everything(no) } else { Touched::Run(no) });
            }
            Event::CancelRequested { reason, audit, .. } => {
                if run.record.state.is_terminal() {
                    return Err(Broken::new(format_args!("run {} has ended and is cancelled", run.record.id)));
                }
                run.record.cancel = Some(*reason);
                run.note(audit.clone());
                touched.push(Touched::Run(no));
            }
            Event::RunEnded { state, reason, at, .. } => {
                if run.open_tasks() > 0 {
                    return Err(Broken::new(format_args!("run {} ends with {} open tasks", run.record.id, run.open_tasks())));
                }
                run::go(&mut run.record, *state, *reason)?;
                run.record.ended_at = Some(*at);
                touched.push(Touched::Run(no));
                self.remember(no);
                self.account(no);
                self.tell_listeners(no, *at);
                self.moved(no);
                self.weigh(no);
            }
            Event::GenerationOpened { generation, ranges, audit, .. } => {
                run::go(&mut run.record, Word::Pending, None)?;
                run.record.generation = *generation;
                run.record.generation_at = audit.at;
                run.record.ended_at = None;
                run.record.cancel = None;
                run.record.paused = false;
                run.note(audit.clone());
                let indices: BTreeSet<u32> = ranges.iter().flat_map(|&(from, to)| from..to).collect();
                for &task in &indices {
                    run.check(task)?;
                    if run.is_expanded(task) {
                        run.collapse(task, cut);
                    }
                }
                for &task in indices.iter().filter(|&&task| !run.is_gone(task)).collect::<Vec<_>>() {
                    // The instances of a mapped task that waits to be expanded again are gone for now.
                    let bytes = run.task(task).outputs.as_ref().map_or(0, |o| o.bytes());
                    run.output_bytes -= bytes;
                    run.go(task, Word::Pending, None, audit.at, cut)?;
                    run.task_mut(task, cut).renewed();
                    if let Some((node, _)) = run.instance(task)
                        && run.task(node).state.is_terminal()
                    {
                        run.go(node, Word::Pending, None, audit.at, cut)?;
                        run.go(node, Word::Running, None, audit.at, cut)?;
                    }
                }
                run.recount_around(&indices, cut);
                touched.push(Touched::Run(no));
                self.moved(no);
                self.weigh(no);
            }
            _ => return Err(Broken::new("an event that is no run's")),
        }
        Ok(())
    }

    /// What a cancel ends at once: tasks that hold no lease and wait for no run that goes on.
    fn idle(&self, run: &Run, teardowns: bool) -> Vec<u32> {
        let idle = |&t: &u32| {
            let task = run.task(t);
            let holds_nothing = !task.state.is_terminal() && task.live().is_none() && self.live_child(run, t).is_none();
            holds_nothing && !run.is_expanded(t) && !run.is_gone(t) && (teardowns || !run.spec(t).teardown)
        };
        (0..run.slots()).filter(idle).collect()
    }

    /// A task is terminal: tells those below.
    fn settle(&mut self, no: RunNo, task: u32, at: Timestamp, touched: &mut Vec<Touched>) -> Result<(), Broken> {
        let run = self.runs.get_mut(&no).ok_or_else(|| Broken::new("the run is gone"))?;
        for below in run.settle(task, at, self.cut)? {
            touched.push(Touched::Task(no, below));
        }
        touched.push(Touched::Run(no));
        Ok(())
    }
}

/// What a report ends is the attempt that holds the lease.
fn holds(run: &Run, task: u32, fence: Fence) -> Result<(), Broken> {
    match run.task(task).live() {
        Some(live) if live.fence == fence => Ok(()),
        _ => Err(Broken::new(format_args!("task {task} has no live attempt with fence {fence}"))),
    }
}

/// What ends a task without a report must not end one that holds a lease.
fn without_lease(run: &Run, task: u32) -> Result<(), Broken> {
    match run.task(task).live() {
        Some(_) => Err(Broken::new(format_args!("task {task} runs and ends without its report"))),
        None => Ok(()),
    }
}

/// The attempt of a sensor that waits ends with its task. What it took is its last probe: waiting is no duration.
fn end_waiting(run: &mut Run, task: u32, since: Timestamp, cut: u64) {
    if run.task(task).attempts.last().is_some_and(|a| a.state == Word::Running) {
        let task = run.task_mut(task, cut);
        let (state, reason) = (task.state, task.reason);
        if let Some(attempt) = task.attempts.last_mut() {
            (attempt.state, attempt.reason, attempt.ended_at) = (state, reason, Some(since));
        }
    }
}
