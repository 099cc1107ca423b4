//! Promises on reads. Run by [`super::run`].

use bytes::Bytes;
use futures_util::future::join;

use super::{Tested, commit, get, keys, put, then};
use crate::port::{Op, Range, prefix_end};

pub(super) async fn ranges_are_in_the_order_of_bytes_and_end_before_their_end(store: &Tested, prefix: &str) {
    let names = ["b/", "a", "b", "b/2", "b/1", "b0", "b/1/x", "b/é", "b/\u{1F980}", "b/\u{FFFF}"];
    commit(store, then(names.map(|name| put(format!("{prefix}{name}"), "")))).await;
    let under = |names: &[&str]| names.iter().map(|name| format!("{prefix}{name}")).collect::<Vec<_>>();
    let inside = under(&["b/", "b/1", "b/1/x", "b/2", "b/é", "b/\u{FFFF}", "b/\u{1F980}"]);
    assert_eq!(keys(store, Range::prefix(&format!("{prefix}b/"))).await, inside);
    assert_eq!(keys(store, Range::key(&format!("{prefix}b"))).await, under(&["b"]));
    let from = Range::prefix(&format!("{prefix}b/")).starting_at(format!("{prefix}b/1/"));
    assert_eq!(keys(store, from).await, inside[2..]);
    let nothing = Range::prefix(prefix).starting_at(prefix_end(prefix));
    assert_eq!(keys(store, nothing).await, Vec::<String>::new());
}

pub(super) async fn limit_reverse_and_keys_only_work_together(store: &Tested, prefix: &str) {
    let key = |number: u32| format!("{prefix}{number:02}");
    let revision = commit(store, then((0..30).map(|number| put(key(number), "value")).collect::<Vec<_>>())).await;
    assert_eq!(keys(store, Range::prefix(prefix).limit(2)).await, [key(0), key(1)]);
    assert_eq!(keys(store, Range::prefix(prefix).limit(2).reverse()).await, [key(29), key(28)]);
    assert_eq!(keys(store, Range::prefix(prefix).limit(20).reverse()).await, (10..30).rev().map(key).collect::<Vec<_>>());
    assert_eq!(keys(store, Range::prefix(prefix).limit(30)).await.len(), 30);
    assert_eq!(keys(store, Range::prefix(prefix).limit(31)).await.len(), 30);
    assert_eq!(keys(store, Range::prefix(prefix).reverse().starting_at(key(28))).await, [key(29), key(28)]);
    let bare = store.range(Range::prefix(prefix).limit(1).reverse().keys_only()).await.expect("reads");
    assert_eq!((bare[0].value.len(), bare[0].created, bare[0].modified), (0, revision, revision));
    assert!(store.range(Range::prefix(prefix)).await.expect("reads").iter().all(|pair| &pair.value[..] == b"value"));
}

pub(super) async fn more_than_a_page_is_read_whole_in_both_directions(store: &Tested, prefix: &str) {
    let all: Vec<_> = (0..1_300).map(|number| format!("{prefix}{number:04}")).collect();
    for some in all.chunks(100) {
        commit(store, then(some.iter().map(|key| put(key, "v")).collect::<Vec<_>>())).await;
    }
    let backwards: Vec<_> = all.iter().rev().cloned().collect();
    assert_eq!(keys(store, Range::prefix(prefix)).await, all);
    assert_eq!(keys(store, Range::prefix(prefix).keys_only()).await, all);
    assert_eq!(keys(store, Range::prefix(prefix).limit(1_111)).await, all[..1_111]);
    assert_eq!(keys(store, Range::prefix(prefix).reverse()).await, backwards);
    assert_eq!(keys(store, Range::prefix(prefix).reverse().limit(1_111).keys_only()).await, backwards[..1_111]);
}

pub(super) async fn large_values_are_read_whole(store: &Tested, prefix: &str) {
    let value = |number: u8| Bytes::from(vec![number; 1024 * 1024]);
    for number in 0..40 {
        commit(store, then([put(format!("{prefix}{number:02}"), value(number))])).await;
    }
    for reverse in [false, true] {
        for limit in [0, 40] {
            let range = Range { reverse, ..Range::prefix(prefix).limit(limit) };
            let mut read = store.range(range).await.expect("reads 40 MiB");
            if reverse {
                read.reverse();
            }
            assert_eq!(read.len(), 40);
            assert!((0..40).zip(&read).all(|(number, pair)| pair.value == value(number)), "values came back wrong");
        }
    }
    commit(store, then([Op::DeleteRange(prefix.to_owned(), prefix_end(prefix))])).await;
}

pub(super) async fn a_range_is_read_at_one_revision(store: &Tested, prefix: &str) {
    let [a, z] = ["a", "z"].map(|name| format!("{prefix}{name}"));
    let both = |round: u32| then([put(&a, round.to_string()), put(&z, round.to_string())]);
    commit(store, both(0)).await;
    let filler = |part: u32| then((0..100).map(|number| put(format!("{prefix}m{part}-{number}"), "")).collect::<Vec<_>>());
    for part in 0..6 {
        commit(store, filler(part)).await;
    }
    let writes = async {
        for round in 1..50 {
            commit(store, both(round)).await;
        }
    };
    let reads = async {
        for _ in 0..20 {
            let read = store.range(Range::prefix(prefix)).await.expect("reads");
            assert_eq!(read.len(), 602);
            assert_eq!(read[0].modified, read[601].modified, "first and last pair are of different revisions");
        }
    };
    join(writes, reads).await;
}

pub(super) async fn hostile_keys_and_values_come_back_as_they_were(store: &Tested, prefix: &str) {
    let names = ["..", "../..", " ", "\n", "%00", "a\0b", "\u{202E}x", "'\"`$(x)", &"k".repeat(4_000)];
    let all: Vec<u8> = (0..=255).collect();
    for name in names {
        let key = format!("{prefix}{name}");
        commit(store, then([put(&key, all.clone())])).await;
        let pair = get(store, &key).await.expect("is there");
        assert_eq!((pair.key, pair.value), (key, Bytes::from(all.clone())));
    }
    assert_eq!(keys(store, Range::prefix(prefix)).await.len(), names.len());
}
