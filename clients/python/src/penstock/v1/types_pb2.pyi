from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATE_PENDING: _ClassVar[State]
    STATE_RUNNING: _ClassVar[State]
    STATE_SUCCESS: _ClassVar[State]
    STATE_FAILED: _ClassVar[State]
    STATE_RETRY: _ClassVar[State]
    STATE_SKIPPED: _ClassVar[State]
    STATE_CANCELLED: _ClassVar[State]
STATE_PENDING: State
STATE_RUNNING: State
STATE_SUCCESS: State
STATE_FAILED: State
STATE_RETRY: State
STATE_SKIPPED: State
STATE_CANCELLED: State

class Epoch(_message.Message):
    __slots__ = ("incarnation", "revision")
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    incarnation: int
    revision: int
    def __init__(self, incarnation: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class Interval(_message.Message):
    __slots__ = ("start_ms", "end_ms")
    START_MS_FIELD_NUMBER: _ClassVar[int]
    END_MS_FIELD_NUMBER: _ClassVar[int]
    start_ms: int
    end_ms: int
    def __init__(self, start_ms: _Optional[int] = ..., end_ms: _Optional[int] = ...) -> None: ...

class Trigger(_message.Message):
    __slots__ = ("kind", "by", "source", "depth")
    KIND_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    kind: str
    by: str
    source: str
    depth: int
    def __init__(self, kind: _Optional[str] = ..., by: _Optional[str] = ..., source: _Optional[str] = ..., depth: _Optional[int] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("no", "run_id", "pipeline", "version", "generation", "trigger", "interval", "params", "state", "reason", "cancel", "created_at_ms", "started_at_ms", "ended_at_ms", "generation_at_ms", "run_timeout_ms", "request_digest", "tasks", "counts", "quarantined", "paused", "parent", "audit")
    NO_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_AT_MS_FIELD_NUMBER: _ClassVar[int]
    RUN_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    no: int
    run_id: str
    pipeline: str
    version: int
    generation: int
    trigger: Trigger
    interval: Interval
    params: str
    state: State
    reason: str
    cancel: str
    created_at_ms: int
    started_at_ms: int
    ended_at_ms: int
    generation_at_ms: int
    run_timeout_ms: int
    request_digest: int
    tasks: int
    counts: _containers.RepeatedScalarFieldContainer[int]
    quarantined: str
    paused: bool
    parent: Parent
    audit: _containers.RepeatedCompositeFieldContainer[Audit]
    def __init__(self, no: _Optional[int] = ..., run_id: _Optional[str] = ..., pipeline: _Optional[str] = ..., version: _Optional[int] = ..., generation: _Optional[int] = ..., trigger: _Optional[_Union[Trigger, _Mapping]] = ..., interval: _Optional[_Union[Interval, _Mapping]] = ..., params: _Optional[str] = ..., state: _Optional[_Union[State, str]] = ..., reason: _Optional[str] = ..., cancel: _Optional[str] = ..., created_at_ms: _Optional[int] = ..., started_at_ms: _Optional[int] = ..., ended_at_ms: _Optional[int] = ..., generation_at_ms: _Optional[int] = ..., run_timeout_ms: _Optional[int] = ..., request_digest: _Optional[int] = ..., tasks: _Optional[int] = ..., counts: _Optional[_Iterable[int]] = ..., quarantined: _Optional[str] = ..., paused: bool = ..., parent: _Optional[_Union[Parent, _Mapping]] = ..., audit: _Optional[_Iterable[_Union[Audit, _Mapping]]] = ...) -> None: ...

class Backfill(_message.Message):
    __slots__ = ("id", "pipeline", "bounds", "only", "params", "max_active", "cascade", "created", "next", "ended", "paused", "cancelled", "state", "ended_at_ms", "request_digest")
    ID_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    BOUNDS_FIELD_NUMBER: _ClassVar[int]
    ONLY_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    MAX_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    CASCADE_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    id: str
    pipeline: str
    bounds: _containers.RepeatedScalarFieldContainer[int]
    only: _containers.RepeatedScalarFieldContainer[str]
    params: str
    max_active: int
    cascade: bool
    created: Audit
    next: int
    ended: _containers.RepeatedScalarFieldContainer[int]
    paused: Audit
    cancelled: Audit
    state: State
    ended_at_ms: int
    request_digest: int
    def __init__(self, id: _Optional[str] = ..., pipeline: _Optional[str] = ..., bounds: _Optional[_Iterable[int]] = ..., only: _Optional[_Iterable[str]] = ..., params: _Optional[str] = ..., max_active: _Optional[int] = ..., cascade: bool = ..., created: _Optional[_Union[Audit, _Mapping]] = ..., next: _Optional[int] = ..., ended: _Optional[_Iterable[int]] = ..., paused: _Optional[_Union[Audit, _Mapping]] = ..., cancelled: _Optional[_Union[Audit, _Mapping]] = ..., state: _Optional[_Union[State, str]] = ..., ended_at_ms: _Optional[int] = ..., request_digest: _Optional[int] = ...) -> None: ...

class Happening(_message.Message):
    __slots__ = ("emitted", "ended", "file", "event", "at_ms")
    EMITTED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    emitted: Emitted
    ended: EndedRun
    file: FoundFile
    event: str
    at_ms: int
    def __init__(self, emitted: _Optional[_Union[Emitted, _Mapping]] = ..., ended: _Optional[_Union[EndedRun, _Mapping]] = ..., file: _Optional[_Union[FoundFile, _Mapping]] = ..., event: _Optional[str] = ..., at_ms: _Optional[int] = ...) -> None: ...

class Emitted(_message.Message):
    __slots__ = ("name", "id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    id: str
    def __init__(self, name: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class EndedRun(_message.Message):
    __slots__ = ("pipeline", "run_id", "state", "interval", "depth")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    run_id: str
    state: State
    interval: Interval
    depth: int
    def __init__(self, pipeline: _Optional[str] = ..., run_id: _Optional[str] = ..., state: _Optional[_Union[State, str]] = ..., interval: _Optional[_Union[Interval, _Mapping]] = ..., depth: _Optional[int] = ...) -> None: ...

class FoundFile(_message.Message):
    __slots__ = ("pipeline", "trigger", "path", "version")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    trigger: str
    path: str
    version: str
    def __init__(self, pipeline: _Optional[str] = ..., trigger: _Optional[str] = ..., path: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class DeadEvent(_message.Message):
    __slots__ = ("no", "happening", "pipeline", "trigger", "why")
    NO_FIELD_NUMBER: _ClassVar[int]
    HAPPENING_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    no: int
    happening: Happening
    pipeline: str
    trigger: str
    why: str
    def __init__(self, no: _Optional[int] = ..., happening: _Optional[_Union[Happening, _Mapping]] = ..., pipeline: _Optional[str] = ..., trigger: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class Parent(_message.Message):
    __slots__ = ("run", "run_id", "task", "depth")
    RUN_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    run: int
    run_id: str
    task: int
    depth: int
    def __init__(self, run: _Optional[int] = ..., run_id: _Optional[str] = ..., task: _Optional[int] = ..., depth: _Optional[int] = ...) -> None: ...

class Audit(_message.Message):
    __slots__ = ("at_ms", "verb", "subject", "by", "note")
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    VERB_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    at_ms: int
    verb: str
    subject: str
    by: str
    note: str
    def __init__(self, at_ms: _Optional[int] = ..., verb: _Optional[str] = ..., subject: _Optional[str] = ..., by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("index", "id", "state", "reason", "not_before_ms", "failures", "lost", "deaths", "attempts", "outputs", "instance", "mapped", "detail", "changed_at_ms", "child", "items", "gone", "stopping", "tried_until_ms")
    class OutputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_MS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    DEATHS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    MAPPED_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    CHANGED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    CHILD_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    STOPPING_FIELD_NUMBER: _ClassVar[int]
    TRIED_UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    index: int
    id: str
    state: State
    reason: str
    not_before_ms: int
    failures: int
    lost: int
    deaths: int
    attempts: _containers.RepeatedCompositeFieldContainer[Attempt]
    outputs: _containers.ScalarMap[str, str]
    instance: int
    mapped: Mapped
    detail: str
    changed_at_ms: int
    child: str
    items: bytes
    gone: bool
    stopping: str
    tried_until_ms: int
    def __init__(self, index: _Optional[int] = ..., id: _Optional[str] = ..., state: _Optional[_Union[State, str]] = ..., reason: _Optional[str] = ..., not_before_ms: _Optional[int] = ..., failures: _Optional[int] = ..., lost: _Optional[int] = ..., deaths: _Optional[int] = ..., attempts: _Optional[_Iterable[_Union[Attempt, _Mapping]]] = ..., outputs: _Optional[_Mapping[str, str]] = ..., instance: _Optional[int] = ..., mapped: _Optional[_Union[Mapped, _Mapping]] = ..., detail: _Optional[str] = ..., changed_at_ms: _Optional[int] = ..., child: _Optional[str] = ..., items: _Optional[bytes] = ..., gone: bool = ..., stopping: _Optional[str] = ..., tried_until_ms: _Optional[int] = ...) -> None: ...

class Mapped(_message.Message):
    __slots__ = ("count", "segments", "counts")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    count: int
    segments: _containers.RepeatedScalarFieldContainer[int]
    counts: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, count: _Optional[int] = ..., segments: _Optional[_Iterable[int]] = ..., counts: _Optional[_Iterable[int]] = ...) -> None: ...

class Attempt(_message.Message):
    __slots__ = ("number", "fence", "worker", "session", "state", "reason", "detail", "leased_at_ms", "started_at_ms", "ended_at_ms", "exit_code", "metrics")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    LEASED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    number: int
    fence: int
    worker: str
    session: str
    state: State
    reason: str
    detail: str
    leased_at_ms: int
    started_at_ms: int
    ended_at_ms: int
    exit_code: int
    metrics: _containers.ScalarMap[str, float]
    def __init__(self, number: _Optional[int] = ..., fence: _Optional[int] = ..., worker: _Optional[str] = ..., session: _Optional[str] = ..., state: _Optional[_Union[State, str]] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., leased_at_ms: _Optional[int] = ..., started_at_ms: _Optional[int] = ..., ended_at_ms: _Optional[int] = ..., exit_code: _Optional[int] = ..., metrics: _Optional[_Mapping[str, float]] = ...) -> None: ...

class Ended(_message.Message):
    __slots__ = ("state", "reason", "detail", "exit_code", "started_at_ms", "ended_at_ms", "metrics", "outputs", "worker_died", "items")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class OutputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    WORKER_DIED_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    state: State
    reason: str
    detail: str
    exit_code: int
    started_at_ms: int
    ended_at_ms: int
    metrics: _containers.ScalarMap[str, float]
    outputs: _containers.ScalarMap[str, str]
    worker_died: bool
    items: bytes
    def __init__(self, state: _Optional[_Union[State, str]] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., exit_code: _Optional[int] = ..., started_at_ms: _Optional[int] = ..., ended_at_ms: _Optional[int] = ..., metrics: _Optional[_Mapping[str, float]] = ..., outputs: _Optional[_Mapping[str, str]] = ..., worker_died: bool = ..., items: _Optional[bytes] = ...) -> None: ...
