//! What templates and expressions see of a task: `params`, `run`, `interval`, `task`, `item`, `outputs` and `previous`, from its
//! lease. Built here alone, so that an `if` on the coordinator and a template on a worker see the same.

use std::collections::BTreeMap;

use minijinja::Value;
use minijinja::value::Serde;
use serde_json::Value as Json;

use crate::lease::Lease;
use crate::metrics::Outputs;
use crate::{Interval, TaskId, engine};

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
    context.insert("outputs", outputs(&lease.outputs));
    // Before the first success there is nothing, and a default must do for it.
    let none = BTreeMap::new();
    let before = [
        ("interval", lease.previous.as_ref().map_or_else(nothing, |previous| interval(&previous.interval, &lease.zone))),
        ("outputs", outputs(lease.previous.as_ref().map_or(&none, |previous| &previous.outputs))),
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

/// By task and key.
fn outputs(of: &BTreeMap<TaskId, Outputs>) -> Value {
    let values = |outputs: &Outputs| outputs.0.iter().map(|(key, json)| (key.clone(), parsed(json))).collect();
    engine::outputs(of.iter().map(|(task, outputs)| (task.to_string(), values(outputs))).collect())
}

fn parsed(json: &str) -> Value {
    serde_json::from_str::<Json>(json).map_or_else(|_| Value::from(json), |value| Value::from(Serde(value)))
}
