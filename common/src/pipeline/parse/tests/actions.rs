//! What each type of task may say, and each error at its place.

use serde_json::json;

use super::{bad, good, in_task, refused, refused_in_task, task, warned};
use crate::Millis;
use crate::pipeline::{Action, Approve, Body, ChildRun, Container, Http, Pull, Setting, Sql, Statement, Until, Wait};

fn http(line: &str) -> Http {
    match task(line).action {
        Action::Http(http) => http,
        other => panic!("{other:?}"),
    }
}
fn sql(line: &str) -> Sql {
    match task(line).action {
        Action::Sql(sql) => sql,
        other => panic!("{other:?}"),
    }
}
fn wait(line: &str) -> Wait {
    match task(line).action {
        Action::Wait(wait) => wait,
        other => panic!("{other:?}"),
    }
}
fn container(line: &str) -> Container {
    match task(line).action {
        Action::Container(container) => container,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_task_without_an_action_does_nothing_and_a_wrong_one_is_an_error() {
    let document = warned("pipeline: p\ntasks:\n  a: {timeout: 5m}\n", "3:3", "task `a` has no action", "noop: true");
    assert_eq!(document.pipeline.tasks["a"].action, Action::Noop);
    warned("pipeline: p\ntasks:\n  a: {}\n", "3:3", "task `a` has no action", "shell: \"script\"");
    refused("pipeline: p\ntasks:\n  a: {comand: [x]}\n", "3:7", "unknown key `comand`", "container");
    refused("pipeline: p\ntasks:\n  a: {command: [x]}\n", "3:7", "unknown key `command`", "did you mean `run`?");
    refused("pipeline: p\ntasks:\n  a: {approve: x, wait: {time: 06:00}}\n", "3:19", "second action `wait`", "keep this or `approve`");
    refused("pipeline: p\ntasks:\n  a: {run: []}\n", "3:12", "`run` is an empty list", "program");
}

#[test]
fn a_request_is_a_url_or_says_more() {
    let plain = Http {
        method: "GET".to_owned(),
        url: "https://x".to_owned(),
        headers: [].into(),
        body: None,
        success: vec![(200, 299)],
        keep_body: false,
    };
    assert_eq!(http("http: https://x"), plain);
    assert_eq!(http("http: {url: https://x, method: GET, output: none}"), plain);
    let full = http(
        "http: {url: \"http{{ params['s'] }}://x\", method: POST, headers: {A-b: 1, T: {secret: K}}, json: {b: [1, \"{{ run.id }}\"], a: 1.5}, success: [409, 2xx, \"300-304\"], output: body}",
    );
    assert_eq!(full.method, "POST");
    assert_eq!(full.headers["A-b"], Setting::Template("1".to_owned()));
    assert_eq!(full.headers["T"], Setting::Secret { secret: "K".to_owned() });
    assert_eq!(full.body, Some(Body::Json(json!({"a": 1.5, "b": [1, "{{ run.id }}"]}))));
    assert_eq!((full.success, full.keep_body), (vec![(200, 304), (409, 409)], true), "adjacent ranges are one");
    assert_eq!(http("http: {url: \"{{ params['u'] }}\", method: PUT, body: 5}").body, Some(Body::Text("5".to_owned())));
    assert_eq!(http("http: {url: https://x, success: 404}").success, [(404, 404)]);
}

#[test]
fn requests_that_cannot_be_are_refused() {
    refused_in_task("http:", "4:5", "`http` is empty; it must be a text (its `url`) or a mapping", "url");
    refused_in_task("http: {method: GET}", "4:11", "`http` has no `url`", "add `url:`");
    refused_in_task("http: ftp://x", "4:11", "`http` is not a URL: \"ftp://x\"", "https://HOST");
    refused_in_task("http: {url: example.com}", "4:17", "`url` is not a URL", "http://HOST");
    refused_in_task("http: {url: \"https://\"}", "4:17", "is not a URL", "HOST");
    refused_in_task("http: {url: \"x{{ run.id }}\"}", "4:17", "is not a URL", "HOST");
    refused_in_task("http: {url: \"https://a b\"}", "4:17", "white space", "%20");
    refused_in_task("http: {url: \"https://{{ ru.id }}\"}", "4:17", "unknown name `ru`", "`run`");
    refused_in_task("http: {url: https://x, method: post}", "4:36", "must be one of", "did you mean `POST`?");
    refused_in_task("http: {url: https://x, uri: x}", "4:28", "unknown key `uri`", "did you mean `url`?");
    refused_in_task("http: {url: https://x, success: [ok]}", "4:38", "a status code, as 200", "from 100 to 599");
    refused_in_task("http: {url: https://x, success: [700]}", "4:38", "found the number 700", "599");
    refused_in_task("http: {url: https://x, success: [204-200]}", "4:38", "a status code", "201-204");
    refused_in_task("http: {url: https://x, success: 6xx}", "4:37", "a status code", "2xx");
    refused_in_task("http: {url: https://x, output: status}", "4:36", "must be one of body, none", "");
    refused_in_task("http: {url: https://x, method: PUT, body: x, json: 1}", "4:56", "both `body` and `json`", "keep one");
    refused_in_task("http: {url: https://x, method: PUT, json: {\"{{ x }}\": 1}}", "4:48", "is not rendered", "only values");
    refused_in_task("http: {url: https://x, method: PUT, json: [.inf]}", "4:48", ".inf is no number in JSON", "finite");
    refused_in_task("http: {url: https://x, method: PUT, json: [99999999999999999999]}", "4:48", "more than 64 bits", "quotes");
    refused_in_task("http: {url: https://x, method: PUT, json: {a: \"{{ b }}\"}}", "4:51", "unknown name `b`", "params.NAME");
    refused_in_task("http: {url: https://x, headers: {\"a b\": c}}", "4:38", "not a valid header name", "Content-Type");
    refused_in_task("http: {url: https://x, headers: {A: b, a: c}}", "4:44", "the header `a` is there twice", "`A`");
    refused_in_task("http: {url: https://x, headers: {A: \"b\\nc\"}}", "4:41", "header `A` must be one line", "line break");
    refused_in_task("http: {url: https://x, headers: {A: {secret: \"9\"}}}", "4:50", "\"9\" is not a valid secret name", "letter");
    let text = in_task("http: {url: https://x, json: 1}");
    warned(&text, "4:34", "a GET request has a body", "method: POST");
}

#[test]
fn statements_have_binds_of_their_own() {
    let one = sql("sql: {connection: dwh.main, run: \"insert into t values ($1, $2)\", bind: [\"{{ run.id }}\", null]}");
    let statement = |text: &str, bind: Vec<serde_json::Value>| Statement { text: text.to_owned(), bind };
    assert_eq!(one.statements, [statement("insert into t values ($1, $2)", vec![json!("{{ run.id }}"), json!(null)])]);
    assert_eq!((one.connection.as_str(), one.transaction, one.keep_row), ("dwh.main", true, false));
    let many = sql("sql: {connection: d, run: [select 1, {sql: select $1, bind: [true]}], transaction: false, output: row}");
    assert_eq!(many.statements, [statement("select 1", vec![]), statement("select $1", vec![json!(true)])]);
    assert_eq!((many.transaction, many.keep_row), (false, true));
    sql("sql: {connection: d, run: [begin, select 1, commit], transaction: false}");
    sql("sql: {connection: d, run: [select $1], bind: [1]}");
    sql("sql: {connection: d, run: {sql: select $1, bind: [1]}}");
}

#[test]
fn values_never_become_sql() {
    let hint = "`bind: [\"{{ … }}\"]`, and $1";
    refused_in_task("sql: {connection: d, run: \"select {{ x }}\"}", "4:31", "must not contain a template", hint);
    refused_in_task("sql: {connection: d, run: [\"select 1\", \"{% if x %}\"]}", "4:44", "would be run as SQL", hint);
    refused_in_task("sql: {connection: d, run: [{sql: \"select {{ x }}\"}]}", "4:38", "`sql` must not contain a template", hint);
}

#[test]
fn statements_that_cannot_be_are_refused() {
    refused_in_task("sql: select 1", "4:10", "`sql` must be a mapping", "connection: NAME");
    refused_in_task("sql: {run: select 1}", "4:10", "`sql` has no `connection`", "add `connection:`");
    refused_in_task("sql: {connection: d}", "4:10", "`sql` has no `run`", "add `run:`");
    refused_in_task("sql: {connection: d, run: [{bind: []}]}", "4:32", "`run` has no `sql`", "add `sql:`");
    refused_in_task("sql: {connection: D B, run: select 1}", "4:23", "not a valid connection name", "lower-case");
    refused_in_task("sql: {connection: d, run: []}", "4:31", "empty list", "statement");
    refused_in_task("sql: {connection: d, run: \" \"}", "4:31", "empty statement", "SQL");
    refused_in_task("sql: {connection: d, run: [a, b], bind: [1]}", "4:45", "`bind` is of a single statement", "bind: […]");
    refused_in_task("sql: {connection: d, run: {sql: select $1, bind: [1]}, bind: [1]}", "4:66", "two lists of values", "keep");
    refused_in_task("sql: {connection: d, run: select $1, bind: 1}", "4:48", "`bind` must be a list", "$1");
    refused_in_task("sql: {connection: d, run: select $1, bind: [[1]]}", "4:49", "a single value", "tojson");
    refused_in_task("sql: {connection: d, run: select $1, bind: [\"{{ x }}\"]}", "4:49", "unknown name `x`", "params");
    refused_in_task("sql: {connection: d, run: select 1, query: select 1}", "4:41", "unknown key `query`", "`run`");
    let hint = "`transaction: false`";
    refused_in_task("sql: {connection: d, run: [a, \"/* x */ Commit\"]}", "4:35", "COMMIT within statements that are one", hint);
    refused_in_task(
        "sql: {connection: d, run: [{sql: \"--\\nend\"}]}",
        "4:38",
        "END within statements that are one transaction (line 2",
        hint,
    );
    warned(&in_task("sql: {connection: d, run: \"select $2\", bind: [1]}"), "4:31", "uses $2, and `bind` has 1 value", "each");
    warned(&in_task("sql: {connection: d, run: \"select 1\", bind: [1]}"), "4:31", "the statement uses no $1", "$1 where");
}

#[test]
fn one_thing_is_waited_for() {
    let file = wait("wait: {file: \"in/{{ interval.date }}.csv\", settle: 30s, every: 1s, timeout: 2h, on_timeout: skip}");
    assert_eq!(file.until, Until::File { path: "in/{{ interval.date }}.csv".to_owned(), settle: Millis(30_000) });
    assert_eq!((file.every, file.timeout, file.skip_on_timeout), (Millis(1_000), Some(Millis(7_200_000)), true));
    let short = wait("wait: {file: x}");
    assert_eq!((short.until, short.every), (Until::File { path: "x".to_owned(), settle: Millis(0) }, Millis(30_000)));
    assert!(matches!(wait("wait: {http: https://x}").until, Until::Http(_)));
    assert!(matches!(wait("wait: {sql: {connection: d, run: select 1}}").until, Until::Sql(_)));
    for time in ["06:00", "\"23:59\"", "2024-01-31T06:00:00+01:00", "\"{{ params['t'] }}\""] {
        assert!(matches!(wait(&format!("wait: {{time: {time}}}")).until, Until::Time(_)));
    }
}

#[test]
fn waits_that_cannot_be_are_refused() {
    refused_in_task("wait: {}", "4:11", "`wait` says not what for", "file, http, sql and time");
    refused_in_task("wait: 5m", "4:11", "`wait` must be a mapping", "{time: \"06:00\"}");
    refused_in_task("wait: {file: x, time: 06:00}", "4:21", "a second thing to wait for, `time`", "keep this or `file`");
    refused_in_task("wait: {file: \"\"}", "4:18", "empty path", "landing");
    refused_in_task("wait: {file: {path: x}}", "4:18", "`file` must be a path", "settle: 30s beside");
    refused_in_task("wait: {time: 6am}", "4:18", "`time` is not a time: \"6am\"", "HH:MM");
    refused_in_task("wait: {time: 24:00}", "4:18", "is not a time", "06:00");
    refused_in_task("wait: {time: 6:00}", "4:18", "is not a time", "06:00");
    refused_in_task("wait: {time: 06:00, settle: 1s}", "4:33", "`settle` is of files only", "remove");
    refused_in_task("wait: {file: x, every: 100ms}", "4:28", "`every` is too short: 100ms", "at least 1s");
    refused_in_task("wait: {file: x, every: 0s}", "4:28", "too short", "1s");
    refused_in_task("wait: {file: x, timeout: 0s}", "4:30", "longer than 0", "leave");
    refused_in_task("wait: {file: x, on_timeout: skip}", "4:33", "`on_timeout` without a `timeout`", "timeout: 2h");
    refused_in_task("wait: {file: x, timeout: 1h, on_timeout: pass}", "4:46", "must be one of fail, skip", "");
    refused_in_task("wait: {file: x, poke_interval: 5s}", "4:21", "unknown key `poke_interval`", "`every`");
    refused_in_task("wait: {http: {url: x}}", "4:24", "is not a URL", "https");
    refused_in_task("wait: {sql: {connection: d, run: \"{{ x }}\"}}", "4:38", "must not contain a template", "bind");
}

#[test]
fn another_pipeline_is_started() {
    let child = |line: &str| match task(line).action {
        Action::Pipeline(child) => child,
        other => panic!("{other:?}"),
    };
    let name = |name: &str| crate::PipelineName::parse(name).unwrap();
    assert_eq!(child("pipeline: crm/sync"), ChildRun { name: name("crm/sync"), params: [].into(), wait: true });
    let full = child("pipeline: {name: b, params: {x: \"{{ run.id }}\", y: [1, {z: null}]}, wait: false}");
    assert_eq!(full.params["x"], json!("{{ run.id }}"));
    assert_eq!((full.params["y"].clone(), full.wait), (json!([1, {"z": null}]), false));
    refused_in_task("pipeline: {params: {}}", "4:15", "`pipeline` has no `name`", "add `name:`");
    refused_in_task("pipeline: Some Thing", "4:15", "not a valid pipeline name", "some_thing");
    refused_in_task("pipeline: \"{{ params.x }}\"", "4:15", "must not contain a template", "parameter");
    refused_in_task("pipeline: {name: b, params: {X: 1}}", "4:34", "\"X\" is not a valid parameter name", "lower-case");
    refused_in_task("pipeline: {name: b, wait: yes}", "4:31", "`wait` must be true or false", "write true");
    warned(&in_task("pipeline: p"), "3:3", "starts its own pipeline", "`if`");
    good(
        "pipeline: p\nparams: {n: {type: int, default: 0}}\ntasks: {a: {pipeline: {name: p, params: {n: \"{{ params.n + 1 }}\"}}, if: params.n < 3}}\n",
    );
}

#[test]
fn a_person_is_asked() {
    let asked = Action::Approve(Approve { message: "Publish?".to_owned() });
    assert_eq!(task("approve: Publish?").action, asked);
    assert_eq!(task("approve: {message: Publish?}").action, asked);
    refused_in_task("approve: true", "4:14", "must be text, found the boolean true", "\"true\"");
    refused_in_task("approve: {}", "4:14", "`approve` has no `message`", "add");
    refused_in_task("approve: \"\"", "4:14", "`approve` is empty", "asked");
    refused_in_task("approve: \"Publish {{ interval.date }}?\"", "4:14", "shown as it is written", "without braces");
    warned("pipeline: p\ntasks:\n  a:\n    approve: x\n    retries: 2\n", "5:5", "`retries` has no effect with `approve`", "remove");
    warned("pipeline: p\ntasks:\n  a:\n    pipeline: x\n    pool: y\n", "5:5", "`pool` has no effect with `pipeline`", "remove");
    good("pipeline: p\ndefaults: {retries: 2, queue: x}\ntasks: {a: {approve: x}}\n");
}

#[test]
fn a_container_has_resources() {
    let short = container("container: alpine:3");
    assert_eq!((short.image.as_str(), short.pull, short.cpu_millis, short.memory_bytes), ("alpine:3", Pull::Missing, None, None));
    let full = container(
        "container: {image: \"x:{{ run.id }}\", command: [a], args: [1, b], cpu: 500m, memory: 512MiB, namespace: n-1, service_account: s.a, pull: never}",
    );
    assert_eq!((full.command, full.args), (vec!["a".to_owned()], vec!["1".to_owned(), "b".to_owned()]));
    assert_eq!((full.cpu_millis, full.memory_bytes, full.pull), (Some(500), Some(512 << 20), Pull::Never));
    assert_eq!((full.namespace.as_deref(), full.service_account.as_deref()), (Some("n-1"), Some("s.a")));
    for (cpu, millis) in [("2", 2_000), ("0.5", 500), ("1.25", 1_250), ("\"0.001\"", 1), ("1500m", 1_500)] {
        assert_eq!(container(&format!("container: {{image: x, cpu: {cpu}}}")).cpu_millis, Some(millis), "{cpu}");
    }
    for (size, bytes) in [("1KiB", 1 << 10), ("3GiB", 3 << 30), ("2TiB", 2_u64 << 40)] {
        assert_eq!(container(&format!("container: {{image: x, memory: {size}}}")).memory_bytes, Some(bytes), "{size}");
    }
}

#[test]
fn containers_that_cannot_be_are_refused() {
    refused_in_task("container: {args: [x]}", "4:16", "`container` has no `image`", "add");
    refused_in_task("container: alpine sh", "4:16", "is not an image", "args");
    refused_in_task("container: {image: x, command: x}", "4:36", "`command` must be a list", "image's own");
    refused_in_task("container: {image: x, args: []}", "4:33", "empty list", "leave");
    for (cpu, message) in [("0", "out of range"), ("0m", "out of range"), ("two", "a number of CPUs"), ("0.0001", "CPUs"), ("-1", "CPUs")] {
        refused_in_task(&format!("container: {{image: x, cpu: {cpu}}}"), "4:32", message, "");
    }
    for (memory, hint) in [
        ("512", "if MiB are meant: 512MiB"),
        ("536870912", "if bytes are meant: 512MiB"),
        ("512M", "for instance 512MiB"),
        ("512Mi", "for instance 512MiB"),
        ("2gb", "for instance 2GiB"),
        ("1.5GiB", "a whole number and a unit"),
        ("much", "64MiB"),
    ] {
        refused_in_task(&format!("container: {{image: x, memory: {memory}}}"), "4:35", "`memory` must be a size", hint);
    }
    refused_in_task("container: {image: x, memory: 0MiB}", "4:35", "out of range", "1KiB");
    refused_in_task("container: {image: x, memory: 99999999999999TiB}", "4:35", "out of range", "1024TiB");
    refused_in_task("container: {image: x, namespace: A_b}", "4:38", "not a Kubernetes name", "a-z");
    refused_in_task("container: {image: x, pull: IfNotPresent}", "4:33", "one of always, missing, never", "");
}

#[test]
fn secrets_are_named_and_nothing_else() {
    let env = task("env: {A: {secret: DB.password-1}, B: \"{{ run.id }}\"}").env;
    assert_eq!(env["A"], Setting::Secret { secret: "DB.password-1".to_owned() });
    assert_eq!(env["B"], Setting::Template("{{ run.id }}".to_owned()));
    refused_in_task("env: {A: {secret: 1x}}", "4:23", "\"1x\" is not a valid secret name", "letter");
    refused_in_task("env: {A: {secret: [x]}}", "4:23", "`secret` must be text, found a list", "");
    refused_in_task("env: {A: {secret: \"{{ params.x }}\"}}", "4:23", "not a valid secret name", "letter");
    refused_in_task("env: {A: {secrt: X}}", "4:15", "unknown key `secrt`", "`secret`");
    warned("pipeline: p\ntasks:\n  a:\n    http: https://x\n    env: {A: b}\n", "5:5", "`env` has no effect with `http`", "remove");
}

#[test]
fn keys_of_actions_are_said_to_belong_there() {
    refused_in_task("settle: 5s", "4:5", "unknown key `settle`", "`settle` belongs in `wait`");
    refused_in_task("url: https://x", "4:5", "unknown key `url`", "belongs in `http`");
    refused_in_task("connection: x", "4:5", "unknown key `connection`", "belongs in `sql`");
    refused_in_task("image: x", "4:5", "unknown key `image`", "did you mean `container`?");
    refused_in_task("sensor: x", "4:5", "unknown key `sensor`", "did you mean `wait`?");
    let list =
        bad("pipeline: p\ntasks:\n  a: {matrix: [x]}\n  b: {continue_on_error: true}\n  c: {taskGroup: x}\n  d: {priority_weight: 3}\n");
    let hints: Vec<_> = list.iter().map(|d| d.hint.as_str()).collect();
    let meant = ["for_each", "allow_failure", "group", "priority"].map(|key| format!("did you mean `{key}`?"));
    assert_eq!(hints, meant);
}
