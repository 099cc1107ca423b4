//! What a program reports in the file `$PENSTOCK_OUTPUT`: JSON lines, of which the last value of a key wins.
//!
//! The result is what the file says when the program has ended, read once from its start; what is read meanwhile serves
//! live metrics only. So the result does not depend on when anyone looked. Neither reading ever holds more than a line.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use penstock_common::limits::{MAX_METRICS_PER_TASK, MAX_TASK_OUTPUT_BYTES};
use penstock_common::metrics::{Metrics, Outputs};
use penstock_common::{Fence, Reason, ids, json};
use serde_json::Value;

use super::judge::Verdict;
use super::mask::Masks;

/// How the names of output files begin.
pub(crate) const FILE_PREFIX: &str = "output-";
/// What one file may come to: a metrics line a second for a week is 60 MiB.
pub(crate) const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// What one line may come to: 64 KiB of outputs, were each byte written as an escape of six, twice.
const MAX_LINE_BYTES: usize = 12 * MAX_TASK_OUTPUT_BYTES;
/// Bytes of outputs held while reading: later values may still be shorter.
const MAX_HELD_BYTES: usize = 16 * MAX_TASK_OUTPUT_BYTES;
/// Warnings shown.
const MAX_WARNINGS: usize = 20;
/// A skip's or fail's reason.
const MAX_WHY_BYTES: usize = penstock_common::limits::MAX_DETAIL_BYTES;

/// The files that one attempt may write for Penstock, which go with this.
pub(crate) struct OutputFiles {
    output: PathBuf,
    items: PathBuf,
}

impl OutputFiles {
    /// An empty output file, readable by this user only, and a path for the items, where nothing is: a file of no items is
    /// something else than none. Blocks.
    pub(crate) fn create(scratch: &Path, fence: Fence) -> io::Result<Self> {
        let output = std::path::absolute(scratch.join(format!("{FILE_PREFIX}{fence}.jsonl")))?;
        let items = output.with_file_name(format!("{FILE_PREFIX}{fence}.items.jsonl"));
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&output)?;
        Ok(Self { output, items })
    }
    /// The files of a directory that belongs to one attempt, as a container's does: there already, or made by someone else.
    pub(crate) fn within(directory: &Path) -> Self {
        Self { output: directory.join("output.jsonl"), items: directory.join("items.jsonl") }
    }
    /// `$PENSTOCK_OUTPUT`, absolute.
    pub(crate) fn output(&self) -> &Path {
        &self.output
    }
    /// `$PENSTOCK_ITEMS`, absolute.
    pub(crate) fn items(&self) -> &Path {
        &self.items
    }
}

impl Drop for OutputFiles {
    fn drop(&mut self) {
        for path in [&self.output, &self.items] {
            // The program may have removed it, never made it, or made something else of it.
            let _ = std::fs::remove_file(path).or_else(|_| std::fs::remove_dir_all(path));
        }
    }
}

/// What was reported.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Report {
    pub(crate) metrics: Metrics,
    pub(crate) outputs: Outputs,
    /// `{"skip": why}`
    pub(crate) skip: Option<String>,
    /// `{"fail": why}`
    pub(crate) fail: Option<String>,
    /// It is more than an attempt may report: in what way, and what to do.
    pub(crate) too_large: Option<String>,
    /// What was ignored, and why; at most a few.
    pub(crate) warnings: Vec<String>,
    /// Warnings not in `warnings`.
    pub(crate) more_warnings: usize,
    /// Bytes of `outputs`.
    pub(crate) held: usize,
}

impl Report {
    /// Reads the whole file. Blocks.
    pub(crate) fn read(path: &Path, masks: &Masks) -> Self {
        let mut tail = Tail::new(path, masks.clone());
        if let Err(error) = tail.follow() {
            tail.report.warn(None, &format!("the output file cannot be read: {error}"));
        }
        let mut report = tail.end();
        if report.too_large.is_none() {
            report.too_large = check(&report.outputs).err().map(|verdict| verdict.detail);
        }
        if report.too_large.is_some() {
            report.outputs = Outputs::default();
        }
        report
    }

    fn warn(&mut self, line: Option<usize>, what: &str) {
        if self.warnings.len() == MAX_WARNINGS {
            self.more_warnings += 1;
            return;
        }
        self.warnings.push(line.map_or_else(|| what.to_owned(), |line| format!("line {line} of the output file: {what}")));
    }

    fn line(&mut self, number: usize, line: &[u8], masks: &Masks) {
        if line.trim_ascii().is_empty() {
            return;
        }
        // Masked before anything is taken from it, so also before anything is cut.
        let object = match json::read(line).map(|value| masks.value(value)) {
            Ok(Value::Object(object)) => object,
            // What is below it would work with another number.
            Err(json::Error::Inexact(_)) if self.fail.is_some() => return,
            Err(why @ json::Error::Inexact(_)) => {
                self.fail = Some(masks.text(&format!("line {number} of the output file: {why}")));
                return;
            }
            Ok(_) => {
                return self.warn(Some(number), "ignored, as it is not a JSON object such as {\"metrics\": {\"records_out\": 5}}");
            }
            Err(error) => return self.warn(Some(number), &format!("ignored, as it is not JSON: {error}")),
        };
        for (key, value) in object {
            match (key.as_str(), value) {
                ("metrics", Value::Object(metrics)) => {
                    metrics.iter().for_each(|(name, value)| self.metric(number, name, value));
                }
                ("output", Value::Object(outputs)) => outputs.iter().for_each(|(key, value)| self.output(number, key, value)),
                ("skip", Value::String(why)) => self.skip = Some(cut(why)),
                ("fail", Value::String(why)) => self.fail = Some(cut(why)),
                // Who says `fail` in a wrong way still means it.
                ("fail", why) => self.fail = Some(cut(why.to_string())),
                ("metrics" | "output", value) => {
                    self.warn(Some(number), &format!("{key:?} ignored, as it is {} and not an object", kind(&value)));
                }
                ("skip", value) => self.warn(Some(number), &format!("\"skip\" ignored, as it is {} and not a text", kind(&value))),
                _ => {
                    let shown: String = key.chars().take(60).collect();
                    self.warn(Some(number), &format!("{shown:?} ignored: the keys are metrics, output, skip and fail"));
                }
            }
        }
    }

    fn metric(&mut self, number: usize, name: &str, value: &Value) {
        let shown: String = name.chars().take(60).collect();
        if name.len() > 63 || !ids::is_token(name) {
            return self.warn(
                Some(number),
                &format!("metric {shown:?} ignored: its name must be a letter or digit, then at most 62 of a-z, A-Z, 0-9, _, . and -"),
            );
        }
        let Some(value) = value.as_f64().filter(|v| v.is_finite()) else {
            return self.warn(Some(number), &format!("metric {shown:?} ignored, as it is {} and not a finite number", kind(value)));
        };
        if self.metrics.0.len() >= MAX_METRICS_PER_TASK && !self.metrics.0.contains_key(name) {
            return self.warn(Some(number), &format!("metric {shown:?} ignored: an attempt has at most {MAX_METRICS_PER_TASK}"));
        }
        self.metrics.0.insert(name.to_owned(), value);
    }

    fn output(&mut self, number: usize, key: &str, value: &Value) {
        if !ids::is_identifier(key) {
            let shown: String = key.chars().take(60).collect();
            return self.warn(
                Some(number),
                &format!("output {shown:?} ignored: its key must be a lower-case letter, then at most 62 of a-z, 0-9 and _"),
            );
        }
        let value = value.to_string();
        self.held += key.len() + value.len();
        if let Some(last) = self.outputs.0.insert(key.to_owned(), value) {
            self.held -= key.len() + last.len();
        }
        if self.held > MAX_HELD_BYTES {
            self.too_large = Some(format!(
                "more than {MAX_HELD_BYTES} bytes of outputs, and at most {MAX_TASK_OUTPUT_BYTES} are allowed: store the data and \
                 pass a reference to it (a path, a table, a key)"
            ));
            self.outputs = Outputs::default();
        }
    }
}

/// Whether the outputs fit their limit.
pub(crate) fn check(outputs: &Outputs) -> Result<(), Verdict> {
    let bytes = outputs.bytes();
    if bytes > MAX_TASK_OUTPUT_BYTES { Err(too_large(bytes)) } else { Ok(()) }
}

/// FAILED(output_too_large), with what to do.
pub(crate) fn too_large(bytes: usize) -> Verdict {
    let why = format!(
        "{bytes} bytes of outputs, and at most {MAX_TASK_OUTPUT_BYTES} are allowed: store the data and pass a reference to it (a path, a \
         table, a key)"
    );
    Verdict::failed(Reason::OutputTooLarge, &why)
}

fn cut(mut why: String) -> String {
    why.truncate(why.floor_char_boundary(MAX_WHY_BYTES));
    why
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Reads a file that grows.
pub(crate) struct Tail {
    path: PathBuf,
    file: Option<(File, u64)>,
    /// Where in the file reading goes on.
    offset: u64,
    line: Vec<u8>,
    lines: usize,
    report: Report,
    masks: Masks,
}

impl Tail {
    pub(crate) fn new(path: &Path, masks: Masks) -> Self {
        Self { path: path.to_owned(), file: None, offset: 0, line: Vec::new(), lines: 0, report: Report::default(), masks }
    }

    /// What the complete lines so far say.
    pub(crate) fn report(&self) -> &Report {
        &self.report
    }

    /// Reads what has come since the last time. Blocks, though never for a pipe or a device in the file's place. A link is not
    /// followed: what a container wrote would lead anywhere on the worker.
    pub(crate) fn follow(&mut self) -> io::Result<()> {
        let found = match std::fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        // Rewritten or replaced: what it says now counts, from the start.
        let same = self.file.as_ref().is_some_and(|(_, inode)| *inode == found.ino()) && found.len() >= self.offset;
        if !same {
            if !found.is_file() {
                return Err(io::Error::other("it is not a regular file any more"));
            }
            let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW).bits() as i32;
            let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path)?;
            *self = Self { file: Some((file, found.ino())), ..Self::new(&self.path, self.masks.clone()) };
        }
        if found.len() > MAX_FILE_BYTES {
            self.report.too_large = Some(format!(
                "the output file has {} bytes, and at most {MAX_FILE_BYTES} are allowed: it is for metrics and for small outputs; \
                 store data elsewhere and pass a reference to it",
                found.len()
            ));
        }
        let Some((file, _)) = &mut self.file else { return Ok(()) };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut buffer = vec![0; 64 * 1024];
        while self.report.too_large.is_none() {
            let n = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.offset += n as u64;
            let mut rest = &buffer[..n];
            while let Some(end) = rest.iter().position(|b| *b == b'\n') {
                self.line.extend_from_slice(&rest[..end]);
                rest = &rest[end + 1..];
                self.lines += 1;
                let line = std::mem::take(&mut self.line);
                self.report.line(self.lines, &line, &self.masks);
            }
            self.line.extend_from_slice(rest);
            if self.line.len() > MAX_LINE_BYTES || self.offset > MAX_FILE_BYTES {
                self.report.too_large = Some(format!(
                    "line {} of the output file has more than {MAX_LINE_BYTES} bytes: store the data and pass a reference to it \
                     (a path, a table, a key)",
                    self.lines + 1
                ));
            }
        }
        Ok(())
    }

    /// Takes a last line without a newline too.
    fn end(mut self) -> Report {
        if self.report.too_large.is_none() {
            self.report.line(self.lines + 1, &self.line, &self.masks);
        }
        self.report
    }
}
