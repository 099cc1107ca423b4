"""What every job of this pipeline shares: its parameters, its report to Penstock, and files that appear whole.

Penstock gives a task its parameters as PENSTOCK_PARAM_<NAME> and reads what it reports from the file
$PENSTOCK_OUTPUT, one JSON object per line. Run by hand, without that file, the lines go to standard output.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import re
import sqlite3
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, TextIO

JOBS = Path(__file__).resolve().parent
PAUSE_STEP_S = 0.1

Row = dict[str, Any]


class EtlError(Exception):
    """The job cannot go on now; a later attempt may succeed."""


class PermanentError(EtlError):
    """The job cannot succeed however often it is tried; reported as `fail`, so that it is not retried."""


def param(name: str) -> str:
    """The value of a parameter of pipeline.yaml."""
    variable = f"PENSTOCK_PARAM_{name.upper()}"
    value = os.environ.get(variable)
    if value is None:
        raise PermanentError(f"{variable} is not set: start this job with `penstock run`, or set the variable")
    return value


def business_date() -> str:
    """The day to load, as YYYY-MM-DD: the run's interval, else the parameter `business_date`."""
    value = os.environ.get("PENSTOCK_INTERVAL_DATE") or param("business_date")
    if not is_date(value):
        raise PermanentError(f"the date to load must be YYYY-MM-DD, found {value!r}")
    return value


def is_date(text: str) -> bool:
    """Whether the text is a day of the calendar written YYYY-MM-DD, and in no other ISO 8601 form."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return False
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def fence() -> int | None:
    """The number of this attempt's lease, higher than that of every lease before it; None outside Penstock."""
    value = os.environ.get("PENSTOCK_FENCE")
    if not value:
        return None
    if not value.isdecimal():
        raise PermanentError(f"PENSTOCK_FENCE must be a whole number, found {value!r}")
    return int(value)


def data_dir() -> Path:
    """The folder of the CSV files."""
    return JOBS / param("data_dir")


def work_dir() -> Path:
    """The folder of the databases, and of one folder of staged files per day."""
    return JOBS / param("work_dir")


def pause() -> None:
    """Sleeps for the parameter `slow`, in small steps, so that tests can stop a job midway."""
    text = param("slow")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise PermanentError(f"the parameter slow must be a number of seconds, 0 or more, found {text!r}")
    end = time.monotonic() + seconds
    if seconds:
        print(f"slow: sleeping {seconds:g} s", flush=True)
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(PAUSE_STEP_S, left))


def report(**line: Any) -> None:
    """Reports one line to Penstock: report(metrics={"records_in": 3}), report(output={"path": "..."})."""
    text = json.dumps(line) + "\n"
    path = os.environ.get("PENSTOCK_OUTPUT")
    if not path:
        sys.stdout.write(text)
        return
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


def read_jsonl(path: Path) -> list[Row]:
    """The rows of a staged file."""
    try:
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    except FileNotFoundError:
        raise EtlError(f"{path} is missing: run the tasks before this one first") from None


def write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    """Writes a staged file, which appears whole or not at all."""
    with atomic_file(path) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@contextmanager
def atomic_file(path: Path) -> Iterator[TextIO]:
    """A text file that takes the place of `path` when the block ends well, and is on the disk by then.

    The temporary name is unique: two attempts at once, one of them not knowing that it was replaced, must not
    write into one file. SIGKILL can leave a temporary file behind, which nothing reads.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "x", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must survive a power cut
    finally:
        os.close(folder)


def main(job: Callable[[], None]) -> None:
    """Runs a job; an error that was foreseen becomes one line and exit code 1, any other a traceback."""
    try:
        job()
    except PermanentError as error:
        report(fail=str(error))
        sys.exit(f"error: {error}")
    except (EtlError, OSError, sqlite3.OperationalError) as error:
        sys.exit(f"error: {error}")
