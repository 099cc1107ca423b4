//! TLS as every outgoing connection uses it: rustls with ring, which the rest of Penstock uses already, and the certificate
//! authorities of the machine (or of `SSL_CERT_FILE`). Certificates are always verified.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::spawn_blocking;
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The configuration, read once in the life of the worker.
pub(super) async fn config() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return config.clone();
    }
    // It reads some hundred files or a large one.
    spawn_blocking(|| CONFIG.get_or_init(read).clone()).await.unwrap_or_else(|error| Err(error.to_string()))
}

fn read() -> Result<Arc<ClientConfig>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        return Err(format!(
            "there are no certificate authorities on this worker{why}: install the package ca-certificates, or name a file of them in SSL_CERT_FILE"
        ));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// TLS for a connection to PostgreSQL; without a configuration, none.
#[derive(Clone)]
pub(super) struct ForPostgres(pub(super) Option<Arc<ClientConfig>>);

/// The same for one host.
pub(super) struct ForHost(Option<(Arc<ClientConfig>, ServerName<'static>)>);

/// A stream of it.
pub(super) struct Secured(TlsStream<Socket>);

impl MakeTlsConnect<Socket> for ForPostgres {
    type Stream = Secured;
    type TlsConnect = ForHost;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<ForHost> {
        let Some(config) = &self.0 else { return Ok(ForHost(None)) };
        let host = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(ForHost(Some((config.clone(), host))))
    }
}

impl TlsConnect<Socket> for ForHost {
    type Stream = Secured;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Secured>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        Box::pin(async move {
            // With sslmode=disable nobody asks.
            let (config, host) = self.0.ok_or(io::ErrorKind::Unsupported)?;
            Ok(Secured(TlsConnector::from(config).connect(host, stream).await?))
        })
    }
}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl tokio_postgres::tls::TlsStream for Secured {
    /// The password is not bound to the certificate, which is verified.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}
