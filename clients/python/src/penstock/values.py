"""The values of a definition: what a task does, how often it is tried again, when a pipeline runs. Plain data, each of which knows
how it is written in the document."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from ._names import dotted, duration, identifier, pipeline_name
from ._yaml import Plain
from .errors import BadInput

if TYPE_CHECKING:
    from .pipeline import Pipeline

__all__ = [
    "Approve",
    "ChildRun",
    "Condition",
    "Container",
    "Deadline",
    "Defaults",
    "Duration",
    "EventTrigger",
    "Expect",
    "FileTrigger",
    "Given",
    "Http",
    "Output",
    "Param",
    "ParamType",
    "PipelineTrigger",
    "Policy",
    "Retries",
    "Schedule",
    "Secret",
    "Setting",
    "Sql",
    "Statement",
    "Trigger",
    "TriggerRule",
    "Wait",
]

Document: TypeAlias = dict[str, Plain]

Duration = str | dt.timedelta
"""`"30m"`, `"1h30m"`, or a timedelta."""

Condition = Literal["success", "failed", "completed", "skipped"]
"""How an upstream must end, on an edge: `completed` is success or failed."""

TriggerRule = Literal[
    "all_success",
    "all_failed",
    "all_done",
    "all_done_min_one_success",
    "all_skipped",
    "one_failed",
    "one_success",
    "one_done",
    "none_failed",
    "none_failed_min_one_success",
    "none_skipped",
    "always",
]
"""When a task may start, read from how all its upstreams ended. The names and meanings are Airflow's."""

Reason = Literal["exit_code", "timeout", "spawn", "oom", "output_too_large", "expectation", "run_failed", "lost"]
"""Why an attempt failed, of those that may be followed by another."""


class Output(str):
    """An output of a task, as a template: `extract.output("path")` is the text `{{ outputs.extract.path }}`."""

    task: str
    key: str

    def __new__(cls, task: str, key: str) -> Output:
        self = super().__new__(cls, f"{{{{ outputs.{task}.{identifier('output key', key)} }}}}")
        self.task, self.key = task, key
        return self


@dataclass(frozen=True)
class Secret:
    """A secret of the worker, by name: resolved there, masked in logs, never stored."""

    name: str

    def to_document(self) -> Document:
        return {"secret": self.name}


Setting = str | int | float | bool | Secret
"""A template, or a secret. Numbers and booleans are written as text, as YAML would show them."""


def settings(values: Mapping[str, Setting]) -> Document:
    """`env`, or headers."""
    return {name: value.to_document() if isinstance(value, Secret) else _text(value) for name, value in values.items()}


def _text(value: str | int | float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def written(**entries: Plain) -> Document:
    """Without what is `None`, and without what is empty. A trailing `_` of a name is dropped."""
    keep: Document = {}
    for name, value in entries.items():
        if value is None or (isinstance(value, (str, Sequence, Mapping)) and not value):
            continue
        keep[name.removesuffix("_")] = value
    return keep


def _duration(value: Duration | None) -> str | None:
    return None if value is None else duration(value)


@dataclass(frozen=True)
class Http:
    """One request. It succeeds by its status; the answer's body becomes the output `body`, its status the output `status`."""

    url: str
    """A template; `http` or `https`."""
    method: str = "GET"
    headers: Mapping[str, Setting] = field(default_factory=dict[str, Setting])
    body: str | None = None
    """A template, sent as it is rendered."""
    json: Plain = None
    """JSON whose strings are templates; not beside `body`."""
    success: Sequence[int | str] = ()
    """Status codes that are a success, such as `[200, "3xx"]`; without it, the server's default."""
    output: Literal["body", "none"] | None = None

    def to_document(self) -> Document:
        if self.body is not None and self.json is not None:
            raise BadInput(f"the request to {self.url} has a body and a json: keep one")
        document: Document = {"url": self.url}
        document |= written(method=self.method if self.method != "GET" else None, headers=settings(self.headers))
        if self.body is not None:
            document["body"] = self.body
        if self.json is not None:
            document["json"] = self.json
        return document | written(success=list(self.success), output=self.output)


@dataclass(frozen=True)
class Statement:
    """One SQL statement. Values go where it has `$1`, `$2`…; it is never a template itself."""

    sql: str
    bind: Sequence[Plain] = ()
    """JSON scalars, of which strings are templates; a string that is one `{{ … }}` keeps the value's type."""

    def to_document(self) -> Document:
        return written(sql=self.sql, bind=list(self.bind))


@dataclass(frozen=True)
class Sql:
    """Statements on a named connection of the worker's configuration; rows affected are records."""

    connection: str
    run: str | Statement | Sequence[str | Statement]
    bind: Sequence[Plain] = ()
    """Of the only statement; of several, each has its own."""
    transaction: bool | None = None
    """All or nothing; without it, the server's default."""
    output: Literal["row", "none"] | None = None
    """Whether the first row of the last statement becomes outputs, by column."""

    def to_document(self) -> Document:
        run: Plain
        if isinstance(self.run, str):
            run = self.run
        elif isinstance(self.run, Statement):
            run = [self.run.to_document()]
        else:
            run = [one if isinstance(one, str) else one.to_document() for one in self.run]
        if self.bind and not isinstance(self.run, str):
            raise BadInput("`bind` beside several statements: give each its own, Statement(sql, bind=[…])")
        document: Document = {"connection": self.connection, "run": run}
        return document | written(bind=list(self.bind), transaction=self.transaction, output=self.output)


@dataclass(frozen=True)
class Wait:
    """A sensor: waits for one of a file, a request that succeeds, a query that gives a row, or a time. Holds no slot between probes."""

    file: str | None = None
    """A path with `*`, `?` and `[…]`; a template. The first match becomes the output `path`."""
    http: Http | str | None = None
    """A request, or just its URL."""
    sql: Sql | None = None
    time: str | dt.time | dt.datetime | None = None
    """RFC 3339, or `HH:MM` of the interval's end date in the pipeline's zone; a template."""
    settle: Duration | None = None
    """How long the file must not have changed."""
    every: Duration | None = None
    """Between probes."""
    timeout: Duration | None = None
    on_timeout: Literal["fail", "skip"] | None = None

    def to_document(self) -> Document:
        document: Document = {}
        if self.file is not None:
            document["file"] = self.file
        if self.http is not None:
            document["http"] = self.http if isinstance(self.http, str) else self.http.to_document()
        if self.sql is not None:
            document["sql"] = self.sql.to_document()
        if self.time is not None:
            document["time"] = self.time if isinstance(self.time, str) else _time(self.time)
        if len(document) != 1:
            raise BadInput(f"Wait takes one of file, http, sql and time; {', '.join(document) or 'none'} was given")
        if self.settle is not None and self.file is None:
            raise BadInput("`settle` is of a file: Wait(file=…, settle=…)")
        return document | written(
            settle=_duration(self.settle), every=_duration(self.every), timeout=_duration(self.timeout), on_timeout=self.on_timeout
        )


def _time(value: dt.time | dt.datetime) -> str:
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise BadInput(f"{value!r} has no time zone: give one, or a time of day, which is in the pipeline's zone")
        return value.isoformat()
    return value.isoformat("minutes" if not value.second else "seconds")


@dataclass(frozen=True)
class ChildRun:
    """A run of another pipeline, with parameters."""

    name: str
    params: Mapping[str, Plain] = field(default_factory=dict[str, Plain])
    """Strings are templates; one that is a single `{{ … }}` keeps the value's type."""
    wait: bool = True
    """Whether the task ends as that run does, or as soon as it is created."""

    def to_document(self) -> Plain:
        pipeline_name(self.name)
        if not self.params and self.wait:
            return self.name
        return written(name=self.name, params=dict(self.params), wait=None if self.wait else False)


@dataclass(frozen=True)
class Approve:
    """A question for a person."""

    message: str

    def to_document(self) -> Document:
        return {"message": self.message}


@dataclass(frozen=True)
class Container:
    """An image, as a Kubernetes Job; by podman or docker where no cluster is configured."""

    image: str
    """A template."""
    command: Sequence[str] = ()
    """Replaces the image's entry point; templates."""
    args: Sequence[str] = ()
    cpu: str | float | None = None
    """`500m`, or a number of CPUs; requested and limited."""
    memory: str | None = None
    """`512MiB`; requested and limited."""
    namespace: str | None = None
    service_account: str | None = None
    pull: Literal["missing", "always", "never"] | None = None

    def to_document(self) -> Document:
        return written(
            image=self.image,
            command=list(self.command),
            args=list(self.args),
            cpu=self.cpu,
            memory=self.memory,
            namespace=self.namespace,
            service_account=self.service_account,
            pull=self.pull,
        )


@dataclass(frozen=True)
class Policy:
    """A set of failures, by reason or by the program's exit code."""

    reasons: Sequence[Reason] = ()
    exit_codes: Sequence[int] = ()

    def to_document(self) -> Document:
        return written(reasons=list(self.reasons), exit_codes=list(self.exit_codes))


@dataclass(frozen=True)
class Retries:
    """How often and when a failed attempt is followed by another."""

    max: int | None = None
    """Further attempts after the first."""
    delay: Duration | None = None
    backoff: float | None = None
    """Each later delay is the last times this."""
    max_delay: Duration | None = None
    jitter: Literal["none", "full"] | None = None
    on: Policy | Sequence[Reason] | None = None
    """Only these failures are retried."""
    not_on: Policy | Sequence[Reason] | None = None
    """These failures are never retried."""

    def to_document(self) -> Document:
        def policy(policy: Policy | Sequence[Reason] | None) -> Plain:
            return policy.to_document() if isinstance(policy, Policy) else (None if policy is None else list(policy))

        return written(
            max=self.max,
            delay=_duration(self.delay),
            backoff=self.backoff,
            max_delay=_duration(self.max_delay),
            jitter=self.jitter,
            on=policy(self.on),
            not_on=policy(self.not_on),
        )


@dataclass(frozen=True)
class Expect:
    """What is expected of a task's records, judged at its end."""

    min_records: float | None = None
    max_records: float | None = None
    max_rejected: float | None = None
    max_rejected_ratio: float | None = None
    """Of those read; 0.01 is one in a hundred."""
    action: Literal["alert", "fail", "hold"] | None = None

    def to_document(self) -> Document:
        return written(
            records=written(min=self.min_records, max=self.max_records),
            rejected=written(max=self.max_rejected, max_ratio=self.max_rejected_ratio),
            action=self.action,
        )


ParamType: TypeAlias = Literal["string", "int", "number", "bool"] | type[str] | type[int] | type[float] | type[bool]
"""The document's word, or Python's type."""

_PYTHON_TYPES: dict[type, str] = {str: "string", int: "int", float: "number", bool: "bool"}


@dataclass(frozen=True)
class Param:
    """A value a run may be given; without a `default` it must be."""

    type: ParamType = "string"
    default: str | int | float | bool | None = None
    enum: Sequence[str | int | float | bool] = ()
    description: str = ""

    @classmethod
    def of(cls, value: Param | str | int | float | bool) -> Param:
        """A value stands for a parameter of its type, with it as the default."""
        return value if isinstance(value, Param) else cls(type(value), value)

    def to_document(self) -> Document:
        kind = _PYTHON_TYPES.get(self.type) if isinstance(self.type, type) else self.type
        if kind is None:
            raise BadInput(f"{self.type!r} is no type of parameters: use str, int, float or bool")
        document: Document = {"type": kind}
        if self.default is not None:
            document["default"] = self.default
        return document | written(enum=list(self.enum), description=self.description)


@dataclass(frozen=True)
class Schedule:
    """When runs start by themselves: a cron expression or several, any of which fires, or a steady period.

    >>> Schedule(cron="0 2 * * *", catchup="all").to_document()
    {'cron': '0 2 * * *', 'catchup': 'all'}
    """

    cron: str | Sequence[str] | None = None
    """Five fields: minute, hour, day of month, month, day of week; or `@hourly`, `@daily`, …; in the pipeline's zone."""
    every: Duration | None = None
    """A steady period, counted from `start_date`, else from 1970."""
    delay: Duration | None = None
    """A run starts so long after its interval's end."""
    grace: Duration | None = None
    """An interval that fell due no longer ago runs, whatever `catchup` says."""
    catchup: Literal["none", "latest", "all"] | None = None
    """What becomes of intervals that fell due longer ago than `grace`: all run, only the latest, or none."""
    overlap: Literal["queue", "skip", "cancel_running"] | None = None
    """What becomes of a run that falls due while another runs."""
    max_queued: int | None = None
    """Runs that may be queued; what falls due beyond them is skipped, or waits where `catchup` is `all`."""

    def to_document(self) -> Plain:
        if (self.cron is None) == (self.every is None):
            raise BadInput("Schedule takes one of cron and every")
        cron = self.cron if self.cron is None or isinstance(self.cron, str) else list(self.cron)
        return written(
            cron=cron,
            every=_duration(self.every),
            delay=_duration(self.delay),
            grace=_duration(self.grace),
            catchup=self.catchup,
            overlap=self.overlap,
            max_queued=self.max_queued,
        )


@dataclass(frozen=True)
class Deadline:
    """When a due interval's run must have succeeded."""

    finish_by: str | dt.time | None = None
    """`HH:MM` in the pipeline's zone: the first after the interval's end."""
    finish_within: Duration | None = None
    """After the interval's end."""

    def to_document(self) -> Document:
        if (self.finish_by is None) == (self.finish_within is None):
            raise BadInput("Deadline takes one of finish_by and finish_within")
        finish_by = self.finish_by if self.finish_by is None or isinstance(self.finish_by, str) else _time(self.finish_by)
        return written(finish_by=finish_by, finish_within=_duration(self.finish_within))


Given = str | int | float | bool
"""What a trigger gives a parameter: a value, or a template that may use `event`."""


@dataclass(frozen=True)
class FileTrigger:
    """A file that is new or has changed, and has settled, starts a run; each version once.

    `path` is an absolute path, the same on every coordinator, or a URL such as `s3://bucket/claims/*.csv`; `*`, `?` and `[…]` do not match a `/`.
    """

    name: str
    path: str
    settle: Duration | None = None
    """How long it must not have changed."""
    every: Duration | None = None
    """How often it is looked for."""
    existing: bool | None = None
    """Whether files that are there when the trigger is first seen start runs too."""
    params: Mapping[str, Given] = field(default_factory=dict[str, Given])
    """What its runs are given: `{"file": "{{ event.path }}"}`."""
    debounce: Duration | None = None
    """What comes within this time of the last starts one run together with it."""

    def to_document(self) -> Document:
        file = written(path=self.path, settle=_duration(self.settle), every=_duration(self.every), existing=self.existing)
        return _trigger(self.name, self.params, self.debounce, file=self.path if list(file) == ["path"] else file)


@dataclass(frozen=True)
class PipelineTrigger:
    """A run of another pipeline, when it has ended, starts a run; of several pipelines, their runs for the same interval do together.

    A pipeline is named, or given itself.
    """

    name: str
    pipelines: str | Pipeline | Sequence[str | Pipeline]
    when: Literal["success", "failure", "any"] | None = None
    """How each run must have ended: `success`, if nothing is said; `failure` is FAILED or CANCELLED."""
    params: Mapping[str, Given] = field(default_factory=dict[str, Given])
    """What its runs are given: `{"rows": "{{ event.outputs.load.rows }}"}`."""
    debounce: Duration | None = None
    """What comes within this time of the last starts one run together with it."""

    def to_document(self) -> Document:
        if isinstance(self.pipelines, Sequence) and not isinstance(self.pipelines, str):
            names = [_pipeline(pipeline) for pipeline in self.pipelines]
            if not names:
                raise BadInput("it names no pipeline")
            many: Plain = written(names=names, when=self.when) if self.when is not None else names
            return _trigger(self.name, self.params, self.debounce, pipelines=many)
        name = _pipeline(self.pipelines)
        one: Plain = written(name=name, when=self.when) if self.when is not None else name
        return _trigger(self.name, self.params, self.debounce, pipeline=one)


@dataclass(frozen=True)
class EventTrigger:
    """An event of this name, by `Client.emit` or the trigger's webhook, starts a run."""

    name: str
    event: str
    params: Mapping[str, Given] = field(default_factory=dict[str, Given])
    """What its runs are given: `{"day": "{{ event.payload.day }}"}`. If nothing is said, what the event carries under the names of parameters."""
    debounce: Duration | None = None
    """What comes within this time of the last starts one run together with it."""

    def to_document(self) -> Document:
        return _trigger(self.name, self.params, self.debounce, event=dotted("event name", self.event))


Trigger = FileTrigger | PipelineTrigger | EventTrigger
"""What else starts a run."""


def _trigger(name: str, params: Mapping[str, Given], debounce: Duration | None, **source: Plain) -> Document:
    if identifier("trigger name", name) == "schedule":
        raise BadInput("a trigger cannot be named schedule, which is what starts runs by `schedule`: choose another name")
    given: Document = {identifier("parameter", key): _text(value) for key, value in params.items()}
    return {"name": name, **source, **written(params=given, debounce=_duration(debounce))}


def _pipeline(value: str | Pipeline) -> str:
    return pipeline_name(value if isinstance(value, str) else value.name)


@dataclass(frozen=True)
class Defaults:
    """What holds for every task that does not say otherwise, key by key."""

    retries: int | Retries | None = None
    timeout: Duration | None = None
    queue_timeout: Duration | None = None
    grace: Duration | None = None
    max_lost: int | None = None
    queue: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    priority: int | None = None
    env: Mapping[str, Setting] = field(default_factory=dict[str, Setting])
    workdir: str | None = None
    pool: str | None = None
    pool_slots: int | None = None
    expect: Expect | None = None
    allow_failure: bool | None = None
    baseline: Literal["weekday"] | None = None

    def to_document(self) -> Document:
        if self.queue is not None:
            dotted("queue name", self.queue)
        if self.pool is not None:
            dotted("pool name", self.pool)
        return written(
            retries=self.retries.to_document() if isinstance(self.retries, Retries) else self.retries,
            timeout=_duration(self.timeout),
            queue_timeout=_duration(self.queue_timeout),
            grace=_duration(self.grace),
            max_lost=self.max_lost,
            queue=self.queue,
            labels=dict(self.labels),
            priority=self.priority,
            pool=self.pool,
            pool_slots=self.pool_slots,
            expect=None if self.expect is None else self.expect.to_document(),
            allow_failure=self.allow_failure,
            baseline=self.baseline,
            workdir=self.workdir,
            env=settings(self.env),
        )
