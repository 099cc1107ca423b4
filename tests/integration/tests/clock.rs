//! Schedules over real processes whose wall clocks step by an hour, forward and back, alone and together: each interval has one run, or
//! was skipped and counted, and the next begins where it ended.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use penstock_client::{Client, Submit, v1};
use penstock_common::record::TriggerKind;
use penstock_common::{Event, Interval, State, Timestamp};
use penstock_integration::intervals::{ended, now_ms, replace_leader};
use penstock_integration::{Cluster, Journal, Options, SOON, eventually, figure, turn};

const HOUR_S: i64 = 3_600;
const HOUR: i64 = HOUR_S * 1_000;
/// Each policy, and one whose intervals are soon too old.
const PIPELINES: [(&str, &str); 4] =
    [("none", "catchup: none"), ("latest", "catchup: latest"), ("all", "catchup: all"), ("strict", "catchup: none, grace: 1s")];

/// How long intervals are: a second; where one that runs all of them is to make up for an hour, ten.
async fn register(client: &Client, of_all: u32) {
    for (name, keys) in PIPELINES {
        let every = if name == "all" { of_all } else { 1 };
        let text = format!("pipeline: {name}\nschedule: {{every: {every}s, max_queued: 10000, {keys}}}\ntasks: {{look: {{noop: true}}}}\n");
        client.register("every.yaml", &text).await.expect("is registered");
    }
}

/// The end of the interval of the newest run; 0 without one.
async fn newest(client: &Client, pipeline: &str) -> i64 {
    let request = v1::ListRunsRequest { pipeline: pipeline.to_owned(), limit: 1, ..Default::default() };
    let page = client.list(request).await.expect("runs are listed").runs;
    page.first().and_then(|run| run.interval).map_or(0, |interval| interval.end_ms)
}

/// Waits until every schedule has run an interval that falls due from now on, by a clock that is so far ahead.
async fn fire(client: &Client, ahead: i64) {
    let now = now_ms() + ahead;
    for (name, _) in PIPELINES {
        eventually(&format!("{name} fires"), SOON, || async {
            let end = newest(client, name).await;
            (end > now && end < now + 600_000).then_some(())
        })
        .await;
    }
}

async fn newest_of_all(client: &Client) -> Vec<i64> {
    let mut all = Vec::new();
    for (name, _) in PIPELINES {
        all.push(newest(client, name).await);
    }
    all
}

/// Waits until the leader says that it does not trust its clock, wherever it says so; from then on nothing fires.
async fn nothing_fires(cluster: &mut Cluster, leader: usize) {
    let since = Instant::now();
    let said = eventually("the leader distrusts its clock", SOON, || async {
        let says = cluster.says(leader).await?;
        (says.leading && says.trouble.contains("no schedule fires")).then_some(says.trouble)
    })
    .await;
    figure("distrusted", format!("after {:.0} ms: {said}", since.elapsed().as_secs_f64() * 1e3));
    let client = cluster.client_of(leader);
    let before = newest_of_all(&client).await;
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        for (name, _) in PIPELINES {
            let stopped = client.schedule(name, "", "", 1).await.expect("answers").stopped;
            assert!(stopped.contains("no schedule fires"), "{name}: {stopped:?}");
        }
        assert_eq!(newest_of_all(&client).await, before, "something fired though the clock is wrong");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(before.iter().all(|end| *end <= now_ms()), "what is still to come has run: {before:?}");
    assert!(cluster.server(leader).log().contains("no schedule fires"), "its log says it");
}

async fn is_trusted(cluster: &Cluster, leader: usize) {
    eventually("the leader trusts its clock", SOON, || async {
        let says = cluster.says(leader).await?;
        (says.leading && says.trouble.is_empty()).then_some(())
    })
    .await;
}

/// What became of a pipeline's intervals, in the order of the journal: a run, or so many skipped for a reason.
async fn fates(cluster: &Cluster, pipeline: &str) -> Vec<(Interval, u64, Option<&'static str>)> {
    let journal = Journal::read(&cluster.etcd).await;
    let events = journal.entries.iter().flat_map(|(_, events)| events);
    let fates = events.filter_map(|event| match event {
        Event::RunCreated(run) if run.pipeline.name() == pipeline && run.trigger.kind == TriggerKind::Schedule => {
            Some((run.interval.expect("has an interval"), 1, None))
        }
        Event::IntervalsSkipped { pipeline: of, interval, count, reason, .. } if of.name() == pipeline => {
            Some((*interval, *count, Some(reason.as_str())))
        }
        _ => None,
    });
    fates.collect()
}

/// Each begins where the one before it ended, and is so many seconds, or as many times as were counted. Returns how many ran, and were skipped for
/// each reason.
fn each_once(of: &str, every: i64, fates: &[(Interval, u64, Option<&'static str>)]) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    let mut at: Option<Timestamp> = None;
    for (interval, count, reason) in fates {
        let (start, end) = (interval.start(), interval.end());
        assert!(at.is_none_or(|at| at == start), "{of}: after {at:?} comes the interval from {start} to {end}");
        assert_eq!(end.0 - start.0, i64::try_from(*count).expect("is a count") * every * 1_000, "{of}: {start} to {end}, counted {count}");
        at = Some(end);
        *counts.entry(reason.unwrap_or("run")).or_default() += count;
    }
    figure(of, format!("{counts:?}"));
    counts
}

/// Schedules stop, every run ends, and API and journal agree.
async fn stop(cluster: &Cluster) {
    let client = cluster.client();
    for (name, _) in PIPELINES {
        client.pause_trigger(name, "schedule", false, "").await.expect("is paused");
    }
    for (name, _) in PIPELINES {
        let runs = ended(&client, name, 1).await;
        assert!(runs.iter().all(|run| State::from(run.state()) == State::Success), "{name}: a run is not SUCCESS");
        let skipped = client.schedule(name, "", "", 1).await.expect("answers").skipped;
        let told: u64 = skipped.iter().map(|s| s.count).sum();
        let fates = fates(cluster, name).await;
        let ran = fates.iter().filter(|(_, _, reason)| reason.is_none()).count();
        let counted: u64 = fates.iter().filter(|(_, _, reason)| reason.is_some()).map(|(_, count, _)| count).sum();
        assert_eq!((runs.len(), told), (ran, counted), "{name}: the API and the journal");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaders_clock_that_steps_alone_fires_nothing_until_it_is_right_and_a_wrong_successor_neither() {
    let _turn = turn().await;
    let mut cluster = Cluster::start(Options { clocks: true, ..Options::default() }).await;
    let client = cluster.client();
    let go = cluster.dir().join("go");
    let long = format!("pipeline: long\ntasks: {{wait: {{shell: \"until test -e '{}'; do sleep 0.1; done\"}}}}\n", go.display());
    client.register("long.yaml", &long).await.expect("is registered");
    let long = client.submit(Submit { pipeline: "long".to_owned(), ..Submit::default() }).await.expect("is submitted").run_id;
    register(&client, 1).await;
    fire(&client, 0).await;
    for ahead in [HOUR_S, -HOUR_S] {
        let leader = cluster.leader().await;
        cluster.set_clock(&format!("c{leader}"), ahead);
        nothing_fires(&mut cluster, leader).await;
        cluster.set_clock(&format!("c{leader}"), 0);
        is_trusted(&cluster, leader).await;
        fire(&client, 0).await;

        replace_leader(&mut cluster).await;
        fire(&client, 0).await;

        let leader = cluster.leader().await;
        for other in (0..3).filter(|n| *n != leader) {
            cluster.set_clock(&format!("c{other}"), ahead);
        }
        cluster.server(leader).kill();
        let wrong = cluster.leader().await;
        nothing_fires(&mut cluster, wrong).await;
        assert_eq!(State::from(cluster.run(&long).await.run.state()), State::Running, "what runs goes on");
        cluster.set_clocks(0);
        is_trusted(&cluster, wrong).await;
        cluster.restart_server(leader);
        fire(&client, 0).await;
    }
    std::fs::write(go, "").expect("writes");
    let long = cluster.wait(&long, SOON).await;
    assert_eq!((State::from(long.run.state()), long.tasks[0].attempts.len()), (State::Success, 1), "{long:#?}");
    stop(&cluster).await;
    for (name, _) in PIPELINES {
        let counts = each_once(name, 1, &fates(&cluster, name).await);
        // Nothing is as old as five minutes: the three have all their runs.
        let is_strict = name == "strict";
        assert_eq!(counts.keys().any(|reason| !["run", "paused"].contains(reason)), is_strict, "{name}: {counts:?}");
        assert_eq!(counts.get("catchup").is_some_and(|count| *count >= 8), is_strict, "{name}: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_step_together_are_believed_and_no_interval_runs_twice_until_a_person_says_so() {
    const OF_ALL: u32 = 10;
    let _turn = turn().await;
    let mut cluster = Cluster::start(Options { coordinators: 2, clocks: true, ..Options::default() }).await;
    let client = cluster.client();
    register(&client, OF_ALL).await;
    fire(&client, 0).await;

    let since = Instant::now();
    cluster.set_clocks(HOUR_S);
    fire(&client, HOUR).await;
    figure("an hour forward was believed after", format!("{:.1} s", since.elapsed().as_secs_f64()));
    replace_leader(&mut cluster).await;
    fire(&client, HOUR).await;
    let leader = cluster.leader().await;
    is_trusted(&cluster, leader).await;

    let before = newest_of_all(&client).await;
    cluster.set_clocks(0);
    let set_back = async |cluster: &Cluster, leader: usize| {
        let client = cluster.client_of(leader);
        let said = eventually("the schedule says that the clock was set back", SOON, || async {
            let stopped = client.schedule("all", "", "", 1).await.ok()?.stopped;
            stopped.contains("set back").then_some(stopped)
        })
        .await;
        figure("told", said);
        is_trusted(cluster, leader).await;
    };
    set_back(&cluster, leader).await;
    replace_leader(&mut cluster).await;
    let leader = cluster.leader().await;
    set_back(&cluster, leader).await;
    let shown = cluster.penstock(&["schedule", "next", "strict", "--count", "1"]).await.well();
    assert!(shown.stdout.contains("set back") && shown.stdout.contains("rewind"), "{shown:#?}");
    let after = newest_of_all(&client).await;
    // A last one may have been due before the clocks went back.
    assert!(after.iter().zip(&before).all(|(after, before)| (0..=10_000).contains(&(after - before))), "{before:?}, then {after:?}");
    let every = |name: &str| if name == "all" { i64::from(OF_ALL) } else { 1 };
    let mut dealt = BTreeMap::new();
    for (name, _) in PIPELINES {
        let fates = fates(&cluster, name).await;
        let counts = each_once(name, every(name), &fates);
        let catchup = counts.get("catchup").copied().unwrap_or(0);
        let of_hour = match name {
            "none" | "latest" => 3_200..=3_310,
            "all" => 0..=0,
            _ => 3_580..=3_620,
        };
        assert!(of_hour.contains(&catchup), "{name}: {counts:?}");
        assert!(counts.keys().all(|reason| ["run", "catchup"].contains(reason)), "{name}: {counts:?}");
        dealt.insert(name, fates.len());
    }

    for (name, _) in PIPELINES {
        let to = Timestamp(now_ms()).to_string();
        let said = cluster.penstock(&["schedule", "rewind", name, "--to", &to, "--note", "the clocks were set back"]).await.well();
        figure("rewound", said.stdout.trim());
    }
    fire(&client, 0).await;
    assert_eq!(client.schedule("all", "", "", 1).await.expect("answers").stopped, "");
    stop(&cluster).await;
    for (name, _) in PIPELINES {
        let fates = fates(&cluster, name).await;
        let again = &fates[dealt[name]..];
        let counts = each_once(name, every(name), again);
        assert!(counts.get("run").is_some_and(|count| *count >= 1), "{name}: {counts:?}");
        let first = again.first().map(|(interval, ..)| interval.start().0).unwrap_or_default();
        assert!((now_ms() - 60_000..=now_ms()).contains(&first), "{name} goes on where it was set: {}", Timestamp(first));
    }
}
