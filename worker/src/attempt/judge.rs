//! From what happened to how the attempt ended. Pure.
//!
//! | first that applies | ends as |
//! | --- | --- |
//! | it was told to stop, and was signalled before it ended | CANCELLED, FAILED(timeout) or FAILED(output_too_large), as was the cause |
//! | `{"fail": why}` | FAILED(task) |
//! | its supervisor was killed | FAILED(oom) or FAILED(exit_code) |
//! | a signal ended it | FAILED(oom) or FAILED(exit_code) |
//! | another exit code than 0 | FAILED(exit_code) |
//! | `{"skip": why}` | SKIPPED(task) |
//! | too much reported | FAILED(output_too_large) |
//! | exit code 0 | SUCCESS |

use penstock_common::limits::MAX_DETAIL_BYTES;
use penstock_common::{Millis, Reason, State};
use serde::{Deserialize, Serialize};

use super::output::Report;

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// Its exit code…
    pub(crate) code: Option<i32>,
    /// …or the signal that ended it.
    pub(crate) signal: Option<i32>,
    /// The supervisor had signalled it before it ended.
    pub(crate) signalled: bool,
    /// Descendants that outlived it and were killed.
    pub(crate) leftovers: usize,
    /// Descendants that could not be killed.
    pub(crate) alive: usize,
}

/// How it came to its end, apart from what it reported.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    /// The program ended.
    Exit(Exit),
    /// The supervisor died; what it was, and how many of the tree could not be killed.
    SupervisorDied { how: String, alive: usize },
}

/// Why the worker stops a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The coordinator wants it.
    Cancelled(Reason),
    /// The lease is stale or the session over.
    Revoked,
    /// It ran longer than this.
    Timeout(Millis),
    /// It reports too much, in this way.
    TooLarge(String),
}

/// All there is to judge by.
pub(crate) struct Case<'a> {
    pub(crate) end: End,
    pub(crate) cause: Option<Cause>,
    pub(crate) report: &'a Report,
    /// The kernel killed something for lack of memory while it ran.
    pub(crate) oom: bool,
    /// The last lines of its log.
    pub(crate) tail: &'a str,
}

/// State, reason, detail and exit code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) state: State,
    pub(crate) reason: Option<Reason>,
    pub(crate) detail: String,
    pub(crate) exit_code: Option<i32>,
}

impl Verdict {
    pub(crate) fn failed(reason: Reason, detail: &str) -> Self {
        Self { state: State::Failed, reason: Some(reason), detail: detail.to_owned(), exit_code: None }
    }
    pub(crate) fn skipped(detail: &str) -> Self {
        Self { state: State::Skipped, reason: Some(Reason::Task), detail: detail.to_owned(), exit_code: None }
    }
    pub(crate) fn success() -> Self {
        Self { state: State::Success, reason: None, detail: String::new(), exit_code: None }
    }
}

impl Case<'_> {
    pub(crate) fn judge(&self) -> Verdict {
        let (verdict, exit_code, alive) = match &self.end {
            End::Exit(exit) => (self.exited(exit), exit.code, exit.alive),
            End::SupervisorDied { how, alive } => (self.orphaned(how), None, *alive),
        };
        let mut detail = verdict.detail;
        if alive > 0 {
            let more = format!(" ({alive} processes could not be killed and may still run)");
            detail.truncate(detail.floor_char_boundary(MAX_DETAIL_BYTES - more.len()));
            detail.push_str(&more);
        }
        detail.truncate(detail.floor_char_boundary(MAX_DETAIL_BYTES));
        Verdict { detail, exit_code, ..verdict }
    }

    fn exited(&self, exit: &Exit) -> Verdict {
        if let Some(stopped) = self.cause.as_ref().filter(|_| exit.signalled || (exit.code.is_none() && exit.signal.is_none())) {
            return stopped.verdict();
        }
        if let Some(why) = &self.report.fail {
            return Verdict::failed(Reason::Task, why);
        }
        match (exit.code, exit.signal) {
            (Some(0), _) => {}
            // 128 + 9 is how a shell says that its command was killed.
            (Some(137), _) if self.oom => {
                return Verdict::failed(Reason::Oom, &self.with_tail("exit code 137, and the kernel killed for lack of memory meanwhile"));
            }
            (Some(code), _) => return Verdict::failed(Reason::ExitCode, &self.with_tail(&format!("exit code {code}"))),
            (None, Some(SIGKILL)) if self.oom => {
                return Verdict::failed(Reason::Oom, &self.with_tail("killed by the kernel for lack of memory"));
            }
            (None, Some(SIGKILL)) => {
                let what = "killed by SIGKILL, not by Penstock: possibly out of memory, else by a person or a service manager";
                return Verdict::failed(Reason::ExitCode, &self.with_tail(what));
            }
            (None, Some(signal)) => {
                return Verdict::failed(Reason::ExitCode, &self.with_tail(&format!("ended by {}", signal_name(signal))));
            }
            (None, None) => return Verdict::failed(Reason::ExitCode, &self.with_tail("its end is unknown")),
        }
        if let Some(why) = &self.report.skip {
            return Verdict::skipped(why);
        }
        match &self.report.too_large {
            Some(why) => Verdict::failed(Reason::OutputTooLarge, why),
            None => Verdict::success(),
        }
    }

    fn orphaned(&self, how: &str) -> Verdict {
        if let Some(cause) = &self.cause {
            return cause.verdict();
        }
        if let Some(why) = &self.report.fail {
            return Verdict::failed(Reason::Task, why);
        }
        let reason = if self.oom { Reason::Oom } else { Reason::ExitCode };
        let why = if self.oom {
            "the kernel killed for lack of memory meanwhile"
        } else {
            "something outside Penstock killed it, or the machine is short of memory"
        };
        let what = format!("the attempt's supervisor process {how}, so its program was killed: {why}");
        Verdict::failed(reason, &self.with_tail(&what))
    }

    /// What happened, then as many of the last lines as the limit lets.
    fn with_tail(&self, what: &str) -> String {
        if self.tail.is_empty() {
            return format!("{what}; it logged nothing");
        }
        let room = MAX_DETAIL_BYTES.saturating_sub(what.len() + ":\n…".len());
        let from = self.tail.ceil_char_boundary(self.tail.len().saturating_sub(room));
        if from == 0 {
            return format!("{what}:\n{}", self.tail);
        }
        // Whole lines, if the last one fits.
        match self.tail[from..].split_once('\n') {
            Some((_, whole)) if !whole.is_empty() => format!("{what}:\n{whole}"),
            _ => format!("{what}:\n…{}", &self.tail[from..]),
        }
    }
}

impl Cause {
    /// How an attempt ends that this stopped.
    pub(crate) fn verdict(&self) -> Verdict {
        let cancelled = |reason, detail: String| Verdict { state: State::Cancelled, reason: Some(reason), detail, exit_code: None };
        match self {
            Self::Cancelled(reason) => cancelled(*reason, String::new()),
            Self::Revoked => cancelled(Reason::Lost, "killed: its lease does not hold any more".to_owned()),
            Self::Timeout(limit) => Verdict::failed(Reason::Timeout, &format!("still running after its timeout of {limit}")),
            Self::TooLarge(why) => Verdict::failed(Reason::OutputTooLarge, why),
        }
    }
}

const SIGKILL: i32 = 9;

/// `SIGSEGV (11)`
pub(crate) fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return format!("signal {signal}"),
    };
    format!("{name} ({signal})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32) -> Exit {
        Exit { code: Some(code), ..Exit::default() }
    }
    fn killed(signal: i32) -> Exit {
        Exit { signal: Some(signal), ..Exit::default() }
    }
    fn judge(exit: Exit, cause: Option<Cause>, report: &Report, oom: bool) -> (State, Option<Reason>) {
        let verdict = Case { end: End::Exit(exit), cause, report, oom, tail: "last" }.judge();
        (verdict.state, verdict.reason)
    }

    #[test]
    fn the_table_of_ends() {
        use Reason::{ExitCode, Oom, OutputTooLarge, Task, Timeout, User};
        use State::{Cancelled, Failed, Skipped, Success};
        let none = Report::default();
        let skip = Report { skip: Some("s".into()), ..Report::default() };
        let fail = Report { fail: Some("f".into()), skip: Some("s".into()), ..Report::default() };
        let large = Report { too_large: Some("l".into()), ..Report::default() };
        let cancel = || Some(Cause::Cancelled(User));
        let signalled = |exit: Exit| Exit { signalled: true, ..exit };

        assert_eq!(judge(exit(0), None, &none, false), (Success, None));
        assert_eq!(judge(exit(3), None, &none, false), (Failed, Some(ExitCode)));
        assert_eq!(judge(exit(137), None, &none, true), (Failed, Some(Oom)));
        assert_eq!(judge(exit(137), None, &none, false), (Failed, Some(ExitCode)));
        assert_eq!(judge(killed(9), None, &none, false), (Failed, Some(ExitCode)));
        assert_eq!(judge(killed(9), None, &none, true), (Failed, Some(Oom)));
        assert_eq!(judge(killed(11), None, &none, true), (Failed, Some(ExitCode)));
        assert_eq!(judge(exit(0), None, &skip, false), (Skipped, Some(Task)));
        assert_eq!(judge(exit(1), None, &skip, false), (Failed, Some(ExitCode)), "a crash after a skip is a crash");
        assert_eq!(judge(exit(0), None, &fail, false), (Failed, Some(Task)));
        assert_eq!(judge(exit(1), None, &fail, false), (Failed, Some(Task)));
        assert_eq!(judge(exit(0), None, &large, false), (Failed, Some(OutputTooLarge)));
        assert_eq!(judge(exit(1), None, &large, false), (Failed, Some(ExitCode)));
        // Whoever ended before the signal ended by itself.
        assert_eq!(judge(exit(0), cancel(), &none, false), (Success, None));
        assert_eq!(judge(exit(3), cancel(), &none, false), (Failed, Some(ExitCode)));
        assert_eq!(judge(signalled(exit(0)), cancel(), &none, false), (Cancelled, Some(User)));
        assert_eq!(judge(signalled(killed(15)), cancel(), &fail, false), (Cancelled, Some(User)));
        assert_eq!(judge(signalled(exit(0)), Some(Cause::Timeout(Millis(5))), &none, false), (Failed, Some(Timeout)));
        assert_eq!(judge(Exit::default(), cancel(), &none, false), (Cancelled, Some(User)), "it could not be killed");
    }

    #[test]
    fn a_detail_fits_its_limit_and_keeps_the_last_lines_whole() {
        let tail = (0..200).map(|i| format!("línea {i}\n")).collect::<String>();
        let report = Report::default();
        let case = |tail| Case { end: End::Exit(Exit { alive: 2, ..exit(3) }), cause: None, report: &report, oom: false, tail };
        let verdict = case(tail.trim()).judge();
        assert!(verdict.detail.len() <= MAX_DETAIL_BYTES);
        assert!(verdict.detail.starts_with("exit code 3:\nlínea 1") && verdict.detail.ends_with("may still run)"), "{}", verdict.detail);
        let long = "é".repeat(5_000);
        let one = case(&long).judge();
        assert!(one.detail.len() <= MAX_DETAIL_BYTES && one.detail.starts_with("exit code 3:\n…é"));
        assert_eq!(one.exit_code, Some(3));
    }
}
