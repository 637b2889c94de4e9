"""The types of columns, and which values Python has for them.

| column | value | also taken when written |
|---|---|---|
| `boolean` | `bool` | |
| `int64` | `int` | |
| `float64` | `float` | `int` |
| `decimal(p,s)` | `decimal.Decimal` | |
| `date` | `datetime.date` | `int`, days since 1970-01-01 |
| `timestamp` | `datetime.datetime` with a time zone, UTC when read | `int`, microseconds since 1970 |
| `utf8` | `str` | `bytes`, UTF-8 |
| `binary` | `bytes` | |
| `json` | what `json.loads` gives | `JsonText` |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context as DecimalContext
from decimal import Decimal, Inexact, InvalidOperation
from functools import cache

from .errors import Error

KINDS = ("boolean", "int64", "float64", "decimal", "date", "timestamp", "utf8", "binary", "json")

NUMBER_FORMATS = {"int64": "q", "float64": "d", "date": "i", "timestamp": "q"}
"""How `memoryview.cast` and `array.array` call the numbers of a column."""

VARYING = ("utf8", "binary", "json")
"""The types whose columns have offsets."""


class JsonText(str):
    """A text that is valid JSON: a value of a `json` column as it stands there."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class DataType:
    """The type of a column; `precision` and `scale` are those of a decimal."""

    kind: str
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        return f"decimal({self.precision},{self.scale})" if self.kind == "decimal" else self.kind


@cache
def parse(text: str) -> DataType:
    """The type that a schema spells so; raises `Error` if there is none."""
    if text in KINDS and text != "decimal":
        return DataType(text)
    if found := re.fullmatch(r"decimal\(\s*([0-9]{1,3})\s*,\s*([0-9]{1,3})\s*\)", text):
        precision, scale = int(found[1]), int(found[2])
        if 1 <= precision <= 38 and scale <= precision:
            return DataType("decimal", precision, scale)
    raise Error(
        f"`{text}` is not a type; there are boolean, int64, float64, decimal(p,s), date, timestamp, "
        "utf8, binary and json"
    )


_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EXACT = DecimalContext(prec=60, traps=[Inexact, InvalidOperation])


def date_of(days: int) -> date:
    """The day so many days after 1970-01-01; raises `ValueError` outside of the years 1 to 9999."""
    try:
        return date.fromordinal(days + _EPOCH_DAY)
    except (ValueError, OverflowError):
        raise ValueError("a date outside of the years 1 to 9999") from None


def days_of(day: date | int) -> int:
    """Days since 1970-01-01."""
    return day if isinstance(day, int) else day.toordinal() - _EPOCH_DAY


def time_of(micros: int) -> datetime:
    """The moment so many microseconds after 1970; raises `ValueError` outside of the years 1 to 9999."""
    try:
        return _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise ValueError("a timestamp outside of the years 1 to 9999") from None


def micros_of(time: datetime | int) -> int:
    """Microseconds since 1970."""
    if isinstance(time, int):
        return time
    if time.tzinfo is None:
        raise ValueError(f"{time} has no time zone")
    return (time - _EPOCH) // _MICROSECOND


def decimal_of(unscaled: int, scale: int) -> Decimal:
    """The number with so many digits after the point."""
    return Decimal(unscaled).scaleb(-scale, _EXACT)


def unscaled_of(number: Decimal | int, data_type: DataType) -> int:
    """The number times 10 to the power of the scale; raises `ValueError` if it does not fit exactly."""
    try:
        scaled = Decimal(number).scaleb(data_type.scale, _EXACT)
        unscaled = int(scaled.to_integral_exact(context=_EXACT))
    except (InvalidOperation, Inexact):
        raise ValueError(f"{number} is not {data_type}") from None
    if abs(unscaled) >= 10**data_type.precision:
        raise ValueError(f"{number} is not {data_type}")
    return unscaled
