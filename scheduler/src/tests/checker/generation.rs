//! New generations: which tasks a rerun or a mark must open, and what becomes of them.

use std::collections::BTreeSet;

use penstock_common::pipeline::ForEach;
use penstock_common::{Reason, RunNo, Selector, State};

use super::Checker;
use super::shadow::{RunShadow, TaskShadow};

/// What was asked for.
#[derive(Debug, Clone)]
pub(in crate::tests) enum Asked {
    /// A rerun of these tasks; none: of what did not succeed.
    Rerun(Vec<Selector>),
    /// A mark of these.
    Mark(Vec<Selector>),
}

impl Checker {
    pub(super) fn generation_opened(&mut self, no: RunNo, generation: u32, ranges: &[(u32, u32)]) {
        let asked = self.asked.clone();
        let run = self.runs.get_mut(&no).unwrap();
        assert!(run.state.is_terminal() && run.archived.is_none(), "R3: run {} is {} and gets a generation", run.id, run.state);
        assert_eq!(generation, run.generation + 1);
        let mut opened: BTreeSet<u32> = ranges.iter().flat_map(|&(from, to)| from..to).collect();
        // An instance of a task that begins again as a whole.
        for task in opened.clone() {
            let of_opened = run.tasks[task as usize].instance.is_some_and(|(node, _)| opened.contains(&node));
            if of_opened || !run.is_present(task) {
                opened.remove(&task);
            }
        }
        if let Some(asked) = asked {
            assert_eq!(opened, run.to_open(&asked), "which tasks {asked:?} opens");
        }
        for &task in &opened {
            let shadow = &mut run.tasks[task as usize];
            assert!(shadow.state.is_terminal(), "a {} task is opened again", shadow.state);
            *shadow = TaskShadow { attempts: shadow.attempts, instance: shadow.instance, ..TaskShadow::default() };
            if let Some(mapped) = run.mapped.get_mut(&task) {
                mapped.present = 0;
            }
            if let Some((node, _)) = run.tasks[task as usize].instance {
                let node = &mut run.tasks[node as usize];
                (node.state, node.reason) = (State::Running, None);
            }
        }
        (run.state, run.reason, run.cancel, run.generation) = (State::Pending, None, None, generation);
        (run.now, run.paused) = (false, false);
    }
}

impl RunShadow {
    /// Nodes that begin again as a whole, and single instances.
    fn to_open(&self, asked: &Asked) -> BTreeSet<u32> {
        let bad = |t: &u32| {
            let shadow = &self.tasks[*t as usize];
            matches!(shadow.state, State::Failed | State::Cancelled) || shadow.reason == Some(Reason::UpstreamFailed)
        };
        let mut open = match asked {
            Asked::Rerun(selectors) if selectors.is_empty() => {
                let bad: BTreeSet<u32> = self.own().filter(bad).collect();
                self.reach(bad.clone(), true).into_iter().chain(bad).collect()
            }
            Asked::Rerun(selectors) => self.selected(selectors),
            Asked::Mark(selectors) => {
                let marked = self.selected(selectors);
                self.reach(marked.clone(), true).into_iter().chain(marked).collect()
            }
        };
        loop {
            let before = open.len();
            for (node, planned) in (0u32..).zip(self.plan.tasks()) {
                // What its instances are follows from a task that begins again.
                let source = planned.spec.for_each.as_ref().and_then(|f| f.source()).map(|id| self.node_of(id));
                let by_instance = matches!(planned.spec.for_each, Some(ForEach::Output { .. }));
                let begins = |source: u32| open.contains(&source) || (by_instance && open.iter().any(|&t| self.node(t) == source));
                if source.is_some_and(begins) && self.tasks[node as usize].state.is_terminal() {
                    open.insert(node);
                }
                // What is set up is cleaned up, and what is between needs it.
                if matches!(asked, Asked::Rerun(_))
                    && let Some(setup) = planned.spec.setup.as_ref().map(|id| self.node_of(id))
                {
                    let scope: BTreeSet<u32> = self.below([setup].into()).intersection(&self.above([node].into())).copied().collect();
                    if open.iter().any(|&t| scope.contains(&self.node(t))) {
                        open.extend([setup, node]);
                    }
                }
            }
            if open.len() == before {
                break;
            }
        }
        if let Asked::Mark(selectors) = asked {
            let marked = self.selected(selectors);
            let below = self.reach(marked.clone(), true);
            // What begins again is marked as a whole, else by its instances.
            for node in marked.into_iter().filter(|t| self.is_expanded(*t) && !below.contains(t)) {
                open.remove(&node);
                open.extend(self.instances(node));
            }
        }
        let of_opened = |t: &u32| self.tasks[*t as usize].instance.is_some_and(|(node, _)| open.contains(&node));
        open.iter().copied().filter(|t| !of_opened(t)).collect()
    }

    fn selected(&self, selectors: &[Selector]) -> BTreeSet<u32> {
        let mut open = BTreeSet::new();
        for selector in selectors {
            let node = self.node_of(&selector.task.task);
            let key = selector.task.to_string();
            let itself = if selector.task.index.is_none() {
                node
            } else {
                let number =
                    |&&i: &&u32| self.tasks[i as usize].instance.is_some_and(|(_, n)| format!("{}[{n}]", selector.task.task) == key);
                let named = |&&i: &&u32| self.name(i) == key;
                *self.instances(node).iter().find(named).or_else(|| self.instances(node).iter().find(number)).unwrap()
            };
            open.insert(itself);
            if selector.above {
                open.extend(self.reach([itself].into(), false));
            }
            if selector.below {
                open.extend(self.reach([itself].into(), true));
            }
        }
        open
    }

    /// All below or above these, of a pair the instance of the same number.
    fn reach(&self, mut next: BTreeSet<u32>, down: bool) -> BTreeSet<u32> {
        let mut reached = BTreeSet::new();
        while let Some(task) = next.pop_first() {
            let node = self.node(task);
            let others = if down { self.directly_below(node) } else { self.above([node].into()) };
            for other in others {
                let (upper, lower) = if down { (node, other) } else { (other, node) };
                let (id, spec) = (&self.plan.task(upper).id, self.spec(lower));
                let is_setup = spec.setup.as_ref() == Some(id);
                let dependency = spec.depends_on.iter().find(|d| d.task == *id);
                if !is_setup && dependency.is_none() {
                    continue;
                }
                let paired = !is_setup && dependency.is_some_and(|d| d.paired);
                let one = self.tasks[task as usize].instance.filter(|_| paired);
                let one = one.and_then(|(_, number)| self.instances(other).get(number as usize)).copied().unwrap_or(other);
                if reached.insert(one) {
                    next.insert(one);
                }
            }
        }
        reached
    }
}
