//! The command line of podman or docker: argv in, text out. Every command but the long ones has a limit of time.
//!
//! Only what both programs have in common is used. What they say is shown to people and, but for "no such", never parsed; what
//! is read is asked for as JSON.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use super::super::config::CommandLine;
use crate::attempt::Host;

/// What a short command may take. Removing a large container under load takes seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// What is shown of a message.
const MAX_SHOWN_BYTES: usize = 700;
/// What is asked about a container.
const FORMAT: &str = r#"{"name":{{json .Name}},"state":{{json .State}},"labels":{{json .Config.Labels}},"mounts":{{json .Mounts}}}"#;

/// The program with its options.
#[derive(Clone)]
pub(super) struct Program {
    command_line: CommandLine,
    env: Arc<[(OsString, OsString)]>,
}

/// A container as the runtime sees it.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    name: String,
    pub(super) state: State,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    mounts: Option<Vec<Mounted>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mounted {
    #[serde(default)]
    source: PathBuf,
    #[serde(default)]
    destination: PathBuf,
}

/// How far it is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct State {
    /// `created`, `running`, `exited`, …
    pub(super) status: String,
    #[serde(default)]
    pub(super) exit_code: i32,
    #[serde(default, rename = "OOMKilled")]
    pub(super) oom_killed: bool,
    #[serde(default)]
    pub(super) error: String,
}

/// Why a command did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// There is no such program, or it cannot be executed.
    #[error("cannot execute {program:?}: {why}. Install it on this worker, or name another container runtime in its configuration")]
    NoProgram { program: OsString, why: io::Error },
    /// It says no.
    #[error("{command}: {said}")]
    Refused { command: String, said: String },
    /// It hangs.
    #[error("{command} gave no answer within {} s", ANSWER_WITHIN.as_secs())]
    Silent { command: String },
    /// It said what nobody understands.
    #[error("{command} gave an answer that cannot be read ({why}): {said}")]
    Unreadable { command: String, why: String, said: String },
}

impl Found {
    /// Without the slash that docker puts before it.
    pub(super) fn name(&self) -> &str {
        self.name.trim_start_matches('/')
    }
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        self.labels.clone().unwrap_or_default()
    }
    /// What is mounted there.
    pub(super) fn mounted_at(&self, destination: &str) -> Option<PathBuf> {
        let mut mounts = self.mounts.iter().flatten();
        mounts.find(|mounted| mounted.destination == Path::new(destination)).map(|mounted| mounted.source.clone())
    }
}

impl State {
    /// It was made and did not run yet.
    pub(super) fn is_new(&self) -> bool {
        matches!(self.status.as_str(), "created" | "configured" | "initialized")
    }
    /// It ran and does not any more.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "exited" | "stopped" | "dead")
    }
}

impl Program {
    pub(super) fn new(command_line: &CommandLine, host: &Host) -> Self {
        Self { command_line: command_line.clone(), env: host.env.clone() }
    }

    /// The whole argv of a command.
    pub(super) fn argv<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Vec<OsString> {
        let own = [&self.command_line.program].into_iter().chain(&self.command_line.args).cloned();
        own.chain(arguments.iter().map(|a| a.as_ref().to_owned())).collect()
    }

    /// A command that is killed when it is dropped. `env` is set over what the worker's programs inherit.
    pub(super) fn command<S: AsRef<OsStr>>(&self, arguments: &[S], env: &[(String, String)]) -> Command {
        let argv = self.argv(arguments);
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command.envs(env.iter().map(|(name, value)| (name, value))).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    pub(super) fn no_program(&self, why: io::Error) -> Failure {
        Failure::NoProgram { program: self.command_line.program.clone(), why }
    }

    /// Runs a command to its end, however long it takes, and gives its standard output.
    pub(super) async fn wait<S: AsRef<OsStr>>(&self, arguments: &[S], env: &[(String, String)]) -> Result<String, Failure> {
        let output = self.command(arguments, env).output().await.map_err(|why| self.no_program(why))?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            return Ok(said(&output.stdout));
        }
        let stderr = Some(said(&output.stderr)).filter(|s| !s.is_empty()).unwrap_or_else(|| output.status.to_string());
        Err(Failure::Refused { command: self.shown(arguments), said: last(&stderr) })
    }

    /// A short command.
    pub(super) async fn ask<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String, Failure> {
        let answer = timeout(ANSWER_WITHIN, self.wait(arguments, &[])).await;
        answer.unwrap_or_else(|_| Err(Failure::Silent { command: self.shown(arguments) }))
    }

    /// `podman create`, to say who speaks.
    pub(super) fn shown<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        let command = arguments.first().map_or(OsStr::new(""), AsRef::as_ref);
        format!("{} {}", self.command_line.program.to_string_lossy(), command.to_string_lossy())
    }

    /// The container of this name, if there is one.
    pub(super) async fn inspect(&self, name: &str) -> Result<Option<Found>, Failure> {
        let arguments = ["inspect", "--type", "container", "--format", FORMAT, name];
        match self.ask(&arguments).await {
            Ok(text) => self.read(&arguments, &text).map(Some),
            Err(Failure::Refused { said, .. }) if is_none(&said) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Every container with a label, whatever its state.
    pub(super) async fn list(&self, label: &str) -> Result<Vec<Found>, Failure> {
        let filter = format!("label={label}");
        let ids = self.ask(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter]).await?;
        let mut found = Vec::new();
        for id in ids.lines() {
            found.extend(self.inspect(id).await?); // one that is gone meanwhile is none
        }
        Ok(found)
    }

    /// Kills and removes a container, and is sure that it is gone.
    pub(super) async fn remove(&self, name: &str) -> Result<(), Failure> {
        // First, as podman's `rm` would leave it ten seconds; it fails for what does not run.
        let _ = self.ask(&["kill", name]).await;
        match self.ask(&["rm", "--force", "--volumes", name]).await {
            Ok(_) => Ok(()),
            Err(Failure::Refused { said, .. }) if is_none(&said) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    fn read(&self, arguments: &[&str], text: &str) -> Result<Found, Failure> {
        serde_json::from_str(text).map_err(|why| Failure::Unreadable {
            command: self.shown(arguments),
            why: why.to_string(),
            said: last(text),
        })
    }
}

/// Whether it says that there is no such container: "no such object", "No such container: x", "no container with name or ID".
fn is_none(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    said.contains("no such object") || said.contains("no such container") || said.contains("no container with name or id")
}

/// The end of a message, which is where the error is: before it come the steps of a pull.
pub(super) fn last(said: &str) -> String {
    let from = said.ceil_char_boundary(said.len().saturating_sub(MAX_SHOWN_BYTES));
    if from == 0 { said.to_owned() } else { format!("…{}", &said[from..]) }
}
