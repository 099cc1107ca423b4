//! A real etcd server for a test: started on free ports and a directory of its own, killed when dropped.
//!
//! Only etcd's own safe settings are used, so fsync is on. There is no skipping: without etcd the test fails and says
//! what to do.

// The waiting is for another process, and in no runtime.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to answer.
const START: Duration = Duration::from_secs(30);

/// A running server.
pub(crate) struct EtcdServer {
    child: Child,
    directory: TempDir,
    flags: Vec<String>,
    port: u16,
    peer: u16,
    health: u16,
    tls: bool,
}

impl EtcdServer {
    /// A server with etcd's defaults.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// A server with more flags. `--cert-file` makes its client port speak TLS.
    pub(crate) fn with(flags: &[&str]) -> Self {
        let flags: Vec<_> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let tls = flags.iter().any(|flag| flag == "--cert-file");
        // Between closing a port found free and etcd opening it, another test may take it.
        for _ in 0..5 {
            let directory = TempDir::with_prefix("penstock-etcd-").expect("makes a directory");
            let ports = free_ports();
            let child = spawn(&directory, &flags, ports, tls);
            let [port, peer, health] = ports;
            let mut server = Self { child, directory, flags: flags.clone(), port, peer, health, tls };
            if server.answers() {
                return server;
            }
            let log = server.log();
            assert!(log.contains("address already in use"), "etcd does not start:\n{log}");
        }
        panic!("no free ports for etcd");
    }

    /// `host:port` of its clients.
    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it, as SIGKILL does.
    pub(crate) fn kill(&mut self) {
        self.stop();
    }

    /// Starts it again, on the same ports and data.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.child = spawn(&self.directory, &self.flags, [self.port, self.peer, self.health], self.tls);
        assert!(self.answers(), "etcd does not start again:\n{}", self.log());
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(log_path(&self.directory)).unwrap_or_default()
    }

    /// Waits until it is healthy: it has a leader and serves clients.
    fn answers(&mut self) -> bool {
        let since = Instant::now();
        while since.elapsed() < START {
            if self.child.try_wait().expect("asks for its state").is_some() {
                return false;
            }
            if healthy(self.health).unwrap_or(false) {
                return true;
            }
            #[allow(clippy::disallowed_methods, reason = "between looks at a server that starts, on a blocking thread")]
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

/// What etcd says of its health on the port for metrics, which is plain HTTP whatever the clients' port is.
fn healthy(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply.contains(r#""health":"true""#))
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn log_path(directory: &TempDir) -> PathBuf {
    directory.path().join("log")
}

fn spawn(directory: &TempDir, flags: &[String], [port, peer, health]: [u16; 3], tls: bool) -> Child {
    let client = format!("{}://127.0.0.1:{port}", if tls { "https" } else { "http" });
    let peer = format!("http://127.0.0.1:{peer}");
    let log = File::create(log_path(directory)).expect("makes a log");
    Command::new("etcd")
        .arg("--data-dir")
        .arg(directory.path().join("data"))
        .args(["--name", "one", "--initial-cluster", &format!("one={peer}"), "--logger", "zap"])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--listen-metrics-urls", &format!("http://127.0.0.1:{health}")])
        .args(flags)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("shares the log"))
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("etcd cannot be started ({error}): run `make test`, which installs it first"))
}

/// Ports that were free a moment ago.
fn free_ports() -> [u16; 3] {
    let all = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("finds a free port"));
    all.map(|one| one.local_addr().expect("has one").port())
}
