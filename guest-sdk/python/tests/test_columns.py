"""Columns: from Python's values to buffers and back."""

import unittest
from array import array
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

from wasmill import Column, Field, JsonText, jsontext, types
from wasmill.column import build, pack_bits, unpack_bits
from wasmill.errors import Error
from wasmill.wit import Buffers

NOON = datetime(2026, 5, 25, 12, 0, 0, 1, tzinfo=UTC)
VALUES = {
    "boolean": [True, False, True] * 3,
    "int64": [0, -(2**63), 2**63 - 1],
    "float64": [0.5, -0.0, 1e300],
    "decimal(38,2)": [Decimal("-0.05"), Decimal("9" * 36 + ".99")],
    "date": [date(1, 1, 1), date(1970, 1, 1), date(9999, 12, 31)],
    "timestamp": [NOON, datetime(1, 1, 1, tzinfo=UTC)],
    "utf8": ["", "to", "\u00e9t\u00e9", "\U0001f4a7"],
    "binary": [b"", b"\x00\xff"],
    "json": [{"a": [1, None]}, "text", 1.5],
}


def column(text, values, nullable=True):
    data_type = types.parse(text)
    return Column(Field("c", text, nullable), len(values), build(data_type, nullable, values))


class Roundtrip(unittest.TestCase):
    def test_every_value_comes_back(self):
        for text, values in VALUES.items():
            with self.subTest(text):
                self.assertEqual(column(text, values, False).values(), values)
                self.assertEqual(column(text, values, False).validity, b"")

    def test_nulls_come_back(self):
        for text, values in VALUES.items():
            with self.subTest(text):
                mixed = [None, *values, None]
                made = column(text, mixed)
                self.assertEqual(made.values(), mixed)
                self.assertEqual(made.null_count(), 2)
                self.assertEqual(made.take([1, 0, 1]).values(), [values[0], None, values[0]])
                self.assertEqual([made[row] for row in range(len(mixed))], mixed)

    def test_a_column_of_no_rows_may_have_no_buffers(self):
        for text in VALUES:
            self.assertEqual(Column(Field("c", text), 0, Buffers()).values(), [])

    def test_bits_are_the_least_significant_first(self):
        self.assertEqual(pack_bits([True, False, True] + [False] * 5 + [True]), b"\x05\x01")
        self.assertEqual(unpack_bits(b"\x05\x01", 9), [True, False, True] + [False] * 5 + [True])

    def test_the_example_of_the_contract(self):
        made = build(types.parse("utf8"), True, ["to", None, "be"])
        self.assertEqual(made.validity, b"\x05")
        self.assertEqual(made.offsets, bytes.fromhex("00000000 02000000 02000000 04000000"))
        self.assertEqual(made.data, b"tobe")

    def test_what_lies_under_a_null_is_not_looked_at(self):
        for text, width in (("date", 4), ("timestamp", 8), ("decimal(38,0)", 16)):
            buffers = Buffers(b"\x00", b"", b"\x7f" * width)
            self.assertEqual(Column(Field("c", text, True), 1, buffers).values(), [None])
        buffers = Buffers(b"\x00", array("I", [0, 3]).tobytes(), b"{[x")
        self.assertEqual(Column(Field("c", "json", True), 1, buffers).values(), [None])


class Given(unittest.TestCase):
    def test_numbers_and_bytes_are_taken_as_they_are(self):
        self.assertEqual(build(types.parse("int64"), False, array("q", [1, -1])).data, array("q", [1, -1]).tobytes())
        self.assertEqual(build(types.parse("int64"), False, array("i", [1, -1])).data, array("q", [1, -1]).tobytes())
        numbers = column("float64", [1.5, 2.5]).numbers
        self.assertEqual(build(types.parse("float64"), False, numbers).data, array("d", [1.5, 2.5]).tobytes())
        self.assertEqual(build(types.parse("utf8"), False, ["\u00e9".encode(), b"x"]).data, b"\xc3\xa9x")
        self.assertEqual(build(types.parse("date"), False, [-1]).data, b"\xff\xff\xff\xff")
        self.assertEqual(build(types.parse("json"), False, [JsonText("[1.0]")]).data, b"[1.0]")

    def test_what_does_not_fit_is_refused(self):
        cases = [
            ("boolean", 1),
            ("int64", 1.5),
            ("int64", 2**63),
            ("float64", "1"),
            ("decimal(4,2)", Decimal("1.234")),
            ("decimal(4,2)", Decimal("100")),
            ("decimal(4,2)", Decimal("NaN")),
            ("timestamp", datetime(2026, 5, 25)),
            ("utf8", 7),
            ("utf8", "\ud800"),
            ("json", float("nan")),
            ("json", {1, 2}),
            ("int64", None),
        ]
        for text, value in cases:
            with self.subTest(text, value=value), self.assertRaises((TypeError, ValueError, OverflowError)):
                build(types.parse(text), False, [value])
        for text, values in (("int64", array("d", [1.0])), ("float64", array("q", [1])), ("utf8", array("q", [1]))):
            with self.subTest(text), self.assertRaises(TypeError):
                build(types.parse(text), False, values)
        with self.assertRaises(TypeError):
            build(types.parse("int64"), False, column("timestamp", [NOON]))
        with self.assertRaises(ValueError):
            build(types.parse("int64"), False, column("int64", [1, None]))

    def test_a_time_of_any_zone_is_a_moment(self):
        summer = datetime(2026, 5, 25, 14, 0, 0, 1, tzinfo=timezone(timedelta(hours=2)))
        self.assertEqual(column("timestamp", [summer]).values(), [NOON])


class Read(unittest.TestCase):
    def test_days_that_python_does_not_have_are_told(self):
        made = column("date", [0, 3_000_000])
        values, bad = made.read()
        self.assertEqual(values, [date(1970, 1, 1), None])
        self.assertEqual(bad, {1: "a date outside of the years 1 to 9999"})
        with self.assertRaisesRegex(ValueError, "column `c` has a date outside"):
            made.values()

    def test_columns_of_other_types_have_no_numbers_and_no_offsets(self):
        with self.assertRaises(TypeError):
            column("utf8", ["a"]).numbers
        with self.assertRaises(TypeError):
            column("int64", [1]).offsets

    def test_a_type_is_read_as_it_is_written(self):
        for text in VALUES:
            self.assertEqual(str(types.parse(text)), text)
        for text in ("int32", "decimal(39,2)", "decimal(4,5)", "decimal(0,0)", "decimal"):
            with self.assertRaisesRegex(Error, "is not a type"):
                types.parse(text)


class Json(unittest.TestCase):
    def test_a_value_survives_json(self):
        cases = [
            ("true", "boolean"),
            ("-9223372036854775808", "int64"),
            ("0.1", "float64"),
            ("0.00001", "float64"),
            ("-0.00001234", "float64"),
            ("1e-6", "float64"),
            ("1.5e+16", "float64"),
            ("-12.30", "decimal(10,2)"),
            ("-5", "decimal(10,0)"),
            ("99999999999999999999999999999999999.999", "decimal(38,3)"),
            ('"2024-02-29"', "date"),
            ('"10000-01-01"', "date"),
            ('"2024-02-29T23:59:59.000001Z"', "timestamp"),
            ('"1969-12-31T23:59:59.500Z"', "timestamp"),
            ('"a \\"quoted\\" \\u0001 \u00e9 text"', "utf8"),
            ('"00ff"', "binary"),
            ('{"a":[1,2.50]}', "json"),
            ("null", "int64"),
        ]
        for text, data_type in cases:
            with self.subTest(text, data_type=data_type):
                value = jsontext.read(text, types.parse(data_type))
                self.assertEqual(jsontext.write(column(data_type, [value])), [text])

    def test_what_does_not_fit_exactly_is_refused(self):
        cases = [
            ("1", "boolean"),
            ("1.5", "int64"),
            ("-0", "int64"),
            ("9223372036854775808", "int64"),
            ('"1"', "int64"),
            ("1e400", "float64"),
            ("1.234", "decimal(10,2)"),
            ("1e2", "decimal(10,2)"),
            ("123456789.5", "decimal(10,2)"),
            ('"2023-02-29"', "date"),
            ('"2024-02-29T24:00:00Z"', "timestamp"),
            ("7", "utf8"),
            ('"\\ud800"', "utf8"),
            ('"0"', "binary"),
            ('"0 0f"', "binary"),
        ]
        for text, data_type in cases:
            with self.subTest(text, data_type=data_type), self.assertRaises(ValueError) as error:
                jsontext.read(text, types.parse(data_type))
            self.assertEqual(str(error.exception), f"{text} is not {data_type}")
        with self.assertRaisesRegex(ValueError, f"^{'9' * 40}... is not int64"):
            jsontext.read("9" * 50, types.parse("int64"))

    def test_members_stand_as_they_stood(self):
        text = ' { "a" : 1.0 , "b":[ {"c" : [] } , "}" ],"\\u0061b":"\\"", "a":{} } '
        self.assertEqual(jsontext.members(text), {"a": "{}", "b": '[ {"c" : [] } , "}" ]', "ab": '"\\""'})
        self.assertEqual(jsontext.members("{}"), {})
        deep = "[" * 5000 + "]" * 5000
        self.assertEqual(jsontext.members(f'{{"a":{deep}}}'), {"a": deep})

    def test_what_is_no_object_is_refused(self):
        for text in (
            *("", "[1]", "{", '{"a"}', '{"a":}', '{"a":1,}', '{"a":1} x', '{"a":[1,]}', '{"a":[1}', '{"a":{"b"}}'),
            *('{"a":NaN}', '{"a":01}', '{"a":"\t"}', '{"a":"\\x"}', "{'a':1}", '{"\\ud800":1}', '{"a":[1'),
        ):
            with self.subTest(text), self.assertRaises(ValueError):
                jsontext.members(text)

    def test_days_are_those_of_the_calendar(self):
        for number in range(-719_162, 2_932_896, 97):
            day = types.date_of(number)
            self.assertEqual(jsontext.days(day.isoformat()), number)
            self.assertEqual(jsontext.write(column("date", [number])), [f'"{day.isoformat()}"'])


if __name__ == "__main__":
    unittest.main()
