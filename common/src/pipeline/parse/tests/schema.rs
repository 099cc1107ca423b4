//! The schema and the parser agree.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::FULL;
use crate::pipeline::parse::fields::Key;
use crate::pipeline::parse::found::Found;
use crate::pipeline::parse::keys::{PARAM, POLICY, RETRIES, SETTINGS, TASK, TOP};
use crate::pipeline::parse::node::{Kind, Node, read};
use crate::pipeline::parse::scalar::{Core, resolve};
use crate::pipeline::schema;

/// The document as JSON, read as the schema's users read it.
fn to_json(text: &str) -> Value {
    fn value(node: &Node<'_>) -> Value {
        match node.kind() {
            Kind::Scalar { text, plain } => match (resolve(text), plain) {
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
    for (good, other) in
        [("noop: true", "noop: false"), ("grace:", "grase:"), ("max_lost: 0", "max_lost: -1"), ("jitter: full", "jitter: ful")]
    {
        let schema = schema();
        assert!(FULL.contains(good));
        assert!(fits(&schema, &schema, &to_json(&FULL.replace(good, other))).is_err(), "{other}");
    }
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
    let task = &s["properties"]["tasks"]["additionalProperties"];
    same(&[TASK, SETTINGS], task);
    same(&[SETTINGS], &s["properties"]["defaults"]);
    let retries = &task["properties"]["retries"]["anyOf"][1];
    same(&[RETRIES], retries);
    same(&[POLICY], &retries["properties"]["on"]["anyOf"][1]);
    same(&[PARAM], &s["properties"]["params"]["additionalProperties"]);
}
