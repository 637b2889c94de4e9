"""What every instance does, done a few times before the snapshot is taken, with plugins that do next to nothing.

An instance is opened, called for the rows of a partition, and gone: its code would run for the first time in each.
The interpreter rewrites code as it runs for what it meets, numbers types and fills caches, and every page that it
writes to is one that the host has to copy. After a rehearsal that is in the snapshot. Nothing of the author's is
called.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wit_world.imports import types

from .. import Batch, Columns, Field, Rows, State, jsontext, keyed, transform
from .. import types as data_types
from .exports import answered, outputs, trapping

_TURNS = 12
"""After so many the interpreter has made up its mind."""


@dataclass
class _Config:
    carry: bool = False


@dataclass
class _Schema:
    schema: dict[str, str]


@dataclass
class _Text:
    text: str


@dataclass
class _Count:
    n: int


@transform.columns(carry=lambda config: config.carry)
def _columns(config: _Config, batch: Batch[_Text]) -> Columns[_Text]:
    return Columns({"text": batch["text"].values()}, list(range(batch.rows)))


class _Parser:
    def __init__(self, config: _Schema) -> None:
        self.types = [data_types.parse(name) for name in config.schema.values()]
        self.columns = [Field(name, data_type, True) for name, data_type in config.schema.items()]


@transform.map(open=_Parser, columns=lambda parser: parser.columns)
def _parse(parser: _Parser, row: _Text) -> tuple[Any, ...]:
    members = jsontext.members(_JSON)
    values = zip(members.values(), parser.types)
    return tuple(jsontext.read(value, data_type) for value, data_type in values)


@transform.map
def _map(row: _Text) -> _Text:
    return row


@transform.flat_map
def _flat_map(row: _Text) -> Iterator[_Text]:
    yield row


@transform.filter
def _filter(row: _Text) -> bool:
    return True


@keyed.update(carry=True)
def _update(key: _Text, rows: Rows[_Text], state: State[_Count]) -> Iterator[_Count]:
    now = _Count((state.value.n if state.value else 0) + len(rows))
    state.put(now)
    yield now


_JSON = '{"b": true, "i": 1, "f": 0.5, "d": 1.5, "t": "be", "n": null}'
_SCHEMA = '{"schema":{"b":"boolean","i":"int64","f":"float64","d":"decimal(3,1)","t":"utf8","n":"utf8"}}'
_TEXT = [types.Field("text", "utf8", False)]


def _texts(*texts: bytes) -> list[Any]:
    ends = [sum(map(len, texts[:at])) for at in range(len(texts) + 1)]
    return [types.Buffers(b"", struct.pack(f"<{len(ends)}I", *ends), b"".join(texts))]


def _context() -> Any:
    return types.Context(0, 0, 0, 0, 0, 0)


def transforms() -> None:
    """Of the world `transform-plugin`."""
    configs: dict[Any, str] = {_columns: '{"carry":true}', _parse: _SCHEMA, _map: "{}", _flat_map: "{}", _filter: "{}"}
    for plugin, config in configs.items():
        for _ in range(_TURNS):
            instance = answered(plugin.open, config, _TEXT)
            produced = trapping(instance.process, _context(), 2, _texts(b"to be", b"or not"))
            outputs(produced.outputs)


def keyed_plugins(Batch: Any, Group: Any) -> None:
    """Of the world `keyed-plugin`, with its own types: one key of which something is remembered, and a new one."""
    count = types.Buffers(b"", b"", struct.pack("<q", 1))
    for _ in range(_TURNS):
        instance = answered(_update.open, "{}", _TEXT, [_TEXT])
        group = Group(struct.pack("<2I", 1, 2), _texts(b"be", b"not"))
        batch = Batch(2, b"\x0d\x0c", _texts(b"to", b"or"), [count], [group])
        outputs(answered(instance.process, _context(), batch).outputs)
