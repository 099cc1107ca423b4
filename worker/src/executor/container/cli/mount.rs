//! The directory that a container shares with the worker: where it writes its output and its items.
//!
//! Whoever the program in the container runs as may write there; on the worker, nobody but the worker may enter, because the
//! directory lies in one that is closed. What a container puts there is never followed if it is a link (see
//! [`output`](crate::attempt::output)): it would lead somewhere on the worker.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::mem::ManuallyDrop;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::arguments::MOUNTED_AT;
use crate::attempt::output::OutputFiles;

/// How the names of these directories in the scratch directory begin. Not as those of output files do: a container may leave
/// there what the worker has no right to remove, and that must not keep it from starting.
const PREFIX: &str = "container-";
/// The directory within, which is mounted.
const SHARED: &str = "shared";

/// The directory. It stays when this is dropped: a container that is adopted later still writes there.
pub(super) struct Mount {
    closed: PathBuf,
    shared: PathBuf,
}

impl Mount {
    /// Makes the directory of a container of this name, empty but for the output file. Blocks.
    pub(super) fn create(scratch: &Path, name: &str) -> io::Result<Self> {
        let closed = std::path::absolute(scratch.join(format!("{PREFIX}{name}")))?;
        if closed.exists() {
            std::fs::remove_dir_all(&closed)?; // of the same lease, executed before; its container is gone
        }
        DirBuilder::new().mode(0o700).create(&closed)?;
        let shared = closed.join(SHARED);
        std::fs::create_dir(&shared)?;
        let files = ManuallyDrop::new(OutputFiles::within(&shared)); // dropped, it would take the files with it
        OpenOptions::new().write(true).create_new(true).open(files.output())?;
        // Not when they are made: the umask would be taken away.
        std::fs::set_permissions(files.output(), Permissions::from_mode(0o666))?;
        std::fs::set_permissions(&shared, Permissions::from_mode(0o777))?;
        Ok(Self { closed, shared })
    }

    /// The one that an adopted container has. Only its own worker's directory is ever removed.
    pub(super) fn adopt(scratch: &Path, name: &str, source: PathBuf) -> io::Result<Self> {
        Ok(Self { closed: std::path::absolute(scratch.join(format!("{PREFIX}{name}")))?, shared: source })
    }

    /// What is mounted.
    pub(super) fn shared(&self) -> &Path {
        &self.shared
    }

    /// The container is gone and its files are read. Blocks.
    pub(super) fn remove(self) {
        remove(&self.closed);
    }
}

/// Where the program in the container finds its output and its items.
pub(super) fn within() -> (PathBuf, PathBuf) {
    let files = ManuallyDrop::new(OutputFiles::within(Path::new(MOUNTED_AT)));
    (files.output().to_owned(), files.items().to_owned())
}

/// Removes what a former life left. Blocks.
pub(super) fn remove_old(scratch: &Path) {
    let Ok(entries) = std::fs::read_dir(scratch) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))) {
        remove(&entry.path());
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_dir_all(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove a container's directory: what it wrote there may be another user's");
    }
}
