//! Control flow on a real cluster, under real faults: pools, waiting tasks, child runs, items files, teardowns.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use penstock_client::Submit;
use penstock_client::v1::State;
use penstock_common::Event;
use penstock_integration::{Cluster, Journal, LATE, Options, SOON, eventually, figure, turn};

async fn one_of_each() -> Cluster {
    Cluster::start(Options { coordinators: 1, workers: 1, ..Options::default() }).await
}

fn submit(pipeline: &str, run: &str) -> Submit {
    Submit { run_id: Some(run.to_owned()), ..Submit::of(pipeline) }
}

/// What holds pool slots at each event of the journal: the most that was ever taken, and when each task was first leased.
struct PoolUse {
    most: u32,
    first_lease: BTreeMap<(u64, u32), usize>,
    leases: usize,
}

fn pool_use(journal: &Journal, width: impl Fn(u64, u32) -> u32) -> PoolUse {
    let mut live: BTreeMap<u64, u32> = BTreeMap::new();
    let mut seen = PoolUse { most: 0, first_lease: BTreeMap::new(), leases: 0 };
    for event in journal.entries.iter().flat_map(|(_, events)| events) {
        match event {
            Event::AttemptLeased { run, task, fence, .. } => {
                live.insert(fence.0, width(run.0, *task));
                seen.leases += 1;
                seen.first_lease.entry((run.0, *task)).or_insert(seen.leases);
            }
            Event::AttemptEnded { fence, .. } | Event::TaskRetrying { fence, .. } | Event::AttemptWaiting { fence, .. } => {
                live.remove(&fence.0);
            }
            _ => {}
        }
        seen.most = seen.most.max(live.values().sum());
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_never_exceeds_its_slots_while_leaders_are_killed_and_a_wide_task_is_not_starved() {
    let _turn = turn().await;
    let mut cluster = Cluster::start(Options { workers: 2, slots: 8, ..Options::default() }).await;
    let client = cluster.client();
    let refused = client.register("n", "pipeline: narrow\ntasks: {a: {noop: true, pool: warehouse}}\n").await.unwrap_err();
    assert!(refused.to_string().contains("penstock pools set warehouse"), "{refused}");
    cluster.penstock(&["pools", "set", "warehouse", "5", "--note", "as many as it bears"]).await.well();
    let narrow = "pipeline: narrow\ntasks:\n  a: {shell: sleep 0.2, for_each: {range: 150}, pool: warehouse}\n";
    // Its turn comes while narrow ones wait: it gets all five slots before they are through.
    let wide = "pipeline: wide\ntasks:\n  a: {shell: sleep 0.1, pool: warehouse, pool_slots: 5}\n  b: {shell: sleep 0.1, pool: warehouse, pool_slots: 5, depends_on: [a]}\n";
    client.register("n", narrow).await.unwrap();
    client.register("w", wide).await.unwrap();
    client.submit(submit("narrow", "many")).await.unwrap();
    client.submit(submit("wide", "one")).await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
        let leader = cluster.leader().await;
        cluster.server(leader).kill();
        cluster.restart_server(leader);
    }
    for run in ["many", "one"] {
        assert_eq!(cluster.wait(run, LATE).await.run.state(), State::Success);
    }
    let journal = Journal::read(&cluster.etcd).await;
    assert!(journal.terms() >= 3, "leaders were killed");
    let seen = pool_use(&journal, |run, _| if run == 1 { 1 } else { 5 });
    figure("most slots of 5 that were taken at once", seen.most);
    assert!(seen.most <= 5, "T7");
    let wide: Vec<usize> = seen.first_lease.iter().filter(|((run, _), _)| *run == 2).map(|(_, at)| *at).collect();
    let last_narrow = seen.first_lease.iter().filter(|((run, _), _)| *run == 1).map(|(_, at)| *at).max().unwrap();
    figure("wide leases came as number (of all)", format!("{wide:?} of {}", seen.leases));
    assert!(wide.iter().all(|at| *at < last_narrow), "a wide task waited for all narrow ones");
    let pools = cluster.penstock(&["pools", "list", "-o", "json"]).await.well().json();
    assert_eq!((pools[0]["slots"].as_u64(), pools[0]["used"].as_u64()), (Some(5), Some(0)));
    assert_ne!(cluster.penstock(&["pools", "delete", "warehouse"]).await.code, 0, "pipelines name it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_people_and_other_runs_takes_no_slot_and_survives_the_leader() {
    let _turn = turn().await;
    let mut cluster = Cluster::start(Options { coordinators: 2, workers: 1, slots: 1, ..Options::default() }).await;
    let client = cluster.client();
    client
        .register("c", "pipeline: child\nparams: {n: {type: int}}\ntasks:\n  a: {shell: \"until [ -e go ]; do sleep 0.1; done\"}\n")
        .await
        .unwrap();
    let document = "pipeline: p\nparams: {n: {type: int, default: 7}}\ntasks:\n  ask: {approve: Is it well?}\n  no: {approve: Really?, allow_failure: true}\n  call: {pipeline: {name: child, params: {n: \"{{ params.n }}\"}}}\n  work: {shell: echo I run beside those that wait, depends_on: {no: completed}}\n  seen: {wait: {file: arrive-*, every: 1s}}\n  end: {run: [test, \"{{ outputs.seen.path }}\"], depends_on: [ask, call, work, seen]}\n";
    client.register("p", document).await.unwrap();
    client.submit(submit("p", "r")).await.unwrap();
    let waits = |task: &'static str| {
        let client = client.clone();
        eventually("it waits", SOON, move || {
            let client = client.clone();
            async move {
                let run = client.get("r", 0).await.ok()?;
                run.tasks.iter().any(|t| t.id == task && t.reason == "waiting").then_some(run)
            }
        })
    };
    let run = waits("call").await;
    let child = run.tasks.iter().find(|t| t.id == "call").unwrap().child.clone();
    let leader = cluster.leader().await;
    cluster.server(leader).kill();
    cluster.restart_server(leader);
    cluster.leader().await;
    waits("ask").await;
    waits("seen").await;
    let kinds = cluster.penstock(&["explain", "r", "seen", "-o", "json"]).await.well().json();
    assert!(["probe_at", "running", "no_slot"].contains(&kinds[0]["kind"].as_str().unwrap()), "{kinds}");
    std::fs::write(cluster.code().join("arrive-now"), "").unwrap();
    let why = cluster.penstock(&["explain", "r", "ask", "-o", "json"]).await.well().json();
    assert_eq!((why[0]["kind"].as_str(), why[0]["remedy"].as_str()), (Some("person"), Some("penstock approve r 'ask'")));
    cluster.penstock(&["reject", "r", "no", "--note", "not today"]).await.well();
    cluster.penstock(&["approve", "r", "ask"]).await.well();
    std::fs::write(cluster.code().join("go"), "").unwrap();
    let ended = cluster.wait("r", LATE).await;
    assert_eq!(ended.run.state(), State::Success, "{:#?}", ended.tasks);
    let of = |id: &str| ended.tasks.iter().find(|t| t.id == id).unwrap();
    assert_eq!((of("no").state(), of("no").reason.as_str(), of("no").detail.as_str()), (State::Failed, "rejected", "not today"));
    assert_eq!((of("seen").attempts.len(), of("seen").state()), (1, State::Success), "one attempt over all its probes");
    assert!(of("ask").attempts.is_empty() && of("call").attempts.is_empty(), "no worker was needed");
    let child = cluster.wait(&child, SOON).await;
    assert_eq!((child.run.state(), child.run.params.as_str()), (State::Success, "{\"n\":7}"));
    assert_eq!(child.run.parent.unwrap().run_id, "r");
    let verbs: Vec<_> = ended.run.audit.iter().map(|a| (a.verb.as_str(), a.subject.as_str(), a.note.as_str())).collect();
    assert_eq!(verbs, [("reject", "no", "not today"), ("approve", "ask", "")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_stops_its_children_and_runs_its_teardown() {
    let _turn = turn().await;
    let cluster = one_of_each().await;
    let client = cluster.client();
    client.register("c", "pipeline: child\ntasks: {a: {shell: sleep 60}}\n").await.unwrap();
    let document = "pipeline: p\ntasks:\n  up: {shell: touch there}\n  call: {pipeline: child, depends_on: [up]}\n  work: {shell: sleep 60, depends_on: [up]}\n  down: {teardown: true, setup: up, depends_on: [call, work], shell: rm there}\n";
    client.register("p", document).await.unwrap();
    for (run, now) in [("gentle", false), ("hard", true)] {
        client.submit(submit("p", run)).await.unwrap();
        let child = eventually("it waits for its child", SOON, || async {
            let run = client.get(run, 0).await.ok()?;
            let works = run.tasks.iter().any(|t| t.id == "work" && t.state() == State::Running);
            run.tasks.iter().find(|t| t.id == "call").map(|t| t.child.clone()).filter(|c| works && !c.is_empty())
        })
        .await;
        let flags: &[&str] = if now { &["cancel", run, "--now"] } else { &["cancel", run] };
        cluster.penstock(flags).await.well();
        let ended = cluster.wait(run, SOON).await;
        assert_eq!(ended.run.state(), State::Cancelled);
        let down = ended.tasks.iter().find(|t| t.id == "down").unwrap();
        assert_eq!(down.state(), if now { State::Cancelled } else { State::Success });
        assert_eq!(cluster.code().join("there").exists(), now);
        assert_eq!(cluster.wait(&child, SOON).await.run.state(), State::Cancelled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_items_file_maps_a_task_over_a_failover_and_over_a_restart() {
    let _turn = turn().await;
    let server = ["--checkpoint-entries", "5", "--journal-keep", "0"].map(str::to_owned).to_vec();
    let mut cluster = Cluster::start(Options { coordinators: 1, workers: 2, server, ..Options::default() }).await;
    let client = cluster.client();
    let document = "pipeline: p\ntasks:\n  list: {shell: \"seq 1 2000 > $PENSTOCK_ITEMS\"}\n  hold: {depends_on: [list], shell: \"until [ -e go ]; do sleep 0.1; done\"}\n  each: {depends_on: [list, hold], for_each: items.list, noop: true}\n  pair: {depends_on: [\"each[*]\"], noop: true}\n  odd: {for_each: [a, b], shell: \"echo \\\"{\\\\\\\"output\\\\\\\": {\\\\\\\"k\\\\\\\": \\\\\\\"$X\\\\\\\"}}\\\" >> $PENSTOCK_OUTPUT\", env: {X: \"{{ item }}!\"}}\n  end: {depends_on: [pair, odd], run: [test, \"{{ outputs.odd.k }}\", \"=\", '[\"a!\",\"b!\"]']}\n";
    client.register("p", document).await.unwrap();
    client.submit(submit("p", "r")).await.unwrap();
    eventually("the items are there, and a checkpoint names them", LATE, || async {
        client.submit(Submit::of("p")).await.ok()?;
        let entries = cluster.etcd.read("/penstock/default/journal/").await;
        entries.first().is_some_and(|(key, _)| !key.ends_with("0000000000000000")).then_some(())
    })
    .await;
    eventually("the list is written", SOON, || async {
        let run = client.get("r", 0).await.ok()?;
        run.tasks.iter().any(|t| t.id == "list" && t.state() == State::Success).then_some(())
    })
    .await;
    cluster.server(0).kill();
    cluster.restart_server(0);
    cluster.ready().await;
    std::fs::write(cluster.code().join("go"), "").unwrap();
    let ended = cluster.wait("r", LATE).await;
    let wrong: Vec<_> = ended.tasks.iter().filter(|t| t.state() != State::Success).take(3).collect();
    assert_eq!(ended.run.state(), State::Success, "{wrong:#?}");
    assert_eq!(ended.tasks.iter().filter(|t| t.instance.is_some()).count(), 2_000 + 2_000 + 2);
    assert!(ended.tasks.iter().any(|t| t.id == "odd[b]"));
}
