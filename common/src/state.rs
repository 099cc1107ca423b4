//! The seven states of runs, tasks and attempts, and the reasons that go with them.
//!
//! ```text
//! PENDING ─▶ RUNNING ─▶ SUCCESS
//!    │          │
//!    │          ▼
//!    │       FAILED ─▶ RETRY ─▶ RUNNING
//!    ▼          ▼
//! SKIPPED   CANCELLED      (CANCELLED is also reached from PENDING and RETRY)
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a run, task or attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Not started: waiting for upstreams or a slot; a run: queued.
    #[default]
    Pending,
    /// Leased to a worker; a run: started and not ended.
    Running,
    /// Ended as it should.
    Success,
    /// Ended otherwise. Terminal unless the same decision moves it to RETRY.
    Failed,
    /// Failed or lost with budget left; starts again at `not_before`.
    Retry,
    /// Will not run in this generation.
    Skipped,
    /// Ended by a person or a policy.
    Cancelled,
}

impl State {
    /// All seven, in the order of the drawing.
    pub const ALL: [Self; 7] = [Self::Pending, Self::Running, Self::Success, Self::Failed, Self::Retry, Self::Skipped, Self::Cancelled];

    /// Whether nothing more happens in this generation.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Skipped | Self::Cancelled)
    }
    /// The word users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
            Self::Retry => "RETRY",
            Self::Skipped => "SKIPPED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),* $(,)?) => {
        /// Why a state was reached. The word is what users see and scripts may rely on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Reason { $($(#[$doc])* $variant),* }
        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The word users see.
            pub fn as_str(self) -> &'static str { match self { $(Self::$variant => $word),* } }
        }
    };
}

reasons! {
    /// FAILED: the program ended with another code than 0.
    ExitCode = "exit_code",
    /// FAILED: an attempt ran longer than its `timeout`.
    Timeout = "timeout",
    /// FAILED: the program could not be started.
    Spawn = "spawn",
    /// FAILED: killed for its use of memory.
    Oom = "oom",
    /// FAILED: over 64 KiB of outputs.
    OutputTooLarge = "output_too_large",
    /// FAILED: a template could not be rendered; never retried.
    Template = "template",
    /// FAILED: the task said so by `{"fail": …}`; never retried. SKIPPED: it said so by `{"skip": …}`.
    Task = "task",
    /// FAILED: records were not as expected.
    Expectation = "expectation",
    /// FAILED: its output `branch` names no direct downstream. SKIPPED: a branch above did not pick it.
    Branch = "branch",
    /// FAILED: a person said no.
    Rejected = "rejected",
    /// FAILED: the run that it started did not succeed.
    RunFailed = "run_failed",
    /// FAILED: waited for a slot longer than `queue_timeout`; never retried.
    QueueTimeout = "queue_timeout",
    /// FAILED: three workers died while running it.
    Poison = "poison",
    /// FAILED: its worker died or fell silent.
    Lost = "lost",
    /// A run: a task failed and nothing handled it.
    TaskFailed = "task_failed",
    /// SKIPPED: an upstream failed.
    UpstreamFailed = "upstream_failed",
    /// SKIPPED: every upstream ended, and one of them was skipped.
    UpstreamSkipped = "upstream_skipped",
    /// SKIPPED: its `if` is false.
    Condition = "condition",
    /// SKIPPED: its trigger rule does not apply to how its upstreams ended.
    Rule = "rule",
    /// SKIPPED: the run was asked for without it. Reads as success.
    NotSelected = "not_selected",
    /// SKIPPED: there is no item for it.
    Empty = "empty",
    /// RUNNING: a sensor, a person or another run is waited for, without a slot.
    Waiting = "waiting",
    /// RUNNING: records were not as expected, and a person must release or reject it.
    Held = "held",
    /// Any end: a person said so.
    Marked = "marked",
    /// CANCELLED: the next run of the schedule was due, and `overlap` is `cancel_running`.
    Overlap = "overlap",
    /// CANCELLED: a person asked for it.
    User = "user",
    /// CANCELLED task, FAILED run: longer than `run_timeout`.
    RunTimeout = "run_timeout",
    /// FAILED run: its record broke an invariant and was set aside; the rest of the cluster goes on.
    Quarantined = "quarantined",
}

impl Reason {
    /// Whether another try could end otherwise. What cannot is never retried, whatever the budget.
    pub fn is_retryable(self) -> bool {
        use Reason::{Branch, Marked, Overlap, Poison, QueueTimeout, Rejected, RunTimeout, Task, Template, User};
        !matches!(self, Template | Task | Branch | Rejected | QueueTimeout | Poison | Overlap | User | RunTimeout | Marked)
    }
    /// Reads the word users see.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|r| r.as_str() == word)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What rules read of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// SUCCESS, or SKIPPED(not_selected): a task that was not asked for counts as done.
    Success,
    /// FAILED, SKIPPED(upstream_failed) or CANCELLED.
    Failed,
    /// Any other SKIPPED.
    Skipped,
}

impl Outcome {
    /// Of a task in this state; `None` while it is not terminal.
    pub fn of(state: State, reason: Option<Reason>) -> Option<Self> {
        match state {
            State::Pending | State::Running | State::Retry => None,
            State::Success => Some(Self::Success),
            State::Failed | State::Cancelled => Some(Self::Failed),
            State::Skipped if reason == Some(Reason::UpstreamFailed) => Some(Self::Failed),
            State::Skipped if reason == Some(Reason::NotSelected) => Some(Self::Success),
            State::Skipped => Some(Self::Skipped),
        }
    }
}
