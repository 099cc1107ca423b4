//! What is written to what holds: defaults merged key by key, and what only the whole document can show.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{Located, Reader, Template};
use super::found::{cut, listed};
use super::keys::{RawAction, RawRetries, RawTask, Top};
use super::{Document, values};
use crate::pipeline::{Action, Dependency, Location, Pipeline, Retries, Setting, Task};
use crate::{TaskId, limits};

/// Steps that may be taken over all edges to find out whether the tasks that templates name are upstream. Beyond it a
/// wrong name is found when the template is rendered.
const MAX_STEPS: usize = 2_000_000;
/// Bytes of `env`, `labels` and `workdir` that all tasks together may take from defaults: a task holds its own copy.
const MAX_DEFAULTS_BYTES: usize = 4 * limits::MAX_DOCUMENT_BYTES;

/// Checks the document as a whole. `None` only where an error is noted.
pub(super) fn document(r: &mut Reader, mut top: Top) -> Option<Document> {
    check_params(r, &top);
    check_edges(r, &top);
    // The document's own `env` and `workdir` are defaults that `defaults` may replace.
    let mut defaults = std::mem::take(&mut top.defaults);
    for (name, value) in std::mem::take(&mut top.env) {
        defaults.env.entry(name).or_insert(value);
    }
    defaults.workdir = defaults.workdir.or(top.workdir.take());
    if !is_within_limits(r, &top, &defaults) {
        return None;
    }
    let mut outputs = Outputs { tasks: &top.tasks, steps: MAX_STEPS, told: BTreeSet::new() };
    let mut tasks = BTreeMap::new();
    for (id, (_, raw)) in &top.tasks {
        tasks.insert(id.clone(), task(r, &mut outputs, id, raw, &defaults));
    }
    let places = top.tasks.iter().map(|(id, (at, _))| (id.clone(), *at)).collect();
    let edges = top.tasks.iter().flat_map(|(id, (_, raw))| raw.depends_on.iter().map(|(up, at)| ((id.clone(), up.clone()), *at)));
    Some(Document {
        edges: edges.collect(),
        tasks: places,
        warnings: Vec::new(),
        pipeline: Pipeline {
            name: top.name?,
            description: top.description,
            owner: top.owner,
            tags: top.tags,
            params: top.params.declared.into_iter().map(|(name, param)| Some((name, param?))).collect::<Option<_>>()?,
            max_active_runs: top.max_active_runs,
            max_active_tasks: None,
            run_timeout: top.run_timeout,
            timezone: None,
            tasks: tasks.into_iter().map(|(id, task)| Some((id, task?))).collect::<Option<_>>()?,
        },
    })
}

fn is_within_limits(r: &mut Reader, top: &Top, defaults: &RawTask) -> bool {
    let first = top.tasks.values().map(|(at, _)| *at).min().unwrap_or_default();
    let mut fits = |what: &str, count: usize, most: usize| {
        if count > most {
            r.found.error(first, format!("the tasks have {count} {what}; at most {most} are possible"), "split the pipeline");
        }
        count <= most
    };
    let count = top.tasks.len();
    let edges = top.tasks.values().map(|(_, task)| task.depends_on.len()).sum();
    let env = defaults.env.iter().map(|(name, value)| name.len() + value.text.len());
    let labels = defaults.labels.iter().map(|(name, value)| name.len() + value.len());
    let workdir = defaults.workdir.iter().map(|t| t.text.len());
    let bytes: usize = env.chain(labels).chain(workdir).map(|bytes| bytes + 16).sum();
    let parts = [
        fits("ids", count, limits::MAX_TASKS_PER_PIPELINE),
        fits("upstreams", edges, limits::MAX_EDGES_PER_PIPELINE),
        fits("bytes of env and labels from defaults", bytes.saturating_mul(count), MAX_DEFAULTS_BYTES),
    ];
    parts.iter().all(|fits| *fits)
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

fn check_edges(r: &mut Reader, top: &Top) {
    for (id, (_, task)) in &top.tasks {
        for (upstream, at) in &task.depends_on {
            if upstream == id {
                r.found.error(*at, format!("task `{id}` depends on itself"), "remove it from its `depends_on`");
            } else if !top.tasks.contains_key(upstream) {
                let others = top.tasks.keys().filter(|other| *other != id).map(TaskId::as_str);
                let hint = r.found.did_you_mean(upstream.as_str(), others, || "add the task, or remove it from `depends_on`".to_owned());
                r.found.error(*at, format!("task `{id}` depends on `{upstream}`, which is no task"), hint);
            }
        }
    }
}

fn task(r: &mut Reader, outputs: &mut Outputs<'_>, id: &TaskId, raw: &RawTask, defaults: &RawTask) -> Option<Task> {
    let mut env = defaults.env.clone();
    env.extend(raw.env.clone());
    let workdir = raw.workdir.as_ref().or(defaults.workdir.as_ref());
    let argv = match &raw.action {
        Some(RawAction::Run(argv)) => argv.as_slice(),
        _ => &[],
    };
    for template in env.values().chain(workdir).chain(argv) {
        outputs.check(r, id, template);
    }
    let mut labels = defaults.labels.clone();
    labels.extend(raw.labels.clone());
    let plain = Task::noop();
    Some(Task {
        description: raw.description.clone(),
        depends_on: raw.depends_on.keys().map(|task| Dependency { task: task.clone(), when: None, paired: false }).collect(),
        action: match raw.action.as_ref()? {
            RawAction::Run(argv) => Action::Run(argv.iter().map(|t| t.text.clone()).collect()),
            RawAction::Other(action) => action.clone(),
        },
        retries: retries(r, &raw.retries, &defaults.retries),
        timeout: raw.timeout.or(defaults.timeout),
        queue_timeout: raw.queue_timeout.or(defaults.queue_timeout),
        grace: raw.grace.or(defaults.grace).unwrap_or(plain.grace),
        max_lost: raw.max_lost.or(defaults.max_lost).unwrap_or(plain.max_lost),
        queue: raw.queue.as_ref().or(defaults.queue.as_ref()).cloned().unwrap_or_else(|| plain.queue.clone()),
        labels,
        priority: raw.priority.or(defaults.priority).unwrap_or(plain.priority),
        env: env.into_iter().map(|(name, value)| (name, Setting::Template(value.text))).collect(),
        workdir: workdir.map(|t| t.text.clone()).unwrap_or_default(),
        ..plain
    })
}

fn retries(r: &mut Reader, raw: &RawRetries, defaults: &RawRetries) -> Retries {
    let plain = Retries::default();
    let delay = raw.delay.as_ref().or(defaults.delay.as_ref());
    let max_delay = raw.max_delay.as_ref().or(defaults.max_delay.as_ref());
    // Where both are in one place, it is said there.
    match (&raw.delay, &raw.max_delay) {
        (Some(_), None) => values::check_delays(r, delay, max_delay, |delay, _| delay),
        (None, Some(_)) => values::check_delays(r, delay, max_delay, |_, max_delay| max_delay),
        _ => {}
    }
    let delay = delay.map_or(plain.delay, |d| d.value);
    Retries {
        max: raw.max.or(defaults.max).unwrap_or(plain.max),
        delay,
        backoff: raw.backoff.or(defaults.backoff).unwrap_or(plain.backoff),
        // What nobody wrote must not shorten a delay that somebody did.
        max_delay: max_delay.map_or(plain.max_delay.max(delay), |d| d.value),
        jitter: raw.jitter.or(defaults.jitter).unwrap_or(plain.jitter),
        on: raw.on.as_ref().or(defaults.on.as_ref()).cloned(),
        not_on: raw.not_on.as_ref().or(defaults.not_on.as_ref()).cloned(),
    }
}

/// `outputs.T` in a task's templates: T must be upstream of it, or nothing is there yet when it is rendered.
struct Outputs<'t> {
    tasks: &'t BTreeMap<TaskId, (Location, RawTask)>,
    steps: usize,
    /// A template of `defaults` is told of once, not once a task.
    told: BTreeSet<(Location, String)>,
}

impl Outputs<'_> {
    fn check(&mut self, r: &mut Reader, task: &TaskId, template: &Template) {
        for name in &template.outputs {
            if self.told.contains(&(template.at, name.clone())) {
                continue;
            }
            let (message, hint) = match self.tasks.get_key_value(name.as_str()) {
                Some((upstream, _)) if self.may_be_upstream(task, upstream) => continue,
                Some(_) if name == task.as_str() => (
                    "a task cannot use its own outputs".to_owned(),
                    "they are there when it has ended; write the value to a file".to_owned(),
                ),
                Some(_) => (
                    format!("task `{task}` uses outputs of `{name}`, which is not upstream of it"),
                    format!("add `{name}` to the `depends_on` of `{task}`"),
                ),
                None => {
                    let ids = self.tasks.keys().map(TaskId::as_str);
                    let hint = r.found.did_you_mean(name, ids, || "write outputs.TASK.KEY".to_owned());
                    (format!("there is no task `{}` whose outputs could be used", cut(name)), hint)
                }
            };
            r.found.error(template.at, message, hint);
            self.told.insert((template.at, name.clone()));
        }
    }

    /// False only if it is certain that it is not.
    fn may_be_upstream(&mut self, task: &TaskId, wanted: &TaskId) -> bool {
        let mut seen = BTreeSet::from([task]);
        let mut next = vec![task];
        while let Some((_, raw)) = next.pop().and_then(|id| self.tasks.get(id)) {
            if raw.depends_on_unclear || raw.depends_on.contains_key(wanted) {
                return true;
            }
            for upstream in raw.depends_on.keys() {
                if self.steps == 0 {
                    return true;
                }
                self.steps -= 1;
                // One that is missing could be any.
                if !self.tasks.contains_key(upstream) {
                    return true;
                }
                if seen.insert(upstream) {
                    next.push(upstream);
                }
            }
        }
        false
    }
}
