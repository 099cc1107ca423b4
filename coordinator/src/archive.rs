//! History: ended runs leave state for the store's `history/`, written in batches off the loop. State drops a run only after its
//! chunks and its id are durable, so a crash in between writes the same bytes again. Old history is deleted by count and age.

use std::collections::BTreeSet;
use std::sync::Arc;

use penstock_common::limits::{MAX_VALUE_BYTES, RUN_ID_WINDOW_MS};
use penstock_common::record::{RunRecord, TaskRecord};
use penstock_common::{Digest, RunId, RunNo};
use penstock_proto::v1;
use penstock_scheduler::{Input, Recall, Recalled, RunCut, RunFilter, SnapshotRun, outputs_in};
use penstock_store::{Error as StoreError, Fenced, FencedError, Keys, Op, Range, Store};
use prost::Message;
use tokio::sync::mpsc;

/// How much history is kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Runs at most.
    pub runs: usize,
    /// Milliseconds after their end at most.
    pub age_ms: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { runs: 10_000, age_ms: 90 * 24 * 3_600_000 }
    }
}

/// Tasks as values of bounded size.
pub(crate) fn parts_of(tasks: Vec<TaskRecord>) -> Vec<bytes::Bytes> {
    let mut parts = Vec::new();
    let mut chunk = v1::RunChunk::default();
    let mut bytes = 0;
    for task in tasks {
        let task = v1::Task::from(task);
        let size = task.encoded_len() + 8;
        if !chunk.tasks.is_empty() && bytes + size > MAX_VALUE_BYTES {
            parts.push(std::mem::take(&mut chunk).encode_to_vec().into());
            bytes = 0;
        }
        bytes += size;
        chunk.tasks.push(task);
    }
    parts.push(chunk.encode_to_vec().into());
    parts
}

/// What writes one run's history.
fn ops_of(keys: &Keys, cut: &RunCut) -> Vec<Op> {
    let no = cut.record.no;
    let mut ops = Vec::new();
    for chunk in 0..cut.chunks() {
        let section = format!("{chunk:04x}");
        let parts = parts_of(cut.tasks(chunk));
        // An earlier generation may have taken more parts.
        let after = keys.history_part(no, &section, parts.len());
        let end = penstock_store::port::prefix_end(&format!("{}{section}/", keys.history_run(no)));
        ops.push(Op::DeleteRange(after, end));
        for (part, value) in parts.into_iter().enumerate() {
            ops.push(Op::Put(keys.history_part(no, &section, part), value, None));
        }
    }
    let items = cut.items().into_iter().collect::<BTreeSet<_>>().into_iter().map(|digest| digest.0.to_vec().into()).collect();
    let head = v1::RunHead { run: Some(cut.record.clone().into()), chunks: u32::try_from(cut.chunks()).unwrap_or(u32::MAX), items };
    let place = v1::ArchivedRun {
        no: no.0,
        request_digest: cut.record.request_digest,
        version: cut.record.version,
        ended_at_ms: cut.record.ended_at.map_or(0, |t| t.0),
    };
    ops.push(Op::Put(keys.head(no), head.encode_to_vec().into(), None));
    ops.push(Op::Put(keys.run_id(&cut.record.id), place.encode_to_vec().into(), None));
    ops
}

/// Writes runs as they come; tells each once it is durable. Ends with the term.
pub(crate) async fn archivist(fenced: Fenced, keys: Keys, mut runs: mpsc::Receiver<RunCut>, done: mpsc::Sender<Input>) {
    let mut batch = Vec::new();
    while runs.recv_many(&mut batch, 64).await > 0 {
        let Ok(written) = write(&fenced, &keys, &batch).await else { return };
        batch.clear();
        for run in written {
            if done.send(Input::Archived { run }).await.is_err() {
                return;
            }
        }
    }
}

/// The term is over.
struct Over;

/// Writes runs, together; tells which are durable. A store in trouble is asked again. Where they cannot be written together each is
/// written by itself, so that one that never can be keeps none of the others.
async fn write(fenced: &Fenced, keys: &Keys, runs: &[RunCut]) -> Result<Vec<RunNo>, Over> {
    let ops: Vec<Op> = runs.iter().flat_map(|cut| ops_of(keys, cut)).collect();
    loop {
        match fenced.write_all(ops.clone()).await {
            Ok(()) => return Ok(runs.iter().map(|cut| cut.record.no).collect()),
            Err(FencedError::Deposed) => return Err(Over),
            Err(FencedError::Store(StoreError::Invalid(why))) => match runs {
                [run] => {
                    tracing::error!(%why, run = %run.record.id, "this run's history can never be written: it stays live");
                    return Ok(Vec::new());
                }
                many => {
                    let mut written = Vec::new();
                    for run in many {
                        written.extend(Box::pin(write(fenced, keys, std::slice::from_ref(run))).await?);
                    }
                    return Ok(written);
                }
            },
            Err(error) => {
                tracing::warn!(%error, runs = runs.len(), "history could not be written; trying again");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }
}

/// Looks up what runs read of tasks that they do not run, one run after another. Ends with the term.
pub(crate) async fn recaller(history: History, mut asked: mpsc::Receiver<Recall>, done: mpsc::Sender<Input>) {
    while let Some(recall) = asked.recv().await {
        let found = loop {
            match history.recall(&recall).await {
                Ok(found) => break found,
                Err(error) => {
                    tracing::warn!(%error, run = %recall.run, "what a run reads of earlier ones could not be read; trying again");
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
            }
        };
        if done.send(Input::Recalled { run: recall.run, found }).await.is_err() {
            return;
        }
    }
}

/// Deletes history beyond its bounds. Bounded work a call.
pub(crate) async fn trim(fenced: &Fenced, keys: &Keys, keep: Retention, now_ms: i64) -> Result<(), FencedError> {
    let heads = fenced.store().range(Range::prefix(&keys.heads())).await?;
    let surplus = heads.len().saturating_sub(keep.runs);
    let mut ops = Vec::new();
    for (index, kv) in heads.iter().enumerate().take(surplus.max(200)) {
        let Some(record) = read_head(&kv.value) else { continue };
        let ended = record.ended_at.map_or(0, |t| t.0);
        if index < surplus || ended.saturating_add_unsigned(keep.age_ms) < now_ms {
            let prefix = keys.history_run(record.no);
            ops.push(Op::DeleteRange(prefix.clone(), penstock_store::port::prefix_end(&prefix)));
            ops.push(Op::Delete(kv.key.clone()));
        }
    }
    fenced.write_all(ops).await
}

/// Forgets the ids of runs that ended longer ago than a repeated submit may come. Looks at a thousand ids a call, going round.
pub(crate) async fn sweep_ids(fenced: &Fenced, keys: &Keys, from: &mut String, now_ms: i64) -> Result<(), FencedError> {
    let mut range = Range::prefix(&keys.run_ids()).limit(1_000);
    if !from.is_empty() {
        range = range.starting_at(from.clone());
    }
    let ids = fenced.store().range(range).await?;
    *from = ids.last().filter(|_| ids.len() == 1_000).map_or(String::new(), |kv| format!("{}\0", kv.key));
    let old = |kv: &&penstock_store::KeyValue| {
        let place = v1::ArchivedRun::decode(&*kv.value).unwrap_or_default();
        place.ended_at_ms.saturating_add_unsigned(RUN_ID_WINDOW_MS) < now_ms
    };
    fenced.write_all(ids.iter().filter(old).map(|kv| Op::Delete(kv.key.clone())).collect()).await
}

/// Digests of the items files that history keeps.
pub(crate) async fn kept_items(store: &dyn Store, keys: &Keys) -> Result<BTreeSet<Digest>, StoreError> {
    let heads = store.range(Range::prefix(&keys.heads())).await?;
    let heads = heads.iter().filter_map(|kv| v1::RunHead::decode(&*kv.value).ok());
    Ok(heads.flat_map(|head| head.items).filter_map(|bytes| Digest::from_slice(&bytes)).collect())
}

fn read_head(bytes: &[u8]) -> Option<RunRecord> {
    v1::RunHead::decode(bytes).ok()?.run?.try_into().ok()
}

/// Reading history. Any coordinator does.
#[derive(Clone)]
pub(crate) struct History {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: Keys,
}

impl History {
    /// Where an archived run lies.
    pub(crate) async fn find(&self, id: &RunId) -> Result<Option<v1::ArchivedRun>, StoreError> {
        let found = self.store.range(Range::key(&self.keys.run_id(id))).await?.pop();
        found.map(|kv| v1::ArchivedRun::decode(kv.value).map_err(|e| StoreError::Damaged(format!("{}: {e}", kv.key)))).transpose()
    }

    /// An archived run without its tasks.
    pub(crate) async fn head(&self, no: RunNo) -> Result<Option<RunRecord>, StoreError> {
        Ok(self.store.range(Range::key(&self.keys.head(no))).await?.pop().and_then(|kv| read_head(&kv.value)))
    }

    /// What tasks put out in the newest run of an interval in which each succeeded.
    async fn recall(&self, recall: &Recall) -> Result<Recalled, StoreError> {
        let filter = RunFilter { pipeline: Some(recall.pipeline.clone()), ..RunFilter::default() };
        let mut found = Recalled::new();
        let runs = self.list(&filter, usize::MAX).await?;
        for run in runs.iter().filter(|run| run.interval == Some(recall.interval)) {
            let missing: Vec<_> = recall.tasks.iter().filter(|id| !found.contains_key(*id)).collect();
            if missing.is_empty() {
                break;
            }
            let tasks = self.stored_tasks(run.no, 0, usize::MAX).await?;
            found.extend(missing.into_iter().filter_map(|id| Some((id.clone(), (run.no, outputs_in(&tasks, id)?)))));
        }
        Ok(found)
    }

    /// A page of its tasks, from an index on; instances that are gone are not shown.
    pub(crate) async fn tasks(&self, no: RunNo, from: u32, limit: usize) -> Result<Vec<TaskRecord>, StoreError> {
        let mut tasks = self.stored_tasks(no, from, limit).await?;
        tasks.retain(|task| !task.gone);
        tasks.truncate(limit);
        Ok(tasks)
    }

    /// A run as it was archived, whole.
    pub(crate) async fn whole(&self, no: RunNo) -> Result<Option<SnapshotRun>, StoreError> {
        let Some(record) = self.head(no).await? else { return Ok(None) };
        Ok(Some(SnapshotRun { record, tasks: self.stored_tasks(no, 0, usize::MAX).await? }))
    }

    async fn stored_tasks(&self, no: RunNo, from: u32, limit: usize) -> Result<Vec<TaskRecord>, StoreError> {
        let chunk = from as usize / penstock_common::limits::TASKS_PER_CHUNK;
        let prefix = self.keys.history_run(no);
        let mut tasks = Vec::new();
        let mut next = format!("{prefix}{chunk:04x}/");
        // Counted without those that are gone, which a reply leaves out.
        while tasks.iter().filter(|task: &&TaskRecord| !task.gone).count() < limit {
            let values = self.store.range(Range::prefix(&prefix).starting_at(next.clone()).limit(4)).await?;
            let Some(last) = values.last() else { break };
            next = format!("{}\0", last.key);
            for kv in &values {
                let chunk = v1::RunChunk::decode(&*kv.value).map_err(|e| StoreError::Damaged(format!("{}: {e}", kv.key)))?;
                let records = chunk.tasks.into_iter().map(TaskRecord::try_from);
                let records: Result<Vec<_>, _> = records.collect();
                tasks.extend(records.map_err(|e| StoreError::Damaged(format!("{}: {e}", kv.key)))?.into_iter().filter(|t| t.index >= from));
            }
        }
        Ok(tasks)
    }

    /// Archived runs, newest first.
    pub(crate) async fn list(&self, filter: &RunFilter, limit: usize) -> Result<Vec<RunRecord>, StoreError> {
        let mut found = Vec::new();
        if !filter.states.is_empty() && !filter.states.iter().any(|state| state.is_terminal()) {
            return Ok(found); // only ended runs are archived
        }
        let mut range = Range::prefix(&self.keys.heads()).reverse().limit(256);
        if let Some(before) = filter.before {
            range.to = self.keys.head(before);
        }
        while found.len() < limit {
            let heads = self.store.range(range.clone()).await?;
            let Some(last) = heads.last() else { break };
            range.to.clone_from(&last.key);
            found.extend(heads.iter().filter_map(|kv| read_head(&kv.value)).filter(|r| filter.wants(r)));
        }
        found.truncate(limit);
        Ok(found)
    }
}
