"""The test of a transform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import log
from ..transform import Transform
from ..wit import Context, Produced, TransformPlan
from .checks import PortRows, broken, ports, rejects
from .given import Given, Schema, config_text


class TransformRun:
    """What a transform made."""

    def __init__(self, plan: TransformPlan, given: Given, produced: Produced, logged: list[tuple[int, str]]) -> None:
        self.plan = plan
        """What `describe` answered."""
        self.logged = logged
        """The lines of the log, each with its level."""
        self.rejected = rejects(produced.rejected, given.rows)
        """The rows turned away, each with its reason."""
        self._outputs = [PortRows(plan.ports, output, given.batch()) for output in produced.outputs]

    def _of(self, port: str | None) -> list[PortRows]:
        names = [each.name for each in self.plan.ports]
        if port not in (None, *names):
            broken(f"the plan has no port `{port}`; there are {', '.join(names)}")
        return [output for output in self._outputs if output.port.name == (port or names[0])]

    def rows(self, port: str | None = None) -> list[dict[str, Any]]:
        """The rows of a port, of the first if none is named, as the next step sees them."""
        return [row for output in self._of(port) for row in output.rows()]

    def parents(self, port: str | None = None) -> list[int]:
        """The input row that each row of a port came from."""
        return [parent for output in self._of(port) for parent in output.parents or ()]


def transform(
    plugin: Transform[..., Any],
    rows: Sequence[Any] = (),
    schema: Schema | None = None,
    config: Mapping[str, Any] | None = None,
    context: Context | None = None,
) -> TransformRun:
    """Describes, opens, and processes all rows in one call; raises what the plugin raises."""
    given = Given.of(rows, schema)
    plan = plugin.describe(config_text(config), given.fields)
    ports(plan.ports)
    planned = given.planned(plan.columns)
    logged: list[tuple[int, str]] = []
    with log.written_to(lambda level, line: logged.append((level, line))):
        opened = plugin.open(config_text(config), planned.fields)
        produced = opened.process(context or Context(), given.rows, planned.buffers)
    return TransformRun(plan, given, produced, logged)
