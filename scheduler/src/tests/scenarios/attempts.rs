//! Attempts: retries, losses, timeouts, and where they start.

use penstock_common::pipeline::{ExitPolicy, Jitter, Retries, Task};
use penstock_common::{Fence, Millis, RunNo, Timestamp};

use super::super::model::{Outcome, below, p, pipeline, report, retries, run_id, s};
use super::super::world::World;
use super::one;
use crate::{Answer, Input};

#[test]
fn a_diamond_runs_from_its_root_to_its_join_and_is_archived() {
    let mut w = World::with(p([("a", below(&[])), ("b", below(&["a"])), ("c", below(&["a"])), ("d", below(&["b", "c"]))]), 4);
    w.submit("r");
    assert_eq!(w.log(), ["r: created", "r: started", "r: a#1 fence 1 to w.1"]);
    w.end("a", &Outcome::Success);
    assert_eq!(w.log(), ["r: a SUCCESS", "r: b#1 fence 2 to w.1", "r: c#1 fence 3 to w.1"]);
    w.end("c", &Outcome::Success);
    assert_eq!(w.log(), ["r: c SUCCESS"]);
    w.end("b", &Outcome::Success);
    assert_eq!(w.log(), ["r: b SUCCESS", "r: d#1 fence 4 to w.1"]);
    w.forget_log();
    w.end("d", &Outcome::Success);
    assert_eq!(w.log(), ["r: d SUCCESS", "r: SUCCESS"]);
    assert_eq!(w.effects(), ["archive r"]);
    w.feed(Input::Archived { run: RunNo(1) }).unwrap();
    assert_eq!(w.log(), ["r: archived"]);
    assert_eq!(w.leader.live(), (0, 0));
}

#[test]
fn retries_back_off_to_a_cap_and_then_the_task_fails() {
    let policy = Retries { delay: s(10), backoff: 3.0, max_delay: s(60), ..retries(3) };
    let mut w = one(Task { retries: policy, ..Task::noop() });
    for (number, delay) in [(1, 10), (2, 30), (3, 60)] {
        w.end("a", &Outcome::Exit(1));
        assert_eq!(w.log(), ["r: a FAILED(exit_code)".to_owned(), format!("r: a RETRY in {}", s(delay))]);
        w.pass(Millis(delay * 1_000 - 1));
        assert_eq!(w.log(), Vec::<String>::new(), "before its time");
        w.pass(Millis(1));
        assert_eq!(w.log(), [format!("r: a#{} fence {} to w.1", number + 1, number + 1)]);
    }
    w.end("a", &Outcome::Exit(1));
    assert_eq!(w.log(), ["r: a FAILED(exit_code)", "r: FAILED(task_failed)"]);
}

#[test]
fn full_jitter_draws_delays_between_zero_and_the_computed_one() {
    let policy = Retries { delay: s(100), backoff: 1.0, jitter: Jitter::Full, ..retries(200) };
    let mut w = one(Task { retries: policy, ..Task::noop() });
    let mut delays = Vec::new();
    for _ in 0..200 {
        w.end("a", &Outcome::Exit(1));
        let (_, run) = w.leader.state().run_by_id(&run_id("r")).unwrap();
        delays.push(run.task(0).not_before.unwrap().since(Timestamp(w.now)).0);
        w.pass(s(100));
    }
    delays.sort_unstable();
    delays.dedup();
    assert!(delays.len() > 190, "delays repeat");
    assert!(delays[0] < 5_000 && delays[delays.len() - 1] > 95_000 && delays[delays.len() - 1] <= 100_000, "{delays:?}");
    let middle = delays[delays.len() / 2];
    assert!((40_000..60_000).contains(&middle), "half of them are below {middle}");
}

#[test]
fn what_cannot_end_otherwise_and_what_the_policy_excludes_is_not_tried_again() {
    let mut w = one(Task { retries: retries(5), ..Task::noop() });
    w.end("a", &Outcome::Fail);
    assert_eq!(w.log(), ["r: a FAILED(task)", "r: FAILED(task_failed)"]);
    let not_on = Some(ExitPolicy { reasons: Vec::new(), exit_codes: vec![2] });
    let mut w = one(Task { retries: Retries { not_on, ..retries(5) }, ..Task::noop() });
    w.end("a", &Outcome::Exit(1));
    assert_eq!(w.log(), ["r: a FAILED(exit_code)", "r: a RETRY in 10s"]);
    w.pass(s(10));
    w.end("a", &Outcome::Exit(2));
    assert_eq!(w.log()[1..], ["r: a FAILED(exit_code)", "r: FAILED(task_failed)"]);
}

#[test]
fn a_lost_attempt_goes_to_another_worker_at_once_and_spends_no_retry() {
    let mut w = World::new();
    w.register(p([("a", Task { retries: retries(1), ..Task::noop() })]));
    w.attach("w", 1);
    w.submit("r");
    w.attach("v", 1);
    w.forget_log();
    w.kill("w");
    assert_eq!(w.log(), ["r: a FAILED(lost)", "r: a RETRY in 0s after a loss", "r: a#2 fence 2 to v.1"]);
    w.end_on("v", "a", &Outcome::Exit(1));
    assert_eq!(w.log(), ["r: a FAILED(exit_code)", "r: a RETRY in 10s"], "the retry is still there");
}

#[test]
fn a_lost_attempt_prefers_another_worker_but_does_not_wait_for_one() {
    let mut w = World::new();
    w.register(p([("a", below(&[])), ("b", below(&[]))]));
    w.attach("w", 1);
    w.attach("v", 1);
    w.submit("r");
    assert_eq!(w.log()[3..], ["r: a#1 fence 1 to v.1", "r: b#1 fence 2 to w.1"]);
    w.silence("v");
    assert_eq!(w.log(), ["r: a FAILED(lost)", "r: a RETRY in 0s after a loss"]);
    w.hello("v");
    assert_eq!(w.log(), ["r: a#2 fence 3 to v.1"], "the other worker is busy, maybe for hours");
}

#[test]
fn where_both_are_free_the_worker_that_lost_an_attempt_is_avoided() {
    let mut w = World::new();
    w.register(p([("a", below(&[])), ("b", below(&[]))]));
    w.attach("v", 1);
    w.attach("w", 2);
    w.submit("r");
    w.forget_log();
    w.end_on("v", "a", &Outcome::Cancelled); // it would be its turn
    assert_eq!(w.log(), ["r: a FAILED(lost)", "r: a RETRY in 0s after a loss", "r: a#2 fence 3 to w.1"]);
}

#[test]
fn the_budget_of_losses_is_max_lost() {
    let mut w = one(Task { max_lost: 2, ..Task::noop() });
    for loss in 1..=2 {
        w.silence("w");
        assert_eq!(w.log(), ["r: a FAILED(lost)", "r: a RETRY in 0s after a loss"]);
        w.hello("w");
        assert_eq!(w.log(), [format!("r: a#{} fence {} to w.1", loss + 1, loss + 1)]);
    }
    w.silence("w");
    assert_eq!(w.log(), ["r: a FAILED(lost)", "r: FAILED(task_failed)"]);
}

#[test]
fn a_task_with_max_lost_0_never_starts_twice() {
    let mut w = one(Task { max_lost: 0, retries: retries(9), ..Task::noop() });
    w.kill("w");
    assert_eq!(w.log(), ["r: a FAILED(lost)", "r: FAILED(task_failed)"]);
}

#[test]
fn three_workers_that_died_make_poison() {
    let mut w = one(Task { max_lost: 99, retries: retries(9), ..Task::noop() });
    w.kill("w");
    w.hello("w");
    w.silence("w"); // lost, but nobody died
    w.hello("w");
    w.kill("w");
    w.hello("w");
    w.forget_log();
    w.kill("w");
    assert_eq!(w.log(), ["r: a FAILED(poison)", "r: FAILED(task_failed)"]);
}

#[test]
fn a_task_that_waits_too_long_for_a_slot_fails_and_is_not_tried_again() {
    let mut w = World::with(p([("a", Task { queue_timeout: Some(s(30)), retries: retries(3), ..Task::noop() }), ("b", below(&["a"]))]), 0);
    w.submit("r");
    w.pass(s(29));
    assert_eq!(w.log(), ["r: created", "r: started"]);
    w.pass(s(1));
    assert_eq!(w.log(), ["r: a FAILED(queue_timeout)", "r: b SKIPPED(upstream_failed)", "r: FAILED(task_failed)"]);
}

#[test]
fn each_wait_for_a_slot_has_its_own_queue_timeout() {
    let mut w = World::new();
    let policy = Retries { delay: s(1), backoff: 1.0, ..retries(3) };
    w.register(p([("a", Task { queue_timeout: Some(s(30)), retries: policy, ..Task::noop() })]));
    w.submit("r");
    w.pass(s(20));
    w.attach("w", 1); // the first wait ends after 20 s
    w.drain("w", true).unwrap();
    w.end("a", &Outcome::Exit(1));
    w.forget_log();
    w.pass(s(30)); // the second began 1 s from then
    assert_eq!(w.log(), Vec::<String>::new());
    w.pass(s(1));
    assert_eq!(w.log(), ["r: a FAILED(queue_timeout)", "r: FAILED(task_failed)"]);
    w.rerun("r", "q").unwrap();
    w.pass(s(10));
    w.cancel("r").unwrap();
    w.rerun("r", "q2").unwrap();
    w.forget_log();
    w.pass(s(29));
    assert_eq!(w.log(), Vec::<String>::new(), "a generation has its own wait");
    w.pass(s(1));
    assert_eq!(w.log(), ["r: a FAILED(queue_timeout)", "r: FAILED(task_failed)"]);
}

#[test]
fn the_leader_ends_an_attempt_that_its_worker_should_long_have_ended() {
    let policy = Retries { delay: Millis(0), ..retries(1) };
    let mut w = one(Task { timeout: Some(s(60)), retries: policy, ..Task::noop() });
    w.pass(s(60 + 10 + 29)); // timeout, grace, slack
    assert_eq!(w.log(), Vec::<String>::new());
    w.pass(s(1));
    assert_eq!(w.log(), ["r: a FAILED(timeout)", "r: a RETRY in 0s", "r: a#2 fence 2 to w.1"]);
    assert_eq!(w.effects(), ["kill fence 1 on w.1", "lease a#2 fence 2 to w.1"]);
    w.fail_over();
    w.hello("w");
    w.forget_log();
    w.pass(s(100));
    assert_eq!(w.log()[0], "r: a FAILED(timeout)", "the next leader's backstop counts from the lease");
}

#[test]
fn two_runs_of_a_hundred_ready_tasks_take_turns_at_two_slots() {
    let wide = pipeline("p", (0..100).map(|i| (format!("t{i:03}"), below(&[]))));
    let mut w = World::with(wide, 0);
    w.submit("r1");
    w.submit("r2");
    w.forget_log();
    w.checker.deep = false;
    w.attach("v", 2);
    w.succeed_all();
    let leases: Vec<_> = w.log().into_iter().filter(|l| l.contains("fence")).map(|l| l[..2].to_owned()).collect();
    assert_eq!(leases.len(), 200);
    assert!(leases.chunks(2).all(|pair| pair[0] != pair[1]), "{leases:?}");
}

#[test]
fn a_higher_priority_goes_first_and_not_over_a_lane_it_does_not_share() {
    let of = |priority, queue: &str| Task { priority, queue: queue.parse().unwrap(), ..Task::noop() };
    let tasks = [("a", of(-1, "default")), ("b", of(0, "default")), ("c", of(7, "default")), ("d", of(9, "big"))];
    let mut w = World::with(p(tasks), 1);
    w.submit("r");
    w.succeed_all();
    assert_eq!(
        w.log()[2..],
        ["r: c#1 fence 1 to w.1", "r: c SUCCESS", "r: b#1 fence 2 to w.1", "r: b SUCCESS", "r: a#1 fence 3 to w.1", "r: a SUCCESS"]
    );
}

#[test]
fn labels_and_queues_choose_the_worker_and_its_slots_are_never_exceeded() {
    let labels = [("gpu".to_owned(), "a100".to_owned())].into();
    let mut w = World::new();
    w.register(p([("a", Task { labels, ..Task::noop() }), ("b", below(&[])), ("c", below(&[])), ("d", below(&[]))]));
    w.attach_with("g", 1, &["default", "big"], &[("gpu", "a100"), ("zone", "1")]);
    w.attach_with("h", 1, &["default"], &[("gpu", "t4")]);
    w.attach_with("i", 5, &["big"], &[]);
    w.submit("r");
    assert_eq!(w.log()[3..], ["r: b#1 fence 1 to g.1", "r: c#1 fence 2 to h.1"]);
    w.end_on("h", "c", &Outcome::Success);
    w.end_on("g", "b", &Outcome::Success);
    assert_eq!(w.log(), ["r: c SUCCESS", "r: d#1 fence 3 to h.1", "r: b SUCCESS", "r: a#1 fence 4 to g.1"]);
}

#[test]
fn workers_of_one_lane_take_turns() {
    let mut w = World::new();
    w.register(pipeline("p", (0..6).map(|i| (format!("t{i}"), below(&[])))));
    for name in ["u", "v", "w"] {
        w.attach(name, 2);
    }
    w.submit("r");
    let to: Vec<_> = w.log().into_iter().filter(|l| l.contains(" to ")).map(|l| l[l.len() - 3..].to_owned()).collect();
    assert_eq!(to, ["u.1", "v.1", "w.1", "u.1", "v.1", "w.1"]);
}

#[test]
fn a_report_that_comes_again_or_late_changes_nothing() {
    let mut w = one(Task { retries: retries(1), ..Task::noop() });
    let session = w.workers["w"].session.clone().unwrap();
    let of = |fence, outcome: Outcome| Input::Report { session: session.clone(), fence, report: Box::new(report(&outcome, 0)) };
    assert_eq!(w.feed(of(Fence(9), Outcome::Success)), Ok(Answer::Reported { current: false }));
    assert_eq!(w.feed(of(Fence(1), Outcome::Exit(1))), Ok(Answer::Reported { current: true }));
    w.forget_log();
    assert_eq!(w.feed(of(Fence(1), Outcome::Success)), Ok(Answer::Reported { current: false }));
    let other = Input::Report { session: "other".parse().unwrap(), fence: Fence(2), report: Box::new(report(&Outcome::Success, 0)) };
    w.pass(s(10));
    assert_eq!(w.feed(other), Ok(Answer::Reported { current: false }), "another session's fence");
    assert_eq!(w.log(), ["r: a#2 fence 2 to w.1"]);
}

#[test]
fn an_attempt_that_its_worker_stopped_unasked_is_lost_not_failed() {
    let mut w = one(Task { retries: retries(1), ..Task::noop() });
    w.end("a", &Outcome::Cancelled);
    assert_eq!(w.log(), ["r: a FAILED(lost)", "r: a RETRY in 0s after a loss", "r: a#2 fence 2 to w.1"]);
}
