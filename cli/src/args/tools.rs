//! The arguments of what tasks may use on a worker, of `worker` and of `run`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What tasks may use on this worker.
#[derive(Debug, Clone, Args)]
pub(crate) struct Tools {
    /// A folder with a file for each secret; PENSTOCK_SECRET_<NAME> is looked at where there is none.
    #[arg(long, value_name = "DIR")]
    pub secrets: Option<PathBuf>,
    /// The connections of `sql` tasks, TOML.
    #[arg(long, value_name = "FILE")]
    pub connections: Option<PathBuf>,
    /// Lets `http` tasks reach private, loopback and link-local addresses.
    #[arg(long)]
    pub http_allow_private: bool,
    /// What runs the images of `container` tasks; without it they fail on this worker.
    #[arg(long, value_enum, value_name = "RUNTIME")]
    pub containers: Option<Runtime>,
    /// An option of podman or docker before its command, such as --cgroup-manager=cgroupfs; may be repeated.
    #[arg(long = "container-option", value_name = "OPTION", allow_hyphen_values = true)]
    pub container_options: Vec<String>,
    /// An option of `podman create` or `docker create`, such as --network=host; may be repeated.
    #[arg(long = "container-create-option", value_name = "OPTION", allow_hyphen_values = true)]
    pub container_create_options: Vec<String>,
    #[command(flatten)]
    /// Of `--containers kubernetes`.
    pub kube: Kube,
}

/// What runs images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runtime {
    /// The command line of podman.
    Podman,
    /// The command line of docker.
    Docker,
    /// Jobs of a Kubernetes cluster.
    Kubernetes,
}

/// How a Kubernetes cluster is reached, and what holds for every Job.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "With --containers kubernetes")]
pub(crate) struct Kube {
    /// How to reach the Kubernetes cluster; without it, as the Pod that this worker is.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Which context of the kubeconfig; by default its current one.
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    pub kube_context: Option<String>,
    /// Where Jobs go whose task names no namespace.
    #[arg(long, value_name = "NAMESPACE")]
    pub kube_namespace: Option<String>,
    /// A PodTemplateSpec, JSON, over which each Job's own is laid: node selectors, tolerations, pull secrets, volumes.
    #[arg(long, value_name = "FILE")]
    pub pod_template: Option<PathBuf>,
    /// The Pod that this worker is, metadata.name of the downward API: Jobs in its namespace are deleted with it.
    #[arg(long, env = "PENSTOCK_POD_NAME", value_name = "NAME", requires_all = ["pod_uid", "pod_namespace"])]
    pub pod_name: Option<String>,
    /// Its metadata.uid.
    #[arg(long, env = "PENSTOCK_POD_UID", value_name = "UID", requires = "pod_name")]
    pub pod_uid: Option<String>,
    /// Its metadata.namespace.
    #[arg(long, env = "PENSTOCK_POD_NAMESPACE", value_name = "NAMESPACE", requires = "pod_name")]
    pub pod_namespace: Option<String>,
    /// Seconds that a Job stays after its end, for kubectl.
    #[arg(long, default_value_t = 3_600, value_name = "SECONDS")]
    pub kube_keep: u32,
    /// Seconds that an image may fail to come before the attempt fails.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub kube_image_patience: u32,
    /// Seconds that a Pod may wait for a node with room for it.
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub kube_schedule_patience: u32,
}
