//! How gRPC is spoken: one place sets every timeout and bound, since the defaults are unlimited. The connector is injected, so
//! a simulated network runs the same code.

use std::sync::Arc;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

type Connect = dyn Fn(Endpoint) -> Channel + Send + Sync;

/// Opens channels to `host:port` addresses.
#[derive(Clone)]
pub struct Dialer {
    connect: Arc<Connect>,
}

/// An address that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address: write host:port, such as localhost:7070")]
pub struct BadAddress(pub String);

impl Dialer {
    /// Over TCP.
    pub fn tcp() -> Self {
        Self::new(|endpoint| endpoint.connect_lazy())
    }

    /// Over something else.
    pub fn new(connect: impl Fn(Endpoint) -> Channel + Send + Sync + 'static) -> Self {
        Self { connect: Arc::new(connect) }
    }

    /// A channel that connects when it is first used, and again after it broke.
    pub fn channel(&self, address: &str) -> Result<Channel, BadAddress> {
        let bad = || BadAddress(address.to_owned());
        let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
        if host.is_empty() || port.parse::<u16>().is_err() || host.contains('/') {
            return Err(bad());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| bad())?;
        let endpoint = endpoint
            .connect_timeout(Duration::from_secs(2))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true)
            .initial_stream_window_size(4 * 1024 * 1024)
            .initial_connection_window_size(8 * 1024 * 1024);
        Ok((self.connect)(endpoint))
    }
}
