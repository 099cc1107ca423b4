//! `wait`

use penstock_common::Reason;
use penstock_common::pipeline::Wait;

use super::{Done, Executor};
use crate::attempt::job::Job;
use crate::attempt::judge::Verdict;

/// One.
pub(super) struct Sensor<'a>(pub(super) &'a Wait);

impl Executor for Sensor<'_> {
    async fn execute(self, _job: &mut Job<'_>) -> Result<Done, Verdict> {
        let Sensor(_) = self;
        Err(Verdict::failed(Reason::Spawn, "this worker cannot do it yet"))
    }
}
