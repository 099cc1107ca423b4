//! Files below a directory that every coordinator mounts. Blocks: for a thread of its own.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use penstock_common::Timestamp;
use penstock_common::pattern::FilePattern;
use penstock_common::walk::{Unseen, Walk};
use penstock_scheduler::input::FoundFile;

use super::Looked;

/// Lists the files that a pattern means, in the order of their names, at most so many.
pub(crate) fn look(pattern: &FilePattern, limit: usize, stopped: &AtomicBool) -> Looked {
    let mut looked = Looked { is_whole: true, ..Looked::default() };
    let fixed = if pattern.fixed().is_empty() { "/" } else { pattern.fixed() };
    if let Err(error) = std::fs::read_dir(fixed) {
        looked.is_nowhere = error.kind() == std::io::ErrorKind::NotFound;
        broken(&mut looked, format!("directory {fixed} cannot be read: {error}"));
        return looked;
    }
    let walk = match Walk::new(pattern.as_str(), stopped) {
        Ok(walk) => walk,
        Err(why) => {
            broken(&mut looked, format!("path {} {why}", pattern.as_str()));
            return looked;
        }
    };
    for path in walk {
        match path {
            Ok(path) => match file(&path) {
                Ok(None) => {}
                Ok(Some(_)) if looked.files.len() == limit => {
                    let why = format!(
                        "more than {limit} files match {}, and only the first {limit} by name are seen: move away what is done with",
                        pattern.as_str()
                    );
                    broken(&mut looked, why);
                    break;
                }
                Ok(Some(file)) => looked.files.push(file),
                // It blocks no other.
                Err(why) => drop(looked.trouble.get_or_insert(why)),
            },
            Err(why @ Unseen::NotUtf8(_)) => drop(looked.trouble.get_or_insert(why.to_string())),
            Err(why) => broken(&mut looked, why.to_string()),
        }
    }
    looked.is_whole &= !stopped.load(Ordering::Relaxed);
    looked
}

/// The first trouble is told; whatever it is, not all was seen.
fn broken(looked: &mut Looked, why: String) {
    looked.is_whole = false;
    looked.trouble.get_or_insert(why);
}

/// None: it is no file, or gone since.
fn file(path: &Path) -> Result<Option<FoundFile>, String> {
    let found = match path.metadata() {
        Ok(found) if found.is_file() => found,
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
    };
    let modified = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Ok(Some(FoundFile {
        path: path.to_string_lossy().into(),
        // No inode: on some file systems each mount, so each coordinator, sees another.
        version: format!("{}-{}", found.len(), modified.as_nanos()).into(),
        size: found.len(),
        modified: Timestamp(i64::try_from(modified.as_millis()).unwrap_or(i64::MAX)),
    }))
}
