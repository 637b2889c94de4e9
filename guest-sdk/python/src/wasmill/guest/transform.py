"""The world `transform-plugin`."""

from typing import Any

import wit_world.exports.transform  # noqa: F401  the runtime asks for it after the snapshot began

from ..transform import OpenTransform
from ..transform import Transform as Plugin
from . import load, rehearsal
from .exports import described, opened, outputs, trapping

rehearsal.transforms()
PLUGIN: Plugin[..., Any] = load(Plugin)


class Transform:
    """The exported interface."""

    instance: OpenTransform

    def describe(self, config: str, input: Any) -> Any:
        return described(PLUGIN.describe, config, input)

    def open(self, config: str, input: Any) -> None:
        Transform.instance = opened(PLUGIN.open, config, input)

    def process(self, ctx: Any, rows: int, input: Any) -> Any:
        produced = trapping(Transform.instance.process, ctx, rows, input)
        produced.outputs = outputs(produced.outputs)
        return produced
