//! A script in place of podman, for what a real one does not do when it is asked to.

use std::os::unix::fs::PermissionsExt;

use penstock_common::pipeline::Setting;
use penstock_common::{Reason, State};
use penstock_worker::attempt::{CommandLine, ContainerRuntime, Stop, remove_leftover_containers};

use super::world::{SECRET, World, container, eventually, lease, with, with_secret};

/// A host whose runtime is this script, with `$command` as what it is asked for and `$state` as a directory of its own.
fn host(script: &str) -> World {
    let mut world = World::new(ContainerRuntime::Cli(CommandLine::new("")));
    let (program, state) = (world.root.join("runtime"), world.root.join("state"));
    std::fs::create_dir(&state).unwrap();
    let head = format!("#!/bin/sh\ncommand=$1 state={}\necho \"$*\" >> $state/asked\n", state.display());
    std::fs::write(&program, head + script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ContainerRuntime::Cli(command_line) = &mut world.host.containers.as_mut().unwrap().runtime else { unreachable!() };
    command_line.program = program.into();
    world
}

const NONE: &str = "inspect) echo 'Error: no such object' >&2; exit 125;; ps) ;; rm|kill) ;;";

#[tokio::test]
async fn a_pull_that_hangs_is_cancelled() {
    let world = host(&format!("case $command in {NONE} create) exec sleep 1000;; esac"));
    let lease = lease(container("slow:1", &[]));
    let end = world
        .execute_while(&lease, async |go| {
            eventually("it is created", || asked(&world).contains("create ")).await;
            go.send_replace(Stop::Cancel(Reason::User));
            go.closed().await;
        })
        .await;
    end.is(State::Cancelled, Reason::User);
    assert_eq!(world.scratch_files(), Vec::<String>::new());
}

#[tokio::test]
async fn a_log_that_is_interrupted_is_neither_lost_nor_repeated() {
    // Following breaks off twice, each time a line later, with a word of the runtime's own; the last line only a second reading has.
    let ended = r#"{"name":"/x","state":{"Status":"exited","ExitCode":3},"labels":null,"mounts":null}"#;
    let script = format!(
        r#"case $command in
        inspect) if [ -e $state/started ]; then echo '{ended}'; else echo 'Error: No such container: x' >&2; exit 1; fi;;
        ps|rm|kill|create) ;;
        start) touch $state/started;;
        wait) while ! [ -e $state/2 ]; do sleep 0.05; done;;
        logs)
            echo out; echo one >&2
            [ "$2" = --follow ] || {{ echo two >&2; echo three >&2; exit 0; }}
            [ -e $state/1 ] || {{ touch $state/1; echo 'error: gone' >&2; exit 1; }}
            echo two >&2
            [ -e $state/2 ] || {{ touch $state/2; echo 'error: gone' >&2; exit 1; }};;
        esac"#
    );
    let world = host(&script);
    let lease = lease(container("image:1", &[]));
    world.execute(&lease).await.failed(Reason::ExitCode).says("three");
    assert_eq!(world.lines(&lease, "O"), ["out"]);
    assert_eq!(world.lines(&lease, "E"), ["one", "error: gone", "two", "error: gone", "three"]);
}

#[tokio::test]
async fn a_runtime_that_cannot_remove_keeps_the_worker_from_starting() {
    let found = r#"{"name":"left","state":{"Status":"running"},"labels":{}}"#;
    let world = host(&format!("case $command in ps) echo left;; inspect) echo '{found}';; rm) echo 'device busy' >&2; exit 1;; esac"));
    let why = remove_leftover_containers(&world.host).await.unwrap_err();
    assert!(why.contains("the container left may still run") && why.contains("device busy"), "{why}");
}

#[tokio::test]
async fn what_took_the_name_at_the_last_moment_is_left_alone() {
    let other = r#"{"name":"other","state":{"Status":"running"},"labels":{}}"#;
    let script = format!(
        "case $command in
        inspect) [ -e $state/taken ] && {{ echo '{other}'; exit 0; }}; echo 'Error: no such object' >&2; exit 125;;
        create) touch $state/taken; echo 'that name is already in use' >&2; exit 125;;
        ps) ;;
        esac"
    );
    let world = host(&script);
    world.execute(&lease(container("image:1", &[]))).await.failed(Reason::Spawn).says("none of Penstock's");
    let asked = asked(&world);
    assert!(!asked.lines().any(|line| line.starts_with("rm ") || line.starts_with("kill ")), "{asked}");
}

#[tokio::test]
async fn no_value_is_an_argument_that_ps_would_show() {
    let script = format!("case $command in {NONE} create) echo \"$DB_PASSWORD$PLAIN\" > $state/seen; echo no >&2; exit 125;; esac");
    let world = host(&script);
    let lease = with(with_secret(lease(container("image:1", &[])), "DB_PASSWORD"), |task| {
        task.env.insert("PLAIN".into(), Setting::Template("a plain value".into()));
    });
    world.execute(&lease).await.failed(Reason::Spawn).says("create: no");
    let asked = asked(&world);
    assert!(asked.contains("--env DB_PASSWORD") && !asked.contains("hunter2") && !asked.contains("a plain value"), "{asked}");
    assert_eq!(std::fs::read_to_string(world.root.join("state/seen")).unwrap(), format!("{SECRET}a plain value\n"));
}

fn asked(world: &World) -> String {
    std::fs::read_to_string(world.root.join("state/asked")).unwrap_or_default()
}
