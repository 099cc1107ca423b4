//! What etcd and the way to it can answer, as the port's errors.
//!
//! etcd tells its errors apart by text more than by code; the texts are those of `api/v3rpc/rpctypes/error.go`, the
//! same from 3.4 to 3.7. Tested below on their texts, and by `tests/etcd.rs` on real servers.

use std::error::Error as _;

use etcd_client::Error as EtcdError;
use tonic::{Code, Status};

use crate::port::Error;

/// The port's error for one of the client's; `name` is the endpoint.
pub(super) fn from_etcd(name: &str, error: &EtcdError) -> Error {
    match error {
        EtcdError::GRpcStatus(status) => from_status(name, status),
        EtcdError::TransportError(error) => from_transport(name, &chain(&error.to_string(), error.source())),
        EtcdError::WatchError(text) if text.contains("permission denied") => Error::Denied(text.clone()),
        EtcdError::InvalidArgs(_) | EtcdError::InvalidUri(_) | EtcdError::InvalidMetadataValue(_) => {
            Error::Invalid(format!("etcd at {name}: {error}"))
        }
        EtcdError::Utf8Error(_) => Error::Damaged(format!("etcd at {name}: {error}")),
        _ => Error::Unavailable(format!("etcd at {name}: {error}")),
    }
}

fn from_status(name: &str, status: &Status) -> Error {
    let text = status.message();
    let told = format!("etcd at {name}: {text}");
    match status.code() {
        Code::ResourceExhausted if text.contains("database space exceeded") => Error::NoSpace(format!(
            "{told}; deletions go on: let Penstock trim, or raise --quota-backend-bytes, then `etcdctl defrag` each member and `etcdctl alarm disarm`"
        )),
        Code::ResourceExhausted if text.contains("larger than max") => Error::Invalid(told),
        Code::Unauthenticated | Code::PermissionDenied => Error::Denied(told),
        Code::FailedPrecondition if text.contains("authentication is not enabled") => {
            Error::Denied(format!("{told}; leave the user away, or enable authentication in etcd"))
        }
        Code::InvalidArgument if text.contains("authentication failed") => Error::Denied(format!("{told}; check user and password")),
        Code::InvalidArgument if text.contains("user name is empty") => {
            Error::Denied(format!("{told}; this etcd wants a user and a password"))
        }
        Code::InvalidArgument | Code::NotFound | Code::OutOfRange => Error::Invalid(told),
        Code::DataLoss => Error::Damaged(told),
        _ => from_transport(name, &chain(status.message(), status.source())),
    }
}

/// Texts of rustls, for a certificate that is not trusted here or not accepted there.
const TLS_REFUSED: [&str; 4] = ["invalid peer certificate", "fatal alert", "corrupt message", "CertificateRequired"];

fn from_transport(name: &str, text: &str) -> Error {
    if TLS_REFUSED.iter().any(|refused| text.contains(refused)) {
        return Error::Denied(format!("etcd at {name}: {text}; check its certificate, the authority and the client's"));
    }
    Error::Unavailable(format!("etcd at {name}: {text}"))
}

/// A connection that broke at once, as one does that should have been TLS or had another certificate.
pub(super) fn broke_at_once(text: &str) -> bool {
    ["http2 error", "h2 protocol error", "broken pipe", "connection closed", "onnection reset", "stream closed"]
        .iter()
        .any(|broke| text.contains(broke))
}

/// A text and its causes, in one line, without repetition.
pub(super) fn chain(text: &str, mut cause: Option<&(dyn std::error::Error + 'static)>) -> String {
    let mut text = text.to_owned();
    while let Some(error) = cause {
        let told = error.to_string();
        if told != "transport error" && !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}

/// The call was not done for want of a valid token. A watch is refused with the text of a missing permission.
pub(super) fn is_token_refused(error: &EtcdError) -> bool {
    match error {
        EtcdError::GRpcStatus(status) => {
            status.code() == Code::Unauthenticated
                || ["invalid auth token", "revision of auth store is old", "revision in header is old"]
                    .iter()
                    .any(|text| status.message().contains(text))
        }
        EtcdError::WatchError(text) => text.contains("invalid auth token") || text.contains("permission denied"),
        _ => false,
    }
}

/// The user lacks the right to this key, but is known.
pub(super) fn is_permission_denied(error: &EtcdError) -> bool {
    matches!(error, EtcdError::GRpcStatus(status) if status.code() == Code::PermissionDenied)
}

/// The lease has ended.
pub(super) fn is_lease_gone(error: &EtcdError) -> bool {
    match error {
        EtcdError::GRpcStatus(status) => status.code() == Code::NotFound && status.message().contains("lease not found"),
        // The client's own text for an answer with a TTL of 0.
        EtcdError::LeaseKeepAliveError(text) => text == "lease not found",
        _ => false,
    }
}

/// The revision asked for is no longer kept.
pub(super) fn is_compacted(error: &EtcdError) -> bool {
    matches!(error, EtcdError::GRpcStatus(status) if status.message().contains("required revision has been compacted"))
}

/// The answer is larger than this client takes.
pub(super) fn is_too_large(error: &EtcdError) -> bool {
    matches!(error, EtcdError::GRpcStatus(status)
        if status.code() == Code::OutOfRange && status.message().contains("message length too large"))
}

/// The release to use instead of one with known faults.
pub(super) fn older_than(version: &str) -> Option<&'static str> {
    let mut parts = version.split(['.', '-', '+']).map_while(|part| part.parse::<u32>().ok());
    match (parts.next()?, parts.next()?, parts.next()?) {
        (3, 7, patch) => (patch < 1).then_some("3.7.1"),
        (3, 6, patch) => (patch < 14).then_some("3.6.14"),
        (3, 5, patch) => (patch < 33).then_some("3.5.33"),
        (3, ..=4, _) | (..=2, _, _) => Some("3.5.33"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_of_etcd_names_who_must_act() {
        let said = |code, text: &str| from_etcd("h1:2379", &EtcdError::GRpcStatus(Status::new(code, text)));
        assert!(matches!(said(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"), Error::NoSpace(_)));
        assert!(matches!(said(Code::ResourceExhausted, "etcdserver: too many requests"), Error::Unavailable(_)));
        assert!(matches!(said(Code::InvalidArgument, "etcdserver: request is too large"), Error::Invalid(_)));
        assert!(matches!(said(Code::InvalidArgument, "etcdserver: user name is empty"), Error::Denied(_)));
        assert!(matches!(said(Code::PermissionDenied, "etcdserver: permission denied"), Error::Denied(_)));
        assert!(matches!(said(Code::Unavailable, "etcdserver: no leader"), Error::Unavailable(_)));
        assert!(matches!(said(Code::Unknown, "transport error"), Error::Unavailable(_)));
        assert!(matches!(said(Code::DataLoss, "etcdserver: corrupt cluster"), Error::Damaged(_)));
    }

    #[test]
    fn releases_with_known_faults_are_told_from_fixed_ones() {
        for (version, fixed) in [
            ("3.4.23", Some("3.5.33")),
            ("3.5.32", Some("3.5.33")),
            ("3.5.33", None),
            ("3.6.13", Some("3.6.14")),
            ("3.6.14", None),
            ("3.7.0", Some("3.7.1")),
            ("3.7.1", None),
            ("3.8.0-alpha.0", None),
            ("4.0.0", None),
            ("unknown", None),
        ] {
            assert_eq!(older_than(version), fixed, "{version}");
        }
    }
}
