"""What both clients share, and what does no I/O: which message each verb is, which coordinator to ask next, what a watcher is told.

The sync client (`client.py`) and the async one (`aio.py`) only send, wait and read.
"""

from __future__ import annotations

import datetime as dt
import getpass
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from . import _blake3, errors
from ._names import dotted, duration, identifier, milliseconds, pipeline_name, token, when
from ._yaml import Plain, dump
from .interval import Interval, IntervalLike
from .pipeline import Pipeline
from .records import (
    BackfillInfo,
    BackfillOptions,
    Change,
    ClusterInfo,
    DeadEvent,
    Emitted,
    PipelineInfo,
    PoolInfo,
    Registered,
    Rewound,
    RunInfo,
    ScheduleInfo,
    State,
    TaskInfo,
    TriggerInfo,
    Update,
    Why,
    WorkerInfo,
)
from .tasks import Task
from .v1 import control_pb2 as pb
from .v1 import types_pb2 as types

A = TypeVar("A", bound=Message)
T = TypeVar("T")

LEADER_TRAILER = "penstock-leader"
RETRY_AFTER_TRAILER = "penstock-retry-after-ms"
DEFAULT_ENDPOINT = "127.0.0.1:7070"
DEADLINE_SECONDS = 30.0
"""How long a call is tried, if nothing else is said."""
TRY_SECONDS = 5.0
"""One try takes at most this long, so that a silent coordinator does not use up the deadline."""
MAX_MESSAGE_BYTES = 40 * 1024 * 1024

CHANNEL_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Also how long one try to connect may take.
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A coordinator is asked itself, whatever proxy the environment names for the web.
    ("grpc.enable_http_proxy", 0),
    # A client's own connections: what another in this process met does not make this one wait.
    ("grpc.use_local_subchannel_pool", 1),
)

_SERVICE = pb.DESCRIPTOR.services_by_name["Control"]


def mint() -> str:
    """A new id: a ULID."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[value >> shift & 31] for shift in range(125, -5, -5))


def who() -> str:
    """Who asks, as far as this machine knows; unverified."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


# Verbs


@dataclass(frozen=True)
class Call(Generic[A, T]):
    """A question, and how its answer is read."""

    method: str
    request: Message
    read: Callable[[A], T]

    @property
    def path(self) -> str:
        return f"/{_SERVICE.full_name}/{self.method}"

    @property
    def answer(self) -> type[A]:
        return cast("type[A]", GetMessageClass(_SERVICE.methods_by_name[self.method].output_type))


Definition = Pipeline | Mapping[str, Plain] | str
"""A pipeline, its document as plain data, or as text."""
Tasks = Sequence[str | Task]
"""Tasks, or selectors: `t`, `+t` with all above, `t+` with all below, `+t+`; an instance is `t[0]`."""


def document(definition: Definition) -> tuple[str, str]:
    """The document's text, and what to call it in messages."""
    if isinstance(definition, Pipeline):
        return definition.to_yaml(), f"{definition.name}.yaml"
    return (definition, "document") if isinstance(definition, str) else (dump(definition), "document")


def selectors(tasks: Tasks | str | Task) -> list[str]:
    listed = [tasks] if isinstance(tasks, (str, Task)) else tasks
    return [task.id if isinstance(task, Task) else task for task in listed]


def task_id(task: str | Task) -> str:
    return task.id if isinstance(task, Task) else task


def register(definition: Definition) -> Call[pb.RegisterResponse, Registered]:
    text, name = document(definition)
    return Call("Register", pb.RegisterRequest(document=text, file=name), Registered.of)


def would_register(definition: Definition, file: str = "") -> Call[pb.WouldRegisterResponse, Registered]:
    text, name = document(definition)
    return Call("WouldRegister", pb.WouldRegisterRequest(document=text, file=file or name), Registered.of)


def submit(
    pipeline: str,
    params: Mapping[str, Plain] | None,
    run_id: str | None,
    interval: IntervalLike | None,
    version: int | None,
    only: Tasks,
    by: str,
) -> Call[pb.SubmitResponse, pb.SubmitResponse]:
    request = pb.SubmitRequest(
        run_id=token("run id", run_id) if run_id is not None else mint(),
        pipeline=pipeline_name(pipeline),
        version=version or 0,
        params=_params(params),
        by=by,
        only=selectors(only),
    )
    if interval is not None:
        request.interval.CopyFrom(_interval(Interval.of(interval)))
    return Call("Submit", request, lambda answer: answer)


def _params(params: Mapping[str, Plain] | None) -> str:
    try:
        return json.dumps({identifier("parameter", name): value for name, value in (params or {}).items()}, allow_nan=False)
    except (TypeError, ValueError) as why:
        if isinstance(why, errors.BadInput):
            raise
        raise errors.BadInput(f"params: {why}") from why


def _interval(interval: Interval) -> types.Interval:
    return types.Interval(start_ms=milliseconds(interval.start), end_ms=milliseconds(interval.end))


def get_run(run_id: str, from_task: int, min_seq: int) -> Call[pb.GetRunResponse, pb.GetRunResponse]:
    return Call("GetRun", pb.GetRunRequest(run_id=run_id, from_task=from_task, min_seq=min_seq), lambda answer: answer)


def list_runs(
    pipeline: str | None, states: Iterable[State], limit: int, before_no: int, since_ms: int
) -> Call[pb.ListRunsResponse, list[RunInfo]]:
    request = pb.ListRunsRequest(
        pipeline=pipeline_name(pipeline) if pipeline else "",
        states=[types.State.Name(state.number) for state in states],
        limit=limit,
        before_no=before_no,
        since_ms=since_ms,
    )
    return Call("ListRuns", request, lambda answer: [RunInfo.of(run) for run in answer.runs])


def list_pipelines() -> Call[pb.ListPipelinesResponse, list[PipelineInfo]]:
    return Call("ListPipelines", pb.ListPipelinesRequest(), lambda answer: [PipelineInfo.of(p) for p in answer.pipelines])


def get_pipeline(pipeline: str, version: int | None) -> Call[pb.GetPipelineResponse, PipelineInfo]:
    request = pb.GetPipelineRequest(pipeline=pipeline_name(pipeline), version=version or 0)
    return Call("GetPipeline", request, lambda answer: PipelineInfo.of(answer.pipeline, answer.definition))


def unregister(pipeline: str, by: str, note: str) -> Call[pb.UnregisterResponse, None]:
    return Call("Unregister", pb.UnregisterRequest(pipeline=pipeline_name(pipeline), by=by, note=note), lambda _: None)


def pause_pipeline(pipeline: str, resume: bool, by: str, note: str) -> Call[pb.PausePipelineResponse, bool]:
    request = pb.PausePipelineRequest(pipeline=pipeline_name(pipeline), resume=resume, by=by, note=note)
    return Call("PausePipeline", request, lambda answer: answer.changed)


def pause_run(run_id: str, resume: bool, by: str, note: str) -> Call[pb.PauseRunResponse, bool]:
    return Call("PauseRun", pb.PauseRunRequest(run_id=run_id, resume=resume, by=by, note=note), lambda answer: answer.changed)


def cancel(run_id: str, by: str, note: str, now: bool) -> Call[pb.CancelRunResponse, State]:
    return Call("CancelRun", pb.CancelRunRequest(run_id=run_id, by=by, note=note, now=now), lambda answer: State.of(answer.state))


def rerun(run_id: str, tasks: Tasks | str | Task, by: str, note: str) -> Call[pb.RerunRunResponse, int]:
    request = pb.RerunRunRequest(run_id=run_id, request_id=mint(), by=by, note=note, tasks=selectors(tasks))
    return Call("RerunRun", request, lambda answer: answer.generation)


def mark(run_id: str, tasks: Tasks | str | Task, state: State | str, by: str, note: str) -> Call[pb.MarkTasksResponse, int]:
    wanted = State(state)
    if wanted not in (State.SUCCESS, State.FAILED, State.SKIPPED):
        raise errors.BadInput(f"a task cannot be marked {wanted}: use SUCCESS, FAILED or SKIPPED")
    request = pb.MarkTasksRequest(
        run_id=run_id,
        request_id=mint(),
        tasks=selectors(tasks),
        state=types.State.Name(wanted.number),
        by=by,
        note=note,
    )
    return Call("MarkTasks", request, lambda answer: answer.generation)


def decide(run_id: str, task: str | Task, approve: bool, by: str, note: str) -> Call[pb.DecideResponse, None]:
    return Call("Decide", pb.DecideRequest(run_id=run_id, task=task_id(task), approve=approve, by=by, note=note), lambda _: None)


def list_pools() -> Call[pb.ListPoolsResponse, list[PoolInfo]]:
    return Call("ListPools", pb.ListPoolsRequest(), lambda answer: [PoolInfo.of(pool) for pool in answer.pools])


def set_pool(name: str, slots: int | None, by: str, note: str) -> Call[pb.SetPoolResponse, None]:
    return Call("SetPool", pb.SetPoolRequest(name=name, slots=slots, by=by, note=note), lambda _: None)


def explain(run_id: str, task: str | Task | None) -> Call[pb.ExplainResponse, list[Why]]:
    request = pb.ExplainRequest(run_id=run_id, task="" if task is None else task_id(task))
    return Call("Explain", request, lambda answer: [Why.of(why) for why in answer.chain])


def list_workers() -> Call[pb.ListWorkersResponse, list[WorkerInfo]]:
    return Call("ListWorkers", pb.ListWorkersRequest(), lambda answer: [WorkerInfo.of(worker) for worker in answer.workers])


def drain(worker: str, undo: bool, by: str) -> Call[pb.DrainWorkerResponse, None]:
    return Call("DrainWorker", pb.DrainWorkerRequest(worker=worker, undo=undo, by=by), lambda _: None)


def cluster() -> Call[pb.GetClusterResponse, ClusterInfo]:
    return Call("GetCluster", pb.GetClusterRequest(), ClusterInfo.of)


def schedule(pipeline: str, from_: dt.date | str | None, to: dt.date | str | None, limit: int) -> Call[pb.GetScheduleResponse, ScheduleInfo]:
    request = pb.GetScheduleRequest(pipeline=pipeline_name(pipeline), to="" if to is None else when(to), limit=limit)
    # A field with the name of a keyword.
    setattr(request, "from", "" if from_ is None else when(from_))
    return Call("GetSchedule", request, ScheduleInfo.of)


def rewind(pipeline: str, to: dt.date | str, by: str, note: str) -> Call[pb.RewindScheduleResponse, Rewound]:
    return Call("RewindSchedule", pb.RewindScheduleRequest(pipeline=pipeline_name(pipeline), to=when(to), by=by, note=note), Rewound.of)


def pause_trigger(pipeline: str, trigger: str, resume: bool, by: str, note: str) -> Call[pb.PauseTriggerResponse, bool]:
    request = pb.PauseTriggerRequest(pipeline=pipeline_name(pipeline), trigger=trigger, resume=resume, by=by, note=note)
    return Call("PauseTrigger", request, lambda answer: answer.changed)


def triggers(pipeline: str | None) -> Call[pb.ListTriggersResponse, list[TriggerInfo]]:
    request = pb.ListTriggersRequest(pipeline=pipeline_name(pipeline) if pipeline else "")
    return Call("ListTriggers", request, lambda answer: [TriggerInfo.from_message(trigger) for trigger in answer.triggers])


def trigger_token(pipeline: str, trigger: str, revoke: bool, by: str, note: str) -> Call[pb.SetTriggerTokenResponse, str]:
    """The token that was made, of which only the digest leaves this process; empty where it is taken away."""
    made = "" if revoke else secrets.token_hex(20)
    digest = _blake3.digest(made.encode()) if made else b""
    request = pb.SetTriggerTokenRequest(pipeline=pipeline_name(pipeline), trigger=trigger, digest=digest, by=by, note=note)
    return Call("SetTriggerToken", request, lambda answer: made)


def emit(event: str, payload: Plain, id: str | None, by: str) -> Call[pb.EmitEventResponse, Emitted]:
    try:
        text = "{}" if payload is None else json.dumps(payload, allow_nan=False)
    except (TypeError, ValueError) as why:
        raise errors.BadInput(f"payload: {why}") from why
    key = mint() if id is None else token("event id", id)
    request = pb.EmitEventRequest(id=key, name=dotted("event name", event), payload=text, by=by)
    return Call("EmitEvent", request, lambda answer: Emitted(key, answer.event))


def dead_events(limit: int) -> Call[pb.ListDeadEventsResponse, list[DeadEvent]]:
    return Call("ListDeadEvents", pb.ListDeadEventsRequest(limit=limit), lambda answer: [DeadEvent.of(event) for event in answer.events])


_REPROCESS = {"none": pb.REPROCESS_NONE, "failed": pb.REPROCESS_FAILED, "all": pb.REPROCESS_ALL}


def create_backfill(
    pipeline: str, start_date: dt.date | str, end_date: dt.date | str, dry_run: bool, by: str, options: BackfillOptions
) -> Call[pb.CreateBackfillResponse, tuple[str, pb.CreateBackfillResponse]]:
    """Its id, which may be minted here, and the answer."""
    for name in options:
        if name not in BackfillOptions.__annotations__:
            raise TypeError(f"a backfill has no option {name!r}: it has {', '.join(BackfillOptions.__annotations__)}")
    reprocess, order, max_active = options.get("reprocess", "none"), options.get("order", "oldest"), options.get("max_active")
    if reprocess not in _REPROCESS:
        raise errors.BadInput(f"reprocess {reprocess!r}: use one of {', '.join(_REPROCESS)}")
    if order not in ("oldest", "newest"):
        raise errors.BadInput(f"order {order!r}: use oldest or newest")
    if max_active is not None and max_active < 1:
        raise errors.BadInput(f"max_active is {max_active}: it is at least 1")
    given, every = options.get("id"), options.get("every")
    id = mint() if given is None else token("backfill id", given)
    request = pb.CreateBackfillRequest(
        id=id,
        pipeline=pipeline_name(pipeline),
        start_date=when(start_date),
        end_date=when(end_date),
        every="" if every is None else duration(every),
        reprocess=_REPROCESS[reprocess],
        only=selectors(options.get("tasks") or ()),
        params=_params(options.get("params")),
        max_active=max_active,
        newest_first=order == "newest",
        cascade=options.get("cascade", False),
        dry_run=dry_run,
        by=by,
        note=options.get("note", ""),
    )
    return Call("CreateBackfill", request, lambda answer: (id, answer))


def list_backfills(pipeline: str | None) -> Call[pb.ListBackfillsResponse, list[BackfillInfo]]:
    request = pb.ListBackfillsRequest(pipeline=pipeline_name(pipeline) if pipeline else "")
    return Call("ListBackfills", request, lambda answer: [BackfillInfo.of(backfill) for backfill in answer.backfills])


def get_backfill(id: str, min_seq: int) -> Call[pb.ListBackfillsResponse, BackfillInfo | None]:
    """`None` where who answers has not heard of this journal position yet."""

    def read(answer: pb.ListBackfillsResponse) -> BackfillInfo | None:
        return BackfillInfo.of(answer.backfills[0]) if answer.as_of.seq >= min_seq else None

    return Call("ListBackfills", pb.ListBackfillsRequest(id=token("backfill id", id)), read)


def pause_backfill(id: str, resume: bool, by: str, note: str) -> Call[pb.PauseBackfillResponse, pb.PauseBackfillResponse]:
    return Call("PauseBackfill", pb.PauseBackfillRequest(id=id, resume=resume, by=by, note=note), lambda answer: answer)


def cancel_backfill(id: str, by: str, note: str) -> Call[pb.CancelBackfillResponse, pb.CancelBackfillResponse]:
    return Call("CancelBackfill", pb.CancelBackfillRequest(id=id, by=by, note=note), lambda answer: answer)


# Whom to ask


@dataclass(frozen=True)
class Failure:
    """A call's error, as either kind of gRPC raises it."""

    code: str
    message: str
    trailers: Mapping[str, str]

    @classmethod
    def of(cls, error: Any) -> Failure:
        trailers: dict[str, str] = {}
        for key, value in error.trailing_metadata() or ():
            trailers[key] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        return cls(error.code().name, error.details() or "", trailers)


_REFUSED: Mapping[str, type[errors.Refused]] = {
    "INVALID_ARGUMENT": errors.BadInput,
    "OUT_OF_RANGE": errors.BadInput,
    "NOT_FOUND": errors.NotFound,
    "ALREADY_EXISTS": errors.AlreadyExists,
    "FAILED_PRECONDITION": errors.NotPossible,
    "UNIMPLEMENTED": errors.NotSupported,
    "RESOURCE_EXHAUSTED": errors.Overloaded,
}


class Book:
    """The coordinators, and which of them to ask first."""

    def __init__(self, endpoints: str | Iterable[str] | None, deadline: float) -> None:
        if endpoints is None:
            endpoints = os.environ.get("PENSTOCK_ENDPOINT") or DEFAULT_ENDPOINT
        listed = endpoints.split(",") if isinstance(endpoints, str) else list(endpoints)
        self.endpoints = tuple(_address(endpoint) for endpoint in listed if endpoint.strip())
        if not self.endpoints:
            raise errors.BadInput("no coordinator is named: give endpoints=[\"host:port\"] or set PENSTOCK_ENDPOINT")
        self.deadline = deadline
        self.preferred: str | None = None
        """Where the last call was answered, or where the leader is said to be."""

    def asking(self, call: str, deadline: float | None = None) -> Asking:
        return Asking(self, call, self.deadline if deadline is None else deadline)


def _address(endpoint: str) -> str:
    endpoint = endpoint.strip()
    host, colon, port = endpoint.rpartition(":")
    if not colon or not host or "/" in host or not port.isdecimal() or int(port) > 65535:
        raise errors.BadInput(f"{endpoint!r} is not an address: write host:port, such as localhost:7070")
    return endpoint


class Asking:
    """One call's way over the coordinators, until there is an answer or the deadline.

    Every changing request carries an id, so that asking again is safe.
    """

    def __init__(self, book: Book, call: str, deadline: float) -> None:
        self._book = book
        self._call = call
        self._deadline = deadline
        self._until = time.monotonic() + deadline
        self._turn = 0
        self._redirects = 0
        self._pause = 0.02

    def address(self) -> str:
        """Whom to ask now."""
        if self._book.preferred is not None:
            return self._book.preferred
        self._turn += 1
        return self._book.endpoints[(self._turn - 1) % len(self._book.endpoints)]

    def patience(self) -> float:
        """How long to wait for the answer."""
        return max(0.001, min(TRY_SECONDS, self._until - time.monotonic()))

    def answered(self, address: str) -> None:
        self._book.preferred = address

    def failed(self, failure: Failure) -> float:
        """How long to wait before the next try; raises where there is none."""
        wait = self._pause
        leader, after = failure.trailers.get(LEADER_TRAILER), failure.trailers.get(RETRY_AFTER_TRAILER)
        if failure.code == "FAILED_PRECONDITION" and leader is not None:
            # A redirect is followed at once, but not in circles: the pause grows all the same.
            wait = 0.0 if self._redirects < 8 else wait
            self._redirects += 1
            self._book.preferred = leader
        elif failure.code in ("UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED", "UNKNOWN"):
            self._book.preferred = None
        elif failure.code == "RESOURCE_EXHAUSTED" and after is not None and after.isdecimal():
            wait = int(after) / 1000
        else:
            raise _REFUSED.get(failure.code, errors.Refused)(failure.message, failure.code)
        if time.monotonic() + wait >= self._until:
            if failure.code == "RESOURCE_EXHAUSTED":
                raise errors.Overloaded(failure.message, failure.code)
            asked = ", ".join(self._book.endpoints)
            raise errors.NoAnswer(f"{self._call}: no answer from {asked} within {self._deadline:g} s; the last: {failure.message}")
        self._pause = min(self._pause * 2, 1.0)
        return wait


# What a watcher is told


class Watching:
    """A run being watched, over failovers: when a stream breaks it is opened again, and what changed meanwhile is worked out from the
    tasks' states, so that a watcher sees each task's way to its end, if not every step of it."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._seq = 0
        self._tasks: dict[str, tuple[State, int]] = {}
        self._state: State | None = None
        self._ended = False

    def has_ended(self) -> bool:
        return self._ended

    def call(self) -> Call[pb.WatchRunResponse, pb.WatchRunResponse]:
        return Call("WatchRun", pb.WatchRunRequest(run_id=self._run_id, after_seq=self._seq), lambda answer: answer)

    def is_behind(self, message: pb.WatchRunResponse) -> bool:
        """From a coordinator that knows less than was seen: another is to be asked, after a moment."""
        return 0 < message.seq < self._seq

    def take(self, message: pb.WatchRunResponse) -> Update | None:
        """What it says that is new."""
        self._seq = max(self._seq, message.seq)
        run = RunInfo.of(message.run)
        changes: list[Change] = []
        for task in map(TaskInfo.of, message.tasks):
            now = (task.state, task.attempt.number if task.attempt else 0)
            before = self._tasks.get(task.id)
            self._tasks[task.id] = now
            if before != now and (before is not None or now[0] is not State.PENDING):
                changes.append(Change.of_task(task))
        for change in map(Change.of, message.changes):
            if change.task:
                self._tasks[change.task] = (change.state, change.attempt)
            changes.append(change)
        self._ended = run.state.is_terminal and not message.more
        if message.more and not changes:
            return None
        same, self._state = self._state is run.state, run.state
        if same and not changes and not self._ended:
            return None
        return Update(run, tuple(changes), caught_up=bool(message.tasks))


class Reading:
    """A log being read, over failovers: by the offset of what was read."""

    def __init__(self, run_id: str, task: str | Task, attempt: int | None, follow: bool) -> None:
        self._request = pb.ReadLogsRequest(run_id=run_id, task=task_id(task), attempt=attempt or 0, follow=follow)
        self._rest = b""

    def call(self) -> Call[pb.ReadLogsResponse, pb.ReadLogsResponse]:
        return Call("ReadLogs", self._request, lambda answer: answer)

    def take(self, message: pb.ReadLogsResponse) -> list[str]:
        """The lines that are complete now."""
        # A log taken up again is that of the same attempt.
        self._request.attempt = message.attempt
        self._request.offset = message.offset
        *lines, self._rest = (self._rest + message.data).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]

    def end(self) -> list[str]:
        return [self._rest.decode("utf-8", "replace")] if self._rest else []


def failure_of(error: grpc.RpcError) -> Failure:
    return Failure.of(error)


def failed_run(info: RunInfo) -> errors.RunFailed:
    """What `Run.result()` raises."""
    lines = [f"run {info.id} of {info.pipeline} ended {info.state}" + (f"({info.reason})" if info.reason else "")]
    for task in info.tasks.values():
        if task.state in (State.FAILED, State.CANCELLED):
            lines.append(f"{task.id}: {task.state}({task.reason})" + (f": {task.detail}" if task.detail else ""))
    return errors.RunFailed("\n  ".join(lines), info.id)


def failed_backfill(info: BackfillInfo) -> errors.BackfillFailed:
    """What `Backfill.result()` raises."""
    lines = [f"backfill {info.id} of {info.pipeline} ended {info.state}: {info.progress}"]
    if info.cancelled is not None and info.cancelled.note:
        lines.append(f"cancelled by {info.cancelled.by}: {info.cancelled.note}")
    for one in info.intervals:
        if one.state is not None and one.state is not State.SUCCESS:
            lines.append(f"[{one.interval.start.isoformat()}, {one.interval.end.isoformat()}): {one.state}")
    return errors.BackfillFailed("\n  ".join(lines), info.id)


class Following:
    """How long to wait between looks at a backfill; raises where it is too late."""

    def __init__(self, id: str, timeout: float | None) -> None:
        self._id = id
        self._timeout = timeout
        self._until = None if timeout is None else time.monotonic() + timeout
        self._pause = 0.05

    def pause(self) -> float:
        left = self._pause if self._until is None else self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"backfill {self._id} has not ended within {self._timeout:g} s")
        pause, self._pause = min(self._pause, left), min(0.5, self._pause * 1.5)
        return pause
