//! Workers come, come back, are drained and leave; leaders change.

use penstock_common::Fence;
use penstock_common::pipeline::Task;

use super::super::model::{Outcome, below, p, report};
use super::super::world::World;
use super::one;
use crate::{Announced, Input, Rejection};

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
fn an_unknown_session_cannot_leave_and_its_end_changes_nothing() {
    let mut w = one(Task::noop());
    let session = || "other".parse().unwrap();
    assert_eq!(w.feed(Input::Leaving { session: session() }), Err(Rejection::UnknownSession(session())));
    w.gone(&session(), true);
    assert_eq!(w.log(), Vec::<String>::new());
    assert_eq!(Announced::default().running.len(), 0);
}
