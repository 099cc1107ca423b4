//! Why a run is not further: what holds the run, then its tasks, those with the same reason together.

use penstock_common::{RunId, State, TaskKey};

use super::{LONGEST, Why};
use crate::Scheduler;
use crate::machine::rule::Verdict;
use crate::machine::run::Run;

/// Tasks of a group that are named.
const NAMED: usize = 20;
/// Waiting tasks that are looked at: more have the same reasons, in all likelihood.
const LOOKED_AT: usize = 1_000;

/// A reason, and the tasks that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The reason.
    pub why: Why,
    /// Some of its tasks, in index order; none: it is the run's.
    pub tasks: Vec<TaskKey>,
    /// How many more it has.
    pub more: usize,
}

impl Group {
    /// The reason as a sentence that begins with its tasks.
    pub fn sentence(&self) -> String {
        let names: Vec<String> = self.tasks.iter().map(ToString::to_string).collect();
        match (names.is_empty(), self.more) {
            (true, _) => self.why.to_string(),
            (false, 0) => format!("{}: {}", names.join(", "), self.why),
            (false, more) => format!("{} and {more} more: {}", names.join(", "), self.why),
        }
    }
}

impl Scheduler {
    /// What keeps a run from ending. `None` if there is no such live run. Only the leader knows workers.
    pub fn explain_run(&self, id: &RunId) -> Option<Vec<Group>> {
        let (_, run) = self.state.run_by_id(id)?;
        let of_run = |why| Group { why, tasks: Vec::new(), more: 0 };
        let mut groups: Vec<Group> = self.run_blocked(run).into_iter().map(of_run).collect();
        if !run.is_open() {
            return Some(groups);
        }
        for index in (0..run.slots()).filter(|&index| is_in_front(run, index)).take(LOOKED_AT) {
            let mut chain = Vec::new();
            self.explain_own(run, index, &mut chain);
            for why in chain {
                let room = groups.len() < LONGEST;
                match groups.iter_mut().find(|group| group.why == why && !group.tasks.is_empty()) {
                    Some(group) if group.tasks.len() < NAMED => group.tasks.push(run.key(index)),
                    Some(group) => group.more += 1,
                    None if room => groups.push(Group { why, tasks: vec![run.key(index)], more: 0 }),
                    None => {}
                }
            }
        }
        Some(groups)
    }
}

/// Whether a task waits for no other of its run.
fn is_in_front(run: &Run, index: u32) -> bool {
    let task = run.task(index);
    let front = task.state != State::Pending || run.verdict_of(index) != Verdict::Wait;
    !task.state.is_terminal() && front && !run.is_gone(index) && !run.is_expanded(index)
}
