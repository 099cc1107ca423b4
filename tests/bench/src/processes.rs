//! The processes that are measured.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use penstock_client::Client;

/// A process that ends with this value.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn log(dir: &Path, name: &str) -> anyhow::Result<Stdio> {
    Ok(std::fs::File::create(dir.join(format!("{name}.log")))?.into())
}

/// A single etcd.
pub(crate) struct Etcd {
    _process: Killed,
    port: u16,
}

impl Etcd {
    pub(crate) async fn start(dir: &Path) -> anyhow::Result<Self> {
        let (port, peer) = (free_port()?, free_port()?);
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let process = Command::new("etcd")
            .args(["--data-dir", &dir.join("etcd").display().to_string(), "--log-level", "error"])
            .args(["--listen-client-urls", &url(port), "--advertise-client-urls", &url(port)])
            .args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)])
            .args(["--initial-cluster", &format!("default={}", url(peer))])
            .stdout(log(dir, "etcd-out")?)
            .stderr(log(dir, "etcd")?)
            .spawn()
            .context("etcd cannot be started: make installs it")?;
        let etcd = Self { _process: Killed(process), port };
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(mut client) = etcd_client::Client::connect([etcd.endpoint()], None).await
                && client.get("health", None).await.is_ok()
            {
                return Ok(etcd);
            }
            if Instant::now() > until {
                bail!("etcd did not answer within 30 s");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// A coordinator and a worker.
pub(crate) struct Penstock {
    _server: Killed,
    _worker: Killed,
    pub client: Client,
}

impl Penstock {
    pub(crate) async fn start(binary: &Path, store: &str, dir: &Path, slots: u32) -> anyhow::Result<Self> {
        let grpc = format!("127.0.0.1:{}", free_port()?);
        let http = format!("127.0.0.1:{}", free_port()?);
        let kind = store.split(':').next().unwrap_or_default();
        let missing = || format!("{} cannot be started: build it with cargo build --release", binary.display());
        let server = Command::new(binary)
            .args(["server", "--store", store, "--grpc", &grpc, "--http", &http, "--name", "bench", "--log", "warn"])
            .arg("--logs")
            .arg(dir.join("logs"))
            .stderr(log(dir, &format!("server-{kind}"))?)
            .spawn()
            .with_context(missing)?;
        let worker = Command::new(binary)
            .args(["worker", "--coordinators", &grpc, "--slots", &slots.to_string(), "--name", "bench", "--log", "warn"])
            .arg("--logs")
            .arg(dir.join("logs"))
            .arg("--scratch")
            .arg(dir.join("scratch"))
            .stderr(log(dir, &format!("worker-{kind}"))?)
            .spawn()
            .with_context(missing)?;
        let client = Client::connect([&grpc])?;
        let penstock = Self { _server: Killed(server), _worker: Killed(worker), client };
        let until = Instant::now() + Duration::from_secs(30);
        while penstock.client.workers().await.map_or(0, |w| w.workers.len()) == 0 {
            if Instant::now() > until {
                bail!("no worker attached within 30 s; logs are in {}", dir.display());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(penstock)
    }
}
