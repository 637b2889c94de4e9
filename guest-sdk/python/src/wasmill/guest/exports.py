"""What the exports of all worlds have in common: this SDK's values as those of the generated bindings."""

from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from componentize_py_types import Err
from wit_world.imports import host, types

from .. import log
from ..errors import Error, explain
from ..wit import Output
from . import start

P = ParamSpec("P")
T = TypeVar("T")


def described(describe: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`describe` may call no import, so what it logs is dropped."""
    start(lambda level, message: None)
    return answered(describe, *args, **kwargs)


def opened(open: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """An instance begins to work."""
    start(host.log)
    return answered(open, *args, **kwargs)


def answered(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """A call whose errors are the contract's: what is no `Error` is a fatal one."""
    try:
        return call(*args, **kwargs)
    except Error as error:
        raise _contract(error) from None
    except Exception as error:
        raise _contract(Error(explain(error))) from None


def trapping(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """A call that traps for what is no `Error`: the host then looks for the row at fault, and goes on without it."""
    try:
        return call(*args, **kwargs)
    except Error as error:
        raise _contract(error) from None
    except Exception as error:
        log.error(explain(error))
        raise


def _contract(error: Error) -> Err[Any]:
    return Err(types.Error(types.ErrorKind(error.kind.value), error.message, error.rows, error.after_ms))


def outputs(made: Sequence[Output]) -> list[Any]:
    """Outputs with the origin that the bindings know."""
    return [types.Output(output.port, output.rows, _origin(output), output.columns) for output in made]


def _origin(output: Output) -> Any:
    if output.origin == "same":
        return types.Origin_Same()
    if output.origin == "none":
        return types.Origin_None_()
    return types.Origin_Parents(output.origin)
