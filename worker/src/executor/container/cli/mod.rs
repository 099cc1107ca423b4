//! Podman or docker: by their command line, because both have it, and a socket's rights are more than a worker should need.
//!
//! ```text
//!  guard ◀─ create (not started) ─▶ list the task's ─▶ remove the earlier ─▶ start (by the guard)
//!             └─ name taken: adopt                                              │
//!  log ◀──── logs --follow ◀──── container ────▶ wait, inspect ────▶ how it ended ─▶ rm
//!                 output files ◀── /penstock ──┘   stop -t grace, kill ◀── halt
//! ```
//!
//! Never a shell, and no value in an argument that `ps` should not show: see `arguments.rs`. The container's working directory,
//! user and network are the image's and the operator's.
//!
//! Known limits: an adopted container's log is read again from its start. Whoever may use the runtime sees variables in
//! `inspect`, secrets among them, until the container is removed. A log that is read here was first written by the runtime, and
//! takes its disk until then; it must not be rotated, or its end may be missing here.

mod arguments;
mod ended;
pub(crate) mod guard;
mod logs;
mod mount;
mod program;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use penstock_common::Reason;
use penstock_common::pipeline::Container;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use self::arguments::{Create, MOUNTED_AT};
use self::ended::Ending;
use self::guard::Guard;
use self::mount::Mount;
use self::program::{Failure, Program};
use super::config::{CommandLine, Containers};
use super::names::{self, Identity, Other};
use super::spec::{self, Spec};
use crate::attempt::Host;
use crate::attempt::follow::Follow;
use crate::attempt::halt::{LONGEST, at};
use crate::attempt::job::Job;
use crate::attempt::judge::{Cause, End, Exit, Verdict};
use crate::attempt::output::{OutputFiles, Tail};
use crate::executor::Done;
use crate::executor::process::oom::Kills;

/// How long a runtime may take beyond the grace until a stopped container has ended.
const OBEY_FOR: Duration = Duration::from_secs(30);
/// What starting a container that is there may take.
const START_WITHIN: Duration = Duration::from_secs(120);
/// After the end, how long the log may still come.
const DRAIN_FOR: Duration = Duration::from_secs(10);

impl From<Failure> for Verdict {
    fn from(failure: Failure) -> Self {
        Self::failed(Reason::Spawn, &failure.to_string())
    }
}

pub(super) async fn execute(
    container: &Container,
    command_line: &CommandLine,
    containers: &Containers,
    job: &mut Job<'_>,
) -> Result<Done, Verdict> {
    let (output, items) = mount::within();
    let spec = Spec::render(container, job, &output, &items).await?;
    let identity = Identity::new(&containers.cluster, scope(containers, job.host), job.lease);
    let program = Program::new(command_line, job.host);
    let mut attempt = Attempt { program: &program, identity: &identity, container, guard: None, mount: None, ours: false };
    let done = attempt.carry_out(&spec, &command_line.create_args, job).await;
    let Attempt { guard, mount, ours, .. } = attempt;
    let removed = if ours { program.remove(&identity.name).await } else { Ok(()) };
    match (removed, guard) {
        (Ok(()), Some(guard)) => guard.dismiss().await,
        (Ok(()), None) => {}
        // Dropped, the guard goes on trying.
        (Err(failure), _) => {
            job.log.notice(&format!("the container {} could not be removed; its guard goes on trying: {failure}", identity.name));
        }
    }
    if let Some(mount) = mount {
        let _ = spawn_blocking(|| mount.remove()).await;
    }
    done
}

/// Removes every container that carries this worker's label.
pub(super) async fn remove_leftovers(command_line: &CommandLine, containers: &Containers, host: &Host) -> Result<(), String> {
    let program = Program::new(command_line, host);
    let selector = names::worker_selector(&scope(containers, host));
    for found in program.list(&selector).await.map_err(|failure| failure.to_string())? {
        tracing::warn!(container = found.name(), state = found.state.status, "removing a container that a former life of this worker left");
        program.remove(found.name()).await.map_err(|failure| format!("the container {} may still run: {failure}", found.name()))?;
    }
    let scratch = host.scratch.clone();
    let _ = spawn_blocking(move || mount::remove_old(&scratch)).await;
    Ok(())
}

/// The runtime is this machine's, where workers may share a name but not a scratch directory.
fn scope(containers: &Containers, host: &Host) -> String {
    let scratch = std::path::absolute(&host.scratch).unwrap_or_else(|_| host.scratch.clone());
    names::scope(&containers.cluster, &containers.worker, &scratch.to_string_lossy())
}

struct Attempt<'a> {
    program: &'a Program,
    identity: &'a Identity,
    container: &'a Container,
    guard: Option<Guard>,
    mount: Option<Mount>,
    /// What has our name may be ours, and is to be removed at the end. Never what someone else gave this name.
    ours: bool,
}

/// What keeps a container from being followed.
enum Not {
    /// It was to stop before anything ran.
    Halted(Cause),
    /// It cannot be.
    Failed(Verdict),
}

impl<T: Into<Verdict>> From<T> for Not {
    fn from(failure: T) -> Self {
        Self::Failed(failure.into())
    }
}

impl Attempt<'_> {
    /// All but the container's removal, which the caller does whatever comes of this.
    async fn carry_out(&mut self, spec: &Spec, create_args: &[OsString], job: &mut Job<'_>) -> Result<Done, Verdict> {
        let oom = Kills::of_machine();
        match self.start(spec, create_args, job).await {
            Ok(()) => {}
            Err(Not::Halted(cause)) => return Ok(cause.verdict().into()),
            Err(Not::Failed(verdict)) => return Err(verdict),
        }
        let files = OutputFiles::within(self.mount.as_ref().map_or(Path::new(""), Mount::shared));
        let (ending, cause) = self.follow(&files, job).await;
        self.conclude(ending, cause, files, oom, job).await
    }

    /// Up to the running container.
    async fn start(&mut self, spec: &Spec, create_args: &[OsString], job: &mut Job<'_>) -> Result<(), Not> {
        if !self.adopt(job).await? {
            self.post_guard(job.host).await?;
            if self.create(spec, create_args, job).await? {
                self.supersede(job).await?;
                return self.run(job).await;
            }
        }
        if self.guard.is_none() {
            self.post_guard(job.host).await?;
        }
        self.supersede(job).await
    }

    /// Whether there is a new container; else it is an adopted one.
    async fn create(&mut self, spec: &Spec, create_args: &[OsString], job: &mut Job<'_>) -> Result<bool, Not> {
        let scratch_fails = |error: &dyn std::fmt::Display| {
            Verdict::failed(Reason::Spawn, &format!("the worker's scratch directory {}: {error}", job.host.scratch.display()))
        };
        let (scratch, name) = (job.host.scratch.clone(), self.identity.name.clone());
        let mount = spawn_blocking(move || Mount::create(&scratch, &name)).await.map_err(|error| scratch_fails(&error))?;
        let mount = self.mount.insert(mount.map_err(|error| scratch_fails(&error))?);
        let people = (job.lease.run.to_string(), job.lease.task.to_string());
        let people = (people.0.as_str(), people.1.as_str());
        let create = arguments::create(self.container, spec, self.identity, people, mount.shared(), create_args);
        let Create { arguments, env } = create.map_err(spec::refuse)?;
        self.ours = true;
        let created = tokio::select! {
            biased;
            created = self.program.wait(&arguments, &env) => created,
            // The command is killed when it is dropped; what it made all the same, the caller removes.
            cause = job.halt.next() => return Err(Not::Halted(cause)),
        };
        let Err(failure) = created else { return Ok(true) };
        // Its name was taken meanwhile, or it cannot be made.
        self.ours = false;
        if self.adopt(job).await? { Ok(false) } else { Err(failure.into()) }
    }

    async fn post_guard(&mut self, host: &Host) -> Result<(), Verdict> {
        let name = &self.identity.name;
        let remove = vec![self.program.argv(&["kill", name]), self.program.argv(&["rm", "--force", "--volumes", name])];
        let guard = Guard::post(host, remove).await;
        self.guard = Some(guard.map_err(|error| Verdict::failed(Reason::Spawn, &format!("cannot start the container's guard: {error}")))?);
        Ok(())
    }

    /// Whether the attempt has a container already. One that never ran is removed, so that there is one way to start.
    async fn adopt(&mut self, job: &mut Job<'_>) -> Result<bool, Not> {
        let name = &self.identity.name;
        let Some(found) = self.program.inspect(name).await? else { return Ok(false) };
        match self.identity.compare(&found.labels()) {
            Some(Other::Same) => {}
            Some(Other::Later) => return Err(stale(name)),
            Some(Other::Earlier) | None => {
                let why = format!("the name {name} is taken by a container that is none of Penstock's: remove it");
                return Err(Not::Failed(Verdict::failed(Reason::Spawn, &why)));
            }
        }
        if found.state.is_new() {
            self.program.remove(name).await?;
            return Ok(false);
        }
        job.log.notice(&format!(
            "the container {name} of this attempt is there already ({}): it is followed, from its start",
            found.state.status
        ));
        let source = found.mounted_at(MOUNTED_AT).unwrap_or_default();
        let adopted = Mount::adopt(&job.host.scratch, name, source);
        self.mount = Some(adopted.map_err(|error| Verdict::failed(Reason::Spawn, &error.to_string()))?);
        self.ours = true;
        Ok(true)
    }

    /// Removes the containers of earlier attempts, or gives up for a later one.
    async fn supersede(&self, job: &mut Job<'_>) -> Result<(), Not> {
        for found in self.program.list(&self.identity.selector()).await? {
            match self.identity.compare(&found.labels()) {
                Some(Other::Later) => return Err(stale(found.name())),
                Some(Other::Earlier) => {
                    job.log.notice(&format!(
                        "the container {} of an earlier attempt is there ({}): it is removed",
                        found.name(),
                        found.state.status
                    ));
                    self.program.remove(found.name()).await?;
                }
                Some(Other::Same) | None => {}
            }
        }
        Ok(())
    }

    /// Starts what was created.
    async fn run(&mut self, job: &mut Job<'_>) -> Result<(), Not> {
        if let Some(cause) = job.halt.said() {
            return Err(Not::Halted(cause));
        }
        // From here on it may run, and then it gets its grace: whoever wants it stopped is heard once that is known.
        let argv = self.program.argv(&["start", &self.identity.name]);
        let started = match &mut self.guard {
            Some(guard) => {
                tokio::time::timeout(START_WITHIN, guard.start(argv)).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            }
            None => Err(std::io::Error::other("it has no guard")),
        };
        let started = started.map_err(|error| Verdict::failed(Reason::Spawn, &format!("the container could not be started: {error}")))?;
        if started.is_well() {
            return Ok(());
        }
        // It may have run and ended all the same, if the answer was lost.
        match self.program.inspect(&self.identity.name).await {
            Ok(Some(found)) if !found.state.is_new() && found.state.error.is_empty() => Ok(()),
            _ => Err(Not::Failed(Verdict::failed(Reason::Spawn, &format!("{}: {}", self.program.shown(&["start"]), started.said)))),
        }
    }

    /// Follows the container until it has ended, and stops it when that is wanted.
    async fn follow(&self, files: &OutputFiles, job: &mut Job<'_>) -> (Ending, Option<Cause>) {
        let name = &self.identity.name;
        let mut follow = Follow::new(Tail::new(files.output(), job.masks().clone()), job.live.take());
        job.started_at = (job.host.clock)();
        let grace = job.lease.spec.grace.min(LONGEST).std();
        let Job { log, halt, .. } = job;

        let mut ended = Box::pin(ended::wait(self.program, name));
        let mut taken = logs::Taken::default();
        let mut pump = Box::pin(logs::pump(self.program, name, &mut taken, log));
        let mut pumped = false;
        let mut cause: Option<Cause> = None;
        // The commands that stop it; they take as long as the container does.
        let mut stopping = None;
        let mut give_up_at: Option<Instant> = None;
        let ending = loop {
            let stop_for = tokio::select! {
                // First of all, that it has ended: a success then wins over a cancel.
                biased;
                ending = &mut ended => break ending,
                why = halt.next() => Some(why),
                () = async { match &mut stopping { Some(stop) => stop.await, None => std::future::pending().await } } => {
                    stopping = None;
                    None
                }
                () = at(give_up_at) => break Ending::Unstoppable,
                too_large = follow.next() => Some(Cause::TooLarge(too_large)),
                () = &mut pump, if !pumped => {
                    pumped = true;
                    None
                }
            };
            match stop_for {
                // Also after another cause: nobody wants the verdict any more.
                Some(Cause::Revoked) => {
                    cause = Some(Cause::Revoked);
                    give_up_at = Some(Instant::now() + OBEY_FOR);
                    stopping = Some(Box::pin(self.stop(None)));
                }
                Some(other) if cause.is_none() => {
                    cause = Some(other);
                    give_up_at = Some(Instant::now() + grace + OBEY_FOR);
                    stopping = Some(Box::pin(self.stop(Some(grace))));
                }
                _ => {}
            }
        };
        let drained = pumped || tokio::time::timeout(DRAIN_FOR, &mut pump).await.is_ok();
        drop(pump);
        let read = tokio::time::timeout(DRAIN_FOR, logs::rest(self.program, name, &mut taken, log)).await;
        if !drained || read.is_err() {
            log.notice("the log ends here: the runtime goes on giving a log of a container that has ended");
        }
        (ending, cause)
    }

    /// SIGTERM (or the image's own signal), and SIGKILL after the grace; or SIGKILL at once.
    async fn stop(&self, grace: Option<Duration>) {
        let name = self.identity.name.as_str();
        let seconds = grace.map(|grace| grace.as_millis().div_ceil(1_000).to_string());
        let arguments = match &seconds {
            Some(seconds) => vec!["stop", "-t", seconds, name],
            None => vec!["kill", name],
        };
        if let Err(failure) = self.program.wait(&arguments, &[]).await {
            tracing::debug!(%failure, "stopping a container"); // it had ended; else it shows by not ending
        }
    }

    async fn conclude(
        &self,
        ending: Ending,
        cause: Option<Cause>,
        files: OutputFiles,
        oom: Option<Kills>,
        job: &mut Job<'_>,
    ) -> Result<Done, Verdict> {
        let signalled = cause.is_some();
        let (exit, oom) = match ending {
            Ending::Exited(state) => {
                // Not every runtime sees it on every kernel. Together with SIGKILL and a limit, the machine's count is evidence.
                let counted =
                    !signalled && self.container.memory_bytes.is_some() && oom.is_some_and(|before| Kills::of_machine() > Some(before));
                let oom = state.oom_killed || counted;
                (Exit { code: Some(state.exit_code), signalled, ..Exit::default() }, oom)
            }
            Ending::Unstoppable => (Exit { signalled, alive: 1, ..Exit::default() }, false),
            Ending::Gone if signalled => (Exit { signalled, ..Exit::default() }, false),
            Ending::Gone => {
                let why = format!("the container {} was removed by someone else while it ran, so its end is unknown", self.identity.name);
                return Err(Verdict::failed(Reason::Lost, &why));
            }
            Ending::Lost(why) => return Err(Verdict::failed(Reason::Lost, &why)),
        };
        Ok(job.judge(files, End::Exit(exit), cause, oom).await)
    }
}

fn stale(name: &str) -> Not {
    let detail = format!("this lease does not hold any more: there is a container of a later one, {name}");
    Not::Failed(Verdict { detail, ..Cause::Revoked.verdict() })
}
