//! Rules, conditions, branches, teardowns: what runs, what is skipped, and whether the run is green.

use penstock_common::pipeline::{Pipeline, Task, TriggerRule};

use super::super::model::{Outcome, below, edge, p, retries, ruled, s, selectors};
use super::super::people::submit;
use super::super::world::World;
use crate::input::Submit;

/// Runs a pipeline of tasks to its end; programs end as listed, the others succeed. Says how the run and each task ended.
fn ends(pipeline: Pipeline, outcomes: &[(&str, Outcome)]) -> (String, Vec<String>) {
    let mut w = World::with(pipeline, 9);
    w.submit("r");
    while let Some((_, fence)) = w.any_running() {
        let name = w.workers["w"].running[&fence].task.to_string();
        let outcome = outcomes.iter().find(|(task, _)| *task == name).map_or(Outcome::Success, |(_, outcome)| outcome.clone());
        w.finish("w", fence, &outcome);
        w.settle();
    }
    (w.how("r"), w.tasks("r"))
}

fn broken() -> Outcome {
    Outcome::Exit(1)
}

#[test]
fn a_notifier_beside_a_broken_path_does_not_make_the_run_green() {
    let tasks = || p([("load", below(&[])), ("notify", ruled(TriggerRule::OneFailed, &["load"])), ("publish", below(&["load"]))]);
    let (run, tasks) = ends(tasks(), &[("load", broken())]);
    assert_eq!(run, "FAILED(task_failed)");
    assert_eq!(tasks, ["load FAILED(exit_code)", "notify SUCCESS", "publish SKIPPED(upstream_failed)"]);
}

#[test]
fn try_and_catch_is_green_where_nothing_was_skipped_for_the_failure() {
    let tasks = || {
        p([("attempt", below(&[])), ("catch", below(&["attempt: failed"])), ("go_on", ruled(TriggerRule::AllDone, &["attempt", "catch"]))])
    };
    let (run, ended) = ends(tasks(), &[("attempt", broken())]);
    assert_eq!(
        (run.as_str(), &ended[..]),
        ("SUCCESS", &["attempt FAILED(exit_code)", "catch SUCCESS", "go_on SUCCESS"].map(String::from)[..])
    );
    let (run, ended) = ends(tasks(), &[]);
    assert_eq!((run.as_str(), ended[1].as_str()), ("SUCCESS", "catch SKIPPED(rule)"));
    let (run, _) = ends(tasks(), &[("attempt", broken()), ("catch", broken())]);
    assert_eq!(run, "FAILED(task_failed)", "what should have caught it failed itself");
}

#[test]
fn do_if_else_is_red_when_the_first_fails() {
    // As in Data Factory: one path for success, one for failure.
    let tasks = p([("work", below(&[])), ("then", below(&["work: success"])), ("otherwise", below(&["work: failed"]))]);
    let (run, tasks) = ends(tasks, &[("work", broken())]);
    assert_eq!(run, "FAILED(task_failed)");
    assert_eq!(tasks, ["otherwise SUCCESS", "then SKIPPED(upstream_failed)", "work FAILED(exit_code)"]);
}

#[test]
fn an_allowed_failure_is_green_and_what_is_below_it_ran() {
    let tasks = p([("a", Task { allow_failure: true, ..Task::noop() }), ("b", below(&["a"])), ("c", below(&["a: failed"]))]);
    let (run, tasks) = ends(tasks, &[("a", broken())]);
    assert_eq!(run, "SUCCESS");
    assert_eq!(tasks, ["a FAILED(exit_code)", "b SUCCESS", "c SKIPPED(rule)"]);
}

#[test]
fn edges_are_conditions_that_must_all_hold() {
    let tasks = || p([("a", below(&[])), ("b", below(&[])), ("c", below(&[])), ("t", below(&["a: success", "b: failed", "c: completed"]))]);
    let how = |outcomes: &[(&str, Outcome)]| ends(tasks(), outcomes).1[3].clone();
    assert_eq!(how(&[("b", broken())]), "t SUCCESS");
    assert_eq!(how(&[("b", broken()), ("c", broken())]), "t SUCCESS");
    assert_eq!(how(&[]), "t SKIPPED(rule)");
    assert_eq!(how(&[("a", broken()), ("b", broken())]), "t SKIPPED(upstream_failed)");
    assert_eq!(how(&[("b", Outcome::Skip)]), "t SKIPPED(upstream_skipped)");
    assert_eq!(how(&[("b", broken()), ("c", Outcome::Skip)]), "t SKIPPED(upstream_skipped)");
}

#[test]
fn an_if_that_is_false_skips_and_one_that_cannot_be_evaluated_fails() {
    let of = |condition: &str| Task { condition: Some(condition.to_owned()), ..below(&["a"]) };
    let how = |condition: &str| {
        let given = ends(p([("a", below(&[])), ("b", of(condition)), ("c", below(&["b"]))]), &[("a", Outcome::Put("n", "3".into()))]);
        format!("{} {} {}", given.1[1], given.1[2], given.0)
    };
    assert_eq!(how("outputs.a.n > 2"), "b SUCCESS c SUCCESS SUCCESS");
    assert_eq!(how("outputs.a.n > 3"), "b SKIPPED(condition) c SKIPPED(upstream_skipped) SUCCESS");
    assert_eq!(how("outputs.a.m > 3"), "b FAILED(template) c SKIPPED(upstream_failed) FAILED(task_failed)");
    assert_eq!(how("outputs.a.m | default(9) > 3"), "b SUCCESS c SUCCESS SUCCESS");
    assert_eq!(how("range(1000000) | length > 3"), "b FAILED(template) c SKIPPED(upstream_failed) FAILED(task_failed)", "it has fuel");
}

#[test]
fn an_if_is_evaluated_once_and_not_again_for_a_retry() {
    let task = Task { condition: Some("task.attempt == 1".to_owned()), retries: retries(1), ..Task::noop() };
    let mut w = World::with(p([("a", task)]), 1);
    w.submit("r");
    w.end("a", &broken());
    w.pass(s(10));
    w.end("a", &Outcome::Success);
    assert_eq!(w.how("r"), "SUCCESS");
}

fn branching() -> Pipeline {
    p([
        ("choose", Task { branch: true, ..Task::noop() }),
        ("join", ruled(TriggerRule::NoneFailedMinOneSuccess, &["left", "right"])),
        ("late", below(&["choose", "left"])),
        ("left", below(&["choose"])),
        ("right", below(&["choose"])),
    ])
}

#[test]
fn a_branch_skips_what_it_does_not_pick_but_not_what_is_below_a_picked_one() {
    let pick = |text: &str| ends(branching(), &[("choose", Outcome::Put("branch", text.to_owned()))]);
    let (run, tasks) = pick("\"left\"");
    assert_eq!(tasks, ["choose SUCCESS", "join SUCCESS", "late SUCCESS", "left SUCCESS", "right SKIPPED(branch)"]);
    assert_eq!(run, "SUCCESS");
    let (_, tasks) = pick("[\"right\"]");
    assert_eq!(tasks[1..], ["join SUCCESS", "late SKIPPED(branch)", "left SKIPPED(branch)", "right SUCCESS"]);
    let (run, tasks) = pick("[]");
    assert_eq!(tasks[1..], ["join SKIPPED(upstream_skipped)", "late SKIPPED(branch)", "left SKIPPED(branch)", "right SKIPPED(branch)"]);
    assert_eq!(run, "SUCCESS");
}

#[test]
fn a_branch_that_names_no_direct_downstream_fails_and_is_not_tried_again() {
    let mut tasks = branching();
    tasks.tasks.get_mut("choose").unwrap().retries = retries(3);
    for (text, says) in [
        (Some("\"join\""), "`branch` names \"join\", which is not directly below it"),
        (Some("7"), "`branch` is 7"),
        (Some("[7]"), "7 in `branch` is no name"),
        (None, "it put out no `branch`"),
    ] {
        let mut w = World::with(tasks.clone(), 1);
        w.submit("r");
        let outcome = text.map_or(Outcome::Success, |text| Outcome::Put("branch", text.to_owned()));
        w.end("choose", &outcome);
        assert_eq!((w.how_is("r", "choose").as_str(), w.how("r").as_str()), ("FAILED(branch)", "FAILED(task_failed)"));
        let detail = w.task("r", "choose").attempts[0].detail.clone();
        assert!(detail.starts_with(says) && detail.ends_with("they are: late, left, right"), "{detail}");
    }
}

#[test]
fn a_branch_decides_before_a_failure_beside_it_whoever_is_faster() {
    let tasks = || {
        p([
            ("aside", below(&[])),
            ("choose", Task { branch: true, ..Task::noop() }),
            ("left", below(&["aside", "choose"])),
            ("right", below(&["choose"])),
        ])
    };
    let chosen = |w: &mut World, name: &str| w.end("choose", &Outcome::Put("branch", format!("\"{name}\"")));
    for (pick, left) in [("right", "SKIPPED(branch)"), ("left", "SKIPPED(upstream_failed)")] {
        for branch_first in [true, false] {
            let mut w = World::with(tasks(), 2);
            w.submit("r");
            if branch_first {
                chosen(&mut w, pick);
            }
            w.end("aside", &broken());
            if !branch_first {
                chosen(&mut w, pick);
            }
            w.succeed_all();
            assert_eq!(w.how_is("r", "left"), left, "{pick} {branch_first}");
        }
    }
}

#[test]
fn a_rerun_below_a_branch_keeps_to_what_it_chose() {
    let tasks = p([
        ("aside", below(&[])),
        ("choose", Task { branch: true, ..Task::noop() }),
        ("left", below(&["aside", "choose"])),
        ("right", below(&["choose"])),
    ]);
    let mut w = World::with(tasks, 2);
    w.submit("r");
    w.end("choose", &Outcome::Put("branch", "\"right\"".to_owned()));
    w.end("aside", &broken());
    w.succeed_all();
    w.rerun("r", "q").unwrap();
    w.succeed_all();
    assert_eq!(w.tasks("r"), ["aside SUCCESS", "choose SUCCESS", "left SKIPPED(branch)", "right SUCCESS"]);
}

/// `up` sets up, `work` works, `down` cleans up; `after` waits for the clean-up.
fn scoped(down: Task) -> Pipeline {
    let down = Task { teardown: true, setup: Some("up".parse().unwrap()), depends_on: vec![edge("work")], ..down };
    p([("down", down), ("up", below(&[])), ("work", below(&["up"]))])
}

#[test]
fn a_teardown_runs_whatever_happened_if_its_setup_succeeded() {
    let (run, tasks) = ends(scoped(Task::noop()), &[("work", broken())]);
    assert_eq!((run.as_str(), tasks[0].as_str()), ("FAILED(task_failed)", "down SUCCESS"));
    let (_, tasks) = ends(scoped(Task::noop()), &[("work", Outcome::Skip)]);
    assert_eq!(tasks[0], "down SUCCESS");
    let (run, tasks) = ends(scoped(Task::noop()), &[("up", broken())]);
    assert_eq!(tasks, ["down SKIPPED(upstream_failed)", "up FAILED(exit_code)", "work SKIPPED(upstream_failed)"]);
    assert_eq!(run, "FAILED(task_failed)");
    let (_, tasks) = ends(scoped(Task::noop()), &[("up", Outcome::Skip)]);
    assert_eq!(tasks[0], "down SKIPPED(upstream_skipped)");
}

#[test]
fn a_teardown_that_fails_changes_nothing() {
    let (run, tasks) = ends(scoped(Task::noop()), &[("down", broken())]);
    assert_eq!((run.as_str(), tasks[0].as_str()), ("SUCCESS", "down FAILED(exit_code)"));
    let mut pipeline = scoped(Task::noop());
    pipeline.tasks.insert("x".parse().unwrap(), below(&["down"]));
    pipeline.tasks.insert("y".parse().unwrap(), below(&["x"]));
    let (run, tasks) = ends(pipeline.clone(), &[("down", broken())]);
    assert_eq!(
        (run.as_str(), &tasks[3..]),
        ("SUCCESS", &["x SKIPPED(upstream_failed)".to_owned(), "y SKIPPED(upstream_failed)".to_owned()][..])
    );
    pipeline.tasks.insert("y".parse().unwrap(), below(&["work", "x"]));
    let (run, _) = ends(pipeline, &[("down", broken()), ("work", broken())]);
    assert_eq!(run, "FAILED(task_failed)", "work broke it too");
}

#[test]
fn a_teardown_that_had_nothing_to_clean_is_no_consequence_of_a_failure_that_was_caught() {
    let down = Task { teardown: true, setup: Some("up".parse().unwrap()), ..Task::noop() };
    let tasks = || [("catch", below(&["up: failed"])), ("down", down.clone()), ("up", below(&[]))];
    let (run, tasks_ended) = ends(p(tasks()), &[("up", broken())]);
    assert_eq!((run.as_str(), tasks_ended[1].as_str()), ("SUCCESS", "down SKIPPED(upstream_failed)"));
    let mut pipeline = p(tasks());
    pipeline.tasks.insert("work".parse().unwrap(), below(&["down"]));
    let (run, tasks_ended) = ends(pipeline, &[("up", broken())]);
    assert_eq!((run.as_str(), tasks_ended[3].as_str()), ("FAILED(task_failed)", "work SKIPPED(upstream_failed)"), "what is below is one");
}

#[test]
fn a_branch_passes_over_no_teardown() {
    let branch = Task { branch: true, ..below(&["up"]) };
    let down = |setup: &str| Task { teardown: true, setup: Some(setup.parse().unwrap()), ..below(&["choose", "x"]) };
    let tasks =
        [("choose", branch), ("down", down("up")), ("down_of_choose", down("choose")), ("up", below(&[])), ("x", below(&["choose"]))];
    for picks in ["\"x\"", "[]"] {
        let (run, tasks) = ends(p(tasks.clone()), &[("choose", Outcome::Put("branch", picks.to_owned()))]);
        assert_eq!((run.as_str(), &tasks[1..3]), ("SUCCESS", &["down SUCCESS".to_owned(), "down_of_choose SUCCESS".to_owned()][..]));
    }
}

#[test]
fn a_cancelled_run_cleans_up_and_then_ends_cancelled() {
    let mut w = World::with(scoped(Task { retries: retries(1), ..Task::noop() }), 1);
    w.submit("r");
    w.end("up", &Outcome::Success);
    w.forget_log();
    w.cancel("r").unwrap();
    assert_eq!(w.log(), ["r: cancel for user", "r: the rest CANCELLED(user)"]);
    w.end("work", &Outcome::Cancelled);
    assert_eq!(w.log(), ["r: work CANCELLED(user)", "r: down#1 fence 3 to w.1"]);
    w.end("down", &broken());
    assert_eq!(w.log(), ["r: down FAILED(exit_code)", "r: down RETRY in 10s"], "with its retries");
    w.pass(s(10));
    w.end("down", &Outcome::Success);
    assert_eq!(w.log(), ["r: down#2 fence 4 to w.1", "r: down SUCCESS", "r: CANCELLED(user)"]);
}

#[test]
fn a_cancel_before_the_setup_succeeded_has_nothing_to_clean_up() {
    let mut w = World::with(scoped(Task::noop()), 1);
    w.submit("r");
    w.cancel("r").unwrap();
    w.end("up", &Outcome::Cancelled);
    assert_eq!(w.tasks("r"), ["down SKIPPED(upstream_failed)", "up CANCELLED(user)", "work CANCELLED(user)"]);
    assert_eq!(w.how("r"), "CANCELLED(user)");
}

#[test]
fn a_queued_run_that_is_cancelled_runs_no_teardown() {
    let down = Task { teardown: true, depends_on: vec![edge("work")], ..Task::noop() };
    let tasks = Pipeline { max_active_runs: Some(1), ..p([("down", down), ("work", below(&[]))]) };
    let mut w = World::with(tasks, 9);
    w.submit("r1");
    w.submit("r2");
    w.cancel("r2").unwrap();
    assert_eq!(w.how("r2"), "CANCELLED(user)");
    assert_eq!(w.tasks("r2"), ["down CANCELLED(user)", "work CANCELLED(user)"]);
}

#[test]
fn cancel_now_skips_the_teardown_that_waits_and_stops_the_one_that_runs() {
    let mut w = World::with(scoped(Task { retries: retries(9), ..Task::noop() }), 1);
    w.submit("r");
    w.end("up", &Outcome::Success);
    w.cancel_now("r").unwrap();
    w.end("work", &Outcome::Cancelled);
    assert_eq!((w.how("r").as_str(), w.how_is("r", "down").as_str()), ("CANCELLED(user)", "CANCELLED(user)"));
    w.submit("s");
    w.end("up", &Outcome::Success);
    w.cancel("s").unwrap();
    w.end("work", &Outcome::Cancelled);
    w.forget_log();
    w.cancel_now("s").unwrap();
    assert_eq!(w.log(), ["s: cancel for user", "s: the rest CANCELLED(user), teardowns too"]);
    assert_eq!(w.effects(), ["cancel fence 5 on w.1: user"]);
    w.cancel_now("s").unwrap();
    assert_eq!(w.log(), Vec::<String>::new(), "once is enough");
    w.fail_over();
    w.forget_log();
    w.hello("w");
    assert_eq!(w.effects(), ["cancel fence 5 on w.1: user"], "a new leader asks again");
    w.end("down", &Outcome::Cancelled);
    assert_eq!(w.log(), ["s: down CANCELLED(user)", "s: CANCELLED(user)"], "it is neither lost nor tried again");
}

#[test]
fn a_run_that_timed_out_cleans_up_and_fails() {
    let mut w = World::with(Pipeline { run_timeout: Some(s(60)), ..scoped(Task::noop()) }, 1);
    w.submit("r");
    w.end("up", &Outcome::Success);
    w.pass(s(60));
    w.end("work", &Outcome::Cancelled);
    assert_eq!(w.how_is("r", "work"), "CANCELLED(run_timeout)");
    w.end("down", &Outcome::Success);
    assert_eq!(w.how("r"), "FAILED(run_timeout)");
}

#[test]
fn only_what_is_asked_for_runs_and_the_rest_counts_as_done() {
    let mut w = World::with(p([("a", below(&[])), ("b", below(&["a"])), ("c", below(&["b"])), ("d", below(&["c"]))]), 1);
    let only = |run: &str, names: &[&str]| Submit { only: selectors(names), ..submit(run, "p") };
    w.submit_as(only("r", &["c"])).unwrap();
    w.succeed_all();
    assert_eq!(w.tasks("r"), ["a SKIPPED(not_selected)", "b SKIPPED(not_selected)", "c SUCCESS", "d SKIPPED(not_selected)"]);
    assert_eq!(w.how("r"), "SUCCESS");
    w.submit_as(only("s", &["+b", "d"])).unwrap();
    w.succeed_all();
    assert_eq!(w.tasks("s"), ["a SUCCESS", "b SUCCESS", "c SKIPPED(not_selected)", "d SUCCESS"]);
    let refused = |w: &mut World, name: &str| w.submit_as(only("t", &[name])).unwrap_err().to_string();
    assert_eq!(refused(&mut w, "x"), "pipeline p has no task x: see what it has with: penstock pipelines p");
    assert_eq!(refused(&mut w, "a[0]"), "pipeline p has no task a[0]: a new run has no instances yet: name the whole task, a");
}
