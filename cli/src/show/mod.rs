//! What people and programs are shown.

pub(crate) mod json;
pub(crate) mod pages;
pub(crate) mod progress;
pub(crate) mod table;

use std::io::Write as _;

/// Prints a text and a newline; a reader that has gone away is no error.
pub(crate) fn print(text: &str) {
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// Who asks, as far as this machine knows; unverified.
pub(crate) fn whoami() -> String {
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default()
}

/// `01:02:03`, or `0.412s` below a minute.
pub(crate) fn duration(ms: u64) -> String {
    if ms < 60_000 {
        return format!("{}.{:03}s", ms / 1000, ms % 1000);
    }
    let s = ms / 1000;
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}
