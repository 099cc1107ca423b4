//! Secrets by reference: a document says `{secret: NAME}`, and the worker that executes the task knows the value.
//!
//! A value is looked for in the file `NAME` of the secrets' directory, which is how orchestrators of containers mount them,
//! and then in the worker's own variable `PENSTOCK_SECRET_NAME`, which no task inherits. It is read anew for each attempt, so
//! a rotated one is used by the next.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use penstock_common::ids;

/// What one secret may come to.
const MAX_BYTES: u64 = 64 * 1024;
/// How variables that hold secrets begin.
const PREFIX: &str = "PENSTOCK_SECRET_";

/// Where this worker's secrets are. `Debug` shows names, never values.
#[derive(Clone, Default)]
pub struct Secrets {
    dir: Option<PathBuf>,
    env: Arc<BTreeMap<String, OsString>>,
}

/// Why there is no value. Never shows one.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// A name that can be none.
    #[error("{0:?} is no name of a secret: it must be a letter, then at most 127 of A-Z, a-z, 0-9, _, . and - (no '..')")]
    Name(String),
    /// It is in neither place.
    #[error("the secret {name} is not on this worker. Tried: {file}; the worker's variable {PREFIX}{name}")]
    Nowhere {
        /// Which.
        name: String,
        /// The file that was tried, or that there is no directory.
        file: String,
    },
    /// Its file cannot be read.
    #[error("the secret {name} cannot be read from {}: {why}", path.display())]
    File {
        /// Which.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// It is no text, or too large.
    #[error("the secret {name} of {place} cannot be used: {why}")]
    Value {
        /// Which.
        name: String,
        /// Where it was found.
        place: String,
        /// What is wrong.
        why: &'static str,
    },
}

impl Secrets {
    /// `dir` holds a file for each secret. Of `env`, which is the worker's environment, only `PENSTOCK_SECRET_…` is kept.
    pub fn new(dir: Option<PathBuf>, env: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let secret = |(name, value): (OsString, OsString)| Some((name.to_str()?.strip_prefix(PREFIX)?.to_owned(), value));
        Self { dir, env: Arc::new(env.into_iter().filter_map(secret).collect()) }
    }

    /// The value. A newline at the end of a file is not part of it. Blocks.
    pub(crate) fn get(&self, name: &str) -> Result<String, Missing> {
        if !ids::is_token(name) || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(Missing::Name(name.chars().take(140).collect()));
        }
        let path = self.dir.as_ref().map(|dir| dir.join(name));
        if let Some(path) = path.clone()
            && let Some(mut value) = read(&path).map_err(|why| Missing::File { name: name.to_owned(), path: path.clone(), why })?
        {
            if value.ends_with(b"\n") {
                value.pop();
                value.pop_if(|last| *last == b'\r');
            }
            return text(name, value, || format!("the file {}", path.display()));
        }
        if let Some(value) = self.env.get(name) {
            return text(name, value.clone().into_encoded_bytes(), || format!("the variable {PREFIX}{name}"));
        }
        let file = path
            .map_or_else(|| "no directory of secrets is configured (--secrets)".to_owned(), |path| format!("the file {}", path.display()));
        Err(Missing::Nowhere { name: name.to_owned(), file })
    }
}

/// `None` if there is no such file.
fn read(path: &std::path::Path) -> io::Result<Option<Vec<u8>>> {
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut value = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut value)?;
    Ok(Some(value))
}

fn text(name: &str, value: Vec<u8>, place: impl Fn() -> String) -> Result<String, Missing> {
    let wrong = |why| Missing::Value { name: name.to_owned(), place: place(), why };
    if value.len() as u64 > MAX_BYTES {
        return Err(wrong("it has more than 64 KiB"));
    }
    let value = String::from_utf8(value).map_err(|_| wrong("it is not UTF-8"))?;
    if value.contains('\0') {
        return Err(wrong("it holds a NUL character, which no variable or header can"));
    }
    if value.is_empty() { Err(wrong("it is empty")) } else { Ok(value) }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("dir", &self.dir).field("env", &self.env.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_before_a_variable_and_what_is_missing_is_told_with_the_places() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("A"), "from the file\n").unwrap();
        let env = [("PENSTOCK_SECRET_A", "1"), ("PENSTOCK_SECRET_B.c", "from the variable\n"), ("B", "x")];
        let secrets = Secrets::new(Some(dir.path().to_owned()), env.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(secrets.get("A").unwrap(), "from the file");
        assert_eq!(secrets.get("B.c").unwrap(), "from the variable\n");
        let missing = secrets.get("NOPE").unwrap_err().to_string();
        assert!(missing.contains(&format!("{}/NOPE", dir.path().display())) && missing.contains("PENSTOCK_SECRET_NOPE"), "{missing}");
        let shown = format!("{secrets:?}");
        assert!(shown.contains("B.c") && !shown.contains("from"), "{shown}");
    }

    #[test]
    fn a_name_is_no_path_and_a_value_is_a_text() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(Some(dir.path().join("s")), []);
        std::fs::create_dir_all(dir.path().join("s/dir")).unwrap();
        std::fs::write(dir.path().join("up"), "x").unwrap();
        for bad in ["../up", "a/../../up", "..", "a..b", "", "1a", "a\0", "/etc/passwd", &"a".repeat(200)] {
            assert!(matches!(secrets.get(bad), Err(Missing::Name(_))), "{bad}");
        }
        for (value, why) in [(&b"\xff\xff"[..], "UTF-8"), (b"a\0b", "NUL"), (b"", "empty"), (&[b'x'; 70_000], "64 KiB")] {
            std::fs::write(dir.path().join("s/V"), value).unwrap();
            assert!(secrets.get("V").unwrap_err().to_string().contains(why), "{why}");
        }
        assert!(matches!(secrets.get("dir"), Err(Missing::File { .. })));
    }
}
