//! From a task to a Job that runs: created suspended, alone, and then resumed. Every step may be done twice.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use penstock_common::Reason;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::super::names::{Identity, Other};
use super::super::spec::Spec;
use super::{Cluster, api, job, pod, remove};
use crate::attempt::judge::{Cause, Verdict};
use crate::attempt::log::Log;

/// A Job that runs or has run.
pub(super) struct Prepared {
    pub(super) uid: String,
}

/// Can be dropped at any time; what it made is then to be discarded.
pub(super) async fn prepare(
    cluster: &Cluster,
    wanted: &Job,
    spec: &Spec,
    identity: &Identity,
    stop_patience: Duration,
    log: &mut Log,
) -> Result<Prepared, Verdict> {
    let job = create(cluster, wanted, identity, stop_patience, log).await?;
    let uid = job.metadata.uid.clone().unwrap_or_default();
    let is_suspended = job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true);
    if is_suspended && let Some(secret) = job::secret(spec, identity, &job) {
        give(cluster, &secret, &uid).await?;
    }
    supersede(cluster, identity, stop_patience, log).await?;
    if is_suspended {
        let resume = json!({"metadata": {"uid": uid}, "spec": {"suspend": false}});
        let resume = Patch::Merge(&resume);
        let params = PatchParams::default();
        api::ask("resume the Job", || cluster.jobs.patch(&identity.name, &params, &resume)).await?;
    }
    Ok(Prepared { uid })
}

/// The Job, new or adopted.
async fn create(cluster: &Cluster, wanted: &Job, identity: &Identity, stop_patience: Duration, log: &mut Log) -> Result<Job, Verdict> {
    let name = &identity.name;
    let (begun, mut pause) = (Instant::now(), api::PAUSES.0);
    loop {
        let params = PostParams::default();
        match api::ask("create the Job", || cluster.jobs.create(&params, wanted)).await {
            Err(failure) if failure.is_conflict() => {}
            created => return Ok(created?),
        }
        let Some(found) = api::ask("read the Job", || cluster.jobs.get_opt(name)).await? else { continue };
        match identity.compare(&found.metadata.labels.clone().unwrap_or_default()) {
            Some(Other::Same) => {}
            Some(Other::Later) => return Err(stale(name)),
            Some(Other::Earlier) | None => {
                return Err(Verdict::failed(
                    Reason::Spawn,
                    &format!("the name {name} is taken by a Job that is none of Penstock's: delete it"),
                ));
            }
        }
        if found.metadata.deletion_timestamp.is_none() {
            if pod::failure(&found).is_some() || found.spec.as_ref().and_then(|spec| spec.suspend) != Some(true) {
                log.notice(&format!("the Job {name} of this attempt is there already: it is followed, its log from its start"));
            }
            return Ok(found);
        }
        // It is being deleted: then there is room for a new one soon.
        if begun.elapsed() > stop_patience {
            let why = format!("the Job {name} is being deleted, and does not go: a finalizer, or a node that does not answer");
            return Err(Verdict::failed(Reason::Lost, &why));
        }
        sleep(pause).await;
        pause = (pause * 2).min(api::PAUSES.1);
    }
}

/// Creates the Secret; one that a Job of the same name left is replaced.
async fn give(cluster: &Cluster, secret: &Secret, uid: &str) -> Result<(), Verdict> {
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let params = PostParams::default();
    loop {
        match api::ask("create the Secret", || cluster.secrets.create(&params, secret)).await {
            Ok(_) => return Ok(()),
            Err(failure) if failure.is_conflict() => {}
            Err(failure) => return Err(failure.into()),
        }
        let Some(found) = api::ask("read the Secret", || cluster.secrets.get_opt(name)).await? else { continue };
        if found.metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid) {
            return Ok(());
        }
        let params = DeleteParams::default();
        match api::ask("delete the Secret", || cluster.secrets.delete(name, &params)).await {
            Ok(_) => {}
            Err(failure) if failure.is_none() => {}
            Err(failure) => return Err(failure.into()),
        }
    }
}

/// Deletes the Jobs of earlier attempts and waits until nothing of them runs, or gives up for a later one.
async fn supersede(cluster: &Cluster, identity: &Identity, stop_patience: Duration, log: &mut Log) -> Result<(), Verdict> {
    // Without a resource version, so not from a cache.
    let selected = ListParams::default().labels(&identity.selector());
    let found = api::ask("list the Jobs of the task", || cluster.jobs.list(&selected)).await?;
    for other in found.items {
        let name = other.metadata.name.clone().unwrap_or_default();
        match identity.compare(&other.metadata.labels.unwrap_or_default()) {
            Some(Other::Later) => return Err(stale(&name)),
            Some(Other::Earlier) => {
                log.notice(&format!("the Job {name} of an earlier attempt is there: it is deleted"));
                let uid = other.metadata.uid.unwrap_or_default();
                let gone = remove::stop_within(cluster, &name, &uid, stop_patience).await;
                gone.map_err(|why| Verdict::failed(Reason::Lost, &format!("the Job {name} of an earlier attempt may still run: {why}")))?;
            }
            Some(Other::Same) | None => {}
        }
    }
    Ok(())
}

fn stale(name: &str) -> Verdict {
    let detail = format!("this lease does not hold any more: there is a Job of a later one, {name}");
    Verdict { detail, ..Cause::Revoked.verdict() }
}
