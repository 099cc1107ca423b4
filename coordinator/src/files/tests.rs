//! Real files below a directory of the test's own, a real scheduler, and the runtime's clock, which moves when all wait.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use penstock_common::limits::MAX_FILES_PER_TRIGGER;
use penstock_common::pattern::FilePattern;
use penstock_common::{PipelineName, Timestamp};
use penstock_scheduler::input::FoundFile;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::settling::{Findings, GONE, Settling};
use super::watched::{FILES_PER_INPUT, parts};
use super::{Looked, local, watch_files};
use crate::desk::Desk;

/// A pipeline that starts when a file has not changed for 2 s.
fn document(path: &str, existing: bool) -> String {
    format!(
        "pipeline: p\nmax_active_runs: 1\ntriggers: [{{name: landed, file: {{path: \"{path}\", settle: 2s, every: 1s, existing: {existing}}}}}]\ntasks: {{a: {{noop: true}}}}\n"
    )
}

fn watch(desk: &Desk) -> JoinHandle<()> {
    tokio::spawn(watch_files(desk.handle.clone(), desk.clock.clone(), desk.file_trouble.clone()))
}

/// A desk whose trigger has had its first look.
async fn watched(dir: &Path) -> (Desk, JoinHandle<()>) {
    let desk = Desk::new();
    desk.register(&document(&format!("{}/*.csv", dir.display()), false));
    let task = watch(&desk);
    while desk.trigger("p", "landed").known.is_none() {
        sleep(Duration::from_millis(100)).await;
    }
    (desk, task)
}

fn trouble(desk: &Desk) -> Option<String> {
    let key = (PipelineName::parse("p").unwrap(), "landed".parse().unwrap());
    desk.handle.file_trouble(&key).map(|why| why.to_string())
}

const LONG: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_file_starts_a_run_once_it_is_whole_and_one_more_when_it_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    std::fs::write(dir.path().join("there.csv"), "before").unwrap();
    let (desk, _task) = watched(dir.path()).await;

    for lines in 1..20 {
        std::fs::write(&path, "x,y\n".repeat(lines)).unwrap();
        sleep(Duration::from_millis(1_500)).await;
        assert_eq!(desk.runs(), [""; 0], "it is being written");
    }
    sleep(LONG).await;
    let a = path.to_str().unwrap().to_owned();
    assert_eq!(desk.runs(), [&*a]);
    std::fs::write(&path, "z,y\n".repeat(19)).unwrap();
    sleep(LONG).await;
    assert_eq!(desk.runs(), [&*a, &*a], "of the same size, and another");
    for other in [".b.csv", "b.csv.tmp", "b.txt"] {
        std::fs::write(dir.path().join(other), "x").unwrap();
    }
    std::fs::create_dir(dir.path().join("c.csv")).unwrap();
    sleep(LONG).await;
    assert_eq!(desk.runs().len(), 2, "hidden, not meant, or no file");
    assert_eq!(trouble(&desk), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_there_at_the_first_look_starts_runs_only_if_it_is_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.csv"), "x").unwrap();
    let desk = Desk::new();
    desk.register(&document(&format!("file://{}/*.csv", dir.path().display()), true));
    let _task = watch(&desk);
    sleep(LONG).await;
    assert_eq!(desk.runs().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_files_start_a_run_each_though_the_watcher_begins_anew_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let (desk, mut task) = watched(dir.path()).await;
    for n in 0..1_000 {
        std::fs::write(dir.path().join(format!("{n:04}.csv")), n.to_string()).unwrap();
        if n % 150 == 149 {
            // In the middle of whatever it does.
            sleep(Duration::from_millis(2_700)).await;
            task.abort();
            task = watch(&desk);
        }
    }
    sleep(LONG).await;
    let mut runs = desk.runs();
    assert_eq!(runs.len(), 1_000);
    runs.sort();
    runs.dedup();
    assert_eq!(runs.len(), 1_000);
    std::fs::write(dir.path().join("0500.csv"), "another").unwrap();
    sleep(LONG).await;
    assert_eq!(desk.runs().len(), 1_001);
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_forgotten_in_time_and_not_while_it_cannot_be_seen() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("in");
    std::fs::create_dir(&below).unwrap();
    let (desk, _task) = watched(&below).await;
    std::fs::write(below.join("a.csv"), "a").unwrap();
    std::fs::write(below.join("b.csv"), "b").unwrap();
    sleep(LONG).await;
    assert_eq!(desk.runs().len(), 2);

    // The whole directory is away for longer than a file may be.
    std::fs::rename(&below, dir.path().join("away")).unwrap();
    sleep(GONE * 2).await;
    let why = trouble(&desk).unwrap();
    assert!(why.starts_with(&format!("directory {} cannot be read:", below.display())), "{why}");
    std::fs::rename(dir.path().join("away"), &below).unwrap();
    sleep(LONG).await;
    assert_eq!((desk.runs().len(), trouble(&desk)), (2, None));

    std::fs::remove_file(below.join("a.csv")).unwrap();
    sleep(GONE / 2).await;
    assert_eq!(desk.trigger("p", "landed").known, Some(2));
    sleep(GONE).await;
    assert_eq!(desk.trigger("p", "landed").known, Some(1));
    assert_eq!(desk.runs().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_is_made_later_has_only_new_files() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("later");
    let (desk, _task) = watched(&below).await;
    assert!(trouble(&desk).unwrap().contains("later"));
    std::fs::create_dir(&below).unwrap();
    std::fs::write(below.join("a.csv"), "a").unwrap();
    sleep(LONG).await;
    assert_eq!((desk.runs().len(), trouble(&desk)), (1, None));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_this_build_does_not_know_is_trouble() {
    let desk = Desk::new();
    desk.register(&document("s3://landing/in/*.csv", false));
    let _task = watch(&desk);
    sleep(LONG).await;
    if cfg!(not(feature = "object-store")) {
        let why = trouble(&desk).unwrap();
        assert!(why.contains("built without") && why.contains("object-store"), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_not_utf8_is_told_and_the_others_start_their_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (desk, _task) = watched(dir.path()).await;
    let odd = dir.path().join(OsStr::from_bytes(b"a\xff.csv"));
    std::fs::write(&odd, "x").unwrap();
    std::fs::write(dir.path().join("b.csv"), "x").unwrap();
    sleep(LONG).await;
    assert_eq!(desk.runs(), [dir.path().join("b.csv").to_str().unwrap()]);
    let why = trouble(&desk).unwrap();
    assert!(why.contains("a\u{fffd}.csv is not UTF-8") && why.contains("rename it"), "{why}");
    std::fs::rename(odd, dir.path().join("a.csv")).unwrap();
    sleep(LONG).await;
    assert_eq!((desk.runs().len(), trouble(&desk)), (2, None));
}

fn file(path: &str) -> FoundFile {
    FoundFile { path: path.into(), version: "1".into(), size: 1, modified: Timestamp(0) }
}

#[test]
fn a_look_is_bounded_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..5 {
        std::fs::write(dir.path().join(format!("{n}.csv")), "x").unwrap();
    }
    let pattern = FilePattern::parse(&format!("{}/*.csv", dir.path().display())).unwrap();
    let looked = local::look(&pattern, 3, &AtomicBool::new(false));
    assert_eq!((looked.files.len(), looked.is_whole), (3, false));
    assert!(looked.trouble.unwrap().contains("more than 3 files match"));
    assert!(local::look(&pattern, 5, &AtomicBool::new(false)).is_whole);
}

#[test]
fn much_is_told_in_parts_and_a_first_look_in_one_at_least() {
    let found: Vec<FoundFile> = (0..1_000).map(|n| file(&format!("/in/{n}"))).collect();
    let gone: Vec<Arc<str>> = (0..100).map(|n| format!("/gone/{n}").into()).collect();
    let all = parts(Findings { found: found.clone(), gone: gone.clone() }, false);
    assert!(all.iter().all(|part| part.found.len() + part.gone.len() <= FILES_PER_INPUT));
    assert_eq!(all.iter().flat_map(|part| part.found.clone()).collect::<Vec<_>>(), found);
    assert_eq!(all.iter().flat_map(|part| part.gone.clone()).collect::<Vec<_>>(), gone);
    let long = parts(Findings { found: vec![file(&"x".repeat(4_000)); 20], gone: Vec::new() }, false);
    assert_eq!(long.iter().map(|part| part.found.len()).collect::<Vec<_>>(), [7, 7, 6]);
    assert_eq!((parts(Findings::default(), false).len(), parts(Findings::default(), true).len()), (0, 1));
}

#[test]
fn where_little_more_can_be_remembered_what_is_gone_is_forgotten_sooner() {
    let known = |count: usize| (0..count).map(|n| (Arc::from(format!("/in/{n}")), Arc::from("1"))).collect();
    for (count, forgotten) in [(10, 0), (MAX_FILES_PER_TRIGGER / 2 + 1, MAX_FILES_PER_TRIGGER / 2 + 1)] {
        let (mut settling, known) = (Settling::default(), known(count));
        let mut look = |second: u64| {
            let looked = Looked { is_whole: true, ..Looked::default() };
            settling.next(looked, &known, Duration::ZERO, Duration::from_secs(second)).gone.len()
        };
        assert_eq!((look(0), look(59), look(61)), (0, 0, forgotten));
    }
}
