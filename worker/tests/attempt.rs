//! Attempts as they are executed: real supervisors, real programs, real signals. Conditions are waited for with a generous
//! limit; no test counts on how long anything takes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use penstock_common::lease::Lease;
use penstock_common::limits::{MAX_LOG_BYTES, MAX_METRICS_PER_TASK};
use penstock_common::metrics::{Metrics, Outputs};
use penstock_common::pipeline::{Action, Task};
use penstock_common::{Interval, Millis, Reason, State, TaskId, Timestamp};
use penstock_worker::attempt::{Stop, become_subreaper, execute, wait_for_leftovers};
use rustix::process::{Pid, Signal, kill_process};
use support::{LIMIT, World, assert_ended, ended, eventually, template, with};
use tokio::sync::watch;

fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn parent(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A program that ignores SIGTERM, with a child, and a grandchild that has left session and parent.
const STUBBORN_TREE: &str = r#"
trap '' TERM
(setsid sh -c 'trap "" TERM; echo $$ > "$PIDS/orphan"; while :; do sleep 1; done' &)
sh -c 'echo $$ > "$PIDS/child"; exec sleep 1000' &
echo $$ > "$PIDS/main"
while :; do sleep 1; done
"#;
const STUBBORN: [&str; 3] = ["main", "child", "orphan"];

async fn stubborn_pids(world: &World) -> Vec<i32> {
    let mut pids = Vec::new();
    for name in STUBBORN {
        pids.push(world.pid(name).await);
    }
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    pids
}

// What runs, and with what.

#[tokio::test]
async fn a_noop_needs_no_files_and_no_process() {
    let mut world = World::new();
    world.host.supervisor.clear();
    world.host.scratch = "/nowhere".into();
    let (lease, host) = (world.lease(Action::Noop), world.host.clone());
    // Spawned, as a worker does it.
    let (_go, stop) = watch::channel(Stop::Go);
    let ended = ended(tokio::spawn(async move { execute(&lease, &host, stop, None).await }).await.unwrap());
    assert_eq!((ended.state, ended.reason), (State::Success, None));
    assert!(std::fs::read_dir(world.root.join("logs")).unwrap().next().is_none());
}

#[tokio::test]
async fn arguments_stay_arguments() {
    let world = World::new();
    let nasty = ["a b", "'q'", "\"d\"", "$(id)", "*", "", "-e", "a\nb", "é;&|"];
    let argv: Vec<_> = ["printf", "[%s]"].into_iter().chain(nasty).collect();
    let ended = world.execute(&world.run(&argv)).await;
    assert_eq!(ended.state, State::Success, "{}", ended.detail);
    assert_eq!(world.lines("O").join("\n"), nasty.map(|s| format!("[{s}]")).concat());
    assert_eq!(ended.exit_code, Some(0));
    assert!(ended.started_at > Timestamp(0) && ended.ended_at > ended.started_at);
    assert_eq!(world.scratch_files(), [""; 0]);
}

#[tokio::test]
async fn templates_reach_arguments_variables_and_the_working_directory() {
    let world = World::new();
    std::fs::create_dir(world.root.join("code/eu")).unwrap();
    let mut lease = with(
        world.run(&["sh", "-c", "echo \"$0|$1|$VALUE\"; pwd", "{{ params.n + 1 }}", "{{ outputs.extract.path }} {{ interval.date }}"]),
        |task| {
            task.env.insert(
                "VALUE".into(),
                template("{{ run.id }} {{ run.trigger }} {{ task.id }} {{ task.attempt }} {{ outputs.extract.rows }}"),
            );
            task.workdir = "{{ params.region }}".into();
        },
    );
    lease.params = r#"{"n": 41, "region": "eu"}"#.into();
    lease.interval = Interval::new(Timestamp(1_706_580_000_000), Timestamp(1_706_666_400_000));
    let outputs = BTreeMap::from([("path".to_owned(), "\"/a b\"".to_owned()), ("rows".to_owned(), "[1,2]".to_owned())]);
    lease.outputs.insert(TaskId::parse("extract").unwrap(), Outputs(outputs));
    let ended = world.execute(&lease).await;
    assert_eq!(ended.state, State::Success, "{}", ended.detail);
    let cwd = world.root.join("code/eu").canonicalize().unwrap();
    assert_eq!(world.lines("O"), ["42|/a b 2024-01-30|run-1 manual load 2 [1,2]", cwd.to_str().unwrap()]);
}

#[tokio::test]
async fn what_is_undefined_is_a_template_error_that_names_the_element() {
    let world = World::new();
    let mut lease = world.run(&["echo", "ok", "{{ params.regio }}"]);
    lease.params = r#"{"region": "eu"}"#.into();
    let ended = world.execute(&lease).await;
    assert_ended(&ended, State::Failed, Reason::Template);
    assert!(ended.detail.contains("run[2]") && ended.detail.contains("params.{region}"), "{}", ended.detail);
    assert_eq!((ended.started_at, ended.exit_code), (Timestamp(0), None));
    assert_eq!(world.lines("P"), [&*ended.detail]);

    for (change, element) in [
        ((|task: &mut Task| task.workdir = "{{ interval.date }}".into()) as fn(&mut Task), "workdir"),
        (|task| drop(task.env.insert("X".into(), template("{{ 1 / }}"))), "env.X"),
        (|task| drop(task.env.insert("A=B".into(), template("1"))), "A=B"),
        (|task| task.action = Action::Run(vec!["echo".into(), "{% for i in range(9999999) %}x{% endfor %}".into()]), "run[1]"),
        (|task| task.action = Action::Run(vec!["echo".into(), "{{ 'x' * 200000 }}".into()]), "run[1]"),
        (|task| task.action = Action::Run(vec!["echo".into(), "{{ '\\u0000' }}\0".into()]), "run[1]"),
        (|task| task.action = Action::Run(vec!["{{ '' }}".into()]), "run[0]"),
    ] {
        let ended = world.execute(&with(world.run(&["true"]), change)).await;
        assert_ended(&ended, State::Failed, Reason::Template);
        assert!(ended.detail.contains(element), "{}", ended.detail);
    }
}

#[tokio::test]
async fn a_script_gets_values_as_variables_and_stops_at_the_first_error() {
    let world = World::new();
    let mut lease = world.shell("printf '%s\\n' \"$PENSTOCK_PARAM_NAME\" '{{ params.name }}'; false; echo not reached");
    lease.params = r#"{"name": "$(echo injected); rm -rf \"x\""}"#.into();
    let ended = world.execute(&lease).await;
    assert_ended(&ended, State::Failed, Reason::ExitCode);
    assert_eq!(world.lines("O"), ["$(echo injected); rm -rf \"x\"", "{{ params.name }}"]);
    let ended = world.execute(&world.shell("echo $NOT_SET")).await;
    assert_ended(&ended, State::Failed, Reason::ExitCode);
}

#[tokio::test]
async fn the_environment_is_the_workers_without_penstocks_own_and_then_the_documents() {
    let mut world = World::new();
    let vars = [("PATH", env!("PATH")), ("HOME", "/h"), ("PENSTOCK_TOKEN", "canary"), ("LANG", "C"), ("KEPT", "1")];
    let vars = vars.map(|(name, value)| (name.into(), value.into()));
    world.host.env = penstock_worker::attempt::inherited(vars).into();
    let mut lease = with(world.shell("env; for fd in /proc/$$/fd/*; do echo fd ${fd##*/} $(readlink $fd); done"), |task| {
        task.env.insert("LANG".into(), template("C.UTF-8"));
        task.env.insert("PENSTOCK_FENCE".into(), template("0"));
    });
    lease.params = r#"{"n": 5, "s": "x y", "b": true}"#.into();
    lease.interval = Interval::new(Timestamp(1_706_580_000_000), Timestamp(1_706_666_400_000));
    let ended = world.execute(&lease).await;
    assert_eq!(ended.state, State::Success, "{}", ended.detail);
    let lines = world.lines("O");
    let fence = format!("PENSTOCK_FENCE={}", lease.fence);
    for expected in [
        "HOME=/h",
        "KEPT=1",
        "LANG=C.UTF-8",
        "PENSTOCK_RUN_ID=run-1",
        "PENSTOCK_PIPELINE=daily",
        "PENSTOCK_TASK_ID=load",
        "PENSTOCK_ATTEMPT=2",
        &fence,
        "PENSTOCK_IDEMPOTENCY_KEY=run-1/load/1",
        "PENSTOCK_INTERVAL_START=2024-01-30T02:00:00.000Z",
        "PENSTOCK_INTERVAL_END=2024-01-31T02:00:00.000Z",
        "PENSTOCK_INTERVAL_DATE=2024-01-30",
        r#"PENSTOCK_PARAMS={"n": 5, "s": "x y", "b": true}"#,
        "PENSTOCK_PARAM_N=5",
        "PENSTOCK_PARAM_S=x y",
        "PENSTOCK_PARAM_B=true",
        "TRACEPARENT=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected} is not in {lines:#?}");
    }
    assert!(!world.log().contains("canary"));
    assert!(lines.iter().any(|line| line == "fd 0 /dev/null"), "{lines:#?}");
    // Neither the lock nor the control socket is there; only what whoever started this test left open.
    assert!(!lines.iter().any(|line| line.contains("leftovers.lock")), "{lines:#?}");
    let own: Vec<_> = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fd.unwrap().path().read_link().ok()).collect();
    for socket in lines.iter().filter_map(|line| line.split(' ').nth(2).filter(|to| to.starts_with("socket:"))) {
        assert!(own.iter().any(|fd| fd.to_str() == Some(socket)), "{lines:#?}");
    }
    assert!(world.lines("P")[0].contains("env.PENSTOCK_FENCE"));
}

#[tokio::test]
async fn what_cannot_be_started_says_what_was_tried_and_what_to_do() {
    let world = World::new();
    let code = world.root.join("code");
    std::fs::write(code.join("plain.sh"), "#!/bin/sh\n").unwrap();
    std::fs::write(code.join("lost.py"), "#!/no/such/python\n").unwrap();
    std::fs::write(code.join("garbage"), "garbage").unwrap();
    for name in ["lost.py", "garbage"] {
        std::fs::set_permissions(code.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let many: Vec<String> = std::iter::once("echo".into()).chain(std::iter::repeat_n("x".repeat(100_000), 100)).collect();
    let cases: [(Lease, &[&str]); 8] = [
        (world.run(&["no-such-program"]), &["no program \"no-such-program\" in PATH (", "install it"]),
        (world.run(&["./missing.py"]), &["code/./missing.py does not exist", "on this worker?"]),
        (world.run(&["./plain.sh"]), &["code/./plain.sh is not executable", "chmod +x"]),
        (world.run(&["./lost.py"]), &["lost.py exists", "#!/no/such/python"]),
        (world.run(&["./garbage"]), &["garbage is neither a binary"]),
        (with(world.run(&["true"]), |task| task.workdir = "nowhere".into()), &["code/nowhere cannot be entered", "code root"]),
        (with(world.run(&["true"]), |task| task.workdir = "garbage".into()), &["code/garbage is not a directory"]),
        (world.lease(Action::Run(many)), &["too long", "put large values into a file"]),
    ];
    for (lease, parts) in cases {
        let ended = world.execute(&lease).await;
        assert_ended(&ended, State::Failed, Reason::Spawn);
        assert_eq!((ended.started_at, ended.exit_code), (Timestamp(0), None));
        for part in parts {
            assert!(ended.detail.contains(part), "{part:?} is not in {:?}", ended.detail);
        }
        assert_eq!(world.lines("P").last().unwrap(), &*ended.detail);
    }
    // A path is relative to the working directory, and argv[0] is as written.
    std::fs::set_permissions(code.join("plain.sh"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::create_dir(code.join("sub")).unwrap();
    let ended = world.execute(&with(world.run(&["../plain.sh"]), |task| task.workdir = "sub".into())).await;
    assert_eq!(ended.state, State::Success, "{}", ended.detail);
}

#[tokio::test]
async fn a_worker_that_cannot_start_anything_says_why() {
    let mut world = World::new();
    world.host.supervisor = vec!["/no/such/supervisor".into()];
    let ended = world.execute(&world.run(&["true"])).await;
    assert_ended(&ended, State::Failed, Reason::Spawn);
    assert!(ended.detail.contains("/no/such/supervisor"), "{}", ended.detail);

    world.host.supervisor = vec!["sh".into(), "-c".into(), "echo not me >&2; exit 3".into()];
    let ended = world.execute(&world.run(&["true"])).await;
    assert_ended(&ended, State::Failed, Reason::Spawn);
    assert!(ended.detail.contains("ended with exit code 3") && ended.detail.contains("not me"), "{}", ended.detail);

    let mut world = World::new();
    world.host.scratch = world.root.join("gone");
    let ended = world.execute(&world.run(&["true"])).await;
    assert_ended(&ended, State::Failed, Reason::Spawn);
    assert!(ended.detail.contains("scratch directory"), "{}", ended.detail);
}

// How it ends.

#[tokio::test]
async fn a_failure_shows_the_last_lines_of_the_log() {
    let world = World::new();
    let script = "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; echo 'Traceback: é' >&2; exit 3";
    let ended = world.execute(&world.shell(script)).await;
    assert_ended(&ended, State::Failed, Reason::ExitCode);
    assert_eq!(ended.exit_code, Some(3));
    assert!(ended.detail.starts_with("exit code 3:\nline "), "{}", ended.detail);
    assert!(ended.detail.ends_with("line 499\nTraceback: é"), "{}", ended.detail);
    assert_eq!(world.lines("O").len(), 500);

    let ended = world.execute(&world.shell("kill -SEGV $$")).await;
    assert_ended(&ended, State::Failed, Reason::ExitCode);
    assert_eq!((ended.exit_code, &*ended.detail), (None, "ended by SIGSEGV (11); it logged nothing"));
    let ended = world.execute(&world.shell("kill -KILL $$")).await;
    assert!(ended.detail.starts_with("killed by SIGKILL, not by Penstock"), "{}", ended.detail);
}

#[tokio::test]
async fn a_timeout_ends_the_whole_tree() {
    let world = World::new();
    let lease = with(world.shell(STUBBORN_TREE), |task| {
        task.timeout = Some(Millis(1_500));
        task.grace = Millis(300);
    });
    let mut pids = Vec::new();
    let ended = world
        .execute_while(&lease, async |go| {
            pids = stubborn_pids(&world).await;
            go.closed().await;
        })
        .await;
    assert_ended(&ended, State::Failed, Reason::Timeout);
    assert!(ended.detail.contains("1s500ms"), "{}", ended.detail);
    assert!(pids.iter().all(|pid| !is_alive(*pid)), "{pids:?}");
}

#[tokio::test]
async fn a_cancelled_program_has_its_grace_and_then_ends_with_its_tree() {
    let world = World::new();
    let polite = "trap 'echo cleaning up; exit 0' TERM; echo $$ > $PIDS/polite; while :; do sleep 0.05 || true; done";
    let lease = with(world.shell(polite), |task| task.grace = Millis(3_600_000));
    let ended = world
        .execute_while(&lease, async |go| {
            world.pid("polite").await;
            go.send_replace(Stop::Cancel(Reason::User));
            go.closed().await;
        })
        .await;
    assert_ended(&ended, State::Cancelled, Reason::User);
    assert_eq!(ended.exit_code, Some(0));
    assert_eq!(world.lines("O"), ["cleaning up"]);

    let lease = with(world.shell(STUBBORN_TREE), |task| task.grace = Millis(100));
    let mut pids = Vec::new();
    let ended = world
        .execute_while(&lease, async |go| {
            pids = stubborn_pids(&world).await;
            go.send_replace(Stop::Cancel(Reason::RunTimeout));
            go.closed().await;
        })
        .await;
    assert_ended(&ended, State::Cancelled, Reason::RunTimeout);
    assert!(pids.iter().all(|pid| !is_alive(*pid)), "{pids:?}");
}

#[tokio::test]
async fn a_cancel_that_comes_first_starts_nothing() {
    let world = World::new();
    let (_go, stop) = watch::channel(Stop::Cancel(Reason::User));
    let ended = world.execute_until(&world.shell("echo $$ > $PIDS/never"), stop).await;
    assert_ended(&ended, State::Cancelled, Reason::User);
    assert_eq!(ended.started_at, Timestamp(0));
    assert!(!world.root.join("pids/never").exists());
}

#[tokio::test]
async fn a_stopped_program_hears_that_it_is_to_end() {
    let world = World::new();
    let lease = with(world.shell("echo $$ > $PIDS/main; kill -STOP $$; sleep 1000"), |task| task.grace = Millis(3_600_000));
    let ended = world
        .execute_while(&lease, async |go| {
            world.pid("main").await;
            go.send_replace(Stop::Cancel(Reason::User));
            go.closed().await;
        })
        .await;
    assert_ended(&ended, State::Cancelled, Reason::User);
}

#[tokio::test]
async fn kill_is_at_once_whatever_the_grace() {
    for drop_sender in [false, true] {
        let world = World::new();
        let lease = with(world.shell(STUBBORN_TREE), |task| task.grace = Millis(3_600_000));
        let mut pids = Vec::new();
        let ended = world
            .execute_while(&lease, async |go| {
                pids = stubborn_pids(&world).await;
                if !drop_sender {
                    // Also when it is being cancelled.
                    go.send_replace(Stop::Cancel(Reason::User));
                    go.send_replace(Stop::Kill);
                    go.closed().await;
                }
            })
            .await;
        assert_ended(&ended, State::Cancelled, Reason::Lost);
        assert!(pids.iter().all(|pid| !is_alive(*pid)), "{pids:?}");
    }
}

#[tokio::test]
async fn what_forks_without_end_is_killed() {
    let world = World::new();
    // Chains, each link of which leaves its session, starts the next and exits; and one that breeds sleepers.
    let chain = r#"exec setsid sh -c 'echo $$ > "$PIDS/chain"; setsid sh "$1" "$1" & exit 0' x "$1""#;
    std::fs::write(world.root.join("code/chain.sh"), chain).unwrap();
    let script = r#"
trap '' TERM
for i in 1 2 3 4 5 6; do setsid sh chain.sh chain.sh & done
(while :; do sleep 1000 & sleep 0.01; done) &
echo $$ > "$PIDS/main"
while :; do sleep 1; done
"#;
    let lease = with(world.shell(script), |task| task.grace = Millis(50));
    let ended = world
        .execute_while(&lease, async |go| {
            world.pid("main").await;
            world.pid("chain").await;
            go.send_replace(Stop::Cancel(Reason::User));
            go.closed().await;
        })
        .await;
    assert_ended(&ended, State::Cancelled, Reason::User);
    assert!(!ended.detail.contains("could not be killed"), "{}", ended.detail);
    let mark = format!("PENSTOCK_FENCE={}", lease.fence);
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        assert!(!environ.split(|b| *b == 0).any(|var| var == mark.as_bytes()), "{entry:?} is left");
    }
}

#[tokio::test]
async fn what_a_program_leaves_running_is_killed_when_it_ends() {
    let world = World::new();
    // Both hold standard output open.
    let script = r#"
(setsid sh -c 'echo $$ > "$PIDS/orphan"; exec sleep 1000' &)
sh -c 'echo $$ > "$PIDS/child"; exec sleep 1000' &
while ! [ -s "$PIDS/orphan" ] || ! [ -s "$PIDS/child" ]; do sleep 0.01; done
echo done
"#;
    let ended = world.execute(&world.shell(script)).await;
    assert_eq!(ended.state, State::Success, "{}", ended.detail);
    for name in ["orphan", "child"] {
        assert!(!is_alive(world.pid(name).await), "{name}");
    }
    assert_eq!(world.lines("O"), ["done"]);
    assert!(world.lines("P")[0].contains("left 2 processes running"), "{:?}", world.lines("P"));
}

#[tokio::test]
async fn a_pipe_held_by_a_stranger_does_not_hang_the_attempt() {
    let world = World::new();
    let lease = world.shell("echo hello; echo $$ > $PIDS/main; while [ -e $PIDS/main ]; do sleep 0.01; done");
    let mut held = None;
    let ended = world
        .execute_while(&lease, async |go| {
            let pid = world.pid("main").await;
            held = Some(std::fs::OpenOptions::new().write(true).open(format!("/proc/{pid}/fd/1")).unwrap());
            std::fs::remove_file(world.root.join("pids/main")).unwrap();
            go.closed().await;
        })
        .await;
    assert_eq!(ended.state, State::Success, "{}", ended.detail);
    assert_eq!(world.lines("O"), ["hello"]);
    assert!(world.lines("P")[0].contains("holds its output open"));
}

// When Penstock's own processes die.

#[tokio::test]
async fn dropping_an_attempt_kills_its_tree() {
    let world = World::new();
    let lease = with(world.shell(STUBBORN_TREE), |task| task.grace = Millis(3_600_000));
    let (_go, stop) = watch::channel(Stop::Go);
    let pids = tokio::select! {
        ended = execute(&lease, &world.host, stop, None) => panic!("{ended:?}"),
        pids = stubborn_pids(&world) => pids,
    };
    eventually("all are dead", || pids.iter().all(|pid| !is_alive(*pid))).await;
    wait_for_leftovers(&world.host.scratch, LIMIT).unwrap();
    assert_eq!(world.scratch_files(), [""; 0]);
}

/// Not a test: the worker that `a_killed_worker_leaves_nobody` kills.
#[tokio::test]
#[ignore = "run by another test"]
async fn helper_worker() {
    let world = World::at(Path::new(&std::env::var_os("HELPER_ROOT").unwrap()));
    world.execute(&world.shell(STUBBORN_TREE)).await;
}

#[tokio::test]
async fn a_killed_worker_leaves_nobody_and_the_next_one_waits_for_that() {
    let world = World::new();
    let mut worker = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_worker", "--ignored", "--nocapture"])
        .env("HELPER_ROOT", &world.root)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let pids = stubborn_pids(&world).await;
    assert_eq!(world.scratch_files().len(), 1);
    worker.kill().unwrap();
    wait_for_leftovers(&world.host.scratch, LIMIT).unwrap();
    assert!(pids.iter().all(|pid| !is_alive(*pid)), "{pids:?}");
    assert_eq!(world.scratch_files(), [""; 0]);
    worker.wait().unwrap();
}

#[tokio::test]
async fn a_killed_supervisor_takes_its_tree_with_it() {
    become_subreaper().unwrap();
    let world = World::new();
    let mut pids = Vec::new();
    let ended = world
        .execute_while(&world.shell(STUBBORN_TREE), async |go| {
            pids = stubborn_pids(&world).await;
            let supervisor = parent(pids[0]);
            // Only SIGKILL ends it, and not what a service manager sends to everyone.
            signal(supervisor, Signal::TERM);
            signal(supervisor, Signal::INT);
            signal(supervisor, Signal::HUP);
            signal(supervisor, Signal::KILL);
            go.closed().await;
        })
        .await;
    assert_ended(&ended, State::Failed, Reason::ExitCode);
    assert!(ended.detail.contains("supervisor process was killed by SIGKILL (9)"), "{}", ended.detail);
    assert!(pids.iter().all(|pid| !is_alive(*pid)), "{pids:?}");
}

#[tokio::test]
async fn a_supervisor_that_is_stopped_does_not_stop_a_cancel() {
    become_subreaper().unwrap();
    let world = World::new();
    let mut pids = Vec::new();
    let lease = with(world.shell(STUBBORN_TREE), |task| task.grace = Millis(0));
    let ended = world
        .execute_while(&lease, async |go| {
            pids = stubborn_pids(&world).await;
            signal(parent(pids[0]), Signal::STOP);
            go.send_replace(Stop::Cancel(Reason::User));
            go.closed().await;
        })
        .await;
    assert_ended(&ended, State::Cancelled, Reason::User);
    assert!(pids.iter().all(|pid| !is_alive(*pid)), "{pids:?}");
}

// What it reports.

#[tokio::test]
async fn metrics_and_outputs_are_read_and_the_last_value_wins() {
    let world = World::new();
    let script = r#"
cat >> "$PENSTOCK_OUTPUT" <<'END'
{"metrics": {"records_in": 1, "bytes": 5}}

{"metrics": {"records_in": 1200, "own.metric": 0.5}, "output": {"path": "/a", "n": 1}}
{"output": {"path": {"b": [1, null]}}}
END
printf '{"output": {"last": "no newline"}}' >> "$PENSTOCK_OUTPUT"
"#;
    let ended = world.execute(&world.shell(script)).await;
    assert_eq!(ended.state, State::Success, "{}", ended.detail);
    let metrics = [("records_in", 1200.0), ("bytes", 5.0), ("own.metric", 0.5)].map(|(k, v)| (k.to_owned(), v));
    assert_eq!(ended.metrics, Metrics(metrics.into()));
    let outputs = [("path", r#"{"b":[1,null]}"#), ("n", "1"), ("last", "\"no newline\"")];
    assert_eq!(ended.outputs, Outputs(outputs.map(|(k, v)| (k.to_owned(), v.to_owned())).into()));
    assert_eq!(world.lines("P"), [""; 0]);
}

#[tokio::test]
async fn metrics_are_shown_while_the_program_runs() {
    let world = World::new();
    let script = r#"
echo '{"metrics": {"records_in": 1}}' >> "$PENSTOCK_OUTPUT"
while ! [ -e "$PIDS/seen" ]; do sleep 0.01; done
echo '{"metrics": {"records_in": 2}}' > "$PENSTOCK_OUTPUT"
"#;
    let lease = world.shell(script);
    let (_go, stop) = watch::channel(Stop::Go);
    let (live, mut shown) = watch::channel(Metrics::default());
    let watcher = async {
        let one = tokio::time::timeout(LIMIT, shown.wait_for(|m| m.0.get("records_in") == Some(&1.0))).await;
        one.unwrap().unwrap();
        std::fs::write(world.root.join("pids/seen"), "").unwrap();
    };
    let (report, ()) = tokio::join!(execute(&lease, &world.host, stop, Some(live)), watcher);
    let ended = ended(report);
    // The file was written anew: what it says now counts.
    assert_eq!(ended.metrics.0.get("records_in"), Some(&2.0));
}

#[tokio::test]
async fn what_cannot_be_understood_is_warned_about_and_ignored() {
    let world = World::new();
    let script = r#"
cat >> "$PENSTOCK_OUTPUT" <<'END'
not json
[1, 2]
{"metrics": {"text": "5", "huge": 1e999}}
{"metrics": {"text": "5", "null": null, "a b": 1, "ok": 1}}
{"metrics": 5}
{"output": {"Bad-Key": 1, "good": 2}}
{"metric": {"a": 1}}
{"skip": true}
END
i=0; while [ $i -lt 100 ]; do echo "{\"metrics\": {\"m$i\": $i}}"; i=$((i+1)); done >> "$PENSTOCK_OUTPUT"
"#;
    let ended = world.execute(&world.shell(script)).await;
    assert_eq!(ended.state, State::Success, "{}", ended.detail);
    assert_eq!(ended.metrics.0.len(), MAX_METRICS_PER_TASK);
    assert_eq!(ended.outputs.0.keys().collect::<Vec<_>>(), ["good"]);
    let warnings = world.lines("P");
    for (line, part) in [
        (1, "not JSON"),
        (2, "not a JSON object"),
        (3, "not JSON"),
        (4, "metric \"text\" ignored, as it is a text"),
        (4, "metric \"null\" ignored, as it is null"),
        (4, "metric \"a b\" ignored: its name"),
        (5, "\"metrics\" ignored, as it is a number"),
        (6, "output \"Bad-Key\" ignored"),
        (7, "\"metric\" ignored: the keys are"),
        (8, "\"skip\" ignored"),
        (72, "an attempt has at most 64"),
    ] {
        let at = format!("line {line} of the output file");
        assert!(warnings.iter().any(|w| w.contains(&at) && w.contains(part)), "{line} {part}: {warnings:#?}");
    }
    assert_eq!(warnings.last().unwrap(), "27 more warnings about the output file");
}

#[tokio::test]
async fn a_task_can_say_that_it_skips_or_fails() {
    let world = World::new();
    let ended = world.execute(&world.shell(r#"echo '{"skip": "no file today"}' >> $PENSTOCK_OUTPUT"#)).await;
    assert_ended(&ended, State::Skipped, Reason::Task);
    assert_eq!(&*ended.detail, "no file today");
    let script = r#"echo '{"output": {"a": 1}, "metrics": {"records_in": 3}, "fail": "bad data"}' >> $PENSTOCK_OUTPUT; exit 1"#;
    let ended = world.execute(&world.shell(script)).await;
    assert_ended(&ended, State::Failed, Reason::Task);
    assert_eq!((&*ended.detail, ended.exit_code), ("bad data", Some(1)));
    assert_eq!((ended.outputs.0.len(), ended.metrics.0.len()), (0, 1));
}

#[tokio::test]
async fn an_integer_that_would_become_another_fails_the_task() {
    let world = World::new();
    let put = |line: &str| world.shell(&format!("echo '{line}' >> $PENSTOCK_OUTPUT"));
    let ended = world.execute(&put(r#"{"output": {"id": 18446744073709551615, "least": -9223372036854775808}}"#)).await;
    assert_eq!((ended.outputs.0["id"].as_str(), ended.outputs.0["least"].as_str()), ("18446744073709551615", "-9223372036854775808"));
    let ended = world.execute(&put(r#"{"output": {"id": 18446744073709551616}}"#)).await;
    assert_ended(&ended, State::Failed, Reason::Task);
    assert!(ended.detail.contains("line 1 of the output file: the integer 18446744073709551616 has more than 64 bits"), "{}", ended.detail);
}

#[tokio::test]
async fn too_much_output_fails_with_the_advice_to_pass_a_reference() {
    let world = World::new();
    let script = r#"x=$(head -c 70000 /dev/zero | tr '\0' x); echo "{\"output\": {\"x\": \"$x\"}}" >> "$PENSTOCK_OUTPUT""#;
    let ended = world.execute(&world.shell(script)).await;
    assert_ended(&ended, State::Failed, Reason::OutputTooLarge);
    assert!(ended.detail.contains("70003 bytes") && ended.detail.contains("pass a reference"), "{}", ended.detail);

    // Ended by itself; and one that would run on, and is stopped so that the disk is spared.
    for then in ["", "sleep 1000"] {
        let begun = Instant::now();
        let ended = world.execute(&world.shell(&format!("truncate -s 10G $PENSTOCK_OUTPUT; {then}"))).await;
        assert_ended(&ended, State::Failed, Reason::OutputTooLarge);
        assert!(ended.detail.contains("10737418240 bytes"), "{}", ended.detail);
        assert!(begun.elapsed() < LIMIT);
    }
    let ended = world.execute(&world.shell("head -c 2000000 /dev/zero >> $PENSTOCK_OUTPUT")).await;
    assert_ended(&ended, State::Failed, Reason::OutputTooLarge);
    assert!(ended.detail.contains("line 1 of the output file has more than"), "{}", ended.detail);
    assert_eq!(world.scratch_files(), [""; 0]);
}

#[tokio::test]
async fn an_output_file_that_is_no_file_is_warned_about() {
    for script in ["rm $PENSTOCK_OUTPUT; mkfifo $PENSTOCK_OUTPUT", "rm $PENSTOCK_OUTPUT; ln -s /dev/zero $PENSTOCK_OUTPUT"] {
        let world = World::new();
        let ended = world.execute(&world.shell(script)).await;
        assert_eq!(ended.state, State::Success, "{}", ended.detail);
        assert!(world.lines("P")[0].contains("not a regular file"), "{:?}", world.lines("P"));
    }
    let world = World::new();
    assert_eq!(world.execute(&world.shell("rm $PENSTOCK_OUTPUT")).await.state, State::Success);
}

// What it logs.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_without_newline_and_not_utf8_is_taken_and_cut() {
    let world = World::new();
    let ended = world.execute(&world.shell("head -c 300000000 /dev/zero | tr '\\0' '\\377'; echo; echo the end; exit 4")).await;
    assert_ended(&ended, State::Failed, Reason::ExitCode);
    assert!(ended.detail.ends_with("the end"), "{}", ended.detail);
    let file = world.root.join("logs/run-1/load/2.log");
    assert!(file.metadata().unwrap().len() <= MAX_LOG_BYTES + 1024 * 1024);
    let log = world.log();
    assert!(log.contains('\u{FFFD}') && log.contains("bytes were dropped"));
    assert!(log.lines().all(|line| line.len() <= 3 * 64 * 1024 + 64));
}

#[tokio::test]
async fn a_log_that_cannot_be_written_fails_nothing() {
    // A full disk.
    let world = World::new();
    let log = world.root.join("logs/run-1/load");
    std::fs::create_dir_all(&log).unwrap();
    std::os::unix::fs::symlink("/dev/full", log.join("2.log")).unwrap();
    let ended = world.execute(&world.shell("seq 100000; echo last >&2; exit 3")).await;
    assert_ended(&ended, State::Failed, Reason::ExitCode);
    assert!(ended.detail.ends_with("last"), "{}", ended.detail);
    // No place at all.
    let mut world = World::new();
    world.host.log_root = "/dev/null/logs".into();
    assert_eq!(world.execute(&world.shell("seq 100000")).await.state, State::Success);
}

/// Not a test: what one attempt costs.
#[tokio::test]
#[ignore = "a measurement: cargo test --release -p penstock-worker --test attempt -- --ignored --nocapture measure"]
async fn measure() {
    const N: u32 = 300;
    let world = World::new();
    let per = |begun: Instant| begun.elapsed() / N;
    let begun = Instant::now();
    for _ in 0..N {
        std::process::Command::new("true").status().unwrap();
    }
    println!("spawn of true: {:?}", per(begun));
    let lease = world.run(&["true"]);
    let begun = Instant::now();
    for _ in 0..N {
        assert_eq!(world.execute(&lease).await.state, State::Success);
    }
    println!("attempt of true: {:?}", per(begun));
    let lease = world.lease(Action::Noop);
    let (_go, stop) = watch::channel(Stop::Go);
    let begun = Instant::now();
    for _ in 0..N * 1000 {
        execute(&lease, &world.host, stop.clone(), None).await;
    }
    println!("attempt of noop: {:?}", per(begun) / 1000);
    let lease = world.shell("echo $$ > $PIDS/main; sleep 1000");
    world
        .execute_while(&lease, async |go| {
            let supervisor = parent(world.pid("main").await);
            let status = std::fs::read_to_string(format!("/proc/{supervisor}/status")).unwrap();
            let rollup = std::fs::read_to_string(format!("/proc/{supervisor}/smaps_rollup")).unwrap();
            for line in status.lines().chain(rollup.lines()) {
                if ["VmRSS", "Threads", "Private_Dirty", "Pss:", "voluntary"].iter().any(|name| line.starts_with(name)) {
                    println!("supervisor {line}");
                }
            }
            go.send_replace(Stop::Kill);
            go.closed().await;
        })
        .await;
}
