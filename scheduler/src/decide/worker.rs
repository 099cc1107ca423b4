//! Workers come, come back, leave and are lost.

use std::sync::Arc;

use penstock_common::limits::{MAX_DETAIL_BYTES, MAX_SLOTS_PER_WORKER};
use penstock_common::{Reason, SessionId};

use super::report::failed;
use super::{Deciding, bounded, held_by, lease_of};
use crate::input::{Answer, Effect, Hello, Rejection};
use crate::lanes::Offers;

impl Deciding<'_> {
    /// A new leader adopts what the worker runs, so a failover restarts no healthy task. A lease that the worker does not know of is
    /// sent again under its fence; an attempt that the journal does not hold is killed.
    pub(crate) fn hello(&mut self, hello: Hello) -> Result<Answer, Rejection> {
        let Hello { session, worker, slots, queues, labels, leaving, announced } = hello;
        if let Some(other) = self.term.lanes.session_of(&worker).filter(|other| **other != session) {
            return Err(Rejection::WorkerNameTaken { worker, other: other.clone() });
        }
        let held = held_by(self.state, &session);
        for (fence, no, task) in &held {
            let Some(run) = self.state.runs.get(no) else { continue };
            let known = announced.running.contains(fence) || announced.finished.contains(fence);
            if let (false, Some(live)) = (known, run.task(*task).live()) {
                let lease = Box::new(lease_of(self.state, run, *task, live.number, *fence, live.leased_at));
                self.effect(Effect::Lease { session: session.clone(), lease });
            }
            if let Some(reason) = self.state.runs.get(no).and_then(|run| run.stops(*task)) {
                self.effect(Effect::Cancel { session: session.clone(), fence: *fence, reason });
            }
        }
        for fence in announced.running {
            if !held.iter().any(|(known, ..)| *known == fence) {
                self.effect(Effect::Kill { session: session.clone(), fence });
            }
        }
        // Leases of a former life of this worker: its process ended, whatever a timer says.
        let former: Vec<SessionId> = self
            .state
            .held
            .keys()
            .filter(|other| **other != session && self.term.lanes.offers(other).is_none())
            .filter(|other| {
                held_by(self.state, other).iter().any(|(_, no, task)| {
                    self.state.runs.get(no).and_then(|run| run.task(*task).live()).is_some_and(|live| live.worker == worker)
                })
            })
            .cloned()
            .collect();
        for other in former {
            self.term.gone.push_back((other, true, format!("worker {worker} was started again").into()));
        }
        let drained = self.state.drained.contains(&worker);
        let used = u32::try_from(held.len()).unwrap_or(u32::MAX);
        let offers = Offers { worker, queues, labels, slots: slots.min(MAX_SLOTS_PER_WORKER), drained, leaving };
        self.term.gone.retain(|(gone, ..)| *gone != session);
        self.term.lanes.attach(session, offers, used);
        Ok(Answer::Done)
    }

    pub(crate) fn leaving(&mut self, session: &SessionId) -> Result<Answer, Rejection> {
        if self.term.lanes.offers(session).is_none() {
            return Err(Rejection::UnknownSession(session.clone()));
        }
        self.term.lanes.leave(session);
        Ok(Answer::Done)
    }

    pub(crate) fn gone(&mut self, session: SessionId, died: bool, detail: Arc<str>) -> Answer {
        self.term.lanes.detach(&session);
        if self.state.held.contains_key(&session) {
            self.term.gone.push_back((session, died, bounded(&detail, MAX_DETAIL_BYTES)));
        }
        Answer::Done
    }

    /// Loses the attempts of sessions that are over.
    pub(crate) fn lose_gone(&mut self) {
        while let Some((session, died, detail)) = self.term.gone.pop_front() {
            for (fence, no, task) in held_by(self.state, &session) {
                if self.room() == 0 {
                    self.term.gone.push_front((session, died, detail));
                    return;
                }
                let mut ended = failed(Reason::Lost, &detail, self.now);
                ended.worker_died = died;
                self.end_attempt(no, task, fence, ended);
            }
        }
    }
}
