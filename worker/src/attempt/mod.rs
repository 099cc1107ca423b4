//! One attempt: what a lease asks for is done here, and what came of it is told as an [`Ended`].
//!
//! ```text
//!  execute ──▶ prepare: templates, log file, output file            (template, process)
//!     │            └──▶ supervisor process ──▶ the user's program   (supervise, tree)
//!     │  control socket: start, term, kill ▶ │ ◀ started, ended
//!     │  pipes: stdout, stderr ─────────────▶ log file, tail        (log)
//!     │  $PENSTOCK_OUTPUT ──────────────────▶ metrics, outputs      (output)
//!     └──▶ judge: one of SUCCESS, FAILED, SKIPPED, CANCELLED        (judge)
//! ```
//!
//! Each attempt has a supervisor process of its own: it is session leader and child subreaper, so every process that the
//! program ever starts is its descendant, and it kills them all when the program ends, when it is told to, or when its
//! control socket closes because the worker died, in whatever way. A process group would lose whoever calls `setsid`.
//!
//! Nothing here knows the connection, slots or other attempts; retrying is decided by the coordinator.

mod control;
mod environment;
mod judge;
mod leftovers;
mod log;
mod oom;
mod output;
mod process;
mod spawn;
mod supervise;
mod template;
mod tree;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use penstock_common::lease::Lease;
use penstock_common::metrics::{Metrics, Outputs};
use penstock_common::pipeline::Action;
use penstock_common::record::Ended;
use penstock_common::{Reason, State, Timestamp};
use tokio::sync::watch;

pub use environment::inherited;
pub use leftovers::{become_subreaper, wait_for_leftovers};
pub use supervise::supervise;

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
    /// SIGKILL at once: the lease is stale or the session is over. The [`Ended`] is CANCELLED(lost) and nobody needs it.
    Kill,
}

/// Executes one attempt to its end and says how it ended. Never panics and never returns early: when it returns, the
/// program and all its descendants are dead, unless the detail says that some could not be killed.
///
/// A task of type `noop` is answered at once, without a system call but for the clock. Dropping the future kills the tree,
/// a moment later. `live` gets the metrics told so far while the program runs, a few times a second.
///
/// Needs a tokio runtime with I/O and time.
pub async fn execute(lease: &Lease, host: &Host, stop: watch::Receiver<Stop>, live: Option<watch::Sender<Metrics>>) -> Ended {
    match &lease.spec.action {
        Action::Noop => {
            let now = (host.clock)();
            Ended { started_at: now, ended_at: now, ..succeeded() }
        }
        // Boxed, so that the future of a noop stays small.
        Action::Run(_) | Action::Shell(_) => Box::pin(process::execute(lease, host, stop, live)).await,
    }
}

/// The end of an attempt that did nothing and did it well; its times are the caller's to fill in.
pub(crate) fn succeeded() -> Ended {
    Ended {
        state: State::Success,
        reason: None,
        detail: Arc::default(),
        exit_code: None,
        started_at: Timestamp(0),
        ended_at: Timestamp(0),
        metrics: Metrics::default(),
        outputs: Outputs::default(),
        worker_died: false,
    }
}
