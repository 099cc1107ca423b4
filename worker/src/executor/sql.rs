//! `sql`

use penstock_common::Reason;
use penstock_common::pipeline::Sql;

use super::{Done, Executor};
use crate::attempt::job::Job;
use crate::attempt::judge::Verdict;

/// One.
pub(super) struct Script<'a>(pub(super) &'a Sql);

impl Executor for Script<'_> {
    async fn execute(self, _job: &mut Job<'_>) -> Result<Done, Verdict> {
        let Script(_) = self;
        Err(Verdict::failed(Reason::Spawn, "this worker cannot do it yet"))
    }
}
