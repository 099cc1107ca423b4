//! Secrets reach the program and nothing else; items and what a mapped task is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::sync::Arc;

use penstock_common::lease::Lease;
use penstock_common::record::Report;
use penstock_common::{Items, Reason, State, TaskKey};
use penstock_worker::attempt::Secrets;
use serde_json::json;
use support::{World, assert_ended, ended, secret, template, with};

const VALUE: &str = "hunter2-\"quoted\"-value";
const KEY: &str = "-----BEGIN KEY-----\nMIIEowIBAAKCAQEA\nab\n-----END KEY-----\n";

fn world() -> World {
    let mut world = World::new();
    let dir = world.root.join("secrets");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("TOKEN"), format!("{VALUE}\n")).unwrap();
    std::fs::write(dir.join("KEY"), KEY).unwrap();
    std::fs::write(dir.join("PIN"), "123").unwrap();
    world.host.secrets = Secrets::new(Some(dir), [("PENSTOCK_SECRET_FROM_ENV".into(), "from-the-variable".into())]);
    world
}

fn with_token(world: &World, script: &str) -> Lease {
    with(world.shell(script), |task| {
        task.env.insert("TOKEN".into(), secret("TOKEN"));
        task.env.insert("KEY".into(), secret("KEY"));
        task.env.insert("OTHER".into(), secret("FROM_ENV"));
    })
}

async fn report(world: &World, lease: &Lease) -> (penstock_common::record::Ended, Option<Arc<Items>>) {
    match world.report(lease).await {
        Report::Ended { ended, items } => (ended, items),
        waiting @ Report::Waiting { .. } => panic!("{waiting:?}"),
    }
}

#[tokio::test]
async fn a_program_has_the_values_and_the_log_has_none() {
    let world = world();
    // Told by what it does with them, since the log cannot tell: lengths, and one byte at a time.
    let script = r#"
        echo "lengths ${#TOKEN} ${#KEY} ${#OTHER}"
        echo "a $TOKEN b"; echo "$KEY"; echo "err $OTHER" >&2
        printf 'x'; printf '%s' "$TOKEN" | head -c 9; sleep 0.2; printf '%s\n' "$TOKEN" | tail -c +10
        echo MIIEowIBAAKCAQEA
        printf 'no end %s' "$TOKEN"
    "#;
    let ended = world.execute(&with_token(&world, script)).await;
    assert_eq!(ended.state, State::Success, "{}", ended.detail);
    let lines = world.lines("O");
    let lengths = format!("lengths {} {} {}", VALUE.len(), KEY.trim_end().len(), "from-the-variable".len());
    assert_eq!(lines, [&*lengths, "a *** b", "***", "x***", "***", "no end ***"]);
    assert_eq!(world.lines("E"), ["err ***"]);
    for canary in ["hunter2", "MIIEow", "from-the", "BEGIN KEY"] {
        assert!(!world.log().contains(canary), "{}", world.log());
    }
}

#[tokio::test]
async fn nothing_that_is_reported_holds_a_secret() {
    let world = world();
    let script = r#"
        python3 - <<'END'
import json, os
token = os.environ["TOKEN"]
with open(os.environ["PENSTOCK_OUTPUT"], "a") as f:
    f.write(json.dumps({"output": {"url": "https://u:" + token + "@h", "deep": {"a": [token, 1]}}}) + "\n")
    f.write(json.dumps({token: 1}) + "\n")
    f.write(json.dumps({"output": {token: 1}}) + "\n")
    f.write(json.dumps({"metrics": {token: 1, "rows": 5}}) + "\n")
with open(os.environ["PENSTOCK_ITEMS"], "w") as f:
    f.write(json.dumps({"t": token}) + "\n" + json.dumps(os.environ["OTHER"]) + "\n")
END
    "#;
    let (ended, items) = report(&world, &with_token(&world, script)).await;
    assert_eq!(ended.state, State::Success, "{}", ended.detail);
    let everything = format!("{ended:?} {items:?} {}", world.log());
    assert!(!everything.contains("hunter2") && !everything.contains("from-the-variable"), "{everything}");
    assert_eq!(ended.outputs.0["url"], r#""https://u:***@h""#);
    assert_eq!(ended.outputs.0["deep"], r#"{"a":["***",1]}"#);
    assert_eq!(ended.metrics.0["rows"], 5.0);
    let items = items.unwrap();
    assert_eq!((&**items.get(0).unwrap(), &**items.get(1).unwrap()), (r#"{"t":"***"}"#, r#""***""#));

    for (script, state) in [
        (r#"echo "$TOKEN" >&2; exit 3"#, State::Failed),
        (
            r#"python3 -c 'import json,os; print(json.dumps({"fail": "x" * 1010 + os.environ["TOKEN"]}))' >> $PENSTOCK_OUTPUT"#,
            State::Failed,
        ),
        (r#"python3 -c 'import json,os; print(json.dumps({"skip": os.environ["TOKEN"]}))' >> $PENSTOCK_OUTPUT"#, State::Skipped),
    ] {
        let ended = world.execute(&with_token(&world, script)).await;
        assert_eq!(ended.state, state);
        assert!(!ended.detail.contains("hunter2") && !ended.detail.contains("hunt"), "{}", ended.detail);
    }
}

#[tokio::test]
async fn a_secret_that_is_missing_fails_with_the_places_that_were_tried() {
    let world = world();
    let lease = with(world.shell("true"), |task| drop(task.env.insert("X".into(), secret("NOPE"))));
    let ended = world.execute(&lease).await;
    assert_ended(&ended, State::Failed, Reason::Spawn);
    let file = world.root.join("secrets/NOPE");
    assert!(ended.detail.contains(file.to_str().unwrap()) && ended.detail.contains("PENSTOCK_SECRET_NOPE"), "{}", ended.detail);
    let traversal = with(world.shell("true"), |task| drop(task.env.insert("X".into(), secret("../connections.toml"))));
    assert_ended(&world.execute(&traversal).await, State::Failed, Reason::Spawn);
    // Too short to be masked without masking half the log: said, once it is used.
    let short = with(world.shell("echo \"pin $PIN\""), |task| drop(task.env.insert("PIN".into(), secret("PIN"))));
    assert_eq!(world.execute(&short).await.state, State::Success);
    assert!(world.lines("O").contains(&"pin 123".to_owned()) && world.log().contains("the secret PIN"), "{}", world.log());
}

#[tokio::test]
async fn an_instance_is_told_its_item_and_logs_by_its_number() {
    let world = world();
    let mut lease = with(
        world.run(&[
            "sh",
            "-c",
            "printf '%s|%s|%s\\n' \"$PENSTOCK_ITEM\" \"$PENSTOCK_ITEM_INDEX\" \"$1\"; env | grep -c SECRET",
            "-",
            "{{ item.name }}",
        ]),
        |task| {
            task.env.insert("X".into(), template("{{ item.name }}"));
        },
    );
    let hostile = "\"; touch pwned; # $(id) {{ 7*7 }}";
    let item = json!({"name": hostile}).to_string();
    lease.task = TaskKey::parse("load[3]").unwrap();
    (lease.instance, lease.item) = (Some(3), Some(item.as_str().into()));
    let (ended, _) = report(&world, &lease).await;
    let log = std::fs::read_to_string(world.root.join("logs/run-1/load.3/2.log")).unwrap();
    assert!(log.contains(&format!(" O {item}|3|{hostile}\n")), "{log}");
    assert_eq!(ended.exit_code, Some(1), "no variable of the worker's secrets is inherited");
}

#[tokio::test]
async fn items_are_what_the_file_says_when_the_program_has_succeeded() {
    let world = world();
    let run = async |script: &str| report(&world, &world.shell(script)).await;
    let (ended, items) = run(r#"test ! -e $PENSTOCK_ITEMS; printf '"a"\n\n{"b": [1]}\n7' > $PENSTOCK_ITEMS"#).await;
    assert_eq!(ended.state, State::Success, "{}", ended.detail);
    assert_eq!(String::from_utf8(items.unwrap().to_blob()).unwrap(), "\"a\"\n{\"b\":[1]}\n7\n");
    assert_eq!(ended.items, None, "the blob is stored by the coordinator");
    assert!(run("true").await.1.is_none(), "no file is no list");
    assert!(run(": > $PENSTOCK_ITEMS").await.1.unwrap().is_empty(), "an empty file is an empty list");
    assert!(run("echo 1 > $PENSTOCK_ITEMS; exit 3").await.1.is_none());

    for (script, reason, why) in [
        ("echo '{' > $PENSTOCK_ITEMS", Reason::Task, "line 1 of the items is not JSON"),
        (
            "echo '[12345678901234567890123]' > $PENSTOCK_ITEMS",
            Reason::Task,
            "line 1 of the items: the integer 12345678901234567890123 has",
        ),
        ("printf '\"\\377\"' > $PENSTOCK_ITEMS", Reason::Task, "UTF-8"),
        ("mkdir $PENSTOCK_ITEMS", Reason::Task, "not a regular file"),
        ("mkfifo $PENSTOCK_ITEMS", Reason::Task, "not a regular file"),
        ("yes 1 | head -100001 > $PENSTOCK_ITEMS", Reason::OutputTooLarge, "100001 items"),
        ("truncate -s 10G $PENSTOCK_ITEMS", Reason::OutputTooLarge, "10737418240 bytes"),
    ] {
        let (ended, items) = run(script).await;
        assert_ended(&ended, State::Failed, reason);
        assert!(ended.detail.contains(why) && ended.detail.contains("PENSTOCK_ITEMS") && items.is_none(), "{}", ended.detail);
    }
    assert_eq!(world.scratch_files(), [""; 0]);
}

#[tokio::test]
async fn what_only_the_coordinator_does_is_refused() {
    use penstock_common::pipeline::{Action, Approve};
    let world = world();
    let lease = world.lease(Action::Approve(Approve { message: "?".into() }));
    let ended = ended(world.report(&lease).await);
    assert_ended(&ended, State::Failed, Reason::Spawn);
    assert!(ended.detail.contains("a fault of Penstock"), "{}", ended.detail);
}
