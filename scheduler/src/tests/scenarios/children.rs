//! `pipeline` tasks: the runs they start, how those end, and who stops whom.

use penstock_common::limits::MAX_CHILD_DEPTH;
use penstock_common::pipeline::{Action, ChildRun, Param, ParamType, Pipeline, Task};
use penstock_common::{Event, Fence, Reason, State};
use serde_json::json;

use super::super::model::{Outcome, below, child, key, p, pipeline, range, report, retries, run_id, s};
use super::super::people::{day, submit};
use super::super::world::World;
use crate::Input;
use crate::input::Submit;

fn starts(pipeline: &str) -> Task {
    Task { action: child(pipeline), ..Task::noop() }
}

/// `p` starts `kid`, which has one task.
fn family(task: Task) -> World {
    let mut w = World::new();
    w.register(pipeline("kid", [("k".to_owned(), below(&[]))]));
    w.register(p([("a", task), ("b", below(&["a"]))]));
    w.attach("w", 9);
    w.submit("r");
    w
}

#[test]
fn a_child_that_succeeds_is_a_success_with_its_run_as_output() {
    let mut w = family(starts("kid"));
    assert_eq!(w.log()[4..], ["r.a.1-1: created", "r: a RUNNING(waiting) for r.a.1-1", "r.a.1-1: started", "r.a.1-1: k#1 fence 1 to w.1"]);
    let record = w.leader.run(&run_id("r.a.1-1")).unwrap();
    assert_eq!((&*record.trigger.by, record.trigger.kind.as_str()), ("r/a", "pipeline"));
    w.end("k", &Outcome::Success);
    assert_eq!(w.log(), ["r.a.1-1: k SUCCESS", "r.a.1-1: SUCCESS", "r: a SUCCESS", "r: b#1 fence 2 to w.1"]);
    assert_eq!(w.task("r", "a").outputs.0["run_id"], "\"r.a.1-1\"");
}

#[test]
fn a_child_that_fails_is_tried_again_by_another_run_and_then_is_a_failure() {
    let mut w = family(Task { retries: retries(1), ..starts("kid") });
    w.forget_log();
    w.end("k", &Outcome::Exit(1));
    assert_eq!(w.log()[2..], ["r: a FAILED(run_failed)", "r: a RETRY in 10s"]);
    w.pass(s(10));
    w.end("k", &Outcome::Exit(1));
    assert_eq!(w.how("r.a.1-2"), "FAILED(task_failed)");
    assert_eq!((w.how_is("r", "a").as_str(), w.how("r").as_str()), ("FAILED(run_failed)", "FAILED(task_failed)"));
    assert_eq!(&*w.task("r", "a").detail, "run r.a.1-2 ended as FAILED(task_failed)");
    w.rerun("r", "q").unwrap();
    w.succeed_all();
    assert_eq!((w.how("r").as_str(), w.how("r.a.2-1").as_str()), ("SUCCESS", "SUCCESS"));
}

#[test]
fn a_child_that_is_cancelled_fails_its_task_and_a_cancelled_parent_cancels_its_child() {
    let mut w = family(starts("kid"));
    w.cancel("r.a.1-1").unwrap();
    w.end("k", &Outcome::Cancelled);
    assert_eq!((w.how_is("r", "a").as_str(), w.how("r").as_str()), ("FAILED(run_failed)", "FAILED(task_failed)"));
    let mut w = family(starts("kid"));
    w.forget_log();
    w.feed(Input::Cancel { run: run_id("r"), now: false, by: "eve".into(), note: "enough".into() }).unwrap();
    assert_eq!(w.effects(), ["cancel fence 1 on w.1: user"]);
    let audit = &w.leader.run(&run_id("r.a.1-1")).unwrap().audit[0];
    assert_eq!((&*audit.verb, &*audit.by, &*audit.note), ("cancel", "eve", "enough"));
    assert_eq!((w.how("r").as_str(), w.how_is("r", "a").as_str()), ("RUNNING", "RUNNING(waiting)"), "it waits for it to stop");
    assert_eq!(&*w.task("r", "a").detail, "stopping run r.a.1-1: enough");
    let why = w.leader.explain(&run_id("r"), Some(&key("a"))).unwrap();
    let last = why.last().unwrap().to_string();
    assert_eq!(last, "it is stopping (user): it waits for the end of run r.a.1-1, which is RUNNING");
    w.end("k", &Outcome::Cancelled);
    assert_eq!((w.how("r.a.1-1").as_str(), w.how_is("r", "a").as_str()), ("CANCELLED(user)", "CANCELLED(user)"));
    assert_eq!(&*w.task("r", "a").detail, "run r.a.1-1 ended as CANCELLED(user)");
}

#[test]
fn what_cleans_up_after_a_child_waits_until_its_programs_have_stopped() {
    let mut w = World::new();
    w.register(pipeline("kid", [("k".to_owned(), below(&[]))]));
    let down = Task { teardown: true, ..below(&["a"]) };
    w.register(Pipeline { run_timeout: Some(s(60)), ..p([("a", starts("kid")), ("down", down)]) });
    w.attach("w", 9);
    for (run, cancel) in [("r", true), ("s", false)] {
        w.submit(run);
        if cancel {
            w.cancel(run).unwrap();
        } else {
            w.pass(s(60));
        }
        assert_eq!(w.tasks(run), ["a RUNNING(waiting)", "down PENDING"]);
        w.fail_over();
        w.hello("w");
        w.end("k", &Outcome::Cancelled);
        let reason = if cancel { "user" } else { "run_timeout" };
        assert_eq!(w.tasks(run), [format!("a CANCELLED({reason})"), "down RUNNING".to_owned()]);
        w.end("down", &Outcome::Success);
    }
    assert_eq!((w.how("r").as_str(), w.how("s").as_str()), ("CANCELLED(user)", "FAILED(run_timeout)"));
}

#[test]
fn a_child_that_is_queued_is_cancelled_at_once_and_so_is_the_task_that_waits_for_it() {
    let mut w = World::new();
    w.register(Pipeline { max_active_runs: Some(1), ..pipeline("kid", [("k".to_owned(), below(&[]))]) });
    w.register(p([("a", Task { timeout: Some(s(60)), ..starts("kid") })]));
    w.attach("w", 9);
    w.submit_to("other", "kid").unwrap();
    w.submit("r");
    w.submit("s");
    assert_eq!(w.how("r.a.1-1"), "PENDING");
    w.cancel("r").unwrap();
    assert_eq!((w.how("r.a.1-1").as_str(), w.how("r").as_str()), ("CANCELLED(user)", "CANCELLED(user)"));
    w.pass(s(60));
    assert_eq!((w.how("s.a.1-1").as_str(), w.how_is("s", "a").as_str()), ("CANCELLED(user)", "FAILED(timeout)"));
}

#[test]
fn a_child_whose_task_succeeds_although_it_is_stopped_was_stopped() {
    let mut w = family(Task { timeout: Some(s(60)), retries: retries(1), ..starts("kid") });
    w.pass(s(60));
    w.end("k", &Outcome::Success);
    assert_eq!(w.how("r.a.1-1"), "CANCELLED(user)", "its run was cancelled whatever became of its task");
    assert_eq!(w.how_is("r", "a"), "RETRY(timeout)");
}

#[test]
fn a_cancel_of_what_is_stopping_for_its_timeout_is_a_cancel() {
    let mut w = family(Task { timeout: Some(s(60)), retries: retries(1), ..starts("kid") });
    w.pass(s(60));
    w.cancel("r").unwrap();
    w.end("k", &Outcome::Cancelled);
    assert_eq!((w.how_is("r", "a").as_str(), w.how("r").as_str()), ("CANCELLED(user)", "CANCELLED(user)"));
}

#[test]
fn a_child_of_a_teardown_goes_on_when_its_run_is_cancelled_but_not_now() {
    let mut w = World::new();
    let k_down = Task { teardown: true, ..below(&["k"]) };
    w.register(pipeline("kid", [("k".to_owned(), below(&[])), ("k_down".to_owned(), k_down)]));
    w.register(p([("a", below(&[])), ("down", Task { teardown: true, action: child("kid"), ..below(&["a"]) })]));
    w.attach("w", 9);
    w.submit("r");
    w.end("a", &Outcome::Success);
    w.cancel("r").unwrap();
    assert_eq!(w.leader.run(&run_id("r.down.1-1")).unwrap().cancel, None);
    w.cancel_now("r").unwrap();
    assert_eq!((w.how_is("r", "down").as_str(), w.how("r").as_str()), ("RUNNING(waiting)", "RUNNING"));
    w.end("k", &Outcome::Cancelled);
    assert_eq!(w.tasks("r.down.1-1"), ["k CANCELLED(user)", "k_down CANCELLED(user)"]);
    assert_eq!((w.how_is("r", "down").as_str(), w.how("r").as_str()), ("CANCELLED(user)", "CANCELLED(user)"));
}

#[test]
fn cancel_now_reaches_the_teardowns_of_children_too() {
    let mut w = World::new();
    let down = Task { teardown: true, ..below(&["k"]) };
    w.register(pipeline("kid", [("k".to_owned(), below(&[])), ("down".to_owned(), down)]));
    w.register(p([("a", starts("kid"))]));
    w.attach("w", 9);
    w.submit("r");
    w.cancel_now("r").unwrap();
    w.end("k", &Outcome::Cancelled);
    assert_eq!(w.tasks("r.a.1-1"), ["down CANCELLED(user)", "k CANCELLED(user)"]);
}

#[test]
fn a_child_that_nobody_waits_for_goes_its_own_way() {
    let Action::Pipeline(spec) = child("kid") else { unreachable!() };
    let mut w = family(Task { action: Action::Pipeline(ChildRun { wait: false, ..spec }), ..Task::noop() });
    assert_eq!((w.how_is("r", "a").as_str(), w.how("r.a.1-1").as_str()), ("SUCCESS", "RUNNING"));
    w.cancel("r").unwrap();
    w.end("b", &Outcome::Cancelled);
    assert_eq!((w.how("r").as_str(), w.how("r.a.1-1").as_str()), ("CANCELLED(user)", "RUNNING"));
}

#[test]
fn a_child_that_takes_too_long_is_cancelled_and_its_task_tried_again() {
    let mut w = family(Task { timeout: Some(s(60)), retries: retries(1), ..starts("kid") });
    w.pass(s(60));
    assert_eq!(w.how_is("r", "a"), "RUNNING(waiting)", "its child's program still runs");
    assert_eq!(&*w.task("r", "a").detail, "stopping run r.a.1-1: waited longer than its timeout of 1m");
    assert_eq!(w.leader.run(&run_id("r.a.1-1")).unwrap().cancel, Some(Reason::User));
    w.fail_over();
    w.hello("w");
    w.pass(s(500));
    assert_eq!(w.how_is("r", "a"), "RUNNING(waiting)");
    w.end("k", &Outcome::Cancelled);
    assert_eq!((w.how("r.a.1-1").as_str(), w.how_is("r", "a").as_str()), ("CANCELLED(user)", "RETRY(timeout)"));
    w.pass(s(10));
    assert_eq!((w.task("r", "a").child, w.task("r", "a").stopping), (Some(run_id("r.a.1-2")), None));
    w.pass(s(60));
    w.end("k", &Outcome::Cancelled);
    assert_eq!(w.how_is("r", "a"), "FAILED(timeout)");
    let detail = "waited longer than its timeout of 1m; run r.a.1-2 ended as CANCELLED(user)";
    assert_eq!(&*w.task("r", "a").detail, detail);
}

#[test]
fn a_child_takes_parameters_with_their_types_and_the_interval() {
    let mut w = World::new();
    let param = |kind| Param { kind, default: None, values: Vec::new(), description: String::new() };
    let params = [("n".to_owned(), param(ParamType::Int)), ("text".to_owned(), param(ParamType::String))];
    w.register(Pipeline { params: params.into(), ..pipeline("kid", [("k".to_owned(), below(&[]))]) });
    let Action::Pipeline(mut spec) = child("kid") else { unreachable!() };
    spec.params = [("n".to_owned(), json!("{{ outputs.a.n }}")), ("text".to_owned(), json!("n is {{ outputs.a.n }}"))].into();
    w.register(p([("a", below(&[])), ("b", Task { action: Action::Pipeline(spec), ..below(&["a"]) })]));
    w.attach("w", 9);
    w.submit_as(Submit { interval: Some(day(3)), ..submit("r", "p") }).unwrap();
    w.end("a", &Outcome::Put("n", "7".to_owned()));
    let record = w.leader.run(&run_id("r.b.1-1")).unwrap();
    assert_eq!((&*record.params, record.interval), ("{\"n\":7,\"text\":\"n is 7\"}", Some(day(3))));
}

#[test]
fn a_child_that_cannot_be_started_says_why() {
    let how = |w: &World| (w.how_is("r", "a"), w.task("r", "a").detail.to_string());
    let w = family(starts("nobody"));
    assert_eq!(how(&w).0, "FAILED(template)");
    assert!(how(&w).1.starts_with("there is no pipeline nobody"), "{}", how(&w).1);
    let Action::Pipeline(mut spec) = child("kid") else { unreachable!() };
    spec.params = [("x".to_owned(), json!(1))].into();
    let w = family(Task { action: Action::Pipeline(spec), ..Task::noop() });
    assert_eq!(how(&w), ("FAILED(template)".to_owned(), "pipeline kid has no parameter \"x\"; its parameters: it has none".to_owned()));
}

#[test]
fn pipelines_that_run_each_other_come_to_an_end() {
    let mut w = World::new();
    w.register(p([("a", starts("p"))]));
    w.submit("r");
    w.settle();
    let runs = w.leader.list(&Default::default(), 100);
    assert_eq!(runs.len() as u32, MAX_CHILD_DEPTH + 1);
    assert!(runs.iter().all(|run| run.state == State::Failed), "{runs:?}");
    let deepest = runs[0].id.to_string();
    let expected = format!(
        "{} runs have started one another, and at most {MAX_CHILD_DEPTH} may: do these pipelines run each other?",
        MAX_CHILD_DEPTH + 1
    );
    assert_eq!(*w.task(&deepest, "a").detail, *expected);
}

#[test]
fn a_child_that_is_set_aside_fails_its_task() {
    let mut w = family(starts("kid"));
    w.checker.deep = false;
    let no = w.leader.run(&run_id("r.a.1-1")).unwrap().no;
    // A broken account makes the next event of the child set it aside.
    w.leader.state.runs.get_mut(&no).unwrap().task_mut(0, 0).attempts.clear();
    let now = w.clock();
    let report = Box::new(report(&Outcome::Success, w.now));
    let decision = w.leader.decide(Input::Report { session: "w.1".parse().unwrap(), fence: Fence(1), report }, now).unwrap();
    assert!(decision.events.iter().any(|e| matches!(e, Event::TaskEnded(end) if end.reason == Some(Reason::RunFailed))), "{decision:?}");
    assert_eq!(w.how_is("r", "a"), "FAILED(run_failed)");
}

#[test]
fn a_thousand_children_are_cancelled_in_bounded_decisions() {
    let mut w = World::new();
    w.register(pipeline("kid", [("k".to_owned(), below(&[]))]));
    w.register(p([("a", Task { for_each: range(3_000, &[]).for_each, ..starts("kid") })]));
    w.checker.deep = false;
    w.submit("r");
    w.settle();
    assert_eq!(w.leader.run_counts(&"kid".parse().unwrap()), (0, 3_000));
    w.cancel("r").unwrap();
    assert!(w.settle() > 0, "one input does not do it all");
    assert_eq!(w.leader.run_counts(&"kid".parse().unwrap()), (0, 0));
    assert!(w.leader.state().children.is_empty());
}
