//! How refusals look on the wire: the code says whose fault it is and whether to try again, the trailers say where and when.

use penstock_proto::{LEADER_TRAILER, Malformed, RETRY_AFTER_TRAILER};
use penstock_scheduler::Rejection;
use penstock_store::Error as StoreError;
use tonic::{Code, Status};

use crate::handle::Refusal;

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::Rejected(rejection) => Status::new(code_of(&rejection), text),
            Refusal::NotLeader(leader) => {
                let mut status = Status::new(if leader.is_some() { Code::FailedPrecondition } else { Code::Unavailable }, text);
                if let Some(address) = leader.and_then(|l| l.address.parse().ok()) {
                    status.metadata_mut().insert(LEADER_TRAILER, address);
                }
                status
            }
            Refusal::Overloaded(ms) => retry_after(text, ms),
            Refusal::NoSpace(_) => retry_after(text, 5_000),
            Refusal::Interrupted => Status::unavailable(text),
        }
    }
}

fn retry_after(text: String, ms: u64) -> Status {
    let mut status = Status::resource_exhausted(text);
    status.metadata_mut().insert(RETRY_AFTER_TRAILER, ms.into());
    status
}

fn code_of(rejection: &Rejection) -> Code {
    match rejection {
        Rejection::UnknownPipeline(_) | Rejection::UnknownVersion { .. } | Rejection::UnknownRun(_) | Rejection::UnknownWorker(_) => {
            Code::NotFound
        }
        Rejection::UnknownTask { .. } => Code::NotFound,
        Rejection::BadParams(_) | Rejection::UnknownPool { .. } | Rejection::NotOfPipeline { .. } => Code::InvalidArgument,
        Rejection::RunExists(_) | Rejection::BackfillExists(_) | Rejection::RequestReused(_) | Rejection::WorkerNameTaken { .. } => {
            Code::AlreadyExists
        }
        Rejection::NotEnded { .. }
        | Rejection::NothingToRerun(_)
        | Rejection::NothingToBackfill(_)
        | Rejection::Quarantined { .. }
        | Rejection::WrongState { .. }
        | Rejection::Unregistered { .. }
        | Rejection::PoolInUse { .. }
        | Rejection::Refused(_)
        | Rejection::UnknownSession(_) => Code::FailedPrecondition,
        Rejection::Overloaded { .. } => Code::ResourceExhausted,
    }
}

pub(crate) fn malformed(error: &Malformed) -> Status {
    Status::invalid_argument(error.to_string())
}

pub(crate) fn invalid(error: &penstock_common::ids::InvalidId) -> Status {
    Status::invalid_argument(error.to_string())
}

pub(crate) fn store(error: &StoreError) -> Status {
    Status::unavailable(error.to_string())
}
