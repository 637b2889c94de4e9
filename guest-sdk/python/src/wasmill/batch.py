"""The rows of a call, as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

from . import jsontext
from .column import Column, build
from .types import DataType
from .wit import Buffers, Field, Rejects

R = TypeVar("R")

_REASON = DataType("utf8")


class Batch(Generic[R]):
    """The rows of one call: `batch["line"]` is a `Column`. In an annotation, `Batch[Line]` says by the dataclass `Line`
    which columns are wanted; they then go by the names of its fields."""

    def __init__(self, columns: Mapping[str, Column], rows: int, numbers: Sequence[int] | None = None) -> None:
        self.columns = columns
        self.rows = rows
        self._numbers = range(rows) if numbers is None else numbers
        self.rejections = Rejections()

    @classmethod
    def of(cls, fields: Sequence[Field], rows: int, buffers: Sequence[Buffers]) -> Batch[Any]:
        """What the host sends under the schema it announced."""
        columns = zip(fields, buffers, strict=True)
        return cls({field.name: Column(field, rows, buffers) for field, buffers in columns}, rows)

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def reject(self, row: int, reason: str) -> None:
        """Turns a row away; the others go on."""
        self.rejections.add(self._numbers[row], reason)

    def parents(self, rows: Sequence[int]) -> list[int]:
        """The host's numbers of these rows."""
        if isinstance(self._numbers, range):
            return rows if isinstance(rows, list) else list(rows)
        return list(map(self._numbers.__getitem__, rows))

    def json(self) -> Iterator[str]:
        """Each row as a JSON object, as the host's own sinks write it."""
        names = [f"{jsontext.quote(name)}:" for name in self.columns]
        texts = [jsontext.write(column) for column in self.columns.values()]
        for row in range(self.rows):
            yield "{" + ",".join([name + values[row] for name, values in zip(names, texts)]) + "}"

    def take(self, rows: Sequence[int]) -> Batch[R]:
        """A batch of these rows, which goes on to know which they were."""
        columns = {name: column.take(rows) for name, column in self.columns.items()}
        taken: Batch[R] = Batch(columns, len(rows), self.parents(rows))
        taken.rejections = self.rejections
        return taken


class Columns(Generic[R]):
    """Rows that a column-wise function answers with: by name, values as `wasmill.column.build` takes them.

    `parents` says which row of the batch each row comes from: `"same"` if they are as many in the same order, a number
    for each row, or `"none"`. In an annotation, `Columns[Word]` says by the dataclass `Word` which columns there are;
    `Columns` alone has none beside those that the option `columns` declares.
    """

    def __init__(
        self, columns: Mapping[str, Any] = {}, parents: Sequence[int] | Literal["same", "none"] = "same"
    ) -> None:
        self.columns = columns
        self.parents = parents


class Rejections:
    """Rows turned away, by number."""

    def __init__(self) -> None:
        self.reasons: dict[int, str] = {}

    def add(self, row: int, reason: str) -> None:
        """A row is turned away once: the first reason counts."""
        self.reasons.setdefault(row, reason)

    def __contains__(self, row: int) -> bool:
        return row in self.reasons

    def finish(self) -> Rejects:
        """As the contract has it."""
        if not self.reasons:
            return Rejects()
        rows = sorted(self.reasons)
        # A text from outside may hold what is no character.
        reasons = [self.reasons[row].encode("utf-8", "replace") for row in rows]
        return Rejects(rows, build(_REASON, False, reasons))
