"""The world `keyed-plugin`."""

from typing import Any

from wit_world.exports.keyed import Batch, Group

from ..keyed import Keyed as Plugin
from ..keyed import OpenKeyed
from . import load, rehearsal
from .exports import answered, described, opened, outputs

rehearsal.keyed_plugins(Batch, Group)
PLUGIN: Plugin[..., Any] = load(Plugin)


class Keyed:
    """The exported interface."""

    instance: OpenKeyed

    def describe(self, config: str, keys: Any, inputs: Any) -> Any:
        return described(PLUGIN.describe, config, keys, inputs)

    def open(self, config: str, keys: Any, inputs: Any) -> None:
        Keyed.instance = opened(PLUGIN.open, config, keys, inputs)

    def process(self, ctx: Any, batch: Any) -> Any:
        changes = answered(Keyed.instance.process, ctx, batch)
        changes.outputs = outputs(changes.outputs)
        return changes

    def migrate(self, from_version: int, old: Any, rows: int, state: Any) -> Any:
        return opened(PLUGIN.migrate, from_version, old, rows, state)
