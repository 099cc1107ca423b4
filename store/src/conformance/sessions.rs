//! Promises on sessions. Run by [`super::run`].

use std::time::Duration;

use super::{PATIENCE, Tested, commit, get, invalid, keys, put, put_under, refused, then};
use crate::port::{Guard, Op, Range, SessionId, Txn};

/// Longer than any promise takes.
const LONG: Duration = Duration::from_secs(60);

pub(super) async fn keys_vanish_when_their_session_is_closed(store: &Tested, prefix: &str) {
    let [a, b, stays] = ["a", "b", "stays"].map(|name| format!("{prefix}{name}"));
    let session = store.open_session(LONG).await.expect("opens");
    let other = store.open_session(LONG).await.expect("opens");
    assert_ne!(session, other);
    let made = commit(store, then([put_under(session, &a, ""), put_under(session, &b, ""), put_under(other, &stays, "")])).await;
    assert!(store.keep_session(session).await.expect("keeps"));
    store.close_session(session).await.expect("closes");
    assert_eq!(keys(store, Range::prefix(prefix)).await, [stays]);
    let after = commit(store, then([put(&a, "")])).await;
    assert_eq!(after, made + 2, "the end of a session is one revision");
    let fenced = Txn { guards: vec![Guard::CreatedAt(a, made)], then: vec![put(&b, "")], otherwise: Vec::new() };
    refused(store, fenced).await;
    store.close_session(other).await.expect("closes");
    assert_eq!(keys(store, Range::prefix(prefix)).await.len(), 1);
}

pub(super) async fn a_key_belongs_to_the_session_of_its_last_put(store: &Tested, prefix: &str) {
    let [moved, freed, anew, taken] = ["moved", "freed", "anew", "taken"].map(|name| format!("{prefix}{name}"));
    let first = store.open_session(LONG).await.expect("opens");
    let second = store.open_session(LONG).await.expect("opens");
    let under_first = [&moved, &freed, &anew].map(|key| put_under(first, key, "1"));
    commit(store, then(under_first)).await;
    commit(store, then([put(&taken, "1"), Op::Delete(anew.clone())])).await;
    commit(store, then([put_under(second, &moved, "2"), put(&freed, "2"), put(&anew, "2"), put_under(first, &taken, "2")])).await;
    store.close_session(first).await.expect("closes");
    assert_eq!(keys(store, Range::prefix(prefix)).await, [anew.clone(), freed.clone(), moved]);
    store.close_session(second).await.expect("closes");
    assert_eq!(keys(store, Range::prefix(prefix)).await, [anew, freed]);
}

pub(super) async fn an_ended_session_is_neither_kept_nor_written_under(store: &Tested, prefix: &str) {
    let session = store.open_session(LONG).await.expect("opens");
    store.close_session(session).await.expect("closes");
    assert!(!store.keep_session(session).await.expect("answers"));
    store.close_session(session).await.expect("is closed already");
    let never = SessionId(0x0123_4567_89ab_cdef);
    assert!(!store.keep_session(never).await.expect("answers"));
    for ended in [session, never] {
        let txn = then([put(format!("{prefix}a"), ""), put_under(ended, format!("{prefix}b"), "")]);
        invalid(store, "a put under an ended session", txn).await;
    }
    assert_eq!(keys(store, Range::prefix(prefix)).await, Vec::<String>::new());
}

pub(super) async fn a_session_lives_while_it_is_kept_and_then_ends_with_its_keys(store: &Tested, prefix: &str) {
    let key = format!("{prefix}k");
    let session = store.open_session(Duration::from_secs(1)).await.expect("opens");
    let mut watch = store.watch(prefix).await.expect("watches");
    commit(store, then([put_under(session, &key, "")])).await;
    watch.next().await.expect("wakes for the put");
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert!(store.keep_session(session).await.expect("keeps"), "a kept session ended");
    }
    assert!(get(store, &key).await.is_some());
    let ended = async {
        while get(store, &key).await.is_some() {
            watch.next().await.expect("wakes at the end of the session");
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the session ends by itself");
    assert!(!store.keep_session(session).await.expect("answers"));
}
