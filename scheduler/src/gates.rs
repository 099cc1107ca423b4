//! Gates: ready tasks that a limit of their run holds back (`max_parallel` of a mapped task, `max_active_tasks` of a run).
//!
//! A gate offers one task for each lane at a time (and one of a higher priority beside it): so a task that no worker serves never hides
//! another behind the same gate, and a hundred thousand instances cost nothing before their turn. An offer is no right to start: whoever
//! takes it asks again whether the gate is open, and brings it back if not. Part of the leader's term: built again from state at takeover.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use penstock_common::{PoolName, RunNo};

use crate::lanes::Wants;

/// What holds tasks back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gate {
    /// `max_parallel` of a mapped task.
    Mapped(RunNo, u32),
    /// `max_active_tasks` of a run.
    Run(RunNo),
    /// A pool with fewer slots than the task wants: opened when the pool changes.
    Pool(PoolName),
}

/// A task that waits, with what it wants of a worker; `None`: it needs none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) wants: Option<Wants>,
    pub(crate) priority: i32,
    pub(crate) run: RunNo,
    pub(crate) task: u32,
}

type Queue = BTreeMap<Reverse<i32>, VecDeque<(RunNo, u32)>>;
/// Of one lane, by priority.
type Offered = BTreeMap<i32, (RunNo, u32)>;

#[derive(Debug, Default)]
pub(crate) struct Gates {
    queues: BTreeMap<Gate, BTreeMap<Option<Wants>, Queue>>,
    /// Offered by a gate, and neither started nor dropped yet, by priority.
    offered: BTreeMap<Gate, BTreeMap<Option<Wants>, Offered>>,
    /// Gates that may have something to offer.
    look: BTreeSet<Gate>,
}

impl Gates {
    pub(crate) fn park(&mut self, gate: &Gate, waiting: Waiting) {
        let (run, task) = (waiting.run, waiting.task);
        self.queue(gate, waiting).push_back((run, task));
        self.look.insert(gate.clone());
    }

    /// A task that a gate offered finds it closed again: it is the next to be offered.
    pub(crate) fn bring_back(&mut self, gate: &Gate, waiting: Waiting) {
        let (run, task) = (waiting.run, waiting.task);
        self.queue(gate, waiting).push_front((run, task));
    }

    fn queue(&mut self, gate: &Gate, Waiting { wants, priority, .. }: Waiting) -> &mut VecDeque<(RunNo, u32)> {
        let queue = self.queues.entry(gate.clone()).or_default().entry(wants).or_default();
        queue.entry(Reverse(priority)).or_default()
    }

    /// A task waits at a gate no more.
    pub(crate) fn withdraw(&mut self, gate: &Gate, wants: &Option<Wants>, priority: i32, task: (RunNo, u32)) {
        let Some(queues) = self.queues.get_mut(gate) else { return };
        let Some(queue) = queues.get_mut(wants) else { return };
        if let Some(tasks) = queue.get_mut(&Reverse(priority)) {
            if let Some(at) = tasks.iter().position(|waiting| *waiting == task) {
                tasks.remove(at);
            }
            if tasks.is_empty() {
                queue.remove(&Reverse(priority));
            }
        }
        if queue.is_empty() {
            queues.remove(wants);
        }
        if queues.is_empty() {
            self.queues.remove(gate);
        }
    }

    /// A limit may be free again, or an offer was taken.
    pub(crate) fn look_at(&mut self, gate: &Gate) {
        if self.queues.contains_key(gate) {
            self.look.insert(gate.clone());
        }
    }

    /// A task that a gate offered was started or dropped: the gate may offer another.
    pub(crate) fn left(&mut self, gate: &Gate, run: RunNo, task: u32) {
        if let Some(offered) = self.offered.get_mut(gate) {
            offered.values_mut().for_each(|offers| offers.retain(|_, of| *of != (run, task)));
            offered.retain(|_, offers| !offers.is_empty());
            if offered.is_empty() {
                self.offered.remove(gate);
            }
        }
        self.look_at(gate);
    }

    pub(crate) fn is_to_look(&self) -> bool {
        !self.look.is_empty()
    }

    /// What open gates offer: of each the first for each lane that has no offer of it, or none of its priority.
    pub(crate) fn offers(&mut self, mut is_open: impl FnMut(&Gate) -> bool) -> Vec<(Gate, Waiting)> {
        let mut offers = Vec::new();
        for gate in std::mem::take(&mut self.look) {
            let Some(queues) = self.queues.get_mut(&gate).filter(|_| is_open(&gate)) else { continue };
            let offered = self.offered.entry(gate.clone()).or_default();
            queues.retain(|wants, queue| {
                let Some(mut first) = queue.first_entry() else { return false };
                let priority = first.key().0;
                if offered.get(wants).is_some_and(|offers| offers.range(priority..).next().is_some()) {
                    return true;
                }
                let next = first.get_mut().pop_front();
                if first.get().is_empty() {
                    first.remove();
                }
                if let Some((run, task)) = next {
                    offered.entry(wants.clone()).or_default().insert(priority, (run, task));
                    offers.push((gate.clone(), Waiting { wants: wants.clone(), priority, run, task }));
                }
                !queue.is_empty()
            });
            if queues.is_empty() {
                self.queues.remove(&gate);
            }
        }
        offers
    }

    /// Everything a gate holds back.
    pub(crate) fn release(&mut self, gate: &Gate) -> Vec<Waiting> {
        let mut released = Vec::new();
        for (wants, queue) in self.queues.remove(gate).unwrap_or_default() {
            for (Reverse(priority), tasks) in queue {
                released.extend(tasks.into_iter().map(|(run, task)| Waiting { wants: wants.clone(), priority, run, task }));
            }
        }
        self.offered.remove(gate);
        released
    }

    /// A run starts nothing more.
    pub(crate) fn forget(&mut self, run: RunNo) {
        let of_run = |gate: &Gate| matches!(gate, Gate::Mapped(no, _) | Gate::Run(no) if *no == run);
        self.queues.retain(|gate, queues| {
            if let Gate::Pool(_) = gate {
                for queue in queues.values_mut() {
                    queue.values_mut().for_each(|tasks| tasks.retain(|(no, _)| *no != run));
                    queue.retain(|_, tasks| !tasks.is_empty());
                }
                queues.retain(|_, queue| !queue.is_empty());
            }
            !of_run(gate) && !queues.is_empty()
        });
        self.offered.retain(|gate, _| !of_run(gate));
        self.look.retain(|gate| !of_run(gate));
    }

    /// Every gate of which something is known.
    #[cfg(test)]
    pub(crate) fn known(&self) -> BTreeSet<Gate> {
        self.queues.keys().chain(self.offered.keys()).chain(&self.look).cloned().collect()
    }

    /// Every task held back, for comparing with a rebuilt index.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> Vec<(RunNo, u32)> {
        self.queues.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values).flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(queue: &str, priority: i32, task: u32) -> Waiting {
        let wants = Wants { queue: queue.parse().unwrap(), labels: BTreeMap::new(), pool: None };
        Waiting { wants: Some(wants), priority, run: RunNo(1), task }
    }

    #[test]
    fn a_gate_offers_a_task_of_a_higher_priority_beside_one_that_waits_for_its_slot() {
        let gate = Gate::Run(RunNo(1));
        let mut gates = Gates::default();
        let offers = |gates: &mut Gates| gates.offers(|_| true).into_iter().map(|(_, w)| w.task).collect::<Vec<_>>();
        gates.park(&gate, waiting("a", 0, 1));
        gates.park(&gate, waiting("a", 0, 2));
        assert_eq!(offers(&mut gates), [1]);
        gates.park(&gate, waiting("a", 5, 3));
        assert_eq!(offers(&mut gates), [3]);
        gates.left(&gate, RunNo(1), 3);
        assert!(offers(&mut gates).is_empty(), "1 is still there");
        gates.left(&gate, RunNo(1), 1);
        gates.bring_back(&gate, waiting("a", 0, 1));
        assert_eq!(offers(&mut gates), [1], "before 2, as it was");
        gates.forget(RunNo(1));
        assert!(gates.known().is_empty());
    }

    #[test]
    fn a_gate_offers_one_task_a_lane_the_highest_priority_first() {
        let gate = Gate::Run(RunNo(1));
        let mut gates = Gates::default();
        for (queue, priority, task) in [("a", 0, 1), ("a", 5, 2), ("b", 0, 3), ("a", 5, 4)] {
            gates.park(&gate, waiting(queue, priority, task));
        }
        let tasks = |offers: Vec<(Gate, Waiting)>| offers.into_iter().map(|(_, w)| w.task).collect::<Vec<_>>();
        assert!(tasks(gates.offers(|_| false)).is_empty());
        gates.look_at(&gate);
        assert_eq!(tasks(gates.offers(|_| true)), [2, 3]);
        gates.look_at(&gate);
        assert!(tasks(gates.offers(|_| true)).is_empty(), "the offers are not taken");
        gates.left(&gate, RunNo(1), 2);
        assert_eq!(tasks(gates.offers(|_| true)), [4]);
        gates.left(&gate, RunNo(1), 4);
        gates.left(&gate, RunNo(1), 3);
        assert_eq!(tasks(gates.offers(|_| true)), [1]);
    }
}
