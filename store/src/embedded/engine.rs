//! The blocking half of the embedded store: one redb database, its transactions, and what happens when it fails.
//!
//! Nothing here is async; `embedded` decides what runs where. Every use of redb goes through [`Engine::with`]: an
//! error or a panic of redb closes the database, the next use opens and verifies it again. Whether a transaction that
//! ended so was committed is not known, as the port allows. Tested below with a failing disk, and by
//! `tests/embedded.rs`.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, Table as RedbTable, TableDefinition, WriteTransaction};

use super::failure::{Failure, RESTORE, from_panic, from_redb};
use super::file::{Medium, RESERVE};
use super::record;
use crate::apply::{self, Table};
use crate::port::{Error, Key, KeyValue, Op, Outcome, Range, SessionId, Space, Txn};
use crate::watchers::Watchers;

type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;
/// Pairs, as `record` lays them out.
const PAIRS: Bytes = TableDefinition::new("pairs");
/// Keys put under a session, and which.
const BOUND: TableDefinition<&[u8], i64> = TableDefinition::new("bound");
/// The store's own record.
const META: Bytes = TableDefinition::new("meta");
/// Where in [`META`] it lies.
const STORE: &str = "store";
/// What this program writes and reads; raised when the file's layout changes.
const FORMAT: u64 = 1;

/// One database.
pub(super) struct Engine {
    medium: Box<dyn Medium>,
    /// `None` after a failure, until the next use.
    database: RwLock<Option<Database>>,
    sessions: Mutex<Sessions>,
    shrinking: Mutex<Shrinking>,
    pub(super) watchers: Watchers,
}

/// Whether the file may be worth shrinking.
#[derive(Debug, Default)]
struct Shrinking {
    /// Something was deleted since it was last tried.
    deleted: bool,
    /// Not before then: the last time helped too little.
    not_before: Option<Instant>,
}

/// How long the file is not shrunk again after that helped too little.
const SHRINK_AGAIN: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Sessions {
    open: BTreeSet<SessionId>,
    last: i64,
}

impl Engine {
    /// Opens the database and ends the sessions of the process before.
    pub(super) fn open(medium: Box<dyn Medium>) -> Result<Self, Error> {
        let engine = Self {
            medium,
            database: RwLock::new(None),
            sessions: Mutex::default(),
            // A process before may have deleted.
            shrinking: Mutex::new(Shrinking { deleted: true, not_before: None }),
            watchers: Watchers::default(),
        };
        engine.with(initialise)?;
        engine.unbind(|_| true)?;
        Ok(engine)
    }

    pub(super) fn medium(&self) -> &dyn Medium {
        &*self.medium
    }

    /// A use would not have to open it, or to wait for another one, first.
    pub(super) fn is_open(&self) -> bool {
        self.database.try_read().is_ok_and(|database| database.is_some())
    }

    /// Does something with the database, opening it first where the last use failed.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, Error> {
        let path = self.medium.path();
        let mut shared = self.database.read().unwrap_or_else(PoisonError::into_inner);
        if shared.is_none() {
            drop(shared);
            let mut alone = self.database.write().unwrap_or_else(PoisonError::into_inner);
            if alone.is_none() {
                let opened = catch_unwind(AssertUnwindSafe(|| self.medium.open()));
                *alone = Some(opened.unwrap_or_else(|panic| Err(from_panic(path, &*panic).into())).map_err(|failure| said(path, failure))?);
            }
            drop(alone);
            shared = self.database.read().unwrap_or_else(PoisonError::into_inner);
        }
        let Some(database) = &*shared else {
            return Err(Error::Unavailable(format!("{} failed again and is opened at the next call", path.display())));
        };
        let error = match catch_unwind(AssertUnwindSafe(|| work(database))) {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(Failure::Said(error))) => return Err(error),
            Ok(Err(Failure::Broken(error))) => from_redb(path, &error),
            Err(panic) => from_panic(path, &*panic),
        };
        drop(shared);
        give_up(&mut self.database.write().unwrap_or_else(PoisonError::into_inner));
        Err(error)
    }

    /// Room for puts, after the file was shrunk if that may give some: redb keeps what it no longer uses.
    fn room(&self) -> Result<u64, Error> {
        let room = self.medium.room()?;
        let mut shrinking = self.shrinking.lock().unwrap_or_else(PoisonError::into_inner);
        if room >= RESERVE || !shrinking.deleted || shrinking.not_before.is_some_and(|then| Instant::now() < then) {
            return Ok(room);
        }
        shrinking.deleted = false;
        self.shrink()?;
        let room = self.medium.room()?;
        shrinking.not_before = (room < RESERVE).then(|| Instant::now() + SHRINK_AGAIN);
        Ok(room)
    }

    /// Its size, and whether puts are refused now.
    pub(super) fn space(&self) -> Result<Space, Error> {
        let full = self.room()? < RESERVE;
        Ok(Space { full, ..self.medium.space()? })
    }

    fn shrink(&self) -> Result<(), Error> {
        let path = self.medium.path();
        let mut alone = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = alone.as_mut() else { return Ok(()) };
        let error = match catch_unwind(AssertUnwindSafe(|| database.compact())) {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => from_redb(path, &error.into()),
            Err(panic) => from_panic(path, &*panic),
        };
        give_up(&mut alone);
        Err(error)
    }

    /// Reads, at one revision.
    pub(super) fn range(&self, range: &Range) -> Result<Vec<KeyValue>, Error> {
        if range.from >= range.to {
            return Ok(Vec::new());
        }
        self.with(|database| {
            let pairs = database.begin_read()?.open_table(PAIRS)?;
            let mut found = ReadableTable::range::<&[u8]>(&pairs, range.from.as_bytes()..range.to.as_bytes())?;
            let mut read = Vec::new();
            while range.limit == 0 || read.len() < range.limit {
                let Some(pair) = (if range.reverse { found.next_back() } else { found.next() }) else { break };
                let (key, value) = pair?;
                read.push(self.pair(key.value(), value.value(), range.keys_only)?);
            }
            Ok(read)
        })
    }

    fn pair(&self, key: &[u8], value: &[u8], keys_only: bool) -> Result<KeyValue, Failure> {
        Ok(record::to_pair(key, value, keys_only).ok_or_else(|| {
            Error::Damaged(format!(
                "{}: the value of {} fails its checksum; {RESTORE}",
                self.medium.path().display(),
                String::from_utf8_lossy(key)
            ))
        })?)
    }

    /// Commits or refuses a transaction, and wakes watchers.
    pub(super) fn txn(&self, txn: &Txn) -> Result<Outcome, Error> {
        apply::check(txn)?;
        let puts = txn.then.iter().any(|op| matches!(op, Op::Put(..)));
        let room = if puts { self.room()? } else { self.medium.room()? };
        if puts && room < RESERVE {
            return Err(Error::NoSpace(format!(
                "{} MiB are left on the disk of {} and {} MiB are kept back for deletions, which go on; free some space",
                room >> 20,
                self.medium.path().display(),
                RESERVE >> 20
            )));
        }
        let outcome = self.write(|tables| apply::apply(tables, txn));
        if txn.then.iter().any(|op| !matches!(op, Op::Put(..))) {
            self.shrinking.lock().unwrap_or_else(PoisonError::into_inner).deleted = true;
        }
        outcome
    }

    fn write(&self, work: impl FnOnce(&mut Tables<'_>) -> Result<(Outcome, Vec<Key>), Failure>) -> Result<Outcome, Error> {
        let done = self.with(|database| {
            let transaction = begin(database)?;
            let mut tables = Tables::open(self, &transaction)?;
            let (outcome, changed) = work(&mut tables)?;
            let revision = tables.revision + 1;
            drop(tables);
            if changed.is_empty() {
                transaction.abort()?;
            } else {
                write_meta(&transaction, revision)?;
                transaction.commit()?;
            }
            Ok((outcome, changed))
        });
        match done {
            Ok((outcome, changed)) => {
                self.watchers.wake(&changed);
                Ok(outcome)
            }
            Err(error) => {
                self.watchers.wake_all();
                Err(error)
            }
        }
    }

    /// A new session.
    pub(super) fn open_session(&self) -> SessionId {
        let mut sessions = self.sessions();
        sessions.last += 1;
        let id = SessionId(sessions.last);
        sessions.open.insert(id);
        id
    }

    /// The session is open.
    pub(super) fn has_session(&self, session: SessionId) -> bool {
        self.sessions().open.contains(&session)
    }

    /// Ends a session and deletes its keys. May be called again if it fails.
    pub(super) fn close_session(&self, session: SessionId) -> Result<(), Error> {
        // First: a put that comes later is refused, one that came earlier is found.
        self.sessions().open.remove(&session);
        self.unbind(|bound| bound == session.0)
    }

    /// Deletes the keys bound to sessions that `ended`.
    fn unbind(&self, ended: impl Fn(i64) -> bool) -> Result<(), Error> {
        self.write(|tables| {
            let mut keys = Vec::new();
            for entry in tables.bound.iter()? {
                let (key, session) = entry?;
                if ended(session.value()) {
                    keys.push(self.text(key.value())?);
                }
            }
            for key in &keys {
                tables.delete(key)?;
            }
            Ok((Outcome::Committed(tables.revision), keys))
        })
        .map(|_| ())
    }

    fn text(&self, key: &[u8]) -> Result<Key, Error> {
        std::str::from_utf8(key)
            .map(str::to_owned)
            .map_err(|_| Error::Damaged(format!("{}: a key is no text; {RESTORE}", self.medium.path().display())))
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        give_up(self.database.get_mut().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Closes a database that failed. That may fail or panic too; it is given up either way.
fn give_up(database: &mut Option<Database>) {
    let broken = database.take();
    let _ = catch_unwind(AssertUnwindSafe(|| drop(broken)));
}

fn said(path: &std::path::Path, failure: Failure) -> Error {
    match failure {
        Failure::Said(error) => error,
        Failure::Broken(error) => from_redb(path, &error),
    }
}

/// A write transaction that is on the disk when its commit returns, in two phases: a commit that was cut short is
/// never taken for one.
fn begin(database: &Database) -> Result<WriteTransaction, Failure> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

/// Makes the tables in a new file; refuses one that another program, or a newer version, wrote.
fn initialise(database: &Database) -> Result<(), Failure> {
    let transaction = begin(database)?;
    if transaction.list_tables()?.next().is_none() {
        transaction.open_table(PAIRS)?;
        transaction.open_table(BOUND)?;
        write_meta(&transaction, 1)?;
        transaction.commit()?;
    } else {
        read_meta(&transaction)?;
        transaction.abort()?;
    }
    Ok(())
}

fn write_meta(transaction: &WriteTransaction, revision: u64) -> Result<(), Failure> {
    transaction.open_table(META)?.insert(STORE.as_bytes(), &*record::from_meta(STORE, FORMAT, revision))?;
    Ok(())
}

fn read_meta(transaction: &WriteTransaction) -> Result<u64, Failure> {
    if !transaction.list_tables()?.any(|table| redb::TableHandle::name(&table) == redb::TableHandle::name(&META)) {
        return Err(Error::Invalid("the file is a redb database of another program; use another path".to_owned()).into());
    }
    let meta = transaction.open_table(META)?;
    let found = meta.get(STORE.as_bytes())?.and_then(|found| record::to_meta(STORE, found.value()));
    match found {
        Some((FORMAT, revision)) => Ok(revision),
        Some((format, _)) => Err(Error::Invalid(format!(
            "the file is of format {format}, this program knows {FORMAT}; use the version of Penstock that wrote it, or a newer one"
        ))
        .into()),
        None => Err(Error::Damaged(format!("the file's own record fails its checksum; {RESTORE}")).into()),
    }
}

/// The tables of one write transaction.
struct Tables<'t> {
    engine: &'t Engine,
    pairs: RedbTable<'t, &'static [u8], &'static [u8]>,
    bound: RedbTable<'t, &'static [u8], i64>,
    revision: u64,
}

impl<'t> Tables<'t> {
    fn open(engine: &'t Engine, transaction: &'t WriteTransaction) -> Result<Self, Failure> {
        let revision = read_meta(transaction)?;
        Ok(Self { engine, pairs: transaction.open_table(PAIRS)?, bound: transaction.open_table(BOUND)?, revision })
    }
}

impl Table for Tables<'_> {
    type Failure = Failure;

    fn revision(&self) -> u64 {
        self.revision
    }

    fn get(&self, key: &str) -> Result<Option<KeyValue>, Failure> {
        let found = self.pairs.get(key.as_bytes())?;
        found.map(|value| self.engine.pair(key.as_bytes(), value.value(), false)).transpose()
    }

    fn is_open(&self, session: SessionId) -> bool {
        self.engine.has_session(session)
    }

    fn put(&mut self, pair: KeyValue, session: Option<SessionId>) -> Result<(), Failure> {
        self.pairs.insert(pair.key.as_bytes(), &*record::from_pair(&pair))?;
        match session {
            Some(session) => self.bound.insert(pair.key.as_bytes(), session.0)?,
            None => self.bound.remove(pair.key.as_bytes())?,
        };
        Ok(())
    }

    fn delete(&mut self, key: &str) -> Result<bool, Failure> {
        self.bound.remove(key.as_bytes())?;
        Ok(self.pairs.remove(key.as_bytes())?.is_some())
    }

    fn keys(&self, from: &str, to: &str) -> Result<Vec<Key>, Failure> {
        if from >= to {
            return Ok(Vec::new());
        }
        let found = self.pairs.range::<&[u8]>((Bound::Included(from.as_bytes()), Bound::Excluded(to.as_bytes())))?;
        found.map(|pair| Ok(self.engine.text(pair?.0.value())?)).collect()
    }
}

#[cfg(test)]
mod tests;
