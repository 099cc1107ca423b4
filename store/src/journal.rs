//! The journal: entries `journal/<seq>`, each appended by one fenced, create-only transaction, one in flight.
//!
//! `if the candidate key is ours and journal/<seq-1> exists and journal/<seq> does not, then put journal/<seq>, else read it`.
//! The last entry is never trimmed, so the pair pins the journal's end and a writer stuck in the past cannot fork it (L3).
//! A timeout is unknown: read; ours is committed; absent, the same bytes are sent again. This module knows entries as bytes;
//! what is in them is the coordinator's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use penstock_common::Seq;
use tokio::time::Instant;

use crate::fenced::{Fenced, FencedError};
use crate::keys::Keys;
use crate::port::{Error, Guard, KeyValue, Op, Outcome, Range, Store, Txn};

/// Reading and appending entries.
#[derive(Clone)]
pub struct Journal {
    store: Arc<dyn Store>,
    keys: Keys,
}

/// Entries read in one call.
pub const PAGE: usize = 16;

impl Journal {
    /// The journal below these keys.
    pub fn new(store: Arc<dyn Store>, keys: Keys) -> Self {
        Self { store, keys }
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// `meta`, and the journal's first entry if it is created now: both at once, and once. Returns what stands there.
    pub async fn create(&self, meta: Bytes, entry: Bytes) -> Result<Bytes, Error> {
        let txn = Txn {
            guards: vec![Guard::Absent(self.keys.meta())],
            then: vec![Op::Put(self.keys.meta(), meta.clone(), None), Op::Put(self.keys.entry(Seq(0)), entry, None)],
            otherwise: vec![self.keys.meta()],
        };
        match self.store.txn(txn).await? {
            Outcome::Committed(_) => Ok(meta),
            Outcome::Refused(found) => match found.into_iter().flatten().next() {
                Some(found) => Ok(found.value),
                None => Err(Error::Unavailable("meta was deleted while it was read".to_owned())),
            },
        }
    }

    /// The cluster's `meta`, if there is one.
    pub async fn meta(&self) -> Result<Option<Bytes>, Error> {
        Ok(self.store.range(Range::key(&self.keys.meta())).await?.pop().map(|kv| kv.value))
    }

    /// Some entries from `from` on, in order; fewer than [`PAGE`] at the journal's end. `None`: entries from `from` on were trimmed.
    pub async fn read(&self, from: Seq) -> Result<Option<Vec<(Seq, Bytes)>>, Error> {
        let range = Range::prefix(&self.keys.journal()).starting_at(self.keys.entry(from)).limit(PAGE);
        let mut entries = Vec::new();
        for kv in self.store.range(range).await? {
            let seq = self.keys.seq_of(&kv.key).ok_or_else(|| Error::Damaged(format!("{} is no journal key", kv.key)))?;
            if seq.0 != from.0 + entries.len() as u64 {
                return Ok(None);
            }
            entries.push((seq, kv.value));
        }
        Ok(Some(entries))
    }

    /// The first entry that is still there.
    pub async fn first(&self) -> Result<Option<Seq>, Error> {
        let first = self.store.range(Range::prefix(&self.keys.journal()).limit(1).keys_only()).await?;
        Ok(first.first().and_then(|kv| self.keys.seq_of(&kv.key)))
    }

    /// Appends an entry, and returns once that is known. An error means that leadership is over: the outcome is for the next
    /// leader to find.
    pub async fn append(&self, fenced: &Fenced, seq: Seq, entry: Bytes, give_up: Duration) -> Result<u64, FencedError> {
        let deadline = Instant::now() + give_up;
        let key = self.keys.entry(seq);
        let txn = Txn {
            guards: vec![fenced.guard(), Guard::Exists(self.keys.entry(Seq(seq.0 - 1))), Guard::Absent(key.clone())],
            then: vec![Op::Put(key.clone(), entry.clone(), None)],
            otherwise: vec![key.clone(), fenced.candidate().clone()],
        };
        loop {
            let trouble = match self.store.txn(txn.clone()).await {
                Ok(Outcome::Committed(revision)) => return Ok(revision),
                Ok(Outcome::Refused(found)) => return self.ours(fenced, &entry, found).ok_or(FencedError::Deposed),
                Err(error @ (Error::Unavailable(_) | Error::NoSpace(_))) => error,
                Err(other) => return Err(other.into()),
            };
            // A full store may have room again: there is no hurry while the session lives, and nothing else can be done.
            let full = matches!(trouble, Error::NoSpace(_));
            if !full && Instant::now() >= deadline {
                return Err(trouble.into());
            }
            // Whoever watches the store's room says that it is full, once; this would say it every second.
            if full {
                tracing::debug!(seq = seq.0, %trouble, "append: asking again");
            } else {
                tracing::warn!(seq = seq.0, %trouble, "append: outcome unknown, asking again");
            }
            // The same bytes again are refused if they are there already, and then found to be ours. The pause only spares the store.
            tokio::time::sleep(Duration::from_millis(if full { 1_000 } else { 100 })).await;
        }
    }

    /// Our own entry is there although a guard failed: an earlier try of these bytes was committed.
    fn ours(&self, fenced: &Fenced, entry: &Bytes, found: Vec<Option<KeyValue>>) -> Option<u64> {
        let mut found = found.into_iter();
        let there = found.next().flatten()?;
        let candidate = found.next().flatten()?;
        let leads = fenced.guard() == Guard::CreatedAt(candidate.key, candidate.created);
        (leads && there.value == *entry).then_some(there.modified)
    }

    /// Trims entries before `keep`, which must not be behind the checkpoint. Bounded work: returns whether more is left.
    pub async fn trim(&self, fenced: &Fenced, keep: Seq) -> Result<bool, FencedError> {
        const STEP: u64 = 10_000;
        let Some(first) = self.first().await? else { return Ok(false) };
        if first >= keep {
            return Ok(false);
        }
        let to = keep.0.min(first.0.saturating_add(STEP));
        fenced.write(vec![Op::DeleteRange(self.keys.entry(first), self.keys.entry(Seq(to)))]).await?;
        Ok(to < keep.0)
    }
}
