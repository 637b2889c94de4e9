"""The guide's code is code that runs."""

import re
import unittest
from pathlib import Path

GUIDE = Path(__file__).parents[3] / "docs" / "plugins" / "python.md"
IMPORTS = """
import re, unittest
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wasmill import *
from wasmill import testing
"""


class Guide(unittest.TestCase):
    def test_every_piece_of_code_runs(self):
        names = {"__name__": "guide"}
        exec(IMPORTS, names)
        pieces = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
        self.assertGreater(len(pieces), 7)
        for piece in pieces:
            exec(piece, names)
        testing = names["testing"]
        line = names["Line"]("to be")
        self.assertEqual(testing.transform(names["split"], rows=[line]).rows(), [{"word": "to"}, {"word": "be"}])
        outcome = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(names["SplitWords"]).run(outcome)
        self.assertEqual((outcome.testsRun, outcome.failures, outcome.errors), (1, [], []))
        kept = testing.transform(names["keep"], rows=[line], config={"pattern": "o b", "invert": True})
        self.assertEqual(kept.rows(), [])
        converted = testing.transform(names["convert"], rows=[names["Reading"](100.0)])
        self.assertEqual(converted.rows(), [{"celsius": 100.0, "fahrenheit": 212.0}])
        stats = [names["Stats"](1, 2.0), names["Stats"](2, 1.0)]
        self.assertEqual(testing.reducer(names["add"], rows=stats).rows, [{"total": 3, "largest": 2.0}])
        self.assertEqual(testing.sink(names["LogSink"], rows=[line]).logged, [(2, '{"line":"to be"}')])


if __name__ == "__main__":
    unittest.main()
