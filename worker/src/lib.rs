//! What executes. A worker is stateless: one stream to the leader, leases in, reports out until they are acknowledged.
//!
//! ```text
//!  leader ──Leases──▶ link ──▶ runner ──▶ attempt ──▶ executor of the task's type ──Report──▶ table ──Reports──▶ leader
//! ```
//!
//! [`attempt`] executes one lease and knows nothing of connections; `executor` has a file for each type of task; `table` holds what runs and what is not acknowledged;
//! `link` finds the leader; `runner` is the loop between them.

pub mod attempt;
mod executor;
mod link;
mod runner;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use penstock_common::{QueueName, SessionId, WorkerName};
use penstock_proto::dial::{BadAddress, Dialer};

/// What a worker is told.
#[derive(Clone)]
pub struct Config {
    /// Its name, stable over restarts.
    pub name: WorkerName,
    /// This life of it.
    pub session: SessionId,
    /// host:port of every coordinator.
    pub coordinators: Vec<String>,
    /// Attempts at once.
    pub slots: u32,
    /// Queues served.
    pub queues: BTreeSet<QueueName>,
    /// Labels offered.
    pub labels: BTreeMap<String, String>,
    /// How long running attempts may take after a shutdown was asked for; then they are stopped and go to another worker.
    pub drain_timeout: Duration,
    /// Random bits, for jitter.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// Why a worker ended before it was told to.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// An address that is none.
    #[error(transparent)]
    Address(#[from] BadAddress),
    /// No coordinators at all.
    #[error("no coordinator is named: give --coordinators host:port,host:port")]
    NoCoordinators,
    /// Containers of a former life may still run.
    #[error("containers of this worker's former life could not be removed, so it does not start: {0}")]
    Leftovers(String),
    /// The leader refuses this worker for good.
    #[error("the coordinator refuses this worker: {0}")]
    Refused(String),
}

/// Runs a worker until `shutdown`, once containers of its former life are gone: then it takes nothing new, lets what runs end, and says Goodbye.
pub async fn run(config: Config, host: attempt::Host, dialer: Dialer, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
    attempt::remove_leftover_containers(&host).await.map_err(Error::Leftovers)?;
    runner::Runner::new(config, host, dialer)?.run(shutdown).await
}
