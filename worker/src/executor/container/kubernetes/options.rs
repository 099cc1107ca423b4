//! How a cluster is reached, and what its operator wants of every Job.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};

/// Where the API server is, and who asks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// This worker is a Pod: its service account.
    InCluster,
    /// A file as `kubectl` has it.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// One of its contexts; its current one without.
        context: Option<String>,
    },
}

/// What is set for every Job of this worker.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where Jobs go whose task names no namespace; `None`: the access's own.
    pub namespace: Option<String>,
    /// A PodTemplateSpec, over which the Job's own is laid: `nodeSelector`, `tolerations`, `imagePullSecrets`, volumes. The task's
    /// container is named `task`.
    pub pod_template: Option<serde_json::Value>,
    /// The worker's own Pod: Jobs in its namespace are deleted with it.
    pub owner: Option<Owner>,
    /// How long a Job that has ended stays, for `kubectl`.
    pub keep: Duration,
    /// How long an image or its configuration may be in trouble before the attempt fails.
    pub image_patience: Duration,
    /// How long a Pod may wait for a node with room for it.
    pub schedule_patience: Duration,
    /// How long a node may take, beyond the task's grace, to end a Pod that is deleted. After that it is taken for dead.
    pub stop_patience: Duration,
}

/// A Pod that owns Jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its namespace: `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: None,
            pod_template: None,
            owner: None,
            keep: Duration::from_secs(3_600),
            image_patience: Duration::from_secs(60),
            schedule_patience: Duration::from_secs(600),
            stop_patience: Duration::from_secs(60),
        }
    }
}

/// A cluster that is connected to; one for the whole worker.
#[derive(Clone)]
pub struct Kubernetes {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) options: Arc<Options>,
    pub(super) template: Arc<PodTemplateSpec>,
}

impl Kubernetes {
    /// Reads the access and prepares a client; does not ask the server anything yet. Needs a tokio runtime.
    ///
    /// # Errors
    /// What cannot be read, and in which file.
    pub async fn connect(access: &Access, options: Options) -> Result<Self, String> {
        let mut config = match access {
            Access::InCluster => Config::incluster().map_err(|error| {
                format!(
                    "this worker is in no Kubernetes cluster ({error}): give a kubeconfig, or let its Pod mount a service account's token"
                )
            })?,
            Access::Kubeconfig { path, context } => {
                let unusable = |error: &dyn fmt::Display| format!("the kubeconfig {}: {error}", path.display());
                let file = Kubeconfig::read_from(path).map_err(|error| unusable(&error))?;
                let wanted = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
                Config::from_custom_kubeconfig(file, &wanted).await.map_err(|error| unusable(&error))?
            }
        };
        config.default_retry = false; // `api.rs` does it
        let namespace = options.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let template = options.pod_template.clone().map(serde_json::from_value).transpose();
        let template = template.map_err(|error| format!("the Pod template of the configuration is none: {error}"))?;
        let client = Client::try_from(config).map_err(|error| format!("no client for the Kubernetes cluster: {error}"))?;
        Ok(Self { client, namespace, options: options.into(), template: Arc::new(template.unwrap_or_default()) })
    }
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
