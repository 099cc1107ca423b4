"""Definitions: each option becomes its key, and what is wrong is told before a server is asked."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from collections.abc import Callable
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster import binary
from penstock import (
    Approve,
    BadInput,
    ChildRun,
    Client,
    Container,
    Deadline,
    Defaults,
    EventTrigger,
    Expect,
    FileTrigger,
    Http,
    Interval,
    Param,
    Pipeline,
    PipelineTrigger,
    Policy,
    Retries,
    Schedule,
    Secret,
    Sql,
    Statement,
    Task,
    UndefinedActionWarning,
    Wait,
)
from penstock._yaml import dump
from penstock.tasks import OPTIONS


def document_of(task: Task) -> Any:
    """Its part of the document."""
    return json.loads(json.dumps(task.to_document()))


ACTIONS: list[tuple[dict[str, Any], Any]] = [
    ({"run": ["a", "{{ item }}"]}, {"run": ["a", "{{ item }}"]}),
    ({"shell": "exit 0"}, {"shell": "exit 0"}),
    ({"noop": True}, {"noop": True}),
    ({"http": "http://h/"}, {"http": {"url": "http://h/"}}),
    (
        {"http": Http("http://h/", "POST", {"Authorization": Secret("TOKEN"), "X": 1}, json={"day": "{{ interval.date }}"}, success=[200, "3xx"], output="body")},
        {
            "http": {
                "url": "http://h/",
                "method": "POST",
                "headers": {"Authorization": {"secret": "TOKEN"}, "X": "1"},
                "json": {"day": "{{ interval.date }}"},
                "success": [200, "3xx"],
                "output": "body",
            }
        },
    ),
    ({"http": Http("http://h/", body="")}, {"http": {"url": "http://h/", "body": ""}}),
    ({"sql": Sql("dwh", "delete from t where d = $1", bind=["{{ interval.date }}"])}, {"sql": {"connection": "dwh", "run": "delete from t where d = $1", "bind": ["{{ interval.date }}"]}}),
    (
        {"sql": Sql("dwh", ["vacuum", Statement("insert into t values ($1)", [1])], transaction=False, output="row")},
        {"sql": {"connection": "dwh", "run": ["vacuum", {"sql": "insert into t values ($1)", "bind": [1]}], "transaction": False, "output": "row"}},
    ),
    (
        {"wait": Wait(file="/in/*.csv", settle="30s", every=timedelta(seconds=5), timeout="2h", on_timeout="skip")},
        {"wait": {"file": "/in/*.csv", "settle": "30s", "every": "5s", "timeout": "2h", "on_timeout": "skip"}},
    ),
    ({"wait": Wait(time=dt.time(6, 30))}, {"wait": {"time": "06:30"}}),
    ({"wait": Wait(time=dt.datetime(2024, 1, 1, tzinfo=timezone.utc))}, {"wait": {"time": "2024-01-01T00:00:00+00:00"}}),
    ({"wait": Wait(http="http://h/ready")}, {"wait": {"http": "http://h/ready"}}),
    ({"wait": Wait(sql=Sql("dwh", "select 1"))}, {"wait": {"sql": {"connection": "dwh", "run": "select 1"}}}),
    ({"pipeline": "crm/sync"}, {"pipeline": "crm/sync"}),
    ({"pipeline": Pipeline("crm")}, {"pipeline": "crm"}),
    ({"pipeline": ChildRun("crm", {"n": "{{ params.n }}"}, wait=False)}, {"pipeline": {"name": "crm", "params": {"n": "{{ params.n }}"}, "wait": False}}),
    ({"approve": "Load it?"}, {"approve": "Load it?"}),
    ({"approve": Approve("Load it?")}, {"approve": {"message": "Load it?"}}),
    ({"container": "etl:1"}, {"container": "etl:1"}),
    (
        {"container": Container("etl:1", ["python3"], ["a.py"], cpu=0.5, memory="512MiB", namespace="etl", service_account="s", pull="always")},
        {"container": {"image": "etl:1", "command": ["python3"], "args": ["a.py"], "cpu": 0.5, "memory": "512MiB", "namespace": "etl", "service_account": "s", "pull": "always"}},
    ),
]

OTHERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"depends_on": "a"}, {"depends_on": ["a"]}),
    ({"depends_on": ["a", Task("b"), "c[*]"]}, {"depends_on": ["a", "b", "c[*]"]}),
    ({"depends_on": {"a": "failed", Task("b"): "completed"}}, {"depends_on": {"a": "failed", "b": "completed"}}),
    ({"depends_on": ["a"], "trigger_rule": "all_done"}, {"depends_on": ["a"], "trigger_rule": "all_done"}),
    ({"if_": "params.full"}, {"if": "params.full"}),
    ({"branch": True}, {"branch": True}),
    ({"for_each": ["a", 1, {"k": "v"}], "max_parallel": 2, "max_failed": "1%"}, {"for_each": ["a", 1, {"k": "v"}], "max_parallel": 2, "max_failed": "1%"}),
    ({"for_each": []}, {"for_each": []}),
    ({"for_each": range(5)}, {"for_each": {"range": 5}}),
    ({"for_each": range(2, 10, 3)}, {"for_each": {"from": 2, "to": 10, "step": 3}}),
    ({"for_each": range(2, 10)}, {"for_each": {"from": 2, "to": 10}}),
    ({"for_each": "outputs.a.files"}, {"for_each": "outputs.a.files"}),
    ({"for_each": Task("a").output("files")}, {"depends_on": ["a"], "for_each": "outputs.a.files"}),
    ({"for_each": Task("a"), "depends_on": ["b", "a"]}, {"depends_on": ["b", "a"], "for_each": "items.a"}),
    ({"group": "loads"}, {"group": "loads"}),
    ({"teardown": True, "setup": Task("a"), "allow_failure": True}, {"teardown": True, "setup": "a", "allow_failure": True}),
    ({"pool": "dwh", "pool_slots": 2, "priority": -1, "queue": "big", "labels": {"gpu": "yes"}}, {"pool": "dwh", "pool_slots": 2, "priority": -1, "queue": "big", "labels": {"gpu": "yes"}}),
    ({"retries": 0, "max_lost": 0}, {"retries": 0, "max_lost": 0}),
    (
        {"retries": Retries(2, timedelta(seconds=90), 1.5, "1h", "full", ["timeout"], Policy(exit_codes=[2]))},
        {"retries": {"max": 2, "delay": "1m30s", "backoff": 1.5, "max_delay": "1h", "jitter": "full", "on": ["timeout"], "not_on": {"exit_codes": [2]}}},
    ),
    ({"timeout": timedelta(hours=1, milliseconds=5), "queue_timeout": "5m", "grace": "10s"}, {"timeout": "1h5ms", "queue_timeout": "5m", "grace": "10s"}),
    ({"env": {"A": "{{ params.x }}", "B": Secret("B"), "C": 1, "D": True}, "workdir": "jobs"}, {"env": {"A": "{{ params.x }}", "B": {"secret": "B"}, "C": "1", "D": "true"}, "workdir": "jobs"}),
    ({"expect": Expect(10, 20, 5, 0.01, "hold")}, {"expect": {"records": {"min": 10, "max": 20}, "rejected": {"max": 5, "max_ratio": 0.01}, "action": "hold"}}),
    ({"baseline": "weekday", "description": "What"}, {"baseline": "weekday", "description": "What"}),
]


@pytest.mark.parametrize(("options", "document"), ACTIONS)
def test_an_action_becomes_its_key(options: Any, document: Any) -> None:
    assert document_of(Task("t", **options)) == document


@pytest.mark.parametrize(("options", "document"), OTHERS)
def test_an_option_becomes_its_key(options: Any, document: Any) -> None:
    assert document_of(Task("t", noop=True, **options)) == {"noop": True, **document}


def test_every_option_is_tested() -> None:
    tested = {name for options, _ in [*ACTIONS, *OTHERS] for name in options}
    assert tested == set(OPTIONS)


def whole() -> Pipeline:
    return Pipeline(
        "insurance/daily_etl",
        description="Customers and claims",
        owner="data-team@example.com",
        tags=["insurance"],
        notify=["data-team"],
        timezone="Europe/Paris",
        schedule=Schedule("0 2 * * *", delay="5m", grace="10m", catchup="latest", overlap="queue", max_queued=10),
        deadline=Deadline(finish_by=dt.time(6)),
        triggers=[
            FileTrigger("landed", "/mnt/*.csv", settle="30s", every=timedelta(minutes=1), existing=False, debounce="30s"),
            FileTrigger("stored", "s3://landing/*.csv"),
            PipelineTrigger("after_crm", "crm_sync", when="success"),
            PipelineTrigger("after_erp", Pipeline("erp/sync")),
            PipelineTrigger("after_both", ["crm_sync", Pipeline("erp/sync")]),
            PipelineTrigger("after_any", ["crm_sync", "erp/sync"], when="any"),
            EventTrigger("api", "claims.ready", params={"region": "{{ event.payload.region }}", "n": 3, "full": True}),
        ],
        start_date=dt.date(2024, 1, 1),
        end_date="2024-12-31",
        depends_on_past=True,
        max_active_runs=1,
        max_active_tasks=8,
        run_timeout="4h",
        alert_queued_after="10m",
        baseline="weekday",
        params={"region": Param(str, "eu", ["eu", "us"], "Where"), "full": False, "n": 3, "x": Param("number")},
        workdir="jobs",
        env={"PGPASSWORD": Secret("WAREHOUSE_PASSWORD")},
        defaults=Defaults(retries=Retries(2, "10s"), timeout="30m", env={"A": "b"}, pool="dwh"),
        tasks=[Task("t", noop=True)],
    )


def test_every_option_of_a_pipeline_becomes_its_key() -> None:
    assert json.loads(json.dumps(whole().to_dict())) == {
        "pipeline": "insurance/daily_etl",
        "description": "Customers and claims",
        "owner": "data-team@example.com",
        "tags": ["insurance"],
        "notify": ["data-team"],
        "timezone": "Europe/Paris",
        "schedule": {"cron": "0 2 * * *", "delay": "5m", "grace": "10m", "catchup": "latest", "overlap": "queue", "max_queued": 10},
        "deadline": {"finish_by": "06:00"},
        "triggers": [
            {"name": "landed", "file": {"path": "/mnt/*.csv", "settle": "30s", "every": "1m", "existing": False}, "debounce": "30s"},
            {"name": "stored", "file": "s3://landing/*.csv"},
            {"name": "after_crm", "pipeline": {"name": "crm_sync", "when": "success"}},
            {"name": "after_erp", "pipeline": "erp/sync"},
            {"name": "after_both", "pipelines": ["crm_sync", "erp/sync"]},
            {"name": "after_any", "pipelines": {"names": ["crm_sync", "erp/sync"], "when": "any"}},
            {"name": "api", "event": "claims.ready", "params": {"region": "{{ event.payload.region }}", "n": "3", "full": "true"}},
        ],
        "start_date": "2024-01-01",
        "end_date": "2024-12-31",
        "depends_on_past": True,
        "max_active_runs": 1,
        "max_active_tasks": 8,
        "run_timeout": "4h",
        "alert_queued_after": "10m",
        "baseline": "weekday",
        "params": {
            "region": {"type": "string", "default": "eu", "enum": ["eu", "us"], "description": "Where"},
            "full": {"type": "bool", "default": False},
            "n": {"type": "int", "default": 3},
            "x": {"type": "number"},
        },
        "workdir": "jobs",
        "env": {"PGPASSWORD": {"secret": "WAREHOUSE_PASSWORD"}},
        "defaults": {"retries": {"max": 2, "delay": "10s"}, "timeout": "30m", "pool": "dwh", "env": {"A": "b"}},
        "tasks": {"t": {"noop": True}},
    }
    assert yaml.safe_load(whole().to_yaml()) == whole().to_dict()


def test_a_schedule_may_be_a_distance_or_a_text() -> None:
    assert Schedule(every=timedelta(minutes=15)).to_document() == {"every": "15m"}
    assert Schedule(["0 2 * * *", "0 6 * * 1-5"]).to_document() == {"cron": ["0 2 * * *", "0 6 * * 1-5"]}
    assert Pipeline("p", schedule="0 2 * * *", tasks=[Task("t", noop=True)]).to_dict()["schedule"] == "0 2 * * *"


def test_dependencies_may_be_drawn() -> None:
    a, b, c, d = (Task(id, noop=True) for id in "abcd")
    _ = a >> [b, c] >> d
    assert (list(b.upstreams), list(c.upstreams), list(d.upstreams)) == (["a"], ["a"], ["b", "c"])
    e = Task("e", noop=True).depends_on(a, b, on="failed").depends_on("c", paired=True)
    assert document_of(e)["depends_on"] == {"a": "failed", "b": "failed", "c[*]": "success"}


def test_tasks_made_within_a_pipeline_are_added() -> None:
    with Pipeline("p") as pipeline:
        a = Task("a", noop=True)
        with Pipeline("q") as other:
            Task("b", noop=True)
        c = Task("c", noop=True)
    Task("d", noop=True)
    assert (list(pipeline.tasks.values()), list(other.tasks)) == ([a, c], ["b"])


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: Task("Load"), "not a valid task id"),
    (lambda: Task("load\n"), "not a valid task id"),
    (lambda: Pipeline("a/b/c"), "not a valid pipeline name"),
    (lambda: Pipeline("p", params={"Region": "eu"}), "not a valid parameter"),
    (lambda: Task("t", run=["a"], shell="b"), "has run and shell"),
    (lambda: Task("t", depends_on="t"), "depends on itself"),
    (lambda: Task("t", depends_on={"a": "sucess"}), "no condition"),
    (lambda: Task("t", trigger_rule="all_sucess").to_document(), "no trigger rule"),  # type: ignore[arg-type]
    (lambda: Task("t", depends_on={"a": "failed"}, trigger_rule="all_done").to_document(), "keep one"),
    (lambda: Task("t", run="ls -l").to_document(), "list of a program"),
    (lambda: Task("t", timeout="5").to_document(), "not a duration"),
    (lambda: Task("t", timeout="1.5h").to_document(), "not a duration"),
    (lambda: Task("t", timeout="").to_document(), "not a duration"),
    (lambda: Task("t", timeout=timedelta(microseconds=1)).to_document(), "not a duration"),
    (lambda: Task("t", timeout=timedelta(seconds=-1)).to_document(), "not a duration"),
    (lambda: Task("t", queue="My Queue").to_document(), "not a valid queue"),
    (lambda: Http("h", body="a", json=1).to_document(), "a body and a json"),
    (lambda: Wait().to_document(), "none was given"),
    (lambda: Wait(file="a", time="b").to_document(), "file, time was given"),
    (lambda: Wait(time="b", settle="1s").to_document(), "of a file"),
    (lambda: Sql("c", ["a", "b"], bind=[1]).to_document(), "give each its own"),
    (lambda: Schedule().to_document(), "one of cron and every"),
    (lambda: Deadline().to_document(), "one of finish_by"),
    (lambda: EventTrigger("api", "Claims Ready").to_document(), "not a valid event name"),
    (lambda: EventTrigger("schedule", "e").to_document(), "choose another name"),
    (lambda: FileTrigger("a-b", "/x").to_document(), "not a valid trigger name"),
    (lambda: PipelineTrigger("a", []).to_document(), "names no pipeline"),
    (lambda: Pipeline("p", triggers=[EventTrigger("a", "x"), EventTrigger("a", "y")], tasks=[Task("t", noop=True)]).to_dict(), "trigger a: .*unique"),
    (lambda: Pipeline("p", start_date=dt.datetime(2024, 1, 1), tasks=[Task("t", noop=True)]).to_dict(), "no time zone"),
    (lambda: Pipeline("p", tasks=[Task("a"), Task("a")]), "has a task 'a' already"),
    (lambda: Interval.parse("2024-01-01"), "not an interval"),
    (lambda: Interval.parse("2024-01-02T00:00:00Z/2024-01-01T00:00:00Z"), "empty"),
]


@pytest.mark.parametrize(("make", "says"), WRONG)
def test_what_is_wrong_is_told_at_once(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        make()


def test_an_unknown_option_is_told_with_the_nearest() -> None:
    with pytest.raises(TypeError, match="did you mean 'retries'"):
        Task("t", retrys=2)  # type: ignore[call-arg]


def test_all_errors_of_a_pipeline_are_told_together() -> None:
    a, b = Task("a", noop=True), Task("b", noop=True)
    _ = a >> b >> a
    pipeline = Pipeline(
        "p",
        run_timeout="5",
        params={"n": Param(list)},  # type: ignore[arg-type]
        defaults=Defaults(queue="Q"),
        tasks=[a, b, Task("c", depends_on=[Task("d"), "e"], timeout="x", noop=True)],
    )
    with pytest.raises(BadInput) as wrong:
        pipeline.check()
    said = str(wrong.value).splitlines()
    assert said[0] == "pipeline p has 7 errors:"
    for part in (
        "'5' is not a duration",
        "parameter n: ",
        "defaults: 'Q' is not a valid queue name",
        "task c: 'x' is not a duration",
        "task c depends on d, which is no task of this pipeline: add it with add_tasks",
        "task c depends on e, which is no task of this pipeline: add the task",
        "in a circle: a -> b -> a",
    ):
        assert any(line.strip().startswith(part) or part in line for line in said), (part, said)


def test_a_long_chain_and_a_long_circle_are_no_trouble() -> None:
    chain = [Task(f"t{n}", noop=True) for n in range(5_000)]
    for above, below in zip(chain, chain[1:]):
        below.depends_on(above)
    pipeline = Pipeline("chain", tasks=chain)
    assert len(pipeline.to_dict()["tasks"]) == 5_000  # type: ignore[arg-type]
    chain[0].depends_on(chain[-1])
    with pytest.raises(BadInput, match="in a circle"):
        pipeline.to_dict()


def test_a_group_is_a_dependency() -> None:
    tasks = [Task("a", noop=True, group="extracts"), Task("b", noop=True, depends_on="extracts")]
    assert Pipeline("p", tasks=tasks).to_dict()["tasks"]


def test_a_task_without_an_action_is_a_noop_with_a_warning() -> None:
    pipeline = Pipeline("p", tasks=[Task("a"), Task("b", noop=True)])
    with pytest.warns(UndefinedActionWarning, match="task a of p says nothing"):
        assert pipeline.to_dict()["tasks"] == {"a": {"noop": True}, "b": {"noop": True}}


def test_a_check_asks_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PENSTOCK_ENDPOINT", raising=False)
    monkeypatch.setenv("PENSTOCK_BIN", str(binary()))
    assert Pipeline("p", tasks=[Task("a", noop=True)]).check() == []
    (said,) = Pipeline("p", tasks=[Task("a")]).check()
    assert "says nothing of what to do" in said
    with pytest.raises(BadInput, match=r"p\.yaml:\d+:\d+: error: unknown name `parms`"):
        Pipeline("p", tasks=[Task("a", run=["{{ parms.x }}"])]).check()


def test_a_check_without_a_server_and_the_program_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PENSTOCK_ENDPOINT", raising=False)
    monkeypatch.delenv("PENSTOCK_BIN", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    (said,) = Pipeline("p", tasks=[Task("a", noop=True)]).check()
    assert "only what this package knows was checked" in said


def test_what_is_written_is_what_the_program_reads(tmp_path: Path) -> None:
    hard = ["", "true", "a: b", "1", "é\n  x", "{ not a template }", "tab\there", "a\nb\n", "\u2028"]
    task = Task("t", run=["echo", *hard], env={f"V{n}": text for n, text in enumerate(hard)}, retries=Retries(1, backoff=1e5))
    Pipeline("hard", description="a\nb", tasks=[task, Task("s", shell="if true; then\n  echo 'x'\nfi\n")]).write(tmp_path / "p.yaml")
    done = subprocess.run([binary(), "run", "p.yaml", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "SUCCESS"


def test_the_whole_document_is_read_by_the_server(client: Client, needs: Callable[[str], None]) -> None:
    """Every action and option but those of time, which no server has yet, and an empty list."""
    needs("language")
    client.set_pool("dwh", 4)
    tasks = [Task("a", shell="exit 0"), Task("b", noop=True), Task("c", noop=True, for_each=["x", "y"])]
    for n, (options, _) in enumerate(ACTIONS):
        if options.get("pipeline") is None:
            tasks.append(Task(f"action{n}", **{**options, "for_each": ["x"]} if "{{ item }}" in str(options) else options))
    for n, (options, _) in enumerate(OTHERS):
        if "baseline" in options or "c[*]" in str(options) or options.get("for_each") == []:
            continue
        written: dict[str, Any] = {"depends_on": ["a"]} if isinstance(options.get("for_each"), str) else {}
        tasks.append(Task(f"other{n}", noop=True, **written, **options))
    common: Any = {"pipeline": "whole", "params": {"x": {"type": "string"}, "n": {"type": "int"}, "full": {"type": "bool"}}}
    shared = {task.id: task.to_document() for task in tasks[:3]}
    problems: list[str] = []
    for task in tasks[3:]:
        document = {**common, "tasks": {**shared, task.id: task.to_document()}}
        try:
            client.check(document)
        except BadInput as error:
            problems.append(f"{error}\n{dump(document)}")
    assert not problems, "\n".join(problems)
