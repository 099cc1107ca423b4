//! HTTP for object stores, over the stack that is here already: hyper, and rustls with ring. A connection for each request: a list is
//! a few requests every some seconds.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// For an answer to begin.
const ANSWER_FOR: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(*self))
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        match tokio::time::timeout(ANSWER_FOR, exchange(request)).await {
            Ok(answer) => answer,
            Err(late) => Err(HttpError::new(HttpErrorKind::Timeout, late)),
        }
    }
}

async fn exchange(mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
    let uri = request.uri().clone();
    let host = uri.host().unwrap_or_default().to_owned();
    let is_tls = uri.scheme_str() == Some("https");
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let value = authority.parse().map_err(|error| HttpError::new(HttpErrorKind::Request, hyper_error(error)))?;
    request.headers_mut().entry("host").or_insert(value);
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = target.parse().map_err(|error| HttpError::new(HttpErrorKind::Request, hyper_error(error)))?;

    let failed = |error: std::io::Error| HttpError::new(HttpErrorKind::Connect, error);
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let stream = TcpStream::connect((bare.as_str(), port)).await.map_err(failed)?;
    if !is_tls {
        return send(stream, request).await;
    }
    let name = ServerName::try_from(bare).map_err(|error| HttpError::new(HttpErrorKind::Connect, error))?;
    let config = config().await.map_err(|why| failed(std::io::Error::other(why)))?;
    send(TlsConnector::from(config).connect(name, stream).await.map_err(failed)?, request).await
}

fn hyper_error(error: impl std::fmt::Display) -> std::io::Error {
    std::io::Error::other(error.to_string())
}

async fn send(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, request: HttpRequest) -> Result<HttpResponse, HttpError> {
    let failed = |error: hyper::Error| HttpError::new(HttpErrorKind::Request, error);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await.map_err(failed)?;
    // It ends when the answer's body was read or dropped; how, the body tells.
    tokio::spawn(async move { drop(connection.await) });
    let (head, body) = sender.send_request(request).await.map_err(failed)?.into_parts();
    let body = body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error));
    Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body)))
}

/// TLS with the certificate authorities of the machine, or of `SSL_CERT_FILE`; read once.
async fn config() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return config.clone();
    }
    // It reads some hundred files or a large one.
    tokio::task::spawn_blocking(|| CONFIG.get_or_init(read).clone()).await.unwrap_or_else(|error| Err(error.to_string()))
}

fn read() -> Result<Arc<ClientConfig>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(
            "there are no certificate authorities here: install the package ca-certificates, or name a file in SSL_CERT_FILE".to_owned()
        );
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
