//! The engine over a disk that fails on demand: what was acknowledged is there afterwards, what was not is there
//! whole or not at all, and the store goes on by itself once the disk does.

#![allow(clippy::unwrap_used)]

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use super::super::file::builder;
use super::*;
use crate::port::Guard;

/// Bytes that outlive the database that has them open, as a file does; each write or sync may fail.
#[derive(Debug, Clone, Default)]
struct Platter {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// Writes and syncs done.
    done: Arc<AtomicU64>,
    /// They fail from this one on.
    fails_from: Arc<AtomicU64>,
    full: Arc<AtomicBool>,
    /// Bytes it may hold.
    capacity: Arc<AtomicU64>,
}

impl Platter {
    fn new() -> Self {
        let new = Self::default();
        new.heal();
        new.capacity.store(u64::MAX, Ordering::SeqCst);
        new
    }

    fn heal(&self) {
        self.fails_from.store(u64::MAX, Ordering::SeqCst);
    }

    /// Fails from the `after`th write or sync on.
    fn fail(&self, after: u64) {
        self.fails_from.store(self.done.load(Ordering::SeqCst) + after, Ordering::SeqCst);
    }

    fn step(&self) -> io::Result<()> {
        if self.done.fetch_add(1, Ordering::SeqCst) < self.fails_from.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(if self.full.load(Ordering::SeqCst) { io::ErrorKind::StorageFull.into() } else { io::Error::from_raw_os_error(5) })
    }
}

impl StorageBackend for Platter {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let bytes = self.bytes.lock().unwrap();
        out.copy_from_slice(bytes.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step()?;
        self.bytes.lock().unwrap().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.step()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step()?;
        let offset = usize::try_from(offset).unwrap();
        self.bytes.lock().unwrap()[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }
}

impl Medium for Platter {
    fn path(&self) -> &Path {
        Path::new("/disk/store.redb")
    }

    fn open(&self) -> Result<Database, Failure> {
        Ok(builder().create_with_backend(self.clone())?)
    }

    fn room(&self) -> Result<u64, Error> {
        Ok(self.capacity.load(Ordering::SeqCst).saturating_sub(self.bytes.lock().unwrap().len() as u64))
    }

    fn space(&self) -> Result<Space, Error> {
        Ok(Space::default())
    }
}

fn create(key: &str) -> Txn {
    let value = vec![7; 2_000].into();
    Txn { guards: vec![Guard::Absent(key.to_owned())], then: vec![Op::Put(key.to_owned(), value, None)], otherwise: vec![] }
}

fn keys(engine: &Engine) -> Vec<Key> {
    engine.range(&Range::prefix("k")).unwrap().into_iter().map(|pair| pair.key).collect()
}

/// One transaction fails at its `after`th write or sync; then the disk is well again.
fn fails_once(after: u64, full: bool) -> bool {
    let platter = Platter::new();
    let engine = Engine::open(Box::new(platter.clone())).unwrap();
    for number in 0..5 {
        engine.txn(&create(&format!("k{number}"))).unwrap();
    }
    platter.full.store(full, Ordering::SeqCst);
    platter.fail(after);
    let outcome = engine.txn(&create("k5"));
    platter.heal();
    match &outcome {
        Ok(outcome) => assert_eq!(*outcome, Outcome::Committed(7)),
        Err(Error::NoSpace(_)) => assert!(full),
        Err(Error::Unavailable(_)) => assert!(!full),
        Err(other) => assert!(matches!(other, Error::Unavailable(_)), "{other}"),
    }
    // What the caller does: read, and send again what is not there.
    let there = keys(&engine);
    assert_eq!(there[..5], ["k0", "k1", "k2", "k3", "k4"]);
    if there.len() == 5 {
        assert!(outcome.is_err(), "acknowledged and lost");
        assert_eq!(engine.txn(&create("k5")).unwrap(), Outcome::Committed(7));
    }
    drop(engine);
    let engine = Engine::open(Box::new(platter)).unwrap();
    assert_eq!(keys(&engine).len(), 6);
    assert_eq!(engine.txn(&create("k6")).unwrap(), Outcome::Committed(8));
    outcome.is_ok()
}

#[test]
fn a_commit_that_fails_at_any_write_or_sync_is_whole_or_not_there_and_the_store_goes_on() {
    for full in [false, true] {
        let spared = (0..100).position(|after| fails_once(after, full));
        let steps = spared.unwrap_or_default();
        assert!((5..100).contains(&steps), "a commit of {steps} writes and syncs");
    }
}

#[test]
fn while_the_disk_fails_every_call_says_so_and_none_panics() {
    let platter = Platter::new();
    let engine = Engine::open(Box::new(platter.clone())).unwrap();
    engine.txn(&create("k0")).unwrap();
    platter.fail(0);
    for _ in 0..3 {
        assert!(matches!(engine.txn(&create("k1")), Err(Error::Unavailable(_))));
        assert!(matches!(engine.range(&Range::prefix("k")), Err(Error::Unavailable(_))));
    }
    platter.heal();
    assert_eq!(keys(&engine), ["k0"]);
    engine.txn(&create("k1")).unwrap();
}

#[test]
fn a_session_outlives_a_failure_of_the_disk_and_its_end_can_be_asked_for_again() {
    let platter = Platter::new();
    let engine = Engine::open(Box::new(platter.clone())).unwrap();
    let session = engine.open_session();
    let under = Txn { then: vec![Op::Put("k0".to_owned(), "v".into(), Some(session))], ..Txn::default() };
    engine.txn(&under).unwrap();
    platter.fail(0);
    assert!(engine.txn(&create("k1")).is_err());
    platter.heal();
    assert_eq!(keys(&engine), ["k0"]);
    assert!(engine.has_session(session));
    platter.fail(3);
    assert!(engine.close_session(session).is_err());
    platter.heal();
    engine.close_session(session).unwrap();
    assert_eq!(keys(&engine), Vec::<Key>::new());
}

#[test]
fn puts_are_refused_before_the_disk_is_full_until_something_is_deleted() {
    let platter = Platter::new();
    let engine = Engine::open(Box::new(platter.clone())).unwrap();
    platter.capacity.store(RESERVE + 4 * 1024 * 1024, Ordering::SeqCst);
    let put = |number: usize| Txn { then: vec![Op::Put(format!("k{number}"), vec![7; 100_000].into(), None)], ..Txn::default() };
    let refused = (0..200).map(|number| engine.txn(&put(number))).find_map(Result::err).unwrap();
    assert!(matches!(refused, Error::NoSpace(_)), "{refused}");
    assert!(engine.space().unwrap().full);
    let there = keys(&engine).len();
    assert!(there > 10, "{there}");
    engine.txn(&Txn { then: vec![Op::DeleteRange("k".to_owned(), "l".to_owned())], ..Txn::default() }).unwrap();
    // The room it had taken on the disk is given back; that is not tried at once, for it did not help a moment ago.
    engine.shrinking.lock().unwrap().not_before = None;
    assert!(!engine.space().unwrap().full);
    engine.txn(&put(0)).unwrap();
    assert_eq!(keys(&engine), ["k0"]);
}

#[test]
fn a_disk_that_fails_while_the_file_is_shrunk_loses_nothing() {
    for after in 0..40 {
        let platter = Platter::new();
        let engine = Engine::open(Box::new(platter.clone())).unwrap();
        for number in 0..40 {
            engine.txn(&create(&format!("k{number:02}"))).unwrap();
        }
        engine.txn(&Txn { then: vec![Op::DeleteRange("k00".to_owned(), "k30".to_owned())], ..Txn::default() }).unwrap();
        platter.capacity.store(0, Ordering::SeqCst);
        platter.fail(after);
        assert!(engine.txn(&create("k99")).is_err());
        platter.heal();
        assert_eq!(keys(&engine).len(), 10, "after {after}");
        platter.capacity.store(u64::MAX, Ordering::SeqCst);
        engine.txn(&create("k99")).unwrap();
    }
}

#[test]
fn a_value_that_was_changed_in_place_is_named() {
    let platter = Platter::new();
    let engine = Engine::open(Box::new(platter)).unwrap();
    engine.txn(&create("k0")).unwrap();
    let changed = engine.with(|database| {
        let transaction = begin(database)?;
        transaction.open_table(PAIRS)?.insert(b"k0".as_slice(), [7; 40].as_slice())?;
        transaction.commit()?;
        Ok(())
    });
    changed.unwrap();
    let Err(Error::Damaged(text)) = engine.range(&Range::prefix("k")) else { unreachable!("it was read") };
    assert!(text.contains("k0") && text.contains("/disk/store.redb"), "{text}");
    assert!(matches!(engine.txn(&create("k0")), Err(Error::Damaged(_))), "a guard is not decided on it either");
    engine.txn(&Txn { then: vec![Op::Delete("k0".to_owned())], ..Txn::default() }).unwrap();
    engine.txn(&create("k0")).unwrap();
}

#[test]
fn a_file_of_a_newer_format_or_of_another_program_is_refused() {
    let platter = Platter::new();
    let engine = Engine::open(Box::new(platter.clone())).unwrap();
    let newer = engine.with(|database| {
        let transaction = begin(database)?;
        transaction.open_table(META)?.insert(STORE.as_bytes(), &*record::from_meta(STORE, FORMAT + 1, 9))?;
        transaction.commit()?;
        Ok(())
    });
    newer.unwrap();
    drop(engine);
    let Err(Error::Invalid(text)) = Engine::open(Box::new(platter)) else { unreachable!("it was opened") };
    assert!(text.contains("format 2") && text.contains("knows 1"), "{text}");

    let platter = Platter::new();
    let database = builder().create_with_backend(platter.clone()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u64, u64>::new("theirs")).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let Err(Error::Invalid(text)) = Engine::open(Box::new(platter)) else { unreachable!("it was opened") };
    assert!(text.contains("another program"), "{text}");
}
