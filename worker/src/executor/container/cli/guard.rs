//! The guard of one container: a process of its own, which removes the container as soon as its worker is gone, in whatever way.
//!
//! A program's supervisor kills its descendants; a container is no descendant of anyone's. The guard is the same program as a
//! supervisor ([`supervise`](crate::attempt::supervise)), told other things on the same kind of socket:
//!
//! ```text
//!  worker                                        guard
//!  orders: how to remove it ───────────────────▶ takes the scratch directory's lock, shared
//!  start: argv ────────────────────────────────▶ runs it: podman's monitor is then the guard's to reap, not the worker's
//!            ◀────────────────────────────────── how that went
//!  done, once the container is removed ────────▶ ends
//!  (end of the stream: the worker is gone) ────▶ removes the container, and ends
//! ```
//!
//! A worker that starts anew waits for that lock before it says Hello. What a guard cannot help against: that it is killed too
//! (a service manager that kills the whole control group, the machine's end); then the worker's next start removes the container.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rustix::process::WaitOptions;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::attempt::Host;
use crate::executor::process::leftovers;

/// How often removing is tried.
const TRIES: u32 = 10;
/// How long what was the container's may take to end once it is removed.
const REAP_FOR: Duration = Duration::from_secs(5);

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) struct Orders {
    /// Commands that remove the container, one after another; the last one says whether it is gone.
    remove: Vec<Argv>,
    /// The lock to hold.
    guard_lock: PathBuf,
}

/// Any further line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Start(Argv),
    Done,
}

/// How starting went.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Started {
    /// The exit code, of whoever had one.
    code: Option<i32>,
    /// Its standard error.
    pub(super) said: String,
}

impl Started {
    pub(super) fn is_well(&self) -> bool {
        self.code == Some(0)
    }
}

/// Arguments as bytes: paths need not be text.
#[derive(Debug, Serialize, Deserialize)]
struct Argv(Vec<Vec<u8>>);

impl From<Vec<OsString>> for Argv {
    fn from(argv: Vec<OsString>) -> Self {
        Self(argv.into_iter().map(OsStringExt::into_vec).collect())
    }
}

impl Argv {
    fn command(&self) -> Command {
        let os = |bytes: &Vec<u8>| std::ffi::OsStr::from_bytes(bytes).to_owned();
        let mut command = Command::new(self.0.first().map(os).unwrap_or_default());
        command.args(self.0.iter().skip(1).map(os)).stdin(Stdio::null());
        command
    }
}

/// The worker's side.
pub(super) struct Guard {
    child: Option<Child>,
    told: tokio::io::Lines<tokio::io::BufReader<OwnedReadHalf>>,
    control: OwnedWriteHalf,
}

impl Guard {
    /// Starts a guard that removes by these commands.
    pub(super) async fn post(host: &Host, remove: Vec<Vec<OsString>>) -> io::Result<Self> {
        let orders = Orders {
            remove: remove.into_iter().map(Argv::from).collect(),
            guard_lock: std::path::absolute(host.scratch.join(leftovers::LOCK))?,
        };
        let host = host.clone();
        let (child, control) = tokio::task::spawn_blocking(move || spawn(&host)).await.map_err(io::Error::other)??;
        control.set_nonblocking(true)?;
        let (told, control) = UnixStream::from_std(control)?.into_split();
        let mut guard = Self { child: Some(child), told: tokio::io::BufReader::new(told).lines(), control };
        guard.tell(&orders).await?;
        Ok(guard)
    }

    async fn tell(&mut self, what: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        self.control.write_all(&line).await
    }

    /// Runs the command that starts the container.
    pub(super) async fn start(&mut self, argv: Vec<OsString>) -> io::Result<Started> {
        self.tell(&Line::Start(argv.into())).await?;
        let line = self.told.next_line().await?.ok_or_else(|| io::Error::other("the guard of the container was killed"))?;
        Ok(serde_json::from_str(&line)?)
    }

    /// The container is gone: so may the guard go.
    pub(super) async fn dismiss(mut self) {
        let _ = self.tell(&Line::Done).await; // it was killed: then it is gone already
    }
}

impl Drop for Guard {
    /// Waits for its end in a thread: it may still be removing.
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let wait = move || child.wait().map(drop);
            let _ = std::thread::Builder::new().name("guard".into()).stack_size(64 * 1024).spawn(wait);
        }
    }
}

fn spawn(host: &Host) -> io::Result<(Child, StdStream)> {
    let (program, arguments) = host.supervisor.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let (control, theirs) = StdStream::pair()?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(host.env.iter().map(|(name, value)| (name, value)));
    if program == "/proc/self/exe" {
        command.arg0("penstock"); // for people who read `ps`
    }
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    Ok((command.spawn()?, control))
}

impl Orders {
    /// What the first line asks for, if it is for a guard.
    pub(crate) fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    /// Stands guard until the container is removed. Blocks; for a process that does nothing else.
    pub(crate) fn obey(self, control: &StdStream, lines: BufReader<StdStream>) -> io::Result<()> {
        // Fails only for who already leads a session.
        let _ = rustix::process::setsid();
        // A service manager that stops the worker may signal everyone: the guard must outlive it.
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
            signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
        }
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let _lock = leftovers::hold(&self.guard_lock)?;
        for line in lines.lines().map_while(Result::ok) {
            match serde_json::from_str(&line)? {
                Line::Start(argv) => tell(control, &run(&argv)),
                Line::Done => {
                    reap();
                    return Ok(());
                }
            }
        }
        self.remove();
        reap();
        Ok(())
    }

    /// Until the last command is content, within reason.
    fn remove(&self) {
        for _ in 0..TRIES {
            let ends = self.remove.iter().map(run).collect::<Vec<_>>();
            if ends.last().is_none_or(Started::is_well) {
                return;
            }
            pause(Duration::from_secs(1));
        }
    }
}

fn tell(mut control: &StdStream, started: &Started) {
    let mut line = serde_json::to_vec(started).unwrap_or_default();
    line.push(b'\n');
    let _ = control.write_all(&line); // if the worker is gone, nobody needs to know
}

fn run(argv: &Argv) -> Started {
    match argv.command().output() {
        Ok(output) => Started { code: output.status.code(), said: super::program::last(String::from_utf8_lossy(&output.stderr).trim()) },
        Err(error) => Started { code: None, said: error.to_string() },
    }
}

/// Waits for whoever came to this process when podman left it.
fn reap() {
    let deadline = Instant::now() + REAP_FOR;
    while Instant::now() < deadline {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => pause(Duration::from_millis(20)),
            Err(_) => return, // nobody is left
        }
    }
}

fn pause(time: Duration) {
    #[allow(clippy::disallowed_methods, reason = "a process of its own without a runtime")]
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_told_from_what_a_supervisor_is_told() {
        let orders = Orders { remove: vec![vec!["podman".into(), "rm".into()].into()], guard_lock: "/lock".into() };
        let line = serde_json::to_string(&orders).unwrap();
        assert_eq!(Orders::read(&line).unwrap().guard_lock, PathBuf::from("/lock"));
        assert!(Orders::read(r#"{"argv":["x"],"env":[],"cwd":"/","lock":"/l"}"#).is_none());
    }
}
