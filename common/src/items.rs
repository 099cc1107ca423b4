//! The items of a mapped task: JSON texts, one an instance. A blob of JSON lines under their digest.

use std::sync::Arc;

use crate::limits::{MAX_ITEMS, MAX_ITEMS_BYTES};
use crate::{Digest, Index, TaskId, json};

/// A list of items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items {
    digest: Digest,
    list: Vec<Arc<str>>,
    named: bool,
}

/// Why there are no items: what was found and what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A line that is no JSON.
    #[error("line {line} of the items is not JSON ({why}): write one JSON value a line")]
    NotJson {
        /// From 1 on.
        line: usize,
        /// What the parser said.
        why: String,
    },
    /// A line with an integer that would become another.
    #[error("line {line} of the items: {why}")]
    Inexact {
        /// From 1 on.
        line: usize,
        /// Which integer, and what to do.
        why: String,
    },
    /// Too many.
    #[error("there are {found} items, and at most {MAX_ITEMS} are possible: split the work, or give each instance a range")]
    TooMany {
        /// How many.
        found: usize,
    },
    /// Too large.
    #[error("the items take {found} bytes, and at most {MAX_ITEMS_BYTES} are possible: pass references, not data")]
    TooLarge {
        /// How many.
        found: usize,
    },
}

impl Items {
    /// From JSON texts.
    pub fn new(list: Vec<Arc<str>>) -> Result<Self, Error> {
        if list.len() > MAX_ITEMS {
            return Err(Error::TooMany { found: list.len() });
        }
        let bytes = list.iter().map(|item| item.len() + 1).sum();
        if bytes > MAX_ITEMS_BYTES {
            return Err(Error::TooLarge { found: bytes });
        }
        let names: Option<std::collections::BTreeSet<_>> = list.iter().map(|item| name(item)).collect();
        let named = names.is_some_and(|names| names.len() == list.len());
        let mut items = Self { digest: Digest::default(), list, named };
        items.digest = Digest::of(&items.to_blob());
        Ok(items)
    }

    /// From JSON values.
    pub fn of(values: &[serde_json::Value]) -> Result<Self, Error> {
        Self::new(values.iter().map(|value| Arc::from(value.to_string())).collect())
    }

    /// From JSON lines; empty ones are passed over.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut list = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let value: serde_json::Value = json::read(line.as_bytes()).map_err(|why| match why {
                json::Error::NotJson(why) => Error::NotJson { line: number + 1, why: why.to_string() },
                json::Error::Inexact(_) => Error::Inexact { line: number + 1, why: why.to_string() },
            })?;
            list.push(Arc::from(value.to_string()));
        }
        Self::new(list)
    }

    /// JSON lines.
    pub fn to_blob(&self) -> Vec<u8> {
        let mut blob = Vec::with_capacity(self.list.iter().map(|item| item.len() + 1).sum());
        for item in &self.list {
            blob.extend_from_slice(item.as_bytes());
            blob.push(b'\n');
        }
        blob
    }
    /// Of the blob.
    pub fn digest(&self) -> Digest {
        self.digest
    }
    /// How many.
    pub fn len(&self) -> usize {
        self.list.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
    /// One of them, a JSON text.
    pub fn get(&self, number: u32) -> Option<&Arc<str>> {
        self.list.get(number as usize)
    }
    /// What an instance is called: by its item where all items are names and none is there twice, else by number.
    pub fn index(&self, number: u32) -> Index {
        let item = self.get(number).filter(|_| self.named);
        item.and_then(|item| name(item)).map_or(Index::Number(number), Index::Name)
    }
    /// The number of an instance. A number always works.
    pub fn find(&self, index: &Index) -> Option<u32> {
        match index {
            Index::Number(number) => Some(*number).filter(|n| (*n as usize) < self.list.len()),
            Index::Name(wanted) if self.named => {
                (0..).zip(&self.list).find(|(_, item)| name(item).as_ref() == Some(wanted)).map(|(n, _)| n)
            }
            Index::Name(_) => None,
        }
    }
}

fn name(item: &str) -> Option<TaskId> {
    TaskId::parse(item.strip_prefix('"')?.strip_suffix('"')?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_called_by_their_items_only_where_all_are_distinct_names() {
        let named = Items::parse("\"dwh\"\n\n\"mart\"\n").unwrap();
        assert_eq!(named.index(1), Index::Name(TaskId::parse("mart").unwrap()));
        assert_eq!(named.find(&named.index(1)), Some(1));
        assert_eq!(named.find(&Index::Number(1)), Some(1));
        for numbered in ["\"a\"\n\"a\"", "\"a\"\n\"B\"", "\"a\"\n7", "{\"a\": 1}"] {
            assert_eq!(Items::parse(numbered).unwrap().index(0), Index::Number(0), "{numbered}");
        }
    }

    #[test]
    fn a_blob_reads_back_as_the_same_items() {
        let items = Items::parse("{\"a\": [1, 2]}\n\"x\"\nnull").unwrap();
        let again = Items::parse(std::str::from_utf8(&items.to_blob()).unwrap()).unwrap();
        assert_eq!(items, again);
        assert_eq!(&**again.get(0).unwrap(), r#"{"a":[1,2]}"#);
        assert_eq!(Items::parse("{").unwrap_err().to_string().split('(').next(), Some("line 1 of the items is not JSON "));
    }
}
