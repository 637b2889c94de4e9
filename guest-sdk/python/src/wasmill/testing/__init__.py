"""Runs a plugin without WebAssembly, in any test framework: the same functions over the same buffers, with the host's
part played by this module. What comes back is checked as the host checks it; `ContractBroken` is raised if it is wrong.

    from wasmill import testing

    run = testing.transform(split, rows=[Line("to be"), Line("")])
    assert run.rows() == [{"word": "to", "length": 2}, {"word": "be", "length": 2}]
    assert run.parents() == [0, 0]
    assert run.rejected == [(1, "the line is empty")]

Rows are dataclasses, or dictionaries under a `schema` of names and types: `{"id": "int64", "line": "utf8?"}`, where the
question mark allows nulls. What comes out are dictionaries as the next step sees them: the carried columns, then what
the plugin made.
"""

from .checks import ContractBroken
from .keyed import Epoch, KeyedRun, keyed
from .reducer import ReducerRun, reducer
from .sink import SinkRun, sink
from .transform import TransformRun, transform

__all__ = [
    "ContractBroken",
    "Epoch",
    "KeyedRun",
    "ReducerRun",
    "SinkRun",
    "TransformRun",
    "keyed",
    "reducer",
    "sink",
    "transform",
]
