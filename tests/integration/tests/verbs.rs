//! What people do with runs that are under way: rerun, cancel, drain, explain, read logs; and a start from a checkpoint.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use penstock_client::Submit;
use penstock_client::v1::State;
use penstock_integration::{Cluster, LATE, Options, SOON, eventually, figure, procfs, turn};

async fn one_of_each() -> Cluster {
    Cluster::start(Options { coordinators: 1, workers: 1, ..Options::default() }).await
}

fn submit(pipeline: &str, run: &str) -> Submit {
    Submit { run_id: Some(run.to_owned()), ..Submit::of(pipeline) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_started_from_its_checkpoint_goes_on_where_it_was() {
    let _turn = turn().await;
    let server = ["--checkpoint-entries", "5", "--journal-keep", "0"].map(str::to_owned).to_vec();
    let mut cluster = Cluster::start(Options { coordinators: 1, workers: 1, server, ..Options::default() }).await;
    let client = cluster.client();
    let document = "pipeline: p\ntasks:\n  a: {noop: true}\n  b: {shell: \"until [ -e go ]; do sleep 0.1; done\", depends_on: [a]}\n  c: {noop: true, depends_on: [b]}\n";
    client.register("p", document).await.unwrap();
    client.register("q", "pipeline: q\ntasks: {a: {shell: \"exit 1\"}}\n").await.unwrap();
    client.submit(submit("p", "long")).await.unwrap();
    client.submit(submit("q", "failed")).await.unwrap();
    cluster.wait("failed", SOON).await;
    eventually("there are two checkpoints' worth of entries, and the journal was trimmed", LATE, || async {
        client.submit(Submit::of("q")).await.ok()?;
        let entries = cluster.etcd.read("/penstock/default/journal/").await;
        entries.first().is_some_and(|(key, _)| !key.ends_with("0000000000000000")).then_some(())
    })
    .await;
    let before = (client.get("long", 0).await.unwrap(), client.get("failed", 0).await.unwrap());
    cluster.server(0).kill();
    cluster.restart_server(0);
    cluster.ready().await;
    let after = (client.get("long", 0).await.unwrap(), client.get("failed", 0).await.unwrap());
    assert_eq!((&before.0.tasks, &before.1.tasks), (&after.0.tasks, &after.1.tasks));
    std::fs::write(cluster.code().join("go"), "").unwrap();
    let ended = cluster.wait("long", LATE).await;
    assert_eq!(ended.run.state(), State::Success);
    assert!(ended.tasks.iter().all(|t| t.attempts.len() == 1), "the failover restarted nothing");
    assert_eq!(client.rerun("failed", Vec::new(), "again").await.unwrap().generation, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rerun_failed_runs_what_did_not_succeed_and_no_more() {
    let _turn = turn().await;
    let cluster = one_of_each().await;
    let client = cluster.client();
    let document =
        "pipeline: p\ntasks:\n  a: {run: [\"true\"]}\n  b: {shell: \"[ -e go ]\", depends_on: [a]}\n  c: {noop: true, depends_on: [b]}\n";
    client.register("p", document).await.unwrap();
    client.submit(submit("p", "r")).await.unwrap();
    let failed = cluster.wait("r", SOON).await;
    assert_eq!(failed.run.state(), State::Failed);
    assert_eq!(failed.tasks.iter().map(|t| t.state()).collect::<Vec<_>>(), [State::Success, State::Failed, State::Skipped]);
    std::fs::write(cluster.code().join("go"), "").unwrap();
    cluster.penstock(&["rerun", "r", "--failed"]).await.well();
    let ended = eventually("the second generation ends", SOON, || async {
        let run = client.get("r", 0).await.ok()?;
        (run.run.generation == 2 && run.run.state() == State::Success).then_some(run)
    })
    .await;
    let attempts: Vec<Vec<u32>> = ended.tasks.iter().map(|t| t.attempts.iter().map(|a| a.number).collect()).collect();
    assert_eq!(attempts, [vec![1], vec![1, 2], vec![1]], "attempt numbers go on, and what succeeded is not run again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_kills_the_whole_tree_within_its_grace() {
    let _turn = turn().await;
    let cluster = one_of_each().await;
    let client = cluster.client();
    let stubborn = "trap '' TERM; setsid sh -c 'trap \\\"\\\" TERM; while :; do sleep 1; done' & while :; do sleep 1; done";
    let document = format!("pipeline: p\ntasks:\n  a: {{shell: \"{stubborn}\", grace: 2s}}\n  b: {{noop: true, depends_on: [a]}}\n");
    client.register("p", &document).await.unwrap();
    client.submit(submit("p", "r")).await.unwrap();
    let fence = eventually("it runs", SOON, || async {
        let run = client.get("r", 0).await.ok()?;
        let fence = run.tasks[0].attempts.first()?.fence;
        (procfs::with_fence("r", fence).len() >= 3).then_some(fence)
    })
    .await;
    cluster.penstock(&["cancel", "r", "--note", "enough"]).await.well();
    let asked = std::time::Instant::now();
    let ended = cluster.wait("r", SOON).await;
    figure("from cancel to the end, with a grace of 2 s", format!("{:?}", asked.elapsed()));
    assert_eq!(ended.run.state(), State::Cancelled);
    assert!(ended.tasks.iter().all(|t| t.state() == State::Cancelled));
    assert!(asked.elapsed() < Duration::from_secs(2 + 5), "grace + 5 s");
    assert!(procfs::with_fence("r", fence).is_empty(), "something of it still runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_gets_nothing_and_explain_tells_why_tasks_wait() {
    let _turn = turn().await;
    let cluster = one_of_each().await;
    let client = cluster.client();
    client.register("p", "pipeline: p\ntasks:\n  a: {noop: true}\n  b: {noop: true, depends_on: [a]}\n").await.unwrap();
    client.register("q", "pipeline: q\ntasks: {a: {noop: true, queue: nobody}}\n").await.unwrap();
    cluster.penstock(&["drain", "w0"]).await.well();
    client.submit(submit("p", "r")).await.unwrap();
    client.submit(submit("q", "s")).await.unwrap();
    let kinds = |ran: penstock_integration::Ran| -> Vec<String> {
        ran.json().as_array().unwrap().iter().map(|w| w["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(cluster.penstock(&["explain", "r", "b", "-o", "json"]).await.well()), ["upstream", "workers_closed"]);
    assert_eq!(kinds(cluster.penstock(&["explain", "s", "-o", "json"]).await.well()), ["no_worker"]);
    let workers = cluster.penstock(&["workers", "-o", "json"]).await.well().json();
    assert_eq!(workers[0]["drained"], true);
    cluster.penstock(&["drain", "w0", "--undo"]).await.well();
    assert_eq!(cluster.wait("r", SOON).await.run.state(), State::Success);
    assert_eq!(kinds(cluster.penstock(&["explain", "r", "-o", "json"]).await.well()), ["ended"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_read_while_they_are_written_and_afterwards() {
    let _turn = turn().await;
    let cluster = one_of_each().await;
    let client = cluster.client();
    client
        .register("p", "pipeline: p\ntasks: {a: {shell: \"echo first; until [ -e go ]; do sleep 0.1; done; echo last >&2\"}}\n")
        .await
        .unwrap();
    client.submit(submit("p", "r")).await.unwrap();
    let following = {
        let endpoints = cluster.endpoints();
        let dir = cluster.dir().to_owned();
        tokio::spawn(async move {
            penstock_integration::penstock_with(&dir, &["logs", "r", "a", "--follow"], &[("PENSTOCK_ENDPOINT", &endpoints)]).await
        })
    };
    eventually("the first line can be read", SOON, || async {
        cluster.penstock(&["logs", "r", "a"]).await.stdout.contains("first").then_some(())
    })
    .await;
    std::fs::write(cluster.code().join("go"), "").unwrap();
    let followed = following.await.unwrap().well().stdout;
    let read = cluster.penstock(&["logs", "r", "a"]).await.well().stdout;
    assert!(read.contains("first") && read.contains("last"), "{read}");
    assert_eq!(followed, read);
    for hostile in [["logs", "../../etc", "a"], ["logs", "r", "../passwd"], ["logs", "r", "b"]] {
        assert_ne!(cluster.penstock(&hostile).await.without_panic().code, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_said_in_the_words_of_who_asked() {
    let _turn = turn().await;
    let cluster = Cluster::start(Options { coordinators: 1, workers: 1, ..Options::default() }).await;
    let client = cluster.client();
    let tasks = "extract: {noop: true}\n  load: {depends_on: extract, for_each: {range: 30}, noop: true}\n  never: {shell: exit 0, if: 1 > 2}\n  \
                 lost: {run: [./not_there]}";
    client.register("p", &format!("pipeline: p\ntasks:\n  {tasks}\n")).await.unwrap();
    let refused = async |args: &[&str], code: i32, words: &[&str]| {
        let refused = cluster.penstock(args).await.without_panic();
        assert_eq!(refused.code, code, "{args:?}: {}", refused.stderr);
        for word in words {
            assert!(refused.stderr.contains(word), "{args:?}: {}", refused.stderr);
        }
    };
    refused(&["submit", "p", "--only", "extarct"], 2, &["pipeline p has no task extarct: did you mean extract?"]).await;
    refused(&["submit", "p", "--only", "load[3]"], 2, &["no task load[3]", "name the whole task, load"]).await;
    refused(&["submit", "p", "--param", "x"], 2, &["write name=value"]).await;
    refused(&["submit", "p", "--interval", "2024-02-30"], 2, &["there is no day", "write a date"]).await;
    refused(&["list", "--state", "BROKEN"], 2, &["is not a state"]).await;
    refused(&["list", "--since", "yesterday"], 2, &["is not a duration"]).await;
    refused(&["pools", "set", "x", "many"], 2, &["from 0 on, or unlimited"]).await;
    refused(&["pools", "delete", "nope"], 1, &["there is no pool nope", "pools list"]).await;

    client.submit(Submit { run_id: Some("r".to_owned()), ..Submit::of("p") }).await.unwrap();
    let ended = cluster.wait("r", SOON).await;
    assert_eq!(ended.run.state(), State::Failed);
    let detail = &ended.tasks.iter().find(|t| t.id == "lost").unwrap().attempts[0].detail;
    assert!(detail.contains("/not_there") && !detail.contains("//"), "{detail}");
    refused(&["logs", "r", "extract"], 1, &["task extract of run r is a noop: it runs nothing, so it has no log"]).await;
    refused(&["logs", "r", "never"], 1, &["ended as SKIPPED(condition) without an attempt"]).await;
    refused(&["logs", "r", "lost", "--attempt", "7"], 1, &["has no attempt 7: its newest is 1"]).await;

    cluster.penstock(&["rerun", "r", "--only", "extract", "--note", "one\n\ttwo\u{1b}[31m\nthree"]).await.well();
    cluster.wait("r", SOON).await;
    let shown = cluster.penstock(&["get", "r"]).await.well().stdout;
    assert!(shown.contains(": one …\n") && !shown.contains("two"), "{shown}");
    assert!(shown.contains("10 more instances of load are not shown: penstock get r -o json"), "{shown}");

    client.unregister("p", "").await.unwrap();
    refused(&["submit", "p"], 1, &["pipeline p was unregistered by ", " at 20"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_argument_that_is_wrong_ends_a_verb_about_time_with_two() {
    let _turn = turn().await;
    let cluster = one_of_each().await;
    cluster.client().register("p", "pipeline: p\nschedule: \"@daily\"\nend_date: 2024-12-31\ntasks: {a: {noop: true}}\n").await.unwrap();
    let backfill = ["backfill", "p", "--start-date", "2024-01-01", "--end-date", "2024-01-02", "--dry-run"];
    cluster.penstock(&[&backfill[..], &["--task", "+a", "--every", "1h", "--max-active", "1"]].concat()).await.well();
    for (verb, says) in [
        ([&backfill[..], &["--max-active", "0"]].concat(), "--max-active"),
        ([&backfill[..], &["--task", "nope"]].concat(), "no task nope"),
        ([&backfill[..], &["--every", "10ms"]].concat(), "1s to 3653d"),
        (vec!["schedule", "preview", "p", "--from", "2024-02-01", "--to", "2024-01-01"], "2024-01-01 is before from 2024-02-01"),
        (vec!["events", "emit", "ready", "--id", "a b"], "is no id of an event"),
        (vec!["events", "emit", "ready", "--payload", "{"], "is not JSON"),
    ] {
        let ran = cluster.penstock(&verb).await;
        assert!(ran.code == 2 && ran.stderr.contains(says), "{verb:?}: {ran:#?}");
    }
}
