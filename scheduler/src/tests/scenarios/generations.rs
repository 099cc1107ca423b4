//! New generations: reruns, marks, and archived runs that come back.

use penstock_common::pipeline::Task;
use penstock_common::{Reason, State};

use super::super::model::{Outcome, below, p, retries, run_id, s};
use super::super::world::World;
use crate::{Answer, Rejection};

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
