import unittest

from plugin import count

from wasmill import testing

LINE = [{"line": 1, "word": "to"}, {"line": 1, "word": "be"}, {"line": 1, "word": "to"}, {"line": 1, "word": None}]


def start(parts_of=None):
    return testing.keyed(count, ["word"], {"line": "int64", "word": "utf8?"}, parts_of=parts_of)


class RunningCount(unittest.TestCase):
    def test_counts_go_on_from_epoch_to_epoch(self):
        run = start()
        first = run.epoch(0, LINE)
        self.assertEqual(first.rows(), [{"word": "be", "n": 1}, {"word": "to", "n": 2}, {"word": None, "n": 1}])
        second = run.epoch(1, LINE[:1])
        self.assertEqual(second.rows(), [{"word": "to", "n": 3}])
        self.assertEqual(len(run.state), 3)

    def test_a_key_in_several_parts_is_told_once(self):
        epoch = start(parts_of=1).epoch(0, LINE)
        self.assertEqual(sorted(row["n"] for row in epoch.rows()), [1, 1, 2])


if __name__ == "__main__":
    unittest.main()
