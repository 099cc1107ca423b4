//! Wall clocks that step, each process with its own: libfaketime, preloaded, reads how far ahead it is to be from a file at every look.
//! Monotonic clocks, uptime and files' times stay what they are.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The library of Debian's package `libfaketime`, whatever the machine's architecture.
///
/// # Panics
/// When it is not installed.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("lists /usr/lib").flatten().map(|entry| entry.path());
    let found = folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|path| path.exists());
    found.expect("libfaketime is not installed: run `make test`, which installs it")
}

fn file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.clock"))
}

/// A process to be gets a wall clock of its own, which is as far ahead as it was last [set](set).
pub(crate) fn fake(command: &mut Command, dir: &Path, name: &str) {
    let file = file(dir, name);
    if !file.exists() {
        set(dir, name, 0);
    }
    command
        .env("LD_PRELOAD", library())
        .env("FAKETIME_TIMESTAMP_FILE", file)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1");
}

/// Steps a process's clock, at once: it is so many seconds ahead of the machine's.
pub(crate) fn set(dir: &Path, name: &str, ahead_s: i64) {
    // Renamed, so that no look finds half of it.
    let new = dir.join(format!("{name}.clock.new"));
    std::fs::write(&new, format!("{ahead_s:+}\n")).expect("writes how far ahead a clock is");
    std::fs::rename(&new, file(dir, name)).expect("replaces the file");
}
