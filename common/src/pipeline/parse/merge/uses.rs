//! What templates and expressions name must be there when they are rendered: outputs of upstreams, an item, an earlier run's
//! outputs.

use std::collections::BTreeSet;

use super::super::fields::{Located, Reader, Uses};
use super::super::found::cut;
use super::graph::{Graph, Tasks};
use crate::pipeline::{ForEach, Location};

/// Steps that may be taken over all edges to find out whether the tasks that templates name are upstream. Beyond it a
/// wrong name is found when the template is rendered.
const MAX_STEPS: usize = 2_000_000;

pub(super) struct Names<'t> {
    pub(super) graph: &'t Graph<'t>,
    /// Where a task takes its items from, by its number.
    sources: Vec<Option<&'t Located<Option<ForEach>>>>,
    mapped: &'t [bool],
    steps: usize,
    /// By task: the last walk that came by.
    seen: Vec<usize>,
    walks: usize,
    /// A template of `defaults` is told of once, not once a task.
    told: BTreeSet<(Location, String)>,
}

impl<'t> Names<'t> {
    pub(super) fn new(tasks: &'t Tasks, graph: &'t Graph<'t>, mapped: &'t [bool]) -> Self {
        let sources = tasks.values().map(|(_, task)| task.flow.for_each.as_ref()).collect();
        Self { graph, sources, mapped, steps: MAX_STEPS, seen: vec![0; tasks.len()], walks: 0, told: BTreeSet::new() }
    }

    pub(super) fn check(&mut self, r: &mut Reader, task: usize, uses: &Uses) {
        for name in &uses.outputs {
            self.source_of(r, task, uses.at, name, "outputs");
        }
        for name in uses.previous.iter().filter(|name| self.graph.find(name).is_none()) {
            let hint = r.found.did_you_mean(name, self.graph.ids(), || "write previous.outputs.TASK.KEY".to_owned());
            self.tell(r, uses.at, name, format!("there is no task `{}` whose earlier outputs could be used", cut(name)), hint);
        }
        if uses.item && !self.mapped[task] && !self.graph.upstreams(task).unclear {
            let message = format!("task `{}` uses `item` and has no `for_each`", self.graph.id(task));
            self.tell(r, uses.at, "item", message, "add `for_each`, or remove it".to_owned());
        }
    }

    /// The task whose outputs or items another one is mapped over must be upstream of it.
    pub(super) fn check_source(&mut self, r: &mut Reader, task: usize) {
        if let Some(Located { at, value: Some(written) }) = self.sources[task]
            && let Some(source) = written.source()
        {
            let what = if matches!(written, ForEach::ItemsOf { .. }) { "items" } else { "outputs" };
            self.source_of(r, task, *at, source.as_str(), what);
        }
    }

    fn source_of(&mut self, r: &mut Reader, task: usize, at: Location, name: &str, what: &str) {
        if !self.told.is_empty() && self.told.contains(&(at, name.to_owned())) {
            return;
        }
        let id = self.graph.id(task);
        let (message, hint) = match self.graph.find(name) {
            Some(upstream) if upstream == task => {
                (format!("a task cannot use its own {what}"), "they are there when it has ended; write the value to a file".to_owned())
            }
            Some(upstream) if self.may_be_upstream(task, upstream) => return,
            Some(_) => (
                format!("task `{id}` uses {what} of `{name}`, which is not upstream of it"),
                format!("add `{name}` to the `depends_on` of `{id}`"),
            ),
            None => {
                let form = if what == "items" { "write items.TASK" } else { "write outputs.TASK.KEY" };
                let hint = r.found.did_you_mean(name, self.graph.ids(), || form.to_owned());
                (format!("there is no task `{}` whose {what} could be used", cut(name)), hint)
            }
        };
        self.tell(r, at, name, message, hint);
    }

    fn tell(&mut self, r: &mut Reader, at: Location, name: &str, message: String, hint: String) {
        if self.told.insert((at, name.to_owned())) {
            r.found.error(at, message, hint);
        }
    }

    /// False only if it is certain that it is not.
    fn may_be_upstream(&mut self, task: usize, wanted: usize) -> bool {
        self.walks += 1;
        self.seen[task] = self.walks;
        let mut next = vec![task];
        while let Some(upstreams) = next.pop().map(|task| self.graph.upstreams(task)) {
            if upstreams.unclear || upstreams.edges.binary_search_by_key(&wanted, |edge| edge.task).is_ok() {
                return true;
            }
            for edge in &upstreams.edges {
                if self.steps == 0 {
                    return true;
                }
                self.steps -= 1;
                if std::mem::replace(&mut self.seen[edge.task], self.walks) != self.walks {
                    next.push(edge.task);
                }
            }
        }
        false
    }
}
