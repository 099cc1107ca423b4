//! Fenced writes: every mutating transaction carries the epoch that leads at its revision (invariant L2).
//!
//! An epoch is a candidate key and the revision at which it was created. The store mints that revision when the key is
//! put; every write of the term compares it; it is cleared when the key is deleted or its session ends. A leader
//! that was deposed and does not know it is refused by the store itself.

use std::sync::Arc;

use crate::port::{Error, Guard, Key, Op, Outcome, Store, Txn};

/// The right to write as one term.
#[derive(Clone)]
pub struct Fenced {
    store: Arc<dyn Store>,
    candidate: Key,
    created: u64,
}

/// Why a fenced write was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FencedError {
    /// Another term leads: drop everything.
    #[error("this coordinator leads no longer: its candidate key is gone")]
    Deposed,
    /// The store's own trouble.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Fenced {
    /// The term of a candidate key created at a revision.
    pub fn new(store: Arc<dyn Store>, candidate: Key, created: u64) -> Self {
        Self { store, candidate, created }
    }

    /// The guard that every write of this term carries.
    pub fn guard(&self) -> Guard {
        Guard::CreatedAt(self.candidate.clone(), self.created)
    }

    /// The candidate key.
    pub fn candidate(&self) -> &Key {
        &self.candidate
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Writes. Repeating these operations must be harmless, since an unknown outcome is the caller's to repeat.
    pub async fn write(&self, then: Vec<Op>) -> Result<u64, FencedError> {
        let txn = Txn { guards: vec![self.guard()], then, otherwise: Vec::new() };
        match self.store.txn(txn).await? {
            Outcome::Committed(revision) => Ok(revision),
            Outcome::Refused(_) => Err(FencedError::Deposed),
        }
    }

    /// Writes what may be too much for one transaction, in order, in transactions of bounded size.
    pub async fn write_all(&self, ops: Vec<Op>) -> Result<(), FencedError> {
        use penstock_common::limits::{MAX_TXN_BYTES, MAX_TXN_OPS};
        let mut batch = Vec::new();
        let mut bytes = 0;
        for op in ops {
            let size = match &op {
                Op::Put(key, value, _) => key.len() + value.len(),
                Op::Delete(key) => key.len(),
                Op::DeleteRange(from, to) => from.len() + to.len(),
            };
            if !batch.is_empty() && (batch.len() >= MAX_TXN_OPS || bytes + size > MAX_TXN_BYTES) {
                self.write(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            bytes += size;
            batch.push(op);
        }
        if batch.is_empty() { Ok(()) } else { self.write(batch).await.map(|_| ()) }
    }
}
