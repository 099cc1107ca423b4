//! How a pair lies in the file: `checksum · created · modified · value`, integers little-endian, 8 bytes each. The
//! checksum is xxh3-64 over the key's length, the key and all that follows the checksum, so a value found under
//! another key fails too. The store's own record is sealed in the same way.
//!
//! Bytes only; the file is in `engine`. Tested below and, in the file, by `tests/embedded.rs`.

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use crate::port::KeyValue;

const WORD: usize = 8;

fn checksum(key: &[u8], payload: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&(key.len() as u64).to_le_bytes());
    hash.update(key);
    hash.update(payload);
    hash.digest()
}

fn seal(key: &[u8], first: u64, second: u64, value: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(3 * WORD + value.len());
    record.extend_from_slice(&[0; WORD]);
    record.extend_from_slice(&first.to_le_bytes());
    record.extend_from_slice(&second.to_le_bytes());
    record.extend_from_slice(value);
    let sum = checksum(key, &record[WORD..]);
    record[..WORD].copy_from_slice(&sum.to_le_bytes());
    record
}

/// The parts of a record; `None` where it is not what [`seal`] wrote for this key.
fn open<'r>(key: &[u8], record: &'r [u8]) -> Option<(u64, u64, &'r [u8])> {
    let (sum, payload) = record.split_first_chunk::<WORD>()?;
    let (first, rest) = payload.split_first_chunk::<WORD>()?;
    let (second, value) = rest.split_first_chunk::<WORD>()?;
    let whole = u64::from_le_bytes(*sum) == checksum(key, payload);
    whole.then(|| (u64::from_le_bytes(*first), u64::from_le_bytes(*second), value))
}

/// A pair as it is stored under its key.
pub(super) fn from_pair(pair: &KeyValue) -> Vec<u8> {
    seal(pair.key.as_bytes(), pair.created, pair.modified, &pair.value)
}

/// The pair stored under a key; `None` where its checksum fails or its key is no text.
pub(super) fn to_pair(key: &[u8], record: &[u8], keys_only: bool) -> Option<KeyValue> {
    let (created, modified, value) = open(key, record)?;
    let value = if keys_only { Bytes::new() } else { Bytes::copy_from_slice(value) };
    Some(KeyValue { key: std::str::from_utf8(key).ok()?.to_owned(), value, created, modified })
}

/// The store's own record, under `key`.
pub(super) fn from_meta(key: &str, format: u64, revision: u64) -> Vec<u8> {
    seal(key.as_bytes(), format, revision, &[])
}

/// Format and revision of the store; `None` where the checksum fails.
pub(super) fn to_meta(key: &str, record: &[u8]) -> Option<(u64, u64)> {
    open(key.as_bytes(), record).map(|(format, revision, _)| (format, revision))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_any_cut_and_another_key_fail_the_checksum() {
        let pair = KeyValue { key: "a/b".to_owned(), value: Bytes::from_static(b"value"), created: 3, modified: 9 };
        let record = from_pair(&pair);
        assert_eq!(to_pair(b"a/b", &record, false).unwrap(), pair);
        assert_eq!(to_pair(b"a/c", &record, false), None);
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(to_pair(b"a/b", &flipped, true), None, "bit {bit}");
        }
        for length in 0..record.len() {
            assert_eq!(to_pair(b"a/b", &record[..length], true), None, "length {length}");
        }
    }

    #[test]
    fn the_bytes_of_format_1_stay_what_they_are() {
        let meta = from_meta("store", 1, 7);
        assert_eq!(to_meta("store", &meta), Some((1, 7)));
        assert_eq!(meta[8..], [1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(u64::from_le_bytes(*meta.first_chunk().unwrap()), GOLDEN_SUM);
    }

    const GOLDEN_SUM: u64 = 8_976_706_097_853_287_243;
}
