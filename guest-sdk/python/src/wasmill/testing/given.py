"""The rows that a test gives a plugin, as the host would send them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import types
from ..batch import Batch
from ..column import build
from ..record import record
from ..wit import Buffers, Field
from .checks import check

Schema = Mapping[str, str]
"""Types by name; one that ends in `?` allows nulls."""

Values = Sequence[Any]


def fields_of(schema: Schema) -> list[Field]:
    """The columns of a schema."""
    return [Field(name, text.removesuffix("?"), text.endswith("?")) for name, text in schema.items()]


@dataclass
class Given:
    """Rows with their schema."""

    fields: list[Field]
    rows: int
    buffers: list[Buffers]

    @classmethod
    def of(cls, rows: Sequence[Any], schema: Schema | None = None) -> Given:
        """Dataclasses, or dictionaries under a schema; a value that is not there is null."""
        if schema is not None:
            return cls.of_rows(fields_of(schema), [[row.get(name) for name in schema] for row in rows])
        if not rows or isinstance(rows[0], Mapping):
            raise TypeError('rows that are dictionaries, or none, need a schema: {"line": "utf8"}')
        made = record(type(rows[0]))
        values = [[getattr(row, wanted.attribute) for wanted in made.wanted] for row in rows]
        return cls.of_rows(made.fields(), values)

    @classmethod
    def of_rows(cls, fields: Sequence[Field], rows: Sequence[Values]) -> Given:
        """Rows of values in the order of the columns."""
        buffers = []
        for at, field in enumerate(fields):
            try:
                buffers.append(build(types.parse(field.data_type), field.nullable, [row[at] for row in rows]))
            except (TypeError, ValueError, OverflowError) as error:
                raise TypeError(f"the test's column `{field.name}` of type {field.data_type}: {error}") from error
        return cls(list(fields), len(rows), buffers)

    def position(self, name: str) -> int:
        """Where a column is."""
        names = [field.name for field in self.fields]
        check(name in names, f"the plan asks for column `{name}`, which the input does not have")
        return names.index(name)

    def planned(self, names: Sequence[str]) -> Given:
        """The columns that a plan asks for."""
        check(len(set(names)) == len(names), f"the plan asks for a column twice: {', '.join(names)}")
        positions = [self.position(name) for name in names]
        return Given([self.fields[at] for at in positions], self.rows, [self.buffers[at] for at in positions])

    def batch(self) -> Batch[Any]:
        """The columns."""
        return Batch.of(self.fields, self.rows, self.buffers)

    def values(self) -> list[Values]:
        """The values row by row."""
        columns = [column.values() for column in self.batch().columns.values()]
        return [list(row) for row in zip(*columns)] if columns else [[] for _ in range(self.rows)]


def config_text(config: Mapping[str, Any] | None) -> str:
    """A configuration as the host hands it over."""
    return json.dumps(config or {})
