"""Rows as dataclasses: which columns their fields are, and how they find those of an input."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from . import types
from .batch import Batch
from .column import Column
from .errors import Error
from .suggest import nearest
from .types import JsonText
from .wit import Field

_KINDS: dict[Any, str] = {
    bool: "boolean",
    int: "int64",
    float: "float64",
    Decimal: "decimal",
    date: "date",
    datetime: "timestamp",
    str: "utf8",
    bytes: "binary",
    JsonText: "json text",
    list: "json",
    dict: "json",
    Any: "json",
}

_READS = {
    "utf8": ("utf8", "json"),
    "binary": ("binary", "utf8", "json"),
    "json text": ("json",),
}
"""A json text is a text, and any text can be read as its bytes."""


@dataclasses.dataclass(frozen=True, slots=True)
class ColumnOptions:
    """What `column(..)` says of a field."""

    name: str | None = None
    setting: str | None = None
    or_first: bool = False
    type: str | None = None


def column(
    name: str | None = None, *, setting: str | None = None, or_first: bool = False, type: str | None = None
) -> ColumnOptions:
    """Says more of a field, in `Annotated[str, column(..)]`:

    - `name`: the column's name, if it is not the field's;
    - `setting`: the key of the step's `config` that may name another column;
    - `or_first`: whether the first column of a fitting type will do if none has the name;
    - `type`: the column's type if Python's does not tell, as `decimal(10,2)`.
    """
    return ColumnOptions(name, setting, or_first, type)


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """A field of a record, and the column that it is."""

    attribute: str
    name: str
    setting: str | None
    or_first: bool
    kind: str
    type: str | None
    nullable: bool

    @property
    def type_name(self) -> str:
        """The type as messages have it."""
        return self.type or self.kind.removesuffix(" text")

    def fits(self, field: Field) -> bool:
        """Whether it can read a column."""
        kind = types.parse(field.data_type).kind
        if self.type is not None and self.kind == "decimal":
            return types.parse(field.data_type) == types.parse(self.type)
        return kind in _READS.get(self.kind, (self.kind,))

    def read(self, column: Column) -> tuple[list[Any], dict[int, str]]:
        """The column's values, and what is wrong with some."""
        return column.read(self.kind)


class Record:
    """A dataclass as a row type."""

    def __init__(self, cls: type[Any], wanted: Sequence[Wanted]) -> None:
        self.cls = cls
        self.wanted = wanted

    @property
    def settings(self) -> list[str]:
        """The keys of the configuration that name columns."""
        return [wanted.setting for wanted in self.wanted if wanted.setting]

    def fields(self) -> list[Field]:
        """The columns that it is written to."""
        return [self._field(wanted) for wanted in self.wanted]

    def _field(self, wanted: Wanted) -> Field:
        if wanted.type_name == "decimal":
            raise Error(
                f"field `{wanted.attribute}` of {self.cls.__name__} does not say which decimal it is: "
                'Annotated[Decimal, column(type="decimal(10,2)")]'
            )
        return Field(wanted.name, wanted.type_name, wanted.nullable)

    def resolve(self, config: dict[str, Any], fields: Sequence[Field]) -> list[str]:
        """The name of each field's column."""
        names: dict[str, Wanted] = {}
        for wanted in self.wanted:
            name = _find(wanted, config, fields)
            if name in names:
                raise Error(f"`{names[name].name}` and `{wanted.name}` both read column `{name}`")
            names[name] = wanted
        return list(names)

    def select(self, columns: Iterable[Column]) -> dict[str, Column]:
        """Columns, which are in the order of the fields, by the names of these."""
        return {wanted.attribute: column for wanted, column in zip(self.wanted, columns, strict=True)}

    def whole_rows(self, batch: Batch[Any]) -> Batch[Any]:
        """Turns the rows with a null in a field without room for one away, and answers with the others."""
        nulls: set[int] = set()
        for wanted in self.wanted:
            column = batch[wanted.attribute]
            if column.validity and not wanted.nullable:
                for row, valid in enumerate(column.valid()):
                    if not valid and row not in nulls:
                        nulls.add(row)
                        batch.reject(row, null_in(column))
        return batch.take([row for row in range(batch.rows) if row not in nulls]) if nulls else batch

    def values(self, batch: Batch[Any]) -> tuple[dict[str, list[Any]], dict[int, str]]:
        """The values of each field, and why some rows cannot be a record."""
        bad: dict[int, str] = {}
        values: dict[str, list[Any]] = {}
        for wanted in self.wanted:
            column = batch[wanted.attribute]
            values[wanted.attribute], wrong = wanted.read(column)
            if column.validity and not wanted.nullable:
                for row, valid in enumerate(column.valid()):
                    if not valid:
                        bad.setdefault(row, null_in(column))
            for row, reason in wrong.items():
                bad.setdefault(row, f"column `{column.field.name}` has {reason}")
        return values, bad

    def read(self, batch: Batch[Any]) -> tuple[list[Any], dict[int, str]]:
        """The rows as records, `None` for those that cannot be one, and why they cannot."""
        values, bad = self.values(batch)
        if not bad:
            return self.records(values, batch.rows), bad
        good = [row for row in range(batch.rows) if row not in bad]
        records: list[Any] = [None] * batch.rows
        whole = {name: [column[row] for row in good] for name, column in values.items()}
        for row, made in zip(good, self.records(whole, len(good))):
            records[row] = made
        return records, bad

    def records(self, values: dict[str, list[Any]], rows: int) -> list[Any]:
        """Records of these values."""
        return list(map(self.cls, *values.values())) if values else [self.cls() for _ in range(rows)]


def null_in(column: Column) -> str:
    """Why a row is turned away."""
    return f"column `{column.field.name}` is null"


NOTHING = Record(NoneType, ())
"""A record of no columns: a key that does not matter, rows that are only counted, a key of which nothing is
remembered."""


def record(cls: Any) -> Record:
    """The record that a dataclass is; `None` is the one of no columns."""
    return _record(cls)


@cache
def _record(cls: Any) -> Record:
    if cls is NoneType:
        return NOTHING
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise TypeError(f"{cls!r} is not a dataclass")
    hints = get_type_hints(cls, include_extras=True)
    fields = [field for field in dataclasses.fields(cls) if field.init]
    if any(field.kw_only for field in fields):
        raise TypeError(f"{cls.__name__} has fields that only go by name; a row is made of its values in their order")
    return Record(cls, [_wanted(field.name, hints[field.name]) for field in fields])


def _wanted(attribute: str, hint: Any) -> Wanted:
    options = ColumnOptions()
    nullable = False
    while True:
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            hint = arguments[0]
            options = next((found for found in arguments[1:] if isinstance(found, ColumnOptions)), options)
        elif origin in (Union, UnionType) and len(arguments) == 2 and NoneType in arguments:
            nullable = True
            hint = next(argument for argument in arguments if argument is not NoneType)
        else:
            break
    kind = _KINDS.get(get_origin(hint) or hint)
    if kind is None:
        known = "bool, int, float, Decimal, date, datetime, str, bytes, list, dict, JsonText"
        raise TypeError(
            f"field `{attribute}` is {hint!r}, which is no type of a column; there are {known}, each `| None`"
        )
    data_type = str(types.parse(options.type)) if options.type else None
    if data_type and types.parse(data_type).kind != kind.removesuffix(" text"):
        raise TypeError(f"field `{attribute}` is {hint!r}, and its column {data_type}")
    name = options.name or attribute
    return Wanted(attribute, name, options.setting, options.or_first, kind, data_type, nullable)


def _find(wanted: Wanted, config: dict[str, Any], fields: Sequence[Field]) -> str:
    setting = wanted.setting if wanted.setting in config else None
    name = config[setting] if setting else wanted.name
    if not isinstance(name, str):
        raise Error(f"`{setting}` must be the name of a column, as a text")
    for field in fields:
        if field.name == name:
            if wanted.fits(field):
                return name
            if setting or not wanted.or_first:
                raise Error(f"column `{name}` is {field.data_type}, and the plugin reads it as {wanted.type_name}")
            break
    else:
        if setting or not wanted.or_first:
            raise _missing(wanted, name, setting, fields)
    for field in fields:
        if wanted.fits(field):
            return field.name
    raise Error(f"the plugin reads a column of type {wanted.type_name}, and the input has none: {_describe(fields)}")


def _missing(wanted: Wanted, name: str, setting: str | None, fields: Sequence[Field]) -> Error:
    if setting:
        asked = f"`{setting}` names column `{name}`, which the input does not have"
    else:
        asked = f"the plugin reads column `{name}` of type {wanted.type_name}, which the input does not have"
        if wanted.setting:
            asked += f"; `{wanted.setting}` may name another"
    if near := nearest(name, (field.name for field in fields)):
        return Error(f"{asked}; did you mean `{near}`?")
    return Error(f"{asked}; it has {_describe(fields)}")


def _describe(fields: Sequence[Field]) -> str:
    return ", ".join(f"`{field.name}` {field.data_type}" for field in fields) or "no columns"


Declared = Callable[[Any], Iterable[Field]]
"""Columns that only the configuration knows: a function of the plugin's state."""
