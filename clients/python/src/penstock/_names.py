"""Names and durations: what is allowed, and how it is written. The rules are the server's, `common/src/ids.rs` and `duration.rs`."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

from .errors import BadInput

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_DOTTED = re.compile(r"[a-z][a-z0-9_.-]{0,62}", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
_DURATION = re.compile(r"(?=.)(\d+d)?(\d+h)?(\d+m(?!s))?(\d+s)?(\d+ms)?", re.ASCII)
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))


def identifier(kind: str, name: str) -> str:
    """A task id, parameter or output key."""
    if not _IDENTIFIER.fullmatch(name):
        raise BadInput(f"{name!r} is not a valid {kind}: use a lower-case letter, then at most 62 of a-z, 0-9 and _")
    return name


def dotted(kind: str, name: str) -> str:
    """A queue or pool."""
    if not _DOTTED.fullmatch(name):
        raise BadInput(f"{name!r} is not a valid {kind}: use a lower-case letter, then at most 62 of a-z, 0-9, _, . and -")
    return name


def pipeline_name(name: str) -> str:
    """`name` or `namespace/name`."""
    for part in name.split("/", 1):
        dotted("pipeline name", part)
    return name


def token(kind: str, name: str) -> str:
    """A run id, worker or request id."""
    if not _TOKEN.fullmatch(name) or ".." in name:
        raise BadInput(f"{name!r} is not a valid {kind}: use a letter or digit, then at most 127 of A-Z, a-z, 0-9, _, . and - (no '..')")
    return name


def duration(value: str | timedelta) -> str:
    """A duration as documents write it: `90 * timedelta(seconds=1)` is `1m30s`."""
    if isinstance(value, str):
        if not _DURATION.fullmatch(value):
            raise BadInput(f"{value!r} is not a duration: write a number and a unit, such as 250ms, 30s, 5m, 2h, 1d or 1h30m, or give a timedelta")
        return value
    rest, odd = divmod(value, timedelta(milliseconds=1))
    if rest < 0 or odd:
        raise BadInput(f"{value!r} is not a duration: it must be a whole number of milliseconds, and not negative")
    text = ""
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def milliseconds(at: datetime) -> int:
    """Since the Unix epoch. A time without a zone is refused, since it is another one on another machine."""
    if at.tzinfo is None or at.utcoffset() is None:
        raise BadInput(f"{at!r} has no time zone: give one, as in datetime(2024, 1, 1, tzinfo=timezone.utc)")
    return (at - _EPOCH) // timedelta(milliseconds=1)


def when(value: date | str) -> str:
    """A date, or a time, as documents write it. A text is left as it is: without an offset it is of the pipeline's zone."""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        milliseconds(value)
        return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds")
    return value.isoformat()


def moment(ms: int) -> datetime:
    """A time of the contract, in UTC."""
    return _EPOCH + timedelta(milliseconds=ms)


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
