//! Sensors, a probe at a time: files that appear, a real server, real databases, and times.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use penstock_common::lease::Lease;
use penstock_common::pipeline::{Action, Http, Sql, Statement, Until, Wait};
use penstock_common::record::{Ended, Report};
use penstock_common::{Millis, Reason, State, Timestamp};
use penstock_worker::attempt::{Connections, Stop};
use serde_json::{Value, json};
use support::server::{Server, reply};
use support::{World, assert_ended, ended, eventually, with};

/// When the clock of every test's host begins.
const BEGIN: i64 = 1_706_666_400_000;

fn lease(world: &World, until: Until) -> Lease {
    world.lease(Action::Wait(Wait { until, every: Millis(60_000), timeout: None, skip_on_timeout: false }))
}

fn change(lease: Lease, change: impl FnOnce(&mut Wait)) -> Lease {
    with(lease, |task| {
        let Action::Wait(wait) = &mut task.action else { panic!("a sensor") };
        change(wait);
    })
}

fn file(path: &str) -> Until {
    Until::File { path: path.into(), settle: Millis(30_000) }
}

/// A file that was changed so many seconds before the tests' clock begins.
fn put(path: &Path, seconds_ago: u64) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = std::fs::File::create(path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_millis(BEGIN as u64) - Duration::from_secs(seconds_ago)).unwrap();
}

fn waiting(report: Report) -> (Timestamp, String) {
    match report {
        Report::Waiting { until, detail } => (until, detail.to_string()),
        Report::Ended { ended, .. } => panic!("{ended:?}"),
    }
}

fn so(report: Report) -> Ended {
    let ended = ended(report);
    assert_eq!(ended.state, State::Success, "{}", ended.detail);
    ended
}

fn output(ended: &Ended, key: &str) -> Value {
    serde_json::from_str(&ended.outputs.0[key]).unwrap()
}

#[tokio::test]
async fn a_file_is_waited_for_until_it_has_settled() {
    let world = World::new();
    let path = world.root.join("code/in/2024-01-31.csv");
    let sensor = with(lease(&world, file("{{ params.dir }}/*-*.csv")), |task| task.workdir = ".".into());
    let sensor = Lease { params: r#"{"dir": "in"}"#.into(), ..sensor };
    let (until, detail) = waiting(world.report(&sensor).await);
    assert!(until >= Timestamp(BEGIN + 60_000) && until < Timestamp(BEGIN + 61_000), "now and `every`: {until}");
    assert!(detail.starts_with("no file matches") && detail.ends_with("/in/*-*.csv"), "{detail}");

    put(&path, 10);
    let (_, detail) = waiting(world.report(&sensor).await);
    assert!(detail.contains("2024-01-31.csv (0 bytes) changed 10s") && detail.contains("unchanged for 30s"), "{detail}");

    world.clock.fetch_add(25_000, Ordering::Relaxed);
    let ended = so(world.report(&sensor).await);
    assert_eq!(Path::new(output(&ended, "path").as_str().unwrap()).canonicalize().unwrap(), path.canonicalize().unwrap());
    // All probes of an attempt are in one log.
    let lines = world.lines("P");
    assert_eq!(lines.iter().filter(|line| line.starts_with("not yet: ")).count(), 2, "{lines:?}");
    assert!(lines.last().unwrap() == "it is so", "{lines:?}");
}

#[tokio::test]
async fn hostile_values_are_file_names_and_no_patterns() {
    let world = World::new();
    let hostile = "\"; touch pwned; # $(id) {{ 7*7 }}\n[a]*?";
    put(&world.root.join("code/other.csv"), 100);
    let sensor = Lease { params: json!({ "x": hostile }).to_string().into(), ..lease(&world, file("{{ params.x }}.csv")) };
    waiting(world.report(&sensor).await);
    put(&world.root.join("code").join(format!("{hostile}.csv")), 100);
    let ended = so(world.report(&sensor).await);
    assert!(output(&ended, "path").as_str().unwrap().ends_with(&format!("/{hostile}.csv")));
    let star = Lease { params: r#"{"x": "*"}"#.into(), ..lease(&world, file("{{ params.x }}.csv")) };
    waiting(world.report(&star).await);
    let wanted = Lease { params: r#"{"x": "*"}"#.into(), ..lease(&world, file("{{ params.x | safe }}.csv")) };
    so(world.report(&wanted).await);
    assert!(!world.root.join("code/pwned").exists());
    for (path, place) in [("{{ params.nope }}", "wait.file.path"), ("a[", "no pattern"), ("{{ '\\u0000' }}", "NUL")] {
        let ended = world.execute(&lease(&world, file(path))).await;
        assert_ended(&ended, State::Failed, Reason::Template);
        assert!(ended.detail.contains(place), "{}", ended.detail);
    }
}

#[tokio::test]
async fn a_request_that_fails_is_not_yet() {
    let mut world = World::new();
    world.host.http_allow_private = true;
    let status = Arc::new(AtomicU16::new(404));
    let now = status.clone();
    let server = Server::start(move |_| reply(now.load(Ordering::Relaxed), &[("Content-Type", "application/json")], "[1]")).await;
    let http =
        |url: String| Http { method: "GET".into(), url, headers: BTreeMap::new(), body: None, success: vec![(200, 200)], keep_body: true };
    let sensor = lease(&world, Until::Http(http(server.url("/ready"))));
    let (_, detail) = waiting(world.report(&sensor).await);
    assert!(detail.starts_with("HTTP 404 from"), "{detail}");
    status.store(200, Ordering::Relaxed);
    let ended = so(world.report(&sensor).await);
    assert_eq!((output(&ended, "status"), output(&ended, "body")), (json!(200), json!([1])));

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_, detail) = waiting(world.report(&lease(&world, Until::Http(http(format!("http://{free}/"))))).await);
    assert!(detail.contains("cannot connect"), "{detail}");
    // What waiting does not mend.
    assert_ended(&world.execute(&lease(&world, Until::Http(http("no url".into())))).await, State::Failed, Reason::Template);
    world.host.http_allow_private = false;
    assert_ended(&world.execute(&sensor).await, State::Failed, Reason::Spawn);
}

#[tokio::test]
async fn a_row_is_so_unless_its_first_column_is_nothing() {
    let mut world = World::new();
    let connections = world.root.join("c.toml");
    std::fs::write(&connections, "[local]\nurl = 'sqlite:local.db'\n").unwrap();
    world.host.connections = Connections::load(&connections).unwrap();
    let sql = |connection: &str, text: &str| {
        let statements = vec![Statement { text: text.into(), bind: vec![json!("{{ params.x }}")] }];
        let sql = Sql { connection: connection.into(), statements, transaction: false, keep_row: false };
        Lease { params: json!({"x": "'; drop table t; --"}).to_string().into(), ..lease(&world, Until::Sql(sql)) }
    };
    for nothing in ["select 1 where $1 = ''", "select null, 1, $1", "select 0, $1", "select 0.0, $1", "select $1 = ''"] {
        let (_, detail) = waiting(world.report(&sql("local", nothing)).await);
        assert!(detail.contains("gives no row") || detail.contains("the first column"), "{detail}");
    }
    for so_it_is in ["select 1 where $1 <> ''", "select '', $1", "select 0.5, $1", "select $1", "select x'00', $1"] {
        so(world.report(&sql("local", so_it_is)).await);
    }
    let ended = world.execute(&sql("local", "select * from nowhere where a = $1")).await;
    assert_ended(&ended, State::Failed, Reason::ExitCode);
    assert!(ended.detail.contains("nowhere"), "{}", ended.detail);
    assert_ended(&world.execute(&sql("nope", "select $1")).await, State::Failed, Reason::Spawn);
}

#[tokio::test]
async fn a_time_is_waited_for_to_the_moment() {
    let world = World::new();
    let sensor = Lease { zone: "Europe/Paris".into(), ..lease(&world, Until::Time("{{ params.at }}".into())) };
    let at = |time: &str| Lease { params: json!({ "at": time }).to_string().into(), ..sensor.clone() };
    // The clock begins on 2024-01-31 at 02:00 UTC, which is 03:00 in Paris.
    let (until, detail) = waiting(world.report(&at("03:30")).await);
    assert_eq!(until.to_string(), "2024-01-31T02:30:00.000Z");
    assert!(detail.contains("2024-01-31T02:30:00.000Z"), "{detail}");
    so(world.report(&at("03:00")).await);
    so(world.report(&at("2024-01-31T01:59:00Z")).await);
    world.clock.fetch_add(1_800_000, Ordering::Relaxed);
    so(world.report(&at("03:30")).await);
    assert_ended(&world.execute(&at("noon; $(id)")).await, State::Failed, Reason::Template);
}

#[tokio::test]
async fn a_timeout_counts_from_the_first_lease_and_fails_or_skips() {
    let world = World::new();
    let sensor = change(lease(&world, file("nothing")), |wait| wait.timeout = Some(Millis(90_000)));
    waiting(world.report(&sensor).await);
    world.clock.fetch_add(60_000, Ordering::Relaxed);
    let (until, _) = waiting(world.report(&sensor).await);
    assert_eq!(until, Timestamp(BEGIN + 90_000), "not later than the timeout");
    world.clock.fetch_add(30_000, Ordering::Relaxed);
    let ended = world.execute(&sensor).await;
    assert_ended(&ended, State::Failed, Reason::Timeout);
    assert!(ended.detail.contains("1m30s") && ended.detail.contains("no file matches"), "{}", ended.detail);
    let skipping = change(sensor, |wait| wait.skip_on_timeout = true);
    let ended = world.execute(&skipping).await;
    assert_ended(&ended, State::Skipped, Reason::Task);
    // It is looked once more before that.
    put(&world.root.join("code/nothing"), 100);
    so(world.report(&skipping).await);
}

#[tokio::test]
async fn a_probe_is_cancelled_like_any_attempt() {
    let mut world = World::new();
    world.host.http_allow_private = true;
    let server = Server::start(|_| None).await;
    let http = Http {
        method: "GET".into(),
        url: server.url("/"),
        headers: BTreeMap::new(),
        body: None,
        success: vec![(200, 200)],
        keep_body: true,
    };
    let ended = world
        .execute_while(&lease(&world, Until::Http(http)), async |go| {
            eventually("the request comes", || !server.received().is_empty()).await;
            go.send_replace(Stop::Cancel(Reason::User));
            go.closed().await;
        })
        .await;
    assert_ended(&ended, State::Cancelled, Reason::User);
}
