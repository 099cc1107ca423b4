//! The clock and the dice, injected: the simulation brings its own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use penstock_common::{Millis, Now, Timestamp};
use tokio::time::Instant;

use crate::sanity::Sanity;

/// What a coordinator asks of the world besides the network.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock.
    fn wall(&self) -> Timestamp;
    /// 64 random bits.
    fn random(&self) -> u64;
    /// Time since some moment, sleep of the machine included, whatever the wall clock does.
    fn uptime(&self) -> Duration;
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

    fn uptime(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
    }

    fn random(&self) -> u64 {
        use std::hash::{BuildHasher, Hasher};
        std::collections::hash_map::RandomState::new().build_hasher().finish()
    }
}

/// Time within a term: `now` starts at the later of the last entry's and the wall clock, and then moves with the monotonic clock
/// only, so a wall clock that jumps moves no deadline. What the wall clock itself is worth is [`Sanity`]'s.
#[derive(Debug)]
pub(crate) struct TermClock {
    base: Timestamp,
    started: Instant,
    sanity: Sanity,
    /// The store has room for new runs.
    pub(crate) has_room: bool,
}

impl TermClock {
    pub(crate) fn start(clock: &dyn Clock, last_entry: Timestamp) -> Self {
        let sanity = Sanity::new(clock.wall(), clock.uptime(), last_entry);
        Self { base: clock.wall().max(last_entry), started: Instant::now(), sanity, has_room: true }
    }

    pub(crate) fn now(&mut self, clock: &dyn Clock) -> Now {
        let wall = clock.wall();
        self.sanity.look(wall, clock.uptime());
        let now = self.base.after(Millis::from(self.started.elapsed()));
        Now { now, wall, random: clock.random(), may_fire: self.has_room && self.sanity.may_fire() }
    }

    /// Looks at the wall clock, and at the origins of workers' clocks.
    pub(crate) fn compare(&mut self, clock: &dyn Clock, workers: Vec<i64>) {
        self.sanity.look(clock.wall(), clock.uptime());
        self.sanity.compare(clock.uptime(), workers);
    }

    /// Why schedules do not fire, if the wall clock is not to be trusted.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.sanity.trouble()
    }

    /// The instant at which `now` reaches a time.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        self.started + at.since(self.base).std()
    }
}
