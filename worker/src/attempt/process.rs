//! `run` and `shell`: a program with a supervisor above it, watched until its whole tree has ended.

use std::ffi::OsString;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use penstock_common::lease::Lease;
use penstock_common::limits::MAX_DETAIL_BYTES;
use penstock_common::metrics::{Metrics, Outputs};
use penstock_common::pipeline::Action;
use penstock_common::record::Ended;
use penstock_common::{Fence, Millis, Reason, State, Timestamp, paths};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};

use super::control::{KILL, NotStarted, Start, TERM, Told};
use super::judge::{Case, Cause, End, Verdict};
use super::log::Log;
use super::oom::Kills;
use super::output::{OutputFile, Report, Tail};
use super::spawn::{self, Spawned};
use super::template::Templates;
use super::{Host, Stop, environment, leftovers};

/// How often the output file is looked at while the program runs.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);
/// After the tree has ended, how long the log may still come: someone outside the tree may hold its pipes.
const DRAIN_FOR: Duration = Duration::from_secs(2);
/// How long after `kill` a supervisor may be silent. It reports after 5 s what it cannot kill.
const OBEY_FOR: Duration = Duration::from_secs(8);
/// How long the worker itself tries to kill what a dead supervisor left.
const HUNT_FOR: Duration = Duration::from_secs(5);
/// A timeout nobody lives to see; adding more could overflow.
const LONGEST: Millis = Millis(100 * 365 * 86_400_000);

pub(super) async fn execute(lease: &Lease, host: &Host, mut stop: watch::Receiver<Stop>, live: Option<watch::Sender<Metrics>>) -> Ended {
    let told = *stop.borrow_and_update();
    if let Some(cause) = cause(told) {
        return ended(host, Timestamp(0), cause.verdict(), Report::default());
    }
    let deadline = lease.spec.timeout.map(|limit| (Instant::now() + limit.min(LONGEST).std(), limit));

    let (for_lease, for_host) = (lease.clone(), host.clone());
    let (mut log, prepared) = match spawn_blocking(move || prepare(&for_lease, &for_host)).await {
        Ok(done) => done,
        // The runtime is going down, or there is a bug; either way there is no program.
        Err(error) => {
            let verdict = Verdict::failed(Reason::Spawn, &format!("the worker could not prepare the attempt: {error}"));
            return ended(host, Timestamp(0), verdict, Report::default());
        }
    };
    let prepared = prepared.and_then(|prepared| Attempt::new(prepared, lease, host, live));
    let mut attempt = match prepared {
        Ok(attempt) => attempt,
        Err(verdict) => {
            log.notice(&verdict.detail);
            log.close().await;
            return ended(host, Timestamp(0), verdict, Report::default());
        }
    };

    let (outcome, cause) = attempt.watch(&mut log, &mut stop, deadline).await;
    attempt.conclude(outcome, cause, log).await
}

fn cause(stop: Stop) -> Option<Cause> {
    match stop {
        Stop::Go => None,
        Stop::Cancel(reason) => Some(Cause::Cancelled(reason)),
        Stop::Kill => Some(Cause::Revoked),
    }
}

fn ended(host: &Host, started_at: Timestamp, mut verdict: Verdict, report: Report) -> Ended {
    verdict.detail.truncate(verdict.detail.floor_char_boundary(MAX_DETAIL_BYTES));
    Ended {
        detail: verdict.detail.into(),
        exit_code: verdict.exit_code,
        started_at,
        ended_at: (host.clock)(),
        metrics: report.metrics,
        // Only a success has any: nobody may build on what a failed attempt said.
        outputs: if verdict.state == State::Success { report.outputs } else { Outputs::default() },
        state: verdict.state,
        reason: verdict.reason,
        worker_died: false,
    }
}

/// A supervisor that waits to be told what to run.
struct Prepared {
    start: Start,
    output: OutputFile,
    spawned: Spawned,
    oom: Option<Kills>,
    /// The program's PATH.
    path: Option<String>,
}

/// All that needs the file system. Blocks.
fn prepare(lease: &Lease, host: &Host) -> (Log, Result<Prepared, Verdict>) {
    let log = host.log_root.join(paths::attempt_log(&lease.run, &lease.task, lease.number));
    let mut log = Log::open(log, host.clock.clone());
    let prepared = prepare_program(lease, host, &mut log);
    (log, prepared)
}

fn prepare_program(lease: &Lease, host: &Host, log: &mut Log) -> Result<Prepared, Verdict> {
    let scratch_fails = |error: std::io::Error| {
        Verdict::failed(Reason::Spawn, &format!("the worker's scratch directory {}: {error}", host.scratch.display()))
    };
    let output = OutputFile::create(&host.scratch, lease.fence).map_err(scratch_fails)?;
    let lock = std::path::absolute(host.scratch.join(leftovers::LOCK)).map_err(scratch_fails)?;
    let code_root = std::path::absolute(&host.code_root).map_err(scratch_fails)?;

    let Program { argv, env, workdir } = render(lease, output.path(), log).map_err(|why| Verdict::failed(Reason::Template, &why))?;
    let start = Start { argv, env, cwd: code_root.join(workdir), lock };
    let inherited = || host.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.to_string_lossy().into_owned());
    let path = start.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone()).or_else(inherited);

    let oom = Kills::now();
    let spawned = spawn::supervisor(host).map_err(|why| Verdict::failed(Reason::Spawn, &why))?;
    Ok(Prepared { start, output, spawned, oom, path })
}

struct Program {
    argv: Vec<String>,
    env: Vec<(String, String)>,
    workdir: PathBuf,
}

fn render(lease: &Lease, output: &Path, log: &mut Log) -> Result<Program, String> {
    let params = serde_json::from_str(&lease.params)
        .map_err(|error| format!("the run's parameters are not a JSON object: {error}. This is a fault of Penstock, please report it"))?;
    let templates = Templates::new(lease, &params);
    let argv = match &lease.spec.action {
        Action::Run(argv) => {
            argv.iter().enumerate().map(|(i, element)| templates.render(&format!("run[{i}]"), element)).collect::<Result<_, _>>()?
        }
        // Never a template: values reach a script as variables.
        Action::Shell(script) => ["sh", "-eu", "-c", script].map(str::to_owned).to_vec(),
        Action::Noop => Vec::new(),
    };
    if argv.first().is_none_or(String::is_empty) {
        return Err("run[0], the program, is empty".to_owned());
    }
    let told = environment::told(lease, &params, output);
    let mut env = Vec::new();
    for (name, template) in &lease.spec.env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(format!("env has {name:?}, which can be no variable's name: it is empty or holds = or NUL"));
        }
        if told.contains_key(name) && name.starts_with("PENSTOCK_") {
            log.notice(&format!("env.{name} of the pipeline is not used: Penstock sets this variable itself"));
            continue;
        }
        env.push((name.clone(), templates.render(&format!("env.{name}"), template)?));
    }
    env.extend(told.into_iter().filter(|(name, _)| !(name == "TRACEPARENT" && lease.spec.env.contains_key(name))));
    let workdir = templates.render("workdir", &lease.spec.workdir)?.into();
    Ok(Program { argv, env, workdir })
}

/// An attempt whose supervisor runs.
struct Attempt<'a> {
    lease: &'a Lease,
    host: &'a Host,
    start: Start,
    path: Option<String>,
    output: OutputFile,
    oom: Option<Kills>,
    supervisor: Reaper,
    told: Lines<BufReader<OwnedReadHalf>>,
    control: OwnedWriteHalf,
    stdout: Receiver,
    stderr: Receiver,
    follow: Follow,
    started_at: Timestamp,
}

/// What [`Attempt::watch`] saw.
enum Outcome {
    Ended(End),
    NotStarted(NotStarted),
    /// There was no program yet when the supervisor died in this way.
    SupervisorDied(String),
}

impl<'a> Attempt<'a> {
    fn new(prepared: Prepared, lease: &'a Lease, host: &'a Host, live: Option<watch::Sender<Metrics>>) -> Result<Self, Verdict> {
        let Prepared { start, output, spawned, oom, path } = prepared;
        let supervisor = Reaper(Some(spawned.child));
        let connect = || -> std::io::Result<_> {
            spawned.control.set_nonblocking(true)?;
            let control = UnixStream::from_std(spawned.control)?.into_split();
            Ok((control, Receiver::from_owned_fd(spawned.stdout)?, Receiver::from_owned_fd(spawned.stderr)?))
        };
        let ((told, control), stdout, stderr) = connect()
            .map_err(|error| Verdict::failed(Reason::Spawn, &format!("the worker cannot watch the supervisor process: {error}")))?;
        let told = BufReader::new(told).lines();
        let follow = Follow::new(output.path(), live);
        let started_at = Timestamp(0);
        Ok(Self { lease, host, start, path, output, oom, supervisor, told, control, stdout, stderr, follow, started_at })
    }

    /// Starts the program, and obeys whoever wants it stopped, until its tree has ended or the supervisor is gone.
    async fn watch(
        &mut self,
        log: &mut Log,
        stop: &mut watch::Receiver<Stop>,
        deadline: Option<(Instant, Millis)>,
    ) -> (Outcome, Option<Cause>) {
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
                        Some(Ok(Told::Started)) => self.started_at = (self.host.clock)(),
                        Some(Ok(Told::NotStarted(why))) => break Outcome::NotStarted(why),
                        Some(Ok(Told::Ended(exit))) => break Outcome::Ended(End::Exit(exit)),
                        Some(Err(_)) | None => {
                            let (how, alive) = self.supervisor.bury(self.lease.fence).await;
                            break if self.started_at == Timestamp(0) && alive == 0 {
                                Outcome::SupervisorDied(how)
                            } else {
                                Outcome::Ended(End::SupervisorDied { how, alive })
                            };
                        }
                    }
                    None
                }
                changed = stop.changed(), if cause != Some(Cause::Revoked) => match changed {
                    Ok(()) => self::cause(*stop.borrow_and_update()),
                    Err(_) => Some(Cause::Revoked),
                },
                () = at(deadline.map(|(at, _)| at)), if cause.is_none() => deadline.map(|(_, limit)| Cause::Timeout(limit)),
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
                    kill_at = Some(Instant::now() + self.lease.spec.grace.min(LONGEST).std());
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
    async fn conclude(self, outcome: Outcome, cause: Option<Cause>, mut log: Log) -> Ended {
        let Self { host, start, path, output, oom, started_at, .. } = self;
        let end = match (outcome, &cause) {
            (Outcome::Ended(end), _) => end,
            (_, Some(cause)) => {
                log.close().await;
                return ended(host, started_at, cause.verdict(), Report::default());
            }
            (Outcome::NotStarted(why), None) => {
                let explained = spawn_blocking(move || spawn::explain(&start, path.as_deref(), &why)).await;
                let detail = explained.unwrap_or_else(|error| error.to_string());
                log.notice(&detail);
                log.close().await;
                return ended(host, started_at, Verdict::failed(Reason::Spawn, &detail), Report::default());
            }
            (Outcome::SupervisorDied(how), None) => {
                let said = log.close().await;
                let program = host.supervisor.first().map(OsString::as_os_str).unwrap_or_default();
                let detail = format!("the supervisor process {program:?} {how} before it started the program: {said}");
                return ended(host, started_at, Verdict::failed(Reason::Spawn, &detail), Report::default());
            }
        };
        let read = move || (Report::read(output.path()), oom.is_some_and(|before| Kills::now() > Some(before)));
        let (report, oom) = spawn_blocking(read).await.unwrap_or_default();
        for warning in &report.warnings {
            log.notice(warning);
        }
        if report.more_warnings > 0 {
            log.notice(&format!("{} more warnings about the output file", report.more_warnings));
        }
        match &end {
            End::Exit(exit) if exit.leftovers > 0 => {
                log.notice(&format!("the program left {} processes running, and they were killed", exit.leftovers));
            }
            _ => {}
        }
        let tail = log.close().await;
        let verdict = Case { end, cause, report: &report, oom, tail: &tail }.judge();
        ended(host, started_at, verdict, report)
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => pending().await,
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

/// Looks at the output file from time to time.
struct Follow {
    tail: Option<Tail>,
    reading: Option<JoinHandle<Tail>>,
    next: Instant,
    live: Option<watch::Sender<Metrics>>,
}

impl Follow {
    fn new(path: &Path, live: Option<watch::Sender<Metrics>>) -> Self {
        Self { tail: Some(Tail::new(path)), reading: None, next: Instant::now() + FOLLOW_EVERY, live }
    }

    /// Returns, at most once, that the file is too large. Can be dropped at any time and called again.
    async fn next(&mut self) -> String {
        loop {
            if let Some(reading) = &mut self.reading {
                let read = reading.await;
                self.reading = None;
                let Ok(tail) = read else { return pending().await };
                if let Some(live) = &self.live {
                    let now = &tail.report().metrics;
                    live.send_if_modified(|last| {
                        let changed = last != now;
                        last.clone_from(now);
                        changed
                    });
                }
                if let Some(too_large) = &tail.report().too_large {
                    return too_large.clone();
                }
                self.tail = Some(tail);
                self.next = Instant::now() + FOLLOW_EVERY;
            }
            sleep_until(self.next).await;
            let Some(mut tail) = self.tail.take() else { return pending().await };
            self.reading = Some(spawn_blocking(move || {
                let _ = tail.follow(); // an error shows again when the whole file is read
                tail
            }));
        }
    }
}
