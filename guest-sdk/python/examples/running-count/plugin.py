"""Counts the rows of each key since the beginning of the run.

    [steps.totals]
    input = "words"
    plugin = "running-count"
    group_by = ["word"]

It gives, for each key with rows in an epoch, a row of the key's columns and `n`, how many rows there were up to now.

First lesson on keyed plugins: what is remembered of a key is a dataclass, and the function sees it as it was after the
epoch before. `None` says that neither the key nor a column of the rows is read, so any will do. A key with very many
rows comes in several calls; the count is emitted in the last.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from wasmill import Rows, State, keyed


@dataclass
class Count:
    n: int


@keyed.update(carry=True)
def count(key: None, rows: Rows[None], state: State[Count]) -> Iterator[Count]:
    now = Count((state.value.n if state.value else 0) + len(rows))
    state.put(now)
    if state.is_last_part:
        yield now
