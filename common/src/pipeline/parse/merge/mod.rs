//! What is written to what holds: groups written out, defaults merged key by key, and what only the whole document can show.

mod cycles;
mod flow;
mod graph;
mod task;
mod timing;
mod uses;

use std::collections::BTreeMap;

use self::graph::Graph;
use self::uses::Names;
use super::Document;
use super::fields::{Located, Reader};
use super::found::{cut, listed};
use super::keys::{RawSetting, RawTask, Top};
use crate::limits;
use crate::pipeline::{Action, Pipeline};

/// Bytes of `env`, `labels` and `workdir` that all tasks together may take from defaults: a task holds its own copy.
const MAX_DEFAULTS_BYTES: usize = 4 * limits::MAX_DOCUMENT_BYTES;

/// Checks the document as a whole. `None` only where an error is noted.
pub(super) fn document(r: &mut Reader, mut top: Top) -> Option<Document> {
    check_params(r, &top);
    let timing = timing::timing(r, &top);
    // The document's own `env` and `workdir` are defaults that `defaults` may replace.
    let mut defaults = std::mem::take(&mut top.defaults);
    for (name, value) in std::mem::take(&mut top.env) {
        defaults.env.entry(name).or_insert(value);
    }
    defaults.workdir = defaults.workdir.or(top.workdir.take());
    if !is_within_limits(r, &top, &defaults) {
        return None;
    }
    let graph = Graph::of(r, &top.tasks);
    cycles::check(r, &graph);
    let mapped = flow::check(r, &top.tasks, &graph);
    warn_of_itself(r, &top);
    check_pool_slots(r, &top, &defaults);
    let mut names = Names::new(&top.tasks, &graph, &mapped);
    let mut tasks = BTreeMap::new();
    for (number, (id, (_, raw))) in top.tasks.iter().enumerate() {
        tasks.insert(id.clone(), task::task(r, &mut names, number, raw, &defaults));
    }
    let timing = timing?;
    Some(Document {
        edges: graph.places().collect(),
        tasks: top.tasks.iter().map(|(id, (at, _))| (id.clone(), *at)).collect(),
        warnings: Vec::new(),
        pipeline: Pipeline {
            name: top.name?,
            description: top.description,
            owner: top.owner,
            tags: top.tags,
            params: top.params.declared.into_iter().map(|(name, param)| Some((name, param?))).collect::<Option<_>>()?,
            max_active_runs: top.max_active_runs,
            max_active_tasks: top.max_active_tasks,
            run_timeout: top.run_timeout,
            timezone: top.timezone,
            schedule: timing.schedule,
            triggers: timing.triggers,
            depends_on_past: timing.depends_on_past,
            tasks: tasks.into_iter().map(|(id, task)| Some((id, task?))).collect::<Option<_>>()?,
        },
    })
}

fn is_within_limits(r: &mut Reader, top: &Top, defaults: &RawTask) -> bool {
    let count = top.tasks.len();
    let env = defaults.env.iter().map(|(name, value)| {
        name.len()
            + match value {
                RawSetting::Template(template) => template.text.len(),
                RawSetting::Secret(name) => name.len(),
            }
    });
    let labels = defaults.labels.iter().map(|(name, value)| name.len() + value.len());
    let workdir = defaults.workdir.iter().map(|t| t.text.len());
    let bytes: usize = env.chain(labels).chain(workdir).map(|bytes| bytes + 16).sum();
    let ids = fits(r, top, "ids", count, limits::MAX_TASKS_PER_PIPELINE);
    let defaults = fits(r, top, "bytes of env and labels from defaults", bytes.saturating_mul(count), MAX_DEFAULTS_BYTES);
    let edges = fits(r, top, "upstreams", graph::count(&top.tasks), limits::MAX_EDGES_PER_PIPELINE);
    ids && defaults && edges
}

fn fits(r: &mut Reader, top: &Top, what: &str, count: usize, most: usize) -> bool {
    if count > most {
        let first = top.tasks.values().map(|(at, _)| *at).min().unwrap_or_default();
        r.found.error(first, format!("the tasks have {count} {what}; at most {most} are possible"), "split the pipeline");
    }
    count <= most
}

/// `params.X` in templates must be one of the document's.
fn check_params(r: &mut Reader, top: &Top) {
    if top.params.unclear {
        return;
    }
    let names = || top.params.declared.keys().map(String::as_str);
    for Located { at, value } in std::mem::take(&mut r.params_used) {
        if top.params.declared.contains_key(&value) {
            continue;
        }
        let hint = r.found.did_you_mean(&value, names(), || {
            if top.params.declared.is_empty() {
                format!("declare it: `params: {{{}: {{type: string}}}}`", cut(&value))
            } else {
                format!("the parameters are: {}", listed(names()))
            }
        });
        r.found.error(at, format!("there is no parameter `{}`", cut(&value)), hint);
    }
}

/// Runs that start runs of the same pipeline end only where something stops them.
fn warn_of_itself(r: &mut Reader, top: &Top) {
    for (id, (at, task)) in &top.tasks {
        if let Some(Action::Pipeline(child)) = &task.action
            && Some(&child.name) == top.name.as_ref()
            && task.flow.condition.is_none()
        {
            let message = format!("task `{id}` starts its own pipeline, and nothing says when to stop");
            r.found.warning(
                *at,
                message,
                format!("give it an `if`; at most {} runs can have started one another", limits::MAX_CHILD_DEPTH),
            );
        }
    }
}

/// Slots are of a pool.
fn check_pool_slots(r: &mut Reader, top: &Top, defaults: &RawTask) {
    const HINT: &str = "add `pool: NAME`, or remove it";
    if defaults.pool.is_some() || defaults.pool_unclear {
        return;
    }
    for (id, (_, task)) in &top.tasks {
        if let Some(slots) = task.pool_slots.as_ref().filter(|_| task.pool.is_none() && !task.pool_unclear) {
            r.found.error(slots.at, format!("task `{id}` has `pool_slots` and no `pool`"), HINT);
        }
    }
    if let Some(slots) =
        defaults.pool_slots.as_ref().filter(|_| !top.tasks.values().any(|(_, task)| task.pool.is_some() || task.pool_unclear))
    {
        r.found.error(slots.at, "`pool_slots` in `defaults`, and no task has a `pool`", HINT);
    }
}
