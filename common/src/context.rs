//! What templates and expressions see of a task: `params`, `run`, `interval`, `task`, `item`, `outputs` and `previous`, from its
//! lease. Built here alone, so that an `if` on the coordinator and a template on a worker see the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{Object, ObjectRepr, Serde};
use serde_json::Value as Json;

use crate::lease::Lease;
use crate::metrics::Outputs;
use crate::{Interval, TaskId};

/// The context of a lease.
pub fn of(lease: &Lease) -> Value {
    let mut context: BTreeMap<&str, Value> = BTreeMap::new();
    context.insert("params", parsed(&lease.params));
    context.insert("run", Value::from_pairs([("id", lease.run.as_str()), ("trigger", lease.trigger.as_str())]));
    context.insert("task", Value::from_pairs([("id", Value::from(lease.task.task.as_str())), ("attempt", Value::from(lease.number))]));
    if let Some(covered) = &lease.interval {
        context.insert("interval", interval(covered, &lease.zone));
    }
    if let Some(item) = &lease.item {
        context.insert("item", parsed(item));
    }
    let named = lease.spec.outputs_named().unwrap_or_default();
    context.insert("outputs", Value::from_pairs(outputs(&lease.outputs, &named)));
    // Before the first success there is nothing, and a default must do for it.
    let of_tasks = lease.previous.as_ref().map(|previous| outputs(&previous.outputs, &[])).unwrap_or_default();
    let before = [
        ("interval", lease.previous.as_ref().map_or_else(nothing, |previous| interval(&previous.interval, &lease.zone))),
        ("outputs", Value::from_object(AnyTask(of_tasks))),
    ];
    context.insert("previous", Value::from_pairs(before));
    Value::from_pairs(context)
}

fn interval(interval: &Interval, zone: &str) -> Value {
    Value::from_pairs([("start", interval.start().to_string()), ("end", interval.end().to_string()), ("date", interval.date(zone))])
}

fn nothing() -> Value {
    Value::from_pairs(BTreeMap::<String, Value>::new())
}

/// By task and key. A task of `named` that has none (it was skipped) has no keys, so that `default` works.
fn outputs(of: &BTreeMap<TaskId, Outputs>, named: &[TaskId]) -> BTreeMap<String, Value> {
    let none = named.iter().map(|task| (task.to_string(), nothing()));
    let some = of.iter().map(|(task, outputs)| {
        let values: BTreeMap<String, Value> = outputs.0.iter().map(|(key, json)| (key.clone(), parsed(json))).collect();
        (task.to_string(), Value::from_pairs(values))
    });
    none.chain(some).collect()
}

/// Outputs where every task is there, and has no keys if nothing is known of it.
#[derive(Debug)]
struct AnyTask(BTreeMap<String, Value>);

impl Object for AnyTask {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(key.as_str().and_then(|task| self.0.get(task)).cloned().unwrap_or_else(nothing))
    }
}

fn parsed(json: &str) -> Value {
    serde_json::from_str::<Json>(json).map_or_else(|_| Value::from(json), |value| Value::from(Serde(value)))
}
