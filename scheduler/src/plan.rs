//! A plan: the validated DAG of one pipeline version. Tasks are numbered in sorted id order, so every replica
//! numbers them alike.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_common::pipeline::{
    Condition, Diagnostic, Diagnostics, Document, ForEach, OutputsOf, Pipeline, Task, TriggerRule, TriggerSpec, parse,
};
use penstock_common::{Digest, Items, TaskId, TriggerName, items};
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::expression::is_about_item;
use crate::machine::mapping::ItemSource;
use crate::machine::rule::{Accepts, Needs};

/// A DAG ready to run.
#[derive(Debug)]
pub struct Plan {
    /// The definition.
    pub pipeline: Pipeline,
    /// Of the definition.
    pub digest: Digest,
    tasks: Vec<PlannedTask>,
    roots: Vec<u32>,
    /// Tasks whose outputs later intervals read.
    pub(crate) remembered: BTreeSet<u32>,
    /// Whether a task reads what the last interval left.
    pub(crate) uses_previous: bool,
    /// Of its dates.
    pub(crate) zone: Arc<str>,
}

/// A node of the plan.
#[derive(Debug)]
pub struct PlannedTask {
    /// Its name.
    pub id: TaskId,
    /// What to do, shared with every lease.
    pub spec: Arc<Task>,
    /// Tasks that wait for it, ascending.
    pub(crate) downstream: Vec<Edge>,
    /// Tasks it waits for, ascending.
    pub(crate) upstream: Vec<Edge>,
    /// What its rule needs besides.
    pub(crate) needs: Needs,
    /// What it is mapped over, if that is written in the definition.
    pub(crate) items: Option<ItemSource>,
    /// The task whose outputs or items it is mapped over.
    pub(crate) source: Option<u32>,
    /// Mapped tasks whose items it gives when it ends.
    pub(crate) feeds: Vec<u32>,
    /// Its `if` is about an item, so each instance has its own answer.
    pub(crate) condition_by_item: bool,
    /// Those whose outputs its templates name; a document's check sees to it that they are above it. `None`: any above.
    pub reads: Option<BTreeSet<u32>>,
    /// Those whose outputs of the previous interval it reads.
    pub(crate) remembers: BTreeSet<u32>,
}

impl PlannedTask {
    /// The task that must have ended before its items are known, whatever its rule says. Those of a pair are known when the other is
    /// expanded.
    pub(crate) fn waits_for_source(&self) -> Option<u32> {
        self.source.filter(|_| matches!(self.spec.for_each, Some(ForEach::Output { .. } | ForEach::ItemsOf { .. })))
    }
}

/// One side of a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    /// The task on the other side.
    pub(crate) task: u32,
    /// How the upstream may end.
    pub(crate) accepts: Accepts,
    /// Instance by instance.
    pub(crate) paired: bool,
    /// The downstream asks for a failure of the upstream.
    pub(crate) wants_failure: bool,
}

/// Why a pipeline is no DAG.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Its tasks wait for each other: the cycle, its first task repeated at the end.
    #[error("the tasks wait for each other in a cycle: {}", .0.iter().map(TaskId::as_str).collect::<Vec<_>>().join(" -> "))]
    Cycle(Vec<TaskId>),
    /// An upstream that does not exist.
    #[error("task {task} depends on {upstream}, which does not exist")]
    MissingUpstream {
        /// The task that names it.
        task: TaskId,
        /// The name.
        upstream: TaskId,
    },
    /// Items that cannot be.
    #[error("task {task}: {why}")]
    Items {
        /// The task that is mapped over them.
        task: TaskId,
        /// What is wrong.
        why: items::Error,
    },
}

/// The upstreams of a task with what it accepts of each: a teardown takes any end, but its setup's success.
fn edges(task: &Task) -> BTreeMap<&TaskId, (Accepts, bool, bool)> {
    let any_end = task.teardown;
    let by_rule = if any_end { Accepts::ANY } else { Accepts::of_rule(task.trigger_rule) };
    let asks = matches!(task.trigger_rule, TriggerRule::AllFailed | TriggerRule::OneFailed);
    let mut edges: BTreeMap<_, _> = task
        .depends_on
        .iter()
        .map(|d| {
            let accepts = d.when.filter(|_| !any_end).map_or(by_rule, Accepts::of_condition);
            (&d.task, (accepts, d.paired, asks || d.when == Some(Condition::Failed)))
        })
        .collect();
    if let Some(setup) = &task.setup {
        edges.insert(setup, (Accepts::of_condition(Condition::Success), false, false));
    }
    edges
}

/// What a task is mapped over, where the definition says it.
fn written_items(for_each: Option<&ForEach>) -> Result<Option<ItemSource>, items::Error> {
    Ok(match for_each {
        Some(ForEach::Items(values)) => Some(ItemSource::List(Arc::new(Items::of(values)?))),
        Some(&ForEach::Range { from, to, step }) => {
            let span = i128::from(to) - i128::from(from);
            let count = if step == 0 { 0 } else { (span + i128::from(step) - i128::from(step.signum())) / i128::from(step) };
            let found = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
            if found > penstock_common::limits::MAX_ITEMS {
                return Err(items::Error::TooMany { found });
            }
            Some(ItemSource::Range { from, step, count: found as u32 })
        }
        Some(ForEach::Output { .. } | ForEach::ItemsOf { .. } | ForEach::SameAs { .. }) | None => None,
    })
}

impl Plan {
    /// A trigger by its name.
    pub fn trigger(&self, name: &TriggerName) -> Option<&TriggerSpec> {
        self.pipeline.triggers.iter().find(|trigger| trigger.name == *name)
    }

    /// Builds the graph; refuses cycles and missing upstreams.
    pub fn compile(pipeline: Pipeline) -> Result<Self, PlanError> {
        let index: BTreeMap<&TaskId, u32> = pipeline.tasks.keys().zip(0..).collect();
        let mut graph = DiGraph::<(), ()>::with_capacity(index.len(), index.len());
        for _ in 0..index.len() {
            graph.add_node(());
        }
        let mut upstream: Vec<Vec<Edge>> = Vec::with_capacity(index.len());
        let mut downstream: Vec<Vec<Edge>> = vec![Vec::new(); index.len()];
        for (to, (id, task)) in (0u32..).zip(&pipeline.tasks) {
            let mut above = Vec::new();
            for (name, (accepts, paired, wants_failure)) in edges(task) {
                let missing = || PlanError::MissingUpstream { task: id.clone(), upstream: name.clone() };
                let from = *index.get(name).ok_or_else(missing)?;
                let accepts = if pipeline.tasks.get(name).is_some_and(|above| above.branch) { accepts.below_branch() } else { accepts };
                graph.add_edge(NodeIndex::new(from as usize), NodeIndex::new(to as usize), ());
                above.push(Edge { task: from, accepts, paired, wants_failure });
                downstream[from as usize].push(Edge { task: to, accepts, paired, wants_failure });
            }
            upstream.push(above);
        }
        if let Some(cycle) = find_cycle(&graph) {
            let ids: Vec<&TaskId> = pipeline.tasks.keys().collect();
            return Err(PlanError::Cycle(cycle.into_iter().map(|i| ids[i.index()].clone()).collect()));
        }
        let named = |of: &OutputsOf| match of {
            OutputsOf::Tasks(ids) => Some(ids.iter().filter_map(|id| index.get(id).copied()).collect()),
            OutputsOf::Any => None,
        };
        let mut tasks = Vec::with_capacity(pipeline.tasks.len());
        for ((id, task), (upstream, downstream)) in pipeline.tasks.iter().zip(upstream.into_iter().zip(downstream)) {
            let source = task.for_each.as_ref().and_then(ForEach::source);
            let source = source.map(|name| {
                let missing = || PlanError::MissingUpstream { task: id.clone(), upstream: name.clone() };
                index.get(name).copied().ok_or_else(missing)
            });
            tasks.push(PlannedTask {
                id: id.clone(),
                upstream,
                downstream,
                needs: if task.teardown { Needs::All } else { Needs::of_rule(task.trigger_rule) },
                items: written_items(task.for_each.as_ref()).map_err(|why| PlanError::Items { task: id.clone(), why })?,
                source: source.transpose()?,
                feeds: Vec::new(),
                condition_by_item: task.for_each.is_some() && task.condition.as_deref().is_some_and(is_about_item),
                reads: named(&task.uses.outputs),
                remembers: task
                    .uses
                    .previous
                    .as_ref()
                    .map_or_else(BTreeSet::new, |of| named(of).unwrap_or_else(|| index.values().copied().collect())),
                spec: Arc::new(task.clone()),
            });
        }
        for node in 0..tasks.len() {
            if let Some(source) = tasks[node].waits_for_source() {
                tasks[source as usize].feeds.push(node as u32);
            }
        }
        let remembered = tasks.iter().flat_map(|t| t.remembers.iter().copied()).collect();
        let uses_previous = tasks.iter().any(|t| t.spec.uses.previous.is_some());
        let roots = (0..).zip(&tasks).filter(|(_, t)| t.upstream.is_empty()).map(|(i, _)| i).collect();
        let zone = Arc::from(pipeline.zone());
        Ok(Self { digest: pipeline.digest(), pipeline, tasks, roots, remembered, uses_previous, zone })
    }

    /// Reads a document and plans it: every error of the file at once, cycles among them.
    pub fn load(file: &str, text: &str) -> Result<(Self, Vec<Diagnostic>), Diagnostics> {
        let Document { pipeline, warnings, tasks: places, .. } = parse(file, text)?;
        Self::compile(pipeline).map(|plan| (plan, warnings)).map_err(|error| {
            let (at, hint) = match &error {
                PlanError::Items { task, .. } => (places.get(task), "a list has at most 100,000 items"),
                // The document's check has found these.
                PlanError::MissingUpstream { task, .. } => (places.get(task), ""),
                PlanError::Cycle(_) => (None, ""),
            };
            let diagnostic =
                Diagnostic { at: at.copied().unwrap_or_default(), message: error.to_string(), hint: hint.to_owned(), warning: false };
            Diagnostics { file: file.to_owned(), list: vec![diagnostic] }
        })
    }

    /// How many tasks.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }
    /// A plan has at least one task; `true` only for one built by hand.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
    /// A task by its index.
    pub fn task(&self, index: u32) -> &PlannedTask {
        &self.tasks[index as usize]
    }
    /// Every task, in index order.
    pub fn tasks(&self) -> &[PlannedTask] {
        &self.tasks
    }
    /// Tasks that wait for nothing.
    pub fn roots(&self) -> &[u32] {
        &self.roots
    }
    /// Tasks whose outputs a task's templates may read. Where they do not name them this walks all above, which is left to the lease:
    /// done for every task at once it would cost the square of a long chain.
    pub fn reads(&self, index: u32) -> BTreeSet<u32> {
        let planned = self.task(index);
        planned.reads.clone().unwrap_or_else(|| {
            let mut above = BTreeSet::new();
            let mut stack: Vec<u32> = planned.upstream.iter().map(|e| e.task).collect();
            while let Some(task) = stack.pop() {
                if above.insert(task) {
                    stack.extend(self.task(task).upstream.iter().map(|e| e.task));
                }
            }
            above
        })
    }
    /// These tasks and everything on one side of them.
    pub(crate) fn cone<'a>(
        &'a self,
        from: impl IntoIterator<Item = u32>,
        side: impl Fn(&'a PlannedTask) -> &'a Vec<Edge>,
    ) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let mut stack: Vec<u32> = from.into_iter().collect();
        while let Some(task) = stack.pop() {
            if found.insert(task) {
                stack.extend(side(self.task(task)).iter().map(|e| e.task));
            }
        }
        found
    }
    /// A task's index by its name.
    pub fn find(&self, id: &TaskId) -> Option<u32> {
        self.tasks.binary_search_by(|t| t.id.cmp(id)).ok().map(|i| i as u32)
    }
}

impl PartialEq for Plan {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// One cycle, its first node repeated at the end, found by walking forward inside a strongly connected component.
fn find_cycle(graph: &DiGraph<(), ()>) -> Option<Vec<NodeIndex>> {
    // Not Tarjan's, which petgraph writes as a recursion: a deep chain would overflow the stack.
    let component = kosaraju_scc(graph).into_iter().find(|c| c.len() > 1 || c.first().is_some_and(|&n| graph.contains_edge(n, n)))?;
    let inside: std::collections::BTreeSet<_> = component.iter().copied().collect();
    let mut path = vec![*inside.first()?];
    loop {
        let last = *path.last()?;
        let next = graph.neighbors(last).filter(|n| inside.contains(n)).min()?;
        if let Some(start) = path.iter().position(|&n| n == next) {
            let mut cycle = path.split_off(start);
            cycle.push(next);
            return Some(cycle);
        }
        path.push(next);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use penstock_common::pipeline::Dependency;

    use super::*;

    fn pipeline(edges: &[(&str, &[&str])]) -> Pipeline {
        let tasks = edges.iter().map(|(id, upstream)| (TaskId::parse(id).unwrap(), below(upstream)));
        Pipeline::of("p".parse().unwrap(), tasks.collect())
    }

    fn below(upstream: &[&str]) -> Task {
        let dependency = |u: &&str| Dependency { task: TaskId::parse(u).unwrap(), when: None, paired: false };
        Task { depends_on: upstream.iter().map(dependency).collect(), ..Task::noop() }
    }

    #[test]
    fn a_cycle_is_printed_as_a_path_that_returns_to_its_start() {
        let error = Plan::compile(pipeline(&[("a", &["c"]), ("b", &["a"]), ("c", &["b"]), ("d", &["a"])])).unwrap_err();
        assert_eq!(error.to_string(), "the tasks wait for each other in a cycle: a -> b -> c -> a");
    }

    #[test]
    fn tasks_are_numbered_in_sorted_order_and_know_both_sides() {
        let plan = Plan::compile(pipeline(&[("z", &["a", "m"]), ("m", &["a"]), ("a", &[])])).unwrap();
        assert_eq!(plan.roots(), [0]);
        let tasks = |edges: &[Edge]| edges.iter().map(|e| e.task).collect::<Vec<_>>();
        assert_eq!(tasks(&plan.task(0).downstream), [1, 2]);
        assert_eq!(tasks(&plan.task(2).upstream), [0, 1]);
        assert_eq!(plan.find(&TaskId::parse("z").unwrap()), Some(2));
    }

    #[test]
    fn a_task_reads_what_its_templates_name_near_or_far_and_any_above_where_they_do_not() {
        let reads = |texts: &str| {
            let tasks =
                "far: {noop: true}\n  mid: {noop: true, depends_on: far}\n  near: {noop: true, depends_on: mid}\n  aside: {noop: true}";
            let text = format!(
                "pipeline: p\nparams: {{which: {{type: string}}}}\ntasks:\n  {tasks}\n  z: {{depends_on: near, run: [x, \"{texts}\"]}}\n"
            );
            let (plan, _) = Plan::load("p.yaml", &text).unwrap();
            let z = plan.find(&TaskId::parse("z").unwrap()).unwrap();
            let named = |found: BTreeSet<u32>| found.into_iter().map(|i| plan.task(i).id.to_string()).collect::<Vec<_>>();
            (named(plan.reads(z)), named(plan.remembered.clone()))
        };
        let none = Vec::<String>::new;
        assert_eq!(reads("plain outputs.far.x"), (none(), none()));
        assert_eq!(reads("{{ outputs.far.x }} {{ outputs.near.y }}").0, ["far", "near"]);
        assert_eq!(reads("{{ outputs.far.x }} {{ outputs[params.which].y }}").0, ["far", "mid", "near"]);
        assert_eq!(reads("{{ outputs.far.x[1:] }}").0, ["far", "mid", "near"]);
        assert_eq!(reads("{{ previous.outputs.aside.x }}"), (none(), vec!["aside".to_owned()]));
        assert_eq!(reads("{{ previous.outputs[params.which].x }}").1, ["aside", "far", "mid", "near", "z"]);
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_tasks_is_planned_without_deep_recursion() {
        let mut p = pipeline(&[]);
        for i in 0..100_000u32 {
            let above = format!("t{:06}", i.saturating_sub(1));
            let task = if i == 0 { Task::noop() } else { below(&[&above]) };
            p.tasks.insert(TaskId::parse(&format!("t{i:06}")).unwrap(), task);
        }
        assert_eq!(Plan::compile(p).unwrap().roots(), [0]);
    }
}
