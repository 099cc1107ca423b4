//! Deleting Jobs so that it is known when nothing of them runs any more.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, ListParams, Preconditions};
use tokio::time::{sleep, timeout};

use super::super::config::Containers;
use super::super::names::{Identity, Other, scope, worker_selector};
use super::api::{self, Failure, PAUSES};
use super::options::Kubernetes;
use super::{Cluster, pod};

/// The grace of who is killed. Not 0, by which a Pod is forgotten whether or not it has ended.
const AT_ONCE_S: u32 = 1;

/// Deletes this very Job, and what it owns before it; does not wait.
pub(super) async fn delete(cluster: &Cluster, name: &str, uid: &str) -> Result<(), Failure> {
    delete_of(&cluster.jobs, name, uid).await
}

async fn delete_of(jobs: &Api<Job>, name: &str, uid: &str) -> Result<(), Failure> {
    let uid = Some(uid.to_owned());
    let params = DeleteParams::foreground().preconditions(Preconditions { uid, resource_version: None });
    match api::ask("delete the Job", || jobs.delete(name, &params)).await {
        Ok(_) => Ok(()),
        // Gone, or another by now.
        Err(failure) if failure.is_none() || failure.is_conflict() => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Deletes a Job and waits until it is gone, which is after its Pods have ended. They get their grace, unless it is to be at once.
pub(super) async fn stop(cluster: &Cluster, name: &str, uid: &str, at_once: bool) -> Result<(), Failure> {
    delete(cluster, name, uid).await?;
    if at_once {
        let selected = ListParams::default().labels(&format!("job-name={name}"));
        let pods = api::ask("list the Pods of the Job", || cluster.pods.list(&selected)).await?;
        for pod in pods.items {
            let name = pod.metadata.name.unwrap_or_default();
            let params = DeleteParams::default().grace_period(AT_ONCE_S);
            match api::ask("delete the Pod", || cluster.pods.delete(&name, &params)).await {
                Err(failure) if !failure.is_none() => return Err(failure),
                _ => {}
            }
        }
    }
    let mut pause = PAUSES.0;
    loop {
        match api::ask("read the Job", || cluster.jobs.get_opt(name)).await? {
            Some(found) if found.metadata.uid.as_deref() == Some(uid) => {}
            _ => return Ok(()),
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

/// Kills a Job's program and waits until it is gone, but not for ever. The `Err` says why that is not known.
pub(super) async fn stop_within(cluster: &Cluster, name: &str, uid: &str, limit: Duration) -> Result<(), String> {
    match timeout(limit, stop(cluster, name, uid, true)).await {
        Ok(stopped) => stopped.map_err(|failure| failure.to_string()),
        Err(_) => Err(format!("it was deleted, and is still there after {} s: its node may not answer", limit.as_secs())),
    }
}

/// Deletes the attempt's Job, if that is what has its name.
pub(super) async fn discard(cluster: &Cluster, identity: &Identity) -> Result<(), Failure> {
    let Some(found) = api::ask("read the Job", || cluster.jobs.get_opt(&identity.name)).await? else { return Ok(()) };
    match identity.compare(&found.metadata.labels.unwrap_or_default()) {
        Some(Other::Same) => delete(cluster, &identity.name, &found.metadata.uid.unwrap_or_default()).await,
        _ => Ok(()),
    }
}

/// Deletes every Job of this worker that has not ended: in all namespaces where it may look there, else in its own.
pub(in super::super) async fn remove_leftovers(kubernetes: &Kubernetes, containers: &Containers) -> Result<(), String> {
    let selected = ListParams::default().labels(&worker_selector(&scope(&containers.cluster, &containers.worker, "")));
    let everywhere: Api<Job> = Api::all(kubernetes.client.clone());
    let found = match api::ask("list this worker's Jobs", || everywhere.list(&selected)).await {
        Err(failure) if failure.is_forbidden() => {
            let own: Api<Job> = Api::namespaced(kubernetes.client.clone(), &kubernetes.namespace);
            api::ask("list this worker's Jobs", || own.list(&selected)).await
        }
        found => found,
    };
    for job in found.map_err(|failure| failure.to_string())?.items {
        let has_succeeded = job.status.as_ref().is_some_and(|status| status.completion_time.is_some());
        if has_succeeded || pod::failure(&job).is_some() {
            continue; // it goes by itself
        }
        let (name, namespace) = (job.metadata.name.unwrap_or_default(), job.metadata.namespace.unwrap_or_default());
        tracing::warn!(job = %name, %namespace, "deleting a Job that a former life of this worker left");
        let namespaced = Api::namespaced(kubernetes.client.clone(), &namespace);
        let deleted = delete_of(&namespaced, &name, &job.metadata.uid.unwrap_or_default()).await;
        deleted.map_err(|failure| format!("the Job {name} may still run: {failure}"))?;
    }
    Ok(())
}
