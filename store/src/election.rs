//! Election: the lowest candidate key, by create revision, leads; each waiter waits for those before it.
//!
//! A candidate key is created at start-up under the coordinator's store session, never at failover, since a full store
//! refuses new sessions. Losing the session loses the key, and with it leadership: the store refuses what a deposed leader writes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use penstock_common::NodeName;
use penstock_common::limits::COORDINATOR_SESSION_S;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::fenced::Fenced;
use crate::keys::Keys;
use crate::port::{Error, Guard, KeyValue, Op, Outcome, Range, SessionId, Store, Txn};

/// A coordinator's standing as a candidate.
pub struct Candidacy {
    store: Arc<dyn Store>,
    keys: Keys,
    session: SessionId,
    key: String,
    created: u64,
    valid_until: watch::Receiver<Option<Instant>>,
    keeper: tokio::task::JoinHandle<()>,
}

/// A candidate as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its key.
    pub key: String,
    /// The revision that becomes its epoch.
    pub created: u64,
    /// What it says of itself.
    pub value: Bytes,
}

const TTL: Duration = Duration::from_secs(COORDINATOR_SESSION_S as u64);

impl Candidacy {
    /// Opens a session and stands. `value` tells others who this is.
    pub async fn stand(store: Arc<dyn Store>, keys: Keys, node: &NodeName, value: Bytes) -> Result<Self, Error> {
        let asked = Instant::now();
        let session = store.open_session(TTL).await?;
        let key = keys.candidate(node, &format!("{:016x}", session.0));
        let txn = Txn {
            guards: vec![Guard::Absent(key.clone())],
            then: vec![Op::Put(key.clone(), value, Some(session))],
            otherwise: vec![key.clone()],
        };
        let created = match store.txn(txn).await {
            Ok(Outcome::Committed(revision)) => revision,
            Ok(Outcome::Refused(found)) => found.into_iter().flatten().next().map_or(0, |kv| kv.created),
            Err(error) => {
                let _ = store.close_session(session).await;
                return Err(error);
            }
        };
        let (sender, valid_until) = watch::channel(Some(asked + TTL));
        let keeper = tokio::spawn(keep(store.clone(), session, sender));
        Ok(Self { store, keys, session, key, created, valid_until, keeper })
    }

    /// The revision at which this candidate's key was created: its epoch, once it leads.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// This candidate's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The right to write, which the store honours only while the key stands.
    pub fn fenced(&self) -> Fenced {
        Fenced::new(self.store.clone(), self.key.clone(), self.created)
    }

    /// Until when the session is surely alive, counted from the *sending* of the last answered keepalive; `None` once it is known to be over.
    pub fn valid_until(&self) -> Option<Instant> {
        *self.valid_until.borrow()
    }

    /// The same, for others to look at and to wait on.
    pub fn validity(&self) -> watch::Receiver<Option<Instant>> {
        self.valid_until.clone()
    }

    /// Every candidate, the leader first.
    pub async fn candidates(&self) -> Result<Vec<Candidate>, Error> {
        candidates(&*self.store, &self.keys).await
    }

    /// Gives up: deletes the key with a compare, then ends the session. Used for a handover and after being deposed.
    pub async fn withdraw(self) -> Result<(), Error> {
        self.keeper.abort();
        let txn = Txn {
            guards: vec![Guard::CreatedAt(self.key.clone(), self.created)],
            then: vec![Op::Delete(self.key.clone())],
            otherwise: Vec::new(),
        };
        self.store.txn(txn).await?;
        self.store.close_session(self.session).await
    }
}

impl Drop for Candidacy {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Every candidate, the leader first.
pub async fn candidates(store: &dyn Store, keys: &Keys) -> Result<Vec<Candidate>, Error> {
    let found = store.range(Range::prefix(&keys.candidates())).await?;
    let mut all: Vec<_> = found.into_iter().map(|KeyValue { key, value, created, .. }| Candidate { key, created, value }).collect();
    all.sort_by_key(|c| c.created);
    Ok(all)
}

/// Deletes a candidate key that belongs to a process known to be gone, if it still is the one that was seen.
pub async fn remove(store: &dyn Store, candidate: &Candidate) -> Result<bool, Error> {
    let txn = Txn {
        guards: vec![Guard::CreatedAt(candidate.key.clone(), candidate.created)],
        then: vec![Op::Delete(candidate.key.clone())],
        otherwise: Vec::new(),
    };
    Ok(matches!(store.txn(txn).await?, Outcome::Committed(_)))
}

/// Keeps a session alive at a fifth of its time, and tells until when it surely is.
async fn keep(store: Arc<dyn Store>, session: SessionId, valid_until: watch::Sender<Option<Instant>>) {
    loop {
        tokio::time::sleep(TTL / 5).await;
        let sent = Instant::now();
        match store.keep_session(session).await {
            Ok(true) => {
                valid_until.send_replace(Some(sent + TTL));
            }
            Ok(false) => {
                valid_until.send_replace(None);
                return;
            }
            Err(error) => tracing::warn!(%error, "the store did not answer a keepalive"),
        }
    }
}
