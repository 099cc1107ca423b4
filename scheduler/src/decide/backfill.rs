//! Backfills: their runs are made in turn, as many at once as was asked, and yield to all other work.

use std::sync::Arc;

use penstock_common::event::Cause;
use penstock_common::limits::MAX_EVENT_BYTES_PER_INPUT;
use penstock_common::record::{BackfillRecord, TriggerKind};
use penstock_common::{BackfillId, Event, Interval, Reason, RunNo, Selector, State};

use super::{Deciding, bytes_of};
use crate::backfill::{BackfillAsked, plan};
use crate::input::{Answer, Rejection, Submit};
use crate::state::Backfill;
use crate::timers::Timer;

/// Runs of one backfill at once.
const MAX_ACTIVE: u32 = 1_000;

impl Deciding<'_> {
    /// The same id again is the same backfill.
    pub(crate) fn backfill(&mut self, asked: BackfillAsked) -> Result<Answer, Rejection> {
        if let Some(known) = self.state.backfills.get(&asked.id) {
            return if known.record.request_digest == asked.digest {
                Ok(Answer::Changed(false))
            } else {
                Err(Rejection::BackfillExists(asked.id))
            };
        }
        let newest = self.newest(&asked.pipeline).cloned().ok_or_else(|| self.state.is_off(&asked.pipeline))?;
        newest.pipeline.bind_params(&asked.params).map_err(Rejection::BadParams)?;
        let params = super::submit::written(asked.params.clone())?;
        let in_order = newest.pipeline.depends_on_past;
        if in_order && (asked.newest_first || asked.max_active.is_some_and(|n| n > 1)) {
            let why = "each of its runs waits for the one before (depends_on_past), so they run oldest first and one at a time";
            return Err(Rejection::Refused(format!("pipeline {}: {why}", asked.pipeline)));
        }
        let planned = plan(self.state, &asked, self.now.wall)?;
        let now = planned.into_iter().filter(|(_, fate)| fate.runs()).map(|(interval, _)| interval);
        let mut intervals: Vec<Interval> = now.collect();
        if asked.shown.as_ref().is_some_and(|shown| *shown != intervals) {
            return Err(Rejection::Refused("what is to be run changed meanwhile: ask again".to_owned()));
        }
        if intervals.is_empty() {
            return Err(Rejection::NothingToBackfill(asked.pipeline));
        }
        if asked.newest_first {
            intervals.reverse();
        }
        let max_active = asked.at_once(in_order).clamp(1, MAX_ACTIVE);
        let record = BackfillRecord {
            created: self.audit("backfill", asked.pipeline.full(), &asked.by, &asked.note),
            id: asked.id.clone(),
            pipeline: asked.pipeline,
            intervals,
            only: asked.only.iter().map(|selector| selector.to_string().into()).collect(),
            params,
            max_active,
            request_digest: asked.digest,
            cascade: asked.cascade,
            next: 0,
            ended: std::collections::BTreeMap::new(),
            paused: None,
            cancelled: None,
            state: State::Running,
            ended_at: None,
        };
        let event = Event::BackfillCreated(Box::new(record));
        if bytes_of(&event) > MAX_EVENT_BYTES_PER_INPUT {
            return Err(Rejection::Refused(
                "it names more tasks than one backfill can: ask for fewer, or for their neighbours (+task, task+)".to_owned(),
            ));
        }
        self.emit(event);
        self.term.backfilling.insert(asked.id);
        Ok(Answer::Changed(true))
    }

    pub(crate) fn pause_backfill(&mut self, id: BackfillId, paused: bool, by: &str, note: &str) -> Result<Answer, Rejection> {
        let backfill = self.open_backfill(&id)?;
        if backfill.record.paused.is_some() == paused {
            return Ok(Answer::Changed(false));
        }
        let audit = self.audit(if paused { "pause" } else { "resume" }, id.as_str(), by, note);
        self.emit(Event::BackfillPaused { backfill: id.clone(), paused, audit });
        self.term.backfilling.insert(id);
        Ok(Answer::Changed(true))
    }

    pub(crate) fn cancel_backfill(&mut self, id: BackfillId, by: &str, note: &str) -> Result<Answer, Rejection> {
        let backfill = self.open_backfill(&id)?;
        if backfill.record.cancelled.is_some() {
            return Ok(Answer::Changed(false));
        }
        let audit = self.audit("cancel", id.as_str(), by, note);
        self.emit(Event::BackfillCancelled { backfill: id.clone(), audit });
        self.term.backfilling.insert(id);
        Ok(Answer::Changed(true))
    }

    fn open_backfill(&self, id: &BackfillId) -> Result<&Backfill, Rejection> {
        let unknown = || Rejection::Refused(format!("there is no backfill {id}: see what there is with penstock backfills"));
        let backfill = self.state.backfills.get(id).ok_or_else(unknown)?;
        let ended = || Rejection::Refused(format!("backfill {id} has ended as {}", backfill.record.state));
        if backfill.is_open() { Ok(backfill) } else { Err(ended()) }
    }

    /// What has become possible of backfills.
    pub(crate) fn advance_backfills(&mut self) {
        while self.room() > 0 {
            let Some(id) = self.term.backfilling.first().cloned() else { return };
            if !self.advance_backfill(&id) {
                self.term.backfilling.remove(&id);
            }
        }
    }

    /// One step; false where there is none.
    fn advance_backfill(&mut self, id: &BackfillId) -> bool {
        let Some(backfill) = self.state.backfills.get(id).filter(|b| b.is_open()) else { return false };
        let record = &backfill.record;
        if let Some(cancelled) = &record.cancelled {
            let goes_on = |no: &&RunNo| self.state.runs.get(*no).is_some_and(|run| run.record.cancel.is_none());
            if let Some(no) = backfill.live.iter().find(goes_on).copied() {
                let audit = self.audit("cancel", "", &cancelled.by.clone(), &format!("backfill {id} was cancelled"));
                self.stop_run(no, Reason::User, false, audit);
                return true;
            }
        }
        let is_done = record.cancelled.is_some() || record.next as usize >= record.intervals.len();
        if is_done && backfill.live.is_empty() {
            let state = match &record.cancelled {
                Some(_) => State::Cancelled,
                None if record.ended.len() == record.intervals.len() && record.ended.values().all(|s| *s == State::Success) => {
                    State::Success
                }
                None => State::Failed,
            };
            self.emit(Event::BackfillEnded { backfill: id.clone(), state, at: self.now.now });
            return false;
        }
        if is_done || record.paused.is_some() || backfill.live.len() >= record.max_active as usize {
            return false;
        }
        let submit = self.next_of(record);
        match self.submit(submit) {
            Ok(_) => true,
            Err(Rejection::Overloaded { .. }) => {
                self.term.timers.set(Timer::RoomAgain, self.now.now.after(super::fire::AGAIN));
                false
            }
            Err(rejection) => {
                let audit = self.audit("cancel", id.as_str(), "penstock", &rejection.to_string());
                self.emit(Event::BackfillCancelled { backfill: id.clone(), audit });
                true
            }
        }
    }

    fn next_of(&self, record: &BackfillRecord) -> Submit {
        let interval = record.intervals[record.next as usize];
        let zone: Arc<str> = self.newest(&record.pipeline).map_or_else(|| "UTC".into(), |plan| plan.zone.clone());
        let run = self.mint(record.id.as_str(), &interval.date(&zone));
        Submit {
            params: serde_json::from_str(&record.params).unwrap_or_default(),
            interval: Some(interval),
            source: record.id.as_str().into(),
            only: record.only.iter().filter_map(|text| text.parse::<Selector>().ok()).collect(),
            cause: Some(Cause::Backfill(record.id.clone())),
            ..Submit::of(run, record.pipeline.clone(), TriggerKind::Backfill, record.created.by.clone())
        }
    }
}
