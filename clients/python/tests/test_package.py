"""The package itself: types, generated code, imports, and a house kept in order."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import penstock
import pytest
from cluster import HERE, PACKAGE, environment

SOURCES = sorted(path for folder in (PACKAGE / "src", HERE) for path in folder.rglob("*.py") if not path.name.endswith("_pb2.py"))


def python(*argv: str, cwd: Path = PACKAGE, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *argv], cwd=cwd, env=environment(env), capture_output=True, text=True, check=False)


def test_types_are_strict() -> None:
    done = python("-m", "mypy", "--strict", "-p", "penstock")
    assert done.returncode == 0, done.stdout
    tests = python("-m", "mypy", "--strict", "generate.py", *(f"tests/{path.name}" for path in sorted(HERE.glob("*.py"))))
    assert tests.returncode == 0, tests.stdout


def test_a_users_wrong_types_are_told(tmp_path: Path) -> None:
    """The options are typed: what mypy says of wrong ones is what an editor shows."""
    (tmp_path / "user.py").write_text(
        "from penstock import EventTrigger, Pipeline, Schedule, Task, task, Retries\n"
        "Task('a', retrys=2)\n"
        "Task('a', trigger_rule='all_sucess')\n"
        "Task('a', timeout=5)\n"
        "Pipeline('p', schedule=5)\n"
        "@task(retries=Retries(2, jitter='half'))\n"
        "def f(x: int) -> dict[str, int]: return {}\n"
        "f('x')\n"
        "reveal_type(f(1))\n"
        "run = Pipeline('p').submit()\n"
        "reveal_type(run.wait().tasks['a'].state)\n"
        "Pipeline('p', schedule=Schedule(cron='@daily', catchup='every'), triggers=[EventTrigger('a', 'b', param={})])\n"
        "backfill = Pipeline('p').backfill('2024-01-01', '2024-01-31', reprocess='never')\n"
        "Pipeline('p').backfill('2024-01-01', '2024-01-31', dry_run=True).wait()\n"
        "Pipeline('p').backfill('2024-01-01', '2024-01-31', dry_run=True).to_run\n"
        "reveal_type(Pipeline('p').backfill('2024-01-01', '2024-01-31', tasks='load+').progress.fraction)\n"
    )
    said = python("-m", "mypy", "--strict", "user.py", cwd=tmp_path, env={"MYPYPATH": str(PACKAGE / "src")}).stdout
    lines = {int(line.split(":")[1]) for line in said.splitlines() if ": error:" in line}
    assert lines == {2, 3, 4, 5, 6, 8, 12, 13, 14}, said
    assert 'Revealed type is "builtins.dict[builtins.str, builtins.int]"' in said.replace("dict[str, int]", "builtins.dict[builtins.str, builtins.int]")
    assert "State" in next(line for line in said.splitlines() if line.startswith("user.py:11:"))
    assert "float" in next(line for line in said.splitlines() if line.startswith("user.py:16:"))


def test_the_generated_code_is_that_of_the_contract(tmp_path: Path) -> None:
    sys.path.insert(0, str(PACKAGE))
    try:
        generate = importlib.import_module("generate").generate
    finally:
        sys.path.remove(str(PACKAGE))
    for path in generate(tmp_path):
        made, kept = (tmp_path / path).read_text(), (PACKAGE / "src" / path).read_text()
        assert made == kept, f"{path} is not what the contract says: run `python generate.py` in clients/python"


def test_every_name_is_there() -> None:
    for name in penstock.__all__:
        assert getattr(penstock, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Pipline'"):
        _ = penstock.Pipline  # type: ignore[attr-defined]
    # What a type checker is told is what there is.
    tree = ast.parse((PACKAGE / "src/penstock/__init__.py").read_text())
    told = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module not in ("context", "errors", "interval")
        for alias in node.names
    }
    lazy = vars(penstock)["_LAZY"]
    assert told == lazy
    assert set(lazy) <= set(penstock.__all__)


def test_a_task_loads_little() -> None:
    """What a task imports is there at once: no gRPC, and no more of the standard library than must be."""
    for statement in ("from penstock import current, Skip", "import penstock.run", "from penstock import Pipeline, Task, task"):
        done = python("-c", f"import sys; {statement}; print(*sys.modules)")
        loaded = set(done.stdout.split())
        heavy = {"grpc", "google.protobuf", "asyncio", "penstock.client", "penstock.v1", "subprocess", "zoneinfo", "email", "http"}
        if "Pipeline" in statement:
            heavy -= {"subprocess"}
        assert not loaded & heavy, (statement, loaded & heavy, done.stderr)


def test_examples_in_docstrings_hold() -> None:
    for module in pkgutil.iter_modules(penstock.__path__, "penstock."):
        failed, _ = doctest.testmod(importlib.import_module(module.name), optionflags=doctest.ELLIPSIS)
        assert failed == 0, module.name


def test_every_file_says_what_it_is_and_nothing_is_left_undone() -> None:
    for path in SOURCES:
        text = path.read_text()
        assert ast.get_docstring(ast.parse(text)), f"{path} does not say what it is"
        for word in ("TO" + "DO", "FIX" + "ME", "XX" + "X"):
            assert word not in text, f"{path}: {word}"


def test_the_version_is_stated_once() -> None:
    assert not os.path.exists(PACKAGE / "setup.py")
    import importlib.metadata

    try:
        installed = importlib.metadata.version("penstock")
    except importlib.metadata.PackageNotFoundError:
        return
    assert f'version = "{installed}"' in (PACKAGE / "pyproject.toml").read_text()
