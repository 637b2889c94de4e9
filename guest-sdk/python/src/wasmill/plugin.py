"""What all plugins made of a function have in common."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Generic, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from . import config
from .ports import Ports, records
from .record import Declared

P = ParamSpec("P")
T = TypeVar("T")


class Plugin(Generic[P, T]):
    """A function that is a plugin. Called, it is still the function."""

    def __init__(self, function: Callable[P, T], arguments: int, open: Callable[[Any], Any] | None = None) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        hints = get_type_hints(function, include_extras=True)
        names = list(inspect.signature(function).parameters)
        if len(names) not in (arguments, arguments + 1):
            raise TypeError(
                f"`{function.__name__}` takes {arguments} arguments, and before them may take a configuration"
            )
        self._takes_state = len(names) > arguments
        if open and not self._takes_state:
            raise TypeError(f"`{function.__name__}` does not take what `open` makes, as its first argument")
        self.settings = config.Settings(hints.get(names[0]) if self._takes_state else None, open)
        missing = next((name for name in names if name not in hints), None)
        if missing:
            raise TypeError(f"`{function.__name__}` does not say the type of `{missing}`")
        self.hints = [hints[name] for name in names[len(names) - arguments :]]
        self.answer = hints.get("return")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.function(*args, **kwargs)

    def bound(self, state: Any) -> Callable[..., Any]:
        """The function of the rows alone."""
        return functools.partial(self.function, state) if self._takes_state else self.function


class Output:
    """What the options of a plugin say of its output."""

    def __init__(
        self,
        answer: Any,
        carry: bool | Callable[[Any], bool],
        columns: Declared | None,
        ports: Mapping[str, type[Any]] | None,
    ) -> None:
        self._records = records(answer, ports, columns is not None)
        self._carry = carry
        self._columns = columns

    def ports(self, state: Any) -> Ports:
        """The ports, of a plugin that has been opened."""
        return Ports(self._records, list(self._columns(state)) if self._columns else ())

    def carry(self, state: Any) -> bool:
        """Whether the host carries the input's other columns."""
        return self._carry(state) if callable(self._carry) else self._carry


def argument(hint: Any, generic: type[Any]) -> Any:
    """The `Line` of `Batch[Line]`; `None` of a bare `Batch`."""
    if hint is generic:
        return None
    if get_origin(hint) is not generic:
        raise TypeError(f"{hint!r} is not {generic.__name__}[..]")
    return get_args(hint)[0]
