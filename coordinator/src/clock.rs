//! The clock and the dice, injected: the simulation brings its own.

use std::time::{SystemTime, UNIX_EPOCH};

use penstock_common::{Millis, Now, Timestamp};
use tokio::time::Instant;

/// What a coordinator asks of the world besides the network.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock.
    fn wall(&self) -> Timestamp;
    /// 64 random bits.
    fn random(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn wall(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn random(&self) -> u64 {
        use std::hash::{BuildHasher, Hasher};
        std::collections::hash_map::RandomState::new().build_hasher().finish()
    }
}

/// Time within a term: `now` starts at the later of the last entry's and the wall clock, and then moves with the monotonic clock
/// only, so a wall clock that jumps moves no deadline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TermClock {
    base: Timestamp,
    started: Instant,
}

impl TermClock {
    pub(crate) fn start(clock: &dyn Clock, last_entry: Timestamp) -> Self {
        Self { base: clock.wall().max(last_entry), started: Instant::now() }
    }

    pub(crate) fn now(&self, clock: &dyn Clock) -> Now {
        Now { now: self.base.after(Millis::from(self.started.elapsed())), wall: clock.wall(), random: clock.random() }
    }

    /// The instant at which `now` reaches a time.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        self.started + at.since(self.base).std()
    }
}
