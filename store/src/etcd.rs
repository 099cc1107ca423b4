//! The store in etcd: the port, call by call, over etcd's own gRPC interface.
//!
//! Every call has its deadline. None is repeated, except once with a new token where etcd refused the old one: such a
//! call was not done. A call without an answer only makes the *next* one go to the next endpoint (`channel`). Pages of
//! a long read are in `read`, errors in `failure`. Not here: what keys mean, defragmenting and disarming alarms.
//! Tested by the conformance suite and `tests/etcd.rs` against real servers, and in the simulation.

mod channel;
mod failure;
mod read;
mod watch;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{Compare, CompareOp, DeleteOptions, KvClient, PutOptions, TxnOp, TxnOpResponse};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use self::channel::Route;
use crate::apply;
use crate::memory::whole_seconds;
use crate::port::{Error, Guard, KeyValue, Op, Outcome, Range, SessionId, Space, Store, Txn, Wakes};

/// How etcd is reached.
#[derive(Clone)]
pub struct EtcdOptions {
    /// `host:port` of each member, or `http://` or `https://` before it.
    pub endpoints: Vec<String>,
    /// User and password.
    pub user: Option<(String, String)>,
    /// TLS; without it the connections are plain.
    pub tls: Option<Tls>,
    /// How long a call waits for its answer.
    pub request_timeout: Duration,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// etcd's `--quota-backend-bytes`, which etcd before 3.6 does not tell; 0 where it is not known.
    pub quota: u64,
    /// Channels made elsewhere, one for each endpoint, which then only names it: for the simulation. Empty otherwise.
    pub channels: Vec<tonic::transport::Channel>,
}

impl Default for EtcdOptions {
    fn default() -> Self {
        Self {
            endpoints: vec!["127.0.0.1:2379".to_owned()],
            user: None,
            tls: None,
            request_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(2),
            quota: 0,
            channels: Vec::new(),
        }
    }
}

impl std::fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = self.user.as_ref().map(|(user, _)| user);
        f.debug_struct("EtcdOptions").field("endpoints", &self.endpoints).field("user", &user).finish_non_exhaustive()
    }
}

/// TLS to etcd. All texts are PEM.
#[derive(Clone)]
pub struct Tls {
    /// The authorities that may have signed the members' certificates.
    pub ca: String,
    /// This client's certificate chain and key, where etcd asks for one.
    pub identity: Option<(String, String)>,
    /// The name the members' certificates bear, where it is not the endpoint's host.
    pub domain: Option<String>,
}

/// A message may be so large (bytes): a page of a read, or one revision's events.
const DECODE_LIMIT: usize = 32 * 1024 * 1024;
/// Any key: read at start to learn whether etcd answers at all and who it thinks we are.
const PROBE: &str = "penstock";

/// A store in etcd.
pub struct Etcd {
    client: etcd_client::Client,
    kv: KvClient,
    route: Route,
    deadline: Duration,
    quota: u64,
    has_user: bool,
    /// How often the token was renewed: of many calls whose token was refused, one renews it.
    renewals: AtomicU64,
    renewing: tokio::sync::Mutex<()>,
    version: String,
}

impl std::fmt::Debug for Etcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Etcd").field(&self.describe()).finish()
    }
}

impl Etcd {
    /// Connects to the member that answers first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none does within `connect_timeout` and `request_timeout`, [`Error::Denied`] for a
    /// user, password or certificate, [`Error::Invalid`] for options that cannot work. Each is one line.
    pub async fn connect(options: EtcdOptions) -> Result<Self, Error> {
        let route = Route::new(&options)?;
        let found = tokio::time::timeout(options.connect_timeout + options.request_timeout, first(&route, &options));
        let Ok(found) = found.await else {
            let seconds = (options.connect_timeout + options.request_timeout).as_secs_f64();
            return Err(Error::Unavailable(format!(
                "no etcd answers at {} within {seconds} s; is it running, and reachable from here?",
                options.endpoints.join(",")
            )));
        };
        let (member, version) = found?;
        route.start_at(member);
        if let Some(fixed) = failure::older_than(&version) {
            tracing::warn!("etcd {version} has known faults in leases and reads that can be stale; {fixed} and later have them fixed");
        }
        let service = etcd_client::Channel::Custom(BoxCloneSyncService::new(route.clone().map_err(tower::BoxError::from)));
        let client = tokio::time::timeout(options.request_timeout, open(service, &options)).await;
        let client = client
            .map_err(|_| Error::Unavailable(format!("etcd at {} does not answer any more", route.name(member))))?
            .map_err(|error| failure::from_etcd(route.name(member), &error))?;
        Ok(Self {
            kv: client.kv_client().max_decoding_message_size(DECODE_LIMIT),
            client,
            route,
            deadline: options.request_timeout,
            quota: options.quota,
            has_user: options.user.is_some(),
            renewals: AtomicU64::new(0),
            renewing: tokio::sync::Mutex::new(()),
            version,
        })
    }

    /// One call: with a deadline, and a second time only where the token was refused.
    async fn call<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.call_within(self.deadline, attempt).await
    }

    async fn call_within<T, F>(&self, deadline: Duration, attempt: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let member = self.route.current();
        let renewals = self.renewals.load(Ordering::Acquire);
        let done = tokio::time::timeout(deadline, async {
            match attempt().await {
                Err(error) if self.has_user && failure::is_token_refused(&error) => {
                    self.renew(renewals).await?;
                    attempt().await
                }
                done => done,
            }
        });
        let name = self.route.name(member);
        let done = match done.await {
            Ok(done) => done.map_err(|error| failure::from_etcd(name, &error)),
            Err(_) => Err(Error::Unavailable(format!("etcd at {name} did not answer within {} s", deadline.as_secs_f64()))),
        };
        if let Err(Error::Unavailable(_)) = done {
            self.route.leave(member);
        }
        done
    }

    async fn renew(&self, seen: u64) -> Result<(), etcd_client::Error> {
        let _turn = self.renewing.lock().await;
        if self.renewals.load(Ordering::Acquire) == seen {
            self.client.refresh_token().await?;
            self.renewals.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }
}

/// The member that answers first, and its version. A refusal ends the search: the others would say the same.
async fn first(route: &Route, options: &EtcdOptions) -> Result<(usize, String), Error> {
    let mut asked: FuturesUnordered<_> = (0..route.members()).map(|member| ask(route, member, options)).collect();
    let mut reasons = Vec::new();
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(found) => return Ok(found),
            Err(Error::Unavailable(reason)) => reasons.push(reason),
            Err(error) => return Err(error),
        }
    }
    let reasons = reasons.join("; ");
    let advice = match &options.tls {
        None if failure::broke_at_once(&reasons) => "is it etcd, and does it want TLS?",
        Some(_) if reasons.contains("tls handshake") => "is it etcd, and does it speak TLS there?",
        Some(_) if failure::broke_at_once(&reasons) => "is it etcd, and does it take this client's certificate?",
        _ => "is etcd running, and reachable from here?",
    };
    Err(Error::Unavailable(format!("{reasons}; {advice}")))
}

async fn ask(route: &Route, member: usize, options: &EtcdOptions) -> Result<(usize, String), Error> {
    let says = |error| failure::from_etcd(route.name(member), &error);
    let mut client = open(etcd_client::Channel::Tonic(route.channel(member)), options).await.map_err(says)?;
    match client.get(PROBE, None).await {
        Ok(_) => {}
        // Fine: a user's rights may end at its own prefix.
        Err(error) if failure::is_permission_denied(&error) => {}
        Err(error) => return Err(says(error)),
    }
    let status = client.status().await.map_err(says)?;
    Ok((member, status.version().to_owned()))
}

async fn open(channel: etcd_client::Channel, options: &EtcdOptions) -> Result<etcd_client::Client, etcd_client::Error> {
    let mut connect = etcd_client::ConnectOptions::new().with_require_leader(true);
    if let Some((user, password)) = &options.user {
        connect = connect.with_user(user, password);
    }
    etcd_client::Client::from_channel(channel, Some(connect)).await
}

#[async_trait]
impl Store for Etcd {
    async fn range(&self, range: Range) -> Result<Vec<KeyValue>, Error> {
        read::range(self, &range).await
    }

    /// Waits half as long as other calls: whoever had no answer can ask again, another member too, while its session lives.
    async fn txn(&self, txn: Txn) -> Result<Outcome, Error> {
        apply::check(&txn)?;
        let request = request(&txn);
        let reply = self.call_within(self.deadline / 2, || {
            let (mut kv, request) = (self.kv.clone(), request.clone());
            async move { kv.txn(request).await }
        });
        let reply = reply.await?;
        if reply.succeeded() {
            return Ok(Outcome::Committed(reply.header().map_or(0, |header| read::unsigned(header.revision()))));
        }
        let read = reply.op_responses().into_iter().map(|response| match response {
            TxnOpResponse::Get(mut found) => found.take_kvs().into_iter().next().map(read::pair).transpose(),
            _ => Err(Error::Damaged("etcd answered a read with something else".to_owned())),
        });
        Ok(Outcome::Refused(read.collect::<Result<_, _>>()?))
    }

    async fn watch(&self, prefix: &str) -> Result<Box<dyn Wakes>, Error> {
        Ok(Box::new(watch::open(self, prefix).await?))
    }

    async fn open_session(&self, ttl: Duration) -> Result<SessionId, Error> {
        let seconds = i64::try_from(whole_seconds(ttl).as_secs()).unwrap_or(i64::MAX);
        let lease = self.call(|| {
            let mut client = self.client.lease_client();
            async move { client.grant(seconds, None).await }
        });
        Ok(SessionId(lease.await?.id()))
    }

    /// Waits half as long as other calls: there is time for another member before the session ends.
    async fn keep_session(&self, session: SessionId) -> Result<bool, Error> {
        self.call_within(self.deadline / 2, || {
            let mut client = self.client.lease_client();
            async move {
                match client.keep_alive(session.0).await {
                    Ok(_) => Ok(true),
                    Err(error) if failure::is_lease_gone(&error) => Ok(false),
                    Err(error) => Err(error),
                }
            }
        })
        .await
    }

    async fn close_session(&self, session: SessionId) -> Result<(), Error> {
        self.call(|| {
            let mut client = self.client.lease_client();
            async move {
                match client.revoke(session.0).await {
                    Err(error) if !failure::is_lease_gone(&error) => Err(error),
                    _ => Ok(()),
                }
            }
        })
        .await
    }

    async fn space(&self) -> Result<Space, Error> {
        let status = self.call(|| {
            let mut client = self.client.maintenance_client();
            async move { client.status().await }
        });
        let status = status.await?;
        let quota = if self.quota == 0 { read::unsigned(status.db_size_quota()) } else { self.quota };
        let full = status.errors().iter().any(|error| error.contains("NOSPACE"));
        Ok(Space { file: read::unsigned(status.db_size()), used: read::unsigned(status.raft_used_db_size()), quota, full })
    }

    async fn compact(&self, revision: u64) -> Result<(), Error> {
        let Ok(revision @ 1..) = i64::try_from(revision) else { return Ok(()) };
        self.call(|| {
            let mut kv = self.kv.clone();
            async move {
                match kv.compact(revision, None).await {
                    Err(error) if !failure::is_compacted(&error) => Err(error),
                    _ => Ok(()),
                }
            }
        })
        .await
    }

    fn describe(&self) -> String {
        format!("etcd {} at {}", self.version, self.route.names())
    }
}

/// The transaction in etcd's terms.
fn request(txn: &Txn) -> etcd_client::Txn {
    let guards: Vec<_> = txn
        .guards
        .iter()
        .map(|guard| match guard {
            Guard::CreatedAt(key, revision) => Compare::create_revision(key.as_str(), CompareOp::Equal, read::signed(*revision)),
            Guard::Exists(key) => Compare::create_revision(key.as_str(), CompareOp::Greater, 0),
            Guard::Absent(key) => Compare::create_revision(key.as_str(), CompareOp::Equal, 0),
        })
        .collect();
    let then: Vec<_> = txn
        .then
        .iter()
        .filter_map(|op| match op {
            Op::Put(key, value, session) => {
                let options = session.map(|session| PutOptions::new().with_lease(session.0));
                Some(TxnOp::put(key.as_str(), value.as_ref(), options))
            }
            Op::Delete(key) => Some(TxnOp::delete(key.as_str(), None)),
            // etcd takes an empty end for "this key only".
            Op::DeleteRange(from, to) if from < to => {
                Some(TxnOp::delete(from.as_str(), Some(DeleteOptions::new().with_range(to.as_str()))))
            }
            Op::DeleteRange(..) => None,
        })
        .collect();
    let otherwise: Vec<_> = txn.otherwise.iter().map(|key| TxnOp::get(key.as_str(), None)).collect();
    etcd_client::Txn::new().when(guards).and_then(then).or_else(otherwise)
}
