//! The file under the database: creating and opening it, its size, the room on its disk, and whether it is still
//! the one that was opened.
//!
//! What is in it is `engine`'s. [`Medium`] is a trait only so that unit tests can put a failing disk in its place.
//! Tested by `tests/embedded.rs`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use redb::{Builder, Database, DatabaseError};

use super::failure::{Failure, RESTORE, from_io};
use crate::port::{Error, Space};

/// What an engine writes to.
pub(super) trait Medium: Send + Sync {
    /// Its name in messages.
    fn path(&self) -> &Path;
    /// Opens the database; an error of a database that is damaged beyond that may also be a panic.
    fn open(&self) -> Result<Database, Failure>;
    /// Bytes that may still be written; or why nothing may.
    fn room(&self) -> Result<u64, Error>;
    /// Its size; what it takes on its disk counts as used.
    fn space(&self) -> Result<Space, Error>;
}

/// Puts are refused when less room than this is left (bytes): redb writes every changed page anew, deletions too, and
/// these must go on.
pub(super) const RESERVE: u64 = 8 * 1024 * 1024;
/// redb's cache (bytes). What is read often is in the coordinator's memory anyway.
const CACHE: usize = 32 * 1024 * 1024;

/// redb as it is used here: every page is verified at open, because a plain open trusts what it finds. So the saved
/// allocator state ("quick repair"), which makes every commit slower to spare that pass, is left off.
pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    builder
}

/// A file of the operating system.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    /// Device and inode of the file that was opened.
    opened: Mutex<Option<(u64, u64)>>,
}

impl Disk {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), opened: Mutex::new(None) }
    }

    fn says(&self, error: &io::Error) -> Error {
        from_io(&self.path.display().to_string(), error)
    }

    /// Makes an empty file, and its directories, where there is none.
    fn create(&self) -> Result<bool, Error> {
        let parent = parent(&self.path);
        std::fs::create_dir_all(parent).map_err(|error| from_io(&parent.display().to_string(), &error))?;
        match OpenOptions::new().write(true).create_new(true).open(&self.path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(self.says(&error)),
        }
    }

    fn open_file(&self, created: bool) -> Result<Database, Failure> {
        // `open` refuses an empty file that was there before: a store was cut to nothing, or its first start was.
        let opened = if created { builder().create(&self.path) } else { builder().open(&self.path) };
        let database = opened.map_err(|error| match error {
            DatabaseError::Storage(redb::StorageError::Io(_)) if !created && self.is_empty() => {
                Failure::Said(Error::Damaged(format!("{} is empty; {RESTORE}", self.path.display())))
            }
            error => error.into(),
        })?;
        if created {
            let directory = File::open(parent(&self.path)).and_then(|directory| directory.sync_all());
            directory.map_err(|error| self.says(&error))?;
        }
        Ok(database)
    }

    fn is_empty(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() == 0)
    }
}

/// The directory of a file.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Medium for Disk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> Result<Database, Failure> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        // Once opened, it is never made anew: that would hide that it was deleted.
        let created = opened.is_none() && self.create()?;
        let database = match self.open_file(created) {
            Ok(database) => database,
            Err(failure) => {
                // A start that failed leaves no half-made file, unless another process took it meanwhile.
                if created && !matches!(&failure, Failure::Broken(error) if matches!(**error, redb::Error::DatabaseAlreadyOpen)) {
                    let _ = std::fs::remove_file(&self.path);
                }
                return Err(failure);
            }
        };
        let metadata = std::fs::metadata(&self.path).map_err(|error| self.says(&error))?;
        *opened = Some((metadata.dev(), metadata.ino()));
        Ok(database)
    }

    fn room(&self) -> Result<u64, Error> {
        let found = std::fs::metadata(&self.path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        if found != *self.opened.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(Error::Damaged(format!(
                "{} was deleted or replaced while in use; put the file back, or stop and {RESTORE}",
                self.path.display()
            )));
        }
        let disk = rustix::fs::statvfs(&self.path).map_err(|error| self.says(&error.into()))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn space(&self) -> Result<Space, Error> {
        let metadata = std::fs::metadata(&self.path).map_err(|error| self.says(&error))?;
        let used = metadata.blocks().saturating_mul(512).min(metadata.len());
        Ok(Space { file: metadata.len(), used, quota: 0, full: false })
    }
}
