//! Edges, groups, rules, conditions, branches, teardowns, pools and expectations.

use std::collections::BTreeMap;

use super::{bad, good, id, in_task, refused, refused_at_top, refused_in_task, task, warned};
use crate::pipeline::{Condition, Dependency, Expect, ExpectAction, Location, TriggerRule};

/// A document with these lines as its tasks, from line 3 on.
fn tasks(lines: &str) -> String {
    format!("pipeline: p\ntasks:\n{}", lines.lines().map(|line| format!("  {}\n", line.trim_start())).collect::<String>())
}

fn edge(task: &str, when: Option<Condition>) -> Dependency {
    Dependency { task: id(task), when, paired: false }
}

#[test]
fn edges_may_have_conditions() {
    let document = good(&tasks(
        "a: {noop: true}
         b: {noop: true}
         c: {noop: true}
         d: {noop: true}
         e: {noop: true, depends_on: {d: skipped, a: success, c: completed, b: failed}}",
    ));
    let expected = [
        edge("a", Some(Condition::Success)),
        edge("b", Some(Condition::Failed)),
        edge("c", Some(Condition::Completed)),
        edge("d", Some(Condition::Skipped)),
    ];
    assert_eq!(document.pipeline.tasks["e"].depends_on, expected);
    assert_eq!(document.edges[&(id("e"), id("a"))], Location { line: 7, column: 44 });
    let wrong = |value: &str| tasks(&format!("a: {{noop: true}}\nb: {{noop: true, depends_on: {value}}}"));
    refused(&wrong("{a: succes}"), "4:35", "`depends_on` must be one of completed, failed, skipped, success", "`success`");
    refused(&wrong("{a: }"), "4:32", "must be one of", "completed");
    refused(&wrong("[{a: failed}]"), "4:32", "must be a name, found a mapping", "{a: success, b: failed}");
    refused(&wrong("{c: failed}"), "4:32", "depends on `c`, which is no task and no group", "add the task");
    refused(&wrong("[a, \"a[0]\"]"), "4:35", "`a[0]` names an instance", "\"a[*]\"");
    refused(&wrong("[a, \"a[*]\"]"), "4:35", "`a` is in `depends_on` twice", "remove");
}

#[test]
fn a_group_stands_for_its_tasks() {
    let document = good(&tasks(
        "a: {noop: true, group: g}
         b: {noop: true, group: g}
         c: {noop: true, depends_on: g}
         d: {noop: true, depends_on: [b, g]}
         e: {noop: true, depends_on: {g: completed, c: failed}}",
    ));
    let p = &document.pipeline;
    assert_eq!(p.tasks["a"].group, Some(id("g")));
    assert_eq!(p.tasks["c"].depends_on, [edge("a", None), edge("b", None)]);
    assert_eq!(p.tasks["d"].depends_on, [edge("a", None), edge("b", None)], "what is there twice is there once");
    let completed = Some(Condition::Completed);
    assert_eq!(p.tasks["e"].depends_on, [edge("a", completed), edge("b", completed), edge("c", Some(Condition::Failed))]);
    let at = |line, column| Location { line, column };
    let places: BTreeMap<_, _> = document.edges.iter().map(|((task, up), at)| (format!("{task} {up}"), *at)).collect();
    assert_eq!((places["c a"], places["c b"]), (at(5, 31), at(5, 31)), "where the group is named");
    assert_eq!((places["d a"], places["d b"]), (at(6, 35), at(6, 32)));
}

#[test]
fn groups_that_cannot_be_are_refused() {
    let group = "a: {noop: true, group: g}\n";
    let with = |line: &str| tasks(&format!("{group}{line}"));
    refused(&with("g: {noop: true}"), "3:26", "the group `g` is called as a task is", "another name");
    refused(&with("b: {noop: true, group: g, depends_on: g}"), "4:41", "task `b` depends on its own group `g`", "name the tasks");
    refused(&with("b: {noop: true, depends_on: \"g[*]\"}"), "4:31", "`g` is a group", "\"TASK[*]\"");
    refused(&with("b: {noop: true, depends_on: {g: success, a: failed}}"), "4:44", "of which something else is asked", "one by one");
    refused(
        &with("b: {noop: true, group: load}\nc: {noop: true, depends_on: laod}"),
        "5:31",
        "no task and no group",
        "did you mean `load`?",
    );
    refused(&with("b: {noop: true, group: G}"), "4:26", "\"G\" is not a valid task id", "for instance g");
}

#[test]
fn rules_are_airflows_and_stand_alone() {
    for (word, rule) in TriggerRule::WORDS {
        let text = tasks(&format!("a: {{noop: true}}\nb: {{noop: true, depends_on: a, trigger_rule: {word}}}"));
        assert_eq!(good(&text).pipeline.tasks["b"].trigger_rule, *rule);
    }
    refused_in_task("trigger_rule: all_sucess", "4:19", "`trigger_rule` must be one of", "`all_success`");
    let text = tasks("a: {noop: true}\nb: {noop: true, depends_on: {a: failed}, trigger_rule: one_failed}");
    refused(&text, "4:58", "both a `trigger_rule` and conditions", "without conditions");
    warned(&in_task("trigger_rule: all_done"), "4:19", "a `trigger_rule` and no upstream", "depends_on");
    task("trigger_rule: always");
    task("trigger_rule: all_success");
}

#[test]
fn a_condition_is_an_expression() {
    let text =
        "pipeline: p\nparams: {n: {type: int, default: 1}}\ntasks:\n  a: {noop: true, if: 'params.n > 3 and run.trigger != \"x\"'}\n";
    assert_eq!(good(text).pipeline.tasks["a"].condition.as_deref(), Some("params.n > 3 and run.trigger != \"x\""));
    assert_eq!(task("if: false").condition.as_deref(), Some("false"));
    refused_in_task("if: \"{{ params.x }}\"", "4:9", "`if` is an expression, and must not contain a template", "without braces: params.x");
    refused_in_task("if: \"x {% if %}\"", "4:9", "must not contain a template", "params.region");
    refused_in_task("if: \"\"", "4:9", "an empty expression", "==");
    refused_in_task("if: run.id = 3", "4:9", "this is not a valid expression", "compare with ==");
    refused_in_task("if: \"run.id ==\"", "4:9", "this is not a valid expression", "==");
    refused_in_task("if: x > 3", "4:9", "unknown name `x` in an expression", "params.NAME");
    refused_in_task("if: params.x", "4:9", "there is no parameter `x`", "declare it");
    refused_in_task("if: outputs.b.x", "4:9", "there is no task `b`", "outputs.TASK.KEY");
    refused_in_task("if: item > 3", "4:9", "uses `item` and has no `for_each`", "for_each");
    refused_in_task("if: [x]", "4:9", "`if` must be text, found a list", "");
    refused_in_task(&format!("if: {}1", "-".repeat(100_000)), "4:9", "the expression is too long", "2048 bytes");
    refused_in_task("when: x", "4:5", "unknown key `when`", "did you mean `if`?");
}

#[test]
fn a_branch_has_downstreams_and_no_instances() {
    let text = tasks("a: {shell: x, branch: true}\nb: {noop: true, depends_on: a}");
    assert!(good(&text).pipeline.tasks["a"].branch);
    assert!(!task("branch: false").branch);
    warned("pipeline: p\ntasks:\n  a: {run: [x], branch: true}\n", "3:25", "is a branch, and no task depends on it", "depends_on");
    let text = tasks("a: {noop: true, branch: true}\nb: {noop: true, depends_on: a}");
    warned(&text, "3:27", "is a branch and does nothing", "put out `branch`");
    refused("pipeline: p\ntasks:\n  a: {run: [x], branch: true, for_each: [1]}\n", "3:25", "`a` is mapped", "outputs of all");
    refused_in_task("branch: yes", "4:13", "`branch` must be true or false", "write true");
    refused_in_task("branch: \"true\"", "4:13", "`branch` must be true or false", "without quotes");
}

#[test]
fn a_teardown_follows_its_setup() {
    let text = tasks("a: {noop: true}\nb: {noop: true, depends_on: a}\nc: {noop: true, teardown: true, setup: a, depends_on: b}");
    let document = good(&text);
    let task = &document.pipeline.tasks["c"];
    assert_eq!((task.teardown, task.setup.clone()), (true, Some(id("a"))));
    assert_eq!(task.depends_on, [edge("a", None), edge("b", None)], "the setup is an upstream too");
    assert_eq!(document.edges[&(id("c"), id("a"))], Location { line: 5, column: 42 });
    let with = |line: &str| tasks(&format!("a: {{noop: true}}\n{line}"));
    good(&with("b: {noop: true, teardown: true}"));
    refused(&with("b: {noop: true, setup: a}"), "4:26", "has a `setup` and is no teardown", "teardown: true");
    refused(&with("b: {noop: true, teardown: true, setup: b}"), "4:42", "cleans up after itself", "name the task");
    refused(
        &with("begin: {noop: true}\nb: {noop: true, teardown: true, setup: begn}"),
        "5:42",
        "the setup `begn`, which is no task",
        "`begin`",
    );
    refused(&with("b: {noop: true, teardown: true}\nc: {noop: true, teardown: true, setup: b}"), "5:42", "a teardown itself", "sets up");
    let rule = with("b: {noop: true, teardown: true, depends_on: a, trigger_rule: all_done}");
    refused(&rule, "4:64", "whatever its `trigger_rule` says", "setup");
    refused(&with("b: {noop: true, teardown: true, depends_on: {a: failed}}"), "4:48", "whatever the conditions", "[a, b]");
}

#[test]
fn slots_are_of_a_pool() {
    let pool = task("pool: dwh.main\n    pool_slots: 2");
    assert_eq!((pool.pool.as_ref().map(|p| p.as_str()), pool.pool_slots), (Some("dwh.main"), 2));
    let merged =
        good("pipeline: p\ndefaults: {pool: x, pool_slots: 3}\ntasks: {a: {noop: true}, b: {noop: true, pool: y, pool_slots: 1}}\n")
            .pipeline;
    assert_eq!((merged.tasks["a"].pool.as_ref().map(|p| p.as_str()), merged.tasks["a"].pool_slots), (Some("x"), 3));
    assert_eq!((merged.tasks["b"].pool.as_ref().map(|p| p.as_str()), merged.tasks["b"].pool_slots), (Some("y"), 1));
    good("pipeline: p\ndefaults: {pool_slots: 3}\ntasks: {a: {noop: true, pool: x}, b: {noop: true}}\n");
    refused_in_task("pool_slots: 2", "4:17", "`pool_slots` and no `pool`", "pool: NAME");
    refused_in_task("pool_slots: 0\n    pool: x", "4:17", "out of range", "from 1");
    refused_in_task("pool: A b", "4:11", "not a valid pool name", "for instance a_b");
    refused_at_top("defaults: {pool_slots: 2}", "1:24", "no task has a `pool`", "pool: NAME");
    refused_at_top("pool: x", "1:1", "unknown key `pool`", "a task or in `defaults`");
    assert!(task("allow_failure: true").allow_failure);
    let allowed =
        good("pipeline: p\ndefaults: {allow_failure: true}\ntasks: {a: {noop: true}, b: {noop: true, allow_failure: false}}\n").pipeline;
    assert_eq!((allowed.tasks["a"].allow_failure, allowed.tasks["b"].allow_failure), (true, false));
}

#[test]
fn what_is_expected_is_merged_key_by_key() {
    let text = "pipeline: p\ndefaults: {expect: {rejected: {max_ratio: 0.01}, action: hold}}\ntasks:\n  a: {noop: true}\n  b:\n    noop: true\n    \
                expect: {records: {min: 10, max: 1.5e3}, rejected: {max: 5}, action: fail}\n";
    let p = good(text).pipeline;
    let hold = Expect { max_rejected_ratio: Some(0.01), action: ExpectAction::Hold, ..Expect::default() };
    assert_eq!(p.tasks["a"].expect, Some(hold));
    let fail = Expect {
        min_records: Some(10.0),
        max_records: Some(1_500.0),
        max_rejected: Some(5.0),
        max_rejected_ratio: Some(0.01),
        action: ExpectAction::Fail,
    };
    assert_eq!(p.tasks["b"].expect, Some(fail));
    assert_eq!(task("priority: 1").expect, None);
    refused_in_task("expect: {records: {min: 5, max: 4}}", "4:29", "`min` 5 is above `max` 4", "raise `max`");
    refused_in_task("expect: {records: {min: -1}}", "4:29", "out of range: -1", "from 0 on");
    refused_in_task("expect: {records: 5}", "4:23", "`records` must be a mapping, found the number 5", "max, min");
    refused_in_task("expect: {rejected: {max_ratio: 5}}", "4:36", "out of range: 5", "0.01 is one of a hundred");
    refused_in_task("expect: {rejected: {max_ratio: 1%}}", "4:36", "must be a number, found the text \"1%\"", "write 0.01");
    refused_in_task("expect: {rejected: {min: 5}}", "4:25", "unknown key `min`", "max_ratio");
    refused_in_task("expect: {records: {min: 5}, action: stop}", "4:41", "one of alert, fail, hold", "");
    warned(&in_task("expect: {action: hold}"), "4:22", "`action` has no effect", "records: {min: 1000}");
    let text = "pipeline: p\ndefaults: {expect: {records: {max: 9}}}\ntasks:\n  a: {noop: true, expect: {records: {min: 10}}}\n  b: {noop: true}\n";
    refused(text, "4:43", "`min` 10 is above `max` 9", "lower `min`");
}

#[test]
fn a_time_zone_is_one_of_the_database() {
    let zone = |zone: &str| good(&format!("pipeline: p\ntimezone: {zone}\ntasks: {{a: {{noop: true}}}}\n")).pipeline.timezone;
    assert_eq!(zone("Europe/Paris").as_deref(), Some("Europe/Paris"));
    assert_eq!(zone("UTC").as_deref(), Some("UTC"));
    refused_at_top("timezone: europe/paris", "1:11", "not a time zone of the IANA database", "did you mean `Europe/Paris`?");
    refused_at_top("timezone: Europe/Pariss", "1:11", "\"Europe/Pariss\"", "did you mean `Europe/Paris`?");
    refused_at_top("timezone: paris", "1:11", "not a time zone", "did you mean `Europe/Paris`?");
    refused_at_top("timezone: ../../etc/passwd", "1:11", "not a time zone", "America/New_York");
    refused_at_top("timezone: 2", "1:11", "must be text", "\"2\"");
    refused_at_top("tz: UTC", "1:1", "unknown key `tz`", "did you mean `timezone`?");
    refused_at_top("max_active_tasks: 0", "1:19", "out of range", "from 1");
}

#[test]
fn retries_choose_among_failures_of_attempts() {
    task("retries: {on: [exit_code, timeout, spawn, oom, output_too_large, expectation, run_failed]}");
    for reason in ["branch", "rejected", "held", "waiting", "empty", "condition", "rule", "not_selected", "marked", "upstream_failed"] {
        refused_in_task(&format!("retries: {{on: [{reason}]}}"), "4:20", &format!("cannot have `{reason}`"), "run_failed");
    }
    refused_in_task("retries: {not_on: [lost]}", "4:24", "spends no retry", "`max_lost`");
}

#[test]
fn errors_of_the_whole_document_are_told_together() {
    let text = tasks(
        "a: {noop: true, max_failed: 1, pool_slots: 2}
         b: {noop: true, depends_on: [c, b], setup: a}
         d: {noop: true, branch: 1}",
    );
    let places: Vec<_> = bad(&text).iter().map(|d| format!("{}:{}", d.at.line, d.at.column)).collect();
    assert_eq!(places, ["3:31", "3:46", "4:32", "4:35", "4:46", "5:27"]);
}

#[test]
fn cycles_are_told_with_the_other_errors_each_part_that_goes_round_once() {
    let text = "pipeline: p\ntasks:
  a: {noop: true, depends_on: [c]}
  b: {noop: true, depends_on: [a], retry: 3}
  c: {noop: true, depends_on: [b, nope]}
  d: {noop: true, depends_on: [c]}
  x: {noop: true, group: g, depends_on: [y]}
  y: {noop: true, depends_on: [g]}
  z: {noop: true, depends_on: [x, z]}\n";
    let found: Vec<_> = bad(text).into_iter().map(|d| (d.at.line, d.at.column, d.message)).collect();
    let cycle = |names: &str| format!("the tasks wait for each other in a cycle: {names}");
    assert_eq!(found.len(), 5, "{found:?}");
    assert_eq!((found[0].0, found[0].1, &found[0].2), (4, 32, &cycle("a -> b -> c -> a")));
    assert!(found[1].0 == 4 && found[1].2.contains("`retry`"), "{found:?}");
    assert!(found[2].0 == 5 && found[2].2.contains("`nope`"), "{found:?}");
    assert_eq!((found[3].0, found[3].1, &found[3].2), (8, 32, &cycle("x -> y -> x")));
    assert!(found[4].2.contains("itself"), "{found:?}");
}

#[test]
fn a_cycle_of_a_hundred_thousand_tasks_is_told_in_few_words() {
    let tasks: String = (0..100_000).map(|i| format!("  t{i:05}: {{noop: true, depends_on: t{:05}}}\n", (i + 99_999) % 100_000)).collect();
    let list = bad(&format!("pipeline: p\ntasks:\n{tasks}"));
    assert_eq!(list.len(), 1);
    assert!(list[0].message.ends_with("t00019 -> … 99980 more … -> t00000"), "{}", list[0].message);
}
