//! What the integration tests stand on: real etcd, real coordinators and workers as child processes, faults by signal.
//!
//! ```text
//!  test ──▶ cluster ──▶ process (etcd, penstock server, penstock worker), each with its log
//!    │         └── client, following (a watch with times)
//!    └──▶ witness (what tasks really did) ◀── compared ──▶ journal (what the store says)
//! ```
//!
//! Nothing is skipped: what is missing fails the test, with what to do about it. Every child is killed when its value is
//! dropped, and a test that fails prints the end of each log. Waiting is for a condition, with a generous limit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "support of tests: what goes wrong here fails the test")]

pub mod binary;
mod clock;
pub mod cluster;
pub mod etcd;
pub mod following;
pub mod insurance;
pub mod intervals;
pub mod journal;
pub mod process;
pub mod procfs;
pub mod witness;

use std::io::Write as _;
use std::time::{Duration, Instant};

pub use binary::{Ran, is_release, penstock, penstock_with, tokio_command};
pub use cluster::{Cluster, Options};
pub use etcd::Etcd;
pub use following::Following;
pub use insurance::Insurance;
pub use journal::Journal;
pub use process::Process;
pub use witness::Witness;

/// Limit of what should take seconds.
pub const SOON: Duration = Duration::from_secs(60);
/// Limit of what may take a while on a busy machine.
pub const LATE: Duration = Duration::from_secs(180);

/// Tests of one file run one after the other: each has a cluster of its own, and timings mean little when two share two cores.
pub async fn turn() -> tokio::sync::MutexGuard<'static, ()> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    TURN.lock().await
}

/// A measured figure, shown whether the test passes or not.
pub fn figure(what: &str, value: impl std::fmt::Display) {
    drop(writeln!(std::io::stderr(), "    {what}: {value}"));
}

/// Looks until there is something to see.
///
/// # Panics
/// When nothing came within the limit.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, limit: Duration, mut look: impl FnMut() -> F) -> T {
    let since = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(since.elapsed() < limit, "{what}: not within {} s", limit.as_secs());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
