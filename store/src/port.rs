//! The port: all that Penstock asks of a store. Small on purpose; fencing, sequence, checkpoints and election are
//! decided above it, once, and every backend passes the same conformance suite.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// Keys are text, ordered by bytes, built from parsed ids only.
pub type Key = String;

/// One stored pair. Revisions count committed transactions of the store and only rise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Key,
    /// Its value; empty where only keys were asked for.
    pub value: Bytes,
    /// The revision at which the key came to exist (again, after a deletion).
    pub created: u64,
    /// The revision of its last put.
    pub modified: u64,
}

/// What to read: keys in `[from, to)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// First key.
    pub from: Key,
    /// First key no longer read.
    pub to: Key,
    /// At most so many pairs; 0 means all.
    pub limit: usize,
    /// Without values.
    pub keys_only: bool,
    /// From the last key backwards.
    pub reverse: bool,
}

impl Range {
    /// Every key that starts with `prefix`, which is not empty and does not end in U+10FFFF.
    pub fn prefix(prefix: &str) -> Self {
        Self { from: prefix.to_owned(), to: prefix_end(prefix), limit: 0, keys_only: false, reverse: false }
    }
    /// One key.
    pub fn key(key: &str) -> Self {
        Self { from: key.to_owned(), to: format!("{key}\0"), limit: 1, keys_only: false, reverse: false }
    }
    /// From a key (inclusive) to the end of this range.
    pub fn starting_at(mut self, from: Key) -> Self {
        self.from = from;
        self
    }
    /// At most `limit` pairs.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
    /// Without values.
    pub fn keys_only(mut self) -> Self {
        self.keys_only = true;
        self
    }
    /// Last keys first.
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }
}

/// The first key after all that start with `prefix`: its last ASCII character raised by one.
pub fn prefix_end(prefix: &str) -> Key {
    let mut end = prefix.to_owned();
    match end.pop() {
        Some(last) => end.push(char::from_u32(last as u32 + 1).unwrap_or(char::MAX)),
        None => end.push(char::MAX),
    }
    end
}

/// What must hold for a transaction to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// The key exists and came to exist at this revision.
    CreatedAt(Key, u64),
    /// The key exists.
    Exists(Key),
    /// The key does not exist.
    Absent(Key),
}

/// What a transaction does. No key may be written twice in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes a key; with a session, it vanishes when that session ends.
    Put(Key, Bytes, Option<SessionId>),
    /// Deletes a key, if it exists.
    Delete(Key),
    /// Deletes keys in `[from, to)`.
    DeleteRange(Key, Key),
}

/// All guards hold: all operations are done, durably, at one revision. Else nothing is, and `otherwise` is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    /// What must hold.
    pub guards: Vec<Guard>,
    /// What is then done.
    pub then: Vec<Op>,
    /// Keys read if a guard fails, at the same revision.
    pub otherwise: Vec<Key>,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done, durably, at this revision.
    Committed(u64),
    /// A guard failed and nothing was done. The keys of `otherwise`, in their order.
    Refused(Vec<Option<KeyValue>>),
}

/// A session of the store: keys put under it vanish when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub i64);

/// Room in the store, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Size of its file.
    pub file: u64,
    /// Of that, in use.
    pub used: u64,
    /// The most it may take; 0 where the store does not tell.
    pub quota: u64,
    /// It refuses writes for want of space.
    pub full: bool,
}

/// What a store can answer besides the result. Each says who must act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not reachable, or no answer in time. A write may or may not have been done: read before sending it again.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// Refused for want of space. A write may or may not have been done.
    #[error("the store is full: {0}")]
    NoSpace(String),
    /// User, password, certificate or permission.
    #[error("the store refuses access: {0}")]
    Denied(String),
    /// The embedded file is held by another process.
    #[error("the store is in use: {0}")]
    InUse(String),
    /// What was read fails its checksum, or cannot be what this program wrote.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A request that can never work: too large, an address that is none.
    #[error("the store cannot do this: {0}")]
    Invalid(String),
}

/// Wakes a follower. It only wakes: what changed is read, never taken from the watch.
#[async_trait]
pub trait Wakes: Send {
    /// Returns when something under the prefix may have changed, or with an error when the watch has ended and must be opened again.
    async fn next(&mut self) -> Result<(), Error>;
}

/// A store. Every call has its deadline inside; none is repeated by itself (but for a refused auth token).
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads, linearizably, at one revision.
    async fn range(&self, range: Range) -> Result<Vec<KeyValue>, Error>;
    /// Commits, durably, or refuses, or says that it does not know.
    async fn txn(&self, txn: Txn) -> Result<Outcome, Error>;
    /// Wakes for changes under a prefix from now on: whatever commits after this call returns wakes.
    async fn watch(&self, prefix: &str) -> Result<Box<dyn Wakes>, Error>;
    /// Opens a session that ends by itself when it is not kept alive for `ttl` (whole seconds, at least 1).
    async fn open_session(&self, ttl: Duration) -> Result<SessionId, Error>;
    /// Keeps a session; `false`: it has ended, with its keys.
    async fn keep_session(&self, session: SessionId) -> Result<bool, Error>;
    /// Ends a session and deletes its keys.
    async fn close_session(&self, session: SessionId) -> Result<(), Error>;
    /// Room left.
    async fn space(&self) -> Result<Space, Error>;
    /// Lets the store forget versions of values that were replaced or deleted before `revision`.
    async fn compact(&self, revision: u64) -> Result<(), Error>;
    /// For messages: kind, version and address, such as `etcd 3.5.33 at h1:2379,h2:2379`.
    fn describe(&self) -> String;
}
