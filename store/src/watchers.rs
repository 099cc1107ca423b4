//! Who waits for a change under which prefix, for the two backends that have no server.
//!
//! A watcher only wakes: it holds one permit, so any number of commits before its next look wake it once, and none
//! is lost. Tested by the conformance suite.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use crate::port::Key;

/// The watchers of one store, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<Vec<(String, Weak<Notify>)>>);

impl Watchers {
    /// A watcher from now on. Dropping what is returned ends it.
    pub(crate) fn add(&self, prefix: &str) -> Arc<Notify> {
        let wake = Arc::new(Notify::new());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, watcher)| watcher.strong_count() > 0);
        all.push((prefix.to_owned(), Arc::downgrade(&wake)));
        wake
    }

    /// Wakes those under whose prefix one of the keys lies.
    pub(crate) fn wake(&self, changed: &[Key]) {
        for (prefix, watcher) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(wake) = watcher.upgrade()
                && changed.iter().any(|key| key.starts_with(prefix))
            {
                wake.notify_one();
            }
        }
    }

    /// Wakes all: what changed is not known.
    pub(crate) fn wake_all(&self) {
        for (_, watcher) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(wake) = watcher.upgrade() {
                wake.notify_one();
            }
        }
    }
}
