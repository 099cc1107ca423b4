//! Timers: at most one of each kind for a task, a run or a lease. Setting it again moves it, and what ends takes its own along, so that
//! they never outlive what they are about. Part of the leader's term: built again from state at takeover.

use std::collections::{BTreeMap, BTreeSet};

use penstock_common::{Fence, RunNo, Timestamp};

/// What a time that comes makes possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A task in RETRY may start, or a sensor is probed again.
    Due(RunNo, u32),
    /// A person, another run or what a sensor looks for was waited for too long.
    WaitedOut(RunNo, u32),
    /// A ready task has waited too long for a slot.
    QueueTimeout(RunNo, u32),
    /// A run's generation has taken too long.
    RunTimeout(RunNo),
    /// The worker should have ended this attempt long ago.
    Overdue(Fence),
    /// Answers and kept runs are looked at for their age.
    Housekeeping,
    /// Backfills and happenings for whose next run the cluster had no room are looked at again.
    RoomAgain,
}

/// What is to happen when: at most once for each key. Setting it again moves it.
#[derive(Debug)]
pub(crate) struct Agenda<K> {
    at: BTreeMap<K, Timestamp>,
    in_turn: BTreeSet<(Timestamp, K)>,
}

/// By the clock of deadlines.
pub(crate) type Timers = Agenda<Timer>;

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Self { at: BTreeMap::new(), in_turn: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Agenda<K> {
    pub(crate) fn set(&mut self, key: K, at: Timestamp) {
        self.drop(&key);
        self.at.insert(key.clone(), at);
        self.in_turn.insert((at, key));
    }

    pub(crate) fn drop(&mut self, key: &K) {
        if let Some((key, at)) = self.at.remove_entry(key) {
            self.in_turn.remove(&(at, key));
        }
    }

    /// The next that is due, taken out.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<K> {
        self.first().filter(|at| *at <= now)?;
        let (_, key) = self.in_turn.pop_first()?;
        self.at.remove(&key);
        Some(key)
    }

    /// When the next is due.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.in_turn.first().map(|(at, _)| *at)
    }

    /// For comparing with a rebuilt index.
    #[cfg(test)]
    pub(crate) fn all(&self) -> &BTreeMap<K, Timestamp> {
        assert_eq!(self.at.len(), self.in_turn.len());
        &self.at
    }
}

impl Timers {
    /// A task ended, or waits no more.
    pub(crate) fn drop_task(&mut self, run: RunNo, task: u32) {
        for timer in [Timer::Due(run, task), Timer::WaitedOut(run, task), Timer::QueueTimeout(run, task)] {
            self.drop(&timer);
        }
    }

    /// A run ended.
    pub(crate) fn drop_run(&mut self, run: RunNo) {
        for of in [Timer::Due, Timer::WaitedOut, Timer::QueueTimeout] {
            let timers: Vec<Timer> = self.at.range(of(run, 0)..=of(run, u32::MAX)).map(|(timer, _)| *timer).collect();
            timers.iter().for_each(|timer| self.drop(timer));
        }
        self.drop(&Timer::RunTimeout(run));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_is_set_again_moves_and_what_ends_takes_its_own_along() {
        let (a, b) = (RunNo(1), RunNo(2));
        let mut timers = Timers::default();
        timers.set(Timer::Due(a, 7), Timestamp(5));
        timers.set(Timer::Due(a, 7), Timestamp(9));
        timers.set(Timer::QueueTimeout(a, u32::MAX), Timestamp(3));
        timers.set(Timer::RunTimeout(a), Timestamp(2));
        timers.set(Timer::WaitedOut(b, 0), Timestamp(4));
        assert_eq!(timers.pop(Timestamp(1)), None);
        assert_eq!(timers.pop(Timestamp(2)), Some(Timer::RunTimeout(a)));
        timers.drop_run(a);
        assert_eq!(timers.all().keys().collect::<Vec<_>>(), [&Timer::WaitedOut(b, 0)]);
        timers.drop_task(b, 0);
        assert_eq!(timers.first(), None);
    }
}
