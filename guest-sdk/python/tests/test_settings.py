"""The configuration, and how records find their columns."""

import unittest
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal

from wasmill import Error, column
from wasmill.config import Settings, parse, read
from wasmill.record import record
from wasmill.suggest import distance, nearest
from wasmill.wit import Field


@dataclass
class Inner:
    depth: int = 1


@dataclass
class Config:
    pattern: str
    invert: bool = False
    gap: timedelta = timedelta(seconds=1)
    mode: Literal["a", "b"] = "a"
    names: list[str] = field(default_factory=list)
    ratio: float = 0.5
    inner: Inner = field(default_factory=Inner)
    limit: int | None = None
    maybe: str | None = "default"


@dataclass
class Config2:
    pattern: str
    maybe: str | None


def refused(test, text, cls=None):
    with test.assertRaises(Error) as error:
        read(cls, parse(text), ["column"])
    return error.exception.message


class Configuration(unittest.TestCase):
    def test_every_type_is_read(self):
        text = (
            '{"pattern": "x", "invert": true, "gap": "1h 30m", "mode": "b", "names": ["n"], "ratio": 2, '
            '"inner": {"depth": 3}, "limit": 4, "column": "line"}'
        )
        expected = Config("x", True, timedelta(minutes=90), "b", ["n"], 2.0, Inner(3), 4)
        self.assertEqual(read(Config, parse(text), ["column"]), expected)
        self.assertEqual(read(Config2, parse('{"pattern": ""}')), Config2("", None))

    def test_an_unknown_key_names_the_nearest(self):
        self.assertIn("`patern`; did you mean `pattern`?", refused(self, '{"patern": "x"}', Config))
        self.assertIn("did you mean `column`?", refused(self, '{"pattern": "x", "colum": "line"}', Config))
        told = "the configuration is wrong: there is no setting `x`; there are `pattern`, `maybe`, `column`"
        self.assertEqual(refused(self, '{"x": 1}', Config2), told)
        self.assertIn("did you mean `depth`?", refused(self, '{"inner": {"dept": 1}}', Config))

    def test_a_plugin_without_settings_refuses_any(self):
        with self.assertRaisesRegex(Error, "there is no setting `a`; this plugin has none"):
            read(None, parse('{"a": 1}'))

    def test_a_missing_key_and_a_wrong_type_are_told(self):
        self.assertIn("missing field `pattern`", refused(self, "", Config))
        cases = {
            '{"pattern": 3}': "`pattern`: invalid type: integer `3`, expected a string",
            '{"invert": "yes"}': '`invert`: invalid type: string "yes", expected a boolean',
            '{"invert": null}': "`invert`: invalid type: null, expected a boolean",
            '{"limit": true}': "`limit`: invalid type: boolean `true`, expected an integer",
            '{"limit": 1.5}': "`limit`: invalid type: floating point `1.5`, expected an integer",
            '{"names": {}}': "`names`: invalid type: map, expected a sequence",
            '{"names": [[]]}': "`names`: invalid type: sequence, expected a string",
            '{"mode": "c"}': '`mode`: string "c" is none of `a`, `b`',
            '{"gap": "1 week"}': "`gap`: `1 week` is not a duration as `30s`, `1h 30m` or `250ms`",
        }
        for text, told in cases.items():
            self.assertEqual(refused(self, text, Config), f"the configuration is wrong: {told}")
        self.assertEqual(refused(self, "[]", Config), "the configuration must be a table")
        self.assertIn("is not JSON", refused(self, "{", Config))

    def test_a_duration_is_a_sum_of_units(self):
        for text, millis in {"250ms": 250, "1d2h3s": 93_603_000, "10 s": 10_000, " 1m ": 60_000}.items():
            config = read(Config, {"pattern": "", "gap": text})
            self.assertEqual(config.gap, timedelta(milliseconds=millis), text)
        for text in ("", " ", "10", "s", "1.5h", "-1s", "1 week", "1hs", "9" * 20 + "s"):
            with self.subTest(text), self.assertRaises(Error):
                read(Config, {"pattern": "", "gap": text})

    def test_open_takes_what_it_says(self):
        class Model:
            def __init__(self, config: Config2) -> None:
                self.pattern = config.pattern

        Model.__init__.__annotations__["config"] = Config2
        self.assertEqual(Settings(None, Model).state({"pattern": "p"}).pattern, "p")


@dataclass
class Reading:
    sensor: Annotated[str, column(setting="column", or_first=True)]
    celsius: Annotated[float, column("temp", setting="celsius")]
    price: Annotated[Decimal, column(type="decimal(10,2)")] | None


FIELDS = [
    Field("name", "json"),
    Field("sensor", "utf8"),
    Field("temp", "float64"),
    Field("price", "decimal(10,2)", True),
    Field("n", "int64"),
]


class Records(unittest.TestCase):
    def told(self, config, *fields):
        with self.assertRaises(Error) as error:
            record(Reading).resolve(config, fields)
        return error.exception.message

    def test_columns_are_found_by_name_setting_and_type(self):
        self.assertEqual(record(Reading).resolve({}, FIELDS), ["sensor", "temp", "price"])
        self.assertEqual(record(Reading).resolve({"column": "name"}, FIELDS), ["name", "temp", "price"])
        others = [Field("n", "int64"), Field("text", "utf8"), *FIELDS[2:4]]
        self.assertEqual(record(Reading).resolve({}, others), ["text", "temp", "price"])

    def test_columns_that_are_not_there_or_of_another_type_are_told(self):
        text = Field("sensor", "utf8")
        self.assertEqual(
            self.told({}, text),
            "the plugin reads column `temp` of type float64, which the input does not have; `celsius` may name "
            "another; it has `sensor` utf8",
        )
        self.assertEqual(
            self.told({"celsius": "tmp"}, text, Field("temp", "float64")),
            "`celsius` names column `tmp`, which the input does not have; did you mean `temp`?",
        )
        self.assertEqual(
            self.told({}, text, Field("temp", "int64")), "column `temp` is int64, and the plugin reads it as float64"
        )
        self.assertEqual(
            self.told({}, text, Field("temp", "float64"), Field("price", "decimal(9,2)")),
            "column `price` is decimal(9,2), and the plugin reads it as decimal(10,2)",
        )
        self.assertEqual(self.told({"column": 1}), "`column` must be the name of a column, as a text")
        self.assertIn("and the input has none: no columns", self.told({}))

    def test_two_fields_cannot_read_one_column(self):
        @dataclass
        class Twice:
            a: Annotated[str, column(or_first=True)]
            b: Annotated[str, column(or_first=True)]

        with self.assertRaisesRegex(Error, "`a` and `b` both read column `x`"):
            record(Twice).resolve({}, [Field("x", "utf8")])

    def test_the_columns_written_are_those_of_the_fields(self):
        self.assertEqual(
            record(Reading).fields(),
            [Field("sensor", "utf8"), Field("temp", "float64"), Field("price", "decimal(10,2)", True)],
        )

        @dataclass
        class Price:
            price: Decimal

        with self.assertRaisesRegex(Error, "does not say which decimal"):
            record(Price).fields()


class Suggestions(unittest.TestCase):
    def test_a_slip_of_the_finger_is_understood(self):
        known = ["line", "word", "status"]
        for word, name in {"lines": "line", "wrod": "word", "sttus": "status", "banana": None}.items():
            self.assertEqual(nearest(word, known), name)

    def test_each_slip_is_one_step(self):
        cases = [("", "", 0), ("", "ab", 2), ("text", "txet", 1), ("text", "tex", 1), ("text", "test", 1)]
        cases += [("ab", "bca", 3)]
        for a, b, steps in cases:
            self.assertEqual((distance(a, b), distance(b, a)), (steps, steps), f"{a} {b}")


if __name__ == "__main__":
    unittest.main()
