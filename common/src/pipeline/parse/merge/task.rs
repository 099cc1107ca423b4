//! One task: what it says, over what the defaults say.

use std::collections::BTreeMap;

use super::super::fields::Reader;
use super::super::keys::{Bounds, RawExpect, RawRetries, RawSetting, RawTask};
use super::super::values;
use super::uses::Names;
use crate::pipeline::{Expect, Retries, Setting, Task, Uses};

/// `None` only where an error is noted.
pub(super) fn task(r: &mut Reader, names: &mut Names<'_>, number: usize, raw: &RawTask, defaults: &RawTask) -> Option<Task> {
    let mut env = defaults.env.clone();
    env.extend(raw.env.clone());
    let workdir = raw.workdir.as_ref().or(defaults.workdir.as_ref());
    for value in env.values() {
        if let RawSetting::Template(template) = value {
            names.check(r, number, &template.uses);
        }
    }
    for uses in workdir.map(|template| &template.uses).into_iter().chain(&raw.uses) {
        names.check(r, number, uses);
    }
    names.check_source(r, number);
    let mut labels = defaults.labels.clone();
    labels.extend(raw.labels.clone());
    let plain = Task::noop();
    let expect = expect(r, &raw.expect, &defaults.expect);
    let retries = retries(r, &raw.retries, &defaults.retries);
    let flow = &raw.flow;
    let mut task = Task {
        description: raw.description.clone(),
        depends_on: names.graph.dependencies(number),
        trigger_rule: flow.trigger_rule.as_ref().map(|rule| rule.value).unwrap_or_default(),
        condition: flow.condition.clone(),
        branch: flow.branch.is_some(),
        for_each: match &flow.for_each {
            Some(written) => Some(written.value.clone()?),
            None => names.graph.same_as(number),
        },
        max_parallel: flow.max_parallel.as_ref().map(|most| most.value),
        max_failed: flow.max_failed.as_ref().map(|most| most.value),
        group: flow.group.as_ref().map(|group| group.value.clone()),
        teardown: flow.teardown.is_some(),
        setup: flow.setup.as_ref().map(|setup| setup.value.clone()),
        allow_failure: raw.allow_failure.or(defaults.allow_failure).unwrap_or(plain.allow_failure),
        pool: raw.pool.as_ref().or(defaults.pool.as_ref()).cloned(),
        pool_slots: raw.pool_slots.as_ref().or(defaults.pool_slots.as_ref()).map_or(plain.pool_slots, |slots| slots.value),
        expect,
        action: raw.action.clone()?,
        retries,
        timeout: raw.timeout.or(defaults.timeout),
        queue_timeout: raw.queue_timeout.or(defaults.queue_timeout),
        grace: raw.grace.or(defaults.grace).unwrap_or(plain.grace),
        max_lost: raw.max_lost.or(defaults.max_lost).unwrap_or(plain.max_lost),
        queue: raw.queue.as_ref().or(defaults.queue.as_ref()).cloned().unwrap_or(plain.queue),
        labels,
        priority: raw.priority.or(defaults.priority).unwrap_or(plain.priority),
        env: settings(env),
        workdir: workdir.map(|t| t.text.clone()).unwrap_or_default(),
        uses: Uses::default(),
    };
    task.uses = r.uses_of_task(&task);
    Some(task)
}

fn settings(env: BTreeMap<String, RawSetting>) -> BTreeMap<String, Setting> {
    env.into_iter()
        .map(|(name, value)| match value {
            RawSetting::Template(template) => (name, Setting::Template(template.text)),
            RawSetting::Secret(secret) => (name, Setting::Secret { secret }),
        })
        .collect()
}

/// `None` where nothing is expected.
fn expect(r: &mut Reader, raw: &RawExpect, defaults: &RawExpect) -> Option<Expect> {
    let records = Bounds {
        min: raw.records.min.clone().or_else(|| defaults.records.min.clone()),
        max: raw.records.max.clone().or_else(|| defaults.records.max.clone()),
    };
    // Where both are in one place, it is said there.
    match (&raw.records.min, &raw.records.max) {
        (Some(_), None) => values::check_records(r, &records, |min, _| min),
        (None, Some(_)) => values::check_records(r, &records, |_, max| max),
        _ => {}
    }
    let max_rejected = raw.rejected.max.or(defaults.rejected.max);
    let max_rejected_ratio = raw.rejected.max_ratio.or(defaults.rejected.max_ratio);
    let action = raw.action.as_ref().or(defaults.action.as_ref());
    let (min_records, max_records) = (records.min.map(|min| min.value), records.max.map(|max| max.value));
    if [min_records, max_records, max_rejected, max_rejected_ratio].iter().all(Option::is_none) {
        if let Some(action) = &raw.action {
            let hint = "add what is expected, such as records: {min: 1000} or rejected: {max_ratio: 0.01}";
            r.found.warning(action.at, "`action` has no effect: nothing is expected", hint);
        }
        return None;
    }
    Some(Expect { min_records, max_records, max_rejected, max_rejected_ratio, action: action.map(|a| a.value).unwrap_or_default() })
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
