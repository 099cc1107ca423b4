//! Runs that `pipeline` tasks start: how they begin, how they end, and how they are stopped with the task that waits for them.

use penstock_common::event::TaskEnded;
use penstock_common::limits::{MAX_CHILD_DEPTH, MAX_DETAIL_BYTES};
use penstock_common::metrics::Outputs;
use penstock_common::pipeline::ChildRun;
use penstock_common::record::{Parent, TriggerKind};
use penstock_common::{Digest, Event, Reason, RunId, RunNo, State};

use super::{Deciding, bounded};
use crate::input::{Rejection, Submit};
use crate::machine::run::{CANCEL_NOW, Run};

/// Why a child is stopped, and how.
#[derive(Clone, Copy)]
pub(crate) struct Stop<'a> {
    /// How the task that waits for it ends.
    pub(crate) reason: Reason,
    /// Its teardowns too.
    pub(crate) now: bool,
    pub(crate) by: &'a str,
    pub(crate) why: &'a str,
}

impl Deciding<'_> {
    pub(crate) fn start_child(&mut self, no: RunNo, task: u32, child: &ChildRun) {
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
        let by = format!("{}/{}", run.record.id, run.key(task)).into();
        Ok(Submit {
            digest: Digest::of(id.as_str().as_bytes()).number(),
            params: params.collect::<Result<_, String>>()?,
            interval: run.record.interval,
            depth: run.record.trigger.depth,
            // What a backfill's run starts is the backfill's too, and yields like it.
            source: if crate::state::is_of_backfill(&run.record) { run.record.trigger.source.clone() } else { "".into() },
            parent: Some(Parent { run: no, id: run.record.id.clone(), task, depth }),
            ..Submit::of(id.clone(), child.name.clone(), TriggerKind::Pipeline, by)
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
        let Some(above) = self.state.runs.get(&parent.run).filter(|above| waits(above)) else { return };
        let (stopped, stopping) = (above.stops(parent.task), above.task(parent.task).stopping());
        let mut detail = format!("run {id} ended as {state}{}", reason.map_or(String::new(), |reason| format!("({reason})")));
        match (state, stopped) {
            // A success that raced its cancel or its timeout stands.
            (State::Success, _) => self.end_child_task(parent.run, parent.task, &id),
            (_, Some(reason)) => self.end_task(parent.run, parent.task, State::Cancelled, Some(reason), &detail),
            (_, None) => {
                if let Some(timeout) = above.spec(parent.task).timeout.filter(|_| stopping == Some(Reason::Timeout)) {
                    detail = format!("waited longer than its timeout of {timeout}; {detail}");
                }
                self.fail_own(parent.run, parent.task, stopping.unwrap_or(Reason::RunFailed), &detail);
            }
        }
    }

    fn end_child_task(&mut self, no: RunNo, task: u32, child: &RunId) {
        let outputs = Outputs([("run_id".to_owned(), format!("\"{child}\""))].into());
        self.emit(Event::TaskEnded(Box::new(TaskEnded { outputs, ..self.ended(no, task, State::Success, None, "") })));
    }

    /// The runs that tasks of a cancelled run wait for are cancelled as it was: as many as one input may, the rest at the next tick.
    pub(crate) fn stop_children(&mut self) {
        while self.room() > 0 {
            let Some((&no, &from)) = self.term.stopping.first_key_value() else { return };
            let next = self.state.runs.get(&no).and_then(|run| Some((run, self.child_to_stop(no, run, from)?)));
            let Some((run, (child, task, reason))) = next else {
                self.term.stopping.remove(&no);
                continue;
            };
            self.term.stopping.insert(no, child);
            let asked = run.record.audit.iter().rev().find(|audit| audit.verb.starts_with("cancel"));
            let (by, note) = asked.map_or(("penstock".into(), "".into()), |a| (a.by.clone(), a.note.clone()));
            let why = if note.is_empty() { format!("run {} was cancelled", run.record.id) } else { note.to_string() };
            let now = run.stops_now();
            self.stop_child(no, task, child, Stop { reason, now, by: &by, why: &why });
        }
    }

    /// The next child that a cancelled run is still to stop, with the task that waits for it.
    fn child_to_stop(&self, no: RunNo, run: &Run, from: RunNo) -> Option<(RunNo, u32, Reason)> {
        run.record.cancel?;
        let now = run.stops_now();
        let to_stop = |&child: &RunNo| {
            let record = &self.state.runs.get(&child)?.record;
            let task = record.parent.as_ref().map(|parent| parent.task).filter(|&task| run.check(task).is_ok())?;
            let reason = run.stops(task).filter(|_| self.state.live_child(run, task) == Some(child))?;
            let goes_on = record.cancel.is_none() || (now && !self.state.runs.get(&child)?.stops_now());
            (goes_on || run.task(task).stopping().is_none()).then_some((child, task, reason))
        };
        self.state.children.get(&no)?.range(from..).find_map(to_stop)
    }

    /// The child is cancelled; the task that waits for it ends when it has ended.
    pub(crate) fn stop_child(&mut self, no: RunNo, task: u32, child: RunNo, stop: Stop<'_>) {
        let Stop { reason, now, by, why } = stop;
        let Some(run) = self.state.runs.get(&child) else { return };
        let goes_on = run.record.cancel.is_none() || (now && !run.stops_now());
        if self.state.runs.get(&no).is_some_and(|above| above.task(task).stopping().is_none()) {
            let detail = bounded(&format!("stopping run {}: {why}", run.record.id), MAX_DETAIL_BYTES);
            self.emit(Event::TaskStopping { run: no, task, reason, detail, at: self.now.now });
        }
        if goes_on {
            let audit = self.audit(if now { CANCEL_NOW } else { "cancel" }, "", by, why);
            self.stop_run(child, Reason::User, now, audit);
        }
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
