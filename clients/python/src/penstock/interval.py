"""The time that a run covers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date as Date
from datetime import datetime, time, timedelta, timezone, tzinfo

from ._names import milliseconds, moment
from .errors import BadInput

__all__ = ["Interval"]


@dataclass(frozen=True)
class Interval:
    """Half-open: from `start` on, up to but without `end`. Never of zero width.

    >>> Interval.day(Date(2024, 1, 31)).start.isoformat()
    '2024-01-31T00:00:00+00:00'
    """

    start: datetime
    end: datetime
    date: Date | None = field(default=None, compare=False)
    """The local date of `start` in the pipeline's zone, where that is known: inside a task it is."""

    def __post_init__(self) -> None:
        if milliseconds(self.start) >= milliseconds(self.end):
            raise BadInput(f"the interval [{self.start.isoformat()}, {self.end.isoformat()}) is empty: its end must be later than its start")

    @classmethod
    def day(cls, day: Date, timezone: str | tzinfo = timezone.utc) -> Interval:
        """A whole day of a zone, from midnight to midnight."""
        from zoneinfo import ZoneInfo

        zone = ZoneInfo(timezone) if isinstance(timezone, str) else timezone
        return cls(datetime.combine(day, time(), zone), datetime.combine(day + timedelta(days=1), time(), zone), day)

    @classmethod
    def parse(cls, text: str) -> Interval:
        """`START/END`, both RFC 3339 with a zone: `2024-01-01T00:00:00Z/2024-01-02T00:00:00Z`."""
        start, slash, end = text.partition("/")
        try:
            if not slash:
                raise ValueError("there is no /")
            return cls(_rfc3339(start), _rfc3339(end))
        except ValueError as why:
            raise BadInput(f"{text!r} is not an interval ({why}): write START/END, as in 2024-01-01T00:00:00Z/2024-01-02T00:00:00Z") from None

    @classmethod
    def of(cls, value: IntervalLike) -> Interval:
        """From an interval, `START/END`, or a pair of times."""
        if isinstance(value, Interval):
            return value
        if isinstance(value, str):
            return cls.parse(value)
        start, end = value
        return cls(start, end)

    @classmethod
    def of_ms(cls, start_ms: int, end_ms: int) -> Interval:
        """From the contract."""
        return cls(moment(start_ms), moment(end_ms))


IntervalLike = Interval | str | tuple[datetime, datetime]
"""What stands for an interval."""


def _rfc3339(text: str) -> datetime:
    # `fromisoformat` reads a Z, and fractions of any length, from Python 3.11 on only.
    text = text.strip()
    if text[-1:] in ("Z", "z"):
        text = text[:-1] + "+00:00"
    head, point, tail = text.partition(".")
    if point:
        digits = len(tail) - len(tail.lstrip("0123456789"))
        text = f"{head}.{tail[:digits][:6]:0<6}{tail[digits:]}"
    return datetime.fromisoformat(text)
