"""Transforms: rows in, rows out. `from wasmill import transform`, then one of four shapes:

| | the function | the rows' origin | other columns |
|---|---|---|---|
| `@transform.columns` | `(Batch[Row]) -> Columns[Row]` | as it says | not carried |
| `@transform.map` | `(Row) -> Row`, or `None` to drop the row | the same row | not carried |
| `@transform.filter` | `(Row) -> bool` | the rows kept | carried: rows stay whole |
| `@transform.flat_map` | `(Row) -> Iterator[Row]` | the row that was being read | not carried |

Rows are dataclasses, each field a column. A first argument more is the configuration, a dataclass too, or what `open`
made of it. The options, all of which may be left out:

- `open`: a function of the configuration, or a class; what is costly to make, made once.
- `carry`: whether the host carries the input's other columns beside the new ones, or a function of the state that says
  so.
- `columns`: a function of the state that declares the output's columns if only the configuration knows them; rows are
  then tuples.
- `ports`: names of several ports, each with the dataclass of its rows. A row goes to the port of its class; a
  column-wise function answers with a dictionary of `Columns`.

A row is turned away with `raise Reject("why")`, and so is one for which the function raises anything else but an
`Error`. A row with a null in a field that is not `| None` is turned away before the function sees it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import UnionType
from typing import Any, ParamSpec, TypeVar, Union, get_args, get_origin, overload

from . import calls
from . import config as configuration
from .batch import Batch, Columns
from .errors import Error, Reject, explain
from .plugin import Output as Options
from .plugin import Plugin, argument
from .ports import PENDING, Emitted, Ports, origin, outputs_of, rows_of
from .record import Declared, Record, record
from .wit import Buffers, Context, Field, Output, Produced, TransformPlan

P = ParamSpec("P")
T = TypeVar("T")
Carry = bool | Callable[[Any], bool]
PortsOption = Mapping[str, type[Any]] | None


class Transform(Plugin[P, T]):
    """A function that is a transform."""

    def __init__(
        self,
        function: Callable[P, T],
        open: Callable[[Any], Any] | None = None,
        carry: Carry = False,
        columns: Declared | None = None,
        ports: PortsOption = None,
    ) -> None:
        super().__init__(function, 1, open)
        self.input = record(self.input_class(self.hints[0]))
        self.output = Options(None if columns or ports else self.output_class(self.answer), carry, columns, ports)

    @staticmethod
    def input_class(hint: Any) -> Any:
        """The dataclass of the input's rows."""
        return hint

    @staticmethod
    @abstractmethod
    def output_class(hint: Any) -> Any:
        """The dataclass of the output's rows."""

    @abstractmethod
    def run(self, function: Callable[..., Any], batch: Batch[Any], ports: Ports) -> Iterable[Output]:
        """The function over a batch."""

    def describe(self, config: str, input: Sequence[Field]) -> TransformPlan:
        """The answer to `describe`."""
        table = configuration.parse(config)
        state = self.settings.state(table, self.input.settings)
        return TransformPlan(self.input.resolve(table, input), self.output.ports(state).plan(self.output.carry(state)))

    def open(self, config: str, input: Sequence[Field]) -> OpenTransform:
        """An instance; `input` holds the planned columns."""
        state = self.settings.state(configuration.parse(config), self.input.settings)
        return OpenTransform(self, self.bound(state), self.output.ports(state), input)


class OpenTransform:
    """A transform at work."""

    def __init__(
        self, plugin: Transform[..., Any], function: Callable[..., Any], ports: Ports, input: Sequence[Field]
    ) -> None:
        self._plugin = plugin
        self._function = function
        self._ports = ports
        self._input = input

    def process(self, ctx: Context, rows: int, input: Sequence[Buffers]) -> Produced:
        """One chunk of a partition."""
        calls.enter(ctx)
        columns = Batch.of(self._input, rows, input).columns.values()
        batch: Batch[Any] = Batch(self._plugin.input.select(columns), rows)
        outputs = list(self._plugin.run(self._function, batch, self._ports))
        return Produced(outputs, batch.rejections.finish())


class Map(Transform[P, T]):
    """See `map`."""

    @staticmethod
    def output_class(hint: Any) -> Any:
        return _without_none(hint)

    def run(self, function: Callable[..., Any], batch: Batch[Any], ports: Ports) -> Iterable[Output]:
        emitted = Emitted(ports, batch.reject)
        for number, row in _rows(self.input, batch):
            try:
                made = function(row)
            except Error:
                raise
            except Exception as error:
                batch.reject(number, _reason(error))
            else:
                if made is not None:
                    emitted.extend(number, [made])
        return emitted.finish(batch.rows)


class FlatMap(Transform[P, T]):
    """See `flat_map`."""

    @staticmethod
    def output_class(hint: Any) -> Any:
        return _item(hint)

    def run(self, function: Callable[..., Any], batch: Batch[Any], ports: Ports) -> Iterable[Output]:
        emitted = Emitted(ports, batch.reject)
        for number, row in _rows(self.input, batch):
            try:
                made = rows_of(function(row))
            except Error:
                raise
            except Exception as error:
                batch.reject(number, _reason(error))
            else:
                emitted.extend(number, made)
                if emitted.pending > PENDING:
                    emitted.flush()
        return emitted.finish(batch.rows)


class Filter(Transform[P, T]):
    """See `filter`."""

    @staticmethod
    def output_class(hint: Any) -> Any:
        return None

    def run(self, function: Callable[..., Any], batch: Batch[Any], ports: Ports) -> Iterable[Output]:
        kept = []
        for number, row in _rows(self.input, batch):
            try:
                if function(row):
                    kept.append(number)
            except Error:
                raise
            except Exception as error:
                batch.reject(number, _reason(error))
        return [Output(0, len(kept), origin(kept, batch.rows), [])]


class ColumnWise(Transform[P, T]):
    """See `columns`."""

    @staticmethod
    def input_class(hint: Any) -> Any:
        return argument(hint, Batch)

    @staticmethod
    def output_class(hint: Any) -> Any:
        return argument(hint, Columns)

    def run(self, function: Callable[..., Any], batch: Batch[Any], ports: Ports) -> Iterable[Output]:
        whole = self.input.whole_rows(batch)
        return outputs_of(ports, function(whole), whole, batch.rows)


def _rows(input: Record, batch: Batch[Any]) -> Iterable[tuple[int, Any]]:
    rows, bad = input.read(batch)
    if not bad:
        return enumerate(rows)
    for number, reason in bad.items():
        batch.reject(number, reason)
    return [(number, row) for number, row in enumerate(rows) if number not in bad]


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, Reject) else explain(error)


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (argument for argument in get_args(hint) if argument is not type(None))
    return hint


def _item(hint: Any) -> Any:
    if not get_args(hint):
        raise TypeError(f"{hint!r} does not say of what: Iterator[Row]")
    return get_args(hint)[0]


def _decorator(cls: Any, function: Any, options: dict[str, Any]) -> Any:
    return cls(function, **options) if function else lambda function: cls(function, **options)


@overload
def columns(function: Callable[P, T], /) -> Transform[P, T]: ...
@overload
def columns(
    *,
    open: Callable[[Any], Any] | None = None,
    carry: Carry = False,
    columns: Declared | None = None,
    ports: PortsOption = None,
) -> Callable[[Callable[P, T]], Transform[P, T]]: ...
def columns(
    function: Any = None,
    /,
    *,
    open: Callable[[Any], Any] | None = None,
    carry: Carry = False,
    columns: Declared | None = None,
    ports: PortsOption = None,
) -> Any:
    """A transform of a function of a batch of columns, `(Batch[Row]) -> Columns[Row]`: the fastest shape."""
    return _decorator(ColumnWise, function, dict(open=open, carry=carry, columns=columns, ports=ports))


@overload
def map(function: Callable[P, T], /) -> Transform[P, T]: ...
@overload
def map(
    *,
    open: Callable[[Any], Any] | None = None,
    carry: Carry = False,
    columns: Declared | None = None,
    ports: PortsOption = None,
) -> Callable[[Callable[P, T]], Transform[P, T]]: ...
def map(
    function: Any = None,
    /,
    *,
    open: Callable[[Any], Any] | None = None,
    carry: Carry = False,
    columns: Declared | None = None,
    ports: PortsOption = None,
) -> Any:
    """A transform of a function that makes a row of a row, or `None` to drop it."""
    return _decorator(Map, function, dict(open=open, carry=carry, columns=columns, ports=ports))


@overload
def filter(function: Callable[P, T], /) -> Transform[P, T]: ...
@overload
def filter(
    *,
    open: Callable[[Any], Any] | None = None,
    carry: Carry = True,
) -> Callable[[Callable[P, T]], Transform[P, T]]: ...
def filter(
    function: Any = None,
    /,
    *,
    open: Callable[[Any], Any] | None = None,
    carry: Carry = True,
) -> Any:
    """A transform of a function that says whether to keep a row. What it keeps, it keeps whole."""
    return _decorator(Filter, function, dict(open=open, carry=carry))


@overload
def flat_map(function: Callable[P, T], /) -> Transform[P, T]: ...
@overload
def flat_map(
    *,
    open: Callable[[Any], Any] | None = None,
    carry: Carry = False,
    columns: Declared | None = None,
    ports: PortsOption = None,
) -> Callable[[Callable[P, T]], Transform[P, T]]: ...
def flat_map(
    function: Any = None,
    /,
    *,
    open: Callable[[Any], Any] | None = None,
    carry: Carry = False,
    columns: Declared | None = None,
    ports: PortsOption = None,
) -> Any:
    """A transform of a function that makes any number of rows of a row: a generator, as a rule."""
    return _decorator(FlatMap, function, dict(open=open, carry=carry, columns=columns, ports=ports))
