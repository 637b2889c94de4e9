"""The test of a sink."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import log
from ..errors import Error, ErrorKind
from ..sink import OpenSink, Plan, Sink, describe
from ..wit import Context, Field
from .checks import rejects
from .given import Given, Schema, config_text


class SinkRun:
    """What a sink did."""

    def __init__(self, cls: type[Sink[Any]], plan: Plan, config: str, fields: Sequence[Field]) -> None:
        self._cls, self._config, self._fields = cls, config, fields
        self.plan = plan
        """What `describe` answered."""
        self.open = OpenSink(cls, config, fields)
        self.rejected: list[tuple[int, str]] = []
        """The rows turned away, each with its reason."""
        self.token = b""
        """What `prepare` answered."""
        self.logged: list[tuple[int, str]] = []
        """The lines of the log, each with its level."""

    @property
    def sink(self) -> Any:
        """The sink after its last call."""
        return self.open.sink

    def commit(self, epoch: int) -> None:
        """Commits the token as that of an epoch, with a fresh instance: as after a crash, nothing but the token is
        left."""
        OpenSink(self._cls, self._config, self._fields).sink.commit(epoch, [self.token])

    def abort(self, epoch: int) -> None:
        """Aborts the token as that of an epoch, with a fresh instance."""
        OpenSink(self._cls, self._config, self._fields).sink.abort(epoch, [self.token])


def sink(
    cls: type[Sink[Any]],
    rows: Sequence[Any] = (),
    schema: Schema | None = None,
    config: Mapping[str, Any] | None = None,
    key: str = "test-0-0",
    context: Context | None = None,
    retries: int = 0,
) -> SinkRun:
    """Opens the sink and writes all rows as one chunk of one partition. After a retryable error the partition is begun
    and written again, at once, so many times."""
    given = Given.of(rows, schema)
    ctx = context or Context()
    plan = describe(cls, config_text(config), given.fields)
    planned = given.planned(plan.columns)
    run = SinkRun(cls, plan, config_text(config), planned.fields)
    with log.written_to(lambda level, line: run.logged.append((level, line))):
        while True:
            try:
                run.open.begin(ctx, key)
                run.rejected = rejects(run.open.write(ctx, planned.rows, planned.buffers), planned.rows)
                run.token = run.open.prepare(ctx)
                return run
            except Error as error:
                if error.kind is not ErrorKind.RETRYABLE or not retries:
                    raise
                retries -= 1
