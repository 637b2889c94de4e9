"""Sinks: rows to the outside, one partition of one epoch at a time. A class that is a `Sink` is the plugin."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar, get_args

from . import calls
from . import config as configuration
from .batch import Batch
from .errors import Error
from .suggest import nearest
from .wit import Buffers, Context, Field, Rejects

C = TypeVar("C")


class Delivery(enum.Enum):
    """What a sink promises about an epoch that is written again."""

    AT_LEAST_ONCE = 0
    """It is written again; the idempotency key lets the receiver drop it."""
    MARKER = 1
    """The sink's own transaction records the epoch; `last_epoch` says what it holds."""
    TWO_PHASE = 2
    """`prepare` answers with a token that `commit` makes visible."""


class Plan:
    """The answer to `describe`."""

    def __init__(self, columns: list[str], delivery: Delivery) -> None:
        self.columns = columns
        self.delivery = delivery


class Sink(Generic[C]):
    """A sink; `class Webhook(Sink[Config])` says by the dataclass `Config` which settings it has, `Sink[None]` has
    none.

    For each partition of an epoch the host calls `begin`, `write` for each chunk, `prepare`, and, once the epoch is
    recorded, `commit`. An instance may live for many epochs, and is dropped without notice. Anything raised that is no
    `Error` is fatal.
    """

    delivery: ClassVar[Delivery] = Delivery.AT_LEAST_ONCE

    def __init__(self, config: C, columns: Sequence[Field]) -> None:
        """Opens it, for these columns."""
        self.config = config

    @classmethod
    def columns(cls, config: C, input: Sequence[Field]) -> list[str]:
        """The columns it wants, in order; all of them unless it says otherwise. Pure."""
        return [field.name for field in input]

    def begin(self, idempotency_key: str) -> None:
        """Starts a partition of an epoch. Whenever that is written again, the key is the same; what is held of a
        partition begun before is void."""

    def write(self, batch: Batch[Any]) -> None:
        """One chunk of it. `batch.json()` gives its rows as JSON objects, `batch["n"]` a column, and `batch.reject(row,
        reason)` turns a row away that the receiver refuses."""
        raise NotImplementedError

    def prepare(self) -> bytes:
        """Ends it. A two-phase sink answers with a token by which `commit` finds what was written."""
        return b""

    def commit(self, epoch: int, tokens: Sequence[bytes]) -> None:
        """Makes an epoch's tokens visible. Idempotent; another instance may have made them."""

    def abort(self, epoch: int, tokens: Sequence[bytes]) -> None:
        """Undoes an epoch's tokens. Idempotent."""

    def last_epoch(self, partition: int) -> int | None:
        """The last epoch that a marker sink holds for a partition."""
        return None


def _read_config(cls: type[Sink[Any]], config: str) -> Any:
    bases = (base for parent in cls.__mro__ for base in getattr(parent, "__orig_bases__", ()))
    hint = next((get_args(base)[0] for base in bases if issubclass(_class(base), Sink)), None)
    if isinstance(hint, TypeVar):
        raise TypeError(f"{cls.__name__} does not say which settings it has: Sink[Config], or Sink[None]")
    return configuration.read(None if hint is type(None) else hint, configuration.parse(config))


def _class(base: Any) -> Any:
    return getattr(base, "__origin__", object)


def describe(cls: type[Sink[Any]], config: str, input: Sequence[Field]) -> Plan:
    """The answer to `describe`."""
    columns = cls.columns(_read_config(cls, config), input)
    known = [field.name for field in input]
    for name in columns:
        if name not in known:
            near = nearest(name, known)
            raise Error(f"the input has no column `{name}`" + (f"; did you mean `{near}`?" if near else ""))
    return Plan(columns, cls.delivery)


class OpenSink:
    """A sink at work."""

    def __init__(self, cls: type[Sink[Any]], config: str, input: Sequence[Field]) -> None:
        self.sink = cls(_read_config(cls, config), input)
        self._input = input

    def begin(self, ctx: Context, idempotency_key: str) -> None:
        """Starts a partition of an epoch."""
        calls.enter(ctx)
        self.sink.begin(idempotency_key)

    def write(self, ctx: Context, rows: int, input: Sequence[Buffers]) -> Rejects:
        """Writes a chunk."""
        calls.enter(ctx)
        batch = Batch.of(self._input, rows, input)
        self.sink.write(batch)
        return batch.rejections.finish()

    def prepare(self, ctx: Context) -> bytes:
        """Ends a partition of an epoch."""
        calls.enter(ctx)
        return self.sink.prepare()
