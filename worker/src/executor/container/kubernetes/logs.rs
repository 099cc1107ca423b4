//! A Pod's log into the attempt's. Kubernetes gives standard output and error as one stream.
//!
//! The server puts a time before each line; it serves to go on where a stream broke off, and is then taken away.

use std::time::Duration;

use futures_util::AsyncBufRead as _;
use futures_util::io::AsyncBufReadExt as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, LogParams};
use tokio::sync::watch;
use tokio::time::sleep;

use super::api::{self, Failure, PAUSES};
use super::job::CONTAINER;
use super::pod::{Seen, see};
use crate::attempt::log::{Log, Stream};

/// A time with nanoseconds and a zone has fewer bytes.
const MAX_STAMP_BYTES: usize = 40;
/// A stream that says nothing for longer is asked for again: its server may be gone.
const SILENT_FOR: Duration = Duration::from_secs(300);
/// What a stream has for the rest once the program has ended.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Reads the log to its end, which is when the program has ended and all is read. `is_over` tells that it has ended, so that a stream
/// which has lost its server is not waited for. Can be dropped at any time.
pub(super) async fn pump(pods: &Api<Pod>, pod: &str, is_over: &mut watch::Receiver<bool>, log: &mut Log) {
    let mut lines = Lines::default();
    let mut pause = PAUSES.0;
    loop {
        // Before reading: what had ended then has no more to say afterwards.
        let ended = match api::once("read the Pod", pods.get_opt(pod)).await {
            Ok(Some(found)) => !matches!(see(&found), Seen::Running | Seen::Pending(_)),
            Ok(None) => return,
            Err(_) => false,
        };
        let before = lines.last;
        match read(pods, pod, ended, is_over, &mut lines, log).await {
            Ok(()) if ended => return,
            Ok(()) => {}
            // Gone, or nobody may read it.
            Err(failure @ Failure::Refused { .. }) if ended || failure.is_none() || failure.is_forbidden() => {
                return log.notice(&format!("the log ends here: {failure}"));
            }
            Err(failure) => tracing::debug!(%failure, "following a Pod's log"),
        }
        if lines.last != before {
            pause = PAUSES.0;
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// One stream, from after the last line to its end.
async fn read(
    pods: &Api<Pod>,
    pod: &str,
    ended: bool,
    is_over: &mut watch::Receiver<bool>,
    lines: &mut Lines,
    log: &mut Log,
) -> Result<(), Failure> {
    const WHAT: &str = "read the log";
    let wanted =
        LogParams { container: Some(CONTAINER.into()), follow: !ended, timestamps: true, since_time: lines.last, ..LogParams::default() };
    // A server may say nothing at all before there is a first line.
    let opened = within(!ended, is_over, pods.log_stream(pod, &wanted)).await;
    let Some(opened) = opened else { return Ok(()) };
    let mut stream = std::pin::pin!(opened.map_err(|error| Failure::new(WHAT, &error))?);
    lines.resume();
    loop {
        match within(!ended, is_over, stream.fill_buf()).await {
            Some(Ok(bytes)) if !bytes.is_empty() => {
                let (n, mut text) = (bytes.len(), Vec::with_capacity(bytes.len()));
                lines.take(bytes, &mut text);
                stream.as_mut().consume(n);
                if !text.is_empty() {
                    log.take(Stream::Out, &text).await;
                }
            }
            // Its end, or it broke off.
            _ => return Ok(()),
        }
    }
}

/// `None` if that takes too long, or longer than a moment once the program has ended.
async fn within<T>(follow: bool, is_over: &mut watch::Receiver<bool>, what: impl Future<Output = T>) -> Option<T> {
    let over = async {
        // The sender outlives this.
        let _ = is_over.wait_for(|is_over| *is_over).await;
        sleep(LAST_WORDS).await;
    };
    let limit = if follow { SILENT_FOR } else { api::ANSWER_WITHIN };
    tokio::select! {
        biased;
        done = what => Some(done),
        () = over, if follow => None,
        () = sleep(limit) => None,
    }
}

/// Takes the times away, and what was read before.
#[derive(Default)]
struct Lines {
    /// Of the last whole line.
    last: Option<Timestamp>,
    /// Lines up to this time were read from an earlier stream.
    skip: Option<Timestamp>,
    at: At,
    stamp: Vec<u8>,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum At {
    /// In the time at the start of a line.
    #[default]
    Stamp,
    /// In a line's text.
    Text,
    /// In a line that was read before.
    Old,
}

impl Lines {
    /// Another stream begins.
    fn resume(&mut self) {
        (self.skip, self.at) = (self.last, At::Stamp);
        self.stamp.clear();
    }

    fn take(&mut self, bytes: &[u8], text: &mut Vec<u8>) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut rest = part;
            if self.at == At::Stamp {
                let end = rest.iter().position(|byte| matches!(byte, b' ' | b'\n'));
                let (stamp, after) = rest.split_at(end.unwrap_or(rest.len()));
                self.stamp.extend_from_slice(stamp);
                if end.is_none() && self.stamp.len() <= MAX_STAMP_BYTES {
                    continue;
                }
                rest = after.strip_prefix(b" ").unwrap_or(after);
                let time = std::str::from_utf8(&self.stamp).ok().and_then(|stamp| stamp.parse::<Timestamp>().ok());
                self.at = if time.is_some() && time <= self.skip { At::Old } else { At::Text };
                match time {
                    Some(_) if self.at == At::Text => self.last = time,
                    Some(_) => {}
                    None => text.append(&mut self.stamp), // no time: then it is text
                }
                self.stamp.clear();
            }
            if self.at == At::Text {
                text.extend_from_slice(rest);
            }
            if part.ends_with(b"\n") {
                self.at = At::Stamp;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(lines: &mut Lines, pieces: &[&str]) -> String {
        let mut text = Vec::new();
        pieces.iter().for_each(|piece| lines.take(piece.as_bytes(), &mut text));
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn times_are_taken_away_wherever_the_pieces_are_cut() {
        let log = "2024-01-31T02:00:00.000000001Z one\n2024-01-31T02:00:00.000000002Z \n2024-01-31T02:00:01Z two words";
        for cut in 1..log.len() {
            let mut lines = Lines::default();
            assert_eq!(taken(&mut lines, &[&log[..cut], &log[cut..]]), "one\n\ntwo words", "{cut}");
        }
    }

    #[test]
    fn a_second_stream_goes_on_after_the_last_line_of_the_first() {
        let mut lines = Lines::default();
        assert_eq!(taken(&mut lines, &["2024-01-31T02:00:00.1Z one\n2024-01-31T02:00:00.2Z two\n2024-01-31T02:0"]), "one\ntwo\n");
        lines.resume();
        let again = ["2024-01-31T02:00:00.1Z one\n", "2024-01-31T02:00:00.2Z two\n", "2024-01-31T02:00:00.3Z three\n"];
        assert_eq!(taken(&mut lines, &again), "three\n");
    }

    #[test]
    fn what_has_no_time_is_kept() {
        assert_eq!(
            taken(&mut Lines::default(), &["unable to retrieve container logs\n"]),
            "unable to retrieve container logs\n".replacen(' ', "", 1)
        );
    }
}
