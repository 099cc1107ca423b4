//! Control flow as the document says it: edges and their conditions, trigger rules, mapped tasks, what is expected of records.
//! What it comes to is the scheduler's.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::TaskId;

/// An upstream of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The upstream.
    pub task: TaskId,
    /// How it must end; `None`: as the trigger rule says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// `task[*]`: each instance waits for the instance of the same number only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paired: bool,
}

/// How an upstream must end, on an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// SUCCESS, or FAILED where that is allowed.
    Success,
    /// FAILED, CANCELLED, or SKIPPED for a failure above.
    Failed,
    /// Either of these.
    Completed,
    /// SKIPPED for any other reason.
    Skipped,
}

macro_rules! trigger_rules {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),* $(,)?) => {
        /// When a task may start, read from how its upstreams ended. The names and meanings are Airflow's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum TriggerRule { $($(#[$doc])* $variant),* }
        impl TriggerRule {
            /// Every rule, with its word in the document.
            pub const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),*];
            /// The word in the document.
            pub fn as_str(self) -> &'static str { match self { $(Self::$variant => $word),* } }
        }
    };
}

trigger_rules! {
    /// All succeeded.
    #[default]
    AllSuccess = "all_success",
    /// All failed.
    AllFailed = "all_failed",
    /// All ended.
    AllDone = "all_done",
    /// All ended, and one succeeded.
    AllDoneMinOneSuccess = "all_done_min_one_success",
    /// All were skipped.
    AllSkipped = "all_skipped",
    /// One failed; does not wait for the others.
    OneFailed = "one_failed",
    /// One succeeded; does not wait for the others.
    OneSuccess = "one_success",
    /// One succeeded or failed; does not wait for the others.
    OneDone = "one_done",
    /// All ended and none failed.
    NoneFailed = "none_failed",
    /// All ended, none failed, and one succeeded.
    NoneFailedMinOneSuccess = "none_failed_min_one_success",
    /// All ended and none was skipped.
    NoneSkipped = "none_skipped",
    /// At once.
    Always = "always",
}

/// The items of a mapped task: it has one instance for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForEach {
    /// As written.
    Items(Vec<Value>),
    /// Whole numbers: `from`, and so on by `step`, below `to`.
    Range {
        /// The first.
        from: i64,
        /// Not reached.
        to: i64,
        /// Not 0.
        step: i64,
    },
    /// A list that a task put out.
    Output {
        /// The task.
        task: TaskId,
        /// The output's key.
        key: String,
    },
    /// The items file that a task wrote.
    ItemsOf {
        /// The task.
        task: TaskId,
    },
    /// The items of the mapped task that this one is paired with.
    SameAs {
        /// The task.
        task: TaskId,
    },
}

impl ForEach {
    /// The task that gives the items, if one does.
    pub fn source(&self) -> Option<&TaskId> {
        match self {
            Self::Items(_) | Self::Range { .. } => None,
            Self::Output { task, .. } | Self::ItemsOf { task } | Self::SameAs { task } => Some(task),
        }
    }
}

/// How many instances of a mapped task may fail: they then read as success.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxFailed {
    /// So many.
    Count(u32),
    /// So many of a hundred.
    Percent(f64),
}

impl MaxFailed {
    /// Whether so many failures of so many instances are tolerated.
    pub fn tolerates(self, failed: u32, of: u32) -> bool {
        match self {
            Self::Count(most) => failed <= most,
            Self::Percent(percent) => f64::from(failed) * 100.0 <= percent * f64::from(of),
        }
    }
}

/// What is expected of a task's records, judged at its end.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Expect {
    /// Least volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_records: Option<f64>,
    /// Most volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_records: Option<f64>,
    /// Most rejected records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rejected: Option<f64>,
    /// Most rejected records, as a part of those read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rejected_ratio: Option<f64>,
    /// What follows where it is not so.
    #[serde(default)]
    pub action: ExpectAction,
}

/// What follows where records are not as expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpectAction {
    /// Someone is told; the task succeeds.
    #[default]
    Alert,
    /// FAILED(expectation).
    Fail,
    /// RUNNING(held) until a person releases or rejects it.
    Hold,
}
