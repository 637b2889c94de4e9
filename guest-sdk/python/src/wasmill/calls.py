"""What the current call is about."""

from datetime import UTC, datetime, timedelta

from .wit import Context

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_current = Context()


def context() -> Context:
    """The context of the call that is running: epoch, batch time, partition, seed. Time and seed are the same when an
    epoch is run again; a plugin has no other clock and no other randomness: `random.Random(context().seed)`."""
    return _current


def batch_time() -> datetime:
    """The time of the epoch."""
    return EPOCH + timedelta(milliseconds=_current.batch_time)


def enter(context: Context) -> None:
    """A call begins."""
    global _current
    _current = context
