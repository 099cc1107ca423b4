//! Wide and deep graphs, many workers' attempts at once: bounded decisions that go on at the next tick, and few events.

use penstock_common::limits::{MAX_QUEUED_RUNS_PER_PIPELINE, MAX_VERSIONS_PER_PIPELINE, TASKS_PER_CHUNK};
use penstock_common::pipeline::{Pipeline, Task};
use penstock_common::{Reason, State};

use super::model::{Outcome, below, edge, p, pipeline, retries, run_id, s};
use super::world::World;
use crate::Rejection;

fn name(i: usize) -> String {
    format!("t{i:06}")
}

/// `a`, and so many tasks below it.
pub(super) fn fan_out(width: usize, leaf: &Task) -> Pipeline {
    let leaves = (0..width).map(|i| (name(i), Task { depends_on: vec![edge("a")], ..leaf.clone() }));
    pipeline("p", leaves.chain([("a".to_owned(), below(&[]))]))
}

fn chain(length: usize) -> Pipeline {
    pipeline("p", (0..length).map(|i| (name(i), if i == 0 { below(&[]) } else { below(&[&name(i - 1)]) })))
}

/// With `p` registered, a worker of so many slots, run `r` submitted, and only what every input must obey checked.
fn shallow(pipeline: Pipeline, slots: u32) -> World {
    let mut w = World::with(pipeline, slots);
    w.checker.deep = false;
    w.submit("r");
    w.forget_log();
    w
}

#[test]
fn a_fan_out_of_ten_thousand_is_leased_in_bounded_decisions() {
    let mut w = shallow(fan_out(10_000, &Task::noop()), 10_000);
    w.end("a", &Outcome::Success);
    let first = w.log().len();
    assert!(first > 500 && first <= 4_096, "{first} events");
    assert_eq!(w.leader.next_deadline(), Some(penstock_common::Timestamp(0)), "there is more to do");
    let ticks = w.settle();
    assert_eq!(first + w.log().len(), 10_001);
    assert!((2..20).contains(&ticks), "{ticks} ticks");
    assert_eq!(w.leader.leases(), 10_000);
    w.checker.judge(&w.leader, penstock_common::Timestamp(w.now));
    w.succeed_all();
    assert_eq!(w.run("r"), (State::Success, None));
}

#[test]
fn a_failed_fan_out_of_ten_thousand_is_a_few_range_events() {
    let mut w = shallow(fan_out(10_000, &Task::noop()), 1);
    w.end("a", &Outcome::Exit(1));
    let expected = [
        "r: a FAILED(exit_code)",
        "r: t000000..t004095 SKIPPED(upstream_failed)",
        "r: t004096..t008191 SKIPPED(upstream_failed)",
        "r: t008192..t009999 SKIPPED(upstream_failed)",
        "r: FAILED(task_failed)",
    ];
    assert_eq!(w.log(), expected);
}

#[test]
fn a_chain_of_a_hundred_thousand_is_skipped_in_a_few_range_events() {
    let mut w = shallow(chain(100_000), 1);
    w.end("t000000", &Outcome::Exit(1));
    w.settle();
    let log = w.log();
    assert!(log.len() <= 2 + 100_000usize.div_ceil(4_096), "{} events", log.len());
    assert_eq!(w.run("r"), (State::Failed, Some(Reason::TaskFailed)));
}

#[test]
fn what_is_skipped_in_many_small_ranges_stays_within_the_bytes_of_an_input() {
    // Every second task is below the one that fails.
    let tasks = (0..100_000).map(|i| (name(i), below(&[if i % 2 == 0 { "a" } else { "b" }])));
    let mut w = shallow(pipeline("p", tasks.chain([("a".to_owned(), below(&[])), ("b".to_owned(), below(&[]))])), 2);
    w.end("a", &Outcome::Exit(1));
    assert!(w.settle() > 0, "one input does not do it all");
    assert_eq!(w.leader.run(&run_id("r")).unwrap().counts[State::Skipped as usize], 50_000);
}

#[test]
fn cancelling_a_hundred_thousand_tasks_is_three_events() {
    let mut w = shallow(fan_out(100_000, &Task::noop()), 0);
    w.cancel("r").unwrap();
    assert_eq!(w.log(), ["r: cancel for user", "r: the rest CANCELLED(user)", "r: CANCELLED(user)"]);
    assert_eq!(w.leader.live(), (1, 0));
    assert_eq!(w.leader.queue_depths(), [("default".parse().unwrap(), 0)], "no stale task heaps up in a lane");
}

#[test]
fn a_worker_that_dies_with_ten_thousand_attempts_loses_them_in_bounded_decisions() {
    let mut w = shallow(fan_out(10_000, &Task::noop()), 10_000);
    w.end("a", &Outcome::Success);
    w.settle();
    w.forget_log();
    w.kill("w");
    assert!(w.settle() > 1);
    assert_eq!((w.log().len(), w.leader.leases()), (20_000, 0));
    w.checker.judge(&w.leader, penstock_common::Timestamp(w.now));
}

#[test]
fn a_worker_that_comes_back_while_its_attempts_are_being_lost_keeps_the_rest() {
    let mut w = shallow(fan_out(10_000, &Task::noop()), 10_000);
    w.end("a", &Outcome::Success);
    w.settle();
    w.silence("w");
    let kept = w.leader.leases();
    assert!(kept > 0 && kept < 10_000, "one decision loses {}", 10_000 - kept);
    w.forget_log();
    w.hello("w");
    w.settle();
    assert!(!w.log().iter().any(|line| line.contains("lost")));
    assert_eq!((w.leader.leases(), w.workers["w"].running.len()), (10_000, 10_000));
}

#[test]
fn ten_thousand_attempts_that_are_overdue_at_once_end_in_bounded_decisions() {
    let leaf = Task { timeout: Some(s(1)), retries: retries(1), ..Task::noop() };
    let mut w = shallow(fan_out(10_000, &leaf), 10_000);
    w.end("a", &Outcome::Success);
    w.settle();
    w.forget_log();
    w.pass(s(100));
    let count = |log: &[String], what: &str| log.iter().filter(|l| l.ends_with(what)).count();
    let log = w.log();
    assert_eq!(count(&log, "FAILED(timeout)"), 20_000);
    assert_eq!(w.run("r"), (State::Failed, Some(Reason::TaskFailed)));
}

#[test]
fn only_chunks_written_since_a_cut_are_written_again() {
    let mut w = shallow(fan_out(3 * TASKS_PER_CHUNK, &Task::noop()), 1);
    w.end("a", &Outcome::Success); // writes the counters of every leaf
    let changed = |w: &mut World, since: u64| {
        let cut = w.leader.cut(since);
        let run = &cut.runs[0];
        ((0..run.chunks()).map(|chunk| run.changed(chunk)).collect::<Vec<_>>(), cut.number)
    };
    let (first, number) = changed(&mut w, 0);
    assert_eq!(first, [true; 4]);
    w.end("t000000", &Outcome::Success); // ends the first leaf, leases the second
    let (second, number) = changed(&mut w, number);
    assert_eq!(second, [true, false, false, false]);
    let (third, _) = changed(&mut w, number);
    assert_eq!(third, [false; 4]);
}

#[test]
fn a_pipeline_has_a_limit_of_queued_runs() {
    let mut w = World::with(Pipeline { max_active_runs: Some(1), ..p([("a", below(&[]))]) }, 0);
    w.checker.deep = false;
    // The checker would compare each submit with all before it.
    for i in 0..=MAX_QUEUED_RUNS_PER_PIPELINE {
        w.submit(&format!("r{i}"));
    }
    let rejection = w.submit_to("more", "p").unwrap_err();
    assert!(matches!(rejection, Rejection::Overloaded { limit: MAX_QUEUED_RUNS_PER_PIPELINE, .. }), "{rejection}");
}

#[test]
fn old_versions_go_when_no_run_is_bound_to_them() {
    let version = |n: usize| Pipeline { description: n.to_string(), ..p([("a", below(&[]))]) };
    let mut w = World::with(version(0), 1);
    w.submit("r"); // binds version 1
    for n in 1..MAX_VERSIONS_PER_PIPELINE + 3 {
        w.register(version(n));
    }
    let versions = &w.leader.pipelines()[0].versions;
    assert_eq!((versions.len(), versions[0].0, versions[1].0), (MAX_VERSIONS_PER_PIPELINE, 1, 5));
    w.checker.reloads(&mut w.leader);
}
