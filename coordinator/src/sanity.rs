//! Whether the wall clock is to be trusted with schedules. It is compared with the time that passes, and with the clocks of workers: one
//! that jumps, or that at least three workers agree is wrong, fires nothing until it is right again, or believed.
//!
//! Every clock is known by its origin, what it showed when this machine's uptime was 0: a clock that goes on as it did keeps it, so
//! clocks that were read at different times compare, and a jump of one is no jump of the others.

use std::time::Duration;

use penstock_common::Timestamp;

/// How far a clock may be off.
const TOLERANCE_MS: i64 = 60_000;
/// Workers whose median is believed more than this clock.
const QUORUM: usize = 3;
/// How long a clock that jumped must have gone on steadily to be believed, where too few workers can tell.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a new leader whose clock is far from the journal's last entry waits for workers to tell. A worker that lost its leader
/// asks for another within two seconds.
const HEARING: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Sanity {
    /// The origin of the right clock, as far as is known.
    believed: i64,
    /// The origin of this coordinator's clock at the last look.
    seen: i64,
    /// Since when it has not jumped and enough workers have not told otherwise.
    steady_since: Duration,
    /// Origins of workers' clocks, in order.
    workers: Vec<i64>,
    /// Until then workers are heard before anything fires.
    hearing_until: Option<Duration>,
    /// Workers differ, and are too few to be believed.
    doubted: bool,
    trouble: Option<String>,
}

impl Sanity {
    /// `last_entry` is the journal's last `now`, 0 if it is empty. A clock far from it may be right, where nobody led for a while.
    pub(crate) fn new(wall: Timestamp, uptime: Duration, last_entry: Timestamp) -> Self {
        let seen = origin(wall, uptime);
        let is_far = last_entry.0 != 0 && !near(wall.0, last_entry.0);
        Self {
            believed: seen,
            seen,
            steady_since: uptime,
            workers: Vec::new(),
            hearing_until: is_far.then(|| uptime + HEARING),
            doubted: false,
            trouble: None,
        }
    }

    /// The wall clock shows this now.
    pub(crate) fn look(&mut self, wall: Timestamp, uptime: Duration) {
        let seen = origin(wall, uptime);
        if !near(seen, self.seen) {
            self.steady_since = uptime;
        }
        self.seen = seen;
        self.judge(uptime);
    }

    /// The origins of workers' clocks, each as of its last heartbeat.
    pub(crate) fn compare(&mut self, uptime: Duration, mut workers: Vec<i64>) {
        workers.sort_unstable();
        self.workers = workers;
        self.judge(uptime);
    }

    fn judge(&mut self, uptime: Duration) {
        let before = self.believed;
        let is_quorum = self.workers.len() >= QUORUM;
        // Of an even number two are in the middle; where they differ it is a tie, which changes nothing.
        let middle = self.workers.get(self.workers.len().saturating_sub(1) / 2).zip(self.workers.get(self.workers.len() / 2));
        let agree = middle.map(|(low, high)| (near(*low, self.seen), near(*high, self.seen)));
        match (agree, middle) {
            (Some((true, true)), _) if is_quorum => self.believed = self.seen,
            (Some((false, false)), Some((low, _))) if is_quorum => {
                self.believed = *low;
                self.steady_since = uptime;
            }
            _ if !is_quorum && uptime.saturating_sub(self.steady_since) >= PATIENCE => self.believed = self.seen,
            _ => {}
        }
        if is_quorum || self.hearing_until.is_some_and(|until| uptime >= until) {
            self.hearing_until = None;
        }
        let doubted = !is_quorum && agree == Some((false, false));
        if doubted && !self.doubted {
            let (workers, ahead_s) = (self.workers.len(), middle.map_or(0, |(low, _)| (low - self.seen) / 1_000));
            tracing::warn!(ahead_s, workers, "workers' clocks are far from this coordinator's, and they are too few to be believed");
        }
        self.doubted = doubted;

        let off = self.seen - self.believed;
        let trouble = match (near(self.seen, self.believed), is_quorum) {
            (true, _) => None,
            (false, true) => {
                let side = if off < 0 { "ahead of" } else { "behind" };
                let s = off.abs() / 1_000;
                Some(format!("the clocks of its workers are {s} s {side} this coordinator's: no schedule fires until they agree"))
            }
            (false, false) => Some(format!(
                "the wall clock of this coordinator jumped by {} s: no schedule fires until it is right again, three workers agree with \
                 it, or ten minutes have passed",
                off / 1_000
            )),
        };
        if trouble.is_some() != self.trouble.is_some() {
            match &trouble {
                Some(why) => tracing::error!("{why}"),
                None if near(before, self.believed) => tracing::info!("the wall clock is right again: schedules fire"),
                None => tracing::warn!(jump_s = (self.seen - before) / 1_000, is_quorum, "the wall clock is believed: schedules fire"),
            }
        }
        self.trouble = trouble;
    }

    /// Why nothing fires, if the clock is not to be trusted.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Whether schedules may fire.
    pub(crate) fn may_fire(&self) -> bool {
        self.trouble.is_none() && self.hearing_until.is_none()
    }
}

fn near(one: i64, other: i64) -> bool {
    one.abs_diff(other) <= TOLERANCE_MS.unsigned_abs()
}

/// What a clock showed when this machine's uptime was 0.
pub(crate) fn origin(wall: Timestamp, uptime: Duration) -> i64 {
    wall.0.saturating_sub(i64::try_from(uptime.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const START: i64 = 1_700_000_000_000;

    fn up(seconds: u64) -> Duration {
        Duration::from_secs(1_000 + seconds)
    }

    fn wall(seconds: u64, ahead: i64) -> Timestamp {
        Timestamp(START + seconds as i64 * 1_000 + ahead)
    }

    fn look(sanity: &mut Sanity, seconds: u64, ahead: i64) -> bool {
        sanity.look(wall(seconds, ahead), up(seconds));
        sanity.may_fire()
    }

    /// Heartbeats of workers whose clocks are so far ahead of the right one.
    fn beat(sanity: &mut Sanity, seconds: u64, ahead: &[i64]) -> bool {
        sanity.compare(up(seconds), ahead.iter().map(|ahead| origin(wall(seconds, *ahead), up(seconds))).collect());
        sanity.may_fire()
    }

    fn of(ahead: i64) -> Sanity {
        Sanity::new(wall(0, ahead), up(0), wall(0, ahead))
    }

    #[test]
    fn a_clock_that_jumps_is_trusted_when_it_is_right_again() {
        for ahead in [HOUR, -HOUR] {
            let mut sanity = of(0);
            assert!(look(&mut sanity, 5, 30_000), "it is corrected by little");
            assert!(!look(&mut sanity, 6, ahead));
            assert!(sanity.trouble().is_some_and(|why| why.contains(&format!("jumped by {} s", ahead / 1_000))));
            assert!(!look(&mut sanity, 300, ahead));
            assert!(look(&mut sanity, 301, 0));
            assert_eq!(sanity.trouble(), None);
        }
    }

    #[test]
    fn without_workers_or_with_one_or_two_a_clock_that_jumped_is_believed_after_a_time() {
        for workers in 0..=2 {
            let mut sanity = of(0);
            let right = vec![0; workers];
            assert!(beat(&mut sanity, 1, &right));
            assert!(!look(&mut sanity, 5, HOUR), "{workers} workers");
            assert!(!look(&mut sanity, 604, HOUR));
            assert!(!beat(&mut sanity, 604, &right));
            assert!(look(&mut sanity, 605, HOUR));
            assert!(look(&mut sanity, 606, HOUR));
        }
    }

    #[test]
    fn one_or_two_workers_that_differ_stop_nothing() {
        for workers in 1..=2 {
            let mut sanity = of(0);
            assert!(beat(&mut sanity, 1, &vec![HOUR; workers]));
            assert!(look(&mut sanity, 700, 0));
        }
    }

    #[test]
    fn a_jump_of_this_clock_alone_is_not_believed_though_workers_told_before_it() {
        for ahead in [HOUR, -HOUR] {
            let mut sanity = of(0);
            assert!(beat(&mut sanity, 1, &[0, -3, 900]));
            assert!(!look(&mut sanity, 2, ahead), "what they told still holds");
            assert!(!look(&mut sanity, 3, ahead));
            assert!(!beat(&mut sanity, 4, &[0, -3, 900]));
            assert!(!look(&mut sanity, 1_000, ahead), "time does not make it right");
            assert!(sanity.trouble().is_some_and(|why| why.contains("3600 s") && why.contains("workers")), "{sanity:?}");
            assert!(look(&mut sanity, 1_001, 0));
        }
    }

    #[test]
    fn a_jump_of_all_clocks_is_believed_when_most_workers_have_told() {
        for ahead in [HOUR, -HOUR] {
            let mut sanity = of(0);
            assert!(beat(&mut sanity, 1, &[0, 0, 0]));
            assert!(!look(&mut sanity, 2, ahead));
            assert!(!beat(&mut sanity, 2, &[ahead, 0, 0]));
            assert!(beat(&mut sanity, 3, &[ahead, ahead, 0]));
            assert!(look(&mut sanity, 4, ahead));

            let mut sanity = of(0);
            assert!(!beat(&mut sanity, 2, &[ahead, ahead, 0]), "workers are the first to show it");
            assert!(look(&mut sanity, 3, ahead));
        }
    }

    #[test]
    fn a_tie_of_workers_changes_nothing() {
        let mut sanity = of(0);
        assert!(beat(&mut sanity, 1, &[0, 0, HOUR, HOUR]), "it is trusted");
        assert!(!look(&mut sanity, 2, HOUR), "it jumped");
        assert!(!look(&mut sanity, 1_000, HOUR));
        assert!(beat(&mut sanity, 1_001, &[0, HOUR, HOUR, HOUR]));
    }

    #[test]
    fn a_clock_that_is_wrong_from_the_start_is_told_by_workers_and_believed_long_after_they_left() {
        let mut sanity = of(HOUR);
        assert!(beat(&mut sanity, 1, &[0, 0]), "two are too few");
        assert!(!beat(&mut sanity, 2, &[0, 0, 0]));
        assert!(sanity.trouble().is_some_and(|why| why.contains("3600 s behind")), "{sanity:?}");
        assert!(!beat(&mut sanity, 700, &[0, 0, 0]));
        assert!(!beat(&mut sanity, 701, &[0, 0]), "what they told is remembered");
        assert!(!look(&mut sanity, 1_299, HOUR));
        assert!(look(&mut sanity, 1_300, HOUR));
        assert!(!beat(&mut sanity, 1_301, &[0, 0, 0]));
        assert!(look(&mut sanity, 1_302, 0), "it was corrected");
    }

    #[test]
    fn a_new_leader_far_from_the_last_entry_hears_workers_first() {
        for ahead in [HOUR, -HOUR] {
            let new = || Sanity::new(wall(0, ahead), up(0), wall(0, 0));
            let mut sanity = new();
            assert!(!look(&mut sanity, 1, ahead));
            assert_eq!(sanity.trouble(), None, "nothing is known to be wrong");
            assert!(!beat(&mut sanity, 2, &[0, 0]));
            assert!(!beat(&mut sanity, 3, &[0, 0, 0]));
            assert!(sanity.trouble().is_some());
            assert!(!look(&mut sanity, 60, ahead));

            let mut sanity = new();
            assert!(beat(&mut sanity, 2, &[ahead, ahead, ahead]), "nobody led for an hour");
            let mut sanity = new();
            assert!(!look(&mut sanity, 4, ahead));
            assert!(look(&mut sanity, 5, ahead), "there are no workers to tell");
        }
        let mut sanity = Sanity::new(wall(0, 0), up(0), Timestamp(0));
        assert!(look(&mut sanity, 0, 0), "the journal is empty");
    }
}
