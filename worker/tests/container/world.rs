//! A worker's host and leases for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use penstock_common::lease::Lease;
use penstock_common::metrics::Metrics;
use penstock_common::pipeline::{Action, Container, Pull, Setting, Task};
use penstock_common::record::{Ended, Report, TriggerKind};
use penstock_common::{Fence, Items, PipelineName, Reason, RunId, State, TaskId, Timestamp, WorkerName};
use penstock_worker::attempt::{ContainerRuntime, Containers, Host, Secrets, Stop, execute};
use tokio::sync::watch;

/// For conditions that must come true; far more than any needs.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// The worker's one secret, `TOKEN`: with a newline, as keys have.
pub(crate) const SECRET: &str = "hunter2-first-line\nhunter2-second-line";

pub(crate) struct World {
    _dir: tempfile::TempDir,
    pub(crate) root: PathBuf,
    pub(crate) host: Host,
}

impl World {
    pub(crate) fn new(runtime: ContainerRuntime) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        for dir in ["code", "scratch", "logs"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        let clock = AtomicI64::new(1_706_666_400_000);
        let clock = Arc::new(move || Timestamp(clock.fetch_add(1, Ordering::Relaxed)));
        let mut host = Host::new(root.join("code"), root.join("scratch"), root.join("logs"), clock);
        host.supervisor = vec![env!("CARGO_BIN_EXE_penstock-supervise").into()];
        host.secrets = Secrets::new(None, [("PENSTOCK_SECRET_TOKEN".into(), SECRET.into())]);
        // By this a test knows the processes of its own host.
        let mark = ("TEST_WORLD".into(), root.clone().into());
        host.env = host.env.iter().cloned().chain([mark]).collect();
        host.containers = Some(Containers { cluster: "test".into(), worker: WorkerName::parse("worker-1").unwrap(), runtime });
        Self { _dir: dir, root, host }
    }

    pub(crate) async fn execute(&self, lease: &Lease) -> End {
        let (_go, stop) = watch::channel(Stop::Go);
        self.execute_until(lease, stop).await
    }
    pub(crate) async fn execute_until(&self, lease: &Lease, stop: watch::Receiver<Stop>) -> End {
        let report = tokio::time::timeout(LIMIT, execute(lease, &self.host, stop, None)).await.expect("the attempt ends");
        End::of(report)
    }
    /// Executes while `then` runs, which may stop it.
    pub(crate) async fn execute_while(&self, lease: &Lease, then: impl AsyncFnOnce(watch::Sender<Stop>)) -> End {
        let (go, stop) = watch::channel(Stop::Go);
        tokio::join!(self.execute_until(lease, stop), then(go)).0
    }
    /// Executes in a task of its own, as a worker that may die.
    pub(crate) fn spawn(&self, lease: &Lease) -> (watch::Sender<Stop>, tokio::task::JoinHandle<(Report, Metrics)>) {
        let (go, stop) = watch::channel(Stop::Go);
        let (host, lease) = (self.host.clone(), lease.clone());
        let task = tokio::spawn(async move {
            let (live, metrics) = watch::channel(Metrics::default());
            let report = execute(&lease, &host, stop, Some(live)).await;
            (report, metrics.borrow().clone())
        });
        (go, task)
    }

    pub(crate) fn log(&self, lease: &Lease) -> String {
        let file = format!("logs/{}/{}/{}.log", lease.run, lease.task, lease.number);
        std::fs::read_to_string(self.root.join(file)).unwrap_or_default()
    }
    /// The log's lines of one stream, without time and stream.
    pub(crate) fn lines(&self, lease: &Lease, stream: &str) -> Vec<String> {
        let log = self.log(lease);
        let of_stream = |line: &str| line.split_once(' ')?.1.strip_prefix(stream)?.strip_prefix(' ').map(str::to_owned);
        log.lines().filter_map(of_stream).collect()
    }
    pub(crate) fn scratch_files(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.root.join("scratch")).unwrap();
        let names = files.map(|f| f.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "leftovers.lock").collect()
    }
}

/// How an attempt ended, with its items.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) ended: Ended,
    pub(crate) items: Option<Arc<Items>>,
}

impl End {
    pub(crate) fn of(report: Report) -> Self {
        match report {
            Report::Ended { ended, items } => Self { ended, items },
            Report::Waiting { .. } => panic!("a container never waits: {report:?}"),
        }
    }
    pub(crate) fn detail(&self) -> &str {
        &self.ended.detail
    }
    #[track_caller]
    pub(crate) fn is(&self, state: State, reason: impl Into<Option<Reason>>) -> &Self {
        assert_eq!((self.ended.state, self.ended.reason), (state, reason.into()), "{self:#?}");
        self
    }
    #[track_caller]
    pub(crate) fn failed(&self, reason: Reason) -> &Self {
        self.is(State::Failed, reason)
    }
    #[track_caller]
    pub(crate) fn succeeded(&self) -> &Self {
        self.is(State::Success, None)
    }
    #[track_caller]
    pub(crate) fn says(&self, what: &str) -> &Self {
        assert!(self.detail().contains(what), "{what:?} is not in {:?}", self.detail());
        self
    }
}

pub(crate) fn container(image: &str, command: &[&str]) -> Container {
    Container {
        image: image.to_owned(),
        command: command.iter().map(|s| (*s).to_owned()).collect(),
        args: Vec::new(),
        cpu_millis: None,
        memory_bytes: None,
        namespace: None,
        service_account: None,
        pull: Pull::Never,
    }
}

/// The first attempt of a task of a run that no other test has.
pub(crate) fn lease(container: Container) -> Lease {
    static FENCE: AtomicI64 = AtomicI64::new(1);
    let fence = FENCE.fetch_add(100, Ordering::Relaxed) as u64;
    Lease {
        run: RunId::parse(&format!("run-{fence}")).unwrap(),
        pipeline: PipelineName::parse("daily").unwrap(),
        task: TaskId::parse("load").unwrap().into(),
        instance: None,
        item: None,
        number: 1,
        generation: 1,
        fence: Fence(fence),
        spec: Arc::new(Task { action: Action::Container(container), ..Task::noop() }),
        params: "{}".into(),
        trigger: TriggerKind::Manual,
        interval: None,
        outputs: Default::default(),
        previous: None,
        zone: "UTC".into(),
        first_leased_at: Timestamp(0),
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
    }
}

/// The next attempt of the same task.
pub(crate) fn next(lease: &Lease) -> Lease {
    Lease { number: lease.number + 1, fence: Fence(lease.fence.0 + 1), ..lease.clone() }
}

pub(crate) fn with(mut lease: Lease, change: impl FnOnce(&mut Task)) -> Lease {
    change(Arc::make_mut(&mut lease.spec));
    lease
}

pub(crate) fn with_secret(lease: Lease, name: &str) -> Lease {
    with(lease, |task| drop(task.env.insert(name.to_owned(), Setting::Secret { secret: "TOKEN".to_owned() })))
}

pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Processes whose environment holds this path as `TEST_WORLD`, by pid and command line.
pub(crate) fn processes_of(root: &Path) -> Vec<(i32, String)> {
    let mark = format!("TEST_WORLD={}", root.display()).into_bytes();
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let of_world =
        |pid: &i32| std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| environ.split(|b| *b == 0).any(|var| var == mark));
    pids.filter(of_world).map(|pid| (pid, command_line(pid))).collect()
}

pub(crate) fn command_line(pid: i32) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}
