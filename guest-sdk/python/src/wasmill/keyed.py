"""Keyed plugins: the rows of a key with what is remembered of it; rows out, and what to remember from now on.

    @keyed.update(carry=True)
    def update(key: None, orders: Rows[Order], state: State[Account]) -> Iterator[Account]:
        spent = (state.value.spent if state.value else 0) + sum(orders["amount"])
        state.put(Account(spent))
        yield Account(spent)

It is called for each key that has rows in an epoch or whose timer is due. Its arguments:

- the key: a dataclass of key columns, or `None` if it does not matter which there are;
- the rows: a sequence of dataclasses, or of nothing for `Rows[None]`, which only counts; `rows["amount"]` are the
  values of one column, faster. For several inputs, Spark's `cogroup`, a tuple: `tuple[Rows[View], Rows[Click]]`;
- the state: what was remembered, `None` at first, and what shall be. `State[None]` remembers nothing.

A first argument more is the configuration, or what `open` made of it. What the function yields belongs to the key. If
it raises, all rows of the key are turned away, and the key keeps its state and its timer. The options are those of a
transform, and:

- `version`: the number for the meaning of the state, 1 unless given;
- `migrate`: by number, a function from the dataclass of a state of that number to one of today;
- `whole_groups`: all rows of a key in one call, however many they are. Else a key with very many comes in several
  calls, each with the state that the one before left; what is due once an epoch is yielded `if state.is_last_part`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any, Generic, ParamSpec, TypeVar, get_args, get_origin, get_type_hints, overload

from . import calls
from . import config as configuration
from .batch import Batch
from .errors import Error, Reject, explain
from .plugin import Output as Options
from .plugin import Plugin, argument
from .ports import PENDING, Emitted, Made, Ports, rows_of
from .record import NOTHING, Declared, Record, record
from .transform import Carry, PortsOption, _item
from .wit import Buffers, Changes, Context, Field, KeyedBatch, KeyedPlan

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_HAS_STATE, _TIMED_OUT, _FIRST_PART, _LAST_PART = 1, 2, 4, 8
_KEEP, _PUT, _REMOVE = range(3)
_SAME_TIMER, _NO_TIMER = -(2**63), 2**63 - 1


class Rows(Sequence[R], Generic[R]):
    """The rows of a key: a sequence of records. A row with a null in a field that is not `| None` is turned away, and
    not among them."""

    __slots__ = ("_input", "_range")

    def __init__(self, input: _Input, rows: range) -> None:
        self._input = input
        self._range = rows

    def __len__(self) -> int:
        return len(self._range)

    @overload
    def __getitem__(self, at: int) -> R: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[R]: ...
    @overload
    def __getitem__(self, at: str) -> Sequence[Any]: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, str):
            return self._input.values[at][self._range.start : self._range.stop]
        return self._input.records[self._range.start : self._range.stop][at]

    def __iter__(self) -> Iterator[R]:
        return iter(self._input.records[self._range.start : self._range.stop])

    def reject(self, at: int, reason: str) -> None:
        """Turns the row at a position away."""
        self._input.batch.reject(self._range[at], reason)

    def _reject_all(self, reason: str) -> None:
        for row in self._range:
            self._input.batch.reject(row, reason)


class _Input:
    """The rows of one input, of all keys of a call. Those that cannot be a record are turned away, and not among
    them."""

    def __init__(self, row: Record, fields: Sequence[Field], ends: bytes, buffers: Sequence[Buffers]) -> None:
        bounds = [0, *memoryview(ends).cast("I")]
        columns = Batch.of(fields, bounds[-1], buffers).columns.values()
        self.batch: Batch[Any] = Batch(row.select(columns), bounds[-1])
        self.has_rows = [start < end for start, end in pairwise(bounds)]
        self.values, bad = row.values(self.batch)
        if bad:
            for number, reason in bad.items():
                self.batch.reject(number, reason)
            good = [number for number in range(self.batch.rows) if number not in bad]
            bounds = [bisect_left(good, bound) for bound in bounds]
            self.batch = self.batch.take(good)
            self.values = {name: [column[number] for number in good] for name, column in self.values.items()}
        self.of_keys = [range(start, end) for start, end in pairwise(bounds)]
        self._row = row

    @cached_property
    def records(self) -> list[Any]:
        return self._row.records(self.values, self.batch.rows)


class State(Generic[T]):
    """What is remembered of the key at hand, and its timer."""

    def __init__(self, values: Sequence[Any], stateless: bool) -> None:
        self._values = iter(values)
        self._stateless = stateless
        self.value: T | None = None
        self._status = 0
        self._op = _KEEP
        self._timer = _SAME_TIMER
        self._new: Any = None
        self.puts: list[Any] = []
        self.ops = bytearray()
        self.timers = array("q")

    def put(self, value: T) -> None:
        """Remembers this from now on."""
        if self._stateless:
            raise Error("the plugin put a state, and its states have no columns")
        self._op, self._new = _PUT, value

    def remove(self) -> None:
        """Forgets the key: its state and its timer."""
        self._op, self._timer = _REMOVE, _NO_TIMER

    def set_timer(self, time: int | datetime) -> None:
        """Has the function called for this key even without rows, in the first epoch whose batch time, in milliseconds
        since 1970, is not before this. A key has one timer: this replaces an earlier one. Only a key with state has
        one."""
        if isinstance(time, datetime):
            time = (time - calls.EPOCH) // timedelta(milliseconds=1)
        self._timer = min(max(time, _SAME_TIMER + 1), _NO_TIMER - 1)

    def timeout_after(self, pause: timedelta) -> None:
        """`set_timer` so long after the batch time of this epoch."""
        self.set_timer(calls.context().batch_time + pause // timedelta(milliseconds=1))

    def clear_timer(self) -> None:
        """Takes the timer back."""
        self._timer = _NO_TIMER

    @property
    def timed_out(self) -> bool:
        """Whether the function is called because the timer is due. There may be rows too. The timer is spent: the key
        has none after the call unless the function sets one."""
        return bool(self._status & _TIMED_OUT)

    @property
    def is_first_part(self) -> bool:
        """Whether these are the first rows of the key in this epoch."""
        return bool(self._status & _FIRST_PART)

    @property
    def is_last_part(self) -> bool:
        """Whether these are the last rows of the key in this epoch."""
        return bool(self._status & _LAST_PART)

    def _begin(self, status: int) -> None:
        self._status = status
        self.value = next(self._values) if status & _HAS_STATE else None
        self._op, self._timer = _KEEP, _SAME_TIMER

    def _undo(self) -> None:
        self._op, self._timer = _KEEP, _SAME_TIMER

    def _end(self) -> None:
        if self._timer != _SAME_TIMER and self._timer != _NO_TIMER:
            if self._op == _REMOVE or self._op == _KEEP and self.value is None:
                raise Error("the plugin set a timer for a key of which nothing is remembered")
        if self._op == _PUT:
            self.puts.append(self._new)
        self.ops.append(self._op)
        self.timers.append(self._timer)


class Keyed(Plugin[P, T]):
    """A function that is a keyed plugin."""

    def __init__(
        self,
        function: Callable[P, T],
        open: Callable[[Any], Any] | None = None,
        carry: Carry = False,
        columns: Declared | None = None,
        ports: PortsOption = None,
        version: int = 1,
        migrate: Mapping[int, Callable[[Any], Any]] | None = None,
        whole_groups: bool = False,
    ) -> None:
        super().__init__(function, 3, open)
        key, rows, state = self.hints
        self.several = get_origin(rows) is tuple
        self.key = record(key)
        self.rows = [_row_record(hint) for hint in (get_args(rows) if self.several else [rows])]
        self.remembered = record(argument(state, State))
        self.output = Options(None if columns or ports else _item(self.answer), carry, columns, ports)
        self.version = version
        self.migrations = migrate or {}
        self.whole_groups = whole_groups

    def _columns(self) -> list[str]:
        return [setting for row in [self.key, *self.rows] for setting in row.settings]

    def describe(self, config: str, keys: Sequence[Field], inputs: Sequence[Sequence[Field]]) -> KeyedPlan:
        """The answer to `describe`."""
        table = configuration.parse(config)
        state = self.settings.state(table, self._columns())
        _resolve(self.key, table, keys, "key: ")
        if len(inputs) != len(self.rows):
            raise Error(f"the step has {len(inputs)} inputs, and the plugin reads {len(self.rows)}")
        return KeyedPlan(
            inputs=[
                _resolve(row, table, fields, f"input {at}: " if len(inputs) > 1 else "")
                for at, (row, fields) in enumerate(zip(self.rows, inputs), 1)
            ],
            state=self.remembered.fields(),
            state_version=self.version,
            migrates_from=list(self.migrations),
            whole_groups=self.whole_groups,
            ports=self.output.ports(state).plan(self.output.carry(state)),
        )

    def open(self, config: str, keys: Sequence[Field], inputs: Sequence[Sequence[Field]]) -> OpenKeyed:
        """An instance; `inputs` hold the planned columns."""
        table = configuration.parse(config)
        state = self.settings.state(table, self._columns())
        key = _Selection(self.key, _resolve(self.key, table, keys, "key: "), keys)
        return OpenKeyed(self, self.bound(state), self.output.ports(state), key, inputs)

    def migrate(self, from_version: int, old: Sequence[Field], rows: int, state: Sequence[Buffers]) -> list[Buffers]:
        """States of an earlier number as states of today."""
        widen = self.migrations.get(from_version)
        if not widen:
            raise Error(f"the plugin cannot take over state of version {from_version}")
        hints = [hint for name, hint in get_type_hints(widen).items() if name != "return"]
        before = record(hints[0])
        batch = _Selection(before, _resolve(before, {}, old), old).batch(rows, state)
        records, bad = before.read(batch)
        if bad:
            raise Error(bad[min(bad)])
        return _put(self.remembered, [widen(value) for value in records])


def _row_record(hint: Any) -> Record:
    row = argument(hint, Rows)
    return NOTHING if row is None else record(row)


def _resolve(row: Record, table: dict[str, Any], fields: Sequence[Field], place: str = "") -> list[str]:
    try:
        return row.resolve(table, fields)
    except Error as error:
        raise Error(f"{place}{error.message}") from None


def _put(remembered: Record, states: list[Any]) -> list[Buffers]:
    made = Made(remembered, ())
    try:
        made.check(states)
        return made.columns(states)
    except (TypeError, ValueError) as error:
        raise Error(f"a state that does not fit: {error}") from error


class _Selection:
    """Some of the columns that the host sends, as a record reads them."""

    def __init__(self, row: Record, names: Sequence[str], fields: Sequence[Field]) -> None:
        self.row = row
        known = [field.name for field in fields]
        self._positions = [known.index(name) for name in names]
        self._fields = [fields[at] for at in self._positions]

    def batch(self, rows: int, buffers: Sequence[Buffers]) -> Batch[Any]:
        selected = Batch.of(self._fields, rows, [buffers[at] for at in self._positions])
        return Batch(self.row.select(selected.columns.values()), rows)


class OpenKeyed:
    """A keyed plugin at work."""

    def __init__(
        self,
        plugin: Keyed[..., Any],
        function: Callable[..., Any],
        ports: Ports,
        key: _Selection,
        inputs: Sequence[Sequence[Field]],
    ) -> None:
        self._plugin = plugin
        self._function = function
        self._ports = ports
        self._key = key
        self._inputs = inputs

    @cached_property
    def _state_fields(self) -> list[Field]:
        return self._plugin.remembered.fields()

    def process(self, ctx: Context, batch: KeyedBatch) -> Changes:
        """Some keys of a partition."""
        calls.enter(ctx)
        plugin = self._plugin
        keys, bad_keys = plugin.key.read(self._key.batch(batch.rows, batch.keys))
        groups = zip(plugin.rows, self._inputs, batch.inputs, strict=True)
        inputs = [_Input(row, fields, group.ends, group.columns) for row, fields, group in groups]
        state: State[Any] = State(self._states(batch), not self._state_fields)
        rejected: dict[int, str] = {}
        emitted = Emitted(self._ports, rejected.__setitem__)
        for number, (status, key) in enumerate(zip(batch.status, keys)):
            state._begin(status)
            rows: list[Rows[Any]] = [Rows(input, input.of_keys[number]) for input in inputs]
            try:
                if reason := bad_keys.get(number):
                    raise Reject(reason)
                made = rows_of(self._function(key, tuple(rows) if plugin.several else rows[0], state))
            except Error:
                raise
            except Exception as error:
                state._undo()
                reason = error.reason if isinstance(error, Reject) else explain(error)
                if not any(input.has_rows[number] for input in inputs):
                    raise Error(reason) from error  # there is no row to tell the reason with
                for of_input in rows:
                    of_input._reject_all(reason)
            else:
                emitted.extend(number, made)
                if emitted.pending > PENDING:
                    emitted.flush()
            state._end()
        outputs = emitted.finish(batch.rows)
        if rejected:
            # The state has taken notice of rows whose output cannot be written: no key of the call may keep it.
            raise Error(next(iter(rejected.values())))
        return Changes(
            bytes(state.ops) if any(state.ops) else b"",
            _put(plugin.remembered, state.puts) if state.puts else [],
            state.timers.tobytes() if any(timer != _SAME_TIMER for timer in state.timers) else b"",
            outputs,
            [input.batch.rejections.finish() for input in inputs]
            if any(input.batch.rejections.reasons for input in inputs)
            else [],
        )

    def _states(self, batch: KeyedBatch) -> list[Any]:
        known = sum(status & _HAS_STATE for status in batch.status)
        columns = Batch.of(self._state_fields, known, batch.state).columns.values()
        remembered = self._plugin.remembered
        states, bad = remembered.read(Batch(remembered.select(columns), known))
        if bad:
            raise Error(bad[min(bad)])
        return states


@overload
def update(function: Callable[P, T], /) -> Keyed[P, T]: ...
@overload
def update(
    *,
    open: Callable[[Any], Any] | None = None,
    carry: Carry = False,
    columns: Declared | None = None,
    ports: PortsOption = None,
    version: int = 1,
    migrate: Mapping[int, Callable[[Any], Any]] | None = None,
    whole_groups: bool = False,
) -> Callable[[Callable[P, T]], Keyed[P, T]]: ...
def update(function: Any = None, /, **options: Any) -> Any:
    """A keyed plugin of a function of a key, its rows and its state."""
    return Keyed(function, **options) if function else lambda function: Keyed(function, **options)


__all__ = ["Keyed", "OpenKeyed", "Rows", "State", "update"]
