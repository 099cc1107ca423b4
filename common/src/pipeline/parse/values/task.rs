//! Tasks: each under its id, with one action.

use std::collections::BTreeMap;

use super::super::fields::Reader;
use super::super::found::cut;
use super::super::keys::{ACTIONS, RawTask, TASKS};
use super::super::node::{Entry, Kind, Node};
use crate::TaskId;
use crate::pipeline::{Action, Location};

/// Keys that mean nothing where nothing runs on a worker.
const OF_WORKERS: [&str; 8] = ["env", "workdir", "queue", "labels", "pool", "pool_slots", "queue_timeout", "max_lost"];

pub(in super::super) fn tasks(r: &mut Reader, node: &Node<'_>, into: &mut BTreeMap<TaskId, (Location, RawTask)>) {
    let hint = "write each task under its id: `extract: {run: [python3, extract.py]}`";
    let entries = r.entries(node, hint);
    if entries.is_empty() && matches!(node.kind(), Kind::Mapping(_)) {
        r.refuse(node.at, "has no task", hint);
    }
    for entry in entries {
        let id = r.name_of::<TaskId>(entry.at, &entry.key);
        let mut task = RawTask::default();
        if r.named("task", &entry.key, |r| r.mapping(&entry.value, TASKS, &mut task))
            && let Kind::Mapping(entries) = entry.value.kind()
        {
            check_action(r, entry.at, &entry.key, entries, &mut task);
            warn_of_idle_keys(r, entries, task.action.as_ref());
        }
        task.uses = std::mem::take(&mut r.uses);
        if let Some(id) = id {
            into.insert(id, (entry.at, task));
        }
    }
}

/// A task has one action, or does nothing.
fn check_action(r: &mut Reader, at: Location, id: &str, entries: &[Entry<'_>], task: &mut RawTask) {
    let mut actions = entries.iter().filter(|e| ACTIONS.iter().any(|key| key.name == e.key));
    match (actions.next(), actions.next()) {
        (Some(first), Some(second)) => {
            let message = format!("task `{}` has a second action `{}`", cut(id), second.key);
            r.found.error(second.at, message, format!("keep this or `{}`; two steps are two tasks, joined by `depends_on`", first.key));
        }
        (None, _) => {
            task.action = Some(Action::Noop);
            // A key that is not known is told of already, and may be meant to be the action.
            let known = |e: &Entry<'_>| TASKS.iter().copied().flatten().any(|key| key.name == e.key);
            if entries.iter().all(known) {
                let hint = "give it one of run: [program, argument, …], shell: \"script\", http, sql, wait, pipeline, approve and \
                            container; write noop: true where nothing is meant";
                r.found.warning(at, format!("task `{}` has no action: it does nothing", cut(id)), hint);
            }
        }
        _ => {}
    }
}

/// What has no effect on this action may not be meant.
fn warn_of_idle_keys(r: &mut Reader, entries: &[Entry<'_>], action: Option<&Action>) {
    let Some(action) = action else { return };
    for entry in entries {
        let why = match (action, &*entry.key) {
            (Action::Approve(_), "retries") => "a person is asked once",
            (Action::Approve(_) | Action::Pipeline(_), key) if OF_WORKERS.contains(&key) => "nothing of it runs on a worker",
            (Action::Http(_) | Action::Sql(_), "env" | "workdir") | (Action::Wait(_), "env") => "no program is started",
            _ => continue,
        };
        let message = format!("`{}` has no effect with `{}`: {why}", entry.key, action.kind());
        r.found.warning(entry.at, message, "remove it");
    }
}
