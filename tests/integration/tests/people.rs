//! What people do with pipelines and ended runs: registering folders, pauses, generations of archived runs, marks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use penstock_client::Submit;
use penstock_client::v1::State;
use penstock_integration::{Cluster, Options, SOON, eventually, turn};

async fn one_of_each() -> Cluster {
    Cluster::start(Options { coordinators: 1, workers: 1, ..Options::default() }).await
}

fn submit(pipeline: &str, run: &str) -> Submit {
    Submit { run_id: Some(run.to_owned()), ..Submit::of(pipeline) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_registered_whole_or_not_at_all_and_pruned() {
    let _turn = turn().await;
    let cluster = one_of_each().await;
    let client = cluster.client();
    let folder = cluster.dir().join("pipelines");
    std::fs::create_dir_all(folder.join("deeper")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("a.yaml", "pipeline: a\ntasks: {t: {noop: true}}\n");
    write("deeper/b.yml", "pipeline: b\ntasks: {t: {noop: true}}\n");
    write("values.yaml", "replicas: 3\n");
    client.register("o", "pipeline: old\ntasks: {t: {noop: true}}\n").await.unwrap();
    client.register("e", "pipeline: elsewhere/x\ntasks: {t: {noop: true}}\n").await.unwrap();
    let folder_name = folder.to_str().unwrap();
    let names = || async {
        let all = client.pipelines().await.unwrap().pipelines;
        all.into_iter().filter(|p| p.unregistered.is_none()).map(|p| p.name).collect::<Vec<_>>()
    };

    write("broken.yaml", "pipeline: broken\ntasks: {t: {noop: true, dependson: []}}\n");
    let refused = cluster.penstock(&["register", folder_name]).await.without_panic();
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("broken.yaml:2:") && refused.stderr.contains("dependson"), "{}", refused.stderr);
    assert_eq!(names().await, ["old", "elsewhere/x"], "nothing was registered");
    std::fs::remove_file(folder.join("broken.yaml")).unwrap();

    let dry = cluster.penstock(&["register", folder_name, "--prune", "--dry-run"]).await.well();
    for line in ["pipeline a version 1: new version", "pipeline b version 1: new version", "pipeline old version 1: would be unregistered"]
    {
        assert!(dry.stdout.contains(line), "{}", dry.stdout);
    }
    assert_eq!(names().await, ["old", "elsewhere/x"], "a dry run changes nothing");
    // What is meant to be a pipeline and is none is not taken for one that went.
    for text in ["pipelin: old\ntasks: {t: {noop: true}}\n", "name: old\ntasks: {t: {noop: true}}\n", "pipeliens: [\n"] {
        write("old.yaml", text);
        let refused = cluster.penstock(&["register", folder_name, "--prune"]).await.without_panic();
        assert_eq!(refused.code, 2);
        assert!(refused.stderr.contains("old.yaml: error: it has no `pipeline`, but it has `"), "{}", refused.stderr);
    }
    assert_eq!(names().await, ["old", "elsewhere/x"], "nothing was registered or pruned");
    std::fs::remove_file(folder.join("old.yaml")).unwrap();
    cluster.penstock(&["register", folder_name, "--prune"]).await.well();
    assert_eq!(names().await, ["a", "b", "elsewhere/x"]);
    let refused = client.submit(Submit::of("old")).await.unwrap_err();
    assert!(refused.to_string().contains("was unregistered"), "{refused}");
    cluster.penstock(&["unregister", "a", "--note", "not needed"]).await.well();
    assert_eq!(names().await, ["b", "elsewhere/x"]);
    assert_eq!(client.register("a", "pipeline: a\ntasks: {t: {noop: true}}\n").await.unwrap().version, 2, "registered again");
    client.submit(submit("a", "again")).await.unwrap();
    assert_eq!(cluster.wait("again", SOON).await.run.state(), State::Success);

    // The last file of a namespace went: only who says so takes off what is left.
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::create_dir(&folder).unwrap();
    let refused = cluster.penstock(&["register", folder_name, "--prune"]).await.without_panic();
    assert!(refused.code == 2 && refused.stderr.contains("--prune-namespace"), "{}", refused.stderr);
    let dry = cluster.penstock(&["register", folder_name, "--prune-namespace", "elsewhere", "--dry-run"]).await.well();
    assert_eq!(dry.stdout, "pipeline elsewhere/x version 1: would be unregistered\n");
    cluster.penstock(&["register", folder_name, "--prune-namespace", "elsewhere"]).await.well();
    assert_eq!(names().await, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_pipeline_starts_nothing_and_a_paused_run_goes_on_when_it_is_resumed() {
    let _turn = turn().await;
    let cluster = one_of_each().await;
    let client = cluster.client();
    let document = "pipeline: p\ntasks:\n  a: {shell: \"until [ -e go ]; do sleep 0.1; done\"}\n  b: {noop: true, depends_on: [a]}\n";
    client.register("p", document).await.unwrap();
    client.submit(submit("p", "r")).await.unwrap();
    eventually("it runs", SOON, || async { (client.get("r", 0).await.ok()?.tasks[0].state() == State::Running).then_some(()) }).await;
    cluster.penstock(&["pause", "r", "--note", "wait for the dump"]).await.well();
    cluster.penstock(&["pause", "--pipeline", "p"]).await.well();
    client.submit(submit("p", "s")).await.unwrap();
    std::fs::write(cluster.code().join("go"), "").unwrap();
    eventually("what ran has ended", SOON, || async { (client.get("r", 0).await.ok()?.tasks[0].state() == State::Success).then_some(()) })
        .await;
    let kinds = |ran: penstock_integration::Ran| -> Vec<String> {
        ran.json().as_array().unwrap().iter().map(|w| w["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(cluster.penstock(&["explain", "r", "b", "-o", "json"]).await.well()), ["run_paused", "pipeline_paused"]);
    assert_eq!(kinds(cluster.penstock(&["explain", "s", "-o", "json"]).await.well()), ["pipeline_paused"]);
    cluster.penstock(&["resume", "--pipeline", "p"]).await.well();
    assert_eq!(cluster.wait("s", SOON).await.run.state(), State::Success);
    assert_eq!(client.get("r", 0).await.unwrap().tasks[1].state(), State::Pending, "the run itself is paused still");
    cluster.penstock(&["resume", "r"]).await.well();
    assert_eq!(cluster.wait("r", SOON).await.run.state(), State::Success);
    let shown = cluster.penstock(&["get", "r"]).await.well().stdout;
    assert!(shown.contains("wait for the dump") && shown.contains("(unverified)"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_run_is_brought_back_for_a_rerun_and_its_attempts_go_on() {
    let _turn = turn().await;
    let mut cluster = one_of_each().await;
    let client = cluster.client();
    let document = "pipeline: p\nparams: {n: {type: int, default: 1}}\ntasks:\n  a: {run: [\"true\"]}\n  b: {depends_on: [a], for_each: [x, y], run: [\"true\"]}\n  c: {depends_on: [b], noop: true}\n";
    client.register("p", document).await.unwrap();
    client.submit(submit("p", "r")).await.unwrap();
    assert_eq!(cluster.wait("r", SOON).await.run.state(), State::Success);
    eventually("it is archived", SOON, || async { (client.cluster().await.ok()?.live_runs == 0).then_some(()) }).await;
    let refused = cluster.penstock(&["rerun", "r", "nosuch+"]).await.without_panic();
    assert!(refused.code != 0 && refused.stderr.contains("nosuch"), "{}", refused.stderr);
    cluster.penstock(&["rerun", "r", "--only", "b[y]", "--note", "look again"]).await.well();
    let numbers = |run: &penstock_client::Run| -> Vec<(String, Vec<u32>)> {
        run.tasks.iter().map(|t| (t.id.clone(), t.attempts.iter().map(|a| a.number).collect())).collect()
    };
    let second = eventually("the second generation ends", SOON, || async {
        let run = client.get("r", 0).await.ok()?;
        (run.run.generation == 2 && run.run.state() == State::Success).then_some(run)
    })
    .await;
    let expected = [("a", vec![1]), ("b", vec![]), ("c", vec![1]), ("b[x]", vec![1]), ("b[y]", vec![1, 2])];
    assert_eq!(numbers(&second), expected.map(|(id, n)| (id.to_owned(), n)));
    // And over a restart, of everything from the mapped task on.
    cluster.server(0).kill();
    cluster.restart_server(0);
    cluster.ready().await;
    cluster.penstock(&["rerun", "r", "--from", "b"]).await.well();
    let third = eventually("the third generation ends", SOON, || async {
        let run = client.get("r", 0).await.ok()?;
        (run.run.generation == 3 && run.run.state() == State::Success).then_some(run)
    })
    .await;
    let expected = [("a", vec![1]), ("b", vec![]), ("c", vec![1, 2]), ("b[x]", vec![1, 2]), ("b[y]", vec![1, 2, 3])];
    assert_eq!(numbers(&third), expected.map(|(id, n)| (id.to_owned(), n)));
    let fences: Vec<u64> = third.tasks.iter().find(|t| t.id == "b[y]").unwrap().attempts.iter().map(|a| a.fence).collect();
    assert!(fences.is_sorted() && fences[0] < fences[2], "fences go on rising: {fences:?}");
    let latest = cluster.penstock(&["rerun", "r", "--latest", "-o", "json"]).await.well().json();
    let again = cluster.wait(latest["run_id"].as_str().unwrap(), SOON).await;
    assert_eq!((again.run.state(), again.run.params.as_str()), (State::Success, "{\"n\":1}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_and_a_rerun_by_filter_mend_the_morning_after() {
    let _turn = turn().await;
    let cluster = one_of_each().await;
    let client = cluster.client();
    let document = "pipeline: p\ntasks:\n  a: {shell: \"[ -e go ]\"}\n  b: {depends_on: [a], noop: true}\n";
    client.register("p", document).await.unwrap();
    for run in ["r1", "r2", "r3"] {
        client.submit(submit("p", run)).await.unwrap();
        assert_eq!(cluster.wait(run, SOON).await.run.state(), State::Failed);
    }
    cluster.penstock(&["mark", "r1", "a", "--as", "success", "--note", "loaded by hand"]).await.well();
    let marked = eventually("the marked run ends", SOON, || async {
        let run = client.get("r1", 0).await.ok()?;
        (run.run.generation == 2 && run.run.state() == State::Success).then_some(run)
    })
    .await;
    assert_eq!((marked.tasks[0].state(), marked.tasks[0].reason.as_str()), (State::Success, "marked"));
    assert_eq!(marked.tasks[1].attempts.len(), 1, "what is below it ran");
    std::fs::write(cluster.code().join("go"), "").unwrap();
    let rerun = cluster.penstock(&["rerun", "--pipeline", "p", "--state", "FAILED", "--since", "6h", "-o", "json"]).await.well().json();
    assert_eq!(rerun.as_array().unwrap().len(), 2, "{rerun}");
    for run in ["r2", "r3"] {
        eventually("it is mended", SOON, || async { (client.get(run, 0).await.ok()?.run.state() == State::Success).then_some(()) }).await;
    }
    let only = cluster.penstock(&["submit", "p", "--only", "b", "--interval", "2024-01-31", "--wait", "-o", "json"]).await.well().json();
    assert_eq!((only["tasks"][0]["reason"].as_str(), only["tasks"][1]["state"].as_str()), (Some("not_selected"), Some("SUCCESS")));
    assert_eq!(only["interval"]["start"], "2024-01-31T00:00:00.000Z");
}
