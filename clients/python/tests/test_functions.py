"""Python functions as tasks: what the document says, what the runner does, and both on a real worker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import jobs_under_test as jobs
import pytest
import yaml
from cluster import HERE, LATE, environment
from penstock import BadInput, Client, Context, Error, Interval, Pipeline, State, Task, python, task
from penstock.functions import template

Needs = Callable[[str], None]


def test_the_document_hands_over_what_a_function_takes() -> None:
    tasks: Any = jobs.pipeline.to_dict()["tasks"]
    assert tasks["extract"] == {
        "description": "Reads the source.",
        "run": ["python3", "-m", "penstock.run", "jobs_under_test:extract"],
        "retries": 1,
    }
    assert tasks["transform"]["env"] == {
        "TASK_ARG_factor": "{{ (params.n * 2) | tojson }}",
        "TASK_ARG_label": '{{ ("n=" ~ (params.n) ~ "!") | tojson }}',
        "TASK_ARG_constant": '{"a": [1, null]}',
        "TASK_OUTPUTS_extract": "{{ outputs.extract | default({}) | tojson }}",
    }
    assert tasks["load"]["env"] == {"TASK_OUTPUTS_transform": "{{ outputs.transform | default({}) | tojson }}"}
    assert tasks["report"]["env"] == {"TASK_OUTPUTS_load": "{{ outputs.load | default({}) | tojson }}"}


def test_a_task_is_still_its_function() -> None:
    found = jobs.extract("us", Interval.day(date(2024, 1, 31)), Context({"PENSTOCK_TASK_ID": "extract"}))
    assert found["path"] == "/data/us/2024-01-31"
    assert jobs.square(3) == {"value": 9}


def test_a_mapped_function_gets_its_item() -> None:
    mapped = Task("t", run=python("m:f"), for_each=[1, 2])
    assert mapped.to_document()["env"] == {"TASK_ARG_item": "{{ item | tojson }}"}
    with pytest.raises(BadInput, match="no for_each"):
        Pipeline("p", tasks=[jobs.square]).to_dict()


def test_ones_own_env_wins() -> None:
    made = Task("t", run=python("m:f", args={"a": 1}), env={"TASK_ARG_a": "2", "B": "c"}).to_document()
    assert made["env"] == {"TASK_ARG_a": "2", "B": "c"}


def of(function: Callable[..., Any], **options: Any) -> Task:
    """A task of a function, as if it stood at the top of a module."""
    function.__qualname__ = function.__name__
    made: Task = task(**options)(function)
    return made


def test_what_a_function_cannot_be_given_is_told() -> None:
    def positional(a: int, /) -> None: ...
    def keywords(**all: int) -> None: ...
    def one(other: int) -> None: ...

    with pytest.raises(BadInput, match="write out what it takes"):
        of(positional)
    with pytest.raises(BadInput, match="write out what it takes"):
        of(keywords)
    with pytest.raises(BadInput, match="inside another function"):
        task(lambda: None)
    with pytest.raises(BadInput, match="names no function"):
        python("jobs.extract")
    with pytest.raises(BadInput, match="task one: .*'other', which is no parameter of the pipeline and no task above"):
        Pipeline("p", tasks=[of(one), Task("other", noop=True)]).to_dict()
    with pytest.raises(BadInput, match="both a parameter and a task above"):
        Pipeline("p", params={"other": 1}, tasks=[of(one, depends_on="other"), Task("other", noop=True)]).to_dict()
    with pytest.raises(BadInput, match="takes no argument 'odd'"):
        Pipeline("p", tasks=[of(one, args={"odd": 1, "other": 2})]).to_dict()


def test_a_task_far_above_is_found_by_name() -> None:
    def last(first: dict[str, Any]) -> None: ...

    chain = [Task("first", noop=True), Task("second", noop=True, depends_on="first"), of(last, depends_on=["second"])]
    tasks: Any = Pipeline("p", tasks=chain).to_dict()["tasks"]
    assert list(tasks["last"]["env"]) == ["TASK_OUTPUTS_first"]


def test_values_of_arguments_become_templates() -> None:
    assert template({"a": [1, "x"]}) == '{"a": [1, "x"]}'
    assert template("{{ x }}") == "{{ (x) | tojson }}"
    assert template({"a": ["{{ x }}", {"b": None}], "c": True}) == '{{ ({ "a": [(x), { "b": none }], "c": true }) | tojson }}'
    with pytest.raises(BadInput, match="not closed"):
        template("{{ x")
    with pytest.raises(BadInput, match="values only"):
        template("{% if x %}")


def test_a_script_names_itself_as_its_module(tmp_path: Path) -> None:
    shutil.copy(HERE / "jobs_under_test.py", tmp_path / "daily.py")
    done = subprocess.run([sys.executable, "daily.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert yaml.safe_load(done.stdout)["tasks"]["extract"]["run"][-1] == "daily:extract"


# The runner, without a server.


class Ran:
    """What came of a function that was run as a worker runs it."""

    def __init__(self, folder: Path, target: str, env: Mapping[str, str], interval: bool = True) -> None:
        told = {
            "PENSTOCK_RUN_ID": "r",
            "PENSTOCK_PIPELINE": "default/p",
            "PENSTOCK_TASK_ID": "t",
            "PENSTOCK_ATTEMPT": "2",
            "PENSTOCK_FENCE": "7",
            "PENSTOCK_IDEMPOTENCY_KEY": "k",
            "PENSTOCK_PARAMS": '{"region": "us", "n": 3}',
            "PENSTOCK_OUTPUT": str(folder / "output"),
            "PENSTOCK_ITEMS": str(folder / "items"),
        }
        if interval:
            told |= {"PENSTOCK_INTERVAL_START": "2024-01-31T00:00:00.000Z", "PENSTOCK_INTERVAL_END": "2024-02-01T00:00:00.000Z"}
            told["PENSTOCK_INTERVAL_DATE"] = "2024-01-31"
        argv = [sys.executable, "-m", "penstock.run", target]
        done = subprocess.run(argv, cwd=HERE, env=environment({**told, **env}), capture_output=True, text=True, check=False)
        self.code, self.stdout, self.stderr = done.returncode, done.stdout, done.stderr
        output = folder / "output"
        self.reported = [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []


def test_a_function_is_given_its_values_and_its_result_is_put_out(tmp_path: Path) -> None:
    ran = Ran(tmp_path, "jobs_under_test:extract", {})
    assert ran.code == 0, ran.stderr
    assert ran.stdout == "extracting us\n"
    assert ran.reported == [
        {"metrics": {"records_in": 10, "records_out": 9, "records_rejected": 1}},
        {"output": {"path": "/data/us/2024-01-31", "task": "t", "hard": 'it\'s "<é>"\n{{ }}'}},
    ]
    env = {"TASK_ARG_factor": "6", "TASK_ARG_label": '"x"', "TASK_ARG_constant": "null", "TASK_OUTPUTS_extract": '{"path": "p"}'}
    (tmp_path / "output").unlink()
    ran = Ran(tmp_path, "jobs_under_test:transform", env)
    assert ran.reported == [{"output": {"extract": {"path": "p"}, "factor": 6, "label": "x", "constant": None, "n": 3, "missing": "default"}}], ran.stderr


def test_how_a_function_ends_is_how_the_task_ends(tmp_path: Path) -> None:
    def run(name: str) -> Ran:
        (tmp_path / "output").unlink(missing_ok=True)
        return Ran(tmp_path, f"jobs_under_test:{name}", {})

    skipped, failed, raised, left = run("skips"), run("fails"), run("raises"), run("exits")
    assert (skipped.code, skipped.reported) == (0, [{"skip": "nothing came today"}])
    assert (failed.code, failed.reported) == (1, [{"fail": "the file has no header"}])
    assert (raised.code, raised.reported) == (1, [])
    assert raised.stderr.endswith("ValueError: no such column\n") and "Traceback" in raised.stderr
    assert left.code == 3
    wrong = run("returns_a_list")
    assert wrong.code == 1 and "return a dict of outputs" in wrong.stderr
    missing = run("wants")
    assert missing.code == 1 and "takes 'unknown', which is none of what there is" in missing.reported[0]["fail"]
    assert run("no_such").code == 1
    assert run("makes_items").code == 0
    assert (tmp_path / "items").read_text() == '1\n{"a":2}\n"x"\n'


def test_a_function_that_is_stopped_tidies_up(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "penstock.run", "jobs_under_test:sleeps"]
    env = environment({"PENSTOCK_PARAMS": '{"region": "eu"}'})
    with subprocess.Popen(argv, cwd=HERE, env=env, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "sleeping\n"
        child.send_signal(signal.SIGTERM)
        assert child.stdout.readline() == "tidied up\n"
        assert child.wait(LATE) == 128 + signal.SIGTERM


def test_a_module_that_asks_the_cluster_when_it_is_imported_is_told(tmp_path: Path) -> None:
    (tmp_path / "careless.py").write_text(
        "from penstock import Pipeline, Task\n\ndef f() -> None: ...\n\nPipeline('p', tasks=[Task('t', noop=True)]).submit()\n"
    )
    argv = [sys.executable, "-m", "penstock.run", "careless:f"]
    done = subprocess.run(argv, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "its top level asks the cluster" in done.stderr


# `current`


def test_a_script_reads_what_it_is_told_and_reports(tmp_path: Path) -> None:
    output = tmp_path / "output"
    context = Context(
        {
            "PENSTOCK_TASK_ID": "load[dwh]",
            "PENSTOCK_ATTEMPT": "3",
            "PENSTOCK_FENCE": "18446744073709551615",
            "PENSTOCK_PARAMS": '{"region": "eu"}',
            "PENSTOCK_OUTPUT": str(output),
            "PENSTOCK_INTERVAL_START": "2024-01-31T01:00:00.5Z",
            "PENSTOCK_INTERVAL_END": "2024-02-01T01:00:00Z",
        }
    )
    assert (context.is_a_task, context.task_id, context.attempt, context.fence) == (True, "load[dwh]", 3, 2**64 - 1)
    assert context.params == {"region": "eu"}
    assert context.interval is not None and context.interval.start.isoformat() == "2024-01-31T01:00:00.500000+00:00"
    with pytest.raises(Error, match="PENSTOCK_RUN_ID is not set"):
        _ = context.run_id
    context.records(out=5)
    context.metrics({"rows.per-s": 2.5}, lag=1)
    context.outputs(path=Path("/a"), day=date(2024, 1, 31))
    with pytest.raises(SystemExit) as skipped:
        context.skip("nothing")
    with pytest.raises(SystemExit) as failed:
        context.fail("bad")
    assert (skipped.value.code, failed.value.code) == (0, 1)
    assert [json.loads(line) for line in output.read_text().splitlines()] == [
        {"metrics": {"records_out": 5}},
        {"metrics": {"rows.per-s": 2.5, "lag": 1}},
        {"output": {"path": "/a", "day": "2024-01-31"}},
        {"skip": "nothing"},
        {"fail": "bad"},
    ]
    with pytest.raises(BadInput, match="no finite number"):
        context.metrics(x=float("nan"))
    with pytest.raises(BadInput, match="is not JSON"):
        context.outputs(x=object())
    with pytest.raises(Error, match="PENSTOCK_ITEMS is not set"):
        context.items([1])


def test_outside_of_a_task_reports_go_nowhere() -> None:
    context = Context({})
    context.records(out=1)
    context.outputs(a=1)
    assert context.items([1]) == 1
    assert (context.params, context.interval, context.is_a_task) == ({}, None, False)


# On a real worker.


@pytest.fixture
def deployed(code: Path) -> Path:
    shutil.copy(HERE / "jobs_under_test.py", code / "jobs_under_test.py")
    return code


def test_functions_run_on_a_worker(client: Client, deployed: Path) -> None:
    """Without outputs of others, which need `tojson`."""
    pipeline = Pipeline(
        "functions_alone",
        params={"region": "eu"},
        tasks=[
            jobs.extract,
            *[Task(name, run=python(f"jobs_under_test:{name}")) for name in ("skips", "fails", "raises")],
            Task("sleeps", run=python("jobs_under_test:sleeps"), depends_on="skips"),
        ],
    )
    info = pipeline.submit(interval=Interval.day(date(2024, 1, 31)), client=client).wait(LATE)
    assert info.tasks["extract"].outputs == {"path": "/data/eu/2024-01-31", "task": "extract", "hard": 'it\'s "<é>"\n{{ }}'}
    assert info.tasks["extract"].metrics == {"records_in": 10, "records_out": 9, "records_rejected": 1}
    assert (info.tasks["skips"].state, info.tasks["skips"].reason) == (State.SKIPPED, "task")
    assert (info.tasks["fails"].state, info.tasks["fails"].reason, info.tasks["fails"].detail) == (State.FAILED, "task", "the file has no header")
    assert info.tasks["raises"].reason == "exit_code" and "ValueError: no such column" in info.tasks["raises"].detail


def test_a_cancelled_function_tidies_up(client: Client, deployed: Path) -> None:
    pipeline = Pipeline("sleeper", params={"region": "eu"}, tasks=[Task("sleeps", run=python("jobs_under_test:sleeps"))])
    run = pipeline.submit(client=client)
    assert next(run.logs("sleeps", follow=True)).text == "sleeping"
    run.cancel()
    assert run.wait(LATE).state is State.CANCELLED
    assert "tidied up" in [line.text for line in run.logs("sleeps")]


def test_outputs_reach_the_functions_below(client: Client, deployed: Path, needs: Needs) -> None:
    needs("tojson")
    info = jobs.pipeline.submit(interval=Interval.day(date(2024, 1, 31)), client=client).result(LATE)
    extracted = {"path": "/data/eu/2024-01-31", "task": "extract", "hard": 'it\'s "<é>"\n{{ }}'}
    assert info.tasks["transform"].outputs == {
        "extract": extracted,
        "factor": 6,
        "label": "n=3!",
        "constant": {"a": [1, None]},
        "n": 3,
        "missing": "default",
    }
    assert info.tasks["load"].outputs == {"n": 3, "factor": 6, "attempt": 1}
    assert info.tasks["report"].outputs == {"seen": {"load": {"n": 3, "factor": 6, "attempt": 1}}}


def test_functions_are_mapped_over_items(client: Client, deployed: Path, needs: Needs) -> None:
    needs("language")
    needs("tojson")
    makes = Task("makes", run=python("jobs_under_test:makes_items"))
    each = Task("each", run=python("jobs_under_test:square"), for_each=[2, 3])
    seen = Task("seen", shell='test "$V" = "[4,9]" || test "$V" = "[4, 9]"', env={"V": each.output("value")}, depends_on=[each])
    over = Task("over", shell="exit 0", for_each=makes)
    info = Pipeline("mapped", tasks=[makes, each, seen, over]).submit(client=client).result(LATE)
    assert {id for id in info.tasks if id.startswith(("each[", "over["))} == {"each[0]", "each[1]", "over[0]", "over[1]", "over[2]"}
    assert info.tasks["each[1]"].outputs == {"value": 9}


def test_the_environment_of_the_tests_is_not_a_tasks() -> None:
    assert "PENSTOCK_TASK_ID" not in os.environ
