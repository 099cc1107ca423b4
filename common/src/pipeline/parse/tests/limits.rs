//! Documents that are large, or meant to do harm.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::{bad, good, refused};
use crate::limits;

#[test]
fn bombs_are_refused_in_milliseconds() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..30 {
        let before = vec![format!("*a{}", i - 1); 9].join(", ");
        writeln!(laughs, "a{i}: &a{i} [{before}]").unwrap();
    }
    let long = "z".repeat(1_000_000);
    let copies = format!("a: &a \"{long}\"\nb: [{}]\n", vec!["*a"; 100_000].join(", "));
    let start = Instant::now();
    refused(&laughs, "5:10", "the aliases up to here stand for more than", "fewer aliases");
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    let start = Instant::now();
    assert!(bad(&copies)[0].message.contains("the aliases up to here"));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let text = "x".repeat(limits::MAX_DOCUMENT_BYTES + 1);
    refused(&text, "1:1", "the document has 33554433 bytes", "split");
}

#[test]
fn a_hundred_thousand_levels_do_not_overflow_the_stack() {
    let n = 100_000;
    let texts = [
        "[".repeat(n),
        "{a: ".repeat(n),
        "{".repeat(n),
        "- ".repeat(n),
        "? ".repeat(n),
        (0..2_000).map(|i| format!("{}a:\n", " ".repeat(i))).collect(),
        format!("{}{}", "[".repeat(n), "]".repeat(n)),
        format!("pipeline: p\ntasks: {}{}", "{a: ".repeat(20), "}".repeat(20)),
        format!("a: &a {}x{}\nb: [[[*a]]]\n", "[".repeat(14), "]".repeat(14)),
    ];
    for text in texts {
        let list = bad(&text);
        assert!(list.iter().any(|d| d.message.contains("nested more than 16 deep")), "{:.40}: {list:?}", text);
    }
}

#[test]
fn defaults_that_would_be_copied_too_often_are_refused() {
    let tasks: String = (0..1_000).map(|i| format!("  t{i}: {{noop: true}}\n")).collect();
    let text = format!("pipeline: p\nenv: {{BIG: \"{}\"}}\ntasks:\n{tasks}", "x".repeat(200_000));
    refused(&text, "4:3", "bytes of env and labels from defaults", "split");
}

#[test]
fn of_very_many_errors_the_first_thousand_are_kept() {
    let tasks: String = (0..20_000).map(|i| format!("  t{i}: {{noop: true, depends_on: [u{i}, v{i}]}}\n")).collect();
    let start = Instant::now();
    let list = bad(&format!("pipeline: p\ntasks:\n{tasks}"));
    assert_eq!(list.len(), 1_001);
    assert_eq!(list[1_000].message, "and 39000 more are not shown");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn groups_are_written_out_within_the_limit_of_edges() {
    let tasks = |members: usize, waiting: usize| {
        let members: String = (0..members).map(|i| format!("  m{i}: {{noop: true, group: g}}\n")).collect();
        let waiting: String = (0..waiting).map(|i| format!("  w{i}: {{noop: true, depends_on: g}}\n")).collect();
        format!("pipeline: p\ntasks:\n{members}{waiting}")
    };
    let start = Instant::now();
    assert_eq!(good(&tasks(500, 500)).edges.len(), 250_000);
    refused(&tasks(1_100, 1_000), "3:3", "the tasks have 1100000 upstreams", "split");
    refused(&tasks(30_000, 30_000), "3:3", "the tasks have 900000000 upstreams", "split");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn a_long_chain_of_pairs_is_followed_once() {
    let pairs: String = (1..20_000)
        .map(|i| format!("  t{i}: {{run: [x, \"{{{{ item }}}}{{{{ outputs.t0.n }}}}\"], depends_on: \"t{}[*]\", if: item > 0}}\n", i - 1))
        .collect();
    let start = Instant::now();
    let document = good(&format!("pipeline: p\ntasks:\n  t0: {{run: [x], for_each: [1, 2]}}\n{pairs}"));
    assert_eq!(document.edges.len(), 19_999);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_hundred_thousand_tasks_are_read_in_reasonable_time() {
    let mut text = "pipeline: p\nparams: {region: {type: string}}\ndefaults: {retries: 2, timeout: 5m, env: {A: b}}\ntasks:\n".to_owned();
    for i in 0..limits::MAX_TASKS_PER_PIPELINE {
        let upstreams: Vec<_> = (1..=10).filter_map(|d| i.checked_sub(d)).map(|u| format!("t{u}")).collect();
        writeln!(
            text,
            "  t{i}:\n    depends_on: [{}]\n    run: [python3, x.py, \"{{{{ params.region }}}}\", \"{i}\"]",
            upstreams.join(", ")
        )
        .unwrap();
    }
    let start = Instant::now();
    let document = good(&text);
    println!("{} tasks, {} edges, {} bytes: {:?}", document.tasks.len(), document.edges.len(), text.len(), start.elapsed());
    assert_eq!((document.pipeline.tasks.len(), document.edges.len()), (100_000, 999_945));
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn ten_thousand_tasks_of_every_kind_are_read_in_reasonable_time() {
    let mut text =
        "pipeline: p\nparams: {day: {type: string}}\ndefaults: {retries: 2, pool: x, expect: {records: {min: 1}}}\ntasks:\n".to_owned();
    for i in (0..10_000).step_by(5) {
        let group = i / 100;
        writeln!(
            text,
            "  t{i}:\n    group: g{group}\n    for_each: [a, b, c]\n    run: [x, \"{{{{ item }}}}\", \"{{{{ params.day }}}}\"]\n    max_parallel: 2
  t{}:\n    depends_on: [\"t{i}[*]\"]\n    http: {{url: \"https://x/{{{{ item }}}}\", method: POST, json: {{a: \"{{{{ params.day }}}}\", b: [1, 2]}}}}
  t{}:\n    depends_on: {{t{}: completed, t{i}: success}}\n    sql: {{connection: d, run: \"insert into t values ($1)\", bind: [\"{{{{ outputs.t{i}.n }}}}\"]}}
  t{}:\n    depends_on: g{group}\n    trigger_rule: none_failed\n    if: params.day != \"x\"\n    wait: {{file: \"/x/{i}\", settle: 5s}}
  t{}:\n    depends_on: [t{}]\n    container: {{image: x, args: [\"{i}\"], cpu: 1, memory: 64MiB}}",
            i + 1,
            i + 2,
            i + 1,
            i + 3,
            i + 4,
            i + 3,
        )
        .unwrap();
    }
    let start = Instant::now();
    let document = good(&text);
    println!("{} tasks, {} edges, {} bytes: {:?}", document.tasks.len(), document.edges.len(), text.len(), start.elapsed());
    assert_eq!((document.tasks.len(), document.edges.len()), (10_000, 2_000 * (1 + 2 + 20 + 1)));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}
