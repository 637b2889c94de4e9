"""Errors of a whole call, and the rejection of one row."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from datetime import timedelta
from types import TracebackType


class ErrorKind(enum.Enum):
    """What the host may do about an error."""

    RETRYABLE = 0
    REJECTED = 1
    FATAL = 2


class Reject(Exception):
    """Raise it to turn the row at hand away: the reason is one sentence without a full stop, the other rows go on."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Error(Exception):
    """Raise it to fail the whole call. `Error("..")` is fatal; the class methods make the other kinds."""

    def __init__(
        self,
        message: str,
        kind: ErrorKind = ErrorKind.FATAL,
        rows: Iterable[int] = (),
        after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.rows = list(rows)
        self.after = after

    @classmethod
    def retryable(cls, message: str, after: timedelta | None = None) -> Error:
        """The same call may succeed later, not before `after`."""
        return cls(message, ErrorKind.RETRYABLE, after=after)

    @classmethod
    def rejected(cls, message: str, rows: Iterable[int]) -> Error:
        """These rows are at fault, and the call did nothing for any row."""
        return cls(message, ErrorKind.REJECTED, rows)

    @property
    def after_ms(self) -> int | None:
        """`after` as the contract has it."""
        return None if self.after is None else min(self.after // timedelta(milliseconds=1), 2**32 - 1)


def explain(error: BaseException) -> str:
    """What was raised and where, in one line. Source files are not there in WebAssembly, so no lines of code."""
    kind = type(error).__name__
    text = f"{kind}: {error}" if str(error) else kind
    place = innermost(error.__traceback__)
    return f"{text} ({place})" if place else text


def innermost(traceback: TracebackType | None) -> str:
    """The last place outside of this package that an error passed."""
    place = ""
    while traceback:
        code = traceback.tb_frame.f_code
        if not traceback.tb_frame.f_globals.get("__name__", "").startswith("wasmill."):
            file = code.co_filename.rpartition("/")[2]
            place = f"{file}, line {traceback.tb_lineno}, in {code.co_name}"
        traceback = traceback.tb_next
    return place
