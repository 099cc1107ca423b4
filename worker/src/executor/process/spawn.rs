//! Starting the supervisor, and saying why a program could not be started: what was tried, and what to do.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::io::Errno;

use super::control::{NotStarted, Start, Step};
use crate::attempt::Host;

/// A supervisor that waits for its [`Start`], with this side's ends of what connects it.
pub(super) struct Spawned {
    pub(super) child: Child,
    pub(super) control: UnixStream,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// Starts the supervisor. Blocks until it has called exec.
pub(super) fn supervisor(host: &Host) -> Result<Spawned, String> {
    let spawn = || -> io::Result<Spawned> {
        let (program, arguments) = host.supervisor.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let (control, theirs) = UnixStream::pair()?;
        let (stdout, stdout_writer) = io::pipe()?;
        let (stderr, stderr_writer) = io::pipe()?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(host.env.iter().map(|(name, value)| (name, value)));
        if program == "/proc/self/exe" {
            command.arg0("penstock"); // for people who read `ps`
        }
        command.stdin(OwnedFd::from(theirs)).stdout(stdout_writer).stderr(stderr_writer);
        let child = command.spawn()?;
        Ok(Spawned { child, control, stdout: stdout.into(), stderr: stderr.into() })
    };
    spawn().map_err(|error| {
        format!(
            "the worker cannot start the supervisor process {:?}: {error}{}",
            host.supervisor.first().map_or(Path::new(""), Path::new),
            hint(error.raw_os_error())
        )
    })
}

/// What to do about an error that is the machine's and not the program's.
fn hint(errno: Option<i32>) -> &'static str {
    match errno.map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE) => ": descriptors are exhausted: raise the worker's limit (ulimit -n) or give it fewer slots",
        Some(Errno::AGAIN) => {
            ": processes are exhausted: raise the worker's limit (ulimit -u, or the cgroup's pids.max) or give it fewer slots"
        }
        Some(Errno::NOMEM) => ": memory is exhausted: give the worker more, or fewer slots",
        Some(Errno::NOSPC) => ": the disk is full",
        Some(Errno::TOOBIG) => ": arguments and environment together are too long: put large values into a file and pass its path",
        _ => "",
    }
}

/// Says why there is no program. Looks at the file system, so it may block.
pub(super) fn explain(start: &Start, path: Option<&str>, why: &NotStarted) -> String {
    if why.step == Step::Prepare {
        return format!("the attempt's supervisor could not prepare: {}{}", why.error, hint(why.errno));
    }
    let program = start.argv.first().map_or("", String::as_str);
    let cwd = start.cwd.display();
    if let Err(error) = std::fs::read_dir(&start.cwd) {
        return match Errno::from_io_error(&error) {
            Some(Errno::ACCESS) => format!("no permission to enter the working directory {cwd}"),
            Some(Errno::NOTDIR) => format!("the working directory {cwd} is not a directory"),
            _ => format!(
                "the working directory {cwd} cannot be entered: {error}. `workdir` is relative to the worker's code root: is \
                 the code of this pipeline on this worker?"
            ),
        };
    }
    let found = look_up(program, &start.cwd, path);
    let errno = why.errno.map(Errno::from_raw_os_error);
    match (errno, found) {
        (Some(Errno::NOENT), Some(file)) => {
            let line = interpreter(&file);
            let line = line.map_or_else(String::new, |line| format!(" (its first line is {line:?})"));
            format!("{} exists, but the interpreter or loader it needs does not{line}", file.display())
        }
        (Some(Errno::NOENT), None) if program.contains('/') => {
            format!("the program {} does not exist: is the code of this pipeline on this worker?", start.cwd.join(program).display())
        }
        (Some(Errno::NOENT), None) => {
            format!("no program {program:?} in PATH ({}): install it on the worker, or write its path", path.unwrap_or("which is not set"))
        }
        (Some(Errno::ACCESS), Some(file)) => {
            format!("the program {} is not executable by the worker's user: chmod +x it, or run it by its interpreter", file.display())
        }
        (Some(Errno::NOEXEC), Some(file)) => {
            format!("the program {} is neither a binary for this machine nor begins with #!", file.display())
        }
        (_, found) => {
            let tried = found.map_or_else(|| program.to_owned(), |file| file.display().to_string());
            format!("the program {tried} could not be started in {cwd}: {}{}", why.error, hint(why.errno))
        }
    }
}

/// The file that the program's name means, executable or not.
fn look_up(program: &str, cwd: &Path, path: Option<&str>) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(cwd.join(program)).filter(|file| file.exists());
    }
    let files: Vec<PathBuf> = path?.split(':').map(|dir| cwd.join(dir).join(program)).filter(|file| file.is_file()).collect();
    let executable = |file: &&PathBuf| file.metadata().is_ok_and(|m| m.permissions().mode() & 0o111 != 0);
    files.iter().find(executable).or(files.first()).cloned()
}

fn interpreter(file: &Path) -> Option<String> {
    use std::io::Read;
    let mut start = [0; 128];
    let n = std::fs::File::open(file).ok()?.read(&mut start).ok()?;
    let line = start[..n].split(|b| *b == b'\n').next()?;
    line.starts_with(b"#!").then(|| String::from_utf8_lossy(line).into_owned())
}
