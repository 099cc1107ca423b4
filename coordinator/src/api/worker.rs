//! The Worker service: one stream a worker. Heartbeats are answered here, beside the loop; the rest becomes inputs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use penstock_common::limits::{MAX_SLOTS_PER_WORKER, WORKER_SESSION_MS};
use penstock_common::record::Report;
use penstock_common::{Epoch, Fence, Items, SessionId, Timestamp};
use penstock_proto::LEADER_TRAILER;
use penstock_proto::v1::{self, from_worker, to_worker};
use penstock_scheduler::input::Hello;
use penstock_scheduler::{Announced, Answer, Input};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::handle::{Handle, Reported, Role};
use crate::sanity::origin;
use crate::takeover::closed_by_kernel;

/// What the service needs.
#[derive(Clone)]
pub(crate) struct Workers {
    pub(crate) handle: Handle,
    pub(crate) streams: Arc<AtomicU64>,
    pub(crate) address: String,
    pub(crate) clock: Arc<dyn crate::clock::Clock>,
}

/// A worker that comes while nobody leads waits so long before it is told to look elsewhere.
const WAIT_FOR_LEADER: Duration = Duration::from_secs(2);
/// The first message must come within this time.
const HELLO_WITHIN: Duration = Duration::from_secs(5);

#[tonic::async_trait]
impl v1::worker_server::Worker for Workers {
    type AttachStream = ReceiverStream<Result<v1::ToWorker, Status>>;

    async fn attach(&self, request: Request<Streaming<v1::FromWorker>>) -> Result<Response<Self::AttachStream>, Status> {
        let incoming = request.into_inner();
        let (sender, receiver) = mpsc::channel(1_024);
        let this = self.clone();
        tokio::spawn(async move {
            if let Err(status) = this.serve(incoming, &sender).await {
                // A term may end at any step of this, which is no fault of the worker's: it would end for a refusal.
                let leads_no_longer = status.metadata().get(LEADER_TRAILER).and_then(|leader| leader.to_str().ok());
                let answer = match leads_no_longer {
                    Some(leader) => Ok(redirect(leader.to_owned())),
                    None => Err(status),
                };
                drop(sender.send(answer).await);
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Where the leader is, empty if that is not known.
fn redirect(leader: String) -> v1::ToWorker {
    let redirect = v1::Redirect { leader, why: "this coordinator does not lead".to_owned() };
    v1::ToWorker { epoch: None, seq: 0, kind: Some(to_worker::Kind::Redirect(redirect)) }
}

impl Workers {
    async fn serve(
        &self,
        mut incoming: Streaming<v1::FromWorker>,
        sender: &mpsc::Sender<Result<v1::ToWorker, Status>>,
    ) -> Result<(), Status> {
        let first = tokio::time::timeout(HELLO_WITHIN, incoming.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no Hello came in 5 s"))??;
        let Some(from_worker::Kind::Hello(hello)) = first.and_then(|m| m.kind) else {
            return Err(Status::invalid_argument("the first message must be Hello"));
        };
        let mut role = self.handle.role.clone();
        let epoch = match self.wait_for_leader(&mut role).await {
            Ok(epoch) => epoch,
            Err(leader) => {
                drop(sender.send(Ok(redirect(leader))).await);
                return Ok(());
            }
        };
        let seen = Epoch::from(hello.epoch.unwrap_or_default());
        if seen > epoch {
            // Either this coordinator was deposed and does not know it, or the store was set back: another may know better.
            return Err(Status::unavailable(format!(
                "this worker has seen term {seen}, and this coordinator leads {epoch}, which is older"
            )));
        }
        let reached = self.handle.read(|_, seen| seen.seq.0).await?;
        if hello.seq > reached {
            let seq = hello.seq;
            tracing::error!(seq, reached, "a worker has seen what this store does not hold: it was set back, as by a restore");
            return Err(Status::unavailable(format!(
                "this worker has seen journal entry {seq}, and the store ends at {reached}: it was set back"
            )));
        }
        let hello = read_hello(hello)?;
        let stream = self.streams.fetch_add(1, Ordering::Relaxed);
        let (session, worker) = (hello.session.clone(), hello.worker.clone());
        let over = Arc::new(Notify::new());
        // Former lives of this worker go first; then the stream is open, so that what the Hello yields reaches it.
        for lost in self.handle.sessions.open(session.clone(), worker.clone(), stream, sender.clone(), &over) {
            let gone = Input::Gone { session: lost.session, died: lost.died, detail: lost.detail };
            self.handle.insist(gone).await?;
        }
        let ended = self.attached(hello, epoch, incoming, sender, role, &over).await;
        // However it ended: what the session may hold is lost when it does not come back.
        self.handle.sessions.closed(&session, stream, matches!(ended, Ok(true)));
        tracing::info!(%worker, %session, ?ended, "worker stream ended");
        ended.map(drop)
    }

    /// Has the Hello decided, promises, and reads the stream; tells whether the peer's kernel closed it.
    async fn attached(
        &self,
        hello: Hello,
        epoch: Epoch,
        incoming: Streaming<v1::FromWorker>,
        sender: &mpsc::Sender<Result<v1::ToWorker, Status>>,
        role: watch::Receiver<Role>,
        over: &Notify,
    ) -> Result<bool, Status> {
        let (session, worker) = (hello.session.clone(), hello.worker.clone());
        self.handle.insist(Input::Hello(Box::new(hello))).await?;
        if !self.handle.sessions.may_promise() {
            return Err(Status::unavailable("this coordinator's own session in the store is not sure"));
        }
        let welcome = to_worker::Kind::Welcome(v1::Welcome { session_ms: WORKER_SESSION_MS });
        drop(sender.send(Ok(v1::ToWorker { epoch: Some(epoch.into()), seq: 0, kind: Some(welcome) })).await);
        tracing::info!(%worker, %session, "worker attached");
        self.listen(&session, epoch, incoming, sender, role, over).await
    }

    /// The epoch, once this node leads; else where the leader is.
    async fn wait_for_leader(&self, role: &mut watch::Receiver<Role>) -> Result<Epoch, String> {
        let deadline = Instant::now() + WAIT_FOR_LEADER;
        loop {
            let elsewhere = match &*role.borrow_and_update() {
                Role::Leader(epoch) => return Ok(*epoch),
                Role::Follower(Some(leader)) if leader.address != self.address => Some(leader.address.clone()),
                Role::Follower(_) | Role::Starting => None,
            };
            let patience =
                if elsewhere.is_some() { Duration::from_millis(100) } else { deadline.saturating_duration_since(Instant::now()) };
            match tokio::time::timeout(patience, role.changed()).await {
                Ok(Ok(())) => {}
                _ => return Err(elsewhere.unwrap_or_default()),
            }
        }
    }

    /// Reads the stream until it ends; tells whether the peer's kernel closed it.
    async fn listen(
        &self,
        session: &SessionId,
        epoch: Epoch,
        mut incoming: Streaming<v1::FromWorker>,
        sender: &mpsc::Sender<Result<v1::ToWorker, Status>>,
        mut role: watch::Receiver<Role>,
        over: &Notify,
    ) -> Result<bool, Status> {
        let mut waiting: Vec<(Fence, Report)> = Vec::new();
        loop {
            tokio::select! {
                () = over.notified() => return Ok(false),
                changed = role.changed() => {
                    if changed.is_err() || *role.borrow() != Role::Leader(epoch) {
                        return Ok(false);
                    }
                }
                permit = self.handle.report_permit(), if !waiting.is_empty() => {
                    permit?.send(Reported { session: session.clone(), reports: std::mem::take(&mut waiting) });
                }
                message = incoming.message(), if waiting.len() < 20_000 => {
                    let message = match message {
                        Ok(Some(message)) => message,
                        Ok(None) => return Ok(false),
                        Err(status) => return Ok(closed_by_kernel(&status)),
                    };
                    self.handle.sessions.heard(session);
                    match message.kind {
                        // Without a session that is surely alive this may no longer be the leader: it promises nothing.
                        Some(from_worker::Kind::Heartbeat(_)) if !self.handle.sessions.may_promise() => {}
                        Some(from_worker::Kind::Heartbeat(beat)) => {
                            if beat.wall_ms != 0 {
                                self.handle.sessions.clock(session, origin(Timestamp(beat.wall_ms), self.clock.uptime()));
                            }
                            let kind = to_worker::Kind::Heartbeat(v1::HeartbeatAck { number: beat.number });
                            drop(sender.try_send(Ok(v1::ToWorker { epoch: Some(epoch.into()), seq: 0, kind: Some(kind) })));
                        }
                        Some(from_worker::Kind::Reports(reports)) => {
                            for report in reports.reports {
                                let fence = Fence(report.fence);
                                match Report::try_from(report).map_err(|e| super::status::malformed(&e))? {
                                    Report::Ended { ended, items: Some(items) } => {
                                        self.report_items(session, epoch, fence, Report::Ended { ended, items: Some(items.clone()) }, &items, sender);
                                    }
                                    report => waiting.push((fence, report)),
                                }
                            }
                        }
                        Some(from_worker::Kind::Leaving(_)) => drop(self.handle.insist(Input::Leaving { session: session.clone() }).await),
                        Some(from_worker::Kind::Goodbye(_)) => {
                            let gone = Input::Gone { session: session.clone(), died: false, detail: "the worker said Goodbye".into() };
                            self.handle.insist(gone).await?;
                            self.handle.sessions.forget(session);
                            return Ok(false);
                        }
                        Some(from_worker::Kind::Hello(_)) | None => return Err(Status::invalid_argument("Hello is said once, first")),
                    }
                }
            }
        }
    }
}

impl Workers {
    /// A report with an items file, whose blob is stored before the report is decided: beside the stream, as it may take a while.
    fn report_items(
        &self,
        session: &SessionId,
        epoch: Epoch,
        fence: Fence,
        report: Report,
        items: &Items,
        sender: &mpsc::Sender<Result<v1::ToWorker, Status>>,
    ) {
        let (this, session, sender) = (self.clone(), session.clone(), sender.clone());
        let (digest, blob) = (items.digest(), bytes::Bytes::from(items.to_blob()));
        tokio::spawn(async move {
            while !sender.is_closed() {
                let input = Input::Report { session: session.clone(), fence, report: Box::new(report.clone()) };
                match this.handle.insist_with(input, digest, blob.clone()).await {
                    Ok((answer, seq)) => {
                        let fences = vec![fence.0];
                        let message = |kind| Ok(v1::ToWorker { epoch: Some(epoch.into()), seq: seq.0, kind: Some(kind) });
                        if answer != (Answer::Reported { current: true }) {
                            let kill = v1::Kill { fences: fences.clone() };
                            drop(sender.send(message(to_worker::Kind::Kill(kill))).await);
                        }
                        drop(sender.send(message(to_worker::Kind::Acks(v1::ReportAcks { fences }))).await);
                        return;
                    }
                    // Another leads: the worker tells it again.
                    Err(crate::handle::Refusal::NotLeader(_)) => return,
                    // The store was slow, or is full: on this stream nobody else tells it again.
                    Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
                }
            }
        });
    }
}

fn read_hello(hello: v1::Hello) -> Result<Hello, Status> {
    let invalid = |e: penstock_common::ids::InvalidId| super::status::invalid(&e);
    let labels: BTreeMap<String, String> = hello.labels;
    if hello.running.len() + hello.finished.len() > 2 * MAX_SLOTS_PER_WORKER as usize {
        return Err(Status::invalid_argument("a worker announces no more attempts than a worker may have slots"));
    }
    Ok(Hello {
        session: hello.session.parse().map_err(invalid)?,
        worker: hello.worker.parse().map_err(invalid)?,
        slots: hello.slots,
        queues: hello.queues.iter().map(|q| q.parse().map_err(invalid)).collect::<Result<_, _>>()?,
        labels,
        leaving: hello.leaving,
        announced: Announced {
            running: hello.running.into_iter().map(Fence).collect(),
            finished: hello.finished.into_iter().map(Fence).collect(),
        },
    })
}
