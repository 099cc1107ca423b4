//! Blobs that nothing names any more are deleted, an hour after that was first seen.
//!
//! What there is and what history keeps is looked up beside the loop; what state names is the loop's to say, and the loop deletes in
//! the place where it would store a blob, so that none is deleted while it is being written again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use penstock_common::{Digest, Seq};
use penstock_store::{Fenced, Keys, blobs};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::archive;

const LOOK_EVERY: Duration = Duration::from_secs(600);
const UNNAMED_FOR: Duration = Duration::from_secs(3_600);
/// Blobs deleted together.
const AT_ONCE: usize = 50;

/// Looks from time to time for blobs that history does not keep.
pub(crate) async fn look_for_blobs(fenced: Fenced, keys: Keys, found: mpsc::Sender<BTreeSet<Digest>>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let all = blobs::list(fenced.store(), &keys).await;
        let kept = archive::kept_items(&**fenced.store(), &keys).await;
        match (all, kept) {
            (Ok(all), Ok(kept)) => {
                if found.send(all.difference(&kept).copied().collect()).await.is_err() {
                    return;
                }
            }
            (Err(error), _) | (_, Err(error)) => tracing::debug!(%error, "blobs could not be listed"),
        }
    }
}

/// Since when, and since which entry, which blob is named by nothing.
#[derive(Debug, Default)]
pub(crate) struct Unnamed(BTreeMap<Digest, (Instant, Seq)>);

impl Unnamed {
    /// Takes a look at entry `seq` into account; returns what may be deleted now. An entry that a restart would replay may still need a
    /// blob, so the checkpoint must have passed the entry at which it was first seen to be named by nothing.
    pub(crate) fn old(
        &mut self,
        found: &BTreeSet<Digest>,
        named: &BTreeSet<Digest>,
        now: Instant,
        seq: Seq,
        checkpoint: Seq,
    ) -> Vec<Digest> {
        self.0.retain(|digest, _| found.contains(digest) && !named.contains(digest));
        for digest in found.difference(named) {
            self.0.entry(*digest).or_insert((now, seq));
        }
        let passed = |(since, seq): &(Instant, Seq)| now.duration_since(*since) >= UNNAMED_FOR && checkpoint > *seq;
        let old = self.0.iter().filter(|(_, first)| passed(first));
        old.map(|(digest, _)| *digest).take(AT_ONCE).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_goes_an_hour_after_nothing_names_it_and_stays_if_something_does_again() {
        let [a, b] = [b"a", b"b"].map(|text| Digest::of(text));
        let (both, none) = (BTreeSet::from([a, b]), BTreeSet::new());
        let start = Instant::now();
        let mut unnamed = Unnamed::default();
        let mut look = |named: &BTreeSet<Digest>, at, checkpoint| unnamed.old(&both, named, at, Seq(7), Seq(checkpoint));
        assert!(look(&none, start, 1).is_empty());
        assert!(look(&BTreeSet::from([b]), start + UNNAMED_FOR / 2, 9).is_empty());
        assert!(look(&none, start + UNNAMED_FOR, 7).is_empty(), "a restart would replay an entry that may need it");
        assert_eq!(look(&none, start + UNNAMED_FOR, 8), [a], "b was named meanwhile: its hour begins again");
        assert_eq!(look(&none, start + 2 * UNNAMED_FOR, 8), if a < b { vec![a, b] } else { vec![b, a] });
    }
}
