//! Whether the wall clock is to be trusted with schedules. It is compared with the time that passes, and with the clocks of workers: one
//! that jumps, or that at least three workers agree is wrong, fires nothing until it is right again, or believed.

use std::time::Duration;

use penstock_common::Timestamp;

/// How far a clock may be off.
const TOLERANCE_MS: i64 = 60_000;
/// Workers whose median is believed more than this clock.
const QUORUM: usize = 3;
/// How long a clock that jumped must have gone on steadily to be believed, where too few workers can tell.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(crate) struct Sanity {
    /// What the wall clock showed when the machine's uptime was 0, by the clock that is trusted.
    origin: i64,
    /// Where it is now, and since when.
    seen: i64,
    seen_since: Duration,
    /// The median of workers' clocks is that far ahead of this one, if they are enough.
    workers_ahead: Option<i64>,
    trouble: Option<String>,
}

impl Sanity {
    pub(crate) fn new(wall: Timestamp, uptime: Duration) -> Self {
        let origin = origin(wall, uptime);
        Self { origin, seen: origin, seen_since: uptime, workers_ahead: None, trouble: None }
    }

    /// The wall clock shows this now.
    pub(crate) fn look(&mut self, wall: Timestamp, uptime: Duration) {
        let seen = origin(wall, uptime);
        if (seen - self.seen).abs() > TOLERANCE_MS {
            self.seen_since = uptime;
            // What workers said was about the clock before.
            self.workers_ahead = None;
            self.seen = seen;
        }
        let steady = uptime.saturating_sub(self.seen_since) >= PATIENCE;
        self.judge(seen, steady);
    }

    /// What workers' clocks say, in milliseconds that they are ahead.
    pub(crate) fn compare(&mut self, uptime: Duration, workers: &mut [i64]) {
        workers.sort_unstable();
        self.workers_ahead = workers.get(workers.len() / 2).copied().filter(|_| workers.len() >= QUORUM);
        if let Some(ahead) = workers.get(workers.len() / 2).filter(|ahead| ahead.abs() > TOLERANCE_MS && workers.len() < QUORUM) {
            tracing::debug!(ahead_ms = ahead, workers = workers.len(), "a worker's clock is far from this coordinator's");
        }
        let steady = uptime.saturating_sub(self.seen_since) >= PATIENCE;
        self.judge(self.seen, steady);
    }

    fn judge(&mut self, seen: i64, steady: bool) {
        let jump = seen - self.origin;
        let workers_agree = self.workers_ahead.is_some_and(|ahead| ahead.abs() <= TOLERANCE_MS);
        if jump.abs() > TOLERANCE_MS && (workers_agree || (steady && self.workers_ahead.is_none())) {
            tracing::warn!(jump_ms = jump, workers_agree, "the wall clock jumped and is believed: schedules fire again");
            self.origin = seen;
        }
        let jump = seen - self.origin;
        let trouble = if jump.abs() > TOLERANCE_MS {
            Some(format!(
                "the wall clock of this coordinator jumped by {} s: no schedule fires until it is right again, three workers agree with it, \
                 or ten minutes have passed",
                jump / 1_000
            ))
        } else {
            let wrong = self.workers_ahead.filter(|ahead| ahead.abs() > TOLERANCE_MS);
            wrong.map(|ahead| {
                format!(
                    "the clocks of its workers are {} s ahead of this coordinator's: no schedule fires until it is right",
                    ahead / 1_000
                )
            })
        };
        if trouble.is_some() != self.trouble.is_some() {
            match &trouble {
                Some(why) => tracing::error!("{why}"),
                None => tracing::info!("the wall clock is trusted again: schedules fire"),
            }
        }
        self.trouble = trouble;
    }

    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }
}

fn origin(wall: Timestamp, uptime: Duration) -> i64 {
    wall.0 - i64::try_from(uptime.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn at(seconds: u64, ahead: i64) -> (Timestamp, Duration) {
        (Timestamp(1_700_000_000_000 + seconds as i64 * 1_000 + ahead), Duration::from_secs(1_000 + seconds))
    }

    fn look(sanity: &mut Sanity, seconds: u64, ahead: i64) -> bool {
        let (wall, uptime) = at(seconds, ahead);
        sanity.look(wall, uptime);
        sanity.trouble().is_none()
    }

    fn new() -> Sanity {
        let (wall, uptime) = at(0, 0);
        Sanity::new(wall, uptime)
    }

    #[test]
    fn a_clock_that_jumps_is_trusted_when_it_is_right_again() {
        for ahead in [HOUR, -HOUR] {
            let mut sanity = new();
            assert!(look(&mut sanity, 5, 30_000), "it is corrected by little");
            assert!(!look(&mut sanity, 6, ahead));
            assert!(!look(&mut sanity, 300, ahead));
            assert!(look(&mut sanity, 301, 0));
        }
    }

    #[test]
    fn a_clock_that_goes_on_after_a_jump_is_believed_after_a_time_or_by_workers() {
        let mut sanity = new();
        assert!(!look(&mut sanity, 5, HOUR));
        assert!(!look(&mut sanity, 604, HOUR));
        assert!(look(&mut sanity, 605, HOUR));
        assert!(look(&mut sanity, 606, HOUR));
        let mut sanity = new();
        assert!(!look(&mut sanity, 5, HOUR));
        sanity.compare(at(5, 0).1, &mut [0, -3, 900_000]);
        assert_eq!(sanity.trouble(), None);
        assert!(look(&mut sanity, 6, HOUR));
    }

    #[test]
    fn three_workers_are_believed_more_than_the_clock_and_two_are_not() {
        let mut sanity = new();
        sanity.compare(at(5, 0).1, &mut [HOUR, HOUR]);
        assert_eq!(sanity.trouble(), None);
        sanity.compare(at(5, 0).1, &mut [HOUR, HOUR, 0]);
        assert!(sanity.trouble().unwrap().contains("3600 s ahead"));
        assert!(!look(&mut sanity, 1_000, 0), "time alone does not make it right");
        assert!(!look(&mut sanity, 1_001, HOUR), "it was corrected, and nobody knows yet");
        sanity.compare(at(1_001, 0).1, &mut [0, 0, 0]);
        assert_eq!(sanity.trouble(), None);
    }
}
