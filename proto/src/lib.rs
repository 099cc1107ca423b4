//! The contract: `penstock.v1` and its conversions to the vocabulary. Wire and domain meet here and nowhere else: what
//! comes from outside is parsed into typed ids and states, or refused with the field that is wrong.

mod control;
pub mod dial;
mod happening;
mod journal;
mod timetable;
mod types;
mod worker;

pub use journal::{decode_events, encode_events};
pub use timetable::intervals;
pub use types::Malformed;

/// Generated from `proto/penstock/v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
pub mod v1 {
    tonic::include_proto!("penstock.v1");
}

/// Descriptors of every message and service, for reflection.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("penstock_descriptor");

/// Trailer of a FAILED_PRECONDITION: where the leader is.
pub const LEADER_TRAILER: &str = "penstock-leader";
/// Trailer of a RESOURCE_EXHAUSTED: when to try again, in milliseconds.
pub const RETRY_AFTER_TRAILER: &str = "penstock-retry-after-ms";
/// The format of journal records that this program writes and reads.
pub const FORMAT: u32 = 2;
/// The oldest format that this program reads. Format 1 was never part of a release.
pub const OLDEST_FORMAT: u32 = 2;
