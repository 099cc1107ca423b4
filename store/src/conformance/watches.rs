//! Promises on watches, compaction and what the store tells of itself. Run by [`super::run`].

use std::time::Duration;

use futures_util::future::join;

use super::{PATIENCE, Tested, commit, get, keys, put, put_under, then};
use crate::port::{Op, Range, Wakes};

async fn wakes(watch: &mut Box<dyn Wakes>, why: &str) {
    tokio::time::timeout(PATIENCE, watch.next()).await.unwrap_or_else(|_| panic!("no wake: {why}")).expect("wakes");
}

pub(super) async fn a_commit_after_the_watch_wakes_even_if_nobody_waits_yet(store: &Tested, prefix: &str) {
    commit(store, then([put(format!("{prefix}before"), "")])).await;
    let mut watch = store.watch(prefix).await.expect("watches");
    commit(store, then([put(format!("{prefix}a"), "")])).await;
    wakes(&mut watch, "committed before next() was called").await;
    let later = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        commit(store, then([put(format!("{prefix}b"), "")])).await
    };
    join(wakes(&mut watch, "committed while next() waited"), later).await;
}

pub(super) async fn deletions_and_ended_sessions_wake(store: &Tested, prefix: &str) {
    let [a, b, c] = ["a", "b", "c"].map(|name| format!("{prefix}{name}"));
    let session = store.open_session(Duration::from_secs(60)).await.expect("opens");
    commit(store, then([put(&a, ""), put(&b, ""), put_under(session, &c, "")])).await;
    let mut watch = store.watch(prefix).await.expect("watches");
    commit(store, then([Op::Delete(a)])).await;
    wakes(&mut watch, "a deletion").await;
    commit(store, then([Op::DeleteRange(b.clone(), c)])).await;
    wakes(&mut watch, "a deletion of a range").await;
    store.close_session(session).await.expect("closes");
    wakes(&mut watch, "the end of a session").await;
}

pub(super) async fn each_watch_wakes_for_itself(store: &Tested, prefix: &str) {
    let mut first = store.watch(&format!("{prefix}a/")).await.expect("watches");
    let mut second = store.watch(&format!("{prefix}a/")).await.expect("watches");
    let third = store.watch(&format!("{prefix}a/")).await.expect("watches");
    let mut all = store.watch(prefix).await.expect("watches");
    let mut other = store.watch(&format!("{prefix}b/")).await.expect("watches");
    drop(third);
    commit(store, then([put(format!("{prefix}a/1"), "")])).await;
    wakes(&mut first, "the first watch").await;
    wakes(&mut second, "the second watch").await;
    wakes(&mut all, "the wider watch").await;
    commit(store, then([put(format!("{prefix}b/1"), "")])).await;
    wakes(&mut other, "the watch beside").await;
}

pub(super) async fn many_commits_lose_no_last_wake(store: &Tested, prefix: &str) {
    let key = format!("{prefix}k");
    let mut watch = store.watch(prefix).await.expect("watches");
    let writes = async {
        for round in 0..100_u32 {
            commit(store, then([put(&key, round.to_string())])).await;
        }
    };
    let follows = async {
        while get(store, &key).await.is_none_or(|pair| &pair.value[..] != b"99") {
            wakes(&mut watch, "the value is not the last one").await;
        }
    };
    join(writes, follows).await;
}

pub(super) async fn compaction_harms_neither_reads_nor_later_watches(store: &Tested, prefix: &str) {
    let [a, b] = ["a", "b"].map(|name| format!("{prefix}{name}"));
    commit(store, then([put(&a, "1"), put(&b, "1")])).await;
    commit(store, then([put(&a, "2"), Op::Delete(b)])).await;
    let revision = commit(store, then([put(&a, "3")])).await;
    let mut before = store.watch(prefix).await.expect("watches");
    store.compact(0).await.expect("forgets nothing");
    store.compact(revision).await.expect("compacts");
    store.compact(revision).await.expect("is compacted already");
    store.compact(revision - 1).await.expect("is compacted already");
    let pair = get(store, &a).await.expect("is there");
    assert_eq!((&pair.value[..], pair.created, pair.modified), (&b"3"[..], revision - 2, revision));
    assert_eq!(keys(store, Range::prefix(prefix)).await, std::slice::from_ref(&a));
    let mut after = store.watch(prefix).await.expect("watches");
    commit(store, then([put(&a, "4")])).await;
    wakes(&mut before, "a watch from before the compaction").await;
    wakes(&mut after, "a watch from after the compaction").await;
}

pub(super) async fn room_and_name_are_told(store: &Tested, prefix: &str) {
    commit(store, then([put(format!("{prefix}k"), vec![1; 10_000])])).await;
    let space = store.space().await.expect("tells");
    assert!(space.used >= 10_000 && space.file >= space.used && !space.full, "{space:?}");
    let name = store.describe();
    assert!(!name.is_empty() && !name.contains('\n'), "{name:?}");
}
