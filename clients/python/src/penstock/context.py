"""Inside a task: what it is told, and how it reports. `from penstock import current`.

Needs nothing but the standard library. Outside of a task everything reported goes nowhere, so that a function is called and tested
as it is.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, NoReturn

from .errors import BadInput, Error
from .interval import Interval

__all__ = ["Context", "current"]


class Context:
    """The attempt that this program is. Read from the environment when it is first asked for."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment

    # What it is told

    @property
    def is_a_task(self) -> bool:
        """Whether a worker started this program."""
        return "PENSTOCK_TASK_ID" in self._environment

    @property
    def run_id(self) -> str:
        return self._told("PENSTOCK_RUN_ID")

    @property
    def pipeline(self) -> str:
        """`namespace/name`"""
        return self._told("PENSTOCK_PIPELINE")

    @property
    def task_id(self) -> str:
        """With its instance, if it is one: `load[dwh]`."""
        return self._told("PENSTOCK_TASK_ID")

    @property
    def attempt(self) -> int:
        """From 1 on."""
        return int(self._told("PENSTOCK_ATTEMPT"))

    @property
    def fence(self) -> int:
        """Rises over all attempts of the cluster: a sink that keeps the highest may refuse lower ones."""
        return int(self._told("PENSTOCK_FENCE"))

    @property
    def idempotency_key(self) -> str:
        """The same on every attempt of a generation."""
        return self._told("PENSTOCK_IDEMPOTENCY_KEY")

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """The run's parameters, by name."""
        params: dict[str, Any] = json.loads(self._environment.get("PENSTOCK_PARAMS") or "{}")
        return params

    @cached_property
    def interval(self) -> Interval | None:
        """The time that the run covers, if it has one."""
        start, end = (self._environment.get(f"PENSTOCK_INTERVAL_{which}") for which in ("START", "END"))
        if not start or not end:
            return None
        import datetime

        found = Interval.parse(f"{start}/{end}")
        date = self._environment.get("PENSTOCK_INTERVAL_DATE")
        return Interval(found.start, found.end, datetime.date.fromisoformat(date)) if date else found

    def _told(self, name: str) -> str:
        value = self._environment.get(name)
        if value is None:
            raise Error(f"{name} is not set: this program was not started by a worker")
        return value

    # How it reports

    def records(self, *, in_: float | None = None, out: float | None = None, rejected: float | None = None, bytes: float | None = None) -> None:
        """Reports how many records were read, written and rejected so far; shown while the task runs, judged at its end."""
        values = {"records_in": in_, "records_out": out, "records_rejected": rejected, "bytes": bytes}
        self.metrics({name: value for name, value in values.items() if value is not None})

    def metrics(self, values: Mapping[str, float] | None = None, /, **more: float) -> None:
        """Reports metrics of its own, by name. The last value of a name wins."""
        all_of_them = {**(values or {}), **more}
        for name, value in all_of_them.items():
            if not isinstance(value, (int, float)) or not math.isfinite(value):
                raise BadInput(f"the metric {name!r} is {value!r}, which is no finite number")
        if all_of_them:
            self._report({"metrics": all_of_them})

    def outputs(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Reports outputs for the tasks below, at most 64 KiB in all: pass references, not data. The last value of a key wins."""
        all_of_them = {**(values or {}), **more}
        if all_of_them:
            self._report({"output": all_of_them})

    def items(self, items: Iterable[Any]) -> int:
        """Appends items for a mapped task below, `for_each: items.TASK`, and returns how many."""
        lines = [_line(item) for item in items]
        path = self._environment.get("PENSTOCK_ITEMS")
        if path is None and self.is_a_task:
            raise Error("PENSTOCK_ITEMS is not set: no task of this pipeline is mapped over this one's items, or the worker is too old")
        if path is not None:
            _append(path, "".join(lines))
        return len(lines)

    def skip(self, why: str) -> NoReturn:
        """Ends this program; the task is SKIPPED(task). In a task's function, `raise penstock.Skip(why)` does the same."""
        self._report({"skip": why})
        raise SystemExit(0)

    def fail(self, why: str) -> NoReturn:
        """Ends this program; the task is FAILED(task) and not tried again. In a function, `raise penstock.Fail(why)` does the same."""
        self._report({"fail": why})
        raise SystemExit(1)

    def _report(self, line: Mapping[str, Any]) -> None:
        text = _line(line)
        path = self._environment.get("PENSTOCK_OUTPUT")
        if path:
            _append(path, text)


def _append(path: str, text: str) -> None:
    # One write of one appending descriptor: lines of several processes do not mix.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        data = text.encode()
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)


def _line(value: Any) -> str:
    try:
        return json.dumps(value, default=_plain, allow_nan=False, separators=(",", ":")) + "\n"
    except (TypeError, ValueError) as why:
        raise BadInput(f"{value!r:.200} is not JSON: {why}") from why


def _plain(value: Any) -> Any:
    """Dates, paths, decimals and the like as the text that everyone expects."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value).__module__ in ("decimal", "uuid"):
        return str(value)
    if hasattr(value, "item") and getattr(value, "shape", None) == ():  # a number of numpy
        return value.item()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


current = Context()
"""The attempt that this program is."""
