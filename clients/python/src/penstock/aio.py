"""The client for asyncio, with the verbs of `penstock.client`. What each means is said there.

>>> async def daily() -> None:
...     async with Client("127.0.0.1:7070") as client:
...         run = await client.submit("daily_etl", {"region": "eu"})
...         async for update in run.watch():
...             print(update.run.state)
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeVar, overload

import grpc
import grpc.aio
from google.protobuf.message import Message

from . import _calls
from ._calls import CHANNEL_OPTIONS, DEADLINE_SECONDS, Book, Call, Definition, Reading, Tasks, Watching, failure_of
from ._names import milliseconds
from ._yaml import Plain
from .errors import NotFound
from .interval import IntervalLike
from .records import (
    BackfillInfo,
    BackfillOptions,
    BackfillPlan,
    BackfillProgress,
    ClusterInfo,
    DeadEvent,
    Emitted,
    LogLine,
    PipelineInfo,
    PoolInfo,
    Registered,
    Rewound,
    RunInfo,
    ScheduleInfo,
    State,
    TriggerInfo,
    Update,
    Why,
    WorkerInfo,
)
from .tasks import Task

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .v1 import types_pb2

__all__ = ["Backfill", "Client", "Run"]

A = TypeVar("A", bound=Message)
T = TypeVar("T")


class Client:
    """A client of one cluster.

    `endpoints` are its coordinators, `host:port`; without them PENSTOCK_ENDPOINT, separated by commas, and 127.0.0.1:7070 without that.
    `deadline` is how many seconds a call is tried; `by` is who asks, unverified.
    """

    def __init__(self, endpoints: str | Iterable[str] | None = None, *, deadline: float = DEADLINE_SECONDS, by: str | None = None) -> None:
        self._book = Book(endpoints, deadline)
        self._by = _calls.who() if by is None else by
        self._channels: dict[str, grpc.aio.Channel] = {}

    @property
    def endpoints(self) -> tuple[str, ...]:
        return self._book.endpoints

    async def close(self) -> None:
        """Closes its connections; the next call opens them again."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def _channel(self, address: str) -> grpc.aio.Channel:
        if address not in self._channels:
            self._channels[address] = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        return self._channels[address]

    async def _call(self, call: Call[A, T]) -> T:
        asking = self._book.asking(call.method)
        while True:
            address = asking.address()
            method = self._channel(address).unary_unary(
                call.path, request_serializer=type(call.request).SerializeToString, response_deserializer=call.answer.FromString
            )
            try:
                answer: A = await method(call.request, timeout=asking.patience())
            except grpc.RpcError as error:
                await asyncio.sleep(asking.failed(failure_of(error)))
                continue
            asking.answered(address)
            return call.read(answer)

    async def _stream(self, call: Call[A, T], address: str, timeout: float | None) -> AsyncGenerator[A, None]:
        """One try of a stream; what ends it before its end is a `grpc.RpcError`."""
        method = self._channel(address).unary_stream(
            call.path, request_serializer=type(call.request).SerializeToString, response_deserializer=call.answer.FromString
        )
        stream = method(call.request, timeout=timeout)
        try:
            async for message in stream:
                yield message
        finally:
            stream.cancel()

    # Definitions

    async def register(self, definition: Definition) -> Registered:
        """Stores a definition: a `Pipeline`, its document as plain data, or as text. The same again is the same version."""
        return await self._call(_calls.register(definition))

    async def check(self, definition: Definition, *, file: str = "") -> list[str]:
        """All that is wrong with a definition is one `BadInput`; what is doubtful is returned. Stores nothing."""
        return list((await self.would_register(definition, file=file)).warnings)

    async def would_register(self, definition: Definition, *, file: str = "") -> Registered:
        """What `register` would answer or refuse. Stores nothing."""
        return await self._call(_calls.would_register(definition, file))

    async def pipelines(self) -> list[PipelineInfo]:
        """Every pipeline, with its newest version."""
        return await self._call(_calls.list_pipelines())

    async def pipeline(self, name: str, version: int | None = None) -> PipelineInfo:
        """A pipeline with one version of its definition; the newest, if none is named."""
        return await self._call(_calls.get_pipeline(name, version))

    async def unregister(self, name: str, *, note: str = "") -> None:
        """Takes no new run until it is registered again; what runs goes on."""
        await self._call(_calls.unregister(name, self._by, note))

    async def pause_pipeline(self, name: str, *, note: str = "") -> bool:
        """Nothing of it is started, neither runs nor tasks, until it is resumed. False where it was paused already."""
        return await self._call(_calls.pause_pipeline(name, False, self._by, note))

    async def resume_pipeline(self, name: str, *, note: str = "") -> bool:
        """Undoes `pause_pipeline`. False where it was not paused."""
        return await self._call(_calls.pause_pipeline(name, True, self._by, note))

    # Runs

    async def submit(
        self,
        pipeline: str,
        params: Mapping[str, Plain] | None = None,
        *,
        run_id: str | None = None,
        interval: IntervalLike | None = None,
        version: int | None = None,
        only: Tasks = (),
    ) -> Run:
        """Starts a run of a registered pipeline; safe to repeat with the same `run_id`, which is minted if none is given.

        `only` names tasks, as `t`, `+t` with all above, `t+` with all below; the rest is SKIPPED(not_selected).
        """
        answer = await self._call(_calls.submit(pipeline, params, run_id, interval, version, only, self._by))
        return Run(self, answer.run_id, created=answer.created, version=answer.version, seq=answer.seq)

    def run(self, run_id: str) -> Run:
        """A handle of a run; asks nothing."""
        return Run(self, run_id)

    async def get(self, run_id: str, *, min_seq: int = 0) -> RunInfo:
        """A run with all its tasks, at least as new as this journal position."""
        tasks: list[types_pb2.Task] = []
        from_task = 0
        while True:
            page = await self._call(_calls.get_run(run_id, from_task, min_seq))
            tasks.extend(page.tasks)
            from_task = page.next_task
            if from_task == 0:
                return RunInfo.of(page.run, tasks)

    async def runs(
        self,
        pipeline: str | None = None,
        *,
        states: Iterable[State] = (),
        since: dt.datetime | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[RunInfo]:
        """Runs, newest first, page by page; without their tasks."""
        wanted, left, before = tuple(states), limit, 0
        while left is None or left > 0:
            size = min(100, left or 100)
            page = await self._call(_calls.list_runs(pipeline, wanted, size, before, milliseconds(since) if since else 0))
            for info in page:
                yield info
            left = None if left is None else left - len(page)
            if len(page) < size:
                return
            before = page[-1].no

    async def watch(self, run_id: str, *, timeout: float | None = None) -> AsyncIterator[Update]:
        """A run as it is, then each change until it has ended; taken up again when a coordinator is lost.

        Raises `TimeoutError` where it has not ended within `timeout` seconds.
        """
        until = None if timeout is None else time.monotonic() + timeout
        watching = Watching(run_id)
        asking = self._book.asking("WatchRun")
        while not watching.has_ended():
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError(f"run {run_id} has not ended within {timeout:g} s")
            address = asking.address()
            pause = 0.05
            try:
                async with aclosing(self._stream(watching.call(), address, left)) as stream:
                    async for message in stream:
                        asking.answered(address)
                        asking = self._book.asking("WatchRun")
                        if watching.is_behind(message):
                            self._book.preferred = None
                            pause = 0.1
                            break
                        update = watching.take(message)
                        if update is not None:
                            yield update
                        if watching.has_ended():
                            return
            except grpc.RpcError as error:
                if until is not None and time.monotonic() >= until:
                    continue
                pause = asking.failed(failure_of(error))
            await asyncio.sleep(pause)

    async def logs(self, run_id: str, task: str | Task, *, attempt: int | None = None, follow: bool = False) -> AsyncIterator[LogLine]:
        """The log of a task's newest attempt, or of the one named; `follow` goes on until the attempt has ended."""
        reading = Reading(run_id, task, attempt, follow)
        asking = self._book.asking("ReadLogs")
        while True:
            address = asking.address()
            try:
                async with aclosing(self._stream(reading.call(), address, None)) as stream:
                    async for message in stream:
                        asking.answered(address)
                        asking = self._book.asking("ReadLogs")
                        for line in reading.take(message):
                            yield LogLine.parse(line)
            except grpc.RpcError as error:
                await asyncio.sleep(asking.failed(failure_of(error)))
                continue
            for line in reading.end():
                yield LogLine.parse(line)
            return

    # Schedules, triggers, events

    async def schedule(self, name: str, *, from_: dt.date | str | None = None, to: dt.date | str | None = None, limit: int = 0) -> ScheduleInfo:
        """The next intervals of a pipeline's schedule, or those that end within these dates, with what became of them.

        `limit` is how many at most: 10 if nothing is said, 1,000 between dates.
        """
        return await self._call(_calls.schedule(name, from_, to, limit))

    async def rewind(self, name: str, to: dt.date | str, *, note: str = "") -> Rewound:
        """Sets where the next interval of a schedule begins: intervals become due again, or those to come are passed over."""
        return await self._call(_calls.rewind(name, to, self._by, note))

    async def triggers(self, name: str | None = None) -> list[TriggerInfo]:
        """What starts runs of a pipeline, or of all, and how it stands; the trigger `schedule` is the schedule."""
        return await self._call(_calls.triggers(name))

    async def pause_trigger(self, name: str, trigger: str = "schedule", *, note: str = "") -> bool:
        """A trigger of a pipeline, or its schedule, starts nothing until it is resumed. False where it was paused already."""
        return await self._call(_calls.pause_trigger(name, trigger, False, self._by, note))

    async def resume_trigger(self, name: str, trigger: str = "schedule", *, note: str = "") -> bool:
        """Undoes `pause_trigger`. False where it was not paused."""
        return await self._call(_calls.pause_trigger(name, trigger, True, self._by, note))

    async def new_trigger_token(self, name: str, trigger: str, *, note: str = "") -> str:
        """Makes a token for the webhook of an `EventTrigger`, which only its holder may call. The one before is no longer valid.

        It is told here once: the cluster keeps only its digest.
        """
        return await self._call(_calls.trigger_token(name, trigger, False, self._by, note))

    async def revoke_trigger_token(self, name: str, trigger: str, *, note: str = "") -> None:
        """Takes a webhook's token away: nobody may call it."""
        await self._call(_calls.trigger_token(name, trigger, True, self._by, note))

    async def emit(self, event: str, payload: Plain = None, *, id: str | None = None) -> Emitted:
        """Something happened: starts a run of each pipeline that has an `EventTrigger` for it.

        Safe to repeat with the same `id`, which is minted if none is given: for two hours it is the same event.
        """
        return await self._call(_calls.emit(event, payload, id, self._by))

    async def dead_events(self, *, limit: int = 100) -> list[DeadEvent]:
        """Events that started no run where they should have, newest first, and why."""
        return await self._call(_calls.dead_events(limit))

    # Backfills

    @overload
    async def backfill(
        self, name: str, start_date: dt.date | str, end_date: dt.date | str, *, dry_run: Literal[False] = False, **options: Unpack[BackfillOptions]
    ) -> Backfill: ...
    @overload
    async def backfill(
        self, name: str, start_date: dt.date | str, end_date: dt.date | str, *, dry_run: Literal[True], **options: Unpack[BackfillOptions]
    ) -> BackfillPlan: ...
    @overload
    async def backfill(
        self, name: str, start_date: dt.date | str, end_date: dt.date | str, *, dry_run: bool, **options: Unpack[BackfillOptions]
    ) -> Backfill | BackfillPlan: ...
    async def backfill(
        self, name: str, start_date: dt.date | str, end_date: dt.date | str, *, dry_run: bool = False, **options: Unpack[BackfillOptions]
    ) -> Backfill | BackfillPlan:
        """Runs the intervals of a registered pipeline that start within these dates, both included, of the pipeline's zone.

        The options are those of `BackfillOptions`. Safe to repeat with the same `id`. With `dry_run` nothing is run, and what would be is told.
        """
        id, answer = await self._call(_calls.create_backfill(name, start_date, end_date, dry_run, self._by, options))
        plan = BackfillPlan.of(answer)
        return plan if dry_run else Backfill(self, id, plan=plan, created=answer.created, seq=answer.seq)

    async def backfills(self, name: str | None = None) -> list[BackfillInfo]:
        """Backfills of a pipeline, or of all, newest first; without their intervals."""
        return await self._call(_calls.list_backfills(name))

    def backfill_by_id(self, id: str) -> Backfill:
        """A handle of a backfill; asks nothing."""
        return Backfill(self, id)

    # The cluster

    async def pools(self) -> list[PoolInfo]:
        """Every pool, with its holders."""
        return await self._call(_calls.list_pools())

    async def set_pool(self, name: str, slots: int | None, *, note: str = "") -> None:
        """Sets how many slots a pool has; `None` removes it."""
        await self._call(_calls.set_pool(name, slots, self._by, note))

    async def workers(self) -> list[WorkerInfo]:
        """Every worker and what it runs."""
        return await self._call(_calls.list_workers())

    async def drain(self, worker: str, *, undo: bool = False) -> None:
        """Leases nothing more to a worker, or undoes that."""
        await self._call(_calls.drain(worker, undo, self._by))

    async def cluster(self) -> ClusterInfo:
        """Who leads, and how the coordinator that answers stands."""
        return await self._call(_calls.cluster())


class Run:
    """A handle of a run: what can be asked of it and done to it."""

    def __init__(self, client: Client, id: str, *, created: bool | None = None, version: int | None = None, seq: int = 0) -> None:
        self._client = client
        self.id = id
        self.created = created
        """Of a submit: false where the same came before."""
        self.version = version
        """Of a submit: the pipeline's version."""
        self._seq = seq

    def __repr__(self) -> str:
        return f"Run({self.id!r})"

    async def info(self) -> RunInfo:
        """As it is now, with all its tasks."""
        return await self._client.get(self.id, min_seq=self._seq)

    async def state(self) -> State:
        """As it is now."""
        return (await self.info()).state

    def watch(self, *, timeout: float | None = None) -> AsyncIterator[Update]:
        """As it is, then each change until it has ended."""
        return self._client.watch(self.id, timeout=timeout)

    async def wait(self, timeout: float | None = None) -> RunInfo:
        """Waits until it has ended, however it did; `TimeoutError` after so many seconds."""
        async for _ in self.watch(timeout=timeout):
            pass
        return await self.info()

    async def result(self, timeout: float | None = None) -> RunInfo:
        """Waits until it has ended; `RunFailed`, with the reasons, where that is not SUCCESS."""
        info = await self.wait(timeout)
        if info.state is not State.SUCCESS:
            raise _calls.failed_run(info)
        return info

    def logs(self, task: str | Task, *, attempt: int | None = None, follow: bool = False) -> AsyncIterator[LogLine]:
        """The log of a task's newest attempt, or of the one named."""
        return self._client.logs(self.id, task, attempt=attempt, follow=follow)

    async def outputs(self, task: str | Task) -> Mapping[str, object]:
        """What a task has put out."""
        info, id = await self.info(), _calls.task_id(task)
        if id not in info.tasks:
            raise NotFound(f"run {self.id} has no task {id}")
        return info.tasks[id].outputs

    async def cancel(self, note: str = "", *, now: bool = False) -> State:
        """Stops it, and returns the state it had; `now` cancels teardowns too. Cancelling what has ended changes nothing."""
        return await self._client._call(_calls.cancel(self.id, self._client._by, note, now))

    async def rerun(self, tasks: Tasks | str | Task = (), note: str = "") -> int:
        """Opens a new generation of what did not succeed, or of the tasks named, and of all below; returns its number."""
        return await self._client._call(_calls.rerun(self.id, tasks, self._client._by, note))

    async def mark(self, tasks: Tasks | str | Task, state: State | str, note: str = "") -> int:
        """Says how tasks ended: SUCCESS, FAILED or SKIPPED. Returns the generation in which they have."""
        return await self._client._call(_calls.mark(self.id, tasks, state, self._client._by, note))

    async def approve(self, task: str | Task, note: str = "") -> None:
        """A person's yes to an `approve` task, or the release of a held one."""
        await self._client._call(_calls.decide(self.id, task, True, self._client._by, note))

    async def reject(self, task: str | Task, note: str = "") -> None:
        """A person's no: FAILED(rejected)."""
        await self._client._call(_calls.decide(self.id, task, False, self._client._by, note))

    async def pause(self, note: str = "") -> bool:
        """Starts no further task until it is resumed. False where it was paused already."""
        return await self._client._call(_calls.pause_run(self.id, False, self._client._by, note))

    async def resume(self, note: str = "") -> bool:
        """Undoes `pause`. False where it was not paused."""
        return await self._client._call(_calls.pause_run(self.id, True, self._client._by, note))

    async def explain(self, task: str | Task | None = None) -> Sequence[Why]:
        """Why it, or a task of it, is not running, and what would unblock it."""
        return await self._client._call(_calls.explain(self.id, task))


class Backfill:
    """A handle of a backfill: what can be asked of it and done to it."""

    def __init__(self, client: Client, id: str, *, plan: BackfillPlan | None = None, created: bool | None = None, seq: int = 0) -> None:
        self._client = client
        self.id = id
        self.plan = plan
        """What it runs, and what it leaves and why, as it was when it was asked for; `None` for one that was found by its id."""
        self.created = created
        """False where the same came before."""
        self._seq = seq

    def __repr__(self) -> str:
        return f"Backfill({self.id!r})"

    async def info(self) -> BackfillInfo:
        """As it is now, with all its intervals."""
        following = _calls.Following(self.id, self._client._book.deadline)
        while True:
            try:
                found = await self._client._call(_calls.get_backfill(self.id, self._seq))
            except NotFound:
                # A coordinator that has not heard of it yet says so too.
                if self._seq <= (await self._client.cluster()).seq:
                    raise
                found = None
            if found is not None:
                return found
            self._client._book.preferred = None
            await asyncio.sleep(following.pause())

    async def state(self) -> State:
        """As it is now: RUNNING until it ends."""
        return (await self.info()).state

    async def progress(self) -> BackfillProgress:
        """How far it is now."""
        return (await self.info()).progress

    async def wait(self, timeout: float | None = None) -> BackfillInfo:
        """Waits until it has ended, however it did; `TimeoutError` after so many seconds."""
        following = _calls.Following(self.id, timeout)
        while True:
            info = await self.info()
            if info.state.is_terminal:
                return info
            await asyncio.sleep(following.pause())

    async def result(self, timeout: float | None = None) -> BackfillInfo:
        """Waits until it has ended; `BackfillFailed`, with the intervals, where that is not SUCCESS."""
        info = await self.wait(timeout)
        if info.state is not State.SUCCESS:
            raise _calls.failed_backfill(info)
        return info

    async def pause(self, note: str = "") -> bool:
        """Makes no further run until it is resumed; what runs goes on. False where it was paused already."""
        answer = await self._client._call(_calls.pause_backfill(self.id, False, self._client._by, note))
        self._seq = max(self._seq, answer.seq)
        return answer.changed

    async def resume(self, note: str = "") -> bool:
        """Undoes `pause`. False where it was not paused."""
        answer = await self._client._call(_calls.pause_backfill(self.id, True, self._client._by, note))
        self._seq = max(self._seq, answer.seq)
        return answer.changed

    async def cancel(self, note: str = "") -> bool:
        """Makes no further run, and cancels those that have not ended. False where it was cancelled already."""
        answer = await self._client._call(_calls.cancel_backfill(self.id, self._client._by, note))
        self._seq = max(self._seq, answer.seq)
        return answer.changed
