//! A run as its events tell it, judged by rescanning: what may start, what must be skipped, how it must end.
//!
//! Written from `pipelines.md` and not from the scheduler: it keeps no counters, and reads the document, not the plan's edges.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_common::pipeline::{Action, Condition, Dependency, ForEach, Task, TriggerRule};
use penstock_common::{Digest, Fence, Items, Reason, RunId, State, TaskId, Timestamp};
use serde_json::Value as Json;

use crate::Plan;

/// A run, as its events tell.
#[derive(Debug, Clone)]
pub(in crate::tests) struct RunShadow {
    pub(in crate::tests) id: RunId,
    pub(in crate::tests) plan: Arc<Plan>,
    pub(super) params: Json,
    pub(super) parent: Option<penstock_common::record::Parent>,
    pub(in crate::tests) state: State,
    pub(in crate::tests) reason: Option<Reason>,
    pub(in crate::tests) cancel: Option<Reason>,
    /// Teardowns are stopped too.
    pub(super) now: bool,
    pub(super) paused: bool,
    pub(super) generation: u32,
    /// Nodes of the plan, then instances as they were made.
    pub(in crate::tests) tasks: Vec<TaskShadow>,
    pub(super) mapped: BTreeMap<u32, Mapped>,
    pub(super) started_at: Option<Timestamp>,
    pub(in crate::tests) archived: Option<Timestamp>,
    /// A backfill started it.
    pub(super) yields: bool,
}

/// Instances of a node: those there ever were, and how many there are now.
#[derive(Debug, Clone, Default)]
pub(super) struct Mapped {
    pub(super) indices: Vec<u32>,
    pub(super) present: usize,
    pub(super) items: Vec<String>,
}

/// A task, as its run's events tell.
#[derive(Debug, Clone, Default)]
pub(in crate::tests) struct TaskShadow {
    pub(in crate::tests) state: State,
    pub(in crate::tests) reason: Option<Reason>,
    pub(in crate::tests) attempts: u32,
    pub(in crate::tests) live: Option<Fence>,
    /// Of an instance: the node and the number.
    pub(super) instance: Option<(u32, u32)>,
    pub(super) failures: u32,
    pub(super) lost: u32,
    pub(super) deaths: u32,
    pub(super) of_generation: u32,
    pub(super) not_before: Option<Timestamp>,
    pub(super) ready_at: Option<Timestamp>,
    pub(super) changed_at: Timestamp,
    pub(super) outputs: BTreeMap<String, String>,
    pub(super) items: Option<Digest>,
    pub(super) child: Option<RunId>,
    pub(super) stopping: Option<Reason>,
    /// Of a sensor's present try.
    pub(super) first_probe: Option<Timestamp>,
}

/// How those below read an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Success,
    Failed,
    Skipped,
}

/// What a task's upstreams say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    Wait,
    Run,
    Skip(Reason),
}

impl RunShadow {
    pub(in crate::tests) fn node(&self, task: u32) -> u32 {
        self.tasks[task as usize].instance.map_or(task, |(node, _)| node)
    }
    pub(in crate::tests) fn spec(&self, task: u32) -> &Task {
        &self.plan.task(self.node(task)).spec
    }
    pub(super) fn node_of(&self, id: &TaskId) -> u32 {
        self.plan.find(id).unwrap()
    }
    /// The present instances of a node.
    pub(super) fn instances(&self, node: u32) -> &[u32] {
        self.mapped.get(&node).map_or(&[], |m| &m.indices[..m.present])
    }
    pub(super) fn is_expanded(&self, node: u32) -> bool {
        !self.instances(node).is_empty()
    }
    /// Whether it is a task of this generation: no instance of an earlier one.
    pub(in crate::tests) fn is_present(&self, task: u32) -> bool {
        self.tasks[task as usize].instance.is_none_or(|(node, _)| self.instances(node).contains(&task))
    }
    /// Tasks that run or are skipped themselves: not mapped ones that have instances.
    pub(in crate::tests) fn own(&self) -> impl Iterator<Item = u32> {
        (0..self.tasks.len() as u32).filter(|&t| self.is_present(t) && !self.is_expanded(t))
    }
    pub(in crate::tests) fn name(&self, task: u32) -> String {
        let id = &self.plan.task(self.node(task)).id;
        let Some((node, number)) = self.tasks[task as usize].instance else { return id.to_string() };
        let names = self.mapped[&node].items.iter().map(|item| TaskId::parse(item.strip_prefix('"')?.strip_suffix('"')?).ok());
        let names: Option<BTreeSet<TaskId>> = names.collect();
        match names.filter(|names| names.len() == self.mapped[&node].items.len() && self.is_present(task)) {
            Some(_) => format!("{id}[{}]", self.mapped[&node].items[number as usize].trim_matches('"')),
            None => format!("{id}[{number}]"),
        }
    }

    pub(super) fn end(&self, task: u32) -> Option<End> {
        let shadow = &self.tasks[task as usize];
        match (shadow.state, shadow.reason) {
            (State::Pending | State::Running | State::Retry, _) => None,
            (State::Success, _) | (State::Skipped, Some(Reason::NotSelected)) => Some(End::Success),
            (State::Skipped, Some(Reason::UpstreamFailed)) | (State::Cancelled, _) => Some(End::Failed),
            (State::Skipped, _) => Some(End::Skipped),
            (State::Failed, _) if self.spec(task).allow_failure => Some(End::Success),
            (State::Failed, _) => match shadow.instance {
                // Whether it is tolerated is known when all have ended.
                Some((node, _)) if self.spec(task).max_failed.is_some() => match self.tasks[node as usize].state {
                    State::Pending | State::Running | State::Retry => None,
                    State::Success => Some(End::Success),
                    _ => Some(End::Failed),
                },
                _ => Some(End::Failed),
            },
        }
    }

    /// What upstreams say, by `pipelines.md` 4.
    pub(super) fn says(&self, task: u32) -> Says {
        let spec = self.spec(task);
        let instance = self.tasks[task as usize].instance;
        let mut ends: Vec<(Option<End>, Option<Condition>)> = Vec::new();
        let mut upstreams = spec.depends_on.clone();
        if let Some(setup) = &spec.setup {
            upstreams.retain(|d| d.task != *setup);
            if instance.is_none() {
                upstreams.push(Dependency { task: setup.clone(), when: Some(Condition::Success), paired: false });
            }
        }
        for dependency in &upstreams {
            let above = self.node_of(&dependency.task);
            let is_setup = spec.setup.as_ref() == Some(&dependency.task);
            let when = dependency.when.filter(|_| !spec.teardown || is_setup);
            match (dependency.paired, instance) {
                (true, Some((_, number))) => {
                    ends.extend(self.instances(above).get(number as usize).map(|&i| (self.end(i), when)));
                }
                (false, Some(_)) => {}
                (true, None) if self.is_expanded(above) => {}
                (false, None) if self.is_expanded(above) => ends.extend(self.instances(above).iter().map(|&i| (self.end(i), when))),
                (_, None) => ends.push((self.end(above), when)),
            }
        }
        let conditions = ends.iter().any(|(_, when)| when.is_some());
        let says = match (spec.teardown, conditions) {
            (true, _) => edges(&ends, None),
            (false, true) => edges(&ends, Some(Condition::Success)),
            (false, false) => rule(spec.trigger_rule, &ends.iter().map(|(end, _)| *end).collect::<Vec<_>>()),
        };
        // A branch that has not chosen yet may pass it over: what others do is no reason then, whoever is faster.
        let chooses = |d: &Dependency| self.spec(self.node_of(&d.task)).branch && self.end(self.node_of(&d.task)).is_none();
        let chosen_among = instance.is_none() && upstreams.iter().any(chooses);
        let given_by = spec.for_each.as_ref().filter(|f| !matches!(f, ForEach::SameAs { .. })).and_then(|f| f.source());
        let unknown = instance.is_none() && given_by.is_some_and(|id| !self.tasks[self.node_of(id) as usize].state.is_terminal());
        match says {
            Says::Skip(Reason::UpstreamFailed) if chosen_among => Says::Wait,
            Says::Run if unknown => Says::Wait,
            says => says,
        }
    }

    /// Whether its `if` lets it run: of a mapped task before it is expanded, of an instance if it is about the item.
    pub(super) fn condition(&self, task: u32) -> Option<Result<bool, ()>> {
        let spec = self.spec(task);
        let text = spec.condition.as_deref()?;
        let instance = self.tasks[task as usize].instance;
        if instance.is_some() != (spec.for_each.is_some() && text.contains("item")) {
            return None;
        }
        let words: Vec<&str> = text.split(' ').collect();
        Some(match words[..] {
            ["params.go"] => Ok(self.params["go"].as_bool().unwrap()),
            ["item", "%", "2", "==", "0"] => {
                let (node, number) = instance.unwrap();
                Ok(self.mapped[&node].items[number as usize].parse::<i64>().unwrap() % 2 == 0)
            }
            [output, ">", least] => {
                let (task, key) = output.strip_prefix("outputs.").unwrap().split_once('.').unwrap();
                let value = self.tasks[self.node_of(&task.parse().unwrap()) as usize].outputs.get(key);
                value.map(|value| value.parse::<i64>().unwrap() > least.parse().unwrap()).ok_or(())
            }
            _ => return None,
        })
    }

    /// A scenario's own `if`, of which the checker knows only that there is one.
    pub(super) fn condition_is_unknown(&self, task: u32) -> bool {
        let text = self.spec(task).condition.clone().unwrap_or_default();
        let words: Vec<&str> = text.split(' ').collect();
        let known = match words[..] {
            ["params.go" | ""] | ["item", "%", "2", "==", "0"] => true,
            [output, ">", _] => output.starts_with("outputs."),
            _ => false,
        };
        !known
    }

    /// The items that a mapped task has, as the account says.
    pub(super) fn items(&self, node: u32, known: &BTreeMap<Digest, Arc<Items>>) -> Result<Vec<String>, ()> {
        let lines = |items: &Items| (0..items.len() as u32).map(|n| items.get(n).unwrap().to_string()).collect();
        Ok(match self.spec(node).for_each.as_ref().unwrap() {
            ForEach::Items(values) => values.iter().map(Json::to_string).collect(),
            ForEach::Range { from, to, step } => {
                let mut list = Vec::new();
                let mut next = *from;
                while (*step > 0 && next < *to) || (*step < 0 && next > *to) {
                    list.push(next.to_string());
                    next += step;
                }
                list
            }
            ForEach::SameAs { task } => {
                let source = self.node_of(task);
                match self.tasks[source as usize].reason {
                    _ if self.is_expanded(source) => self.mapped[&source].items.clone(),
                    Some(Reason::NotSelected) => self.items(source, known)?,
                    _ => Vec::new(),
                }
            }
            ForEach::ItemsOf { task } => lines(&known[&self.tasks[self.node_of(task) as usize].items.ok_or(())?]),
            ForEach::Output { task, key } => {
                let source = self.node_of(task);
                if self.is_expanded(source) {
                    let of = |i: &u32| self.tasks[*i as usize].outputs.get(key).cloned();
                    let values: Vec<_> = self.instances(source).iter().map(of).collect();
                    if values.iter().all(Option::is_none) {
                        return Err(());
                    }
                    values.into_iter().map(|v| v.unwrap_or_else(|| "null".to_owned())).collect()
                } else {
                    let text = self.tasks[source as usize].outputs.get(key).ok_or(())?;
                    let list: Vec<Json> = serde_json::from_str(text).map_err(|_| ())?;
                    list.iter().map(Json::to_string).collect()
                }
            }
        })
    }

    /// The direct downstreams of a branch that it did not pick, those below a picked one apart.
    pub(super) fn unpicked(&self, branch: u32) -> BTreeSet<u32> {
        let Some(text) = self.tasks[branch as usize].outputs.get("branch") else { return BTreeSet::new() };
        let picked: Vec<TaskId> = match serde_json::from_str(text).unwrap() {
            Json::String(one) => vec![one.parse().unwrap()],
            Json::Array(list) => list.iter().map(|name| name.as_str().unwrap().parse().unwrap()).collect(),
            _ => Vec::new(),
        };
        let kept = self.below(picked.iter().map(|id| self.node_of(id)).collect());
        self.directly_below(branch).into_iter().filter(|t| !kept.contains(t) && !self.spec(*t).teardown).collect()
    }

    pub(in crate::tests) fn directly_below(&self, node: u32) -> BTreeSet<u32> {
        let id = &self.plan.task(node).id;
        let names = |t: &Task| t.depends_on.iter().any(|d| d.task == *id) || t.setup.as_ref() == Some(id);
        (0..).zip(self.plan.tasks()).filter(|(_, t)| names(&t.spec)).map(|(i, _)| i).collect()
    }
    /// These nodes and all below them.
    pub(super) fn below(&self, mut nodes: BTreeSet<u32>) -> BTreeSet<u32> {
        loop {
            let more: BTreeSet<u32> = nodes.iter().flat_map(|&node| self.directly_below(node)).collect();
            let before = nodes.len();
            nodes.extend(more);
            if nodes.len() == before {
                return nodes;
            }
        }
    }
    /// These nodes and all above them.
    pub(super) fn above(&self, mut nodes: BTreeSet<u32>) -> BTreeSet<u32> {
        loop {
            let of = |&node: &u32| {
                let spec = self.spec(node);
                spec.depends_on.iter().map(|d| &d.task).chain(&spec.setup).map(|id| self.node_of(id)).collect::<Vec<_>>()
            };
            let more: BTreeSet<u32> = nodes.iter().flat_map(of).collect();
            let before = nodes.len();
            nodes.extend(more);
            if nodes.len() == before {
                return nodes;
            }
        }
    }

    /// Whether people and the run's state let a task start, the pipeline's pause apart.
    pub(super) fn may_start(&self, task: u32) -> bool {
        let goes_on = if self.cancel.is_some() { self.spec(task).teardown } else { !self.paused };
        self.state == State::Running && goes_on
    }

    /// Whether a task waits for nothing but its turn.
    pub(super) fn ready(&self, task: u32, at: Timestamp) -> bool {
        let shadow = &self.tasks[task as usize];
        let due = shadow.not_before.is_none_or(|t| t <= at);
        self.may_start(task)
            && self.is_present(task)
            && match (shadow.state, shadow.reason) {
                (State::Pending, _) => self.says(task) == Says::Run,
                (State::Retry, _) => due,
                (State::Running, Some(Reason::Waiting)) => matches!(self.spec(task).action, Action::Wait(_)) && due,
                _ => false,
            }
    }

    /// When a sensor that holds no lease has waited too long.
    pub(super) fn waits_until(&self, task: u32) -> Option<Timestamp> {
        let shadow = &self.tasks[task as usize];
        let Action::Wait(wait) = &self.spec(task).action else { return None };
        let waits = shadow.state == State::Retry || shadow.reason == Some(Reason::Waiting);
        Some(shadow.first_probe.filter(|_| waits)?.after(wait.timeout?))
    }

    /// Mapped tasks whose last instance has ended end too.
    pub(super) fn end_mapped(&mut self, at: Timestamp) {
        let nodes: Vec<u32> = self.mapped.keys().copied().collect();
        for node in nodes {
            let instances: Vec<&TaskShadow> = self.instances(node).iter().map(|&i| &self.tasks[i as usize]).collect();
            if instances.is_empty() || self.tasks[node as usize].state != State::Running || !instances.iter().all(|t| t.state.is_terminal())
            {
                continue;
            }
            let count = |state| instances.iter().filter(|t| t.state == state).count() as u32;
            let (all, failed, spec) = (instances.len() as u32, count(State::Failed), self.spec(node));
            let tolerated = failed == 0 || spec.allow_failure || spec.max_failed.is_some_and(|most| most.tolerates(failed, all));
            let (state, reason) = if count(State::Cancelled) > 0 {
                let of_one = instances.iter().find(|t| t.state == State::Cancelled).and_then(|t| t.reason);
                (State::Cancelled, self.cancel.or(of_one))
            } else if !tolerated {
                (State::Failed, Some(Reason::TaskFailed))
            } else if count(State::Skipped) < all {
                (State::Success, None)
            } else if instances.iter().any(|t| t.reason == Some(Reason::UpstreamFailed)) {
                (State::Skipped, Some(Reason::UpstreamFailed))
            } else {
                (State::Skipped, instances.iter().filter_map(|t| t.reason).min())
            };
            let shadow = &mut self.tasks[node as usize];
            (shadow.state, shadow.reason, shadow.changed_at) = (state, reason, at);
        }
    }

    pub(super) fn all_terminal(&self) -> bool {
        self.own().all(|t| self.tasks[t as usize].state.is_terminal())
    }

    /// How the run must end, by `pipelines.md` 3.
    pub(super) fn verdict(&self) -> (State, Option<Reason>) {
        match self.cancel {
            Some(Reason::RunTimeout) => (State::Failed, Some(Reason::RunTimeout)),
            Some(reason) => (State::Cancelled, Some(reason)),
            None if self.own().all(|t| self.is_fine(t)) => (State::Success, None),
            None => (State::Failed, Some(Reason::TaskFailed)),
        }
    }

    /// An end that does not make the run FAILED.
    fn is_fine(&self, task: u32) -> bool {
        let shadow = &self.tasks[task as usize];
        match (shadow.state, shadow.reason) {
            (State::Cancelled, _) => false,
            (State::Skipped, Some(Reason::UpstreamFailed)) => self.spec(task).teardown || !self.is_blamed(task),
            (State::Failed, _) => self.is_handled(task),
            _ => true,
        }
    }

    /// Whether a task was skipped for a failure that is not a teardown's.
    fn is_blamed(&self, skipped: u32) -> bool {
        let fails = |t: &u32| self.end(*t) == Some(End::Failed);
        let own_failure = |t: u32| self.tasks[t as usize].reason != Some(Reason::UpstreamFailed);
        if !self.own().filter(fails).any(|t| own_failure(t) && self.spec(t).teardown) {
            return true;
        }
        let spec = self.spec(skipped);
        let number = self.tasks[skipped as usize].instance.map(|(_, number)| number as usize);
        let mut above: Vec<u32> = Vec::new();
        for dependency in &spec.depends_on {
            let node = self.node_of(&dependency.task);
            match (number, self.is_expanded(node)) {
                (Some(number), true) if dependency.paired => above.extend(self.instances(node).get(number)),
                (Some(_), _) => {}
                (None, true) => above.extend(self.instances(node)),
                (None, false) => above.push(node),
            }
        }
        above.extend(spec.setup.as_ref().filter(|_| number.is_none()).map(|setup| self.node_of(setup)));
        let blames = |t: u32| if own_failure(t) { !self.spec(t).teardown } else { self.is_blamed(t) };
        let failed: Vec<u32> = above.into_iter().filter(fails).collect();
        failed.is_empty() || failed.into_iter().any(blames)
    }

    fn is_handled(&self, task: u32) -> bool {
        let spec = self.spec(task);
        if spec.allow_failure || spec.teardown || self.end(task) == Some(End::Success) {
            return true;
        }
        let node = self.node(task);
        let id = &self.plan.task(node).id;
        let (mut caught, mut broken) = (false, false);
        for below in self.directly_below(node) {
            let spec = &self.plan.task(below).spec;
            let dependency = spec.depends_on.iter().find(|d| d.task == *id);
            let paired = dependency.is_some_and(|d| d.paired);
            let one = match self.tasks[task as usize].instance.filter(|_| paired) {
                Some((_, number)) => self.instances(below).get(number as usize).copied().unwrap_or(below),
                None => below,
            };
            let one = &self.tasks[one as usize];
            let asked = !spec.teardown
                && (dependency.is_some_and(|d| d.when == Some(Condition::Failed))
                    || (dependency.is_some_and(|d| d.when.is_none())
                        && matches!(spec.trigger_rule, TriggerRule::AllFailed | TriggerRule::OneFailed)));
            caught |= asked && one.state == State::Success;
            broken |= one.reason == Some(Reason::UpstreamFailed) && !spec.teardown;
        }
        caught && !broken
    }
}

/// Conditions on edges; an edge without one takes `other`, or any end.
fn edges(ends: &[(Option<End>, Option<Condition>)], other: Option<Condition>) -> Says {
    let accepts = |end: End, when: Option<Condition>| match when.or(other) {
        None => true,
        Some(Condition::Success) => end == End::Success,
        Some(Condition::Failed) => end == End::Failed,
        Some(Condition::Completed) => end != End::Skipped,
        Some(Condition::Skipped) => end == End::Skipped,
    };
    let impossible = |(end, when): &(Option<End>, Option<Condition>)| {
        *end == Some(End::Failed) && when.or(other).is_some_and(|when| when == Condition::Success)
    };
    if ends.iter().any(impossible) {
        return Says::Skip(Reason::UpstreamFailed);
    }
    if ends.iter().any(|(end, _)| end.is_none()) {
        return Says::Wait;
    }
    let unmet: Vec<End> = ends.iter().filter_map(|(end, when)| end.filter(|end| !accepts(*end, *when))).collect();
    match unmet.iter().find(|end| **end != End::Skipped) {
        Some(_) => Says::Skip(Reason::Rule),
        None if !unmet.is_empty() => Says::Skip(Reason::UpstreamSkipped),
        None => Says::Run,
    }
}

/// The twelve trigger rules, one after another as their documentation says them.
fn rule(rule: TriggerRule, ends: &[Option<End>]) -> Says {
    let count = |end: End| ends.iter().filter(|e| **e == Some(end)).count();
    let (success, failed, skipped) = (count(End::Success), count(End::Failed), count(End::Skipped));
    let open = ends.len() - success - failed - skipped;
    let skip = Says::Skip;
    let none_ran = if failed > 0 { Reason::UpstreamFailed } else { Reason::UpstreamSkipped };
    if ends.is_empty() || rule == TriggerRule::Always {
        return Says::Run;
    }
    match rule {
        TriggerRule::OneSuccess if success > 0 => return Says::Run,
        TriggerRule::OneFailed if failed > 0 => return Says::Run,
        TriggerRule::OneDone if success + failed > 0 => return Says::Run,
        TriggerRule::AllSuccess | TriggerRule::NoneFailed | TriggerRule::NoneFailedMinOneSuccess if failed > 0 => {
            return skip(Reason::UpstreamFailed);
        }
        _ if open > 0 => return Says::Wait,
        _ => {}
    }
    match rule {
        TriggerRule::AllSuccess if skipped > 0 => skip(Reason::UpstreamSkipped),
        TriggerRule::AllFailed if success > 0 => skip(Reason::Rule),
        TriggerRule::AllFailed if skipped > 0 => skip(Reason::UpstreamSkipped),
        TriggerRule::AllSkipped if success + failed > 0 => skip(Reason::Rule),
        TriggerRule::NoneSkipped if skipped > 0 => skip(Reason::UpstreamSkipped),
        TriggerRule::AllDoneMinOneSuccess if success == 0 => skip(none_ran),
        TriggerRule::NoneFailedMinOneSuccess if success == 0 => skip(Reason::UpstreamSkipped),
        TriggerRule::OneSuccess => skip(none_ran),
        TriggerRule::OneFailed => skip(if success > 0 { Reason::Rule } else { Reason::UpstreamSkipped }),
        TriggerRule::OneDone => skip(Reason::UpstreamSkipped),
        _ => Says::Run,
    }
}
