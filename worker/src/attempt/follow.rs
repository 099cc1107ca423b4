//! Looks at the output file while its program runs: live metrics, and that it grows too large.

use std::future::pending;
use std::time::Duration;

use penstock_common::metrics::Metrics;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::output::Tail;

/// How often the file is looked at.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);

/// Looks at the output file from time to time.
pub(crate) struct Follow {
    tail: Option<Tail>,
    reading: Option<JoinHandle<Tail>>,
    next: Instant,
    live: Option<watch::Sender<Metrics>>,
}

impl Follow {
    pub(crate) fn new(tail: Tail, live: Option<watch::Sender<Metrics>>) -> Self {
        Self { tail: Some(tail), reading: None, next: Instant::now() + FOLLOW_EVERY, live }
    }

    /// Returns, at most once, that the file is too large. Can be dropped at any time and called again.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            if let Some(reading) = &mut self.reading {
                let read = reading.await;
                self.reading = None;
                let Ok(tail) = read else { return pending().await };
                if let Some(live) = &self.live {
                    let now = &tail.report().metrics;
                    live.send_if_modified(|last| {
                        let changed = last != now;
                        last.clone_from(now);
                        changed
                    });
                }
                if let Some(too_large) = &tail.report().too_large {
                    return too_large.clone();
                }
                self.tail = Some(tail);
                self.next = Instant::now() + FOLLOW_EVERY;
            }
            sleep_until(self.next).await;
            let Some(mut tail) = self.tail.take() else { return pending().await };
            self.reading = Some(spawn_blocking(move || {
                let _ = tail.follow(); // an error shows again when the whole file is read
                tail
            }));
        }
    }
}
