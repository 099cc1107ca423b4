//! The supervisor of one attempt: a process of its own between the worker and the user's program. No runtime, three threads
//! at most, nothing but blocking calls.
//!
//! ```text
//!  main thread                          control thread                   killer thread (only if needed)
//!  Start ─▶ lock ─▶ worker alive?       blocks in read                   stop and kill the tree,
//!    └─▶ spawn ─▶ Started                 term ─▶ SIGTERM to the tree      again and again until
//!  blocks in wait(any child) ◀─ exits     kill, end of stream ──────────▶  nobody is left
//!    program ended, children left? ────────────────────────────────────▶
//!    no child left ─▶ Ended, exit
//! ```
//!
//! That it has no child left means that the whole tree is dead, because it is the subreaper of all below it.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};

use super::control::{self, NotStarted, Start, Step, Told};
use super::leftovers;
use super::tree::Tree;
use crate::attempt::judge::Exit;
use crate::executor::container::guard;

/// The threads read lines and /proc.
const STACK_BYTES: usize = 256 * 1024;
/// After this long, what cannot be killed (in the kernel, or another user's) is reported and no longer waited for.
const KILL_FOR: Duration = Duration::from_secs(5);

/// Supervises one attempt, or stands guard over a container: the whole of `penstock supervise`. To be called before the process has any other thread, with
/// the control socket as standard input and the attempt's log as standard output and error.
pub fn supervise() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Into the attempt's log.
            let _ = writeln!(
                io::stderr(),
                "penstock supervise: {error}. It is started by a worker, with a socket as its standard input; it is no command for people"
            );
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    // A duplicate, which closes on exec.
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut lines = BufReader::new(control.try_clone()?);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    if line.is_empty() {
        return Ok(()); // the worker is gone
    }
    if let Some(orders) = guard::Orders::read(&line) {
        return orders.obey(&control, lines);
    }
    let start: Start = serde_json::from_str(&line)?;
    drop(line);

    let tree = Tree::below_me();
    let supervisor = Arc::new(Supervisor { control, tree, state: Mutex::default(), changed: Condvar::new() });
    // Held until the process ends, which is when nobody is left.
    let _lock = match supervisor.start(&start, lines) {
        Ok(lock) => lock,
        Err(why) => {
            supervisor.tell(&Told::NotStarted(why));
            return Ok(());
        }
    };
    drop(start);
    supervisor.reap();
    Ok(())
}

struct Supervisor {
    control: UnixStream,
    tree: Tree,
    state: Mutex<State>,
    /// `state.all_ended` became true.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The worker wants SIGTERM sent; it was if `main` is set.
    term: bool,
    /// Everyone is to be killed: the worker wants it, or is gone, or the program has ended.
    kill: bool,
    /// The program, once there is one.
    main: Option<Pid>,
    /// How the program ended, once it has.
    exit: Option<Exit>,
    /// `exit` was told.
    told: bool,
    /// Nobody is left.
    all_ended: bool,
}

impl Supervisor {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, told: &Told) {
        let mut line = serde_json::to_vec(told).unwrap_or_default();
        line.push(b'\n');
        // If the worker is gone, nobody needs to know.
        let _ = (&self.control).write_all(&line);
    }

    /// All up to the running program. Returns the lock.
    fn start(self: &Arc<Self>, start: &Start, lines: BufReader<UnixStream>) -> Result<OwnedFd, NotStarted> {
        let prepare = |error: io::Error| NotStarted::new(Step::Prepare, &error);
        // Fails only for who already leads a session.
        let _ = rustix::process::setsid();
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(|e| prepare(e.into()))?;
        // A service manager that stops the worker may signal everyone. Programs then decide for themselves; the supervisor
        // must outlive them. A handler, and not SIG_IGN, which the program would inherit.
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
            signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false))).map_err(prepare)?;
        }

        let lock = leftovers::hold(&start.lock).map_err(prepare)?;
        // Only once the lock is held: a worker that got it before us did so after our worker's end, which we then see here.
        if self.is_abandoned() {
            return Err(NotStarted::stopped());
        }
        self.listen(lines).map_err(prepare)?;

        // Spawned without the mutex: on a file system that hangs, `kill` must be obeyed all the same.
        if self.lock().kill {
            return Err(NotStarted::stopped());
        }
        let child = command(start).spawn().map_err(|error| NotStarted::new(Step::Spawn, &error))?;
        let mut state = self.lock();
        state.main = Some(Pid::from_child(&child));
        if state.term {
            self.tree.terminate();
        }
        drop(state);
        // From here only the tree holds the log, so that its end is seen.
        if let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
            let _ = rustix::stdio::dup2_stdout(&null);
            let _ = rustix::stdio::dup2_stderr(&null);
        }
        self.tell(&Told::Started);
        Ok(lock)
    }

    fn is_abandoned(&self) -> bool {
        let mut fds = [PollFd::new(&self.control, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
    }

    /// Starts the control thread.
    fn listen(self: &Arc<Self>, mut lines: BufReader<UnixStream>) -> io::Result<()> {
        let supervisor = self.clone();
        let control = move || {
            let mut line = String::new();
            // An error is as good as the end: either way the worker cannot be heard any more.
            while lines.read_line(&mut line).is_ok_and(|n| n > 0) {
                match line.as_str() {
                    control::TERM => supervisor.terminate(),
                    control::KILL => supervisor.kill(),
                    _ => {}
                }
                line.clear();
            }
            supervisor.kill();
        };
        std::thread::Builder::new().name("control".into()).stack_size(STACK_BYTES).spawn(control).map(drop)
    }

    fn terminate(&self) {
        let mut state = self.lock();
        state.term = true;
        // Else it is sent when there is someone.
        if state.main.is_some() && state.exit.is_none() {
            self.tree.terminate();
        }
    }

    /// Starts the killer thread, once.
    fn kill(self: &Arc<Self>) {
        if std::mem::replace(&mut self.lock().kill, true) {
            return;
        }
        let supervisor = self.clone();
        let killer = move || supervisor.kill_everyone();
        if std::thread::Builder::new().name("killer".into()).stack_size(STACK_BYTES).spawn(killer).is_err() {
            self.kill_everyone(); // no thread to be had: whoever asked does it
        }
    }

    fn kill_everyone(&self) {
        // So that thousands who fork leave this thread its turns: its priority, and its session's where the kernel shares
        // between sessions first (autogroup). Needs a privilege; without it, this takes longer.
        let _ = rustix::process::setpriority_process(None, -20);
        let _ = std::fs::write("/proc/self/autogroup", "-20");
        let begun = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let program_had_ended = self.lock().exit.is_some();
            let met = self.tree.kill();
            let mut state = self.lock();
            if let Some(exit) = state.exit.as_mut().filter(|exit| program_had_ended && !exit.signalled) {
                exit.leftovers = exit.leftovers.max(met.len());
            }
            if begun.elapsed() > KILL_FOR && !state.told {
                let exit = state.exit.unwrap_or_default();
                state.told = true;
                self.tell(&Told::Ended(Exit { alive: met.len().max(1), ..exit }));
            }
            // The killed need a moment to die. Only those that cannot be killed make the pauses long.
            let waited = self.changed.wait_timeout_while(state, pause, |state| !state.all_ended);
            if waited.unwrap_or_else(PoisonError::into_inner).0.all_ended {
                return;
            }
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    /// Waits for everyone until nobody is left, and tells how the program ended.
    fn reap(self: &Arc<Self>) {
        let main = self.lock().main;
        let mut options = WaitOptions::empty();
        loop {
            match rustix::process::wait(options) {
                Ok(Some((pid, status))) => {
                    if Some(pid) == main {
                        let mut state = self.lock();
                        let signalled = state.term || state.kill;
                        let (code, signal) = (status.exit_status(), status.terminating_signal());
                        state.exit = Some(Exit { code, signal, signalled, ..Exit::default() });
                        options = WaitOptions::NOHANG;
                    }
                }
                // The program has ended, and of the others one is alive.
                Ok(None) => {
                    self.kill();
                    options = WaitOptions::empty();
                }
                Err(Errno::INTR) => {}
                // ECHILD: nobody is left.
                Err(_) => break,
            }
        }
        let mut state = self.lock();
        state.all_ended = true;
        self.changed.notify_all();
        if !state.told {
            self.tell(&Told::Ended(state.exit.unwrap_or_default()));
        }
    }
}

fn command(start: &Start) -> Command {
    let (program, arguments) = start.argv.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
    // A path is relative to the working directory; a name is looked for in PATH.
    let path = if program.contains('/') { start.cwd.join(program) } else { program.into() };
    let mut command = Command::new(path);
    command.arg0(program).args(arguments);
    command.envs(start.env.iter().map(|(name, value)| (name, value)));
    command.current_dir(&start.cwd).stdin(Stdio::null()).process_group(0);
    command
}

impl NotStarted {
    fn new(step: Step, error: &io::Error) -> Self {
        Self { step, errno: error.raw_os_error(), error: error.to_string() }
    }
    fn stopped() -> Self {
        Self { step: Step::Stopped, errno: None, error: String::new() }
    }
}
