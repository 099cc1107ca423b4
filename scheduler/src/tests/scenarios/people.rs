//! Pauses, pipelines that are taken off, and what an interval leaves for the next.

use penstock_common::RunNo;
use penstock_common::limits::{MAX_LEASE_OUTPUT_BYTES, MAX_PREVIOUS_KEPT};
use penstock_common::pipeline::{Action, Param, ParamType, Pipeline, Task};

use super::super::model::{Outcome, below, p, range, retries, run_id, s, selectors, sensor, task_id};
use super::super::people::{day, submit};
use super::super::world::World;
use crate::input::Submit;
use crate::{Answer, Input, Rejection};

#[test]
fn a_paused_run_starts_nothing_and_what_runs_goes_on() {
    let mut w = World::with(p([("a", below(&[])), ("b", below(&["a"]))]), 9);
    w.submit("r");
    assert_eq!(w.pause("r", true), Ok(Answer::Changed(true)));
    assert_eq!(w.pause("r", true), Ok(Answer::Changed(false)));
    w.end("a", &Outcome::Success);
    assert_eq!((w.how_is("r", "a").as_str(), w.how_is("r", "b").as_str()), ("SUCCESS", "PENDING"));
    w.fail_over();
    w.hello("w");
    assert_eq!(w.leader.leases(), 0, "a new leader knows");
    w.forget_log();
    w.pause("r", false).unwrap();
    assert_eq!(w.log(), ["r: resumed", "r: b#1 fence 2 to w.1"]);
    w.end("b", &Outcome::Success);
    assert!(matches!(w.pause("r", true), Err(Rejection::Refused(_))), "it has ended");
}

#[test]
fn a_paused_run_skips_what_a_failure_makes_impossible_and_ends() {
    let mut w = World::with(p([("a", below(&[])), ("b", below(&["a"]))]), 9);
    w.submit("r");
    w.pause("r", true).unwrap();
    w.end("a", &Outcome::Exit(1));
    assert_eq!(w.how("r"), "FAILED(task_failed)");
}

#[test]
fn a_pause_stops_retries_probes_mapped_tasks_and_conditions_until_it_is_over() {
    let conditional = Task { condition: Some("params.x == 1".to_owned()), ..below(&["a"]) };
    let again = Task { retries: retries(1), ..Task::noop() };
    let tasks =
        [("a", below(&[])), ("b", conditional), ("m", range(2, &["a"])), ("r", again), ("w", Task { action: sensor(), ..Task::noop() })];
    let param = Param { kind: ParamType::Int, default: Some(1.into()), values: Vec::new(), description: String::new() };
    let mut w = World::with(Pipeline { params: [("x".to_owned(), param)].into(), ..p(tasks) }, 9);
    w.submit("r");
    w.pause("r", true).unwrap();
    w.end("a", &Outcome::Success);
    w.end("r", &Outcome::Exit(1));
    w.end("w", &Outcome::NotYet(1_000));
    w.forget_log();
    w.pass(s(60));
    assert_eq!(w.log(), Vec::<String>::new());
    w.pause("r", false).unwrap();
    assert_eq!(w.log()[..2], ["r: resumed", "r: m of 2"]);
    assert_eq!(w.workers["w"].running.len(), 5);
}

#[test]
fn a_paused_run_that_is_queued_is_passed_over() {
    let mut w = World::with(Pipeline { max_active_runs: Some(1), ..p([("a", below(&[]))]) }, 9);
    ["r1", "r2", "r3"].iter().for_each(|run| w.submit(run));
    w.pause("r2", true).unwrap();
    w.end("a", &Outcome::Success);
    assert_eq!((w.how("r2").as_str(), w.how("r3").as_str()), ("PENDING", "RUNNING"));
    w.pause("r2", false).unwrap();
    w.end("a", &Outcome::Success);
    assert_eq!(w.how("r2"), "RUNNING");
}

#[test]
fn a_paused_pipeline_queues_its_runs_and_starts_nothing_of_those_that_are_active() {
    let mut w = World::with(p([("a", below(&[])), ("b", below(&["a"]))]), 9);
    w.register(super::super::model::pipeline("q", [("a".to_owned(), below(&[]))]));
    w.submit("r1");
    assert_eq!(w.pause_pipeline("p", true), Ok(Answer::Changed(true)));
    w.submit("r2");
    w.submit_to("other", "q").unwrap();
    w.end("a", &Outcome::Success);
    assert_eq!((w.how("r2").as_str(), w.how("other").as_str(), w.how_is("r1", "b").as_str()), ("PENDING", "RUNNING", "PENDING"));
    w.fail_over();
    w.hello("w");
    assert_eq!(w.how("r2"), "PENDING");
    w.register(Pipeline { description: "new".to_owned(), ..p([("a", below(&[]))]) });
    assert_eq!(w.how("r2"), "PENDING", "a new version does not end it");
    assert_eq!(w.pause_pipeline("p", false), Ok(Answer::Changed(true)));
    assert_eq!((w.how("r2").as_str(), w.how_is("r1", "b").as_str()), ("RUNNING", "RUNNING"));
    assert!(matches!(w.pause_pipeline("x", true), Err(Rejection::UnknownPipeline(_))));
}

#[test]
fn a_cancelled_run_cleans_up_although_it_is_paused() {
    let down = Task { teardown: true, ..below(&["a"]) };
    let mut w = World::with(p([("a", below(&[])), ("down", down)]), 1);
    w.submit("r");
    w.pause("r", true).unwrap();
    w.pause_pipeline("p", true).unwrap();
    w.cancel("r").unwrap();
    assert_eq!(
        w.leader.explain_run(&run_id("r")).unwrap().iter().map(|group| group.why.kind()).collect::<Vec<_>>(),
        ["cancelling", "running"]
    );
    w.end("a", &Outcome::Cancelled);
    assert_eq!(w.how_is("r", "down"), "RUNNING");
    w.end("down", &Outcome::Success);
    assert_eq!(w.how("r"), "CANCELLED(user)");
}

#[test]
fn a_run_paused_twice_over_needs_both_to_be_resumed() {
    let mut w = World::with(p([("a", below(&[]))]), 0);
    w.submit("r");
    w.pause("r", true).unwrap();
    w.pause_pipeline("p", true).unwrap();
    w.attach("v", 1);
    w.pause("r", false).unwrap();
    assert_eq!(w.leader.leases(), 0);
    w.pause_pipeline("p", false).unwrap();
    assert_eq!(w.leader.leases(), 1);
}

#[test]
fn a_pipeline_that_was_taken_off_takes_no_new_run_and_what_runs_goes_on() {
    let mut w = World::with(Pipeline { max_active_runs: Some(1), ..p([("a", below(&[]))]) }, 9);
    w.submit("r1");
    w.submit("r2");
    assert_eq!(w.unregister("p"), Ok(Answer::Changed(true)));
    assert_eq!(w.unregister("p"), Ok(Answer::Changed(false)));
    let refused = w.submit_to("r3", "p").unwrap_err().to_string();
    assert_eq!(refused, "pipeline p was unregistered by me at 2023-11-14T22:13:20.000Z: register it again to run it");
    w.succeed_all();
    assert_eq!((w.how("r1").as_str(), w.how("r2").as_str()), ("SUCCESS", "SUCCESS"));
    w.register(Pipeline { max_active_runs: Some(1), ..p([("a", below(&[]))]) });
    w.submit("r3");
    assert_eq!(w.how("r3"), "RUNNING");
    assert!(matches!(w.unregister("x"), Err(Rejection::UnknownPipeline(_))));
}

fn remembers() -> Pipeline {
    let task = Task { action: Action::Run(vec!["{{ previous.outputs.a.mark }}".to_owned()]), ..Task::noop() };
    p([("a", task)])
}

/// What the lease of the next run of a day sees of earlier ones: the day and the mark.
fn sees(w: &mut World, run: &str, of: i64) -> Option<(i64, Option<String>)> {
    w.submit_as(Submit { interval: Some(day(of)), ..submit(run, "p") }).unwrap();
    let lease = &w.workers["w"].running[&w.fence("w", "a")];
    let previous = lease.previous.as_ref()?;
    let number = (previous.interval.start().0 - day(0).start().0) / 86_400_000;
    Some((number, previous.outputs[&task_id("a")].0.get("mark").cloned()))
}

#[test]
fn a_run_sees_what_the_newest_earlier_interval_with_success_put_out() {
    let mut w = World::with(remembers(), 1);
    let mark = |text: &str| Outcome::Put("mark", format!("\"{text}\""));
    assert_eq!(sees(&mut w, "d1", 1), None);
    w.end("a", &mark("one"));
    assert_eq!(sees(&mut w, "d3", 3), Some((1, Some("\"one\"".to_owned()))));
    w.end("a", &Outcome::Exit(1));
    assert_eq!(sees(&mut w, "d4", 4), Some((1, Some("\"one\"".to_owned()))), "the third had no success");
    w.end("a", &Outcome::Success);
    w.fail_over();
    w.hello("w");
    assert_eq!(sees(&mut w, "d5", 5), Some((4, Some("\"one\"".to_owned()))), "the fourth put nothing out");
    w.end("a", &mark("five"));
    assert_eq!(sees(&mut w, "d2", 2), Some((1, Some("\"one\"".to_owned()))), "a backfill sees what was before it");
    w.end("a", &mark("two"));
    w.feed(Input::Archived { run: RunNo(1) }).unwrap();
    assert_eq!(sees(&mut w, "again", 2), Some((1, Some("\"one\"".to_owned()))), "also when that run is archived");
    w.end("a", &mark("two again"));
    w.rerun("d3", "q").unwrap();
    let lease = &w.workers["w"].running[&w.fence("w", "a")];
    assert_eq!(lease.previous.as_ref().unwrap().outputs[&task_id("a")].0["mark"], "\"two again\"", "the newer run of an interval counts");
}

#[test]
fn a_task_that_was_skipped_or_not_asked_for_keeps_its_watermark() {
    let mut pipeline = remembers();
    pipeline.tasks.insert("z".parse().unwrap(), below(&[]));
    let mut w = World::with(pipeline, 2);
    let end = |w: &mut World, a: Outcome| {
        w.end("a", &a);
        w.end("z", &Outcome::Success);
    };
    sees(&mut w, "d1", 1);
    let outputs = vec![("mark", "\"one\"".to_owned()), ("other", "2".to_owned())];
    end(&mut w, Outcome::Full { outputs, items: None, records: 1.0 });
    let kept: Vec<_> = w.leader.cut(0).cluster.pipelines[0].previous[0].outputs.iter().map(|(task, _)| task.to_string()).collect();
    assert_eq!(kept, ["a"], "nothing names the other task");
    assert_eq!(sees(&mut w, "d2", 2), Some((1, Some("\"one\"".to_owned()))));
    end(&mut w, Outcome::Skip);
    w.submit_as(Submit { interval: Some(day(3)), only: selectors(&["z"]), ..submit("d3", "p") }).unwrap();
    w.end("z", &Outcome::Success);
    assert_eq!((w.how("d2").as_str(), w.how("d3").as_str()), ("SUCCESS", "SUCCESS"));
    w.submit_as(Submit { interval: Some(day(1)), only: selectors(&["z"]), ..submit("d1_again", "p") }).unwrap();
    w.end("z", &Outcome::Success);
    w.fail_over();
    w.hello("w");
    assert_eq!(sees(&mut w, "d4", 4), Some((3, Some("\"one\"".to_owned()))));
}

#[test]
fn a_pipeline_keeps_so_many_intervals_and_a_run_without_one_sees_none() {
    let mut w = World::with(remembers(), 1);
    w.checker.deep = false;
    for number in 0..MAX_PREVIOUS_KEPT as i64 + 3 {
        sees(&mut w, &format!("d{number}"), number);
        w.end("a", &Outcome::Put("mark", "1".to_owned()));
    }
    let kept = w.leader.cut(0).cluster.pipelines[0].previous.clone();
    assert_eq!((kept.len(), kept[0].interval), (MAX_PREVIOUS_KEPT, day(3)));
    assert_eq!(w.leader.pipelines()[0].previous, [], "a list of pipelines does not copy it");
    w.submit("r");
    assert_eq!(w.workers["w"].running[&w.fence("w", "a")].previous, None);
}

#[test]
fn what_a_lease_would_carry_too_much_of_fails_the_task() {
    let reads = Task { action: Action::Run(vec!["{{ outputs.m.k }}".to_owned()]), ..below(&["m"]) };
    let mut w = World::with(p([("m", range(9, &[])), ("z", reads)]), 9);
    w.checker.deep = false;
    w.submit("r");
    for i in 0..9 {
        w.end(&format!("m[{i}]"), &Outcome::Output(MAX_LEASE_OUTPUT_BYTES / 8));
    }
    assert_eq!(w.how_is("r", "z"), "FAILED(output_too_large)");
    assert!(w.task("r", "z").detail.ends_with("pass references, not data"));
}
