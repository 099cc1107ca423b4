//! Who may end an attempt early: the coordinator, by the stop signal, and the attempt's own deadline.

use std::future::pending;

use penstock_common::Millis;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Stop;
use super::judge::Cause;

/// A time nobody lives to see; adding more could overflow.
pub(crate) const LONGEST: Millis = Millis(100 * 365 * 86_400_000);

/// The stop signal and the deadline of one attempt.
pub(crate) struct Halt {
    stop: watch::Receiver<Stop>,
    /// When, and the `timeout` it comes from. On the runtime's monotonic clock.
    deadline: Option<(Instant, Millis)>,
    stopping: bool,
    revoked: bool,
}

impl Halt {
    /// The deadline counts from now.
    pub(crate) fn new(stop: watch::Receiver<Stop>, timeout: Option<Millis>) -> Self {
        let deadline = timeout.map(|limit| (Instant::now() + limit.min(LONGEST).std(), limit));
        Self { stop, deadline, stopping: false, revoked: false }
    }

    /// For who must know directly before what cannot be undone.
    pub(crate) fn signal(&self) -> Signal {
        Signal { stop: self.stop.clone(), deadline: self.deadline.map(|(at, _)| at) }
    }

    /// What was said before anything began.
    pub(crate) fn said(&mut self) -> Option<Cause> {
        cause(*self.stop.borrow_and_update())
    }

    /// Waits until the attempt is to stop, and says why: at most once that it is cancelled or over its time, and after that at
    /// most once that it is revoked, which is at once and whatever its grace. Then it waits for ever. Can be dropped at any
    /// time and called again.
    pub(crate) async fn next(&mut self) -> Cause {
        while !self.revoked {
            let why = tokio::select! {
                biased;
                changed = self.stop.changed() => match changed {
                    Ok(()) => cause(*self.stop.borrow_and_update()),
                    Err(_) => Some(Cause::Revoked),
                },
                () = at(self.deadline.map(|(at, _)| at)), if !self.stopping => self.deadline.map(|(_, limit)| Cause::Timeout(limit)),
            };
            match why {
                Some(Cause::Revoked) => {
                    self.revoked = true;
                    return Cause::Revoked;
                }
                Some(why) if !self.stopping => {
                    self.stopping = true;
                    return why;
                }
                _ => {}
            }
        }
        pending().await
    }
}

/// Whether the attempt is to stop, without waiting and from any thread: what [`Halt::next`] will say.
#[derive(Clone)]
pub(crate) struct Signal {
    stop: watch::Receiver<Stop>,
    deadline: Option<Instant>,
}

impl Signal {
    /// Once true, it stays so.
    pub(crate) fn says_stop(&self) -> bool {
        let gone = self.stop.has_changed().is_err();
        gone || *self.stop.borrow() != Stop::Go || self.deadline.is_some_and(|at| Instant::now() >= at)
    }
}

fn cause(stop: Stop) -> Option<Cause> {
    match stop {
        Stop::Go => None,
        Stop::Cancel(reason) => Some(Cause::Cancelled(reason)),
        Stop::Kill => Some(Cause::Revoked),
    }
}

/// Waits for a time, or for ever.
pub(crate) async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use penstock_common::Reason;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_cancel_is_told_once_and_after_it_only_that_the_lease_is_gone() {
        let (stop, signal) = watch::channel(Stop::Go);
        let mut halt = Halt::new(signal, Some(Millis(1_000)));
        assert_eq!(halt.said(), None);
        stop.send_replace(Stop::Cancel(Reason::User));
        assert_eq!(halt.next().await, Cause::Cancelled(Reason::User));
        // Neither the deadline nor another cancel after that.
        stop.send_replace(Stop::Cancel(Reason::Lost));
        assert!(tokio::time::timeout(Duration::from_secs(5), halt.next()).await.is_err());
        drop(stop);
        assert_eq!(halt.next().await, Cause::Revoked);
        assert!(tokio::time::timeout(Duration::from_secs(5), halt.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_tells_at_once_what_the_halt_will_say() {
        let (stop, watched) = watch::channel(Stop::Go);
        let signal = Halt::new(watched.clone(), None).signal();
        assert!(!signal.says_stop());
        stop.send_replace(Stop::Cancel(Reason::User));
        assert!(signal.says_stop());
        let (stop, watched) = watch::channel(Stop::Go);
        let (signal, limited) = (Halt::new(watched.clone(), None).signal(), Halt::new(watched, Some(Millis(5))).signal());
        tokio::time::advance(Duration::from_millis(5)).await;
        assert!(!signal.says_stop() && limited.says_stop());
        drop(stop);
        assert!(signal.says_stop(), "a lost sender is a revocation");
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_a_cause_of_its_own() {
        let (_stop, signal) = watch::channel(Stop::Go);
        let mut halt = Halt::new(signal, Some(Millis(1_000)));
        assert_eq!(halt.next().await, Cause::Timeout(Millis(1_000)));
    }
}
