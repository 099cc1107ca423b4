//! How this worker runs images, as its operator says. What is wrong here fails attempts with a message, not the worker.

use std::ffi::OsString;

use penstock_common::WorkerName;

#[cfg(feature = "kubernetes")]
use super::kubernetes::Kubernetes;

/// What runs the images of this worker's tasks.
#[derive(Clone, Debug)]
pub struct Containers {
    /// The Penstock cluster's name: clusters that share a machine or a namespace must not share this.
    pub cluster: String,
    /// This worker's name, stable over restarts: by it, it finds the containers of a former life.
    pub worker: WorkerName,
    /// By what.
    pub runtime: ContainerRuntime,
}

/// A container runtime.
#[derive(Clone, Debug)]
pub enum ContainerRuntime {
    /// The command line of podman or docker.
    Cli(CommandLine),
    /// Jobs of a Kubernetes cluster.
    #[cfg(feature = "kubernetes")]
    Kubernetes(Kubernetes),
}

/// The command line of podman or docker: `PROGRAM ARGS… create CREATE_ARGS… …`. Never given to a shell.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// `podman`, `docker`, or a path.
    pub program: OsString,
    /// Global options, before the command: `--cgroup-manager cgroupfs`, `--host unix:///run/…`.
    pub args: Vec<OsString>,
    /// Options of `create`, such as `--network host`, `--userns keep-id`, `--init`, `--security-opt label=disable`.
    pub create_args: Vec<OsString>,
}

impl CommandLine {
    /// This program without further options.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self { program: program.into(), args: Vec::new(), create_args: Vec::new() }
    }
}
