//! What templates give, apart from any executor.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_common::lease::{Lease, Previous};
use penstock_common::metrics::Outputs;
use penstock_common::pipeline::{Action, Task};
use penstock_common::record::TriggerKind;
use penstock_common::{Fence, Interval, PipelineName, RunId, TaskId, TaskKey, Timestamp};
use serde_json::json;

use super::*;

fn lease(templates: &[&str]) -> Lease {
    let action = Action::Run(templates.iter().map(|t| (*t).to_owned()).collect());
    Lease {
        run: RunId::parse("run-1").unwrap(),
        pipeline: PipelineName::parse("daily").unwrap(),
        task: TaskKey::parse("load[1]").unwrap(),
        instance: Some(1),
        item: Some(r#"{"table": "claims", "ids": [1, 2]}"#.into()),
        number: 2,
        generation: 1,
        fence: Fence(1),
        spec: Arc::new(Task { action, ..Task::noop() }),
        params: Json::Object(params()).to_string().into(),
        trigger: TriggerKind::Manual,
        interval: Interval::new(Timestamp::parse("2024-01-30T23:30:00Z").unwrap(), Timestamp::parse("2024-01-31T23:30:00Z").unwrap()),
        outputs: BTreeMap::new(),
        previous: None,
        zone: "Europe/Paris".into(),
        first_leased_at: Timestamp(0),
        traceparent: String::new(),
    }
}

fn params() -> serde_json::Map<String, Json> {
    let hostile = "\"; touch pwned; # {{ 7*7 }} $(id)\n";
    json!({"n": 3, "f": 1.5, "yes": true, "none": null, "list": [1, "a"], "hostile": hostile, "star": "*"}).as_object().unwrap().clone()
}

fn outputs(text: &str) -> Outputs {
    Outputs(serde_json::from_str::<BTreeMap<String, Json>>(text).unwrap().into_iter().map(|(k, v)| (k, v.to_string())).collect())
}

#[test]
fn items_and_dates_are_those_of_the_instance_and_the_zone() {
    let templates = Templates::new(&lease(&[]), &params());
    assert_eq!(templates.render("x", "{{ item.table }} {{ item.ids[1] }} {{ interval.date }}").unwrap(), "claims 2 2024-01-31");
    let whole = Templates::new(&Lease { item: None, ..lease(&[]) }, &params());
    assert!(whole.render("x", "{{ item }}").unwrap_err().contains("no item"));
}

#[test]
fn before_the_first_success_previous_takes_defaults() {
    let watermark = "{{ previous.outputs.load.watermark | default('1970-01-01') }}";
    let since = "{{ previous.interval.end | default('never') }}";
    let first = Templates::new(&lease(&[watermark]), &params());
    assert_eq!(first.render("x", watermark).unwrap(), "1970-01-01");
    assert_eq!(first.render("x", since).unwrap(), "never");
    assert_eq!(first.render("x", "{% if previous.interval %}yes{% else %}no{% endif %}").unwrap(), "no");
    assert_eq!(first.render("x", "{{ previous.outputs[params.hostile].k | default(1) }}").unwrap(), "1");
    let error = first.render("x", "{{ previous.outputs.load.watermark }}").unwrap_err();
    assert!(error.contains("default("), "{error}");

    let mut later = lease(&[watermark]);
    let of_load = BTreeMap::from([(TaskId::parse("load").unwrap(), outputs(r#"{"watermark": "2024-01-29"}"#))]);
    later.previous = Some(Previous { interval: later.interval.unwrap(), outputs: of_load });
    let later = Templates::new(&later, &params());
    assert_eq!(later.render("x", watermark).unwrap(), "2024-01-29");
    assert_eq!(later.render("x", since).unwrap(), "2024-01-31T23:30:00.000Z");
    assert_eq!(later.render("x", "{{ previous.interval.date }}").unwrap(), "2024-01-31");
    assert_eq!(later.render("x", "{{ previous.outputs.new_task.k | default(2) }}").unwrap(), "2");
}

#[test]
fn a_skipped_upstream_has_no_outputs_and_takes_a_default() {
    let template = "{{ outputs.extract.path | default('none') }}";
    let templates = Templates::new(&lease(&[template]), &params());
    assert_eq!(templates.render("x", template).unwrap(), "none");
    assert!(templates.render("x", "{{ outputs.extract.path }}").is_err());
}

#[test]
fn a_single_expression_keeps_its_type() {
    let templates = Templates::new(&lease(&[]), &params());
    let given = json!({
        "n": "{{ params.n }}", "f": "{{params.f}}", "b": "{{- params.yes -}}", "z": "{{ params.none }}", "l": ["{{ params.list }}", 7],
        "s": "n={{ params.n }}", "two": "{{ params.n }}{{ params.n }}", "sum": "{{ params.n + 1 }}", "item": "{{ item }}",
        "braces": "{{ '}}' }}", "h": "{{ params.hostile }}", "plain": "text", "map": "{{ {'a': {'b': 1}} }}",
    });
    let expected = json!({
        "n": 3, "f": 1.5, "b": true, "z": null, "l": [[1, "a"], 7],
        "s": "n=3", "two": "33", "sum": 4, "item": {"table": "claims", "ids": [1, 2]},
        "braces": "}}", "h": params()["hostile"], "plain": "text", "map": {"a": {"b": 1}},
    });
    assert_eq!(templates.json("body", &given).unwrap(), expected);
    let error = templates.json("body", &json!({"a": ["{{ params.x }}"]})).unwrap_err();
    assert!(error.starts_with("body.a[0] `{{ params.x }}`") && error.contains("params.{"), "{error}");
    assert!(templates.json("body", &json!("{{ params.x.y }}")).is_err());
    assert!(templates.json("body", &json!("{{ 'x' * 9999999 }}")).is_err());
}

#[test]
fn values_are_told_from_the_documents_own_words() {
    let templates = Templates::new(&lease(&[]), &params());
    let pieces = |template| templates.pieces("url", template).unwrap();
    let (text, value) = (|s: &str| Piece::Text(s.into()), |s: &str| Piece::Value(s.into()));
    assert_eq!(pieces("/a/*.csv"), [text("/a/*.csv")]);
    assert_eq!(pieces("/a/{{ params.star }}*{{ params.n }}"), [text("/a/"), value("*"), text("*"), value("3")]);
    assert_eq!(pieces("{{ params.star | safe }}"), [text("*")]);
    assert_eq!(pieces("{{ params.list }}"), [value("[1,\"a\"]")], "as everywhere");
    assert_eq!(pieces("{% set x %}a{{ params.star }}{% endset %}{{ x }}."), [value("a*"), text(".")]);
    assert_eq!(pieces("{{ params.hostile }}"), [value(params()["hostile"].as_str().unwrap())]);
    assert!(templates.pieces("url", "{{ params.x }}").is_err());
    assert_eq!(pieces("a{{ 'x\u{FDD1}/..' }}b"), [text("a"), value("x/.."), text("b")], "a value cannot end itself");
}
