//! Backfills in state, and which runs are theirs.

use std::collections::BTreeSet;

use penstock_common::limits::MAX_ENDED_BACKFILLS;
use penstock_common::record::{BackfillRecord, RunRecord, TriggerKind};
use penstock_common::{BackfillId, Event, Interval, RunNo, State as Word};

use super::State;

/// A backfill.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Backfill {
    pub(crate) record: BackfillRecord,
    /// Its runs that have not ended: derived.
    pub(crate) live: BTreeSet<RunNo>,
}

impl Backfill {
    pub(crate) fn new(record: BackfillRecord) -> Self {
        Self { record, live: BTreeSet::new() }
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.record.state.is_terminal()
    }

    /// The number of one of its intervals, which lie in order, oldest or newest first.
    fn number(&self, interval: Interval) -> Option<u32> {
        let all = &self.record.intervals;
        let newest_first = all.first() > all.last();
        let found = all.binary_search_by(|other| if newest_first { interval.cmp(other) } else { other.cmp(&interval) });
        found.ok().map(|number| number as u32)
    }
}

/// The backfill that started a run.
pub(crate) fn backfill_of(run: &RunRecord) -> Option<BackfillId> {
    (run.trigger.kind == TriggerKind::Backfill).then(|| BackfillId::parse(&run.trigger.source).ok()).flatten()
}

/// Whether a run yields to others: a backfill started it, or a task of a run that one did.
pub(crate) fn is_of_backfill(run: &RunRecord) -> bool {
    match run.trigger.kind {
        TriggerKind::Backfill => true,
        TriggerKind::Pipeline => !run.trigger.source.is_empty(),
        _ => false,
    }
}

impl State {
    pub(super) fn apply_to_backfills(&mut self, event: &Event) {
        match event {
            Event::BackfillCreated(record) => {
                self.backfills.insert(record.id.clone(), Backfill::new((**record).clone()));
            }
            Event::BackfillPaused { backfill, paused, audit } => {
                if let Some(backfill) = self.backfills.get_mut(backfill) {
                    backfill.record.paused = paused.then(|| audit.clone());
                }
            }
            Event::BackfillCancelled { backfill, audit } => {
                if let Some(backfill) = self.backfills.get_mut(backfill) {
                    backfill.record.cancelled = Some(audit.clone());
                }
            }
            Event::BackfillEnded { backfill, state, at } => {
                if let Some(backfill) = self.backfills.get_mut(backfill) {
                    (backfill.record.state, backfill.record.ended_at) = (*state, Some(*at));
                }
                let mut ended: Vec<_> = self.backfills.values().filter_map(|b| Some((b.record.ended_at?, b.record.id.clone()))).collect();
                ended.sort_unstable();
                let surplus = ended.len().saturating_sub(MAX_ENDED_BACKFILLS);
                for (_, id) in ended.into_iter().take(surplus) {
                    self.backfills.remove(&id);
                }
            }
            _ => {}
        }
    }

    /// Keeps which runs of a backfill live, and how the others ended.
    pub(super) fn track_backfill(&mut self, no: RunNo) {
        let Some(run) = self.runs.get(&no) else { return };
        let Some(id) = backfill_of(&run.record) else { return };
        let (state, interval) = (run.record.state, run.record.interval);
        let Some(backfill) = self.backfills.get_mut(&id) else { return };
        if state.is_terminal() {
            backfill.live.remove(&no);
        } else {
            backfill.live.insert(no);
        }
        let Some(number) = interval.and_then(|interval| backfill.number(interval)) else { return };
        match state {
            Word::Success | Word::Failed | Word::Cancelled => backfill.record.ended.insert(number, state),
            _ => backfill.record.ended.remove(&number),
        };
    }
}
