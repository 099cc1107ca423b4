//! Expressions that the scheduler itself evaluates: `if`, and the parameters that a `pipeline` task gives. What they can see is what
//! the task's lease would carry. Pure and bounded by fuel: the same state gives the same answer on every replica.

use std::collections::BTreeMap;

use minijinja::value::Serde;
use minijinja::{Environment, Value};
use penstock_common::lease::Lease;
use penstock_common::limits::EXPRESSION_FUEL;
use penstock_common::metrics::Outputs;
use penstock_common::{Interval, TaskId, engine};
use serde_json::Value as Json;

/// Evaluates for one task.
pub(crate) struct Expressions {
    environment: Environment<'static>,
    context: Value,
}

impl Expressions {
    pub(crate) fn new(lease: &Lease) -> Self {
        let environment = engine::engine(EXPRESSION_FUEL);
        let json = |text: &str| serde_json::from_str::<Json>(text).map_or_else(|_| Value::from(text), |v| Value::from(Serde(v)));
        let interval = |i: &Interval| {
            Value::from_pairs([("start", i.start().to_string()), ("end", i.end().to_string()), ("date", i.date(&lease.zone))])
        };
        let outputs = |of: &BTreeMap<TaskId, Outputs>| {
            let values = |o: &Outputs| o.0.iter().map(|(key, text)| (key.clone(), json(text))).collect();
            engine::outputs(of.iter().map(|(id, o)| (id.to_string(), values(o))).collect())
        };
        let mut context: BTreeMap<&str, Value> = BTreeMap::new();
        context.insert("params", json(&lease.params));
        context.insert("run", Value::from_pairs([("id", lease.run.as_str()), ("trigger", lease.trigger.as_str())]));
        context.insert("task", Value::from_pairs([("id", Value::from(lease.task.task.as_str())), ("attempt", Value::from(lease.number))]));
        context.insert("outputs", outputs(&lease.outputs));
        if let Some(i) = &lease.interval {
            context.insert("interval", interval(i));
        }
        if let Some(item) = &lease.item {
            context.insert("item", json(item));
        }
        let previous = match &lease.previous {
            Some(previous) => Value::from_pairs([("interval", interval(&previous.interval)), ("outputs", outputs(&previous.outputs))]),
            None => {
                let nothing: [(&str, Value); 0] = [];
                Value::from_pairs([("interval", Value::from_pairs(nothing)), ("outputs", outputs(&BTreeMap::new()))])
            }
        };
        context.insert("previous", previous);
        Self { environment, context: Value::from_pairs(context) }
    }

    /// Whether an expression holds.
    pub(crate) fn holds(&self, expression: &str) -> Result<bool, String> {
        self.evaluate(expression).map(|value| value.is_true())
    }

    fn evaluate(&self, expression: &str) -> Result<Value, String> {
        let compiled = self.environment.compile_expression(expression).map_err(|e| explain(expression, &e))?;
        let value = compiled.eval(&self.context).map_err(|e| explain(expression, &e))?;
        if value.is_undefined() { Err(format!("`{expression}`: it uses something that is not defined")) } else { Ok(value) }
    }

    /// A JSON value whose strings are templates: one that is a single `{{ … }}` keeps the type of its value.
    pub(crate) fn render(&self, value: &Json) -> Result<Json, String> {
        Ok(match value {
            Json::String(text) => match whole_expression(text) {
                Some(expression) => serde_json::to_value(self.evaluate(expression)?).map_err(|e| format!("`{text}`: {e}"))?,
                None if text.contains("{{") || text.contains("{%") => {
                    Json::String(self.environment.render_str(text, &self.context).map_err(|e| explain(text, &e))?)
                }
                None => value.clone(),
            },
            Json::Array(items) => Json::Array(items.iter().map(|item| self.render(item)).collect::<Result<_, _>>()?),
            Json::Object(fields) => {
                Json::Object(fields.iter().map(|(k, v)| Ok((k.clone(), self.render(v)?))).collect::<Result<_, String>>()?)
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => value.clone(),
        })
    }
}

/// Whether an expression is about the item of an instance.
pub(crate) fn is_about_item(expression: &str) -> bool {
    let engine = engine::engine(EXPRESSION_FUEL);
    engine.compile_expression(expression).is_ok_and(|compiled| compiled.undeclared_variables(false).contains("item"))
}

/// The expression of a text that is one `{{ … }}` and nothing else.
fn whole_expression(text: &str) -> Option<&str> {
    let inside = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inside.contains("{{") && !inside.contains("}}")).then(|| inside.trim())
}

fn explain(text: &str, error: &minijinja::Error) -> String {
    let why = error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
    let shown: String = text.chars().take(120).collect();
    format!("`{shown}`: {why}")
}
