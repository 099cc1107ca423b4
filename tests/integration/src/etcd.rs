//! A real etcd of one member, with its own safe settings: fsync is on.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use etcd_client::{Client, GetOptions};

use crate::process::{Process, free_port};

/// A running server. Its data outlives a kill.
pub struct Etcd {
    dir: PathBuf,
    flags: Vec<String>,
    port: u16,
    peer: u16,
    metrics: u16,
    process: Process,
}

impl Etcd {
    /// Starts one below a directory, and waits until it is healthy.
    pub async fn start(dir: &Path, flags: &[&str]) -> Self {
        let flags: Vec<_> = flags.iter().map(|&f| f.to_owned()).collect();
        let (port, peer, metrics) = (free_port(), free_port(), free_port());
        let process = spawn(dir, &flags, port, peer, metrics);
        let mut etcd = Self { dir: dir.to_owned(), flags, port, peer, metrics, process };
        etcd.healthy().await;
        etcd
    }

    /// `host:port` of its clients.
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What `--store` is given.
    pub fn store(&self) -> String {
        format!("etcd://{}", self.endpoint())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after a kill, on the same port and data.
    pub async fn restart(&mut self) {
        self.process = spawn(&self.dir, &self.flags, self.port, self.peer, self.metrics);
        self.healthy().await;
    }

    /// A client without a user.
    ///
    /// # Panics
    /// When it cannot connect.
    pub async fn client(&self) -> Client {
        Client::connect([self.endpoint()], None).await.expect("connects to etcd")
    }

    /// Every key and value with this prefix, in order.
    ///
    /// # Panics
    /// When etcd does not answer.
    pub async fn read(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let found = self.client().await.get(prefix, Some(GetOptions::new().with_prefix())).await.expect("reads etcd");
        found.kvs().iter().map(|kv| (kv.key_str().expect("is text").to_owned(), kv.value().to_vec())).collect()
    }

    async fn healthy(&mut self) {
        let (endpoint, log) = (self.endpoint(), self.process.log());
        assert!(self.process.ended().is_none(), "etcd ended at once:\n{log}");
        crate::eventually("etcd is healthy", Duration::from_secs(60), || async {
            let mut client = Client::connect([&endpoint], None).await.ok()?;
            // With users, whoever gives no name is refused, which is an answer too.
            match tokio::time::timeout(Duration::from_secs(2), client.get("health", None)).await.ok()? {
                Ok(_) => Some(()),
                Err(etcd_client::Error::GRpcStatus(status)) => status.message().contains("user name is empty").then_some(()),
                Err(_) => None,
            }
        })
        .await;
    }
}

fn spawn(dir: &Path, flags: &[String], port: u16, peer: u16, metrics: u16) -> Process {
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let mut command = Command::new("etcd");
    command
        .arg("--data-dir")
        .arg(dir.join("etcd"))
        .args(["--name", "one", "--logger", "zap", "--log-level", "warn", "--initial-cluster", &format!("one={}", url(peer))])
        .args(["--listen-client-urls", &url(port), "--advertise-client-urls", &url(port)])
        .args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)])
        .args(["--listen-metrics-urls", &url(metrics)])
        .args(flags);
    Process::spawn(dir, "etcd", &mut command)
}
