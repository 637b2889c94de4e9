"""The output of a plugin: its ports, and rows on their way to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any

from . import types
from .batch import Batch, Columns
from .column import build
from .errors import Error
from .record import NOTHING, Record, record
from .types import DataType
from .wit import Buffers, Field, Origin, Output, Port

PENDING = 16_384
"""Rows that are held as Python's before they become columns: enough that the columns are made at speed, few enough that
rows of many words fit into the memory of an instance."""


class Made:
    """The columns of a port, and how a row's values are got at. Without a record, rows are tuples of the declared
    columns."""

    def __init__(self, cls: Record | None, declared: Sequence[Field]) -> None:
        self.fields = list(declared) if cls is None else cls.fields()
        self.types = [types.parse(field.data_type) for field in self.fields]
        self._record = cls
        positions = range(len(self.fields))
        self._getters: list[Callable[[Any], Any]] = (
            [itemgetter(at) for at in positions]
            if cls is None
            else [attrgetter(wanted.attribute) for wanted in cls.wanted]
        )

    def check(self, rows: Sequence[Any]) -> None:
        """Raises `TypeError` if one is no row of the port."""
        if self._record is not None:
            for kind in set(map(type, rows)) - {self._record.cls}:
                raise TypeError(f"a row is a `{kind.__name__}`, not a `{self._record.cls.__name__}`")
        for length in {len(row) for row in rows} - {len(self.fields)} if self._record is None else ():
            raise TypeError(f"a row of {length} values for {len(self.fields)} columns")

    def columns(self, rows: Sequence[Any]) -> list[Buffers]:
        """The rows as columns."""
        return [self._build(at, [getter(row) for row in rows]) for at, getter in enumerate(self._getters)]

    def of_columns(self, made: Columns[Any], rows: int) -> list[Buffers]:
        """What a column-wise function answered, as columns."""
        names = [wanted.attribute for wanted in self._record.wanted] if self._record else [f.name for f in self.fields]
        if sorted(names) != sorted(made.columns):
            given, wanted = (", ".join(f"`{name}`" for name in each) or "none" for each in (made.columns, names))
            raise TypeError(f"the function answered with columns {given}, and the port has {wanted}")
        columns = [self._build(at, made.columns[name]) for at, name in enumerate(names)]
        for name in names:
            if len(made.columns[name]) != rows:
                raise ValueError(f"column `{name}` has {len(made.columns[name])} values for {rows} rows")
        return columns

    def _build(self, at: int, values: Any) -> Buffers:
        field = self.fields[at]
        try:
            return build(self.types[at], field.nullable, values)
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise ValueError(f"column `{field.name}`: {_reason(error, self.types[at])}") from error


def _reason(error: Exception, data_type: DataType) -> str:
    return f"a number beyond {data_type}" if isinstance(error, OverflowError) else str(error)


class Ports:
    """All ports of a plugin. A plugin with one calls it `out`."""

    def __init__(self, records: Mapping[str, Record | None], declared: Sequence[Field] = ()) -> None:
        self.made = {name: Made(cls, declared) for name, cls in records.items()}
        self.by_class = {cls.cls: name for name, cls in records.items() if cls is not None}
        self.names = list(records)

    def plan(self, carry: bool) -> list[Port]:
        """As a plan has them."""
        return [Port(name, made.fields, carry) for name, made in self.made.items()]


def records(hint: Any, ports: Mapping[str, type[Any]] | None, dynamic: bool) -> dict[str, Record | None]:
    """The ports by name: those of the option `ports`, else a single one of the record that the function's answer
    names."""
    if ports:
        return {name: record(cls) for name, cls in ports.items()}
    if dynamic:
        return {"out": None}
    return {"out": NOTHING if hint is None else record(hint)}


class Emitted:
    """Rows on their way, each with its parent. Those whose values do not fit are turned away with their parents."""

    def __init__(self, ports: Ports, rejections: Callable[[int, str], None]) -> None:
        self._ports = ports
        self._reject = rejections
        self._single = ports.names[0] if len(ports.names) == 1 else None
        self._rows: dict[str, list[Any]] = {name: [] for name in ports.names}
        self._parents: dict[str, list[int]] = {name: [] for name in ports.names}
        self._done: list[Output] = []
        self.pending = 0

    def extend(self, parent: int, rows: list[Any]) -> None:
        """Takes the rows of a parent."""
        self.pending += len(rows)
        if self._single:
            self._rows[self._single] += rows
            self._parents[self._single] += [parent] * len(rows)
            return
        for row in rows:
            name = self._ports.by_class.get(type(row))
            if name is None:
                names = ", ".join(cls.__name__ for cls in self._ports.by_class)
                raise Error(f"the plugin made a row that is a `{type(row).__name__}`, and its ports are of {names}")
            self._rows[name].append(row)
            self._parents[name].append(parent)

    def flush(self, inputs: int = -1) -> None:
        """Makes columns of the rows so far. `inputs` is the number of input rows, if these are all of the call's
        output."""
        outputs = self._outputs(inputs)
        while isinstance(outputs, dict):
            for parent, reason in outputs.items():
                self._reject(parent, reason)
            for name in self._ports.names:
                kept = [p not in outputs for p in self._parents[name]]
                for lists in (self._rows, self._parents):
                    lists[name] = [item for item, keep in zip(lists[name], kept) if keep]
            outputs = self._outputs(inputs)
        self._done += outputs
        for name in self._ports.names:
            self._rows[name], self._parents[name] = [], []
        self.pending = 0

    def finish(self, inputs: int) -> list[Output]:
        """All outputs."""
        self.flush(-1 if self._done else inputs)
        return self._done

    def _outputs(self, inputs: int) -> list[Output] | dict[int, str]:
        """The outputs, or the parents of rows that do not fit and why."""
        outputs = []
        for port, (name, made) in enumerate(self._ports.made.items()):
            rows, parents = self._rows[name], self._parents[name]
            try:
                made.check(rows)
                columns = made.columns(rows)
            except (TypeError, ValueError):
                return _misfits(made, rows, parents)
            outputs.append(Output(port, len(rows), origin(parents, inputs), columns))
        return outputs


def origin(parents: list[int], inputs: int) -> Origin:
    """`same` where it is: row numbers cost a call of the host's interface each."""
    return "same" if len(parents) == inputs and parents == list(range(inputs)) else parents


def _misfits(made: Made, rows: Iterable[Any], parents: Iterable[int]) -> dict[int, str]:
    bad: dict[int, str] = {}
    for row, parent in zip(rows, parents):
        if parent not in bad:
            try:
                made.check([row])
                made.columns([row])
            except (TypeError, ValueError) as error:
                bad[parent] = str(error)
    return bad


def rows_of(made: Any) -> list[Any]:
    """What a function answered that makes any number of rows: an iterator, or nothing."""
    return [] if made is None else list(made)


def outputs_of(ports: Ports, answer: Any, batch: Batch[Any], inputs: int) -> Iterator[Output]:
    """The outputs that a column-wise function answered with: for one port, or a mapping for several."""
    answers = {} if answer is None else answer if isinstance(answer, Mapping) else {ports.names[0]: answer}
    for name, made in answers.items():
        if name not in ports.made:
            raise Error(f"the plugin answered for port `{name}`, and has {', '.join(ports.names)}")
        count = _count(made, batch.rows)
        columns = ports.made[name].of_columns(made, count)
        if made.parents == "none":
            source: Origin = "none"
        else:
            parents = batch.parents(range(batch.rows) if made.parents == "same" else made.parents)
            source = origin(parents, inputs)
        yield Output(ports.names.index(name), count, source, columns)


def _count(made: Columns[Any], rows: int) -> int:
    if made.parents == "same":
        return rows
    if made.parents == "none":
        return len(next(iter(made.columns.values())))
    return len(made.parents)
