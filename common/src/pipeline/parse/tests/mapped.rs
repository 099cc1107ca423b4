//! Mapped tasks: their items, and pairs of instances.

use serde_json::json;

use super::{good, id, refused, refused_in_task, task, warned};
use crate::limits;
use crate::pipeline::{Condition, Dependency, ForEach, MaxFailed};

/// A document with a task `a` as this, in line 3, and a task `b` as that, in line 4.
fn two(a: &str, b: &str) -> String {
    format!("pipeline: p\ntasks:\n  a: {{{a}}}\n  b: {{{b}}}\n")
}

#[test]
fn items_are_values_a_range_or_a_tasks() {
    let items = task("for_each: [a, 1, 1.5, true, null, {x: [z]}]").for_each;
    assert_eq!(items, Some(ForEach::Items(vec![json!("a"), json!(1), json!(1.5), json!(true), json!(null), json!({"x": ["z"]})])));
    assert_eq!(task("for_each: {range: 3}").for_each, Some(ForEach::Range { from: 0, to: 3, step: 1 }));
    assert_eq!(task("for_each: {to: 3}").for_each, Some(ForEach::Range { from: 0, to: 3, step: 1 }));
    assert_eq!(task("for_each: {from: 9, to: 0, step: -3}").for_each, Some(ForEach::Range { from: 9, to: 0, step: -3 }));
    let of = |source: &str| {
        good(&two("run: [x]", &format!("noop: true, depends_on: a, for_each: {source}"))).pipeline.tasks["b"].for_each.clone()
    };
    assert_eq!(of("outputs.a.files"), Some(ForEach::Output { task: id("a"), key: "files".to_owned() }));
    assert_eq!(of("items.a"), Some(ForEach::ItemsOf { task: id("a") }));
    assert_eq!(task("for_each: [a]\n    max_failed: 0").max_failed, Some(MaxFailed::Count(0)));
    assert_eq!(task("for_each: [a]\n    max_failed: 1.5%").max_failed, Some(MaxFailed::Percent(1.5)));
    assert_eq!(task("for_each: [a]\n    max_parallel: 4").max_parallel, Some(4));
}

#[test]
fn the_order_of_an_items_keys_makes_no_new_version() {
    assert_eq!(task("for_each: [{x: 1, y: 2}]").for_each, task("for_each: [{y: 2, x: 1}]").for_each);
    let keys = |line: &str| serde_json::to_string(&task(line).for_each).unwrap();
    assert_eq!(keys("for_each: [{x: 1, y: 2}]"), keys("for_each: [{y: 2, x: 1}]"));
}

#[test]
fn items_that_cannot_be_are_refused() {
    refused_in_task("for_each: []", "4:15", "`for_each` is an empty list", "items.TASK");
    refused_in_task("for_each: [a, \"{{ params.x }}\"]", "4:19", "an item that is a template", "{{ item }}");
    refused_in_task("for_each: [{a: \"{{ x }}\"}]", "4:20", "an item that is a template", "{{ item }}");
    refused_in_task("for_each: \"{{ outputs.b.x }}\"", "4:15", "is no template", "without braces");
    refused_in_task("for_each: 3", "4:15", "must be a list, a range", "write {range: 3}");
    refused_in_task("for_each: params.x", "4:15", "must be a list, a range", "a parameter is one value");
    refused_in_task("for_each: outputs.b", "4:15", "must be a list, a range", "outputs.TASK.KEY");
    refused_in_task("for_each: outputs.b.x", "4:15", "there is no task `b` whose outputs", "outputs.TASK.KEY");
    refused_in_task("for_each: items.b", "4:15", "there is no task `b` whose items", "items.TASK");
    refused_in_task("for_each: items.a", "4:15", "cannot use its own items", "ended");
    refused_in_task("for_each: items.A", "4:15", "\"A\" is not a valid task id", "for instance a");
    refused_in_task("for_each:", "4:5", "`for_each` is empty; it must be a list, a range", "{range: 10}");
    refused_in_task("for_each: {}", "4:15", "has no `to`", "{range: 10}");
    refused_in_task("for_each: {range: 0}", "4:15", "is an empty range", "not reached");
    refused_in_task("for_each: {range: 3, to: 4}", "4:30", "`range` stands alone", "{from: 1");
    refused_in_task("for_each: {from: 3}", "4:15", "has no `to`", "{range: 10}");
    refused_in_task("for_each: {from: x, to: 3}", "4:22", "`from` must be a whole number", "");
    refused_in_task("for_each: {from: 3, to: 3}", "4:15", "is an empty range", "negative `step`");
    refused_in_task("for_each: {from: 3, to: 5, step: 0}", "4:38", "`step` must not be 0", "-1");
    refused_in_task("for_each: {range: 100001}", "4:15", "is too much: 100001 items", "at most 100000");
    let widest = format!("for_each: {{from: {}, to: {}}}", i64::MIN, i64::MAX);
    refused_in_task(&widest, "4:15", "18446744073709551615 items", "at most");
    let many = format!("for_each: [{}]", vec!["x"; limits::MAX_ITEMS + 1].join(", "));
    refused_in_task(&many, "4:15", "is too much: there are 100001 items", "items.TASK");
    refused(&two("run: [x]", "noop: true, for_each: items.a"), "4:29", "uses items of `a`, which is not upstream", "depends_on");
    refused(&two("noop: true", "noop: true, depends_on: a, for_each: items.a"), "4:44", "`a` writes no items: it is a `noop`", "program");
    let mapped = two("run: [x], for_each: [1]", "noop: true, depends_on: a, for_each: items.a");
    refused(&mapped, "4:44", "`a` is mapped: its instances have no items file", "outputs.a.KEY");
    warned("pipeline: p\ntasks: {a: {noop: true, for_each: [se, no]}}\n", "2:40", "no is text here", "\"no\"");
}

#[test]
fn keys_of_instances_need_some() {
    refused_in_task("max_parallel: 2", "4:19", "`max_parallel` and no `for_each`", "add `for_each`");
    refused_in_task("max_failed: 2", "4:17", "`max_failed` and no `for_each`", "add `for_each`");
    refused_in_task("for_each: [1]\n    max_parallel: 0", "5:19", "out of range", "from 1");
    refused_in_task("for_each: [1]\n    max_failed: 0%", "5:17", "out of range", "above 0%");
    refused_in_task("for_each: [1]\n    max_failed: 101%", "5:17", "out of range", "100%");
    refused_in_task("for_each: [1]\n    max_failed: few", "5:17", "a number of instances, or a part", "3 or 1%");
    refused_in_task("for_each: [1]\n    max_failed: 0.25", "5:17", "a number of instances, or a part", "write 25%");
    refused_in_task("for_each: [1]\n    max_failed: -1", "5:17", "out of range", "from 0");
    refused_in_task("env: {A: \"{{ item }}\"}", "4:14", "task `a` uses `item` and has no `for_each`", "add `for_each`");
    task("for_each: [1]\n    env: {A: \"{{ item }}\"}");
    let default = "pipeline: p\nenv: {A: \"{{ item }}\"}\ntasks:\n  a: {run: [x]}\n  b: {run: [x]}\n  c: {run: [x], for_each: [1]}\n";
    refused(default, "2:10", "task `a` uses `item`", "for_each");
}

#[test]
fn pairs_take_over_items() {
    let text = "pipeline: p\ntasks:\n  a: {noop: true, for_each: [x, z]}\n  b: {noop: true, depends_on: \"a[*]\"}\n  c:\n    depends_on: {\"b[*]\": \
                completed}\n    run: [x, \"{{ item }}\"]\n  d: {noop: true, depends_on: [\"c[*]\"], for_each: {range: 2}, trigger_rule: none_failed}\n";
    let p = good(text).pipeline;
    let paired = |task: &str, when| vec![Dependency { task: id(task), when, paired: true }];
    assert_eq!(
        (p.tasks["b"].for_each.clone(), p.tasks["b"].depends_on.clone()),
        (Some(ForEach::SameAs { task: id("a") }), paired("a", None))
    );
    assert_eq!(p.tasks["c"].for_each, Some(ForEach::SameAs { task: id("b") }));
    assert_eq!(p.tasks["c"].depends_on, paired("b", Some(Condition::Completed)));
    assert_eq!(p.tasks["d"].for_each, Some(ForEach::Range { from: 0, to: 2, step: 1 }));
}

#[test]
fn pairs_that_cannot_be_are_refused() {
    refused(&two("noop: true", "noop: true, depends_on: \"a[*]\""), "4:31", "paired with `a`, which has no `for_each`", "write a");
    let lengths = two("noop: true, for_each: [x, z]", "noop: true, depends_on: [\"a[*]\"], for_each: [1, 2, 3]");
    refused(&lengths, "4:32", "`a` has 2 instances and `b` has 3", "same items");
    let rule = |rule: &str| two("noop: true, for_each: [x]", &format!("noop: true, depends_on: [\"a[*]\"], trigger_rule: {rule}"));
    for word in ["all_done_min_one_success", "one_failed", "one_success", "one_done", "none_failed_min_one_success", "always"] {
        refused(&rule(word), "4:55", &format!("`{word}` is not possible with `a[*]`"), "write a for all");
    }
    for word in ["all_success", "all_done", "all_failed", "all_skipped", "none_failed", "none_skipped"] {
        good(&rule(word));
    }
    let three = "pipeline: p\ntasks:\n  a: {noop: true, for_each: [1]}\n  b: {noop: true, for_each: [1, 2]}\n  c: {noop: true, depends_on: [\"a[*]\", \
                 \"b[*]\"]}\n";
    refused(three, "5:40", "`b` has 2 instances and `a` has 1", "for all instances");
    // Pairs in a circle are no reason to run for ever.
    refused(&two("noop: true, depends_on: \"b[*]\"", "noop: true, depends_on: \"a[*]\""), "4:31", "in a cycle: a -> b -> a", "remove one");
    refused_in_task("depends_on: \"a[*]\"", "4:17", "depends on itself", "remove");
}

#[test]
fn a_run_has_a_million_tasks_at_most() {
    let tasks: String = (0..11).map(|i| format!("  t{i}: {{noop: true, for_each: {{range: 100000}}}}\n")).collect();
    let text = format!("pipeline: p\ntasks:\n{tasks}");
    refused(&text, "12:30", "a run would have 1100000 tasks and instances, 100000 of them of `t9`", "split");
}
