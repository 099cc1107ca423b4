//! Checkpoints: state as of an entry, written in changed chunks off the loop, made whole by one last transaction; then what it
//! replaced is deleted and the journal trimmed. Trimming stays a minute behind, so that followers keep up without a reload.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use penstock_common::limits::MAX_VALUE_BYTES;
use penstock_common::{Digest, Seq, Timestamp};
use penstock_proto::{FORMAT, v1};
use penstock_scheduler::Cut;
use penstock_store::{Error as StoreError, Fenced, FencedError, Journal, Keys, Op, Range};
use prost::Message;
use tokio::time::Instant;

use crate::archive::parts_of;

/// When a checkpoint is due.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// After so many entries.
    pub entries: u64,
    /// After so many bytes of entries.
    pub bytes: usize,
    /// After this time, if there was any entry.
    pub age: Duration,
    /// Entries are kept for this long after a checkpoint covers them.
    pub keep_entries: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { entries: 5_000, bytes: 32 * 1024 * 1024, age: Duration::from_secs(60), keep_entries: Duration::from_secs(60) }
    }
}

/// A cut whose entry is durable.
pub(crate) struct Due {
    pub(crate) cut: Cut,
    pub(crate) entry_digest: Digest,
    pub(crate) now: Timestamp,
    /// The store's revision of that entry.
    pub(crate) revision: u64,
}

/// Writes checkpoints, one at a time.
pub(crate) struct Checkpointer {
    fenced: Fenced,
    journal: Journal,
    policy: Policy,
    /// Every section in the store with its versions: what is replaced is deleted.
    stored: BTreeMap<String, BTreeMap<Seq, Vec<String>>>,
    /// Checkpoints made, with the time: entries before those old enough are trimmed.
    made: VecDeque<(Seq, u64, Instant)>,
}

impl Checkpointer {
    pub(crate) async fn new(fenced: Fenced, journal: Journal, policy: Policy) -> Result<Self, FencedError> {
        // What is newer than the checkpoint belongs to one that was never made whole: it is deleted, and never taken for data.
        let record = fenced.store().range(Range::key(&journal.keys().checkpoint())).await?.pop();
        let whole = match record {
            Some(kv) => Some(Seq(v1::Checkpoint::decode(kv.value).map_err(|e| StoreError::Damaged(format!("checkpoint: {e}")))?.seq)),
            None => None,
        };
        let mut torn = Vec::new();
        let mut stored: BTreeMap<String, BTreeMap<Seq, Vec<String>>> = BTreeMap::new();
        for prefix in [journal.keys().runs(), journal.keys().state()] {
            for kv in fenced.store().range(Range::prefix(&prefix).keys_only()).await? {
                if let Some((section, seq, _)) = Keys::split_part(&kv.key) {
                    if whole.is_none_or(|whole| seq > whole) {
                        torn.push(Op::Delete(kv.key.clone()));
                        continue;
                    }
                    stored.entry(section.to_owned()).or_default().entry(seq).or_default().push(kv.key.clone());
                }
            }
        }
        fenced.write_all(torn).await?;
        Ok(Self { fenced, journal, policy, stored, made: VecDeque::new() })
    }

    /// Writes one checkpoint.
    pub(crate) async fn write(&mut self, due: Due) -> Result<(), FencedError> {
        let keys = self.journal.keys().clone();
        let seq = due.cut.seq;
        let mut fresh: BTreeMap<String, Vec<(String, Bytes)>> = BTreeMap::new();
        let mut listed = Vec::with_capacity(due.cut.runs.len());
        for run in &due.cut.runs {
            let no = run.record.no;
            listed.push(no);
            let mut add = |section: &str, values: Vec<Bytes>| {
                let parts = values.into_iter().enumerate().map(|(part, value)| (keys.run_part(no, section, seq, part), value));
                fresh.insert(format!("{}{section}", keys.run(no)), parts.collect());
            };
            let stored = |section: &str| self.stored.contains_key(&format!("{}{section}", keys.run(no)));
            if run.is_changed() || !stored("head") {
                let head = v1::RunHead {
                    run: Some(run.record.clone().into()),
                    chunks: u32::try_from(run.chunks()).unwrap_or(u32::MAX),
                    items: Vec::new(),
                };
                add("head", vec![head.encode_to_vec().into()]);
            }
            for chunk in 0..run.chunks() {
                let section = format!("{chunk:04x}");
                if run.changed(chunk) || !stored(&section) {
                    add(&section, parts_of(run.tasks(chunk)));
                    tokio::task::yield_now().await;
                }
            }
        }
        let cluster: Bytes = v1::ClusterState::of(due.cut.cluster, listed.clone()).encode_to_vec().into();
        let cluster_parts: Vec<Bytes> = (0..cluster.len().div_ceil(MAX_VALUE_BYTES).max(1))
            .map(|part| cluster.slice(part * MAX_VALUE_BYTES..cluster.len().min((part + 1) * MAX_VALUE_BYTES)))
            .collect();
        let cluster_chunks = u32::try_from(cluster_parts.len()).unwrap_or(u32::MAX);
        let parts = cluster_parts.into_iter().enumerate().map(|(part, value)| (keys.state_part("cluster", seq, part), value));
        fresh.insert(format!("{}cluster", keys.state()), parts.collect());

        let mut digest = Vec::new();
        let mut ops = Vec::new();
        for (section, parts) in fresh {
            let version = self.stored.entry(section).or_default().entry(seq).or_default();
            for (key, value) in parts {
                digest.extend_from_slice(&Digest::of(&value).0);
                version.push(key.clone());
                ops.push(Op::Put(key, value, None));
            }
        }
        self.fenced.write_all(ops).await?;
        let checkpoint = v1::Checkpoint {
            format: FORMAT,
            seq: seq.0,
            entry_digest: due.entry_digest.0.to_vec().into(),
            now_ms: due.now.0,
            cluster_chunks,
            digest: Digest::of(&digest).0.to_vec().into(),
        };
        self.fenced.write(vec![Op::Put(keys.checkpoint(), checkpoint.encode_to_vec().into(), None)]).await?;
        self.made.push_back((seq, due.revision, Instant::now()));
        self.clean(&keys, seq, &listed).await
    }

    /// Deletes replaced versions and runs that live no more, and trims the journal.
    async fn clean(&mut self, keys: &Keys, seq: Seq, listed: &[penstock_common::RunNo]) -> Result<(), FencedError> {
        let live: std::collections::BTreeSet<String> = listed.iter().map(|no| keys.run(*no)).collect();
        let cluster = format!("{}cluster", keys.state());
        let mut ops = Vec::new();
        self.stored.retain(|section, versions| {
            let newest = versions.range(..=seq).next_back().map(|(s, _)| *s);
            let run = section.rfind('/').map(|at| &section[..=at]);
            let keep = *section == cluster || run.is_some_and(|run| live.contains(run));
            versions.retain(|version, parts| {
                let stays = keep && Some(*version) == newest;
                if !stays {
                    ops.extend(parts.drain(..).map(Op::Delete));
                }
                stays
            });
            !versions.is_empty()
        });
        self.fenced.write_all(ops).await?;
        let old_enough = |(_, _, at): &(Seq, u64, Instant)| at.elapsed() >= self.policy.keep_entries;
        let mut reached = None;
        while self.made.len() > 1 && self.made.front().is_some_and(old_enough) {
            reached = self.made.pop_front();
        }
        if let Some((trim_to, revision, _)) = reached {
            while self.journal.trim(&self.fenced, trim_to).await? {}
            self.fenced.store().compact(revision).await?;
        }
        Ok(())
    }
}
