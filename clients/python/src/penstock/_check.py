"""Checks of a definition: the structure here, everything by the program `penstock` where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from .errors import BadInput
from .tasks import Task


class Problems:
    """Gathers what is wrong, so that all of it is said at once."""

    def __init__(self) -> None:
        self.list: list[str] = []

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        if isinstance(error, BadInput):
            self.list.append(str(error))
            return True
        return False

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """What is wrong with a part is told with its name."""
        try:
            yield
        except BadInput as error:
            self.list.append(f"{what}: {error}")

    def raise_any(self, pipeline: str) -> None:
        if self.list:
            count = "1 error" if len(self.list) == 1 else f"{len(self.list)} errors"
            raise BadInput("\n  ".join([f"pipeline {pipeline} has {count}:", *self.list]))


class Above:
    """Which tasks are above which. Worked out for those that ask."""

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        self._tasks = tasks
        self._groups: dict[str, set[str]] = {}
        for id, task in tasks.items():
            if "group" in task.options:
                self._groups.setdefault(task.options["group"], set()).add(id)

    def _direct(self, id: str) -> set[str]:
        names = {key.removesuffix("[*]") for key in self._tasks[id].upstreams}
        setup = self._tasks[id].options.get("setup")
        if setup is not None:
            names.add(setup.id if isinstance(setup, Task) else setup)
        return {member for name in names for member in self._groups.get(name, {name}) if member in self._tasks}

    def of(self, id: str) -> frozenset[str]:
        found: set[str] = set()
        next = [id]
        while next:
            new = self._direct(next.pop()) - found
            found |= new
            next.extend(new)
        return frozenset(found - {id})


def structure(tasks: Mapping[str, Task]) -> list[str]:
    """Upstreams that are not there, and circles."""
    problems = []
    if not tasks:
        problems.append("it has no task: add_tasks([…])")
    groups = {task.options["group"] for task in tasks.values() if "group" in task.options}
    for id, task in tasks.items():
        for key in task.upstreams:
            name = key.removesuffix("[*]")
            known = task.referred.get(name)
            if name not in tasks and name not in groups:
                hint = "add it with add_tasks" if known is not None else "add the task, or remove it from depends_on"
                problems.append(f"task {id} depends on {name}, which is no task of this pipeline: {hint}")
            elif known is not None and tasks.get(name, known) is not known:
                problems.append(f"task {id} depends on another task {name} than the one that was added")
    circle = _circle(tasks)
    if circle:
        problems.append(f"tasks depend on each other in a circle: {' -> '.join(circle)}")
    return problems


def _circle(tasks: Mapping[str, Task]) -> list[str]:
    """One of the circles, each task followed by one above it; empty if there is none."""
    waiting = {id: {key.removesuffix("[*]") for key in task.upstreams} & tasks.keys() for id, task in tasks.items()}
    below: dict[str, list[str]] = {id: [] for id in tasks}
    for id, ups in waiting.items():
        for up in ups:
            below[up].append(id)
    free = [id for id, ups in waiting.items() if not ups]
    while free:
        freed = free.pop()
        for id in below[freed]:
            waiting[id].discard(freed)
            if not waiting[id]:
                free.append(id)
    stuck = next((id for id, ups in waiting.items() if ups), None)
    walked: list[str] = []
    while stuck is not None and stuck not in walked:
        walked.append(stuck)
        stuck = min(waiting[stuck])
    return [*walked[walked.index(stuck) :], stuck] if stuck is not None else []


def with_binary(pipeline: str, document: str) -> list[str]:
    """By `penstock check`; what is doubtful is returned."""
    binary = shutil.which(os.environ.get("PENSTOCK_BIN") or "penstock")
    if binary is None:
        return ["only what this package knows was checked: set PENSTOCK_ENDPOINT, or install the program `penstock`, to check all of it"]
    binary = os.path.abspath(binary)
    with tempfile.TemporaryDirectory(prefix="penstock-check-") as folder:
        file = f"{pipeline.replace('/', '.')}.yaml"
        Path(folder, file).write_text(document, encoding="utf-8")
        done = subprocess.run([binary, "check", file], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BadInput((done.stderr or done.stdout).strip() or f"{binary} check ended with {done.returncode}")
    return [done.stderr.strip()] if done.stderr.strip() else []
