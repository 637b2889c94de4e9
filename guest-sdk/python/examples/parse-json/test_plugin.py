import unittest
from datetime import UTC, date, datetime
from decimal import Decimal

from plugin import Line, parse

from wasmill import Error, testing


def run(schema, *lines):
    return testing.transform(parse, rows=[Line(line) for line in lines], config={"schema": schema})


class ParseJson(unittest.TestCase):
    def test_every_type_is_parsed_exactly(self):
        line = (
            '{"a":true,"b":9007199254740993,"c":0.5,"d":123456789012345678.90,"e":"2024-02-29",'
            '"f":"2024-02-29T01:02:03Z","g":"\\u00e9","h":"00ff","i":{"x":[1.0]}}'
        )
        types = "boolean int64 float64 decimal(20,2) date timestamp utf8 binary json".split()
        (row,) = run(dict(zip("abcdefghi", types)), line).rows()
        self.assertEqual(
            row,
            {
                "a": True,
                "b": 9007199254740993,
                "c": 0.5,
                "d": Decimal("123456789012345678.90"),
                "e": date(2024, 2, 29),
                "f": datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC),
                "g": "\u00e9",
                "h": b"\x00\xff",
                "i": {"x": [1.0]},
            },
        )

    def test_bad_rows_are_rejected_and_the_others_go_on(self):
        lines = ['{"n": 1, "other": [1, 2]}', '{"n": 1', '{"n": "1"}', '{"note": "x"}', "[1]", '{"n": 2, "note": "x"}']
        made = run({"n": "int64", "note": "utf8?"}, *lines)
        self.assertEqual(made.rows(), [{"n": 1, "note": None}, {"n": 2, "note": "x"}])
        self.assertEqual(made.parents(), [0, 5])
        self.assertEqual(
            made.rejected,
            [
                (1, "not a JSON object: `,` or `}` is missing at the end"),
                (2, '`n`: "1" is not int64'),
                (3, "`n` is missing"),
                (4, "not a JSON object: no object at character 1"),
            ],
        )

    def test_a_type_that_does_not_exist_is_named(self):
        with self.assertRaises(Error) as wrong:
            run({"n": "integer"}, "{}")
        self.assertTrue(wrong.exception.message.startswith("`integer` is not a type"), wrong.exception.message)


if __name__ == "__main__":
    unittest.main()
