//! What documents mean, and each error at its place.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod actions;
mod flow;
mod fuzz;
mod limits;
mod mapped;
mod schema;
mod templates;
mod timing;
mod yaml;

use std::collections::BTreeMap;

use serde_json::json;

use super::{Document, parse};
use crate::pipeline::{Action, Dependency, Diagnostic, ExitPolicy, Jitter, Location, ParamType, Pipeline, Setting, Task};
use crate::{Millis, Reason, TaskId};

/// The keys of a document that only runs programs, most of them twice.
const FULL: &str = r#"pipeline: finance/daily_etl
description: |
  Customers and claims
  into the warehouse
owner: data-team@example.com
tags: [insurance, "2024"]
params:
  region: {type: string, default: eu, enum: [eu, us], description: Where}
  days: {type: int, default: 0x10}
  ratio: {type: number, default: 0.5}
  dry: {type: bool, default: false}
  customer: {type: string}
max_active_runs: 2
run_timeout: 6h
workdir: jobs
env: {PYTHONUNBUFFERED: 1, REGION: "{{ params.region }}", LEVEL: top}
defaults:
  retries: {max: 2, delay: 10s, backoff: 3, jitter: full, on: [exit_code, timeout]}
  timeout: 30m
  queue_timeout: 1h
  grace: 20s
  max_lost: 3
  queue: etl.small
  labels: {zone: a, gpu: true}
  priority: -1
  env: {LEVEL: defaults, MODE: fast}
tasks:
  start: {noop: true}
  extract:
    description: Reads
    depends_on: start
    run: [python3, extract.py, "{{ interval.date }}", 8080, true, 1.0]
    retries: 5
    labels: {zone: b}
    env: {MODE: "slow", EMPTY: ""}
  transform:
    depends_on: [extract, start]
    shell: |
      set -x
      python3 transform.py "$IN"
    env: {IN: "{{ outputs.extract.path }}"}
    retries:
      max_delay: 5m
      not_on: {reasons: [oom], exit_codes: [2, 75]}
    timeout: 1h30m
    queue_timeout: 2h
    grace: 0s
    max_lost: 0
    queue: big
    priority: 7
    workdir: "{{ params.region }}/work"
"#;

/// Every key of this version.
const EVERYTHING: &str = include_str!("tests/everything.yaml");

fn good(text: &str) -> Document {
    match parse("p.yaml", text) {
        Ok(document) => document,
        Err(e) => panic!("{e}"),
    }
}

fn bad(text: &str) -> Vec<Diagnostic> {
    parse("p.yaml", text).expect_err("the document is wrong").list
}

/// One error, at `place`, whose message and hint contain these words.
#[track_caller]
fn refused(text: &str, place: &str, message: &str, hint: &str) {
    let list = bad(text);
    let [one] = list.as_slice() else { panic!("one error expected for {text:?}, found {list:#?}") };
    let found = format!("{}:{}: {} | {}", one.at.line, one.at.column, one.message, one.hint);
    assert_eq!(format!("{}:{}", one.at.line, one.at.column), place, "{found}");
    assert!(one.message.contains(message), "{message:?} is not in {found}");
    assert!(one.hint.contains(hint) && !one.hint.is_empty(), "{hint:?} is not in {found}");
}

/// One warning in a document that is in order.
#[track_caller]
fn warned(text: &str, place: &str, message: &str, hint: &str) -> Document {
    let document = good(text);
    let [one] = document.warnings.as_slice() else { panic!("one warning expected for {text:?}, found {:#?}", document.warnings) };
    let found = format!("{}:{}: {} | {}", one.at.line, one.at.column, one.message, one.hint);
    assert!(one.warning);
    assert_eq!(format!("{}:{}", one.at.line, one.at.column), place, "{found}");
    assert!(one.message.contains(message), "{message:?} is not in {found}");
    assert!(one.hint.contains(hint) && !one.hint.is_empty(), "{hint:?} is not in {found}");
    document
}

/// A document whose task `a` has this key, in line 4 from column 5.
fn in_task(line: &str) -> String {
    let actions = ["run:", "shell:", "noop:", "http:", "sql:", "wait:", "pipeline:", "approve:", "container:"];
    let action = if actions.iter().any(|a| line.contains(a)) { "" } else { "\n    noop: true" };
    format!("pipeline: p\ntasks:\n  a:\n    {line}{action}\n")
}

/// What a task with this key is.
#[track_caller]
fn task(line: &str) -> Task {
    let document = good(&in_task(line));
    assert_eq!(document.warnings, [], "{line}");
    schema::accepts(&in_task(line));
    document.pipeline.tasks["a"].clone()
}

/// One error for a key of the task `a`, which stands in line 4 from column 5.
#[track_caller]
fn refused_in_task(line: &str, place: &str, message: &str, hint: &str) {
    refused(&in_task(line), place, message, hint);
}

/// One error for a key of the document, which stands in line 1.
#[track_caller]
fn refused_at_top(line: &str, place: &str, message: &str, hint: &str) {
    refused(&format!("{line}\npipeline: p\ntasks: {{a: {{noop: true}}}}\n"), place, message, hint);
}

fn id(s: &str) -> TaskId {
    TaskId::parse(s).unwrap()
}

#[test]
fn the_full_example_means_what_it_says() {
    let Document { pipeline: p, warnings, tasks, edges } = good(FULL);
    assert_eq!(warnings, []);
    assert_eq!((p.name.full(), p.owner.as_str()), ("finance/daily_etl", "data-team@example.com"));
    assert_eq!(
        (p.description.as_str(), p.tags.as_slice()),
        ("Customers and claims\ninto the warehouse\n", &["insurance".to_owned(), "2024".to_owned()][..])
    );
    assert_eq!((p.max_active_runs, p.run_timeout), (Some(2), Some(Millis(6 * 3_600_000))));
    let params: Vec<_> = p.params.iter().map(|(n, p)| (n.as_str(), p.kind, p.default.clone(), p.values.clone())).collect();
    assert_eq!(
        params,
        [
            ("customer", ParamType::String, None, vec![]),
            ("days", ParamType::Int, Some(json!(16)), vec![]),
            ("dry", ParamType::Bool, Some(json!(false)), vec![]),
            ("ratio", ParamType::Number, Some(json!(0.5)), vec![]),
            ("region", ParamType::String, Some(json!("eu")), vec![json!("eu"), json!("us")]),
        ]
    );

    let extract = &p.tasks["extract"];
    let argv = ["python3", "extract.py", "{{ interval.date }}", "8080", "true", "1.0"];
    assert_eq!(extract.action, Action::Run(argv.map(str::to_owned).to_vec()), "arguments are text as it is written");
    assert_eq!(extract.description, "Reads");
    assert_eq!(extract.depends_on, [Dependency { task: id("start"), when: None, paired: false }]);
    let r = &extract.retries;
    assert_eq!((r.max, r.delay, r.backoff, r.jitter), (5, Millis(10_000), 3.0, Jitter::Full), "only max is its own");
    assert_eq!(r.on, Some(ExitPolicy { reasons: vec![Reason::ExitCode, Reason::Timeout], exit_codes: vec![] }));
    assert_eq!((extract.timeout, extract.queue_timeout), (Some(Millis(1_800_000)), Some(Millis(3_600_000))));
    assert_eq!((extract.grace, extract.max_lost, extract.priority), (Millis(20_000), 3, -1));
    assert_eq!((extract.queue.as_str(), extract.workdir.as_str()), ("etl.small", "jobs"));
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>();
    assert_eq!(extract.labels, map(&[("gpu", "true"), ("zone", "b")]));
    let env = [("EMPTY", ""), ("LEVEL", "defaults"), ("MODE", "slow"), ("PYTHONUNBUFFERED", "1"), ("REGION", "{{ params.region }}")];
    let env = map(&env).into_iter().map(|(name, value)| (name, Setting::Template(value))).collect();
    assert_eq!(extract.env, env, "task over defaults over document");

    let transform = &p.tasks["transform"];
    assert_eq!(transform.action, Action::Shell("set -x\npython3 transform.py \"$IN\"\n".to_owned()));
    assert_eq!((transform.retries.max, transform.retries.max_delay), (2, Millis(300_000)));
    assert_eq!(transform.retries.not_on, Some(ExitPolicy { reasons: vec![Reason::Oom], exit_codes: vec![2, 75] }));
    assert_eq!((transform.grace, transform.max_lost, transform.priority), (Millis(0), 0, 7));
    assert_eq!((transform.queue.as_str(), transform.workdir.as_str()), ("big", "{{ params.region }}/work"));

    let at = |line, column| Location { line, column };
    assert_eq!(tasks, BTreeMap::from([(id("start"), at(28, 3)), (id("extract"), at(29, 3)), (id("transform"), at(36, 3))]));
    assert_eq!(edges[&(id("extract"), id("start"))], at(31, 17));
    assert_eq!(edges[&(id("transform"), id("extract"))], at(37, 18));
    assert_eq!(edges[&(id("transform"), id("start"))], at(37, 27));
    assert_eq!(edges.len(), 3);
}

#[test]
fn the_example_in_the_repository_is_in_order() {
    let text = include_str!("../../../../examples/insurance/pipeline.yaml");
    let document = good(text);
    assert_eq!(document.pipeline.tasks.len(), 8);
    assert_eq!(document.warnings, []);
    schema::accepts(text);
}

#[test]
fn a_pipeline_survives_its_blob() {
    let pipeline = good(FULL).pipeline;
    let back = Pipeline::from_blob(&pipeline.to_blob()).unwrap();
    assert_eq!(back, pipeline);
    assert_eq!(back.digest(), pipeline.digest());
}

#[test]
fn comments_and_order_make_no_new_version() {
    let a = "pipeline: p\ntasks:\n  a: {noop: true}\n  b: {run: [x], depends_on: [a]}\n";
    let b = "# note\ntasks:\n  b:\n    depends_on: a\n    run:\n      - 'x'\n  a: {noop: true}\npipeline: default/p # same\n";
    assert_eq!(good(a).pipeline.digest(), good(b).pipeline.digest());
}

#[test]
fn json_is_read_like_yaml() {
    let value = json!({"pipeline": "p", "tasks": {"a": {"run": ["echo", "ü \u{1f600} \"x\""], "timeout": "5m"}, "b": {"noop": true, "depends_on": ["a"]}}});
    let yaml = "pipeline: p\ntasks:\n  a: {run: [echo, \"ü 😀 \\\"x\\\"\"], timeout: 5m}\n  b: {noop: true, depends_on: [a]}\n";
    let tabs = serde_json::to_string_pretty(&value).unwrap().replace("  ", "\t");
    let ascii = value.to_string().replace('ü', "\\u00fc").replace('\u{1f600}', "\\ud83d\\ude00");
    for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap(), tabs, ascii] {
        assert_eq!(good(&text).pipeline, good(yaml).pipeline, "{text}");
    }
}

#[test]
fn eight_different_errors_are_all_reported_in_order() {
    let text = "pipeline: Daily ETL
params:
  region: {type: string, default: eu, enum: [us, uk]}
defaults: {retries: {max: 2, backof: 2}}
tasks:
  extract:
    run: [python3, extract.py, \"{{ params.regoin }}\"]
    timeout: 30
  transform:
    depends_on: [extrct]
    run: [python3]
    noop: true
  load:
    schedule: \"0 2 * * *\"
    shell: echo {{ params.region }}
";
    let found: Vec<_> = bad(text).iter().map(|d| format!("{}:{}: {} ({})", d.at.line, d.at.column, d.message, d.hint)).collect();
    let expected = [
        "1:11: \"Daily ETL\" is not a valid pipeline name (use name or namespace/name, each a lower-case letter, then at most 62 of \
         a-z, 0-9, _, . and -; for instance daily_etl)",
        "3:35: the default \"eu\" is not in `enum` (use one of uk, us, or add it there)",
        "4:30: unknown key `backof` (did you mean `backoff`?)",
        "7:32: there is no parameter `regoin` (did you mean `region`?)",
        "8:14: `timeout` is not a duration: the number 30 (write a number and a unit, such as 250ms, 30s, 5m, 2h, 1d or 1h30m; if \
         seconds are meant: 30s)",
        "10:18: task `transform` depends on `extrct`, which is no task and no group (did you mean `extract`?)",
        "12:5: task `transform` has a second action `noop` (keep this or `run`; two steps are two tasks, joined by `depends_on`)",
        "14:5: unknown key `schedule` (`schedule` belongs in the document's top level)",
        "15:12: `shell` must not contain a template (`{{` or `{%`): what it renders would be run as code (pass values as environment \
         variables: `env: {X: \"{{ … }}\"}`, then \"$X\" in the script)",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_key_of_a_later_version_is_not_called_unknown() {
    for key in ["deadline", "notify", "alert_queued_after", "baseline"] {
        refused_at_top(&format!("{key}: 1"), "1:1", &format!("`{key}` is not supported by this version"), "remove it");
    }
    refused_in_task("baseline: weekday", "4:5", "`baseline` is not supported by this version", "depends_on");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    refused_at_top("paramz: {}", "1:1", "unknown key `paramz`", "`params`");
    refused_at_top("zzz: 1", "1:1", "unknown key `zzz`", "the keys here are: defaults, depends_on_past, description, ");
    refused_at_top("timeout: 5m", "1:1", "unknown key `timeout`", "belongs in a task or in `defaults`");
    refused_at_top("name: p", "1:1", "unknown key `name`", "did you mean `pipeline`?");
    refused_in_task("retires: 2", "4:5", "unknown key `retires`", "`retries`");
    refused_in_task("needs: [b]", "4:5", "unknown key `needs`", "`depends_on`");
    refused_in_task("owner: me", "4:5", "unknown key `owner`", "the document's top level");
    refused_in_task("max_delay: 1s", "4:5", "unknown key `max_delay`", "belongs in `retries`");
    refused_in_task("retries: {backof: 2}", "4:15", "unknown key `backof`", "`backoff`");
    refused_in_task("retries: {on: {codes: [2]}}", "4:20", "unknown key `codes`", "exit_codes, reasons");
    refused_at_top("defaults: {depends_on: [a]}", "1:12", "unknown key `depends_on`", "belongs in a task");
    refused_at_top("params: {x: {typ: int, type: int}}", "1:14", "unknown key `typ`", "`type`");
}

#[test]
fn what_is_missing_is_said_where_it_would_stand() {
    refused("tasks: {a: {noop: true}}\n", "1:1", "the key `pipeline` is missing", "Its name");
    refused("# x\npipeline: p\n", "2:1", "the key `tasks` is missing", "tasks");
    refused("pipeline: p\ntasks: {}\n", "2:8", "`tasks` has no task", "under its id");
    refused("pipeline: p\ntasks:\n", "2:1", "`tasks` is empty", "under its id");
    refused("pipeline: p\ntasks: [{id: a}]\n", "2:8", "`tasks` must be a mapping, found a list", "under its id");
    refused("pipeline: p\ntasks:\n  a:\n", "3:3", "task `a` is empty; it must be a mapping", "its keys are");
    refused("pipeline: p\ntasks:\n  a: {run: [x], shell: y}\n", "3:17", "second action `shell`", "keep this or `run`");
    refused("pipeline:\ntasks: {a: {noop: true}}\n", "1:1", "`pipeline` is empty", "");
    refused_at_top("params: {x: {default: 1}}", "1:10", "no type", "string, int, number or bool");
}

#[test]
fn wrong_types_say_what_was_found() {
    refused("- a\n", "1:1", "the document must be a mapping, found a list", "pipeline");
    refused("hello\n", "1:1", "must be a mapping, found the text \"hello\"", "pipeline");
    refused_at_top("owner: 2024", "1:8", "`owner` must be text, found the number 2024", "\"2024\"");
    refused_at_top("owner: true", "1:8", "the boolean true", "\"true\"");
    refused_at_top("tags: x", "1:7", "`tags` must be a list, found the text \"x\"", "[one, two]");
    refused_at_top("tags: []", "1:7", "`tags` is an empty list", "leave the key out");
    refused_at_top("max_active_runs: 0", "1:18", "out of range: the number 0", "from 1 to");
    refused_at_top("max_active_runs: \"3\"", "1:18", "found the text \"3\"", "3 without quotes");
    refused_at_top("max_active_runs: 1.5", "1:18", "a whole number from 1 on, found the number 1.5", "");
    refused_at_top("max_active_runs: 99999999999999999999", "1:18", "out of range", "");
    refused_in_task("priority: 3000000000", "4:15", "out of range", "-2147483648 to 2147483647");
    refused_in_task("max_lost: -1", "4:15", "out of range: the number -1", "from 0");
    refused_in_task("noop: yes", "4:11", "`noop` must be true, found the text \"yes\"", "noop: true");
    refused_in_task("noop: false", "4:11", "the boolean false", "remove the key");
    refused_in_task("run: python3 x.py", "4:10", "a list of a program and its arguments", "run: [python3, x.py]");
    refused_in_task("run: []", "4:10", "`run` is an empty list", "program");
    refused_in_task("run: [\"\"]", "4:11", "names no program", "first item");
    refused_in_task("run: [x, ~]", "4:14", "`run` is empty; it must be text", "\"\"");
    refused_in_task("run: [x, [y]]", "4:14", "must be text, found a list", "");
    refused_in_task("shell: \"\"", "4:12", "empty script", "noop");
    refused_in_task("labels: [a]", "4:13", "`labels` must be a mapping, found a list", "KEY: value");
    refused_in_task("labels: {\"a b\": c}", "4:14", "\"a b\" is not a valid label", "letter");
    refused_in_task("env:", "4:5", "`env` is empty", "NAME");
    refused_in_task("depends_on: [A-b]", "4:18", "\"A-b\" is not a valid task id", "for instance a_b");
    refused_in_task("queue: A b", "4:12", "is not a valid queue name", "for instance a_b");
}

#[test]
fn durations_and_retries_are_checked() {
    refused_in_task("timeout: 30", "4:14", "is not a duration: the number 30", "if seconds are meant: 30s");
    refused_in_task("timeout: 5 minutes", "4:14", "is not a duration: the text \"5 minutes\"", "5m");
    refused_in_task("timeout: 0s", "4:14", "must be longer than 0", "leave the key out");
    refused_in_task("grace: 99999d", "4:12", "out of range", "3650d");
    refused_in_task("timeout: [5m]", "4:14", "must be a duration, found a list", "250ms");
    refused_in_task("timeout:", "4:5", "is empty; it must be a duration", "250ms");
    refused_in_task("retries: two", "4:14", "`retries` must be a whole number", "");
    refused_in_task("retries: {backoff: 0.5}", "4:24", "out of range: 0.5", "from 1 on");
    refused_in_task("retries: {backoff: .inf}", "4:24", "must be a number", "1.5");
    refused_in_task("retries: {backoff: \"2\"}", "4:24", "must be a number", "without quotes");
    refused_in_task("retries: {jitter: ful}", "4:23", "must be one of full, none, found the text \"ful\"", "`full`");
    refused_in_task("retries: {on: [exit_cod]}", "4:20", "found the text \"exit_cod\"", "`exit_code`");
    refused_in_task("retries: {on: [template]}", "4:20", "never followed by a retry", "exit_code");
    refused_in_task("retries: {on: timeout}", "4:19", "must be a list of reasons", "[exit_code, timeout]");
    refused_in_task("retries: {on: []}", "4:19", "is an empty list", "max: 0");
    refused_in_task("retries: {not_on: {exit_codes: [0]}}", "4:37", "out of range: the number 0", "1 to 255");
    refused_in_task("retries: {delay: 2m, max_delay: 1m}", "4:22", "the delay 2m is longer than max_delay 1m", "raise");
    let text = "pipeline: p\ndefaults: {retries: {max_delay: 1m}}\ntasks:\n  a: {noop: true, retries: {delay: 2m}}\n  b: {noop: true}\n";
    refused(text, "4:36", "the delay 2m is longer than max_delay 1m", "raise");
    let long = good("pipeline: p\ntasks: {a: {noop: true, retries: {delay: 2h}}}\n");
    assert_eq!(long.pipeline.tasks["a"].retries.max_delay, Millis(7_200_000), "a default does not cut what was written");
}

#[test]
fn parameters_fit_their_types() {
    refused_at_top("params: {x: {type: string, default: 1.0}}", "1:37", "the number 1.0 is not a value of type string", "\"1.0\"");
    refused_at_top("params: {x: {type: string, default: }}", "1:28", "nothing is not a value of type string", "\"\"");
    refused_at_top("params: {x: {type: bool, default: no}}", "1:35", "the text \"no\" is not a value of type bool", "write false");
    refused_at_top("params: {x: {type: bool, default: 1}}", "1:35", "the number 1", "true or false");
    refused_at_top("params: {x: {type: int, default: 1.5}}", "1:34", "the number 1.5", "type: number");
    refused_at_top("params: {x: {type: int, default: \"5\"}}", "1:34", "the text \"5\"", "5 without quotes");
    refused_at_top("params: {x: {type: int, default: 99999999999999999999}}", "1:34", "the number 9999", "64 bits");
    refused_at_top("params: {x: {type: number, default: .nan}}", "1:37", "the number .nan", "finite");
    refused_at_top("params: {x: {type: number, default: a}}", "1:37", "the text \"a\"", "type: string");
    refused_at_top("params: {x: {type: strin}}", "1:20", "found the text \"strin\"", "`string`");
    refused_at_top("params: {x: {type: int, enum: [1, 1]}}", "1:35", "twice", "remove");
    refused_at_top("params: {x: {type: int, enum: [1, a]}}", "1:35", "the text \"a\"", "whole number");
    refused_at_top("params: {x: {type: int, enum: []}}", "1:31", "empty list", "leave");
    refused_at_top("params: {x: {type: string, default: [a]}}", "1:37", "a single value, found a list", "text, numbers");
    refused_at_top("params: {Region: {type: int}}", "1:10", "\"Region\" is not a valid parameter name", "lower-case");
    refused_at_top(
        "params: {region: eu}",
        "1:18",
        "parameter `region` must be a mapping, found the text \"eu\"",
        "default, description, enum, type",
    );
    refused_at_top("params: [a]", "1:9", "`params` must be a mapping, found a list", "NAME");
    refused_at_top("params: {x: {type: number, default: 99999999999999999999}}", "1:37", "the number 9999", "as a float");
    let number = "pipeline: p\nparams: {x: {type: number, default: 1e20}}\ntasks: {a: {noop: true}}\n";
    assert_eq!(good(number).pipeline.params["x"].default, Some(json!(1e20)));
}

#[test]
fn words_that_older_readers_take_for_booleans_are_warned_about() {
    let text = "pipeline: p\nparams:\n  x: {type: string, default: no, enum: [no, \"yes\", maybe]}\ntasks: {a: {noop: true}}\n";
    let document = good(text);
    assert_eq!(document.pipeline.params["x"].default, Some(json!("no")));
    let found: Vec<_> = document.warnings.iter().map(|w| (w.at.column, w.warning, w.hint.as_str())).collect();
    assert_eq!(found, [(30, true, "put it in quotes: \"no\""), (41, true, "put it in quotes: \"no\"")]);
    let both = bad(&text.replace("noop: true", "noop: false"));
    assert_eq!(both.iter().map(|d| d.warning).collect::<Vec<_>>(), [true, true, false], "warnings are shown with errors");
}

#[test]
fn environment_names_are_checked() {
    refused_in_task("env: {1A: x}", "4:11", "\"1A\" is not a valid variable name", "digit");
    refused_in_task("env: {A-B: x}", "4:11", "\"A-B\" is not a valid variable name", "letters");
    refused_in_task("env: {\"\": x}", "4:11", "not a valid variable name", "letters");
    refused_in_task("env: {PENSTOCK_X: x}", "4:11", "`PENSTOCK_X` is reserved", "another name");
    refused_in_task("env: {A: [x]}", "4:14", "variable `A` must be text, found a list", "\"\"");
    refused_in_task("env: {A: {}}", "4:14", "variable `A` must be text, found a mapping", "\"\"");
}

#[test]
fn upstreams_must_exist_once_and_be_others() {
    refused_in_task("depends_on: [b]", "4:18", "task `a` depends on `b`, which is no task", "add the task");
    refused_in_task("depends_on: a", "4:17", "task `a` depends on itself", "remove");
    let text = "pipeline: p\ntasks:\n  a: {noop: true}\n  b: {noop: true, depends_on: [a, a]}\n";
    refused(text, "4:35", "`a` is in `depends_on` twice", "remove");
    let text = "pipeline: p\ntasks:\n  extract: {noop: true}\n  b: {noop: true, depends_on: [\n    extarct]}\n";
    refused(text, "5:5", "`extarct`, which is no task", "did you mean `extract`?");
}
