//! How the services reach the node's loop: bounded queues in, one reply each. Reports, commands, submits and reads have a
//! queue of their own, so none hides another; heartbeats never come this way.

use std::sync::Arc;

use penstock_common::record::Report;
use penstock_common::{Epoch, Fence, NodeName, RunId, Seq, SessionId};
use penstock_proto::v1;
use penstock_scheduler::{Answer, Input, Rejection, Scheduler};
use tokio::sync::{mpsc, oneshot, watch};

use crate::files::{FileTrouble, Key};
use crate::sessions::Sessions;

/// Who leads, as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Loading state.
    Starting,
    /// Replays the journal; the leader, if one is known.
    Follower(Option<Leader>),
    /// Decides.
    Leader(Epoch),
}

/// Where the leader is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Its name.
    pub node: NodeName,
    /// host:port of its gRPC listener.
    pub address: String,
}

/// Why less is done than asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Nothing can be written: nothing is decided until there is room.
    pub(crate) full: bool,
    /// For the operator, and for whoever is refused.
    pub(crate) why: String,
}

/// From when a read is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AsOf {
    /// The journal position.
    pub seq: Seq,
    /// Milliseconds since this node last confirmed the journal's end.
    pub age_ms: u64,
}

/// Why an input was not decided, or its answer not given.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// The scheduler's.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Another coordinator leads, or none does at the moment.
    #[error("this coordinator does not lead{}", .0.as_ref().map_or(String::new(), |l| format!("; {} at {} does", l.node, l.address)))]
    NotLeader(Option<Leader>),
    /// The queue is full.
    #[error("this coordinator is overloaded: try again in {0} ms")]
    Overloaded(u64),
    /// The store has no room or is about to have none.
    #[error("{0}")]
    NoSpace(String),
    /// The node stops, or lost leadership before the answer was durable: ask again with the same id.
    #[error("the coordinator stopped before this was durable: ask again with the same id")]
    Interrupted,
}

/// An input and who waits for its answer.
pub(crate) struct Command {
    pub(crate) input: Input,
    /// A definition, an items file or a run, to be stored before the input is decided.
    pub(crate) blob: Option<(penstock_common::Digest, bytes::Bytes)>,
    pub(crate) reply: oneshot::Sender<Result<(Answer, Seq), Refusal>>,
}

/// Reports of one worker.
pub(crate) struct Reported {
    pub(crate) session: SessionId,
    pub(crate) reports: Vec<(Fence, Report)>,
}

pub(crate) type Reply = Box<dyn FnOnce() + Send>;
/// A read: looks at the scheduler now, and replies when what it saw is durable.
pub(crate) type Read = Box<dyn FnOnce(&Scheduler, AsOf) -> Reply + Send>;

/// A watcher that wants to be added.
pub(crate) struct Subscribe {
    pub(crate) run: RunId,
    pub(crate) sender: mpsc::Sender<v1::WatchRunResponse>,
    pub(crate) found: oneshot::Sender<bool>,
}

/// The receiving ends, for the node's loop.
pub(crate) struct Queues {
    pub(crate) reports: mpsc::Receiver<Reported>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) submits: mpsc::Receiver<Command>,
    pub(crate) reads: mpsc::Receiver<Read>,
    pub(crate) subscriptions: mpsc::Receiver<Subscribe>,
    pub(crate) role: watch::Sender<Role>,
    pub(crate) trouble: Arc<watch::Sender<Option<Trouble>>>,
    pub(crate) clock_trouble: watch::Sender<Option<String>>,
    pub(crate) file_trouble: Arc<watch::Sender<FileTrouble>>,
    pub(crate) checkpoint: watch::Sender<Seq>,
}

/// What the services hold.
#[derive(Clone)]
pub(crate) struct Handle {
    reports: mpsc::Sender<Reported>,
    commands: mpsc::Sender<Command>,
    submits: mpsc::Sender<Command>,
    reads: mpsc::Sender<Read>,
    subscriptions: mpsc::Sender<Subscribe>,
    pub(crate) role: watch::Receiver<Role>,
    pub(crate) trouble: watch::Receiver<Option<Trouble>>,
    /// Why schedules do not fire, if the leader's wall clock is not to be trusted.
    pub(crate) clock_trouble: watch::Receiver<Option<String>>,
    file_trouble: watch::Receiver<FileTrouble>,
    pub(crate) checkpoint: watch::Receiver<Seq>,
    pub(crate) sessions: Arc<Sessions>,
}

const RETRY_AFTER_MS: u64 = 200;

pub(crate) fn queues(sessions: Arc<Sessions>) -> (Handle, Queues) {
    let (reports, reports_rx) = mpsc::channel(1_024);
    let (commands, commands_rx) = mpsc::channel(1_024);
    let (submits, submits_rx) = mpsc::channel(8_192);
    let (reads, reads_rx) = mpsc::channel(1_024);
    let (subscriptions, subscriptions_rx) = mpsc::channel(256);
    let (role_tx, role) = watch::channel(Role::Starting);
    let (trouble_tx, trouble) = watch::channel(None);
    let (clock_trouble_tx, clock_trouble) = watch::channel(None);
    let (file_trouble_tx, file_trouble) = watch::channel(FileTrouble::new());
    let (checkpoint_tx, checkpoint) = watch::channel(Seq(0));
    let handle =
        Handle { reports, commands, submits, reads, subscriptions, role, trouble, clock_trouble, file_trouble, checkpoint, sessions };
    let queues = Queues {
        reports: reports_rx,
        commands: commands_rx,
        submits: submits_rx,
        reads: reads_rx,
        subscriptions: subscriptions_rx,
        role: role_tx,
        trouble: Arc::new(trouble_tx),
        clock_trouble: clock_trouble_tx,
        file_trouble: Arc::new(file_trouble_tx),
        checkpoint: checkpoint_tx,
    };
    (handle, queues)
}

impl Handle {
    fn leading(&self) -> Result<(), Refusal> {
        match &*self.role.borrow() {
            Role::Leader(_) => Ok(()),
            Role::Follower(leader) => Err(Refusal::NotLeader(leader.clone())),
            Role::Starting => Err(Refusal::NotLeader(None)),
        }
    }

    /// Decides an input, and answers once its events are durable.
    pub(crate) async fn command(&self, input: Input) -> Result<(Answer, Seq), Refusal> {
        self.send(&self.commands, input, None).await
    }

    /// The same for a definition, whose bytes are stored first.
    pub(crate) async fn register(
        &self,
        input: Input,
        digest: penstock_common::Digest,
        blob: bytes::Bytes,
    ) -> Result<(Answer, Seq), Refusal> {
        self.room()?;
        self.send(&self.commands, input, Some((digest, blob))).await
    }

    /// The same for a run: refused early where the store has no room for new ones.
    pub(crate) async fn submit(&self, input: Input) -> Result<(Answer, Seq), Refusal> {
        self.room()?;
        self.send(&self.submits, input, None).await
    }

    /// What is wrong with the files of a trigger, as the leader finds it; on others nothing is known.
    pub(crate) fn file_trouble(&self, key: &Key) -> Option<Arc<str>> {
        self.file_trouble.borrow().get(key).cloned()
    }

    /// Whether this node leads and the store takes what is new.
    pub(crate) fn room(&self) -> Result<(), Refusal> {
        self.leading()?;
        match &*self.trouble.borrow() {
            Some(trouble) => Err(Refusal::NoSpace(trouble.why.clone())),
            None => Ok(()),
        }
    }

    /// Decides what must not be refused for want of room in a queue: it waits for its place.
    pub(crate) async fn insist(&self, input: Input) -> Result<(Answer, Seq), Refusal> {
        self.leading()?;
        let place = self.commands.reserve().await.map_err(|_| Refusal::Interrupted)?;
        answered(place, input, None).await
    }

    /// The same with bytes that are stored first.
    pub(crate) async fn insist_with(
        &self,
        input: Input,
        digest: penstock_common::Digest,
        blob: bytes::Bytes,
    ) -> Result<(Answer, Seq), Refusal> {
        self.leading()?;
        let place = self.commands.reserve().await.map_err(|_| Refusal::Interrupted)?;
        answered(place, input, Some((digest, blob))).await
    }

    async fn send(
        &self,
        queue: &mpsc::Sender<Command>,
        input: Input,
        blob: Option<(penstock_common::Digest, bytes::Bytes)>,
    ) -> Result<(Answer, Seq), Refusal> {
        self.leading()?;
        let place = queue.try_reserve().map_err(|e| match e {
            mpsc::error::TrySendError::Full(()) => Refusal::Overloaded(RETRY_AFTER_MS),
            mpsc::error::TrySendError::Closed(()) => Refusal::Interrupted,
        })?;
        answered(place, input, blob).await
    }

    /// A place for reports in their queue; waits while it is full, which holds the worker back.
    pub(crate) async fn report_permit(&self) -> Result<mpsc::Permit<'_, Reported>, Refusal> {
        self.reports.reserve().await.map_err(|_| Refusal::Interrupted)
    }

    /// Looks at the state; the answer is given when what was seen is durable.
    pub(crate) async fn read<T: Send + 'static>(&self, look: impl FnOnce(&Scheduler, AsOf) -> T + Send + 'static) -> Result<T, Refusal> {
        let (sender, receiver) = oneshot::channel();
        let read: Read = Box::new(move |scheduler, as_of| {
            let seen = look(scheduler, as_of);
            Box::new(move || drop(sender.send(seen)))
        });
        self.reads.try_send(read).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => Refusal::Overloaded(RETRY_AFTER_MS),
            mpsc::error::TrySendError::Closed(_) => Refusal::Interrupted,
        })?;
        receiver.await.map_err(|_| Refusal::Interrupted)
    }

    /// Watches a live run; `false` where there is none.
    pub(crate) async fn subscribe(&self, run: RunId, sender: mpsc::Sender<v1::WatchRunResponse>) -> Result<bool, Refusal> {
        let (found, answer) = oneshot::channel();
        let subscribe = Subscribe { run, sender, found };
        self.subscriptions.send(subscribe).await.map_err(|_| Refusal::Interrupted)?;
        answer.await.map_err(|_| Refusal::Interrupted)
    }
}

/// Puts a command in its place and waits for the answer.
async fn answered(
    place: mpsc::Permit<'_, Command>,
    input: Input,
    blob: Option<(penstock_common::Digest, bytes::Bytes)>,
) -> Result<(Answer, Seq), Refusal> {
    let (reply, answer) = oneshot::channel();
    place.send(Command { input, blob, reply });
    answer.await.map_err(|_| Refusal::Interrupted)?
}
