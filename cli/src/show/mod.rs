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
    let named = ["USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok()).find(|name| !name.is_empty());
    named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

/// A text of somebody's as a line of a table shows it: its first line, with what would move the terminal's cursor escaped.
pub(crate) fn one_line(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let mut shown = printable(first);
    if lines.next().is_some() {
        shown.push_str(" …");
    }
    shown
}

/// A text with what is no printable character escaped.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// `01:02:03`, or `0.412s` below a minute.
pub(crate) fn duration(ms: u64) -> String {
    if ms < 60_000 {
        return format!("{}.{:03}s", ms / 1000, ms % 1000);
    }
    let s = ms / 1000;
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_text_of_many_lines_is_shown_by_its_first() {
        assert_eq!(one_line("one"), "one");
        assert_eq!(one_line("\n  one\ntwo\n"), "one …");
        assert_eq!(one_line("\u{1b}[31mred\ttab"), "\\u{1b}[31mred\\ttab");
        assert_eq!(one_line(""), "");
    }
}
