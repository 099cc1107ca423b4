//! The insurance pipeline a hundred times at once, identity and JSON as the command line shows them: what scripts rely on.
//! Invariants R1 and R5. The verbs one by one are in `verbs.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use penstock_client::v1;
use penstock_common::{State, Timestamp};
use penstock_integration::{Cluster, Following, Insurance, LATE, Options, SOON, eventually, figure, tokio_command, turn};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// Two coordinators and two workers.
fn small() -> Options {
    Options { coordinators: 2, workers: 2, slots: 4, ..Options::default() }
}

async fn register(cluster: &Cluster, document: &str) {
    cluster.client().register("test.yaml", document).await.expect("is registered");
}

/// Its id is durable in history, so state has dropped it.
async fn archived(cluster: &Cluster, run: &str) {
    eventually("the run is archived", SOON, || async {
        // What comes from history has no journal position.
        let answer = cluster.client().get(run, 0).await.ok()?;
        (answer.seq == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submitting_the_same_run_id_from_several_shells_is_one_run_also_when_it_is_history() {
    let _turn = turn().await;
    let cluster = Cluster::start(small()).await;
    register(&cluster, "pipeline: once\nparams: {region: {type: string, default: eu}}\ntasks:\n  one: {shell: sleep 1}\n").await;

    let submit = ["submit", "once", "--run-id", "the-run", "-o", "json"];
    let first = cluster.penstock(&submit).await.well().json();
    assert_eq!(first, json!({"run_id": "the-run", "version": 1, "created": true}));
    let again = tokio::join!(cluster.penstock(&submit), cluster.penstock(&submit), cluster.penstock(&submit));
    for ran in [again.0, again.1, again.2] {
        assert_eq!(ran.well().json()["created"], json!(false));
    }
    let other = ["submit", "once", "--run-id", "the-run", "--param", "region=us"];
    let refused = cluster.penstock(&other).await.without_panic();
    assert!(refused.code == 2 && refused.stderr.contains("the-run"), "{refused:#?}");

    let run = cluster.wait("the-run", LATE).await;
    assert_eq!((State::from(run.run.state()), run.tasks[0].attempts.len()), (State::Success, 1));
    archived(&cluster, "the-run").await;
    assert_eq!(cluster.penstock(&submit).await.well().json()["created"], json!(false), "history still knows it");
    let refused = cluster.penstock(&other).await.without_panic();
    assert!(refused.code == 2 && refused.stderr.contains("the-run"), "{refused:#?}");
    let listed = cluster.penstock(&["list", "-o", "json"]).await.well().json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_insurance_runs_at_once_all_succeed_and_become_history_and_the_journal_is_trimmed() {
    let _turn = turn().await;
    let server = ["--checkpoint-entries", "50", "--journal-keep", "1"].map(str::to_owned).to_vec();
    let cluster = Cluster::start(Options { server, ..small() }).await;
    let insurance = Insurance::copy(&cluster.code());
    let client = cluster.client();
    client.register("pipeline.yaml", &insurance.document()).await.expect("is registered");

    let since = Instant::now();
    let names: Vec<String> = (0..100).map(|n| format!("hundred-{n:02}")).collect();
    let mut following = Vec::new();
    for name in &names {
        client.submit(insurance.submit(name, 0.0)).await.expect("is taken");
        following.push(Following::of(&client, name));
    }
    figure("a hundred runs submitted", format!("{:.2} s", since.elapsed().as_secs_f64()));
    for (name, following) in names.iter().zip(following) {
        let ended = following.end(Duration::from_secs(600)).await;
        assert_eq!(State::from(ended.state()), State::Success, "{name}: {ended:#?}");
    }
    figure("a hundred insurance runs", format!("{:.1} s", since.elapsed().as_secs_f64()));
    let sums = insurance.verify(&insurance.work("hundred-00"));
    assert_eq!(sums, insurance.verify(&insurance.work("hundred-99")));

    for name in [&names[0], &names[99]] {
        archived(&cluster, name).await;
        let run = cluster.run(name).await;
        assert_eq!((run.tasks.len(), State::from(run.run.state())), (8, State::Success), "history has its tasks");
        assert!(run.tasks.iter().all(|t| t.attempts.len() == 1), "{run:#?}");
    }
    // All of them, newest first.
    let all = client.list(v1::ListRunsRequest { limit: 1_000, ..Default::default() }).await.expect("lists").runs;
    assert_eq!(all.len(), 100);
    assert!(all.windows(2).all(|pair| pair[0].no > pair[1].no), "newest first");
    let table = cluster.penstock(&["list", "--limit", "100", "--state", "SUCCESS"]).await.well().stdout;
    assert_eq!(table.lines().count(), 101, "{table}");

    // A checkpoint is made with the entries that follow, so something small goes on.
    register(&cluster, "pipeline: tick\ntasks: {one: {noop: true}}\n").await;
    let kept = eventually("the journal is trimmed", LATE, || async {
        client.submit(penstock_client::Submit::of("tick")).await.expect("is taken");
        let entries = cluster.etcd.read("/penstock/default/journal/").await.len();
        (entries <= 200).then_some(entries)
    })
    .await;
    let says = client.cluster().await.expect("answers");
    figure("entries written, kept", format!("{}, {kept}", says.seq));
    assert!(says.seq > 200, "there was something to trim: {}", says.seq);
    assert_eq!(cluster.etcd.read("/penstock/default/checkpoint").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_log_is_printed_line_by_line_and_kept_with_the_run() {
    let _turn = turn().await;
    let cluster = Cluster::start(small()).await;
    let go = cluster.dir().join("go");
    let script = format!("echo first line; until [ -e {} ]; do sleep 0.1; done; echo last line >&2", go.display());
    register(&cluster, &format!("pipeline: talks\ntasks:\n  one:\n    shell: '{script}'\n")).await;
    cluster.penstock(&["submit", "talks", "--run-id", "talks-1"]).await.well();
    let mut command = tokio_command();
    command.args(["logs", "talks-1", "one", "--follow"]).env("PENSTOCK_ENDPOINT", cluster.endpoints()).stdout(std::process::Stdio::piped());
    let mut follower = command.spawn().expect("starts");
    let mut lines = BufReader::new(follower.stdout.take().expect("is piped")).lines();
    let mut next = async || tokio::time::timeout(SOON, lines.next_line()).await.expect("comes").expect("is text");
    let first = next().await.expect("is a line");
    assert!(first.ends_with("first line"), "{first}");
    let run = cluster.run("talks-1").await;
    assert_eq!(State::from(run.run.state()), State::Running, "the first line comes while the task runs");
    std::fs::write(&go, "").expect("writes");
    let last = next().await.expect("is a line");
    assert!(last.ends_with("last line"), "{last}");
    assert_eq!(next().await, None, "it ends with the task");
    assert!(tokio::time::timeout(SOON, follower.wait()).await.expect("ends").expect("ends").success());
    cluster.wait("talks-1", SOON).await;
    archived(&cluster, "talks-1").await;
    let whole = cluster.penstock(&["logs", "talks-1", "one"]).await.well().stdout;
    assert_eq!(whole, format!("{first}\n{last}\n"), "history keeps its logs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_is_passed_over_while_others_work() {
    let _turn = turn().await;
    let cluster = Cluster::start(small()).await;
    let tasks: String = (0..8).map(|n| format!("  t{n}: {{shell: sleep 0.3}}\n")).collect();
    register(&cluster, &format!("pipeline: wide\ntasks:\n{tasks}")).await;
    let workers_of = async |run: &str| {
        cluster.penstock(&["submit", "wide", "--run-id", run]).await.well();
        let run = cluster.wait(run, LATE).await;
        let workers = run.tasks.iter().flat_map(|t| t.attempts.iter().map(|a| a.worker.clone()));
        workers.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(workers_of("before").await, ["w0", "w1"], "eight tasks at once need both workers' four slots");
    cluster.penstock(&["drain", "w0"]).await.well();
    assert_eq!(workers_of("drained").await, ["w1"]);
    cluster.penstock(&["drain", "w0", "--undo"]).await.well();
    assert_eq!(workers_of("undone").await, ["w0", "w1"]);
}

/// Whether a value is a time as RFC 3339 writes it, in UTC.
fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| Timestamp::parse(text).is_some_and(|time| time.to_string() == text) && text.ends_with('Z'))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("not an object: {value:#}")).keys().map(String::as_str).collect()
}

const RUN: [&str; 17] = [
    "run_id",
    "pipeline",
    "version",
    "generation",
    "trigger",
    "interval",
    "params",
    "deadline",
    "state",
    "reason",
    "created_at",
    "started_at",
    "ended_at",
    "paused",
    "parent",
    "audit",
    "tasks",
];
const TASK: [&str; 8] = ["id", "state", "reason", "detail", "child", "instances", "outputs", "attempts"];
const ATTEMPT: [&str; 10] = ["number", "fence", "worker", "state", "reason", "detail", "started_at", "ended_at", "exit_code", "metrics"];

#[tokio::test(flavor = "multi_thread")]
async fn get_as_json_has_exactly_the_documented_keys_and_types() {
    let _turn = turn().await;
    let cluster = Cluster::start(small()).await;
    let document = r#"
pipeline: shaped
params: {region: {type: string, default: eu}, n: {type: int, default: 3}}
tasks:
  counts:
    shell: |
      echo '{"metrics": {"records_in": 7, "ratio": 0.5}}' >>"$PENSTOCK_OUTPUT"
  breaks: {shell: exit 3, depends_on: [counts]}
  never: {noop: true, depends_on: [breaks]}
"#;
    register(&cluster, document).await;
    let ran = cluster.penstock(&["submit", "shaped", "--run-id", "shaped-1", "--param", "region=us", "--wait", "-o", "json"]).await;
    assert_eq!(ran.code, 1);
    let run = cluster.penstock(&["get", "shaped-1", "-o", "json"]).await.well().json();
    assert_eq!(run, ran.json(), "what is waited for is shown as what is got");

    assert_eq!(keys(&run), RUN);
    assert_eq!((&run["run_id"], &run["pipeline"], &run["state"]), (&json!("shaped-1"), &json!("shaped"), &json!("FAILED")));
    assert_eq!((&run["version"], &run["generation"]), (&json!(1), &json!(1)));
    assert_eq!((keys(&run["trigger"]), &run["trigger"]["kind"]), (vec!["kind", "by"], &json!("manual")));
    assert_eq!((&run["interval"], &run["deadline"]), (&Value::Null, &Value::Null));
    assert_eq!(run["params"], json!({"region": "us", "n": 3}));
    assert!(run["reason"].is_string(), "{run:#}");
    for time in ["created_at", "started_at", "ended_at"] {
        assert!(is_time(&run[time]), "{time} is RFC 3339 in UTC: {}", run[time]);
    }
    let tasks = run["tasks"].as_array().expect("is a list");
    let shown: Vec<_> = tasks.iter().map(|t| json!([t["id"], t["state"], t["reason"]])).collect();
    let expected =
        [json!(["breaks", "FAILED", "exit_code"]), json!(["counts", "SUCCESS", null]), json!(["never", "SKIPPED", "upstream_failed"])];
    assert_eq!(shown, expected);
    assert!(tasks.iter().all(|task| keys(task) == TASK));
    assert_eq!(tasks[2]["attempts"], json!([]));
    for (task, state, reason, exit_code, metrics) in
        [(0, "FAILED", json!("exit_code"), 3, json!({})), (1, "SUCCESS", Value::Null, 0, json!({"records_in": 7, "ratio": 0.5}))]
    {
        let attempt = &tasks[task]["attempts"][0];
        assert_eq!(keys(attempt), ATTEMPT);
        assert_eq!(attempt["number"], 1);
        assert!(attempt["fence"].is_u64() && attempt["worker"].is_string());
        assert!(is_time(&attempt["started_at"]) && is_time(&attempt["ended_at"]));
        assert_eq!((&attempt["state"], &attempt["reason"], &attempt["exit_code"]), (&json!(state), &reason, &json!(exit_code)));
        assert_eq!(attempt["metrics"], metrics);
    }

    // Before its first task starts the same keys hold null.
    register(&cluster, "pipeline: waits\ntasks: {one: {noop: true, queue: nobody}}\n").await;
    cluster.penstock(&["submit", "waits", "--run-id", "waits-1"]).await.well();
    let waits = cluster.penstock(&["get", "waits-1", "-o", "json"]).await.well().json();
    assert_eq!(keys(&waits), RUN);
    assert_eq!((&waits["ended_at"], &waits["tasks"][0]["attempts"]), (&Value::Null, &json!([])));
}
