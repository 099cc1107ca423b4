//! What a worker that died may have left behind, and what a supervisor that died did leave.
//!
//! A supervisor holds a shared lock on a file of the scratch directory for as long as anyone of its tree may live. It opens
//! the file itself, and the lock closes on exec, so no program of a user ever holds it. A starting worker that gets the lock
//! exclusively knows that nobody is left.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Child;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use penstock_common::Fence;
use rustix::fs::FlockOperation;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions};

use super::tree::{self, Process};
use crate::attempt::environment::FENCE;
use crate::attempt::judge::signal_name;
use crate::attempt::output::FILE_PREFIX;

/// The lock's file in the scratch directory.
pub(crate) const LOCK: &str = "leftovers.lock";

/// Makes this process the reaper of its orphaned descendants, so that it finds them should a supervisor be killed. To be
/// called once when a worker starts.
///
/// # Errors
/// What prctl(2) says; Linux has had this since 3.4.
pub fn become_subreaper() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Waits until no process of a former life of this worker is left, and removes the files it left in `scratch`. Only then may
/// a worker say that it is there. Blocks; to be called before the first attempt.
///
/// # Errors
/// `TimedOut`, with a message that says what to do, if someone is left after `timeout`; else what the file system says.
pub fn wait_for_leftovers(scratch: &Path, timeout: Duration) -> io::Result<()> {
    let path = scratch.join(LOCK);
    let lock = open(&path)?;
    let (done, waits) = mpsc::sync_channel(1);
    // A thread, because flock(2) knows no timeout. If it is left behind, it lets go of the lock as soon as it gets it.
    std::thread::Builder::new().name("leftovers".into()).spawn(move || {
        let _ = done.send(rustix::fs::flock(&lock, FlockOperation::LockExclusive).map(|()| lock));
    })?;
    let _lock = match waits.recv_timeout(timeout) {
        Ok(locked) => locked?,
        Err(_) => {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "processes of this worker's former life still run after {timeout:?}: they hold {} (`fuser -v {0}` shows \
                     their supervisors). If another worker runs with the same scratch directory, give each its own",
                    path.display()
                ),
            ));
        }
    };
    for entry in std::fs::read_dir(scratch)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(FILE_PREFIX)) {
            // A task may have put anything in the place of its output file.
            let removed =
                if entry.file_type()?.is_dir() { std::fs::remove_dir_all(entry.path()) } else { std::fs::remove_file(entry.path()) };
            removed.map_err(|error| io::Error::new(error.kind(), format!("{} cannot be removed: {error}", entry.path().display())))?;
        }
    }
    Ok(())
}

/// Takes the lock as a supervisor does, and a container's guard.
pub(crate) fn hold(lock: &Path) -> io::Result<OwnedFd> {
    let file = open(lock)?;
    rustix::fs::flock(&file, FlockOperation::LockShared)?;
    Ok(file.into())
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot open the lock {} of the scratch directory: {error}", path.display())))
}

/// For a supervisor that is dead or no use: kills it and what is left of its attempt, for at most about `timeout`; blocks.
/// Says how it died, and how many processes could not be killed.
pub(super) fn bury(mut supervisor: Child, fence: Fence, timeout: Duration) -> (String, usize) {
    let _ = supervisor.kill(); // it is dead already
    let deadline = Instant::now() + timeout;
    // Until it is a zombie: then its children have come to this process, and its pid, which is their session's, is still its own.
    let zombie = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let pid = Pid::from_child(&supervisor);
    until(deadline, || !matches!(rustix::process::waitid(WaitId::Pid(pid), zombie), Ok(None)));
    let alive = kill_orphans(supervisor.id(), fence, deadline);
    let how = match supervisor.try_wait() {
        Ok(Some(status)) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with exit code {code}"),
            (_, Some(signal)) => format!("was killed by {}", signal_name(signal)),
            _ => "ended".to_owned(),
        },
        Ok(None) => "cannot be killed".to_owned(),
        Err(error) => format!("is gone ({error})"),
    };
    (how, alive)
}

/// Finds whoever is of the supervisor's session or has the fence in its environment, and their descendants.
fn kill_orphans(supervisor: u32, fence: Fence, deadline: Instant) -> usize {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let supervisor = i32::try_from(supervisor).unwrap_or(i32::MAX);
    let mark = format!("{FENCE}={fence}").into_bytes();
    let look = || {
        let all = tree::all().unwrap_or_default();
        let is_root = |p: &&Process| ![me, supervisor].contains(&p.pid) && (p.session == supervisor || carries(p, &mark));
        let roots: BTreeSet<i32> = all.iter().filter(is_root).map(|p| p.pid).collect();
        tree::closure(&all, &roots)
    };
    let mut left = 0;
    until(deadline, || {
        tree::kill_all(look);
        left = look().into_iter().filter(|process| !process.dead).count();
        for process in look().into_iter().filter(|process| process.dead && process.parent == me) {
            // It came to this process when it was orphaned, so this process must wait for it.
            let _ = Pid::from_raw(process.pid).map(|pid| rustix::process::waitpid(Some(pid), WaitOptions::NOHANG));
        }
        left == 0
    });
    left
}

/// Tries at once, and then every few milliseconds until the deadline.
fn until(deadline: Instant, mut done: impl FnMut() -> bool) {
    while !done() && Instant::now() < deadline {
        #[allow(clippy::disallowed_methods, reason = "called on a blocking thread, between looks at /proc")]
        std::thread::sleep(Duration::from_millis(3));
    }
}

fn carries(process: &Process, mark: &[u8]) -> bool {
    std::fs::read(format!("/proc/{}/environ", process.pid)).is_ok_and(|e| e.split(|b| *b == 0).any(|var| var == mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_starts_at_once_where_nobody_is_left_and_its_old_files_go() {
        let scratch = tempfile::tempdir().unwrap();
        let old = scratch.path().join(format!("{FILE_PREFIX}7.jsonl"));
        let other = scratch.path().join("keep");
        std::fs::write(&old, "{}").unwrap();
        std::fs::write(&other, "").unwrap();
        wait_for_leftovers(scratch.path(), Duration::from_secs(10)).unwrap();
        assert!(!old.exists() && other.exists());
    }

    #[test]
    fn a_worker_waits_for_a_supervisor_that_is_left() {
        let scratch = tempfile::tempdir().unwrap();
        let held = hold(&scratch.path().join(LOCK)).unwrap();
        let error = wait_for_leftovers(scratch.path(), Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("leftovers.lock"), "{error}");
        let also = hold(&scratch.path().join(LOCK)).unwrap();
        drop((held, also));
        wait_for_leftovers(scratch.path(), Duration::from_secs(10)).unwrap();
    }
}
