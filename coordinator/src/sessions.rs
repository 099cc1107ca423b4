//! Worker sessions of the present leader: their streams, and whether they are alive.
//!
//! Liveness is this leader's own monotonic timer, kept beside the loop, so heartbeats never queue behind inputs. A session is
//! lost when its stream was closed by the peer's kernel and no new one came within a second, or when it was silent for its full time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use penstock_common::limits::{WORKER_RECONNECT_MS, WORKER_SESSION_MS};
use penstock_common::{SessionId, WorkerName};
use penstock_proto::v1;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

/// A worker's outgoing stream.
pub(crate) type ToWorker = mpsc::Sender<Result<v1::ToWorker, tonic::Status>>;

/// Every session that this leader waits for.
#[derive(Default)]
pub(crate) struct Sessions {
    live: Mutex<BTreeMap<SessionId, Live>>,
    /// Until when the leader's own session in the store is surely alive.
    validity: Mutex<Option<watch::Receiver<Option<Instant>>>>,
}

struct Live {
    worker: Option<WorkerName>,
    heard: Instant,
    /// The newest stream, and its sender while it takes messages.
    stream: Option<u64>,
    sender: Option<ToWorker>,
    /// Ends the stream that does not keep up.
    over: Arc<Notify>,
    closed: Option<Instant>,
    /// The origin of its clock at its last heartbeat.
    clock: Option<i64>,
}

impl Live {
    fn silent(since: Instant) -> Self {
        Self { worker: None, heard: since, stream: None, sender: None, over: Arc::default(), closed: None, clock: None }
    }
}

/// A session that is over.
pub(crate) struct Lost {
    pub(crate) session: SessionId,
    pub(crate) died: bool,
    pub(crate) detail: Arc<str>,
}

const SESSION: Duration = Duration::from_millis(WORKER_SESSION_MS);
const SILENCE_SLACK: Duration = Duration::from_secs(1);
const RECONNECT: Duration = Duration::from_millis(WORKER_RECONNECT_MS);

impl Sessions {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<SessionId, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A term begins: each session that holds leases has its full time to say Hello.
    pub(crate) fn expect(&self, sessions: Vec<SessionId>, validity: watch::Receiver<Option<Instant>>) {
        *self.validity.lock().unwrap_or_else(PoisonError::into_inner) = Some(validity);
        let now = Instant::now();
        *self.lock() = sessions.into_iter().map(|s| (s, Live::silent(now))).collect();
    }

    /// Whether the leader may answer a heartbeat, which promises the worker that its attempts are still its own.
    pub(crate) fn may_promise(&self) -> bool {
        let validity = self.validity.lock().unwrap_or_else(PoisonError::into_inner);
        validity.as_ref().is_some_and(|v| v.borrow().is_some_and(|until| Instant::now() < until))
    }

    /// A term ends: every stream ends with it.
    pub(crate) fn clear(&self) -> Vec<ToWorker> {
        *self.validity.lock().unwrap_or_else(PoisonError::into_inner) = None;
        std::mem::take(&mut *self.lock()).into_values().filter_map(|live| live.sender).collect()
    }

    /// A stream is open. A former life of the same worker whose stream is closed is over at once.
    pub(crate) fn open(&self, session: SessionId, worker: WorkerName, stream: u64, sender: ToWorker, over: &Arc<Notify>) -> Vec<Lost> {
        let mut live = self.lock();
        let former: Vec<_> = live
            .iter()
            .filter(|(other, l)| **other != session && l.worker.as_ref() == Some(&worker) && l.closed.is_some())
            .map(|(other, _)| other.clone())
            .collect();
        let lost = former.into_iter().inspect(|other| drop(live.remove(other)));
        let detail: Arc<str> = format!("worker {worker} was started again").into();
        let lost = lost.map(|session| Lost { session, died: true, detail: detail.clone() }).collect();
        live.insert(
            session,
            Live { worker: Some(worker), stream: Some(stream), sender: Some(sender), over: over.clone(), ..Live::silent(Instant::now()) },
        );
        lost
    }

    /// A message came in on a stream.
    pub(crate) fn heard(&self, session: &SessionId) {
        if let Some(live) = self.lock().get_mut(session) {
            live.heard = Instant::now();
        }
    }

    /// The [origin](crate::sanity::origin) of a session's clock.
    pub(crate) fn clock(&self, session: &SessionId, origin: i64) {
        if let Some(live) = self.lock().get_mut(session) {
            live.clock = Some(origin);
        }
    }

    /// The origins of the clocks of all sessions that have a stream.
    pub(crate) fn clocks(&self) -> Vec<i64> {
        self.lock().values().filter(|live| live.stream.is_some()).filter_map(|live| live.clock).collect()
    }

    /// A stream ended; `by_kernel`: the peer's kernel closed it, so its process has most likely died.
    pub(crate) fn closed(&self, session: &SessionId, stream: u64, by_kernel: bool) {
        if let Some(live) = self.lock().get_mut(session)
            && live.stream == Some(stream)
        {
            live.stream = None;
            live.sender = None;
            live.closed = by_kernel.then(Instant::now);
        }
    }

    /// A worker said Goodbye, and the scheduler knows.
    pub(crate) fn forget(&self, session: &SessionId) {
        self.lock().remove(session);
    }

    /// Sends to a session; a stream that does not keep up is ended, and its worker asks again.
    pub(crate) fn send(&self, session: &SessionId, message: v1::ToWorker) {
        let mut live = self.lock();
        if let Some(live) = live.get_mut(session)
            && let Some(sender) = &live.sender
            && sender.try_send(Ok(message)).is_err()
        {
            live.sender = None;
            live.over.notify_one();
        }
    }

    /// Sessions that are over; each is told once.
    pub(crate) fn expired(&self) -> Vec<Lost> {
        let now = Instant::now();
        let mut live = self.lock();
        let mut lost = Vec::new();
        live.retain(|session, l| {
            let name = l.worker.as_ref().map_or_else(|| session.to_string(), ToString::to_string);
            let (died, detail) = if l.closed.is_some_and(|at| now >= at + RECONNECT) {
                (true, format!("the connection of worker {name} was closed, and it did not come back within a second"))
            } else if now >= l.heard + SESSION + SILENCE_SLACK {
                (false, format!("worker {name} was silent for {} s", SESSION.as_secs()))
            } else {
                return true;
            };
            lost.push(Lost { session: session.clone(), died, detail: detail.into() });
            false
        });
        lost
    }

    /// The leader's loop stood still: silence meanwhile proves nothing.
    pub(crate) fn grant_full_time(&self) {
        let now = Instant::now();
        for live in self.lock().values_mut() {
            live.heard = now;
            if live.closed.is_some() {
                live.closed = Some(now);
            }
        }
    }
}
