//! Events of runs, one by one: the transition table, and that each event was due.

use std::collections::BTreeMap;

use penstock_common::event::{RunCreated, TaskEnded};
use penstock_common::limits::{ARCHIVED_ID_WINDOW_MS, POISON_DEATHS};
use penstock_common::metrics::Metrics;
use penstock_common::pipeline::{Action, ExpectAction, Task};
use penstock_common::record::Ended;
use penstock_common::{Event, Fence, Millis, Reason, RunNo, State, Timestamp};

use super::Checker;
use super::shadow::{Mapped, RunShadow, Says, TaskShadow};

impl Checker {
    pub(super) fn event_of_run(&mut self, event: &Event, now: Timestamp) {
        match event {
            Event::RunCreated(created) => self.created(created, now),
            Event::RunStarted { run, .. } => self.run_started(*run, now),
            Event::RunPaused { run, paused, .. } => {
                let run = self.run(*run);
                assert!(!run.state.is_terminal() && run.paused != *paused, "run {} is paused or resumed twice", run.id);
                run.paused = *paused;
            }
            Event::TaskExpanded { run, task, count, .. } => self.expanded(*run, *task, *count),
            Event::AttemptLeased { run, task, number, fence, session, worker, .. } => {
                self.leased(*run, *task, *number, *fence, (session, worker), now);
            }
            Event::AttemptWaiting { run, task, fence, until, .. } => {
                self.take_lease(*run, *task, *fence);
                let run = self.run(*run);
                assert!(matches!(run.spec(*task).action, Action::Wait(_)), "only a sensor waits");
                assert!(run.cancel.is_none() || run.spec(*task).teardown, "T8: a sensor of a cancelled run waits on");
                let shadow = &mut run.tasks[*task as usize];
                (shadow.reason, shadow.not_before, shadow.changed_at) = (Some(Reason::Waiting), Some(*until), now);
            }
            Event::AttemptEnded { run, task, fence, ended, held } => {
                self.take_lease(*run, *task, *fence);
                self.attempt_ended(*run, *task, ended, *held, now);
            }
            Event::TaskRetrying { run, task, fence, ended, not_before } => {
                self.take_lease(*run, *task, *fence);
                self.retrying(*run, *task, ended, *not_before, now);
            }
            Event::TaskWaiting { run, task, child, .. } => self.waiting(*run, *task, child.as_ref(), now),
            Event::TaskStopping { run, task, reason, .. } => self.stopping(*run, *task, *reason, now),
            Event::TaskEnded(end) => self.task_ended(end, now),
            Event::OutputsRecalled { run, task, outputs, .. } => {
                let run = self.run(*run);
                let pending = run.state == State::Pending;
                let shadow = &mut run.tasks[*task as usize];
                assert!(pending && shadow.reason == Some(Reason::NotSelected), "outputs of a task that the run has itself are recalled");
                shadow.outputs = outputs.0.clone();
            }
            Event::TasksSkipped { run, ranges, reason, .. } => self.skipped(*run, ranges, *reason, now),
            Event::TasksCancelled { run, reason, teardowns, .. } => {
                let waits: Vec<bool> = (0..self.runs[run].tasks.len() as u32).map(|task| self.live_child(*run, task).is_some()).collect();
                let run = self.run(*run);
                assert_eq!(run.cancel, Some(*reason), "tasks are cancelled without a cancel");
                run.now |= *teardowns;
                for task in run.own().collect::<Vec<_>>() {
                    let idle = !run.tasks[task as usize].state.is_terminal() && run.tasks[task as usize].live.is_none();
                    if idle && !waits[task as usize] && (*teardowns || !run.spec(task).teardown) {
                        go(run, task, State::Cancelled, Some(*reason), now);
                    }
                }
                run.end_mapped(now);
            }
            Event::CancelRequested { run, reason, .. } => {
                let run = self.run(*run);
                assert!(!run.state.is_terminal(), "R3: a cancel of what has ended");
                assert!(run.cancel.is_none_or(|before| before == *reason), "a cancel for another reason");
                if *reason == Reason::RunTimeout && run.cancel.is_none() {
                    let (took, timeout) = (now.since(run.started_at.unwrap()), run.plan.pipeline.run_timeout.unwrap());
                    assert!(took >= timeout, "run_timeout {timeout} of run {} after {took}", run.id);
                }
                run.cancel = Some(*reason);
            }
            Event::RunEnded { run, state, reason, .. } => {
                let run = self.run(*run);
                assert!(!run.state.is_terminal(), "R3: run {} ends twice", run.id);
                assert!(run.all_terminal(), "R4: run {} ends with open tasks", run.id);
                assert_eq!((*state, *reason), run.verdict(), "R4: how run {} ends: {:#?}", run.id, run.tasks);
                (run.state, run.reason) = (*state, *reason);
            }
            Event::GenerationOpened { run, generation, ranges, .. } => self.generation_opened(*run, *generation, ranges),
            Event::RunReopened { run, .. } => {
                let run = self.run(*run);
                assert!(run.archived.take().is_some(), "run {} is live and is reopened", run.id);
            }
            Event::RunArchived { run, .. } => {
                let run = self.run(*run);
                assert!(run.state.is_terminal() && run.archived.is_none(), "R5: run {} is dropped while it is {}", run.id, run.state);
                run.archived = Some(now);
            }
            _ => unreachable!("an event of a run"),
        }
        if self.deep {
            self.note_ready(event.run().unwrap(), now);
        }
    }

    fn run(&mut self, no: RunNo) -> &mut RunShadow {
        self.runs.get_mut(&no).unwrap()
    }

    /// When each task began to wait for its turn.
    fn note_ready(&mut self, no: RunNo, now: Timestamp) {
        let run = self.run(no);
        for task in run.own().collect::<Vec<_>>() {
            let ready = run.ready(task, now.max(run.tasks[task as usize].not_before.unwrap_or(now)));
            let since = run.tasks[task as usize].not_before.unwrap_or(now).max(now);
            let shadow = &mut run.tasks[task as usize];
            shadow.ready_at = ready.then(|| shadow.ready_at.unwrap_or(since));
        }
    }

    fn created(&mut self, created: &RunCreated, now: Timestamp) {
        let last = self.runs.last_key_value().map_or(0, |(no, _)| no.0);
        assert_eq!(created.run.0, last + 1, "run numbers have no gap");
        assert!(!self.unregistered.contains(&created.pipeline), "a run of {}, which was taken off", created.pipeline);
        if let Some(old) = self.ids.insert(created.id.clone(), created.run) {
            let archived = self.runs[&old].archived.expect("R1: a run id is created twice");
            assert!(archived.after(Millis(ARCHIVED_ID_WINDOW_MS)) <= now, "R1: a run id is created again within its window");
        }
        if created.cause == Some(penstock_common::event::Cause::Schedule) {
            self.accounted(&created.pipeline, created.interval.expect("a scheduled run has an interval"));
        }
        let plan = self.versions[&created.pipeline][&created.version].clone();
        let mut tasks = vec![TaskShadow::default(); plan.len()];
        for task in created.not_selected.iter().flat_map(|&(from, to)| from..to) {
            let shadow = &mut tasks[task as usize];
            (shadow.state, shadow.reason) = (State::Skipped, Some(Reason::NotSelected));
        }
        let run = RunShadow {
            id: created.id.clone(),
            plan,
            params: serde_json::from_str(&created.params).unwrap(),
            parent: created.parent.clone(),
            state: State::Pending,
            reason: None,
            cancel: None,
            now: false,
            paused: false,
            generation: 1,
            tasks,
            mapped: BTreeMap::new(),
            started_at: None,
            archived: None,
            yields: created.trigger.kind == penstock_common::record::TriggerKind::Backfill,
        };
        self.runs.insert(created.run, run);
    }

    fn run_started(&mut self, no: RunNo, now: Timestamp) {
        let pipeline = self.runs[&no].plan.pipeline.name.clone();
        assert!(!self.paused.contains(&pipeline), "a run of the paused {pipeline} starts");
        let limit = self.versions[&pipeline].last_key_value().unwrap().1.pipeline.max_active_runs;
        let of_pipeline = |r: &&RunShadow| r.plan.pipeline.name == pipeline && r.archived.is_none();
        let active = self.runs.values().filter(of_pipeline).filter(|r| r.state == State::Running).count();
        assert!(limit.is_none_or(|limit| active < limit as usize), "T7: a run starts beside {active} of max_active_runs {limit:?}");
        let (yields, plan) = (self.runs[&no].yields, self.runs[&no].plan.clone());
        let in_order = !plan.pipeline.depends_on_past && plan.pipeline.triggers.is_empty();
        let waits = |r: &&RunShadow| r.state == State::Pending && r.cancel.is_none() && !r.paused && r.yields == yields && in_order;
        let overtaken = self.runs.range(..no).map(|(_, r)| r).filter(of_pipeline).find(waits);
        assert!(overtaken.is_none(), "queued runs start in order, but {} overtakes {}", self.runs[&no].id, overtaken.unwrap().id);
        let run = self.run(no);
        assert!(run.state == State::Pending && run.cancel.is_none() && !run.paused, "R3: run {} starts and was {}", run.id, run.state);
        run.state = State::Running;
        run.started_at = Some(now);
    }

    fn expanded(&mut self, no: RunNo, task: u32, count: u32) {
        let known = self.items.clone();
        let run = self.run(no);
        assert!(run.may_start(task), "a task of run {} is expanded, which starts nothing", run.id);
        assert_eq!((run.tasks[task as usize].state, run.says(task)), (State::Pending, Says::Run), "T2: {} is expanded", run.name(task));
        assert_ne!(run.condition(task), Some(Ok(false)), "T2: {} is expanded and its `if` is false", run.name(task));
        let items = run.items(task, &known).expect("a task is expanded over what is no list");
        assert_eq!(items.len(), count as usize, "the items of {}", run.name(task));
        for dependency in run.spec(task).depends_on.clone().iter().filter(|d| d.paired) {
            let other = run.instances(run.node_of(&dependency.task)).len();
            assert!(other == 0 || other == count as usize, "{count} instances are paired with {other}");
        }
        let mut next = run.tasks.len() as u32;
        let mapped: &mut Mapped = run.mapped.entry(task).or_default();
        while mapped.indices.len() < count as usize {
            mapped.indices.push(next);
            next += 1;
        }
        (mapped.present, mapped.items) = (count as usize, items);
        let indices = mapped.indices[..count as usize].to_vec();
        run.tasks.resize(next as usize, TaskShadow::default());
        for (number, index) in (0..).zip(indices) {
            let shadow = &mut run.tasks[index as usize];
            *shadow = TaskShadow { attempts: shadow.attempts, instance: Some((task, number)), ..TaskShadow::default() };
        }
        let node = &mut run.tasks[task as usize];
        (node.state, node.reason) = (State::Running, None);
    }

    /// T5: what a report ends is the attempt that holds the lease.
    fn take_lease(&mut self, no: RunNo, task: u32, fence: Fence) {
        let live = self.live.remove(&fence).expect("T5: the report of an attempt that is not live");
        assert_eq!((live.0, live.1), (no, task), "T5: the report of another task's attempt");
        *self.per_session.get_mut(&live.2).unwrap() -= 1;
        let shadow = &mut self.run(no).tasks[task as usize];
        assert_eq!((shadow.state, shadow.reason), (State::Running, None), "T1");
        assert_eq!(shadow.live.take(), Some(fence), "T5: the report does not carry the current fence");
    }

    fn attempt_ended(&mut self, no: RunNo, task: u32, ended: &Ended, held: bool, now: Timestamp) {
        let run = self.run(no);
        let spec = run.spec(task).clone();
        assert!(ended.state.is_terminal(), "T1: an attempt ends {}", ended.state);
        assert_eq!(ended.reason.is_none(), ended.state == State::Success, "T1: each transition has a reason, and a success needs none");
        let stopped = run.cancel.filter(|_| !spec.teardown || run.now);
        if let Some(reason) = stopped {
            let stands = ended.state == State::Success || (ended.state, ended.reason) == (State::Cancelled, Some(reason));
            assert!(stands && !held, "an attempt of a cancelled run ends {}({:?})", ended.state, ended.reason);
        }
        let action = spec.expect.as_ref().filter(|_| ended.state == State::Success && unmet(&spec, &ended.metrics)).map(|e| e.action);
        assert_ne!(action, Some(ExpectAction::Fail), "a task succeeds with records that are not as expected");
        assert_eq!(held, action == Some(ExpectAction::Hold) && stopped.is_none(), "whether a task is held");
        let shadow = &mut run.tasks[task as usize];
        if ended.state == State::Success {
            shadow.outputs = if ended.outputs.bytes() > 0 { ended.outputs.0.clone() } else { BTreeMap::new() };
            shadow.items = ended.items;
        }
        if ended.state == State::Failed {
            spend(shadow, ended);
        }
        match held {
            true => (shadow.reason, shadow.changed_at) = (Some(Reason::Held), now),
            false => go(run, task, ended.state, ended.reason, now),
        }
        run.end_mapped(now);
    }

    fn retrying(&mut self, no: RunNo, task: u32, ended: &Ended, not_before: Timestamp, now: Timestamp) {
        let run = self.run(no);
        let spec = run.spec(task).clone();
        assert!(run.cancel.is_none() || spec.teardown, "T8: a cancelled run tries again");
        assert!(!run.now, "T8: a run that is cancelled with its teardowns tries again");
        assert_eq!(ended.state, State::Failed, "T1: only what failed is tried again");
        let shadow = &mut run.tasks[task as usize];
        spend(shadow, ended);
        if ended.reason == Some(Reason::Lost) {
            assert_eq!(not_before, now, "a lost attempt is tried again at once");
            assert!(shadow.lost <= spec.max_lost, "T6: lost {} times of {}", shadow.lost, spec.max_lost);
            assert!(shadow.deaths < POISON_DEATHS, "T6: poison is tried again");
        } else {
            within_budget(shadow, &spec, ended.reason, not_before, now);
        }
        (shadow.state, shadow.reason) = (State::Retry, ended.reason);
        (shadow.not_before, shadow.ready_at, shadow.changed_at) = (Some(not_before), None, now);
    }

    fn waiting(&mut self, no: RunNo, task: u32, child: Option<&penstock_common::RunId>, now: Timestamp) {
        let run = &self.runs[&no];
        let shadow = &run.tasks[task as usize];
        assert!(run.may_start(task), "T8: {} of {} starts", run.name(task), run.id);
        let due = match shadow.state {
            State::Pending => run.says(task) == Says::Run && run.condition(task) != Some(Ok(false)),
            State::Retry => shadow.not_before.is_none_or(|at| at <= now),
            _ => false,
        };
        assert!(due, "T2: {} waits before its turn", run.name(task));
        assert!(self.gate_is_open(run, task), "T7: {} starts beside as many as may", run.name(task));
        match (&run.spec(task).action, child) {
            (Action::Approve(_), None) => {}
            (Action::Pipeline(spec), Some(child)) => {
                let child = &self.runs[&self.ids[child]];
                let parent = child.parent.as_ref().unwrap();
                assert_eq!((parent.run, parent.task, &child.plan.pipeline.name), (no, task, &spec.name), "the child of another task");
            }
            other => panic!("{other:?} waits"),
        }
        let child = child.cloned();
        let shadow = &mut self.run(no).tasks[task as usize];
        (shadow.state, shadow.reason, shadow.changed_at) = (State::Running, Some(Reason::Waiting), now);
        (shadow.child, shadow.not_before) = (child, None);
    }

    /// The run that a task waits for and that has not ended.
    pub(super) fn live_child(&self, no: RunNo, task: u32) -> Option<&RunShadow> {
        let shadow = &self.runs[&no].tasks[task as usize];
        let child = shadow.child.as_ref().filter(|_| shadow.reason == Some(Reason::Waiting))?;
        self.ids.get(child).map(|child| &self.runs[child]).filter(|child| !child.state.is_terminal())
    }

    fn stopping(&mut self, no: RunNo, task: u32, reason: Reason, now: Timestamp) {
        let run = &self.runs[&no];
        let (name, shadow) = (run.name(task), &run.tasks[task as usize]);
        assert!(self.live_child(no, task).is_some() && shadow.stopping.is_none(), "{name} stops a run that has ended, or twice");
        let right = match reason {
            Reason::Timeout => shadow.changed_at.after(run.spec(task).timeout.unwrap()) <= now,
            reason => run.cancel == Some(reason) && (!run.spec(task).teardown || run.now),
        };
        assert!(right, "{name} is stopped for {reason} and nobody asked for it");
        self.run(no).tasks[task as usize].stopping = Some(reason);
    }

    fn task_ended(&mut self, end: &TaskEnded, now: Timestamp) {
        let known = self.items.clone();
        let child_state = |child: &penstock_common::RunId| self.ids.get(child).map(|no| self.runs[no].state);
        let run = &self.runs[&end.run];
        let shadow = &run.tasks[end.task as usize];
        let (name, spec) = (run.name(end.task), run.spec(end.task));
        assert!(!shadow.state.is_terminal() && shadow.live.is_none(), "T1: {name} is {} and ends without a report", shadow.state);
        assert!(run.is_present(end.task) && !run.is_expanded(end.task), "T1: {name} ends with its instances only");
        let (waits, held) = (shadow.reason == Some(Reason::Waiting), shadow.reason == Some(Reason::Held));
        let child = shadow.child.as_ref().filter(|_| waits).and_then(child_state);
        let ready = run.ready(end.task, now);
        let stops = run.cancel.is_some() && (!spec.teardown || run.now);
        let waits_out = run.waits_until(end.task).is_some_and(|end| end <= now);
        let skips = matches!(&spec.action, Action::Wait(wait) if wait.skip_on_timeout);
        let right = match (end.state, end.reason) {
            (_, Some(Reason::Marked)) => true,
            (State::Success, None) => {
                let detached = matches!(&spec.action, Action::Pipeline(c) if !c.wait) && child.is_some();
                (end.audit.is_some() && (waits || held)) || child == Some(State::Success) || detached
            }
            (State::Failed, Some(Reason::Rejected)) => end.audit.is_some() && (waits || held),
            (State::Failed, Some(Reason::RunFailed)) => {
                child.is_some_and(|s| s.is_terminal() && s != State::Success) && shadow.stopping.is_none() && !stops
            }
            (State::Failed, Some(Reason::Timeout)) if waits_out => !skips,
            (State::Skipped, Some(Reason::Task)) => waits_out && skips,
            (State::Failed, Some(Reason::Timeout)) => {
                let over = shadow.stopping == Some(Reason::Timeout) && child.is_some_and(State::is_terminal) && !stops;
                waits && shadow.changed_at.after(spec.timeout.unwrap()) <= now && (over || shadow.child.is_none())
            }
            (State::Cancelled, reason) => child.is_some_and(State::is_terminal) && stops && reason == run.cancel,
            (State::Failed, Some(Reason::QueueTimeout)) => {
                let waited = shadow.ready_at.map(|at| now.since(at));
                ready && (!self.deep || waited.is_some_and(|waited| waited >= spec.queue_timeout.unwrap()))
            }
            (State::Failed, Some(Reason::Template)) => {
                let condition = run.condition(end.task) == Some(Err(())) || run.condition_is_unknown(end.task);
                let items = spec.for_each.is_some() && shadow.instance.is_none();
                let uneven = || {
                    let count = run.items(end.task, &known).map(|items| items.len());
                    let other = |d: &penstock_common::pipeline::Dependency| run.instances(run.node_of(&d.task)).len();
                    let mut paired = spec.depends_on.iter().filter(|d| d.paired).map(other).filter(|n| *n > 0);
                    count.is_err() || paired.any(|n| Ok(n) != count)
                };
                let action = matches!(spec.action, Action::Pipeline(_));
                let too_many = items && end.detail.contains("instances would make");
                ready && (condition || too_many || (items && uneven()) || (action && shadow.state != State::Running))
            }
            (State::Failed, Some(Reason::Spawn | Reason::OutputTooLarge)) => ready,
            _ => false,
        };
        assert!(right, "T1, T2: {name} of {} is {}({:?}) and ends {}({:?})", run.id, shadow.state, shadow.reason, end.state, end.reason);
        let run = self.run(end.run);
        let spec = run.spec(end.task).clone();
        let shadow = &mut run.tasks[end.task as usize];
        match end.state {
            State::Success if end.outputs.0.is_empty() => {}
            State::Success => shadow.outputs = end.outputs.0.clone(),
            _ => (shadow.outputs, shadow.items) = (BTreeMap::new(), None),
        }
        shadow.failures += u32::from(end.state == State::Failed);
        (shadow.stopping, shadow.first_probe) = (None, None);
        match end.not_before {
            Some(not_before) => {
                assert_eq!(end.state, State::Failed, "T1: only what failed is tried again");
                within_budget(shadow, &spec, end.reason, not_before, now);
                assert!(run.cancel.is_none() || spec.teardown, "T8: a cancelled run tries again");
                let shadow = &mut run.tasks[end.task as usize];
                (shadow.state, shadow.reason) = (State::Retry, end.reason);
                (shadow.not_before, shadow.ready_at, shadow.changed_at) = (Some(not_before), None, now);
            }
            None => go(run, end.task, end.state, end.reason, now),
        }
        run.end_mapped(now);
    }

    fn skipped(&mut self, no: RunNo, ranges: &[(u32, u32)], reason: Reason, now: Timestamp) {
        let known = self.items.clone();
        let run = self.run(no);
        for task in ranges.iter().flat_map(|&(from, to)| from..to) {
            assert_eq!(run.tasks[task as usize].state, State::Pending, "T1: SKIPPED");
            assert!(run.is_present(task), "T1: an instance that is gone is skipped");
            go(run, task, State::Skipped, Some(reason), now);
        }
        run.end_mapped(now);
        for task in ranges.iter().flat_map(|&(from, to)| from..to) {
            let says = run.says(task);
            let right = match reason {
                Reason::Condition => {
                    let is_false = run.condition(task) == Some(Ok(false)) || run.condition_is_unknown(task);
                    says == Says::Run && is_false && run.may_start(task)
                }
                Reason::Empty => says == Says::Run && run.items(task, &known).is_ok_and(|items| items.is_empty()) && run.may_start(task),
                Reason::Branch => {
                    let spec = run.spec(task);
                    let above: Vec<u32> = spec.depends_on.iter().map(|d| run.node_of(&d.task)).collect();
                    above
                        .iter()
                        .any(|&b| run.spec(b).branch && run.tasks[b as usize].state == State::Success && run.unpicked(b).contains(&task))
                }
                other => says == Says::Skip(other),
            };
            assert!(right, "T2: {} of {} is SKIPPED({reason}) and its upstreams say {says:?}", run.name(task), run.id);
        }
    }
}

/// Ends a task.
fn go(run: &mut RunShadow, task: u32, state: State, reason: Option<Reason>, at: Timestamp) {
    let shadow = &mut run.tasks[task as usize];
    (shadow.state, shadow.reason, shadow.not_before, shadow.changed_at) = (state, reason, None, at);
}

fn spend(shadow: &mut TaskShadow, ended: &Ended) {
    match ended.reason {
        Some(Reason::Lost | Reason::Poison) => {
            shadow.lost += 1;
            shadow.deaths += u32::from(ended.worker_died);
        }
        _ => (shadow.failures, shadow.first_probe) = (shadow.failures + 1, None),
    }
}

fn within_budget(shadow: &TaskShadow, spec: &Task, reason: Option<Reason>, not_before: Timestamp, now: Timestamp) {
    assert!(shadow.failures <= spec.retries.max, "T6: failed {} times with {} retries", shadow.failures, spec.retries.max);
    assert!(reason.is_some_and(Reason::is_retryable), "T6: {reason:?} is tried again");
    let longest = spec.retries.delay_after(shadow.failures, 1.0);
    assert!((now..=now.after(longest)).contains(&not_before), "T6: {not_before} is not within {longest} of {now}");
}

/// Whether records are not as expected; modelled tasks expect a number of records and nothing else.
fn unmet(spec: &Task, metrics: &Metrics) -> bool {
    let expect = spec.expect.as_ref().unwrap();
    let records = metrics.0.get(Metrics::RECORDS_OUT).copied();
    expect.min_records.is_some_and(|least| records.is_none_or(|n| n < least))
        || expect.max_records.is_some_and(|most| records.is_some_and(|n| n > most))
}
