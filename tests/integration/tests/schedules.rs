//! Schedules and events over real processes: each interval and each event has one run, whoever is killed meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use penstock_integration::intervals::{all_succeeded, ended, kind, now_ms, replace_leader, runs, without_gap};
use penstock_integration::{Cluster, Journal, LATE, Options, SOON, eventually, figure, turn};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn every_interval_of_a_second_has_one_run_though_the_leader_is_killed_again_and_again() {
    let _turn = turn().await;
    let mut cluster = Cluster::start(Options { workers: 1, slots: 32, ..Options::default() }).await;
    let client = cluster.client();
    let names = ["none", "latest", "all"];
    for name in names {
        let text = format!("pipeline: every_{name}\nschedule: {{every: 1s, catchup: {name}}}\ntasks: {{look: {{noop: true}}}}\n");
        client.register("every.yaml", &text).await.expect("is registered");
    }
    let began = Instant::now();
    let mut takeovers = Vec::new();
    while began.elapsed() < Duration::from_secs(30) {
        // The pace of the faults is what is tested.
        tokio::time::sleep(Duration::from_secs(3)).await;
        takeovers.push(replace_leader(&mut cluster).await);
    }
    for name in names {
        // The last leader is to make up for what fell due before it led.
        let now = now_ms();
        eventually("the last interval has its run", SOON, || async {
            let all = runs(&client, &format!("every_{name}")).await;
            all.iter().any(|r| r.interval.is_some_and(|i| i.end_ms > now)).then_some(())
        })
        .await;
        client.pause_trigger(&format!("every_{name}"), "schedule", false, "").await.expect("is paused");
    }
    for name in names {
        let all = ended(&client, &format!("every_{name}"), 1).await;
        all_succeeded(&all);
        assert!(all.iter().all(|r| kind(r) == "schedule"));
        let intervals = without_gap(name, &all);
        assert!(intervals.iter().all(|(start, end)| end - start == 1_000 && start % 1_000 == 0), "{name}: {intervals:?}");
        let latest = all.iter().map(|r| r.created_at_ms - r.interval.unwrap_or_default().end_ms).max().unwrap_or(0);
        figure(&format!("catchup {name}"), format!("{} intervals, each with one run, the latest {latest} ms after it was due", all.len()));
        assert!(all.len() >= 28, "{name}: 30 s have some 30 intervals: {intervals:?}");
        let skipped = client.schedule(&format!("every_{name}"), "", "", 1).await.expect("answers").skipped;
        assert!(skipped.iter().all(|s| s.reason == "paused" || s.count == 0), "{name}: {skipped:?}");
    }
    let longest = takeovers.iter().max().copied().unwrap_or_default();
    figure("leaders killed", format!("{}, the longest takeover {:.0} ms", takeovers.len(), longest.as_secs_f64() * 1e3));
    assert!(Journal::read(&cluster.etcd).await.terms() > takeovers.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_sent_twice_starts_one_run_though_leaders_are_killed_and_a_dead_one_is_listed() {
    const EVENTS: usize = 200;
    let _turn = turn().await;
    let mut cluster = Cluster::start(Options { workers: 1, slots: 32, ..Options::default() }).await;
    let client = cluster.client();
    let listening = |name: &str, event: &str| {
        format!(
            "pipeline: {name}\nparams: {{n: {{type: int, default: 0}}}}\ntriggers: [{{name: api, event: {event}}}]\ntasks: {{look: {{noop: true}}}}\n"
        )
    };
    client.register("claims.yaml", &listening("claims", "claims.ready")).await.expect("is registered");
    client.register("last.yaml", &listening("last", "all.sent")).await.expect("is registered");

    let began = Instant::now();
    let sender = tokio::spawn({
        let clients = [cluster.client(), cluster.client()];
        async move {
            let mut numbers = Vec::new();
            for n in 0..EVENTS {
                let (id, carries) = (format!("batch-{n}"), json!({"n": n}));
                let [one, other] = &clients;
                let (one, other) =
                    tokio::join!(one.emit("claims.ready", &carries, Some(&id)), other.emit("claims.ready", &carries, Some(&id)));
                let (one, other) = (one.expect("is taken").event, other.expect("is taken again").event);
                assert_eq!(one, other, "an event sent twice is one event");
                numbers.push(one);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            numbers
        }
    });
    for wanted in [EVENTS / 4, EVENTS / 2] {
        eventually("events start runs", LATE, || async { (runs(&client, "claims").await.len() >= wanted).then_some(()) }).await;
        let took = replace_leader(&mut cluster).await;
        figure("a takeover while events are sent", format!("{:.0} ms", took.as_secs_f64() * 1e3));
    }
    let mut numbers = sender.await.expect("sends all");
    // Events are handled in turn: when this one has its run, those before it have theirs.
    client.emit("all.sent", &json!({}), Some("last")).await.expect("is taken");
    ended(&client, "last", 1).await;
    let all = ended(&client, "claims", EVENTS).await;
    figure("200 events, each sent twice", format!("{} runs in {:.1} s", all.len(), began.elapsed().as_secs_f64()));
    assert_eq!(all.len(), EVENTS);
    all_succeeded(&all);
    let mut sent: Vec<_> = all.iter().map(|r| serde_json::from_str::<Value>(&r.params).expect("is JSON")["n"].clone()).collect();
    sent.sort_by_key(Value::as_u64);
    assert_eq!(sent, (0..EVENTS).map(|n| json!(n)).collect::<Vec<_>>());
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), EVENTS);
    assert!(Journal::read(&cluster.etcd).await.terms() >= 3);

    client.emit("nobody.listens", &json!({"n": 1}), Some("dead-1")).await.expect("is taken");
    client.emit("claims.ready", &json!({"n": "many"}), Some("dead-2")).await.expect("is taken");
    let dead = eventually("the dead events are listed", SOON, || async {
        let all = client.dead_events(0).await.expect("are listed").events;
        (all.len() >= 2).then_some(all)
    })
    .await;
    for event in &dead {
        figure("a dead event", format!("{} of {:?}: {}", event.no, event.trigger, event.why));
    }
    assert_eq!(dead.len(), 2, "{dead:#?}");
    assert!(dead[1].trigger.is_empty() && dead[1].why.contains("no trigger of any pipeline"), "{dead:#?}");
    assert!(dead[0].trigger == "api" && dead[0].pipeline.contains("claims") && dead[0].why.contains('n'), "{dead:#?}");
    let shown = cluster.penstock(&["events", "dead", "-o", "json"]).await.well().json();
    assert_eq!((&shown[1]["why"], &shown[1]["carries"]["payload"]), (&json!(dead[1].why), &json!({"n": 1})), "{shown:#}");
    assert_eq!(runs(&client, "claims").await.len(), EVENTS);
}
