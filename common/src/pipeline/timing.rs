//! When runs start by themselves: `schedule` and `triggers`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::schedule::Schedule;
use crate::{Millis, PipelineName, TriggerName};

/// The schedule of a pipeline, and what becomes of the intervals that fall due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleSpec {
    /// At which times intervals end.
    #[serde(flatten)]
    pub times: Schedule,
    /// What becomes of intervals that fell due while nobody looked.
    #[serde(default)]
    pub catchup: Catchup,
    /// What a run that falls due does while another has not ended.
    #[serde(default)]
    pub overlap: Overlap,
    /// An interval that fell due no longer ago than this runs, whatever `catchup` says.
    #[serde(default = "default_grace")]
    pub grace: Millis,
    /// Runs that may be queued; what falls due beyond them is skipped, or waits where `catchup` is `all`.
    #[serde(default = "default_max_queued")]
    pub max_queued: u32,
}

/// What becomes of intervals that fell due longer ago than `grace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Catchup {
    /// They are skipped.
    None,
    /// The newest runs if nothing newer does; the others are skipped.
    #[default]
    Latest,
    /// All run, oldest first, at most `max_queued` queued at once.
    All,
}

/// What a scheduled run does while another of the schedule is queued or running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It waits for its turn.
    #[default]
    Queue,
    /// Its interval is skipped.
    Skip,
    /// The others are cancelled.
    CancelRunning,
}

/// Something that starts runs, besides the schedule and people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerSpec {
    /// Its name within the pipeline.
    pub name: TriggerName,
    /// What it waits for.
    #[serde(flatten)]
    pub source: TriggerSource,
    /// What a run is given; values are templates over `event`. Empty: what the event carries under the names of parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// What comes within this time of the last starts one run together with it. Zero: each starts a run.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub debounce: Millis,
}

/// What a trigger waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerSource {
    /// A call of `EmitEvent`, or of the trigger's webhook, with this name.
    Event(String),
    /// The end of a run of each of these pipelines, for the same interval.
    Pipelines {
        /// Which.
        names: Vec<PipelineName>,
        /// How it ended.
        when: Ending,
    },
    /// A file, new or changed.
    File {
        /// A path, or the URL of an object store, with `*`, `?` and `[…]`.
        path: String,
        /// How long it must not have changed.
        settle: Millis,
        /// How often it is looked for.
        every: Millis,
        /// Files that are there when the trigger is first seen start runs too.
        existing: bool,
    },
}

/// How a run must have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// SUCCESS.
    #[default]
    Success,
    /// FAILED or CANCELLED.
    Failure,
    /// Either.
    Any,
}

impl TriggerSpec {
    /// The pipelines whose runs it waits for.
    pub fn pipelines(&self) -> Option<(&[PipelineName], Ending)> {
        match &self.source {
            TriggerSource::Pipelines { names, when } => Some((names, *when)),
            _ => None,
        }
    }
}

impl Ending {
    /// Whether a run that ended so is meant.
    pub fn accepts(self, state: crate::State) -> bool {
        match self {
            Self::Success => state == crate::State::Success,
            Self::Failure => matches!(state, crate::State::Failed | crate::State::Cancelled),
            Self::Any => state.is_terminal(),
        }
    }
}

fn is_zero(duration: &Millis) -> bool {
    duration.0 == 0
}
fn default_max_queued() -> u32 {
    ScheduleSpec::MAX_QUEUED
}
fn default_grace() -> Millis {
    ScheduleSpec::GRACE
}

impl ScheduleSpec {
    /// `max_queued` where the document says nothing.
    pub const MAX_QUEUED: u32 = 100;
    /// The name that a schedule has among the triggers of its pipeline.
    pub const TRIGGER: &str = "schedule";
    /// `grace` where the document says nothing.
    pub const GRACE: Millis = Millis(300_000);
}
