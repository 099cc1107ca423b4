//! Tasks that wait for each other: every part of the document that goes round is told of, with the others of its errors.

use super::super::fields::Reader;
use super::graph::{Edge, Graph};

/// Cycles that are told of; where there are more, mending these shows the next.
const MAX_CYCLES: usize = 20;
/// Names shown of one cycle.
const MAX_NAMES: usize = 20;

/// Notes a cycle of each part that goes round. Those that share a task with one that is noted are left for the next check.
pub(super) fn check(r: &mut Reader, graph: &Graph<'_>) {
    let mut walk = Walk { graph, seen: vec![Seen::Not; graph.len()], path: Vec::new(), told: vec![false; graph.len()] };
    let mut cycles = 0;
    for task in 0..graph.len() {
        while let Some((cycle, edge)) = walk.next_cycle(task) {
            let names: Vec<&str> = cycle.iter().map(|&task| graph.id(task).as_str()).collect();
            let hint = "remove one of these dependencies: a task can only wait for tasks that do not wait for it";
            r.found.error(edge.at, format!("the tasks wait for each other in a cycle: {}", shown(&names)), hint);
            cycles += 1;
            if cycles == MAX_CYCLES {
                return;
            }
        }
    }
}

/// `a -> b -> a`; of a long one the first names and how many are between them and the last.
fn shown(names: &[&str]) -> String {
    match names {
        [first @ .., last] if first.len() > MAX_NAMES => {
            let (head, rest) = first.split_at(MAX_NAMES);
            format!("{} -> … {} more … -> {last}", head.join(" -> "), rest.len())
        }
        _ => names.join(" -> "),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Not,
    /// On the path, at this place.
    Open(usize),
    Done,
}

/// A walk against the edges, depth first, that goes on behind each cycle it has found. No recursion: a chain may have 100,000 tasks.
struct Walk<'g, 't> {
    graph: &'g Graph<'t>,
    seen: Vec<Seen>,
    /// The tasks between the start and here, each with the number of its next upstream.
    path: Vec<(usize, usize)>,
    told: Vec<bool>,
}

impl<'g> Walk<'g, '_> {
    /// In the order in which the tasks run, the first repeated at the end, and the edge from the first to the second.
    fn next_cycle(&mut self, start: usize) -> Option<(Vec<usize>, &'g Edge)> {
        if self.path.is_empty() {
            self.enter(start);
        }
        while let Some((task, next)) = self.path.last_mut() {
            let task = *task;
            let Some(edge) = self.graph.upstreams(task).edges.get(*next) else {
                self.seen[task] = Seen::Done;
                self.path.pop();
                continue;
            };
            *next += 1;
            match self.seen[edge.task] {
                Seen::Not => self.enter(edge.task),
                Seen::Open(from) if !self.told[task] && !self.told[edge.task] => {
                    let mut cycle = vec![edge.task];
                    cycle.extend(self.path[from..].iter().rev().map(|(task, _)| *task));
                    cycle.iter().for_each(|&task| self.told[task] = true);
                    return Some((cycle, edge));
                }
                Seen::Open(_) | Seen::Done => {}
            }
        }
        None
    }

    fn enter(&mut self, task: usize) {
        if self.seen[task] == Seen::Not {
            self.seen[task] = Seen::Open(self.path.len());
            self.path.push((task, 0));
        }
    }
}
