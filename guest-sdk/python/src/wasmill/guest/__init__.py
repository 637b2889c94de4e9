"""The exports of a component: what `componentize-py` takes as the app. Only there in WebAssembly, but for this file.

`componentize-py componentize wasmill.guest.transform` imports the module of that name, which imports the plugin's
`plugin.py`, and takes a snapshot of the interpreter as it is then. So what is imported and made at the top of
`plugin.py` costs nothing when the plugin runs, and what is not imported by then is not in the component: an import in a
function fails.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NoReturn

from .. import log
from ..keyed import Keyed
from ..plugin import Plugin
from ..reducer import Reducer
from ..sink import Sink
from ..transform import Transform
from . import snapshot

# `datetime.strptime` imports it when it is first called.
importlib.import_module("_strptime")

_KINDS = {Transform: "transform", Reducer: "reducer", Keyed: "keyed plugin", Sink: "sink"}


def load(kind: Any) -> Any:
    """The plugin of `plugin.py`, the last that is made before the snapshot."""
    found = find(importlib.import_module("plugin"), kind)
    snapshot.settle()
    return found


def find(module: ModuleType, kind: Any) -> Any:
    """The only plugin that a module makes."""
    plugins = {name: value for name, value in vars(module).items() if _is_plugin(value, module)}
    if len(plugins) != 1:
        names = ", ".join(f"`{name}`" for name in plugins) or "none"
        raise TypeError(f"{module.__name__}.py must have one plugin, and has {names}")
    ((name, plugin),) = plugins.items()
    if not (isinstance(plugin, kind) or isinstance(plugin, type) and issubclass(plugin, kind)):
        raise TypeError(f"`{name}` of {module.__name__}.py is no {_KINDS[kind]}; plugin.toml says that it is one")
    return plugin


def _is_plugin(value: Any, module: ModuleType) -> bool:
    if isinstance(value, type):
        return issubclass(value, Sink) and value.__module__ == module.__name__
    return isinstance(value, Plugin) and value.__module__ == module.__name__


class _TooLate:
    """Says what an import means that comes after the snapshot; there are no files to look in."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> NoReturn:
        raise ModuleNotFoundError(f"`{name}` is not in the component; import it at the top of plugin.py", name=name)


def start(write: Callable[[int, str], None]) -> None:
    """The interpreter is no longer where the snapshot was taken."""
    log.write_to(write)
    sys.stdout, sys.stderr = log.Printed(log.INFO), log.Printed(log.WARN)
    sys.meta_path[:] = [_TooLate()]
    # What is raised has been logged, and the lines of code that a traceback shows are in no file here.
    sys.excepthook = lambda *_: None
