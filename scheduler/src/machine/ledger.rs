//! The ledger: what became of the time that a pipeline's intervals cover. Ranges of time and outcomes, so a year of daily successes is
//! one range; it outlives the history of runs.

use std::collections::BTreeMap;

use penstock_common::limits::MAX_LEDGER_RANGES;
use penstock_common::record::{LedgerRange, Outcome};
use penstock_common::{Interval, Timestamp};

/// Ranges, none empty, none overlapping; neighbours that touch differ.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ledger {
    ranges: BTreeMap<Timestamp, (Timestamp, Outcome)>,
}

/// What is known of an interval as a whole, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Known {
    /// A part of it never ran.
    Open,
    /// No part is open, and one was skipped.
    Skipped(Outcome),
    /// All of it ran, and a part failed or was cancelled.
    Failed(Outcome),
    /// All of it is SUCCESS.
    Success,
}

impl Ledger {
    pub(crate) fn restore(ranges: Vec<LedgerRange>) -> Self {
        Self { ranges: ranges.into_iter().map(|r| (r.interval.start(), (r.interval.end(), r.outcome))).collect() }
    }

    pub(crate) fn records(&self) -> Vec<LedgerRange> {
        let range = |(&start, &(end, outcome)): (&Timestamp, &(Timestamp, Outcome))| {
            Interval::new(start, end).map(|interval| LedgerRange { interval, outcome })
        };
        self.ranges.iter().filter_map(range).collect()
    }

    /// An interval's newest outcome is the one that counts.
    pub(crate) fn set(&mut self, interval: Interval, outcome: Outcome) {
        let (start, end) = (interval.start(), interval.end());
        self.cut_out(start, end);
        self.put(start, end, outcome);
    }

    /// Where nothing is known yet.
    pub(crate) fn fill(&mut self, interval: Interval, outcome: Outcome) {
        let mut open = Vec::new();
        let mut at = interval.start();
        for (start, end, _) in self.within(interval) {
            if at < start {
                open.push((at, start));
            }
            at = end;
        }
        if at < interval.end() {
            open.push((at, interval.end()));
        }
        for (start, end) in open {
            self.put(start, end, outcome);
        }
    }

    /// What is known of an interval.
    pub(crate) fn of(&self, interval: Interval) -> Known {
        let mut known = Known::Success;
        let mut at = interval.start();
        for (start, end, outcome) in self.within(interval) {
            if at < start {
                return Known::Open;
            }
            at = end;
            known = match (outcome, known) {
                (Outcome::Success, known) => known,
                (Outcome::Skipped(_), _) => Known::Skipped(outcome),
                (_, Known::Skipped(_)) => known,
                (Outcome::Failed | Outcome::Cancelled, _) => Known::Failed(outcome),
            };
        }
        if at < interval.end() { Known::Open } else { known }
    }

    /// What became of the time just before an instant, if anything is known from before it.
    pub(crate) fn before(&self, at: Timestamp) -> Option<Outcome> {
        let (_, (end, outcome)) = self.ranges.range(..at).next_back()?;
        (*end >= at).then_some(*outcome)
    }

    /// The last instant anything is known of, which is no longer known.
    pub(crate) fn end(&self) -> Option<Timestamp> {
        self.ranges.last_key_value().map(|(_, (end, _))| *end)
    }

    /// Ranges that overlap an interval, cut to it, ascending.
    fn within(&self, interval: Interval) -> impl Iterator<Item = (Timestamp, Timestamp, Outcome)> + '_ {
        let before = self.ranges.range(..interval.start()).next_back().filter(|(_, (end, _))| *end > interval.start());
        let from = before.into_iter().chain(self.ranges.range(interval.start()..interval.end()));
        from.map(move |(start, (end, outcome))| ((*start).max(interval.start()), (*end).min(interval.end()), *outcome))
    }

    fn cut_out(&mut self, start: Timestamp, end: Timestamp) {
        if let Some((&before, &(its_end, outcome))) = self.ranges.range(..start).next_back().filter(|(_, (its_end, _))| *its_end > start) {
            self.ranges.insert(before, (start, outcome));
            if its_end > end {
                self.ranges.insert(end, (its_end, outcome));
            }
        }
        let covered: Vec<Timestamp> = self.ranges.range(start..end).map(|(start, _)| *start).collect();
        for at in covered {
            if let Some((its_end, outcome)) = self.ranges.remove(&at).filter(|(its_end, _)| *its_end > end) {
                self.ranges.insert(end, (its_end, outcome));
            }
        }
    }

    /// Puts a range where there is none, joined with neighbours of the same outcome. The oldest make room.
    fn put(&mut self, mut start: Timestamp, mut end: Timestamp, outcome: Outcome) {
        if let Some((&before, _)) = self.ranges.range(..start).next_back().filter(|(_, (e, o))| *e == start && *o == outcome) {
            self.ranges.remove(&before);
            start = before;
        }
        if let Some((its_end, _)) = self.ranges.get(&end).copied().filter(|(_, o)| *o == outcome) {
            self.ranges.remove(&end);
            end = its_end;
        }
        self.ranges.insert(start, (end, outcome));
        while self.ranges.len() > MAX_LEDGER_RANGES {
            self.ranges.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use penstock_common::record::SkipReason;
    use proptest::prelude::*;

    use super::*;

    const OUTCOMES: [Outcome; 4] = [Outcome::Success, Outcome::Failed, Outcome::Cancelled, Outcome::Skipped(SkipReason::Overlap)];

    fn interval(from: i64, to: i64) -> Interval {
        Interval::new(Timestamp(from), Timestamp(to)).unwrap()
    }

    proptest! {
        /// Against a list of instants.
        #[test]
        fn ranges_say_of_each_instant_what_was_said_last(
            said in proptest::collection::vec((0i64..40, 1i64..20, 0usize..4, any::<bool>()), 0..40),
            asked in (0i64..40, 1i64..20),
        ) {
            let mut ledger = Ledger::default();
            let mut instants = [None; 64];
            for (from, length, outcome, newest) in said {
                let to = from + length;
                if newest {
                    ledger.set(interval(from, to), OUTCOMES[outcome]);
                } else {
                    ledger.fill(interval(from, to), OUTCOMES[outcome]);
                }
                for at in &mut instants[from as usize..to as usize] {
                    if newest || at.is_none() {
                        *at = Some(OUTCOMES[outcome]);
                    }
                }
            }
            let of_asked = &instants[asked.0 as usize..(asked.0 + asked.1) as usize];
            let known = ledger.of(interval(asked.0, asked.0 + asked.1));
            let all = |o: Outcome| of_asked.iter().all(|at| *at == Some(o));
            prop_assert_eq!(known == Known::Open, of_asked.iter().any(Option::is_none));
            prop_assert_eq!(known == Known::Success, all(Outcome::Success));
            let records = ledger.records();
            for pair in records.windows(2) {
                prop_assert!(pair[0].interval.end() <= pair[1].interval.start());
                prop_assert!(pair[0].interval.end() < pair[1].interval.start() || pair[0].outcome != pair[1].outcome);
            }
            for at in 1..64i64 {
                prop_assert_eq!(ledger.before(Timestamp(at)), instants[at as usize - 1]);
            }
            prop_assert_eq!(Ledger::restore(records), ledger);
        }
    }
}
