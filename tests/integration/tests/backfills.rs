//! Backfills over real processes: each interval that is to run runs once, whoever is killed meanwhile, and scheduled work comes first.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use penstock_client::{Backfill, Client, v1};
use penstock_common::{State, Timestamp};
use penstock_integration::intervals::{all_succeeded, ended, kind, now_ms, runs, without_gap};
use penstock_integration::{Cluster, Journal, LATE, Options, SOON, Witness, eventually, figure, turn};
use serde_json::{Value, json};

const DAY: i64 = 24 * 3_600_000;

/// A daily pipeline; each of its tasks writes a line with its day.
fn daily(dir: &Path, tasks: &[&str]) -> String {
    let log = dir.join("daily.log");
    let mut text = "pipeline: daily_etl\ntimezone: Europe/Paris\nschedule: \"0 2 * * *\"\ntasks:\n".to_owned();
    for (at, task) in tasks.iter().enumerate() {
        let (below, day) = match at {
            0 => ("[]".to_owned(), "interval.date".to_owned()),
            _ => (format!("[{}]", tasks[0]), format!("outputs.{}.day", tasks[0])),
        };
        text.push_str(&format!(
            r#"  {task}:
    depends_on: {below}
    run:
      - sh
      - -c
      - |
        echo "$1 $2" >>"$0"
        echo "{{\"output\": {{\"day\": \"$2\"}}}}" >>"$PENSTOCK_OUTPUT"
      - {}
      - {task}
      - "{{{{ {day} }}}}"
"#,
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
async fn january_backfill(cluster: &Cluster, more: &[&str]) -> penstock_integration::Ran {
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
async fn a_backfill_of_a_month_prints_its_31_intervals_and_runs_those_only() {
    let _turn = turn().await;
    let cluster = Cluster::start(Options { coordinators: 1, workers: 2, ..Options::default() }).await;
    let client = cluster.client();
    let dir = cluster.dir();
    client.register("daily.yaml", &daily(dir, &["extract"])).await.expect("is registered");

    let plan = january_backfill(&cluster, &["--dry-run", "-o", "json"]).await.well().json();
    let told: Vec<_> = plan["intervals"].as_array().expect("is a list").iter().map(|i| json!([i["start"], i["end"], i["runs"]])).collect();
    let wanted: Vec<_> = JANUARY.iter().map(|(start, end)| json!([start, end, true])).collect();
    assert_eq!(Value::from(told), Value::from(wanted), "{plan:#}");
    assert_eq!((&plan["backfill"], &plan["zone"]), (&Value::Null, &json!("Europe/Paris")));
    backfilled_none(&client).await;

    let first = january_backfill(&cluster, &["--wait"]).await.well();
    figure("31 runs by --wait", format!("{:.1} s", first.took.as_secs_f64()));
    backfilled(&cluster, 1).await;
    assert_eq!(written(dir), january(&["extract"]));

    let again = january_backfill(&cluster, &["--wait"]).await;
    figure("the same again", format!("exit {}: {}", again.code, again.stderr.trim()));
    assert_eq!(again.code, 1, "{again:#?}");
    assert!(again.stderr.contains("has nothing to run there") && again.stderr.contains("--reprocess"), "{again:#?}");
    backfilled(&cluster, 1).await;
    let plan = january_backfill(&cluster, &["--dry-run", "-o", "json"]).await.well().json();
    assert!(plan["intervals"].as_array().is_some_and(|all| all.len() == 31 && all.iter().all(|i| i["runs"] == false)), "{plan:#}");

    january_backfill(&cluster, &["--wait", "--reprocess", "all", "--note", "a corrected join"]).await.well();
    backfilled(&cluster, 2).await;
    assert_eq!(written(dir), january(&["extract"]));

    let version = client.register("daily.yaml", &daily(dir, &["extract", "new_source"])).await.expect("is registered").version;
    assert_eq!(version, 2);
    let ran = january_backfill(&cluster, &["--wait", "--task", "new_source"]).await.well();
    figure("31 runs of one task", format!("{:.1} s", ran.took.as_secs_f64()));
    let all = backfilled(&cluster, 3).await;
    assert_eq!(written(dir), january(&["new_source"]), "that task only, with the day that extract put out when it ran");
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
    let bulk = "pipeline: bulk\nschedule: \"@daily\"\ntasks: {slow: {shell: sleep 60}}\n";
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
    let mut late = Vec::new();
    for run in runs(&client, "ticking").await.iter().rev().take(TICKS) {
        let whole = cluster.run(&run.run_id).await;
        let first = whole.tasks[0].attempts.first().unwrap_or_else(|| panic!("has no attempt: {whole:#?}"));
        late.push(first.started_at_ms - run.interval.unwrap_or_default().end_ms);
    }
    late.sort_unstable();
    figure("slots that the backfill held at most", format!("{most} of 4"));
    figure(
        "from due to the start of the first task",
        format!("median {} ms, longest {} ms: {late:?}", late[late.len() / 2], late[late.len() - 1]),
    );
    assert!(most >= 2, "the backfill ran on what was free");
    // Starts are stamped by the clock of deadlines, which may be some milliseconds behind the wall clock.
    assert!(late.iter().all(|ms| (-100..1_000).contains(ms)), "a scheduled run waited for a backfill: {late:?}");
}

/// What became of a pipeline's intervals that start at this time or later, and have ended: start, and outcome.
async fn outcomes(client: &Client, pipeline: &str, from: i64) -> Vec<(i64, String)> {
    let answer = client.schedule(pipeline, &Timestamp(from).to_string(), &Timestamp(now_ms()).to_string(), 1_000).await.expect("answers");
    let all = answer.intervals.into_iter().map(|i| (i.interval.unwrap_or_default().start_ms, i.outcome));
    all.filter(|(start, _)| *start >= from).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interval_skipped_by_overlap_is_filled_and_a_success_is_not_though_its_run_is_no_longer_in_history() {
    let _turn = turn().await;
    let server = ["--journal-keep", "100000", "--history-runs", "1"].map(str::to_owned).to_vec();
    let mut cluster = Cluster::start(Options { coordinators: 1, workers: 1, server, ..Options::default() }).await;
    let client = cluster.client();
    let slow = cluster.dir().join("slow");
    std::fs::write(&slow, "").expect("writes");
    let text = format!(
        "pipeline: often\nschedule: {{every: 1s, overlap: skip}}\ntasks: {{look: {{shell: \"while test -e '{}'; do sleep 0.1; done\"}}}}\n",
        slow.display()
    );
    let began = now_ms();
    client.register("often.yaml", &text).await.expect("is registered");
    let count = |all: &[(i64, String)], wanted: &str| all.iter().filter(|(_, outcome)| outcome == wanted).count();
    eventually("intervals are skipped by overlap", SOON, || async {
        (count(&outcomes(&client, "often", began).await, "SKIPPED(overlap)") >= 3).then_some(())
    })
    .await;
    std::fs::remove_file(&slow).expect("is there");
    eventually("later ones run", SOON, || async { (count(&outcomes(&client, "often", began).await, "SUCCESS") >= 4).then_some(()) }).await;
    client.pause_trigger("often", "schedule", false, "").await.expect("is paused");
    ended(&client, "often", 4).await;
    let mut all = outcomes(&client, "often", began).await;
    all.retain(|(_, outcome)| outcome == "SUCCESS" || outcome == "SKIPPED(overlap)");
    let (success, skipped) = (count(&all, "SUCCESS"), count(&all, "SKIPPED(overlap)"));
    figure("intervals", format!("{success} SUCCESS, {skipped} SKIPPED(overlap)"));

    // A term begins with a look at what is too old, and another comes a minute later.
    cluster.server(0).kill();
    cluster.restart_server(0);
    cluster.ready().await;
    eventually("history is trimmed", LATE, || async { (runs(&client, "often").await.len() <= 1).then_some(()) }).await;

    let (from, to) = (Timestamp(all[0].0).to_string(), Timestamp(all[all.len() - 1].0).to_string());
    let args = ["backfill", "often", "--start-date", &from, "--end-date", &to];
    let plan = cluster.penstock(&[&args[..], &["--dry-run", "-o", "json"]].concat()).await.well().json();
    let told: Vec<_> = plan["intervals"].as_array().expect("is a list").iter().map(|i| i["runs"].clone()).collect();
    let wanted: Vec<_> = all.iter().map(|(_, outcome)| json!(outcome != "SUCCESS")).collect();
    assert_eq!(told, wanted, "{all:?}: {plan:#}");
    cluster.penstock(&[&args[..], &["--id", "filled", "--wait"]].concat()).await.well();
    let info = backfill(&client, "filled").await;
    assert_eq!((info.intervals as usize, info.succeeded as usize), (skipped, skipped), "{info:#?}");
    let mut filled = outcomes(&client, "often", all[0].0).await;
    filled.truncate(all.len());
    assert!(filled.iter().zip(&all).all(|((at, outcome), (start, _))| at == start && outcome == "SUCCESS"), "{filled:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn intervals_that_are_reprocessed_run_the_corrected_definition() {
    let _turn = turn().await;
    let cluster = Cluster::start(Options { coordinators: 1, workers: 1, ..Options::default() }).await;
    let client = cluster.client();
    let dir = cluster.dir();
    client.register("daily.yaml", &daily(dir, &["extract"])).await.expect("is registered");
    january_backfill(&cluster, &["--wait"]).await.well();
    assert_eq!(written(dir), january(&["extract"]));
    let corrected = daily(dir, &["extract"]).replace("echo \"$1 $2\"", "echo \"corrected $1 $2\"");
    assert_eq!(client.register("daily.yaml", &corrected).await.expect("is registered").version, 2);
    january_backfill(&cluster, &["--wait", "--reprocess", "all"]).await.well();
    assert_eq!(written(dir), january(&["corrected extract"]));
    let all = backfilled(&cluster, 2).await;
    let versions: Vec<_> = all.iter().map(|run| run.version).collect();
    assert_eq!(versions, [[2; 31], [1; 31]].concat(), "newest first");
}
