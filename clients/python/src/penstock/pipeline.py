"""A pipeline: the document, and what can be done with it."""

from __future__ import annotations

import datetime as dt
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import Token
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, overload

from . import _check
from ._names import duration, identifier, pipeline_name, when
from ._yaml import Plain, dump
from .errors import BadInput, NotPossible, UndefinedActionWarning
from .interval import IntervalLike
from .tasks import Task, _opened
from .values import Deadline, Defaults, Document, Duration, Param, Schedule, Setting, Trigger, settings, written

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .client import Backfill, Client, Run
    from .records import BackfillOptions, BackfillPlan, Registered

__all__ = ["Pipeline"]


class Pipeline:
    """A pipeline of tasks; the options are the document's keys.

    >>> pipeline = Pipeline("daily_etl", timezone="Europe/Paris", params={"region": Param(str, default="eu", enum=["eu", "us"])})
    >>> pipeline.add_tasks([Task("extract", run=["python3", "extract.py", "{{ params.region }}"])])
    >>> print(pipeline.to_yaml(), end="")
    pipeline: daily_etl
    timezone: Europe/Paris
    params:
      region: {type: string, default: eu, enum: [eu, us]}
    tasks:
      extract: {run: [python3, extract.py, "{{ params.region }}"]}

    Tasks that are made in a `with` statement are added by themselves.
    """

    def __init__(
        self,
        name: str,
        *,
        description: str = "",
        owner: str = "",
        tags: Sequence[str] = (),
        notify: Sequence[str] = (),
        timezone: str | None = None,
        schedule: str | Schedule | None = None,
        deadline: Deadline | None = None,
        triggers: Sequence[Trigger] = (),
        start_date: str | dt.date | None = None,
        end_date: str | dt.date | None = None,
        depends_on_past: bool = False,
        max_active_runs: int | None = None,
        max_active_tasks: int | None = None,
        run_timeout: Duration | None = None,
        alert_queued_after: Duration | None = None,
        baseline: Literal["weekday"] | None = None,
        params: Mapping[str, Param | str | int | float | bool] | None = None,
        workdir: str | None = None,
        env: Mapping[str, Setting] | None = None,
        defaults: Defaults | None = None,
        tasks: Iterable[Task] = (),
    ) -> None:
        self.name = pipeline_name(name)
        self.description = description
        self.owner = owner
        self.tags = tuple(tags)
        self.notify = tuple(notify)
        self.timezone = timezone
        self.schedule = schedule
        self.deadline = deadline
        self.triggers = tuple(triggers)
        self.start_date = start_date
        self.end_date = end_date
        self.depends_on_past = depends_on_past
        self.max_active_runs = max_active_runs
        self.max_active_tasks = max_active_tasks
        self.run_timeout = run_timeout
        self.alert_queued_after = alert_queued_after
        self.baseline: Literal["weekday"] | None = baseline
        self.params = {identifier("parameter", name): Param.of(param) for name, param in (params or {}).items()}
        self.workdir = workdir
        self.env = dict(env or {})
        self.defaults = defaults
        self._tasks: dict[str, Task] = {}
        self._tokens: list[Token[tuple[Pipeline, ...]]] = []
        self.add_tasks(tasks)

    # Tasks

    @property
    def tasks(self) -> Mapping[str, Task]:
        """By id, in the order in which they were added."""
        return self._tasks

    def add(self, task: Task) -> Task:
        """Adds a task, and returns it."""
        if self._tasks.setdefault(task.id, task) is not task:
            raise BadInput(f"pipeline {self.name} has a task {task.id!r} already: ids are unique within a pipeline")
        return task

    def add_tasks(self, tasks: Iterable[Task]) -> None:
        """Adds tasks."""
        for task in tasks:
            self.add(task)

    def __enter__(self) -> Self:
        self._tokens.append(_opened.set((self,)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _opened.reset(self._tokens.pop())

    def __repr__(self) -> str:
        return f"Pipeline({self.name!r}, tasks={list(self._tasks)})"

    # The document

    def to_dict(self) -> Document:
        """The document, as plain data. All that is wrong with it and shows here is one `BadInput`."""
        actionless = [task.id for task in self._tasks.values() if task.action is None]
        if actionless:
            warnings.warn(_says_nothing(self.name, actionless), UndefinedActionWarning, stacklevel=_caller())
        return self._document()

    def _document(self) -> Document:
        problems = _check.Problems()
        document: Document = {"pipeline": self.name}
        with problems:
            document |= written(
                description=self.description,
                owner=self.owner,
                tags=list(self.tags),
                notify=list(self.notify),
                timezone=self.timezone,
                schedule=self.schedule.to_document() if isinstance(self.schedule, Schedule) else self.schedule,
                deadline=None if self.deadline is None else self.deadline.to_document(),
                start_date=None if self.start_date is None else when(self.start_date),
                end_date=None if self.end_date is None else when(self.end_date),
                depends_on_past=self.depends_on_past or None,
                max_active_runs=self.max_active_runs,
                max_active_tasks=self.max_active_tasks,
                run_timeout=None if self.run_timeout is None else duration(self.run_timeout),
                alert_queued_after=None if self.alert_queued_after is None else duration(self.alert_queued_after),
                baseline=self.baseline,
                workdir=self.workdir,
                env=settings(self.env),
            )
        triggers: list[Plain] = []
        for trigger in self.triggers:
            with problems.of(f"trigger {trigger.name}"):
                triggers.append(trigger.to_document())
                if sum(other.name == trigger.name for other in self.triggers) > 1:
                    raise BadInput("its name is that of another trigger: names are unique within a pipeline")
        document |= written(triggers=triggers)
        params: dict[str, Plain] = {}
        for name, param in self.params.items():
            with problems.of(f"parameter {name}"):
                params[name] = param.to_document()
        document |= written(params=params)
        if self.defaults is not None:
            with problems.of("defaults"):
                document |= written(defaults=self.defaults.to_document())
        above = _check.Above(self._tasks)
        tasks: dict[str, Plain] = {}
        for id, task in self._tasks.items():
            with problems.of(f"task {id}"):
                tasks[id] = task.to_document(above=partial(above.of, id), params=frozenset(self.params))
        document["tasks"] = tasks
        problems.list.extend(_check.structure(self._tasks))
        problems.raise_any(self.name)
        return document

    def to_yaml(self) -> str:
        """The document, for people and for `penstock register`."""
        return dump(self.to_dict())

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the document to a file."""
        Path(path).write_text(self.to_yaml(), encoding="utf-8")

    def check(self, client: Client | None = None) -> list[str]:
        """All that is wrong is one `BadInput`; what is doubtful is returned.

        Asks the cluster of `client` or of PENSTOCK_ENDPOINT, which stores nothing; without one, the program `penstock` on the PATH;
        without that, only what this package knows is checked, and the answer says so.
        """
        said = [_says_nothing(self.name, [task.id]) for task in self._tasks.values() if task.action is None]
        document = dump(self._document())
        if client is None and os.environ.get("PENSTOCK_ENDPOINT"):
            client = self._client(None)
        if client is not None:
            return said + client.check(document, file=f"{self.name}.yaml")
        return said + _check.with_binary(self.name, document)

    # What a cluster does with it

    def register(self, client: Client | None = None) -> Registered:
        """Stores the definition. The same definition again is the same version."""
        return self._client(client).register(self)

    def submit(
        self,
        params: Mapping[str, Plain] | None = None,
        *,
        run_id: str | None = None,
        interval: IntervalLike | None = None,
        only: Sequence[str] = (),
        client: Client | None = None,
    ) -> Run:
        """Stores the definition, if it is not stored yet, and starts a run of it. The same `run_id` twice is one run."""
        client = self._client(client)
        version = client.register(self).version
        return client.submit(self.name, params, run_id=run_id, interval=interval, version=version, only=only)

    def runs(self, client: Client | None = None) -> Iterator[Run]:
        """Its runs, newest first."""
        client = self._client(client)
        return (client.run(info.id) for info in client.runs(self.name))

    def pause(self, note: str = "", client: Client | None = None) -> bool:
        """Nothing of it is started until it is resumed. False where it was paused already."""
        return self._client(client).pause_pipeline(self.name, note=note)

    def resume(self, note: str = "", client: Client | None = None) -> bool:
        """Undoes `pause`. False where it was not paused."""
        return self._client(client).resume_pipeline(self.name, note=note)

    def unregister(self, note: str = "", client: Client | None = None) -> None:
        """Takes no new run until it is registered again; what runs goes on."""
        self._client(client).unregister(self.name, note=note)

    @overload
    def backfill(
        self,
        start_date: dt.date | str,
        end_date: dt.date | str,
        *,
        dry_run: Literal[False] = False,
        client: Client | None = None,
        **options: Unpack[BackfillOptions],
    ) -> Backfill: ...
    @overload
    def backfill(
        self,
        start_date: dt.date | str,
        end_date: dt.date | str,
        *,
        dry_run: Literal[True],
        client: Client | None = None,
        **options: Unpack[BackfillOptions],
    ) -> BackfillPlan: ...
    @overload
    def backfill(
        self,
        start_date: dt.date | str,
        end_date: dt.date | str,
        *,
        dry_run: bool,
        client: Client | None = None,
        **options: Unpack[BackfillOptions],
    ) -> Backfill | BackfillPlan: ...
    def backfill(
        self,
        start_date: dt.date | str,
        end_date: dt.date | str,
        *,
        dry_run: bool = False,
        client: Client | None = None,
        **options: Unpack[BackfillOptions],
    ) -> Backfill | BackfillPlan:
        """Stores the definition, if it is not stored yet, and runs the intervals that start within these dates, both included.

        The dates are those of the pipeline's zone. The options are those of `BackfillOptions`: `reprocess`, `tasks`, `params`,
        `max_active`, `order`, `every`, `cascade`, `id` and `note`. With `dry_run` nothing is stored or run, and what would run is told;
        so the definition must be stored already: `NotPossible` where it is not, as it is.

            pipeline.backfill("2024-01-01", "2024-01-31", reprocess="failed").wait()
        """
        client = self._client(client)
        if dry_run:
            if client.would_register(self).created:
                raise NotPossible(f"pipeline {self.name}, as it is here, is not registered, and a dry run stores nothing: register() it first")
        else:
            client.register(self)
        return client.backfill(self.name, start_date, end_date, dry_run=dry_run, **options)

    @staticmethod
    def _client(client: Client | None) -> Client:
        from .client import Client, default_client
        from .run import IMPORTING

        importing = os.environ.get(IMPORTING)
        if importing:
            raise BadInput(
                f"a worker imports this module for {importing}, and its top level asks the cluster: put that below "
                f'`if __name__ == "__main__":`'
            )
        return client if isinstance(client, Client) else default_client()


def _says_nothing(pipeline: str, tasks: Sequence[str]) -> str:
    what = f"task {tasks[0]} of {pipeline} says" if len(tasks) == 1 else f"tasks {', '.join(tasks)} of {pipeline} say"
    return f"{what} nothing of what to do, and {'is a noop' if len(tasks) == 1 else 'are noops'}: give run=, shell=, …, or noop=True if that is meant"


def _caller() -> int:
    """How far up the stack the first frame outside of this package is."""
    import sys

    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("penstock."):
        level, frame = level + 1, frame.f_back
    return level
