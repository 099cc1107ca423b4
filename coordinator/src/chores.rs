//! What a leader does beside its loop: writes checkpoints, deletes old history, watches the room in the store. None of it decides
//! anything; all of it writes fenced, and ends with the term.

use std::sync::Arc;
use std::time::Duration;

use penstock_common::Seq;
use penstock_store::{Fenced, Guard, Journal, Keys, Space, election};
use tokio::sync::{mpsc, watch};

use crate::archive::{self, Retention};
use crate::checkpoint::{Checkpointer, Due, Policy};
use crate::clock::Clock;
use crate::handle::Trouble;

/// Writes checkpoints as they come due; tells of each whether it is whole: its cut's number and its entry.
pub(crate) async fn write_checkpoints(
    fenced: Fenced,
    journal: Journal,
    policy: Policy,
    mut due: mpsc::Receiver<Due>,
    written: mpsc::Sender<Option<(u64, Seq)>>,
) {
    // Made when it is first needed: a handover waits for nothing that it can do without.
    let mut checkpointer = None;
    while let Some(due) = due.recv().await {
        let (number, seq) = (due.cut.number, due.cut.seq);
        let outcome = async {
            let checkpointer = match &mut checkpointer {
                Some(checkpointer) => checkpointer,
                none => none.insert(Checkpointer::new(fenced.clone(), journal.clone(), policy).await?),
            };
            checkpointer.write(due).await
        };
        let outcome = match outcome.await {
            Ok(()) => Some((number, seq)),
            Err(error) => {
                tracing::warn!(%error, seq = seq.0, "the checkpoint could not be written; the next one will hold what this one would");
                // What of it is in the store is not known: it is listed again.
                checkpointer = None;
                None
            }
        };
        if written.send(outcome).await.is_err() {
            return;
        }
    }
}

/// Tells when this candidate is the first no longer: a leader that writes nothing would not notice, and go on promising workers
/// their attempts.
pub(crate) async fn watch_candidates(fenced: Fenced, keys: Keys, deposed: mpsc::Sender<String>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        match election::candidates(&**fenced.store(), &keys).await {
            Ok(all) if all.first().is_some_and(|first| fenced.guard() == Guard::CreatedAt(first.key.clone(), first.created)) => {}
            Ok(_) => {
                drop(deposed.send("this candidate is the first no longer".to_owned()).await);
                return;
            }
            // The session's own end tells when that lasts.
            Err(error) => tracing::debug!(%error, "the candidates could not be read"),
        }
    }
}

/// How often the room in the store is looked at, and how many looks later old history is deleted.
const HOUSE_TURN: Duration = Duration::from_secs(5);
const TURNS_PER_TRIM: u32 = 12;

/// Deletes old history, and says in time when the store has little room.
pub(crate) async fn keep_house(
    fenced: Fenced,
    keys: Keys,
    keep: Retention,
    clock: Arc<dyn Clock>,
    trouble: Arc<watch::Sender<Option<Trouble>>>,
) {
    let mut turns = 0u32;
    let mut ids_from = String::new();
    loop {
        if let Ok(space) = fenced.store().space().await {
            let now = trouble_with(&space);
            trouble.send_if_modified(|current| {
                let changed = current.as_ref().map(|t| t.full) != now.as_ref().map(|t| t.full);
                if changed {
                    match &now {
                        Some(trouble) => tracing::error!("{}", trouble.why),
                        None => tracing::info!("the store has room again"),
                    }
                    *current = now;
                }
                changed
            });
        }
        if turns.is_multiple_of(TURNS_PER_TRIM) {
            let now_ms = clock.wall().0;
            if let Err(error) = archive::trim(&fenced, &keys, keep, now_ms).await {
                tracing::warn!(%error, "old history could not be deleted");
            }
            if let Err(error) = archive::sweep_ids(&fenced, &keys, &mut ids_from, now_ms).await {
                tracing::warn!(%error, "old run ids could not be deleted");
            }
        }
        turns = turns.wrapping_add(1);
        tokio::time::sleep(HOUSE_TURN).await;
    }
}

/// What is wrong with the room in a store, if anything is.
pub(crate) fn trouble_with(space: &Space) -> Option<Trouble> {
    let Space { file, used, quota, full } = *space;
    let high = quota > 0 && used >= quota / 4 * 3;
    let why = if full {
        format!(
            "the store is full ({file} of {quota} bytes): nothing is started until there is room; \
             compact and defragment etcd, then disarm its alarm"
        )
    } else {
        format!("the store is three quarters full ({used} of {quota} bytes): no new run is taken until there is room")
    };
    (full || high).then_some(Trouble { full, why })
}
