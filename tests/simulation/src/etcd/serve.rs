//! etcd's gRPC services, as far as the product's adapter uses them; what it does not use is UNIMPLEMENTED.

use std::pin::Pin;
use std::time::Duration;

use etcd_client::proto::{
    PbAlarmRequest, PbAlarmResponse, PbCompactionRequest, PbCompactionResponse, PbCompare, PbCompareTarget, PbDefragmentRequest,
    PbDefragmentResponse, PbDeleteRequest, PbDeleteResponse, PbDowngradeRequest, PbDowngradeResponse, PbEvent, PbHashKvRequest,
    PbHashKvResponse, PbHashRequest, PbHashResponse, PbKeyValue, PbKvServer, PbKvService, PbLeaseGrantRequest, PbLeaseGrantResponse,
    PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse, PbLeaseLeasesRequest, PbLeaseLeasesResponse, PbLeaseRevokeRequest,
    PbLeaseRevokeResponse, PbLeaseServer, PbLeaseService, PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse, PbMaintenanceServer,
    PbMaintenanceService, PbMoveLeaderRequest, PbMoveLeaderResponse, PbPutRequest, PbPutResponse, PbRangeRequest, PbRangeResponse,
    PbRangeStreamResponse, PbResponseHeader, PbResponseOp, PbSnapshotRequest, PbSnapshotResponse, PbStatusRequest, PbStatusResponse,
    PbTargetUnion, PbTxnOpRequest, PbTxnOpResponse, PbTxnRequest, PbTxnRequestOp, PbTxnResponse, PbWatchRequest, PbWatchRequestUnion,
    PbWatchResponse, PbWatchServer, PbWatchService,
};
use etcd_client::{CompareOp, EventType, SortOrder};
use futures_util::Stream;
use penstock_store::port::prefix_end;
use penstock_store::{Error, Guard, Key, KeyValue, Op, Outcome, SessionId, Store, Txn};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{Etcd, Fate};
use crate::net::Conn;

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Etcd {
    pub(super) async fn serve(
        self,
        incoming: impl Stream<Item = std::io::Result<Conn>> + Send + 'static,
    ) -> Result<(), tonic::transport::Error> {
        tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(10)))
            .http2_keepalive_timeout(Some(Duration::from_secs(5)))
            .add_service(PbKvServer::new(self.clone()))
            .add_service(PbWatchServer::new(self.clone()))
            .add_service(PbLeaseServer::new(self.clone()))
            .add_service(PbMaintenanceServer::new(self))
            .serve_with_incoming(incoming)
            .await
    }

    fn header(&self, revision: u64) -> PbResponseHeader {
        PbResponseHeader { cluster_id: 1, member_id: 1, revision: signed(revision), raft_term: 1 }
    }

    fn now(&self) -> Option<PbResponseHeader> {
        Some(self.header(self.memory.revision()))
    }

    async fn range_of(&self, request: PbRangeRequest) -> Result<PbRangeResponse, Status> {
        let from = text(request.key)?;
        let to = end_of(&from, &request.range_end)?;
        let revision = u64::try_from(request.revision).unwrap_or(0);
        let Some((mut pairs, revision)) = self.read(&from, &to, revision).await.map_err(|e| status(&e))? else {
            return Err(compacted());
        };
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let count = pairs.len();
        if count > limit {
            self.keep(&from, &to, revision, &pairs);
        }
        if request.sort_order == SortOrder::Descend as i32 {
            pairs.reverse();
        }
        pairs.truncate(limit);
        let kvs = pairs.into_iter().map(|pair| wire(pair, request.keys_only)).collect();
        Ok(PbRangeResponse { header: Some(self.header(revision)), kvs, more: count > limit, count: signed(count as u64) })
    }

    async fn transact(&self, txn: Txn) -> Result<Outcome, Status> {
        let refused = |error: Error| status(&error);
        match self.fate(&txn) {
            None => self.commit(txn).await.map_err(refused),
            Some(Fate::RequestLost) => std::future::pending().await,
            Some(Fate::Late(by)) => {
                // It commits even if whoever asked goes away.
                let etcd = self.clone();
                let late = tokio::spawn(async move {
                    tokio::time::sleep(by).await;
                    etcd.commit(txn).await
                });
                late.await.map_err(|error| Status::internal(error.to_string()))?.map_err(refused)
            }
            Some(Fate::AnsweredWithTimeout) => {
                self.commit(txn).await.map_err(refused)?;
                Err(Status::unavailable("etcdserver: request timed out"))
            }
            Some(Fate::AnswerLost | Fate::SenderKilled) => {
                self.commit(txn).await.map_err(refused)?;
                std::future::pending().await
            }
        }
    }
}

#[tonic::async_trait]
impl PbKvService for Etcd {
    async fn range(&self, request: Request<PbRangeRequest>) -> Result<Response<PbRangeResponse>, Status> {
        self.range_of(request.into_inner()).await.map(Response::new)
    }

    type RangeStreamStream = Streamed<PbRangeStreamResponse>;

    async fn range_stream(&self, _: Request<PbRangeRequest>) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(unused())
    }

    async fn put(&self, request: Request<PbPutRequest>) -> Result<Response<PbPutResponse>, Status> {
        let then = vec![op(PbTxnOpRequest::RequestPut(request.into_inner()))?];
        self.transact(Txn { then, ..Txn::default() }).await?;
        Ok(Response::new(PbPutResponse { header: self.now(), prev_kv: None }))
    }

    async fn delete_range(&self, request: Request<PbDeleteRequest>) -> Result<Response<PbDeleteResponse>, Status> {
        let then = vec![op(PbTxnOpRequest::RequestDeleteRange(request.into_inner()))?];
        self.transact(Txn { then, ..Txn::default() }).await?;
        Ok(Response::new(PbDeleteResponse { header: self.now(), ..PbDeleteResponse::default() }))
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Result<Response<PbTxnResponse>, Status> {
        let PbTxnRequest { compare, success, failure } = request.into_inner();
        let guards = compare.into_iter().map(guard).collect::<Result<_, _>>()?;
        let then = success.into_iter().map(|o| op(required(o)?)).collect::<Result<Vec<_>, _>>()?;
        let otherwise = failure.into_iter().map(key_of).collect::<Result<Vec<_>, _>>()?;
        let answers = then.iter().map(answer).collect();
        let outcome = self.transact(Txn { guards, then, otherwise }).await?;
        Ok(Response::new(match outcome {
            Outcome::Committed(revision) => PbTxnResponse { header: Some(self.header(revision)), succeeded: true, responses: answers },
            Outcome::Refused(found) => {
                let responses = found.into_iter().map(found_pair).collect();
                PbTxnResponse { header: self.now(), succeeded: false, responses }
            }
        }))
    }

    async fn compact(&self, request: Request<PbCompactionRequest>) -> Result<Response<PbCompactionResponse>, Status> {
        let revision = u64::try_from(request.into_inner().revision).unwrap_or(0);
        if revision > self.memory.revision() {
            return Err(Status::out_of_range("etcdserver: mvcc: required revision is a future revision"));
        }
        if self.forget_before(revision) { Ok(Response::new(PbCompactionResponse { header: self.now() })) } else { Err(compacted()) }
    }
}

#[tonic::async_trait]
impl PbWatchService for Etcd {
    type WatchStream = Streamed<PbWatchResponse>;

    async fn watch(&self, request: Request<Streaming<PbWatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        let (sender, receiver) = mpsc::channel(16);
        let (this, mut requests) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            let mut next_id = 0;
            // Ends with the client's stream, or with its connection.
            while let Ok(Some(request)) = requests.message().await {
                let Some(PbWatchRequestUnion::CreateRequest(create)) = request.request_union else { continue };
                let Ok(prefix) = text(create.key) else { return };
                let Ok(wakes) = this.memory.watch(&prefix).await else { return };
                let created = PbWatchResponse { header: this.now(), watch_id: next_id, created: true, ..PbWatchResponse::default() };
                if sender.send(Ok(created)).await.is_err() {
                    return;
                }
                tokio::spawn(this.clone().wake(prefix, next_id, wakes, sender.clone()));
                next_id += 1;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

impl Etcd {
    async fn wake(
        self,
        prefix: String,
        watch_id: i64,
        mut wakes: Box<dyn penstock_store::Wakes>,
        sender: mpsc::Sender<Result<PbWatchResponse, Status>>,
    ) {
        loop {
            tokio::select! {
                biased;
                () = sender.closed() => return,
                woken = wakes.next() => if woken.is_err() { return },
            }
            if self.watches_are_stalled() {
                continue;
            }
            // The adapter looks at nothing but whether there are events.
            let pair = PbKeyValue { key: prefix.clone().into_bytes(), ..PbKeyValue::default() };
            let event = PbEvent { r#type: EventType::Put as i32, kv: Some(pair), prev_kv: None };
            let woken = PbWatchResponse { header: self.now(), watch_id, events: vec![event], ..PbWatchResponse::default() };
            if sender.send(Ok(woken)).await.is_err() {
                return;
            }
        }
    }
}

#[tonic::async_trait]
impl PbLeaseService for Etcd {
    async fn lease_grant(&self, request: Request<PbLeaseGrantRequest>) -> Result<Response<PbLeaseGrantResponse>, Status> {
        let ttl = request.into_inner().ttl;
        let session = self.memory.open_session(Duration::from_secs(u64::try_from(ttl).unwrap_or(1))).await.map_err(|e| status(&e))?;
        Ok(Response::new(PbLeaseGrantResponse { header: self.now(), id: session.0, ttl, error: String::new() }))
    }

    async fn lease_revoke(&self, request: Request<PbLeaseRevokeRequest>) -> Result<Response<PbLeaseRevokeResponse>, Status> {
        let session = SessionId(request.into_inner().id);
        if !self.memory.keep_session(session).await.map_err(|e| status(&e))? {
            return Err(no_lease());
        }
        self.memory.close_session(session).await.map_err(|e| status(&e))?;
        Ok(Response::new(PbLeaseRevokeResponse { header: self.now() }))
    }

    type LeaseKeepAliveStream = Streamed<PbLeaseKeepAliveResponse>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<PbLeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let (sender, receiver) = mpsc::channel(16);
        let (this, mut requests) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(PbLeaseKeepAliveRequest { id })) = requests.message().await {
                let kept = this.memory.keep_session(SessionId(id)).await;
                // etcd says a TTL of 0 for a lease that has ended; the adapter does not look at the number otherwise.
                let answer = kept.map(|kept| PbLeaseKeepAliveResponse { header: this.now(), id, ttl: i64::from(kept) });
                if sender.send(answer.map_err(|e| status(&e))).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn lease_time_to_live(&self, _: Request<PbLeaseTimeToLiveRequest>) -> Result<Response<PbLeaseTimeToLiveResponse>, Status> {
        Err(unused())
    }

    async fn lease_leases(&self, _: Request<PbLeaseLeasesRequest>) -> Result<Response<PbLeaseLeasesResponse>, Status> {
        Err(unused())
    }
}

#[tonic::async_trait]
impl PbMaintenanceService for Etcd {
    async fn alarm(&self, _: Request<PbAlarmRequest>) -> Result<Response<PbAlarmResponse>, Status> {
        Ok(Response::new(PbAlarmResponse { header: self.now(), alarms: Vec::new() }))
    }

    async fn status(&self, _: Request<PbStatusRequest>) -> Result<Response<PbStatusResponse>, Status> {
        let space = self.memory.space().await.map_err(|e| status(&e))?;
        let (version, db_size, db_size_in_use) = ("3.5.33".to_owned(), signed(space.file), signed(space.used));
        Ok(Response::new(PbStatusResponse {
            header: self.now(),
            version,
            db_size,
            db_size_in_use,
            leader: 1,
            ..PbStatusResponse::default()
        }))
    }

    async fn defragment(&self, _: Request<PbDefragmentRequest>) -> Result<Response<PbDefragmentResponse>, Status> {
        Err(unused())
    }

    async fn hash(&self, _: Request<PbHashRequest>) -> Result<Response<PbHashResponse>, Status> {
        Err(unused())
    }

    async fn hash_kv(&self, _: Request<PbHashKvRequest>) -> Result<Response<PbHashKvResponse>, Status> {
        Err(unused())
    }

    type SnapshotStream = Streamed<PbSnapshotResponse>;

    async fn snapshot(&self, _: Request<PbSnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(unused())
    }

    async fn move_leader(&self, _: Request<PbMoveLeaderRequest>) -> Result<Response<PbMoveLeaderResponse>, Status> {
        Err(unused())
    }

    async fn downgrade(&self, _: Request<PbDowngradeRequest>) -> Result<Response<PbDowngradeResponse>, Status> {
        Err(unused())
    }
}

fn unused() -> Status {
    Status::unimplemented("the simulated etcd does not do this")
}

fn compacted() -> Status {
    Status::out_of_range("etcdserver: mvcc: required revision has been compacted")
}

fn no_lease() -> Status {
    Status::not_found("etcdserver: requested lease not found")
}

fn status(error: &Error) -> Status {
    match error {
        Error::Invalid(text) if text.contains("under session") => no_lease(),
        Error::Invalid(text) => Status::invalid_argument(format!("etcdserver: {text}")),
        other => Status::new(Code::Unavailable, other.to_string()),
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn text(bytes: Vec<u8>) -> Result<String, Status> {
    String::from_utf8(bytes).map_err(|_| Status::invalid_argument("a key of the product is text"))
}

/// etcd's ends: none for one key, a single NUL for all keys from the first on.
fn end_of(from: &str, end: &[u8]) -> Result<Key, Status> {
    match end {
        [] => Ok(format!("{from}\0")),
        [0] => Ok(prefix_end("")),
        end => text(end.to_vec()),
    }
}

fn wire(pair: KeyValue, keys_only: bool) -> PbKeyValue {
    PbKeyValue {
        key: pair.key.into_bytes(),
        value: if keys_only { Vec::new() } else { pair.value.to_vec() },
        create_revision: signed(pair.created),
        mod_revision: signed(pair.modified),
        version: 1,
        lease: 0,
    }
}

fn found_pair(found: Option<KeyValue>) -> PbResponseOp {
    let kvs: Vec<_> = found.into_iter().map(|pair| wire(pair, false)).collect();
    let count = signed(kvs.len() as u64);
    PbResponseOp { response: Some(PbTxnOpResponse::ResponseRange(PbRangeResponse { header: None, kvs, more: false, count })) }
}

fn answer(op: &Op) -> PbResponseOp {
    let response = match op {
        Op::Put(..) => PbTxnOpResponse::ResponsePut(PbPutResponse::default()),
        Op::Delete(_) | Op::DeleteRange(..) => PbTxnOpResponse::ResponseDeleteRange(PbDeleteResponse::default()),
    };
    PbResponseOp { response: Some(response) }
}

fn required(op: PbTxnRequestOp) -> Result<PbTxnOpRequest, Status> {
    op.request.ok_or_else(|| Status::invalid_argument("an operation that is none"))
}

fn op(request: PbTxnOpRequest) -> Result<Op, Status> {
    match request {
        PbTxnOpRequest::RequestPut(put) => {
            let session = (put.lease != 0).then_some(SessionId(put.lease));
            Ok(Op::Put(text(put.key)?, put.value.into(), session))
        }
        PbTxnOpRequest::RequestDeleteRange(delete) if delete.range_end.is_empty() => Ok(Op::Delete(text(delete.key)?)),
        PbTxnOpRequest::RequestDeleteRange(delete) => {
            let from = text(delete.key)?;
            let to = end_of(&from, &delete.range_end)?;
            Ok(Op::DeleteRange(from, to))
        }
        PbTxnOpRequest::RequestRange(_) | PbTxnOpRequest::RequestTxn(_) => Err(unused()),
    }
}

fn key_of(op: PbTxnRequestOp) -> Result<Key, Status> {
    match required(op)? {
        PbTxnOpRequest::RequestRange(range) if range.range_end.is_empty() => text(range.key),
        _ => Err(unused()),
    }
}

fn guard(compare: PbCompare) -> Result<Guard, Status> {
    let key = text(compare.key)?;
    let Some(PbTargetUnion::CreateRevision(revision)) = compare.target_union else { return Err(unused()) };
    if compare.target != PbCompareTarget::Create as i32 {
        return Err(unused());
    }
    match (compare.result, revision) {
        (result, 0) if result == CompareOp::Equal as i32 => Ok(Guard::Absent(key)),
        (result, 0) if result == CompareOp::Greater as i32 => Ok(Guard::Exists(key)),
        (result, revision) if result == CompareOp::Equal as i32 => Ok(Guard::CreatedAt(key, u64::try_from(revision).unwrap_or(0))),
        _ => Err(unused()),
    }
}
