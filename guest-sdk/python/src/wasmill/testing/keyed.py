"""The test of a keyed plugin."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from .. import log
from ..keyed import Keyed
from ..wit import Buffers, Changes, Context, Group, KeyedBatch, KeyedPlan
from .checks import PortRows, broken, check, columns, ports, rejects
from .given import Given, Schema, Values, config_text, fields_of

_SAME_TIMER, _NO_TIMER = -(2**63), 2**63 - 1


@dataclass
class _Known:
    """What is known of a key."""

    key: Values
    state: Values
    timer: int | None


@dataclass
class _Called:
    """A key that is called in an epoch: of each input the numbers of its rows."""

    key: Values
    rows: list[list[int]]
    due: bool

    def parts(self, size: int) -> int:
        return max(1, *((len(rows) + size - 1) // size for rows in self.rows))


class Epoch:
    """What a keyed plugin made of an epoch."""

    def __init__(self, plan: KeyedPlan) -> None:
        self._plan = plan
        self._outputs: list[PortRows] = []
        self._rejected: list[list[tuple[int, str]]] = [[] for _ in plan.inputs]
        self.logged: list[tuple[int, str]] = []
        """The lines of the log, each with its level."""

    def rows(self, port: str | None = None) -> list[dict[str, Any]]:
        """The rows of a port, of the first if none is named, as the next step sees them."""
        names = [each.name for each in self._plan.ports]
        if port not in (None, *names):
            broken(f"the plan has no port `{port}`; there are {', '.join(names)}")
        wanted = port or names[0]
        return [row for output in self._outputs if output.port.name == wanted for row in output.rows()]

    def rejected(self, input: int = 0) -> list[tuple[int, str]]:
        """The rows of an input that were turned away, each with its reason."""
        return self._rejected[input]

    def _take(self, keys: Given, changes: Changes, numbers: Sequence[Sequence[int]]) -> None:
        self._outputs += [PortRows(self._plan.ports, output, keys.batch()) for output in changes.outputs]
        check(len(changes.rejected) in (0, len(numbers)), "rejects are of each input, or there are none at all")
        for at, (rejected, of_input) in enumerate(zip(changes.rejected, numbers)):
            self._rejected[at] += [(of_input[row], reason) for row, reason in rejects(rejected, len(of_input))]


class KeyedRun:
    """A keyed plugin at work, with what it remembers."""

    def __init__(
        self,
        plugin: Keyed[..., Any],
        key: Sequence[str],
        inputs: Sequence[Schema],
        config: Mapping[str, Any] | None,
        parts_of: int | None,
    ) -> None:
        text = config_text(config)
        self._inputs = [fields_of(schema) for schema in inputs]
        self._schemas = inputs
        self._keys = [next(field for field in self._inputs[0] if field.name == name) for name in key]
        self.plan = plugin.describe(text, self._keys, self._inputs)
        """What `describe` answered."""
        ports(self.plan.ports)
        check(len(self.plan.inputs) == len(inputs), f"the plan has {len(self.plan.inputs)} inputs of {len(inputs)}")
        planned = [Given.of((), schema).planned(names) for schema, names in zip(inputs, self.plan.inputs)]
        self._open = plugin.open(text, self._keys, [given.fields for given in planned])
        self._plugin = plugin
        self._part = 2**32 if self.plan.whole_groups or parts_of is None else parts_of
        self._epochs = 0
        self._known: dict[str, _Known] = {}

    def epoch(self, batch_time: int, *rows: Sequence[Mapping[str, Any]]) -> Epoch:
        """An epoch: its rows, for each input, and the keys whose timers are due at the batch time, in milliseconds
        since 1970."""
        check(len(rows) == len(self._inputs), f"rows for {len(rows)} inputs of {len(self._inputs)}")
        given = [Given.of(of_input, schema) for of_input, schema in zip(rows, self._schemas)]
        called = self._called(batch_time, given)
        epoch = Epoch(self.plan)
        with log.written_to(lambda level, line: epoch.logged.append((level, line))):
            for part in range(max((each.parts(self._part) for each in called.values()), default=0)):
                context = Context(epoch=self._epochs, batch_time=batch_time, call=part)
                self._call(context, part, called, given, epoch)
        self._epochs += 1
        return epoch

    @property
    def state(self) -> list[dict[str, Any]]:
        """What is remembered: the columns of the key and of the state, in the order of the keys as JSON."""
        names = [field.name for field in [*self._keys, *self.plan.state]]
        known = [self._known[name] for name in sorted(self._known)]
        return [dict(zip(names, [*each.key, *each.state])) for each in known]

    @property
    def timers(self) -> list[tuple[dict[str, Any], int]]:
        """The keys that have a timer, each with the batch time from which it is due."""
        names = [field.name for field in self._keys]
        known = [self._known[name] for name in sorted(self._known)]
        return [(dict(zip(names, each.key)), each.timer) for each in known if each.timer is not None]

    def _take_over(self, old: KeyedRun) -> None:
        self._known = {name: _Known(known.key, known.state, known.timer) for name, known in old._known.items()}
        version = old.plan.state_version
        if (version, old.plan.state) == (self.plan.state_version, self.plan.state):
            return
        if version not in self.plan.migrates_from:
            broken(f"the plugin does not migrate from version {version}")
        before = Given.of_rows(old.plan.state, [known.state for known in self._known.values()])
        migrated = self._plugin.migrate(version, before.fields, before.rows, before.buffers)
        for known, state in zip(self._known.values(), self._states(before.rows, migrated)):
            known.state = state

    def _states(self, rows: int, buffers: list[Buffers]) -> list[Values]:
        columns(self.plan.state, rows, buffers)
        return Given(self.plan.state, rows, buffers).values()

    def _name(self, key: Values) -> str:
        return next(Given.of_rows(self._keys, [key]).batch().json())

    def _called(self, batch_time: int, given: Sequence[Given]) -> dict[str, _Called]:
        def called(key: Values, due: bool) -> _Called:
            return _Called(key, [[] for _ in given], due)

        due = {
            name: known for name, known in self._known.items() if known.timer is not None and known.timer <= batch_time
        }
        everyone = {name: called(known.key, True) for name, known in due.items()}
        for at, of_input in enumerate(given):
            keys = of_input.planned([field.name for field in self._keys])
            for number, key in enumerate(keys.values()):
                everyone.setdefault(self._name(key), called(key, False)).rows[at].append(number)
        return dict(sorted(everyone.items()))

    def _call(
        self, context: Context, part: int, everyone: Mapping[str, _Called], given: Sequence[Given], epoch: Epoch
    ) -> None:
        called = {name: each for name, each in everyone.items() if part < each.parts(self._part)}
        status = bytes(self._status(name, each, part) for name, each in called.items())
        keys = Given.of_rows(self._keys, [each.key for each in called.values()])
        known = [self._known[name].state for name in called if name in self._known]
        slices = slice(part * self._part, (part + 1) * self._part)
        parts = [[each.rows[at][slices] for each in called.values()] for at in range(len(given))]
        numbers = [[number for rows in of_input for number in rows] for of_input in parts]
        groups = [self._group(at, of_input, parts[at], numbers[at]) for at, of_input in enumerate(given)]
        state = Given.of_rows(self.plan.state, known).buffers
        changes = self._open.process(context, KeyedBatch(len(called), status, keys.buffers, state, groups))
        epoch._take(keys, changes, numbers)
        self._apply(called, status, changes)

    def _status(self, name: str, called: _Called, part: int) -> int:
        known, last = name in self._known, part + 1 == called.parts(self._part)
        return known | (called.due and known and last) << 1 | (part == 0) << 2 | last << 3

    def _group(self, at: int, given: Given, parts: list[list[int]], numbers: list[int]) -> Group:
        planned = given.planned(self.plan.inputs[at])
        values = planned.values()
        rows = Given.of_rows(planned.fields, [values[number] for number in numbers])
        return Group(array("I", list(accumulate(map(len, parts)))).tobytes(), rows.buffers)

    def _apply(self, called: Mapping[str, _Called], status: bytes, changes: Changes) -> None:
        """What the host makes of ops, states and timers."""
        ops = changes.ops or bytes(len(called))
        timers = changes.timers or array("q", [_SAME_TIMER] * len(called)).tobytes()
        check(len(ops) == len(called) and max(ops, default=0) <= 2, f"ops {ops!r} for {len(called)} keys")
        check(len(timers) == 8 * len(called), f"{len(timers)} bytes of timers for {len(called)} keys")
        puts = ops.count(1)
        check(not puts or bool(self.plan.state), "a state is put, and the plan has no columns for it")
        states = iter(self._states(puts, changes.state) if puts or changes.state else [])
        for at, (name, each) in enumerate(called.items()):
            known = self._known.get(name)
            timer = known.timer if known and not status[at] & 2 else None
            said = memoryview(timers).cast("q")[at]
            timer = {_SAME_TIMER: timer, _NO_TIMER: None}.get(said, said)
            if ops[at] == 2:
                self._known.pop(name, None)
            elif ops[at] == 1:
                self._known[name] = _Known(each.key, next(states), timer)
            elif known:
                known.timer = timer


def keyed(
    plugin: Keyed[..., Any],
    key: Sequence[str],
    *inputs: Schema,
    config: Mapping[str, Any] | None = None,
    parts_of: int | None = None,
    start_from: KeyedRun | None = None,
) -> KeyedRun:
    """Describes and opens a plugin over inputs of these schemas; nothing is remembered yet.

    `parts_of` splits keys of more rows of an input over several calls, unless the plugin wants whole groups.
    `start_from` begins with what another plugin, or another version of this one, remembered; it goes through `migrate`
    if its version or its columns are not those of today.
    """
    run = KeyedRun(plugin, key, inputs, config, parts_of)
    if start_from:
        run._take_over(start_from)
    return run
