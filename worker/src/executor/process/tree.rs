//! Finding and killing processes by what /proc says of them.
//!
//! A look at /proc is never a snapshot: processes fork and exit meanwhile. Therefore (1) whoever is found is stopped at once,
//! since a stopped process forks no more, and only killed when looking finds nobody new; (2) pids are read newest first, so
//! that a chain of processes, each of which forks the next and exits, is met at its live end; (3) a process group is signalled
//! as a whole, which the kernel does atomically with respect to fork; (4) a signal goes through a pidfd whose start time
//! was checked, so it never hits a stranger who got a recycled pid.

use std::collections::BTreeSet;
use std::io;

use rustix::process::{Pid, PidfdFlags, Signal};

/// One line of /proc/PID/stat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    /// It has exited and nobody has waited for it.
    pub(super) dead: bool,
    /// Ticks since boot: with the pid, an identity.
    start: u64,
}

impl Process {
    /// `None` if there is no such process.
    pub(super) fn read(pid: i32) -> Option<Self> {
        Self::parse(pid, &std::fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(pid: i32, stat: &[u8]) -> Option<Self> {
        // The second field is the program's name in brackets, with whatever characters it likes.
        let after_name = stat.iter().rposition(|b| *b == b')')? + 1;
        let fields: Vec<&str> = std::str::from_utf8(&stat[after_name..]).ok()?.split_ascii_whitespace().collect();
        let number = |i: usize| fields.get(i)?.parse::<i32>().ok();
        // A process whose first thread has exited shows as a zombie while its other threads live on.
        let dead = matches!(*fields.first()?, "Z" | "X") && number(17)? <= 1;
        let start = fields.get(19)?.parse().ok()?;
        Some(Self { pid, parent: number(1)?, group: number(2)?, session: number(3)?, dead, start })
    }

    /// Sends it a signal if it still is the process that was read.
    pub(super) fn signal(&self, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        // An error means that it is gone, or not ours to signal: whoever counts on its end looks again.
        let _ = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => match Self::read(self.pid) {
                Some(now) if now.start == self.start => rustix::process::pidfd_send_signal(&pidfd, signal),
                _ => Ok(()),
            },
            Err(rustix::io::Errno::NOSYS) => rustix::process::kill_process(pid, signal),
            Err(gone) => Err(gone),
        };
    }

    fn signal_group(group: i32, signal: Signal) {
        if let Some(group) = Pid::from_raw(group) {
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }
}

/// All pids, newest first (as far as pids rise).
fn pids() -> io::Result<Vec<i32>> {
    let mut pids: Vec<i32> = std::fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable_by(|a, b| b.cmp(a));
    Ok(pids)
}

/// Every process there is.
pub(super) fn all() -> io::Result<Vec<Process>> {
    Ok(pids()?.into_iter().filter_map(Process::read).collect())
}

/// `roots` and whoever descends from them, of `all`.
pub(super) fn closure(all: &[Process], roots: &BTreeSet<i32>) -> Vec<Process> {
    let mut members = roots.clone();
    loop {
        let before = members.len();
        members.extend(all.iter().filter(|p| members.contains(&p.parent)).map(|p| p.pid).collect::<Vec<_>>());
        if members.len() == before {
            return all.iter().filter(|p| members.contains(&p.pid)).copied().collect();
        }
    }
}

/// The tree below this process, which must be a subreaper and the leader of its session.
pub(super) struct Tree {
    root: i32,
}

impl Tree {
    pub(super) fn below_me() -> Self {
        Self { root: rustix::process::getpid().as_raw_nonzero().get() }
    }

    /// Everyone in it now.
    fn look(&self) -> Vec<Process> {
        self.members(&all().unwrap_or_default())
    }

    fn members(&self, all: &[Process]) -> Vec<Process> {
        // The session has only this process and its descendants, whatever the state of the chain between.
        let session = all.iter().filter(|p| p.session == self.root).map(|p| p.pid);
        let roots = session.chain([self.root]).collect();
        closure(all, &roots).into_iter().filter(|p| p.pid != self.root && !p.dead).collect()
    }

    /// Sends everyone one SIGTERM, and wakes who is stopped so that it can be heard.
    pub(super) fn terminate(&self) {
        let members = self.look();
        for process in &members {
            process.signal(Signal::TERM);
        }
        for process in &members {
            process.signal(Signal::CONT);
        }
    }

    /// Stops everyone, then kills everyone; returns whom it met. Who forks faster than this looks is left for the next call.
    pub(super) fn kill(&self) -> Vec<i32> {
        let mut hunt = Hunt { own_group: Some(self.root), ..Hunt::default() };
        hunt.run(|hunt| {
            let mut all = Vec::new();
            for pid in pids().unwrap_or_default() {
                let Some(process) = Process::read(pid) else { continue };
                all.push(process);
                let known = process.parent == self.root || process.session == self.root || hunt.knows(process.parent);
                if known && process.pid != self.root {
                    hunt.stop(process);
                }
            }
            for process in self.members(&all) {
                hunt.stop(process);
            }
        })
    }
}

/// Stops and then kills whoever `look` returns.
pub(super) fn kill_all(look: impl Fn() -> Vec<Process>) {
    Hunt::default().run(|hunt| look().into_iter().for_each(|process| hunt.stop(process)));
}

#[derive(Default)]
struct Hunt {
    /// Whom it stopped, each once, by pid and start.
    stopped: BTreeSet<(i32, u64)>,
    processes: Vec<Process>,
    groups: BTreeSet<i32>,
    /// Groups are signalled as a whole, all but this; `None`: they are not. A process can join no group outside its
    /// session, so below a session leader every group is of the tree.
    own_group: Option<i32>,
}

impl Hunt {
    /// Looks until a look finds nobody new; then kills.
    fn run(&mut self, look: impl Fn(&mut Self)) -> Vec<i32> {
        loop {
            let before = self.processes.len();
            look(self);
            if self.processes.len() == before {
                break;
            }
        }
        for group in &self.groups {
            Process::signal_group(*group, Signal::KILL);
        }
        for process in &self.processes {
            process.signal(Signal::KILL);
        }
        self.processes.iter().map(|p| p.pid).collect()
    }

    fn knows(&self, pid: i32) -> bool {
        self.stopped.range((pid, 0)..=(pid, u64::MAX)).next().is_some()
    }

    fn stop(&mut self, process: Process) {
        if process.dead || !self.stopped.insert((process.pid, process.start)) {
            return;
        }
        if self.own_group.is_some_and(|own| own != process.group) && self.groups.insert(process.group) {
            Process::signal_group(process.group, Signal::STOP);
        }
        process.signal(Signal::STOP);
        self.processes.push(process);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_confuse() {
        let stat = b"42 (a) R 1 (b)) S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 6 7";
        let expected = Process { pid: 42, parent: 7, group: 8, session: 9, dead: false, start: 12345 };
        assert_eq!(Process::parse(42, stat), Some(expected));
        assert_eq!(Process::parse(42, b"42 (x"), None);
    }

    #[test]
    fn a_zombie_leader_with_live_threads_is_not_dead() {
        let stat = |threads: u32| format!("42 (x) Z 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 {threads} 0 12345 6 7");
        assert_eq!(Process::parse(42, stat(1).as_bytes()).map(|p| p.dead), Some(true));
        assert_eq!(Process::parse(42, stat(3).as_bytes()).map(|p| p.dead), Some(false));
    }

    #[test]
    fn this_process_is_found_with_its_start() {
        let me = std::process::id() as i32;
        let found = all().unwrap().into_iter().find(|p| p.pid == me).unwrap();
        assert_eq!(Some(found), Process::read(me));
        assert_eq!(found.parent, rustix::process::getppid().unwrap().as_raw_nonzero().get());
    }

    #[test]
    fn a_closure_follows_parents_through_any_depth() {
        let p = |pid, parent| Process { pid, parent, group: 0, session: 0, dead: false, start: 0 };
        let all = [p(9, 3), p(5, 9), p(3, 1), p(4, 2)];
        let found: Vec<_> = closure(&all, &BTreeSet::from([3])).into_iter().map(|p| p.pid).collect();
        assert_eq!(found, [9, 5, 3]);
    }
}
