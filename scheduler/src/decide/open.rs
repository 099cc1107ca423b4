//! Tasks whose rule is satisfied: their `if`, their instances, and those that the scheduler does itself (`approve`, `pipeline`).

use penstock_common::event::TaskEnded;
use penstock_common::limits::{MAX_CHILD_DEPTH, MAX_LIVE_TASKS, MAX_TASKS_PER_RUN};
use penstock_common::metrics::Outputs;
use penstock_common::pipeline::{Action, ChildRun};
use penstock_common::record::{Parent, TriggerKind};
use penstock_common::{Digest, Event, Fence, Reason, RunId, RunNo, State};

use super::{Deciding, lease_of, ranges};
use crate::expression::Expressions;
use crate::input::{Rejection, Submit};
use crate::lanes::Candidate;
use crate::machine::run::Run;
use crate::term::{asks, candidate, gates_are_open};

/// Tasks whose `if` is evaluated before their skips are written.
const OPENED_PER_EVENT: usize = 1_024;

impl Deciding<'_> {
    /// Evaluates conditions and makes instances.
    pub(crate) fn open_tasks(&mut self) {
        while self.room() > 0 {
            let Some(&(no, _)) = self.term.opening.first() else { return };
            let mut skipped = Vec::new();
            while self.room() > 0 && skipped.len() < OPENED_PER_EVENT {
                let Some(task) = self.term.opening.first().filter(|(of, _)| *of == no).map(|(_, task)| *task) else { break };
                self.term.opening.remove(&(no, task));
                if matches!(candidate(self.state, self.term.now, no, task), Candidate::Stale) {
                    continue;
                }
                self.open(no, task, &mut skipped);
            }
            if !skipped.is_empty() {
                self.emit(Event::TasksSkipped { run: no, ranges: ranges(skipped), reason: Reason::Condition, at: self.now.now });
            }
        }
    }

    fn open(&mut self, no: RunNo, task: u32, skipped: &mut Vec<u32>) {
        let Some(run) = self.state.runs.get(&no) else { return };
        if asks(run, task)
            && let Some(condition) = &run.spec(task).condition
        {
            match self.expressions(run, task).holds(condition) {
                Ok(true) => {}
                Ok(false) => return skipped.push(task),
                Err(why) => return self.end_task(no, task, State::Failed, Some(Reason::Template), &format!("its `if`: {why}")),
            }
        }
        if run.spec(task).for_each.is_some() && run.instance(task).is_none() {
            return self.expand(no, task);
        }
        self.term.make_ready(run, no, task);
    }

    fn expressions(&self, run: &Run, task: u32) -> Expressions {
        let number = run.task(task).attempts.last().map_or(1, |a| a.number + 1);
        Expressions::new(&lease_of(self.state, run, task, number, Fence(0), self.now.now))
    }

    /// Gives a mapped task its instances.
    fn expand(&mut self, no: RunNo, task: u32) {
        let Some(run) = self.state.runs.get(&no) else { return };
        let items = match run.items_of(task, &self.state.items) {
            Ok(items) => items,
            Err(why) => return self.end_task(no, task, State::Failed, Some(Reason::Template), &why),
        };
        let count = items.len();
        let uneven = run.plan.task(task).upstream.iter().filter(|edge| edge.paired).find_map(|edge| {
            let other = run.mapping.live(edge.task)?;
            (other.count as usize != count).then(|| (run.plan.task(edge.task).id.clone(), other.count))
        });
        if let Some((other, its)) = uneven {
            let why = format!("it has {count} items and is paired with {other}, which has {its}: both need the same number");
            return self.end_task(no, task, State::Failed, Some(Reason::Template), &why);
        }
        if count == 0 {
            return self.emit(Event::TasksSkipped { run: no, ranges: vec![(task, task + 1)], reason: Reason::Empty, at: self.now.now });
        }
        let (in_run, live) = (run.slots() as usize + count, self.state.live_tasks + count);
        if in_run > MAX_TASKS_PER_RUN || live > MAX_LIVE_TASKS {
            let why = format!(
                "{count} instances would make {in_run} tasks in this run ({MAX_TASKS_PER_RUN} are possible) and {live} live ones in the \
                 cluster ({MAX_LIVE_TASKS})"
            );
            return self.end_task(no, task, State::Failed, Some(Reason::Template), &why);
        }
        self.emit(Event::TaskExpanded { run: no, task, count: count as u32, at: self.now.now });
    }

    /// Does what needs no worker.
    pub(crate) fn act(&mut self) {
        while self.room() > 0 {
            let Some((no, task)) = self.term.acting.pop_first() else { return };
            let Some(run) = self.state.runs.get(&no) else { continue };
            let stale = matches!(candidate(self.state, self.term.now, no, task), Candidate::Stale);
            if !stale && !gates_are_open(self.state, no, task) {
                self.term.hold_back(self.state, run, no, task);
                continue;
            }
            self.term.left(run, no, task);
            if stale {
                continue;
            }
            match run.spec(task).action.clone() {
                Action::Approve(_) => self.emit(Event::TaskWaiting { run: no, task, child: None, at: self.now.now }),
                Action::Pipeline(child) => self.start_child(no, task, &child),
                _ => {}
            }
        }
    }

    fn start_child(&mut self, no: RunNo, task: u32, child: &ChildRun) {
        let submit = self.state.runs.get(&no).map(|run| self.child_of(run, no, task, child));
        let outcome = match submit {
            None => return,
            Some(Err(why)) => Err((Reason::Template, why)),
            Some(Ok(submit)) => {
                let id = submit.run.clone();
                match self.submit(submit) {
                    Ok(_) => Ok(id),
                    Err(rejection @ Rejection::Overloaded { .. }) => Err((Reason::Spawn, rejection.to_string())),
                    Err(rejection) => Err((Reason::Template, rejection.to_string())),
                }
            }
        };
        match outcome {
            Ok(id) => {
                self.emit(Event::TaskWaiting { run: no, task, child: Some(id.clone()), at: self.now.now });
                if !child.wait {
                    self.end_child_task(no, task, &id);
                }
            }
            Err((reason, why)) => self.fail_own(no, task, reason, &why),
        }
    }

    fn child_of(&self, run: &Run, no: RunNo, task: u32, child: &ChildRun) -> Result<Submit, String> {
        let depth = run.record.parent.as_ref().map_or(0, |p| p.depth) + 1;
        if depth > MAX_CHILD_DEPTH {
            return Err(format!(
                "{depth} runs have started one another, and at most {MAX_CHILD_DEPTH} may: do these pipelines run each other?"
            ));
        }
        let expressions = self.expressions(run, task);
        let params = child.params.iter().map(|(name, value)| Ok((name.clone(), expressions.render(value)?)));
        let id = child_id(run, task);
        Ok(Submit {
            digest: u64::from_le_bytes(Digest::of(id.as_str().as_bytes()).0[..8].try_into().unwrap_or_default()),
            run: id,
            pipeline: child.name.clone(),
            version: None,
            params: params.collect::<Result<_, String>>()?,
            interval: run.record.interval,
            trigger: TriggerKind::Pipeline,
            by: format!("{}/{}", run.record.id, run.key(task)).into(),
            // What a backfill's run starts is the backfill's too, and yields like it.
            source: if crate::state::is_of_backfill(&run.record) { run.record.trigger.source.clone() } else { "".into() },
            cause: None,
            only: Vec::new(),
            parent: Some(Parent { run: no, id: run.record.id.clone(), task, depth }),
        })
    }

    /// A run ended: the task that waits for it ends too.
    pub(crate) fn tell_parent(&mut self, no: RunNo) {
        let Some(run) = self.state.runs.get(&no) else { return };
        let Some(parent) = run.record.parent.clone() else { return };
        let (id, state, reason) = (run.record.id.clone(), run.record.state, run.record.reason);
        let waits = |above: &Run| {
            above.check(parent.task).is_ok() && above.task(parent.task).waits() && above.task(parent.task).child() == Some(&id)
        };
        if !self.state.runs.get(&parent.run).is_some_and(waits) {
            return;
        }
        match state {
            State::Success => self.end_child_task(parent.run, parent.task, &id),
            _ => {
                let why = reason.map_or(String::new(), |reason| format!("({reason})"));
                self.fail_own(parent.run, parent.task, Reason::RunFailed, &format!("run {id} ended as {state}{why}"));
            }
        }
    }

    fn end_child_task(&mut self, no: RunNo, task: u32, child: &RunId) {
        let outputs = Outputs([("run_id".to_owned(), format!("\"{child}\""))].into());
        self.emit(Event::TaskEnded(Box::new(TaskEnded { outputs, ..self.ended(no, task, State::Success, None, "") })));
    }

    /// A task that the scheduler does itself failed: it is tried again as its `retries` say.
    pub(crate) fn fail_own(&mut self, no: RunNo, task: u32, reason: Reason, detail: &str) {
        let Some(run) = self.state.runs.get(&no) else { return };
        let (retries, failures) = (&run.spec(task).retries, run.task(task).failures);
        let again = run.may_start(task) && retries.covers(reason, None) && failures < retries.max;
        let not_before = again.then(|| {
            let seed = self.now.random ^ u64::from(task);
            self.now.now.after(retries.delay_after(failures + 1, super::report::unit(seed)))
        });
        self.emit(Event::TaskEnded(Box::new(TaskEnded { not_before, ..self.ended(no, task, State::Failed, Some(reason), detail) })));
    }
}

/// The id of the run that a task starts: the same however often it is asked for, another with each try and generation.
fn child_id(run: &Run, task: u32) -> RunId {
    let name = match run.instance(task) {
        Some((_, number)) => format!("{}.{number}", run.planned(task).id),
        None => run.planned(task).id.to_string(),
    };
    let tries = format!("{}-{}", run.record.generation, run.task(task).failures + 1);
    let full = format!("{}.{name}.{tries}", run.record.id);
    RunId::parse(&full).unwrap_or_else(|_| {
        // Too long: its beginning, and what tells it from others.
        let digest = Digest::of(full.as_bytes()).to_string();
        let start: String = full.chars().take(60).collect();
        RunId::parse(&format!("{}-{}", start.trim_end_matches(['.', '-']), &digest[..32]))
            .unwrap_or_else(|_| unreachable!("a prefix of an id and hex"))
    })
}
