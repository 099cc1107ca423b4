//! A real podman, in a store of its own, with an image of nothing but busybox.
//!
//! The same holds for docker: `PENSTOCK_TEST_DOCKER=unix:///run/docker.sock cargo test … podman:: -- --test-threads 1` runs these
//! tests with it. That needs a daemon which holds nothing but what these tests make.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use penstock_common::lease::Lease;
use penstock_common::pipeline::Setting;
use penstock_common::{Fence, Millis, Reason, State};
use penstock_worker::attempt::{CommandLine, ContainerRuntime, Stop, remove_leftover_containers};
use rustix::process::{Pid, Signal, kill_process};

use super::world::{End, SECRET, World, container, eventually, lease, next, processes_of, with, with_secret};

const IMAGE: &str = "localhost/busybox:1";

/// A host with podman.
struct Podman {
    world: World,
    podman: CommandLine,
    store: tempfile::TempDir,
}

impl Podman {
    fn new() -> Self {
        let store = tempfile::tempdir().unwrap();
        if let Some(host) = std::env::var_os("PENSTOCK_TEST_DOCKER") {
            let mut docker = CommandLine::new("docker");
            docker.args = vec!["--host".into(), host];
            return Self::with(docker, store);
        }
        let mut podman = CommandLine::new("podman");
        let at = |dir: &str| store.path().join(dir).into_os_string();
        // A machine without systemd, without an overlay, perhaps with cgroups of version 1: it must do all the same.
        podman.args = vec!["--root".into(), at("root"), "--runroot".into(), at("run"), "--tmpdir".into(), at("tmp")];
        let rest = ["--storage-driver", "vfs", "--runtime", "/usr/sbin/runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file"];
        podman.args.extend(rest.map(Into::into));
        Self::with(podman, store)
    }

    fn with(mut podman: CommandLine, store: tempfile::TempDir) -> Self {
        podman.create_args = ["--network", "host", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"].map(Into::into).to_vec();
        let this = Self { world: World::new(ContainerRuntime::Cli(podman.clone())), podman, store };
        this.import();
        this
    }

    /// The image, from a tar of busybox and its applets.
    fn import(&self) {
        let files = self.store.path().join("image");
        std::fs::create_dir_all(files.join("bin")).unwrap();
        std::fs::create_dir_all(files.join("work")).unwrap();
        let busybox = files.join("bin/busybox");
        let copied = std::fs::copy("/bin/busybox", &busybox);
        copied.expect("a static /bin/busybox; install what the tests need: apt-get install podman runc busybox-static");
        for applet in ["sh", "sleep", "cat", "ln", "printf", "id", "head", "tail", "dd", "ls", "seq", "rm", "env"] {
            std::os::unix::fs::symlink("busybox", files.join("bin").join(applet)).unwrap();
        }
        let mut tar = Command::new("tar").arg("c").arg("-C").arg(&files).arg(".").stdout(Stdio::piped()).spawn().unwrap();
        let mut import =
            self.command(&["import", "--change", "WORKDIR /work", "--change", "CMD [\"/bin/printf\", \"the image's own\"]", "-"]);
        let imported = import.arg(IMAGE).stdin(tar.stdout.take().unwrap()).output();
        let imported = imported.expect("podman; install what the tests need: apt-get install podman runc busybox-static");
        assert!(tar.wait().unwrap().success() && imported.status.success(), "{imported:?}");
    }

    fn is_docker(&self) -> bool {
        self.podman.program == "docker"
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.podman.program);
        command.args(&self.podman.args).args(arguments);
        command
    }
    fn say(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
    fn containers(&self) -> Vec<String> {
        self.say(&["ps", "--all", "--format", "{{.Names}}"]).lines().map(str::to_owned).collect()
    }
    fn running(&self) -> Vec<String> {
        self.say(&["ps", "--format", "{{.Names}}"]).lines().map(str::to_owned).collect()
    }

    /// A script in the image's shell.
    fn shell(&self, script: &str) -> Lease {
        lease(container(IMAGE, &["/bin/sh", "-eu", "-c", script]))
    }
    async fn execute(&self, lease: &Lease) -> End {
        self.world.execute(lease).await
    }
    /// A file that the attempt's program sees at `/penstock`.
    fn shared(&self, file: &str) -> PathBuf {
        let scratch = self.world.root.join("scratch");
        let mut dirs = std::fs::read_dir(scratch).unwrap().map(|entry| entry.unwrap().path());
        dirs.find(|path| path.join("shared").is_dir()).map_or_else(|| "/nowhere".into(), |dir| dir.join("shared").join(file))
    }
    async fn is_there(&self, file: &str) {
        eventually(file, || self.shared(file).exists()).await;
    }
    fn guards(&self) -> Vec<i32> {
        let mut processes = processes_of(&self.world.root);
        processes.retain(|(_, command)| command.contains("penstock-supervise"));
        processes.into_iter().map(|(pid, _)| pid).collect()
    }

    /// Executes an attempt until it runs, and loses it: its worker and its guard die, the container goes on.
    async fn lose(&self, lease: &Lease) {
        let (_go, attempt) = self.world.spawn(lease);
        self.is_there("running").await;
        eventually("it logs", || self.world.log(lease).contains("started")).await;
        let guards = self.guards();
        assert_eq!(guards.len(), 1, "{guards:?}");
        kill_process(Pid::from_raw(guards[0]).unwrap(), Signal::KILL).unwrap();
        eventually("the guard is dead", || self.guards().is_empty()).await;
        attempt.abort();
        assert!(attempt.await.unwrap_err().is_cancelled());
        assert_eq!(self.running().len(), 1);
    }

    fn nothing_is_left(&self) {
        assert_eq!(self.containers(), Vec::<String>::new());
        assert_eq!(self.world.scratch_files(), Vec::<String>::new());
    }
}

impl Drop for Podman {
    /// A failed test may leave containers, and mounts in the store.
    fn drop(&mut self) {
        for name in self.containers() {
            let _ = self.command(&["kill", &name]).output();
            let _ = self.command(&["rm", "--force", &name]).output();
        }
    }
}

/// Runs until a file says that it may end.
const UNTIL_GO: &str = "echo started; echo x >> /penstock/running; while ! [ -e /penstock/go ]; do sleep 0.05; done; echo went on";

#[tokio::test(flavor = "multi_thread")]
async fn a_container_reports_what_a_program_does() {
    let podman = Podman::new();
    let script = r#"
        echo out; echo err >&2
        echo "$PENSTOCK_RUN_ID $PENSTOCK_TASK_ID $PENSTOCK_ATTEMPT $PENSTOCK_FENCE $GREETING in $PWD"
        echo '{"metrics": {"records_out": 5}, "output": {"path": "p"}}' >> "$PENSTOCK_OUTPUT"
        echo '{"n": 1}' > "$PENSTOCK_ITEMS""#;
    let lease = with(podman.shell(script), |task| {
        task.env.insert("GREETING".into(), Setting::Template("hello {{ task.id }}".into()));
    });
    let end = podman.execute(&lease).await;
    end.succeeded();
    assert_eq!((end.ended.exit_code, end.ended.metrics.0["records_out"], end.ended.outputs.0["path"].as_str()), (Some(0), 5.0, "\"p\""));
    assert_eq!(end.items.unwrap().len(), 1);
    assert!(end.ended.started_at > penstock_common::Timestamp(0));
    let told = format!("{} load 1 {} hello load in /work", lease.run, lease.fence);
    assert_eq!(podman.world.lines(&lease, "O"), ["out", &told]);
    assert_eq!(podman.world.lines(&lease, "E"), ["err"]);
    podman.nothing_is_left();
    eventually("the guard has ended", || podman.guards().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_command_the_images_own_is_run_and_arguments_replace_its_own() {
    let podman = Podman::new();
    let own = lease(container(IMAGE, &[]));
    podman.execute(&own).await.succeeded();
    assert_eq!(podman.world.lines(&own, "O"), ["the image's own"]);
    let mut replaced = container(IMAGE, &[]);
    replaced.args = vec!["/bin/printf".into(), "{{ task.id }}".into()];
    let replaced = lease(replaced);
    podman.execute(&replaced).await.succeeded();
    assert_eq!(podman.world.lines(&replaced, "O"), ["load"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_code_fails_with_the_last_lines() {
    let podman = Podman::new();
    // These are what podman itself ends with when it cannot start something: the program's own are its own.
    for code in [3, 125, 126, 127] {
        let end = podman.execute(&podman.shell(&format!("echo before; echo the reason >&2; exit {code}"))).await;
        end.failed(Reason::ExitCode).says("the reason").says(&format!("exit code {code}"));
        assert_eq!(end.ended.exit_code, Some(code));
    }
    podman.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_says_why() {
    let podman = Podman::new();
    let end = podman.execute(&lease(container(IMAGE, &["/no/such/program"]))).await;
    end.failed(Reason::Spawn).says("/no/such/program").says("no such file");
    let end = podman.execute(&lease(container("localhost/none:1", &[]))).await;
    end.failed(Reason::Spawn).says("localhost/none:1");
    let end = podman.execute(&lease(container("--privileged", &[]))).await;
    end.failed(Reason::Template).says("--privileged").says("no image's name");
    podman.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_is_not_installed_is_told() {
    let world = World::new(ContainerRuntime::Cli(CommandLine::new("/no/such/podman")));
    world.execute(&lease(container(IMAGE, &[]))).await.failed(Reason::Spawn).says("/no/such/podman").says("Install it");
    assert!(remove_leftover_containers(&world.host).await.unwrap_err().contains("/no/such/podman"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_container_gets_sigterm_and_after_its_grace_sigkill() {
    let podman = Podman::new();
    let cancel = async |script: &str, stop: Stop| {
        let lease = with(podman.shell(script), |task| task.grace = Millis(1_000));
        let end = podman.world.execute_while(&lease, async |go| {
            podman.is_there("running").await;
            go.send_replace(stop);
            // Whoever drops the sender kills.
            go.closed().await;
        });
        (end.await, lease)
    };
    let (end, lease) =
        cancel("trap 'echo stopping; exit 0' TERM; echo > /penstock/running; while :; do sleep 0.05; done", Stop::Cancel(Reason::User))
            .await;
    end.is(State::Cancelled, Reason::User);
    assert_eq!(podman.world.lines(&lease, "O"), ["stopping"]);
    podman.nothing_is_left();

    let deaf = "trap '' TERM; echo > /penstock/running; while :; do sleep 0.05; done";
    cancel(deaf, Stop::Cancel(Reason::User)).await.0.is(State::Cancelled, Reason::User);
    podman.nothing_is_left();
    cancel(deaf, Stop::Kill).await.0.is(State::Cancelled, Reason::Lost);
    podman.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_ends_at_its_timeout() {
    let podman = Podman::new();
    let lease = with(podman.shell("while :; do sleep 0.05; done"), |task| {
        task.timeout = Some(Millis(2_000));
        task.grace = Millis(500);
    });
    podman.execute(&lease).await.failed(Reason::Timeout).says("2s");
    podman.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_takes_more_memory_than_it_may_is_oom() {
    let podman = Podman::new();
    let mut hungry = container(IMAGE, &["/bin/sh", "-c", "a=xxxxxxxx; while :; do a=$a$a; done"]);
    hungry.memory_bytes = Some(16 << 20);
    let end = podman.execute(&lease(hungry)).await;
    end.failed(Reason::Oom);
    assert_eq!(end.ended.exit_code, Some(137));
    podman.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_never_read_again() {
    let podman = Podman::new();
    let hostile =
        [r#""; echo x > /penstock/pwned; #"#, "$(id)", "{{ 7*7 }}", "`id`", "two\nlines", "--privileged", "-e", "$HOME", "*", "\\n", ""];
    let params: serde_json::Map<_, _> = hostile.iter().enumerate().map(|(i, text)| (format!("p{i}"), (*text).into())).collect();
    let templates: Vec<String> = (0..hostile.len()).map(|i| format!("{{{{ params.p{i} }}}}")).collect();
    // The applet prints each argument, then each variable, in brackets.
    let script =
        r#"for a in "$@"; do printf '<%s>' "$a"; done; i=0; while [ $i -lt 11 ]; do eval "printf '(%s)' \"\$V$i\""; i=$((i+1)); done"#;
    let mut image = container(IMAGE, &["/bin/sh", "-c", script, "sh"]);
    image.args.clone_from(&templates);
    let mut lease = with(lease(image), |task| {
        for (i, template) in templates.iter().enumerate() {
            task.env.insert(format!("V{i}"), Setting::Template(template.clone()));
        }
    });
    lease.params = serde_json::Value::Object(params).to_string().into();
    podman.execute(&lease).await.succeeded();
    let expected: String = hostile.iter().map(|text| format!("<{text}>")).chain(hostile.iter().map(|text| format!("({text})"))).collect();
    assert_eq!(podman.world.lines(&lease, "O").join("\n"), expected);
    assert!(!podman.world.log(&lease).contains("uid=0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_reaches_the_container_and_is_shown_nowhere() {
    let podman = Podman::new();
    let script = "echo \"it is $DB_PASSWORD\"; echo \"$DB_PASSWORD\" > /penstock/seen; echo > /penstock/running; \
                  while ! [ -e /penstock/go ]; do sleep 0.05; done; exit 3";
    let lease = with_secret(podman.shell(script), "DB_PASSWORD");
    let end = podman
        .world
        .execute_while(&lease, async |go| {
            podman.is_there("running").await;
            assert_eq!(std::fs::read_to_string(podman.shared("seen")).unwrap().trim(), SECRET);
            let pids = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse::<i32>().ok());
            for pid in pids {
                let shown = super::world::command_line(pid);
                assert!(!shown.contains("hunter2") || !(shown.contains("podman") || shown.contains("docker")), "{shown}");
            }
            std::fs::write(podman.shared("go"), "").unwrap();
            go.closed().await;
        })
        .await;
    end.failed(Reason::ExitCode);
    assert!(!end.detail().contains("hunter2") && !podman.world.log(&lease).contains("hunter2"));
    assert!(podman.world.log(&lease).contains("it is ***"));
    // Of a name that podman itself reads, it is refused rather than shown or obeyed.
    let refused = podman.execute(&with_secret(podman.shell("exit 0"), "LD_PRELOAD")).await;
    refused.failed(Reason::Template).says("LD_PRELOAD");
    podman.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_place_of_the_output_is_not_followed() {
    let podman = Podman::new();
    let stolen = podman.world.root.join("stolen");
    std::fs::write(&stolen, "{\"output\": {\"stolen\": \"yes\"}}\n").unwrap();
    let script = format!("rm \"$PENSTOCK_OUTPUT\"; ln -s {0} \"$PENSTOCK_OUTPUT\"; exit 0", stolen.display());
    let lease = podman.shell(&script);
    let end = podman.execute(&lease).await;
    assert!(end.ended.outputs.0.is_empty(), "{end:?}");
    assert!(podman.world.log(&lease).contains("not a regular file"), "{}", podman.world.log(&lease));
    let items = podman.shell(&format!("ln -s {0} \"$PENSTOCK_ITEMS\"", stolen.display()));
    assert!(podman.execute(&items).await.failed(Reason::Task).ended.outputs.0.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_removes_the_container_when_its_worker_is_gone() {
    let podman = Podman::new();
    let (_go, attempt) = podman.world.spawn(&podman.shell(UNTIL_GO));
    podman.is_there("running").await;
    // Podman's monitor is the guard's to reap: it would stay as a zombie of the worker, which is a subreaper.
    let store = podman.store.path().to_str().unwrap();
    if let Some(monitor) = find(|command| command.contains("conmon") && command.contains(store)) {
        assert_eq!(parent(monitor), podman.guards()[0]);
    } else {
        assert!(podman.is_docker(), "podman has a monitor for each container");
    }
    attempt.abort();
    assert!(attempt.await.unwrap_err().is_cancelled());
    eventually("the container is gone", || podman.containers().is_empty()).await;
    eventually("the guard has ended", || podman.guards().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_executed_again_adopts_its_container() {
    let podman = Podman::new();
    let lease = podman.shell(&format!("{UNTIL_GO}; echo '{{\"output\": {{\"a\": 1}}}}' >> \"$PENSTOCK_OUTPUT\"; exit 4"));
    podman.lose(&lease).await;
    let id = podman.say(&["ps", "--quiet", "--no-trunc"]);
    let end = podman
        .world
        .execute_while(&lease, async |go| {
            eventually("it is adopted", || podman.world.log(&lease).contains("is there already")).await;
            assert_eq!(podman.say(&["ps", "--quiet", "--no-trunc"]), id);
            std::fs::write(podman.shared("go"), "").unwrap();
            go.closed().await;
        })
        .await;
    end.failed(Reason::ExitCode).says("went on");
    assert_eq!(end.ended.exit_code, Some(4));
    assert_eq!(podman.world.lines(&lease, "O"), ["started", "started", "went on"], "its log is read from its start");
    podman.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_while_nobody_looked_is_adopted_and_not_run_again() {
    let podman = Podman::new();
    let lease = podman.shell(&format!("{UNTIL_GO}; echo '{{\"output\": {{\"a\": 1}}}}' >> \"$PENSTOCK_OUTPUT\""));
    podman.lose(&lease).await;
    std::fs::write(podman.shared("go"), "").unwrap();
    eventually("it has ended", || podman.running().is_empty()).await;
    let end = podman.execute(&lease).await;
    end.succeeded();
    assert_eq!(end.ended.outputs.0["a"], "1");
    assert_eq!(podman.world.lines(&lease, "O").iter().filter(|line| *line == "went on").count(), 1);
    podman.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_attempt_removes_the_earlier_before_it_starts() {
    let podman = Podman::new();
    let first = podman.shell(UNTIL_GO);
    podman.lose(&first).await;
    let old = podman.running();
    let second = with(next(&first), |task| task.action = podman.shell("echo second").spec.action.clone());
    podman.execute(&second).await.succeeded();
    assert!(
        podman.world.log(&second).contains(&format!("the container {} of an earlier attempt", old[0])),
        "{}",
        podman.world.log(&second)
    );
    assert_eq!(podman.world.lines(&second, "O"), ["second"]);
    assert_eq!(podman.containers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_lease_starts_nothing_and_leaves_the_later_one_alone() {
    let podman = Podman::new();
    let first = podman.shell("echo never");
    let second = with(next(&first), |task| task.action = podman.shell(UNTIL_GO).spec.action.clone());
    // The same attempt under an earlier lease, and an earlier attempt.
    let same = Lease { fence: Fence(second.fence.0 - 1), ..second.clone() };
    let end = podman
        .world
        .execute_while(&second, async |go| {
            podman.is_there("running").await;
            for stale in [&first, &same] {
                podman.execute(stale).await.is(State::Cancelled, Reason::Lost).says("does not hold any more");
                assert_eq!(podman.running().len(), 1);
            }
            std::fs::write(podman.shared("go"), "").unwrap();
            go.closed().await;
        })
        .await;
    end.succeeded();
    podman.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_starting_worker_removes_what_its_former_life_left_and_nothing_else() {
    let mut podman = Podman::new();
    podman.lose(&podman.shell(UNTIL_GO)).await;
    let ours = podman.running();
    podman.say(&[
        "run",
        "--detach",
        "--name",
        "other",
        "--network",
        "host",
        "--ulimit",
        "nofile=1024:1024",
        "--ulimit",
        "nproc=1024:1024",
        IMAGE,
        "/bin/sleep",
        "1000",
    ]);
    // Another worker with the same runtime and the same name, in another directory.
    let scratch = std::mem::replace(&mut podman.world.host.scratch, podman.store.path().join("elsewhere"));
    std::fs::create_dir(&podman.world.host.scratch).unwrap();
    remove_leftover_containers(&podman.world.host).await.unwrap();
    assert_eq!(podman.running().len(), 2);
    podman.world.host.scratch = scratch;
    remove_leftover_containers(&podman.world.host).await.unwrap();
    assert_eq!(podman.running(), ["other"], "{ours:?} is gone");
    assert_eq!(podman.world.scratch_files(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_someone_else_took_is_told_and_left_alone() {
    let podman = Podman::new();
    let lease = podman.shell("echo never");
    // Which name it would be, its own container tells.
    let (_go, attempt) = podman.world.spawn(&with(lease.clone(), |task| task.action = podman.shell(UNTIL_GO).spec.action.clone()));
    podman.is_there("running").await;
    eventually("it is known to run", || !podman.running().is_empty()).await;
    let name = podman.running().remove(0);
    attempt.abort();
    eventually("it is gone", || podman.containers().is_empty()).await;
    podman.say(&["create", "--name", &name, IMAGE]);
    podman.execute(&lease).await.failed(Reason::Spawn).says("none of Penstock's");
    assert_eq!(podman.containers(), [name]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_is_read_to_its_end() {
    let podman = Podman::new();
    let lease =
        podman.shell("i=0; while [ $i -lt 20000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done; echo last >&2");
    podman.execute(&lease).await.succeeded();
    assert_eq!(podman.world.lines(&lease, "O").len(), 20_000);
    assert_eq!(podman.world.lines(&lease, "E"), ["last"]);
}

fn find(is_it: impl Fn(&str) -> bool) -> Option<i32> {
    let mut pids = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.find(|pid| is_it(&super::world::command_line(*pid)))
}

fn parent(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}
