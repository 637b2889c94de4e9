import unittest
from datetime import UTC, datetime

from plugin import LogSink

from wasmill import Delivery, log, testing


class LogsRows(unittest.TestCase):
    def test_each_row_is_a_json_object(self):
        run = testing.sink(
            LogSink,
            rows=[
                {"word": '\u00e9"', "n": 1, "at": datetime(2026, 5, 25, 12, tzinfo=UTC)},
                {"word": "b", "n": None, "at": None},
            ],
            schema={"word": "utf8", "n": "int64?", "at": "timestamp?"},
        )
        lines = ['{"word":"\u00e9\\"","n":1,"at":"2026-05-25T12:00:00Z"}', '{"word":"b","n":null,"at":null}']
        self.assertEqual(run.logged, [(log.INFO, line) for line in lines])
        self.assertEqual(run.plan.delivery, Delivery.AT_LEAST_ONCE)


if __name__ == "__main__":
    unittest.main()
