//! Reads in pages: a reply larger than [`super::DECODE_LIMIT`] cannot be taken, so a range is read in several, all at
//! the revision of the first.
//!
//! Reads change nothing, so a page that was too large, or whose revision was compacted away meanwhile, is read again.
//! Tested by the conformance suite (more pairs than a page, values of 1 MiB) on real servers.

use bytes::Bytes;
use etcd_client::{GetOptions, GetResponse, SortOrder, SortTarget};

use super::{Etcd, failure};
use crate::port::{Error, Key, KeyValue, Range};

/// Pairs in a page, at most.
const PAGE: usize = 512;
/// Pairs in the first page, if values are read, which may be 1 MiB each.
const FIRST_PAGE: usize = 16;
/// Later pages are as many pairs as fill this (bytes), going by those read so far.
const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// How often a read begins again because its revision was compacted away.
const ATTEMPTS: usize = 3;

enum Page {
    Read(GetResponse),
    TooLarge,
    Compacted,
}

/// Reads a range, at one revision.
pub(super) async fn range(etcd: &Etcd, range: &Range) -> Result<Vec<KeyValue>, Error> {
    if range.from >= range.to {
        return Ok(Vec::new());
    }
    for _ in 0..ATTEMPTS {
        // All of it backwards: etcd would sort the rest of the range again for each page.
        if range.reverse && range.limit == 0 {
            if let Some(mut read) = pages(etcd, &Range { reverse: false, ..range.clone() }).await? {
                read.reverse();
                return Ok(read);
            }
        } else if let Some(read) = pages(etcd, range).await? {
            return Ok(read);
        }
    }
    Err(Error::Unavailable(format!("what {} holds was compacted {ATTEMPTS} times while it was read", range.from)))
}

/// `None`: the revision of the first page was compacted away before the last page was read.
async fn pages(etcd: &Etcd, range: &Range) -> Result<Option<Vec<KeyValue>>, Error> {
    let (mut from, mut to) = (range.from.clone(), range.to.clone());
    if from.is_empty() {
        // etcd takes no empty key; this is the first of all others.
        "\0".clone_into(&mut from);
    }
    let mut read = Vec::new();
    let mut bytes = 0;
    let mut revision = 0;
    let mut page = if range.keys_only { PAGE } else { FIRST_PAGE };
    loop {
        let left = if range.limit == 0 { usize::MAX } else { range.limit - read.len() };
        let wanted = page.min(left);
        let mut reply = match one(etcd, &from, &to, wanted, revision, range).await? {
            Page::Read(reply) => reply,
            Page::Compacted if revision > 0 => return Ok(None),
            Page::Compacted => return Err(Error::Unavailable("etcd cannot read its own present".to_owned())),
            Page::TooLarge if page == 1 => return Err(Error::Invalid(format!("the value after {from} is too large to be read"))),
            Page::TooLarge => {
                page = (page / 4).max(1);
                continue;
            }
        };
        if revision == 0 {
            revision = reply.header().map_or(0, |header| header.revision());
        }
        let more = reply.more();
        for found in reply.take_kvs() {
            let pair = pair(found)?;
            bytes += pair.key.len() + pair.value.len();
            read.push(pair);
        }
        let Some(last) = read.last().filter(|_| more && read.len() != range.limit) else { return Ok(Some(read)) };
        if range.reverse {
            to.clone_from(&last.key);
        } else {
            from = after(&last.key);
        }
        page = (PAGE_BYTES / (bytes / read.len() + 1)).clamp(1, PAGE);
    }
}

async fn one(etcd: &Etcd, from: &str, to: &str, limit: usize, revision: i64, range: &Range) -> Result<Page, Error> {
    let mut options = GetOptions::new().with_range(to).with_limit(i64::try_from(limit).unwrap_or(i64::MAX)).with_revision(revision);
    if range.keys_only {
        options = options.with_keys_only();
    }
    if range.reverse {
        options = options.with_sort(SortTarget::Key, SortOrder::Descend);
    }
    etcd.call(|| {
        let (mut kv, options) = (etcd.kv.clone(), options.clone());
        async move {
            match kv.get(from, Some(options)).await {
                Ok(reply) => Ok(Page::Read(reply)),
                Err(error) if failure::is_too_large(&error) => Ok(Page::TooLarge),
                Err(error) if failure::is_compacted(&error) => Ok(Page::Compacted),
                Err(error) => Err(error),
            }
        }
    })
    .await
}

fn after(key: &str) -> Key {
    format!("{key}\0")
}

/// A pair of etcd as the port's.
pub(super) fn pair(found: etcd_client::KeyValue) -> Result<KeyValue, Error> {
    let (created, modified) = (unsigned(found.create_revision()), unsigned(found.mod_revision()));
    let (key, value) = found.into_key_value();
    let key =
        String::from_utf8(key).map_err(|_| Error::Damaged("a key under the prefix is no text: another program writes there".to_owned()))?;
    Ok(KeyValue { key, value: Bytes::from(value), created, modified })
}

/// etcd's numbers are never negative.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A revision beyond etcd's range is never reached.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
