//! Each reason that `explain` can give.

use penstock_common::pipeline::{Pipeline, Task};
use penstock_common::{Event, Reason, RunNo, State};

use super::model::{Outcome, below, key, p, retries, run_id, s};
use super::world::World;
use crate::explain::Why;

fn explain(world: &World, run: &str, task: Option<&str>) -> Vec<Why> {
    let chain = world.leader.explain(&run_id(run), task.map(key).as_ref()).unwrap();
    assert!(chain.iter().all(|why| !why.to_string().is_empty() && !why.kind().is_empty()));
    chain
}

#[test]
fn what_has_ended_says_how() {
    let mut w = World::with(p([("a", below(&[]))]), 1);
    w.submit("r");
    w.end("a", &Outcome::Exit(1));
    assert_eq!(explain(&w, "r", Some("a")), [Why::Ended { state: State::Failed, reason: Some(Reason::ExitCode), detail: "".into() }]);
    assert_eq!(explain(&w, "r", None), [Why::Ended { state: State::Failed, reason: Some(Reason::TaskFailed), detail: "".into() }]);
    assert_eq!(w.leader.explain(&run_id("other"), None), None);
    assert_eq!(w.leader.explain(&run_id("r"), Some(&key("other"))), None);
}

#[test]
fn a_task_names_what_it_waits_for_down_to_what_runs() {
    let mut w = World::with(p([("a", below(&[])), ("b", below(&["a"])), ("c", below(&["b"]))]), 1);
    w.submit("r");
    let chain = explain(&w, "r", Some("c"));
    assert_eq!(
        chain[..2],
        [
            Why::Upstream { task: key("b"), state: State::Pending, rule: "all_success" },
            Why::Upstream { task: key("a"), state: State::Running, rule: "all_success" }
        ]
    );
    assert!(matches!(&chain[2..], [Why::Running { attempt: 1, .. }]));
    assert_eq!(explain(&w, "r", None), chain[2..]);
}

#[test]
fn a_queued_run_names_those_before_it() {
    let mut w = World::with(Pipeline { max_active_runs: Some(1), ..p([("a", below(&[]))]) }, 1);
    ["r1", "r2", "r3"].iter().for_each(|run| w.submit(run));
    let why = Why::RunQueued { pipeline: "p".parse().unwrap(), limit: 1, active: vec![run_id("r1")], ahead: 1 };
    assert_eq!(explain(&w, "r3", None), std::slice::from_ref(&why));
    assert_eq!(explain(&w, "r3", Some("a")), [why]);
}

#[test]
fn a_cancelled_run_counts_what_has_not_stopped() {
    let mut w = World::with(p([("a", below(&[]))]), 1);
    w.submit("r");
    w.cancel("r").unwrap();
    let run = explain(&w, "r", None);
    assert_eq!(run[0], Why::Cancelling { reason: Reason::User, running: 1 });
    assert!(matches!(&run[1..], [Why::Running { .. }]), "{run:?}");
    assert_eq!(explain(&w, "r", Some("a")), run[1..], "a task that runs is not held back by it");
}

#[test]
fn a_quarantined_run_says_what_broke() {
    let mut w = World::with(p([("a", below(&[]))]), 1);
    w.submit("r");
    w.leader.replay(&Event::TasksSkipped { run: RunNo(1), ranges: vec![(7, 8)], reason: Reason::Task, at: penstock_common::Timestamp(0) });
    assert!(matches!(&explain(&w, "r", None)[..], [Why::Quarantined { why }] if why.starts_with("run r has no task 7")));
}

#[test]
fn a_retry_says_when() {
    let mut w = World::with(p([("a", Task { retries: retries(1), ..Task::noop() })]), 1);
    w.submit("r");
    w.end("a", &Outcome::Exit(1));
    let at = penstock_common::Timestamp(w.now).after(s(10));
    assert_eq!(explain(&w, "r", Some("a")), [Why::RetryAt { at, after: Some(Reason::ExitCode) }]);
}

#[test]
fn a_ready_task_says_which_workers_there_are() {
    let labels = [("gpu".to_owned(), "yes".to_owned())];
    let mut w = World::with(p([("a", below(&[])), ("b", below(&[])), ("c", Task { labels: labels.clone().into(), ..Task::noop() })]), 1);
    w.submit("r");
    let queue: penstock_common::QueueName = "default".parse().unwrap();
    assert_eq!(explain(&w, "r", Some("b")), [Why::NoSlot { queue: queue.clone(), workers: 1, waiting: 1 }]);
    assert_eq!(explain(&w, "r", Some("c")), [Why::NoWorker { queue: queue.clone(), labels: labels.to_vec() }]);
    w.drain("w", true).unwrap();
    assert_eq!(explain(&w, "r", Some("b")), [Why::WorkersClosed { queue: queue.clone(), workers: 1 }]);
    w.kill("w");
    assert_eq!(explain(&w, "r", Some("b")), [Why::NoWorker { queue, labels: vec![] }]);
}
