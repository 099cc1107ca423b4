//! `container`: an image, by podman or docker, or as a Job of a Kubernetes cluster. Reports as a program does: metrics and outputs
//! from `$PENSTOCK_OUTPUT`, its exit code. Reasons: `exit_code`, `timeout`, `spawn` (also an image that is not to be had), `oom`,
//! `output_too_large`, `template`, `task`, and `lost` where the runtime or the node does not answer any more.
//!
//! ```text
//!  spec: image, command, args, env, rendered    names: what it is called, and which others are earlier or later
//!     └──▶ create, not started ──▶ list the task's others ──▶ remove the earlier ──▶ start ──▶ follow to the end ──▶ remove
//! ```
//!
//! # What is guaranteed
//!
//! Of all the containers of one task of a run that one runtime holds (one machine's podman or docker, one namespace):
//!
//! 1. **An attempt is started once.** Its name is made of cluster-wide ids and the attempt's number, and the runtime refuses a name
//!    twice. Who finds the name taken by the same attempt (its own lease, executed again, or an earlier lease of the same number)
//!    adopts what is there: it is followed to its end, from wherever it is, and never started again once it ran.
//! 2. **Two attempts never run at once.** Each first makes its container, not started, and only then looks for others of the task.
//!    It removes those with a lower fence, and waits until they are gone, before it starts its own; if it sees a higher fence, its
//!    lease does not hold any more, and it removes its own and ends. Of two that do this at once, one sees the other.
//! 3. **What a worker leaves is found.** Each container carries a label of its worker, and a worker that starts removes all that
//!    carry its own before it says Hello. Before that, in podman and docker, a guard process removes the container as soon as its
//!    worker is gone (`cli/guard.rs`); in Kubernetes the task's next attempt does, on whatever worker, the Job's
//!    `activeDeadlineSeconds` where the task has a timeout, and the garbage collector where the Job has the worker's Pod as owner.
//!
//! Not guaranteed: anything between two machines whose workers use their own podman or docker, once the machine of the earlier
//! attempt is cut off, and that Kubernetes starts a Job's program once (its documentation says that it may start it twice). There
//! the fence is what protects: `PENSTOCK_FENCE` rises with every lease.

mod cli;
mod config;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod names;
mod spec;

use penstock_common::Reason;
use penstock_common::pipeline::Container;

use super::{Done, Executor};
use crate::attempt::Host;
use crate::attempt::job::Job;
use crate::attempt::judge::Verdict;

pub(crate) use self::cli::guard;
pub use self::config::{CommandLine, ContainerRuntime, Containers};
#[cfg(feature = "kubernetes")]
pub use self::kubernetes::{Access as KubernetesAccess, Kubernetes, Options as KubernetesOptions, Owner as KubernetesOwner};

/// A container of an image.
pub(super) struct Image<'a>(pub(super) &'a Container);

impl Executor for Image<'_> {
    async fn execute(self, job: &mut Job<'_>) -> Result<Done, Verdict> {
        let host = job.host;
        let Some(containers) = &host.containers else {
            let image = job.render("container.image", &self.0.image)?;
            let why = format!(
                "this worker has no container runtime configured, so it cannot run the image {image}: configure one (podman, docker or \
                 Kubernetes), or send the task to a queue whose workers have one"
            );
            return Err(Verdict::failed(Reason::Spawn, &why));
        };
        match &containers.runtime {
            ContainerRuntime::Cli(program) => cli::execute(self.0, program, containers, job).await,
            #[cfg(feature = "kubernetes")]
            ContainerRuntime::Kubernetes(cluster) => kubernetes::execute(self.0, cluster, containers, job).await,
        }
    }
}

/// Removes what a former life of this worker left running. To be called before Hello; without a runtime it does nothing.
///
/// # Errors
/// What the runtime says, if it does not answer or something could not be removed: then a container may run on, so the worker
/// must not say that it is there.
pub async fn remove_leftovers(host: &Host) -> Result<(), String> {
    let Some(containers) = &host.containers else { return Ok(()) };
    match &containers.runtime {
        ContainerRuntime::Cli(program) => cli::remove_leftovers(program, containers, host).await,
        #[cfg(feature = "kubernetes")]
        ContainerRuntime::Kubernetes(cluster) => kubernetes::remove_leftovers(cluster, containers).await,
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::sync::Arc;

    use penstock_common::lease::Lease;
    use penstock_common::pipeline::Task;
    use penstock_common::record::TriggerKind;
    use penstock_common::{Fence, PipelineName, RunId, TaskId, Timestamp};

    /// A lease of attempt 3 with fence 30.
    pub(crate) fn lease() -> Lease {
        Lease {
            run: RunId::parse("run-1").unwrap(),
            pipeline: PipelineName::parse("daily").unwrap(),
            task: TaskId::parse("load").unwrap().into(),
            instance: None,
            item: None,
            number: 3,
            generation: 1,
            fence: Fence(30),
            spec: Arc::new(Task::noop()),
            params: "{}".into(),
            trigger: TriggerKind::Manual,
            interval: None,
            outputs: Default::default(),
            previous: None,
            zone: "UTC".into(),
            first_leased_at: Timestamp(0),
            traceparent: String::new(),
        }
    }
}
