//! The layout of keys below `<prefix>/<cluster>/`. Numbers are 16 hex digits, so keys sort as numbers do. Keys are built from
//! parsed ids and numbers only.

use penstock_common::{Digest, NodeName, RunId, RunNo, Seq};

use crate::port::Key;

/// All keys of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    root: String,
}

impl Default for Keys {
    /// `/penstock/default/`
    fn default() -> Self {
        Self { root: "/penstock/default/".to_owned() }
    }
}

impl Keys {
    /// Keys below `<prefix>/<cluster>/`.
    pub fn new(prefix: &str, cluster: &str) -> Self {
        Self { root: format!("{}/{cluster}/", prefix.trim_end_matches('/')) }
    }
    /// `meta`: format, cluster id, incarnation.
    pub fn meta(&self) -> Key {
        format!("{}meta", self.root)
    }
    /// All candidates.
    pub fn candidates(&self) -> Key {
        format!("{}candidates/", self.root)
    }
    /// One candidate.
    pub fn candidate(&self, node: &NodeName, session: &str) -> Key {
        format!("{}candidates/{node}/{session}", self.root)
    }
    /// All entries.
    pub fn journal(&self) -> Key {
        format!("{}journal/", self.root)
    }
    /// One entry.
    pub fn entry(&self, seq: Seq) -> Key {
        format!("{}journal/{:016x}", self.root, seq.0)
    }
    /// The seq of an entry's key.
    pub fn seq_of(&self, key: &str) -> Option<Seq> {
        let hex = key.strip_prefix(&self.root)?.strip_prefix("journal/")?;
        u64::from_str_radix(hex, 16).ok().map(Seq)
    }
    /// Which checkpoint is whole.
    pub fn checkpoint(&self) -> Key {
        format!("{}checkpoint", self.root)
    }
    /// All chunks of runs.
    pub fn runs(&self) -> Key {
        format!("{}runs/", self.root)
    }
    /// All chunks of one run.
    pub fn run(&self, no: RunNo) -> Key {
        format!("{}runs/{:016x}/", self.root, no.0)
    }
    /// One part of one section of a run, as of an entry: `head`, or a chunk's number.
    pub fn run_part(&self, no: RunNo, section: &str, seq: Seq, part: usize) -> Key {
        format!("{}runs/{:016x}/{section}/{:016x}/{part:04x}", self.root, no.0, seq.0)
    }
    /// All sections of state that are no run's.
    pub fn state(&self) -> Key {
        format!("{}state/", self.root)
    }
    /// One part of a section of state, as of an entry.
    pub fn state_part(&self, section: &str, seq: Seq, part: usize) -> Key {
        format!("{}state/{section}/{:016x}/{part:04x}", self.root, seq.0)
    }
    /// A chunked key taken apart: (everything before the seq, the seq, the part).
    pub fn split_part(key: &str) -> Option<(&str, Seq, usize)> {
        let (rest, part) = key.rsplit_once('/')?;
        let (section, seq) = rest.rsplit_once('/')?;
        Some((section, Seq(u64::from_str_radix(seq, 16).ok()?), usize::from_str_radix(part, 16).ok()?))
    }
    /// Every blob.
    pub fn blobs(&self) -> Key {
        format!("{}blobs/", self.root)
    }
    /// The digest in a key of a blob's part.
    pub fn blob_of(&self, key: &str) -> Option<Digest> {
        key.strip_prefix(&self.blobs())?.split_once('/')?.0.parse().ok()
    }
    /// All parts of a blob.
    pub fn blob(&self, digest: &Digest) -> Key {
        format!("{}blobs/{digest}/", self.root)
    }
    /// One part of a blob.
    pub fn blob_part(&self, digest: &Digest, part: usize) -> Key {
        format!("{}blobs/{digest}/{part:04x}", self.root)
    }
    /// One archived run; `head` first, then its chunks.
    pub fn history_run(&self, no: RunNo) -> Key {
        format!("{}history/{:016x}/", self.root, no.0)
    }
    /// One part of an archived run.
    pub fn history_part(&self, no: RunNo, section: &str, part: usize) -> Key {
        format!("{}history/{:016x}/{section}/{part:04x}", self.root, no.0)
    }
    /// Heads of archived runs, one small value each: what `list` reads.
    pub fn heads(&self) -> Key {
        format!("{}heads/", self.root)
    }
    /// The head of one archived run.
    pub fn head(&self, no: RunNo) -> Key {
        format!("{}heads/{:016x}", self.root, no.0)
    }
    /// All ids of archived runs.
    pub fn run_ids(&self) -> Key {
        format!("{}ids/", self.root)
    }
    /// Where an archived run lies.
    pub fn run_id(&self, id: &RunId) -> Key {
        format!("{}ids/{id}", self.root)
    }
}
