"""What the cluster tells: runs, tasks, attempts and what changes. Plain frozen data, made from the messages of the contract."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from ._names import moment
from .interval import Interval

if TYPE_CHECKING:
    from ._yaml import Plain
    from .tasks import Task
    from .v1 import control_pb2 as pb
    from .v1 import types_pb2 as types

__all__ = [
    "AttemptInfo",
    "Audit",
    "BackfillInfo",
    "BackfillInterval",
    "BackfillOptions",
    "BackfillPlan",
    "BackfillProgress",
    "Change",
    "ClusterInfo",
    "DeadEvent",
    "DueInterval",
    "Emitted",
    "HeldAttempt",
    "LogLine",
    "PipelineInfo",
    "PlannedInterval",
    "PoolInfo",
    "Registered",
    "Rewound",
    "RunInfo",
    "ScheduleInfo",
    "State",
    "TaskInfo",
    "TriggerInfo",
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
    def of(cls, message: pb.RegisterResponse | pb.WouldRegisterResponse) -> Registered:
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
    """manual, pipeline, schedule, event, file, dependency or backfill"""
    by: str
    """Who or what started it, as claimed."""
    source: str
    """What of the trigger: an event's id, a file's path, the run that ended, a backfill; empty if there is none."""
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
            source=message.trigger.source,
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


# Schedules and triggers


@dataclass(frozen=True)
class DueInterval:
    """An interval of a schedule."""

    interval: Interval
    due_at: datetime
    """When its run starts."""
    local_start: str
    """Its start in the pipeline's zone, with the offset."""
    local_end: str
    local_due: str
    outcome: str
    """What became of it; empty: nothing yet."""

    @property
    def date(self) -> date:
        """Of its start, in the pipeline's zone."""
        return date.fromisoformat(self.local_start[:10])

    @classmethod
    def of(cls, message: pb.DueInterval) -> DueInterval:
        return cls(
            interval=Interval.of_ms(message.interval.start_ms, message.interval.end_ms),
            due_at=moment(message.due_at_ms),
            local_start=message.local_start,
            local_end=message.local_end,
            local_due=message.local_due,
            outcome=message.outcome,
        )


@dataclass(frozen=True)
class ScheduleInfo:
    """A schedule, and the intervals that it has in some time."""

    pipeline: str
    zone: str
    next_begins: datetime | None
    """Where the next interval begins; `None`: it has no schedule."""
    intervals: Sequence[DueInterval]
    paused: Mapping[str, Audit]
    """The triggers that are paused, `schedule` among them, and who paused them."""
    skipped: Mapping[str, int]
    """How many intervals were skipped, by reason: paused, catchup, overlap, max_queued, refused."""
    stopped: str
    """Why no schedule fires now; empty if all is well."""

    @classmethod
    def of(cls, message: pb.GetScheduleResponse) -> ScheduleInfo:
        return cls(
            pipeline=message.pipeline,
            zone=message.zone,
            next_begins=_time(message.next_begins_ms),
            intervals=tuple(map(DueInterval.of, message.intervals)),
            paused={paused.trigger: Audit.of(paused.audit) for paused in message.paused},
            skipped={skipped.reason: skipped.count for skipped in message.skipped},
            stopped=message.stopped,
        )


@dataclass(frozen=True)
class Rewound:
    """What came of a rewind."""

    changed: bool
    """False where it was so already."""
    next_begins: datetime
    """Where the next interval begins now."""

    @classmethod
    def of(cls, message: pb.RewindScheduleResponse) -> Rewound:
        return cls(message.changed, moment(message.next_begins_ms))


@dataclass(frozen=True)
class TriggerInfo:
    """What starts runs of a pipeline, and how it stands."""

    pipeline: str
    name: str
    """`schedule` is the pipeline's schedule."""
    kind: str
    """schedule, event, pipelines or file"""
    of: str
    """Its cron expressions, the event's name, pipelines, a path."""
    paused: Audit | None
    gathered: int
    """Events gathered for its next run, by `debounce`."""
    starts_at: datetime | None
    """When that starts."""
    files: int
    """Files it has seen."""
    trouble: str
    """Why it cannot look; empty if it can."""

    @classmethod
    def from_message(cls, message: pb.TriggerInfo) -> TriggerInfo:
        return cls(
            pipeline=message.pipeline,
            name=message.name,
            kind=message.kind,
            of=message.of,
            paused=Audit.of(message.paused) if message.HasField("paused") else None,
            gathered=message.gathered,
            starts_at=_time(message.starts_at_ms),
            files=message.files,
            trouble=message.trouble,
        )


@dataclass(frozen=True)
class Emitted:
    """An event that was accepted."""

    id: str
    """The `source` of the runs that it starts."""
    number: int


@dataclass(frozen=True)
class DeadEvent:
    """Something that happened and started no run where it should have."""

    number: int
    at: datetime
    pipeline: str
    """Whose trigger could not take it; empty: there was none for it."""
    trigger: str
    why: str
    event: Mapping[str, Any]
    """What it carried."""

    @classmethod
    def of(cls, message: types.DeadEvent) -> DeadEvent:
        happening = message.happening
        return cls(
            number=message.no,
            at=moment(happening.at_ms),
            pipeline=message.pipeline,
            trigger=message.trigger,
            why=message.why,
            event=json.loads(happening.event or "{}"),
        )


# Backfills


class BackfillOptions(TypedDict, total=False):
    """What a backfill says beside its dates, as keyword arguments of `Pipeline.backfill` and `Client.backfill`."""

    reprocess: Literal["none", "failed", "all"]
    """Which of the intervals that ran before run again: `none`, if nothing is said, `failed` ones (and cancelled), or `all`."""
    tasks: Sequence[str | Task] | str | Task
    """Only these tasks, or selectors: `t`, `+t` with all above, `t+` with all below, `+t+`; what is above them counts as done."""
    params: Mapping[str, Plain]
    """Parameters of its runs."""
    max_active: int
    """Runs of it at once; 4 if nothing is said, 1 where a run waits for the one before."""
    order: Literal["oldest", "newest"]
    """Which interval comes first; the oldest, if nothing is said."""
    every: str | timedelta
    """The length of intervals, for a pipeline without a schedule."""
    cascade: bool
    """The ends of its runs start dependent pipelines too."""
    id: str
    """A name for it; the same id again is the same backfill. One is minted, if none is given."""
    note: str
    """Why, for people."""


@dataclass(frozen=True)
class PlannedInterval:
    """An interval of a backfill's dates."""

    interval: Interval
    local_start: str
    """Its start in the pipeline's zone, with the offset."""
    local_end: str
    runs: bool
    """Whether the backfill runs it."""
    why: str
    """Why, or why not."""

    @property
    def date(self) -> date:
        """Of its start, in the pipeline's zone."""
        return date.fromisoformat(self.local_start[:10])

    @classmethod
    def of(cls, message: pb.PlannedInterval) -> PlannedInterval:
        interval = Interval.of_ms(message.interval.start_ms, message.interval.end_ms)
        return cls(interval, message.local_start, message.local_end, message.runs, message.why)


@dataclass(frozen=True)
class BackfillPlan:
    """What a backfill runs, and what it leaves and why."""

    intervals: Sequence[PlannedInterval]
    """All of its dates, in the order of time."""
    zone: str
    max_active: int
    """Runs at once."""
    mean_run: timedelta | None
    """How long the newest runs with SUCCESS took, on average; `None`: there is none yet."""

    @property
    def to_run(self) -> Sequence[PlannedInterval]:
        """The intervals that it runs."""
        return [planned for planned in self.intervals if planned.runs]

    @property
    def left(self) -> Sequence[PlannedInterval]:
        """The intervals that it leaves as they are."""
        return [planned for planned in self.intervals if not planned.runs]

    @property
    def estimate(self) -> timedelta | None:
        """How long it may take, by `mean_run`; `None` where nothing is known."""
        return None if self.mean_run is None else self.mean_run * -(-len(self.to_run) // max(1, self.max_active))

    @classmethod
    def of(cls, message: pb.CreateBackfillResponse) -> BackfillPlan:
        return cls(
            intervals=tuple(map(PlannedInterval.of, message.intervals)),
            zone=message.zone,
            max_active=message.max_active,
            mean_run=timedelta(milliseconds=message.mean_run_ms) if message.mean_run_ms else None,
        )


@dataclass(frozen=True)
class BackfillProgress:
    """How far a backfill is, in intervals."""

    total: int
    started: int
    """That have a run."""
    succeeded: int
    failed: int
    cancelled: int

    @property
    def ended(self) -> int:
        """Whose runs have ended."""
        return self.succeeded + self.failed + self.cancelled

    @property
    def running(self) -> int:
        """Whose runs have not ended."""
        return self.started - self.ended

    @property
    def fraction(self) -> float:
        """From 0 to 1."""
        return self.ended / self.total if self.total else 1.0

    def __str__(self) -> str:
        said = [f"{self.ended} of {self.total} ended"]
        said += [f"{count} {word}" for count, word in ((self.running, "running"), (self.failed, "failed"), (self.cancelled, "cancelled")) if count]
        return ", ".join(said)


@dataclass(frozen=True)
class BackfillInterval:
    """An interval of a backfill, and how its run ended."""

    interval: Interval
    state: State | None
    """`None`: it has no run yet, or that has not ended."""


@dataclass(frozen=True)
class BackfillInfo:
    """A backfill as it was at one moment."""

    id: str
    pipeline: str
    """`namespace/name`"""
    state: State
    """RUNNING until it ends: SUCCESS if every run did, CANCELLED, or FAILED."""
    progress: BackfillProgress
    tasks: Sequence[str]
    """Only these; empty: all."""
    params: Mapping[str, Any]
    max_active: int
    cascade: bool
    created: Audit
    paused: Audit | None
    cancelled: Audit | None
    ended_at: datetime | None
    live: Sequence[str]
    """Ids of its runs that have not ended."""
    intervals: Sequence[BackfillInterval] = field(default=(), repr=False)
    """In the order in which they run. Only where the backfill was asked for by its id."""

    @property
    def duration(self) -> timedelta | None:
        """Of one that has ended."""
        return self.ended_at - self.created.at if self.ended_at else None

    @classmethod
    def of(cls, message: pb.BackfillInfo) -> BackfillInfo:
        backfill = message.backfill
        ended = {number: State.of(state) for number, state in zip(backfill.ended[::2], backfill.ended[1::2])}
        intervals: list[BackfillInterval] = []
        at = 0
        for number, (gap, length) in enumerate(zip(backfill.bounds[::2], backfill.bounds[1::2])):
            start, at = at + gap, at + gap + length
            intervals.append(BackfillInterval(Interval.of_ms(start, at), ended.get(number)))
        return cls(
            id=backfill.id,
            pipeline=backfill.pipeline,
            state=State.of(backfill.state),
            progress=BackfillProgress(message.intervals, backfill.next, message.succeeded, message.failed, message.cancelled),
            tasks=tuple(backfill.only),
            params=json.loads(backfill.params or "{}"),
            max_active=backfill.max_active,
            cascade=backfill.cascade,
            created=Audit.of(backfill.created),
            paused=Audit.of(backfill.paused) if backfill.HasField("paused") else None,
            cancelled=Audit.of(backfill.cancelled) if backfill.HasField("cancelled") else None,
            ended_at=_time(backfill.ended_at_ms),
            live=tuple(message.live),
            intervals=tuple(intervals),
        )
