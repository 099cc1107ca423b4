//! Text that is not YAML, or not the part of it that is read.

use super::{good, refused, refused_at_top, refused_in_task};

#[test]
fn yaml_that_is_not_a_tree_of_texts_is_refused() {
    refused("", "1:1", "the document is empty", "`pipeline`");
    refused("# only a note\n", "1:1", "the document is empty", "`tasks`");
    refused_at_top("owner: a\nowner: b", "2:1", "duplicate key `owner`", "line 1");
    refused_in_task("env: {A: 1, B: 2, A: 3}", "4:23", "duplicate key `A`", "line 4");
    refused_at_top("owner: !!str 5", "1:8", "tags (`!…`) are not supported", "quotes");
    refused_at_top("owner: !secret x", "1:8", "tags", "remove");
    refused("pipeline: p\ntasks: {a: {noop: true}}\n---\npipeline: q\n", "3:1", "a second document", "one pipeline per file");
    refused_in_task("env: {1: x}", "4:11", "the key `1` is not text", "\"1\"");
    refused_in_task("env: {true: x}", "4:11", "the key `true` is not text", "\"true\"");
    refused_in_task("env: {[a]: x}", "4:11", "a list or mapping is used as a key", "quotes");
    refused_in_task("workdir: {{ params.x }}", "4:15", "a list or mapping is used as a key", "\"{{ … }}\"");
    refused_in_task("env: {<<: {A: x}}", "4:11", "merge keys", "defaults");
    refused_at_top("owner: *who", "1:8", "there is no anchor `&who` above", "&who");
    refused_at_top("tags: &t [*t]", "1:11", "names a value that contains it", "itself");
    refused_at_top("owner: \"a\\0b\"", "1:8", "control character U+0000", "\\t");
    refused_at_top("owner: \"a\\e[1m\"", "1:8", "control character U+001B", "\\t");
    refused_at_top("owner: a\u{0}b", "1:9", "control character U+0000", "remove");
    refused("pipeline: p # é\u{7f}\n", "1:16", "control character U+007F", "remove");
    refused("%YAML 1.1\n---\npipeline: p\n", "1:1", "not valid YAML", "remove the line");
}

#[test]
fn syntax_errors_have_a_place_and_a_hint() {
    refused("pipeline: p\ntasks:\n\ta: {noop: true}\n", "3:2", "not valid YAML", "replace the tab");
    refused("pipeline: p\ntasks: {a: {noop: true}\n", "2:8", "not valid YAML", "closed");
    refused("pipeline: \"p\ntasks: 1\n", "1:11", "unclosed quote", "close the text");
    refused("pipeline: p: q\n", "1:12", "not valid YAML", "colon");
    refused("pipeline: p\ntasks:\n  a: {noop: true}\n b: 1\n", "4:2", "not valid YAML", "same column");
    refused("owner: @me\n", "1:8", "not valid YAML", "quotes");
    refused("owner: \"\\q\"\n", "1:8", "escape", "\\\\");
}

#[test]
fn an_aliased_value_is_read_wherever_it_is_named() {
    let text = "pipeline: p\ntasks:\n  a: {run: &cmd [x, y], retries: &r {max: 4}}\n  b: {run: *cmd, retries: *r}\n";
    let p = good(text).pipeline;
    assert_eq!(p.tasks["a"], p.tasks["b"]);
    refused("pipeline: p\nowner: &o [x]\ntasks: {a: {noop: true}}\n", "2:11", "found a list", "");
    let text = "pipeline: p\ntasks:\n  a: {run: &c [x, y]}\n  b: {run: [x], timeout: *c}\n";
    refused(text, "4:26", "`timeout` must be a duration, found a list", "");
    let text = "pipeline: p\ntasks:\n  a: {noop: true, env: &e {1A: x}}\n  b: {noop: true, env: *e}\n";
    refused(text, "3:28", "not a valid variable name", "");
}
