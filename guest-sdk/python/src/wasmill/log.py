"""Lines for the pipeline's log: `log.info(f"{rows} rows")`.

In WebAssembly they go through the contract's `host.log`; in a native test to standard error, or to the test's run. What
a plugin prints becomes such lines too: standard output at level info, standard error at level warn. The module
`logging` of the standard library asks for the time, which a plugin does not have.
"""

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TRACE, DEBUG, INFO, WARN, ERROR = range(5)
LEVELS = ("trace", "debug", "info", "warn", "error")


def _to_stderr(level: int, message: str) -> None:
    print(f"{LEVELS[level]}: {message}", file=sys.stderr)


_write: Callable[[int, str], None] = _to_stderr


def trace(message: str) -> None:
    """Steps in between."""
    _write(TRACE, message)


def debug(message: str) -> None:
    """What a plugin's author wants to see."""
    _write(DEBUG, message)


def info(message: str) -> None:
    """What a pipeline's author wants to see."""
    _write(INFO, message)


def warn(message: str) -> None:
    """Something odd that went well."""
    _write(WARN, message)


def error(message: str) -> None:
    """Something that went wrong."""
    _write(ERROR, message)


def write_to(write: Callable[[int, str], None]) -> None:
    """Has lines go elsewhere."""
    global _write
    _write = write


@contextmanager
def written_to(write: Callable[[int, str], None]) -> Iterator[None]:
    """Has lines go elsewhere for a while."""
    before = _write
    write_to(write)
    try:
        yield
    finally:
        write_to(before)


class Printed(io.TextIOBase):
    """A file whose lines are lines of the log."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._line = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            _write(self._level, line)
        return len(text)
