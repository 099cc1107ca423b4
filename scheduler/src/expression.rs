//! Expressions that the scheduler itself evaluates: `if`, and the parameters that a `pipeline` task gives. What they can see is what
//! the task's lease would carry. Pure and bounded by fuel: the same state gives the same answer on every replica.

use minijinja::{Environment, Value};
use penstock_common::lease::Lease;
use penstock_common::limits::EXPRESSION_FUEL;
use penstock_common::{context, engine};
use serde_json::Value as Json;

use crate::comparison::misleading;

/// Evaluates for one task.
pub(crate) struct Expressions {
    environment: Environment<'static>,
    context: Value,
}

impl Expressions {
    pub(crate) fn new(lease: &Lease) -> Self {
        Self { environment: engine::engine(EXPRESSION_FUEL), context: context::of(lease) }
    }

    /// Whether an expression holds.
    pub(crate) fn holds(&self, expression: &str) -> Result<bool, String> {
        let holds = self.evaluate(expression)?.is_true();
        match misleading(expression, |part| self.evaluate(part).ok()) {
            Some(why) => Err(why),
            None => Ok(holds),
        }
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
