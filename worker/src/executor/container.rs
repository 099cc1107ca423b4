//! `container`: an image. Reports as a program does: metrics and outputs from `$PENSTOCK_OUTPUT`, its exit code.

use penstock_common::Reason;
use penstock_common::pipeline::Container;

use super::{Done, Executor};
use crate::attempt::job::Job;
use crate::attempt::judge::Verdict;

/// A container of an image.
pub(super) struct Image<'a>(pub(super) &'a Container);

impl Executor for Image<'_> {
    async fn execute(self, job: &mut Job<'_>) -> Result<Done, Verdict> {
        let image = job.render("image", &self.0.image)?;
        let why = format!("this worker has no container runtime configured, so it cannot run the image {image}");
        Err(Verdict::failed(Reason::Spawn, &why))
    }
}
