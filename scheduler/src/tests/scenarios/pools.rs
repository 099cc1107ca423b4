//! Pools, `max_active_tasks` and priorities: what holds a ready task back, and what does not.

use penstock_common::State;
use penstock_common::pipeline::{Pipeline, Task};

use super::super::model::{Outcome, approve, below, key, p, range, run_id, s, sensor};
use super::super::world::World;
use crate::Answer;

fn pooled(slots: u32) -> Task {
    Task { pool: Some("db".parse().unwrap()), pool_slots: slots, ..Task::noop() }
}

/// With pool `db` of so many slots, and worker `w` of as many as there may be.
fn with(slots: u32, pipeline: Pipeline) -> World {
    let mut w = World::new();
    w.pool("db", slots).unwrap();
    w.register(pipeline);
    w.attach("w", 99);
    w.forget_log();
    w
}

fn running(w: &World) -> Vec<String> {
    w.workers["w"].running.values().map(|lease| lease.task.to_string()).collect()
}

#[test]
fn a_pool_is_taken_by_as_many_slots_as_a_task_wants() {
    let mut w = with(4, p([("a", pooled(2)), ("b", pooled(2)), ("c", pooled(1)), ("d", below(&[]))]));
    w.submit("r");
    assert_eq!(running(&w), ["d", "a", "b"]);
    w.end("a", &Outcome::Success);
    assert_eq!(running(&w), ["d", "b", "c"]);
    let pool = &w.leader.pools()[0];
    assert_eq!((pool.slots, pool.used, pool.waiting, pool.holders.len()), (4, 3, 0, 2));
}

#[test]
fn a_wide_task_is_not_starved_by_a_stream_of_narrow_ones() {
    let narrow = (0..40).map(|i| (format!("n{i:02}"), pooled(1)));
    let mut w = with(5, super::super::model::pipeline("p", narrow.chain([("a_wide".to_owned(), pooled(5))])));
    w.register(super::super::model::pipeline("q", (0..5).map(|i| (format!("x{i}"), pooled(1)))));
    w.submit_to("first", "q").unwrap();
    w.submit("r");
    assert_eq!(running(&w).len(), 5, "the narrow ones of the run before");
    for i in 0..5 {
        assert!(!running(&w).contains(&"a_wide".to_owned()));
        w.end(&format!("x{i}"), &Outcome::Success);
        assert_eq!(running(&w).len(), if i < 4 { 4 - i } else { 1 }, "what is freed is kept for it");
    }
    assert_eq!(running(&w), ["a_wide"]);
    w.succeed_all();
    assert_eq!(w.how("r"), "SUCCESS");
}

#[test]
fn a_wide_task_keeps_its_pool_from_other_queues_only_while_it_could_run() {
    let other = Task { queue: "other".parse().unwrap(), ..pooled(5) };
    let mut w = with(5, p([("a", pooled(1)), ("b", other), ("c", Task { priority: -1, ..pooled(1) })]));
    w.submit("r");
    assert_eq!(running(&w), ["a", "c"], "nobody serves the other queue");
    w.attach_with("v", 1, &["other"], &[]);
    w.end("a", &Outcome::Success);
    w.end("c", &Outcome::Success);
    assert_eq!(w.workers["v"].running.len(), 1);
}

#[test]
fn a_task_wider_than_its_pool_waits_for_a_wider_pool_and_hides_nothing() {
    let mut w = with(3, p([("a", pooled(4)), ("b", pooled(3))]));
    w.submit("r");
    assert_eq!(running(&w), ["b"]);
    w.pool("db", 4).unwrap();
    w.end("b", &Outcome::Success);
    assert_eq!(running(&w), ["a"]);
}

#[test]
fn a_task_wider_than_its_pool_hides_nothing_behind_a_limit_of_its_run_either() {
    let tasks = Pipeline { max_active_tasks: Some(1), ..p([("a", Task { priority: 1, ..pooled(4) }), ("b", pooled(3)), ("c", pooled(1))]) };
    let mut w = with(3, tasks);
    w.submit("r");
    assert_eq!(running(&w), ["b"]);
    w.pool("db", 4).unwrap();
    w.end("b", &Outcome::Success);
    assert_eq!(running(&w), ["a"]);
    w.end("a", &Outcome::Success);
    assert_eq!(running(&w), ["c"]);
}

#[test]
fn a_pool_that_shrinks_lets_what_runs_end_and_starts_nothing_until_there_is_room() {
    let mut w = with(3, p([("a", pooled(1)), ("b", pooled(1)), ("c", pooled(1)), ("d", pooled(1))]));
    w.submit("r");
    w.pool("db", 1).unwrap();
    assert_eq!(running(&w), ["a", "b", "c"]);
    w.end("a", &Outcome::Success);
    w.end("b", &Outcome::Success);
    assert_eq!(running(&w), ["c"]);
    w.end("c", &Outcome::Success);
    assert_eq!(running(&w), ["d"]);
    w.pool("db", u32::MAX).unwrap();
    w.pool("db", 0).unwrap();
    w.fail_over();
    w.hello("w");
    assert_eq!(w.leader.pools()[0].used, 1, "a new leader counts what runs");
    assert_eq!(w.pool("db", 0), Ok(Answer::Changed(false)));
}

#[test]
fn a_pool_is_removed_only_when_no_pipeline_and_no_live_run_names_it() {
    let mut w = with(3, p([("a", pooled(1))]));
    w.submit("r");
    let in_use = "pool db is used by p: register that pipeline without it first";
    assert_eq!(w.pool("db", None).unwrap_err().to_string(), in_use);
    w.register(p([("a", below(&[]))]));
    assert_eq!(w.pool("db", None).unwrap_err().to_string(), in_use, "a run of the old version holds it");
    w.end("a", &Outcome::Success);
    assert_eq!(w.pool("db", None), Ok(Answer::Changed(true)));
    assert_eq!(w.pool("db", None), Ok(Answer::Changed(false)));
}

#[test]
fn a_rerun_whose_pool_is_gone_waits_for_somebody_to_set_it() {
    let mut w = with(3, p([("a", pooled(2))]));
    w.submit("r");
    w.end("a", &Outcome::Exit(1));
    w.register(p([("a", below(&[]))]));
    w.pool("db", None).unwrap();
    w.rerun("r", "q").unwrap();
    assert_eq!(running(&w), Vec::<String>::new());
    assert!(w.leader.explain(&run_id("r"), &key("a")).unwrap().iter().any(|why| why.kind() == "pool_too_small"));
    w.pool("db", 2).unwrap();
    assert_eq!(running(&w), ["a"]);
}

#[test]
fn an_unknown_pool_is_refused_at_register() {
    let mut w = World::new();
    let refused = w.try_register(p([("a", pooled(1))])).unwrap_err().to_string();
    assert_eq!(refused, "pipeline p uses the pool db, and there is none: penstock pools set db SLOTS");
    w.pool("db", 0).unwrap();
    w.register(p([("a", pooled(1))]));
}

#[test]
fn no_more_tasks_of_a_run_run_at_once_than_max_active_tasks_over_all_lanes() {
    let of = |queue: &str| Task { queue: queue.parse().unwrap(), ..Task::noop() };
    let tasks = Pipeline { max_active_tasks: Some(2), ..p([("a", of("x")), ("b", of("y")), ("c", of("z")), ("d", of("x"))]) };
    let mut w = World::with(tasks, 0);
    w.submit("r");
    w.attach_with("v", 9, &["x", "y", "z"], &[]);
    assert_eq!(w.workers["v"].running.len(), 2);
    w.submit("s");
    assert_eq!(w.workers["v"].running.len(), 4, "each run has its own");
    w.succeed_all();
    assert_eq!((w.how("r").as_str(), w.how("s").as_str()), ("SUCCESS", "SUCCESS"));
}

#[test]
fn a_task_that_no_worker_serves_hides_none_behind_the_same_limit() {
    let of = |queue: &str| Task { queue: queue.parse().unwrap(), ..Task::noop() };
    let tasks = Pipeline { max_active_tasks: Some(1), ..p([("a", of("nobody")), ("b", of("default")), ("c", of("default"))]) };
    let mut w = World::with(tasks, 9);
    w.submit("r");
    assert_eq!(running(&w), ["b"]);
    w.end("b", &Outcome::Success);
    assert_eq!(running(&w), ["c"]);
}

#[test]
fn a_higher_priority_goes_first_behind_a_limit_too() {
    let of = |priority| Task { priority, ..below(&["a"]) };
    let tasks = [("a", below(&[])), ("b", of(0)), ("c", of(5)), ("late", Task { priority: 9, ..below(&["c"]) })];
    let mut w = World::with(Pipeline { max_active_tasks: Some(1), ..p(tasks) }, 9);
    w.submit("r");
    w.end("a", &Outcome::Success);
    assert_eq!(running(&w), ["c"]);
    w.end("c", &Outcome::Success);
    assert_eq!(running(&w), ["late"]);
}

#[test]
fn waiting_tasks_count_for_no_limit_of_the_run() {
    let tasks = [("a", Task { action: approve("?"), ..Task::noop() }), ("b", Task { action: sensor(), ..Task::noop() }), ("c", below(&[]))];
    let mut w = World::with(Pipeline { max_active_tasks: Some(1), ..p(tasks) }, 9);
    w.submit("r");
    assert_eq!((running(&w), w.how_is("r", "a").as_str()), (vec!["b".to_owned()], "RUNNING(waiting)"));
    w.end("b", &Outcome::NotYet(1_000));
    assert_eq!(running(&w), ["c"], "a sensor between probes leaves its place");
    w.pass(s(1));
    assert_eq!(running(&w), ["c"]);
    w.end("c", &Outcome::Success);
    assert_eq!(running(&w), ["b"]);
}

#[test]
fn a_task_that_waited_too_long_behind_two_limits_hides_none_behind_the_first() {
    let m = Task { max_parallel: Some(1), queue_timeout: Some(s(30)), ..range(3, &[]) };
    let tasks = Pipeline { max_active_tasks: Some(1), ..p([("a", Task { priority: 1, ..Task::noop() }), ("m", m)]) };
    let mut w = World::with(tasks, 9);
    w.submit("r");
    assert_eq!(running(&w), ["a"]);
    w.pass(s(30));
    assert_eq!((w.how_is("r", "m").as_str(), running(&w)), ("FAILED(task_failed)", vec!["a".to_owned()]));
    w.end("a", &Outcome::Success);
    w.rerun("r", "q").unwrap();
    for name in ["m[0]", "m[1]", "m[2]"] {
        assert_eq!(running(&w), [name]);
        w.end(name, &Outcome::Success);
    }
    assert_eq!(w.how("r"), "SUCCESS");
}

#[test]
fn a_mark_on_a_task_behind_two_limits_hides_none_behind_the_first() {
    let m = Task { max_parallel: Some(1), ..range(3, &[]) };
    let tasks = Pipeline { max_active_tasks: Some(1), ..p([("a", Task { priority: 1, ..Task::noop() }), ("m", m)]) };
    let mut w = World::with(tasks, 9);
    w.submit("r");
    w.mark("r", "q", &["m[0]"], State::Skipped).unwrap();
    w.end("a", &Outcome::Success);
    assert_eq!(running(&w), ["m[1]"]);
}

#[test]
fn a_pool_counts_what_can_never_fit_among_what_waits_for_it() {
    let wide = Task { pool: Some("db".parse().unwrap()), pool_slots: 3, ..Task::noop() };
    let mut w = World::new();
    w.pool("db", 1).unwrap();
    w.register(p([("a", wide.clone()), ("b", Task { pool_slots: 1, ..wide })]));
    w.attach("w", 9);
    w.submit("r");
    w.submit("s");
    assert_eq!((w.leader.pools()[0].used, w.leader.pools()[0].waiting), (1, 3), "both a, and b of s");
    w.cancel("r").unwrap();
    assert_eq!(w.leader.pools()[0].waiting, 2);
}

#[test]
fn a_lane_in_which_nothing_waits_is_forgotten() {
    let tasks = (0..50).map(|i| (format!("t{i:02}"), Task { labels: [("n".to_owned(), i.to_string())].into(), ..Task::noop() }));
    let mut w = World::with(super::super::model::pipeline("p", tasks), 1);
    w.submit("r");
    assert_eq!(w.leader.term.lanes.len(), 50);
    w.cancel("r").unwrap();
    w.pass(s(120));
    assert_eq!(w.leader.term.lanes.len(), 0);
}
