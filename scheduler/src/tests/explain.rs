//! Each reason that `explain` can give, with its sentence and what it says to do.

use std::collections::BTreeSet;

use penstock_common::pipeline::{Expect, ExpectAction, Pipeline, Task};
use penstock_common::{Event, Reason, RunNo, State, Timestamp};

use super::model::{Outcome, approve, below, child, key, p, pipeline, range, retries, run_id, s, sensor};
use super::world::World;
use crate::explain::{Group, Why};

fn explain(world: &World, run: &str, task: Option<&str>) -> Vec<Why> {
    let Some(task) = task else {
        return world.leader.explain_run(&run_id(run)).unwrap().into_iter().map(|group| group.why).collect();
    };
    let chain = world.leader.explain(&run_id(run), &key(task)).unwrap();
    assert!(chain.iter().all(|why| !why.to_string().is_empty() && !why.kind().is_empty()));
    chain
}

/// The chain as a person reads it: sentences, each with what to do.
fn says(world: &World, run: &str, task: &str) -> Vec<String> {
    let line = |why: &Why| if why.remedy().is_empty() { why.to_string() } else { format!("{why} [{}]", why.remedy()) };
    explain(world, run, Some(task)).iter().map(line).collect()
}

const NOW: &str = "2023-11-14T22:13:20.000Z";

#[test]
fn what_has_ended_says_how() {
    let mut w = World::with(p([("a", below(&[])), ("b", below(&[]))]), 2);
    w.submit("r");
    w.end("a", &Outcome::Exit(1));
    w.end("b", &Outcome::Success);
    assert_eq!(says(&w, "r", "a"), ["it has ended: FAILED(exit_code)"]);
    assert_eq!(says(&w, "r", "b"), ["it has ended: SUCCESS"]);
    let run = Why::Ended { state: State::Failed, reason: Some(Reason::TaskFailed), detail: "".into() };
    assert_eq!(explain(&w, "r", None), [run]);
    assert_eq!(w.leader.explain_run(&run_id("other")), None);
    assert_eq!(w.leader.explain(&run_id("r"), &key("other")), None);
    w.mark("r", "q", &["a"], State::Skipped).unwrap();
    assert_eq!(says(&w, "r", "a"), ["it has ended: SKIPPED(marked): so it is"]);
}

#[test]
fn a_task_names_what_it_waits_for_down_to_what_runs() {
    let c = Task { trigger_rule: penstock_common::pipeline::TriggerRule::AllDone, ..below(&["b"]) };
    let mut w = World::with(p([("a", below(&[])), ("b", below(&["a"])), ("c", c)]), 1);
    w.submit("r");
    let expected = [
        "it waits for b, which is PENDING (its rule: all_done)".to_owned(),
        "it waits for a, which is RUNNING (its rule: all_success)".to_owned(),
        format!("it runs: attempt 1 on w since {NOW}"),
    ];
    assert_eq!(says(&w, "r", "c"), expected);
    assert_eq!(explain(&w, "r", None), explain(&w, "r", Some("c"))[2..]);
}

#[test]
fn of_many_upstreams_some_are_named_and_the_rest_counted() {
    let above: Vec<String> = (0..25).map(|i| format!("u{i:02}")).collect();
    let names: Vec<&str> = above.iter().map(String::as_str).collect();
    let tasks = above.iter().map(|name| (name.clone(), below(&[]))).chain([("z".to_owned(), below(&names))]);
    let mut w = World::with(pipeline("p", tasks), 1);
    w.submit("r");
    let chain = says(&w, "r", "z");
    assert_eq!((chain.len(), chain[20].as_str()), (22, "and for 5 more"));
    assert!(chain[0].starts_with("it waits for u00") && chain[21].starts_with("it runs"), "{chain:?}");
}

#[test]
fn a_mapped_task_counts_its_instances_and_goes_on_with_the_first() {
    let mut w = World::with(p([("m", range(3, &[])), ("n", below(&["m"]))]), 1);
    w.submit("r");
    let running = format!("it runs: attempt 1 on w since {NOW}");
    assert_eq!(says(&w, "r", "m"), ["3 of its 3 instances have not ended", &running]);
    assert_eq!(says(&w, "r", "n")[2..], ["it waits for m[2], which is PENDING (its rule: all_success)", &running]);
    w.end("m[0]", &Outcome::Success);
    assert_eq!(says(&w, "r", "m")[0], "2 of its 3 instances have not ended");
}

#[test]
fn a_failure_that_may_be_tolerated_is_waited_for_with_its_task() {
    let m = Task { max_failed: Some(penstock_common::pipeline::MaxFailed::Count(1)), ..range(2, &[]) };
    let mut w = World::with(p([("m", m), ("n", below(&["m[*]"]))]), 9);
    w.submit("r");
    w.end("m[0]", &Outcome::Exit(1));
    let expected = [
        "it waits for m, which is RUNNING (its rule: all_success)".to_owned(),
        "1 of its 2 instances have not ended".to_owned(),
        format!("it runs: attempt 1 on w since {NOW}"),
    ];
    assert_eq!(says(&w, "r", "n[0]"), expected);
}

#[test]
fn a_queued_run_names_those_before_it() {
    let mut w = World::with(Pipeline { max_active_runs: Some(1), ..p([("a", below(&[]))]) }, 1);
    ["r1", "r2", "r3"].iter().for_each(|run| w.submit(run));
    let sentence = "the run is queued: max_active_runs of p is 1, active: r1, 1 queued ahead of it [penstock cancel r1]";
    assert_eq!(says(&w, "r3", "a"), [sentence]);
    assert_eq!(explain(&w, "r3", None), explain(&w, "r3", Some("a")));
    w.pause("r2", true).unwrap();
    assert!(says(&w, "r3", "a")[0].contains("0 queued ahead"), "who is paused is passed over");
}

#[test]
fn a_pause_says_who_and_when() {
    let mut w = World::with(p([("a", below(&[]))]), 0);
    w.submit("r");
    w.pause("r", true).unwrap();
    w.pause_pipeline("p", true).unwrap();
    let expected = [
        format!("the run was paused by me at {NOW} [penstock resume r]"),
        format!("pipeline p was paused by me at {NOW} [penstock resume --pipeline p]"),
        "every slot of the 1 workers of queue default is taken, and 0 tasks wait".to_owned(),
    ];
    assert_eq!(says(&w, "r", "a"), expected);
    w.submit("s");
    assert_eq!(says(&w, "s", "a"), expected[1..2]);
}

#[test]
fn a_run_says_each_reason_once_with_the_tasks_that_have_it() {
    let elsewhere = Task { queue: "gpu".parse().unwrap(), ..Task::noop() };
    let mut w = World::with(p([("a", below(&[])), ("b", range(25, &[])), ("c", elsewhere), ("d", below(&["a"]))]), 0);
    w.submit("r");
    w.pause("r", true).unwrap();
    let says: Vec<String> = w.leader.explain_run(&run_id("r")).unwrap().iter().map(Group::sentence).collect();
    let expected = [
        format!("the run was paused by me at {NOW}"),
        "a, b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15], b[16], b[17], b[18] and 6 \
         more: every slot of the 1 workers of queue default is taken, and 0 tasks wait"
            .to_owned(),
        "c: no worker serves queue gpu".to_owned(),
    ];
    assert_eq!(says[0], expected[0]);
    assert!(says.contains(&expected[1]) && says.contains(&expected[2]) && says.len() == 3, "{says:#?}");
}

#[test]
fn a_paused_run_beside_free_slots_says_that_it_is_paused_and_nothing_else() {
    let mut w = World::with(p([("a", below(&["z"])), ("z", below(&[]))]), 1);
    w.submit("r");
    w.pause("r", true).unwrap();
    w.end("z", &Outcome::Success);
    w.pass(penstock_common::Millis(60_000));
    assert_eq!(explain(&w, "r", Some("a")).iter().map(Why::kind).collect::<Vec<_>>(), ["run_paused"]);
    w.pause("r", false).unwrap();
    w.succeed_all();
    assert_eq!(w.how("r"), "SUCCESS");
}

#[test]
fn a_mapped_task_of_a_paused_run_says_so_though_it_is_running() {
    let mut w = World::with(p([("m", range(2, &[]))]), 0);
    w.submit("r");
    w.pause("r", true).unwrap();
    let kinds: Vec<&str> = explain(&w, "r", Some("m")).iter().map(Why::kind).collect();
    assert_eq!(kinds, ["run_paused", "instances", "no_slot"]);
}

#[test]
fn a_cancelled_run_counts_what_has_not_stopped() {
    let mut w = World::with(p([("a", below(&[])), ("z", Task { teardown: true, ..below(&["a"]) })]), 1);
    w.submit("r");
    w.cancel("r").unwrap();
    let run = explain(&w, "r", None);
    assert_eq!(run[0].to_string(), "the run is being cancelled (user): 1 tasks have not stopped yet");
    assert!(matches!(&run[1..], [Why::Running { .. }]), "{run:?}");
    assert_eq!(explain(&w, "r", Some("a")), run[1..], "a task that runs is not held back by it");
    assert!(says(&w, "r", "z")[1].starts_with("it waits for a, which is RUNNING (its rule: teardown)"));
}

#[test]
fn a_quarantined_run_says_what_broke() {
    let mut w = World::with(p([("a", below(&[]))]), 1);
    w.submit("r");
    w.leader.replay(&Event::TasksSkipped { run: RunNo(1), ranges: vec![(7, 8)], reason: Reason::Task, at: Timestamp(0) });
    assert!(explain(&w, "r", None)[0].to_string().starts_with("the run was set aside: run r has no task 7"));
}

#[test]
fn a_retry_and_a_probe_say_when() {
    let tasks = [("a", Task { retries: retries(1), ..Task::noop() }), ("b", Task { action: sensor(), ..Task::noop() })];
    let mut w = World::with(p(tasks), 2);
    w.submit("r");
    w.end("a", &Outcome::Exit(1));
    w.end("b", &Outcome::NotYet(5_000));
    assert_eq!(says(&w, "r", "a"), ["it is tried again at 2023-11-14T22:13:30.000Z, after FAILED(exit_code)"]);
    assert_eq!(says(&w, "r", "b"), ["it looks again at 2023-11-14T22:13:25.000Z: not there"]);
}

#[test]
fn a_person_is_asked_or_must_release() {
    let expect = Expect { min_records: Some(9.0), action: ExpectAction::Hold, ..Expect::default() };
    let tasks = [("a", Task { action: approve("all there?"), ..Task::noop() }), ("b", Task { expect: Some(expect), ..Task::noop() })];
    let mut w = World::with(p(tasks), 2);
    w.submit("r");
    w.end("b", &Outcome::Records(3.0));
    let person = format!("since {NOW} it waits for a person to approve or reject: all there? [penstock approve r 'a']");
    assert_eq!(says(&w, "r", "a"), [person]);
    let held = "it is held until a person releases or rejects it: at least 9 records are expected and it had 3 [penstock release r 'b']";
    assert_eq!(says(&w, "r", "b"), [held]);
    assert_eq!(explain(&w, "r", None).len(), 2);
}

#[test]
fn a_task_that_started_a_run_names_it() {
    let mut w = World::new();
    w.register(Pipeline { max_active_runs: Some(1), ..pipeline("kid", [("k".to_owned(), below(&[]))]) });
    w.register(p([("a", Task { action: child("kid"), ..Task::noop() }), ("b", Task { action: child("kid"), ..Task::noop() })]));
    w.submit("r");
    assert_eq!(says(&w, "r", "a"), ["it waits for run r.a.1-1, which is RUNNING [penstock explain r.a.1-1]"]);
    assert_eq!(says(&w, "r", "b"), ["it waits for run r.b.1-1, which is PENDING [penstock explain r.b.1-1]"]);
}

#[test]
fn limits_of_a_run_say_how_many_run() {
    let tasks = [("m", Task { max_parallel: Some(1), ..range(2, &[]) }), ("n", below(&["u"])), ("u", Task { priority: 1, ..below(&[]) })];
    let mut w = World::with(Pipeline { max_active_tasks: Some(1), ..p(tasks) }, 9);
    w.submit("r");
    w.end("u", &Outcome::Success);
    let (active, parallel) = ("max_active_tasks is 1, and 1 tasks of this run run", "max_parallel is 1, and 1 of its instances run");
    assert_eq!((says(&w, "r", "m[1]"), says(&w, "r", "n")), (vec![parallel.to_owned(), active.to_owned()], vec![active.to_owned()]));
}

#[test]
fn a_pool_names_who_holds_it_whose_turn_is_first_and_what_would_be_enough() {
    let pooled = |slots, priority| Task { pool: Some("db".parse().unwrap()), pool_slots: slots, priority, ..Task::noop() };
    let mut w = World::new();
    w.pool("db", 3).unwrap();
    w.register(p([("a", pooled(2, 9)), ("b", pooled(2, 5)), ("c", pooled(1, 0)), ("d", pooled(4, 0))]));
    w.attach("w", 9);
    w.submit("r");
    assert_eq!(says(&w, "r", "b"), ["it wants 2 of pool db: 2 of 3 slots are taken by r/a [penstock pools set db 4]"]);
    assert_eq!(says(&w, "r", "c"), ["r/b comes before it and waits for 2 slots of pool db [penstock explain r 'b']"]);
    assert_eq!(says(&w, "r", "d"), ["it wants 4 slots of pool db, which has 3 [penstock pools set db 4]"]);
}

#[test]
fn a_ready_task_says_which_workers_there_are() {
    let labels = [("gpu".to_owned(), "yes".to_owned())];
    let mut w = World::with(p([("a", below(&[])), ("b", below(&[])), ("c", Task { labels: labels.into(), ..Task::noop() })]), 1);
    w.submit("r");
    assert_eq!(says(&w, "r", "b"), ["every slot of the 1 workers of queue default is taken, and 1 tasks wait"]);
    let none = "no worker serves queue default with labels gpu=yes [penstock worker --queues default --labels gpu=yes]";
    assert_eq!(says(&w, "r", "c"), [none]);
    w.drain("w", true).unwrap();
    assert_eq!(says(&w, "r", "b"), ["all 1 workers of queue default are drained or leaving [penstock drain WORKER --undo]"]);
    w.kill("w");
    w.pass(s(1));
    assert_eq!(says(&w, "r", "b"), ["no worker serves queue default [penstock worker --queues default]"]);
}

#[test]
fn a_worker_without_the_labels_is_not_counted() {
    let picky = || Task { labels: [("gpu".to_owned(), "yes".to_owned())].into(), ..Task::noop() };
    let mut w = World::with(p([("a", picky()), ("b", picky())]), 9);
    w.attach_with("g", 1, &["default"], &[("gpu", "yes")]);
    w.submit("r");
    assert_eq!(says(&w, "r", "b"), ["every slot of the 1 workers of queue default with labels gpu=yes is taken, and 1 tasks wait"]);
    w.drain("g", true).unwrap();
    let closed = "all 1 workers of queue default with labels gpu=yes are drained or leaving [penstock drain WORKER --undo]";
    assert_eq!(says(&w, "r", "b"), [closed]);
}

#[test]
fn every_reason_has_a_word_of_its_own_and_fields_for_scripts() {
    let run = || run_id("r");
    let audit =
        penstock_common::record::Audit { at: Timestamp(0), verb: "pause".into(), subject: "".into(), by: "me".into(), note: "".into() };
    let all = [
        Why::Ended { state: State::Failed, reason: Some(Reason::Task), detail: "".into() },
        Why::Running { worker: "w".parse().unwrap(), attempt: 1, since: Timestamp(0) },
        Why::RunQueued { pipeline: "p".parse().unwrap(), limit: 1, active: vec![run()], ahead: 0 },
        Why::RunPaused { run: run(), by: None },
        Why::PipelinePaused { pipeline: "p".parse().unwrap(), by: audit },
        Why::Cancelling { reason: Reason::User, running: 1 },
        Why::Quarantined { why: "x".to_owned() },
        Why::Upstream { task: key("a"), state: State::Pending, rule: "all_done" },
        Why::MoreUpstreams { count: 1 },
        Why::Instances { open: 1, of: 2 },
        Why::RetryAt { at: Timestamp(0), after: None },
        Why::ProbeAt { at: Timestamp(0), saw: "".into() },
        Why::Person { run: run(), task: key("a"), message: String::new(), since: Timestamp(0) },
        Why::Held { run: run(), task: key("a"), detail: "".into() },
        Why::Child { run: run(), state: None, stopping: None },
        Why::MaxParallel { limit: 1, running: 1 },
        Why::MaxActiveTasks { limit: 1, running: 1 },
        Why::PoolFull { pool: "db".parse().unwrap(), slots: 1, used: 1, wants: 1, holders: vec![(run(), key("a"))] },
        Why::PoolReserved { pool: "db".parse().unwrap(), run: run(), task: key("a"), wants: 1 },
        Why::PoolTooSmall { pool: "db".parse().unwrap(), slots: 1, wants: 2 },
        Why::NoWorker { queue: "q".parse().unwrap(), labels: vec![] },
        Why::WorkersClosed { queue: "q".parse().unwrap(), labels: vec![], workers: 1 },
        Why::NoSlot { queue: "q".parse().unwrap(), labels: vec![], workers: 1, waiting: 1 },
        Why::Past {
            pipeline: "p".parse().unwrap(),
            from: Timestamp(0),
            until: Timestamp(1),
            became: Some(penstock_common::record::Outcome::Failed),
            run: None,
        },
        Why::NotCovered { trigger: "t".parse().unwrap(), pipeline: "p".parse().unwrap() },
        Why::BackfillShare { queue: "q".parse().unwrap(), percent: 50 },
    ];
    let kinds: BTreeSet<&str> = all.iter().map(Why::kind).collect();
    assert_eq!(kinds.len(), all.len());
    for why in &all {
        assert!(!why.fields().is_empty() && why.fields().iter().all(|(name, value)| !value.is_empty() || *name == "labels"), "{why:?}");
    }
    assert_eq!(all[17].fields()["holders"], "r/a");
}
