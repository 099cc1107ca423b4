//! Fast takeover: a standby that sees the leader's connection closed by the kernel, and is then refused twice, knows that its
//! process is gone and deletes its candidate key, instead of waiting for the session to end. A timeout or an unreachable host proves
//! nothing: then the session decides.

use std::error::Error as _;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use penstock_proto::dial::Dialer;
use penstock_proto::v1;
use penstock_store::Store;
use penstock_store::election::{self, Candidate};
use prost::Message;
use tokio::task::JoinHandle;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// A watch on the present leader's process.
#[derive(Default)]
pub(crate) struct Suspicion {
    watched: Option<(u64, JoinHandle<()>)>,
}

impl Suspicion {
    /// Watches a leader, if it is another one than before.
    pub(crate) fn watch(&mut self, dialer: &Dialer, leader: Option<Candidate>, store: &Arc<dyn Store>) {
        let created = leader.as_ref().map(|l| l.created);
        if self.watched.as_ref().map(|(c, _)| *c) == created && self.watched.as_ref().is_none_or(|(_, task)| !task.is_finished()) {
            return;
        }
        self.stop();
        if let Some(leader) = leader {
            let task = tokio::spawn(watch(dialer.clone(), leader.clone(), store.clone()));
            self.watched = Some((leader.created, task));
        }
    }

    /// Returns when the watch on the leader is over, for whatever reason: look at the candidates again.
    pub(crate) async fn confirmed(&mut self) {
        match &mut self.watched {
            Some((_, task)) if !task.is_finished() => drop(task.await),
            _ => std::future::pending().await,
        }
    }

    fn stop(&mut self) {
        if let Some((_, task)) = self.watched.take() {
            task.abort();
        }
    }
}

impl Drop for Suspicion {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Refusals, one after the other, that prove that nobody listens any more.
const REFUSALS: u32 = 2;
/// Tries to get them.
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

async fn watch(dialer: Dialer, leader: Candidate, store: Arc<dyn Store>) {
    // Every way out takes a moment, since whoever waits for it looks at the candidates again.
    let pause = || tokio::time::sleep(Duration::from_millis(200));
    let Ok(value) = v1::Candidate::decode(leader.value.clone()) else { return pause().await };
    let Ok(channel) = dialer.channel(&value.address) else { return pause().await };
    // The health service's watch says nothing while all is well; what matters is how the stream ends.
    let Ok(stream) = HealthClient::new(channel).watch(HealthCheckRequest { service: String::new() }).await else {
        tokio::time::sleep(Duration::from_secs(1)).await;
        return;
    };
    let mut stream = stream.into_inner();
    let status = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            // It ends in order where the leader stops: the next look at the candidates tells.
            Ok(None) => return pause().await,
            Err(status) => break status,
        }
    };
    if !closed_by_kernel(&status) {
        return pause().await;
    }
    // A process that is being killed closes one connection after the other, its listener among them: it may still be there at first.
    let mut refusals = 0;
    for _ in 0..TRIES {
        refusals = if refused(&dialer, &value.address).await { refusals + 1 } else { 0 };
        if refusals == REFUSALS {
            break;
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
    if refusals < REFUSALS {
        return;
    }
    match election::remove(&*store, &leader).await {
        Ok(removed) => tracing::warn!(leader = %value.node, removed, "the leader's process is gone: its candidate key was deleted"),
        Err(error) => tracing::warn!(%error, "the leader's process is gone, but its candidate key could not be deleted"),
    }
}

/// What the operating system said, of all that stands behind a status.
fn io_kinds(status: &tonic::Status) -> Vec<ErrorKind> {
    let mut kinds = Vec::new();
    let mut source = status.source();
    while let Some(error) = source {
        let io = error.downcast_ref::<std::io::Error>().or_else(|| error.downcast_ref::<h2::Error>().and_then(h2::Error::get_io));
        kinds.extend(io.map(std::io::Error::kind));
        source = error.source();
    }
    kinds
}

/// Whether a stream ended because the peer's kernel closed the connection.
pub(crate) fn closed_by_kernel(status: &tonic::Status) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    io_kinds(status).iter().any(|kind| matches!(kind, BrokenPipe | ConnectionReset | ConnectionAborted | UnexpectedEof))
}

/// Whether a new connection is refused: nobody listens there.
async fn refused(dialer: &Dialer, address: &str) -> bool {
    let Ok(channel) = dialer.channel(address) else { return false };
    let mut client = HealthClient::new(channel);
    let check = client.check(HealthCheckRequest { service: String::new() });
    let Ok(Err(status)) = tokio::time::timeout(Duration::from_secs(1), check).await else { return false };
    io_kinds(&status).contains(&ErrorKind::ConnectionRefused)
}
