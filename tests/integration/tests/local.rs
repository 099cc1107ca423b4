//! `penstock run`: a laptop, one process, one command. The insurance example, also killed in the middle of a load.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use penstock_integration::{Insurance, LATE, Ran, SOON, eventually, figure, is_release, penstock, tokio_command, turn};
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// A folder with the example in it.
struct Desk {
    folder: tempfile::TempDir,
    insurance: Insurance,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("makes a folder");
        let insurance = Insurance::copy(&folder.path().join("insurance"));
        Self { folder, insurance }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn work(&self) -> PathBuf {
        self.path().join("insurance/work")
    }

    async fn run(&self, more: &[&str]) -> Ran {
        penstock(self.path(), &[&["run", "insurance/pipeline.yaml"], more].concat()).await.without_panic()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_insurance_pipeline_loads_what_an_independent_count_says_also_twice_and_after_a_kill_in_a_load() {
    let _turn = turn().await;
    let desk = Desk::new();
    let since = Instant::now();
    let first = desk.run(&[]).await;
    assert_eq!(first.code, 0, "{first:#?}");
    figure("penstock run of the insurance pipeline", format!("{:.2} s", since.elapsed().as_secs_f64()));
    let sums = desk.insurance.verify(&desk.work());
    for task in ["start", "extract_customers", "transform", "load_dwh", "load_datamart", "load_reporting"] {
        assert!(first.stdout.lines().any(|l| l.contains("SUCCESS") && l.contains(task)), "a line a task: {}", first.stdout);
    }
    assert!(first.stdout.contains("rejected"), "records are shown: {}", first.stdout);
    let again = desk.run(&[]).await;
    assert_eq!(again.code, 0, "{again:#?}");
    assert_eq!(desk.insurance.verify(&desk.work()), sums, "a second run changes nothing");

    // Killed while a load holds its transaction open.
    let mut killed = tokio_command();
    killed
        .args(["run", "insurance/pipeline.yaml", "--run-id", "killed", "--param", "slow=4"])
        .current_dir(desk.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut killed = killed.spawn().expect("starts");
    let log = desk.path().join(".penstock/logs/killed/load_dwh/1.log");
    eventually("the load is in the middle", LATE, || async {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("slow: sleeping")).then_some(())
    })
    .await;
    killed.kill().await.expect("is killed");
    let after = desk.run(&[]).await;
    assert_eq!(after.code, 0, "{after:#?}");
    assert_eq!(desk.insurance.verify(&desk.work()), sums, "a load that was killed leaves nothing behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_task_has_started_a_moment_after_the_process() {
    let _turn = turn().await;
    let desk = Desk::new();
    let limit = Duration::from_millis(if is_release() { 300 } else { 2_000 });
    let mut times = Vec::new();
    // The first time with a new store, then with one that has history. The best is the program's own time.
    for _ in 0..3 {
        let mut command = tokio_command();
        command.args(["run", "insurance/pipeline.yaml"]).current_dir(desk.path()).stdout(std::process::Stdio::piped());
        let since = Instant::now();
        let mut child = command.spawn().expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
        let first = async {
            while let Some(line) = lines.next_line().await.expect("is text") {
                // The task `start` does nothing and may have ended before it is first shown; then the next ones are the first.
                if line.contains("RUNNING") {
                    return since.elapsed();
                }
            }
            panic!("no line says that the first task started");
        };
        times.push(tokio::time::timeout(SOON, first).await.expect("comes"));
        while lines.next_line().await.expect("is text").is_some() {}
        assert!(child.wait().await.expect("ends").success());
    }
    figure("from the process's start to the first task's start line", format!("{times:?}"));
    let best = times.iter().min().expect("there are some");
    assert!(*best < limit, "{times:?}: {limit:?} is the limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_status_is_zero_for_success_one_for_failure_two_for_a_bad_file() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("writes");
    file("good.yaml", "pipeline: good\ntasks: {one: {shell: 'true'}}\n");
    file(
        "fails.yaml",
        "pipeline: fails\ntasks:\n  one: {shell: 'echo it is broken >&2; exit 7'}\n  two: {noop: true, depends_on: [one]}\n",
    );
    file("bad.yaml", "pipeline: bad\ntasks: {one: {noop: maybe}}\n");
    let code = async |file: &str| penstock(folder.path(), &["run", file]).await.without_panic();
    assert_eq!(code("good.yaml").await.code, 0);
    let fails = code("fails.yaml").await;
    assert_eq!(fails.code, 1, "{fails:#?}");
    assert!(fails.stdout.contains("FAILED(exit_code)") && fails.stdout.contains("it is broken"), "the reason is shown: {}", fails.stdout);
    assert!(fails.stdout.contains("SKIPPED(upstream_failed)"), "{}", fails.stdout);
    let bad = code("bad.yaml").await;
    assert_eq!(bad.code, 2, "{bad:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_the_file_does_not_have_is_told_before_anything_is_stored() {
    let _turn = turn().await;
    let desk = Desk::new();
    let ran = desk.run(&["--only", "nope"]).await;
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(ran.stderr.contains("there is no task nope; its tasks are ") && ran.stderr.contains("transform"), "{}", ran.stderr);
    assert!(!desk.path().join(".penstock").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn run_with_json_prints_the_ended_run_and_nothing_else() {
    let folder = tempfile::tempdir().expect("makes a folder");
    std::fs::write(
        folder.path().join("p.yaml"),
        "pipeline: p\nparams: {x: {type: int, default: 1}}\ntasks: {one: {noop: true}, two: {shell: exit 1, depends_on: [one]}}\n",
    )
    .expect("writes");
    let ran = penstock(folder.path(), &["run", "p.yaml", "--json", "--param", "x=5", "--run-id", "mine"]).await.without_panic();
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    let run = ran.json();
    assert_eq!(
        (&run["run_id"], &run["pipeline"], &run["state"], &run["params"]["x"]),
        (&serde_json::json!("mine"), &serde_json::json!("p"), &serde_json::json!("FAILED"), &serde_json::json!(5))
    );
    let states: Vec<_> = run["tasks"].as_array().expect("is a list").iter().map(|t| t["state"].as_str().unwrap_or_default()).collect();
    assert_eq!(states, ["SUCCESS", "FAILED"]);
    // The same run id again, over a restart of everything: still one run, shown as it ended.
    let again = penstock(folder.path(), &["run", "p.yaml", "--json", "--param", "x=5", "--run-id", "mine"]).await.without_panic();
    assert_eq!((again.code, again.json()), (1, run));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_many_mapped_instances_ends_in_little_memory() {
    let _turn = turn().await;
    let dir = tempfile::tempdir().expect("makes a folder");
    // What a release build is measured by; the debug build takes five times as long for each.
    let count = if is_release() { 100_000 } else { 20_000 };
    let document =
        format!("pipeline: many\ntasks:\n  a: {{for_each: {{range: {count}}}, noop: true}}\n  b: {{depends_on: [a], noop: true}}\n");
    std::fs::write(dir.path().join("many.yaml"), document).unwrap();
    let since = Instant::now();
    let mut command = tokio_command();
    command.args(["run", "many.yaml"]).current_dir(dir.path()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let pid = child.id().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = String::new();
    let mut most = 0;
    while let Some(line) = lines.next_line().await.unwrap() {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).and_then(|v| v.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        most = most.max(peak.unwrap_or(0));
        if line.contains(" instances: ") {
            last = line;
        }
    }
    assert!(child.wait().await.unwrap().success());
    assert!(last.contains(&format!("{count} instances: {count} SUCCESS")), "{last}");
    figure(&format!("{count} instances"), format!("{:.1} s, at most {} MB", since.elapsed().as_secs_f64(), most / 1024));
    assert!(most > 0 && most < 200 * 1024, "at most 200 MB: {most} kB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_begin_ends_the_command_with_its_error() {
    let _turn = turn().await;
    let desk = Desk::new();
    let ran = desk.run(&["--containers", "podman", "--container-option=--no-such-option"]).await;
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(ran.stderr.contains("containers of this worker's former life"), "{}", ran.stderr);
}
