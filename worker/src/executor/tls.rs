//! TLS as every outgoing connection uses it: rustls with ring, which the rest of Penstock uses already, and the certificate
//! authorities of the machine (or of `SSL_CERT_FILE`). Certificates are always verified.

use std::sync::{Arc, OnceLock};

use tokio::task::spawn_blocking;
use tokio_rustls::rustls::crypto::ring::default_provider;
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
