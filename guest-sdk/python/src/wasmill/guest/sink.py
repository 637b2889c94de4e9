"""The world `sink-plugin`."""

from typing import Any

import wit_world.exports.sink  # noqa: F401  the runtime asks for it after the snapshot began

from .. import sink
from . import load
from .exports import answered, described, opened

PLUGIN: type[sink.Sink[Any]] = load(sink.Sink)


class Sink:
    """The exported interface."""

    instance: sink.OpenSink

    def describe(self, config: str, input: Any) -> Any:
        return described(sink.describe, PLUGIN, config, input)

    def open(self, config: str, input: Any) -> None:
        Sink.instance = opened(sink.OpenSink, PLUGIN, config, input)

    def last_epoch(self, partition: int) -> int | None:
        return answered(Sink.instance.sink.last_epoch, partition)

    def begin(self, ctx: Any, idempotency_key: str) -> None:
        answered(Sink.instance.begin, ctx, idempotency_key)

    def write(self, ctx: Any, rows: int, input: Any) -> Any:
        return answered(Sink.instance.write, ctx, rows, input)

    def prepare(self, ctx: Any) -> bytes:
        return answered(Sink.instance.prepare, ctx)

    def commit(self, epoch: int, tokens: Any) -> None:
        answered(Sink.instance.sink.commit, epoch, tokens)

    def abort(self, epoch: int, tokens: Any) -> None:
        answered(Sink.instance.sink.abort, epoch, tokens)
