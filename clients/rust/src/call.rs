//! One call: which coordinator to ask, when to ask another, when to give up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use penstock_common::limits::MAX_MESSAGE_BYTES;
use penstock_proto::dial::Dialer;
use penstock_proto::v1::control_client::ControlClient;
use penstock_proto::{LEADER_TRAILER, RETRY_AFTER_TRAILER};
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::{DEADLINE, Error};

/// A client of one cluster. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    dialer: Dialer,
    endpoints: Vec<(String, Channel)>,
    /// Where the last call was answered, or where the leader is said to be.
    preferred: Mutex<Option<(String, Channel)>>,
    deadline: Duration,
    by: String,
}

/// One try takes at most this long, so that a silent coordinator does not use up the deadline.
const TRY: Duration = Duration::from_secs(5);

impl Client {
    /// A client of these coordinators, over TCP.
    pub fn connect<S: AsRef<str>>(endpoints: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        Self::with(Dialer::tcp(), endpoints, DEADLINE, "")
    }

    /// The same with its own dialer, deadline a call, and the name of whoever asks (unverified).
    pub fn with<S: AsRef<str>>(
        dialer: Dialer,
        endpoints: impl IntoIterator<Item = S>,
        deadline: Duration,
        by: &str,
    ) -> Result<Self, Error> {
        let endpoints = endpoints.into_iter().map(|e| Ok((e.as_ref().to_owned(), dialer.channel(e.as_ref())?)));
        let endpoints = endpoints.collect::<Result<Vec<_>, Error>>()?;
        if endpoints.is_empty() {
            return Err(Error::NoEndpoint);
        }
        Ok(Self { inner: Arc::new(Inner { dialer, endpoints, preferred: Mutex::new(None), deadline, by: by.to_owned() }) })
    }

    pub(crate) fn by(&self) -> &str {
        &self.inner.by
    }

    fn preferred(&self) -> Option<(String, Channel)> {
        self.inner.preferred.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The next call asks another coordinator.
    pub(crate) fn elsewhere(&self) {
        self.prefer(None);
    }

    fn prefer(&self, endpoint: Option<(String, Channel)>) {
        *self.inner.preferred.lock().unwrap_or_else(PoisonError::into_inner) = endpoint;
    }

    /// Asks until there is an answer. Every mutating request carries an id, so asking again is safe.
    pub(crate) async fn call<Q, A, F>(
        &self,
        name: &'static str,
        request: Q,
        ask: impl Fn(ControlClient<Channel>, Q) -> F,
    ) -> Result<A, Error>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let until = Instant::now() + self.inner.deadline;
        let mut turn = 0usize;
        let mut redirects = 0u32;
        let mut pause = Duration::from_millis(20);
        loop {
            let (address, channel) = match self.preferred() {
                Some(preferred) => preferred,
                None => {
                    turn += 1;
                    self.inner.endpoints[(turn - 1) % self.inner.endpoints.len()].clone()
                }
            };
            let client = ControlClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
            let patience = TRY.min(until.saturating_duration_since(Instant::now()));
            let status = match tokio::time::timeout(patience, ask(client, request.clone())).await {
                Ok(Ok(response)) => {
                    self.prefer(Some((address, channel)));
                    return Ok(response.into_inner());
                }
                Ok(Err(status)) => status,
                Err(_) => Status::unavailable(format!("{address} did not answer within {} s", patience.as_secs())),
            };
            let mut wait = pause;
            match self.what_now(&status) {
                Next::At(leader) => {
                    // A redirect is followed at once, but not in circles: the pause grows all the same.
                    wait = if redirects < 8 { Duration::ZERO } else { pause };
                    redirects += 1;
                    let channel = self.inner.dialer.channel(&leader)?;
                    self.prefer(Some((leader, channel)));
                }
                Next::Elsewhere => self.prefer(None),
                Next::Later(after) => wait = after,
                Next::Never => return Err(refused(name, &status)),
            }
            if Instant::now() + wait >= until {
                let endpoints = self.inner.endpoints.iter().map(|(a, _)| a.as_str()).collect::<Vec<_>>().join(", ");
                let last = describe(&status);
                return Err(Error::Deadline { call: name, endpoints, seconds: self.inner.deadline.as_secs(), last });
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    fn what_now(&self, status: &Status) -> Next {
        let trailer = |key: &str| status.metadata().get(key).and_then(|v| v.to_str().ok()).map(str::to_owned);
        match status.code() {
            Code::FailedPrecondition => trailer(LEADER_TRAILER).map_or(Next::Never, Next::At),
            Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Unknown => Next::Elsewhere,
            Code::ResourceExhausted => {
                let after = trailer(RETRY_AFTER_TRAILER).and_then(|ms| ms.parse().ok());
                after.map_or(Next::Never, |ms| Next::Later(Duration::from_millis(ms)))
            }
            _ => Next::Never,
        }
    }
}

enum Next {
    /// The leader is there.
    At(String),
    /// Another coordinator may answer.
    Elsewhere,
    /// The same may answer after a while.
    Later(Duration),
    /// Asking again helps nothing.
    Never,
}

/// A coordinator that does not know a call says no more than that.
fn refused(call: &str, status: &Status) -> Error {
    let message = match status.code() {
        Code::Unimplemented => format!("{call}: the coordinator is of an older version, which cannot do this; nothing was done"),
        _ => status.message().to_owned(),
    };
    Error::Refused { code: status.code(), message }
}

/// A transport error says why only in its sources.
fn describe(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}
