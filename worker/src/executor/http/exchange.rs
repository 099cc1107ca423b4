//! One request over its own connection, with what redirects lead to. HTTP/1.1 by hyper; no pool, no cookies, no proxy.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION,
};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use url::Url;

use super::{address, target};
use crate::executor::{chain, tls};

/// Redirects followed.
const MAX_REDIRECTS: usize = 10;
/// For one address to answer, and for TLS to be agreed on.
const CONNECT_FOR: Duration = Duration::from_secs(10);
/// What is read of an answer, kept or not.
const MAX_READ_BYTES: usize = 16 * 1024 * 1024;

/// What is sent.
pub(super) struct Message {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// Those whose values are secrets.
    pub(super) secrets: Vec<HeaderName>,
    pub(super) body: Bytes,
}

/// What came back.
pub(in crate::executor) struct Answer {
    /// Whose it is, after redirects.
    pub(in crate::executor) url: Url,
    pub(in crate::executor) status: StatusCode,
    pub(in crate::executor) content_type: String,
    /// The first bytes.
    pub(in crate::executor) body: Vec<u8>,
    /// How many bytes there were; at least so many, if the answer was longer than what is read of one.
    pub(in crate::executor) bytes: usize,
}

/// Why there is no answer.
pub(super) enum Failure {
    /// This worker does not do that: trying again changes nothing.
    Refused(String),
    /// It may go better another time.
    Network(String),
}

impl Message {
    /// Sends it, follows redirects unless `is_answer` wants their status, and keeps at most `keep` bytes of the body.
    pub(super) async fn send(mut self, allow_private: bool, keep: usize, is_answer: impl Fn(u16) -> bool) -> Result<Answer, Failure> {
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.send_once(allow_private, keep).await?;
            let (answer, location) = answer;
            match location {
                Some(location) if answer.status.is_redirection() && !is_answer(answer.status.as_u16()) => {
                    self.redirect(answer.status, &location)?;
                }
                _ => return Ok(answer),
            }
        }
        Err(Failure::Network(format!("more than {MAX_REDIRECTS} redirects, the last to {}", self.url)))
    }

    /// Turns this into the request that a redirect asks for.
    fn redirect(&mut self, status: StatusCode, location: &str) -> Result<(), Failure> {
        let refused = |why| Failure::Refused(format!("{} redirects to a place that cannot be followed: {why}", self.url));
        let next = self.url.join(location).map_err(|error| refused(error.to_string()))?;
        target::check(&next).map_err(refused)?;
        if next.origin() != self.url.origin() {
            for name in self.secrets.iter().chain(&[AUTHORIZATION, COOKIE, HOST]) {
                self.headers.remove(name);
            }
        }
        let becomes_get = match status {
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = Bytes::new();
            for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LENGTH] {
                self.headers.remove(name);
            }
        }
        self.url = next;
        Ok(())
    }

    /// The answer, and where it redirects to.
    async fn send_once(&self, allow_private: bool, keep: usize) -> Result<(Answer, Option<String>), Failure> {
        let network = |what: &str, error: &dyn std::error::Error| Failure::Network(format!("{what} {}: {}", self.url, chain(error)));
        let io = connect(&self.url, allow_private).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(io))
            .await
            .map_err(|error| network("cannot speak HTTP to", &error))?;
        let exchange = async {
            let response = sender.send_request(self.request()?).await.map_err(|error| network("no answer from", &error))?;
            let (head, mut incoming) = response.into_parts();
            let text = |name| head.headers.get(name).map(|value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned());
            let (mut body, mut bytes) = (Vec::new(), 0);
            while let Some(frame) = incoming.frame().await {
                let frame = frame.map_err(|error| network("the answer breaks off, from", &error))?;
                let Some(data) = frame.data_ref() else { continue };
                bytes += data.len();
                body.extend_from_slice(&data[..data.len().min(keep.saturating_sub(body.len()))]);
                if bytes > MAX_READ_BYTES {
                    break;
                }
            }
            let content_type = text(CONTENT_TYPE).unwrap_or_default();
            Ok((Answer { url: self.url.clone(), status: head.status, content_type, body, bytes }, text(LOCATION)))
        };
        // Both in this task, so that whoever drops this future closes the connection.
        let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                done = &mut exchange => return done,
                // How it ended, the exchange hears too.
                _ = &mut connection, if open => open = false,
            }
        }
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, Failure> {
        let path = &self.url[url::Position::BeforePath..url::Position::AfterQuery];
        let mut request = Request::builder().method(&self.method).uri(path);
        let host = &self.url[url::Position::BeforeHost..url::Position::AfterPort];
        if let Some(headers) = request.headers_mut() {
            headers.clone_from(&self.headers);
            if let (false, Ok(host)) = (headers.contains_key(HOST), HeaderValue::from_str(host)) {
                headers.insert(HOST, host);
            }
        }
        request.body(Full::new(self.body.clone())).map_err(|error| Failure::Refused(format!("{} cannot be requested: {error}", self.url)))
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Connects to an address of the host that may be connected to.
async fn connect(url: &Url, allow_private: bool) -> Result<Box<dyn Io>, Failure> {
    let port = url.port_or_known_default().unwrap_or(80);
    let addresses: Vec<SocketAddr> = match url.host() {
        Some(url::Host::Ipv4(ip)) => vec![(IpAddr::V4(ip), port).into()],
        Some(url::Host::Ipv6(ip)) => vec![(IpAddr::V6(ip), port).into()],
        Some(url::Host::Domain(name)) => {
            let found = lookup_host((name, port)).await;
            found.map_err(|error| Failure::Network(format!("the host {name:?} cannot be resolved: {error}")))?.collect()
        }
        None => Vec::new(),
    };
    let (allowed, refused): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| allow_private || address::is_public(a.ip()));
    let mut last = None;
    for address in allowed {
        match timeout(CONNECT_FOR, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return secured(url, stream).await,
            Ok(Err(error)) => last = Some(format!("cannot connect to {address}: {error}")),
            Err(_) => last = Some(format!("cannot connect to {address}: no answer within {} s", CONNECT_FOR.as_secs())),
        }
    }
    let host = url.host_str().unwrap_or_default();
    match (last, refused.first()) {
        (Some(why), _) => Err(Failure::Network(format!("{why} ({host})"))),
        (None, Some(address)) => Err(Failure::Refused(format!(
            "{host} has the address {}, which is not of the public internet (private, loopback, link-local or special): a worker connects \
             to these only if it is started with --http-allow-private",
            address.ip()
        ))),
        (None, None) => Err(Failure::Network(format!("the host {host:?} has no address"))),
    }
}

async fn secured(url: &Url, stream: TcpStream) -> Result<Box<dyn Io>, Failure> {
    // A peer that vanished is noticed after two minutes, however long an answer may take.
    let _ = sockopt::set_socket_keepalive(&stream, true);
    let _ = sockopt::set_tcp_keepidle(&stream, Duration::from_secs(60));
    let _ = sockopt::set_tcp_keepintvl(&stream, Duration::from_secs(15));
    let _ = sockopt::set_tcp_keepcnt(&stream, 4);
    let _ = stream.set_nodelay(true);
    if url.scheme() != "https" {
        return Ok(Box::new(stream));
    }
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(|error| Failure::Refused(format!("{host:?} is no name for TLS: {error}")))?;
    let config = tls::config().await.map_err(Failure::Network)?;
    let failed = |why: &dyn std::fmt::Display| Failure::Network(format!("TLS with {host} failed: {why}"));
    match timeout(CONNECT_FOR, TlsConnector::from(config).connect(name, stream)).await {
        Ok(secured) => Ok(Box::new(secured.map_err(|error| failed(&error))?)),
        Err(_) => Err(failed(&format!("no answer within {} s", CONNECT_FOR.as_secs()))),
    }
}
