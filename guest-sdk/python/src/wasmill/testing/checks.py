"""What the host checks of what a plugin gives back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NoReturn

from .. import types
from ..batch import Batch
from ..column import Column
from ..wit import Buffers, Field, Output, Port, Rejects


class ContractBroken(AssertionError):
    """What a plugin answered is not what docs/plugins/abi.md asks for."""


def broken(message: str) -> NoReturn:
    raise ContractBroken(message)


def check(holds: bool, message: str) -> None:
    if not holds:
        broken(message)


_WIDTHS = {"int64": 8, "float64": 8, "timestamp": 8, "date": 4, "decimal": 16}


def column(field: Field, rows: int, buffers: Buffers) -> Column:
    """A column that holds so many values of its type."""
    name, kind = f"`{field.name}`", types.parse(field.data_type).kind
    for each in (buffers.validity, buffers.offsets, buffers.data):
        check(type(each) is bytes, f"{name} has a buffer that is a {type(each).__name__}, not bytes")
    check(
        len(buffers.validity) in (0, (rows + 7) // 8),
        f"{name} has {len(buffers.validity)} bytes of validity for {rows} rows",
    )
    made = Column(field, rows, buffers)
    check(field.nullable or not made.null_count(), f"{name} has {made.null_count()} nulls and declares none")
    if kind in types.VARYING:
        _varying(name, kind, rows, buffers)
    else:
        size = (rows + 7) // 8 if kind == "boolean" else rows * _WIDTHS[kind]
        check(len(buffers.data) == size, f"{name} has {len(buffers.data)} bytes for {rows} rows")
        check(not buffers.offsets, f"{name} is of fixed width and has offsets")
    if kind == "decimal":
        for number, valid in zip(made.unscaled(), made.valid()):
            check(
                not valid or abs(number) < 10**made.type.precision,
                f"{name} has a number of more digits than {made.type}",
            )
    return made


def _varying(name: str, kind: str, rows: int, buffers: Buffers) -> None:
    if rows == 0 and not buffers.offsets:
        return check(not buffers.data, f"{name} has data and no offsets")
    check(len(buffers.offsets) == 4 * (rows + 1), f"{name} has {len(buffers.offsets)} bytes of offsets for {rows} rows")
    offsets = memoryview(buffers.offsets).cast("I").tolist()
    check(offsets[0] == 0, f"the first offset of {name} is {offsets[0]}")
    check(offsets[-1] == len(buffers.data), f"the last offset of {name} is {offsets[-1]} of {len(buffers.data)} bytes")
    for start, end in pairwise(offsets):
        check(start <= end, f"the offsets of {name} go backwards")
        if kind != "binary":
            try:
                buffers.data[start:end].decode()
            except UnicodeDecodeError as error:
                broken(f"{name} is not UTF-8: {error}")


def columns(fields: Sequence[Field], rows: int, buffers: Sequence[Buffers]) -> Batch[Any]:
    """Columns that fit their schema."""
    check(len(fields) == len(buffers), f"{len(buffers)} columns come back, and the plan has {len(fields)}")
    pairs = zip(fields, buffers)
    return Batch({field.name: column(field, rows, each) for field, each in pairs}, rows)


def rejects(rejected: Rejects, rows: int) -> list[tuple[int, str]]:
    """The rows turned away, each with its reason."""
    numbers("a reject", rejected.rows, rows)
    check(rejected.rows == sorted(set(rejected.rows)), "a row is turned away twice, or before one of a lower number")
    reasons = column(Field("reason", "utf8"), len(rejected.rows), rejected.reasons)
    return list(zip(rejected.rows, reasons.values()))


def numbers(what: str, given: Sequence[int], rows: int) -> None:
    """Row numbers of a batch."""
    for number in given:
        check(0 <= number < rows, f"{what} names row {number} of {rows}")


def ports(plan: Sequence[Port]) -> None:
    """Ports that a plan may have."""
    check(bool(plan), "a plan has at least one port")
    for port in plan:
        check(bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", port.name)), f"`{port.name}` is no name of a port")
        check(bool(port.columns) or port.carry, f"port `{port.name}` makes no column and carries none")
        for field in port.columns:
            types.parse(field.data_type)
    check(len({port.name for port in plan}) == len(plan), "two ports have the same name")


class PortRows:
    """The rows of an output."""

    def __init__(self, plan: Sequence[Port], output: Output, parents: Batch[Any]) -> None:
        check(0 <= output.port < len(plan), f"an output is for port {output.port} of {len(plan)}")
        self.port = plan[output.port]
        self._inputs = parents
        self._made = columns(self.port.columns, output.rows, output.columns)
        if output.origin == "same":
            check(output.rows == parents.rows, f"{output.rows} rows are said to be the same as {parents.rows}")
            self.parents: list[int] | None = list(range(output.rows))
        elif output.origin == "none":
            check(not self.port.carry, f"port `{self.port.name}` carries, and its rows have no parents")
            self.parents = None
        else:
            self.parents = list(output.origin)
            check(len(self.parents) == output.rows, f"{len(self.parents)} parents of {output.rows} rows")
            numbers("a parent", self.parents, parents.rows)

    def rows(self) -> list[dict[str, Any]]:
        """The rows as the next step sees them."""
        made = rows_of(self._made)
        if not self.port.carry or self.parents is None:
            return made
        carried = {name: values for name, values in values_of(self._inputs).items() if name not in self._made.columns}
        return [
            {name: values[parent] for name, values in carried.items()} | row for parent, row in zip(self.parents, made)
        ]


def values_of(batch: Batch[Any]) -> dict[str, list[Any]]:
    """Columns as Python's values."""
    return {name: column.values() for name, column in batch.columns.items()}


def rows_of(batch: Batch[Any]) -> list[dict[str, Any]]:
    """Rows as dictionaries."""
    values = values_of(batch)
    return [{name: column[row] for name, column in values.items()} for row in range(batch.rows)]
