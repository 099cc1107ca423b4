//! What the port promises, one function a promise, each named as a sentence: every backend runs all of them, and so
//! does the simulation's etcd.
//!
//! Not here: what only one backend can do (see the backends' own tests). Each promise uses keys of its own under the
//! prefix it is given, so one server serves them all, also at the same time; nothing is random, and waiting goes by
//! tokio's clock. A broken promise panics.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ranges;
mod sessions;
mod transactions;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::port::{Error, Guard, KeyValue, Op, Outcome, Range, SessionId, Store, Txn};

/// A store under test.
pub type Tested = Arc<dyn Store>;

/// What a backend does beyond what all do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// A session that is not kept ends by itself.
    pub sessions_expire: bool,
}

/// Runs all promises, one after another, on keys under `prefix`, which must hold none.
pub async fn run(store: Tested, prefix: &str, abilities: Abilities) {
    let fresh = store.range(Range::prefix(prefix)).await.expect("reads an empty prefix");
    assert_eq!(fresh, Vec::new(), "the prefix {prefix} is in use");
    macro_rules! keep {
        ($($module:ident :: $promise:ident),* $(,)?) => {
            $(
                tracing::debug!(promise = stringify!($promise));
                $module::$promise(&store, &format!("{prefix}{}/", stringify!($promise))).await;
            )*
        };
    }
    keep! {
        transactions::what_was_committed_is_read,
        transactions::a_create_only_put_commits_once,
        transactions::a_refused_transaction_changes_nothing_and_reads_otherwise,
        transactions::a_guard_on_creation_fails_when_the_key_was_made_anew,
        transactions::guards_on_existence_hold_both_ways,
        transactions::revisions_rise_by_one_and_only_when_something_changes,
        transactions::of_many_that_create_one_key_exactly_one_commits,
        transactions::a_range_of_keys_is_deleted_and_its_neighbours_stay,
        transactions::a_value_of_a_mebibyte_comes_back_as_it_was,
        transactions::a_hundred_operations_commit_as_one,
        transactions::what_no_backend_can_do_is_refused_as_invalid,
        ranges::ranges_are_in_the_order_of_bytes_and_end_before_their_end,
        ranges::limit_reverse_and_keys_only_work_together,
        ranges::more_than_a_page_is_read_whole_in_both_directions,
        ranges::large_values_are_read_whole,
        ranges::a_range_is_read_at_one_revision,
        ranges::hostile_keys_and_values_come_back_as_they_were,
        sessions::keys_vanish_when_their_session_is_closed,
        sessions::a_key_belongs_to_the_session_of_its_last_put,
        sessions::an_ended_session_is_neither_kept_nor_written_under,
        watches::a_commit_after_the_watch_wakes_even_if_nobody_waits_yet,
        watches::deletions_and_ended_sessions_wake,
        watches::each_watch_wakes_for_itself,
        watches::many_commits_lose_no_last_wake,
        watches::compaction_harms_neither_reads_nor_later_watches,
        watches::room_and_name_are_told,
    }
    if abilities.sessions_expire {
        keep! { sessions::a_session_lives_while_it_is_kept_and_then_ends_with_its_keys }
    }
}

/// As long as anything here may take (etcd ends a session of 1 s after up to 2.6 s).
const PATIENCE: Duration = Duration::from_secs(15);

fn put(key: impl Into<String>, value: impl Into<Bytes>) -> Op {
    Op::Put(key.into(), value.into(), None)
}

fn put_under(session: SessionId, key: impl Into<String>, value: impl Into<Bytes>) -> Op {
    Op::Put(key.into(), value.into(), Some(session))
}

fn then(ops: impl Into<Vec<Op>>) -> Txn {
    Txn { then: ops.into(), ..Txn::default() }
}

fn only_if(guards: impl Into<Vec<Guard>>, ops: impl Into<Vec<Op>>) -> Txn {
    Txn { guards: guards.into(), then: ops.into(), otherwise: Vec::new() }
}

/// Commits, and returns the revision.
async fn commit(store: &Tested, txn: Txn) -> u64 {
    match store.txn(txn).await.expect("commits") {
        Outcome::Committed(revision) => revision,
        Outcome::Refused(read) => panic!("refused a transaction whose guards hold: {read:?}"),
    }
}

/// Is refused, and returns what was read.
async fn refused(store: &Tested, txn: Txn) -> Vec<Option<KeyValue>> {
    match store.txn(txn).await.expect("answers") {
        Outcome::Refused(read) => read,
        Outcome::Committed(revision) => panic!("committed at {revision} what a guard forbids"),
    }
}

async fn invalid(store: &Tested, what: &str, txn: Txn) {
    match store.txn(txn).await {
        Err(Error::Invalid(_)) => {}
        other => panic!("{what}: expected Invalid, got {other:?}"),
    }
}

async fn get(store: &Tested, key: &str) -> Option<KeyValue> {
    store.range(Range::key(key)).await.expect("reads").pop()
}

async fn keys(store: &Tested, range: Range) -> Vec<String> {
    store.range(range).await.expect("reads").into_iter().map(|pair| pair.key).collect()
}
