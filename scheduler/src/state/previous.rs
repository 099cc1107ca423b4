//! What earlier intervals with SUCCESS left, for `previous`: of each task that templates name, the outputs they name. Bounded: the newest
//! intervals, of each task the newest that put something out, and bytes; the oldest go first. The bounds are part of the journal's format.

use std::collections::{BTreeMap, BTreeSet};

use penstock_common::limits::{MAX_PREVIOUS_BYTES, MAX_PREVIOUS_KEPT};
use penstock_common::metrics::Outputs;
use penstock_common::record::PreviousRecord;
use penstock_common::{Interval, TaskId, Timestamp};

/// By interval, those of which nothing is left but that they ended SUCCESS among them.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Previous(BTreeMap<Interval, BTreeMap<TaskId, Outputs>>);

/// What an output takes besides its text.
const OUTPUT_BYTES: usize = 32;

impl Previous {
    /// An interval ended SUCCESS. A task that put nothing out leaves what an earlier run of the interval did.
    pub(crate) fn remember(&mut self, interval: Interval, left: BTreeMap<TaskId, Outputs>) {
        let tasks: Vec<TaskId> = left.keys().cloned().collect();
        self.0.entry(interval).or_default().extend(left);
        for task in tasks {
            let having: Vec<Interval> = self.0.iter().filter(|(_, left)| left.contains_key(&task)).map(|(at, _)| *at).collect();
            for at in &having[..having.len().saturating_sub(MAX_PREVIOUS_KEPT)] {
                self.0.get_mut(at).map(|left| left.remove(&task));
            }
        }
        self.keep_to_bytes();
        let surplus = self.0.len().saturating_sub(MAX_PREVIOUS_KEPT);
        let empty: Vec<Interval> = self.0.iter().take(surplus).filter(|(_, left)| left.is_empty()).map(|(at, _)| *at).collect();
        empty.iter().for_each(|at| drop(self.0.remove(at)));
    }

    /// What a newer interval has too goes before what is a task's last.
    fn keep_to_bytes(&mut self) {
        let mut bytes: usize = self.0.values().flatten().map(bytes_of).sum();
        if bytes <= MAX_PREVIOUS_BYTES {
            return;
        }
        let mut seen = BTreeSet::new();
        let (mut last, mut older) = (Vec::new(), Vec::new());
        for (at, left) in self.0.iter().rev() {
            for task in left.keys() {
                let list = if seen.insert(task.clone()) { &mut last } else { &mut older };
                list.push((*at, task.clone()));
            }
        }
        for (at, task) in older.into_iter().rev().chain(last.into_iter().rev()) {
            if bytes <= MAX_PREVIOUS_BYTES {
                return;
            }
            if let Some(outputs) = self.0.get_mut(&at).and_then(|left| left.remove(&task)) {
                bytes -= bytes_of((&task, &outputs));
            }
        }
    }

    /// The newest interval with SUCCESS before a time.
    pub(crate) fn before(&self, start: Timestamp) -> Option<Interval> {
        self.0.keys().rev().find(|other| other.start() < start).copied()
    }

    /// What a task left in the newest interval before a time in which it put something out.
    pub(crate) fn left(&self, task: &TaskId, start: Timestamp) -> Option<&Outputs> {
        self.0.iter().rev().filter(|(other, _)| other.start() < start).find_map(|(_, left)| left.get(task))
    }

    pub(crate) fn records(&self) -> Vec<PreviousRecord> {
        let outputs = |left: &BTreeMap<TaskId, Outputs>| left.iter().map(|(task, outputs)| (task.clone(), outputs.clone())).collect();
        self.0.iter().map(|(interval, left)| PreviousRecord { interval: *interval, outputs: outputs(left) }).collect()
    }

    pub(crate) fn restore(records: Vec<PreviousRecord>) -> Self {
        Self(records.into_iter().map(|record| (record.interval, record.outputs.into_iter().collect())).collect())
    }
}

fn bytes_of((task, outputs): (&TaskId, &Outputs)) -> usize {
    task.as_str().len() + outputs.bytes() + OUTPUT_BYTES * (1 + outputs.0.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(number: i64) -> Interval {
        Interval::new(Timestamp(number * 10), Timestamp(number * 10 + 10)).unwrap()
    }

    fn left(task: &str, bytes: usize) -> BTreeMap<TaskId, Outputs> {
        [(task.parse().unwrap(), Outputs([("k".to_owned(), "x".repeat(bytes))].into()))].into()
    }

    fn days_of(previous: &Previous, task: &str) -> Vec<i64> {
        let task: TaskId = task.parse().unwrap();
        previous.0.iter().filter(|(_, left)| left.contains_key(&task)).map(|(at, _)| at.start().0 / 10).collect()
    }

    #[test]
    fn bytes_are_bounded_and_the_last_of_a_task_is_the_last_to_go() {
        let mut previous = Previous::default();
        previous.remember(day(0), left("rare", 100));
        for number in 1..8 {
            previous.remember(day(number), left("often", MAX_PREVIOUS_BYTES / 3));
        }
        assert_eq!((days_of(&previous, "rare"), days_of(&previous, "often")), (vec![0], vec![6, 7]));
        previous.remember(day(8), left("huge", MAX_PREVIOUS_BYTES - 100));
        assert_eq!((days_of(&previous, "rare").len(), days_of(&previous, "often").len(), days_of(&previous, "huge")), (0, 0, vec![8]));
        assert_eq!(previous.before(Timestamp(80)), Some(day(7)), "that it ended SUCCESS is still known");
        assert_eq!(Previous::restore(previous.records()), previous);
    }

    #[test]
    fn what_a_task_left_outlives_the_intervals_in_which_it_left_nothing() {
        let mut previous = Previous::default();
        previous.remember(day(0), left("rare", 1));
        for number in 1..100 {
            previous.remember(day(number), BTreeMap::new());
        }
        assert_eq!(previous.0.len(), MAX_PREVIOUS_KEPT + 1, "the newest, and that one");
        let found = previous.left(&"rare".parse().unwrap(), Timestamp(1_000));
        assert!(found.is_some());
        assert_eq!(previous.left(&"rare".parse().unwrap(), Timestamp(0)), None, "only an earlier interval's");
    }
}
