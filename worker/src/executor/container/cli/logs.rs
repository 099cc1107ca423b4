//! A container's log, from its start to its end, into the attempt's.
//!
//! It is only ever read from its start, and what was taken already is passed over by counting bytes: so an interruption neither
//! loses nor repeats anything, whatever the runtime does with times and long lines. Docker's `logs --follow` may end before the
//! last lines; what is left is read once the container has ended.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use penstock_common::limits::MAX_LOG_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, sleep};

use super::program::Program;
use crate::attempt::log::{Log, Stream};

/// Before following is tried again, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// One read of a pipe.
const READ_BYTES: usize = 32 * 1024;

/// How far the log is read.
#[derive(Default)]
pub(super) struct Taken {
    /// Bytes of standard output and error.
    bytes: [u64; 2],
}

/// Follows the log; ends when the runtime says that it is over, which is when the container has ended. Can be dropped at any time.
pub(super) async fn pump(program: &Program, name: &str, taken: &mut Taken, log: &mut Log) {
    let mut pause = PAUSES.0;
    loop {
        let begun = Instant::now();
        let why = match read(program, &["logs", "--follow", name], taken, log).await {
            Ok(None) => return,
            Ok(Some(why)) => why,
            Err(error) => error.to_string(),
        };
        log.notice(&format!("following the container's log is interrupted, and tried again: {why}"));
        if begun.elapsed() > PAUSES.0 {
            pause = PAUSES.0;
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// What is left of the log of a container that has ended.
pub(super) async fn rest(program: &Program, name: &str, taken: &mut Taken, log: &mut Log) {
    // More would not be kept.
    if taken.bytes.iter().sum::<u64>() >= MAX_LOG_BYTES {
        return;
    }
    match read(program, &["logs", name], taken, log).await {
        Ok(None) => {}
        Ok(Some(why)) => log.notice(&format!("the end of the container's log may be missing: {why}")),
        Err(error) => log.notice(&format!("the end of the container's log may be missing: {error}")),
    }
}

/// Reads what the command gives, beyond what was taken. `Some`: it failed, and so.
async fn read(program: &Program, arguments: &[&str], taken: &mut Taken, log: &mut Log) -> io::Result<Option<String>> {
    let mut child = program.command(arguments, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) else { return Err(io::ErrorKind::BrokenPipe.into()) };
    let mut skip = taken.bytes;
    let (mut out_buffer, mut err_buffer) = (Vec::with_capacity(READ_BYTES), Vec::with_capacity(READ_BYTES));
    let (mut out_open, mut err_open) = (true, true);
    // Of what was taken of standard error, since its last line began.
    let mut last_line = LastLine::default();
    while out_open || err_open {
        let (stream, buffer) = tokio::select! {
            more = more(&mut out, &mut out_buffer), if out_open => { out_open = more; (Stream::Out, &mut out_buffer) }
            more = more(&mut err, &mut err_buffer), if err_open => { err_open = more; (Stream::Err, &mut err_buffer) }
        };
        let at = usize::from(stream == Stream::Err);
        let old = usize::try_from(skip[at]).unwrap_or(usize::MAX).min(buffer.len());
        skip[at] -= old as u64;
        taken.bytes[at] += (buffer.len() - old) as u64;
        let new = &buffer[old..];
        if !new.is_empty() {
            if stream == Stream::Err {
                last_line.take(new);
            }
            log.take(stream, new).await;
        }
        buffer.clear();
    }
    let status = child.wait().await?;
    if status.success() {
        return Ok(None);
    }
    // That line is the command's own word on why, and no part of the log.
    taken.bytes[1] -= last_line.bytes;
    Ok(Some(format!("{} ended with {status}", program.shown(arguments))))
}

/// Whether there is more; an error is as good as the end. What was read before this is dropped stays in the pipe.
async fn more(pipe: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> bool {
    pipe.read_buf(buffer).await.is_ok_and(|n| n > 0)
}

/// How long the last line is, with its end.
#[derive(Default)]
struct LastLine {
    bytes: u64,
    ended: bool,
}

impl LastLine {
    fn take(&mut self, piece: &[u8]) {
        let begun = if self.ended { 0 } else { self.bytes };
        let (last, before) = piece.split_last().map_or((None, piece), |(last, before)| (Some(last), before));
        let newline = before.iter().rposition(|byte| *byte == b'\n');
        self.bytes = newline.map_or(begun + piece.len() as u64, |end| (piece.len() - end - 1) as u64);
        self.ended = last == Some(&b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_same_however_it_comes() {
        let text = b"one\n\nthe last\n";
        for cut in 0..text.len() {
            let mut last = LastLine::default();
            [&text[..cut], &text[cut..]].into_iter().filter(|piece| !piece.is_empty()).for_each(|piece| last.take(piece));
            assert_eq!(last.bytes, 9, "{cut}");
        }
    }
}
