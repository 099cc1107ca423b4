//! Instances of a run's mapped tasks: what their items are, how they are made and taken away, what they put out, and the counters that
//! follow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_common::limits::TASKS_PER_CHUNK;
use penstock_common::pipeline::ForEach;
use penstock_common::state::Outcome;
use penstock_common::{Digest, Items, Reason, State, Timestamp};

use super::{Chunk, Run};
use crate::machine::Broken;
use crate::machine::mapping::{Expansion, ItemSource};
use crate::machine::rule::{Accepts, Upstream};
use crate::machine::task::Task;
use crate::plan::Edge;

impl Run {
    /// What a mapped task is mapped over, as state says now; an error is for the person who must act.
    pub(crate) fn items_of(&self, node: u32, known: &BTreeMap<Digest, Arc<Items>>) -> Result<ItemSource, String> {
        let planned = self.plan.task(node);
        if let Some(items) = &planned.items {
            return Ok(items.clone());
        }
        let Some(source) = planned.source else { return Err("it is mapped over nothing".to_owned()) };
        let id = &self.plan.task(source).id;
        let ended = || format!("{id} ended as {}", self.task(source).state);
        match planned.spec.for_each.as_ref() {
            // A task that was not asked for counts as done, and its items are what they would be; else without instances there is no item.
            Some(ForEach::SameAs { .. }) => match self.mapping.live(source) {
                Some(expansion) => expansion.items.clone().ok_or_else(|| format!("the items of {id} are not known yet")),
                None if self.task(source).reason == Some(Reason::NotSelected) => self.items_of(source, known),
                None => Items::new(Vec::new()).map(|items| ItemSource::List(Arc::new(items))).map_err(|e| e.to_string()),
            },
            Some(ForEach::ItemsOf { .. }) => {
                let digest = self.task(source).rare.as_ref().and_then(|rare| rare.items);
                let digest = digest
                    .ok_or_else(|| format!("it is mapped over the items of {id}, which wrote none to $PENSTOCK_ITEMS ({})", ended()))?;
                known.get(&digest).cloned().map(ItemSource::List).ok_or_else(|| format!("the items of {id} were never loaded"))
            }
            Some(ForEach::Output { key, .. }) => {
                let text = self
                    .output(source, key)
                    .ok_or_else(|| format!("it is mapped over outputs.{id}.{key}, and there is no such output ({})", ended()))?;
                match serde_json::from_str(&text) {
                    Ok(serde_json::Value::Array(values)) => {
                        Items::of(&values).map(|items| ItemSource::List(Arc::new(items))).map_err(|e| e.to_string())
                    }
                    _ => Err(format!("it is mapped over outputs.{id}.{key}, which is no list: {text:.80}")),
                }
            }
            Some(ForEach::Items(_) | ForEach::Range { .. }) | None => Err("it is mapped over nothing".to_owned()),
        }
    }

    /// One output of a task, a JSON text; of a mapped one a list in the order of its items, null where an instance has none.
    pub(crate) fn output(&self, node: u32, key: &str) -> Option<String> {
        let of = |index: u32| self.task(index).outputs.as_ref().and_then(|o| o.0.get(key));
        let Some(expansion) = self.mapping.live(node) else { return of(node).cloned() };
        let mut values = expansion.indices().map(of).peekable();
        let mut list = String::from("[");
        let mut any = false;
        while let Some(value) = values.next() {
            any |= value.is_some();
            list.push_str(value.map_or("null", String::as_str));
            if values.peek().is_some() {
                list.push(',');
            }
        }
        list.push(']');
        any.then_some(list)
    }

    /// Every output of a task, as those below see it.
    pub(crate) fn outputs(&self, node: u32) -> penstock_common::metrics::Outputs {
        let Some(expansion) = self.mapping.live(node) else {
            return self.task(node).outputs.as_deref().cloned().unwrap_or_default();
        };
        let of = |index: u32| self.task(index).outputs.iter().flat_map(|o| o.0.keys());
        let keys: BTreeSet<&String> = expansion.indices().flat_map(of).collect();
        penstock_common::metrics::Outputs(keys.into_iter().filter_map(|key| Some((key.clone(), self.output(node, key)?))).collect())
    }

    /// Makes the instances of a mapped task, and tells those below that each is an upstream of its own.
    pub(crate) fn expand(&mut self, node: u32, items: ItemSource, count: u32, at: Timestamp, cut: u64) -> Result<(), Broken> {
        let plan = self.plan.clone();
        if self.is_expanded(node) || plan.task(node).spec.for_each.is_none() || count == 0 || items.len() != count as usize {
            return Err(Broken::new(format_args!("task {node} cannot have {count} instances")));
        }
        self.go(node, State::Running, None, at, cut)?;
        self.count_in(node, State::Running, -1);
        let more = Arc::make_mut(&mut self.mapping).expand(node, items, count, self.slots);
        self.grow(more, cut);
        let instances: Vec<u32> = self.mapping.live(node).into_iter().flat_map(Expansion::indices).collect();
        for &index in &instances {
            let task = self.task_mut(index, cut);
            if task.state != State::Pending {
                task.go(State::Pending, None, at)?;
                task.renewed();
            }
            self.count_in(index, State::Pending, 1);
            self.recount(index, cut);
        }
        self.record.tasks = self.record.counts.iter().sum();
        for edge in &plan.task(node).downstream {
            let upstream = &mut self.task_mut(edge.task, cut).upstream;
            if edge.paired {
                // Its gate: there is somebody to be paired with.
                upstream.settle(Outcome::Success, Accepts::ANY);
                let paired: Vec<u32> = self.mapping.live(edge.task).into_iter().flat_map(Expansion::indices).collect();
                paired.into_iter().for_each(|index| self.recount(index, cut));
            } else {
                upstream.open += count - 1;
            }
        }
        Ok(())
    }

    /// Room for so many more tasks.
    pub(super) fn grow(&mut self, more: u32, cut: u64) {
        for _ in 0..more {
            if self.slots as usize / TASKS_PER_CHUNK == self.chunks.len() {
                self.chunks.push(Arc::new(Chunk { tasks: Vec::new(), changed: cut }));
            }
            if let Some(last) = self.chunks.last_mut() {
                let chunk = Arc::make_mut(last);
                chunk.changed = cut;
                chunk.tasks.push(Task::new(Upstream::default()));
            }
            self.slots += 1;
        }
    }

    /// Takes the instances of a mapped task away: it waits to be expanded again. They keep their attempts.
    pub(crate) fn collapse(&mut self, node: u32, cut: u64) {
        let Some(expansion) = self.mapping.live(node) else { return };
        for index in expansion.indices() {
            let state = self.task(index).state;
            self.count_in(index, state, -1);
            let bytes = self.task(index).outputs.as_ref().map_or(0, |o| o.bytes());
            self.output_bytes -= bytes;
            let task = self.task_mut(index, cut);
            task.renewed();
            task.upstream = Upstream::default();
        }
        if let Some(expansion) = Arc::make_mut(&mut self.mapping).get_mut(node) {
            (expansion.items, expansion.count, expansion.counts) = (None, 0, [0; 7]);
        }
        let state = self.task(node).state;
        self.count_in(node, state, 1);
        // Its segments are in this chunk's records.
        self.task_mut(node, cut);
        self.record.tasks = self.record.counts.iter().sum();
    }

    /// Computes a task's counters from its upstreams' states.
    pub(crate) fn recount(&mut self, index: u32, cut: u64) {
        let plan = self.plan.clone();
        let mut counters = Upstream::default();
        match self.instance(index) {
            Some(_) if self.is_gone(index) => {}
            Some((node, number)) => {
                for edge in plan.task(node).upstream.iter().filter(|edge| edge.paired) {
                    if let Some(above) = self.mapping.live(edge.task).and_then(|e| e.index_of(number)) {
                        counters.read(self.outcome(above), edge.accepts);
                    }
                }
            }
            None => {
                for edge in &plan.task(index).upstream {
                    match self.mapping.live(edge.task) {
                        Some(_) if edge.paired => counters.read(Some(Outcome::Success), Accepts::ANY),
                        Some(expansion) => expansion.indices().for_each(|above| counters.read(self.outcome(above), edge.accepts)),
                        None => counters.read(self.outcome(edge.task), edge.accepts),
                    }
                }
            }
        }
        self.task_mut(index, cut).upstream = counters;
    }

    /// The tasks that a task waits for.
    pub(super) fn above(&self, index: u32) -> Vec<u32> {
        let instance = self.instance(index);
        let of_edge = |edge: &Edge| match (self.mapping.live(edge.task), instance) {
            (Some(expansion), Some((_, number))) if edge.paired => expansion.index_of(number).into_iter().collect(),
            (_, Some(_)) => Vec::new(),
            (Some(expansion), None) => expansion.indices().collect(),
            (None, None) => vec![edge.task],
        };
        self.planned(index).upstream.iter().flat_map(of_edge).collect()
    }

    /// After some tasks began a new life: counts again what they and those below them are told.
    pub(crate) fn recount_around(&mut self, indices: &BTreeSet<u32>, cut: u64) {
        let plan = self.plan.clone();
        let mut nodes: BTreeSet<u32> = indices.iter().map(|&index| self.node(index)).collect();
        nodes.extend(nodes.clone().iter().flat_map(|&node| plan.task(node).downstream.iter().map(|e| e.task)));
        for node in nodes {
            self.recount(node, cut);
            if plan.task(node).upstream.iter().any(|edge| edge.paired) {
                let instances: Vec<u32> = self.mapping.live(node).into_iter().flat_map(Expansion::indices).collect();
                instances.into_iter().for_each(|index| self.recount(index, cut));
            }
        }
    }
}
