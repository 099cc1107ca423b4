//! What the tests of attempts share: a host in a directory of its own, leases, and reading what came of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod postgres;
pub mod server;
pub mod tls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use penstock_common::lease::Lease;
use penstock_common::limits::MAX_DETAIL_BYTES;
use penstock_common::pipeline::{Action, Setting, Task};
use penstock_common::record::{Ended, Report, TriggerKind};
use penstock_common::{Fence, PipelineName, Reason, RunId, State, TaskKey, Timestamp};
use penstock_worker::attempt::{Host, Stop, execute};
use tokio::sync::watch;

/// For conditions that must come true; far more than any needs.
pub const LIMIT: Duration = Duration::from_secs(60);

pub fn ended(report: Report) -> Ended {
    match report {
        Report::Ended { ended, .. } => ended,
        Report::Waiting { .. } => panic!("{report:?}"),
    }
}

pub fn template(text: impl Into<String>) -> Setting {
    Setting::Template(text.into())
}

pub fn secret(name: &str) -> Setting {
    Setting::Secret { secret: name.to_owned() }
}

/// A worker's directories and what it would be configured with.
pub struct World {
    _dir: Option<tempfile::TempDir>,
    pub root: PathBuf,
    pub host: Host,
    /// The host's clock, in milliseconds; each look adds one.
    pub clock: Arc<AtomicI64>,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        Self { _dir: Some(dir), ..Self::at(&path) }
    }
    pub fn at(root: &Path) -> Self {
        for dir in ["code", "scratch", "logs", "pids"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        let clock = Arc::new(AtomicI64::new(1_706_666_400_000));
        let now = clock.clone();
        let now = Arc::new(move || Timestamp(now.fetch_add(1, Ordering::Relaxed)));
        let mut host = Host::new(root.join("code"), root.join("scratch"), root.join("logs"), now);
        host.supervisor = vec![env!("CARGO_BIN_EXE_penstock-supervise").into()];
        Self { _dir: None, root: root.to_owned(), host, clock }
    }

    pub fn lease(&self, action: Action) -> Lease {
        static FENCE: AtomicI64 = AtomicI64::new(0);
        let fence = u64::from(std::process::id()) * 1_000_000 + FENCE.fetch_add(1, Ordering::Relaxed) as u64;
        let mut task = Task { action, ..Task::noop() };
        task.env.insert("PIDS".into(), Setting::Template(self.root.join("pids").to_str().unwrap().to_owned()));
        Lease {
            run: RunId::parse("run-1").unwrap(),
            pipeline: PipelineName::parse("daily").unwrap(),
            task: TaskKey::parse("load").unwrap(),
            instance: None,
            item: None,
            number: 2,
            generation: 1,
            fence: Fence(fence),
            spec: Arc::new(task),
            params: "{}".into(),
            trigger: TriggerKind::Manual,
            interval: None,
            outputs: BTreeMap::new(),
            previous: None,
            zone: "UTC".into(),
            first_leased_at: Timestamp(1_706_666_400_000),
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        }
    }
    pub fn shell(&self, script: &str) -> Lease {
        self.lease(Action::Shell(script.to_owned()))
    }
    pub fn run(&self, argv: &[&str]) -> Lease {
        self.lease(Action::Run(argv.iter().map(|s| (*s).to_owned()).collect()))
    }

    pub async fn execute(&self, lease: &Lease) -> Ended {
        let (_go, stop) = watch::channel(Stop::Go);
        self.execute_until(lease, stop).await
    }
    pub async fn execute_until(&self, lease: &Lease, stop: watch::Receiver<Stop>) -> Ended {
        ended(tokio::time::timeout(LIMIT, execute(lease, &self.host, stop, None)).await.expect("the attempt ends"))
    }
    /// What a probe or an attempt reports.
    pub async fn report(&self, lease: &Lease) -> Report {
        let (_go, stop) = watch::channel(Stop::Go);
        tokio::time::timeout(LIMIT, execute(lease, &self.host, stop, None)).await.expect("the attempt ends")
    }
    /// Executes while `then` runs, which may stop it.
    pub async fn execute_while(&self, lease: &Lease, then: impl AsyncFnOnce(watch::Sender<Stop>)) -> Ended {
        let (go, stop) = watch::channel(Stop::Go);
        tokio::join!(self.execute_until(lease, stop), then(go)).0
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.root.join("logs/run-1/load/2.log")).unwrap()
    }
    /// The log's lines of one stream, without time and stream.
    pub fn lines(&self, stream: &str) -> Vec<String> {
        let log = self.log();
        let of_stream = |line: &str| {
            let (time, rest) = line.split_once(' ').unwrap();
            assert!(Timestamp::parse(time).is_some(), "{line}");
            rest.strip_prefix(stream).and_then(|rest| rest.strip_prefix(' ')).map(str::to_owned)
        };
        log.lines().filter_map(of_stream).collect()
    }
    /// Waits for a pid that a program writes into the directory `$PIDS`.
    pub async fn pid(&self, name: &str) -> i32 {
        let file = self.root.join("pids").join(name);
        let pid = || std::fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n'))?.trim().parse().ok();
        eventually(name, || pid().is_some()).await;
        pid().unwrap()
    }
    pub fn scratch_files(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.root.join("scratch")).unwrap();
        let names = files.map(|f| f.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "leftovers.lock").collect()
    }
}

pub fn with(mut lease: Lease, change: impl FnOnce(&mut Task)) -> Lease {
    change(Arc::get_mut(&mut lease.spec).unwrap());
    lease
}

pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn assert_ended(ended: &Ended, state: State, reason: Reason) {
    assert_eq!((ended.state, ended.reason), (state, Some(reason)), "{}", ended.detail);
    assert!(ended.detail.len() <= MAX_DETAIL_BYTES);
}

pub async fn eventually_async(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < LIMIT, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
