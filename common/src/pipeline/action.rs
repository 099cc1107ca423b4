//! What a task does: one struct for each type of task. How they are executed is the worker's; `pipeline` and `approve` are
//! the scheduler's own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Millis, PipelineName};

/// What a task does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing: a join, or a benchmark.
    Noop,
    /// A program with its arguments, each a template; no shell.
    Run(Vec<String>),
    /// A script for `sh -eu`; never a template.
    Shell(String),
    /// One request.
    Http(Http),
    /// Statements on a named connection.
    Sql(Sql),
    /// A sensor: probed until it is so. Holds no slot and no pool between probes.
    Wait(Wait),
    /// Another pipeline's run, waited for without a slot.
    Pipeline(ChildRun),
    /// A person's yes or no, waited for without a slot.
    Approve(Approve),
    /// An image, as a Kubernetes Job or by podman or docker.
    Container(Container),
}

/// A value that is a template, or a secret named by reference: it is resolved on the worker, masked in logs and never stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Setting {
    /// A template.
    Template(String),
    /// A secret of the worker.
    Secret {
        /// Its name.
        secret: String,
    },
}

/// One HTTP request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Http {
    /// `GET`, `POST`, …
    pub method: String,
    /// A template; `http` or `https`.
    pub url: String,
    /// By name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Setting>,
    /// What is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
    /// Status codes that are a success, as inclusive ranges.
    pub success: Vec<(u16, u16)>,
    /// Whether the answer's body becomes the output `body` (`status` always becomes one).
    pub keep_body: bool,
}

/// What a request sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// A template, sent as it is rendered.
    Text(String),
    /// JSON whose strings are templates.
    Json(Value),
}

/// Statements on a named connection of the worker's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sql {
    /// The connection's name.
    pub connection: String,
    /// One after another.
    pub statements: Vec<Statement>,
    /// All or nothing, in one transaction.
    pub transaction: bool,
    /// Whether the first row of the last statement becomes outputs, by column.
    pub keep_row: bool,
}

/// One SQL statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    /// Its text, with `$1`, `$2`… where values go; never a template.
    pub text: String,
    /// The values: JSON scalars, of which strings are templates; a string that is one `{{ … }}` keeps the value's type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bind: Vec<Value>,
}

/// A sensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    /// For what.
    #[serde(rename = "for")]
    pub until: Until,
    /// Between probes.
    pub every: Millis,
    /// From the first probe; then it is FAILED(timeout), or SKIPPED(task) where `skip_on_timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// Whether the timeout skips.
    #[serde(default)]
    pub skip_on_timeout: bool,
}

/// What a sensor waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// A file that matches a path with `*`, `?` and `[…]`, unchanged for `settle`. The first match becomes the output `path`.
    File {
        /// A template, relative to the working directory.
        path: String,
        /// How long it must not have changed.
        settle: Millis,
    },
    /// A request that succeeds.
    Http(Http),
    /// A query that gives a row whose first column is neither NULL, false nor 0.
    Sql(Sql),
    /// A time: RFC 3339, or `HH:MM` of the interval's end date (today without an interval) in the pipeline's zone.
    Time(String),
}

/// Another pipeline's run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChildRun {
    /// Which pipeline; its newest version.
    pub name: PipelineName,
    /// Its parameters; strings are templates, and one that is a single `{{ … }}` keeps the value's type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Value>,
    /// Whether the task ends as that run does, or as soon as it is created.
    pub wait: bool,
}

/// A question for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approve {
    /// What is asked.
    pub message: String,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// A template.
    pub image: String,
    /// Replaces the image's entry point; templates. Empty: the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Arguments; templates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Of one CPU, in thousandths; requested and limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// Bytes; requested and limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The Kubernetes namespace; the worker's own without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The Kubernetes service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// When the image is pulled.
    pub pull: Pull,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pull {
    /// Where it is not there yet.
    Missing,
    /// Before each attempt.
    Always,
    /// Never: it must be there.
    Never,
}

impl Action {
    /// The key in the document.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::Run(_) => "run",
            Self::Shell(_) => "shell",
            Self::Http(_) => "http",
            Self::Sql(_) => "sql",
            Self::Wait(_) => "wait",
            Self::Pipeline(_) => "pipeline",
            Self::Approve(_) => "approve",
            Self::Container(_) => "container",
        }
    }

    /// Whether it is done without a worker.
    pub fn is_the_schedulers(&self) -> bool {
        matches!(self, Self::Pipeline(_) | Self::Approve(_))
    }

    /// Every text of it that is a template.
    pub fn templates(&self) -> Vec<&str> {
        let mut found = Vec::new();
        match self {
            Self::Noop | Self::Shell(_) | Self::Approve(_) => {}
            Self::Run(argv) => found.extend(argv.iter().map(String::as_str)),
            Self::Http(http) => http.templates(&mut found),
            Self::Sql(sql) => sql.templates(&mut found),
            Self::Wait(wait) => match &wait.until {
                Until::File { path, .. } => found.push(path),
                Until::Http(http) => http.templates(&mut found),
                Until::Sql(sql) => sql.templates(&mut found),
                Until::Time(time) => found.push(time),
            },
            Self::Pipeline(child) => child.params.values().for_each(|value| strings(value, &mut found)),
            Self::Container(container) => {
                found.push(&container.image);
                found.extend(container.command.iter().chain(&container.args).map(String::as_str));
            }
        }
        found
    }
}

impl Http {
    fn templates<'a>(&'a self, found: &mut Vec<&'a str>) {
        found.push(&self.url);
        found.extend(self.headers.values().filter_map(Setting::template));
        match &self.body {
            Some(Body::Text(text)) => found.push(text),
            Some(Body::Json(value)) => strings(value, found),
            None => {}
        }
    }
}

impl Sql {
    fn templates<'a>(&'a self, found: &mut Vec<&'a str>) {
        self.statements.iter().flat_map(|s| &s.bind).for_each(|value| strings(value, found));
    }
}

impl Setting {
    /// Its template, unless it is a secret.
    pub fn template(&self) -> Option<&str> {
        match self {
            Self::Template(text) => Some(text),
            Self::Secret { .. } => None,
        }
    }
}

/// Every string in a JSON value, keys apart.
pub fn strings<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| strings(field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
