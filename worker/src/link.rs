//! Finding the leader and opening the stream. A coordinator that does not lead tells who does; without that, each is asked in
//! turn, with a jittered pause between rounds.

use std::collections::BTreeMap;
use std::time::Duration;

use penstock_common::Epoch;
use penstock_proto::dial::Dialer;
use penstock_proto::v1::worker_client::WorkerClient;
use penstock_proto::v1::{self, from_worker, to_worker};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

/// An open stream to the leader.
pub(crate) struct Link {
    pub(crate) epoch: Epoch,
    pub(crate) session: Duration,
    pub(crate) to_leader: mpsc::Sender<v1::FromWorker>,
    pub(crate) from_leader: Streaming<v1::ToWorker>,
    /// What the Hello yielded, sent before Welcome.
    pub(crate) early: Vec<v1::ToWorker>,
}

/// What an attempt to open a stream came to.
pub(crate) enum Outcome {
    Linked(Box<Link>),
    /// Ask there; empty: nobody leads at the moment.
    Redirected(String),
    /// It did not work; another may.
    Failed(String),
    /// It will never work.
    Refused(String),
}

/// Every coordinator this worker knows of, with a channel each.
pub(crate) struct Coordinators {
    dialer: Dialer,
    addresses: Vec<String>,
    channels: BTreeMap<String, Channel>,
    next: usize,
    hint: Option<String>,
}

impl Coordinators {
    pub(crate) fn new(dialer: Dialer, addresses: Vec<String>) -> Self {
        Self { dialer, addresses, channels: BTreeMap::new(), next: 0, hint: None }
    }

    /// Where the leader is said to be.
    pub(crate) fn hint(&mut self, address: String) {
        self.hint = (!address.is_empty()).then_some(address);
    }

    /// The next to ask, and whether a round is complete.
    pub(crate) fn next(&mut self) -> Option<(String, Channel, bool)> {
        let hinted = self.hint.take();
        let round = hinted.is_none() && self.next + 1 >= self.addresses.len();
        let address = match hinted {
            Some(address) => address,
            None => {
                let address = self.addresses.get(self.next)?.clone();
                self.next = (self.next + 1) % self.addresses.len();
                address
            }
        };
        if !self.channels.contains_key(&address) {
            self.channels.insert(address.clone(), self.dialer.channel(&address).ok()?);
        }
        let channel = self.channels.get(&address)?.clone();
        Some((address, channel, round))
    }
}

const WELCOME_WITHIN: Duration = Duration::from_secs(4);

/// Says Hello, and waits for Welcome.
pub(crate) async fn open(channel: Channel, hello: v1::Hello) -> Outcome {
    match tokio::time::timeout(WELCOME_WITHIN, attach(channel, hello)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Failed("no Welcome came in time".to_owned()),
    }
}

async fn attach(channel: Channel, hello: v1::Hello) -> Outcome {
    let (to_leader, outgoing) = mpsc::channel(1_024);
    let first = v1::FromWorker { kind: Some(from_worker::Kind::Hello(hello)) };
    if to_leader.send(first).await.is_err() {
        return Outcome::Failed("the stream could not be opened".to_owned());
    }
    let mut client = WorkerClient::new(channel).max_decoding_message_size(penstock_common::limits::MAX_MESSAGE_BYTES);
    let mut from_leader = match client.attach(ReceiverStream::new(outgoing)).await {
        Ok(response) => response.into_inner(),
        Err(status) => return judge(&status),
    };
    let mut early = Vec::new();
    let first = loop {
        match from_leader.message().await {
            Ok(Some(message)) if !matches!(message.kind, Some(to_worker::Kind::Welcome(_) | to_worker::Kind::Redirect(_))) => {
                early.push(message)
            }
            other => break other,
        }
    };
    match first {
        Ok(Some(v1::ToWorker { epoch, kind: Some(to_worker::Kind::Welcome(welcome)), .. })) => Outcome::Linked(Box::new(Link {
            epoch: epoch.unwrap_or_default().into(),
            session: Duration::from_millis(welcome.session_ms.max(1_000)),
            to_leader,
            from_leader,
            early,
        })),
        Ok(Some(v1::ToWorker { kind: Some(to_worker::Kind::Redirect(redirect)), .. })) => Outcome::Redirected(redirect.leader),
        Ok(_) => Outcome::Failed("the stream ended before Welcome".to_owned()),
        Err(status) => judge(&status),
    }
}

fn judge(status: &tonic::Status) -> Outcome {
    match status.code() {
        Code::InvalidArgument | Code::FailedPrecondition | Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented => {
            Outcome::Refused(status.message().to_owned())
        }
        _ => Outcome::Failed(status.message().to_owned()),
    }
}
