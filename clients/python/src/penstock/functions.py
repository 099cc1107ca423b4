"""Python functions as tasks: which values a function takes, and how they reach it.

The document says `run: [python3, -m, penstock.run, MODULE:FUNCTION]`, and hands values over as JSON in variables whose values are
templates: `TASK_ARG_x` for an argument, `TASK_OUTPUTS_t` for what the upstream task `t` has put out. (Names with `PENSTOCK_` are the
worker's.) `run.py` reads them back, on the worker. This file needs nothing but the standard library, since both sides use it.

An argument of a function is, by its name, the first of

1. what `args` gives it,
2. `context` ([`Context`][penstock.Context]), `interval`, `params`, `item` or `outputs`, also where an annotation says `Context` or `Interval`,
3. a parameter of the pipeline,
4. the outputs of the task of that name, which must be above this one,
5. its own default.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._names import identifier
from ._yaml import Plain
from .errors import BadInput

__all__ = ["Function", "python"]

ARGUMENT = "TASK_ARG_"
OUTPUTS = "TASK_OUTPUTS_"
RUNNER = "penstock.run"
SPECIAL = frozenset(["context", "interval", "params", "item", "outputs"])
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_SINGLE = re.compile(r"\s*\{\{((?:(?!\}\}|\{\{).)*)\}\}\s*", re.DOTALL)


@dataclass(frozen=True)
class Function:
    """What `python` and `@task` make: a function that a worker's Python imports and calls."""

    target: str
    """`module.of.it:function`, as seen from the task's `workdir`."""
    args: Mapping[str, Plain] = field(default_factory=dict[str, Plain])
    """Arguments: JSON whose strings are templates; one that is a single `{{ … }}` keeps the value's type."""
    executable: str = "python3"
    """The worker's Python, in which this package is installed."""
    function: Callable[..., Any] | None = None
    """The function itself, where it is at hand: then its arguments are checked."""

    def __post_init__(self) -> None:
        if not _TARGET.fullmatch(self.target):
            raise BadInput(f"{self.target!r} names no function: write MODULE:FUNCTION, as in jobs.extract:customers")

    def argv(self) -> list[Plain]:
        return [self.executable, "-m", RUNNER, self.target]

    def env(self, *, direct: Set[str], above: Set[str], params: Set[str], mapped: bool) -> dict[str, str]:
        """The variables that hand values over, where these tasks are directly above, these anywhere above, and these are the parameters."""
        env = {ARGUMENT + name: template(value) for name, value in self.args.items()}
        takes_item, outputs = mapped, direct
        if self.function is not None:
            parameters = list(arguments(self.function, self.target))
            for name in sorted(set(self.args) - {parameter.name for parameter in parameters}):
                raise BadInput(f"{self.target} takes no argument {name!r}, which `args` gives")
            open_ones = {parameter.name: parameter for parameter in parameters if parameter.name not in self.args}
            plain = {name for name, parameter in open_ones.items() if name not in SPECIAL and special(parameter) is None}
            for name in sorted(plain):
                _check(self.target, open_ones[name], above, params)
            takes_item = "item" in open_ones
            if takes_item and not mapped and open_ones["item"].default is inspect.Parameter.empty:
                raise BadInput(f"{self.target} takes an `item`, and the task has no for_each")
            takes_item = takes_item and mapped
            outputs = (plain & above) | (direct if "outputs" in open_ones else frozenset())
        if takes_item and "item" not in self.args:
            env[f"{ARGUMENT}item"] = "{{ item | tojson }}"
        for task in sorted(outputs):
            # A task that has put out nothing is one without outputs.
            env[OUTPUTS + task] = f"{{{{ outputs.{task} | default({{}}) | tojson }}}}"
        return env


def _check(target: str, parameter: inspect.Parameter, above: Set[str], params: Set[str]) -> None:
    name = parameter.name
    if name in above and name in params:
        raise BadInput(f"{target} takes {name!r}, which is both a parameter and a task above: rename one, or say it by `args`")
    if name not in above and name not in params and parameter.default is parameter.empty:
        raise BadInput(
            f"{target} takes {name!r}, which is no parameter of the pipeline and no task above: declare it, add it to depends_on, "
            f"give it by `args`, or give it a default"
        )


def python(target: str, *, args: Mapping[str, Plain] | None = None, executable: str = "python3") -> Function:
    """A function by its name, for `run=`: `Task("extract", run=python("jobs.extract:customers"))`.

    It need not be importable here. On the worker it is imported from the task's `workdir`, and gets the parameters, and outputs of the
    tasks directly above, that it names as arguments.
    """
    return Function(target, {identifier("argument", name): value for name, value in (args or {}).items()}, executable)


def named(function: Callable[..., Any], args: Mapping[str, Plain], executable: str) -> Function:
    """A function that is at hand, by the name under which a worker finds it."""
    module, name = function.__module__, function.__qualname__
    if "<" in name:
        raise BadInput(f"{name} is made inside another function, where no worker finds it: move it to the top of its module")
    if module == "__main__":
        module = _main()
    made = Function(f"{module}:{name}", args, executable, function)
    list(arguments(function, made.target))
    return made


def _main() -> str:
    """What the program's own module is called when another program imports it."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    if file is None:
        raise BadInput("a function of an interactive session is found by no worker: write it into a module")
    return Path(file).stem


def arguments(function: Callable[..., Any], target: str) -> Iterator[inspect.Parameter]:
    """What a function takes; each must have a name that it can be given by."""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise BadInput(f"{target} takes {parameter}, and arguments are given by name: write out what it takes")
        yield parameter


def special(parameter: inspect.Parameter) -> str | None:
    """`context` or `interval`, where the annotation says so."""
    annotation = parameter.annotation
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    words = {word.rpartition(".")[2] for word in re.split(r"[\s|]+|Optional\[|\]", text)}
    return next((word.lower() for word in ("Context", "Interval") if word in words), None)


def template(value: Plain) -> str:
    """A template that renders to the value as JSON."""
    constant = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if "{%" in constant or "{#" in constant:
        raise BadInput(f"{value!r}: in `args`, templates are values only, {{{{ … }}}}")
    if "{{" not in constant:
        return constant
    expression = _expression(value)
    single = isinstance(value, str) and _SINGLE.fullmatch(value)
    return f"{{{{ {expression} | tojson }}}}" if single else f"{{{{ ({expression}) | tojson }}}}"


def _expression(value: Plain) -> str:
    """The value as an expression. Spaces keep its braces from looking like a tag's."""
    if isinstance(value, str):
        single = _SINGLE.fullmatch(value)
        return f"({single[1].strip()})" if single else _text(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)}: {_expression(item)}" for key, item in value.items()) + " }"
    if isinstance(value, Sequence):
        return "[" + ", ".join(_expression(item) for item in value) + "]"
    return json.dumps(value) if value is not None else "none"


def _text(text: str) -> str:
    """A text with `{{ … }}` in it, as one expression that puts it together."""
    parts: list[str] = []
    rest = text
    while rest:
        before, opened, rest = rest.partition("{{")
        if before:
            parts.append(json.dumps(before, ensure_ascii=False))
        if opened:
            inside, closed, rest = rest.partition("}}")
            if not closed:
                raise BadInput(f"{text!r} is not a template: a {{{{ is not closed")
            parts.append(f"({inside.strip()})")
    return " ~ ".join(parts) or '""'
