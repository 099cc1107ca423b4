//! One attempt: what a lease asks for is done here, and what came of it is told as a [`Report`].
//!
//! ```text
//!  execute ──▶ job: log file, templates, secrets, stop signal, deadline     (job, log, template, secrets, mask, halt)
//!     │            └──▶ executor: the type of the task                       (crate::executor)
//!     └──▶ judge: one of SUCCESS, FAILED, SKIPPED, CANCELLED; or not yet     (judge)
//! ```
//!
//! Nothing here knows the connection, slots or other attempts; retrying is decided by the coordinator.

pub(crate) mod connections;
pub(crate) mod environment;
pub(crate) mod follow;
pub(crate) mod halt;
mod items;
pub(crate) mod job;
pub(crate) mod judge;
pub(crate) mod log;
pub(crate) mod mask;
pub(crate) mod output;
mod secrets;
pub(crate) mod template;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use penstock_common::lease::Lease;
use penstock_common::metrics::Metrics;
use penstock_common::pipeline::Action;
use penstock_common::record::Report;
use penstock_common::{Reason, Timestamp};
use tokio::sync::watch;

use self::halt::Halt;
use self::job::Job;
use crate::executor::{self, noop};

pub use self::connections::{Connections, Error as ConnectionsError};
pub use self::environment::inherited;
pub use self::secrets::{Missing, Secrets};
pub use crate::executor::container::{CommandLine, ContainerRuntime, Containers, remove_leftovers as remove_leftover_containers};
#[cfg(feature = "kubernetes")]
pub use crate::executor::container::{Kubernetes, KubernetesAccess, KubernetesOptions, KubernetesOwner};
pub use crate::executor::process::{become_subreaper, supervise, wait_for_leftovers};

/// The wall clock, injected: it serves display only, deadlines use the runtime's monotonic clock.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Where and how this worker executes attempts.
#[derive(Clone)]
pub struct Host {
    /// A task's `workdir` is relative to this.
    pub code_root: PathBuf,
    /// A directory of this worker alone, which must exist: output files, and the lock that leftovers hold.
    pub scratch: PathBuf,
    /// Logs are written below it, at [`penstock_common::paths::attempt_log`].
    pub log_root: PathBuf,
    /// The supervisor program with its arguments. It must call [`supervise`] and do nothing else.
    pub supervisor: Vec<OsString>,
    /// The environment every program starts from; see [`inherited`].
    pub env: Arc<[(OsString, OsString)]>,
    /// The wall clock.
    pub clock: Clock,
    /// The secrets that documents name.
    pub secrets: Secrets,
    /// The databases that documents name.
    pub connections: Connections,
    /// Whether `http` tasks may connect to addresses that are not of the public internet.
    pub http_allow_private: bool,
    /// What runs images; without it, tasks of type `container` fail here.
    pub containers: Option<Containers>,
}

impl Host {
    /// A host whose supervisor is this very program with the argument `supervise`, and whose programs inherit this
    /// process's environment as [`inherited`] filters it.
    pub fn new(code_root: PathBuf, scratch: PathBuf, log_root: PathBuf, clock: Clock) -> Self {
        Self {
            code_root,
            scratch,
            log_root,
            supervisor: vec!["/proc/self/exe".into(), "supervise".into()],
            env: inherited(std::env::vars_os()).into(),
            clock,
            secrets: Secrets::default(),
            connections: Connections::default(),
            http_allow_private: false,
            containers: None,
        }
    }
}

/// What the rest of the worker wants of a running attempt. The last value holds; if its sender is dropped, that is `Kill`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stop {
    /// Run on.
    #[default]
    Go,
    /// SIGTERM, after the task's `grace` SIGKILL, to the whole tree: CANCELLED with this reason.
    Cancel(Reason),
    /// SIGKILL at once: the lease is stale or the session is over. The report is CANCELLED(lost) and nobody needs it.
    Kill,
}

/// Executes one attempt to its end, or one probe of a sensor, and says what came of it. Never panics and never returns early:
/// when it returns, nothing of the attempt runs any more, unless the detail says that some processes could not be killed.
///
/// A task of type `noop` is answered at once, without a system call but for the clock. Dropping the future kills what runs,
/// a moment later, but for a Kubernetes Job, which goes on: see `executor/container`. `live` gets the metrics told so far while a program runs, a few times a second.
///
/// Needs a tokio runtime with I/O and time.
pub async fn execute(lease: &Lease, host: &Host, stop: watch::Receiver<Stop>, live: Option<watch::Sender<Metrics>>) -> Report {
    match &lease.spec.action {
        Action::Noop => noop::report((host.clock)()),
        // Boxed, so that the future of a noop stays small.
        _ => Box::pin(carry_out(lease, host, stop, live)).await,
    }
}

async fn carry_out(lease: &Lease, host: &Host, stop: watch::Receiver<Stop>, live: Option<watch::Sender<Metrics>>) -> Report {
    let mut halt = Halt::new(stop, lease.spec.timeout);
    if let Some(cause) = halt.said() {
        return job::never_began(host, cause.verdict());
    }
    let mut job = match Job::new(lease, host, halt, live).await {
        Ok(job) => job,
        Err(verdict) => return job::never_began(host, verdict),
    };
    let done = executor::execute(&mut job).await;
    job.finish(done).await
}
