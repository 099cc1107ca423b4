//! Journal entries: a header that chains them, and a batch of events.

use bytes::Bytes;
use penstock_common::limits::{COMPRESS_ABOVE_BYTES, MAX_ENTRY_EVENTS_BYTES};
use penstock_common::{Digest, Epoch, Event, Seq, Timestamp};
use penstock_proto::{FORMAT, decode_events, v1};
use prost::Message;

/// An entry, read.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) epoch: Epoch,
    pub(crate) now: Timestamp,
    pub(crate) previous: Option<Digest>,
    pub(crate) events: Vec<Event>,
}

/// Why an entry cannot be read. A reader stops here; it never skips.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("journal entry {seq}: {why}")]
pub struct EntryError {
    /// Which.
    pub seq: Seq,
    /// What is wrong with it.
    pub why: String,
}

/// What every entry of a term shares.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) cluster: String,
    pub(crate) epoch: Epoch,
}

/// The bytes of an entry. `events` are encoded already.
pub(crate) fn encode(header: &Header, seq: Seq, now: Timestamp, wall: Timestamp, previous: Option<Digest>, events: Vec<u8>) -> Bytes {
    let packed = if events.len() > COMPRESS_ABOVE_BYTES { zstd::bulk::compress(&events, 1).ok() } else { None };
    let compressed = packed.is_some();
    let entry = v1::Entry {
        header: Some(v1::EntryHeader {
            format: FORMAT,
            cluster: header.cluster.clone(),
            epoch: Some(header.epoch.into()),
            seq: seq.0,
            now_ms: now.0,
            wall_ms: wall.0,
            previous: previous.map_or_else(Bytes::new, |d| d.0.to_vec().into()),
        }),
        body: packed.unwrap_or(events).into(),
        compressed,
    };
    entry.encode_to_vec().into()
}

/// Reads an entry and checks that it is the one it should be.
pub(crate) fn decode(cluster: &str, seq: Seq, bytes: &[u8]) -> Result<Entry, EntryError> {
    let err = |why: String| EntryError { seq, why };
    let entry = v1::Entry::decode(bytes).map_err(|e| err(e.to_string()))?;
    let header = entry.header.ok_or_else(|| err("it has no header".to_owned()))?;
    if header.format > FORMAT {
        return Err(err(format!("it is of format {} and this program reads up to {FORMAT}: start a newer version", header.format)));
    }
    if header.seq != seq.0 || header.cluster != cluster {
        return Err(err(format!("it says that it is entry {} of cluster {}", header.seq, header.cluster)));
    }
    let body = if entry.compressed {
        zstd::bulk::decompress(&entry.body, MAX_ENTRY_EVENTS_BYTES).map_err(|e| err(e.to_string()))?
    } else {
        entry.body.to_vec()
    };
    Ok(Entry {
        epoch: header.epoch.unwrap_or_default().into(),
        now: Timestamp(header.now_ms),
        previous: Digest::from_slice(&header.previous),
        events: decode_events(&body).map_err(|e| err(e.to_string()))?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use penstock_common::RunNo;
    use penstock_proto::encode_events;

    #[test]
    fn an_entry_reads_back_small_or_compressed() {
        let header = Header { cluster: "c".into(), epoch: Epoch { incarnation: 1, revision: 7 } };
        for count in [0, 1, 5_000] {
            let events: Vec<_> = (0..count).map(|n| Event::RunStarted { run: RunNo(n), at: Timestamp(5) }).collect();
            let bytes = encode(&header, Seq(3), Timestamp(1), Timestamp(2), Some(Digest::of(b"x")), encode_events(events.clone()));
            let entry = decode("c", Seq(3), &bytes).unwrap();
            assert_eq!(entry.events, events);
            assert_eq!(entry.epoch, header.epoch);
            assert_eq!(entry.previous, Some(Digest::of(b"x")));
            assert!(decode("other", Seq(3), &bytes).is_err());
            assert!(decode("c", Seq(4), &bytes).is_err());
        }
    }
}
