//! etcd, coordinators and workers, each a process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use penstock_client::{Client, Dialer, Run, v1};
use tempfile::TempDir;

use crate::etcd::Etcd;
use crate::process::{Process, free_port};
use crate::{Ran, SOON, binary, clock, eventually, figure};

/// How large a cluster is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many coordinators.
    pub coordinators: usize,
    /// How many workers.
    pub workers: usize,
    /// Slots of each worker.
    pub slots: u32,
    /// More flags of each coordinator.
    pub server: Vec<String>,
    /// More flags of etcd.
    pub etcd: Vec<String>,
    /// Each coordinator and worker has a wall clock of its own.
    pub clocks: bool,
}

impl Default for Options {
    fn default() -> Self {
        // The whole journal stays, so that it can be compared with what tasks did.
        let server = ["--journal-keep", "100000"].map(str::to_owned).to_vec();
        Self { coordinators: 3, workers: 3, slots: 8, server, etcd: Vec::new(), clocks: false }
    }
}

/// A cluster; everything of it is killed when dropped.
pub struct Cluster {
    // Dropped in this order.
    workers: Vec<Process>,
    servers: Vec<Process>,
    /// Its store.
    pub etcd: Etcd,
    options: Options,
    ports: Vec<(u16, u16)>,
    path: Option<OsString>,
    dir: TempDir,
}

impl Cluster {
    /// Starts one, and waits until it leads and every worker is attached.
    ///
    /// # Panics
    /// When that does not come to be.
    pub async fn start(options: Options) -> Self {
        let since = Instant::now();
        let dir = TempDir::with_prefix("penstock-test-").expect("makes a directory");
        std::fs::create_dir(dir.path().join("code")).expect("makes a directory");
        let flags: Vec<_> = options.etcd.iter().map(String::as_str).collect();
        let etcd = Etcd::start(dir.path(), &flags).await;
        let ports = (0..options.coordinators).map(|_| (free_port(), free_port())).collect();
        let mut cluster = Self { workers: Vec::new(), servers: Vec::new(), etcd, options, ports, path: path_with_python(), dir };
        cluster.start_processes();
        cluster.ready().await;
        figure("cluster ready", format!("{:.2} s", since.elapsed().as_secs_f64()));
        cluster
    }

    /// Coordinators and workers, all anew.
    pub fn start_processes(&mut self) {
        self.servers = (0..self.options.coordinators).map(|n| self.spawn_server(n)).collect();
        self.workers = (0..self.options.workers).map(|n| self.spawn_worker(n)).collect();
    }

    /// Waits until there is a leader and every worker is attached.
    pub async fn ready(&mut self) {
        let client = self.client();
        self.leader().await;
        let wanted = self.options.workers;
        eventually("every worker is attached", SOON, || async {
            let workers = client.workers().await.ok()?.workers;
            (workers.iter().filter(|w| !w.session.is_empty()).count() >= wanted).then_some(())
        })
        .await;
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The workers' code root.
    pub fn code(&self) -> PathBuf {
        self.dir().join("code")
    }

    /// Where a coordinator listens.
    pub fn address(&self, server: usize) -> String {
        format!("127.0.0.1:{}", self.ports[server].0)
    }

    /// Every coordinator, separated by commas.
    pub fn endpoints(&self) -> String {
        (0..self.ports.len()).map(|n| self.address(n)).collect::<Vec<_>>().join(",")
    }

    /// A client of all coordinators.
    ///
    /// # Panics
    /// Never: the addresses are addresses.
    pub fn client(&self) -> Client {
        Client::connect((0..self.ports.len()).map(|n| self.address(n))).expect("has addresses")
    }

    /// Runs a verb against this cluster.
    pub async fn penstock(&self, args: &[&str]) -> Ran {
        binary::penstock_with(self.dir(), args, &[("PENSTOCK_ENDPOINT", &self.endpoints())]).await
    }

    /// A coordinator's process.
    pub fn server(&mut self, server: usize) -> &mut Process {
        &mut self.servers[server]
    }

    /// A worker's process, by its name.
    ///
    /// # Panics
    /// When there is none.
    pub fn worker(&mut self, name: &str) -> &mut Process {
        self.workers.iter_mut().find(|w| w.name == name).unwrap_or_else(|| panic!("there is no worker {name}"))
    }

    /// Steps the wall clock of a coordinator or worker, if they have their own: so many seconds ahead of the machine's.
    pub fn set_clock(&self, process: &str, ahead_s: i64) {
        assert!(self.options.clocks, "the cluster was started without clocks of its own");
        clock::set(self.dir(), process, ahead_s);
    }

    /// Steps all clocks.
    pub fn set_clocks(&self, ahead_s: i64) {
        for process in self.servers.iter().chain(&self.workers) {
            self.set_clock(&process.name, ahead_s);
        }
    }

    /// A client of one coordinator only.
    ///
    /// # Panics
    /// Never: the address is an address.
    pub fn client_of(&self, server: usize) -> Client {
        Client::connect([self.address(server)]).expect("has an address")
    }

    /// What one coordinator says of itself; `None` if it does not answer soon.
    pub async fn says(&self, server: usize) -> Option<v1::GetClusterResponse> {
        let client = Client::with(Dialer::tcp(), [self.address(server)], Duration::from_secs(1), "").expect("is an address");
        client.cluster().await.ok()
    }

    /// Which of the coordinators that run leads; waits until one does.
    pub async fn leader(&mut self) -> usize {
        let since = Instant::now();
        loop {
            let candidates: Vec<usize> = (0..self.servers.len()).filter(|n| self.servers[*n].runs()).collect();
            for n in candidates {
                if self.says(n).await.is_some_and(|says| says.leading) {
                    return n;
                }
            }
            assert!(since.elapsed() < SOON, "no coordinator leads");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Starts a coordinator that has ended again, under the same name and on the same ports.
    pub fn restart_server(&mut self, server: usize) {
        self.servers[server] = self.spawn_server(server);
    }

    /// Starts a worker that has ended again, under the same name.
    ///
    /// # Panics
    /// When there is none of this name.
    pub fn restart_worker(&mut self, name: &str) {
        let n = self.workers.iter().position(|w| w.name == name).unwrap_or_else(|| panic!("there is no worker {name}"));
        self.workers[n] = self.spawn_worker(n);
    }

    /// SIGKILL of every process, etcd included.
    pub fn kill_everything(&mut self) {
        for process in self.servers.iter_mut().chain(&mut self.workers) {
            process.kill();
        }
        self.etcd.kill();
    }

    /// A run as it is.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn run(&self, run: &str) -> Run {
        self.client().get(run, 0).await.expect("the run is there")
    }

    /// Waits until a run has ended.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn wait(&self, run: &str, limit: Duration) -> Run {
        let client = self.client();
        let ended = tokio::time::timeout(limit, client.wait(run)).await;
        match ended {
            Ok(ended) => drop(ended.expect("the run can be watched")),
            Err(_) => panic!("run {run} did not end within {} s: {:#?}", limit.as_secs(), self.run(run).await),
        }
        self.run(run).await
    }

    fn spawn_server(&self, n: usize) -> Process {
        let (grpc, http) = self.ports[n];
        let mut command = binary::command();
        command
            .args(["server", "--store", &self.etcd.store(), "--name", &format!("c{n}"), "--log", "info,penstock_coordinator=debug"])
            .args(["--grpc", &format!("127.0.0.1:{grpc}"), "--http", &format!("127.0.0.1:{http}")])
            .arg("--logs")
            .arg(self.dir().join("logs"))
            .args(&self.options.server);
        let name = format!("c{n}");
        if self.options.clocks {
            clock::fake(&mut command, self.dir(), &name);
        }
        Process::spawn(self.dir(), &name, &mut command)
    }

    fn spawn_worker(&self, n: usize) -> Process {
        let name = format!("w{n}");
        let mut command = binary::command();
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command
            .args(["worker", "--coordinators", &self.endpoints(), "--name", &name, "--slots", &self.options.slots.to_string()])
            .args(["--labels", &format!("number={n}")])
            .arg("--code-root")
            .arg(self.code())
            .arg("--logs")
            .arg(self.dir().join("logs"))
            .arg("--scratch")
            .arg(self.dir().join("scratch"));
        if self.options.clocks {
            clock::fake(&mut command, self.dir(), &name);
        }
        Process::spawn(self.dir(), &name, &mut command)
    }
}

/// The search path with Python's own folder first: where `python3` is a version manager's script, that script takes longer than most
/// tasks of the example.
fn path_with_python() -> Option<OsString> {
    let ask = ["-c", "import os, sys; print(os.path.dirname(sys.executable))"];
    let output = Command::new("python3").args(ask).output().ok().filter(|output| output.status.success())?;
    let folder = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&path))).ok()
}
