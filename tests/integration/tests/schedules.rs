//! Schedules, backfills and events over real processes: each interval and each event has one run, whoever is killed meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use penstock_client::{Backfill, Client, v1};
use penstock_common::{State, Timestamp};
use penstock_integration::{Cluster, Journal, LATE, Options, SOON, Witness, eventually, figure, turn};
use serde_json::{Value, json};

const DAY: i64 = 24 * 3_600_000;

/// Every run of a pipeline, newest first.
async fn runs(client: &Client, pipeline: &str) -> Vec<v1::Run> {
    let mut all = Vec::new();
    let mut before_no = 0;
    loop {
        let request = v1::ListRunsRequest { pipeline: pipeline.to_owned(), limit: 1_000, before_no, ..Default::default() };
        let page = client.list(request).await.expect("runs are listed").runs;
        let Some(last) = page.last() else { return all };
        before_no = last.no;
        all.extend(page);
    }
}

fn kind(run: &v1::Run) -> &str {
    run.trigger.as_ref().map_or("", |t| &t.kind)
}

/// Waits until each of these runs has ended, and there are as many.
async fn ended(client: &Client, pipeline: &str, at_least: usize) -> Vec<v1::Run> {
    let what = format!("{at_least} runs of {pipeline} have ended");
    eventually(&what, LATE, || async {
        let all = runs(client, pipeline).await;
        (all.len() >= at_least && all.iter().all(|r| State::from(r.state()).is_terminal())).then_some(all)
    })
    .await
}

/// The intervals of these runs in the order of time: each once, no gap and no overlap.
fn without_gap(of: &str, runs: &[v1::Run]) -> Vec<(i64, i64)> {
    let mut all: Vec<_> = runs.iter().map(|r| r.interval.map(|i| (i.start_ms, i.end_ms)).expect("has an interval")).collect();
    all.sort_unstable();
    for pair in all.windows(2) {
        let [(start, end), (next, _)] = pair else { continue };
        assert_ne!(start, next, "{of}: the interval from {} has two runs", Timestamp(*start));
        assert_eq!(
            end,
            next,
            "{of}: after the interval {} to {} comes the one from {}",
            Timestamp(*start),
            Timestamp(*end),
            Timestamp(*next)
        );
    }
    all
}

fn all_succeeded(runs: &[v1::Run]) {
    for run in runs {
        assert_eq!(State::from(run.state()), State::Success, "{run:#?}");
    }
}

/// SIGKILL of the leader; starts it again once another leads.
async fn replace_leader(cluster: &mut Cluster) -> Duration {
    let leader = cluster.leader().await;
    let killed = Instant::now();
    cluster.server(leader).kill();
    cluster.leader().await;
    let took = killed.elapsed();
    cluster.restart_server(leader);
    took
}

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

/// The time by the clock of this machine, which is the coordinators' too.
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("is after 1970");
    i64::try_from(since.as_millis()).expect("is a time")
}

/// The seed's pipeline; each of its tasks writes a line with its day.
fn daily(dir: &Path, tasks: &[&str]) -> String {
    let log = dir.join("daily.log");
    let mut text = "pipeline: daily_etl\ntimezone: Europe/Paris\nschedule: \"0 2 * * *\"\ntasks:\n".to_owned();
    for task in tasks {
        text.push_str(&format!(
            "  {task}: {{run: [sh, -c, 'echo \"$1 $2\" >>\"$0\"', \"{}\", {task}, \"{{{{ interval.date }}}}\"]}}\n",
            log.display()
        ));
    }
    text
}

/// How often each line was written since the last look.
fn written(dir: &Path) -> BTreeMap<String, usize> {
    let log = dir.join("daily.log");
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    drop(std::fs::remove_file(&log));
    let mut all = BTreeMap::new();
    for line in text.lines() {
        *all.entry(line.to_owned()).or_default() += 1;
    }
    all
}

/// One line of each of these tasks for each day of January.
fn january(tasks: &[&str]) -> BTreeMap<String, usize> {
    tasks.iter().flat_map(|task| (1..=31).map(move |day| (format!("{task} 2024-01-{day:02}"), 1))).collect()
}

const JANUARY: [(&str, &str); 31] = [
    ("2024-01-01T02:00:00+01:00", "2024-01-02T02:00:00+01:00"),
    ("2024-01-02T02:00:00+01:00", "2024-01-03T02:00:00+01:00"),
    ("2024-01-03T02:00:00+01:00", "2024-01-04T02:00:00+01:00"),
    ("2024-01-04T02:00:00+01:00", "2024-01-05T02:00:00+01:00"),
    ("2024-01-05T02:00:00+01:00", "2024-01-06T02:00:00+01:00"),
    ("2024-01-06T02:00:00+01:00", "2024-01-07T02:00:00+01:00"),
    ("2024-01-07T02:00:00+01:00", "2024-01-08T02:00:00+01:00"),
    ("2024-01-08T02:00:00+01:00", "2024-01-09T02:00:00+01:00"),
    ("2024-01-09T02:00:00+01:00", "2024-01-10T02:00:00+01:00"),
    ("2024-01-10T02:00:00+01:00", "2024-01-11T02:00:00+01:00"),
    ("2024-01-11T02:00:00+01:00", "2024-01-12T02:00:00+01:00"),
    ("2024-01-12T02:00:00+01:00", "2024-01-13T02:00:00+01:00"),
    ("2024-01-13T02:00:00+01:00", "2024-01-14T02:00:00+01:00"),
    ("2024-01-14T02:00:00+01:00", "2024-01-15T02:00:00+01:00"),
    ("2024-01-15T02:00:00+01:00", "2024-01-16T02:00:00+01:00"),
    ("2024-01-16T02:00:00+01:00", "2024-01-17T02:00:00+01:00"),
    ("2024-01-17T02:00:00+01:00", "2024-01-18T02:00:00+01:00"),
    ("2024-01-18T02:00:00+01:00", "2024-01-19T02:00:00+01:00"),
    ("2024-01-19T02:00:00+01:00", "2024-01-20T02:00:00+01:00"),
    ("2024-01-20T02:00:00+01:00", "2024-01-21T02:00:00+01:00"),
    ("2024-01-21T02:00:00+01:00", "2024-01-22T02:00:00+01:00"),
    ("2024-01-22T02:00:00+01:00", "2024-01-23T02:00:00+01:00"),
    ("2024-01-23T02:00:00+01:00", "2024-01-24T02:00:00+01:00"),
    ("2024-01-24T02:00:00+01:00", "2024-01-25T02:00:00+01:00"),
    ("2024-01-25T02:00:00+01:00", "2024-01-26T02:00:00+01:00"),
    ("2024-01-26T02:00:00+01:00", "2024-01-27T02:00:00+01:00"),
    ("2024-01-27T02:00:00+01:00", "2024-01-28T02:00:00+01:00"),
    ("2024-01-28T02:00:00+01:00", "2024-01-29T02:00:00+01:00"),
    ("2024-01-29T02:00:00+01:00", "2024-01-30T02:00:00+01:00"),
    ("2024-01-30T02:00:00+01:00", "2024-01-31T02:00:00+01:00"),
    ("2024-01-31T02:00:00+01:00", "2024-02-01T02:00:00+01:00"),
];

/// `penstock backfill daily_etl` of January with more flags.
async fn seed(cluster: &Cluster, more: &[&str]) -> penstock_integration::Ran {
    let args = ["backfill", "daily_etl", "--start-date", "2024-01-01", "--end-date", "2024-01-31"];
    cluster.penstock(&[&args, more].concat()).await.without_panic()
}

/// Runs by backfills, whose intervals are those of January: so many times each.
async fn backfilled(cluster: &Cluster, times: usize) -> Vec<v1::Run> {
    let all = runs(&cluster.client(), "daily_etl").await;
    let all: Vec<_> = all.into_iter().filter(|r| kind(r) != "schedule").collect();
    let mut found: BTreeMap<(i64, i64), usize> = BTreeMap::new();
    for run in &all {
        assert_eq!((State::from(run.state()), kind(run)), (State::Success, "backfill"), "{run:#?}");
        let interval = run.interval.unwrap_or_default();
        *found.entry((interval.start_ms, interval.end_ms)).or_default() += 1;
    }
    let at = |text: &str| Timestamp::parse(text).unwrap_or_else(|| panic!("{text} is a time")).0;
    let wanted: BTreeMap<_, _> = JANUARY.iter().map(|(start, end)| ((at(start), at(end)), times)).collect();
    assert_eq!(found, wanted);
    all
}

/// When the schedule fires, from one day to another.
async fn fires(cluster: &Cluster, from: &str, to: &str) -> Vec<String> {
    let answer = cluster.penstock(&["schedule", "preview", "daily_etl", "--from", from, "--to", to, "-o", "json"]).await.well().json();
    let intervals = answer["intervals"].as_array().cloned().unwrap_or_default();
    intervals.iter().map(|i| i["end"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seeds_command_prints_its_31_intervals_and_runs_those_only() {
    let _turn = turn().await;
    let cluster = Cluster::start(Options { coordinators: 1, workers: 2, ..Options::default() }).await;
    let client = cluster.client();
    let dir = cluster.dir();
    client.register("daily.yaml", &daily(dir, &["extract"])).await.expect("is registered");

    let plan = seed(&cluster, &["--dry-run", "-o", "json"]).await.well().json();
    let told: Vec<_> = plan["intervals"].as_array().expect("is a list").iter().map(|i| json!([i["start"], i["end"], i["runs"]])).collect();
    let wanted: Vec<_> = JANUARY.iter().map(|(start, end)| json!([start, end, true])).collect();
    assert_eq!(Value::from(told), Value::from(wanted), "{plan:#}");
    assert_eq!((&plan["backfill"], &plan["zone"]), (&Value::Null, &json!("Europe/Paris")));
    backfilled_none(&client).await;

    let first = seed(&cluster, &["--wait"]).await.well();
    figure("31 runs by --wait", format!("{:.1} s", first.took.as_secs_f64()));
    backfilled(&cluster, 1).await;
    assert_eq!(written(dir), january(&["extract"]));

    let again = seed(&cluster, &["--wait"]).await;
    figure("the same again", format!("exit {}: {}", again.code, again.stderr.trim()));
    assert_eq!(again.code, 1, "{again:#?}");
    assert!(again.stderr.contains("has nothing to run there") && again.stderr.contains("--reprocess"), "{again:#?}");
    backfilled(&cluster, 1).await;
    let plan = seed(&cluster, &["--dry-run", "-o", "json"]).await.well().json();
    assert!(plan["intervals"].as_array().is_some_and(|all| all.len() == 31 && all.iter().all(|i| i["runs"] == false)), "{plan:#}");

    seed(&cluster, &["--wait", "--reprocess", "all", "--note", "a corrected join"]).await.well();
    backfilled(&cluster, 2).await;
    assert_eq!(written(dir), january(&["extract"]));

    let version = client.register("daily.yaml", &daily(dir, &["extract", "new_source"])).await.expect("is registered").version;
    assert_eq!(version, 2);
    let ran = seed(&cluster, &["--wait", "--task", "new_source"]).await.well();
    figure("31 runs of one task", format!("{:.1} s", ran.took.as_secs_f64()));
    let all = backfilled(&cluster, 3).await;
    assert_eq!(written(dir), january(&["new_source"]), "that task only");
    let newest = cluster.run(&all[0].run_id).await;
    let extract = newest.tasks.iter().find(|t| t.id == "extract").expect("is a task");
    assert_eq!((State::from(extract.state()), extract.reason.as_str()), (State::Skipped, "not_selected"));

    let spring = fires(&cluster, "2024-03-30", "2024-04-01").await;
    figure("fires in spring", spring.join(" "));
    assert_eq!(spring.iter().filter(|at| at.starts_with("2024-03-31")).collect::<Vec<_>>(), ["2024-03-31T03:00:00+02:00"]);
    assert_eq!(spring.first().map(String::as_str), Some("2024-03-30T02:00:00+01:00"));
    let autumn = fires(&cluster, "2024-10-26", "2024-10-28").await;
    figure("fires in autumn", autumn.join(" "));
    assert_eq!(autumn.iter().filter(|at| at.starts_with("2024-10-27")).collect::<Vec<_>>(), ["2024-10-27T02:00:00+02:00"]);
    assert_eq!(autumn.first().map(String::as_str), Some("2024-10-26T02:00:00+02:00"));
}

async fn backfilled_none(client: &Client) {
    let all = runs(client, "daily_etl").await;
    assert!(all.iter().all(|r| kind(r) == "schedule"), "a dry run starts nothing: {all:#?}");
}

async fn backfill(client: &Client, id: &str) -> v1::BackfillInfo {
    client.backfills("", id).await.expect("is listed").backfills.pop().expect("is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_years_backfill_has_each_interval_once_though_leader_and_worker_are_killed_midway() {
    let _turn = turn().await;
    let mut cluster = Cluster::start(Options { workers: 2, ..Options::default() }).await;
    let client = cluster.client();
    let witness = Witness::new(cluster.dir());
    let text = format!(
        "pipeline: daily\ntimezone: Europe/Paris\nschedule: \"0 2 * * *\"\ntasks: {{load: {{run: [{}, sleep, \"0.2\"]}}}}\n",
        witness.argv()
    );
    client.register("daily.yaml", &text).await.expect("is registered");
    let asked = Backfill {
        pipeline: "daily".to_owned(),
        id: Some("year".to_owned()),
        start_date: "2023-01-01".to_owned(),
        end_date: "2023-12-31".to_owned(),
        max_active: 16,
        ..Backfill::default()
    };
    let began = Instant::now();
    let (_, plan) = client.backfill(asked).await.expect("is taken");
    assert_eq!((plan.intervals.len(), plan.intervals.iter().filter(|i| i.runs).count()), (365, 365));

    let succeeded = async |wanted: u32| {
        eventually(&format!("{wanted} intervals"), LATE, || async {
            let info = backfill(&client, "year").await;
            (info.succeeded >= wanted).then_some(info.succeeded)
        })
        .await
    };
    let at = succeeded(100).await;
    let leader = cluster.leader().await;
    cluster.server(leader).kill();
    cluster.worker("w0").kill();
    figure("leader and a worker were killed after", format!("{at} intervals"));
    cluster.leader().await;
    let at = succeeded(at + 50).await;
    assert!(at < 365, "they were started again midway");
    cluster.restart_server(leader);
    cluster.restart_worker("w0");
    succeeded(365).await;
    let info = eventually("the backfill has ended", LATE, || async {
        let info = backfill(&client, "year").await;
        info.backfill.as_ref().is_some_and(|b| State::from(b.state()).is_terminal()).then_some(info)
    })
    .await;
    let state = State::from(info.backfill.clone().unwrap_or_default().state());
    assert_eq!((state, info.intervals, info.succeeded, info.failed), (State::Success, 365, 365, 0));
    figure("365 intervals", format!("{:.1} s", began.elapsed().as_secs_f64()));

    let all: Vec<_> = runs(&client, "daily").await.into_iter().filter(|r| kind(r) != "schedule").collect();
    assert_eq!(all.len(), 365);
    all_succeeded(&all);
    let intervals = without_gap("daily", &all);
    let at = |text: &str| Timestamp::parse(text).unwrap_or_else(|| panic!("{text} is a time")).0;
    let (first, last) = (intervals[0].0, intervals[364].1);
    assert_eq!((first, last), (at("2023-01-01T02:00:00+01:00"), at("2024-01-01T02:00:00+01:00")));
    assert_eq!(last - first, 365 * DAY);
    let mut whole = Vec::new();
    for run in &all {
        whole.push(cluster.run(&run.run_id).await);
    }
    let again = whole.iter().flat_map(|r| &r.tasks).filter(|t| t.attempts.len() > 1).count();
    figure("tasks of the killed worker that were tried again", again);
    witness.check(&Journal::read(&cluster.etcd).await, &whole);
    let ends = witness.lines().iter().filter(|l| l.kind == "end").count();
    assert!(ends >= 365, "each interval's task came to its end: {ends}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_run_starts_at_once_while_a_backfill_wants_every_slot() {
    const TICKS: usize = 8;
    let _turn = turn().await;
    let cluster = Cluster::start(Options { coordinators: 1, workers: 2, slots: 2, ..Options::default() }).await;
    let client = cluster.client();
    let bulk = "pipeline: bulk\nschedule: \"@daily\"\ntasks: {slow: {shell: sleep 5}}\n";
    client.register("bulk.yaml", bulk).await.expect("is registered");
    let asked = Backfill {
        pipeline: "bulk".to_owned(),
        id: Some("bulk".to_owned()),
        start_date: "2023-01-01".to_owned(),
        end_date: "2023-12-31".to_owned(),
        max_active: 10,
        ..Backfill::default()
    };
    client.backfill(asked).await.expect("is taken");
    let used = async || {
        let workers = client.workers().await.expect("are listed").workers;
        workers.iter().flat_map(|w| &w.attempts).filter(|a| a.task == "slow").count()
    };
    eventually("the backfill runs as much as it may", SOON, || async {
        let live = backfill(&client, "bulk").await.live.len();
        (live == 10 && used().await > 0).then_some(())
    })
    .await;
    client
        .register("ticking.yaml", "pipeline: ticking\nschedule: {every: 2s, overlap: queue}\ntasks: {tick: {run: [\"true\"]}}\n")
        .await
        .expect("is registered");
    let mut most = 0;
    let since = Instant::now();
    while runs(&client, "ticking").await.iter().filter(|r| State::from(r.state()).is_terminal()).count() < TICKS {
        most = most.max(used().await);
        assert!(since.elapsed() < LATE, "the scheduled runs do not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let info = backfill(&client, "bulk").await;
    assert_eq!(info.live.len(), 10, "the backfill wanted every slot all the while");
    client.cancel_backfill("bulk", "it was seen").await.expect("is cancelled");
    let mut late = Vec::new();
    for run in runs(&client, "ticking").await.iter().rev().take(TICKS) {
        let whole = cluster.run(&run.run_id).await;
        let first = whole.tasks[0].attempts.first().unwrap_or_else(|| panic!("has no attempt: {whole:#?}"));
        late.push(first.leased_at_ms - run.interval.unwrap_or_default().end_ms);
    }
    late.sort_unstable();
    figure("slots that the backfill held at most", format!("{most} of 4"));
    figure("from due to leased", format!("median {} ms, longest {} ms: {late:?}", late[late.len() / 2], late[late.len() - 1]));
    assert!(most >= 2, "the backfill ran on what was free");
    // A quiet machine takes a few milliseconds, the promise is 1 s; the rest is for one that builds beside.
    assert!(late.iter().all(|ms| (0..3_000).contains(ms)), "a scheduled run waited for a backfill: {late:?}");
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
