//! An attempt's log: what the program writes to its standard output and error, line by line, with time and stream.
//!
//! ```text
//! 2024-01-31T02:00:00.123Z O a line of standard output
//! 2024-01-31T02:00:00.123Z E a line of standard error
//! 2024-01-31T02:00:00.124Z P a line of Penstock's own, such as a warning
//! ```
//!
//! The pipes are always read as fast as they fill, so a program is not slowed by its log: what is over the limits, or more
//! than the disk takes, is dropped and counted. Secrets are masked before anything else is done with what was read. Trouble with the log never fails a task. Files are written off the runtime's
//! threads. The last lines are kept in memory for the detail of a failure, also those that were dropped.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use penstock_common::limits::{MAX_DETAIL_BYTES, MAX_LOG_BYTES, MAX_LOG_BYTES_PER_S};
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Clock;
use super::mask::{Masker, Masks};

/// Longer lines are split.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// One read of a pipe.
const READ_BYTES: usize = 32 * 1024;
/// Formatted text that may wait for the disk.
const MAX_PENDING_BYTES: usize = 4 * 1024 * 1024;
/// Reads after which the runtime gets a turn.
const READS_PER_TURN: u32 = 4;
/// What Penstock's own words may add to a full log.
const MAX_OWN_BYTES: u64 = 1024 * 1024;
/// How long a disk may take for the last lines.
const CLOSE_FOR: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// The program's standard output.
    Out,
    /// Its standard error.
    Err,
    /// Penstock's own words.
    Penstock,
}

type Writing = JoinHandle<(File, Vec<u8>, io::Result<()>)>;

/// The log of one attempt while it is written.
pub(crate) struct Log {
    path: PathBuf,
    clock: Clock,
    lines: Lines,
    /// `None` while a write is under way, and after the file has failed.
    file: Option<File>,
    writing: Option<Writing>,
}

impl Log {
    /// Opens the file, with the directories above it. Blocks. Without a file the log is only kept for the detail.
    pub(crate) fn open(path: PathBuf, clock: Clock) -> Self {
        let open = || {
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
            OpenOptions::new().create(true).append(true).open(&path)
        };
        let file = open().inspect_err(|error| warn(&path, error)).ok();
        // A sensor's probes go on where the last one ended.
        let formatted = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |found| found.len());
        let lines = Lines { kept: file.is_some(), formatted, full: formatted >= MAX_LOG_BYTES, ..Lines::default() };
        Self { path, clock, lines, file, writing: None }
    }

    /// From now on these are masked in all that is written.
    pub(crate) fn mask(&mut self, masks: Masks) {
        self.lines.masks = masks;
    }

    /// Writes lines of Penstock's own.
    pub(crate) fn notice(&mut self, text: &str) {
        self.lines.stamp = stamp(&self.clock);
        for line in self.lines.masks.text(text).lines() {
            self.lines.push(Stream::Penstock, line.as_bytes());
        }
    }

    /// Takes bytes of the program's that come in another way than by a pipe. Never waits for the disk: see the top.
    #[allow(dead_code, reason = "of executors whose program runs elsewhere and whose log comes over an API")]
    pub(crate) async fn take(&mut self, stream: Stream, bytes: &[u8]) {
        self.lines.stamp = stamp(&self.clock);
        self.lines.take(stream, bytes, Instant::now());
        if self.writing.as_ref().is_some_and(JoinHandle::is_finished) {
            written(&mut self.writing, &mut self.file, &mut self.lines, &self.path).await;
        }
        self.write();
    }

    /// The last lines, when no more come.
    pub(crate) fn tail(&mut self) -> String {
        self.lines.stamp = stamp(&self.clock);
        self.lines.end();
        self.lines.last()
    }

    /// Reads both pipes until both have ended. Can be dropped at any time; what was read is not lost.
    pub(crate) async fn pump(&mut self, out: &Receiver, err: &Receiver) {
        let mut buffer = Vec::new();
        let (mut out_open, mut err_open) = (true, true);
        let mut reads = 0;
        while out_open || err_open {
            let (stream, pipe) = tokio::select! {
                ready = out.readable(), if out_open => { out_open = ready.is_ok(); (Stream::Out, out) }
                ready = err.readable(), if err_open => { err_open = ready.is_ok(); (Stream::Err, err) }
                () = written(&mut self.writing, &mut self.file, &mut self.lines, &self.path) => {
                    self.write();
                    continue;
                }
            };
            buffer.resize(READ_BYTES, 0); // not before there is something: most attempts say nothing most of the time
            match pipe.try_read(&mut buffer) {
                Ok(n) if n > 0 => {
                    self.lines.stamp = stamp(&self.clock);
                    self.lines.take(stream, &buffer[..n], Instant::now());
                    self.write();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ if stream == Stream::Out => out_open = false,
                _ => err_open = false,
            }
            reads += 1;
            if reads % READS_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Writes what is left and closes the file.
    pub(crate) async fn close(mut self) {
        self.lines.stamp = stamp(&self.clock);
        self.lines.end();
        let rest = async {
            loop {
                self.write();
                if self.writing.is_none() {
                    break;
                }
                written(&mut self.writing, &mut self.file, &mut self.lines, &self.path).await;
            }
        };
        if tokio::time::timeout(CLOSE_FOR, rest).await.is_err() {
            warn(&self.path, &io::Error::from(io::ErrorKind::TimedOut));
        }
    }

    /// Starts writing what is pending, unless a write is under way.
    fn write(&mut self) {
        if self.lines.pending.is_empty() {
            return;
        }
        if let Some(mut file) = self.file.take() {
            let text = std::mem::take(&mut self.lines.pending);
            self.writing = Some(tokio::task::spawn_blocking(move || {
                let written = file.write_all(&text);
                (file, text, written)
            }));
        }
    }
}

/// Waits for the write that is under way; for ever if there is none.
async fn written(writing: &mut Option<Writing>, file: &mut Option<File>, lines: &mut Lines, path: &Path) {
    let Some(write) = writing else { return std::future::pending().await };
    let done = write.await;
    *writing = None;
    match done {
        Ok((same, mut text, Ok(()))) => {
            *file = Some(same);
            if lines.pending.is_empty() {
                text.clear();
                text.shrink_to(READ_BYTES);
                lines.pending = text; // its memory serves again
            }
        }
        // Once, and then without a file: a full disk is not made better by trying.
        Ok((_, _, Err(error))) => {
            warn(path, &error);
            lines.kept = false;
            lines.pending = Vec::new();
        }
        Err(_) => lines.kept = false,
    }
}

fn warn(path: &Path, error: &io::Error) {
    tracing::warn!(path = %path.display(), %error, "cannot write an attempt's log; the attempt goes on without");
}

fn stamp(clock: &Clock) -> String {
    clock().to_string()
}

/// From bytes to lines, within the limits. No I/O.
#[derive(Default)]
struct Lines {
    /// The time that lines get.
    stamp: String,
    masks: Masks,
    /// Of standard output and error: a secret may come in two pieces.
    maskers: [Masker; 2],
    /// There is a file.
    kept: bool,
    /// Formatted and not yet written.
    pending: Vec<u8>,
    /// Begun lines of standard output and error.
    begun: [Vec<u8>; 2],
    /// Bytes formatted so far.
    formatted: u64,
    /// When this second began, and the bytes taken in it.
    second: Option<(Instant, u64)>,
    /// Bytes dropped and not yet told of.
    dropped: u64,
    /// The cap was reached, and that was told.
    full: bool,
    /// The last bytes of standard output and error, dropped or not. Apart, because the order in which two pipes are read
    /// says nothing, and much of one must not push out what matters of the other.
    tails: [Vec<u8>; 2],
}

impl Lines {
    fn take(&mut self, stream: Stream, bytes: &[u8], now: Instant) {
        if self.masks.is_empty() {
            return self.take_masked(stream, bytes, now);
        }
        let mut masked = Vec::with_capacity(bytes.len());
        self.maskers[usize::from(stream == Stream::Err)].feed(&self.masks, bytes, &mut masked);
        self.take_masked(stream, &masked, now);
    }

    fn take_masked(&mut self, stream: Stream, bytes: &[u8], now: Instant) {
        self.remember(stream, bytes);
        let (begun, taken) = self.second.filter(|(begun, _)| now - *begun < Duration::from_secs(1)).unwrap_or((now, 0));
        self.second = Some((begun, taken + bytes.len() as u64));
        let too_fast = taken + bytes.len() as u64 > MAX_LOG_BYTES_PER_S;
        if self.full || !self.kept || too_fast || self.pending.len() > MAX_PENDING_BYTES {
            self.drop(stream, bytes.len());
            return;
        }
        self.tell_dropped();
        let at = usize::from(stream == Stream::Err);
        let mut line = std::mem::take(&mut self.begun[at]);
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            if line.is_empty() && end <= MAX_LINE_BYTES {
                self.push(stream, &rest[..end]);
            } else {
                line.extend_from_slice(&rest[..end]);
                self.split(stream, &mut line);
                self.push(stream, &line);
                line.clear();
            }
            rest = &rest[end + 1..];
        }
        line.extend_from_slice(rest);
        self.split(stream, &mut line);
        self.begun[at] = line;
    }

    /// Pushes parts until no more than a line is left.
    fn split(&mut self, stream: Stream, line: &mut Vec<u8>) {
        while line.len() > MAX_LINE_BYTES {
            let cut = boundary(line, MAX_LINE_BYTES);
            self.push(stream, &line[..cut]);
            line.drain(..cut);
        }
    }

    fn push(&mut self, stream: Stream, line: &[u8]) {
        let own = stream == Stream::Penstock && self.formatted < MAX_LOG_BYTES + MAX_OWN_BYTES;
        if !self.kept || (self.full && !own) {
            self.dropped += line.len() as u64;
            return;
        }
        let before = self.pending.len();
        self.pending.extend_from_slice(self.stamp.as_bytes());
        self.pending.extend_from_slice(match stream {
            Stream::Out => b" O ",
            Stream::Err => b" E ",
            Stream::Penstock => b" P ",
        });
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.pending.extend_from_slice(String::from_utf8_lossy(line).as_bytes());
        self.pending.push(b'\n');
        self.formatted += (self.pending.len() - before) as u64;
        if self.formatted >= MAX_LOG_BYTES && !self.full {
            self.full = true;
            self.push(Stream::Penstock, format!("log truncated: it has {} MiB, and more is dropped", MAX_LOG_BYTES >> 20).as_bytes());
        }
    }

    fn drop(&mut self, stream: Stream, bytes: usize) {
        let begun = std::mem::take(&mut self.begun[usize::from(stream == Stream::Err)]);
        self.dropped += (bytes + begun.len()) as u64;
    }

    fn tell_dropped(&mut self) {
        if self.dropped > 0 && self.kept {
            let why = if self.full {
                "after the log was truncated".to_owned()
            } else {
                format!("here: more than {} MiB in a second, or more than the disk took", MAX_LOG_BYTES_PER_S >> 20)
            };
            let notice = format!("{} bytes were dropped {why}", std::mem::take(&mut self.dropped));
            self.push(Stream::Penstock, notice.as_bytes());
        }
    }

    /// Lines without an end, and what was dropped last.
    fn end(&mut self) {
        for (at, stream) in [(0, Stream::Out), (1, Stream::Err)] {
            let mut held = Vec::new();
            self.maskers[at].end(&self.masks, &mut held);
            if !held.is_empty() {
                self.take_masked(stream, &held, Instant::now());
            }
            let line = std::mem::take(&mut self.begun[at]);
            if !line.is_empty() {
                self.push(stream, &line);
            }
        }
        self.tell_dropped();
    }

    fn remember(&mut self, stream: Stream, bytes: &[u8]) {
        let tail = &mut self.tails[usize::from(stream == Stream::Err)];
        tail.extend_from_slice(&bytes[bytes.len().saturating_sub(MAX_DETAIL_BYTES)..]);
        let excess = tail.len().saturating_sub(MAX_DETAIL_BYTES);
        tail.drain(..excess);
    }

    /// The last lines of standard error; before them those of standard output, but few if there is an error to show.
    fn last(&self) -> String {
        let [out, err] = self.tails.each_ref().map(|tail| clean(tail));
        if out.is_empty() || err.is_empty() {
            return out + &err;
        }
        let from = out.ceil_char_boundary(out.len().saturating_sub(MAX_DETAIL_BYTES / 3));
        let lines = if from == 0 { out.as_str() } else { out[from..].split_once('\n').map_or("", |(_, whole)| whole) };
        format!("{lines}\n{err}").trim_start().to_owned()
    }
}

/// Where to cut so that no character is cut in two; `max` for what is not text.
fn boundary(bytes: &[u8], max: usize) -> usize {
    (max.saturating_sub(3)..=max).rev().find(|at| bytes.get(*at).is_none_or(|b| b & 0xC0 != 0x80)).unwrap_or(max)
}

/// Text without what a terminal would obey.
pub(crate) fn clean(tail: &[u8]) -> String {
    let text = String::from_utf8_lossy(tail);
    let clean: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    clean.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Lines {
        Lines { stamp: "T".into(), kept: true, ..Lines::default() }
    }
    fn text(lines: &Lines) -> String {
        String::from_utf8(lines.pending.clone()).unwrap()
    }

    #[test]
    fn lines_are_put_together_from_pieces_of_each_stream() {
        let (mut l, now) = (lines(), Instant::now());
        l.take(Stream::Out, b"one\ntw", now);
        l.take(Stream::Err, b"bad\r\n", now);
        l.take(Stream::Out, b"o\nthree", now);
        l.end();
        assert_eq!(text(&l), "T O one\nT E bad\nT O two\nT O three\n");
        assert_eq!(l.last(), "one\ntwo\nthree\nbad");
    }

    #[test]
    fn a_long_line_is_split_between_characters() {
        let (mut l, now) = (lines(), Instant::now());
        let long = "é".repeat(MAX_LINE_BYTES);
        let odd = format!("x{long}");
        for piece in odd.as_bytes().chunks(READ_BYTES) {
            l.take(Stream::Out, piece, now);
        }
        l.end();
        let text = text(&l);
        assert!(!text.contains('\u{FFFD}'));
        assert_eq!(text.lines().count(), 3);
        assert_eq!(text.lines().map(|line| line.strip_prefix("T O ").unwrap()).collect::<String>(), odd);
    }

    #[test]
    fn bytes_that_are_not_text_are_replaced() {
        let (mut l, now) = (lines(), Instant::now());
        l.take(Stream::Out, &[b'a', 0xFF, b'b', b'\n'], now);
        assert_eq!(text(&l), "T O a\u{FFFD}b\n");
        assert_eq!(boundary(&[0x80; 100], 50), 50);
    }

    #[test]
    fn what_comes_too_fast_is_dropped_and_counted() {
        let (mut l, now) = (lines(), Instant::now());
        let chunk = vec![b'x'; READ_BYTES];
        for _ in 0..=MAX_LOG_BYTES_PER_S / READ_BYTES as u64 {
            l.take(Stream::Out, &chunk, now);
            l.pending.clear();
        }
        assert!(l.dropped >= READ_BYTES as u64, "the last one is too much");
        l.take(Stream::Out, b"later\n", now + Duration::from_secs(1));
        let text = text(&l);
        assert!(text.contains("bytes were dropped here: more than 16 MiB in a second") && text.ends_with("T O later\n"), "{text}");
        assert_eq!(l.dropped, 0);
    }

    #[test]
    fn a_full_log_says_so_once_and_the_tail_goes_on() {
        let (mut l, mut now) = (lines(), Instant::now());
        let mut text = String::new();
        for i in 0..70 {
            now += Duration::from_secs(1);
            for _ in 0..32 {
                l.take(Stream::Out, &[b'x'; READ_BYTES], now);
                text.push_str(std::str::from_utf8(&l.pending).unwrap());
                l.pending.clear();
            }
            l.take(Stream::Err, format!("line {i}\n").as_bytes(), now);
        }
        l.end();
        text.push_str(std::str::from_utf8(&l.pending).unwrap());
        assert_eq!(text.matches("log truncated: it has 64 MiB").count(), 1);
        assert!(text.len() as u64 <= MAX_LOG_BYTES + 2 * MAX_LINE_BYTES as u64);
        assert!(text.trim_end().ends_with("bytes were dropped after the log was truncated"));
        assert!(l.last().ends_with("line 69"));
    }

    #[test]
    fn the_detail_holds_nothing_a_terminal_obeys() {
        assert_eq!(clean(b"\x1b[31mred\x1b[0m\x07\n\n"), "[31mred[0m");
    }
}
