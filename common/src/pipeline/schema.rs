//! The JSON Schema of the document as users write it, for editors. Made from the tables the parser reads by, so that it
//! knows the same keys; what only the parser checks (templates, upstreams, cycles) is not in it.

use serde_json::{Map, Value, json};

use super::parse::fields::Key;
use super::parse::keys::{ACTIONS, JITTER, PARAM, PARAM_TYPES, POLICY, RETRIES, SETTINGS, TASK, TOP, retryable};

const IDENTIFIER: &str = "^[a-z][a-z0-9_]{0,62}$";
const DOTTED: &str = "^[a-z][a-z0-9_.-]{0,62}$";

/// The schema, draft 2020-12.
pub fn schema() -> Value {
    let mut schema = object(&[TOP], &["pipeline", "tasks"]);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Penstock pipeline");
    schema["$defs"] = json!({
        "duration": {
            "description": "A number and a unit, such as 250ms, 30s, 5m, 2h, 1d or 1h30m.",
            "type": "string",
            "pattern": "^(?=.)(\\d+d)?(\\d+h)?(\\d+m)?(\\d+s)?(\\d+ms)?$",
        },
        "identifier": {"type": "string", "pattern": IDENTIFIER},
        "scalar": {"type": ["string", "number", "boolean"]},
    });
    schema
}

/// A mapping whose keys are those of `tables`.
fn object<T>(tables: &[&'static [Key<T>]], required: &[&str]) -> Value {
    let mut properties = Map::new();
    for key in tables.iter().copied().flatten().filter(|key| key.is_supported()) {
        let mut value = (key.schema)();
        value["description"] = json!(key.about);
        properties.insert(key.name.to_owned(), value);
    }
    let mut object = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

/// A mapping whose keys the user chooses.
fn map(keys: &str, values: Value) -> Value {
    json!({"type": "object", "propertyNames": {"pattern": keys}, "additionalProperties": values})
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items, "minItems": 1})
}

pub(super) fn text() -> Value {
    json!({"type": "string"})
}
pub(super) fn texts() -> Value {
    list(text())
}
pub(super) fn pipeline_name() -> Value {
    json!({"type": "string", "pattern": "^[a-z][a-z0-9_.-]{0,62}(/[a-z][a-z0-9_.-]{0,62})?$"})
}
pub(super) fn queue_name() -> Value {
    json!({"type": "string", "pattern": DOTTED})
}
pub(super) fn duration() -> Value {
    json!({"$ref": "#/$defs/duration"})
}
pub(super) fn positive() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": u32::MAX})
}
pub(super) fn count() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": u32::MAX})
}
pub(super) fn whole() -> Value {
    json!({"type": "integer", "minimum": i32::MIN, "maximum": i32::MAX})
}
pub(super) fn scalar() -> Value {
    json!({"$ref": "#/$defs/scalar"})
}
pub(super) fn scalars() -> Value {
    list(scalar())
}
pub(super) fn argv() -> Value {
    list(scalar())
}
pub(super) fn only_true() -> Value {
    json!({"const": true})
}
pub(super) fn env() -> Value {
    map("^(?!PENSTOCK_)[A-Za-z_][A-Za-z0-9_]*$", scalar())
}
pub(super) fn labels() -> Value {
    map("^(?!.*\\.\\.)[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$", scalar())
}
pub(super) fn depends_on() -> Value {
    let id = json!({"$ref": "#/$defs/identifier"});
    json!({"anyOf": [id, {"type": "array", "items": id, "uniqueItems": true}]})
}
pub(super) fn params() -> Value {
    map(IDENTIFIER, object(&[PARAM], &["type"]))
}
pub(super) fn param_type() -> Value {
    words(PARAM_TYPES.iter().map(|(word, _)| *word))
}
pub(super) fn defaults() -> Value {
    object(&[SETTINGS], &[])
}
pub(super) fn tasks() -> Value {
    let mut task = object(&[TASK, SETTINGS], &[]);
    task["oneOf"] = ACTIONS.iter().map(|action| json!({"required": [action]})).collect();
    let mut tasks = map(IDENTIFIER, task);
    tasks["minProperties"] = json!(1);
    tasks
}
pub(super) fn retries() -> Value {
    json!({"anyOf": [count(), object(&[RETRIES], &[])]})
}
pub(super) fn backoff() -> Value {
    json!({"type": "number", "minimum": 1})
}
pub(super) fn jitter() -> Value {
    words(JITTER.iter().map(|(word, _)| *word))
}
pub(super) fn reasons() -> Value {
    list(words(retryable().map(|reason| reason.as_str())))
}
pub(super) fn exit_codes() -> Value {
    list(json!({"type": "integer", "minimum": 1, "maximum": 255}))
}
pub(super) fn policy() -> Value {
    json!({"anyOf": [reasons(), object(&[POLICY], &[])]})
}

fn words<'a>(words: impl Iterator<Item = &'a str>) -> Value {
    json!({"enum": words.collect::<Vec<_>>()})
}
