"""Every code block of README.md runs, against a real cluster."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster import PACKAGE, environment

BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", (PACKAGE / "README.md").read_text(), re.DOTALL | re.MULTILINE)


def test_all_blocks_are_known() -> None:
    assert {language for language, _ in BLOCKS} == {"python"}


@pytest.mark.parametrize("block", [pytest.param(text, id=str(n)) for n, (_, text) in enumerate(BLOCKS)])
def test_a_block_runs(block: str, endpoint: str, code: Path, needs: Callable[[str], None]) -> None:
    named = re.match(r"# (\w+\.py)\n", block)
    if named:
        # A file that the worker reads too.
        needs("tojson")
    name = named[1] if named else "block.py"
    (code / name).write_text(block)
    env = environment({"PENSTOCK_ENDPOINT": endpoint})
    done = subprocess.run([sys.executable, "-W", "error", name], cwd=code, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_blocks_are_typed(tmp_path: Path) -> None:
    for n, (_, text) in enumerate(BLOCKS):
        (tmp_path / f"block{n}.py").write_text(text)
    files = [f"block{n}.py" for n in range(len(BLOCKS))]
    argv = [sys.executable, "-m", "mypy", "--strict", *files]
    done = subprocess.run(
        argv, cwd=tmp_path, env=environment({"MYPYPATH": str(PACKAGE / "src")}), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
