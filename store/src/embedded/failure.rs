//! What redb and the disk can answer, as the port's errors: each names the file and says what to do.
//!
//! Nothing is decided here. Tested by `tests/embedded.rs` and the engine's unit tests.

use std::any::Any;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::port::Error;

/// Why work on the database did not end well.
#[derive(Debug)]
pub(super) enum Failure {
    /// The answer is an ordinary one and the database is sound.
    Said(Error),
    /// redb failed: it has to be opened again before it is used again.
    Broken(Box<redb::Error>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Said(error)
    }
}

macro_rules! broken {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Broken(Box::new(error.into()))
            }
        })*
    };
}
broken!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError, redb::SetDurabilityError, redb::DatabaseError);

/// What to do about a damaged file.
pub(super) const RESTORE: &str = "restore it from a backup, or move it away to start with an empty store";

/// The port's error for one of redb's.
pub(super) fn from_redb(path: &Path, error: &redb::Error) -> Error {
    let path = path.display();
    match error {
        redb::Error::DatabaseAlreadyOpen => Error::InUse(format!("{path} is held by another process; stop that one, or use another path")),
        redb::Error::Io(error) => from_io(&path.to_string(), error),
        redb::Error::Corrupted(what) => Error::Damaged(format!("{path}: {what}; {RESTORE}")),
        redb::Error::UpgradeRequired(version) => {
            Error::Invalid(format!("{path} is a redb file of version {version}, which Penstock never wrote; use another path"))
        }
        redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableIsNotMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableDoesNotExist(_) => {
            Error::Invalid(format!("{path} is a redb file of another program ({error}); use another path"))
        }
        redb::Error::ValueTooLarge(_) => Error::Invalid(error.to_string()),
        _ => Error::Unavailable(format!("{path}: {error}; it is opened again at the next call")),
    }
}

/// The port's error for one of the operating system's.
pub(super) fn from_io(path: &str, error: &io::Error) -> Error {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Error::Denied(format!("{path}: {error}; this user needs to write the file and its directory"))
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Error::NoSpace(format!("{path}: {error}; free some space on its disk"))
        }
        ErrorKind::InvalidData => Error::Invalid(format!("{path} is no store of Penstock ({error}); use another path, or {RESTORE}")),
        ErrorKind::UnexpectedEof => Error::Damaged(format!("{path} ends too early; {RESTORE}")),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::AlreadyExists => {
            Error::Invalid(format!("{path}: {error}; name a file in a directory that can be written"))
        }
        _ => Error::Unavailable(format!("{path}: {error}; look at its disk")),
    }
}

/// The port's error for a panic of redb, which trusts a file more than it should.
pub(super) fn from_panic(path: &Path, panic: &(dyn Any + Send)) -> Error {
    let what = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
        .lines()
        .next()
        .unwrap_or_default();
    Error::Damaged(format!("{}: what is in it makes no sense ({what}); {RESTORE}", path.display()))
}
