//! One connection to each member, and which of them calls go to.
//!
//! Calls stay with one member until one has no answer; then the next call goes to the next member. tonic's own
//! balancing would send every n-th call to a member that is down. Nothing is repeated here. Tested by `tests/etcd.rs`
//! (a member that goes away) and in the simulation.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tonic::body::Body;
use tonic::codegen::http::{Request, Response, Uri};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tower::Service;

use super::failure::chain;
use super::{EtcdOptions, Tls};
use crate::port::Error;

/// HTTP/2 pings, where a call or a watch is open. etcd closes a connection that is pinged more often than every 5 s,
/// or at all while nothing is open on it.
const PING_EVERY: Duration = Duration::from_secs(6);
/// A connection whose ping has no answer for this long is given up.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes on the way of one stream and of one connection: a page of a read arrives without stops.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// The members, and the one that calls go to. A clone follows the same choice.
#[derive(Debug)]
pub(super) struct Route {
    members: Arc<[(String, Channel)]>,
    current: Arc<AtomicUsize>,
    /// The channel that said it is ready for the next call.
    ready: Option<Channel>,
}

impl Clone for Route {
    fn clone(&self) -> Self {
        Self { members: Arc::clone(&self.members), current: Arc::clone(&self.current), ready: None }
    }
}

impl Route {
    /// Channels to all endpoints; none is connected before its first call.
    pub(super) fn new(options: &EtcdOptions) -> Result<Self, Error> {
        if options.endpoints.is_empty() {
            return Err(Error::Invalid("no etcd endpoint is named: give host:port of at least one member".to_owned()));
        }
        let mut members = Vec::with_capacity(options.endpoints.len());
        for (place, name) in options.endpoints.iter().enumerate() {
            let channel = match options.channels.get(place) {
                Some(channel) => channel.clone(),
                None => endpoint(name, options)?.connect_lazy(),
            };
            members.push((name.clone(), channel));
        }
        Ok(Self { members: members.into(), current: Arc::default(), ready: None })
    }

    pub(super) fn members(&self) -> usize {
        self.members.len()
    }

    pub(super) fn channel(&self, member: usize) -> Channel {
        self.members[member].1.clone()
    }

    pub(super) fn name(&self, member: usize) -> &str {
        &self.members[member].0
    }

    /// All endpoints, as in messages.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.members.iter().map(|(name, _)| name.as_str()).collect();
        names.join(",")
    }

    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    pub(super) fn start_at(&self, member: usize) {
        self.current.store(member, Ordering::Relaxed);
    }

    /// Later calls go to the member after this one, if they still went to this one.
    pub(super) fn leave(&self, member: usize) {
        let next = (member + 1) % self.members.len();
        let _ = self.current.compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Service<Request<Body>> for Route {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = <Channel as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let current = self.channel(self.current());
        self.ready.get_or_insert(current).poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut channel = self.ready.take().unwrap_or_else(|| self.channel(self.current()));
        channel.call(request)
    }
}

fn endpoint(name: &str, options: &EtcdOptions) -> Result<Endpoint, Error> {
    let is_not = |why: &str| Error::Invalid(format!("the etcd endpoint `{name}` {why}"));
    let address = match (name.split_once("://"), &options.tls) {
        (None, None) => format!("http://{name}"),
        (None, Some(_)) => format!("https://{name}"),
        (Some(("http", _)), None) | (Some(("https", _)), Some(_)) => name.to_owned(),
        (Some(("http", _)), Some(_)) => return Err(is_not("is plain http, but TLS options are given: write https://")),
        (Some(("https", _)), None) => return Err(is_not("is https: name the file of the authority that signed its certificate")),
        (Some(_), _) => return Err(is_not("is none: expected host:port, http://host:port or https://host:port")),
    };
    let uri: Uri = address.parse().map_err(|error| is_not(&format!("is none ({error}): expected host:port")))?;
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(is_not("holds a user: give user and password apart"));
    }
    if uri.port_u16().is_none() {
        return Err(is_not("has no port: expected host:port, such as etcd-1:2379"));
    }
    let endpoint = Endpoint::from(uri)
        .connect_timeout(options.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(false)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let Some(Tls { ca, identity, domain }) = &options.tls else { return Ok(endpoint) };
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
    if let Some((certificate, key)) = identity {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    if let Some(domain) = domain {
        tls = tls.domain_name(domain);
    }
    endpoint.tls_config(tls).map_err(|error| {
        Error::Invalid(format!("the TLS files for etcd cannot be used: {}; expected PEM", chain(&error.to_string(), error.source())))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_endpoint_that_cannot_work_is_refused_by_name() {
        let tls = Tls { ca: String::new(), identity: None, domain: None };
        for (name, tls, expected) in [
            ("h1", None, "has no port"),
            ("h1:port", None, "has no port"),
            ("ftp://h1:2379", None, "is none"),
            ("http://root:secret@h1:2379", None, "holds a user"),
            ("https://h1:2379", None, "is https"),
            ("http://h1:2379", Some(tls), "is plain http"),
        ] {
            let options = EtcdOptions { endpoints: vec![name.to_owned()], tls, ..EtcdOptions::default() };
            match Route::new(&options) {
                Err(Error::Invalid(text)) => assert!(text.contains(expected) && text.contains(name), "{text}"),
                other => assert!(other.is_err(), "{name} was taken"),
            }
        }
    }

    #[tokio::test]
    async fn one_lost_answer_moves_on_by_one_member_however_many_calls_saw_it() {
        let endpoints = ["a:1", "b:1", "c:1"].map(str::to_owned).to_vec();
        let route = Route::new(&EtcdOptions { endpoints, ..EtcdOptions::default() }).unwrap();
        route.leave(0);
        route.clone().leave(0);
        assert_eq!(route.name(route.current()), "b:1");
        route.leave(1);
        route.leave(2);
        assert_eq!(route.current(), 0);
    }
}
