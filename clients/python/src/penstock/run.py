"""Runs one function as a task, on the worker: `python3 -m penstock.run jobs.extract:customers`.

The function is imported from the working directory. What it returns, a mapping or nothing, becomes the task's outputs. `Skip` and
`Fail` end it as they say; any other exception is printed, and the exit status is 1, so that the task's `retries` decide.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from .context import current
from .errors import BadInput, Fail, Skip
from .functions import ARGUMENT, OUTPUTS, arguments, special

IMPORTING = "_PENSTOCK_IMPORTING"
"""Set while a task's module is imported: what a definition does at its top level must not be done again."""


def find(target: str) -> Callable[..., Any]:
    """The function of this name."""
    module_name, _, path = target.partition(":")
    sys.path.insert(0, os.getcwd())
    os.environ[IMPORTING] = target
    try:
        found: Any = importlib.import_module(module_name)
    finally:
        del os.environ[IMPORTING]
    for name in path.split("."):
        found = getattr(found, name)
    # What `@task` made of it.
    found = getattr(found, "function", found)
    if not callable(found):
        raise BadInput(f"{target} is {found!r}, which is no function")
    function: Callable[..., Any] = found
    return function


def gather(function: Callable[..., Any], target: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """The values of its arguments."""
    outputs = {name.removeprefix(OUTPUTS): json.loads(text) for name, text in environment.items() if name.startswith(OUTPUTS)}
    given = {name.removeprefix(ARGUMENT): json.loads(text) for name, text in environment.items() if name.startswith(ARGUMENT)}
    known: dict[str, Any] = {"context": current, "interval": current.interval, "params": current.params, "outputs": outputs}
    values: dict[str, Any] = {}
    for parameter in arguments(function, target):
        name = parameter.name
        kind = special(parameter) or name
        for source, key in ((given, name), (known, kind), (current.params, name), (outputs, name)):
            if key in source:
                values[name] = source[key]
                break
        else:
            if parameter.default is parameter.empty:
                has = sorted({*given, *known, *current.params, *outputs})
                raise BadInput(f"{target} takes {name!r}, which is none of what there is: {', '.join(has)}")
    return values


def call(function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    """What it returns; a coroutine is run to its end."""
    result = function(**values)
    if inspect.iscoroutine(result):
        import asyncio

        return asyncio.run(result)
    return result


def main(argv: list[str]) -> int:
    """The exit status."""
    if len(argv) != 2:
        sys.stderr.write("usage: python3 -m penstock.run MODULE:FUNCTION\n")
        return 2
    target = argv[1]
    for stream in (sys.stdout, sys.stderr):
        # What it prints is in the log at once, and not when a buffer is full.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True)
    signal.signal(signal.SIGTERM, _stop)
    try:
        function = find(target)
        try:
            values = gather(function, target, os.environ)
        except BadInput as why:
            # Another attempt would get no more.
            raise Fail(str(why)) from why
        result = call(function, values)
        if result is not None:
            if not isinstance(result, Mapping):
                raise BadInput(f"{target} returned {type(result).__name__}: return a dict of outputs, or nothing")
            current.outputs(dict(result))
    except Skip as skip:
        current.skip(str(skip))
    except Fail as fail:
        current.fail(str(fail))
    except Exception:
        sys.stdout.flush()
        traceback.print_exc()
        return 1
    return 0


def _stop(number: int, _frame: FrameType | None) -> None:
    """SIGTERM as an exception, so that `finally` and `with` tidy up within the task's `grace`."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
