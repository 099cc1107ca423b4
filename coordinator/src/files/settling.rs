//! Which files have settled, and which are gone for good: one look after another, by the time between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use penstock_common::limits::MAX_FILES_PER_TRIGGER;
use penstock_scheduler::input::FoundFile;

use super::Looked;

/// A file system that is not mounted for a while looks like a directory whose files are gone: what is forgotten at once would start
/// runs again when it is back.
pub(crate) const GONE: Duration = Duration::from_secs(3_600);
/// The same where little more can be remembered.
const GONE_UNDER_PRESSURE: Duration = Duration::from_secs(60);

/// Versions by path.
pub(crate) type Known = BTreeMap<Arc<str>, Arc<str>>;

/// What a look means.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) found: Vec<FoundFile>,
    pub(crate) gone: Vec<Arc<str>>,
}

#[derive(Debug, Default)]
pub(crate) struct Settling {
    /// Versions that the trigger does not know yet, and since when they have been seen.
    new: BTreeMap<Arc<str>, (Arc<str>, Duration)>,
    /// Files that it knows and that are not there, and since when.
    missing: BTreeMap<Arc<str>, Duration>,
}

impl Settling {
    /// The next look, at `now`. What has not changed for `settle` is found: oldest first, as it is the order of the runs.
    pub(crate) fn next(&mut self, looked: Looked, known: &Known, settle: Duration, now: Duration) -> Findings {
        let here: BTreeSet<Arc<str>> = looked.files.iter().map(|file| file.path.clone()).collect();
        let mut found = Vec::new();
        for file in looked.files {
            if known.get(&file.path) == Some(&file.version) {
                self.new.remove(&file.path);
                continue;
            }
            let (version, since) = self.new.entry(file.path.clone()).or_insert_with(|| (file.version.clone(), now));
            if *version != file.version {
                (*version, *since) = (file.version.clone(), now);
            }
            if now.saturating_sub(*since) >= settle {
                found.push(file);
            }
        }
        found.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
        if looked.is_whole {
            self.new.retain(|path, _| here.contains(path));
        }
        Findings { found, gone: self.gone(&here, known, looked.is_whole, now) }
    }

    fn gone(&mut self, here: &BTreeSet<Arc<str>>, known: &Known, is_whole: bool, now: Duration) -> Vec<Arc<str>> {
        self.missing.retain(|path, _| !here.contains(path) && known.contains_key(path));
        if !is_whole {
            // What could not be seen may be there.
            self.missing.clear();
            return Vec::new();
        }
        for path in known.keys().filter(|path| !here.contains(*path)) {
            self.missing.entry(path.clone()).or_insert(now);
        }
        let wait = if known.len() > MAX_FILES_PER_TRIGGER / 2 { GONE_UNDER_PRESSURE } else { GONE };
        self.missing.iter().filter(|(_, since)| now.saturating_sub(**since) >= wait).map(|(path, _)| path.clone()).collect()
    }
}
