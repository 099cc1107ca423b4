//! The embedded store on a real disk: processes, crashes, damage and what it says about them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use penstock_store::{Embedded, Error, Guard, KeyValue, Op, Outcome, Range, Store, Txn};

fn create(key: &str, value: &str) -> Txn {
    Txn {
        guards: vec![Guard::Absent(key.to_owned())],
        then: vec![Op::Put(key.to_owned(), value.as_bytes().to_vec().into(), None)],
        otherwise: vec![key.to_owned()],
    }
}

async fn all(store: &Embedded) -> Result<Vec<KeyValue>, Error> {
    store.range(Range::prefix("k")).await
}

fn message(result: Result<Embedded, Error>) -> (Error, String) {
    let error = result.expect_err("is refused");
    let text = error.to_string();
    assert!(!text.contains('\n'), "one line: {text}");
    (error, text)
}

#[tokio::test]
async fn what_was_committed_is_there_after_drop_and_open_with_its_revisions() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/on/the/way/store.redb");
    let store = Embedded::open(&path).unwrap();
    let before = {
        for number in 0..20 {
            store.txn(create(&format!("k{number:02}"), "value")).await.unwrap();
        }
        store.txn(Txn { then: vec![Op::Delete("k03".to_owned())], ..Txn::default() }).await.unwrap();
        all(&store).await.unwrap()
    };
    drop(store);
    let store = Embedded::open(&path).unwrap();
    assert_eq!(all(&store).await.unwrap(), before);
    assert_eq!(store.txn(create("k03", "again")).await.unwrap(), Outcome::Committed(23));
}

#[tokio::test]
async fn keys_of_a_former_process_s_sessions_are_gone_at_open_in_one_revision() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = Embedded::open(&path).unwrap();
    let session = store.open_session(Duration::from_secs(5)).await.unwrap();
    let puts = ["k1", "k2"].map(|key| Op::Put(key.to_owned(), "v".into(), Some(session)));
    store.txn(Txn { then: puts.to_vec(), ..Txn::default() }).await.unwrap();
    store.txn(create("k3", "stays")).await.unwrap();
    drop(store);
    let store = Embedded::open(&path).unwrap();
    assert_eq!(all(&store).await.unwrap().iter().map(|pair| &pair.key).collect::<Vec<_>>(), ["k3"]);
    assert!(!store.keep_session(session).await.unwrap());
    assert_eq!(store.txn(create("k4", "")).await.unwrap(), Outcome::Committed(5));
    drop(store);
    let store = Embedded::open(&path).unwrap();
    assert_eq!(store.txn(create("k5", "")).await.unwrap(), Outcome::Committed(6), "an open that deletes nothing is no revision");
}

/// Set for the process that [`a_second_process_is_told_who_holds_the_file_and_a_killed_one_lets_go`] starts.
const CHILD: &str = "PENSTOCK_TEST_HOLD_STORE";

/// No test of its own: the other process of the next one. It writes until it is killed.
#[test]
fn holds_the_store_when_asked_to() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Embedded::open(Path::new(&path)).unwrap();
        for number in 0_u64.. {
            store.txn(create(&format!("k{number:06}"), &"v".repeat(3_000))).await.unwrap();
            fs::write(Path::new(&path).with_extension("acked"), number.to_string()).unwrap();
        }
    });
}

#[tokio::test]
async fn a_second_process_is_told_who_holds_the_file_and_a_killed_one_lets_go() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    for round in 0..3 {
        let _ = fs::remove_file(path.with_extension("acked"));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "holds_the_store_when_asked_to", "--nocapture"])
            .env(CHILD, &path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let since = Instant::now();
        while fs::read_to_string(path.with_extension("acked")).unwrap_or_default().is_empty() {
            assert!(since.elapsed() < Duration::from_secs(30), "the other process does not write");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (error, text) = message(Embedded::open(&path));
        assert!(matches!(error, Error::InUse(_)), "{error:?}");
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        tokio::time::sleep(Duration::from_millis(50 * round)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let acked: usize = fs::read_to_string(path.with_extension("acked")).unwrap().parse().unwrap_or_default();
        let store = Embedded::open(&path).unwrap();
        let pairs = all(&store).await.unwrap();
        assert!(pairs.len() > acked, "{acked} was acknowledged, {} are there", pairs.len());
        assert!(pairs.iter().enumerate().all(|(place, pair)| pair.created == place as u64 + 2 && pair.value.len() == 3_000));
        store.txn(Txn { then: vec![Op::DeleteRange("k".to_owned(), "l".to_owned())], ..Txn::default() }).await.unwrap();
        drop(store);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_second_open_in_this_process_is_refused_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = Embedded::open(&path).unwrap();
    assert!(matches!(message(Embedded::open(&path)).0, Error::InUse(_)));
    drop(store);
    Embedded::open(&path).unwrap();
}

#[test]
fn a_path_that_cannot_be_a_store_is_refused_by_name_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    for (path, wanted) in [
        (directory.path().to_owned(), "name a file"),
        (file("text", b"not a store at all, but long enough to be one").join("below"), "name a file"),
        (file("text", b"not a store at all, but long enough to be one"), "is no store of Penstock"),
        (file("short", b"x"), "is no store of Penstock"),
        (file("zeros", &[0; 100_000]), "is no store of Penstock"),
        (file("empty", b""), "is empty"),
    ] {
        let (error, text) = message(Embedded::open(&path));
        assert!(matches!(error, Error::Invalid(_) | Error::Damaged(_)), "{error:?}");
        assert!(text.contains(wanted) && text.contains(directory.path().to_str().unwrap()), "{text}");
    }
    assert_eq!(fs::read(directory.path().join("text")).unwrap(), b"not a store at all, but long enough to be one");
}

#[test]
fn a_file_or_directory_that_may_not_be_written_is_refused_as_denied() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    drop(Embedded::open(&path).unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    if OpenOptions::new().write(true).open(&path).is_ok() {
        // The superuser may write it anyway; the kernel's own files it may not.
        assert!(matches!(message(Embedded::open(Path::new("/proc/version"))).0, Error::Denied(_) | Error::Invalid(_) | Error::Damaged(_)));
        return;
    }
    assert!(matches!(message(Embedded::open(&path)).0, Error::Denied(_)));
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o555)).unwrap();
    assert!(matches!(message(Embedded::open(&directory.path().join("new.redb"))).0, Error::Denied(_)));
}

#[tokio::test]
async fn a_file_deleted_or_replaced_under_a_running_store_is_noticed_before_the_next_commit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = Embedded::open(&path).unwrap();
    store.txn(create("k1", "v")).await.unwrap();
    let moved = directory.path().join("moved.redb");
    fs::rename(&path, &moved).unwrap();
    assert!(matches!(store.txn(create("k2", "v")).await, Err(Error::Damaged(_))));
    fs::write(&path, "another").unwrap();
    assert!(matches!(store.txn(create("k2", "v")).await, Err(Error::Damaged(_))));
    fs::rename(&moved, &path).unwrap();
    store.txn(create("k2", "v")).await.unwrap();
}

/// A store as it was left: closed, or copied while it was open, as after a power cut.
async fn left(directory: &Path, clean: bool) -> (Vec<u8>, Vec<KeyValue>) {
    let path = directory.join("original.redb");
    let store = Embedded::open(&path).unwrap();
    for number in 0..30 {
        store.txn(create(&format!("k{number:02}"), &number.to_string().repeat(500))).await.unwrap();
    }
    store.txn(Txn { then: vec![Op::DeleteRange("k05".to_owned(), "k09".to_owned())], ..Txn::default() }).await.unwrap();
    let pairs = all(&store).await.unwrap();
    let open = fs::read(&path).unwrap();
    drop(store);
    let closed = fs::read(&path).unwrap();
    fs::remove_file(path).unwrap();
    (if clean { closed } else { open }, pairs)
}

/// Opens what is left of a store: it is refused as damaged, or holds whole pairs that were committed, the newest ones
/// or those of a commit before.
async fn opens_or_says_so(path: &Path, pairs: &[KeyValue], what: &str) -> bool {
    match Embedded::open(path) {
        Ok(store) => {
            match all(&store).await {
                Ok(read) => assert!(
                    read.iter().all(|pair| pairs.contains(pair) || ("k05".."k09").contains(&pair.key.as_str())),
                    "{what}: other pairs than were written"
                ),
                Err(error) => assert!(matches!(error, Error::Damaged(_)), "{what}: {error:?}"),
            }
            match store.txn(create("k99", "goes on")).await {
                Ok(_) | Err(Error::Damaged(_)) => {}
                Err(error) => panic!("{what}: {error:?}"),
            }
            true
        }
        Err(error @ (Error::Damaged(_) | Error::Invalid(_))) => {
            let text = error.to_string();
            assert!(text.contains(path.to_str().unwrap()) && !text.contains('\n'), "{what}: {text}");
            false
        }
        Err(error) => panic!("{what}: {error:?}"),
    }
}

/// A directory where fsync costs nothing, for tests of thousands of files whose durability is not the question.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Numbers that look random and are the same in each run.
fn numbers() -> impl FnMut(usize) -> usize {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((state >> 33) % below as u64).unwrap()
    }
}

#[tokio::test]
async fn a_file_cut_at_any_length_is_refused_or_whole() {
    let directory = in_memory();
    for clean in [true, false] {
        let (bytes, pairs) = left(directory.path(), clean).await;
        let path = directory.path().join("cut.redb");
        let lengths = (0..400).chain((400..bytes.len()).step_by(1_021)).chain((0..bytes.len()).step_by(4_096));
        for length in lengths {
            fs::write(&path, &bytes[..length]).unwrap();
            opens_or_says_so(&path, &pairs, &format!("cut to {length} of {}, clean {clean}", bytes.len())).await;
        }
        fs::write(&path, &bytes).unwrap();
        assert!(opens_or_says_so(&path, &pairs, "whole").await);
    }
}

#[tokio::test]
async fn flipped_bits_are_found_or_harmless_and_never_a_panic() {
    let directory = in_memory();
    let mut below = numbers();
    for clean in [true, false] {
        let (bytes, pairs) = left(directory.path(), clean).await;
        let path = directory.path().join("flipped.redb");
        fs::write(&path, &bytes).unwrap();
        let header = (0..64).flat_map(|byte| (0..8).map(move |bit| (byte, bit))).chain((64..320).map(|byte| (byte, byte % 8)));
        let elsewhere: Vec<_> = (0..400).map(|_| (below(bytes.len()), below(8))).collect();
        let mut found = 0;
        for (byte, bit) in header.chain(elsewhere) {
            fs::write(&path, &bytes).unwrap();
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&[bytes[byte] ^ (1 << bit)], byte as u64).unwrap();
            drop(file);
            found += u32::from(!opens_or_says_so(&path, &pairs, &format!("bit {bit} of byte {byte}, clean {clean}")).await);
        }
        assert!(found > 100, "only {found} flipped bits were found");
    }
}

#[tokio::test]
async fn a_page_torn_anywhere_in_the_last_commit_is_refused_or_the_commit_before() {
    let directory = in_memory();
    let path = directory.path().join("store.redb");
    let store = Embedded::open(&path).unwrap();
    for number in 0..10 {
        store.txn(create(&format!("k{number}"), "before")).await.unwrap();
    }
    let before = fs::read(&path).unwrap();
    store.txn(create("k9x", "last")).await.unwrap();
    let pairs = all(&store).await.unwrap();
    let mut after = fs::read(&path).unwrap();
    drop(store);
    after.resize(after.len().max(before.len()), 0);
    // Each 512-byte sector in turn keeps what it held before the last commit, or all after it do.
    for sector in (0..before.len()).step_by(512) {
        let end = (sector + 512).min(before.len());
        if before[sector..end] == after[sector..end] {
            continue;
        }
        let mut one = after.clone();
        one[sector..end].copy_from_slice(&before[sector..end]);
        fs::write(&path, &one).unwrap();
        opens_or_says_so(&path, &pairs, &format!("sector at {sector} is old")).await;
        let mut rest = after.clone();
        rest[sector..before.len()].copy_from_slice(&before[sector..]);
        fs::write(&path, &rest).unwrap();
        opens_or_says_so(&path, &pairs, &format!("all from {sector} on is old")).await;
    }
}

#[tokio::test]
async fn opening_and_the_first_commit_are_quick() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let since = Instant::now();
    let store = Embedded::open(&path).unwrap();
    let opened = since.elapsed();
    store.txn(create("k0", "v")).await.unwrap();
    let first = since.elapsed();
    let since = Instant::now();
    for number in 1..101 {
        store.txn(create(&format!("k{number:03}"), &"v".repeat(2_000))).await.unwrap();
    }
    let commit = since.elapsed() / 100;
    drop(store);
    let since = Instant::now();
    let store = Embedded::open(&path).unwrap();
    let again = since.elapsed();
    println!("new: opened in {opened:?}, first commit after {first:?}; a commit {commit:?}; opened again in {again:?}");
    assert_eq!(all(&store).await.unwrap().len(), 101);
    // A wide bound: a busy disk is no fault of this code.
    assert!(first < Duration::from_secs(2) && again < Duration::from_secs(2));
}
