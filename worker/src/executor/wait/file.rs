//! A file that is there, and has not changed for a while.
//!
//! Probes may be on different workers and remember nothing, so that it has not changed is told by its time of modification: it
//! must be older than `settle` by this worker's clock.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::UNIX_EPOCH;

use glob::Pattern;
use penstock_common::metrics::Outputs;
use penstock_common::walk::{StopOnDrop, Walk};
use penstock_common::{Millis, Reason, Timestamp};
use serde_json::Value;
use tokio::task::spawn_blocking;

use super::Seen;
use crate::attempt::job::Job;
use crate::attempt::judge::Verdict;
use crate::attempt::template::Piece;

pub(super) async fn probe(job: &mut Job<'_>, path: &str, settle: Millis) -> Result<Seen, Verdict> {
    let wrong = |why: String| Verdict::failed(Reason::Template, &why);
    let pieces = job.templates.pieces("wait.file.path", path).map_err(wrong)?;
    let pattern = pattern(&job.workdir()?, &pieces);
    if pattern.contains('\0') {
        return Err(wrong("wait.file.path: the value holds a NUL character, which no path can".to_owned()));
    }
    let now = (job.host.clock)();
    let stop = StopOnDrop::default();
    let stopped = stop.flag();
    let looking = spawn_blocking(move || look(&pattern, settle, now, &stopped));
    let found = tokio::select! {
        found = looking => found.map_err(|error| Verdict::failed(Reason::Spawn, &format!("the worker's thread ended: {error}")))?,
        cause = job.halt.next() => return Err(cause.verdict()),
    };
    match found.map_err(wrong)? {
        Found::File(path) => {
            job.log.notice(&format!("{} is there", path.display()));
            let path = Value::from(path.to_string_lossy()).to_string();
            Ok(Seen::So(Outputs([("path".to_owned(), path)].into())))
        }
        Found::Nothing(why) => Ok(Seen::NotYet(why, None)),
    }
}

/// The document's words are a pattern; what values and the working directory hold is meant as it is.
fn pattern(workdir: &Path, pieces: &[Piece]) -> String {
    let path: String = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(words) => words.clone(),
            Piece::Value(value) => Pattern::escape(value),
        })
        .collect();
    if path.starts_with('/') { path } else { format!("{}/{path}", Pattern::escape(&workdir.to_string_lossy())) }
}

enum Found {
    File(PathBuf),
    Nothing(String),
}

/// The first file in the order of names that has settled. Blocks.
fn look(pattern: &str, settle: Millis, now: Timestamp, stopped: &AtomicBool) -> Result<Found, String> {
    let walk = Walk::new(pattern, stopped).map_err(|why| format!("wait.file.path: {pattern:?} {why}"))?;
    let mut instead = None;
    for path in walk {
        let path = match path {
            Ok(path) => path,
            Err(why) => {
                instead = Some(why.to_string());
                continue;
            }
        };
        // Gone since, or no file: another may match.
        let Some(found) = path.metadata().ok().filter(std::fs::Metadata::is_file) else { continue };
        let modified = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let modified = Timestamp(i64::try_from(modified.as_millis()).unwrap_or(i64::MAX));
        let age = now.since(modified);
        if age >= settle {
            return Ok(Found::File(path));
        }
        if instead.is_none() {
            let bytes = found.len();
            instead = Some(format!("{} ({bytes} bytes) changed {age} ago, and must be unchanged for {settle}", path.display()));
        }
    }
    Ok(Found::Nothing(instead.unwrap_or_else(|| format!("no file matches {pattern}"))))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn values_and_the_working_directory_are_no_patterns() {
        let pieces = [Piece::Text("in/".into()), Piece::Value("a*[b]?".into()), Piece::Text("-*.csv".into())];
        assert_eq!(pattern(Path::new("/code/[x]"), &pieces), "/code/[[]x[]]/in/a[*][[]b[]][?]-*.csv");
        assert_eq!(pattern(Path::new("/code"), &[Piece::Text("/mnt/*.csv".into())]), "/mnt/*.csv");
    }

    #[test]
    fn the_first_file_that_has_settled_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str, seconds: u64| {
            let file = std::fs::File::create(dir.path().join(name)).unwrap();
            file.set_modified(UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
        };
        let look = |pattern: &str, now: i64| {
            let pattern = format!("{}/{pattern}", dir.path().display());
            match look(&pattern, Millis(30_000), Timestamp(now * 1_000), &AtomicBool::new(false)).unwrap() {
                Found::File(path) => path.file_name().unwrap().to_str().unwrap().to_owned(),
                Found::Nothing(why) => why,
            }
        };
        at("b.csv", 100);
        at("a.csv", 990);
        at(".c.csv", 100);
        std::fs::create_dir(dir.path().join("0.csv")).unwrap();
        assert_eq!(look("*.csv", 1_000), "b.csv");
        assert_eq!(look("?.csv", 1_020), "a.csv");
        assert!(look("[a].csv", 1_000).contains("a.csv (0 bytes) changed 10s ago, and must be unchanged for 30s"));
        assert!(look("a.csv", 900).contains("changed 0s ago"), "a clock behind the file server's");
        assert!(look("x*.csv", 1_000).starts_with("no file matches"));
        std::fs::write(dir.path().join(OsStr::from_bytes(b"a\xff.txt")), "x").unwrap();
        assert!(look("*.txt", 1_000).contains("a\u{fffd}.txt is not UTF-8"));
        assert_eq!(look("*", 1_020), "a.csv", "one that cannot be named hides no other");
        assert!(super::look("/a/[", Millis(0), Timestamp(0), &AtomicBool::new(false)).is_err());
    }
}
