"""The plugin's configuration: the step's own table of the pipeline file as a dataclass, every unknown key reported."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from .errors import Error
from .suggest import nearest


def parse(config: str) -> dict[str, Any]:
    """The configuration as a table; an empty text is an empty one."""
    if not config.strip():
        return {}
    try:
        table = json.loads(config)
    except ValueError as error:
        raise Error(f"the configuration is not JSON: {error}") from None
    if table is None:
        return {}
    if not isinstance(table, dict):
        raise Error("the configuration must be a table")
    return table


class Settings:
    """How a plugin's state comes from its configuration: the state is what `open` makes of it, else the dataclass
    itself, else nothing."""

    def __init__(self, config: Any, open: Callable[[Any], Any] | None = None) -> None:
        if open:
            config = _first_hint(open)
        if config is not None and not dataclasses.is_dataclass(config):
            raise TypeError(f"{config!r} is not a dataclass, as a configuration must be")
        self._config = config
        if config is not None:
            # Known by the time the snapshot is taken.
            _hints(config)
        self._open = open

    def state(self, table: dict[str, Any], columns: Sequence[str] = ()) -> Any:
        """The state; `columns` are further keys that are known, those that name columns."""
        config = read(self._config, table, columns)
        return self._open(config) if self._open else config


def _first_hint(function: Callable[[Any], Any]) -> Any:
    code: Any = getattr(function, "__init__") if isinstance(function, type) else function
    parameters = inspect.signature(function).parameters
    hint = get_type_hints(code).get(next(iter(parameters), ""))
    if hint is None:
        raise TypeError(f"the first argument of `{function.__qualname__}` has no type: it is the configuration")
    return hint


def read(cls: Any, table: dict[str, Any], columns: Sequence[str] = ()) -> Any:
    """Reads a dataclass, or none; raises `Error` with the key that is wrong."""
    try:
        return _read_fields(cls, table, columns)
    except ValueError as error:
        raise Error(f"the configuration is wrong: {error}") from None


def _read_fields(cls: Any, table: dict[str, Any], columns: Sequence[str]) -> Any:
    fields = dataclasses.fields(cls) if cls else ()
    hints = _hints(cls) if cls else {}
    known = [field.name for field in fields]
    for key in sorted(table):
        if key not in known and key not in columns:
            raise ValueError(_unknown(key, [*known, *columns]))
    values = {}
    for key in sorted(set(table).intersection(known)):
        try:
            values[key] = _value(hints[key], table[key])
        except ValueError as error:
            raise ValueError(f"`{key}`: {error}") from None
    for field in fields:
        no_default = field.default is field.default_factory is dataclasses.MISSING
        if no_default and field.name not in values:
            if not _is_optional(hints[field.name]):
                raise ValueError(f"missing field `{field.name}`")
            values[field.name] = None
    return cls(**values) if cls else None


_hints: Callable[[Any], dict[str, Any]] = functools.cache(get_type_hints)


def _unknown(key: str, known: Sequence[str]) -> str:
    if near := nearest(key, known):
        return f"there is no setting `{key}`; did you mean `{near}`?"
    names = ", ".join(f"`{name}`" for name in known)
    return f"there is no setting `{key}`; " + (f"there are {names}" if names else "this plugin has none")


def _is_optional(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint)


_EXPECTED = {
    bool: "a boolean",
    str: "a string",
    int: "an integer",
    float: "a number",
    list: "a sequence",
    dict: "a map",
}


def _value(hint: Any, value: Any) -> Any:
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin is Any:
        return value
    if origin in (Union, UnionType):
        return _one_of(arguments, value)
    if origin is Literal:
        if value not in arguments:
            names = ", ".join(f"`{name}`" for name in arguments)
            raise ValueError(f"{_shown(value)} is none of {names}")
        return value
    if origin is timedelta:
        return _duration(_of_type(str, value))
    if dataclasses.is_dataclass(origin):
        return _read_fields(origin, _of_type(dict, value), ())
    plain = _of_type(origin, value)
    if origin is list and arguments:
        return [_value(arguments[0], item) for item in plain]
    if origin is dict and arguments:
        return {key: _value(arguments[1], item) for key, item in plain.items()}
    return plain


def _one_of(hints: Sequence[Any], value: Any) -> Any:
    if value is None and NoneType in hints:
        return None
    wrong = ""
    for hint in hints:
        if hint is not NoneType:
            try:
                return _value(hint, value)
            except ValueError as error:
                wrong = str(error)
    raise ValueError(wrong)


def _of_type(wanted: Any, value: Any) -> Any:
    if wanted not in _EXPECTED:
        raise TypeError(f"a setting cannot be of type {wanted!r}")
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise ValueError(f"invalid type: {_shown(value)}, expected {_EXPECTED[wanted]}")
    return value


def _shown(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return f"boolean `{str(value).lower()}`"
        case int():
            return f"integer `{value}`"
        case float():
            return f"floating point `{value}`"
        case str():
            return f"string {json.dumps(value, ensure_ascii=False)}"
    return "sequence" if isinstance(value, list) else "map"


_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def _duration(text: str) -> timedelta:
    """A span written as `30s`, `1h 30m` or `250ms`."""
    if not re.fullmatch(r"\s*(?:[0-9]+\s*(?:ms|[smhd])\s*(?![a-z]))+", text):
        raise ValueError(f"`{text}` is not a duration as `30s`, `1h 30m` or `250ms`")
    parts = re.findall(r"([0-9]+)\s*([a-z]+)", text)
    try:
        return timedelta(milliseconds=sum(int(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError:
        raise ValueError(f"`{text}` is too long") from None
