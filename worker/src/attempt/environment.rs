//! The environment of a program: what it inherits from the worker, and what Penstock tells it.
//!
//! Later ones win: inherited, the document's `env`, Penstock's own `PENSTOCK_…`. That the last cannot be overridden is
//! what makes a fence in the environment worth something.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use penstock_common::lease::Lease;

/// What a program inherits of the worker's environment: all of it, so `PATH`, `HOME`, `LANG`, `TZ`, `TMPDIR`, proxies and
/// credentials of the image, but for
///
/// - `PENSTOCK_…`: the worker's configuration, with its tokens, and the attempt above it if the worker is itself one;
/// - `OTEL_EXPORTER_…HEADERS`, which hold the credentials of Penstock's traces, and `OTEL_SERVICE_NAME`, which names Penstock;
/// - `TRACEPARENT`, `TRACESTATE`, `BAGGAGE`: an attempt has its own trace context;
/// - what a service manager tells its service: `NOTIFY_SOCKET`, `WATCHDOG_…`, `LISTEN_…`, `INVOCATION_ID`, `JOURNAL_STREAM`,
///   `CREDENTIALS_DIRECTORY`;
/// - `PWD`, `OLDPWD`, `SHLVL` and `_`, which would be wrong in the program's working directory.
pub fn inherited(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    vars.into_iter().filter(|(name, _)| !is_withheld(name.as_bytes())).collect()
}

fn is_withheld(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 12] = [
        b"OTEL_SERVICE_NAME",
        b"TRACEPARENT",
        b"TRACESTATE",
        b"BAGGAGE",
        b"NOTIFY_SOCKET",
        b"INVOCATION_ID",
        b"JOURNAL_STREAM",
        b"CREDENTIALS_DIRECTORY",
        b"PWD",
        b"OLDPWD",
        b"SHLVL",
        b"_",
    ];
    const PREFIXES: [&[u8]; 3] = [b"PENSTOCK_", b"WATCHDOG_", b"LISTEN_"];
    NAMES.contains(&name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || (name.starts_with(b"OTEL_EXPORTER_") && name.ends_with(b"HEADERS"))
}

/// The name under which an attempt's processes carry its fence: how orphans are recognised.
pub(crate) const FENCE: &str = "PENSTOCK_FENCE";

/// The variables Penstock sets for an attempt. `output` and `items` are absolute paths, as the program sees them.
pub(crate) fn told(
    lease: &Lease,
    params: &serde_json::Map<String, serde_json::Value>,
    output: &Path,
    items: &Path,
) -> BTreeMap<String, String> {
    let mut vars: BTreeMap<String, String> = [
        ("PENSTOCK_RUN_ID", lease.run.to_string()),
        ("PENSTOCK_PIPELINE", lease.pipeline.to_string()),
        ("PENSTOCK_TASK_ID", lease.task.task.to_string()),
        ("PENSTOCK_ATTEMPT", lease.number.to_string()),
        (FENCE, lease.fence.to_string()),
        ("PENSTOCK_IDEMPOTENCY_KEY", lease.idempotency_key()),
        ("PENSTOCK_PARAMS", lease.params.to_string()),
        ("PENSTOCK_OUTPUT", output.to_string_lossy().into_owned()),
        ("PENSTOCK_ITEMS", items.to_string_lossy().into_owned()),
        ("TRACEPARENT", lease.traceparent.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if lease.traceparent.is_empty() {
        vars.remove("TRACEPARENT");
    }
    if let Some(interval) = &lease.interval {
        vars.insert("PENSTOCK_INTERVAL_START".into(), interval.start().to_string());
        vars.insert("PENSTOCK_INTERVAL_END".into(), interval.end().to_string());
        vars.insert("PENSTOCK_INTERVAL_DATE".into(), interval.date(&lease.zone));
    }
    if let Some(item) = &lease.item {
        vars.insert("PENSTOCK_ITEM".into(), item.to_string());
    }
    if let Some(instance) = lease.instance {
        vars.insert("PENSTOCK_ITEM_INDEX".into(), instance.to_string());
    }
    for (name, value) in params {
        // A string as it is, anything else as JSON.
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        vars.insert(format!("PENSTOCK_PARAM_{}", name.to_ascii_uppercase()), text);
    }
    vars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_inherits_what_is_not_penstocks_own() {
        let vars = ["PATH", "HOME", "OTEL_EXPORTER_OTLP_ENDPOINT", "PENSTOCK_TOKEN", "PENSTOCK__WORKER__TOKEN", "PWD"]
            .into_iter()
            .chain(["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "LISTEN_FDS", "TRACEPARENT", "PENSTOCKX"])
            .map(|name| (OsString::from(name), OsString::from("x")));
        let names: Vec<_> = inherited(vars).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["PATH", "HOME", "OTEL_EXPORTER_OTLP_ENDPOINT", "PENSTOCKX"]);
    }
}
