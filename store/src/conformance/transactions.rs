//! Promises on transactions. Run by [`super::run`].

use bytes::Bytes;
use futures_util::future::join_all;

use super::{Tested, commit, get, invalid, keys, only_if, put, refused, then};
use crate::port::{Guard, Op, Outcome, Range, Txn};

pub(super) async fn what_was_committed_is_read(store: &Tested, prefix: &str) {
    let key = format!("{prefix}k");
    assert_eq!(get(store, &key).await, None);
    let first = commit(store, then([put(&key, "one")])).await;
    let pair = get(store, &key).await.expect("is there");
    assert_eq!((pair.key.as_str(), &pair.value[..], pair.created, pair.modified), (key.as_str(), &b"one"[..], first, first));
    let second = commit(store, then([put(&key, "two")])).await;
    let pair = get(store, &key).await.expect("is there");
    assert_eq!((&pair.value[..], pair.created, pair.modified), (&b"two"[..], first, second));
    commit(store, then([Op::Delete(key.clone())])).await;
    assert_eq!(get(store, &key).await, None);
    let third = commit(store, then([put(&key, "")])).await;
    let pair = get(store, &key).await.expect("is there");
    assert_eq!((pair.value.len(), pair.created, pair.modified), (0, third, third), "a key made anew is a new one");
}

pub(super) async fn a_create_only_put_commits_once(store: &Tested, prefix: &str) {
    let key = format!("{prefix}journal/0000000000000001");
    let create = only_if([Guard::Absent(key.clone())], [put(&key, "entry")]);
    commit(store, create.clone()).await;
    assert_eq!(refused(store, create).await, Vec::new());
}

pub(super) async fn a_refused_transaction_changes_nothing_and_reads_otherwise(store: &Tested, prefix: &str) {
    let [there, gone, new] = ["there", "gone", "new"].map(|name| format!("{prefix}{name}"));
    let revision = commit(store, then([put(&there, "value")])).await;
    let read = refused(
        store,
        Txn {
            guards: vec![Guard::Exists(there.clone()), Guard::Exists(gone.clone())],
            then: vec![put(&new, "x"), Op::Delete(there.clone())],
            otherwise: vec![gone.clone(), there.clone(), new.clone()],
        },
    )
    .await;
    assert_eq!(read.len(), 3);
    assert_eq!((&read[0], &read[2]), (&None, &None));
    let pair = read[1].as_ref().expect("is read in its place");
    assert_eq!((&pair.value[..], pair.created, pair.modified), (&b"value"[..], revision, revision));
    assert_eq!(keys(store, Range::prefix(prefix)).await, [there]);
    assert_eq!(commit(store, then([put(&new, "x")])).await, revision + 1, "a refusal is no revision");
}

pub(super) async fn a_guard_on_creation_fails_when_the_key_was_made_anew(store: &Tested, prefix: &str) {
    let [candidate, entry] = ["candidate", "entry"].map(|name| format!("{prefix}{name}"));
    let fenced = |epoch| only_if([Guard::CreatedAt(candidate.clone(), epoch)], [put(&entry, "x")]);
    let epoch = commit(store, then([put(&candidate, "me")])).await;
    commit(store, fenced(epoch)).await;
    commit(store, then([put(&candidate, "me, with another address")])).await;
    commit(store, fenced(epoch)).await;
    refused(store, fenced(epoch + 1)).await;
    commit(store, then([Op::Delete(candidate.clone())])).await;
    refused(store, fenced(epoch)).await;
    let next = commit(store, then([put(&candidate, "me")])).await;
    assert!(next > epoch);
    refused(store, fenced(epoch)).await;
    commit(store, fenced(next)).await;
}

pub(super) async fn guards_on_existence_hold_both_ways(store: &Tested, prefix: &str) {
    let [a, b, out] = ["a", "b", "out"].map(|name| format!("{prefix}{name}"));
    commit(store, then([put(&a, "")])).await;
    commit(store, only_if([Guard::Exists(a.clone()), Guard::Absent(b.clone())], [put(&out, "")])).await;
    refused(store, only_if([Guard::Absent(a.clone())], [put(&out, "")])).await;
    refused(store, only_if([Guard::Exists(b.clone())], [put(&out, "")])).await;
    refused(store, only_if([Guard::CreatedAt(b.clone(), 1)], [put(&out, "")])).await;
}

pub(super) async fn revisions_rise_by_one_and_only_when_something_changes(store: &Tested, prefix: &str) {
    let [a, b] = ["a", "b"].map(|name| format!("{prefix}{name}"));
    let first = commit(store, then([put(&a, ""), put(&b, "")])).await;
    assert_eq!(commit(store, then([put(&a, "")])).await, first + 1, "the same value again is a change");
    assert_eq!(commit(store, then([Op::Delete(format!("{prefix}none"))])).await, first + 1);
    assert_eq!(commit(store, then([Op::DeleteRange(b.clone(), b.clone())])).await, first + 1);
    assert_eq!(commit(store, then([Op::DeleteRange(b.clone(), a.clone())])).await, first + 1);
    assert_eq!(commit(store, then([])).await, first + 1);
    assert_eq!(commit(store, then([Op::Delete(a)])).await, first + 2);
}

pub(super) async fn of_many_that_create_one_key_exactly_one_commits(store: &Tested, prefix: &str) {
    let key = format!("{prefix}k");
    let attempt = |number: usize| {
        let txn = Txn { guards: vec![Guard::Absent(key.clone())], then: vec![put(&key, number.to_string())], otherwise: vec![key.clone()] };
        async move { store.txn(txn).await.expect("answers") }
    };
    let outcomes = join_all((0..16).map(attempt)).await;
    let winners: Vec<_> =
        (0..).zip(&outcomes).filter(|(_, outcome)| matches!(outcome, Outcome::Committed(_))).map(|(number, _)| number).collect();
    assert_eq!(winners.len(), 1, "{winners:?} created the same key");
    let pair = get(store, &key).await.expect("is there");
    assert_eq!(pair.value, Bytes::from(winners[0].to_string()));
    for outcome in outcomes {
        match outcome {
            Outcome::Committed(revision) => assert_eq!(revision, pair.created),
            Outcome::Refused(read) => assert_eq!(read, [Some(pair.clone())], "a loser sees the winner"),
        }
    }
}

pub(super) async fn a_range_of_keys_is_deleted_and_its_neighbours_stay(store: &Tested, prefix: &str) {
    let key = |number: u32| format!("{prefix}{number:02}");
    commit(store, then((0..10).map(|number| put(key(number), "")).collect::<Vec<_>>())).await;
    commit(store, then([Op::DeleteRange(key(2), key(5)), Op::Delete(key(8)), put(key(5), "again")])).await;
    let left: Vec<_> = [0, 1, 5, 6, 7, 9].map(key).to_vec();
    assert_eq!(keys(store, Range::prefix(prefix)).await, left);
    commit(store, then([Op::DeleteRange(prefix.to_owned(), crate::port::prefix_end(prefix))])).await;
    assert_eq!(keys(store, Range::prefix(prefix)).await, Vec::<String>::new());
}

pub(super) async fn a_value_of_a_mebibyte_comes_back_as_it_was(store: &Tested, prefix: &str) {
    let key = format!("{prefix}k");
    let value: Bytes = (0..1024 * 1024_u32).map(|place| place.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let guard = [Guard::Absent(key.clone())];
    commit(store, only_if(guard, [put(&key, value.clone())])).await;
    assert!(get(store, &key).await.expect("is there").value == value, "another value came back");
}

pub(super) async fn a_hundred_operations_commit_as_one(store: &Tested, prefix: &str) {
    let key = |number: u32| format!("{prefix}{number:03}");
    let guards = (0..100).map(|number| Guard::Absent(key(number))).collect::<Vec<_>>();
    let puts = (0..100).map(|number| put(key(number), vec![7; 1_000])).collect::<Vec<_>>();
    let revision = commit(store, only_if(guards, puts)).await;
    let read = store.range(Range::prefix(prefix)).await.expect("reads");
    assert_eq!(read.len(), 100);
    assert!(read.iter().all(|pair| pair.created == revision && pair.modified == revision && pair.value == vec![7; 1_000]));
}

pub(super) async fn what_no_backend_can_do_is_refused_as_invalid(store: &Tested, prefix: &str) {
    let key = |number: usize| format!("{prefix}{number:03}");
    let many = || (0..129).map(key);
    invalid(store, "two puts of a key", then([put(key(1), "a"), put(key(1), "b")])).await;
    invalid(store, "a put of a deleted key", then([Op::Delete(key(1)), put(key(1), "b")])).await;
    invalid(store, "two deletions of a key", then([Op::Delete(key(1)), Op::Delete(key(1))])).await;
    invalid(store, "a put in a deleted range", then([put(key(1), "a"), Op::DeleteRange(key(0), key(2))])).await;
    invalid(store, "an empty key", then([put("", "a")])).await;
    invalid(store, "a guard on revision 0", only_if([Guard::CreatedAt(key(1), 0)], [put(key(1), "a")])).await;
    invalid(store, "129 operations", then(many().map(Op::Delete).collect::<Vec<_>>())).await;
    invalid(store, "129 guards", only_if(many().map(Guard::Absent).collect::<Vec<_>>(), [put(key(1), "")])).await;
    invalid(store, "129 keys to read", Txn { otherwise: many().collect(), ..then([put(key(1), "")]) }).await;
    invalid(store, "more bytes than a request takes", then([put(key(1), vec![0; 1536 * 1024])])).await;
    assert_eq!(keys(store, Range::prefix(prefix)).await, Vec::<String>::new(), "what is refused is not done");
    commit(store, then([put(key(2), ""), Op::DeleteRange(key(0), key(2)), Op::DeleteRange(key(0), key(1))])).await;
}
