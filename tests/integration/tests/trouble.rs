//! Stores that cannot be used: each is told in one clear line, nothing panics, nothing is half written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Client, CompactionOptions, ConnectOptions, PutOptions};
use penstock_client::{Dialer, Submit};
use penstock_common::State;
use penstock_integration::process::free_port;
use penstock_integration::{
    Cluster, Etcd, Following, LATE, Options, Process, Ran, SOON, Witness, binary, eventually, figure, penstock_with, turn,
};

/// `penstock server` that must end by itself, with one line that says why.
async fn server_ends(store: &str, more: &[&str], env: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().expect("makes a folder");
    let (grpc, http) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let args = [&["server", "--store", store, "--grpc", &grpc, "--http", &http], more].concat();
    let ran = penstock_with(folder.path(), &args, env).await;
    figure(store.split(':').next().unwrap_or_default(), ran.stderr.trim());
    one_line(&ran)
}

/// The one line of a program that could not go on.
fn one_line(ran: &Ran) -> String {
    assert!(ran.code > 0, "it must end with a code that says that it failed: {ran:#?}");
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "one clear line is expected: {ran:#?}");
    assert!(lines[0].starts_with("penstock: ") && !ran.stderr.contains("panicked"), "{ran:#?}");
    lines[0].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_cannot_be_reached_is_told_in_one_line() {
    let nobody = format!("127.0.0.1:{}", free_port());
    let line = server_ends(&format!("etcd://{nobody}"), &[], &[]).await;
    assert!(line.contains(&nobody), "it names who was asked: {line}");
    // A host that swallows everything is no different, but for the time it takes.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let silent = silent.local_addr().expect("has one").to_string();
    let line = server_ends(&format!("etcd://{silent}"), &[], &[]).await;
    assert!(line.contains(&silent), "it names who was asked: {line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_in_one_line_and_the_right_one_works() {
    let _turn = turn().await;
    let dir = tempfile::tempdir().expect("makes a folder");
    let etcd = Etcd::start(dir.path(), &[]).await;
    let mut client = etcd.client().await;
    client.user_add("root", "secret", None).await.expect("adds a user");
    client.role_add("root").await.expect("adds a role");
    client.user_grant_role("root", "root").await.expect("grants");
    client.auth_enable().await.expect("switches users on");

    let user = ["--store-user", "root"];
    let line = server_ends(&etcd.store(), &user, &[("PENSTOCK_STORE_PASSWORD", "wrong")]).await;
    assert!(line.contains("password"), "{line}");
    let line = server_ends(&etcd.store(), &[], &[]).await;
    assert!(line.contains("user"), "without a name it says that one is needed: {line}");
    let line = server_ends(&etcd.store(), &user, &[]).await;
    assert!(line.contains("PENSTOCK_STORE_PASSWORD"), "{line}");
    let options = Some(ConnectOptions::new().with_user("root", "secret"));
    let mut root = Client::connect([etcd.endpoint()], options).await.expect("connects");
    let stored = root.get("/penstock", Some(etcd_client::GetOptions::new().with_prefix())).await.expect("reads");
    assert_eq!(stored.count(), 0, "nothing was written");

    let (grpc, http) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let mut command = binary::command();
    command.args(["server", "--store", &etcd.store(), "--grpc", &grpc, "--http", &http, "--store-user", "root"]);
    let _server = Process::spawn(dir.path(), "server", command.env("PENSTOCK_STORE_PASSWORD", "secret"));
    let client = penstock_client::Client::with(Dialer::tcp(), [grpc], Duration::from_secs(1), "").expect("is an address");
    eventually("it leads", SOON, || async { client.cluster().await.ok().filter(|says| says.leading) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_embedded_store_is_told_in_one_line() {
    let dir = tempfile::tempdir().expect("makes a folder");
    let store = format!("embedded:{}", dir.path().join("store.redb").display());
    let (grpc, http) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let mut command = binary::command();
    command.args(["server", "--store", &store, "--grpc", &grpc, "--http", &http]);
    let mut first = Process::spawn(dir.path(), "first", &mut command);
    let client = penstock_client::Client::with(Dialer::tcp(), [grpc], Duration::from_secs(1), "").expect("is an address");
    eventually("the first leads", SOON, || async { client.cluster().await.ok().filter(|says| says.leading) }).await;

    let line = server_ends(&store, &[], &[]).await;
    assert!(line.contains("store.redb"), "it names the file: {line}");
    // `penstock run` says the same.
    std::fs::write(dir.path().join("p.yaml"), "pipeline: p\ntasks: {one: {noop: true}}\n").expect("writes");
    let state = dir.path().display().to_string();
    let ran = penstock_with(dir.path(), &["run", "p.yaml", "--state", &state], &[]).await;
    assert!(one_line(&ran).contains("store.redb"), "{ran:#?}");
    assert!(first.ended().is_none(), "the first goes on");
    client.cluster().await.expect("the first answers");
    first.kill();
    let ran = penstock_with(dir.path(), &["run", "p.yaml", "--state", &state], &[]).await;
    assert_eq!(ran.code, 0, "once it is gone the store can be used: {ran:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_is_told_once_reads_go_on_and_runs_go_on_once_there_is_room() {
    let _turn = turn().await;
    const QUOTA: &str = "16777216";
    let server = ["--store-quota", QUOTA].map(str::to_owned).to_vec();
    let etcd = ["--quota-backend-bytes", QUOTA].map(str::to_owned).to_vec();
    let mut cluster = Cluster::start(Options { coordinators: 2, workers: 1, slots: 4, server, etcd, ..Options::default() }).await;
    let witness = Witness::new(cluster.dir());
    let client = cluster.client();
    let argv = witness.argv();
    let document = format!(
        "pipeline: steps\ntasks:\n  a: {{run: [{argv}, sleep, '4']}}\n  b: {{run: [{argv}, sleep, '1'], depends_on: [a]}}\n  c: {{noop: true, depends_on: [b]}}\n"
    );
    client.register("steps.yaml", &document).await.expect("is registered");
    client.submit(Submit { run_id: Some("under-way".to_owned()), ..Submit::of("steps") }).await.expect("is taken");
    eventually("a runs", SOON, || async { witness.started("under-way", "a", 1).then_some(()) }).await;

    // Somebody else fills etcd.
    let mut other = cluster.etcd.client().await;
    let junk = vec![b'x'; 512 * 1024];
    let mut filled = 0;
    let full = loop {
        match other.put(format!("/junk/{filled:04}"), junk.clone(), None::<PutOptions>).await {
            Ok(_) => filled += 1,
            Err(error) => break error.to_string(),
        }
        assert!(filled < 100, "etcd takes no end of it");
    };
    assert!(full.contains("space exceeded"), "{full}");

    let leader = cluster.leader().await;
    let told = |log: &str| log.lines().filter(|l| l.contains("is full")).map(str::to_owned).collect::<Vec<_>>();
    let server = std::cell::RefCell::new(&mut cluster);
    let told_after = Instant::now();
    eventually("the operator is told", SOON, || async { (!told(&server.borrow_mut().server(leader).log()).is_empty()).then_some(()) })
        .await;
    figure("from a full store to the line that says so", format!("{:.1} s", told_after.elapsed().as_secs_f64()));
    // New runs are refused, with the reason; reads are answered; what runs is not thrown away.
    let refused = cluster.penstock(&["submit", "steps", "--run-id", "refused", "--deadline", "2"]).await.without_panic();
    assert!(refused.code == 3 && refused.stderr.contains("full"), "{refused:#?}");
    assert_eq!(refused.stderr.lines().count(), 1, "{refused:#?}");
    let run = cluster.penstock(&["get", "under-way", "-o", "json"]).await.well().json();
    assert_eq!(run["state"], "RUNNING");
    cluster.penstock(&["list"]).await.well();
    let says = cluster.penstock(&["cluster"]).await.well().stdout;
    assert!(says.contains("full"), "{says}");
    eventually("a has ended", SOON, || async { witness.lines().iter().any(|l| l.kind == "end" && l.task == "a").then_some(()) }).await;
    assert!(!witness.started("under-way", "b", 1), "nothing is started that cannot be written down");
    // Longer than a coordinator's session in the store: it still leads, and did not say the same thing all the time.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(cluster.leader().await, leader, "a full store makes nobody step down");
    let log = cluster.server(leader).log();
    let lines = told(&log);
    assert_eq!(lines.len(), 1, "the operator is told once: {lines:#?}");
    figure("a full store", &lines[0]);
    assert!(!log.contains("panicked"));

    // Room is made as the line says.
    other.delete("/junk/", Some(etcd_client::DeleteOptions::new().with_prefix())).await.expect("deletes");
    let revision = other.get("/junk/", None).await.expect("reads").header().expect("has one").revision();
    other.compact(revision, Some(CompactionOptions::new().with_physical())).await.expect("compacts");
    other.defragment().await.expect("defragments");
    let alarms = other.alarm(AlarmAction::Get, AlarmType::Nospace, None).await.expect("lists");
    for alarm in alarms.alarms() {
        let mut of = AlarmOptions::new();
        of.with_member(alarm.member_id());
        other.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(of)).await.expect("disarms");
    }
    let following = Following::of(&client, "under-way");
    let ended = following.end(LATE).await;
    assert_eq!(State::from(ended.state()), State::Success, "it goes on by itself");
    let run = cluster.run("under-way").await;
    assert!(run.tasks.iter().all(|t| t.attempts.len() == 1), "and nothing was restarted: {run:#?}");
    eventually("new runs are taken", SOON, || async {
        let taken = cluster.penstock(&["submit", "steps", "--run-id", "taken", "--deadline", "10"]).await;
        (taken.code == 0).then_some(())
    })
    .await;
    assert_eq!(State::from(cluster.wait("taken", LATE).await.run.state()), State::Success);
    assert!(cluster.client().get("refused", 0).await.is_err_and(|e| e.is_not_found()), "what was refused does not exist");
}
