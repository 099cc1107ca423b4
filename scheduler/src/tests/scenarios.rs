//! Exactly which events follow from which inputs.

use penstock_common::limits::{KEEP_UNSUCCESSFUL_MS, KEEP_UNSUCCESSFUL_RUNS};
use penstock_common::pipeline::{ExitPolicy, Jitter, Retries, Task};
use penstock_common::{Fence, Millis, Reason, RunNo, State, Timestamp};

use super::model::{Outcome, below, p, pipeline, report, retries, run_id, s};
use super::world::World;
use crate::{Announced, Answer, Input, Rejection};

fn one(task: Task) -> World {
    let mut world = World::with(p([("a", task)]), 1);
    world.submit("r");
    world.forget_log();
    world
}

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
fn a_worker_that_starts_again_under_its_name_has_lost_what_its_former_life_held() {
    let mut w = one(Task::noop());
    w.die("w");
    w.hello("w"); // the leader has not seen the old stream close
    assert_eq!(w.log(), ["r: a FAILED(lost)", "r: a RETRY in 0s after a loss", "r: a#2 fence 2 to w.2"]);
    w.fail_over();
    w.die("w");
    w.forget_log();
    w.hello("w"); // this leader never knew the old session
    assert_eq!(w.log(), ["r: a FAILED(lost)", "r: a RETRY in 0s after a loss", "r: a#3 fence 3 to w.3"]);
}

#[test]
fn a_drained_worker_gets_nothing_until_it_is_undone() {
    let mut w = World::with(p([("a", below(&[]))]), 1);
    w.drain("w", true).unwrap();
    w.submit("r");
    assert_eq!(w.log(), ["drained w", "r: created", "r: started"]);
    w.kill("w");
    w.hello("w");
    assert_eq!(w.log(), Vec::<String>::new(), "drained by name, over its restarts");
    w.drain("w", true).unwrap();
    w.drain("w", false).unwrap();
    assert_eq!(w.log(), ["undrained w", "r: a#1 fence 1 to w.2"]);
    assert_eq!(w.drain("nobody", true).unwrap_err(), Rejection::UnknownWorker("nobody".parse().unwrap()));
}

#[test]
fn undoing_a_drain_does_not_call_back_a_worker_that_is_leaving() {
    let mut w = World::with(p([("a", below(&[]))]), 1);
    w.drain("w", true).unwrap();
    let session = w.workers["w"].session.clone().unwrap();
    w.feed(Input::Leaving { session }).unwrap();
    w.drain("w", false).unwrap();
    w.submit("r");
    assert_eq!(w.log(), ["drained w", "undrained w", "r: created", "r: started"]);
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
    let mut w = World::with(penstock_common::pipeline::Pipeline { max_active_runs: Some(1), ..p([("a", below(&[]))]) }, 9);
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
    let limited = |n| penstock_common::pipeline::Pipeline { max_active_runs: Some(n), ..p([("a", below(&[]))]) };
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
    let mut w = World::with(penstock_common::pipeline::Pipeline { max_active_runs: Some(1), ..p([("a", below(&[]))]) }, 9);
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
    let slow = penstock_common::pipeline::Pipeline { run_timeout: Some(s(60)), ..p([("a", below(&[])), ("b", below(&["a"]))]) };
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
fn a_rerun_opens_what_failed_and_all_below_it_and_attempts_are_counted_on() {
    let mut w = World::with(
        p([("a", below(&[])), ("b", Task { retries: retries(1), ..below(&["a"]) }), ("c", below(&["b"])), ("d", below(&["a"]))]),
        4,
    );
    w.submit("r");
    w.end("a", &Outcome::Success);
    w.end("d", &Outcome::Success);
    w.end("b", &Outcome::Exit(1));
    w.pass(s(10));
    w.end("b", &Outcome::Exit(1));
    assert_eq!(w.run("r"), (State::Failed, Some(Reason::TaskFailed)));
    w.forget_log();
    assert_eq!(w.rerun("r", "q"), Ok(Answer::Generation(2)));
    assert_eq!(w.log(), ["r: generation 2 of b..c", "answered q: 2", "r: started", "r: b#3 fence 5 to w.1"]);
    assert_eq!(w.rerun("r", "q"), Ok(Answer::Generation(2)), "a repeated request");
    assert_eq!(w.log(), Vec::<String>::new());
    w.end("b", &Outcome::Exit(1));
    assert_eq!(w.log(), ["r: b FAILED(exit_code)", "r: b RETRY in 10s"], "a new generation has a new budget");
    w.pass(s(10));
    w.end("b", &Outcome::Success);
    w.end("c", &Outcome::Success);
    assert_eq!(w.run("r"), (State::Success, None));
}

#[test]
fn a_rerun_that_cannot_be_says_why() {
    let mut w = World::with(p([("a", below(&[]))]), 1);
    w.submit("r");
    assert_eq!(w.rerun("r", "q").unwrap_err(), Rejection::NotEnded { run: run_id("r"), state: State::Running });
    assert_eq!(w.rerun("other", "q").unwrap_err(), Rejection::UnknownRun(run_id("other")));
    w.end("a", &Outcome::Exit(1));
    w.submit("s");
    w.rerun("r", "q").unwrap();
    w.succeed_all();
    assert_eq!(w.rerun("s", "q").unwrap_err(), Rejection::RequestReused("q".parse().unwrap()));
    assert_eq!(w.rerun("r", "q2").unwrap_err(), Rejection::UnknownRun(run_id("r")), "its history is being written");
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
fn hello_sends_a_lease_that_the_worker_does_not_know_again_under_its_fence() {
    let mut w = one(Task::noop());
    let worker = w.workers.get_mut("w").unwrap();
    worker.running.clear(); // as if the lease had been lost on its way
    worker.seen.clear();
    w.hello("w");
    assert_eq!(w.effects(), ["lease a#1 fence 1 to w.1"]);
    assert_eq!(w.log(), Vec::<String>::new(), "nothing new is decided");
    w.hello("w");
    assert_eq!(w.effects(), Vec::<String>::new(), "it runs it now");
    let fence = w.fence("w", "a");
    let worker = w.workers.get_mut("w").unwrap();
    worker.running.clear();
    worker.finished.insert(fence, report(&Outcome::Success, 0));
    w.hello("w");
    assert_eq!(w.effects(), Vec::<String>::new(), "its report follows");
}

#[test]
fn hello_kills_an_attempt_that_the_journal_does_not_hold() {
    let mut w = one(Task::noop());
    w.silence("w");
    w.hello("w"); // with its old attempt, which was given up
    assert_eq!(w.effects(), ["kill fence 1 on w.1", "lease a#2 fence 2 to w.1"]);
    assert_eq!(w.workers["w"].running.keys().collect::<Vec<_>>(), [&Fence(2)]);
}

#[test]
fn hello_repeats_a_cancel() {
    let mut w = one(Task::noop());
    w.cancel("r").unwrap();
    w.forget_log();
    w.hello("w");
    assert_eq!(w.effects(), ["cancel fence 1 on w.1: user"]);
}

#[test]
fn a_failover_restarts_nothing() {
    let mut w = World::with(p([("a", below(&[])), ("b", below(&[])), ("c", below(&["a", "b"]))]), 2);
    w.attach("v", 1);
    w.submit("r");
    w.fail_over();
    w.forget_log();
    w.hello("v");
    w.hello("w");
    assert_eq!((w.log(), w.effects()), (vec![], vec![]));
    w.succeed_all();
    assert_eq!(w.log(), ["r: a SUCCESS", "r: b SUCCESS", "r: c#1 fence 3 to v.1", "r: c SUCCESS", "r: SUCCESS"]);
}

#[test]
fn a_new_leader_leases_only_to_workers_that_said_hello_to_it() {
    let mut w = World::with(p([("a", below(&[]))]), 1);
    w.fail_over();
    w.submit("r");
    assert_eq!(w.log(), ["term 1.2", "r: created", "r: started"]);
    w.hello("w");
    assert_eq!(w.log(), ["r: a#1 fence 1 to w.1"]);
}

#[test]
fn a_lease_that_was_not_committed_never_was() {
    let mut w = World::with(p([("a", below(&[]))]), 1);
    w.hold = 9;
    w.submit("r");
    assert_eq!(w.log(), ["r: created", "r: started", "r: a#1 fence 1 to w.1"]);
    w.fail_over();
    w.hold = 0;
    w.hello("w");
    assert_eq!(w.leader.live(), (0, 0));
    w.submit("r"); // the client had no answer and asks again
    assert_eq!(w.log()[1..], ["r: created", "r: started", "r: a#1 fence 1 to w.1"]);
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

#[test]
fn an_unknown_session_cannot_leave_and_its_end_changes_nothing() {
    let mut w = one(Task::noop());
    let session = || "other".parse().unwrap();
    assert_eq!(w.feed(Input::Leaving { session: session() }), Err(Rejection::UnknownSession(session())));
    w.gone(&session(), true);
    assert_eq!(w.log(), Vec::<String>::new());
    assert_eq!(Announced::default().running.len(), 0);
}
