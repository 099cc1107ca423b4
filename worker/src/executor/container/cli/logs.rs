//! A container's log, from its start to its end, into the attempt's.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, sleep};

use super::program::Program;
use crate::attempt::log::Log;

/// Before following is tried again, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Ends when the container has ended and all of its log is read. If following breaks off, it goes on from about there.
pub(super) async fn pump(program: &Program, name: &str, log: &mut Log) {
    let mut pause = PAUSES.0;
    let mut since: Option<Instant> = None;
    loop {
        let begun = Instant::now();
        // Relative, so that the clocks of this process and the runtime need not agree.
        let ago = since.map(|since| format!("{}ms", since.elapsed().as_millis()));
        let why = match follow(program, name, ago.as_deref(), log).await {
            Ok(true) => return,
            Ok(false) => "it ended with an error, shown above".to_owned(),
            Err(error) => error.to_string(),
        };
        log.notice(&format!("following the container's log is interrupted, and tried again: {why}"));
        if begun.elapsed() > PAUSES.0 {
            // What came while it was followed is not asked for again.
            since = Some(Instant::now());
            pause = PAUSES.0;
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Whether it came to the log's end.
async fn follow(program: &Program, name: &str, ago: Option<&str>, log: &mut Log) -> io::Result<bool> {
    let (stdout, stdout_writer) = io::pipe()?;
    let (stderr, stderr_writer) = io::pipe()?;
    let mut arguments = vec!["logs", "--follow"];
    if let Some(ago) = ago {
        arguments.extend(["--since", ago]);
    }
    arguments.push(name);
    let mut command = program.command(&arguments, &[]);
    command.stdout(Stdio::from(stdout_writer)).stderr(Stdio::from(stderr_writer));
    let mut child = command.spawn()?;
    drop(command); // it holds the pipes' other ends
    log.pump(&Receiver::from_owned_fd(stdout.into())?, &Receiver::from_owned_fd(stderr.into())?).await;
    Ok(child.wait().await?.success())
}
