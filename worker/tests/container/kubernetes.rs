//! Jobs against the stub of an API server.

use std::time::Duration;

use penstock_common::lease::Lease;
use penstock_common::pipeline::{Container, Setting};
use penstock_common::{Fence, Millis, Reason, State};
use penstock_worker::attempt::{
    ContainerRuntime, Kubernetes, KubernetesAccess, KubernetesOptions, KubernetesOwner, Stop, remove_leftover_containers,
};
use serde_json::{Value, json};

use super::stub::{Fault, Stub};
use super::world::{SECRET, World, container, eventually, lease, next, with, with_secret};

struct Cluster {
    stub: Stub,
    world: World,
}

impl Cluster {
    async fn new() -> Self {
        Self::with(KubernetesOptions::default()).await
    }
    async fn with(options: KubernetesOptions) -> Self {
        let stub = Stub::start().await;
        let access = KubernetesAccess::Kubeconfig { path: stub.kubeconfig.clone(), context: None };
        let kubernetes = Kubernetes::connect(&access, options).await.unwrap();
        let world = World::new(ContainerRuntime::Kubernetes(kubernetes));
        Self { stub, world }
    }
    fn job(&self) -> Value {
        self.stub.object("jobs", &self.stub.names("jobs")[0])
    }
}

fn task() -> Lease {
    lease(container("registry.example.com/team/job:1", &["/bin/job", "{{ task.id }}"]))
}

fn task_of(change: impl FnOnce(&mut Container)) -> Lease {
    let mut image = container("registry.example.com/team/job:1", &["/bin/job"]);
    change(&mut image);
    lease(image)
}

#[tokio::test]
async fn a_job_reports_what_a_program_does() {
    let cluster = Cluster::new().await;
    let lease = with(
        task_of(|image| {
            image.cpu_millis = Some(250);
            image.memory_bytes = Some(64 << 20);
            image.service_account = Some("loader".into());
        }),
        |task| task.timeout = Some(Millis(90_500)),
    );
    let end = cluster
        .world
        .execute_while(&lease, async |go| {
            let pod = cluster.stub.pod().await;
            let (argv, env) = cluster.stub.started(&pod);
            assert_eq!(argv, ["/bin/job"]);
            assert_eq!(
                (env["PENSTOCK_FENCE"].as_str(), env["PENSTOCK_OUTPUT"].as_str()),
                (&*lease.fence.to_string(), "/dev/termination-log")
            );
            assert!(!env.contains_key("PENSTOCK_ITEMS"), "nothing would read it");
            let job = cluster.job();
            let spec = &job["spec"];
            assert_eq!(
                (&spec["backoffLimit"], &spec["activeDeadlineSeconds"], &spec["ttlSecondsAfterFinished"]),
                (&json!(0), &json!(91), &json!(3600))
            );
            let pod_spec = &spec["template"]["spec"];
            assert_eq!((&pod_spec["serviceAccountName"], &pod_spec["automountServiceAccountToken"]), (&json!("loader"), &json!(true)));
            assert_eq!(pod_spec["containers"][0]["resources"]["limits"], json!({"cpu": "250m", "memory": "67108864"}));
            cluster.stub.run(&pod);
            cluster.stub.log(&pod, "2024-01-31T02:00:00.000000001Z", "one");
            cluster.stub.log(&pod, "2024-01-31T02:00:00.000000002Z", "two");
            let said = "{\"metrics\": {\"records_out\": 5}}\n{\"output\": {\"path\": \"p\"}}\n";
            cluster.stub.end(&pod, 0, "Completed", said);
            go.closed().await;
        })
        .await;
    end.succeeded();
    assert_eq!((end.ended.exit_code, end.ended.metrics.0["records_out"], end.ended.outputs.0["path"].as_str()), (Some(0), 5.0, "\"p\""));
    assert_eq!(cluster.world.lines(&lease, "O"), ["one", "two"]);
    assert_eq!(cluster.stub.names("jobs").len(), 1, "it stays for a while, for kubectl");
    assert_eq!(cluster.world.scratch_files(), Vec::<String>::new());
}

#[tokio::test]
async fn an_exit_code_oom_and_what_a_program_says_of_itself_are_told_apart() {
    let cluster = Cluster::new().await;
    for (code, reason, message, expected) in [
        (3, "Error", "", Reason::ExitCode),
        (137, "OOMKilled", "", Reason::Oom),
        (137, "Error", "", Reason::ExitCode),
        (0, "Completed", "{\"fail\": \"bad data\"}", Reason::Task),
    ] {
        let lease = task();
        let end = cluster
            .world
            .execute_while(&lease, async |go| {
                let pod = cluster.stub.pod().await;
                cluster.stub.run(&pod);
                cluster.stub.log(&pod, "2024-01-31T02:00:00Z", "the reason");
                cluster.stub.end(&pod, code, reason, message);
                go.closed().await;
                cluster.stub.delete_pod(&pod);
            })
            .await;
        end.failed(expected);
        assert_eq!(end.ended.exit_code, Some(code));
        assert!(message.contains("bad data") || end.detail().contains("the reason"), "{end:?}");
    }
}

#[tokio::test]
async fn a_termination_message_that_was_cut_is_too_large() {
    let cluster = Cluster::new().await;
    let end = cluster
        .world
        .execute_while(&task(), async |go| {
            let pod = cluster.stub.pod().await;
            cluster.stub.end(&pod, 0, "Completed", &format!("{{\"output\": {{\"a\": 1}}}}\n{}", " ".repeat(5_000))[..4_096]);
            go.closed().await;
        })
        .await;
    end.failed(Reason::OutputTooLarge).says("4096 bytes");
}

#[tokio::test]
async fn secrets_are_in_a_secret_and_nowhere_else() {
    let cluster = Cluster::new().await;
    let lease = with_secret(task(), "DB_PASSWORD");
    let end = cluster
        .world
        .execute_while(&lease, async |go| {
            let pod = cluster.stub.pod().await;
            assert_eq!(cluster.stub.started(&pod).1["DB_PASSWORD"], SECRET);
            let secret = cluster.stub.object("secrets", &cluster.stub.names("secrets")[0]);
            assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], cluster.job()["metadata"]["uid"]);
            cluster.stub.log(&pod, "2024-01-31T02:00:00Z", "it is hunter2-first-line");
            cluster.stub.end(&pod, 3, "Error", "");
            go.closed().await;
        })
        .await;
    end.failed(Reason::ExitCode);
    assert!(!end.detail().contains("hunter2") && !cluster.world.log(&lease).contains("hunter2"));
    for object in cluster.stub.received().iter().filter(|object| object["kind"] != "Secret") {
        assert!(!object.to_string().contains("hunter2"), "{object}");
    }
    assert_eq!(cluster.stub.names("secrets"), Vec::<String>::new(), "it goes at the end");
}

#[tokio::test]
async fn values_are_never_read_again() {
    let cluster = Cluster::new().await;
    let hostile = [r#""; touch pwned; #"#, "$(id)", "$(PENSTOCK_RUN_ID)", "$$(PENSTOCK_RUN_ID)", "{{ 7*7 }}", "two\nlines", "$HOME $", ""];
    let params: serde_json::Map<_, _> = hostile.iter().enumerate().map(|(i, text)| (format!("p{i}"), (*text).into())).collect();
    let templates: Vec<String> = (0..hostile.len()).map(|i| format!("{{{{ params.p{i} }}}}")).collect();
    let mut lease = with(task_of(|image| image.args.clone_from(&templates)), |task| {
        for (i, template) in templates.iter().enumerate() {
            task.env.insert(format!("V{i}"), Setting::Template(template.clone()));
        }
    });
    lease.params = Value::Object(params).to_string().into();
    let end = cluster
        .world
        .execute_while(&lease, async |go| {
            let pod = cluster.stub.pod().await;
            let (argv, env) = cluster.stub.started(&pod);
            assert_eq!(argv[1..], hostile);
            assert_eq!((0..hostile.len()).map(|i| env[&format!("V{i}")].as_str()).collect::<Vec<_>>(), hostile);
            assert_eq!(env["PENSTOCK_PARAM_P2"], "$(PENSTOCK_RUN_ID)");
            cluster.stub.end(&pod, 0, "Completed", "");
            go.closed().await;
        })
        .await;
    end.succeeded();
}

#[tokio::test]
async fn the_operators_template_lies_under_the_job_and_its_pod_may_own_it() {
    let template = json!({
        "metadata": {"labels": {"team": "data"}},
        "spec": {
            "nodeSelector": {"pool": "etl"}, "imagePullSecrets": [{"name": "registry"}], "restartPolicy": "Always",
            "containers": [{"name": "task", "volumeMounts": [{"name": "cache", "mountPath": "/cache"}]}],
            "volumes": [{"name": "cache", "emptyDir": {}}],
        },
    });
    let owner = KubernetesOwner { namespace: "etl".into(), name: "worker-0".into(), uid: "owner".into() };
    let options = KubernetesOptions { pod_template: Some(template), owner: Some(owner), ..KubernetesOptions::default() };
    let cluster = Cluster::with(options).await;
    let end = cluster
        .world
        .execute_while(&task(), async |go| {
            let pod = cluster.stub.pod().await;
            let job = cluster.job();
            let spec = &job["spec"]["template"]["spec"];
            assert_eq!((&spec["nodeSelector"]["pool"], &spec["restartPolicy"]), (&json!("etl"), &json!("Never")));
            assert_eq!(
                (&spec["containers"][0]["volumeMounts"][0]["name"], &spec["containers"][0]["image"]),
                (&json!("cache"), &json!("registry.example.com/team/job:1"))
            );
            assert_eq!(
                (spec["containers"].as_array().unwrap().len(), &job["spec"]["template"]["metadata"]["labels"]["team"]),
                (1, &json!("data"))
            );
            assert_eq!(job["metadata"]["ownerReferences"][0]["name"], "worker-0");
            cluster.stub.end(&pod, 0, "Completed", "");
            go.closed().await;
        })
        .await;
    end.succeeded();
    // In another namespace it may own nothing.
    let elsewhere = task_of(|image| image.namespace = Some("other".into()));
    let end = cluster
        .world
        .execute_while(&elsewhere, async |go| {
            eventually("there is a second Pod", || cluster.stub.names("pods").len() == 2).await;
            let jobs = cluster.stub.received().into_iter().filter(|object| object["metadata"]["namespace"] == "other");
            assert!(jobs.inspect(|job| assert_eq!(job["metadata"]["ownerReferences"], Value::Null)).count() > 0);
            cluster.stub.names("pods").iter().for_each(|pod| cluster.stub.end(pod, 0, "Completed", ""));
            go.closed().await;
        })
        .await;
    end.succeeded();
}

#[tokio::test]
async fn what_cannot_be_started_fails_with_the_clusters_message() {
    let options = KubernetesOptions {
        image_patience: Duration::from_millis(300),
        schedule_patience: Duration::from_millis(300),
        ..KubernetesOptions::default()
    };
    let cluster = Cluster::with(options).await;
    let unschedulable = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}]});
    let waiting = |reason: &str, message: &str| {
        json!({"phase": "Pending", "containerStatuses": [{"name": "task", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": message}}}]})
    };
    for (status, says) in [
        (waiting("ImagePullBackOff", "Back-off pulling image"), "Back-off pulling image"),
        (waiting("CreateContainerConfigError", "configmap \"x\" not found"), "not found"),
        (waiting("InvalidImageName", "couldn't parse image"), "couldn't parse"),
        (unschedulable, "0/3 nodes are available"),
        (json!({"phase": "Failed", "reason": "OutOfcpu", "message": "Node didn't have enough resource"}), "didn't have enough"),
    ] {
        let lease = task();
        let end = cluster
            .world
            .execute_while(&lease, async |go| {
                let pod = cluster.stub.pod().await;
                cluster.stub.status(&pod, status);
                go.closed().await;
            })
            .await;
        end.failed(Reason::Spawn).says(says);
        eventually("the Job is deleted", || cluster.stub.names("jobs").is_empty()).await;
    }
    // What passes is waited for.
    let end = cluster
        .world
        .execute_while(&task(), async |go| {
            let pod = cluster.stub.pod().await;
            cluster.stub.waiting(&pod, "ErrImagePull", "the registry is away");
            eventually("it is told", || cluster.stub.requests("watch=true") > 0).await;
            cluster.stub.run(&pod);
            tokio::time::sleep(Duration::from_millis(500)).await;
            cluster.stub.end(&pod, 0, "Completed", "");
            go.closed().await;
        })
        .await;
    end.succeeded();
}

#[tokio::test]
async fn a_request_that_is_refused_says_what_the_server_said() {
    let cluster = Cluster::new().await;
    cluster.stub.fail("POST /apis/batch/v1/namespaces/etl/jobs", Fault::Status(403));
    cluster.world.execute(&task()).await.failed(Reason::Spawn).says("create the Job").says("a fault of the stub");
}

#[tokio::test]
async fn faults_that_pass_are_not_noticed() {
    let cluster = Cluster::new().await;
    for request in ["POST", "POST", "PATCH", "GET /apis/batch", "watch=true", "GET /api/v1/namespaces/etl/pods", "/log?"] {
        cluster.stub.fail(request, Fault::Status(503));
    }
    // It was created, and nobody heard: the second try finds the name taken.
    cluster.stub.fail("POST /apis/batch", Fault::LostAnswer);
    cluster.stub.fail("POST /api/v1/namespaces/etl/secrets", Fault::LostAnswer);
    cluster.stub.fail("PATCH", Fault::LostAnswer);
    let lease = with_secret(task(), "KEY");
    let end = cluster
        .world
        .execute_while(&lease, async |go| {
            let pod = cluster.stub.pod().await;
            cluster.stub.run(&pod);
            cluster.stub.log(&pod, "2024-01-31T02:00:00.1Z", "one");
            eventually("it is read", || cluster.world.lines(&lease, "O") == ["one"]).await;
            // Watch and log break off; the second of the first line is then asked for again.
            cluster.stub.cut();
            cluster.stub.log(&pod, "2024-01-31T02:00:00.2Z", "two");
            eventually("it is read on", || cluster.world.lines(&lease, "O") == ["one", "two"]).await;
            cluster.stub.cut();
            cluster.stub.log(&pod, "2024-01-31T02:00:03Z", "three");
            cluster.stub.end(&pod, 0, "Completed", "");
            go.closed().await;
        })
        .await;
    end.succeeded();
    assert_eq!(cluster.world.lines(&lease, "O"), ["one", "two", "three"]);
    assert_eq!(cluster.stub.names("jobs").len(), 1);
}

#[tokio::test]
async fn a_cancelled_job_is_deleted_and_waited_for() {
    for stop in [Stop::Cancel(Reason::User), Stop::Kill] {
        let cluster = Cluster::new().await;
        let lease = task();
        let end = cluster
            .world
            .execute_while(&lease, async |go| {
                let pod = cluster.stub.pod().await;
                cluster.stub.run(&pod);
                cluster.stub.log(&pod, "2024-01-31T02:00:00Z", "one");
                eventually("it is read", || cluster.world.lines(&lease, "O") == ["one"]).await;
                go.send_replace(stop);
                go.closed().await;
            })
            .await;
        end.is(State::Cancelled, if stop == Stop::Kill { Reason::Lost } else { Reason::User });
        eventually("nothing is left", || ["jobs", "pods", "secrets"].iter().all(|kind| cluster.stub.names(kind).is_empty())).await;
        assert_eq!(
            cluster.stub.requests("DELETE /api/v1/namespaces/etl/pods/"),
            usize::from(stop == Stop::Kill),
            "who is killed gets no grace"
        );
    }
}

#[tokio::test]
async fn a_job_that_is_cancelled_before_it_runs_starts_nothing() {
    let cluster = Cluster::new().await;
    // While it is prepared: the list of the task's Jobs gets no answer for a while.
    for _ in 0..4 {
        cluster.stub.fail("GET /apis/batch/v1/namespaces/etl/jobs?", Fault::Status(503));
    }
    let end = cluster
        .world
        .execute_while(&task(), async |go| {
            eventually("it is created", || !cluster.stub.names("jobs").is_empty()).await;
            go.send_replace(Stop::Cancel(Reason::User));
            go.closed().await;
        })
        .await;
    end.is(State::Cancelled, Reason::User);
    eventually("nothing is left", || cluster.stub.names("jobs").is_empty()).await;
    assert_eq!(cluster.stub.requests("PATCH"), 0);
    // While it waits for an image.
    let end = cluster
        .world
        .execute_while(&task(), async |go| {
            let pod = cluster.stub.pod().await;
            cluster.stub.waiting(&pod, "ContainerCreating", "");
            go.send_replace(Stop::Cancel(Reason::User));
            go.closed().await;
        })
        .await;
    end.is(State::Cancelled, Reason::User);
}

#[tokio::test]
async fn a_job_ends_at_its_timeout_by_whichever_clock() {
    let cluster = Cluster::new().await;
    let end = cluster
        .world
        .execute_while(&with(task(), |task| task.timeout = Some(Millis(1_000))), async |go| {
            let pod = cluster.stub.pod().await;
            cluster.stub.run(&pod);
            go.closed().await;
        })
        .await;
    end.failed(Reason::Timeout);
    eventually("nothing is left", || cluster.stub.names("jobs").is_empty()).await;
    // Kubernetes was first: the Job was there before this worker.
    let end = cluster
        .world
        .execute_while(&with(task(), |task| task.timeout = Some(Millis(100_000))), async |go| {
            let pod = cluster.stub.pod().await;
            cluster.stub.run(&pod);
            eventually("it is watched", || cluster.stub.requests("watch=true") > 1).await;
            cluster.stub.fail_job("DeadlineExceeded", "Job was active longer than specified deadline");
            cluster.stub.delete_pod(&pod);
            go.closed().await;
        })
        .await;
    end.failed(Reason::Timeout);
}

#[tokio::test]
async fn a_pod_that_the_cluster_takes_away_is_lost_and_not_failed() {
    let cluster = Cluster::new().await;
    let lose = async |status: Option<Value>| {
        let lease = task();
        let end = cluster
            .world
            .execute_while(&lease, async |go| {
                let pod = cluster.stub.pod().await;
                cluster.stub.run(&pod);
                cluster.stub.log(&pod, "2024-01-31T02:00:00Z", "one");
                eventually("it is read", || cluster.world.lines(&lease, "O") == ["one"]).await;
                match status {
                    Some(status) => cluster.stub.status(&pod, status),
                    None => cluster.stub.delete_pod(&pod),
                }
                go.closed().await;
            })
            .await;
        eventually("the Job is deleted", || cluster.stub.names("jobs").is_empty()).await;
        end
    };
    let drained = json!({"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drain"}],
        "containerStatuses": [{"name": "task", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 143}}}]});
    lose(Some(drained)).await.failed(Reason::Lost).says("EvictionByEvictionAPI: drain");
    lose(Some(json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"})))
        .await
        .failed(Reason::Lost)
        .says("low on memory");
    lose(None).await.failed(Reason::Lost).says("deleted");
}

/// Executes an attempt until its Pod runs, and loses it: its worker dies.
async fn lose(cluster: &Cluster, lease: &Lease) -> String {
    let (_go, attempt) = cluster.world.spawn(lease);
    let pod = cluster.stub.pod().await;
    cluster.stub.run(&pod);
    cluster.stub.log(&pod, "2024-01-31T02:00:00Z", "one");
    eventually("it is read", || cluster.world.log(lease).contains("one")).await;
    attempt.abort();
    assert!(attempt.await.unwrap_err().is_cancelled());
    pod
}

#[tokio::test]
async fn an_attempt_that_is_executed_again_adopts_its_job() {
    let cluster = Cluster::new().await;
    let lease = with_secret(task(), "KEY");
    let pod = lose(&cluster, &lease).await;
    let end = cluster
        .world
        .execute_while(&lease, async |go| {
            eventually("it is adopted", || cluster.world.log(&lease).contains("is there already")).await;
            assert_eq!(cluster.stub.names("pods"), [pod.as_str()]);
            cluster.stub.end(&pod, 0, "Completed", "{\"output\": {\"a\": 1}}");
            go.closed().await;
        })
        .await;
    end.succeeded();
    assert_eq!(end.ended.outputs.0["a"], "1");
    assert_eq!(cluster.stub.requests("PATCH"), 1, "it was resumed once");
    // What ended while nobody looked is not run again.
    let again = cluster.world.execute(&lease).await;
    assert_eq!(again.succeeded().ended.outputs.0["a"], "1");
    assert_eq!(cluster.stub.names("pods").len(), 1);
}

#[tokio::test]
async fn a_pod_of_an_earlier_job_of_the_same_name_is_no_answer() {
    let cluster = Cluster::new().await;
    let lease = task();
    let end = async |code: i32| {
        cluster
            .world
            .execute_while(&lease, async |go| {
                eventually("there is a new Pod", || cluster.stub.names("pods").iter().any(|pod| !pod.starts_with("a-"))).await;
                let pod = cluster.stub.names("pods").into_iter().find(|pod| !pod.starts_with("a-")).unwrap();
                cluster.stub.end(&pod, code, "Error", "");
                go.closed().await;
            })
            .await
    };
    end(0).await.succeeded();
    cluster.stub.orphan();
    end(3).await.failed(Reason::ExitCode);
}

#[tokio::test]
async fn a_later_attempt_deletes_the_earlier_and_starts_when_it_is_gone() {
    let cluster = Cluster::new().await;
    let first = task();
    let old = lose(&cluster, &first).await;
    let second = next(&first);
    let end = cluster
        .world
        .execute_while(&second, async |go| {
            eventually("there is another Pod", || cluster.stub.names("pods").iter().any(|pod| *pod != old)).await;
            assert_eq!(cluster.stub.names("pods").len(), 1, "the earlier is gone before");
            let pod = cluster.stub.pod().await;
            cluster.stub.end(&pod, 0, "Completed", "");
            go.closed().await;
        })
        .await;
    end.succeeded();
    assert!(cluster.world.log(&second).contains("of an earlier attempt is there"));
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_waited_for_but_not_for_ever() {
    let options = KubernetesOptions { stop_patience: Duration::from_millis(500), ..KubernetesOptions::default() };
    let cluster = Cluster::with(options).await;
    cluster.stub.set_deaf();
    // An earlier attempt may still run there: the next one does not start.
    let first = task();
    let pod = lose(&cluster, &first).await;
    let second = next(&first);
    cluster.world.execute(&second).await.failed(Reason::Lost).says("of an earlier attempt may still run");
    assert_eq!(cluster.stub.names("pods"), [pod.as_str()]);
    // Nor does the same attempt adopt what is being deleted.
    cluster.world.execute(&first).await.failed(Reason::Lost).says("does not go");

    let options = KubernetesOptions { stop_patience: Duration::from_millis(500), ..KubernetesOptions::default() };
    let cluster = Cluster::with(options).await;
    cluster.stub.set_deaf();
    let lease = with(task(), |task| task.grace = Millis(100));
    let end = cluster
        .world
        .execute_while(&lease, async |go| {
            let pod = cluster.stub.pod().await;
            cluster.stub.run(&pod);
            eventually("it is seen", || cluster.stub.requests("/log?") > 0).await;
            go.send_replace(Stop::Cancel(Reason::User));
            go.closed().await;
        })
        .await;
    end.is(State::Cancelled, Reason::User).says("may still run");
}

#[tokio::test]
async fn a_stale_lease_starts_nothing_and_leaves_the_later_one_alone() {
    let cluster = Cluster::new().await;
    let first = task();
    let second = next(&first);
    let same = Lease { fence: Fence(second.fence.0 - 1), ..second.clone() };
    let end = cluster
        .world
        .execute_while(&second, async |go| {
            let pod = cluster.stub.pod().await;
            cluster.stub.run(&pod);
            for stale in [&first, &same] {
                cluster.world.execute(stale).await.is(State::Cancelled, Reason::Lost).says("does not hold any more");
            }
            eventually("only the later is left", || cluster.stub.names("jobs").len() == 1).await;
            assert_eq!(cluster.stub.names("pods"), [pod.as_str()]);
            cluster.stub.end(&pod, 0, "Completed", "");
            go.closed().await;
        })
        .await;
    end.succeeded();
}

#[tokio::test]
async fn a_name_that_someone_else_took_is_told_and_left_alone() {
    let cluster = Cluster::new().await;
    let lease = task();
    let end = cluster
        .world
        .execute_while(&lease, async |go| {
            let pod = cluster.stub.pod().await;
            cluster.stub.end(&pod, 0, "Completed", "");
            go.closed().await;
        })
        .await;
    end.succeeded();
    let name = cluster.stub.names("jobs").remove(0);
    cluster
        .stub
        .put("jobs", json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "etl", "uid": "other"}}));
    cluster.world.execute(&lease).await.failed(Reason::Spawn).says("none of Penstock's");
    assert_eq!(cluster.stub.object("jobs", &name)["metadata"]["uid"], "other");
}

#[tokio::test]
async fn a_starting_worker_deletes_what_its_former_life_left() {
    let cluster = Cluster::new().await;
    lose(&cluster, &task()).await;
    let other = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "other", "namespace": "etl", "uid": "other"}});
    cluster.stub.put("jobs", other);
    remove_leftover_containers(&cluster.world.host).await.unwrap();
    eventually("it is gone", || cluster.stub.names("jobs") == ["other"]).await;
    // Without the right to look everywhere, in its own namespace.
    lose(&cluster, &task()).await;
    cluster.stub.fail("GET /apis/batch/v1/jobs", Fault::Status(403));
    remove_leftover_containers(&cluster.world.host).await.unwrap();
    eventually("it is gone", || cluster.stub.names("jobs") == ["other"]).await;
    cluster.stub.fail("GET /apis/batch/v1/jobs", Fault::Status(404));
    assert!(remove_leftover_containers(&cluster.world.host).await.unwrap_err().contains("list this worker's Jobs"));
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_read_is_told() {
    let access = KubernetesAccess::Kubeconfig { path: "/no/such/kubeconfig".into(), context: None };
    assert!(Kubernetes::connect(&access, KubernetesOptions::default()).await.unwrap_err().contains("/no/such/kubeconfig"));
    let stub = Stub::start().await;
    let access = KubernetesAccess::Kubeconfig { path: stub.kubeconfig.clone(), context: Some("nobody".into()) };
    assert!(Kubernetes::connect(&access, KubernetesOptions::default()).await.unwrap_err().contains("nobody"));
    let options = KubernetesOptions { pod_template: Some(json!({"spec": {"containers": 1}})), ..KubernetesOptions::default() };
    let access = KubernetesAccess::Kubeconfig { path: stub.kubeconfig.clone(), context: None };
    assert!(Kubernetes::connect(&access, options).await.unwrap_err().contains("Pod template"));
}
