"""Reducers: many rows into one, by a rule that does not care where the rows are cut.

    @reducer.reduce(inverse=subtract)
    def add(a: Stats, b: Stats) -> Stats:
        return Stats(a.total + b.total)

`a` is always the earlier one. Arguments and result are the same dataclass: the rows of the input are themselves
reduced, and what was reduced is reduced again with more. So a column that counts must be there in the input, as ones.
`inverse` is a function of the same kind: what is left of the first row when the second, its oldest part, is taken out.

`@reducer.columns` makes one of a function of all groups of a call at once, `(Groups[Row]) -> Columns[Row]`, with a row
of the answer for each group.

A first argument more is the configuration, or what `open` made of it. A reducer cannot turn a row away: anything raised
fails the call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, overload

from . import calls, types
from . import config as configuration
from .batch import Batch, Columns
from .column import build
from .errors import Error, explain
from .plugin import Plugin, argument
from .record import Record, record
from .wit import Buffers, Context, Field, ReducerPlan

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Groups(Batch[R], Generic[R]):
    """Rows in groups: the columns of a batch, and in `ends` where each group ends. It begins where the one before it
    ends."""

    def __init__(self, batch: Batch[R], ends: bytes) -> None:
        super().__init__(batch.columns, batch.rows)
        self.ends = memoryview(ends).cast("I")

    def groups(self) -> Iterator[slice]:
        """The rows of each group: `values[rows]` of a list or a view."""
        start = 0
        for end in self.ends:
            yield slice(start, end)
            start = end


class Reducer(Plugin[P, T]):
    """A function that is a reducer."""

    def __init__(
        self,
        function: Callable[P, T],
        arguments: int,
        cls: Callable[[Any], Any],
        open: Callable[[Any], Any] | None,
        inverse: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(function, arguments, open)
        self.row = record(cls(self.hints[0]))
        self.by_columns = arguments == 1
        self.inverse = inverse

    def describe(self, config: str, input: Sequence[Field]) -> ReducerPlan:
        """The answer to `describe`."""
        table = configuration.parse(config)
        self.settings.state(table, self.row.settings)
        return ReducerPlan(self.row.resolve(table, input), self.inverse is not None)

    def open(self, config: str, input: Sequence[Field]) -> OpenReducer:
        """An instance; `input` holds the planned columns."""
        state = self.settings.state(configuration.parse(config), self.row.settings)
        inverse = self.inverse
        if inverse and self._takes_state:
            inverse = functools.partial(inverse, state)
        return OpenReducer(self.row, self.bound(state), self.by_columns, inverse, input)


class OpenReducer:
    """A reducer at work."""

    def __init__(
        self,
        row: Record,
        function: Callable[..., Any],
        by_columns: bool,
        inverse: Callable[..., Any] | None,
        input: Sequence[Field],
    ) -> None:
        self._row = row
        self._function = function
        self._by_columns = by_columns
        self._inverse = inverse
        self._input = input

    def reduce(self, ctx: Context, ends: bytes, input: Sequence[Buffers]) -> list[Buffers]:
        """One row for each group."""
        calls.enter(ctx)
        bounds = memoryview(ends).cast("I")
        groups: Groups[Any] = Groups(self._batch(bounds[-1] if bounds else 0, input), ends)
        if self._by_columns:
            self._refuse_nulls(groups)
            made = self._call(self._function, groups)
            return self._build([made.columns[wanted.attribute] for wanted in self._row.wanted], len(bounds))
        rows = self._rows(groups)
        reduced = [self._call(functools.reduce, self._function, rows[group]) for group in groups.groups()]
        return self._columns(reduced)

    def inverse(self, ctx: Context, rows: int, total: Sequence[Buffers], gone: Sequence[Buffers]) -> list[Buffers]:
        """Row for row what is left."""
        calls.enter(ctx)
        if not self._inverse:
            raise Error("this reducer has no inverse")
        pairs = zip(self._rows(self._batch(rows, total)), self._rows(self._batch(rows, gone)))
        return self._columns([self._call(self._inverse, *pair) for pair in pairs])

    def _batch(self, rows: int, input: Sequence[Buffers]) -> Batch[Any]:
        columns = Batch.of(self._input, rows, input).columns.values()
        return Batch(self._row.select(columns), rows)

    def _rows(self, batch: Batch[Any]) -> list[Any]:
        rows, bad = self._row.read(batch)
        if bad:
            raise Error.rejected(bad[min(bad)], sorted(bad))
        return rows

    def _refuse_nulls(self, batch: Batch[Any]) -> None:
        self._row.whole_rows(batch)
        if bad := batch.rejections.reasons:
            raise Error.rejected(bad[min(bad)], sorted(bad))

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        except Error:
            raise
        except Exception as error:
            raise Error(explain(error)) from error

    def _columns(self, rows: list[Any]) -> list[Buffers]:
        return self._build([[getattr(row, w.attribute) for row in rows] for w in self._row.wanted], len(rows))

    def _build(self, columns: list[Any], rows: int) -> list[Buffers]:
        built = []
        for field, values in zip(self._input, columns):
            try:
                if len(values) != rows:
                    raise ValueError(f"{len(values)} values for {rows} groups")
                built.append(build(types.parse(field.data_type), field.nullable, values))
            except (TypeError, ValueError, OverflowError) as error:
                raise Error(f"column `{field.name}`: {error}") from error
        return built


@overload
def reduce(function: Callable[P, T], /) -> Reducer[P, T]: ...
@overload
def reduce(
    *, open: Callable[[Any], Any] | None = None, inverse: Callable[..., Any] | None = None
) -> Callable[[Callable[P, T]], Reducer[P, T]]: ...
def reduce(
    function: Any = None,
    /,
    *,
    open: Callable[[Any], Any] | None = None,
    inverse: Callable[..., Any] | None = None,
) -> Any:
    """A reducer of a function of two rows that makes one."""

    def decorate(function: Callable[P, T]) -> Reducer[P, T]:
        return Reducer(function, 2, lambda hint: hint, open, inverse)

    return decorate(function) if function else decorate


@overload
def columns(function: Callable[P, T], /) -> Reducer[P, T]: ...
@overload
def columns(*, open: Callable[[Any], Any] | None = None) -> Callable[[Callable[P, T]], Reducer[P, T]]: ...
def columns(function: Any = None, /, *, open: Callable[[Any], Any] | None = None) -> Any:
    """A reducer of a function of groups of rows, as columns."""

    def decorate(function: Callable[P, T]) -> Reducer[P, T]:
        return Reducer(function, 1, lambda hint: argument(hint, Groups), open)

    return decorate(function) if function else decorate


__all__ = ["Columns", "Groups", "OpenReducer", "Reducer", "columns", "reduce"]
