//! What a worker's tasks may use on its machine: secrets, connections, a container runtime; from the command line.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use penstock_common::WorkerName;
use penstock_coordinator::{Clock as _, SystemClock};
use penstock_worker::attempt::{
    CommandLine, Connections, ContainerRuntime, Containers, Host, Kubernetes, KubernetesAccess, KubernetesOptions, Secrets,
    become_subreaper, remove_leftover_containers, wait_for_leftovers,
};

use crate::args::{Runtime, Tools};

/// Where attempts are executed. Waits for what a former life of this worker left behind.
pub(crate) async fn host(name: &WorkerName, code_root: PathBuf, scratch: PathBuf, logs: PathBuf, tools: &Tools) -> anyhow::Result<Host> {
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
            Some(Containers { cluster: "default".to_owned(), worker: name.clone(), runtime: container_runtime(runtime, tools).await? })
        }
        None => None,
    };
    become_subreaper().context("this worker cannot become the reaper of its children")?;
    let wait = scratch.clone();
    tokio::task::spawn_blocking(move || wait_for_leftovers(&wait, Duration::from_secs(60)))
        .await?
        .with_context(|| format!("the directory {} of this worker", scratch.display()))?;
    let host = Host {
        connections,
        containers,
        secrets: Secrets::new(tools.secrets.clone(), std::env::vars_os()),
        http_allow_private: tools.http_allow_private,
        ..Host::new(code_root, scratch, logs, Arc::new(|| SystemClock.wall()))
    };
    remove_leftover_containers(&host).await.map_err(|why| anyhow!("containers that a former life of this worker left: {why}"))?;
    Ok(host)
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
        Runtime::Kubernetes => {
            let access = match &tools.kubeconfig {
                Some(path) => KubernetesAccess::Kubeconfig { path: path.clone(), context: None },
                None => KubernetesAccess::InCluster,
            };
            let template = tools.pod_template.as_ref().map(|file| -> anyhow::Result<_> {
                let text = std::fs::read(file).with_context(|| format!("--pod-template {} cannot be read", file.display()))?;
                serde_json::from_slice(&text).with_context(|| format!("--pod-template {} is not JSON", file.display()))
            });
            let options =
                KubernetesOptions { namespace: tools.kube_namespace.clone(), pod_template: template.transpose()?, ..Default::default() };
            ContainerRuntime::Kubernetes(Kubernetes::connect(&access, options).await.map_err(|why| anyhow!(why))?)
        }
    })
}
