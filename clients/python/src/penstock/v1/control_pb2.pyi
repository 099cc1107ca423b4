from penstock.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Reprocess(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPROCESS_NONE: _ClassVar[Reprocess]
    REPROCESS_FAILED: _ClassVar[Reprocess]
    REPROCESS_ALL: _ClassVar[Reprocess]
REPROCESS_NONE: Reprocess
REPROCESS_FAILED: Reprocess
REPROCESS_ALL: Reprocess

class AsOf(_message.Message):
    __slots__ = ("seq", "age_ms")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    seq: int
    age_ms: int
    def __init__(self, seq: _Optional[int] = ..., age_ms: _Optional[int] = ...) -> None: ...

class RegisterRequest(_message.Message):
    __slots__ = ("document", "file")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    document: str
    file: str
    def __init__(self, document: _Optional[str] = ..., file: _Optional[str] = ...) -> None: ...

class RegisterResponse(_message.Message):
    __slots__ = ("pipeline", "version", "created", "warnings")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    version: int
    created: bool
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, pipeline: _Optional[str] = ..., version: _Optional[int] = ..., created: bool = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class WouldRegisterRequest(_message.Message):
    __slots__ = ("document", "file")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    document: str
    file: str
    def __init__(self, document: _Optional[str] = ..., file: _Optional[str] = ...) -> None: ...

class WouldRegisterResponse(_message.Message):
    __slots__ = ("pipeline", "version", "created", "warnings")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    version: int
    created: bool
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, pipeline: _Optional[str] = ..., version: _Optional[int] = ..., created: bool = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("run_id", "pipeline", "version", "params", "interval", "by", "only")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    ONLY_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    pipeline: str
    version: int
    params: str
    interval: _types_pb2.Interval
    by: str
    only: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, run_id: _Optional[str] = ..., pipeline: _Optional[str] = ..., version: _Optional[int] = ..., params: _Optional[str] = ..., interval: _Optional[_Union[_types_pb2.Interval, _Mapping]] = ..., by: _Optional[str] = ..., only: _Optional[_Iterable[str]] = ...) -> None: ...

class SubmitResponse(_message.Message):
    __slots__ = ("run_id", "version", "created", "seq")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    version: int
    created: bool
    seq: int
    def __init__(self, run_id: _Optional[str] = ..., version: _Optional[int] = ..., created: bool = ..., seq: _Optional[int] = ...) -> None: ...

class GetRunRequest(_message.Message):
    __slots__ = ("run_id", "from_task", "limit", "min_seq")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_TASK_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    MIN_SEQ_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    from_task: int
    limit: int
    min_seq: int
    def __init__(self, run_id: _Optional[str] = ..., from_task: _Optional[int] = ..., limit: _Optional[int] = ..., min_seq: _Optional[int] = ...) -> None: ...

class GetRunResponse(_message.Message):
    __slots__ = ("as_of", "run", "tasks", "next_task")
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_TASK_FIELD_NUMBER: _ClassVar[int]
    as_of: AsOf
    run: _types_pb2.Run
    tasks: _containers.RepeatedCompositeFieldContainer[_types_pb2.Task]
    next_task: int
    def __init__(self, as_of: _Optional[_Union[AsOf, _Mapping]] = ..., run: _Optional[_Union[_types_pb2.Run, _Mapping]] = ..., tasks: _Optional[_Iterable[_Union[_types_pb2.Task, _Mapping]]] = ..., next_task: _Optional[int] = ...) -> None: ...

class ListRunsRequest(_message.Message):
    __slots__ = ("pipeline", "states", "limit", "before_no", "min_seq", "since_ms")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_NO_FIELD_NUMBER: _ClassVar[int]
    MIN_SEQ_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    states: _containers.RepeatedScalarFieldContainer[_types_pb2.State]
    limit: int
    before_no: int
    min_seq: int
    since_ms: int
    def __init__(self, pipeline: _Optional[str] = ..., states: _Optional[_Iterable[_Union[_types_pb2.State, str]]] = ..., limit: _Optional[int] = ..., before_no: _Optional[int] = ..., min_seq: _Optional[int] = ..., since_ms: _Optional[int] = ...) -> None: ...

class ListRunsResponse(_message.Message):
    __slots__ = ("as_of", "runs")
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    as_of: AsOf
    runs: _containers.RepeatedCompositeFieldContainer[_types_pb2.Run]
    def __init__(self, as_of: _Optional[_Union[AsOf, _Mapping]] = ..., runs: _Optional[_Iterable[_Union[_types_pb2.Run, _Mapping]]] = ...) -> None: ...

class ListPipelinesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPipelinesResponse(_message.Message):
    __slots__ = ("as_of", "pipelines")
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    PIPELINES_FIELD_NUMBER: _ClassVar[int]
    as_of: AsOf
    pipelines: _containers.RepeatedCompositeFieldContainer[Pipeline]
    def __init__(self, as_of: _Optional[_Union[AsOf, _Mapping]] = ..., pipelines: _Optional[_Iterable[_Union[Pipeline, _Mapping]]] = ...) -> None: ...

class Pipeline(_message.Message):
    __slots__ = ("name", "version", "registered_at_ms", "description", "tasks", "digest", "paused", "unregistered", "queued_runs", "active_runs", "owner", "tags")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    UNREGISTERED_FIELD_NUMBER: _ClassVar[int]
    QUEUED_RUNS_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_RUNS_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    registered_at_ms: int
    description: str
    tasks: int
    digest: str
    paused: _types_pb2.Audit
    unregistered: _types_pb2.Audit
    queued_runs: int
    active_runs: int
    owner: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., registered_at_ms: _Optional[int] = ..., description: _Optional[str] = ..., tasks: _Optional[int] = ..., digest: _Optional[str] = ..., paused: _Optional[_Union[_types_pb2.Audit, _Mapping]] = ..., unregistered: _Optional[_Union[_types_pb2.Audit, _Mapping]] = ..., queued_runs: _Optional[int] = ..., active_runs: _Optional[int] = ..., owner: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ...) -> None: ...

class GetPipelineRequest(_message.Message):
    __slots__ = ("pipeline", "version")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    version: int
    def __init__(self, pipeline: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class GetPipelineResponse(_message.Message):
    __slots__ = ("as_of", "pipeline", "definition")
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    as_of: AsOf
    pipeline: Pipeline
    definition: str
    def __init__(self, as_of: _Optional[_Union[AsOf, _Mapping]] = ..., pipeline: _Optional[_Union[Pipeline, _Mapping]] = ..., definition: _Optional[str] = ...) -> None: ...

class UnregisterRequest(_message.Message):
    __slots__ = ("pipeline", "by", "note")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    by: str
    note: str
    def __init__(self, pipeline: _Optional[str] = ..., by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class UnregisterResponse(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class PausePipelineRequest(_message.Message):
    __slots__ = ("pipeline", "resume", "by", "note")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    resume: bool
    by: str
    note: str
    def __init__(self, pipeline: _Optional[str] = ..., resume: bool = ..., by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class PausePipelineResponse(_message.Message):
    __slots__ = ("changed", "seq")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    changed: bool
    seq: int
    def __init__(self, changed: bool = ..., seq: _Optional[int] = ...) -> None: ...

class PauseRunRequest(_message.Message):
    __slots__ = ("run_id", "resume", "by", "note")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    resume: bool
    by: str
    note: str
    def __init__(self, run_id: _Optional[str] = ..., resume: bool = ..., by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class PauseRunResponse(_message.Message):
    __slots__ = ("changed", "seq")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    changed: bool
    seq: int
    def __init__(self, changed: bool = ..., seq: _Optional[int] = ...) -> None: ...

class WatchRunRequest(_message.Message):
    __slots__ = ("run_id", "after_seq")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQ_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    after_seq: int
    def __init__(self, run_id: _Optional[str] = ..., after_seq: _Optional[int] = ...) -> None: ...

class WatchRunResponse(_message.Message):
    __slots__ = ("seq", "run", "tasks", "changes", "more")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    seq: int
    run: _types_pb2.Run
    tasks: _containers.RepeatedCompositeFieldContainer[_types_pb2.Task]
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    more: bool
    def __init__(self, seq: _Optional[int] = ..., run: _Optional[_Union[_types_pb2.Run, _Mapping]] = ..., tasks: _Optional[_Iterable[_Union[_types_pb2.Task, _Mapping]]] = ..., changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ..., more: bool = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("at_ms", "task", "state", "reason", "detail", "attempt", "worker", "duration_ms", "metrics")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    at_ms: int
    task: str
    state: _types_pb2.State
    reason: str
    detail: str
    attempt: int
    worker: str
    duration_ms: int
    metrics: _containers.ScalarMap[str, float]
    def __init__(self, at_ms: _Optional[int] = ..., task: _Optional[str] = ..., state: _Optional[_Union[_types_pb2.State, str]] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., attempt: _Optional[int] = ..., worker: _Optional[str] = ..., duration_ms: _Optional[int] = ..., metrics: _Optional[_Mapping[str, float]] = ...) -> None: ...

class CancelRunRequest(_message.Message):
    __slots__ = ("run_id", "by", "note", "now")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    by: str
    note: str
    now: bool
    def __init__(self, run_id: _Optional[str] = ..., by: _Optional[str] = ..., note: _Optional[str] = ..., now: bool = ...) -> None: ...

class CancelRunResponse(_message.Message):
    __slots__ = ("state", "seq")
    STATE_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    state: _types_pb2.State
    seq: int
    def __init__(self, state: _Optional[_Union[_types_pb2.State, str]] = ..., seq: _Optional[int] = ...) -> None: ...

class RerunRunRequest(_message.Message):
    __slots__ = ("run_id", "request_id", "by", "note", "tasks")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    request_id: str
    by: str
    note: str
    tasks: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, run_id: _Optional[str] = ..., request_id: _Optional[str] = ..., by: _Optional[str] = ..., note: _Optional[str] = ..., tasks: _Optional[_Iterable[str]] = ...) -> None: ...

class RerunRunResponse(_message.Message):
    __slots__ = ("generation", "seq")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    generation: int
    seq: int
    def __init__(self, generation: _Optional[int] = ..., seq: _Optional[int] = ...) -> None: ...

class MarkTasksRequest(_message.Message):
    __slots__ = ("run_id", "tasks", "state", "request_id", "by", "note")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    tasks: _containers.RepeatedScalarFieldContainer[str]
    state: _types_pb2.State
    request_id: str
    by: str
    note: str
    def __init__(self, run_id: _Optional[str] = ..., tasks: _Optional[_Iterable[str]] = ..., state: _Optional[_Union[_types_pb2.State, str]] = ..., request_id: _Optional[str] = ..., by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class MarkTasksResponse(_message.Message):
    __slots__ = ("generation", "seq")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    generation: int
    seq: int
    def __init__(self, generation: _Optional[int] = ..., seq: _Optional[int] = ...) -> None: ...

class DecideRequest(_message.Message):
    __slots__ = ("run_id", "task", "approve", "by", "note")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    APPROVE_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    task: str
    approve: bool
    by: str
    note: str
    def __init__(self, run_id: _Optional[str] = ..., task: _Optional[str] = ..., approve: bool = ..., by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class DecideResponse(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class ListPoolsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPoolsResponse(_message.Message):
    __slots__ = ("as_of", "pools")
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    as_of: AsOf
    pools: _containers.RepeatedCompositeFieldContainer[PoolInfo]
    def __init__(self, as_of: _Optional[_Union[AsOf, _Mapping]] = ..., pools: _Optional[_Iterable[_Union[PoolInfo, _Mapping]]] = ...) -> None: ...

class PoolInfo(_message.Message):
    __slots__ = ("name", "slots", "used", "waiting", "holders", "set")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    HOLDERS_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    name: str
    slots: int
    used: int
    waiting: int
    holders: _containers.RepeatedCompositeFieldContainer[HeldAttempt]
    set: _types_pb2.Audit
    def __init__(self, name: _Optional[str] = ..., slots: _Optional[int] = ..., used: _Optional[int] = ..., waiting: _Optional[int] = ..., holders: _Optional[_Iterable[_Union[HeldAttempt, _Mapping]]] = ..., set: _Optional[_Union[_types_pb2.Audit, _Mapping]] = ...) -> None: ...

class SetPoolRequest(_message.Message):
    __slots__ = ("name", "slots", "by", "note")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    name: str
    slots: int
    by: str
    note: str
    def __init__(self, name: _Optional[str] = ..., slots: _Optional[int] = ..., by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class SetPoolResponse(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class GetScheduleRequest(_message.Message):
    __slots__ = ("pipeline", "to", "limit")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    to: str
    limit: int
    def __init__(self, pipeline: _Optional[str] = ..., to: _Optional[str] = ..., limit: _Optional[int] = ..., **kwargs: object) -> None: ...

class GetScheduleResponse(_message.Message):
    __slots__ = ("as_of", "pipeline", "zone", "next_begins_ms", "intervals", "paused", "skipped", "stopped")
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    NEXT_BEGINS_MS_FIELD_NUMBER: _ClassVar[int]
    INTERVALS_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    as_of: AsOf
    pipeline: str
    zone: str
    next_begins_ms: int
    intervals: _containers.RepeatedCompositeFieldContainer[DueInterval]
    paused: _containers.RepeatedCompositeFieldContainer[PausedBy]
    skipped: _containers.RepeatedCompositeFieldContainer[Skipped]
    stopped: str
    def __init__(self, as_of: _Optional[_Union[AsOf, _Mapping]] = ..., pipeline: _Optional[str] = ..., zone: _Optional[str] = ..., next_begins_ms: _Optional[int] = ..., intervals: _Optional[_Iterable[_Union[DueInterval, _Mapping]]] = ..., paused: _Optional[_Iterable[_Union[PausedBy, _Mapping]]] = ..., skipped: _Optional[_Iterable[_Union[Skipped, _Mapping]]] = ..., stopped: _Optional[str] = ...) -> None: ...

class DueInterval(_message.Message):
    __slots__ = ("interval", "due_at_ms", "local_start", "local_end", "local_due", "outcome")
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    DUE_AT_MS_FIELD_NUMBER: _ClassVar[int]
    LOCAL_START_FIELD_NUMBER: _ClassVar[int]
    LOCAL_END_FIELD_NUMBER: _ClassVar[int]
    LOCAL_DUE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    interval: _types_pb2.Interval
    due_at_ms: int
    local_start: str
    local_end: str
    local_due: str
    outcome: str
    def __init__(self, interval: _Optional[_Union[_types_pb2.Interval, _Mapping]] = ..., due_at_ms: _Optional[int] = ..., local_start: _Optional[str] = ..., local_end: _Optional[str] = ..., local_due: _Optional[str] = ..., outcome: _Optional[str] = ...) -> None: ...

class PausedBy(_message.Message):
    __slots__ = ("trigger", "audit")
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    trigger: str
    audit: _types_pb2.Audit
    def __init__(self, trigger: _Optional[str] = ..., audit: _Optional[_Union[_types_pb2.Audit, _Mapping]] = ...) -> None: ...

class Skipped(_message.Message):
    __slots__ = ("reason", "count")
    REASON_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    reason: str
    count: int
    def __init__(self, reason: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class RewindScheduleRequest(_message.Message):
    __slots__ = ("pipeline", "to", "by", "note")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    to: str
    by: str
    note: str
    def __init__(self, pipeline: _Optional[str] = ..., to: _Optional[str] = ..., by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class RewindScheduleResponse(_message.Message):
    __slots__ = ("changed", "next_begins_ms", "seq")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    NEXT_BEGINS_MS_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    changed: bool
    next_begins_ms: int
    seq: int
    def __init__(self, changed: bool = ..., next_begins_ms: _Optional[int] = ..., seq: _Optional[int] = ...) -> None: ...

class PauseTriggerRequest(_message.Message):
    __slots__ = ("pipeline", "trigger", "resume", "by", "note")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    trigger: str
    resume: bool
    by: str
    note: str
    def __init__(self, pipeline: _Optional[str] = ..., trigger: _Optional[str] = ..., resume: bool = ..., by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class PauseTriggerResponse(_message.Message):
    __slots__ = ("changed", "seq")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    changed: bool
    seq: int
    def __init__(self, changed: bool = ..., seq: _Optional[int] = ...) -> None: ...

class ListTriggersRequest(_message.Message):
    __slots__ = ("pipeline",)
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    def __init__(self, pipeline: _Optional[str] = ...) -> None: ...

class ListTriggersResponse(_message.Message):
    __slots__ = ("as_of", "triggers")
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    TRIGGERS_FIELD_NUMBER: _ClassVar[int]
    as_of: AsOf
    triggers: _containers.RepeatedCompositeFieldContainer[TriggerInfo]
    def __init__(self, as_of: _Optional[_Union[AsOf, _Mapping]] = ..., triggers: _Optional[_Iterable[_Union[TriggerInfo, _Mapping]]] = ...) -> None: ...

class TriggerInfo(_message.Message):
    __slots__ = ("pipeline", "name", "kind", "of", "paused", "gathered", "starts_at_ms", "files", "trouble")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    OF_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    GATHERED_FIELD_NUMBER: _ClassVar[int]
    STARTS_AT_MS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    name: str
    kind: str
    of: str
    paused: _types_pb2.Audit
    gathered: int
    starts_at_ms: int
    files: int
    trouble: str
    def __init__(self, pipeline: _Optional[str] = ..., name: _Optional[str] = ..., kind: _Optional[str] = ..., of: _Optional[str] = ..., paused: _Optional[_Union[_types_pb2.Audit, _Mapping]] = ..., gathered: _Optional[int] = ..., starts_at_ms: _Optional[int] = ..., files: _Optional[int] = ..., trouble: _Optional[str] = ...) -> None: ...

class SetTriggerTokenRequest(_message.Message):
    __slots__ = ("pipeline", "trigger", "digest", "by", "note")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    trigger: str
    digest: bytes
    by: str
    note: str
    def __init__(self, pipeline: _Optional[str] = ..., trigger: _Optional[str] = ..., digest: _Optional[bytes] = ..., by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class SetTriggerTokenResponse(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class EmitEventRequest(_message.Message):
    __slots__ = ("id", "name", "payload", "by")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    payload: str
    by: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., payload: _Optional[str] = ..., by: _Optional[str] = ...) -> None: ...

class EmitEventResponse(_message.Message):
    __slots__ = ("event", "seq")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    event: int
    seq: int
    def __init__(self, event: _Optional[int] = ..., seq: _Optional[int] = ...) -> None: ...

class ListDeadEventsRequest(_message.Message):
    __slots__ = ("limit",)
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    limit: int
    def __init__(self, limit: _Optional[int] = ...) -> None: ...

class ListDeadEventsResponse(_message.Message):
    __slots__ = ("as_of", "events")
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    as_of: AsOf
    events: _containers.RepeatedCompositeFieldContainer[_types_pb2.DeadEvent]
    def __init__(self, as_of: _Optional[_Union[AsOf, _Mapping]] = ..., events: _Optional[_Iterable[_Union[_types_pb2.DeadEvent, _Mapping]]] = ...) -> None: ...

class CreateBackfillRequest(_message.Message):
    __slots__ = ("id", "pipeline", "start_date", "end_date", "every", "reprocess", "only", "params", "max_active", "newest_first", "cascade", "dry_run", "by", "note")
    ID_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    START_DATE_FIELD_NUMBER: _ClassVar[int]
    END_DATE_FIELD_NUMBER: _ClassVar[int]
    EVERY_FIELD_NUMBER: _ClassVar[int]
    REPROCESS_FIELD_NUMBER: _ClassVar[int]
    ONLY_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    MAX_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIRST_FIELD_NUMBER: _ClassVar[int]
    CASCADE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    id: str
    pipeline: str
    start_date: str
    end_date: str
    every: str
    reprocess: Reprocess
    only: _containers.RepeatedScalarFieldContainer[str]
    params: str
    max_active: int
    newest_first: bool
    cascade: bool
    dry_run: bool
    by: str
    note: str
    def __init__(self, id: _Optional[str] = ..., pipeline: _Optional[str] = ..., start_date: _Optional[str] = ..., end_date: _Optional[str] = ..., every: _Optional[str] = ..., reprocess: _Optional[_Union[Reprocess, str]] = ..., only: _Optional[_Iterable[str]] = ..., params: _Optional[str] = ..., max_active: _Optional[int] = ..., newest_first: bool = ..., cascade: bool = ..., dry_run: bool = ..., by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class CreateBackfillResponse(_message.Message):
    __slots__ = ("intervals", "zone", "created", "seq", "mean_run_ms", "max_active")
    INTERVALS_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    MEAN_RUN_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    intervals: _containers.RepeatedCompositeFieldContainer[PlannedInterval]
    zone: str
    created: bool
    seq: int
    mean_run_ms: int
    max_active: int
    def __init__(self, intervals: _Optional[_Iterable[_Union[PlannedInterval, _Mapping]]] = ..., zone: _Optional[str] = ..., created: bool = ..., seq: _Optional[int] = ..., mean_run_ms: _Optional[int] = ..., max_active: _Optional[int] = ...) -> None: ...

class PlannedInterval(_message.Message):
    __slots__ = ("interval", "local_start", "local_end", "runs", "why")
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    LOCAL_START_FIELD_NUMBER: _ClassVar[int]
    LOCAL_END_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    interval: _types_pb2.Interval
    local_start: str
    local_end: str
    runs: bool
    why: str
    def __init__(self, interval: _Optional[_Union[_types_pb2.Interval, _Mapping]] = ..., local_start: _Optional[str] = ..., local_end: _Optional[str] = ..., runs: bool = ..., why: _Optional[str] = ...) -> None: ...

class ListBackfillsRequest(_message.Message):
    __slots__ = ("pipeline", "id")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    id: str
    def __init__(self, pipeline: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class ListBackfillsResponse(_message.Message):
    __slots__ = ("as_of", "backfills")
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    BACKFILLS_FIELD_NUMBER: _ClassVar[int]
    as_of: AsOf
    backfills: _containers.RepeatedCompositeFieldContainer[BackfillInfo]
    def __init__(self, as_of: _Optional[_Union[AsOf, _Mapping]] = ..., backfills: _Optional[_Iterable[_Union[BackfillInfo, _Mapping]]] = ...) -> None: ...

class BackfillInfo(_message.Message):
    __slots__ = ("backfill", "intervals", "succeeded", "failed", "cancelled", "live", "zone")
    BACKFILL_FIELD_NUMBER: _ClassVar[int]
    INTERVALS_FIELD_NUMBER: _ClassVar[int]
    SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    backfill: _types_pb2.Backfill
    intervals: int
    succeeded: int
    failed: int
    cancelled: int
    live: _containers.RepeatedScalarFieldContainer[str]
    zone: str
    def __init__(self, backfill: _Optional[_Union[_types_pb2.Backfill, _Mapping]] = ..., intervals: _Optional[int] = ..., succeeded: _Optional[int] = ..., failed: _Optional[int] = ..., cancelled: _Optional[int] = ..., live: _Optional[_Iterable[str]] = ..., zone: _Optional[str] = ...) -> None: ...

class PauseBackfillRequest(_message.Message):
    __slots__ = ("id", "resume", "by", "note")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    id: str
    resume: bool
    by: str
    note: str
    def __init__(self, id: _Optional[str] = ..., resume: bool = ..., by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class PauseBackfillResponse(_message.Message):
    __slots__ = ("changed", "seq")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    changed: bool
    seq: int
    def __init__(self, changed: bool = ..., seq: _Optional[int] = ...) -> None: ...

class CancelBackfillRequest(_message.Message):
    __slots__ = ("id", "by", "note")
    ID_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    id: str
    by: str
    note: str
    def __init__(self, id: _Optional[str] = ..., by: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class CancelBackfillResponse(_message.Message):
    __slots__ = ("changed", "seq")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    changed: bool
    seq: int
    def __init__(self, changed: bool = ..., seq: _Optional[int] = ...) -> None: ...

class ReadLogsRequest(_message.Message):
    __slots__ = ("run_id", "task", "attempt", "offset", "follow")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    task: str
    attempt: int
    offset: int
    follow: bool
    def __init__(self, run_id: _Optional[str] = ..., task: _Optional[str] = ..., attempt: _Optional[int] = ..., offset: _Optional[int] = ..., follow: bool = ...) -> None: ...

class ReadLogsResponse(_message.Message):
    __slots__ = ("attempt", "data", "offset")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    data: bytes
    offset: int
    def __init__(self, attempt: _Optional[int] = ..., data: _Optional[bytes] = ..., offset: _Optional[int] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("run_id", "task")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    task: str
    def __init__(self, run_id: _Optional[str] = ..., task: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("as_of", "chain")
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    as_of: AsOf
    chain: _containers.RepeatedCompositeFieldContainer[Why]
    def __init__(self, as_of: _Optional[_Union[AsOf, _Mapping]] = ..., chain: _Optional[_Iterable[_Union[Why, _Mapping]]] = ...) -> None: ...

class Why(_message.Message):
    __slots__ = ("kind", "text", "fields", "remedy")
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    kind: str
    text: str
    fields: _containers.ScalarMap[str, str]
    remedy: str
    def __init__(self, kind: _Optional[str] = ..., text: _Optional[str] = ..., fields: _Optional[_Mapping[str, str]] = ..., remedy: _Optional[str] = ...) -> None: ...

class ListWorkersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListWorkersResponse(_message.Message):
    __slots__ = ("as_of", "workers")
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    as_of: AsOf
    workers: _containers.RepeatedCompositeFieldContainer[WorkerInfo]
    def __init__(self, as_of: _Optional[_Union[AsOf, _Mapping]] = ..., workers: _Optional[_Iterable[_Union[WorkerInfo, _Mapping]]] = ...) -> None: ...

class WorkerInfo(_message.Message):
    __slots__ = ("name", "session", "slots", "used", "queues", "labels", "drained", "closed", "attempts")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    QUEUES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    DRAINED_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    session: str
    slots: int
    used: int
    queues: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.ScalarMap[str, str]
    drained: bool
    closed: bool
    attempts: _containers.RepeatedCompositeFieldContainer[HeldAttempt]
    def __init__(self, name: _Optional[str] = ..., session: _Optional[str] = ..., slots: _Optional[int] = ..., used: _Optional[int] = ..., queues: _Optional[_Iterable[str]] = ..., labels: _Optional[_Mapping[str, str]] = ..., drained: bool = ..., closed: bool = ..., attempts: _Optional[_Iterable[_Union[HeldAttempt, _Mapping]]] = ...) -> None: ...

class HeldAttempt(_message.Message):
    __slots__ = ("run_id", "task", "attempt")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    task: str
    attempt: int
    def __init__(self, run_id: _Optional[str] = ..., task: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class DrainWorkerRequest(_message.Message):
    __slots__ = ("worker", "undo", "by")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    UNDO_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    worker: str
    undo: bool
    by: str
    def __init__(self, worker: _Optional[str] = ..., undo: bool = ..., by: _Optional[str] = ...) -> None: ...

class DrainWorkerResponse(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class GetClusterRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetClusterResponse(_message.Message):
    __slots__ = ("node", "leading", "leader_name", "leader_address", "epoch", "seq", "checkpoint_seq", "store", "store_file_bytes", "store_used_bytes", "store_quota_bytes", "trouble", "live_runs", "leases")
    NODE_FIELD_NUMBER: _ClassVar[int]
    LEADING_FIELD_NUMBER: _ClassVar[int]
    LEADER_NAME_FIELD_NUMBER: _ClassVar[int]
    LEADER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_SEQ_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    STORE_FILE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STORE_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    STORE_QUOTA_BYTES_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    LIVE_RUNS_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    node: str
    leading: bool
    leader_name: str
    leader_address: str
    epoch: _types_pb2.Epoch
    seq: int
    checkpoint_seq: int
    store: str
    store_file_bytes: int
    store_used_bytes: int
    store_quota_bytes: int
    trouble: str
    live_runs: int
    leases: int
    def __init__(self, node: _Optional[str] = ..., leading: bool = ..., leader_name: _Optional[str] = ..., leader_address: _Optional[str] = ..., epoch: _Optional[_Union[_types_pb2.Epoch, _Mapping]] = ..., seq: _Optional[int] = ..., checkpoint_seq: _Optional[int] = ..., store: _Optional[str] = ..., store_file_bytes: _Optional[int] = ..., store_used_bytes: _Optional[int] = ..., store_quota_bytes: _Optional[int] = ..., trouble: _Optional[str] = ..., live_runs: _Optional[int] = ..., leases: _Optional[int] = ...) -> None: ...
