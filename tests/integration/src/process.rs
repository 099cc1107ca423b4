//! A child process with a log of its own, signalled by pid, killed when dropped.

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A running, stopped or ended child.
pub struct Process {
    /// For messages.
    pub name: String,
    child: Child,
    /// Kills the child should this program die before it can: it waits for the end of a pipe.
    guard: Child,
    log: PathBuf,
    stopped: bool,
}

impl Process {
    /// Starts a command; its output goes to `<dir>/<name>.log`, appended over restarts.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(dir: &Path, name: &str, command: &mut Command) -> Self {
        let log = dir.join(format!("{name}.log"));
        let file = OpenOptions::new().create(true).append(true).open(&log).expect("opens a log");
        let child = command
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("shares the log"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{name} cannot be started ({error}): run `make test`, which installs and builds what is needed")
            });
        let guard = Command::new("sh")
            .args(["-c", &format!("trap '' HUP INT TERM; read -r nothing; kill -KILL {}", child.id())])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts sh");
        Self { name: name.to_owned(), child, guard, log, stopped: false }
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        // The guard first: it must not meet another process under this pid.
        drop(self.guard.kill());
        drop(self.guard.wait());
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGSTOP.
    pub fn stop(&mut self) {
        self.signal(Signal::STOP);
        self.stopped = true;
    }

    /// SIGCONT.
    pub fn go_on(&mut self) {
        self.signal(Signal::CONT);
        self.stopped = false;
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("{} cannot be sent {signal:?}: {error}", self.name));
    }

    /// How it ended; `None` while it lives.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("asks for its state")
    }

    /// It lives and is not stopped.
    pub fn runs(&mut self) -> bool {
        !self.stopped && self.ended().is_none()
    }

    /// Waits for its end.
    pub async fn end(&mut self, limit: Duration) -> ExitStatus {
        let name = self.name.clone();
        let this = std::cell::RefCell::new(self);
        crate::eventually(&format!("{name} ends"), limit, || std::future::ready(this.borrow_mut().ended())).await
    }

    /// The end of its log.
    fn tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<_> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- {} ended; the end of its log:\n{}", self.name, self.tail(80));
        }
        // For whoever wants to read what a test that passed, or failed, has logged.
        if let Some(keep) = std::env::var_os("PENSTOCK_TEST_LOGS") {
            let run = self.log.parent().and_then(Path::file_name).unwrap_or_default();
            let folder = Path::new(&keep).join(run);
            drop(std::fs::create_dir_all(&folder).and_then(|()| std::fs::copy(&self.log, folder.join(format!("{}.log", self.name)))));
        }
    }
}

/// A port that was free a moment ago, and is not one the kernel gives to outgoing connections: a process that is started again
/// must find its port free.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    for _ in 0..COUNT {
        let at = std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + at).expect("is a port");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}
