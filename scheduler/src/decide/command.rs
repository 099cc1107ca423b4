//! What people ask of runs and workers: cancel, rerun, drain; and the end of a run's live life.

use std::collections::BTreeSet;
use std::sync::Arc;

use penstock_common::limits::MAX_NOTE_BYTES;
use penstock_common::state::Outcome;
use penstock_common::{Digest, Event, Reason, RequestId, RunId, RunNo, WorkerName};

use super::{Deciding, bounded, ranges};
use crate::input::{Answer, Rejection};
use crate::machine::run::Run;

impl Deciding<'_> {
    /// Cancelling what is cancelled or ended changes nothing.
    pub(crate) fn cancel(&mut self, id: &RunId, by: Arc<str>, note: Arc<str>) -> Result<Answer, Rejection> {
        let (no, run) = self.state.run_by_id(id).ok_or_else(|| Rejection::UnknownRun(id.clone()))?;
        let state = run.record.state;
        if !state.is_terminal() && run.record.cancel.is_none() {
            self.stop_run(no, Reason::User, bounded(&by, MAX_NOTE_BYTES), bounded(&note, MAX_NOTE_BYTES));
        }
        Ok(Answer::Cancelled(state))
    }

    /// Opens a generation of what did not succeed and of all below it.
    pub(crate) fn rerun(&mut self, id: &RunId, request: &RequestId, by: Arc<str>, note: Arc<str>) -> Result<Answer, Rejection> {
        let asked = Digest::of(format!("rerun\0{id}").as_bytes());
        let asked = u64::from_le_bytes(asked.0[..8].try_into().unwrap_or_default());
        if let Some(known) = self.state.answers.get(request) {
            return match known.answer.parse() {
                Ok(generation) if known.digest == asked => Ok(Answer::Generation(generation)),
                _ => Err(Rejection::RequestReused(request.clone())),
            };
        }
        let (no, run) = self.state.run_by_id(id).ok_or_else(|| Rejection::UnknownRun(id.clone()))?;
        if let Some(why) = &run.record.quarantined {
            return Err(Rejection::Quarantined { run: id.clone(), why: why.clone() });
        }
        if !run.record.state.is_terminal() {
            return Err(Rejection::NotEnded { run: id.clone(), state: run.record.state });
        }
        if self.term.archiving.contains(&no) {
            return Err(Rejection::UnknownRun(id.clone()));
        }
        let again = unsuccessful(run);
        if again.is_empty() {
            return Err(Rejection::NothingToRerun(id.clone()));
        }
        let generation = run.record.generation + 1;
        self.emit(Event::GenerationOpened {
            run: no,
            generation,
            ranges: ranges(again),
            by: bounded(&by, MAX_NOTE_BYTES),
            note: bounded(&note, MAX_NOTE_BYTES),
            at: self.now.now,
        });
        let answer = Arc::from(generation.to_string());
        self.emit(Event::RequestAnswered { request: request.clone(), digest: asked, answer, at: self.now.now });
        Ok(Answer::Generation(generation))
    }

    /// Kept over the worker's restarts until it is undone.
    pub(crate) fn drain(&mut self, worker: WorkerName, drained: bool, by: Arc<str>) -> Result<Answer, Rejection> {
        let session = self.term.lanes.session_of(&worker).cloned();
        if session.is_none() && !self.state.drained.contains(&worker) {
            return Err(Rejection::UnknownWorker(worker));
        }
        if self.state.drained.contains(&worker) != drained {
            self.emit(Event::WorkerDrained { worker, drained, by: bounded(&by, MAX_NOTE_BYTES), at: self.now.now });
        }
        if let Some(session) = session {
            self.term.lanes.drain(&session, drained);
        }
        Ok(Answer::Done)
    }

    pub(crate) fn archived(&mut self, no: RunNo) -> Answer {
        self.term.archiving.remove(&no);
        if let Some(run) = self.state.runs.get(&no).filter(|run| run.record.state.is_terminal()) {
            self.term.kept.remove(&(run.record.ended_at.unwrap_or_default(), no));
            self.emit(Event::RunArchived { run: no, at: self.now.now });
        }
        Answer::Done
    }
}

/// Every task that failed, was cancelled or was skipped for one that did, and all below those.
fn unsuccessful(run: &Run) -> BTreeSet<u32> {
    let mut stack: Vec<u32> = (0..run.record.tasks).filter(|&t| run.task(t).outcome() == Some(Outcome::Failed)).collect();
    let mut again = BTreeSet::new();
    while let Some(task) = stack.pop() {
        if again.insert(task) {
            stack.extend(&run.plan.task(task).downstream);
        }
    }
    again
}
