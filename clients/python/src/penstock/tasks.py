"""A task, and the decorator that makes one of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypedDict, TypeVar, cast, get_args, overload

from ._names import dotted, duration, identifier, pipeline_name
from ._yaml import Plain
from .errors import BadInput
from .functions import Function, named
from .values import (
    Approve,
    ChildRun,
    Condition,
    Container,
    Document,
    Duration,
    Expect,
    Http,
    Output,
    Retries,
    Setting,
    Sql,
    TriggerRule,
    Wait,
    settings,
    written,
)

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .pipeline import Pipeline

__all__ = ["FunctionTask", "Task", "TaskOptions", "task"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound="Task | Sequence[Task]")

ACTIONS = ("run", "shell", "http", "sql", "wait", "pipeline", "approve", "container", "noop")
RULES: tuple[str, ...] = get_args(TriggerRule)
CONDITIONS: tuple[str, ...] = get_args(Condition)


class TaskOptions(TypedDict, total=False):
    """What a task says, as keyword arguments of `Task` and `@task`. The document's keys, but for `if_`."""

    # What it does: one of these. None of them is a noop, with a warning.

    run: Sequence[str] | Function
    """A program with its arguments, each a template, no shell; or a function, `python("jobs.extract:customers")`."""
    shell: str
    """A script for `sh -eu`; never a template: pass values by `env`."""
    http: Http | str
    """One request, or just its URL."""
    sql: Sql
    """Statements on a named connection."""
    wait: Wait
    """A sensor."""
    pipeline: str | Pipeline | ChildRun
    """Runs another pipeline."""
    approve: str | Approve
    """Asks a person."""
    container: Container | str
    """Runs an image."""
    noop: bool
    """Nothing: a join."""

    # When it starts

    depends_on: Task | str | Iterable[Task | str] | Mapping[Task, Condition] | Mapping[str, Condition]
    """Its upstreams: tasks, ids or groups; `"t[*]"` pairs instance with instance. With a condition for each edge: a mapping."""
    trigger_rule: TriggerRule
    """How its upstreams must have ended, together; not beside conditions."""
    if_: str
    """An expression; false is SKIPPED(condition)."""
    branch: bool
    """Its output `branch` picks the direct downstreams that go on."""
    for_each: Sequence[Plain] | range | Output | Task | str
    """One instance for each item: a list, a range, an output, `"outputs.T.K"`, or the items of a task, `"items.T"`."""
    max_parallel: int
    max_failed: int | str
    """Instances that may fail: a number, or `"1%"`."""
    group: str
    setup: Task | str
    """What it cleans up after."""
    teardown: bool
    """It runs whatever happened, also in a cancelled run."""
    allow_failure: bool
    """The tasks below read its failure as success."""

    # Where and how

    pool: str
    pool_slots: int
    priority: int
    queue: str
    labels: Mapping[str, str]
    retries: int | Retries
    timeout: Duration
    """Longest time of one attempt."""
    queue_timeout: Duration
    """Longest wait for a slot."""
    grace: Duration
    """Between SIGTERM and SIGKILL."""
    max_lost: int
    """Attempts that may be lost with their worker; 0 for what must never start twice."""
    env: Mapping[str, Setting]
    workdir: str
    expect: Expect
    baseline: Literal["weekday"]
    description: str


OPTIONS = TaskOptions.__annotations__.keys()


class Task:
    """A task of a pipeline; the options are those of `TaskOptions`.

    >>> extract = Task("extract", run=["python3", "extract.py", "{{ params.region }}"], retries=2, timeout="30m")
    >>> load = Task("load", shell="psql -f load.sql", depends_on=[extract])
    """

    def __init__(self, id: str, **options: Unpack[TaskOptions]) -> None:
        given = cast("dict[str, Any]", dict(options))
        for name in given:
            if name not in OPTIONS:
                import difflib

                near = difflib.get_close_matches(name, OPTIONS, 1)
                raise TypeError(f"Task has no option {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        self.id = identifier("task id", id)
        self.options: Mapping[str, Any] = {name: value for name, value in given.items() if name != "depends_on" and value is not None}
        actions = [name for name in ACTIONS if name in self.options and self.options[name] is not False]
        if len(actions) > 1:
            raise BadInput(f"task {id} has {' and '.join(actions)}: two steps are two tasks")
        self.action: str | None = actions[0] if actions else None
        self._edges: dict[str, Condition | None] = {}
        self._known: dict[str, Task] = {}
        upstreams = given.get("depends_on")
        if isinstance(upstreams, Mapping):
            for upstream, condition in upstreams.items():
                self.depends_on(upstream, on=condition)
        elif upstreams is not None:
            self.depends_on(*([upstreams] if isinstance(upstreams, (Task, str)) else upstreams))
        for_each = self.options.get("for_each")
        # What it is mapped over is there only when that task has ended.
        source = for_each if isinstance(for_each, Task) else for_each.task if isinstance(for_each, Output) else None
        if source is not None and (source.id if isinstance(source, Task) else source) not in self._edges:
            self.depends_on(source)
        for pipeline in _opened.get():
            pipeline.add(self)

    def depends_on(self, *upstreams: Task | str, on: Condition | None = None, paired: bool = False) -> Self:
        """This task starts after these; `on` says how they must have ended, `paired` that each instance waits for the one of its number.

        Returns this task.
        """
        if on is not None and on not in CONDITIONS:
            raise BadInput(f"{on!r} is no condition: use one of {', '.join(CONDITIONS)}")
        for upstream in upstreams:
            key = upstream.id if isinstance(upstream, Task) else upstream
            name = key.removesuffix("[*]")
            identifier("task id", name)
            if name == self.id:
                raise BadInput(f"task {self.id} depends on itself")
            if isinstance(upstream, Task):
                self._known[name] = upstream
            self._edges[f"{name}[*]" if paired or key.endswith("[*]") else name] = on
        return self

    def output(self, key: str) -> Output:
        """A template that is this output: `Task("load", run=["load.py", extract.output("path")], depends_on=[extract])`."""
        return Output(self.id, key)

    @property
    def upstreams(self) -> Mapping[str, Condition | None]:
        """What it depends on, and how that must end."""
        return self._edges

    @property
    def referred(self) -> Mapping[str, Task]:
        """The upstreams that were given as tasks, by id."""
        return self._known

    # `a >> b` is `b.depends_on(a)`.

    def __rshift__(self, below: T) -> T:
        for one in [below] if isinstance(below, Task) else below:
            one.depends_on(self)
        return below

    def __rrshift__(self, above: Iterable[Task]) -> Self:
        return self.depends_on(*above)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def to_document(self, *, above: Callable[[], frozenset[str]] = frozenset, params: frozenset[str] = frozenset()) -> Document:
        """Its part of the document. `above` tells every task above this one, `params` are the parameters: a function may ask for them."""
        o = self.options
        document = written(description=o.get("description"), depends_on=self._depends_on_document(), group=o.get("group"))
        if "trigger_rule" in o:
            if o["trigger_rule"] not in RULES:
                raise BadInput(f"{o['trigger_rule']!r} is no trigger rule: use one of {', '.join(RULES)}")
            document["trigger_rule"] = o["trigger_rule"]
        document |= written(
            if_=o.get("if_"),
            for_each=self._for_each_document() if "for_each" in o else None,
            max_parallel=o.get("max_parallel"),
            max_failed=o.get("max_failed"),
            setup=o["setup"].id if isinstance(o.get("setup"), Task) else o.get("setup"),
            teardown=o.get("teardown") or None,
            allow_failure=o.get("allow_failure"),
            branch=o.get("branch") or None,
        )
        if "for_each" in o and "for_each" not in document:
            document["for_each"] = []
        env = settings(o.get("env") or {})
        document |= self._action_document(env, above, params)
        retries = o.get("retries")
        document |= written(
            pool=None if "pool" not in o else dotted("pool name", o["pool"]),
            pool_slots=o.get("pool_slots"),
            priority=o.get("priority"),
            queue=None if "queue" not in o else dotted("queue name", o["queue"]),
            labels=dict(o.get("labels") or {}),
            retries=retries.to_document() if isinstance(retries, Retries) else retries,
            timeout=_duration(o.get("timeout")),
            queue_timeout=_duration(o.get("queue_timeout")),
            grace=_duration(o.get("grace")),
            max_lost=o.get("max_lost"),
            expect=o["expect"].to_document() if "expect" in o else None,
            baseline=o.get("baseline"),
            workdir=o.get("workdir"),
            env=env,
        )
        return document

    def _depends_on_document(self) -> Plain:
        if any(condition is not None for condition in self._edges.values()):
            if "trigger_rule" in self.options:
                raise BadInput("it has a trigger_rule, and conditions on its edges: keep one")
            return {key: condition or "success" for key, condition in self._edges.items()}
        return list(self._edges)

    def _for_each_document(self) -> Plain:
        value: Sequence[Plain] | range | Output | Task | str = self.options["for_each"]
        if isinstance(value, Task):
            return f"items.{value.id}"
        if isinstance(value, Output):
            return f"outputs.{value.task}.{value.key}"
        if isinstance(value, range):
            if value.start == 0 and value.step == 1:
                return {"range": value.stop}
            return written(from_=value.start, to=value.stop, step=value.step if value.step != 1 else None)
        return value if isinstance(value, str) else list(value)

    def _action_document(self, env: Document, above: Callable[[], frozenset[str]], params: frozenset[str]) -> Document:
        value = self.options.get(self.action) if self.action else True
        match self.action, value:
            case "run", Function():
                # Its own `env` wins, so that a value can be put in by hand.
                tasks = above()
                direct = {key.removesuffix("[*]") for key in self._edges} & tasks
                handed = value.env(direct=direct, above=tasks, params=params, mapped="for_each" in self.options)
                env |= {**handed, **env}
                return {"run": value.argv()}
            case "run", str():
                raise BadInput("`run` is a list of a program and its arguments; a command line is `shell`")
            case "run", _:
                return {"run": list(cast("Sequence[str]", value))}
            case "pipeline", ChildRun():
                return {"pipeline": value.to_document()}
            case "pipeline", _:
                return {"pipeline": pipeline_name(str(getattr(value, "name", value)))}
            case ("http" | "sql" | "wait" | "approve" | "container"), (Http() | Sql() | Wait() | Approve() | Container()):
                return {cast(str, self.action): value.to_document()}
            case "http", str():
                return {"http": {"url": value}}
            case None, _:
                return {"noop": True}
            case action, _:
                return {action: cast(Plain, value)}


class FunctionTask(Task, Generic[P, R]):
    """A task that is a Python function. Called, it is that function, here and now."""

    def __init__(self, function: Callable[P, R], id: str, **options: Unpack[TaskOptions]) -> None:
        super().__init__(id, **options)
        self.function = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)


@overload
def task(function: Callable[P, R], /) -> FunctionTask[P, R]: ...
@overload
def task(
    id: str | None = None,
    /,
    *,
    args: Mapping[str, Plain] | None = None,
    executable: str = "python3",
    **options: Unpack[TaskOptions],
) -> Callable[[Callable[P, R]], FunctionTask[P, R]]: ...
def task(
    id: str | Callable[..., Any] | None = None,
    /,
    *,
    args: Mapping[str, Plain] | None = None,
    executable: str = "python3",
    **options: Unpack[TaskOptions],
) -> Any:
    """Makes a task of a function; its id is the function's name, its description the first line of its docstring.

    >>> @task(retries=2)
    ... def extract(region: str) -> dict[str, str]:
    ...     return {"path": f"/data/{region}.csv"}
    >>> extract("eu")
    {'path': '/data/eu.csv'}

    `region` is a parameter of the pipeline, or the outputs of a task of that name; see `penstock.functions`. `args` gives others.
    """

    def make(function: Callable[..., Any]) -> FunctionTask[..., Any]:
        given: dict[str, Any] = {"run": named(function, args or {}, executable), **options}
        doc = inspect.getdoc(function)
        if doc and "description" not in given:
            given["description"] = doc.split("\n", 1)[0]
        return FunctionTask(function, id if isinstance(id, str) else function.__name__, **cast(TaskOptions, given))

    return make(id) if callable(id) else make


def _duration(value: Duration | None) -> str | None:
    return None if value is None else duration(value)


_opened: ContextVar[tuple[Pipeline, ...]] = ContextVar("penstock_pipelines", default=())
"""The pipeline of the `with` statement around, if there is one."""
