//! Backfills in state, and which runs are theirs.

use std::collections::{BTreeMap, BTreeSet};

use penstock_common::limits::{BACKFILL_SHARE_PERCENT, MAX_ENDED_BACKFILLS};
use penstock_common::pipeline::Task;
use penstock_common::record::{BackfillRecord, RunRecord, TriggerKind};
use penstock_common::{BackfillId, Event, Interval, PoolName, QueueName, RunNo, State as Word};

use super::State;
use crate::lanes::Wants;

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

/// Slots that backfills' leases take: of workers by queue, and of pools.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Yielding {
    queues: BTreeMap<QueueName, u32>,
    pools: BTreeMap<PoolName, u32>,
}

impl Yielding {
    pub(crate) fn take(&mut self, task: &Task) {
        *self.queues.entry(task.queue.clone()).or_default() += 1;
        if let Some(pool) = &task.pool {
            *self.pools.entry(pool.clone()).or_default() += task.pool_slots;
        }
    }

    pub(crate) fn give_back(&mut self, task: &Task) {
        let less = |used: &mut u32, slots: u32| {
            *used -= slots;
            *used == 0
        };
        if self.queues.get_mut(&task.queue).is_some_and(|used| less(used, 1)) {
            self.queues.remove(&task.queue);
        }
        if let Some(pool) = &task.pool
            && self.pools.get_mut(pool).is_some_and(|used| less(used, task.pool_slots))
        {
            self.pools.remove(pool);
        }
    }
}

/// Whether so many slots more are within the share of backfills. They always may have something to do.
fn is_within(used: u32, more: u32, slots: u32) -> bool {
    used == 0 || u64::from(used) + u64::from(more) <= u64::from(slots) * BACKFILL_SHARE_PERCENT / 100
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
    /// Whether backfills may take another worker's slot, of so many that serve the queue, and so many slots of the pool.
    pub(crate) fn has_share(&self, wants: &Wants, pool_slots: u32, slots: u32) -> bool {
        let of_queue = self.yielding.queues.get(&wants.queue).copied().unwrap_or(0);
        let of_pool = wants.pool.as_ref().is_none_or(|pool| {
            let all = self.pools.get(pool).map_or(0, |p| p.slots);
            is_within(self.yielding.pools.get(pool).copied().unwrap_or(0), pool_slots, all)
        });
        of_pool && is_within(of_queue, 1, slots)
    }

    /// Those that have not ended.
    pub(crate) fn open_backfills(&self) -> BTreeSet<BackfillId> {
        self.backfills.iter().filter(|(_, backfill)| backfill.is_open()).map(|(id, _)| id.clone()).collect()
    }

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
