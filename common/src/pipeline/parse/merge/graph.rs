//! Who waits for whom: the edges as they are written, with groups written out. Tasks are numbered in the order of their ids.
//! Cycles are found in [`super::cycles`].

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::super::fields::{Located, Reader};
use super::super::keys::{RawEdge, RawFlow, RawTask};
use crate::TaskId;
use crate::pipeline::{Dependency, ForEach, Location};

/// The tasks of a document.
pub(super) type Tasks = BTreeMap<TaskId, (Location, RawTask)>;

pub(super) struct Graph<'t> {
    ids: Vec<&'t TaskId>,
    upstreams: Vec<Upstreams>,
    has_downstream: Vec<bool>,
}

/// The upstreams of one task.
pub(super) struct Upstreams {
    /// Sorted by task.
    pub(super) edges: Vec<Edge>,
    /// There are more, which could not be read.
    pub(super) unclear: bool,
}

pub(super) struct Edge {
    pub(super) task: usize,
    pub(super) at: Location,
    dependency: Dependency,
}

impl Edge {
    pub(super) fn has_condition(&self) -> bool {
        self.dependency.when.is_some()
    }
    pub(super) fn is_paired(&self) -> bool {
        self.dependency.paired
    }
}

/// Upstreams of all tasks, groups written out: at least so many as there will be edges.
pub(super) fn count(tasks: &Tasks) -> usize {
    let groups = groups(tasks);
    let of = |name: &TaskId| groups.get(name).map_or(1, |group| group.members.len());
    tasks.values().map(|(_, task)| task.flow.depends_on.keys().map(of).sum::<usize>() + usize::from(task.flow.setup.is_some())).sum()
}

struct Group {
    /// Where it is named first.
    at: Location,
    members: Vec<usize>,
}

fn groups(tasks: &Tasks) -> BTreeMap<&TaskId, Group> {
    let mut groups: BTreeMap<_, Group> = BTreeMap::new();
    for (number, (_, task)) in tasks.values().enumerate() {
        if let Some(Located { at, value }) = &task.flow.group {
            let group = groups.entry(value).or_insert_with(|| Group { at: *at, members: Vec::new() });
            group.at = group.at.min(*at);
            group.members.push(number);
        }
    }
    groups
}

impl<'t> Graph<'t> {
    /// Notes edges that lead nowhere, and groups that are called as a task is.
    pub(super) fn of(r: &mut Reader, tasks: &'t Tasks) -> Self {
        let groups = groups(tasks);
        for (name, group) in groups.iter().filter(|(name, _)| tasks.contains_key(**name)) {
            let hint = "give the group another name: both can stand in `depends_on`";
            r.found.error(group.at, format!("the group `{name}` is called as a task is"), hint);
        }
        let ids: Vec<&TaskId> = tasks.keys().collect();
        let mut writer = Writer { r, groups, ids };
        let upstreams: Vec<_> = tasks.values().enumerate().map(|(number, (_, task))| writer.upstreams(number, &task.flow)).collect();
        let ids = writer.ids;
        let mut has_downstream = vec![false; ids.len()];
        for edge in upstreams.iter().flat_map(|upstreams| &upstreams.edges) {
            has_downstream[edge.task] = true;
        }
        Self { ids, upstreams, has_downstream }
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
    pub(super) fn id(&self, task: usize) -> &'t TaskId {
        self.ids[task]
    }
    pub(super) fn ids(&self) -> impl Iterator<Item = &'t str> {
        self.ids.iter().map(|id| id.as_str())
    }
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.ids.binary_search_by(|id| id.as_str().cmp(name)).ok()
    }
    pub(super) fn upstreams(&self, task: usize) -> &Upstreams {
        &self.upstreams[task]
    }
    pub(super) fn has_downstream(&self, task: usize) -> bool {
        self.has_downstream[task]
    }
    /// Whether an upstream of some task could not be read.
    pub(super) fn is_unclear(&self) -> bool {
        self.upstreams.iter().any(|upstreams| upstreams.unclear)
    }
    pub(super) fn is_paired(&self, task: usize) -> bool {
        self.upstreams[task].edges.iter().any(Edge::is_paired)
    }

    /// What the model has of a task's upstreams.
    pub(super) fn dependencies(&self, task: usize) -> Vec<Dependency> {
        self.upstreams[task].edges.iter().map(|edge| edge.dependency.clone()).collect()
    }
    /// The items that a task takes over from the first task it is paired with.
    pub(super) fn same_as(&self, task: usize) -> Option<ForEach> {
        let first = self.upstreams[task].edges.iter().find(|edge| edge.is_paired())?;
        Some(ForEach::SameAs { task: first.dependency.task.clone() })
    }
    /// Where each edge is written.
    pub(super) fn places(&self) -> impl Iterator<Item = ((TaskId, TaskId), Location)> {
        self.ids
            .iter()
            .zip(&self.upstreams)
            .flat_map(|(id, upstreams)| upstreams.edges.iter().map(|edge| (((*id).clone(), edge.dependency.task.clone()), edge.at)))
    }
}

/// Writes groups out.
struct Writer<'r, 't> {
    r: &'r mut Reader,
    groups: BTreeMap<&'t TaskId, Group>,
    ids: Vec<&'t TaskId>,
}

impl Writer<'_, '_> {
    fn upstreams(&mut self, task: usize, flow: &RawFlow) -> Upstreams {
        let mut edges = BTreeMap::new();
        let mut unclear = flow.depends_on_unclear;
        let mut groups = Vec::new();
        for (name, raw) in &flow.depends_on {
            match self.ids.binary_search(&name) {
                Ok(upstream) if upstream == task => {
                    let message = format!("task `{name}` depends on itself");
                    self.r.found.error(raw.at, message, "remove it from its `depends_on`");
                }
                Ok(upstream) => {
                    edges.insert(upstream, *raw);
                }
                Err(_) => groups.push((name, raw)),
            }
        }
        // What is named itself is there when the groups come, so that the two can be compared.
        for (name, raw) in groups {
            unclear |= !self.write_out(task, flow, name, raw, &mut edges);
        }
        if let Some(Located { at, value }) = &flow.setup
            && let Ok(setup) = self.ids.binary_search(&value)
            && setup != task
        {
            edges.entry(setup).or_insert(RawEdge { at: *at, when: None, paired: false });
        }
        let edges = edges.into_iter().map(|(upstream, RawEdge { at, when, paired })| {
            let dependency = Dependency { task: self.ids[upstream].clone(), when, paired };
            Edge { task: upstream, at, dependency }
        });
        Upstreams { edges: edges.collect(), unclear }
    }

    /// A group stands for all its tasks. False if it could not be written out.
    fn write_out(&mut self, task: usize, flow: &RawFlow, name: &TaskId, raw: &RawEdge, edges: &mut BTreeMap<usize, RawEdge>) -> bool {
        let id = self.ids[task];
        let Some(group) = self.groups.get(name) else {
            let known = self.ids.iter().filter(|other| **other != id).chain(self.groups.keys()).map(|known| known.as_str());
            let hint = self.r.found.did_you_mean(name.as_str(), known, || "add the task, or remove it from `depends_on`".to_owned());
            self.r.found.error(raw.at, format!("task `{id}` depends on `{name}`, which is no task and no group"), hint);
            return false;
        };
        if flow.group.as_ref().is_some_and(|own| own.value == *name) {
            let hint = "name the tasks of the group that it waits for";
            self.r.found.error(raw.at, format!("task `{id}` depends on its own group `{name}`"), hint);
            return false;
        }
        if raw.paired {
            let hint = format!("write {name} for all its tasks, or name the mapped ones: \"TASK[*]\"");
            self.r.found.error(raw.at, format!("`{name}` is a group, and a group has no instances to pair with"), hint);
            return false;
        }
        for member in &group.members {
            match edges.entry(*member) {
                Entry::Vacant(entry) => {
                    entry.insert(*raw);
                }
                Entry::Occupied(own) if own.get().when == raw.when && !own.get().paired => {}
                Entry::Occupied(own) => {
                    let member = self.ids[*member];
                    let message = format!("`{member}` is in the group `{name}`, of which something else is asked");
                    self.r.found.error(own.get().at, message, format!("remove it, or name the tasks of `{name}` one by one"));
                }
            }
        }
        true
    }
}
