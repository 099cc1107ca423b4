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
                    State::Skipped => self.task(index).reason == Some(Reason::UpstreamFailed),
                    _ => false,
                };
                let failed = (0..self.slots).filter(own).any(unhandled);
                if failed { (State::Failed, Some(Reason::TaskFailed)) } else { (State::Success, None) }
            }
        }
    }

    /// A failure is handled where it is allowed, or a direct downstream that asked for it succeeded and none was skipped for it.
    fn is_handled(&self, index: u32) -> bool {
        let (spec, node) = (self.spec(index), self.node(index));
        let tolerated = self.instance(index).is_some() && self.outcome(index) == Some(Outcome::Success);
        if spec.allow_failure || spec.teardown || tolerated {
            return true;
        }
        let number = self.instance(index).map(|(_, number)| number);
        let below = |edge: &Edge| match (edge.paired, number) {
            (true, Some(number)) => self.mapping.live(edge.task).and_then(|e| e.index_of(number)).unwrap_or(edge.task),
            _ => edge.task,
        };
        let downstream = &self.plan.task(node).downstream;
        let broken = |edge: &Edge| self.task(below(edge)).reason == Some(Reason::UpstreamFailed);
        let caught = |edge: &Edge| edge.wants_failure && self.task(below(edge)).state == State::Success;
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
