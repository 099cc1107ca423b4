//! What observes: logs on stderr by tracing, spans by OpenTelemetry where an OTLP endpoint is set.
//!
//! The span layer is filtered to Penstock's own crates: the transport's spans would drown them.

use std::io::IsTerminal as _;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::prelude::*;

/// What is to be observed.
#[derive(Debug, Clone)]
pub struct Config {
    /// The service's name in traces, such as `penstock-worker`.
    pub service: String,
    /// Which log lines: `tracing`'s filter syntax, such as `info` or `penstock_coordinator=debug`.
    pub filter: String,
    /// OTLP over gRPC, such as `http://collector:4317`; `None`: no spans leave.
    pub otlp: Option<String>,
}

/// Why observing could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a filter.
    #[error("{filter:?} is not a log filter (write info, debug, or target=level,…): {why}")]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong.
        why: String,
    },
    /// Not an endpoint.
    #[error("{endpoint:?} is not an OTLP endpoint (write http://host:4317): {why}")]
    Endpoint {
        /// As given.
        endpoint: String,
        /// What is wrong.
        why: String,
    },
}

/// Ends with the process: spans that wait are sent when it is shut down.
#[derive(Debug, Default)]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

impl Guard {
    /// Sends what waits. Blocks for a moment at most; call it off the async runtime.
    pub fn shutdown(self) {
        if let Some(provider) = self.provider {
            drop(provider.shutdown_with_timeout(std::time::Duration::from_secs(2)));
        }
    }
}

/// Starts observing. Call once a process, inside a tokio runtime.
pub fn start(config: Config) -> Result<Guard, Error> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|e| Error::Filter { filter: config.filter.clone(), why: e.to_string() })?;
    let logs = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_filter(filter);
    let Some(endpoint) = config.otlp else {
        drop(tracing_subscriber::registry().with(logs).try_init());
        return Ok(Guard::default());
    };
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&endpoint)
        .build()
        .map_err(|e| Error::Endpoint { endpoint, why: e.to_string() })?;
    let resource = Resource::builder().with_service_name(config.service).build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("penstock"))
        .with_filter(filter_fn(|meta| meta.is_span() && meta.target().starts_with("penstock")));
    drop(tracing_subscriber::registry().with(logs).with(spans).try_init());
    Ok(Guard { provider: Some(provider) })
}

/// Makes a span the child of a W3C `traceparent`; what is none is ignored.
pub fn continue_trace(span: &tracing::Span, traceparent: &str) {
    let Some(context) = parse(traceparent) else { return };
    drop(span.set_parent(opentelemetry::Context::new().with_remote_span_context(context)));
}

fn parse(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let (_version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_and_what_is_none_is_ignored() {
        let context = parse("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01");
        assert_eq!(context.map(|c| c.trace_id().to_string()).as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
        for bad in ["", "00", "00-zz-00-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
