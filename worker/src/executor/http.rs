//! `http`

use penstock_common::Reason;
use penstock_common::pipeline::Http;

use super::{Done, Executor};
use crate::attempt::job::Job;
use crate::attempt::judge::Verdict;

/// One.
pub(super) struct Request<'a>(pub(super) &'a Http);

impl Executor for Request<'_> {
    async fn execute(self, _job: &mut Job<'_>) -> Result<Done, Verdict> {
        let Request(_) = self;
        Err(Verdict::failed(Reason::Spawn, "this worker cannot do it yet"))
    }
}
