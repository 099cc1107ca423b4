"""Schedules, triggers, events and backfills, against a real coordinator and worker."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import penstock.aio
import pytest
from cluster import LATE, Cluster, eventually
from penstock import (
    AlreadyExists,
    BackfillFailed,
    BadInput,
    Client,
    EventTrigger,
    FileTrigger,
    Interval,
    NotFound,
    NotPossible,
    Param,
    Pipeline,
    PipelineTrigger,
    RunInfo,
    Schedule,
    State,
    Task,
    _blake3,
)

MONTH = [Interval.day(date(2024, 1, day)) for day in range(1, 32)]


def runs_of(client: Client, pipeline: str, trigger: str) -> list[RunInfo]:
    return [run for run in client.runs(pipeline) if run.trigger == trigger]


def ended(client: Client, pipeline: str, trigger: str, count: int = 1) -> list[RunInfo]:
    """Its runs by such a trigger, when so many have ended."""

    def ask() -> list[RunInfo] | None:
        found = [run for run in runs_of(client, pipeline, trigger) if run.state.is_terminal]
        return found if len(found) >= count else None

    return eventually(f"{count} runs of {pipeline} by {trigger} have ended", ask)


def daily(name: str, *, run: str = "exit 0", schedule: str | Schedule | None = "0 0 * * *") -> Pipeline:
    """A pipeline of every day, whose schedule never comes: only backfills run it."""
    return Pipeline(name, schedule=schedule, end_date="2024-12-31", tasks=[Task("load", shell=run)])


def test_a_schedule_is_written_registered_and_read_back(client: Client) -> None:
    pipeline = Pipeline(
        "py_nightly",
        timezone="Europe/Paris",
        schedule=Schedule(cron=["0 2 * * *", "0 14 * * 1-5"], catchup="none", overlap="skip", grace="10m", delay=timedelta(minutes=30), max_queued=7),
        start_date=date(2024, 1, 1),
        end_date=datetime(2099, 12, 31, tzinfo=timezone.utc),
        depends_on_past=True,
        params={"region": "eu"},
        triggers=[
            FileTrigger("landed", "/tmp/penstock-never/*.csv", settle="30s", every="1m", existing=True, params={"region": "us"}, debounce="5s"),
            PipelineTrigger("after", "crm_sync", when="failure"),
            PipelineTrigger("after_both", ["crm_sync", "erp_sync"], when="any", debounce=timedelta(seconds=1)),
            EventTrigger("api", "py.nightly", params={"region": "{{ event.payload.region }}"}),
        ],
        tasks=[Task("load", noop=True)],
    )
    registered = client.register(pipeline.to_yaml())
    assert registered.created and not pipeline.register(client).created
    found = client.pipeline("py_nightly").definition
    assert found["schedule"] == {
        **found["schedule"],
        "cron": ["0 2 * * *", "0 14 * * 1-5"],
        "catchup": "none",
        "overlap": "skip",
        "grace": "10m",
        "delay": "30m",
        "max_queued": 7,
    }
    assert found["depends_on_past"] is True

    triggers = {trigger.name: trigger for trigger in client.triggers("py_nightly")}
    assert {name: trigger.kind for name, trigger in triggers.items()} == {
        "schedule": "schedule",
        "landed": "file",
        "after": "pipelines",
        "after_both": "pipelines",
        "api": "event",
    }
    assert triggers["api"].of == "py.nightly" and triggers["landed"].of == "/tmp/penstock-never/*.csv"
    assert "crm_sync" in triggers["after_both"].of and "erp_sync" in triggers["after_both"].of
    assert {trigger.pipeline for trigger in client.triggers()} >= {triggers["api"].pipeline}

    schedule = client.schedule("py_nightly", from_="2024-03-30", to=date(2024, 4, 1))
    assert (schedule.zone, schedule.stopped) == ("Europe/Paris", "")
    assert [due.date for due in schedule.intervals] == sorted(due.date for due in schedule.intervals)
    # The clock goes forward on the 31st.
    across = next(due for due in schedule.intervals if due.local_end.startswith("2024-03-31T03:00"))
    assert across.local_end.startswith("2024-03-31T03:00:00+02:00")
    assert across.due_at == across.interval.end + timedelta(minutes=30)
    assert len(client.schedule("py_nightly", limit=3).intervals) == 3
    with pytest.raises(BadInput, match="no time zone"):
        client.schedule("py_nightly", from_=datetime(2024, 1, 1))
    with pytest.raises(NotFound):
        client.schedule("py_no_such")


def test_a_schedule_starts_runs_is_paused_and_rewound(client: Client) -> None:
    pipeline = Pipeline("py_steady", schedule=Schedule(every="1s", catchup="none"), tasks=[Task("load", noop=True)])
    pipeline.register(client)
    run = ended(client, "py_steady", "schedule")[0]
    assert run.interval is not None and run.interval.end - run.interval.start == timedelta(seconds=1)
    assert client.pause_trigger("py_steady", note="a look") and not client.pause_trigger("py_steady")
    paused = client.schedule("py_steady").paused["schedule"]
    assert (paused.by, paused.note) == ("tests", "a look")
    assert [trigger.paused is not None for trigger in client.triggers("py_steady")] == [True]
    eventually("intervals are skipped", lambda: client.schedule("py_steady").skipped.get("paused"))
    rewound = client.rewind("py_steady", datetime(2099, 1, 1, tzinfo=timezone.utc), note="not in this century")
    assert rewound.changed and rewound.next_begins == datetime(2099, 1, 1, tzinfo=timezone.utc)
    assert client.schedule("py_steady").next_begins == rewound.next_begins
    assert not client.rewind("py_steady", "2099-01-01T00:00Z").changed
    assert client.resume_trigger("py_steady") and not client.resume_trigger("py_steady")
    pipeline.unregister(client=client)


def test_an_event_starts_runs_once(client: Client) -> None:
    given: dict[str, dict[str, str | int]] = {"py_hears": {}, "py_hears_too": {"region": "{{ event.payload.where | upper }}", "n": 5}}
    for name, params in given.items():
        trigger = EventTrigger("ready", "py.claims.ready", params=params)
        Pipeline(name, params={"region": Param(str, default="eu"), "n": 3}, triggers=[trigger], tasks=[Task("t", noop=True)]).register(client)
    emitted = client.emit("py.claims.ready", {"region": "us", "where": "asia", "more": [1]}, id="py-batch-1")
    assert emitted.id == "py-batch-1"
    assert client.emit("py.claims.ready", {"region": "us", "where": "asia", "more": [1]}, id="py-batch-1") == emitted
    with pytest.raises(AlreadyExists):
        client.emit("py.claims.ready", {"region": "eu"}, id="py-batch-1")
    (run,) = ended(client, "py_hears", "event")
    assert (run.state, run.params, run.source) == (State.SUCCESS, {"region": "us", "n": 3}, "py-batch-1")
    (run,) = ended(client, "py_hears_too", "event")
    assert run.params == {"region": "ASIA", "n": 5}

    assert client.pause_trigger("py_hears", "ready") and client.pause_trigger("py_hears_too", "ready")
    assert [trigger.paused is not None for trigger in client.triggers("py_hears")] == [True]
    assert client.resume_trigger("py_hears", "ready") and client.resume_trigger("py_hears_too", "ready")
    second = client.emit("py.claims.ready")
    assert second.number > emitted.number and second.id != emitted.id
    ended(client, "py_hears", "event", 2)

    client.emit("py.nobody.waits", {"a": 1}, id="py-dead")
    dead = eventually("it is dead", lambda: [event for event in client.dead_events(limit=1000) if event.event.get("id") == "py-dead"])
    assert (dead[0].pipeline, dead[0].event["payload"]) == ("", {"a": 1}) and dead[0].why
    with pytest.raises(BadInput, match="not a valid event name"):
        client.emit("Claims Ready")
    with pytest.raises(BadInput, match="payload"):
        client.emit("py.claims.ready", float("nan"))


def call(cluster: Cluster, pipeline: str, token: str) -> int:
    """What the webhook `ready` of a pipeline answers to a call with this token."""
    asked = urllib.request.Request(
        f"{cluster.http}/api/v1/hooks/default/{pipeline}/ready",
        data=b'{"region": "us"}',
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=LATE) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code


def test_a_webhook_takes_the_newest_token_until_it_is_revoked(client: Client, cluster: Cluster) -> None:
    hears = EventTrigger("ready", "py.hook.ready")
    Pipeline("py_hook", params={"region": "eu"}, triggers=[hears], tasks=[Task("t", noop=True)]).register(client)
    first = client.new_trigger_token("py_hook", "ready", note="for the upstream team")
    assert call(cluster, "py_hook", first) // 100 == 2
    (run,) = ended(client, "py_hook", "event")
    assert run.params == {"region": "us"}

    async def replaced() -> str:
        async with penstock.aio.Client(cluster.endpoint, by="aio") as aio:
            return await aio.new_trigger_token("py_hook", "ready")

    second = asyncio.run(replaced())
    assert second != first
    assert (call(cluster, "py_hook", first), call(cluster, "py_hook", second) // 100) == (401, 2)
    client.revoke_trigger_token("py_hook", "ready")
    assert call(cluster, "py_hook", second) // 100 == 4

    async def revoked() -> None:
        async with penstock.aio.Client(cluster.endpoint, by="aio") as aio:
            assert call(cluster, "py_hook", await aio.new_trigger_token("py_hook", "ready")) // 100 == 2
            await aio.revoke_trigger_token("py_hook", "ready")

    asyncio.run(revoked())
    with pytest.raises(NotPossible):
        client.new_trigger_token("py_hook", "no_such")


def test_the_digest_of_a_token_is_blake3() -> None:
    """The first of the authors' test vectors: the bytes 0, 1, 2, … of some length."""
    known = {
        0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    }
    assert {length: _blake3.digest(bytes(range(length))).hex() for length in known} == known
    with pytest.raises(ValueError):
        _blake3.digest(bytes(65))


def test_a_run_that_ends_and_a_file_start_runs(client: Client, tmp_path: Path) -> None:
    above = Pipeline("py_above", tasks=[Task("t", noop=True)])
    Pipeline("py_below", triggers=[PipelineTrigger("after", above)], tasks=[Task("t", noop=True)]).register(client)
    landing = FileTrigger("landed", f"{tmp_path}/*.csv", settle="100ms", every="1s", existing=True, params={"path": "{{ event.path }}"})
    Pipeline("py_lands", params={"path": ""}, triggers=[landing], tasks=[Task("t", noop=True)]).register(client)
    above.submit(run_id="py-above-1", client=client).result(LATE)
    (run,) = ended(client, "py_below", "dependency")
    assert run.source.endswith("py-above-1")
    (tmp_path / "a.csv").write_text("1")
    (run,) = ended(client, "py_lands", "file")
    assert run.params["path"].endswith("a.csv")
    Pipeline("py_lands", tasks=[Task("t", noop=True)]).register(client)


def test_a_month_is_run_again(client: Client) -> None:
    """`pipeline.backfill(start_date, end_date)`, as people wish to write it."""
    pipeline = daily("py_month")
    with pytest.raises(NotPossible, match="register"):
        pipeline.backfill("2024-01-01", "2024-01-31", dry_run=True, client=client)
    with pytest.raises(NotFound):
        client.pipeline("py_month")

    backfill = pipeline.backfill(start_date="2024-01-01", end_date="2024-01-31", client=client)
    assert backfill.created and backfill.plan is not None
    assert [planned.interval for planned in backfill.plan.to_run] == MONTH and not backfill.plan.left
    assert (backfill.plan.zone, backfill.plan.max_active, backfill.plan.intervals[30].date) == ("UTC", 4, date(2024, 1, 31))
    info = backfill.result(LATE)
    assert (info.state, info.progress.total, info.progress.succeeded, info.progress.fraction) == (State.SUCCESS, 31, 31, 1.0)
    assert [one.interval for one in info.intervals] == MONTH
    assert {one.state for one in info.intervals} == {State.SUCCESS}
    assert backfill.state is State.SUCCESS and str(backfill.progress) == "31 of 31 ended"
    assert info.created.by == "tests" and info.duration is not None
    runs = runs_of(client, "py_month", "backfill")
    assert {run.interval for run in runs} == set(MONTH) and {run.source for run in runs} == {backfill.id}
    outcomes = {due.outcome for due in client.schedule("py_month", from_="2024-01-02", to="2024-02-01").intervals}
    assert outcomes == {"SUCCESS"}

    # Again, nothing is left to do; unless all is.
    plan = pipeline.backfill("2024-01-01", "2024-01-31", dry_run=True, client=client)
    assert not plan.to_run and {planned.why for planned in plan.left} == {"is SUCCESS"}
    again = pipeline.backfill(date(2024, 1, 30), date(2024, 1, 31), reprocess="all", order="newest", id="py-again", note="mended", client=client)
    assert [one.interval for one in again.result(LATE).intervals] == [MONTH[30], MONTH[29]]
    same = pipeline.backfill(date(2024, 1, 30), date(2024, 1, 31), reprocess="all", order="newest", id="py-again", note="mended", client=client)
    assert (same.id, same.created) == ("py-again", False)
    assert [found.id for found in client.backfills("py_month")] == ["py-again", backfill.id]
    assert {"py-again", backfill.id} <= {found.id for found in client.backfills()}
    assert client.backfill_by_id("py-again").info().created.note == "mended"


def test_a_backfill_takes_tasks_params_and_a_length(client: Client) -> None:
    tasks = [Task("a", noop=True), Task("b", run=["echo", "{{ params.n }}"], depends_on="a"), Task("c", noop=True, depends_on="b")]
    pipeline = Pipeline("py_lengths", params={"n": 1}, tasks=tasks)
    with pytest.raises(NotPossible, match="no schedule"):
        pipeline.backfill("2024-01-01", "2024-01-03", client=client)
    backfill = pipeline.backfill(
        "2024-01-01", "2024-01-03", every=timedelta(days=1), tasks=[tasks[1]], params={"n": 7}, max_active=1, cascade=True, client=client
    )
    info = backfill.result(LATE)
    assert (info.tasks, info.params["n"], info.max_active, info.cascade) == (("b",), 7, 1, True)
    assert [one.interval for one in info.intervals] == MONTH[:3]
    run = client.get(runs_of(client, "py_lengths", "backfill")[0].id)
    assert {id: (task.state, task.reason) for id, task in run.tasks.items()} == {
        "a": (State.SKIPPED, "not_selected"),
        "b": (State.SUCCESS, ""),
        "c": (State.SKIPPED, "not_selected"),
    }


def test_a_backfill_is_paused_resumed_and_cancelled(client: Client, tmp_path: Path) -> None:
    go = tmp_path / "go"
    backfill = daily("py_waits", run=f"until test -e {go}; do sleep 0.1; done").backfill("2024-01-01", "2024-01-31", max_active=2, client=client)
    eventually("two run", lambda: backfill.progress.running == 2)
    assert len(backfill.info().live) == 2
    with pytest.raises(TimeoutError):
        backfill.wait(0.3)
    assert backfill.pause("by hand") and not backfill.pause()
    paused = backfill.info().paused
    assert paused is not None and (paused.by, paused.note) == ("tests", "by hand")
    go.touch()
    eventually("what runs goes on", lambda: backfill.progress.succeeded == 2)
    assert backfill.progress.started == 2
    go.unlink()
    assert backfill.resume() and not backfill.resume()
    eventually("two more run", lambda: backfill.progress.started == 4)
    assert backfill.cancel("enough")
    with pytest.raises(BackfillFailed, match="(?s)ended CANCELLED.*enough") as failed:
        backfill.result(LATE)
    assert failed.value.backfill_id == backfill.id
    info = backfill.info()
    assert (info.progress.succeeded, info.progress.cancelled, info.progress.running) == (2, 2, 0)


def test_a_backfill_that_fails_says_so_and_is_run_again(client: Client, code: Path) -> None:
    (code / "py_mended").unlink(missing_ok=True)
    pipeline = daily("py_fails", run="test -e py_mended")
    failing = pipeline.backfill("2024-01-01", "2024-01-02", client=client)
    with pytest.raises(BackfillFailed, match="2 failed"):
        failing.result(LATE)
    (code / "py_mended").touch()
    assert not pipeline.backfill("2024-01-01", "2024-01-02", dry_run=True, client=client).to_run
    plan = client.backfill("py_fails", "2024-01-01", "2024-01-02", dry_run=True, reprocess="failed")
    assert [planned.why for planned in plan.to_run] == ["was FAILED"] * 2
    pipeline.backfill("2024-01-01", "2024-01-02", reprocess="failed", client=client).result(LATE)


def test_what_is_wrong_with_a_backfill_is_told(client: Client) -> None:
    pipeline = daily("py_wrong")
    for said, start, end in (("before start_date", "2024-02-01", "2024-01-01"), ("start_date", "yesterday", "2024-01-01")):
        with pytest.raises(BadInput, match=said):
            pipeline.backfill(start, end, client=client)
    with pytest.raises(BadInput, match="reprocess"):
        pipeline.backfill("2024-01-01", "2024-01-02", reprocess="never", client=client)  # type: ignore[call-overload]
    with pytest.raises(BadInput, match="oldest or newest"):
        pipeline.backfill("2024-01-01", "2024-01-02", order="up", client=client)  # type: ignore[call-overload]
    with pytest.raises(BadInput, match="at least 1"):
        pipeline.backfill("2024-01-01", "2024-01-02", max_active=0, client=client)
    with pytest.raises(TypeError, match="no option 'task'"):
        pipeline.backfill("2024-01-01", "2024-01-02", task="load", client=client)  # type: ignore[call-overload]
    with pytest.raises(BadInput, match="no task"):
        pipeline.backfill("2024-01-01", "2024-01-02", tasks="no_such", client=client)
    with pytest.raises(NotFound):
        client.backfill("py_no_such", "2024-01-01", "2024-01-02")
    with pytest.raises(NotFound):
        client.backfill_by_id("py-no-such").info()
    with pytest.raises(NotPossible):
        client.backfill_by_id("py-no-such").pause()


def test_all_of_it_with_asyncio(client: Client, endpoint: str) -> None:
    hears = EventTrigger("ready", "py.aio.ready")
    tasks = [Task("load", noop=True)]
    pipeline = Pipeline("py_aio", schedule="@daily", end_date="2024-12-31", params={"n": 1}, triggers=[hears], tasks=tasks)

    async def main() -> None:
        async with penstock.aio.Client(endpoint, by="aio") as aio:
            assert (await aio.would_register(pipeline)).created
            await aio.register(pipeline)
            plan = await aio.backfill("py_aio", "2024-01-01", "2024-01-31", dry_run=True)
            assert len(plan.to_run) == 31 and plan.estimate is None
            backfill = await aio.backfill("py_aio", "2024-01-01", date(2024, 1, 31), max_active=8)
            assert backfill.created and backfill.plan == plan.__class__(plan.intervals, plan.zone, 8, None)
            assert (await backfill.result(LATE)).progress.succeeded == 31
            assert (await backfill.progress()).fraction == 1.0 and await backfill.state() is State.SUCCESS
            assert [found.id for found in await aio.backfills("py_aio")] == [backfill.id]
            assert (await aio.backfill_by_id(backfill.id).wait()).state is State.SUCCESS
            for verb in (backfill.pause, backfill.resume):
                with pytest.raises(NotPossible):
                    await verb()
            assert len((await aio.schedule("py_aio", from_="2024-01-01", to="2024-02-01")).intervals) >= 31
            assert await aio.pause_trigger("py_aio", "ready") and await aio.resume_trigger("py_aio", "ready")
            assert {trigger.name for trigger in await aio.triggers("py_aio")} == {"schedule", "ready"}
            emitted = await aio.emit("py.aio.ready", {"n": 2})
            assert emitted.number > 0
            await aio.emit("py.aio.nobody", id="py-aio-dead")
            await aio.rewind("py_aio", "2024-06-01")
            with pytest.raises(NotFound):
                await aio.backfill_by_id("py-no-such").info()

    asyncio.run(main())
    (run,) = ended(client, "py_aio", "event")
    assert run.params == {"n": 2}
    eventually("it is dead", lambda: [event for event in client.dead_events() if event.event.get("id") == "py-aio-dead"])
