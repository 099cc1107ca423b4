//! What a caller can do about a failed call.

use penstock_proto::dial::BadAddress;

/// Why a call failed, for whoever must act.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No endpoint, or one that is no address.
    #[error(transparent)]
    Address(#[from] BadAddress),
    /// Nothing to ask.
    #[error("no coordinator is named: give --endpoint host:port,host:port or set PENSTOCK_ENDPOINT")]
    NoEndpoint,
    /// What was asked cannot be done as it is.
    #[error("{message}")]
    Refused {
        /// The gRPC code.
        code: tonic::Code,
        /// What is wrong and what to do.
        message: String,
    },
    /// No coordinator gave an answer before the deadline. A mutating call may have been done: repeat it with the same id.
    #[error("{call}: no answer from {endpoints} within {seconds} s; the last: {last}")]
    Deadline {
        /// The verb.
        call: &'static str,
        /// Who was asked.
        endpoints: String,
        /// For how long.
        seconds: u64,
        /// What the last try came to.
        last: String,
    },
}

impl Error {
    /// Whether the thing asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: tonic::Code::NotFound, .. })
    }
}
