//! What a worker's tasks may use on its machine: secrets, connections, a container runtime; from the command line.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use penstock_common::WorkerName;
use penstock_coordinator::{Clock as _, SystemClock};
use penstock_worker::attempt::{
    CommandLine, Connections, ContainerRuntime, Containers, Host, Kubernetes, KubernetesAccess, KubernetesOptions, KubernetesOwner,
    Secrets, become_subreaper, wait_for_leftovers,
};

use crate::args::{Kube, Runtime, Tools};

/// Who a worker is: by both, it finds the containers that a former life of it left.
pub(crate) struct Identity<'a> {
    /// Of the cluster, or of whatever else no other worker of this name shares.
    pub cluster: String,
    /// The worker's.
    pub name: &'a WorkerName,
}

/// Where attempts are executed. Waits for the processes that a former life of this worker left behind.
pub(crate) async fn host(who: Identity<'_>, code_root: PathBuf, scratch: PathBuf, logs: PathBuf, tools: &Tools) -> anyhow::Result<Host> {
    for dir in [&scratch, &logs] {
        std::fs::create_dir_all(dir).with_context(|| format!("the directory {} cannot be made", dir.display()))?;
    }
    let absolute = |path: &std::path::Path| std::path::absolute(path).with_context(|| format!("{} is no path", path.display()));
    let (code_root, scratch, logs) = (absolute(&code_root)?, absolute(&scratch)?, absolute(&logs)?);
    if let Some(dir) = tools.secrets.as_ref().filter(|dir| !dir.is_dir()) {
        bail!("--secrets {} is not a directory: it holds a file for each secret", dir.display());
    }
    let connections = match &tools.connections {
        Some(file) => Connections::load(file)?,
        None => Connections::default(),
    };
    let containers = match tools.containers {
        Some(runtime) => {
            Some(Containers { cluster: who.cluster, worker: who.name.clone(), runtime: container_runtime(runtime, tools).await? })
        }
        None => None,
    };
    become_subreaper().context("this worker cannot become the reaper of its children")?;
    let wait = scratch.clone();
    tokio::task::spawn_blocking(move || wait_for_leftovers(&wait, Duration::from_secs(60)))
        .await?
        .with_context(|| format!("the directory {} of this worker", scratch.display()))?;
    Ok(Host {
        connections,
        containers,
        secrets: Secrets::new(tools.secrets.clone(), std::env::vars_os()),
        http_allow_private: tools.http_allow_private,
        ..Host::new(code_root, scratch, logs, Arc::new(|| SystemClock.wall()))
    })
}

async fn container_runtime(runtime: Runtime, tools: &Tools) -> anyhow::Result<ContainerRuntime> {
    let command_line = |program: &str| {
        let args = |options: &[String]| options.iter().map(Into::into).collect();
        let create_args = args(&tools.container_create_options);
        ContainerRuntime::Cli(CommandLine { program: program.into(), args: args(&tools.container_options), create_args })
    };
    Ok(match runtime {
        Runtime::Podman => command_line("podman"),
        Runtime::Docker => command_line("docker"),
        Runtime::Kubernetes => ContainerRuntime::Kubernetes(kubernetes(&tools.kube).await?),
    })
}

async fn kubernetes(kube: &Kube) -> anyhow::Result<Kubernetes> {
    let access = match &kube.kubeconfig {
        Some(path) => KubernetesAccess::Kubeconfig { path: path.clone(), context: kube.kube_context.clone() },
        None => KubernetesAccess::InCluster,
    };
    let template = kube.pod_template.as_ref().map(|file| -> anyhow::Result<_> {
        let text = std::fs::read(file).with_context(|| format!("--pod-template {} cannot be read", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("--pod-template {} is not JSON", file.display()))
    });
    let owner = match (&kube.pod_namespace, &kube.pod_name, &kube.pod_uid) {
        (Some(namespace), Some(name), Some(uid)) => {
            Some(KubernetesOwner { namespace: namespace.clone(), name: name.clone(), uid: uid.clone() })
        }
        _ => None,
    };
    let seconds = |n: u32| Duration::from_secs(n.into());
    let options = KubernetesOptions {
        namespace: kube.kube_namespace.clone(),
        pod_template: template.transpose()?,
        owner,
        keep: seconds(kube.kube_keep),
        image_patience: seconds(kube.kube_image_patience),
        schedule_patience: seconds(kube.kube_schedule_patience),
        ..Default::default()
    };
    Kubernetes::connect(&access, options).await.map_err(|why| anyhow!(why))
}
