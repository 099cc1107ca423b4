//! What Penstock remembers: one narrow port with three backends, and the journal, checkpoints, election and
//! history written once over it. Start with [`port`], then `journal`.

mod apply;
pub mod blobs;
pub mod conformance;
pub mod election;
mod embedded;
mod etcd;
pub mod fenced;
pub mod journal;
pub mod keys;
mod memory;
pub mod port;
mod watchers;

pub use election::Candidacy;
pub use embedded::Embedded;
pub use etcd::{Etcd, EtcdOptions, Tls};
pub use fenced::{Fenced, FencedError};
pub use journal::Journal;
pub use keys::Keys;
pub use memory::Memory;
pub use port::{Error, Guard, Key, KeyValue, Op, Outcome, Range, SessionId, Space, Store, Txn, Wakes};
