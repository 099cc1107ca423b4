//! What control flow says that cannot be: rules, conditions, pairs, items, setups and teardowns that contradict each other.

use super::super::fields::{Located, Reader};
use super::super::keys::RawTask;
use super::super::values::length;
use super::graph::{Edge, Graph, Tasks};
use crate::limits;
use crate::pipeline::{Action, ForEach, TriggerRule};

/// Checks every task; returns which are mapped.
pub(super) fn check(r: &mut Reader, tasks: &Tasks, graph: &Graph<'_>) -> Vec<bool> {
    let mapped: Vec<bool> =
        tasks.values().enumerate().map(|(number, (_, task))| task.flow.for_each.is_some() || graph.is_paired(number)).collect();
    let raw: Vec<&RawTask> = tasks.values().map(|(_, task)| task).collect();
    let mut checks = Checks { r, graph, mapped: &mapped, raw, lengths: vec![Length::Unseen; tasks.len()] };
    for task in 0..tasks.len() {
        checks.rule(task);
        checks.teardown(task);
        checks.branch(task);
        checks.mapping(task);
        checks.pairs(task);
        checks.source(task);
    }
    checks.instances();
    mapped
}

struct Checks<'c, 't> {
    r: &'c mut Reader,
    graph: &'c Graph<'t>,
    mapped: &'c [bool],
    raw: Vec<&'t RawTask>,
    lengths: Vec<Length>,
}

/// How many instances a task has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Unseen,
    /// Being found out: seen again, it is a cycle.
    Open,
    Known(usize),
    /// Only a run knows.
    Unknown,
}

impl Checks<'_, '_> {
    fn rule(&mut self, task: usize) {
        let (id, upstreams) = (self.graph.id(task), self.graph.upstreams(task));
        let Some(Located { at, value: rule }) = self.raw[task].flow.trigger_rule else { return };
        if self.raw[task].flow.teardown.is_some() {
            let message = format!("task `{id}` is a teardown: it runs whatever its `trigger_rule` says");
            self.r.found.error(at, message, "remove `trigger_rule`; with `setup` it runs where that succeeded");
        } else if upstreams.edges.iter().any(Edge::has_condition) {
            let hint = "remove `trigger_rule`, or list the upstreams without conditions: [a, b]";
            self.r.found.error(at, format!("task `{id}` has both a `trigger_rule` and conditions in `depends_on`"), hint);
        } else if upstreams.edges.is_empty() && !upstreams.unclear && !matches!(rule, TriggerRule::AllSuccess | TriggerRule::Always) {
            let message = format!("task `{id}` has a `trigger_rule` and no upstream");
            self.r.found.warning(at, message, "add `depends_on`, or remove the rule");
        }
    }

    fn teardown(&mut self, task: usize) {
        let (id, flow) = (self.graph.id(task), &self.raw[task].flow);
        if flow.teardown.is_some()
            && let Some(edge) = self.graph.upstreams(task).edges.iter().find(|edge| edge.has_condition())
        {
            let message = format!("task `{id}` is a teardown: it runs whatever the conditions in its `depends_on` say");
            self.r.found.error(edge.at, message, "list its upstreams without conditions: [a, b]");
        }
        let Some(Located { at, value: setup }) = &flow.setup else { return };
        if flow.teardown.is_none() {
            self.r.found.error(*at, format!("task `{id}` has a `setup` and is no teardown"), "add `teardown: true`, or use `depends_on`");
        }
        match self.graph.find(setup.as_str()) {
            Some(found) if found == task => {
                self.r.found.error(*at, format!("task `{id}` cleans up after itself"), "name the task that sets up what it cleans up");
            }
            Some(found) if self.raw[found].flow.teardown.is_some() => {
                self.r.found.error(*at, format!("`{setup}` is a teardown itself"), "name the task that sets up what is cleaned up");
            }
            Some(_) => {}
            None => {
                let others = self.graph.ids().filter(|other| *other != id.as_str());
                let hint = self.r.found.did_you_mean(setup.as_str(), others, || "name one task; a group is none".to_owned());
                self.r.found.error(*at, format!("task `{id}` has the setup `{setup}`, which is no task"), hint);
            }
        }
    }

    fn branch(&mut self, task: usize) {
        let id = self.graph.id(task);
        let Some(at) = self.raw[task].flow.branch else { return };
        if self.mapped[task] {
            let hint = "let a task below it choose, from outputs of all instances";
            self.r.found.error(at, format!("task `{id}` is mapped, and its instances could choose differently"), hint);
        } else if matches!(self.raw[task].action, Some(Action::Noop)) {
            let hint = "let a program put out `branch`, the name of a task or a list of them";
            self.r.found.warning(at, format!("task `{id}` is a branch and does nothing: it chooses nothing"), hint);
        } else if !self.graph.has_downstream(task) && !self.graph.is_unclear() {
            let hint = "name it in the `depends_on` of the tasks among which it chooses";
            self.r.found.warning(at, format!("task `{id}` is a branch, and no task depends on it"), hint);
        }
    }

    fn mapping(&mut self, task: usize) {
        let (id, flow) = (self.graph.id(task), &self.raw[task].flow);
        if self.mapped[task] || self.graph.upstreams(task).unclear {
            return;
        }
        let places = [("max_parallel", flow.max_parallel.as_ref().map(|m| m.at)), ("max_failed", flow.max_failed.as_ref().map(|m| m.at))];
        for (key, at) in places {
            if let Some(at) = at {
                let message = format!("task `{id}` has `{key}` and no `for_each`: it has no instances");
                self.r.found.error(at, message, "add `for_each`, or remove it");
            }
        }
    }

    /// `x[*]`: each instance waits for the instance of the same number.
    fn pairs(&mut self, task: usize) {
        let (graph, id) = (self.graph, self.graph.id(task));
        let own = match &self.raw[task].flow.for_each {
            Some(_) => self.length(task),
            None => Length::Unseen,
        };
        let mut first = (own, format!("`{id}`"));
        let mut paired = graph.upstreams(task).edges.iter().filter(|edge| edge.is_paired()).peekable();
        if let (Some(edge), Some(Located { at, value: rule })) = (paired.peek(), &self.raw[task].flow.trigger_rule)
            && !is_conjunctive(*rule)
        {
            let upstream = graph.id(edge.task);
            let message = format!(
                "`{}` is not possible with `{upstream}[*]`: it is judged over all upstreams at once, and each instance has one of its own",
                rule.as_str()
            );
            let rules = "all_success, all_done, all_failed, all_skipped, none_failed or none_skipped";
            self.r.found.error(*at, message, format!("use {rules}, or write {upstream} for all instances"));
        }
        for edge in paired {
            let upstream = graph.id(edge.task);
            if !self.mapped[edge.task] {
                if !graph.upstreams(edge.task).unclear {
                    let message = format!("task `{id}` is paired with `{upstream}`, which has no `for_each`");
                    self.r.found.error(edge.at, message, format!("write {upstream}, or give `{upstream}` a `for_each`"));
                }
                continue;
            }
            let length = self.length(edge.task);
            if let (Length::Known(a), Length::Known(b)) = (first.0, length)
                && a != b
            {
                let message = format!("`{upstream}` has {b} instances and {} has {a}: they cannot be paired", first.1);
                self.r.found.error(edge.at, message, format!("give both the same items, or write {upstream} for all instances"));
            } else if first.0 == Length::Unseen {
                first = (length, format!("`{upstream}`"));
            }
        }
    }

    /// The task that gives the items must be one that can.
    fn source(&mut self, task: usize) {
        let Some(Located { at, value: Some(ForEach::ItemsOf { task: source }) }) = &self.raw[task].flow.for_each else { return };
        // Its own and missing ones are told of with the templates.
        let Some(found) = self.graph.find(source.as_str()).filter(|found| *found != task) else { return };
        if self.mapped[found] {
            let hint = format!("put out a value in each instance: outputs.{source}.KEY is the list of them");
            self.r.found.error(*at, format!("`{source}` is mapped: its instances have no items file in common"), hint);
        } else if let Some(action) = &self.raw[found].action
            && !matches!(action, Action::Run(_) | Action::Shell(_) | Action::Container(_))
        {
            let message = format!("task `{source}` writes no items: it is a `{}`", action.kind());
            self.r.found.error(*at, message, "name a task that runs a program, or use outputs.TASK.KEY");
        }
    }

    /// Instances that are known already must fit into a run.
    fn instances(&mut self) {
        let mut total = 0_usize;
        let mut largest = (0, 0);
        for task in 0..self.raw.len() {
            let count = match self.mapped[task].then(|| self.length(task)) {
                Some(Length::Known(count)) => count,
                _ => 1,
            };
            total = total.saturating_add(count);
            largest = largest.max((count, task));
        }
        if total > limits::MAX_TASKS_PER_RUN {
            let id = self.graph.id(largest.1);
            let at = self.raw[largest.1].flow.for_each.as_ref().map_or_else(Default::default, |written| written.at);
            let most = limits::MAX_TASKS_PER_RUN;
            let message =
                format!("a run would have {total} tasks and instances, {} of them of `{id}`; at most {most} are possible", largest.0);
            self.r.found.error(at, message, "split the pipeline, or let an instance do more than one item");
        }
    }

    /// Follows pairs up to the task that has items of its own.
    fn length(&mut self, task: usize) -> Length {
        let mut path = Vec::new();
        let mut next = task;
        let length = loop {
            match self.lengths[next] {
                Length::Unseen => {}
                Length::Open => break Length::Unknown,
                known => break known,
            }
            self.lengths[next] = Length::Open;
            path.push(next);
            match &self.raw[next].flow.for_each {
                Some(Located { value: Some(ForEach::Items(items)), .. }) => break Length::Known(items.len()),
                Some(Located { value: Some(ForEach::Range { from, to, step }), .. }) => {
                    break usize::try_from(length(*from, *to, *step)).map_or(Length::Unknown, Length::Known);
                }
                Some(_) => break Length::Unknown,
                None => match self.graph.upstreams(next).edges.iter().find(|edge| edge.is_paired()) {
                    Some(edge) => next = edge.task,
                    None => break Length::Unknown,
                },
            }
        };
        for seen in path {
            self.lengths[seen] = length;
        }
        length
    }
}

/// Whether a rule asks the same of each upstream, so that one instance's can be judged apart from another's.
fn is_conjunctive(rule: TriggerRule) -> bool {
    use TriggerRule::{AllDone, AllFailed, AllSkipped, AllSuccess, NoneFailed, NoneSkipped};
    matches!(rule, AllSuccess | AllDone | AllFailed | AllSkipped | NoneFailed | NoneSkipped)
}
