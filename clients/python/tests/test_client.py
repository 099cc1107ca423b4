"""The client against a real coordinator and worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from cluster import LATE, Cluster, eventually
from penstock import (
    AlreadyExists,
    Approve,
    BadInput,
    Client,
    Expect,
    Interval,
    NoAnswer,
    NotFound,
    NotPossible,
    NotSupported,
    Param,
    Pipeline,
    RunFailed,
    State,
    Task,
    Update,
)

Needs = Callable[[str], None]


def test_a_run_is_registered_submitted_and_waited_for(client: Client) -> None:
    report = r"""
        printf '%s\n' '{"metrics": {"records_out": 7}}' '{"output": {"path": "/data/'"$PENSTOCK_PARAM_REGION"'"}}' >> "$PENSTOCK_OUTPUT"
        echo hello; echo oh >&2
    """
    extract = Task("extract", shell=report)
    load = Task("load", run=["echo", extract.output("path"), "{{ params.n }}"], depends_on=extract)
    pipeline = Pipeline("whole_way", params={"region": Param(str, enum=["eu", "us"]), "n": 3}, tasks=[extract, load])

    registered = pipeline.register(client)
    assert (registered.version, registered.created) == (1, True)
    assert not pipeline.register(client).created
    assert "whole_way" in {found.name.rpartition("/")[2] for found in client.pipelines()}

    run = pipeline.submit({"region": "us"}, run_id="whole-1", client=client)
    assert run.created
    info = run.result(LATE)
    assert (info.state, info.params, info.by) == (State.SUCCESS, {"region": "us", "n": 3}, "tests")
    assert info.counts == {State.SUCCESS: 2}
    assert info.duration is not None and info.duration < timedelta(seconds=LATE)
    assert info.tasks["extract"].metrics == {"records_out": 7}
    assert run.outputs(extract) == {"path": "/data/us"}
    assert sorted((line.stream, line.text) for line in run.logs("extract")) == [("E", "oh"), ("O", "hello")]
    assert [line.text for line in run.logs(load)] == ["/data/us 3"]
    assert [found.id for found in client.runs("whole_way")] == ["whole-1"]
    assert [found.id for found in pipeline.runs(client)] == ["whole-1"]

    again = pipeline.submit({"region": "us"}, run_id="whole-1", client=client)
    assert not again.created
    with pytest.raises(AlreadyExists):
        pipeline.submit({"region": "eu"}, run_id="whole-1", client=client)


def test_a_run_covers_an_interval(client: Client) -> None:
    pipeline = Pipeline("interval", tasks=[Task("t", run=["echo", "{{ interval.start }}", "{{ interval.date }}"])])
    run = pipeline.submit(interval=Interval.day(date(2024, 1, 31)), client=client)
    info = run.result(LATE)
    start = datetime(2024, 1, 31, tzinfo=timezone.utc)
    assert info.interval == Interval(start, start + timedelta(days=1))
    (line,) = run.logs("t")
    assert line.text.startswith("2024-01-31T00:00:00") and line.text.endswith(" 2024-01-31")


def test_what_is_wrong_is_told_with_all_its_errors(client: Client) -> None:
    with pytest.raises(BadInput, match="parms") as wrong:
        client.register("pipeline: wrong\ntasks: {a: {run: [x, '{{ parms.x }}']}, b: {noop: true, depends_on: [c]}}")
    assert "`c`" in str(wrong.value) and wrong.value.code == "INVALID_ARGUMENT"
    with pytest.raises(NotFound):
        client.submit("no_such")
    with pytest.raises(NotFound):
        client.run("no-such").info()
    with pytest.raises(NotFound):
        client.run("no-such").wait(LATE)
    Pipeline("needs_param", params={"n": Param(int)}, tasks=[Task("t", noop=True)]).register(client)
    with pytest.raises(BadInput, match="required"):
        client.submit("needs_param")
    with pytest.raises(BadInput, match="not a valid run id"):
        client.submit("needs_param", run_id="a/b")
    with pytest.raises(BadInput, match="no time zone"):
        client.submit("needs_param", {"n": 1}, interval=(datetime(2024, 1, 1), datetime(2024, 1, 2)))


def test_a_failure_says_what_failed_and_is_run_again(client: Client, code: Path) -> None:
    work = Task("work", shell='echo "no such table"; test -e good', retries=1)
    (code / "good").unlink(missing_ok=True)
    run = client.submit(Pipeline("again", tasks=[work]).register(client).pipeline)
    eventually("the first attempt has failed", lambda: run.info().tasks["work"].state is State.RETRY)
    assert run.explain("work")[0].text
    with pytest.raises(NotPossible):
        run.rerun()
    run.cancel("no need to wait")
    assert run.wait(LATE).state is State.CANCELLED
    (code / "good").touch()
    assert run.rerun(note="mended") == 2
    info = run.result(LATE)
    assert info.generation == 2
    assert [attempt.number for attempt in info.tasks["work"].attempts] == [1, 2]


def test_the_result_of_a_failed_run_is_an_error_that_says_why(client: Client) -> None:
    run = Pipeline("fails", tasks=[Task("work", shell="echo no such table; exit 3")]).submit(client=client)
    with pytest.raises(RunFailed, match=r"(?s)work: FAILED\(exit_code\): exit code 3.*no such table") as failed:
        run.result(LATE)
    assert failed.value.run_id == run.id
    assert run.info().tasks["work"].attempts[0].exit_code == 3


def test_a_cancelled_run_ends(client: Client) -> None:
    run = Pipeline("cancelled", tasks=[Task("sleep", run=["sleep", "300"], grace="1s")]).submit(client=client)
    eventually("it runs", lambda: run.info().tasks["sleep"].state is State.RUNNING)
    with pytest.raises(TimeoutError):
        run.wait(0.3)
    assert run.cancel("enough") is State.RUNNING
    assert run.wait(LATE).state is State.CANCELLED
    assert run.cancel() is State.CANCELLED


def test_a_watch_tells_every_step(client: Client) -> None:
    chain = [Task("a", noop=True), Task("b", shell="echo x"), Task("c", noop=True)]
    _ = chain[0] >> chain[1] >> chain[2]
    updates = list(Pipeline("watched", tasks=chain).submit(client=client).watch(timeout=LATE))
    steps = [(change.task, change.state) for update in updates for change in update.changes if change.task]
    for task in ("a", "b", "c"):
        assert steps.index((task, State.SUCCESS)) >= 0
    assert steps.index(("a", State.SUCCESS)) < steps.index(("b", State.SUCCESS)) < steps.index(("c", State.SUCCESS))
    assert updates[-1].run.state is State.SUCCESS


def test_a_log_is_followed_to_its_end(client: Client) -> None:
    script = "for i in 1 2 3; do echo line $i; sleep 0.2; done"
    run = Pipeline("followed", tasks=[Task("t", shell=script)]).submit(client=client)
    assert [str(line) for line in run.logs("t", follow=True)] == ["line 1", "line 2", "line 3"]


def test_a_watch_and_a_wait_go_on_over_a_coordinators_death(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    try:
        with Client(cluster.endpoint) as client:
            go = cluster.code / "go"
            script = f"until test -e {go}; do sleep 0.1; done"
            chain = [Task("first", noop=True), Task("slow", shell=script, depends_on="first"), Task("last", noop=True, depends_on="slow")]
            run = Pipeline("survivor", tasks=chain).submit(client=client)
            seen: list[Update] = []
            thread = threading.Thread(target=lambda: seen.extend(run.watch(timeout=LATE)), daemon=True)
            thread.start()
            eventually("it runs", lambda: run.info().tasks["slow"].state is State.RUNNING)
            cluster.server.kill()
            cluster.start_server()
            # A call that began while nobody was there is answered when somebody is.
            assert client.cluster().node == "c"
            go.touch()
            thread.join(LATE)
            assert not thread.is_alive()
            assert seen[-1].run.state is State.SUCCESS
            ended = [change.task for update in seen for change in update.changes if change.state is State.SUCCESS and change.task]
            assert ended == ["first", "slow", "last"]
            assert len(run.info().tasks["slow"].attempts) == 1
    finally:
        cluster.close()


def test_nobody_there_is_no_answer_within_the_deadline() -> None:
    with Client("127.0.0.1:1", deadline=0.5) as client:
        began = time.monotonic()
        with pytest.raises(NoAnswer, match="127.0.0.1:1"):
            client.workers()
        with pytest.raises(NoAnswer):
            client.run("x").wait()
        with pytest.raises(NoAnswer):
            list(client.logs("x", "t"))
        assert time.monotonic() - began < 20


def test_workers_and_the_cluster_are_shown_and_drained(client: Client) -> None:
    (worker,) = [found for found in client.workers() if found.name == "w"]
    assert (worker.attached, worker.slots, worker.drained, tuple(worker.queues)) == (True, 4, False, ("default",))
    client.drain("w")
    assert client.workers()[0].drained
    client.drain("w", undo=True)
    assert not client.workers()[0].drained
    found = client.cluster()
    assert found.leading and found.trouble == ""


def test_what_an_old_server_does_not_have_is_said(client: Client) -> None:
    # On a newer one it is found, or not; nothing else.
    try:
        client.pipeline("no_such_pipeline")
    except (NotSupported, NotFound):
        return
    raise AssertionError("it was found")


# What needs the whole language and every verb.


def test_a_check_stores_nothing(client: Client, needs: Needs) -> None:
    needs("verbs")
    pipeline = Pipeline("only_checked", tasks=[Task("t", noop=True)])
    assert pipeline.check(client) == []
    with pytest.raises(NotFound):
        client.pipeline("only_checked")
    with pytest.raises(BadInput, match="parms"):
        client.check("pipeline: wrong\ntasks: {a: {run: [x, '{{ parms.x }}']}}")


def test_a_pipeline_is_shown_paused_and_taken_off(client: Client, needs: Needs) -> None:
    needs("verbs")
    pipeline = Pipeline("paused", owner="me", tags=["a"], tasks=[Task("t", noop=True)])
    pipeline.register(client)
    assert pipeline.pause("by hand", client) and not pipeline.pause(client=client)
    found = client.pipeline("paused")
    assert found.paused is not None and (found.paused.by, found.paused.note) == ("tests", "by hand")
    assert (found.owner, found.tags, found.tasks, list(found.definition["tasks"])) == ("me", ("a",), 1, ["t"])
    run = pipeline.submit(client=client)
    assert run.info().state is State.PENDING
    assert pipeline.resume(client=client)
    assert run.result(LATE).state is State.SUCCESS
    pipeline.unregister(client=client)
    with pytest.raises((NotFound, NotPossible)):
        client.submit("paused")


def test_tasks_are_selected_marked_and_run_again(client: Client, needs: Needs) -> None:
    needs("verbs")
    a, b, c = Task("a", noop=True), Task("b", shell="exit 1"), Task("c", noop=True)
    _ = a >> b >> c
    pipeline = Pipeline("marked", tasks=[a, b, c])
    assert pipeline.submit(only=["a"], client=client).result(LATE).tasks["b"].reason == "not_selected"
    run = pipeline.submit(client=client)
    assert run.wait(LATE).tasks["c"].reason == "upstream_failed"
    assert run.mark(b, "SUCCESS", "checked by hand") == 2
    info = run.result(LATE)
    assert (info.tasks["b"].state, info.tasks["b"].reason, info.tasks["c"].state) == (State.SUCCESS, "marked", State.SUCCESS)
    assert {(audit.verb, audit.by, audit.note) for audit in info.audit} == {("mark", "tests", "checked by hand")}
    assert run.rerun(["c"]) == 3
    assert run.result(LATE).tasks["b"].reason == "marked"
    with pytest.raises(BadInput, match="cannot be marked"):
        run.mark("a", State.RUNNING)


def test_a_run_is_run_again_the_moment_it_has_ended(client: Client, needs: Needs) -> None:
    """Also while its history is being written."""
    needs("verbs")
    name = Pipeline("at_once", tasks=[Task("a", noop=True), Task("b", noop=True, depends_on="a")]).register(client).pipeline
    for _ in range(30):
        run = client.submit(name)
        run.result(LATE)
        assert run.rerun("b") == 2
        run.result(LATE)


def test_a_person_says_yes_or_no(client: Client, needs: Needs) -> None:
    needs("language")
    pipeline = Pipeline("asked", tasks=[Task("ask", approve=Approve("Load it?")), Task("load", noop=True, depends_on="ask")])
    for yes in (True, False):
        run = pipeline.submit(client=client)
        eventually("it asks", lambda: run.info().tasks["ask"].reason == "waiting")
        if yes:
            run.approve("ask", "fine")
            assert run.result(LATE).state is State.SUCCESS
        else:
            run.reject("ask")
            assert run.wait(LATE).tasks["ask"].reason == "rejected"


def test_a_run_is_paused_and_resumed(client: Client, needs: Needs) -> None:
    needs("verbs")
    run = Pipeline("held_back", tasks=[Task("a", shell="sleep 1"), Task("b", noop=True, depends_on="a")]).submit(client=client)
    assert run.pause()
    eventually("a has ended", lambda: run.info().tasks["a"].state is State.SUCCESS)
    assert (run.info().tasks["b"].state, run.info().paused) == (State.PENDING, True)
    assert run.resume()
    assert run.result(LATE).state is State.SUCCESS


def test_pools_are_set_and_shown(client: Client, needs: Needs) -> None:
    needs("verbs")
    client.set_pool("py.pool", 2)
    assert {pool.name: pool.slots for pool in client.pools()}["py.pool"] == 2
    client.set_pool("py.pool", None)
    assert "py.pool" not in {pool.name for pool in client.pools()}


def test_control_flow_runs_as_written(client: Client, needs: Needs) -> None:
    needs("language")
    broken = Task("broken", shell="exit 1", retries=0)
    mend = Task("mend", noop=True, depends_on={broken: "failed"})
    each = Task("each", shell='echo "$ITEM"', env={"ITEM": "{{ item }}"}, for_each=["dwh", "mart"])
    after = Task("after", noop=True, depends_on=[each], trigger_rule="all_done")
    never = Task("never", noop=True, if_="params.n > 3")
    held = Task("held", shell="""echo '{"metrics": {"records_out": 1}}' >> "$PENSTOCK_OUTPUT" """, expect=Expect(min_records=5))
    pipeline = Pipeline("flow", params={"n": 1}, tasks=[broken, mend, each, after, never, held])
    info = pipeline.submit(client=client).wait(LATE)
    assert info.state is State.SUCCESS, info
    assert (info.tasks["broken"].state, info.tasks["mend"].state) == (State.FAILED, State.SUCCESS)
    assert info.tasks["never"].reason == "condition"
    assert {id for id in info.tasks if id.startswith("each[")} == {"each[dwh]", "each[mart]"}
