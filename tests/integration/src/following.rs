//! A run being watched, each change with the moment at which it was seen.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use penstock_client::{Client, Error, v1};
use penstock_common::State;

/// A change and when it was seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// What.
    pub change: v1::Change,
}

impl Seen {
    /// Whether it is this task in this state.
    pub fn is(&self, task: &str, state: State) -> bool {
        self.change.task == task && State::from(self.change.state()) == state
    }
}

/// A watch that goes on until the run has ended.
pub struct Following {
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<Result<v1::Run, Error>>,
}

impl Following {
    /// Watches a run from now on.
    pub fn of(client: &Client, run: &str) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut watch = client.watch(run);
        let into = seen.clone();
        let task = tokio::spawn(async move {
            let mut last = v1::Run::default();
            while let Some(update) = watch.next().await? {
                let at = Instant::now();
                let changes = update.changes.into_iter().map(|change| Seen { at, change });
                into.lock().unwrap_or_else(PoisonError::into_inner).extend(changes);
                last = update.run;
            }
            Ok(last)
        });
        Self { seen, task }
    }

    /// Everything seen so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until something is found among what was seen.
    ///
    /// # Panics
    /// When it does not come within the limit.
    pub async fn until<T>(&self, what: &str, limit: Duration, mut find: impl FnMut(&[Seen]) -> Option<T>) -> T {
        let since = Instant::now();
        loop {
            let seen = self.seen();
            if let Some(found) = find(&seen) {
                return found;
            }
            assert!(since.elapsed() < limit, "{what}: not within {} s; seen: {seen:#?}", limit.as_secs());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The run at its end.
    ///
    /// # Panics
    /// When it does not end within the limit, or cannot be watched.
    pub async fn end(self, limit: Duration) -> v1::Run {
        let ended = tokio::time::timeout(limit, self.task).await;
        ended.unwrap_or_else(|_| panic!("the run did not end within {} s", limit.as_secs())).expect("watches on").expect("can be watched")
    }
}
