//! What the worker and an attempt's supervisor say to each other on the control socket, one line each.
//!
//! Down: [`Start`] as JSON, then any of `term` and `kill`; the end of the stream means that the worker is gone. Up: [`Told`]
//! as JSON. Both ends are the same program, so no version is spoken.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::attempt::judge::Exit;

/// SIGTERM to the whole tree.
pub(super) const TERM: &str = "term\n";
/// SIGKILL to the whole tree.
pub(super) const KILL: &str = "kill\n";

/// What to run. It comes by the socket and not by the supervisor's argv or environment, so that no value of it is shown by
/// `ps` as the supervisor's.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Start {
    /// Program and arguments; never empty.
    pub(super) argv: Vec<String>,
    /// Set over what the supervisor inherited.
    pub(super) env: Vec<(String, String)>,
    /// The working directory.
    pub(super) cwd: PathBuf,
    /// Held shared while the supervisor lives, so that a new worker can wait for it.
    pub(super) lock: PathBuf,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    /// The program runs.
    Started,
    /// There is no program, and the supervisor ends.
    NotStarted(NotStarted),
    /// The program has ended, and so have its descendants but for `alive`.
    Ended(Exit),
}

/// Why there is no program.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NotStarted {
    /// What was being done.
    pub(super) step: Step,
    /// The system's error number, if it was the system.
    pub(super) errno: Option<i32>,
    /// The error as text.
    pub(super) error: String,
}

/// The steps of a supervisor up to the program's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    /// Session, subreaper, signals, threads, the lock.
    Prepare,
    /// Starting the program.
    Spawn,
    /// It was told to stop before that.
    Stopped,
}
