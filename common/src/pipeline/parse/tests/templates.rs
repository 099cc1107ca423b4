//! What templates and expressions may name, and where.

use super::{bad, good, refused, refused_in_task};

#[test]
fn templates_are_compiled_and_their_names_checked() {
    refused_in_task("run: [x, \"{{ a\"]", "4:14", "this is not a valid template", "'{{'");
    refused_in_task("run: [x, \"{% for %}\"]", "4:14", "this is not a valid template", "");
    refused_in_task("run:\n      - x\n      - |\n        one\n        {{ b. }}", "7:9", "(line 2 of the text)", "");
    refused_in_task("workdir: \"{{ regoin }}\"", "4:14", "unknown name `regoin` in a template", "`params.NAME`");
    refused_in_task("env: {A: \"{{ param.x }}\"}", "4:14", "unknown name `param` in a template", "did you mean `params`?");
    refused_in_task("env: {A: \"{{ ds }}\"}", "4:14", "unknown name `ds`", "interval.date");
    refused_in_task("env: {A: \"{{ params.x }}\"}", "4:14", "no parameter `x`", "declare it");
    refused_in_task("env: {A: \"{{ outputs.a.x }}\"}", "4:14", "cannot use its own outputs", "ended");
    refused_in_task("env: {A: \"{{ outputs.b.x }}\"}", "4:14", "there is no task `b`", "outputs.TASK.KEY");
    refused_in_task("shell: 'echo {{ x }}'", "4:12", "must not contain a template", "env: {X:");
    refused_in_task("shell: 'echo {% x'", "4:12", "must not contain a template", "env: {X:");
    refused_in_task(&format!("run: [x, \"{{{{ {}1 }}}}\"]", "-".repeat(100_000)), "4:14", "too long", "2048 bytes");
    good("pipeline: p\ntasks: {a: {shell: 'echo ${#x} $(({ 1 + 2 }))'}}\n");
    good(
        "pipeline: p\ntasks: {a: {run: [x, \"{{ run.id }}{{ interval.date }}{{ task.attempt }}{{ params['x'] }}{{ range(2)|join }}\"]}}\n",
    );
}

#[test]
fn outputs_are_used_from_upstream_only() {
    let text = |using: &str| {
        format!(
            "pipeline: p\ntasks:\n  a: {{noop: true}}\n  b: {{noop: true, depends_on: a}}\n  side: {{noop: true}}\n  c:\n    depends_on: b\n    \
             run: [x, \"{{{{ {using} }}}}\"]\n"
        )
    };
    good(&text("outputs.a.path"));
    good(&text("outputs.b.path"));
    refused(&text("outputs.side.path"), "8:14", "`side`, which is not upstream", "add `side` to the `depends_on` of `c`");
    let list =
        bad("pipeline: p\nenv: {A: \"{{ outputs.a.x }}\"}\ntasks:\n  a: {run: [x]}\n  b: {run: [x]}\n  c: {run: [x], env: {A: own}}\n");
    assert_eq!(list.len(), 1, "a template of the defaults is told of once: {list:?}");
    let list = bad("pipeline: p\ntasks:\n  a: {run: [x, \"{{ outputs.b.x }}\"], depends_on: [nope]}\n  b: {noop: true}\n");
    assert_eq!(list.len(), 1, "what is upstream of a missing task is not known: {list:?}");
}

#[test]
fn outputs_of_a_mapped_task_are_used_as_a_list() {
    good("pipeline: p\ntasks:\n  a: {run: [x], for_each: [1]}\n  b: {run: [x, \"{{ outputs.a.n | sum }}\"], depends_on: a}\n");
}

#[test]
fn an_earlier_run_is_read_by_name() {
    good(
        "pipeline: p\ntasks:\n  a: {run: [x, \"{{ previous.outputs.a.n }}{{ previous.interval.end }}{{ previous.outputs.b.n }}\"]}\n  b: {noop: true}\n",
    );
    refused_in_task(
        "workdir: \"{{ previous.outputs.b.x }}\"",
        "4:14",
        "there is no task `b` whose earlier outputs",
        "previous.outputs.TASK.KEY",
    );
    refused_in_task("workdir: \"{{ previous.output.a.x }}\"", "4:14", "`previous` has no `output`", "did you mean `outputs`?");
    refused_in_task("workdir: \"{{ previous.interval.begin }}\"", "4:14", "`previous.interval` has no `begin`", "date, end, start");
    refused_in_task("workdir: \"{{ interval.ds }}\"", "4:14", "`interval` has no `ds`", "date, end, start");
    refused_in_task("workdir: \"{{ run.name }}\"", "4:14", "`run` has no `name`", "id, trigger");
}

#[test]
fn names_of_other_tools_are_known() {
    refused_in_task("workdir: \"{{ execution_date }}\"", "4:14", "unknown name `execution_date`", "interval.start");
    refused_in_task("workdir: \"{{ ti.x }}\"", "4:14", "unknown name `ti`", "outputs.TASK.KEY");
    refused_in_task("workdir: \"{{ matrix.x }}\"", "4:14", "unknown name `matrix`", "item");
    refused_in_task("workdir: \"{{ secrets.x }}\"", "4:14", "unknown name `secrets`", "{secret: NAME}");
}
