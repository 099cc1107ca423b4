//! The template engine as every part of Penstock uses it: what is undefined is an error, work is bounded, and a list or an object is
//! written as JSON, so that the program that gets it can read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Object, ObjectRepr, ValueKind};
use minijinja::{Environment, Error, Output, State, UndefinedBehavior, Value, escape_formatter};

/// An engine whose templates and expressions may take `fuel` instructions.
pub fn engine(fuel: u64) -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        engine.set_syntax(syntax);
    }
    engine.set_fuel(Some(fuel));
    engine.set_formatter(write);
    engine
}

/// Writes a value: lists and objects as JSON, anything else as it is.
///
/// # Errors
///
/// What is undefined; a value that is no JSON.
pub fn write(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
            let json = serde_json::to_string(value)
                .map_err(|e| Error::new(minijinja::ErrorKind::BadSerialization, format!("it cannot be written as JSON: {e}")))?;
            out.write_str(&json).map_err(Error::from)
        }
        _ => escape_formatter(out, state, value),
    }
}

/// Outputs by task and key, for a context. A task that is not there has no keys, so that `outputs.t.k | default(0)` works where it was
/// skipped, put nothing out, or had no earlier run.
pub fn outputs(of: BTreeMap<String, BTreeMap<String, Value>>) -> Value {
    Value::from_object(AnyTask(of))
}

#[derive(Debug)]
struct AnyTask(BTreeMap<String, BTreeMap<String, Value>>);

impl Object for AnyTask {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let outputs = key.as_str().and_then(|task| self.0.get(task)).cloned().unwrap_or_default();
        Some(Value::from_pairs(outputs))
    }
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(|task| Value::from(task.as_str())).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::engine;

    #[test]
    fn lists_and_objects_are_json_and_texts_are_themselves() {
        let context = minijinja::context! { l => ["a", "b c"], o => minijinja::context! { k => 1 }, t => "x'y<z>", n => 1.5 };
        let rendered = engine(1_000).render_str("{{ l }} {{ o }} {{ t }} {{ n }} {{ l | tojson }}", context).unwrap();
        assert_eq!(rendered, r#"["a","b c"] {"k":1} x'y<z> 1.5 ["a", "b c"]"#);
    }

    #[test]
    fn a_task_without_outputs_is_there_and_has_none() {
        let of = [("a".to_owned(), [("k".to_owned(), minijinja::Value::from(1))].into())].into();
        let context = minijinja::context! { outputs => super::outputs(of) };
        let render = |text: &str| engine(1_000).render_str(text, &context);
        assert_eq!(
            render("{{ outputs.a.k }}{{ outputs['b'].k | default(2) }}{{ outputs }}{{ outputs | length }}").unwrap(),
            "12{\"a\":{\"k\":1}}1"
        );
        assert!(render("{{ outputs.b.k }}").is_err());
    }

    #[test]
    fn what_is_undefined_or_endless_is_an_error() {
        let none = minijinja::context! {};
        assert!(engine(1_000).render_str("{{ x }}", &none).is_err());
        assert!(engine(1_000).render_str("{% for i in range(100000) %}{{ i }}{% endfor %}", &none).is_err());
    }
}
