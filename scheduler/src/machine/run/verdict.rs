//! How a run ends, which of its attempts a cancel stops, and which tasks selectors mean.

use std::collections::BTreeSet;

use penstock_common::record::Audit;
use penstock_common::state::Outcome;
use penstock_common::{Reason, Selector, State, TaskKey};

use super::{CANCEL_NOW, Run};
use crate::plan::Edge;

impl Run {
    /// How the run ends, once every task is terminal.
    pub(crate) fn verdict(&self) -> (State, Option<Reason>) {
        match self.record.cancel {
            Some(Reason::RunTimeout) => (State::Failed, Some(Reason::RunTimeout)),
            Some(reason) => (State::Cancelled, Some(reason)),
            None if self.count(State::Failed) + self.count(State::Cancelled) + self.count(State::Skipped) == 0 => (State::Success, None),
            None => {
                let own = |index: &u32| !self.is_gone(*index) && !self.is_expanded(*index);
                let unhandled = |index: u32| match self.task(index).state {
                    State::Failed => !self.is_handled(index),
                    // What an earlier generation left so, and this one did not take up again.
                    State::Cancelled => true,
                    _ => false,
                };
                let failed = (0..self.slots).filter(own).any(unhandled) || self.breaks_a_path();
                if failed { (State::Failed, Some(Reason::TaskFailed)) } else { (State::Success, None) }
            }
        }
    }

    /// Whether a task was SKIPPED(upstream_failed). Of a teardown neither counts: what is skipped for its failure alone, nor that it had
    /// nothing to clean up.
    fn breaks_a_path(&self) -> bool {
        if self.count(State::Skipped) == 0 {
            return false;
        }
        let own = |index: &u32| !self.is_gone(*index) && !self.is_expanded(*index);
        let excused = self.skipped_for_teardowns();
        let broken = |index: u32| self.is_broken(index) && !self.spec(index).teardown && !excused.contains(&index);
        (0..self.slots).filter(own).any(broken)
    }

    fn is_broken(&self, index: u32) -> bool {
        self.task(index).state == State::Skipped && self.task(index).reason == Some(Reason::UpstreamFailed)
    }

    /// What is SKIPPED(upstream_failed) for failures of teardowns alone.
    fn skipped_for_teardowns(&self) -> BTreeSet<u32> {
        let fails = |t: &u32| self.spec(*t).teardown && self.task(*t).state == State::Failed && self.outcome(*t) == Some(Outcome::Failed);
        let teardowns: BTreeSet<u32> = (0..self.slots).filter(|t| !self.is_gone(*t) && !self.is_expanded(*t)).filter(fails).collect();
        let broken_below = |&above: &u32| -> Vec<u32> {
            let edges = self.plan.task(self.node(above)).downstream.iter();
            edges.map(|edge| self.below(above, edge)).filter(|&below| self.is_broken(below)).collect()
        };
        let mut excused = BTreeSet::new();
        let mut next: Vec<u32> = teardowns.iter().flat_map(broken_below).collect();
        while let Some(task) = next.pop() {
            if excused.insert(task) {
                next.extend(broken_below(&task));
            }
        }
        // Another failure above takes the excuse away, and so on downwards.
        let mut next: Vec<u32> = excused.iter().copied().collect();
        while let Some(task) = next.pop() {
            let is_other = |t: &u32| self.outcome(*t) == Some(Outcome::Failed) && !teardowns.contains(t) && !excused.contains(t);
            if excused.contains(&task) && self.above(task).iter().any(is_other) {
                excused.remove(&task);
                next.extend(broken_below(&task));
            }
        }
        excused
    }

    /// The task at the lower end of an edge: of a pair the instance of the same number.
    fn below(&self, above: u32, edge: &Edge) -> u32 {
        match (edge.paired, self.instance(above)) {
            (true, Some((_, number))) => self.mapping.live(edge.task).and_then(|e| e.index_of(number)).unwrap_or(edge.task),
            _ => edge.task,
        }
    }

    /// A failure is handled where it is allowed, or a direct downstream that asked for it succeeded and none was skipped for it.
    fn is_handled(&self, index: u32) -> bool {
        let (spec, node) = (self.spec(index), self.node(index));
        let tolerated = self.instance(index).is_some() && self.outcome(index) == Some(Outcome::Success);
        if spec.allow_failure || spec.teardown || tolerated {
            return true;
        }
        let downstream = &self.plan.task(node).downstream;
        let breaks = |below: u32| self.task(below).reason == Some(Reason::UpstreamFailed) && !self.spec(below).teardown;
        let broken = |edge: &Edge| breaks(self.below(index, edge));
        let caught = |edge: &Edge| edge.wants_failure && self.task(self.below(index, edge)).state == State::Success;
        downstream.iter().any(caught) && !downstream.iter().any(broken)
    }

    /// A cancel that stops teardowns too.
    pub(crate) fn stops_now(&self) -> bool {
        let now = |audit: &Audit| &*audit.verb == CANCEL_NOW && audit.at >= self.record.generation_at;
        self.record.cancel.is_some() && self.record.audit.iter().any(now)
    }

    /// Whether an attempt of a task is to be stopped.
    pub(crate) fn stops(&self, index: u32) -> Option<Reason> {
        self.record.cancel.filter(|_| !self.spec(index).teardown || self.stops_now())
    }

    /// The tasks that `t`, `+t`, `t+` or `+t+` mean, instances of mapped ones among them; or the name that means none.
    pub(crate) fn select(&self, selectors: &[Selector]) -> Result<BTreeSet<u32>, TaskKey> {
        let mut chosen = BTreeSet::new();
        for selector in selectors {
            let index = self.find(&selector.task).ok_or_else(|| selector.task.clone())?;
            let node = self.node(index);
            let mut nodes = BTreeSet::new();
            if selector.above {
                nodes.extend(self.plan.cone([node], |t| &t.upstream));
            }
            if selector.below {
                nodes.extend(self.plan.cone([node], |t| &t.downstream));
            }
            if selector.task.index.is_some() {
                nodes.remove(&node);
                chosen.insert(index);
            } else {
                nodes.insert(node);
            }
            chosen.extend(nodes);
        }
        Ok(chosen)
    }
}
