"""Reading a column in place, and building one."""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate, chain, pairwise
from typing import Any

from . import types
from .types import NUMBER_FORMATS, VARYING, DataType, JsonText
from .wit import Buffers, Field

assert sys.byteorder == "little" and array("I").itemsize == 4, "buffers are little-endian, offsets are u32"

# A byte as its eight bits, the least significant first.
_BITS = [tuple(bool(byte >> bit & 1) for bit in range(8)) for byte in range(256)]


def unpack_bits(bits: bytes, rows: int) -> list[bool]:
    """A bit a row, as booleans."""
    return list(chain.from_iterable(map(_BITS.__getitem__, bits)))[:rows]


def pack_bits(flags: Sequence[bool]) -> bytes:
    """Booleans as a bit a row."""
    digits = "".join(map("01".__getitem__, reversed(flags)))
    return int(digits or "0", 2).to_bytes((len(flags) + 7) // 8, "little")


class Column:
    """The values of a column of a batch, over the bytes that the host wrote.

    `numbers` are the values of an `int64`, `float64`, `date` or `timestamp` column without copying; those of a date are
    days, of a timestamp microseconds since 1970. `bytes` and `offsets` are those of a `utf8`, `binary` or `json`
    column: row `i` is `bytes[offsets[i]:offsets[i + 1]]`. Where a row is null these hold anything; `validity` tells,
    and is empty if none is.

    `values()`, iteration and `column[row]` give Python's values, `None` for null.
    """

    __slots__ = ("bytes", "field", "rows", "type", "validity", "_offsets")

    def __init__(self, field: Field, rows: int, buffers: Buffers) -> None:
        self.field = field
        self.type = types.parse(field.data_type)
        self.rows = rows
        self.validity = buffers.validity
        self.bytes = buffers.data
        self._offsets = buffers.offsets

    @property
    def numbers(self) -> memoryview[Any]:
        """A view of the numbers."""
        if self.type.kind not in NUMBER_FORMATS:
            raise TypeError(f"column `{self.field.name}` is {self.type}, which has no plain numbers")
        return memoryview(self.bytes).cast(NUMBER_FORMATS[self.type.kind])  # type: ignore[call-overload,no-any-return]

    @property
    def offsets(self) -> memoryview[int]:
        """A view of where the values begin and end: one number more than there are rows."""
        if self.type.kind not in VARYING:
            raise TypeError(f"column `{self.field.name}` is {self.type}, which has no offsets")
        return memoryview(self._offsets or bytes(4)).cast("I")

    @property
    def buffers(self) -> Buffers:
        """The column as the contract has it."""
        return Buffers(self.validity, self._offsets, self.bytes)

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values())

    def __getitem__(self, row: int) -> Any:
        return self.take([row]).values()[0]

    def valid(self) -> list[bool]:
        """For each row whether it holds a value."""
        return unpack_bits(self.validity, self.rows) if self.validity else [True] * self.rows

    def null_count(self) -> int:
        """How many rows are null."""
        return self.valid().count(False) if self.validity else 0

    def slices(self) -> list[bytes]:
        """The bytes of each row of a `utf8`, `binary` or `json` column."""
        data = self.bytes
        return [data[start:end] for start, end in pairwise(self.offsets.tolist())]

    def texts(self) -> list[str]:
        """The text of each row of a `utf8` or `json` column."""
        if not self.bytes.isascii():
            return [str(piece, "utf-8") for piece in self.slices()]
        text = self.bytes.decode("ascii")
        return [text[start:end] for start, end in pairwise(self.offsets.tolist())]

    def unscaled(self) -> list[int]:
        """The numbers of a `decimal` column times 10 to the power of its scale."""
        data = self.bytes
        return [int.from_bytes(data[at : at + 16], "little", signed=True) for at in range(0, 16 * self.rows, 16)]

    def values(self, kind: str = "") -> list[Any]:
        """The values of all rows, `None` for null. A `utf8` or `json` column can be read as of another `kind`."""
        values, bad = self.read(kind)
        for reason in bad.values():
            raise ValueError(f"column `{self.field.name}` has {reason}")
        return values

    def read(self, kind: str = "") -> tuple[list[Any], dict[int, str]]:
        """`values`, and what is wrong with those that Python has no value for."""
        plain, convert = self._plain(kind or self.type.kind)
        if self.validity:
            plain = [value if valid else None for value, valid in zip(plain, self.valid())]
        if convert is None:
            return plain, {}
        try:
            return [None if value is None else convert(value) for value in plain], {}
        except ValueError:
            return _one_by_one(plain, convert)

    def _plain(self, kind: str) -> tuple[list[Any], Callable[[Any], Any] | None]:
        match kind:
            case "boolean":
                return unpack_bits(self.bytes, self.rows), None
            case "int64" | "float64":
                return self.numbers.tolist(), None
            case "decimal":
                return self.unscaled(), partial(types.decimal_of, scale=self.type.scale)
            case "date":
                return self.numbers.tolist(), types.date_of
            case "timestamp":
                return self.numbers.tolist(), types.time_of
            case "binary":
                return self.slices(), None
            case "json":
                return self.texts(), _loads
            case "json text":
                return self.texts(), JsonText
        return self.texts(), None

    def take(self, rows: Sequence[int]) -> Column:
        """A column of these rows."""
        validity = b""
        if self.validity:
            valid = self.valid()
            validity = pack_bits([valid[row] for row in rows])
        match self.type.kind:
            case "boolean":
                bits = unpack_bits(self.bytes, self.rows)
                buffers = Buffers(validity, b"", pack_bits([bits[row] for row in rows]))
            case "utf8" | "binary" | "json":
                offsets, data = self.offsets, self.bytes
                offsets_taken, pieces = join([data[offsets[row] : offsets[row + 1]] for row in rows])
                buffers = Buffers(validity, offsets_taken, pieces)
            case kind:
                width = {"decimal": 16, "date": 4}.get(kind, 8)
                data = self.bytes
                taken = b"".join([data[row * width : row * width + width] for row in rows])
                buffers = Buffers(validity, b"", taken)
        return Column(self.field, len(rows), buffers)


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"a text that is not JSON: {error}") from None


def _one_by_one(plain: list[Any], convert: Callable[[Any], Any]) -> tuple[list[Any], dict[int, str]]:
    values: list[Any] = []
    bad = {}
    for row, value in enumerate(plain):
        try:
            values.append(None if value is None else convert(value))
        except ValueError as error:
            values.append(None)
            bad[row] = str(error)
    return values, bad


def join(pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Offsets and data of byte strings."""
    return array("I", list(accumulate(map(len, pieces), initial=0))).tobytes(), b"".join(pieces)


def build(data_type: DataType, nullable: bool, values: Any) -> Buffers:
    """A column of these values: a list of Python's values with `None` for null, or, for types of plain numbers, an
    `array` or `memoryview` of them, or a `Column` of the same type. Raises `TypeError`, `ValueError` or `OverflowError`
    for a value that does not fit."""
    if isinstance(values, Column):
        if values.type != data_type:
            raise TypeError(f"a column of type {values.type} is not {data_type}")
        if not nullable and values.null_count():
            raise ValueError("a null, and the column allows none")
        return values.buffers
    if isinstance(values, (array, memoryview)):
        return Buffers(data=_numbers(data_type, memoryview(values)))
    if not isinstance(values, list):
        values = list(values)
    validity = b""
    if None in values:
        if not nullable:
            raise ValueError("a null, and the column allows none")
        validity = pack_bits([value is not None for value in values])
        blank = _BLANKS[data_type.kind]
        values = [blank if value is None else value for value in values]
    offsets, data = _encode(data_type, values)
    return Buffers(validity, offsets, data)


_BLANKS: dict[str, Any] = dict.fromkeys(("int64", "decimal", "date", "timestamp"), 0) | {
    "boolean": False,
    "float64": 0.0,
    "utf8": "",
    "binary": b"",
    "json": JsonText(""),
}


def _numbers(data_type: DataType, numbers: memoryview[Any]) -> bytes:
    wanted = NUMBER_FORMATS.get(data_type.kind)
    if array(numbers.format).itemsize != numbers.itemsize or not wanted or _kind(numbers.format) != _kind(wanted):
        raise TypeError(f"numbers of format `{numbers.format}` are not {data_type}")
    if numbers.itemsize != array(wanted).itemsize:
        return array(wanted, numbers.tolist()).tobytes()
    return numbers.tobytes()


def _kind(format: str) -> str:
    return "float" if format in "fd" else "signed" if format in "bhilq" else "other"


def _encode(data_type: DataType, values: list[Any]) -> tuple[bytes, bytes]:
    match data_type.kind:
        case "boolean":
            if not all(value is True or value is False for value in values):
                raise TypeError("a value that is not a bool")
            return b"", pack_bits(values)
        case "int64" | "float64" as kind:
            return b"", array(NUMBER_FORMATS[kind], values).tobytes()
        case "date":
            return b"", array("i", [types.days_of(value) for value in values]).tobytes()
        case "timestamp":
            return b"", array("q", [types.micros_of(value) for value in values]).tobytes()
        case "decimal":
            unscaled = (types.unscaled_of(value, data_type) for value in values)
            return b"", b"".join([number.to_bytes(16, "little", signed=True) for number in unscaled])
        case "json":
            return join([_dumps(value).encode() for value in values])
        case "binary":
            return join(values)
    if values and isinstance(values[0], bytes):
        return join(values)
    text: str = "".join(values)
    if text.isascii():
        return array("I", list(accumulate(map(len, values), initial=0))).tobytes(), text.encode()
    return join([value.encode() for value in values])


def _dumps(value: Any) -> str:
    if isinstance(value, JsonText):
        return value
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
