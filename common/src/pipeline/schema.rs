//! The JSON Schema of the document as users write it, for editors. Made from the tables the parser reads by, so that it
//! knows the same keys; what only the parser checks (templates, upstreams, cycles) is not in it.

use serde_json::{Map, Value, json};

use super::TriggerRule;
use super::parse::fields::Key;
use super::parse::keys::{
    ACTIONS, APPROVE, CATCHUPS, CHILD, CONDITIONS, CONTAINER, ENDINGS, EXPECT, EXPECT_ACTIONS, HTTP, HTTP_OUTPUTS, JITTER, LANDING,
    METHODS, ON_TIMEOUT, OVERLAPS, PARAM, PARAM_TYPES, POLICY, PULLS, RANGE, RECORDS, REJECTED, RETRIES, RETRYABLE, SCHEDULE, SECRET,
    SETTINGS, SOURCES, SQL, SQL_OUTPUTS, STATEMENT, TASKS, TIMINGS, TOP, TRIGGER, UPSTREAM, UPSTREAMS, WAIT, WAITED_FOR,
};
use crate::limits;

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
        "secret": object(&[SECRET], &["secret"]),
        "http": {"anyOf": [text(), object(&[HTTP], &["url"])]},
        "sql": object(&[SQL], &["connection", "run"]),
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
pub(super) fn dotted() -> Value {
    json!({"type": "string", "pattern": DOTTED})
}
pub(super) fn identifier() -> Value {
    reference("identifier")
}
pub(super) fn secret_name() -> Value {
    json!({"type": "string", "pattern": "^(?!.*\\.\\.)[A-Za-z][A-Za-z0-9_.-]{0,127}$"})
}
pub(super) fn kubernetes_name() -> Value {
    json!({"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$", "maxLength": 253})
}
pub(super) fn any() -> Value {
    json!({})
}
pub(super) fn flag() -> Value {
    json!({"type": "boolean"})
}
pub(super) fn only_true() -> Value {
    json!({"const": true})
}
pub(super) fn duration() -> Value {
    reference("duration")
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
pub(super) fn whole_64() -> Value {
    json!({"type": "integer"})
}
pub(super) fn amount() -> Value {
    json!({"type": "number", "minimum": 0})
}
pub(super) fn ratio() -> Value {
    json!({"type": "number", "minimum": 0, "maximum": 1})
}
pub(super) fn scalar() -> Value {
    reference("scalar")
}
pub(super) fn scalars() -> Value {
    list(scalar())
}
pub(super) fn argv() -> Value {
    list(scalar())
}
pub(super) fn expression() -> Value {
    json!({"type": ["string", "boolean"]})
}
pub(super) fn env() -> Value {
    map("^(?!PENSTOCK_)[A-Za-z_][A-Za-z0-9_]*$", setting())
}
pub(super) fn headers() -> Value {
    map("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", setting())
}
pub(super) fn labels() -> Value {
    map("^(?!.*\\.\\.)[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$", scalar())
}

// The document and its tasks.

pub(super) fn params() -> Value {
    map(IDENTIFIER, object(&[PARAM], &["type"]))
}
pub(super) fn param_type() -> Value {
    words(PARAM_TYPES)
}
pub(super) fn defaults() -> Value {
    object(&[SETTINGS], &[])
}
pub(super) fn tasks() -> Value {
    let mut task = object(TASKS, &[]);
    let actions: Vec<&str> = ACTIONS.iter().map(|key| key.name).collect();
    let has_one = exactly_one(&actions);
    let has_none = json!({"not": {"anyOf": has_one}});
    task["oneOf"] = has_one.into_iter().chain([has_none]).collect();
    let mut tasks = map(IDENTIFIER, task);
    tasks["minProperties"] = json!(1);
    tasks
}

// What starts runs.

pub(super) fn schedule() -> Value {
    let mut schedule = object(&[SCHEDULE], &[]);
    schedule["oneOf"] = exactly_one(&TIMINGS).into();
    json!({"anyOf": [text(), schedule]})
}
pub(super) fn cron() -> Value {
    let mut several = list(text());
    several["maxItems"] = json!(limits::MAX_CRON_PER_SCHEDULE);
    json!({"anyOf": [text(), several]})
}
pub(super) fn catchup() -> Value {
    words(CATCHUPS)
}
pub(super) fn overlap() -> Value {
    words(OVERLAPS)
}
pub(super) fn max_queued() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": limits::MAX_QUEUED_RUNS_PER_PIPELINE})
}
pub(super) fn date() -> Value {
    json!({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}.*)?$"})
}
pub(super) fn triggers() -> Value {
    let mut trigger = object(&[TRIGGER], &["name"]);
    trigger["oneOf"] = exactly_one(&SOURCES).into();
    let mut triggers = list(trigger);
    triggers["maxItems"] = json!(limits::MAX_TRIGGERS_PER_PIPELINE);
    triggers
}
pub(super) fn trigger_params() -> Value {
    let mut params = map(IDENTIFIER, scalar());
    params["minProperties"] = json!(1);
    params
}
pub(super) fn landing() -> Value {
    json!({"anyOf": [landing_path(), object(&[LANDING], &["path"])]})
}
pub(super) fn landing_path() -> Value {
    json!({"type": "string", "pattern": "^(/|file:///|(s3|gs|az)://[A-Za-z0-9._-]+/).*[^/]$"})
}
pub(super) fn upstream() -> Value {
    json!({"anyOf": [pipeline_name(), object(&[UPSTREAM], &["name"])]})
}
pub(super) fn upstreams() -> Value {
    json!({"anyOf": [pipeline_names(), object(&[UPSTREAMS], &["names"])]})
}
pub(super) fn pipeline_names() -> Value {
    let mut names = list(pipeline_name());
    names["uniqueItems"] = json!(true);
    names["maxItems"] = json!(limits::MAX_UPSTREAMS_PER_TRIGGER);
    names
}
pub(super) fn ending() -> Value {
    words(ENDINGS)
}

// Retries.

pub(super) fn retries() -> Value {
    json!({"anyOf": [count(), object(&[RETRIES], &[])]})
}
pub(super) fn backoff() -> Value {
    json!({"type": "number", "minimum": 1})
}
pub(super) fn jitter() -> Value {
    words(JITTER)
}
pub(super) fn reasons() -> Value {
    list(json!({"enum": RETRYABLE.map(|reason| reason.as_str())}))
}
pub(super) fn exit_codes() -> Value {
    list(json!({"type": "integer", "minimum": 1, "maximum": 255}))
}
pub(super) fn policy() -> Value {
    json!({"anyOf": [reasons(), object(&[POLICY], &[])]})
}

// Control flow.

pub(super) fn depends_on() -> Value {
    let upstream = json!({"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}(\\[\\*\\])?$"});
    let conditions = json!({"type": "object", "propertyNames": upstream, "additionalProperties": words(CONDITIONS)});
    json!({"anyOf": [upstream, {"type": "array", "items": upstream, "uniqueItems": true}, conditions]})
}
pub(super) fn trigger_rule() -> Value {
    words(TriggerRule::WORDS)
}
pub(super) fn for_each() -> Value {
    let named =
        json!({"type": "string", "pattern": "^(outputs\\.[a-z][a-z0-9_]{0,62}\\.[a-z][a-z0-9_]{0,62}|items\\.[a-z][a-z0-9_]{0,62})$"});
    let mut range = object(&[RANGE], &[]);
    range["oneOf"] = exactly_one(&["range", "to"]).into();
    json!({"anyOf": [list(any()), range, named]})
}
pub(super) fn max_failed() -> Value {
    json!({"anyOf": [count(), {"type": "string", "pattern": "^[0-9.]+ *%$"}]})
}
pub(super) fn expect() -> Value {
    object(&[EXPECT], &[])
}
pub(super) fn records() -> Value {
    object(&[RECORDS], &[])
}
pub(super) fn rejected() -> Value {
    object(&[REJECTED], &[])
}
pub(super) fn expect_action() -> Value {
    words(EXPECT_ACTIONS)
}

// Actions.

pub(super) fn http() -> Value {
    reference("http")
}
pub(super) fn method() -> Value {
    words(METHODS)
}
pub(super) fn statuses() -> Value {
    let code = json!({"type": "integer", "minimum": 100, "maximum": 599});
    let codes = json!({"type": "string", "pattern": "^([1-5](xx|XX)|[1-5][0-9]{2}(-[1-5][0-9]{2})?)$"});
    json!({"anyOf": [code, codes, list(json!({"anyOf": [code, codes]}))]})
}
pub(super) fn http_output() -> Value {
    words(HTTP_OUTPUTS)
}
pub(super) fn sql() -> Value {
    reference("sql")
}
pub(super) fn statements() -> Value {
    json!({"anyOf": [text(), list(json!({"anyOf": [text(), object(&[STATEMENT], &["sql"])]})), object(&[STATEMENT], &["sql"])]})
}
pub(super) fn bind() -> Value {
    json!({"type": "array", "items": {"type": ["string", "number", "boolean", "null"]}})
}
pub(super) fn sql_output() -> Value {
    words(SQL_OUTPUTS)
}
pub(super) fn wait() -> Value {
    let mut wait = object(&[WAIT], &[]);
    wait["oneOf"] = exactly_one(&WAITED_FOR).into();
    wait
}
pub(super) fn on_timeout() -> Value {
    words(ON_TIMEOUT)
}
pub(super) fn child() -> Value {
    json!({"anyOf": [pipeline_name(), object(&[CHILD], &["name"])]})
}
pub(super) fn child_params() -> Value {
    map(IDENTIFIER, any())
}
pub(super) fn approve() -> Value {
    json!({"anyOf": [text(), object(&[APPROVE], &["message"])]})
}
pub(super) fn container() -> Value {
    json!({"anyOf": [text(), object(&[CONTAINER], &["image"])]})
}
pub(super) fn cpu() -> Value {
    json!({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": "^([0-9]+m|[0-9]+(\\.[0-9]{1,3})?)$"}]})
}
pub(super) fn size() -> Value {
    json!({"type": "string", "pattern": "^[0-9]+(KiB|MiB|GiB|TiB)$"})
}
pub(super) fn pull() -> Value {
    words(PULLS)
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}
/// A text that is a template, or a secret.
fn setting() -> Value {
    json!({"anyOf": [scalar(), reference("secret")]})
}
/// For `oneOf`: an object that has one of these keys.
fn exactly_one(keys: &[&str]) -> Vec<Value> {
    keys.iter().map(|key| json!({"required": [key]})).collect()
}
fn words<T>(words: &[(&str, T)]) -> Value {
    json!({"enum": words.iter().map(|(word, _)| *word).collect::<Vec<_>>()})
}
