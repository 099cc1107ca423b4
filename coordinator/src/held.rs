//! What waits: inputs for room in a batch, a batch for its turn, effects and answers for their entry to be durable.

use std::collections::BTreeMap;
use std::pin::Pin;

use penstock_common::record::Report;
use penstock_common::{Digest, Fence, Seq, SessionId, Timestamp};
use penstock_scheduler::{Answer, Cut, Effect, Input};
use penstock_store::FencedError;
use tokio::sync::oneshot;

use crate::handle::{Command, Refusal, Reply};
use crate::watch::Collected;

/// One thing to decide.
pub(crate) enum Work {
    Report(SessionId, Fence, Report),
    Command(Command),
    /// A worker is lost.
    Gone(Input),
}

/// Decided, not yet sent.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) events: Vec<u8>,
    pub(crate) inputs: usize,
    pub(crate) held: Held,
}

pub(crate) type Answered = Result<(Answer, Seq), Refusal>;

/// What waits for an entry to be durable.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) effects: Vec<Effect>,
    pub(crate) replies: Vec<(oneshot::Sender<Answered>, Result<Answer, Refusal>)>,
    pub(crate) reads: Vec<Reply>,
    pub(crate) acks: BTreeMap<SessionId, Acks>,
    pub(crate) changes: Collected,
    pub(crate) cut: Option<Cut>,
}

impl Held {
    /// What waits for the same entry.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.effects.extend(other.effects);
        self.replies.extend(other.replies);
        self.reads.extend(other.reads);
        for (session, acks) in other.acks {
            let mine = self.acks.entry(session).or_default();
            mine.recorded.extend(acks.recorded);
            mine.stale.extend(acks.stale);
        }
    }
}

#[derive(Default)]
pub(crate) struct Acks {
    pub(crate) recorded: Vec<u64>,
    pub(crate) stale: Vec<u64>,
}

pub(crate) struct InFlight {
    pub(crate) append: Pin<Box<dyn Future<Output = Result<u64, FencedError>> + Send>>,
    pub(crate) seq: Seq,
    pub(crate) digest: Digest,
    pub(crate) now: Timestamp,
    pub(crate) bytes: usize,
    pub(crate) held: Held,
}
