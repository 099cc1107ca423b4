//! The Job of an attempt, and the Secret it reads. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Container as KubeContainer, EnvVar, EnvVarSource, PodSecurityContext, PodSpec, PodTemplateSpec, ResourceRequirements, SeccompProfile,
    Secret, SecretKeySelector, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::{ByteString, DeepMerge};
use penstock_common::pipeline::{Container, Pull, Task};

use super::super::names::{Identity, RUN, TASK};
use super::super::spec::Spec;
use super::options::Kubernetes;

/// The task's container in the Pod.
pub(super) const CONTAINER: &str = "task";
/// Where the program writes what it reports; the kubelet puts it into the Pod's status.
pub(super) const TERMINATION_LOG: &str = "/dev/termination-log";
/// What the kubelet takes of it.
pub(super) const MAX_MESSAGE_BYTES: usize = 4_096;

/// The Job, suspended: it starts nothing until that is taken away.
pub(super) fn job(
    container: &Container,
    task: &Task,
    spec: &Spec,
    identity: &Identity,
    people: (&str, &str),
    namespace: &str,
    cluster: &Kubernetes,
) -> Job {
    let annotations: BTreeMap<_, _> = [(RUN, people.0), (TASK, people.1)].map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    let owner = cluster.options.owner.as_ref().filter(|owner| owner.namespace == namespace).map(|owner| OwnerReference {
        api_version: "v1".into(),
        kind: "Pod".into(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
        ..OwnerReference::default()
    });
    let metadata = ObjectMeta {
        name: Some(identity.name.clone()),
        namespace: Some(namespace.to_owned()),
        labels: Some(identity.labels()),
        annotations: Some(annotations.clone()),
        owner_references: owner.map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    let mut template = (*cluster.template).clone();
    template.merge_from(PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(identity.labels()), annotations: Some(annotations), ..ObjectMeta::default() }),
        spec: Some(pod(container, task, spec, identity)),
    });
    let spec = JobSpec {
        suspend: Some(true),
        // Whether and when there is another attempt is the coordinator's to decide.
        backoff_limit: Some(0),
        completions: Some(1),
        parallelism: Some(1),
        // No second Pod while a first one is still ending.
        pod_replacement_policy: Some("Failed".into()),
        // The worker's own clock comes first; this is for when there is no worker any more.
        active_deadline_seconds: task.timeout.map(|limit| seconds(limit.std()).max(1)),
        ttl_seconds_after_finished: Some(i32::try_from(seconds(cluster.options.keep)).unwrap_or(i32::MAX)),
        template,
        ..JobSpec::default()
    };
    Job { metadata, spec: Some(spec), status: None }
}

fn pod(container: &Container, task: &Task, spec: &Spec, identity: &Identity) -> PodSpec {
    let pull = match container.pull {
        Pull::Missing => "IfNotPresent",
        Pull::Always => "Always",
        Pull::Never => "Never",
    };
    let texts = |texts: &[String]| Some(texts.iter().map(|text| literal(text)).collect()).filter(|texts: &Vec<_>| !texts.is_empty());
    let task_container = KubeContainer {
        name: CONTAINER.into(),
        image: Some(spec.image.clone()),
        image_pull_policy: Some(pull.into()),
        command: texts(&spec.command),
        args: texts(&spec.args),
        env: Some(env(spec, identity)),
        resources: resources(container),
        termination_message_path: Some(TERMINATION_LOG.into()),
        termination_message_policy: Some("File".into()),
        security_context: Some(SecurityContext { allow_privilege_escalation: Some(false), ..SecurityContext::default() }),
        ..KubeContainer::default()
    };
    PodSpec {
        containers: vec![task_container],
        restart_policy: Some("Never".into()),
        termination_grace_period_seconds: Some(seconds(task.grace.std())),
        service_account_name: container.service_account.clone(),
        // A program gets the API server's token only where the pipeline says which.
        automount_service_account_token: Some(container.service_account.is_some()),
        // Variables of every service of the namespace are nobody's wish.
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

fn env(spec: &Spec, identity: &Identity) -> Vec<EnvVar> {
    let secret = |key: usize| EnvVarSource {
        secret_key_ref: Some(SecretKeySelector { name: identity.name.clone(), key: secret_key(key), optional: Some(false) }),
        ..EnvVarSource::default()
    };
    let variable = |(at, variable): (usize, &super::super::spec::Variable)| EnvVar {
        name: variable.name.clone(),
        value: (!variable.secret).then(|| literal(&variable.value)),
        value_from: variable.secret.then(|| secret(at)),
    };
    spec.env.iter().enumerate().map(variable).collect()
}

fn resources(container: &Container) -> Option<ResourceRequirements> {
    let cpu = container.cpu_millis.map(|millis| ("cpu".to_owned(), Quantity(format!("{millis}m"))));
    let memory = container.memory_bytes.map(|bytes| ("memory".to_owned(), Quantity(bytes.to_string())));
    let all: BTreeMap<_, _> = cpu.into_iter().chain(memory).collect();
    (!all.is_empty()).then(|| ResourceRequirements { requests: Some(all.clone()), limits: Some(all), claims: None })
}

/// The values of the secrets; `None` where the task has none. It goes with the Job.
pub(super) fn secret(spec: &Spec, identity: &Identity, job: &Job) -> Option<Secret> {
    let values: BTreeMap<_, _> = spec
        .env
        .iter()
        .enumerate()
        .filter(|(_, variable)| variable.secret)
        .map(|(at, variable)| (secret_key(at), ByteString(variable.value.clone().into_bytes())))
        .collect();
    if values.is_empty() {
        return None;
    }
    let owner = OwnerReference {
        api_version: "batch/v1".into(),
        kind: "Job".into(),
        name: identity.name.clone(),
        uid: job.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    let metadata = ObjectMeta {
        name: Some(identity.name.clone()),
        namespace: job.metadata.namespace.clone(),
        labels: Some(identity.labels()),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    Some(Secret { metadata, data: Some(values), immutable: Some(true), type_: Some("Opaque".into()), string_data: None })
}

/// A variable's name may be no key of a Secret.
fn secret_key(at: usize) -> String {
    format!("env-{at}")
}

/// Kubernetes replaces `$(NAME)` in commands, arguments and values by variables, and reads `$$` as `$`: what a template gave is not
/// to be read again.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis().div_ceil(1_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_second_is_a_second() {
        assert_eq!([0, 1, 1_000, 1_001].map(|ms| seconds(Duration::from_millis(ms))), [0, 1, 1, 2]);
    }

    #[test]
    fn nothing_is_left_to_expand() {
        assert_eq!(literal("$(id) $HOME $$"), "$$(id) $$HOME $$$$");
    }
}
