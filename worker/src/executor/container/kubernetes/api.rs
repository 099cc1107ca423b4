//! Requests to the API server: each with a limit of time, and made again where that may help. Every one may be made twice: creating
//! is by name, changing and deleting are by what is to be.

use std::time::Duration;

use kube::Error;
use tokio::time::{Instant, sleep, timeout};

use penstock_common::Reason;

use crate::attempt::judge::Verdict;

/// One request.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long a server may be away while a Job is prepared or removed.
pub(super) const AWAY_FOR: Duration = Duration::from_secs(120);
/// Between two tries, at first and at most.
pub(super) const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server says no, and will say it again.
    #[error("the Kubernetes API server refuses to {what}: {said}")]
    Refused { what: String, code: u16, said: String },
    /// It is not to be reached, or has enough to do.
    #[error("the Kubernetes API server does not answer when asked to {what}: {why}")]
    Away { what: String, why: String },
}

impl Failure {
    /// There is no such thing.
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }
    /// There is one of that name, or it has changed.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. })
    }
    /// This worker may not.
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { code: 403, .. })
    }

    pub(super) fn new(what: &str, error: &Error) -> Self {
        let what = what.to_owned();
        match error {
            Error::Api(status) if !is_passing(status.code) => Self::Refused { what, code: status.code, said: status.message.clone() },
            Error::Api(status) => Self::Away { what, why: format!("{} ({})", status.message, status.code) },
            error => Self::Away { what, why: with_sources(error) },
        }
    }
}

impl From<Failure> for Verdict {
    fn from(failure: Failure) -> Self {
        Self::failed(Reason::Spawn, &failure.to_string())
    }
}

/// Whether the same request may be answered otherwise a moment later. 401 among them: a token may be about to be renewed.
fn is_passing(code: u16) -> bool {
    matches!(code, 401 | 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// One request, `what` as in "create the Job x".
pub(super) async fn once<T>(what: &str, request: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    match timeout(ANSWER_WITHIN, request).await {
        Ok(answer) => answer.map_err(|error| Failure::new(what, &error)),
        Err(_) => Err(Failure::Away { what: what.to_owned(), why: format!("no answer within {} s", ANSWER_WITHIN.as_secs()) }),
    }
}

/// Asks until there is an answer, for a while. Can be dropped at any time.
pub(super) async fn ask<T, R: Future<Output = Result<T, Error>>>(what: &str, mut request: impl FnMut() -> R) -> Result<T, Failure> {
    let begun = Instant::now();
    let mut pause = PAUSES.0;
    loop {
        match once(what, request()).await {
            Err(Failure::Away { what, why }) if begun.elapsed() < AWAY_FOR => {
                tracing::debug!(%what, %why, "the Kubernetes API server is asked again");
                sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
            answer => return answer,
        }
    }
}

/// An error of a connection says what it is only in its sources.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = error.source();
    }
    text
}
