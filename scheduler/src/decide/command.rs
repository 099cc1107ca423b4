//! What people ask of runs and workers: cancel, drain; and the end of a run's live life.

use std::sync::Arc;

use penstock_common::limits::MAX_NOTE_BYTES;
use penstock_common::{Event, Reason, RunId, RunNo, WorkerName};

use super::{Deciding, bounded};
use crate::input::{Answer, Rejection};
use crate::machine::run::CANCEL_NOW;

impl Deciding<'_> {
    /// Cancelling what is cancelled or ended changes nothing, but that `now` stops teardowns too.
    pub(crate) fn cancel(&mut self, id: &RunId, now: bool, by: &str, note: &str) -> Result<Answer, Rejection> {
        let (no, run) = self.state.run_by_id(id).ok_or_else(|| Rejection::UnknownRun(id.clone()))?;
        let state = run.record.state;
        if !state.is_terminal() && (run.record.cancel.is_none() || (now && !run.stops_now())) {
            let audit = self.audit(if now { CANCEL_NOW } else { "cancel" }, "", by, note);
            self.stop_run(no, Reason::User, now, audit);
        }
        Ok(Answer::Cancelled(state))
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
