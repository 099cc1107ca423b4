"""Pipelines for the Penstock ETL orchestrator: written, submitted and watched from Python.

- To write a pipeline: `Pipeline`, `Task`, `@task`, and the values they take.
- To run it: `Pipeline.submit`, or a `Client`; `penstock.aio` for asyncio. A `Run` is watched, waited for, cancelled, run again.
- Inside a task: `current`, and `Skip` and `Fail` to raise.

Importing this loads nothing but what a task needs; gRPC comes with the first call. `Definition -> document -> Register -> Submit -> Run`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .context import Context, current
from .errors import (
    AlreadyExists,
    BackfillFailed,
    BadInput,
    Error,
    Fail,
    NoAnswer,
    NotFound,
    NotPossible,
    NotSupported,
    Overloaded,
    Refused,
    RunFailed,
    Skip,
    UndefinedActionWarning,
)
from .interval import Interval

if TYPE_CHECKING:
    from .client import Backfill, Client, Run
    from .functions import Function, python
    from .pipeline import Pipeline
    from .records import (
        AttemptInfo,
        Audit,
        BackfillInfo,
        BackfillInterval,
        BackfillOptions,
        BackfillPlan,
        BackfillProgress,
        Change,
        ClusterInfo,
        DeadEvent,
        DueInterval,
        Emitted,
        LogLine,
        PipelineInfo,
        PlannedInterval,
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
    from .tasks import FunctionTask, Task, TaskOptions, task
    from .values import (
        Approve,
        ChildRun,
        Container,
        Deadline,
        Defaults,
        EventTrigger,
        Expect,
        FileTrigger,
        Http,
        Output,
        Param,
        PipelineTrigger,
        Policy,
        Retries,
        Schedule,
        Secret,
        Sql,
        Statement,
        Wait,
    )

__all__ = [
    "AlreadyExists",
    "Approve",
    "AttemptInfo",
    "Audit",
    "Backfill",
    "BackfillFailed",
    "BackfillInfo",
    "BackfillInterval",
    "BackfillOptions",
    "BackfillPlan",
    "BackfillProgress",
    "BadInput",
    "Change",
    "ChildRun",
    "Client",
    "ClusterInfo",
    "Container",
    "Context",
    "DeadEvent",
    "Deadline",
    "Defaults",
    "DueInterval",
    "Emitted",
    "Error",
    "EventTrigger",
    "Expect",
    "Fail",
    "FileTrigger",
    "Function",
    "FunctionTask",
    "Http",
    "Interval",
    "LogLine",
    "NoAnswer",
    "NotFound",
    "NotPossible",
    "NotSupported",
    "Output",
    "Overloaded",
    "Param",
    "Pipeline",
    "PipelineInfo",
    "PipelineTrigger",
    "PlannedInterval",
    "Policy",
    "PoolInfo",
    "Refused",
    "Registered",
    "Retries",
    "Rewound",
    "Run",
    "RunFailed",
    "RunInfo",
    "Schedule",
    "ScheduleInfo",
    "Secret",
    "Skip",
    "Sql",
    "State",
    "Statement",
    "Task",
    "TaskInfo",
    "TaskOptions",
    "TriggerInfo",
    "UndefinedActionWarning",
    "Update",
    "Wait",
    "Why",
    "WorkerInfo",
    "current",
    "python",
    "task",
]

# Where each name is that is loaded when it is first asked for. The imports above, for type checkers, say the same; a test compares.
_LAZY = {
    **dict.fromkeys(["Backfill", "Client", "Run"], "client"),
    **dict.fromkeys(["Function", "python"], "functions"),
    **dict.fromkeys(["Pipeline"], "pipeline"),
    **dict.fromkeys(
        [
            *["AttemptInfo", "Audit", "BackfillInfo", "BackfillInterval", "BackfillOptions", "BackfillPlan"],
            *["BackfillProgress", "Change", "ClusterInfo", "DeadEvent", "DueInterval", "Emitted", "LogLine"],
            *["PipelineInfo", "PlannedInterval", "PoolInfo", "Registered", "Rewound", "RunInfo", "ScheduleInfo"],
            *["State", "TaskInfo", "TriggerInfo", "Update", "Why", "WorkerInfo"],
        ],
        "records",
    ),
    **dict.fromkeys(["FunctionTask", "Task", "TaskOptions", "task"], "tasks"),
    **dict.fromkeys(
        [
            *["Approve", "ChildRun", "Container", "Deadline", "Defaults", "EventTrigger", "Expect", "FileTrigger"],
            *["Http", "Output", "Param", "PipelineTrigger", "Policy", "Retries", "Schedule", "Secret", "Sql"],
            *["Statement", "Wait"],
        ],
        "values",
    ),
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        import importlib

        module = _LAZY.get(name)
        if module is not None:
            value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        else:
            try:
                value = importlib.import_module(f"{__name__}.{name}") if not name.startswith("_") else None
            except ModuleNotFoundError:
                value = None
            if value is None:
                raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted(__all__)
