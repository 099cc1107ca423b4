//! Journal entries, read by the wire format alone.

use penstock_proto::v1;
use prost::Message;

/// An entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// (incarnation, revision).
    pub epoch: (u64, u64),
    /// Its own number.
    pub seq: u64,
    /// The deadlines' clock.
    pub now_ms: i64,
    /// BLAKE3 of the entry before it.
    pub previous: Vec<u8>,
    /// In their order.
    pub events: Vec<v1::event::Kind>,
}

/// Reads an entry.
///
/// # Errors
/// What is wrong with its bytes.
pub fn read(bytes: &[u8]) -> Result<Entry, String> {
    const LARGEST: usize = 16 * 1024 * 1024;
    let entry = v1::Entry::decode(bytes).map_err(|e| e.to_string())?;
    let header = entry.header.ok_or("it has no header")?;
    let body =
        if entry.compressed { zstd::bulk::decompress(&entry.body, LARGEST).map_err(|e| e.to_string())? } else { entry.body.to_vec() };
    let events = v1::Events::decode(body.as_slice()).map_err(|e| e.to_string())?.events;
    let events =
        events.into_iter().map(|event| event.kind.ok_or_else(|| "an event of no known kind".to_owned())).collect::<Result<_, _>>()?;
    let epoch = header.epoch.unwrap_or_default();
    Ok(Entry {
        epoch: (epoch.incarnation, epoch.revision),
        seq: header.seq,
        now_ms: header.now_ms,
        previous: header.previous.to_vec(),
        events,
    })
}
