//! A store in memory: for unit tests, and behind the simulation's etcd.
//!
//! Not durable, not for production. Sessions end by tokio's clock, so a paused clock decides when; nothing runs in
//! the background: a session that is over ends at the next access, or while a watcher waits. What a transaction
//! means is in [`crate::apply`]. Tested by the conformance suite and by the unit tests below.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::apply::{self, Table};
use crate::port::{Error, Key, KeyValue, Outcome, Range, SessionId, Space, Store, Txn, Wakes};
use crate::watchers::Watchers;

/// A store in memory; a clone is the same store. Its revision starts at 1, as etcd's does.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    watchers: Watchers,
    /// A session was opened: a waiting watcher looks again when the next one ends.
    opened: Notify,
}

#[derive(Debug)]
struct State {
    revision: u64,
    pairs: BTreeMap<Key, Pair>,
    sessions: BTreeMap<SessionId, Session>,
    last_session: i64,
}

impl Default for State {
    fn default() -> Self {
        Self { revision: 1, pairs: BTreeMap::new(), sessions: BTreeMap::new(), last_session: 0 }
    }
}

#[derive(Debug)]
struct Pair {
    value: Bytes,
    created: u64,
    modified: u64,
    session: Option<SessionId>,
}

#[derive(Debug)]
struct Session {
    ttl: Duration,
    ends: Instant,
    keys: BTreeSet<Key>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The revision of the last transaction that changed something.
    pub fn revision(&self) -> u64 {
        self.current().revision
    }

    /// Every pair as it is, for a checker: no session ends by being looked at.
    pub fn pairs(&self) -> Vec<KeyValue> {
        self.lock().pairs.iter().map(|(key, pair)| State::pair(key, pair, false)).collect()
    }

    /// Gives every session its full time again, as etcd does when it restarts or elects a leader.
    pub fn renew_sessions(&self) {
        let now = Instant::now();
        for session in self.lock().sessions.values_mut() {
            session.ends = now + session.ttl;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state after the sessions that are over have ended.
    fn current(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let now = Instant::now();
        while let Some((_, session)) = state.next_end().filter(|(ends, _)| *ends <= now) {
            let changed = state.end(session);
            self.inner.watchers.wake(&changed);
        }
        state
    }
}

impl State {
    /// When the next session ends, and which.
    fn next_end(&self) -> Option<(Instant, SessionId)> {
        self.sessions.iter().map(|(id, session)| (session.ends, *id)).min()
    }

    /// Ends a session and deletes its keys, at one revision.
    fn end(&mut self, session: SessionId) -> Vec<Key> {
        let keys: Vec<Key> = self.sessions.remove(&session).into_iter().flat_map(|ended| ended.keys).collect();
        for key in &keys {
            self.pairs.remove(key);
        }
        if !keys.is_empty() {
            self.revision += 1;
        }
        keys
    }

    fn unbind(&mut self, key: &str) {
        if let Some(session) = self.pairs.get(key).and_then(|pair| pair.session)
            && let Some(session) = self.sessions.get_mut(&session)
        {
            session.keys.remove(key);
        }
    }

    fn pair(key: &str, pair: &Pair, keys_only: bool) -> KeyValue {
        let value = if keys_only { Bytes::new() } else { pair.value.clone() };
        KeyValue { key: key.to_owned(), value, created: pair.created, modified: pair.modified }
    }
}

impl Table for State {
    type Failure = Error;

    fn revision(&self) -> u64 {
        self.revision
    }

    fn get(&self, key: &str) -> Result<Option<KeyValue>, Error> {
        Ok(self.pairs.get(key).map(|pair| Self::pair(key, pair, false)))
    }

    fn is_open(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    fn put(&mut self, pair: KeyValue, session: Option<SessionId>) -> Result<(), Error> {
        self.unbind(&pair.key);
        if let Some(session) = session.and_then(|id| self.sessions.get_mut(&id)) {
            session.keys.insert(pair.key.clone());
        }
        let KeyValue { key, value, created, modified } = pair;
        self.pairs.insert(key, Pair { value, created, modified, session });
        Ok(())
    }

    fn delete(&mut self, key: &str) -> Result<bool, Error> {
        self.unbind(key);
        Ok(self.pairs.remove(key).is_some())
    }

    fn keys(&self, from: &str, to: &str) -> Result<Vec<Key>, Error> {
        if from >= to {
            return Ok(Vec::new());
        }
        Ok(self
            .pairs
            .range::<str, _>((std::ops::Bound::Included(from), std::ops::Bound::Excluded(to)))
            .map(|(key, _)| key.clone())
            .collect())
    }
}

#[async_trait]
impl Store for Memory {
    async fn range(&self, range: Range) -> Result<Vec<KeyValue>, Error> {
        if range.from >= range.to {
            return Ok(Vec::new());
        }
        let state = self.current();
        let limit = if range.limit == 0 { usize::MAX } else { range.limit };
        let pairs = state.pairs.range(range.from..range.to);
        let read = |(key, pair): (&Key, &Pair)| State::pair(key, pair, range.keys_only);
        Ok(if range.reverse { pairs.rev().take(limit).map(read).collect() } else { pairs.take(limit).map(read).collect() })
    }

    async fn txn(&self, txn: Txn) -> Result<Outcome, Error> {
        apply::check(&txn)?;
        let mut state = self.current();
        let (outcome, changed) = apply::apply(&mut *state, &txn)?;
        if !changed.is_empty() {
            state.revision += 1;
            self.inner.watchers.wake(&changed);
        }
        Ok(outcome)
    }

    async fn watch(&self, prefix: &str) -> Result<Box<dyn Wakes>, Error> {
        let wake = self.inner.watchers.add(prefix);
        Ok(Box::new(Watch { store: self.clone(), wake }))
    }

    async fn open_session(&self, ttl: Duration) -> Result<SessionId, Error> {
        let mut state = self.current();
        state.last_session += 1;
        let id = SessionId(state.last_session);
        let ttl = whole_seconds(ttl);
        state.sessions.insert(id, Session { ttl, ends: Instant::now() + ttl, keys: BTreeSet::new() });
        self.inner.opened.notify_waiters();
        Ok(id)
    }

    async fn keep_session(&self, session: SessionId) -> Result<bool, Error> {
        let mut state = self.current();
        let Some(session) = state.sessions.get_mut(&session) else { return Ok(false) };
        session.ends = Instant::now() + session.ttl;
        Ok(true)
    }

    async fn close_session(&self, session: SessionId) -> Result<(), Error> {
        let changed = self.current().end(session);
        self.inner.watchers.wake(&changed);
        Ok(())
    }

    async fn space(&self) -> Result<Space, Error> {
        let used = self.current().pairs.iter().map(|(key, pair)| (key.len() + pair.value.len()) as u64).sum();
        Ok(Space { file: used, used, quota: 0, full: false })
    }

    async fn compact(&self, _revision: u64) -> Result<(), Error> {
        Ok(())
    }

    fn describe(&self) -> String {
        "memory (nothing is kept)".to_owned()
    }
}

/// Seconds as etcd counts them: whole, at least one.
pub(crate) fn whole_seconds(ttl: Duration) -> Duration {
    Duration::from_secs((ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)).max(1))
}

struct Watch {
    store: Memory,
    wake: Arc<Notify>,
}

#[async_trait]
impl Wakes for Watch {
    async fn next(&mut self) -> Result<(), Error> {
        loop {
            let opened = self.store.inner.opened.notified();
            tokio::pin!(opened);
            opened.as_mut().enable();
            let next_end = self.store.current().next_end();
            let ended = async {
                match next_end {
                    Some((ends, _)) => tokio::time::sleep_until(ends).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.wake.notified() => return Ok(()),
                () = &mut opened => {}
                () = ended => {}
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::port::Op;

    fn put(key: &str, session: Option<SessionId>) -> Txn {
        Txn { then: vec![Op::Put(key.to_owned(), Bytes::from_static(b"v"), session)], ..Txn::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_wakes_at_the_very_end_of_a_session_opened_while_it_waits() {
        let store = Memory::new();
        let mut watch = store.watch("c/").await.unwrap();
        let waiting = tokio::spawn(async move {
            watch.next().await.unwrap();
            watch.next().await.unwrap();
            Instant::now()
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        let session = store.open_session(Duration::from_secs(5)).await.unwrap();
        let opened = Instant::now();
        store.txn(put("c/1", Some(session))).await.unwrap();
        assert_eq!(waiting.await.unwrap() - opened, Duration::from_secs(5));
        assert_eq!(store.range(Range::prefix("c/")).await.unwrap(), Vec::new());
        assert!(!store.keep_session(session).await.unwrap());
        assert_eq!(store.revision(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_of_the_simulated_server_gives_sessions_their_full_time_again() {
        let store = Memory::new();
        let session = store.open_session(Duration::from_millis(1_500)).await.unwrap();
        store.txn(put("c/1", Some(session))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1_900)).await;
        store.renew_sessions();
        tokio::time::sleep(Duration::from_millis(1_900)).await;
        assert_eq!(store.range(Range::key("c/1")).await.unwrap().len(), 1);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(store.range(Range::key("c/1")).await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_refused_put_under_an_ended_session_changes_nothing() {
        let store = Memory::new();
        let txn = Txn { then: [put("a", None).then, put("b", Some(SessionId(7))).then].concat(), ..Txn::default() };
        assert!(matches!(store.txn(txn).await, Err(Error::Invalid(_))));
        assert_eq!(store.range(Range::key("a")).await.unwrap(), Vec::new());
    }
}
