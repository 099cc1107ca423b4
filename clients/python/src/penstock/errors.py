"""What can go wrong, by what a caller can do about it. Needs nothing but the standard library.

| error | whose it is | what to do |
| --- | --- | --- |
| `BadInput` | the caller's | mend the document, the parameters or the name |
| `NotFound` | the caller's | there is no such run, pipeline, task or worker |
| `AlreadyExists` | the caller's | the id is taken by something else: choose another |
| `NotPossible` | nobody's | what was asked for does not go with the state of things; the message says what would |
| `NotSupported` | nobody's | the server is older than what was asked for |
| `Overloaded` | the cluster's | later; the calls here have waited for it already, until their deadline |
| `NoAnswer` | the cluster's | no coordinator answered; a change may have been made: repeat it with the same id |
"""

from __future__ import annotations

__all__ = [
    "AlreadyExists",
    "BackfillFailed",
    "BadInput",
    "Error",
    "Fail",
    "NoAnswer",
    "NotFound",
    "NotPossible",
    "NotSupported",
    "Overloaded",
    "Refused",
    "RunFailed",
    "Skip",
    "UndefinedActionWarning",
]


class Error(Exception):
    """Any error of this package."""


class Refused(Error):
    """A coordinator said no. Asking again helps nothing, unless something else is changed first."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code
        """The gRPC code, such as `INVALID_ARGUMENT`; empty if no coordinator was asked."""


class BadInput(Refused, ValueError):
    """The document, a parameter, a name or an option is wrong. The message holds everything that is."""


class NotFound(Refused, LookupError):
    """There is no such thing."""


class AlreadyExists(Refused):
    """There is another thing of this id."""


class NotPossible(Refused):
    """Not as things stand, such as a rerun of a run that has not ended."""


class NotSupported(Refused):
    """The server, or this version of the package, does not know what was asked for."""


class Overloaded(Refused):
    """The cluster takes nothing more at the moment."""


class NoAnswer(Error):
    """No coordinator answered before the deadline. A change may have been made all the same: repeat it with the same id."""


class RunFailed(Error):
    """A run that was to succeed ended otherwise: `Run.result()` raises it."""

    def __init__(self, message: str, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class BackfillFailed(Error):
    """A backfill that was to succeed ended otherwise: `Backfill.result()` raises it."""

    def __init__(self, message: str, backfill_id: str) -> None:
        super().__init__(message)
        self.backfill_id = backfill_id


class Skip(Exception):
    """Raised in a task's function: the task is SKIPPED(task), for this reason."""


class Fail(Exception):
    """Raised in a task's function: the task is FAILED(task), for this reason, and not tried again."""


class UndefinedActionWarning(UserWarning):
    """A task says nothing of what it does, so it is a `noop`."""
