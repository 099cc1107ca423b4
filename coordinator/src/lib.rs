//! What orchestrates: a node that follows the journal or leads, and the services over it.
//!
//! ```text
//!  api ──▶ handle (bounded queues) ──▶ node: follow (replica) | lead (driver) ──▶ journal, effects
//! ```
//!
//! Reading order: `node` (follower, leader), `driver` (the leader's loop), `replica` (recovery and replay), `api/`.
//! Everything from outside is injected: listeners, store, clock, shutdown.

mod api;
mod archive;
mod checkpoint;
mod chores;
mod clock;
#[cfg(test)]
mod desk;
mod driver;
mod entry;
mod files;
mod handle;
mod held;
mod hooks;
mod node;
mod replica;
mod sanity;
mod sessions;
mod sweep;
mod takeover;
mod watch;
mod web;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use penstock_common::NodeName;
use penstock_common::limits::MAX_MESSAGE_BYTES;
use penstock_proto::dial::Dialer;
use penstock_proto::v1::control_server::ControlServer;
use penstock_proto::v1::worker_server::WorkerServer;
use penstock_store::{Keys, Store};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_stream::Stream;
use tonic::transport::server::Connected;

pub use archive::Retention;
pub use checkpoint::Policy as CheckpointPolicy;
pub use clock::{Clock, SystemClock};
pub use entry::EntryError;
pub use handle::{Leader, Role};
pub use node::Error as NodeError;
pub use replica::ReplayError;

/// What a coordinator is told.
#[derive(Clone)]
pub struct Config {
    /// Its name.
    pub name: NodeName,
    /// host:port at which others reach its gRPC listener.
    pub address: String,
    /// Of this process; another life has another.
    pub process: String,
    /// Where its cluster's keys are.
    pub keys: Keys,
    /// Where attempts' logs are.
    pub logs: PathBuf,
    /// When checkpoints are made.
    pub checkpoints: CheckpointPolicy,
    /// How much history is kept.
    pub retention: Retention,
}

/// Why a coordinator ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its node cannot go on.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Its gRPC listener failed.
    #[error("the gRPC listener failed: {0}")]
    Grpc(#[from] tonic::transport::Error),
    /// Its HTTP listener failed.
    #[error("the HTTP listener failed: {0}")]
    Http(#[from] std::io::Error),
}

/// Runs a coordinator until `shutdown` says so: finishes what is in flight, deletes its candidate key, closes.
pub async fn run<I, IO>(
    config: Config,
    grpc: I,
    http: Option<tokio::net::TcpListener>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    dialer: Dialer,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error>
where
    I: Stream<Item = std::io::Result<IO>> + Send + 'static,
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let sessions = Arc::new(sessions::Sessions::default());
    let (handle, queues) = handle::queues(sessions.clone());
    let (stop_tx, stop) = tokio::sync::watch::channel(false);
    let (close_tx, close) = tokio::sync::oneshot::channel::<()>();
    let node = node::Node {
        name: config.name.clone(),
        address: config.address.clone(),
        process: config.process,
        store: store.clone(),
        keys: config.keys.clone(),
        clock: clock.clone(),
        dialer,
        sessions,
        policy: config.checkpoints,
        retention: config.retention,
        handle: handle.clone(),
    };
    let control = Arc::new(api::control::Control {
        handle: handle.clone(),
        history: archive::History { store: store.clone(), keys: config.keys },
        store,
        clock: clock.clone(),
        node: config.name,
        address: config.address.clone(),
        logs: config.logs,
    });
    let router = web::router(handle.clone(), control.clone());
    let workers = api::worker::Workers { handle: handle.clone(), streams: Arc::new(AtomicU64::new(1)), address: config.address, clock };
    let (_health, health_service) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(penstock_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|e| std::io::Error::other(e.to_string()))?;
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(1_024)
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(8 * 1024 * 1024)
        .http2_max_header_list_size(16 * 1024)
        .trace_fn(|request| {
            let span = tracing::debug_span!("rpc", method = request.uri().path());
            if let Some(parent) = request.headers().get("traceparent").and_then(|v| v.to_str().ok()) {
                penstock_telemetry::continue_trace(&span, parent);
            }
            span
        })
        .add_service(health_service)
        .add_service(reflection)
        .add_service(ControlServer::from_arc(control).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(WorkerServer::new(workers).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .serve_with_incoming_shutdown(grpc, async {
            drop(close.await);
        });
    let serve = tokio::spawn(server);
    let web = http.map(|listener| tokio::spawn(async move { axum::serve(listener, router).await }));
    let mut looped = tokio::spawn(node.run(queues, stop));
    let outcome = tokio::select! {
        outcome = &mut looped => outcome,
        () = shutdown => {
            stop_tx.send_replace(true);
            looped.await
        }
    };
    // Streams that are open end when their connections are dropped with the server.
    drop(close_tx);
    let mut serve = serve;
    let served = tokio::time::timeout(Duration::from_millis(500), &mut serve).await;
    serve.abort();
    if let Some(web) = web {
        web.abort();
    }
    match outcome {
        Ok(outcome) => outcome?,
        Err(panic) => return Err(std::io::Error::other(panic.to_string()).into()),
    }
    if let Ok(Ok(outcome)) = served {
        outcome?;
    }
    Ok(())
}
