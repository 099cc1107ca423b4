//! Tasks that wait without a slot: sensors, people, and what is held for one.

use penstock_common::pipeline::{Expect, ExpectAction, Task};
use penstock_common::{Reason, State};

use super::super::model::{Outcome, approve, below, key, p, retries, run_id, s, sensor, waiting_for};
use super::super::world::World;
use crate::Rejection;

fn asks() -> Task {
    Task { action: approve("go?"), ..Task::noop() }
}

#[test]
fn a_sensor_between_probes_holds_no_slot_and_no_pool_and_keeps_its_attempt() {
    let sensor = Task { action: sensor(), pool: Some("db".parse().unwrap()), ..Task::noop() };
    let mut w = World::new();
    w.pool("db", 1).unwrap();
    w.register(p([("a", sensor), ("b", Task { pool: Some("db".parse().unwrap()), ..Task::noop() })]));
    w.attach("w", 1);
    w.submit("r");
    w.forget_log();
    w.end("a", &Outcome::NotYet(30_000));
    assert_eq!(w.log(), ["r: a RUNNING(waiting) for 30s", "r: b#1 fence 2 to w.1"]);
    w.end("b", &Outcome::Success);
    w.pass(s(29));
    w.forget_log();
    w.pass(s(1));
    assert_eq!(w.log(), ["r: a#1 fence 3 to w.1"], "the same attempt under a new fence");
    let lease = &w.workers["w"].running[&w.fence("w", "a")];
    assert_eq!(lease.first_leased_at.0, super::super::world::START, "a timeout counts from the first probe");
    w.end("a", &Outcome::Success);
    assert_eq!(w.task("r", "a").attempts.len(), 1);
    assert_eq!(w.how("r"), "SUCCESS");
}

#[test]
fn a_probe_that_is_lost_is_a_loss_and_the_next_one_begins_where_the_wait_began() {
    let mut w = World::with(p([("a", Task { action: sensor(), max_lost: 1, timeout: Some(s(60)), ..Task::noop() })]), 1);
    w.submit("r");
    w.end("a", &Outcome::NotYet(1_000));
    w.pass(s(1));
    w.kill("w");
    w.forget_log();
    w.hello("w");
    assert_eq!(w.log(), ["r: a#2 fence 3 to w.2"]);
    let lease = &w.workers["w"].running[&w.fence("w", "a")];
    assert_eq!(lease.first_leased_at.0, super::super::world::START);
    w.pass(s(50));
    w.end("a", &Outcome::NotYet(500_000));
    w.pass(s(500));
    w.fail_over();
    w.hello("w");
    w.pass(s(99));
    assert_eq!(w.how_is("r", "a"), "RUNNING", "the backstop counts from the probe");
    w.pass(s(1));
    assert_eq!(w.how_is("r", "a"), "FAILED(timeout)");
}

#[test]
fn a_sensor_whose_next_probe_finds_no_slot_times_out_all_the_same() {
    for (skip, ends) in [(false, "FAILED(timeout)"), (true, "SKIPPED(task)")] {
        let a = Task { action: waiting_for(Some(s(60)), skip), ..Task::noop() };
        let mut w = World::with(p([("a", a), ("b", Task { priority: -1, ..below(&[]) })]), 1);
        w.submit("r");
        w.end("a", &Outcome::NotYet(30_000));
        w.pass(s(45));
        w.fail_over();
        w.hello("w");
        assert_eq!(w.tasks("r"), ["a RUNNING(waiting)", "b RUNNING"], "b has the only slot");
        w.pass(s(14));
        assert_eq!(w.how_is("r", "a"), "RUNNING(waiting)");
        w.pass(s(1));
        assert_eq!(w.how_is("r", "a"), ends);
        let detail = "not so after 1m of waiting, and there is no slot for another probe: not there";
        assert_eq!(&*w.task("r", "a").detail, detail);
        assert!(w.task("r", "a").attempts[0].state.is_terminal(), "its attempt ended with it");
    }
}

#[test]
fn a_sensor_that_has_a_slot_at_its_timeout_looks_once_more() {
    let a = Task { action: waiting_for(Some(s(60)), false), ..Task::noop() };
    let mut w = World::with(p([("a", a)]), 1);
    w.submit("r");
    w.end("a", &Outcome::NotYet(60_000));
    w.pass(s(60));
    assert_eq!(w.how_is("r", "a"), "RUNNING");
    w.end("a", &Outcome::NotYet(1_000));
    assert_eq!(w.how_is("r", "a"), "FAILED(timeout)", "whatever its worker says");
}

#[test]
fn a_sensor_that_times_out_without_a_slot_is_tried_again_as_its_retries_say() {
    let a = Task { action: waiting_for(Some(s(60)), false), retries: retries(1), pool: Some("narrow".parse().unwrap()), ..Task::noop() };
    let mut w = World::new();
    w.pool("narrow", 1).unwrap();
    w.register(p([("a", a)]));
    w.attach("w", 9);
    w.submit("r");
    w.end("a", &Outcome::NotYet(30_000));
    w.pool("narrow", 0).unwrap();
    w.pass(s(60));
    assert_eq!(w.how_is("r", "a"), "RETRY(timeout)");
    w.pool("narrow", 1).unwrap();
    w.pass(s(10));
    w.end("a", &Outcome::NotYet(30_000));
    w.pass(s(59));
    assert_eq!((w.how_is("r", "a").as_str(), w.task("r", "a").attempts.len()), ("RUNNING", 2), "a new try has all its time");
}

#[test]
fn a_sensor_whose_probe_is_lost_times_out_while_the_next_has_no_worker() {
    let a = Task { action: waiting_for(Some(s(60)), false), retries: retries(1), ..Task::noop() };
    let mut w = World::with(p([("a", a)]), 1);
    w.submit("r");
    w.pass(s(20));
    w.kill("w");
    w.pass(s(39));
    assert_eq!(w.how_is("r", "a"), "RETRY(lost)");
    w.pass(s(1));
    assert_eq!(w.how_is("r", "a"), "RETRY(timeout)");
    w.pass(s(100));
    w.hello("w");
    w.end("a", &Outcome::NotYet(1_000));
    w.pass(s(59));
    assert_eq!(w.how_is("r", "a"), "RUNNING", "another try has all its time");
}

#[test]
fn a_sensor_has_its_queue_timeout_for_each_probe() {
    let a = Task { action: sensor(), queue_timeout: Some(s(10)), retries: retries(3), ..Task::noop() };
    let mut w = World::with(p([("a", a), ("b", Task { priority: -1, ..below(&[]) })]), 1);
    w.submit("r");
    w.end("a", &Outcome::NotYet(30_000));
    w.pass(s(39));
    assert_eq!(w.how_is("r", "a"), "RUNNING(waiting)");
    w.pass(s(1));
    assert_eq!((w.how_is("r", "a").as_str(), w.task("r", "a").attempts.len()), ("FAILED(queue_timeout)", 1));
}

#[test]
fn a_cancelled_sensor_waits_no_more() {
    let mut w = World::with(p([("a", Task { action: sensor(), ..Task::noop() }), ("b", Task { action: sensor(), ..Task::noop() })]), 2);
    w.submit("r");
    w.end("a", &Outcome::NotYet(30_000));
    w.forget_log();
    w.cancel("r").unwrap();
    assert_eq!(w.how_is("r", "a"), "CANCELLED(user)");
    w.end("b", &Outcome::NotYet(30_000));
    assert_eq!(w.log()[2..], ["r: b CANCELLED(user)", "r: CANCELLED(user)"], "its probe raced the cancel");
    assert_eq!(w.task("r", "a").attempts[0].state, State::Cancelled, "its attempt ended with it");
}

#[test]
fn what_is_no_sensor_cannot_wait() {
    let mut w = World::with(p([("a", below(&[]))]), 1);
    w.submit("r");
    w.end("a", &Outcome::NotYet(30_000));
    assert_eq!(w.task("r", "a").attempts[0].reason, Some(Reason::Lost));
    assert_eq!(w.how_is("r", "a"), "RUNNING", "it is tried again");
}

#[test]
fn a_person_approves_or_rejects() {
    for (yes, task, below_it, run) in
        [(true, "SUCCESS", "SUCCESS", "SUCCESS"), (false, "FAILED(rejected)", "SKIPPED(upstream_failed)", "FAILED(task_failed)")]
    {
        let mut w = World::with(p([("a", Task { retries: retries(3), ..asks() }), ("b", below(&["a"]))]), 1);
        w.submit("r");
        assert_eq!((w.how_is("r", "a").as_str(), w.leader.leases()), ("RUNNING(waiting)", 0));
        w.says("r", "a", yes).unwrap();
        w.succeed_all();
        assert_eq!((w.how_is("r", "a").as_str(), w.how_is("r", "b").as_str(), w.how("r").as_str()), (task, below_it, run));
        let audit = &w.leader.run(&run_id("r")).unwrap().audit[0];
        assert_eq!((&*audit.verb, &*audit.subject, &*audit.by), (if yes { "approve" } else { "reject" }, "a", "me"));
    }
}

#[test]
fn nobody_asked_for_a_verdict_gets_one() {
    let mut w = World::with(p([("a", asks()), ("b", below(&[])), ("c", below(&["a"]))]), 1);
    w.submit("r");
    let expected = "only an `approve` task that waits, or one that is RUNNING(held), takes a verdict";
    for (task, state) in [("b", "RUNNING"), ("c", "PENDING")] {
        let rejection = w.says("r", task, true).unwrap_err();
        let state = state.to_owned();
        assert_eq!(rejection, Rejection::WrongState { run: run_id("r"), task: key(task), state, expected });
    }
    assert_eq!(w.says("r", "x", true).unwrap_err(), Rejection::UnknownTask { run: run_id("r"), task: key("x") });
    assert_eq!(w.says("x", "a", true).unwrap_err(), Rejection::UnknownRun(run_id("x")));
    w.says("r", "a", true).unwrap();
    assert!(matches!(w.says("r", "a", false), Err(Rejection::WrongState { .. })), "it is said");
}

#[test]
fn a_person_who_says_nothing_in_time_is_a_timeout_and_is_not_asked_again() {
    let mut w = World::with(p([("a", Task { timeout: Some(s(60)), retries: retries(3), ..asks() })]), 1);
    w.submit("r");
    w.pass(s(30));
    w.fail_over();
    w.pass(s(29));
    assert_eq!(w.how_is("r", "a"), "RUNNING(waiting)");
    w.pass(s(1));
    assert_eq!((w.how_is("r", "a").as_str(), w.how("r").as_str()), ("FAILED(timeout)", "FAILED(task_failed)"));
    assert_eq!(&*w.task("r", "a").detail, "waited longer than its timeout of 1m");
}

fn expecting(action: ExpectAction) -> Task {
    Task { expect: Some(Expect { min_records: Some(10.0), action, ..Expect::default() }), retries: retries(1), ..Task::noop() }
}

#[test]
fn records_that_are_not_as_expected_fail_hold_or_alert() {
    let how = |action, records| {
        let mut w = World::with(p([("a", expecting(action)), ("b", below(&["a"]))]), 1);
        w.submit("r");
        w.end("a", &Outcome::Records(records));
        (w.how_is("r", "a"), w.task("r", "a").attempts[0].detail.to_string())
    };
    let detail = "at least 10 records are expected and it had 9".to_owned();
    assert_eq!(how(ExpectAction::Fail, 9.0), ("RETRY(expectation)".to_owned(), detail.clone()));
    assert_eq!(how(ExpectAction::Hold, 9.0), ("RUNNING(held)".to_owned(), detail.clone()));
    assert_eq!(how(ExpectAction::Alert, 9.0), ("SUCCESS".to_owned(), detail));
    for action in [ExpectAction::Fail, ExpectAction::Hold, ExpectAction::Alert] {
        assert_eq!(how(action, 10.0), ("SUCCESS".to_owned(), String::new()));
    }
}

#[test]
fn what_is_held_is_released_with_its_outputs_or_rejected_without() {
    let mut w = World::with(p([("a", expecting(ExpectAction::Hold)), ("b", below(&["a"]))]), 1);
    let held = Outcome::Full { outputs: vec![("k", "1".to_owned())], items: Some(2), records: 1.0 };
    for (run, release) in [("r", true), ("s", false)] {
        w.submit(run);
        w.end("a", &held);
        assert_eq!((w.how_is(run, "b").as_str(), w.leader.leases()), ("PENDING", 0), "it holds no slot");
        w.fail_over();
        w.hello("w");
        w.says(run, "a", release).unwrap();
        let task = w.task(run, "a");
        assert_eq!(task.attempts[0].state, State::Success, "the attempt did what it did");
        let expected = if release { ("SUCCESS", 1, true) } else { ("FAILED(rejected)", 0, false) };
        assert_eq!((w.how_is(run, "a").as_str(), task.outputs.0.len(), task.items.is_some()), expected);
        w.succeed_all();
    }
    assert_eq!((w.how("r").as_str(), w.how("s").as_str()), ("SUCCESS", "FAILED(task_failed)"));
}

#[test]
fn a_cancel_ends_what_is_held_and_holds_nothing_more() {
    let mut w = World::with(p([("a", expecting(ExpectAction::Hold)), ("b", expecting(ExpectAction::Hold))]), 2);
    w.submit("r");
    w.end("a", &Outcome::Records(1.0));
    w.cancel("r").unwrap();
    w.end("b", &Outcome::Records(1.0));
    assert_eq!(w.tasks("r"), ["a CANCELLED(user)", "b SUCCESS"], "a success that raced the cancel stands");
    assert_eq!(w.how("r"), "CANCELLED(user)");
}

#[test]
fn a_branch_that_is_held_chooses_when_it_is_released() {
    let branch = Task { branch: true, ..expecting(ExpectAction::Hold) };
    let mut w = World::with(p([("a", branch), ("b", below(&["a"])), ("c", below(&["a"]))]), 2);
    w.submit("r");
    w.end("a", &Outcome::Full { outputs: vec![("branch", "\"c\"".to_owned())], items: None, records: 1.0 });
    assert_eq!(w.how_is("r", "b"), "PENDING");
    w.says("r", "a", true).unwrap();
    assert_eq!(w.tasks("r"), ["a SUCCESS", "b SKIPPED(branch)", "c RUNNING"]);
}
