"""Writes each row as a JSON object to the log of the pipeline, at level info.

    [sinks.seen]
    input = "counts"
    type = "plugin"
    plugin = "sink-log"

An epoch that is repeated is written again.

First lesson on sinks: a class. `write` gets the chunks of a partition; `batch.json()` gives their rows as the host's
own sinks write them. What a sink promises about a repeated epoch is its `delivery`, at least once unless it says
otherwise.
"""

from typing import Any

from wasmill import Batch, Sink, log


class LogSink(Sink[None]):
    def write(self, batch: Batch[Any]) -> None:
        for row in batch.json():
            log.info(row)
