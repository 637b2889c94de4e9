"""The test of a reducer."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from ..reducer import OpenReducer, Reducer
from ..wit import Context, Field, ReducerPlan
from .checks import broken, columns
from .given import Given, Schema, Values, config_text


class ReducerRun:
    """What a reducer made: a row for each group."""

    def __init__(self, plan: ReducerPlan, fields: Sequence[Field], reduced: list[Values]) -> None:
        self.plan = plan
        """What `describe` answered."""
        self.rows = [dict(zip((field.name for field in fields), row)) for row in reduced]
        """A row for each group."""


class _Open:
    def __init__(self, reducer: OpenReducer, fields: Sequence[Field]) -> None:
        self.reducer = reducer
        self.fields = fields

    def reduce(self, groups: Sequence[Sequence[Values]]) -> list[Values]:
        given = Given.of_rows(self.fields, [row for group in groups for row in group])
        ends = array("I", list(accumulate(map(len, groups)))).tobytes()
        reduced = self.reducer.reduce(Context(), ends, given.buffers)
        return self._checked(len(groups), reduced)

    def _checked(self, rows: int, reduced: Any) -> list[Values]:
        columns(self.fields, rows, reduced)
        return Given(list(self.fields), rows, reduced).values()

    def check_cuts(self, group: Sequence[Values], total: Values) -> None:
        """Groups cut everywhere, and into pieces of every length, must come to the same."""
        size = len(group)
        pieces = [[group[at : at + length] for at in range(0, size, length)] for length in range(1, size)]
        halves = [[group[:at], group[at:]] for at in range(1, size)]
        for parts in pieces + halves:
            (again,) = self.reduce([self.reduce(parts)])
            if not _same(again, total):
                lengths = [len(part) for part in parts]
                broken(f"reduced in parts of {lengths} rows, and the parts again, {again} comes out instead of {total}")

    def check_inverse(self, group: Sequence[Values], total: Values) -> None:
        """The whole without its first part must be what the second part comes to."""
        for at in range(1, len(group)):
            gone, left = self.reduce([group[:at], group[at:]])
            inputs = [Given.of_rows(self.fields, [row]).buffers for row in (total, gone)]
            (found,) = self._checked(1, self.reducer.inverse(Context(), 1, *inputs))
            if not _same(found, left):
                broken(f"{total} without the first {at} rows, {gone}, is {found} instead of {left}")


def _same(a: Values, b: Values) -> bool:
    """Sums of floats depend on their order in the last digits only."""
    return all(
        math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-9) or x != x and y != y
        if isinstance(x, float) and isinstance(y, float)
        else x == y
        for x, y in zip(a, b)
    )


def reducer(
    plugin: Reducer[..., Any],
    rows: Sequence[Any] = (),
    schema: Schema | None = None,
    config: Mapping[str, Any] | None = None,
    groups: Sequence[int] | None = None,
) -> ReducerRun:
    """Reduces rows in groups of these lengths, else in one group: all at once, and again with a cut at each place and
    with cuts after each so many rows, which must not make a difference. The inverse, if there is one, must give back
    what was before."""
    given = Given.of(rows, schema)
    lengths = [given.rows] if groups is None else list(groups)
    if sum(lengths) != given.rows or 0 in lengths:
        raise ValueError(f"groups of {lengths} rows are not those of {given.rows} rows")
    plan = plugin.describe(config_text(config), given.fields)
    planned = given.planned(plan.columns)
    opened = _Open(plugin.open(config_text(config), planned.fields), planned.fields)
    values, ends = planned.values(), list(accumulate(lengths))
    split = [values[end - length : end] for end, length in zip(ends, lengths)]
    reduced = opened.reduce(split)
    for group, total in zip(split, reduced):
        opened.check_cuts(group, total)
        if plan.invertible:
            opened.check_inverse(group, total)
    return ReducerRun(plan, planned.fields, reduced)
