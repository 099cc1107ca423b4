//! `run` and `shell`: a program with a supervisor above it, watched until its whole tree has ended.
//!
//! ```text
//!  prepare: templates, secrets, output files
//!     └──▶ supervisor process ──▶ the user's program              (supervise, tree)
//!  control socket: start, term, kill ▶ │ ◀ started, ended         (control)
//!  pipes: stdout, stderr ─────────────▶ log file, tail
//!  $PENSTOCK_OUTPUT, $PENSTOCK_ITEMS ─▶ metrics, outputs, items
//! ```
//!
//! Each attempt has a supervisor process of its own: it is session leader and child subreaper, so every process that the
//! program ever starts is its descendant, and it kills them all when the program ends, when it is told to, or when its
//! control socket closes because the worker died, in whatever way. A process group would lose whoever calls `setsid`.
//!
//! Reports what the program wrote to `$PENSTOCK_OUTPUT` and `$PENSTOCK_ITEMS`, and its exit code. Reasons: `exit_code`,
//! `timeout`, `spawn`, `oom`, `output_too_large`, `template`, `task`.

mod control;
pub(crate) mod leftovers;
pub(crate) mod oom;
mod spawn;
mod supervise;
mod tree;

use std::ffi::OsString;
use std::process::Child;
use std::time::Duration;

use penstock_common::pipeline::Action;
use penstock_common::{Fence, Reason, Timestamp};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use self::control::{KILL, NotStarted, Start, TERM, Told};
use self::oom::Kills;
use self::spawn::Spawned;
use super::{Done, Executor};
use crate::attempt::follow::Follow;
use crate::attempt::halt::{LONGEST, at};
use crate::attempt::job::Job;
use crate::attempt::judge::{Cause, End, Verdict};
use crate::attempt::output::{OutputFiles, Tail};

pub use self::leftovers::{become_subreaper, wait_for_leftovers};
pub use self::supervise::supervise;

/// After the tree has ended, how long the log may still come: someone outside the tree may hold its pipes.
const DRAIN_FOR: Duration = Duration::from_secs(2);
/// How long after `kill` a supervisor may be silent. It reports after 5 s what it cannot kill.
const OBEY_FOR: Duration = Duration::from_secs(8);
/// How long the worker itself tries to kill what a dead supervisor left.
const HUNT_FOR: Duration = Duration::from_secs(5);

/// A program or a script.
pub(crate) struct Program;

impl Executor for Program {
    async fn execute(self, job: &mut Job<'_>) -> Result<Done, Verdict> {
        let prepared = prepare(job).await?;
        let mut attempt = Attempt::new(prepared, job)?;
        let (outcome, cause) = attempt.watch(job).await;
        attempt.conclude(outcome, cause, job).await
    }
}

/// A supervisor that waits to be told what to run.
struct Prepared {
    start: Start,
    files: OutputFiles,
    spawned: Spawned,
    oom: Option<Kills>,
    /// The program's PATH.
    path: Option<String>,
}

async fn prepare(job: &mut Job<'_>) -> Result<Prepared, Verdict> {
    let host = job.host;
    let scratch_fails = |error: &dyn std::fmt::Display| {
        Verdict::failed(Reason::Spawn, &format!("the worker's scratch directory {}: {error}", host.scratch.display()))
    };
    let (scratch, fence) = (host.scratch.clone(), job.lease.fence);
    let files = spawn_blocking(move || OutputFiles::create(&scratch, fence)).await;
    let files = files.map_err(|error| scratch_fails(&error))?.map_err(|error| scratch_fails(&error))?;
    let lock = std::path::absolute(host.scratch.join(leftovers::LOCK)).map_err(|error| scratch_fails(&error))?;

    let argv = argv(job)?;
    let env = job.environment(files.output(), files.items()).await?;
    let start = Start { argv, env, cwd: job.workdir()?, lock };
    let inherited = || host.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.to_string_lossy().into_owned());
    let path = start.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone()).or_else(inherited);

    let for_spawn = host.clone();
    let spawned = spawn_blocking(move || (Kills::now(), spawn::supervisor(&for_spawn))).await;
    let (oom, spawned) = spawned.map_err(|error| Verdict::failed(Reason::Spawn, &error.to_string()))?;
    let spawned = spawned.map_err(|why| Verdict::failed(Reason::Spawn, &why))?;
    Ok(Prepared { start, files, spawned, oom, path })
}

fn argv(job: &Job<'_>) -> Result<Vec<String>, Verdict> {
    let argv = match &job.lease.spec.action {
        Action::Run(argv) => {
            argv.iter().enumerate().map(|(i, element)| job.render(&format!("run[{i}]"), element)).collect::<Result<_, _>>()?
        }
        // Never a template: values reach a script as variables.
        Action::Shell(script) => ["sh", "-eu", "-c", script].map(str::to_owned).to_vec(),
        _ => Vec::new(),
    };
    match argv.first() {
        Some(program) if !program.is_empty() => Ok(argv),
        _ => Err(Verdict::failed(Reason::Template, "run[0], the program, is empty")),
    }
}

/// An attempt whose supervisor runs.
struct Attempt {
    start: Start,
    path: Option<String>,
    files: OutputFiles,
    oom: Option<Kills>,
    supervisor: Reaper,
    told: Lines<BufReader<OwnedReadHalf>>,
    control: OwnedWriteHalf,
    stdout: Receiver,
    stderr: Receiver,
    follow: Follow,
}

/// What [`Attempt::watch`] saw.
enum Outcome {
    Ended(End),
    NotStarted(NotStarted),
    /// There was no program yet when the supervisor died in this way.
    SupervisorDied(String),
}

impl Attempt {
    fn new(prepared: Prepared, job: &mut Job<'_>) -> Result<Self, Verdict> {
        let Prepared { start, files, spawned, oom, path } = prepared;
        let supervisor = Reaper(Some(spawned.child));
        let connect = || -> std::io::Result<_> {
            spawned.control.set_nonblocking(true)?;
            let control = UnixStream::from_std(spawned.control)?.into_split();
            Ok((control, Receiver::from_owned_fd(spawned.stdout)?, Receiver::from_owned_fd(spawned.stderr)?))
        };
        let ((told, control), stdout, stderr) = connect()
            .map_err(|error| Verdict::failed(Reason::Spawn, &format!("the worker cannot watch the supervisor process: {error}")))?;
        let told = BufReader::new(told).lines();
        let follow = Follow::new(Tail::new(files.output(), job.masks().clone()), job.live.take());
        Ok(Self { start, path, files, oom, supervisor, told, control, stdout, stderr, follow })
    }

    /// Starts the program, and obeys whoever wants it stopped, until its tree has ended or the supervisor is gone.
    async fn watch(&mut self, job: &mut Job<'_>) -> (Outcome, Option<Cause>) {
        let Job { lease, host, log, halt, started_at, .. } = job;
        let mut start = serde_json::to_vec(&self.start).unwrap_or_default();
        start.push(b'\n');
        // If the supervisor is dead already, `told` ends.
        let _ = self.control.write_all(&start).await;
        drop(start);

        let mut pump = Box::pin(log.pump(&self.stdout, &self.stderr));
        let mut pumped = false;
        let mut cause: Option<Cause> = None;
        let mut kill_at: Option<Instant> = None;
        let mut give_up_at: Option<Instant> = None;

        let outcome = loop {
            let stop_for = tokio::select! {
                // First of all, that it has ended: a success then wins over a cancel.
                biased;
                line = self.told.next_line() => {
                    match line.ok().flatten().map(|line| serde_json::from_str::<Told>(&line)) {
                        Some(Ok(Told::Started)) => *started_at = (host.clock)(),
                        Some(Ok(Told::NotStarted(why))) => break Outcome::NotStarted(why),
                        Some(Ok(Told::Ended(exit))) => break Outcome::Ended(End::Exit(exit)),
                        Some(Err(_)) | None => {
                            let (how, alive) = self.supervisor.bury(lease.fence).await;
                            break if *started_at == Timestamp(0) && alive == 0 {
                                Outcome::SupervisorDied(how)
                            } else {
                                Outcome::Ended(End::SupervisorDied { how, alive })
                            };
                        }
                    }
                    None
                }
                why = halt.next() => Some(why),
                () = at(kill_at) => {
                    kill_at = None;
                    give_up_at = Some(Instant::now() + OBEY_FOR);
                    let _ = self.control.write_all(KILL.as_bytes()).await;
                    None
                }
                () = at(give_up_at) => {
                    // It does not answer: stopped by a person, or stuck in the kernel. Then `told` ends with it.
                    give_up_at = None;
                    self.supervisor.kill();
                    None
                }
                too_large = self.follow.next() => Some(Cause::TooLarge(too_large)),
                () = &mut pump, if !pumped => {
                    pumped = true;
                    None
                }
            };
            match stop_for {
                // Also after another cause: nobody wants the verdict any more.
                Some(Cause::Revoked) => {
                    cause = Some(Cause::Revoked);
                    kill_at = Some(Instant::now());
                }
                Some(other) if cause.is_none() => {
                    cause = Some(other);
                    kill_at = Some(Instant::now() + lease.spec.grace.min(LONGEST).std());
                    let _ = self.control.write_all(TERM.as_bytes()).await;
                }
                _ => {}
            }
        };
        let drained = pumped || timeout(DRAIN_FOR, &mut pump).await.is_ok();
        drop(pump);
        if !drained {
            log.notice("the log ends here: something that is no descendant of the program still holds its output open");
        }
        (outcome, cause)
    }

    /// Reads what was reported, judges, and closes the log.
    async fn conclude(self, outcome: Outcome, cause: Option<Cause>, job: &mut Job<'_>) -> Result<Done, Verdict> {
        let Self { start, path, files, oom, .. } = self;
        let end = match (outcome, &cause) {
            (Outcome::Ended(end), _) => end,
            (_, Some(cause)) => return Ok(cause.verdict().into()),
            (Outcome::NotStarted(why), None) => {
                let explained = spawn_blocking(move || spawn::explain(&start, path.as_deref(), &why)).await;
                return Err(Verdict::failed(Reason::Spawn, &explained.unwrap_or_else(|error| error.to_string())));
            }
            (Outcome::SupervisorDied(how), None) => {
                let said = job.log.tail();
                let program = job.host.supervisor.first().map(OsString::as_os_str).unwrap_or_default();
                let detail = format!("the supervisor process {program:?} {how} before it started the program: {said}");
                return Ok(Verdict::failed(Reason::Spawn, &detail).into());
            }
        };
        if let End::Exit(exit) = &end
            && exit.leftovers > 0
        {
            job.log.notice(&format!("the program left {} processes running, and they were killed", exit.leftovers));
        }
        let oom = spawn_blocking(move || oom.is_some_and(|before| Kills::now() > Some(before))).await.unwrap_or_default();
        Ok(job.judge(files, end, cause, oom).await)
    }
}

/// The supervisor as a child of this process, which must be waited for whatever happens.
struct Reaper(Option<Child>);

impl Reaper {
    fn kill(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill(); // it is dead already
        }
    }

    /// After its death: kills what it left. Says how it died, and how many could not be killed.
    async fn bury(&mut self, fence: Fence) -> (String, usize) {
        let Some(child) = self.0.take() else { return ("is gone".to_owned(), 0) };
        let buried = spawn_blocking(move || leftovers::bury(child, fence, HUNT_FOR)).await;
        buried.unwrap_or_else(|error| (format!("is gone ({error})"), 0))
    }
}

impl Drop for Reaper {
    /// In a thread, as it may still be killing; not the runtime's, which would wait for it at its end.
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let wait = move || child.wait().map(drop);
            let _ = std::thread::Builder::new().name("reaper".into()).stack_size(64 * 1024).spawn(wait);
        }
    }
}
