//! Whether the kernel killed for lack of memory: it counts that per cgroup, and on the whole machine.
//!
//! The count is of all processes of the worker's cgroup, so it is evidence about one attempt only together with a SIGKILL
//! that Penstock did not send.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Where the count of the whole machine is.
const MACHINE: &str = "/proc/vmstat";

/// A count at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kills(u64);

impl Kills {
    /// `None` where the kernel tells nothing.
    pub(crate) fn now() -> Option<Self> {
        // It stays the same for the life of the process, as nobody moves a running worker to another cgroup.
        static FILE: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
            let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
            candidates(&cgroups).into_iter().find(|file| count(file).is_some())
        });
        count(FILE.as_deref()?)
    }

    /// On the whole machine, other cgroups included.
    pub(crate) fn of_machine() -> Option<Self> {
        count(Path::new(MACHINE))
    }
}

/// Version 2, version 1, the machine.
fn candidates(cgroups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in cgroups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        match (fields.next(), fields.next()) {
            (Some(""), Some(path)) => files.push(format!("/sys/fs/cgroup{path}/memory.events").into()),
            (Some("memory"), Some(path)) => files.push(format!("/sys/fs/cgroup/memory{path}/memory.oom_control").into()),
            _ => {}
        }
    }
    files.push(MACHINE.into());
    files
}

fn count(file: &Path) -> Option<Kills> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).map(Kills)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_both_versions_are_known() {
        let files = candidates("9:name=systemd:/\n4:memory:/a/b\n0::/user.slice\n");
        let files: Vec<_> = files.iter().map(|f| f.to_str().unwrap()).collect();
        assert_eq!(files, ["/sys/fs/cgroup/memory/a/b/memory.oom_control", "/sys/fs/cgroup/user.slice/memory.events", "/proc/vmstat"]);
    }

    #[test]
    fn only_the_line_of_kills_counts() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "oom 9\noom_kill 3\noom_group_kill 1\n").unwrap();
        assert_eq!(count(file.path()), Some(Kills(3)));
    }
}
