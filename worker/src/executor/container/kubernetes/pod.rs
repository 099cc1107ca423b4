//! What a Pod's status says about the task's container. Pure; its cases are those of the kubelet's and the scheduler's sources.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};

use super::job::CONTAINER;

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// It does not run yet.
    Pending(Option<Trouble>),
    /// It runs.
    Running,
    /// The program ended.
    Ended(Ended),
    /// It never ran and never will.
    NeverStarted(String),
    /// It was taken away under the program: not the program's failure.
    Lost(String),
}

/// Why it does not run yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    pub(super) message: String,
}

/// How long it may take to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It will not.
    Hopeless,
    /// A registry may come back, a ConfigMap may be made.
    Image,
    /// A node may have room.
    Unschedulable,
}

/// A program's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) oom: bool,
    /// What it wrote to the termination log.
    pub(super) message: String,
}

/// Reads a Pod.
pub(super) fn see(pod: &Pod) -> Seen {
    let Some(status) = &pod.status else { return Seen::Pending(None) };
    let container = status.container_statuses.iter().flatten().find(|container| container.name == CONTAINER);
    let state = container.and_then(|container| container.state.as_ref());
    if let Some(terminated) = state.and_then(|state| state.terminated.as_ref()) {
        return ended(pod, terminated);
    }
    if let Some(disruption) = disruption(pod)
        && (status.phase.as_deref() == Some("Failed"))
    {
        return Seen::Lost(disruption);
    }
    if status.phase.as_deref() == Some("Failed") {
        // The node refused it, or something before the program failed.
        let init = status.init_container_statuses.iter().flatten().find_map(|init| {
            let terminated = init.state.as_ref()?.terminated.as_ref().filter(|terminated| terminated.exit_code != 0)?;
            Some(format!("its init container {} ended with exit code {}", init.name, terminated.exit_code))
        });
        return Seen::NeverStarted(init.unwrap_or_else(|| said(status.reason.as_deref(), status.message.as_deref())));
    }
    if state.is_some_and(|state| state.running.is_some()) {
        return Seen::Running;
    }
    if let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) {
        let kind = match waiting.reason.as_deref().unwrap_or_default() {
            "InvalidImageName" | "ErrImageNeverPull" => Some(Kind::Hopeless),
            "ErrImagePull"
            | "ImagePullBackOff"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed"
            | "CreateContainerConfigError"
            | "CreateContainerError"
            | "CreatePodSandboxError"
            | "RunContainerError" => Some(Kind::Image),
            _ => None, // PodInitializing, ContainerCreating
        };
        return Seen::Pending(kind.map(|kind| Trouble { kind, message: said(waiting.reason.as_deref(), waiting.message.as_deref()) }));
    }
    let scheduled = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    Seen::Pending(
        scheduled.filter(|condition| condition.reason.as_deref() == Some("Unschedulable")).map(|condition| Trouble {
            kind: Kind::Unschedulable,
            message: said(condition.reason.as_deref(), condition.message.as_deref()),
        }),
    )
}

fn ended(pod: &Pod, terminated: &ContainerStateTerminated) -> Seen {
    let reason = terminated.reason.as_deref().unwrap_or_default();
    if matches!(reason, "ContainerCannotRun" | "StartError" | "ContainerStatusUnknown") {
        let said = said(terminated.reason.as_deref(), terminated.message.as_deref());
        return if reason == "ContainerStatusUnknown" { Seen::Lost(said) } else { Seen::NeverStarted(said) };
    }
    // A program that ended well before it was taken away did end well.
    if terminated.exit_code != 0
        && let Some(disruption) = disruption(pod)
    {
        return Seen::Lost(disruption);
    }
    if terminated.exit_code != 0 && is_deleted(pod) {
        return Seen::Lost(format!("someone deleted the Pod; its program ended with exit code {}", terminated.exit_code));
    }
    Seen::Ended(Ended { code: terminated.exit_code, oom: reason == "OOMKilled", message: terminated.message.clone().unwrap_or_default() })
}

/// Whether the cluster itself took the Pod away, and why: eviction, preemption, a node that is drained, shut down or gone.
fn disruption(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let target = status.conditions.iter().flatten().find(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True");
    if let Some(target) = target {
        return Some(said(target.reason.as_deref(), target.message.as_deref()));
    }
    let reason = status.reason.as_deref()?;
    let taken =
        matches!(reason, "Evicted" | "Preempting" | "NodeLost" | "NodeShutdown" | "Shutdown" | "Terminated" | "UnexpectedAdmissionError");
    taken.then(|| said(status.reason.as_deref(), status.message.as_deref()))
}

/// Whether someone deletes it.
pub(super) fn is_deleted(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Why a Job failed, by its own condition: reason and message.
pub(super) fn failure(job: &Job) -> Option<(String, String)> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let failed =
        conditions.iter().find(|condition| matches!(condition.type_.as_str(), "Failed" | "FailureTarget") && condition.status == "True")?;
    Some((failed.reason.clone().unwrap_or_default(), failed.message.clone().unwrap_or_default()))
}

fn said(reason: Option<&str>, message: Option<&str>) -> String {
    match (reason.unwrap_or_default(), message.unwrap_or_default()) {
        ("", "") => "no reason is given".to_owned(),
        (reason, "") => reason.to_owned(),
        ("", message) => message.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn seen(status: Value) -> Seen {
        see(&serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap())
    }
    fn task(state: Value) -> Value {
        json!([{"name": CONTAINER, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}])
    }

    #[test]
    fn the_table_of_what_is_seen() {
        let ended = |code, oom| Seen::Ended(Ended { code, oom, message: String::new() });
        let trouble = |kind, message: &str| Seen::Pending(Some(Trouble { kind, message: message.into() }));
        let disrupted =
            json!([{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": "node shutdown"}]);
        let terminated = |code: i32, reason: &str| task(json!({"terminated": {"exitCode": code, "reason": reason}}));
        let waiting = |reason: &str| json!({"phase": "Pending", "containerStatuses": task(json!({"waiting": {"reason": reason}}))});
        let table = [
            (json!({}), Seen::Pending(None)),
            (json!({"phase": "Pending"}), Seen::Pending(None)),
            (waiting("ContainerCreating"), Seen::Pending(None)),
            (waiting("ErrImagePull"), trouble(Kind::Image, "ErrImagePull")),
            (waiting("CreateContainerConfigError"), trouble(Kind::Image, "CreateContainerConfigError")),
            (waiting("InvalidImageName"), trouble(Kind::Hopeless, "InvalidImageName")),
            (
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3"}]}),
                trouble(Kind::Unschedulable, "Unschedulable: 0/3"),
            ),
            (json!({"phase": "Running", "containerStatuses": task(json!({"running": {}}))}), Seen::Running),
            (json!({"phase": "Succeeded", "containerStatuses": terminated(0, "Completed")}), ended(0, false)),
            (json!({"phase": "Failed", "containerStatuses": terminated(3, "Error")}), ended(3, false)),
            (json!({"phase": "Failed", "containerStatuses": terminated(137, "OOMKilled")}), ended(137, true)),
            (json!({"phase": "Failed", "containerStatuses": terminated(128, "StartError")}), Seen::NeverStarted("StartError".into())),
            (
                json!({"phase": "Failed", "conditions": disrupted, "containerStatuses": terminated(143, "Error")}),
                Seen::Lost("TerminationByKubelet: node shutdown".into()),
            ),
            (json!({"phase": "Failed", "conditions": disrupted, "containerStatuses": terminated(0, "Completed")}), ended(0, false)),
            (json!({"phase": "Failed", "reason": "Evicted", "message": "disk"}), Seen::Lost("Evicted: disk".into())),
            (json!({"phase": "Failed", "reason": "OutOfcpu", "message": "no"}), Seen::NeverStarted("OutOfcpu: no".into())),
            (
                json!({"phase": "Failed", "containerStatuses": terminated(137, "ContainerStatusUnknown")}),
                Seen::Lost("ContainerStatusUnknown".into()),
            ),
        ];
        for (status, expected) in table {
            assert_eq!(seen(status.clone()), expected, "{status}");
        }
    }

    #[test]
    fn an_init_container_that_fails_is_named() {
        let init = json!([{"name": "fetch", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 2}}}]);
        let status = json!({"phase": "Failed", "initContainerStatuses": init, "containerStatuses": task(json!({"waiting": {"reason": "PodInitializing"}}))});
        assert_eq!(seen(status), Seen::NeverStarted("its init container fetch ended with exit code 2".into()));
    }
}
