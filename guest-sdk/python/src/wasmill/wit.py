"""The contract's records, named and spelt as in wit/*.wit; docs/plugins/abi.md tells what they hold."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Origin = Literal["same", "none"] | list[int]
"""Which input row each output row comes from: row for row the same, none, or the numbers of its parents."""


@dataclass(slots=True)
class Field:
    """A column of a schema. `data_type` is a text such as `int64`, `decimal(10,2)` or `utf8`."""

    name: str
    data_type: str
    nullable: bool = False


@dataclass(slots=True)
class Buffers:
    """A column of a batch, as bytes."""

    validity: bytes = b""
    offsets: bytes = b""
    data: bytes = b""


@dataclass(slots=True)
class Context:
    """What a call is about. `batch_time` and `watermark` are milliseconds since 1970."""

    epoch: int = 0
    batch_time: int = 0
    partition: int = 0
    call: int = 0
    watermark: int = -(2**63)
    seed: int = 0


@dataclass(slots=True)
class Port:
    """An output of a plugin: the columns it makes, and whether the host carries the input's other columns."""

    name: str
    columns: list[Field]
    carry: bool


@dataclass(slots=True)
class Output:
    """Rows for a port, by its number in the plan."""

    port: int
    rows: int
    origin: Origin
    columns: list[Buffers]


@dataclass(slots=True)
class Rejects:
    """Input rows turned away, with a reason (a utf8 column) each."""

    rows: list[int] = field(default_factory=list)
    reasons: Buffers = field(default_factory=Buffers)


@dataclass(slots=True)
class TransformPlan:
    columns: list[str]
    ports: list[Port]


@dataclass(slots=True)
class Produced:
    outputs: list[Output]
    rejected: Rejects


@dataclass(slots=True)
class ReducerPlan:
    columns: list[str]
    invertible: bool


@dataclass(slots=True)
class KeyedPlan:
    inputs: list[list[str]]
    state: list[Field]
    state_version: int
    migrates_from: list[int]
    whole_groups: bool
    ports: list[Port]


class Group(NamedTuple):
    """The rows of an input, of all keys of a call; `ends` holds a u32 for each key."""

    ends: bytes
    columns: list[Buffers]


class KeyedBatch(NamedTuple):
    """Some keys of a partition, with their states and their rows."""

    rows: int
    status: bytes
    keys: list[Buffers]
    state: list[Buffers]
    inputs: list[Group]


@dataclass(slots=True)
class Changes:
    ops: bytes
    state: list[Buffers]
    timers: bytes
    outputs: list[Output]
    rejected: list[Rejects]
