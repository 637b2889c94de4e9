"""Write Wasmill plugins in Python: a plugin is a function, columns or rows in, columns or rows out.

    from collections.abc import Iterator
    from dataclasses import dataclass

    from wasmill import Reject, transform

    @dataclass
    class Line:
        line: str

    @dataclass
    class Word:
        word: str
        length: int

    @transform.flat_map
    def split(row: Line) -> Iterator[Word]:
        if not row.line:
            raise Reject("the line is empty")
        for word in row.line.split():
            yield Word(word, len(word))

A module has one plugin, and the module of a plugin's folder is `plugin.py`. `wasmill.transform`, `wasmill.reducer`,
`wasmill.keyed` and `wasmill.sink` tell of the four kinds, `wasmill.testing` runs each without WebAssembly.
"""

from . import jsontext, keyed, log, reducer, transform, types
from .batch import Batch, Columns
from .calls import batch_time, context
from .column import Column
from .errors import Error, ErrorKind, Reject
from .keyed import Rows, State
from .record import column
from .reducer import Groups
from .sink import Delivery, Sink
from .types import JsonText
from .wit import Context, Field

__all__ = [
    "Batch",
    "Column",
    "Columns",
    "Context",
    "Delivery",
    "Error",
    "ErrorKind",
    "Field",
    "Groups",
    "JsonText",
    "Reject",
    "Rows",
    "Sink",
    "State",
    "batch_time",
    "column",
    "context",
    "jsontext",
    "keyed",
    "log",
    "reducer",
    "transform",
    "types",
]
