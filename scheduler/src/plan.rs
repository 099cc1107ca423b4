//! A plan: the validated DAG of one pipeline version. Tasks are numbered in sorted id order, so every replica
//! numbers them alike.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_common::pipeline::{Diagnostic, Diagnostics, Document, Pipeline, Task, parse};
use penstock_common::{Digest, TaskId};
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

/// A DAG ready to run.
#[derive(Debug)]
pub struct Plan {
    /// The definition.
    pub pipeline: Pipeline,
    /// Of the definition.
    pub digest: Digest,
    tasks: Vec<PlannedTask>,
    roots: Vec<u32>,
}

/// A node of the plan.
#[derive(Debug)]
pub struct PlannedTask {
    /// Its name.
    pub id: TaskId,
    /// What to do, shared with every lease.
    pub spec: Arc<Task>,
    /// Tasks that wait for it, ascending.
    pub downstream: Vec<u32>,
    /// Tasks it waits for, ascending.
    pub upstream: Vec<u32>,
    /// Those whose outputs its templates name; a document's check sees to it that they are above it. `None`: any above.
    pub reads: Option<BTreeSet<u32>>,
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
}

impl Plan {
    /// Builds the graph; refuses cycles and missing upstreams.
    pub fn compile(pipeline: Pipeline) -> Result<Self, PlanError> {
        let index: BTreeMap<&TaskId, u32> = pipeline.tasks.keys().zip(0..).collect();
        let mut graph = DiGraph::<(), ()>::with_capacity(index.len(), index.len());
        for _ in 0..index.len() {
            graph.add_node(());
        }
        for (to, (id, task)) in pipeline.tasks.iter().enumerate() {
            for upstream in &task.depends_on {
                let from =
                    index.get(upstream).ok_or_else(|| PlanError::MissingUpstream { task: id.clone(), upstream: upstream.clone() })?;
                graph.add_edge(NodeIndex::new(*from as usize), NodeIndex::new(to), ());
            }
        }
        if let Some(cycle) = find_cycle(&graph) {
            let ids: Vec<&TaskId> = pipeline.tasks.keys().collect();
            return Err(PlanError::Cycle(cycle.into_iter().map(|i| ids[i.index()].clone()).collect()));
        }
        let sorted = |node: usize, direction| {
            let mut list: Vec<u32> = graph.neighbors_directed(NodeIndex::new(node), direction).map(|n| n.index() as u32).collect();
            list.sort_unstable();
            list.dedup();
            list
        };
        let tasks: Vec<PlannedTask> = pipeline
            .tasks
            .iter()
            .enumerate()
            .map(|(i, (id, task))| PlannedTask {
                id: id.clone(),
                spec: Arc::new(task.clone()),
                downstream: sorted(i, petgraph::Outgoing),
                upstream: sorted(i, petgraph::Incoming),
                reads: task.outputs_named().map(|named| named.iter().filter_map(|id| index.get(id).copied()).collect()),
            })
            .collect();
        let roots = (0..).zip(&tasks).filter(|(_, t)| t.upstream.is_empty()).map(|(i, _)| i).collect();
        Ok(Self { digest: pipeline.digest(), pipeline, tasks, roots })
    }

    /// Reads a document and plans it: every error of the file at once, cycles among them.
    pub fn load(file: &str, text: &str) -> Result<(Self, Vec<Diagnostic>), Diagnostics> {
        let document = parse(file, text)?;
        let Document { pipeline, warnings, tasks: places, edges } = document;
        Self::compile(pipeline).map(|plan| (plan, warnings)).map_err(|error| {
            let at = match &error {
                PlanError::Cycle(cycle) => match cycle.as_slice() {
                    [upstream, task, ..] => edges.get(&(task.clone(), upstream.clone())),
                    _ => None,
                },
                PlanError::MissingUpstream { task, .. } => places.get(task),
            };
            let diagnostic = Diagnostic {
                at: at.copied().unwrap_or_default(),
                message: error.to_string(),
                hint: "remove one of these dependencies: a task can only wait for tasks that do not wait for it".to_owned(),
                warning: false,
            };
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
            let mut stack = planned.upstream.clone();
            while let Some(task) = stack.pop() {
                if above.insert(task) {
                    stack.extend(&self.task(task).upstream);
                }
            }
            above
        })
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
    use super::*;

    fn pipeline(edges: &[(&str, &[&str])]) -> Pipeline {
        let tasks = edges.iter().map(|(id, upstream)| {
            let depends_on = upstream.iter().map(|u| TaskId::parse(u).unwrap()).collect();
            (TaskId::parse(id).unwrap(), Task { depends_on, ..Task::noop() })
        });
        Pipeline {
            name: "p".parse().unwrap(),
            description: String::new(),
            owner: String::new(),
            tags: Vec::new(),
            params: BTreeMap::new(),
            max_active_runs: None,
            run_timeout: None,
            tasks: tasks.collect(),
        }
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
        assert_eq!(plan.task(0).downstream, [1, 2]);
        assert_eq!(plan.task(2).upstream, [0, 1]);
        assert_eq!(plan.find(&TaskId::parse("z").unwrap()), Some(2));
    }

    #[test]
    fn a_task_reads_what_its_templates_name_near_or_far_and_any_above_where_they_do_not() {
        let mut p = pipeline(&[("far", &[]), ("mid", &["far"]), ("near", &["mid"]), ("z", &["near"]), ("aside", &[])]);
        let mut reads = |template: &str| {
            let action = penstock_common::pipeline::Action::Run(vec![template.to_owned()]);
            p.tasks.get_mut("z").unwrap().action = action;
            let plan = Plan::compile(p.clone()).unwrap();
            let z = plan.find(&TaskId::parse("z").unwrap()).unwrap();
            plan.reads(z).into_iter().map(|i| plan.task(i).id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(reads("plain"), [""; 0]);
        assert_eq!(reads("{{ outputs.far.x }} {{ outputs['near'].y }}"), ["far", "near"]);
        assert_eq!(reads("{{ outputs.far.x }} {{ outputs[params.which].y }}"), ["far", "mid", "near"]);
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_tasks_is_planned_without_deep_recursion() {
        let mut p = pipeline(&[]);
        for i in 0..100_000u32 {
            let depends_on = if i == 0 { vec![] } else { vec![TaskId::parse(&format!("t{:06}", i - 1)).unwrap()] };
            p.tasks.insert(TaskId::parse(&format!("t{i:06}")).unwrap(), Task { depends_on, ..Task::noop() });
        }
        assert_eq!(Plan::compile(p).unwrap().roots(), [0]);
    }
}
