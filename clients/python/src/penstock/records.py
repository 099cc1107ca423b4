"""What the cluster tells: runs, tasks, attempts and what changes. Plain frozen data, made from the messages of the contract."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from ._names import moment
from .interval import Interval

if TYPE_CHECKING:
    from .v1 import control_pb2 as pb
    from .v1 import types_pb2 as types

__all__ = [
    "AttemptInfo",
    "Audit",
    "Change",
    "ClusterInfo",
    "HeldAttempt",
    "LogLine",
    "PipelineInfo",
    "PoolInfo",
    "Registered",
    "RunInfo",
    "State",
    "TaskInfo",
    "Update",
    "Why",
    "WorkerInfo",
]


class State(str, Enum):
    """Where a run, task or attempt stands. The words are what users see everywhere."""

    PENDING = "PENDING"
    """Not started: waiting for upstreams or a slot; a run: queued."""
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    RETRY = "RETRY"
    """Failed or lost, with budget left."""
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more happens in this generation."""
        return self in (State.SUCCESS, State.FAILED, State.SKIPPED, State.CANCELLED)

    @classmethod
    def of(cls, number: int) -> State:
        """From the contract."""
        return _STATES[number]

    @property
    def number(self) -> int:
        """In the contract."""
        return _STATES.index(self)

    def __str__(self) -> str:
        return self.value


_STATES = tuple(State)


def _time(ms: int) -> datetime | None:
    return moment(ms) if ms else None


def _interval(message: types.Run) -> Interval | None:
    return Interval.of_ms(message.interval.start_ms, message.interval.end_ms) if message.HasField("interval") else None


@dataclass(frozen=True)
class Registered:
    """What came of a registration."""

    pipeline: str
    version: int
    created: bool
    """False where the same definition was there."""
    warnings: Sequence[str] = ()

    @classmethod
    def of(cls, message: pb.RegisterResponse) -> Registered:
        return cls(message.pipeline, message.version, message.created, tuple(message.warnings))


@dataclass(frozen=True)
class Audit:
    """What a person did, as claimed."""

    at: datetime
    verb: str
    subject: str
    by: str
    note: str

    @classmethod
    def of(cls, message: types.Audit) -> Audit:
        return cls(moment(message.at_ms), message.verb, message.subject, message.by, message.note)


@dataclass(frozen=True)
class AttemptInfo:
    """One attempt of a task."""

    number: int
    state: State
    reason: str
    detail: str
    worker: str
    fence: int
    leased_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    metrics: Mapping[str, float]

    @property
    def duration(self) -> timedelta | None:
        """Of one that has ended."""
        return self.ended_at - self.started_at if self.ended_at and self.started_at else None

    @classmethod
    def of(cls, message: types.Attempt) -> AttemptInfo:
        return cls(
            number=message.number,
            state=State.of(message.state),
            reason=message.reason,
            detail=message.detail,
            worker=message.worker,
            fence=message.fence,
            leased_at=_time(message.leased_at_ms),
            started_at=_time(message.started_at_ms),
            ended_at=_time(message.ended_at_ms),
            exit_code=message.exit_code if message.HasField("exit_code") else None,
            metrics=dict(message.metrics),
        )


@dataclass(frozen=True)
class TaskInfo:
    """A task of a run, or an instance of a mapped one."""

    id: str
    index: int
    state: State
    reason: str
    """A word such as exit_code; empty if none."""
    detail: str
    attempts: Sequence[AttemptInfo]
    outputs: Mapping[str, Any]
    instance: int | None
    """The number of an instance of a mapped task."""
    not_before: datetime | None
    """When a RETRY starts again."""
    changed_at: datetime | None
    child: str
    """The id of the run it started."""

    @property
    def attempt(self) -> AttemptInfo | None:
        """The newest."""
        return self.attempts[-1] if self.attempts else None

    @property
    def metrics(self) -> Mapping[str, float]:
        """Of the newest attempt."""
        return self.attempts[-1].metrics if self.attempts else {}

    @classmethod
    def of(cls, message: types.Task) -> TaskInfo:
        attempts = tuple(map(AttemptInfo.of, message.attempts))
        return cls(
            id=message.id,
            index=message.index,
            state=State.of(message.state),
            reason=message.reason,
            detail=message.detail or (attempts[-1].detail if attempts else ""),
            attempts=attempts,
            outputs={key: json.loads(text) for key, text in message.outputs.items()},
            instance=message.instance if message.HasField("instance") else None,
            not_before=_time(message.not_before_ms),
            changed_at=_time(message.changed_at_ms),
            child=message.child,
        )


@dataclass(frozen=True)
class RunInfo:
    """A run as it was at one moment."""

    id: str
    no: int
    pipeline: str
    """`namespace/name`"""
    version: int
    generation: int
    state: State
    reason: str
    """A word such as task_failed; empty if none."""
    interval: Interval | None
    params: Mapping[str, Any]
    trigger: str
    """manual, pipeline, …"""
    by: str
    """Who or what started it, as claimed."""
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    paused: bool
    counts: Mapping[State, int]
    """Tasks by state."""
    audit: Sequence[Audit]
    parent: str
    """The run whose `pipeline` task started it; empty if none did."""
    tasks: Mapping[str, TaskInfo] = field(default_factory=dict[str, TaskInfo], repr=False)
    """By id. Only where a run was asked for by its id: lists and watches do not have them."""

    @property
    def duration(self) -> timedelta | None:
        """Of one that has ended."""
        return self.ended_at - self.started_at if self.ended_at and self.started_at else None

    @classmethod
    def of(cls, message: types.Run, tasks: Sequence[types.Task] = ()) -> RunInfo:
        return cls(
            id=message.run_id,
            no=message.no,
            pipeline=message.pipeline,
            version=message.version,
            generation=message.generation,
            state=State.of(message.state),
            reason=message.reason,
            interval=_interval(message),
            params=json.loads(message.params or "{}"),
            trigger=message.trigger.kind,
            by=message.trigger.by,
            created_at=_time(message.created_at_ms),
            started_at=_time(message.started_at_ms),
            ended_at=_time(message.ended_at_ms),
            paused=message.paused,
            counts={state: count for state, count in zip(_STATES, message.counts) if count},
            audit=tuple(map(Audit.of, message.audit)),
            parent=message.parent.run_id,
            tasks={task.id: TaskInfo.of(task) for task in tasks},
        )


@dataclass(frozen=True)
class Change:
    """A step of a task, or of the run itself, whose `task` is empty."""

    at: datetime | None
    task: str
    state: State
    reason: str
    detail: str
    attempt: int
    worker: str
    duration: timedelta | None
    metrics: Mapping[str, float]

    @classmethod
    def of(cls, message: pb.Change) -> Change:
        return cls(
            at=_time(message.at_ms),
            task=message.task,
            state=State.of(message.state),
            reason=message.reason,
            detail=message.detail,
            attempt=message.attempt,
            worker=message.worker,
            duration=timedelta(milliseconds=message.duration_ms) if message.HasField("duration_ms") else None,
            metrics=dict(message.metrics),
        )

    @classmethod
    def of_task(cls, task: TaskInfo) -> Change:
        """What is known of the last step of a task that is shown as it is."""
        last = task.attempt
        return cls(
            at=task.changed_at or (last.ended_at or last.leased_at if last else None),
            task=task.id,
            state=task.state,
            reason=task.reason,
            detail=task.detail,
            attempt=last.number if last else 0,
            worker=last.worker if last else "",
            duration=last.duration if last else None,
            metrics=last.metrics if last else {},
        )


@dataclass(frozen=True)
class Update:
    """What a watcher is told."""

    run: RunInfo
    """As it is now."""
    changes: Sequence[Change]
    """Since the update before; at first, every task that is not PENDING."""
    caught_up: bool
    """Whether the changes are worked out from states, so that steps in between may be missing."""


@dataclass(frozen=True)
class LogLine:
    """A line of an attempt's log."""

    at: datetime | None
    stream: str
    """`O` standard output, `E` standard error, `P` Penstock itself; empty for a line in no such form."""
    text: str

    @classmethod
    def parse(cls, line: str) -> LogLine:
        time, _, rest = line.partition(" ")
        stream, _, text = rest.partition(" ")
        try:
            if stream not in ("O", "E", "P"):
                raise ValueError(stream)
            return cls(datetime.fromisoformat(time.replace("Z", "+00:00")), stream, text)
        except ValueError:
            return cls(None, "", line)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class PipelineInfo:
    """A pipeline and its newest version."""

    name: str
    version: int
    registered_at: datetime | None
    description: str
    owner: str
    tags: Sequence[str]
    tasks: int
    digest: str
    paused: Audit | None
    unregistered: Audit | None
    queued_runs: int
    active_runs: int
    definition: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """The checked definition, defaults merged. Only where the pipeline was asked for by name."""

    @classmethod
    def of(cls, message: pb.Pipeline, definition: str = "") -> PipelineInfo:
        return cls(
            name=message.name,
            version=message.version,
            registered_at=_time(message.registered_at_ms),
            description=message.description,
            owner=message.owner,
            tags=tuple(message.tags),
            tasks=message.tasks,
            digest=message.digest,
            paused=Audit.of(message.paused) if message.HasField("paused") else None,
            unregistered=Audit.of(message.unregistered) if message.HasField("unregistered") else None,
            queued_runs=message.queued_runs,
            active_runs=message.active_runs,
            definition=json.loads(definition or "{}"),
        )


@dataclass(frozen=True)
class HeldAttempt:
    """An attempt that holds something."""

    run_id: str
    task: str
    attempt: int

    @classmethod
    def of(cls, message: pb.HeldAttempt) -> HeldAttempt:
        return cls(message.run_id, message.task, message.attempt)


_NO_LIMIT = 2**32 - 1


@dataclass(frozen=True)
class PoolInfo:
    """A pool: a cluster-wide count."""

    name: str
    slots: int | None
    """`None`: no limit."""
    used: int
    waiting: int
    """Ready tasks that want it."""
    holders: Sequence[HeldAttempt]

    @classmethod
    def of(cls, message: pb.PoolInfo) -> PoolInfo:
        slots = None if message.slots == _NO_LIMIT else message.slots
        return cls(message.name, slots, message.used, message.waiting, tuple(map(HeldAttempt.of, message.holders)))


@dataclass(frozen=True)
class WorkerInfo:
    """A worker."""

    name: str
    attached: bool
    slots: int
    used: int
    queues: Sequence[str]
    labels: Mapping[str, str]
    drained: bool
    closed: bool
    """Takes no new lease."""
    attempts: Sequence[HeldAttempt]

    @classmethod
    def of(cls, message: pb.WorkerInfo) -> WorkerInfo:
        return cls(
            name=message.name,
            attached=bool(message.session),
            slots=message.slots,
            used=message.used,
            queues=tuple(message.queues),
            labels=dict(message.labels),
            drained=message.drained,
            closed=message.closed,
            attempts=tuple(map(HeldAttempt.of, message.attempts)),
        )


@dataclass(frozen=True)
class Why:
    """One link of the chain that says why something is not running."""

    kind: str
    """A stable word: upstream, no_slot, …"""
    text: str
    fields: Mapping[str, str]
    remedy: str
    """A command that would unblock it, if one would."""

    @classmethod
    def of(cls, message: pb.Why) -> Why:
        return cls(message.kind, message.text, dict(message.fields), message.remedy)


@dataclass(frozen=True)
class ClusterInfo:
    """Who leads, and how the coordinator that answers stands."""

    node: str
    leading: bool
    leader_name: str
    leader_address: str
    """host:port, empty while there is none."""
    seq: int
    store: str
    trouble: str
    """Why nothing is started; empty if all is well."""
    live_runs: int
    leases: int

    @classmethod
    def of(cls, message: pb.GetClusterResponse) -> ClusterInfo:
        return cls(
            node=message.node,
            leading=message.leading,
            leader_name=message.leader_name,
            leader_address=message.leader_address,
            seq=message.seq,
            store=message.store,
            trouble=message.trouble,
            live_runs=message.live_runs,
            leases=message.leases,
        )
