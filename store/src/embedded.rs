//! The store in one file of this machine, on redb: for one coordinator without etcd.
//!
//! One process at a time; what a commit acknowledged survives a power cut (two-phase commit, fsync before the answer);
//! every value carries a checksum of our own beside redb's. Sessions live in the process: they do not expire, and the
//! keys of a former process's sessions are deleted at open. Not here: what a transaction means (`apply`), the
//! blocking work (`engine`), the file (`file`), the bytes (`record`). Tested by the conformance suite,
//! `tests/embedded.rs` and the unit tests beside `engine`.

mod engine;
mod failure;
mod file;
mod record;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, Notify};

use self::engine::Engine;
use self::file::Disk;
use crate::port::{Error, KeyValue, Outcome, Range, SessionId, Space, Store, Txn, Wakes};

/// How long a call waits for the disk.
const DEADLINE: Duration = Duration::from_secs(10);
/// Ranges of at most so many pairs are read on the calling thread: handing them over takes longer.
const READ_HERE: usize = 64;

/// A store in one file.
pub struct Embedded {
    engine: Arc<Engine>,
    /// Held by the writer, so that others wait as futures and not as threads.
    writer: Arc<Mutex<()>>,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").field("path", &self.engine.medium().path()).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the file, or makes it and its directories. Blocks while every page of it is verified.
    ///
    /// # Errors
    /// [`Error::InUse`]: another process has it open. [`Error::Damaged`], [`Error::Invalid`], [`Error::Denied`],
    /// [`Error::NoSpace`]: as the message says; nothing was changed.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Engine::open(Box::new(Disk::new(path))).map(|engine| Self { engine: Arc::new(engine), writer: Arc::default() })
    }

    /// Runs blocking work on a thread of its own. If the caller goes away, the work is still done.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
        let engine = Arc::clone(&self.engine);
        let ended = tokio::time::timeout(DEADLINE, tokio::task::spawn_blocking(move || work(&engine))).await;
        match ended {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => Err(Error::Unavailable(format!("the work was given up: {error}"))),
            Err(_) => Err(self.late()),
        }
    }

    async fn write<T: Send + 'static>(&self, work: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
        let turn = tokio::time::timeout(DEADLINE, Arc::clone(&self.writer).lock_owned()).await.map_err(|_| self.late())?;
        self.blocking(move |engine| {
            let done = work(engine);
            drop(turn);
            done
        })
        .await
    }

    fn late(&self) -> Error {
        let path = self.engine.medium().path().display();
        Error::Unavailable(format!("the disk of {path} has not answered for {} s", DEADLINE.as_secs()))
    }
}

#[async_trait]
impl Store for Embedded {
    async fn range(&self, range: Range) -> Result<Vec<KeyValue>, Error> {
        if range.limit > 0 && range.limit <= READ_HERE && self.engine.is_open() {
            return self.engine.range(&range);
        }
        self.blocking(move |engine| engine.range(&range)).await
    }

    async fn txn(&self, txn: Txn) -> Result<Outcome, Error> {
        self.write(move |engine| engine.txn(&txn)).await
    }

    async fn watch(&self, prefix: &str) -> Result<Box<dyn Wakes>, Error> {
        Ok(Box::new(Watch(self.engine.watchers.add(prefix))))
    }

    async fn open_session(&self, _ttl: Duration) -> Result<SessionId, Error> {
        Ok(self.engine.open_session())
    }

    async fn keep_session(&self, session: SessionId) -> Result<bool, Error> {
        Ok(self.engine.has_session(session))
    }

    async fn close_session(&self, session: SessionId) -> Result<(), Error> {
        self.write(move |engine| engine.close_session(session)).await
    }

    async fn space(&self) -> Result<Space, Error> {
        self.write(Engine::space).await
    }

    async fn compact(&self, _revision: u64) -> Result<(), Error> {
        Ok(())
    }

    fn describe(&self) -> String {
        format!("embedded file {}", self.engine.medium().path().display())
    }
}

struct Watch(Arc<Notify>);

#[async_trait]
impl Wakes for Watch {
    async fn next(&mut self) -> Result<(), Error> {
        self.0.notified().await;
        Ok(())
    }
}
