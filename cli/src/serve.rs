//! `server` and `worker`: a coordinator, a worker, until SIGTERM or SIGINT.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use penstock_common::{NodeName, SessionId, WorkerName};
use penstock_coordinator::{CheckpointPolicy, Clock, Config, Retention, SystemClock};
use penstock_proto::dial::Dialer;
use penstock_store::Keys;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;

use crate::args::{Server, Worker};
use crate::{storage, tools};

/// Binds a listener; other addresses than loopback only where that was asked for.
async fn listen(what: &str, address: &str, insecure: bool) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("the {what} listener cannot be opened on {address}"))?;
    let bound = listener.local_addr()?;
    if !bound.ip().is_loopback() && !insecure {
        bail!(
            "{what} on {bound} is reachable from other machines, without TLS and tokens: use a loopback address, or say --insecure where the network itself is trusted"
        );
    }
    Ok(listener)
}

/// The host's name, as far as it can be part of one.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(60).collect();
    if name.is_empty() { "host".to_owned() } else { name }
}

/// Ends with SIGTERM or SIGINT.
pub(crate) async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// Random bits for jitter.
pub(crate) fn random() -> Arc<dyn Fn() -> u64 + Send + Sync> {
    Arc::new(|| SystemClock.random())
}

/// A coordinator's incoming connections.
pub(crate) fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

fn check_cluster(name: &str) -> anyhow::Result<()> {
    if !penstock_common::ids::is_dotted_name(name) {
        bail!("--cluster {name:?} is not a name: use a lower-case letter, then at most 62 of a-z, 0-9, _, . and -");
    }
    Ok(())
}

pub(crate) async fn server(args: Server) -> anyhow::Result<ExitCode> {
    let grpc = listen("gRPC", &args.grpc, args.insecure).await?;
    let http = listen("HTTP", &args.http, args.insecure).await?;
    let bound: SocketAddr = grpc.local_addr()?;
    let store = storage::open(&args).await?;
    let name = args.name.clone().unwrap_or_else(|| format!("{}-{}", host_name(), bound.port()));
    if bound.ip().is_unspecified() && args.advertise.is_none() {
        bail!("--grpc {bound} listens on every address: say with --advertise host:port at which of them others reach this coordinator");
    }
    check_cluster(&args.cluster)?;
    let address = args.advertise.clone().unwrap_or_else(|| bound.to_string());
    Dialer::tcp().channel(&address).context("--advertise")?;
    tracing::info!(%name, grpc = %bound, http = %http.local_addr()?, store = %store.describe(), "penstock {}", env!("CARGO_PKG_VERSION"));
    let config = Config {
        name: NodeName::parse(&name)?,
        address,
        process: penstock_client::mint(),
        keys: Keys::new(&args.prefix, &args.cluster),
        logs: args.logs,
        checkpoints: CheckpointPolicy {
            entries: args.checkpoint_entries,
            keep_entries: Duration::from_secs(args.journal_keep),
            ..CheckpointPolicy::default()
        },
        retention: Retention { runs: args.history_runs, ..Retention::default() },
    };
    penstock_coordinator::run(config, incoming(grpc), Some(http), store, Arc::new(SystemClock), Dialer::tcp(), terminated()).await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// As many slots as processors, and at least 4: most tasks wait for something else.
pub(crate) fn default_slots() -> u32 {
    std::thread::available_parallelism().map_or(4, |n| u32::try_from(n.get()).unwrap_or(4)).max(4)
}

pub(crate) async fn worker(args: Worker) -> anyhow::Result<ExitCode> {
    if !args.code_root.is_dir() {
        bail!("--code-root {} is not a directory: tasks run below it", args.code_root.display());
    }
    check_cluster(&args.cluster)?;
    let name = WorkerName::parse(&args.name.clone().unwrap_or_else(host_name))?;
    let queues = args.queues.iter().map(|q| q.parse()).collect::<Result<BTreeSet<_>, _>>()?;
    let mut labels = BTreeMap::new();
    for label in &args.labels {
        let (key, value) = label.split_once('=').with_context(|| format!("{label:?} is not a label: write name=value"))?;
        labels.insert(key.to_owned(), value.to_owned());
    }
    let who = tools::Identity { cluster: args.cluster, name: &name };
    let host = tools::host(who, args.code_root, args.scratch.join(name.as_str()), args.logs, &args.host).await?;
    let slots = args.slots.unwrap_or_else(default_slots);
    tracing::info!(%name, slots, coordinators = ?args.coordinators, "penstock {}", env!("CARGO_PKG_VERSION"));
    let config = penstock_worker::Config {
        name,
        session: SessionId::parse(&penstock_client::mint())?,
        coordinators: args.coordinators,
        slots,
        queues,
        labels,
        drain_timeout: Duration::from_secs(args.drain_timeout),
        random: random(),
    };
    penstock_worker::run(config, host, Dialer::tcp(), terminated()).await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}
