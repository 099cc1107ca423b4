//! The schema and the parser agree.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{EVERYTHING, FULL, good};
use crate::pipeline::parse::fields::Key;
use crate::pipeline::parse::found::Found;
use crate::pipeline::parse::keys::{
    APPROVE, CHILD, CONTAINER, EXPECT, HTTP, LANDING, PARAM, POLICY, RANGE, RECORDS, REJECTED, RETRIES, SCHEDULE, SECRET, SETTINGS, SQL,
    STATEMENT, TASKS, TOP, TRIGGER, UPSTREAM, UPSTREAMS, WAIT,
};
use crate::pipeline::parse::node::{Kind, Node, read};
use crate::pipeline::parse::scalar::{Core, resolve};
use crate::pipeline::schema;

/// The document as JSON, read as the schema's users read it.
fn to_json(text: &str) -> Value {
    fn value(node: &Node<'_>) -> Value {
        match node.kind() {
            Kind::Scalar { text, plain, .. } => match (resolve(text), plain) {
                (Core::Null, true) => Value::Null,
                (Core::Bool(b), true) => b.into(),
                (Core::Int(Some(n)), true) => n.into(),
                (Core::Float(f), true) => f.into(),
                _ => text.as_ref().into(),
            },
            Kind::Sequence(items) => items.iter().map(value).collect(),
            Kind::Mapping(entries) => entries.iter().map(|e| (e.key.clone().into_owned(), value(&e.value))).collect(),
            kind => panic!("{kind:?}"),
        }
    }
    value(&read(text, &mut Found::new()).unwrap())
}

/// As much of JSON Schema as ours uses, patterns apart.
fn fits(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let fail = || Err(format!("{value} does not fit {schema}"));
    if let Some(name) = schema["$ref"].as_str() {
        return fits(root, root.pointer(&name[1..]).unwrap(), value);
    }
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    };
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().map(|t| t.as_str().unwrap()).collect(),
        _ => vec![],
    };
    let outside =
        |limit: &str, below: fn(f64, f64) -> bool| schema[limit].as_f64().zip(value.as_f64()).is_some_and(|(limit, n)| below(n, limit));
    if !types.is_empty() && !types.into_iter().any(is)
        || schema["enum"].as_array().is_some_and(|all| !all.contains(value))
        || schema.get("const").is_some_and(|only| only != value)
        || outside("minimum", |n, limit| n < limit)
        || outside("maximum", |n, limit| n > limit)
        || schema["minItems"].as_u64().zip(value.as_array()).is_some_and(|(n, items)| items.len() < n as usize)
        || schema["required"].as_array().is_some_and(|keys| keys.iter().any(|k| value.get(k.as_str().unwrap()).is_none()))
    {
        return fail();
    }
    if let Some(any) = schema["anyOf"].as_array()
        && !any.iter().any(|s| fits(root, s, value).is_ok())
    {
        return fail();
    }
    if let Some(one) = schema["oneOf"].as_array()
        && one.iter().filter(|s| fits(root, s, value).is_ok()).count() != 1
    {
        return fail();
    }
    if schema.get("not").is_some_and(|not| fits(root, not, value).is_ok()) {
        return fail();
    }
    for item in value.as_array().into_iter().flatten().filter(|_| schema.get("items").is_some()) {
        fits(root, &schema["items"], item)?;
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        match (schema["properties"].get(key), schema.get("additionalProperties")) {
            (Some(schema), _) => fits(root, schema, value)?,
            (None, Some(Value::Bool(false))) => return Err(format!("{key:?} is not in the schema")),
            (None, Some(schema)) => fits(root, schema, value)?,
            (None, None) => {}
        }
    }
    Ok(())
}

pub(super) fn accepts(text: &str) {
    let schema = schema();
    fits(&schema, &schema, &to_json(text)).unwrap();
}

#[test]
fn the_schema_accepts_what_the_parser_accepts() {
    accepts(FULL);
    accepts(EVERYTHING);
    for (good, other) in
        [("noop: true", "noop: false"), ("grace:", "grase:"), ("max_lost: 0", "max_lost: -1"), ("jitter: full", "jitter: ful")]
    {
        let schema = schema();
        assert!(FULL.contains(good));
        assert!(fits(&schema, &schema, &to_json(&FULL.replace(good, other))).is_err(), "{other}");
    }
    for (good, other) in [
        ("method: POST", "method: post"),
        ("settle: 30s", "settled: 30s"),
        ("time: 06:00", "time: 06:00, file: x"),
        ("output: body", "output: row"),
        ("trigger_rule: none_failed", "trigger_rule: nobody_failed"),
        ("fetch: success", "fetch: ok"),
        ("range: 3", "range: 3, to: 4"),
        ("max_ratio: 0.01", "max_ratio: 2"),
        ("branch: true", "branch: 1"),
        ("{secret: API_TOKEN}", "{secrets: API_TOKEN}"),
        ("sql: drop", "sq: drop"),
        ("noop: true", "noop: true, shell: x"),
        ("pull: always", "pull: sometimes"),
        ("overlap: queue", "overlap: wait"),
        ("max_queued: 50", "max_queued: 0"),
        ("delay: 30m", "every: 5m"),
        ("when: any", "when: failed"),
        ("name: api, ", ""),
        ("event: claims.ready", "event: claims.ready, file: /x"),
        ("existing: false", "exists: false"),
        ("depends_on_past: true", "depends_on_past: 1"),
    ] {
        let schema = schema();
        let text = EVERYTHING.replace("run: drop", "run: {sql: drop").replace("tmp cascade}", "tmp cascade}}");
        assert!(text.contains(good), "{good}");
        assert!(fits(&schema, &schema, &to_json(&text)).is_ok());
        assert!(fits(&schema, &schema, &to_json(&text.replacen(good, other, 1))).is_err(), "{other}");
    }
}

#[test]
fn the_large_example_uses_every_key_and_means_something() {
    fn keys(value: &Value, found: &mut BTreeSet<String>) {
        for (key, value) in value.as_object().into_iter().flatten() {
            found.insert(key.clone());
            keys(value, found);
        }
        value.as_array().into_iter().flatten().for_each(|item| keys(item, found));
    }
    fn uses<T>(table: &[Key<T>], found: &BTreeSet<String>) {
        for key in table.iter().filter(|key| key.is_supported()) {
            assert!(found.contains(key.name), "{} is not in the example", key.name);
        }
    }
    let mut found = BTreeSet::new();
    keys(&to_json(EVERYTHING), &mut found);
    uses(TOP, &found);
    TASKS.iter().for_each(|table| uses(table, &found));
    uses(RETRIES, &found);
    uses(POLICY, &found);
    uses(PARAM, &found);
    uses(HTTP, &found);
    uses(SQL, &found);
    uses(STATEMENT, &found);
    uses(WAIT, &found);
    uses(CHILD, &found);
    uses(APPROVE, &found);
    uses(CONTAINER, &found);
    uses(RANGE, &found);
    uses(EXPECT, &found);
    uses(RECORDS, &found);
    uses(REJECTED, &found);
    uses(SECRET, &found);
    uses(SCHEDULE, &found);
    uses(TRIGGER, &found);
    uses(LANDING, &found);
    uses(UPSTREAM, &found);
    uses(UPSTREAMS, &found);
    let document = good(EVERYTHING);
    assert_eq!(document.warnings, []);
    let kinds: BTreeSet<_> = document.pipeline.tasks.values().map(|task| task.action.kind()).collect();
    assert_eq!(kinds.len(), 9);
    let again = crate::pipeline::Pipeline::from_blob(&document.pipeline.to_blob()).unwrap();
    assert_eq!(again, document.pipeline);
}

#[test]
fn the_schema_and_the_parser_know_the_same_keys() {
    fn same<T>(tables: &[&'static [Key<T>]], object: &Value) {
        let keys: Vec<_> = tables.iter().copied().flatten().filter(|k| k.is_supported()).map(|k| k.name).collect();
        let parser: BTreeSet<_> = keys.iter().copied().collect();
        assert_eq!(keys.len(), parser.len(), "no key is there twice");
        let later: BTreeSet<_> = tables.iter().copied().flatten().filter(|k| !k.is_supported()).map(|k| k.name).collect();
        assert!(parser.is_disjoint(&later), "no key is there and not there");
        let properties = object["properties"].as_object().unwrap();
        assert_eq!(properties.keys().map(String::as_str).collect::<BTreeSet<_>>(), parser);
        assert_eq!(object["additionalProperties"], json!(false));
        assert!(properties.values().all(|p| p["description"].as_str().is_some_and(|d| d.ends_with('.'))));
    }
    let s = schema();
    same(&[TOP], &s);
    same(&[SCHEDULE], &s["properties"]["schedule"]["anyOf"][1]);
    let trigger = &s["properties"]["triggers"]["items"];
    same(&[TRIGGER], trigger);
    same(&[LANDING], &trigger["properties"]["file"]["anyOf"][1]);
    same(&[UPSTREAM], &trigger["properties"]["pipeline"]["anyOf"][1]);
    same(&[UPSTREAMS], &trigger["properties"]["pipelines"]["anyOf"][1]);
    let task = &s["properties"]["tasks"]["additionalProperties"];
    same(TASKS, task);
    same(&[SETTINGS], &s["properties"]["defaults"]);
    let retries = &task["properties"]["retries"]["anyOf"][1];
    same(&[RETRIES], retries);
    same(&[POLICY], &retries["properties"]["on"]["anyOf"][1]);
    same(&[PARAM], &s["properties"]["params"]["additionalProperties"]);
    same(&[SECRET], &s["$defs"]["secret"]);
    same(&[HTTP], &s["$defs"]["http"]["anyOf"][1]);
    same(&[SQL], &s["$defs"]["sql"]);
    same(&[STATEMENT], &s["$defs"]["sql"]["properties"]["run"]["anyOf"][2]);
    let of = |key: &str| &task["properties"][key];
    same(&[WAIT], of("wait"));
    same(&[CHILD], &of("pipeline")["anyOf"][1]);
    same(&[APPROVE], &of("approve")["anyOf"][1]);
    same(&[CONTAINER], &of("container")["anyOf"][1]);
    same(&[RANGE], &of("for_each")["anyOf"][1]);
    same(&[EXPECT], of("expect"));
    same(&[RECORDS], &of("expect")["properties"]["records"]);
    same(&[REJECTED], &of("expect")["properties"]["rejected"]);
}
