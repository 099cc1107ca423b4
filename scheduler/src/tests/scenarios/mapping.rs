//! Mapped tasks: their items, instances, pairs, limits and what they put out.

use penstock_common::pipeline::{Action, ForEach, MaxFailed, Param, ParamType, Pipeline, Task, TriggerRule};
use serde_json::json;

use super::super::model::{Outcome, below, each, edge, key, p, range, retries, ruled, run_id, s, selectors, task_id};
use super::super::people::submit;
use super::super::world::World;
use crate::input::Submit;

fn after(names: &[&str], tasks: Vec<String>) -> Vec<String> {
    tasks.into_iter().filter(|task| names.iter().any(|name| task.starts_with(name))).collect()
}

#[test]
fn instances_are_called_by_their_items_where_these_are_names() {
    let mut w = World::with(p([("load", each(json!(["dwh", "mart"]), &[])), ("n", each(json!([{"a": 1}, 7]), &[]))]), 9);
    w.submit("r");
    assert_eq!(w.log()[2..4], ["r: load of 2", "r: n of 2"]);
    let tasks = ["load RUNNING", "n RUNNING", "load[dwh] RUNNING", "load[mart] RUNNING", "n[0] RUNNING", "n[1] RUNNING"];
    assert_eq!(w.tasks("r"), tasks);
    assert_eq!(w.task("r", "load[1]").id.to_string(), "load[mart]", "a number always works");
    assert_eq!(w.leader.task(&run_id("r"), &key("load[2]")), None);
    let lease = &w.workers["w"].running[&w.fence("w", "n[0]")];
    assert_eq!((lease.instance, lease.item.as_deref()), (Some(0), Some("{\"a\":1}")));
    w.succeed_all();
    assert_eq!((w.how("r").as_str(), w.how_is("r", "load").as_str()), ("SUCCESS", "SUCCESS"));
}

#[test]
fn an_empty_list_is_skipped_and_so_is_what_is_below() {
    let tasks = [("a", each(json!([]), &[])), ("b", below(&["a"])), ("c", below(&["a[*]"])), ("d", ruled(TriggerRule::AllDone, &["a[*]"]))];
    let mut w = World::with(p(tasks), 9);
    w.submit("r");
    let expected = ["a SKIPPED(empty)", "b SKIPPED(upstream_skipped)", "c SKIPPED(upstream_skipped)", "d SKIPPED(empty)"];
    assert_eq!(w.tasks("r"), expected);
    assert_eq!(w.how("r"), "SUCCESS");
}

fn over_output() -> Task {
    Task { for_each: Some(ForEach::Output { task: task_id("a"), key: "list".to_owned() }), ..below(&["a"]) }
}

#[test]
fn items_come_from_an_output() {
    let mut w = World::with(p([("a", below(&[])), ("b", over_output()), ("c", below(&["b"]))]), 9);
    w.submit("r");
    w.end("a", &Outcome::Put("list", "[\"x\", \"y\", \"z\"]".to_owned()));
    w.end("b[y]", &Outcome::Success);
    assert_eq!(w.tasks("r")[3..], ["b[x] RUNNING", "b[y] SUCCESS", "b[z] RUNNING"]);
    assert_eq!(w.how_is("r", "c"), "PENDING", "each instance is an upstream of its own");
    w.succeed_all();
    assert_eq!(w.how("r"), "SUCCESS");
}

#[test]
fn a_task_that_is_mapped_over_an_output_waits_for_it_whatever_its_rule_says() {
    let over = Task { trigger_rule: TriggerRule::OneSuccess, depends_on: vec![edge("a"), edge("x")], ..over_output() };
    let mut w = World::with(p([("a", range(2, &[])), ("b", over), ("x", below(&[]))]), 9);
    w.submit("r");
    w.end("x", &Outcome::Success);
    w.end("a[1]", &Outcome::Put("list", "7".to_owned()));
    assert_eq!(w.how_is("r", "b"), "PENDING", "what it is mapped over is not known yet");
    w.end("a[0]", &Outcome::Put("list", "5".to_owned()));
    assert_eq!(w.workers["w"].running[&w.fence("w", "b[0]")].item.as_deref(), Some("5"));
}

#[test]
fn an_output_that_is_no_list_or_is_not_there_fails_the_mapped_task() {
    let how = |outcome: &Outcome| {
        let mut w = World::with(p([("a", below(&[])), ("b", over_output())]), 9);
        w.submit("r");
        w.end("a", outcome);
        (w.how_is("r", "b"), w.task("r", "b").detail.to_string())
    };
    let no_list = "it is mapped over outputs.a.list, which is no list: 7";
    assert_eq!(how(&Outcome::Put("list", "7".to_owned())), ("FAILED(template)".to_owned(), no_list.to_owned()));
    let none = "it is mapped over outputs.a.list, and there is no such output (a ended as SUCCESS)";
    assert_eq!(how(&Outcome::Success), ("FAILED(template)".to_owned(), none.to_owned()));
    assert_eq!(how(&Outcome::Put("list", "[]".to_owned())).0, "SKIPPED(empty)");
}

#[test]
fn items_come_from_the_file_that_a_task_wrote() {
    let items = Task { for_each: Some(ForEach::ItemsOf { task: task_id("a") }), ..below(&["a"]) };
    let mut w = World::with(p([("a", below(&[])), ("b", items)]), 9);
    w.submit("r");
    w.end("a", &Outcome::Items(3));
    assert_eq!(w.tasks("r")[2..], ["b[0] RUNNING", "b[1] RUNNING", "b[2] RUNNING"]);
    w.fail_over();
    w.hello("w");
    w.succeed_all();
    assert_eq!(w.how("r"), "SUCCESS");
    for (run, nothing) in [("empty", Outcome::Items(0)), ("missing", Outcome::Success)] {
        w.submit(run);
        w.end("a", &nothing);
        assert_eq!((w.how_is(run, "b").as_str(), w.how(run).as_str()), ("SKIPPED(empty)", "SUCCESS"), "{run}");
    }
}

#[test]
fn outputs_of_a_mapped_task_are_a_list_in_the_order_of_its_items() {
    let reads = Task { action: Action::Run(vec!["{{ outputs.load.rows }}".to_owned()]), ..below(&["load"]) };
    let mut w = World::with(p([("load", each(json!(["x", "y", "z"]), &[])), ("sum", reads)]), 9);
    w.submit("r");
    w.end("load[z]", &Outcome::Put("rows", "3".to_owned()));
    w.end("load[x]", &Outcome::Put("rows", "1".to_owned()));
    w.end("load[y]", &Outcome::Success);
    let lease = &w.workers["w"].running[&w.fence("w", "sum")];
    assert_eq!(lease.outputs[&task_id("load")].0["rows"], "[1,null,3]");
}

#[test]
fn a_paired_instance_waits_for_and_reads_the_instance_of_its_number_only() {
    let check = Task { action: Action::Run(vec!["{{ outputs.load.rows }}".to_owned()]), ..below(&["load[*]"]) };
    let mut w = World::with(p([("check", check), ("load", each(json!(["x", "y", "z"]), &[]))]), 9);
    w.submit("r");
    w.end("load[y]", &Outcome::Put("rows", "2".to_owned()));
    let lease = &w.workers["w"].running[&w.fence("w", "check[y]")];
    assert_eq!((lease.outputs[&task_id("load")].0["rows"].as_str(), lease.item.as_deref()), ("2", Some("\"y\"")));
    w.end("load[x]", &Outcome::Exit(1));
    assert_eq!(after(&["check["], w.tasks("r")), ["check[x] SKIPPED(upstream_failed)", "check[y] RUNNING", "check[z] PENDING"]);
    w.succeed_all();
    assert_eq!(w.how_is("r", "check"), "SUCCESS", "some of it did");
    assert_eq!(w.how("r"), "FAILED(task_failed)");
}

#[test]
fn a_pair_of_different_lengths_fails_and_says_so() {
    let list = Task { for_each: over_output().for_each, ..below(&["a", "load[*]"]) };
    let mut w = World::with(p([("a", below(&[])), ("b", list), ("load", each(json!([1, 2]), &[]))]), 9);
    w.submit("r");
    w.end("a", &Outcome::Put("list", "[1, 2, 3]".to_owned()));
    assert_eq!(w.how_is("r", "b"), "FAILED(template)");
    assert_eq!(&*w.task("r", "b").detail, "it has 3 items and is paired with load, which has 2: both need the same number");
}

#[test]
fn no_more_instances_run_at_once_than_max_parallel() {
    let mut w = World::with(p([("m", Task { max_parallel: Some(2), retries: retries(1), ..range(5, &[]) })]), 9);
    w.submit("r");
    w.forget_log();
    assert_eq!(w.workers["w"].running.len(), 2);
    w.end("m[0]", &Outcome::Exit(1));
    assert_eq!(w.log(), ["r: m[0] FAILED(exit_code)", "r: m[0] RETRY in 10s", "r: m[2]#1 fence 3 to w.1"], "a retry waits for its turn");
    w.pass(s(10));
    assert_eq!(w.log(), Vec::<String>::new());
    w.end("m[1]", &Outcome::Success);
    w.end("m[2]", &Outcome::Success);
    assert_eq!(w.log(), ["r: m[1] SUCCESS", "r: m[3]#1 fence 4 to w.1", "r: m[2] SUCCESS", "r: m[4]#1 fence 5 to w.1"]);
    w.succeed_all();
    assert_eq!(w.task("r", "m[0]").attempts.len(), 2);
}

#[test]
fn tolerated_failures_read_as_success_and_one_too_many_fails_them_all() {
    let tasks = |most| p([("m", Task { max_failed: Some(most), ..range(4, &[]) }), ("n", below(&["m"]))]);
    for (most, failing, how) in [
        (MaxFailed::Count(1), 1, "SUCCESS SUCCESS SUCCESS"),
        (MaxFailed::Count(1), 2, "FAILED(task_failed) SKIPPED(upstream_failed) FAILED(task_failed)"),
        (MaxFailed::Percent(50.0), 2, "SUCCESS SUCCESS SUCCESS"),
        (MaxFailed::Percent(49.0), 2, "FAILED(task_failed) SKIPPED(upstream_failed) FAILED(task_failed)"),
        (MaxFailed::Count(4), 4, "SUCCESS SUCCESS SUCCESS"),
    ] {
        let mut w = World::with(tasks(most), 9);
        w.submit("r");
        for failed in 0..failing {
            w.end(&format!("m[{failed}]"), &Outcome::Exit(1));
        }
        if failing < 4 {
            assert_eq!(w.how_is("r", "n"), "PENDING", "it is not decided yet");
        }
        w.succeed_all();
        assert_eq!(format!("{} {} {}", w.how_is("r", "m"), w.how_is("r", "n"), w.how("r")), how, "{most:?} {failing}");
    }
}

#[test]
fn an_if_about_the_item_is_asked_of_each_instance() {
    let task = Task { condition: Some("item % 2 == 0".to_owned()), ..range(4, &[]) };
    let mut w = World::with(p([("m", task), ("n", below(&["m"]))]), 9);
    w.submit("r");
    assert_eq!(w.tasks("r")[2..], ["m[0] RUNNING", "m[1] SKIPPED(condition)", "m[2] RUNNING", "m[3] SKIPPED(condition)"]);
    w.succeed_all();
    assert_eq!((w.how_is("r", "m").as_str(), w.how_is("r", "n").as_str()), ("SUCCESS", "SKIPPED(upstream_skipped)"));
}

#[test]
fn an_if_that_is_not_about_the_item_is_asked_once_before_there_are_instances() {
    let go = Param { kind: ParamType::Bool, default: Some(false.into()), values: Vec::new(), description: String::new() };
    let task = Task { condition: Some("params.go".to_owned()), ..range(4, &[]) };
    let mut w = World::with(Pipeline { params: [("go".to_owned(), go)].into(), ..p([("m", task)]) }, 9);
    w.submit("r");
    assert_eq!(w.tasks("r"), ["m SKIPPED(condition)"]);
}

#[test]
fn instances_that_are_all_skipped_make_the_task_skipped() {
    let mut w = World::with(p([("m", range(2, &[])), ("n", below(&["m"]))]), 9);
    w.submit("r");
    w.end("m[0]", &Outcome::Skip);
    w.end("m[1]", &Outcome::Skip);
    assert_eq!(w.tasks("r")[..2], ["m SKIPPED(task)", "n SKIPPED(upstream_skipped)"]);
    assert_eq!(w.how("r"), "SUCCESS");
}

#[test]
fn a_failed_instance_is_caught_by_the_instance_it_is_paired_with() {
    let mut w = World::with(p([("m", range(3, &[])), ("fix", below(&["m[*]: failed"]))]), 9);
    w.submit("r");
    w.end("m[1]", &Outcome::Exit(1));
    w.succeed_all();
    assert_eq!(w.tasks("r")[..2], ["fix SUCCESS", "m FAILED(task_failed)"]);
    assert_eq!(after(&["fix["], w.tasks("r")), ["fix[0] SKIPPED(rule)", "fix[1] SUCCESS", "fix[2] SKIPPED(rule)"]);
    assert_eq!(w.how("r"), "SUCCESS");
}

#[test]
fn a_cancelled_mapped_task_ends_with_its_instances() {
    let mut w = World::with(p([("m", Task { max_parallel: Some(1), ..range(3, &[]) }), ("n", below(&["m"]))]), 9);
    w.submit("r");
    w.cancel("r").unwrap();
    assert_eq!(w.tasks("r"), ["m RUNNING", "n CANCELLED(user)", "m[0] RUNNING", "m[1] CANCELLED(user)", "m[2] CANCELLED(user)"]);
    w.end("m[0]", &Outcome::Cancelled);
    assert_eq!((w.how_is("r", "m").as_str(), w.how("r").as_str()), ("CANCELLED(user)", "CANCELLED(user)"));
    let mut w = World::with(p([("m", range(3, &[]))]), 0);
    w.submit("r");
    w.cancel("r").unwrap();
    assert_eq!(w.how("r"), "CANCELLED(user)", "no instance ran");
}

#[test]
fn a_paired_task_that_alone_is_asked_for_takes_the_items_that_there_would_be() {
    let mut w = World::with(p([("check", below(&["load[*]"])), ("load", each(json!(["x", "y"]), &[]))]), 9);
    w.submit_as(Submit { only: selectors(&["check"]), ..submit("r", "p") }).unwrap();
    w.succeed_all();
    assert_eq!(w.tasks("r"), ["check SUCCESS", "load SKIPPED(not_selected)", "check[x] SUCCESS", "check[y] SUCCESS"]);
}

#[test]
fn a_run_has_a_limit_of_tasks() {
    let tasks = (0..11).map(|i| (format!("m{i:02}"), range(100_000, &[])));
    let mut w = World::with(super::super::model::pipeline("p", tasks), 0);
    w.checker.deep = false;
    w.submit("r");
    w.settle();
    assert_eq!(w.how_is("r", "m09"), "FAILED(template)");
    assert!(w.task("r", "m09").detail.starts_with("100000 instances would make 1000"), "{}", w.task("r", "m09").detail);
    assert_eq!(w.how_is("r", "m08"), "RUNNING");
}
