//! The binary under test, and its verbs.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Where it is: `PENSTOCK_BIN`, else beside this test's own target directory.
///
/// # Panics
/// When it was not built.
pub fn path() -> PathBuf {
    if let Some(given) = std::env::var_os("PENSTOCK_BIN") {
        let path = std::path::absolute(PathBuf::from(given)).expect("is a path");
        assert!(path.exists(), "PENSTOCK_BIN names {}, which does not exist", path.display());
        return path;
    }
    // target/<profile>/deps/<test> -> target/<profile>/penstock
    let test = std::env::current_exe().expect("has a path");
    let path = test.ancestors().nth(2).expect("lies in target/<profile>/deps").join("penstock");
    assert!(path.exists(), "{} was not built: run `make test`, or `cargo build -p penstock` first", path.display());
    path
}

/// Whether it is a release build, whose timings mean something.
pub fn is_release() -> bool {
    path().parent().is_some_and(|dir| dir.ends_with("release"))
}

/// Removes from a command what the environment of whoever runs the tests would tell it.
macro_rules! without_own_environment {
    ($command:expr) => {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("PENSTOCK_") || text.starts_with("OTEL_") {
                $command.env_remove(&name);
            }
        }
    };
}

/// The binary as a child to be.
pub fn command() -> std::process::Command {
    let mut command = std::process::Command::new(path());
    without_own_environment!(command);
    command
}

/// The same for tokio; killed when its child is dropped.
pub fn tokio_command() -> tokio::process::Command {
    let mut command = tokio::process::Command::new(path());
    without_own_environment!(command);
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

/// What came of a verb.
#[derive(Debug)]
pub struct Ran {
    /// The exit status; -1 for a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Ran {
    /// This, if it ended with 0.
    ///
    /// # Panics
    /// Else.
    pub fn well(self) -> Self {
        assert_eq!(self.code, 0, "it was to end with 0: {self:#?}");
        self
    }

    /// Its output as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {self:#?}"))
    }

    /// Nothing of it is what a panic leaves.
    ///
    /// # Panics
    /// Else.
    pub fn without_panic(self) -> Self {
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self
    }
}

/// Runs `penstock ARGS…` in a directory.
pub async fn penstock(dir: &Path, args: &[&str]) -> Ran {
    penstock_with(dir, args, &[]).await
}

/// The same with more environment.
///
/// # Panics
/// When it does not end within the limit.
pub async fn penstock_with(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Ran {
    let mut command = tokio_command();
    command.args(args).envs(env.iter().copied()).current_dir(dir);
    let since = Instant::now();
    let output = tokio::time::timeout(crate::LATE, command.output()).await;
    let took = since.elapsed();
    let output = output.unwrap_or_else(|_| panic!("penstock {args:?} did not end")).expect("starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr), took }
}
