//! Chance and time, all from the seed: nothing here asks the machine.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use penstock_common::Timestamp;
use penstock_coordinator::Clock;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// A stream of random numbers of its own for each purpose, so that one more draw in one place changes no other place.
#[derive(Clone)]
pub struct Dice(Arc<Mutex<SmallRng>>);

impl Dice {
    /// The stream of a seed for a purpose.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let digest = blake3::hash(format!("{seed} {purpose}").as_bytes());
        Self(Arc::new(Mutex::new(SmallRng::from_seed(*digest.as_bytes()))))
    }

    fn with<T>(&self, draw: impl FnOnce(&mut SmallRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// 64 bits.
    pub fn bits(&self) -> u64 {
        self.with(|rng| rng.random())
    }

    /// A number from `from` to below `to`.
    pub fn number(&self, from: u64, to: u64) -> u64 {
        self.with(|rng| rng.random_range(from..to))
    }

    /// A time from `from` to below `to` milliseconds.
    pub fn millis(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.number(from, to))
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&self, percent: u64) -> bool {
        self.number(0, 100) < percent
    }

    /// One of these.
    pub fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.number(0, of.len() as u64)).unwrap_or(0)]
    }
}

/// The wall clock of a simulated host.
pub fn wall() -> Timestamp {
    let since = turmoil::since_epoch().unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A coordinator's clock and dice.
pub struct SimulatedClock {
    dice: Dice,
}

impl SimulatedClock {
    /// With dice of its own.
    pub fn new(dice: Dice) -> Self {
        Self { dice }
    }
}

impl Clock for SimulatedClock {
    fn wall(&self) -> Timestamp {
        wall()
    }
    fn random(&self) -> u64 {
        self.dice.bits()
    }
    fn uptime(&self) -> std::time::Duration {
        turmoil::sim_elapsed().unwrap_or_default()
    }
}
