//! A run as it goes: a line a change; on a terminal with colours. Plain lines serve a pipe, a file and a CI log as well.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::Path;

use penstock_client::{Update, v1};
use penstock_common::State;

use super::pages::Shown;
use super::table::state;
use super::{duration, print, printable, table};

/// Shows changes as they come.
pub(crate) struct Progress {
    quiet: bool,
    colours: bool,
    started: std::time::Instant,
    /// Lines shown of the instances of each mapped task.
    instances: BTreeMap<String, u32>,
}

/// Lines of the instances of one task; beyond them only what went wrong is shown.
const INSTANCES_SHOWN: u32 = 100;

impl Progress {
    /// `quiet`: nothing until the end.
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet, colours: std::io::stdout().is_terminal(), started: std::time::Instant::now(), instances: BTreeMap::new() }
    }

    /// The run exists.
    pub(crate) fn started(&mut self, run_id: &str, registered: &v1::RegisterResponse) {
        if !self.quiet {
            print(&format!("run {run_id} of {} version {}", registered.pipeline, registered.version));
        }
    }

    /// What changed.
    pub(crate) fn update(&mut self, update: &Update) {
        if self.quiet {
            return;
        }
        for change in update.changes.iter().filter(|c| !c.task.is_empty()) {
            if self.is_shown(change) {
                self.change(change);
            }
        }
    }

    fn is_shown(&mut self, change: &v1::Change) -> bool {
        let Some((task, _)) = change.task.split_once('[') else { return true };
        let lines = self.instances.entry(task.to_owned()).or_default();
        *lines += 1;
        if *lines == INSTANCES_SHOWN + 1 {
            print(&format!("           (of {task} only what fails is shown from here on)"));
        }
        *lines <= INSTANCES_SHOWN || matches!(State::from(change.state()), State::Failed | State::Retry | State::Cancelled)
    }

    fn change(&self, change: &v1::Change) {
        let to = State::from(change.state());
        let shown = self.paint(to, &format!("{:<24}", state(to, &change.reason)));
        let mut line = format!("{:>8.3}s  {shown} {:<24}", self.started.elapsed().as_secs_f64(), change.task);
        if change.attempt > 1 {
            line.push_str(&format!(" attempt {}", change.attempt));
        }
        if !change.worker.is_empty() && to == State::Running {
            line.push_str(&format!(" on {}", change.worker));
        }
        if let Some(ms) = change.duration_ms {
            line.push_str(&format!(" {}", duration(ms)));
        }
        for (name, label) in [("records_in", "in"), ("records_out", "out"), ("records_rejected", "rejected")] {
            if let Some(value) = change.metrics.get(name) {
                line.push_str(&format!(" {label} {value}"));
            }
        }
        print(line.trim_end());
        for detail in change.detail.lines() {
            print(&format!("           | {}", printable(detail)));
        }
    }

    fn paint(&self, state: State, text: &str) -> String {
        let colour = match state {
            State::Success => 32,
            State::Failed => 31,
            State::Retry | State::Cancelled => 33,
            State::Running => 36,
            State::Pending | State::Skipped => 90,
        };
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The end: every task, and where the logs of those that failed are.
    pub(crate) fn summary(&self, shown: &Shown, logs: &Path) {
        print("");
        print(table::run(shown).trim_end());
        let run = &shown.run;
        if logs.as_os_str().is_empty() {
            return;
        }
        for task in run.tasks.iter().filter(|t| State::from(t.state()) == State::Failed) {
            let run_id = penstock_common::RunId::parse(&run.run.run_id);
            let key = penstock_common::TaskKey::parse(&task.id);
            if let (Some(last), Ok(run_id), Ok(key)) = (task.attempts.last(), run_id, key) {
                let log = penstock_common::paths::attempt_log(&run_id, &key.task, task.instance, last.number);
                print(&format!("log of {}: {}", task.id, logs.join(log).display()));
            }
        }
    }
}
