"""Values as JSON text: exactly as the host's own JSON sources read them and its JSON sinks write them.

Dates and timestamps are ISO 8601 texts, decimals are numbers, byte strings are hexadecimal digits. No number is rounded
but to a float, no text is read as a number.
"""

from __future__ import annotations

import json
import re
from binascii import unhexlify
from json.encoder import encode_basestring
from math import isfinite
from typing import Any

from .column import Column
from .types import DataType, JsonText, decimal_of

_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_STRING = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
_is_number = re.compile(_NUMBER).fullmatch
_is_integer = re.compile(r"(?!-0)-?(?:0|[1-9][0-9]{0,18})").fullmatch
_open = re.compile(r"[ \t\n\r]*\{[ \t\n\r]*").match
_close = re.compile(r"\}[ \t\n\r]*").match
_member = re.compile(
    rf"({_STRING})[ \t\n\r]*:[ \t\n\r]*(?:({_STRING}|{_NUMBER}|true|false|null)[ \t\n\r]*([,}}])[ \t\n\r]*)?"
).match
_key = re.compile(rf"({_STRING})[ \t\n\r]*:[ \t\n\r]*").match
_value = re.compile(rf"({_STRING}|{_NUMBER}|true|false|null)[ \t\n\r]*").match
_comma = re.compile(r",[ \t\n\r]*").match
_space = re.compile(r"[ \t\n\r]*").match
_decoder = json.JSONDecoder()
_NAME = "name with a colon"


def members(text: str) -> dict[str, str]:
    """The members of a JSON object, each value as it stands there. Raises `ValueError` with what is wrong."""
    found: dict[str, str] = {}
    at = _past(_open(text), "object")
    more = True
    if close := _close(text, at):
        at, more = close.end(), False
    while more:
        member = _member(text, at)
        if not member:
            raise ValueError(_missing(_NAME, text, at))
        at = member.end()
        name, value, after = member.groups()
        if value is None:
            end = _nested(text, at)
            value = text[at:end]
            at = _after_space(text, end)
            close = _close(text, at)
            after = "}" if close else ","
            at = _past(close or _comma(text, at), "`,` or `}`", text, at)
        found[_plain(name, at) if "\\" in name else name[1:-1]] = value
        more = after == ","
    if at < len(text):
        raise ValueError(f"more than the object, from character {at + 1} on")
    return found


def _past(found: re.Match[str] | None, wanted: str, text: str = "", at: int = 0) -> int:
    if not found:
        raise ValueError(_missing(wanted, text, at))
    return found.end()


def _missing(wanted: str, text: str, at: int) -> str:
    return f"{wanted} is missing at the end" if text and at >= len(text) else f"no {wanted} at character {at + 1}"


def _nested(text: str, at: int) -> int:
    """Where an array or object ends. Values within one another may be any number: the stack here is no deeper for
    it."""
    closing: list[str] = []
    while True:
        if text[at : at + 1] in ("[", "{"):
            close = "]" if text[at] == "[" else "}"
            at = _after_space(text, at + 1)
            if text.startswith(close, at):
                at += 1
            else:
                closing.append(close)
                at = _past(_key(text, at), _NAME, text, at) if close == "}" else at
                continue
        elif scalar := _value(text, at):
            at = scalar.end(1)
        else:
            _past(None, "value", text, at)
        while closing:
            at = _after_space(text, at)
            if comma := _comma(text, at):
                at = comma.end()
                at = _past(_key(text, at), _NAME, text, at) if closing[-1] == "}" else at
                break
            if not text.startswith(closing[-1], at):
                _past(None, f"`,` or `{closing[-1]}`", text, at)
            closing.pop()
            at += 1
        else:
            return at


def _after_space(text: str, at: int) -> int:
    space = _space(text, at)
    return space.end() if space else at


def _plain(quoted: str, at: int) -> str:
    text: str = _decoder.decode(quoted)
    if "\\u" in quoted and not _is_text(text):
        raise ValueError(f"half a character in the name before character {at + 1}")
    return text


def _is_text(text: str) -> bool:
    """Whether there is no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read(text: str, data_type: DataType) -> Any:
    """Reads JSON text as a value of that type, exactly, or raises `ValueError` with what was there instead. A date is
    read as days, a timestamp as microseconds since 1970: both reach further than Python's types."""
    if text == "null":
        return None
    value = _READERS[data_type.kind](text, data_type)
    if value is None:
        shortened = text if len(text) <= 40 else f"{text[:40]}..."
        raise ValueError(f"{shortened} is not {data_type}")
    return value


def _read_boolean(text: str, _: DataType) -> bool | None:
    return {"true": True, "false": False}.get(text)


def _read_int64(text: str, _: DataType) -> int | None:
    if not _is_integer(text):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


def _read_float64(text: str, _: DataType) -> float | None:
    number = float(text) if _is_number(text) else float("nan")
    return number if isfinite(number) else None


def _read_utf8(text: str, _: DataType) -> str | None:
    if text[:1] != '"':
        return None
    if "\\" not in text:
        return text[1:-1]
    plain: str = _decoder.decode(text)
    return plain if _is_text(plain) else None


def _read_decimal(text: str, data_type: DataType) -> Any:
    if text.startswith('"'):
        text = _read_utf8(text, data_type) or ""
    if not (found := re.fullmatch(r"(-?)([0-9]+)(?:\.([0-9]*?)0*)?", text)):
        return None
    sign, whole, fraction = found[1], found[2], found[3] or ""
    if len(fraction) > data_type.scale or len(whole.lstrip("0")) > data_type.precision:
        return None
    unscaled = int(whole + fraction.ljust(data_type.scale, "0"))
    if unscaled >= 10**data_type.precision:
        return None
    return decimal_of(-unscaled if sign else unscaled, data_type.scale)


def _read_date(text: str, data_type: DataType) -> int | None:
    return days(_read_utf8(text, data_type) or "")


def _read_timestamp(text: str, data_type: DataType) -> int | None:
    return micros(_read_utf8(text, data_type) or "")


def _read_binary(text: str, data_type: DataType) -> bytes | None:
    digits = _read_utf8(text, data_type)
    try:
        return None if digits is None else unhexlify(digits)
    except ValueError:
        return None


def _read_json(text: str, _: DataType) -> JsonText:
    return JsonText(text)


_READERS = {
    "boolean": _read_boolean,
    "int64": _read_int64,
    "float64": _read_float64,
    "decimal": _read_decimal,
    "date": _read_date,
    "timestamp": _read_timestamp,
    "utf8": _read_utf8,
    "binary": _read_binary,
    "json": _read_json,
}

_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def days(text: str) -> int | None:
    """Days from 1970-01-01 to a date as 2026-05-25; `None` if it is none."""
    if not (found := re.fullmatch(r"\+?([0-9]+)-\+?([0-9]+)-\+?([0-9]+)", text)):
        return None
    year, month, day = map(int, found.groups())
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if year >= 2**31 or not 1 <= month <= 12 or not 1 <= day <= _DAYS[month - 1] + (leap and month == 2):
        return None
    # Years that start in March put the leap day last.
    years = year - (month <= 2)
    number = (
        years * 365 + years // 4 - years // 100 + years // 400 + (153 * ((month + 9) % 12) + 2) // 5 + day - 719_469
    )
    return number if number < 2**31 else None


def micros(text: str) -> int | None:
    """Microseconds from 1970 to a moment as 2026-05-25T12:34:56.789Z, or with an offset as +02:00; `None` if it is
    none."""
    found = re.fullmatch(
        r"(.{10})[Tt ](.{8})(?:\.([0-9]*))?(?:[Zz]|([+-])([+-]?[0-9]+):([+-]?[0-9]+))", text, re.DOTALL
    )
    if not found or (day := days(found[1])) is None:
        return None
    if not (clock := re.fullmatch(r"\+?([0-9]+):\+?([0-9]+):\+?([0-9]+)", found[2])):
        return None
    hour, minute, second = map(int, clock.groups())
    if hour > 23 or minute > 59 or second > 59:
        return None
    offset = 0
    if found[4]:
        offset = (int(found[5]) * 60 + int(found[6])) * (1 if found[4] == "+" else -1)
    seconds = day * 86_400 + hour * 3600 + minute * 60 + second - offset * 60
    number = seconds * 1_000_000 + int((found[3] or "")[:6].ljust(6, "0"))
    return number if -(2**63) <= number < 2**63 else None


def quote(text: str) -> str:
    """A text as JSON."""
    return encode_basestring(text)


def write(column: Column) -> list[str]:
    """The values of a column as JSON texts."""
    texts = _written(column)
    return [text if valid else "null" for text, valid in zip(texts, column.valid())] if column.validity else texts


def _written(column: Column) -> list[str]:
    match column.type.kind:
        case "boolean":
            return ["true" if value else "false" for value in column._plain("boolean")[0]]
        case "int64":
            return list(map(str, column.numbers))
        case "float64":
            return list(map(_float, column.numbers))
        case "decimal":
            return [_decimal(number, column.type.scale) for number in column.unscaled()]
        case "date":
            return [f'"{_date(number)}"' for number in column.numbers]
        case "timestamp":
            return [f'"{_timestamp(number)}"' for number in column.numbers]
        case "binary":
            return [f'"{piece.hex()}"' for piece in column.slices()]
        case "json":
            return column.texts()
    return list(map(quote, column.texts()))


def _float(number: float) -> str:
    if not isfinite(number):
        return "null"
    text = repr(number)
    if "e" not in text:
        return text
    digits, _, exponent = text.partition("e")
    if exponent == "-05":
        sign = "-" * digits.startswith("-")
        return f"{sign}0.0000{digits.lstrip('-').replace('.', '')}"
    return f"{digits}e{int(exponent):+}"


def _decimal(unscaled: int, scale: int) -> str:
    digits = str(abs(unscaled)).rjust(scale + 1, "0")
    whole, fraction = digits[: len(digits) - scale], digits[len(digits) - scale :]
    return "-" * (unscaled < 0) + (f"{whole}.{fraction}" if scale else whole)


def _date(number: int) -> str:
    era, day_of_era = divmod(number + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    month = (month_from_march + 2) % 12 + 1
    return f"{era * 400 + year_of_era + (month <= 2):04}-{month:02}-{day:02}"


def _timestamp(number: int) -> str:
    day, of_day = divmod(number, 86_400_000_000)
    seconds, micros = divmod(of_day, 1_000_000)
    fraction = f".{micros:06}" if micros % 1000 else f".{micros // 1000:03}" if micros else ""
    return f"{_date(day)}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}Z"
