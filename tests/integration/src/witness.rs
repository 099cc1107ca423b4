//! What tasks really did, told by themselves: one line at each start and end, in a file that no part of Penstock knows of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use penstock_client::Run;

use crate::journal::Journal;

/// The file and its script.
pub struct Witness {
    log: PathBuf,
    script: PathBuf,
}

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// start, end or overlap.
    pub kind: String,
    /// Which run.
    pub run: String,
    /// Which task.
    pub task: String,
    /// Which attempt.
    pub attempt: u32,
    /// Under which fence.
    pub fence: u64,
    /// By which process.
    pub pid: i32,
    /// CLOCK_BOOTTIME in seconds.
    pub at: f64,
}

impl Witness {
    /// A witness below a directory.
    ///
    /// # Panics
    /// When its script cannot be written.
    pub fn new(dir: &Path) -> Self {
        let script = dir.join("witness.sh");
        std::fs::write(&script, include_str!("witness.sh")).expect("writes the script");
        Self { log: dir.join("witness.log"), script }
    }

    /// What stands before a task's own arguments in `run: […]`.
    pub fn argv(&self) -> String {
        format!("sh, {}, {}", self.script.display(), self.log.display())
    }

    /// Every line so far.
    ///
    /// # Panics
    /// When one is none.
    pub fn lines(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().map(|line| parse(line).unwrap_or_else(|| panic!("no line of a witness: {line:?}"))).collect()
    }

    /// Whether an attempt has started.
    pub fn started(&self, run: &str, task: &str, attempt: u32) -> bool {
        self.lines().iter().any(|l| l.kind == "start" && l.run == run && l.task == task && l.attempt == attempt)
    }

    /// Compares what happened with the journal and with what clients are told of these runs. Invariants L1, L3, X1, X2, T3, T4, T9.
    ///
    /// # Panics
    /// When they disagree.
    pub fn check(&self, journal: &Journal, runs: &[Run]) {
        let lines = self.lines();
        let overlaps: Vec<_> = lines.iter().filter(|l| l.kind == "overlap").collect();
        assert!(overlaps.is_empty(), "X1: a process of an older attempt still lived: {overlaps:#?}");
        let mut starts: BTreeMap<(&str, &str, u32), &Line> = BTreeMap::new();
        for line in lines.iter().filter(|l| l.kind == "start") {
            let before = starts.insert((&line.run, &line.task, line.attempt), line);
            assert!(before.is_none(), "T9: one attempt started twice: {before:?} and {line:?}");
        }
        let mut ends: BTreeMap<(&str, &str, u32), f64> = BTreeMap::new();
        for line in lines.iter().filter(|l| l.kind == "end") {
            let key = (line.run.as_str(), line.task.as_str(), line.attempt);
            assert!(starts.contains_key(&key), "an end without a start: {line:?}");
            ends.insert(key, line.at);
        }
        for (&(run, task, attempt), start) in &starts {
            if let Some(end) = ends.get(&(run, task, attempt.wrapping_sub(1))) {
                // /proc/uptime has hundredths.
                assert!(*end <= start.at + 0.01, "X1: attempt {attempt} of {task} of {run} began before the one before it had ended");
            }
        }
        for run in runs {
            let told: BTreeMap<(u32, u32), u64> =
                run.tasks.iter().flat_map(|t| t.attempts.iter().map(|a| ((t.index, a.number), a.fence))).collect();
            let journaled = journal.leases(&run.run.run_id);
            assert_eq!(told, journaled, "X3: what clients are told of {} is not what the journal says", run.run.run_id);
            for task in &run.tasks {
                let numbers: Vec<_> = task.attempts.iter().map(|a| a.number).collect();
                assert_eq!(numbers, (1..).take(numbers.len()).collect::<Vec<_>>(), "T3: attempts of {}", task.id);
                for attempt in &task.attempts {
                    if let Some(start) = starts.get(&(run.run.run_id.as_str(), task.id.as_str(), attempt.number)) {
                        assert_eq!(start.fence, attempt.fence, "X2: {start:?} ran under another fence than its lease: {attempt:?}");
                    }
                }
            }
        }
        for (&(run, task, attempt), start) in &starts {
            let of = runs.iter().find(|r| r.run.run_id == run);
            let known =
                of.and_then(|r| r.tasks.iter().find(|t| t.id == task)).is_some_and(|t| t.attempts.iter().any(|a| a.number == attempt));
            assert!(of.is_none() || known, "X2: a start without a lease: {start:?}");
        }
    }
}

fn parse(line: &str) -> Option<Line> {
    let words: Vec<_> = line.split(' ').collect();
    let [kind, run, task, attempt, fence, pid, at, _] = words.as_slice() else { return None };
    Some(Line {
        kind: (*kind).to_owned(),
        run: (*run).to_owned(),
        task: (*task).to_owned(),
        attempt: attempt.parse().ok()?,
        fence: fence.parse().ok()?,
        pid: pid.parse().ok()?,
        at: at.parse().ok()?,
    })
}
