"""Whom a client asks, and when it asks again: against coordinators that answer as they are told. Both clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import penstock.aio
import pytest
from penstock import BadInput, Client, NoAnswer, NotPossible, NotSupported, Overloaded, State, Update
from penstock._calls import mint
from penstock.v1 import control_pb2 as pb
from penstock.v1 import types_pb2 as types

Answer = Callable[[Any, grpc.ServicerContext], Any]


class Coordinator:
    """Answers each method by the function set for it."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answers: dict[str, Answer] = {}
        self._server = grpc.server(ThreadPoolExecutor(4))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        one, many = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        handlers: dict[str, Any] = {
            "Register": one(self._one("Register"), pb.RegisterRequest.FromString, pb.RegisterResponse.SerializeToString),
            "Submit": one(self._one("Submit"), pb.SubmitRequest.FromString, pb.SubmitResponse.SerializeToString),
            "WatchRun": many(self._many("WatchRun"), pb.WatchRunRequest.FromString, pb.WatchRunResponse.SerializeToString),
            "ReadLogs": many(self._many("ReadLogs"), pb.ReadLogsRequest.FromString, pb.ReadLogsResponse.SerializeToString),
            "ListRuns": one(self._one("ListRuns"), pb.ListRunsRequest.FromString, pb.ListRunsResponse.SerializeToString),
            "GetRun": one(self._one("GetRun"), pb.GetRunRequest.FromString, pb.GetRunResponse.SerializeToString),
        }
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("penstock.v1.Control", handlers)])
        self._server.start()

    def _one(self, name: str) -> Answer:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            self.asked.append(request)
            return self.answers[name](request, context)

        return answer

    def _many(self, name: str) -> Answer:
        def answer(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            self.asked.append(request)
            yield from self.answers[name](request, context)

        return answer

    def close(self) -> None:
        self._server.stop(0).wait()


@pytest.fixture
def two() -> Iterator[tuple[Coordinator, Coordinator]]:
    first, second = Coordinator(), Coordinator()
    yield first, second
    first.close()
    second.close()


Two = tuple[Coordinator, Coordinator]


def refuses(code: grpc.StatusCode, text: str, **trailers: str) -> Answer:
    def answer(_: Any, context: grpc.ServicerContext) -> Any:
        context.set_trailing_metadata(tuple((key.replace("_", "-"), value) for key, value in trailers.items()))
        context.abort(code, text)

    return answer


def accepts(request: Any, _: grpc.ServicerContext) -> Any:
    return pb.SubmitResponse(run_id=request.run_id, version=1, created=True)


@pytest.fixture(params=["sync", "aio"])
def submit(request: pytest.FixtureRequest) -> Callable[..., str]:
    """Submits by either client, and returns the run's id."""

    def sync(*endpoints: str, deadline: float = 10) -> str:
        with Client(endpoints, deadline=deadline, by="me") as client:
            return client.submit("p", {"n": 1}).id

    def aio(*endpoints: str, deadline: float = 10) -> str:
        async def main() -> str:
            async with penstock.aio.Client(endpoints, deadline=deadline, by="me") as client:
                return (await client.submit("p", {"n": 1})).id

        return asyncio.run(main())

    return sync if request.param == "sync" else aio


def test_a_redirect_to_the_leader_is_followed(two: Two, submit: Callable[..., str]) -> None:
    first, second = two
    first.answers["Submit"] = refuses(grpc.StatusCode.FAILED_PRECONDITION, "not the leader", penstock_leader=second.address)
    second.answers["Submit"] = accepts
    id = submit(first.address)
    (asked,) = second.asked
    assert (asked.run_id, asked.pipeline, asked.params, asked.by) == (id, "p", '{"n": 1}', "me")
    # The id was minted once: the second try is the same submit.
    assert [request.run_id for request in first.asked] == [id]


def test_redirects_in_a_circle_end_with_the_deadline(two: Two, submit: Callable[..., str]) -> None:
    first, second = two
    first.answers["Submit"] = refuses(grpc.StatusCode.FAILED_PRECONDITION, "not the leader", penstock_leader=second.address)
    second.answers["Submit"] = refuses(grpc.StatusCode.FAILED_PRECONDITION, "not the leader", penstock_leader=first.address)
    with pytest.raises(NoAnswer, match="not the leader"):
        submit(first.address, deadline=1)
    assert len(first.asked) + len(second.asked) < 40


def test_an_overloaded_coordinator_is_asked_again_when_it_says(two: Two, submit: Callable[..., str]) -> None:
    first, _ = two
    busy = refuses(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much", penstock_retry_after_ms="300")
    first.answers["Submit"] = lambda request, context: accepts(request, context) if len(first.asked) > 1 else busy(request, context)
    began = time.monotonic()
    submit(first.address)
    assert time.monotonic() - began >= 0.3
    assert len(first.asked) == 2
    first.answers["Submit"] = busy
    with pytest.raises(Overloaded, match="too much"):
        submit(first.address, deadline=0.5)


def test_another_coordinator_is_asked_where_one_does_not_answer(two: Two, submit: Callable[..., str]) -> None:
    first, second = two
    first.answers["Submit"] = refuses(grpc.StatusCode.UNAVAILABLE, "starting")
    second.answers["Submit"] = accepts
    id = submit("127.0.0.1:1", first.address, second.address)
    assert [request.run_id for request in [*first.asked, *second.asked]] == [id, id]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, BadInput),
        (grpc.StatusCode.FAILED_PRECONDITION, NotPossible),
        (grpc.StatusCode.UNIMPLEMENTED, NotSupported),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Overloaded),
    ],
)
def test_a_refusal_is_told_at_once(two: Two, submit: Callable[..., str], code: grpc.StatusCode, error: type[Exception]) -> None:
    first, second = two
    first.answers["Submit"] = refuses(code, "it says why")
    with pytest.raises(error, match="it says why"):
        submit(first.address, second.address)
    assert (len(first.asked), len(second.asked)) == (1, 0)


def message(seq: int, state: int, task: int | None = None, change: int | None = None) -> pb.WatchRunResponse:
    """A page with the task's state, or a change of it."""
    run = types.Run(run_id="r", pipeline="default/p", state=state)  # type: ignore[arg-type]
    tasks = [] if task is None else [types.Task(id="t", state=task)]  # type: ignore[arg-type]
    changes = [] if change is None else [pb.Change(task="t", state=change)]  # type: ignore[arg-type]
    return pb.WatchRunResponse(seq=seq, run=run, tasks=tasks, changes=changes)


PENDING, RUNNING, SUCCESS = (State(word).number for word in ("PENDING", "RUNNING", "SUCCESS"))


@pytest.fixture(params=["sync", "aio"])
def watch(request: pytest.FixtureRequest) -> Callable[..., list[Update]]:
    def sync(*endpoints: str) -> list[Update]:
        with Client(endpoints, deadline=10) as client:
            return list(client.watch("r", timeout=20))

    def aio(*endpoints: str) -> list[Update]:
        async def main() -> list[Update]:
            async with penstock.aio.Client(endpoints, deadline=10) as client:
                return [update async for update in client.watch("r", timeout=20)]

        return asyncio.run(main())

    return sync if request.param == "sync" else aio


def test_a_broken_watch_is_taken_up_and_what_was_missed_is_worked_out(two: Two, watch: Callable[..., list[Update]]) -> None:
    first, second = two

    def breaks(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        yield message(5, RUNNING, task=PENDING)
        yield message(6, RUNNING, change=RUNNING)
        context.abort(grpc.StatusCode.UNAVAILABLE, "going down")

    def goes_on(request: Any, _: grpc.ServicerContext) -> Iterator[Any]:
        assert request.after_seq == 6
        if len(second.asked) == 1:
            # It is behind: what it says is not told.
            yield message(4, RUNNING, task=PENDING)
        else:
            yield message(9, SUCCESS, task=SUCCESS)

    first.answers["WatchRun"] = lambda request, context: breaks(request, context) if len(first.asked) == 1 else goes_on(request, context)
    second.answers["WatchRun"] = goes_on
    updates = watch(first.address, second.address)
    steps = [(change.state, update.caught_up) for update in updates for change in update.changes]
    assert steps == [(State.RUNNING, False), (State.SUCCESS, True)]
    assert updates[-1].run.state is State.SUCCESS


def test_a_log_is_taken_up_where_it_broke(two: Two) -> None:
    first, _ = two

    def log(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        data = "2024-01-31T00:00:00.000Z O one é\n2024-01-31T00:00:01.000Z E two\nodd line\nlast".encode()
        if request.offset == 0:
            yield pb.ReadLogsResponse(attempt=3, data=data[:31], offset=31)
            context.abort(grpc.StatusCode.UNAVAILABLE, "going down")
        assert request.attempt == 3
        yield pb.ReadLogsResponse(attempt=3, data=data[request.offset :], offset=len(data))

    first.answers["ReadLogs"] = log
    with Client(first.address) as client:
        lines = list(client.logs("r", "t"))
    assert [(line.stream, line.text) for line in lines] == [("O", "one é"), ("E", "two"), ("", "odd line"), ("", "last")]
    assert lines[0].at is not None and lines[0].at.isoformat() == "2024-01-31T00:00:00+00:00"


def test_lists_and_runs_are_read_page_by_page(two: Two) -> None:
    first, _ = two

    def runs(request: Any, _: grpc.ServicerContext) -> Any:
        newest = request.before_no - 1 if request.before_no else 250
        return pb.ListRunsResponse(runs=[types.Run(run_id=f"r{no}", no=no) for no in range(newest, max(0, newest - request.limit), -1)])

    def run(request: Any, _: grpc.ServicerContext) -> Any:
        page = [types.Task(id=f"t{n}", index=n) for n in range(request.from_task, request.from_task + 2)]
        return pb.GetRunResponse(run=types.Run(run_id="r"), tasks=page, next_task=request.from_task + 2 if request.from_task < 4 else 0)

    first.answers |= {"ListRuns": runs, "GetRun": run}
    with Client(first.address) as client:
        assert [found.no for found in client.runs()] == list(range(250, 0, -1))
        assert [found.no for found in client.runs(limit=120)] == list(range(250, 130, -1))
        assert len(first.asked) == 5
        assert list(client.get("r").tasks) == ["t0", "t1", "t2", "t3", "t4", "t5"]


def test_addresses_are_read_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_ENDPOINT", "a:1, b:2,")
    assert Client().endpoints == ("a:1", "b:2")
    monkeypatch.delenv("PENSTOCK_ENDPOINT")
    assert Client().endpoints == ("127.0.0.1:7070",)
    assert Client("[::1]:7070").endpoints == ("[::1]:7070",)
    for wrong in ("a", "http://a:1", ":1", "a:x", "a:70000"):
        with pytest.raises(BadInput, match="not an address"):
            Client(wrong)
    with pytest.raises(BadInput, match="no coordinator"):
        Client([])


def test_ids_are_ulids() -> None:
    ids = [mint() for _ in range(1_000)]
    assert len(set(ids)) == 1_000
    assert all(len(id) == 26 and set(id) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ") and id[0] <= "7" for id in ids)
    value = 0
    for letter in ids[-1]:
        value = value << 5 | "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(letter)
    assert abs((value >> 80) - time.time() * 1000) < 60_000


def test_a_check_by_a_server_that_cannot_check_registers_nothing(two: tuple[Coordinator, Coordinator]) -> None:
    old, _ = two
    old.answers["Register"] = lambda request, context: pb.RegisterResponse(pipeline="p", version=1, created=True)
    with Client(old.address) as client, pytest.raises(NotSupported):
        client.check("pipeline: p\ntasks: {a: {noop: true}}")
    assert old.asked == []
