//! Runs: asked for, queued, cancelled, timed out, archived.

use penstock_common::limits::{KEEP_UNSUCCESSFUL_MS, KEEP_UNSUCCESSFUL_RUNS};
use penstock_common::pipeline::{Pipeline, Task};
use penstock_common::{Millis, RunNo, State};

use super::super::model::{Outcome, below, p, pipeline, retries, run_id, s};
use super::super::world::World;
use super::one;
use crate::{Answer, Input, Rejection};

#[test]
fn a_failure_skips_everything_below_it_in_one_event() {
    let mut w = World::with(p([("a", below(&[])), ("b", below(&["a"])), ("c", below(&["b"])), ("d", below(&["c"])), ("x", below(&[]))]), 2);
    w.submit("r");
    w.forget_log();
    w.end("a", &Outcome::Exit(1));
    assert_eq!(w.log(), ["r: a FAILED(exit_code)", "r: b..d SKIPPED(upstream_failed)"]);
    w.end("x", &Outcome::Success);
    assert_eq!(w.log(), ["r: x SUCCESS", "r: FAILED(task_failed)"]);
}

#[test]
fn a_skip_waits_for_all_upstreams_and_is_no_failure() {
    let mut w = World::with(p([("a", below(&[])), ("b", below(&[])), ("c", below(&["a", "b"])), ("d", below(&["c"]))]), 2);
    w.submit("r");
    w.forget_log();
    w.end("a", &Outcome::Skip);
    assert_eq!(w.log(), ["r: a SKIPPED(task)"]);
    w.end("b", &Outcome::Success);
    let expected = ["r: b SUCCESS", "r: c SKIPPED(upstream_skipped)", "r: d SKIPPED(upstream_skipped)", "r: SUCCESS"];
    assert_eq!(w.log(), expected);
}

#[test]
fn a_success_that_raced_the_cancel_stands_and_the_rest_is_cancelled() {
    let mut w = World::with(p([("a", below(&[])), ("b", below(&[])), ("c", below(&["a"]))]), 2);
    w.submit("r");
    w.forget_log();
    assert_eq!(w.cancel("r"), Ok(Answer::Cancelled(State::Running)));
    assert_eq!(w.log(), ["r: cancel for user", "r: the rest CANCELLED(user)"]);
    assert_eq!(w.effects(), ["cancel fence 1 on w.1: user", "cancel fence 2 on w.1: user"]);
    assert_eq!(w.cancel("r"), Ok(Answer::Cancelled(State::Running)));
    w.end("a", &Outcome::Success);
    w.end("b", &Outcome::Exit(143));
    assert_eq!(w.log(), ["r: a SUCCESS", "r: b CANCELLED(user)", "r: CANCELLED(user)"]);
    assert_eq!(w.cancel("r"), Ok(Answer::Cancelled(State::Cancelled)));
    assert_eq!(w.log(), Vec::<String>::new());
}

#[test]
fn a_cancelled_run_tries_nothing_again() {
    let mut w = one(Task { retries: retries(9), ..Task::noop() });
    w.cancel("r").unwrap();
    w.forget_log();
    w.kill("w");
    assert_eq!(w.log(), ["r: a CANCELLED(user)", "r: CANCELLED(user)"]);
}

#[test]
fn a_queued_run_is_cancelled_without_having_started() {
    let mut w = World::with(Pipeline { max_active_runs: Some(1), ..p([("a", below(&[]))]) }, 9);
    w.submit("r1");
    w.submit("r2");
    w.submit("r3");
    assert_eq!(w.log()[3..], ["r2: created", "r3: created"]);
    w.cancel("r2").unwrap();
    assert_eq!(w.log(), ["r2: cancel for user", "r2: the rest CANCELLED(user), teardowns too", "r2: CANCELLED(user)"]);
    w.end("a", &Outcome::Success);
    assert_eq!(w.log(), ["r1: a SUCCESS", "r1: SUCCESS", "r3: started", "r3: a#1 fence 2 to w.1"]);
}

#[test]
fn a_new_version_that_allows_more_active_runs_starts_the_queued_ones() {
    let limited = |n| Pipeline { max_active_runs: Some(n), ..p([("a", below(&[]))]) };
    let mut w = World::with(limited(1), 9);
    w.submit("r1");
    w.submit("r2");
    w.forget_log();
    w.register(limited(2));
    assert_eq!(w.log(), ["registered p 2", "r2: started", "r2: a#1 fence 2 to w.1"]);
    assert_eq!(w.leader.run(&run_id("r2")).unwrap().version, 1, "R2: a run is bound to the version it was created with");
}

#[test]
fn a_rerun_takes_its_turn_among_the_active_runs() {
    let mut w = World::with(Pipeline { max_active_runs: Some(1), ..p([("a", below(&[]))]) }, 9);
    w.submit("r1");
    w.end("a", &Outcome::Exit(1));
    w.submit("r2");
    w.forget_log();
    w.rerun("r1", "q").unwrap();
    assert_eq!(w.log(), ["r1: generation 2 of a", "answered q: 2"], "T7: r2 is active");
    w.end("a", &Outcome::Success);
    assert_eq!(w.log(), ["r2: a SUCCESS", "r2: SUCCESS", "r1: started", "r1: a#2 fence 3 to w.1"]);
}

#[test]
fn a_run_that_takes_too_long_is_stopped_and_fails() {
    let slow = Pipeline { run_timeout: Some(s(60)), ..p([("a", below(&[])), ("b", below(&["a"]))]) };
    let mut w = World::with(slow, 1);
    w.submit("r");
    w.forget_log();
    w.pass(s(60));
    assert_eq!(w.log(), ["r: cancel for run_timeout", "r: the rest CANCELLED(run_timeout)"]);
    assert_eq!(w.effects(), ["cancel fence 1 on w.1: run_timeout"]);
    w.end("a", &Outcome::Cancelled);
    assert_eq!(w.log(), ["r: a CANCELLED(run_timeout)", "r: FAILED(run_timeout)"]);
    w.rerun("r", "q").unwrap();
    w.pass(s(59));
    w.end("a", &Outcome::Exit(1));
    w.rerun("r", "q2").unwrap();
    w.forget_log();
    w.pass(s(59));
    assert_eq!(w.log(), Vec::<String>::new(), "a generation has its own time");
    w.pass(s(1));
    assert_eq!(w.log(), ["r: cancel for run_timeout", "r: the rest CANCELLED(run_timeout)"]);
}

#[test]
fn the_same_submit_twice_is_the_same_run_and_another_under_its_id_is_refused() {
    let mut w = World::with(p([("a", below(&[]))]), 1);
    w.register(pipeline("other", [("a".to_owned(), below(&[]))]));
    assert_eq!(w.submit_to("r", "p"), Ok(Answer::Run { run: run_id("r"), created: true, version: 1 }));
    assert_eq!(w.submit_to("r", "p"), Ok(Answer::Run { run: run_id("r"), created: false, version: 1 }));
    assert_eq!(w.submit_to("r", "other"), Err(Rejection::RunExists(run_id("r"))));
    assert!(matches!(w.submit_to("s", "nothing"), Err(Rejection::UnknownPipeline(_))));
}

#[test]
fn registering_the_same_definition_again_makes_no_version() {
    let mut w = World::with(p([("a", below(&[]))]), 1);
    w.register(p([("a", below(&[]))]));
    assert_eq!(w.log(), Vec::<String>::new());
    w.register(p([("b", below(&[]))]));
    assert_eq!(w.log(), ["registered p 2"]);
}

#[test]
fn history_that_was_not_written_is_owed_by_the_next_leader() {
    let mut w = one(Task::noop());
    w.end("a", &Outcome::Success);
    assert_eq!(w.effects(), ["archive r"]);
    w.fail_over();
    assert_eq!(w.effects(), ["archive r"]);
    w.feed(Input::Archived { run: RunNo(1) }).unwrap();
    assert_eq!(w.log()[2..], ["term 1.2", "r: archived"]);
    w.feed(Input::Archived { run: RunNo(1) }).unwrap();
    assert_eq!(w.log(), Vec::<String>::new());
    assert_eq!(w.submit_to("r", "p"), Err(Rejection::RunExists(run_id("r"))), "R1: its id is held on");
}

#[test]
fn runs_that_did_not_succeed_stay_for_a_rerun_until_they_are_old_or_many() {
    let mut w = one(Task::noop());
    w.end("a", &Outcome::Exit(1));
    w.pass(Millis(KEEP_UNSUCCESSFUL_MS - 120_000));
    assert_eq!(w.effects(), Vec::<String>::new());
    w.pass(s(240));
    assert_eq!(w.effects(), ["archive r"]);
    assert_eq!(w.rerun("r", "q"), Err(Rejection::UnknownRun(run_id("r"))));
    w.feed(Input::Archived { run: RunNo(1) }).unwrap();
    w.checker.deep = false;
    for i in 0..=KEEP_UNSUCCESSFUL_RUNS {
        w.submit(&format!("r{i}"));
        w.end("a", &Outcome::Exit(1));
    }
    let archived: Vec<_> = w.effects().into_iter().filter(|e| e.starts_with("archive")).collect();
    assert_eq!(archived, ["archive r0"]);
}

#[test]
fn successes_whose_history_is_being_written_push_no_failure_out() {
    let mut w = one(Task::noop());
    w.end("a", &Outcome::Exit(1));
    w.checker.deep = false;
    for i in 0..=KEEP_UNSUCCESSFUL_RUNS {
        w.submit(&format!("r{i}"));
        w.end("a", &Outcome::Success);
    }
    w.submit("last");
    w.end("a", &Outcome::Exit(1));
    assert!(!w.effects().contains(&"archive r".to_owned()));
}

#[test]
fn an_archive_that_is_told_of_a_run_that_lives_again_changes_nothing() {
    let mut w = one(Task::noop());
    w.feed(Input::Archived { run: RunNo(1) }).unwrap();
    assert_eq!(w.log(), Vec::<String>::new());
    assert_eq!(w.run("r").0, State::Running);
}
