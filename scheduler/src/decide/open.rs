//! Tasks whose rule is satisfied: their `if`, their instances, and those that the scheduler does itself (`approve`; `pipeline`: [`super::children`]).

use penstock_common::event::TaskEnded;
use penstock_common::limits::{MAX_LIVE_TASKS, MAX_TASKS_PER_RUN};
use penstock_common::pipeline::Action;
use penstock_common::{Event, Fence, Reason, RunNo, State};

use super::{Deciding, lease_of, ranges};
use crate::expression::Expressions;
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

    pub(super) fn expressions(&self, run: &Run, task: u32) -> Expressions {
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
