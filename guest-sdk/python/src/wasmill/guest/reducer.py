"""The world `reducer-plugin`."""

from typing import Any

import wit_world.exports.reducer  # noqa: F401  the runtime asks for it after the snapshot began

from ..reducer import OpenReducer
from ..reducer import Reducer as Plugin
from . import load
from .exports import answered, described, opened

PLUGIN: Plugin[..., Any] = load(Plugin)


class Reducer:
    """The exported interface."""

    instance: OpenReducer

    def describe(self, config: str, input: Any) -> Any:
        return described(PLUGIN.describe, config, input)

    def open(self, config: str, input: Any) -> None:
        Reducer.instance = opened(PLUGIN.open, config, input)

    def reduce(self, ctx: Any, ends: bytes, input: Any) -> Any:
        return answered(Reducer.instance.reduce, ctx, ends, input)

    def inverse(self, ctx: Any, rows: int, total: Any, gone: Any) -> Any:
        return answered(Reducer.instance.inverse, ctx, rows, total, gone)
