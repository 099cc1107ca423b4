//! What a leader does beside its loop for triggers on files: looks for them, and tells the loop what is new and what is gone.
//!
//! ```text
//!  file_triggers ──▶ look (a thread, or the object store) ──▶ settling ──▶ FilesFound, in parts ──▶ the loop
//! ```
//!
//! Which versions a trigger has seen is state; what is remembered here (since when a file has not changed) is of this term only, and
//! the next leader waits a `settle` anew. So each version is told once, whoever leads.

#[cfg(feature = "object-store")]
mod http;
mod local;
#[cfg(feature = "object-store")]
mod objects;
#[cfg(not(feature = "object-store"))]
#[path = "files/no_objects.rs"]
mod objects;
mod place;
mod settling;
#[cfg(test)]
mod tests;
mod watched;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use penstock_common::{PipelineName, TriggerName};
use penstock_scheduler::calendar::FileTrigger;
use penstock_scheduler::input::FoundFile;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::handle::{Handle, Role};
use watched::Watched;

/// A trigger of a pipeline.
pub(crate) type Key = (PipelineName, TriggerName);
/// What is wrong with the files of triggers, for people.
pub(crate) type FileTrouble = BTreeMap<Key, Arc<str>>;

/// How often the list of triggers is read: no trigger looks more often.
const TURN: Duration = Duration::from_millis(500);
/// Looks at a time.
const MAX_LOOKS: usize = 32;
/// A look that takes longer than this is trouble.
const SLOW: Duration = Duration::from_secs(60);

/// What a look found.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// By path.
    pub(crate) files: Vec<FoundFile>,
    /// All directories were read to their ends: what is not among the files is gone.
    pub(crate) is_whole: bool,
    /// There is no such directory yet.
    pub(crate) is_nowhere: bool,
    pub(crate) trouble: Option<String>,
}

/// Looks for the files of all triggers for as long as this node leads.
pub(crate) async fn watch_files(handle: Handle, clock: Arc<dyn Clock>, trouble: Arc<watch::Sender<FileTrouble>>) {
    let mut role = handle.role.clone();
    if role.wait_for(|role| matches!(role, Role::Leader(_))).await.is_err() {
        return;
    }
    let mut rounds = Rounds { handle, clock, trouble, idle: BTreeMap::new(), busy: BTreeMap::new(), looks: JoinSet::new() };
    let mut turn = tokio::time::interval(TURN);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = turn.tick() => rounds.turn().await,
            Some(done) = rounds.looks.join_next() => rounds.looked(done),
        }
    }
}

struct Rounds {
    handle: Handle,
    clock: Arc<dyn Clock>,
    trouble: Arc<watch::Sender<FileTrouble>>,
    idle: BTreeMap<Key, Watched>,
    /// Looks that go on, and since when.
    busy: BTreeMap<Key, (Duration, Id)>,
    looks: JoinSet<(Key, Watched)>,
}

impl Rounds {
    /// Starts the looks that are due.
    async fn turn(&mut self) {
        // Overloaded, or the term is over: the next turn comes.
        let Ok(triggers) = self.handle.read(|scheduler, _| scheduler.file_triggers()).await else { return };
        let now = self.clock.uptime();
        let wanted: BTreeMap<Key, FileTrigger> = triggers.into_iter().map(|t| ((t.pipeline.clone(), t.trigger.clone()), t)).collect();
        self.idle.retain(|key, _| wanted.contains_key(key));
        self.trouble.send_if_modified(|all| {
            let before = all.len();
            all.retain(|key, _| wanted.contains_key(key));
            before != all.len()
        });
        for (key, (since, _)) in &self.busy {
            if now.saturating_sub(*since) > SLOW {
                self.tell(key, Some("the look at its files has not ended for a minute: see whether their file system answers".to_owned()));
            }
        }
        let mut due: Vec<(Duration, Key)> = Vec::new();
        for key in wanted.keys().filter(|key| !self.busy.contains_key(key)) {
            let next = self.idle.entry(key.clone()).or_default().next;
            if next <= now {
                due.push((next, key.clone()));
            }
        }
        due.sort();
        for (_, key) in due.into_iter().take(MAX_LOOKS.saturating_sub(self.busy.len())) {
            let Some(mut watched) = self.idle.remove(&key) else { continue };
            let (handle, clock, whose) = (self.handle.clone(), self.clock.clone(), key.clone());
            let look = self.looks.spawn(async move {
                watched.look(&key, &handle, &*clock).await;
                (key, watched)
            });
            self.busy.insert(whose, (now, look.id()));
        }
    }

    fn looked(&mut self, done: Result<(Key, Watched), tokio::task::JoinError>) {
        match done {
            Ok((key, watched)) => {
                self.busy.remove(&key);
                self.tell(&key, watched.trouble.clone());
                self.idle.insert(key, watched);
            }
            Err(error) => {
                // What it remembered is lost: it looks again from the beginning, which tells nothing twice.
                tracing::error!(%error, "a look at the files of a trigger broke off");
                self.busy.retain(|_, (_, id)| *id != error.id());
            }
        }
    }

    /// Once in the log, and for whoever asks for as long as it lasts.
    fn tell(&self, key: &Key, trouble: Option<String>) {
        self.trouble.send_if_modified(|all| {
            if all.get(key).map(|why| &**why) == trouble.as_deref() {
                return false;
            }
            match trouble {
                Some(why) => {
                    tracing::warn!(pipeline = %key.0, trigger = %key.1, "{why}");
                    all.insert(key.clone(), why.into());
                }
                None => {
                    tracing::info!(pipeline = %key.0, trigger = %key.1, "its files can be looked for again");
                    all.remove(key);
                }
            }
            true
        });
    }
}
