//! The checked definition. Defaults are merged already: every task says all that holds for it.
//!
//! The JSON form of [`Pipeline`] is what a definition's blob holds and what its digest is taken of, so a comment
//! or a reordering in the document makes no new version. New fields must have a serde default.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::action::{Action, Setting};
use super::flow::{Dependency, Expect, ForEach, MaxFailed, TriggerRule};
use crate::{Digest, Millis, PipelineName, PoolName, QueueName, Reason, TaskId, limits};

/// A user's pipeline, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Its name.
    pub name: PipelineName,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whom to ask.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// For finding it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What a run may be given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Param>,
    /// Runs of it that may be RUNNING at once; more are queued. `None`: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_active_runs: Option<u32>,
    /// Tasks of one run that may be RUNNING at once. `None`: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_active_tasks: Option<u32>,
    /// Longest time from a run's start to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_timeout: Option<Millis>,
    /// The IANA zone of `interval.date` and of times of day. `None`: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Its tasks.
    pub tasks: BTreeMap<TaskId, Task>,
}

/// A node of the pipeline, defaults merged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its upstreams, sorted by task, each once; groups are written out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Dependency>,
    /// When it may start; `all_success` where edges have conditions of their own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub trigger_rule: TriggerRule,
    /// An expression over params, run, interval, outputs (and item); false is SKIPPED(condition).
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Its output `branch` picks the direct downstreams that go on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub branch: bool,
    /// It is mapped: one instance for each item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<ForEach>,
    /// Instances of it that may be RUNNING at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// Instances of it that may fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failed: Option<MaxFailed>,
    /// For display, and as a dependency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<TaskId>,
    /// It cleans up: it runs whatever happened, also in a cancelled run, and its failure does not fail the run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub teardown: bool,
    /// What it cleans up after: it runs only if that succeeded. Also an upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<TaskId>,
    /// Downstream reads its failure as success.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allow_failure: bool,
    /// A cluster-wide count that it takes slots of while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// How many slots of the pool.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub pool_slots: u32,
    /// What is expected of its records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
    /// What it does.
    pub action: Action,
    /// How often and when it is tried again.
    #[serde(default)]
    pub retries: Retries,
    /// Longest time one attempt may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// Longest time it may wait for a slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_timeout: Option<Millis>,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Millis,
    /// Attempts that may be lost with their worker; 0 for tasks that must never start twice.
    pub max_lost: u32,
    /// Which workers may run it.
    pub queue: QueueName,
    /// Labels a worker must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Higher starts first within a queue.
    #[serde(default)]
    pub priority: i32,
    /// Variables for its program; values are templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Setting>,
    /// Working directory, relative to the worker's code root; a template.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub workdir: String,
}

/// How often and when a failed attempt is followed by another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retries {
    /// Further attempts after the first.
    pub max: u32,
    /// Before the first retry.
    pub delay: Millis,
    /// Each later delay is the last times this; at least 1.
    pub backoff: f64,
    /// No delay is longer.
    pub max_delay: Millis,
    /// Whether delays are drawn at random.
    #[serde(default)]
    pub jitter: Jitter,
    /// Only these failures are retried; `None`: all that can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<ExitPolicy>,
    /// These failures are never retried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_on: Option<ExitPolicy>,
}

/// A set of failures.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExitPolicy {
    /// By reason.
    #[serde(default)]
    pub reasons: Vec<Reason>,
    /// By exit code.
    #[serde(default)]
    pub exit_codes: Vec<i32>,
}

impl ExitPolicy {
    /// Whether a failure is in the set.
    pub fn matches(&self, reason: Reason, exit_code: Option<i32>) -> bool {
        self.reasons.contains(&reason) || exit_code.is_some_and(|c| self.exit_codes.contains(&c))
    }
}

/// Whether retry delays are drawn at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    /// The delay as computed.
    #[default]
    None,
    /// Uniform between zero and the delay.
    Full,
}

/// A value a run may be given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Param {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ParamType,
    /// Used when the run gives none; without it the run must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
    /// The only values allowed.
    #[serde(default, rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<serde_json::Value>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// Types of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamType {
    /// Text.
    String,
    /// A whole number, 64 bits.
    Int,
    /// A number.
    Number,
    /// true or false.
    Bool,
}

impl Default for Retries {
    fn default() -> Self {
        Self { max: 0, delay: Millis(10_000), backoff: 2.0, max_delay: Millis(3_600_000), jitter: Jitter::None, on: None, not_on: None }
    }
}

impl Retries {
    /// The delay before try number `failures` + 1, given `random` in [0, 1).
    pub fn delay_after(&self, failures: u32, random: f64) -> Millis {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let full = self.delay.0 as f64 * self.backoff.max(1.0).powi(exponent);
        let capped = full.min(self.max_delay.0 as f64);
        Millis(match self.jitter {
            Jitter::None => capped,
            Jitter::Full => capped * random,
        } as u64)
    }

    /// Whether this failure may be followed by another attempt, the budget apart.
    pub fn covers(&self, reason: Reason, exit_code: Option<i32>) -> bool {
        reason.is_retryable()
            && self.on.as_ref().is_none_or(|set| set.matches(reason, exit_code))
            && !self.not_on.as_ref().is_some_and(|set| set.matches(reason, exit_code))
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
fn one() -> u32 {
    1
}
fn is_one(n: &u32) -> bool {
    *n == 1
}

/// The task after `outputs`, as `.TASK` or `["TASK"]`.
fn named(rest: &str) -> Option<TaskId> {
    let rest = [".", "[\"", "['"].iter().find_map(|open| rest.strip_prefix(open))?;
    let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')).unwrap_or(rest.len());
    TaskId::parse(&rest[..end]).ok()
}

/// Whether the `outputs` after this text are the previous interval's.
fn is_previous(before: &str) -> bool {
    before.trim_end_matches(['.', '[', '"', '\'']).ends_with("previous")
}

impl Task {
    /// A task that does nothing and waits for nothing.
    pub fn noop() -> Self {
        Self {
            description: String::new(),
            depends_on: Vec::new(),
            trigger_rule: TriggerRule::AllSuccess,
            condition: None,
            branch: false,
            for_each: None,
            max_parallel: None,
            max_failed: None,
            group: None,
            teardown: false,
            setup: None,
            allow_failure: false,
            pool: None,
            pool_slots: 1,
            expect: None,
            action: Action::Noop,
            retries: Retries::default(),
            timeout: None,
            queue_timeout: None,
            grace: Millis(10_000),
            max_lost: limits::DEFAULT_MAX_LOST,
            queue: QueueName::parse(Self::DEFAULT_QUEUE).unwrap_or_else(|_| unreachable!("a constant name")),
            labels: BTreeMap::new(),
            priority: 0,
            env: BTreeMap::new(),
            workdir: String::new(),
        }
    }
    /// Every text of this task that is a template, or an expression.
    pub fn templates(&self) -> impl Iterator<Item = &str> {
        let env = self.env.values().filter_map(Setting::template);
        self.action.templates().into_iter().chain(env).chain([self.workdir.as_str()]).chain(self.condition.as_deref())
    }
    /// Whether a template or expression of it uses this name, as `item` or `previous`. True where that is not certain.
    pub fn mentions(&self, name: &str) -> bool {
        self.templates().any(|text| text.contains(name))
    }
    /// Tasks whose outputs its templates name, as `outputs.TASK` or `outputs["TASK"]`. `None`: one reads them otherwise, and may mean
    /// any task above.
    pub fn outputs_named(&self) -> Option<Vec<TaskId>> {
        self.after("outputs").filter(|(before, _)| !is_previous(before)).map(|(_, rest)| named(rest)).collect()
    }
    /// Tasks whose outputs of the previous interval its templates name, as `previous.outputs.TASK`.
    pub fn previous_named(&self) -> Vec<TaskId> {
        self.after("outputs").filter(|(before, _)| is_previous(before)).filter_map(|(_, rest)| named(rest)).collect()
    }
    /// What stands before and after each place of a word in its templates.
    fn after<'a>(&'a self, word: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let says = |text: &&str| text.contains("{{") || text.contains("{%") || Some(*text) == self.condition.as_deref();
        self.templates()
            .filter(says)
            .flat_map(move |text| text.match_indices(word).map(move |(at, _)| (&text[..at], &text[at + word.len()..])))
    }
    /// The queue of tasks that name none.
    pub const DEFAULT_QUEUE: &'static str = "default";
}

impl Pipeline {
    /// The bytes a blob holds.
    pub fn to_blob(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_else(|e| unreachable!("a pipeline is always JSON: {e}"))
    }
    /// A pipeline of these tasks and nothing else.
    pub fn of(name: PipelineName, tasks: BTreeMap<TaskId, Task>) -> Self {
        Self {
            name,
            description: String::new(),
            owner: String::new(),
            tags: Vec::new(),
            params: BTreeMap::new(),
            max_active_runs: None,
            max_active_tasks: None,
            run_timeout: None,
            timezone: None,
            tasks,
        }
    }
    /// The zone of its dates and times of day.
    pub fn zone(&self) -> &str {
        self.timezone.as_deref().unwrap_or("UTC")
    }
    /// Reads a blob back.
    pub fn from_blob(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
    /// The digest of its blob.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_blob())
    }

    /// Checks what a run is given against `params`, fills in defaults, and returns all that is wrong otherwise.
    pub fn bind_params(
        &self,
        given: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<serde_json::Map<String, serde_json::Value>, Vec<String>> {
        let mut errors = Vec::new();
        for name in given.keys().filter(|name| !self.params.contains_key(*name)) {
            let known: Vec<_> = self.params.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "it has none".to_owned() } else { known.join(", ") };
            errors.push(format!("pipeline {} has no parameter {name:?}; its parameters: {known}", self.name));
        }
        let mut bound = serde_json::Map::new();
        for (name, param) in &self.params {
            match given.get(name).or(param.default.as_ref()) {
                None => errors.push(format!("parameter {name:?} ({}) is required and was not given", param.kind.as_str())),
                Some(value) => {
                    // A command line gives text: it is read as the parameter's type.
                    let read = value.as_str().filter(|_| param.kind != ParamType::String).and_then(|text| param.kind.read(text));
                    let value = read.unwrap_or_else(|| value.clone());
                    match param.check(&value) {
                        Ok(()) => {
                            bound.insert(name.clone(), value);
                        }
                        Err(why) => errors.push(format!("parameter {name:?}: {why}")),
                    }
                }
            }
        }
        if errors.is_empty() { Ok(bound) } else { Err(errors) }
    }
}

impl ParamType {
    /// The word in the document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Number => "number",
            Self::Bool => "bool",
        }
    }
    /// Reads a value as a command line gives it.
    pub fn read(self, text: &str) -> Option<serde_json::Value> {
        match self {
            Self::String => Some(text.into()),
            Self::Int => text.parse::<i64>().ok().map(Into::into),
            // As documents are read: a whole number stays one, and is rendered without a point.
            Self::Number => match text.parse::<i64>() {
                Ok(n) => Some(n.into()),
                Err(_) if text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-')) => None, // a float is another number
                Err(_) => text.parse::<f64>().ok().filter(|f| f.is_finite()).map(Into::into),
            },
            Self::Bool => text.parse::<bool>().ok().map(Into::into),
        }
    }
}

impl Param {
    /// Whether `value` is of the type and among the values allowed; else what is wrong.
    pub fn check(&self, value: &serde_json::Value) -> Result<(), String> {
        let fits = match self.kind {
            ParamType::String => value.is_string(),
            ParamType::Int => value.is_i64() || value.is_u64(),
            ParamType::Number => value.is_number(),
            ParamType::Bool => value.is_boolean(),
        };
        if !fits {
            let article = if self.kind == ParamType::Int { "an" } else { "a" };
            return Err(format!("{value} is not {article} {}", self.kind.as_str()));
        }
        if !self.values.is_empty() && !self.values.contains(value) {
            let allowed: Vec<_> = self.values.iter().map(ToString::to_string).collect();
            return Err(format!("{value} is not among {}", allowed.join(", ")));
        }
        Ok(())
    }
}
