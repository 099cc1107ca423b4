//! New generations: reruns, marks, and archived runs that come back.

use penstock_common::limits::KEEP_UNSUCCESSFUL_MS;
use penstock_common::pipeline::{ForEach, Pipeline, Task};
use penstock_common::{Millis, Reason, RunNo, State};
use serde_json::json;

use super::super::model::{Outcome, approve, below, each, key, p, range, retries, run_id, s};
use super::super::world::World;
use crate::{Answer, Input, Rejection};

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
fn a_rerun_of_one_failed_instance_runs_that_and_what_is_below() {
    let tasks = [("after", below(&["load"])), ("load", each(json!(["x", "y", "z"]), &[]))];
    let mut w = World::with(p(tasks), 9);
    w.submit("r");
    w.end("load[y]", &Outcome::Exit(1));
    w.succeed_all();
    assert_eq!((w.how_is("r", "load").as_str(), w.how("r").as_str()), ("FAILED(task_failed)", "FAILED(task_failed)"));
    w.forget_log();
    w.rerun("r", "q").unwrap();
    assert_eq!(w.log(), ["r: generation 2 of after load[y]", "answered q: 2", "r: started", "r: load[y]#2 fence 4 to w.1"]);
    assert_eq!(w.how_is("r", "load"), "RUNNING");
    w.succeed_all();
    assert_eq!(w.tasks("r"), ["after SUCCESS", "load SUCCESS", "load[x] SUCCESS", "load[y] SUCCESS", "load[z] SUCCESS"]);
    assert_eq!(w.task("r", "load[x]").attempts.len(), 1);
}

#[test]
fn a_selected_instance_is_rerun_alone_or_with_what_is_above_and_below() {
    let tasks = || p([("a", below(&[])), ("m", range(2, &["a"])), ("z", below(&["m"]))]);
    let opened = |selector: &str| {
        let mut w = World::with(tasks(), 9);
        w.submit("r");
        w.end("a", &Outcome::Exit(1));
        w.rerun("r", "q0").unwrap();
        w.end("a", &Outcome::Success);
        w.end("m[0]", &Outcome::Exit(1));
        w.succeed_all();
        w.forget_log();
        w.rerun_of("r", "q", &[selector]).unwrap();
        w.log()[0].clone()
    };
    assert_eq!(opened("m[0]"), "r: generation 3 of m[0]");
    assert_eq!(opened("m[1]+"), "r: generation 3 of z m[1]");
    assert_eq!(opened("+m[0]"), "r: generation 3 of a m[0]");
    assert_eq!(opened("m"), "r: generation 3 of m");
    assert_eq!(opened("+m+"), "r: generation 3 of a..z");
}

#[test]
fn a_rerun_of_an_instance_follows_its_pair_and_not_the_others() {
    // `x` keeps the run at hand.
    let x = Task { queue: "nowhere".parse().unwrap(), queue_timeout: Some(s(1)), ..Task::noop() };
    let tasks = [("a", below(&[])), ("m", range(2, &["a"])), ("p", below(&["m[*]"])), ("x", x), ("z", below(&["p"]))];
    let mut w = World::with(p(tasks), 9);
    let opened = |w: &mut World, request: &str, selectors: &[&str]| {
        w.forget_log();
        w.rerun_of("r", request, selectors).unwrap();
        let opened = w.log()[0].clone();
        w.succeed_all();
        w.pass(s(1));
        opened
    };
    w.submit("r");
    w.end("a", &Outcome::Success);
    w.end("m[1]", &Outcome::Exit(1));
    w.succeed_all();
    w.pass(s(1));
    assert_eq!(opened(&mut w, "q1", &[]), "r: generation 2 of x..z m[1] p[1]");
    assert_eq!(opened(&mut w, "q2", &["m[1]+"]), "r: generation 3 of z m[1] p[1]");
    assert_eq!(opened(&mut w, "q3", &["+p[0]"]), "r: generation 4 of a m[0] p[0]");
    assert_eq!(opened(&mut w, "q4", &["m+"]), "r: generation 5 of m..p z");
    let attempts = |name: &str| w.task("r", name).attempts.len();
    assert_eq!([attempts("m[0]"), attempts("m[1]"), attempts("p[0]"), attempts("p[1]")], [3, 4, 3, 3]);
}

#[test]
fn a_mark_of_a_mapped_task_is_one_of_its_instances_or_of_the_task_that_begins_again() {
    let over = Task { for_each: Some(ForEach::Output { task: "a".parse().unwrap(), key: "list".to_owned() }), ..below(&["a"]) };
    let tasks = [("a", below(&[])), ("m", over), ("p", below(&["m[*]"])), ("x", below(&[])), ("z", below(&["p"]))];
    let mut w = World::with(p(tasks), 9);
    w.submit("r");
    w.end("x", &Outcome::Exit(1));
    w.end("a", &Outcome::Put("list", "[1, 2]".to_owned()));
    w.end("m[1]", &Outcome::Exit(1));
    w.succeed_all();
    w.mark("r", "q1", &["m"], State::Success).unwrap();
    w.succeed_all();
    assert_eq!((w.how_is("r", "m[0]").as_str(), w.how_is("r", "m[1]").as_str()), ("SUCCESS(marked)", "SUCCESS(marked)"));
    assert_eq!((w.how_is("r", "z").as_str(), w.task("r", "p[1]").attempts.len()), ("SUCCESS", 1), "and what is below begins again");
    let rejection = w.mark("r", "q2", &["a", "m[0]"], State::Success).unwrap_err();
    let why = "m[0] goes with m, which begins again: mark m as a whole, or m[0] when it is there again";
    assert_eq!(rejection, Rejection::Refused(why.to_owned()));
    w.mark("r", "q3", &["a+"], State::Success).unwrap();
    let marked = ["a SUCCESS(marked)", "m SUCCESS(marked)", "p SUCCESS(marked)", "x FAILED(exit_code)", "z SUCCESS(marked)"];
    assert_eq!(w.tasks("r"), marked);
}

#[test]
fn a_rerun_that_expands_again_may_have_fewer_or_more_instances_and_counts_attempts_on() {
    let over = Task { for_each: Some(ForEach::Output { task: "a".parse().unwrap(), key: "list".to_owned() }), ..below(&["a"]) };
    let mut w = World::with(p([("a", below(&[])), ("m", over), ("n", below(&["m[*]"])), ("z", below(&["m"]))]), 9);
    w.submit("r");
    let generation = |w: &mut World, request: &str, list: &str, count: usize| {
        if !request.is_empty() {
            w.rerun_of("r", request, &["a+"]).unwrap();
            assert_eq!(w.tasks("r").len(), 4, "they wait to be made again");
            w.checker.reloads(&mut w.leader);
        }
        w.end("a", &Outcome::Put("list", list.to_owned()));
        let instances = w.leader.tasks(&run_id("r"), 0, 99).into_iter().filter(|t| t.id.to_string().starts_with("m[")).count();
        assert_eq!(instances, count);
        w.checker.reloads(&mut w.leader);
        w.end("m[0]", &Outcome::Exit(1));
        w.succeed_all();
        assert_eq!(w.how("r"), "FAILED(task_failed)");
    };
    generation(&mut w, "", "[1, 2, 3]", 3);
    generation(&mut w, "q1", "[9]", 1);
    assert_eq!(w.leader.task(&run_id("r"), &key("m[1]")), None, "it is gone");
    generation(&mut w, "q2", "[1, 2, 3, 4, 5]", 5);
    let attempts = |w: &World, name: &str| w.task("r", name).attempts.iter().map(|a| a.number).collect::<Vec<_>>();
    assert_eq!((attempts(&w, "m[0]"), attempts(&w, "m[1]"), attempts(&w, "m[4]")), (vec![1, 2, 3], vec![1, 2], vec![1]));
    w.fail_over();
    w.hello("w");
    w.rerun_of("r", "q3", &["m"]).unwrap();
    w.succeed_all();
    assert_eq!(attempts(&w, "m[0]"), [1, 2, 3, 4]);
    assert_eq!((w.how_is("r", "m").as_str(), w.how_is("r", "z").as_str()), ("SUCCESS", "SKIPPED(upstream_failed)"), "nobody asked for z");
    assert_eq!(w.how("r"), "FAILED(task_failed)", "and it was not run");
}

#[test]
fn a_rerun_takes_along_the_tasks_whose_items_follow_from_it() {
    let over = Task { for_each: Some(ForEach::Output { task: "a".parse().unwrap(), key: "list".to_owned() }), ..below(&["a"]) };
    let mut w = World::with(p([("a", below(&[])), ("m", over), ("n", below(&["m[*]"])), ("x", below(&[]))]), 9);
    w.submit("r");
    w.end("a", &Outcome::Put("list", "[1, 2]".to_owned()));
    w.end("x", &Outcome::Exit(1));
    w.succeed_all();
    w.forget_log();
    w.rerun_of("r", "q", &["a"]).unwrap();
    assert_eq!(w.log()[0], "r: generation 2 of a..n", "with all instances");
}

#[test]
fn a_rerun_sets_up_and_cleans_up_again_around_what_it_reruns() {
    let down = Task { teardown: true, setup: Some("up".parse().unwrap()), ..below(&["b"]) };
    let mut w = World::with(p([("a", below(&["up"])), ("b", below(&["a"])), ("down", down), ("up", below(&[]))]), 9);
    w.submit("r");
    w.end("up", &Outcome::Success);
    w.end("a", &Outcome::Success);
    w.end("b", &Outcome::Exit(1));
    w.succeed_all();
    w.forget_log();
    w.rerun("r", "q").unwrap();
    assert_eq!(w.log()[0], "r: generation 2 of b..up");
    w.succeed_all();
    assert_eq!((w.how("r").as_str(), w.task("r", "a").attempts.len(), w.task("r", "down").attempts.len()), ("SUCCESS", 1, 2));
}

#[test]
fn a_task_that_stays_cancelled_keeps_the_run_from_being_a_success() {
    let mut w = World::with(p([("a", below(&[])), ("b", below(&[]))]), 9);
    w.submit("r");
    w.cancel("r").unwrap();
    w.end("a", &Outcome::Cancelled);
    w.end("b", &Outcome::Cancelled);
    w.rerun_of("r", "q", &["a"]).unwrap();
    w.succeed_all();
    assert_eq!((w.how("r").as_str(), w.how_is("r", "b").as_str()), ("FAILED(task_failed)", "CANCELLED(user)"));
}

#[test]
fn a_mark_on_a_run_that_goes_on_ends_tasks_that_wait_and_no_others() {
    let mut w = World::with(
        p([("a", below(&[])), ("b", below(&["a"])), ("c", below(&["b"])), ("d", Task { action: approve("?"), ..Task::noop() })]),
        9,
    );
    w.submit("r");
    w.forget_log();
    assert_eq!(w.mark("r", "q", &["b", "d"], State::Success), Ok(Answer::Generation(1)));
    assert_eq!(w.log(), ["r: b SUCCESS(marked)", "r: d SUCCESS(marked)", "answered q: 1", "r: c#1 fence 2 to w.1"]);
    assert_eq!(w.mark("r", "q", &["b", "d"], State::Success), Ok(Answer::Generation(1)), "a repeated request");
    assert_eq!(w.log(), Vec::<String>::new());
    assert!(matches!(w.mark("r", "q", &["a"], State::Success), Err(Rejection::RequestReused(_))));
    let expected = "in a run that goes on only a task that waits can be marked; cancel the run to mark what runs or has ended";
    for (task, state) in [("a", "RUNNING"), ("b", "SUCCESS")] {
        let wrong = Rejection::WrongState { run: run_id("r"), task: key(task), state: state.to_owned(), expected };
        assert_eq!(w.mark("r", "q2", &[task], State::Failed), Err(wrong));
    }
    assert!(matches!(w.mark("r", "q3", &["a"], State::Cancelled), Err(Rejection::Refused(_))));
    assert!(matches!(w.mark("r", "q3", &["x"], State::Failed), Err(Rejection::UnknownTask { .. })));
    let audit = &w.leader.run(&run_id("r")).unwrap().audit;
    assert_eq!((audit.len(), &*audit[0].verb, &*audit[0].subject, &*audit[0].note), (1, "mark", "b d SUCCESS", "so it is"));
    w.succeed_all();
    assert_eq!(w.how("r"), "SUCCESS");
}

#[test]
fn a_mark_on_an_ended_run_ends_tasks_so_and_runs_what_is_below() {
    let mut w = World::with(p([("a", below(&[])), ("b", below(&["a"])), ("c", below(&["b"])), ("x", below(&[]))]), 9);
    w.submit("r");
    w.end("a", &Outcome::Exit(1));
    w.succeed_all();
    w.forget_log();
    assert_eq!(w.mark("r", "q", &["a"], State::Success), Ok(Answer::Generation(2)));
    let expected = ["r: generation 2 of a..c", "r: a SUCCESS(marked)", "answered q: 2", "r: started", "r: b#1 fence 3 to w.1"];
    assert_eq!(w.log(), expected);
    assert_eq!(w.leader.run(&run_id("r")).unwrap().audit.len(), 1, "said once");
    w.succeed_all();
    assert_eq!(w.how("r"), "SUCCESS");
    assert!(matches!(w.mark("r", "q2", &["a"], State::Failed), Err(Rejection::UnknownRun(_))), "its history is being written");
}

#[test]
fn a_mark_that_leaves_nothing_to_do_ends_the_run_without_its_turn() {
    let mut w = World::with(Pipeline { max_active_runs: Some(1), ..p([("a", below(&[]))]) }, 9);
    w.submit("r");
    w.end("a", &Outcome::Exit(1));
    w.submit("s");
    w.forget_log();
    w.mark("r", "q", &["a"], State::Success).unwrap();
    assert_eq!(w.log(), ["r: generation 2 of a", "r: a SUCCESS(marked)", "answered q: 2", "r: SUCCESS"]);
    assert_eq!(w.how("s"), "RUNNING");
    w.submit("t");
    w.mark("t", "q2", &["a"], State::Failed).unwrap();
    assert_eq!(w.how("t"), "FAILED(task_failed)");
}

#[test]
fn an_instance_is_marked_by_itself_and_a_mapped_task_by_its_instances() {
    let mut w = World::with(p([("m", Task { max_parallel: Some(1), ..range(3, &[]) }), ("n", below(&["m"]))]), 9);
    w.submit("r");
    let refused = "task m[0] of run r is RUNNING: in a run that goes on only a task that waits can be marked";
    assert!(w.mark("r", "q", &["m"], State::Skipped).unwrap_err().to_string().starts_with(refused));
    w.mark("r", "q", &["m[1]"], State::Skipped).unwrap();
    w.mark("r", "q2", &["m[2]"], State::Failed).unwrap();
    w.end("m[0]", &Outcome::Success);
    assert_eq!((w.how_is("r", "m").as_str(), w.how("r").as_str()), ("FAILED(task_failed)", "FAILED(task_failed)"));
    w.mark("r", "q3", &["m[2]"], State::Success).unwrap();
    assert_eq!(w.tasks("r")[2..], ["m[0] SUCCESS", "m[1] SKIPPED(marked)", "m[2] SUCCESS(marked)"]);
    assert_eq!((w.how_is("r", "m").as_str(), w.how_is("r", "n").as_str()), ("SUCCESS", "SKIPPED(upstream_skipped)"));
}

#[test]
fn no_more_than_what_one_input_may_yield_is_marked_at_once() {
    let tasks = (0..600).map(|i| (format!("t{i:03}"), below(&[])));
    let mut w = World::with(super::super::model::pipeline("p", tasks.chain([("z".to_owned(), below(&["t000"]))])), 0);
    w.checker.deep = false;
    w.submit("r");
    let names: Vec<String> = (0..600).map(|i| format!("t{i:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(w.mark("r", "q", &names, State::Success).unwrap_err().to_string().starts_with("600 tasks are meant, and at most 500"));
    w.mark("r", "q", &names[..500], State::Success).unwrap();
    assert_eq!(w.leader.run(&run_id("r")).unwrap().counts[State::Success as usize], 500);
}

#[test]
fn an_archived_run_comes_back_for_a_rerun_and_goes_on_counting() {
    let items = Task { for_each: Some(ForEach::ItemsOf { task: "a".parse().unwrap() }), ..below(&["a"]) };
    let mut w = World::with(p([("a", below(&[])), ("m", items)]), 9);
    w.submit("r");
    w.end("a", &Outcome::Items(2));
    w.succeed_all();
    w.feed(Input::Archived { run: RunNo(1) }).unwrap();
    assert_eq!(w.rerun("r", "q"), Err(Rejection::UnknownRun(run_id("r"))));
    w.forget_log();
    w.reopen("r").unwrap();
    assert_eq!(w.reopen("r"), Ok(Answer::Done), "twice is once");
    w.rerun_of("r", "q", &["m[1]"]).unwrap();
    assert_eq!(w.log(), ["r: reopened", "r: generation 2 of m[1]", "answered q: 2", "r: started", "r: m[1]#2 fence 4 to w.1"]);
    w.succeed_all();
    assert_eq!(w.how("r"), "SUCCESS");
    assert_eq!(w.tasks("r"), ["a SUCCESS", "m SUCCESS", "m[0] SUCCESS", "m[1] SUCCESS"]);
}

#[test]
fn an_archived_run_that_comes_back_and_is_not_rerun_is_archived_again() {
    let mut w = World::with(p([("a", below(&[]))]), 9);
    w.submit("r");
    w.end("a", &Outcome::Success);
    w.feed(Input::Archived { run: RunNo(1) }).unwrap();
    w.effects();
    w.reopen("r").unwrap();
    w.pass(Millis(KEEP_UNSUCCESSFUL_MS + 120_000));
    assert_eq!(w.effects(), ["archive r"]);
}

#[test]
fn a_run_of_a_version_that_is_no_longer_kept_does_not_come_back() {
    let version = |n: usize| Pipeline { description: n.to_string(), ..p([("a", below(&[]))]) };
    let mut w = World::with(version(0), 9);
    w.submit("r");
    w.end("a", &Outcome::Success);
    w.feed(Input::Archived { run: RunNo(1) }).unwrap();
    w.checker.deep = false;
    (1..=penstock_common::limits::MAX_VERSIONS_PER_PIPELINE).for_each(|n| drop(w.register(version(n))));
    let expected = "version 1 of p is no longer kept: start a new run with penstock rerun r --latest";
    assert_eq!(w.reopen("r").unwrap_err().to_string(), expected);
}

#[test]
fn more_stretches_of_tasks_than_an_event_can_name_are_refused() {
    let mut w = World::with(p([("m", range(50_000, &[]))]), 0);
    w.checker.deep = false;
    w.submit("r");
    w.settle();
    let run = w.leader.state.runs.get_mut(&RunNo(1)).unwrap();
    for index in 1..=50_000 {
        let state = if index % 2 == 0 { State::Failed } else { State::Success };
        run.go(index, state, None, penstock_common::Timestamp(1), 0).unwrap();
    }
    run.settle(50_000, penstock_common::Timestamp(1), 0).unwrap();
    crate::machine::run::go(&mut run.record, State::Failed, None).unwrap();
    let request = "q".parse().unwrap();
    let now = w.clock();
    let rerun = Input::Rerun { run: run_id("r"), tasks: Vec::new(), request, by: "me".into(), note: "".into() };
    let why = w.leader.decide(rerun, now).unwrap_err().to_string();
    assert!(why.starts_with("the tasks that are meant lie in 25000 stretches, and 21845 can be named at once: rerun the mapped"), "{why}");
}
