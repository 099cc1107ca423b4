//! A replica: the scheduler and its place in the journal. Loads the newest checkpoint, replays what follows, keeps up.

use std::sync::Arc;

use bytes::Bytes;
use penstock_common::pipeline::Pipeline;
use penstock_common::record::{RunRecord, TaskRecord};
use penstock_common::{Digest, Event, Items, RunNo, Seq, Timestamp};
use penstock_proto::v1;
use penstock_scheduler::{Plan, Scheduler, Snapshot, SnapshotRun};
use penstock_store::journal::PAGE;
use penstock_store::{Error as StoreError, Journal, Keys, Range, Store, blobs};
use prost::Message;
use std::collections::BTreeMap;

use crate::entry::{self, EntryError};
use crate::watch::Watchers;

/// The scheduler, as of an entry.
pub(crate) struct Replica {
    pub(crate) scheduler: Scheduler,
    pub(crate) journal: Journal,
    pub(crate) store: Arc<dyn Store>,
    /// The cluster's id, which every entry carries.
    pub(crate) cluster: String,
    pub(crate) incarnation: u64,
    /// The last entry replayed or appended, with its digest.
    pub(crate) seq: Seq,
    pub(crate) digest: Option<Digest>,
    /// The last entry's `now`.
    pub(crate) now: Timestamp,
    /// The entry of the checkpoint this replica knows of.
    pub(crate) checkpoint: Seq,
    /// The number of the cut that the newest checkpoint holds; 0 without one.
    pub(crate) cut_since: u64,
    pub(crate) watchers: Watchers,
}

/// Why a replica cannot be brought up to the journal's end.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The store's own trouble: try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry that this program cannot read.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A checkpoint that does not fit together.
    #[error("the checkpoint at entry {seq}: {why}")]
    Checkpoint {
        /// Which.
        seq: Seq,
        /// What is wrong with it.
        why: String,
    },
    /// Entries that this replica has not seen were trimmed: it must be loaded again.
    #[error("the journal was trimmed beyond entry {0}: this replica must be loaded again")]
    Behind(Seq),
    /// A definition that cannot be read or planned.
    #[error("the definition {digest}: {why}")]
    Definition {
        /// Which.
        digest: Digest,
        /// What is wrong with it.
        why: String,
    },
}

impl Replica {
    /// Loads state from the store: the checkpoint, if there is one, and every entry after it.
    pub(crate) async fn load(store: Arc<dyn Store>, keys: Keys) -> Result<Self, ReplayError> {
        let journal = Journal::new(store.clone(), keys.clone());
        let meta = journal.meta().await?.ok_or_else(|| StoreError::Damaged("meta is missing".to_owned()))?;
        let meta = v1::Meta::decode(meta).map_err(|e| StoreError::Damaged(format!("meta: {e}")))?;
        if meta.format > penstock_proto::FORMAT {
            let why = format!(
                "this cluster is of format {} and this program knows up to {}: start a newer version",
                meta.format,
                penstock_proto::FORMAT
            );
            return Err(StoreError::Invalid(why).into());
        }
        if meta.format < penstock_proto::OLDEST_FORMAT {
            let why = format!(
                "this cluster is of format {}, which this program no longer reads: end its runs with the version that made it, then \
                 start anew with another --cluster name, or an empty store",
                meta.format
            );
            return Err(StoreError::Invalid(why).into());
        }
        let mut replica = Self {
            scheduler: Scheduler::default(),
            journal,
            store,
            cluster: meta.cluster,
            incarnation: meta.incarnation,
            seq: Seq(0),
            digest: None,
            now: Timestamp(0),
            checkpoint: Seq(0),
            cut_since: 0,
            watchers: Watchers::default(),
        };
        // A checkpoint may be replaced while it is read: then it is read again.
        loop {
            match replica.load_checkpoint(&keys).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(ReplayError::Checkpoint { seq, .. }) if replica.read_checkpoint(&keys).await?.is_none_or(|now| now.seq != seq.0) => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        replica.catch_up().await?;
        Ok(replica)
    }

    async fn read_checkpoint(&self, keys: &Keys) -> Result<Option<v1::Checkpoint>, ReplayError> {
        let Some(found) = self.store.range(Range::key(&keys.checkpoint())).await?.pop() else { return Ok(None) };
        let checkpoint = v1::Checkpoint::decode(found.value).map_err(|e| StoreError::Damaged(format!("checkpoint: {e}")))?;
        Ok(Some(checkpoint))
    }

    async fn load_checkpoint(&mut self, keys: &Keys) -> Result<bool, ReplayError> {
        let Some(checkpoint) = self.read_checkpoint(keys).await? else {
            let first = self.journal.read(Seq(0)).await?;
            let (_, bytes) = first.into_iter().flatten().next().ok_or(ReplayError::Behind(Seq(0)))?;
            self.digest = Some(Digest::of(&bytes));
            return Ok(true);
        };
        let seq = Seq(checkpoint.seq);
        let broken = |why: String| ReplayError::Checkpoint { seq, why };
        let mut bytes = Vec::new();
        for part in 0..checkpoint.cluster_chunks as usize {
            let Some(found) = self.store.range(Range::key(&keys.state_part("cluster", seq, part))).await?.pop() else { return Ok(false) };
            bytes.extend_from_slice(&found.value);
        }
        let cluster = v1::ClusterState::decode(&*bytes).map_err(|e| broken(e.to_string()))?;
        let (cluster, listed) = cluster.split().map_err(|e| broken(e.to_string()))?;
        for pipeline in &cluster.pipelines {
            for (_, digest, _) in &pipeline.versions {
                self.learn(digest).await?;
            }
        }
        let mut runs = Vec::new();
        for no in listed {
            let Some(run) = self.load_run(keys, no, seq).await? else {
                return if self.read_checkpoint(keys).await?.is_some_and(|c| c.seq == seq.0) {
                    Err(broken(format!("chunks of run {no} are missing")))
                } else {
                    Ok(false)
                };
            };
            self.learn_items_of(&run).await?;
            runs.push(run);
        }
        self.scheduler.restore(Snapshot { cluster, runs }, seq).map_err(|e| broken(e.to_string()))?;
        self.seq = seq;
        self.checkpoint = seq;
        self.cut_since = 1;
        self.now = Timestamp(checkpoint.now_ms);
        self.digest = Digest::from_slice(&checkpoint.entry_digest);
        Ok(true)
    }

    /// Of each chunk the newest version that is not newer than the checkpoint.
    async fn load_run(&self, keys: &Keys, no: RunNo, seq: Seq) -> Result<Option<SnapshotRun>, ReplayError> {
        let broken = |why: String| ReplayError::Checkpoint { seq, why };
        let found = self.store.range(Range::prefix(&keys.run(no))).await?;
        let mut newest: BTreeMap<&str, (Seq, Vec<&Bytes>)> = BTreeMap::new();
        for kv in &found {
            let (section, version, _) = Keys::split_part(&kv.key).ok_or_else(|| broken(format!("{} is no chunk", kv.key)))?;
            if version > seq {
                continue;
            }
            let slot = newest.entry(section).or_insert((version, Vec::new()));
            if version > slot.0 {
                *slot = (version, Vec::new());
            }
            slot.1.push(&kv.value);
        }
        let head_key = format!("{}head", keys.run(no));
        let Some((_, head)) = newest.remove(head_key.as_str()) else { return Ok(None) };
        let head = v1::RunHead::decode(head.concat_bytes()).map_err(|e| broken(e.to_string()))?;
        let record = RunRecord::try_from(head.run.unwrap_or_default()).map_err(|e| broken(e.to_string()))?;
        let mut tasks = Vec::with_capacity(record.tasks as usize);
        if newest.len() != head.chunks as usize {
            return Ok(None);
        }
        for (_, parts) in newest.into_values() {
            for part in parts {
                let chunk = v1::RunChunk::decode(part.clone()).map_err(|e| broken(e.to_string()))?;
                for task in chunk.tasks {
                    tasks.push(TaskRecord::try_from(task).map_err(|e| broken(e.to_string()))?);
                }
            }
        }
        if tasks.iter().zip(0u32..).any(|(task, index)| task.index != index) {
            return Ok(None);
        }
        Ok(Some(SnapshotRun { record, tasks }))
    }

    /// Loads a definition, if it is not known.
    async fn learn(&mut self, digest: &Digest) -> Result<(), ReplayError> {
        if self.scheduler.knows(digest) {
            return Ok(());
        }
        let broken = |why: String| ReplayError::Definition { digest: *digest, why };
        let bytes = blobs::read(&self.store, self.journal.keys(), digest).await?;
        let pipeline = Pipeline::from_blob(&bytes).map_err(|e| broken(e.to_string()))?;
        let plan = Plan::compile(pipeline).map_err(|e| broken(e.to_string()))?;
        self.scheduler.learn(Arc::new(plan));
        Ok(())
    }

    /// Loads an items file, if it is not known.
    async fn learn_items(&mut self, digest: Option<&Digest>) -> Result<(), ReplayError> {
        let Some(digest) = digest.filter(|digest| !self.scheduler.knows_items(digest)) else { return Ok(()) };
        self.scheduler.learn_items(read_items(&self.store, self.journal.keys(), digest).await?);
        Ok(())
    }

    async fn learn_items_of(&mut self, run: &SnapshotRun) -> Result<(), ReplayError> {
        for digest in run.tasks.iter().filter_map(|task| task.items) {
            self.learn_items(Some(&digest)).await?;
        }
        Ok(())
    }

    /// Loads a run that is about to be live again.
    async fn learn_run(&mut self, digest: &Digest) -> Result<(), ReplayError> {
        let broken = |why: String| ReplayError::Definition { digest: *digest, why };
        let bytes = blobs::read(&self.store, self.journal.keys(), digest).await?;
        let run = decode_reopened(&bytes).map_err(broken)?;
        self.learn_items_of(&run).await?;
        self.scheduler.learn_run(*digest, run);
        Ok(())
    }

    /// Replays every entry there is. Returns how many.
    pub(crate) async fn catch_up(&mut self) -> Result<usize, ReplayError> {
        let mut replayed = 0;
        loop {
            let entries = self.journal.read(Seq(self.seq.0 + 1)).await?.ok_or(ReplayError::Behind(self.seq))?;
            let last = entries.len() < PAGE;
            replayed += entries.len();
            for (seq, bytes) in entries {
                self.replay(seq, &bytes).await?;
            }
            if last {
                return Ok(replayed);
            }
        }
    }

    async fn replay(&mut self, seq: Seq, bytes: &Bytes) -> Result<(), ReplayError> {
        let entry = entry::decode(&self.cluster, seq, bytes)?;
        if entry.previous != self.digest || entry.epoch < self.scheduler.state().leader().0 {
            let why = "it does not follow the entry before it: the store was changed by something else".to_owned();
            return Err(EntryError { seq, why }.into());
        }
        self.scheduler.at(seq);
        for event in &entry.events {
            match event {
                Event::PipelineRegistered { digest, .. } => self.learn(digest).await?,
                Event::AttemptEnded { ended, .. } => self.learn_items(ended.items.as_ref()).await?,
                Event::RunReopened { digest, .. } => self.learn_run(digest).await?,
                _ => {}
            }
            self.scheduler.replay(event);
            self.watchers.observe(&self.scheduler, event);
        }
        self.watchers.flush(&self.scheduler, seq);
        self.seq = seq;
        self.now = entry.now;
        self.digest = Some(Digest::of(bytes));
        Ok(())
    }
}

/// An items file from its blob.
pub(crate) async fn read_items(store: &Arc<dyn Store>, keys: &Keys, digest: &Digest) -> Result<Arc<Items>, ReplayError> {
    let broken = |why: String| ReplayError::Definition { digest: *digest, why };
    let bytes = blobs::read(store, keys, digest).await?;
    let text = std::str::from_utf8(&bytes).map_err(|e| broken(e.to_string()))?;
    Ok(Arc::new(Items::parse(text).map_err(|e| broken(e.to_string()))?))
}

fn decode_reopened(bytes: &[u8]) -> Result<SnapshotRun, String> {
    let reopened = v1::ReopenedRun::decode(bytes).map_err(|e| e.to_string())?;
    let record = reopened.run.ok_or("it holds no run")?.try_into().map_err(|e: penstock_proto::Malformed| e.to_string())?;
    let tasks = reopened.tasks.into_iter().map(|t| TaskRecord::try_from(t).map_err(|e| e.to_string())).collect::<Result<_, _>>()?;
    Ok(SnapshotRun { record, tasks })
}

trait ConcatBytes {
    fn concat_bytes(&self) -> Bytes;
}
impl ConcatBytes for Vec<&Bytes> {
    fn concat_bytes(&self) -> Bytes {
        self.iter().flat_map(|b| b.iter().copied()).collect()
    }
}
