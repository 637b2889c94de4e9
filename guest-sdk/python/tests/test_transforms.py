"""Transforms of every shape, run as `testing` runs them: through the buffers and back."""

import unittest
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated

from wasmill import Batch, Columns, Context, Error, Field, Reject, column, context, log, testing, transform
from wasmill.wit import Buffers


@dataclass
class Line:
    line: str


@dataclass
class Number:
    number: int


@dataclass
class Word:
    word: Annotated[str, column("the word")]


@dataclass
class Maybe:
    n: int | None
    note: str | None


@transform.flat_map(ports={"numbers": Number, "words": Word})
def sort(row: Line) -> Iterator[Number | Word]:
    for word in row.line.split(" "):
        if word == "!":
            raise Reject("an exclamation mark")
        yield Number(int(word)) if word.isdigit() else Word(word)


@transform.columns(ports={"numbers": Number, "words": Word})
def sort_columns(batch: Batch[Line]) -> dict[str, Columns]:
    lines = batch["line"].texts()
    numbers = [at for at, line in enumerate(lines) if line.isdigit()]
    words = [at for at, line in enumerate(lines) if line.isalpha()]
    for at, line in enumerate(lines):
        if line == "!":
            batch.reject(at, "an exclamation mark")
    return {
        "words": Columns({"word": [lines[at] for at in words]}, words),
        "numbers": Columns({"number": [int(lines[at]) for at in numbers]}, numbers),
    }


@transform.map(carry=True)
def measure(row: Line) -> Number | None:
    if row.line == "?":
        raise Reject("a question")
    return Number(10 ** len(row.line)) if row.line else None


@transform.filter
def long(row: Line) -> bool:
    return len(row.line) > 10 // len(row.line)


@transform.columns
def double(batch: Batch[Number]) -> Columns[Number]:
    return Columns({"number": [2 * number for number in batch["number"].numbers]})


@transform.columns
def total(batch: Batch[Number]) -> Columns[Number]:
    return Columns({"number": [sum(batch["number"].numbers)]}, "none")


@transform.columns(carry=True)
def even(batch: Batch[Number]) -> Columns:
    return Columns({}, [at for at, number in enumerate(batch["number"].numbers) if number % 2 == 0])


@transform.map
def same(row: Maybe) -> Maybe:
    return row


@dataclass
class Config:
    times: int


@transform.map
def stamp(config: Config, row: Line) -> Number:
    log.info(row.line)
    return Number(context().epoch * config.times)


@transform.map(columns=lambda config: [Field("a", "decimal(4,2)"), Field("b", "date", True)])
def declared(config: Config, row: Line) -> tuple:
    return (Decimal(row.line), date(2026, 5, 25) if config.times else None)


def run(plugin, *lines, **options):
    return testing.transform(plugin, rows=[Line(line) for line in lines], **options)


class Ports(unittest.TestCase):
    def test_each_port_has_its_own_rows_and_parents(self):
        made = run(sort, "1 a 2", "b", "3")
        self.assertEqual([port.name for port in made.plan.ports], ["numbers", "words"])
        self.assertEqual(made.rows("numbers"), [{"number": 1}, {"number": 2}, {"number": 3}])
        self.assertEqual(made.parents("numbers"), [0, 0, 2])
        self.assertEqual(made.rows("words"), [{"the word": "a"}, {"the word": "b"}])
        self.assertEqual(made.parents("words"), [0, 1])

    def test_a_rejected_row_leaves_nothing_in_any_port(self):
        made = run(sort, "1 a", "2 b !", "3 c")
        self.assertEqual(made.rejected, [(1, "an exclamation mark")])
        self.assertEqual(made.parents("numbers"), [0, 2])
        self.assertEqual(made.parents("words"), [0, 2])

    def test_columns_go_to_ports_too(self):
        made = run(sort_columns, "1", "a", "!", "3")
        self.assertEqual(made.rows("numbers"), [{"number": 1}, {"number": 3}])
        self.assertEqual(made.parents("words"), [1])
        self.assertEqual(made.rejected, [(2, "an exclamation mark")])

    def test_a_row_of_no_port_is_told(self):
        @transform.flat_map(ports={"numbers": Number, "words": Word})
        def lines(row: Line) -> Iterator[Line]:
            yield row

        with self.assertRaisesRegex(Error, "made a row that is a `Line`, and its ports are of Number, Word"):
            run(lines, "a")


class Shapes(unittest.TestCase):
    def test_a_map_drops_and_rejects_rows(self):
        made = run(measure, "ab", "", "?", "a")
        self.assertEqual(made.rows(), [{"line": "ab", "number": 100}, {"line": "a", "number": 10}])
        self.assertEqual(made.rejected, [(2, "a question")])
        self.assertEqual(made.parents(), [0, 3])

    def test_a_value_that_does_not_fit_turns_its_row_away(self):
        made = run(measure, "ab", "x" * 19, "a")
        self.assertEqual(made.rejected, [(1, "column `number`: a number beyond int64")])
        self.assertEqual(made.parents(), [0, 2])

    def test_an_error_of_the_function_turns_its_row_away_and_says_where(self):
        made = run(long, "long enough", "", "short")
        self.assertEqual([row["line"] for row in made.rows()], ["long enough", "short"])
        ((row, reason),) = made.rejected
        self.assertEqual(row, 1)
        self.assertRegex(reason, r"^ZeroDivisionError: .* \(test_transforms.py, line \d+, in long\)$")

    def test_a_map_of_every_row_says_so(self):
        opened = same.open("", [Field("n", "int64", True), Field("note", "utf8", True)])
        columns = [Buffers(data=bytes(16)), Buffers(offsets=bytes(12))]
        produced = opened.process(Context(), 2, columns)
        self.assertEqual(produced.outputs[0].origin, "same")

    def test_nulls_pass_where_there_is_room_for_them(self):
        rows = [Maybe(None, "a"), Maybe(1, None)]
        made = testing.transform(same, rows=rows)
        self.assertEqual(made.rows(), [{"n": None, "note": "a"}, {"n": 1, "note": None}])

    def test_a_null_without_room_turns_the_row_away(self):
        schema = {"number": "int64?"}
        rows = [{"number": None}, {"number": 3}, {"number": 4}]
        for plugin, parents in ((double, [1, 2]), (even, [2])):
            made = testing.transform(plugin, rows=rows, schema=schema)
            self.assertEqual(made.rejected, [(0, "column `number` is null")])
            self.assertEqual(made.parents(), parents)
        made = testing.transform(double, rows=rows[::-1], schema=schema)
        self.assertEqual((made.rows(), made.parents()), ([{"number": 8}, {"number": 6}], [0, 1]))

    def test_columns_keep_rows_or_sum_them_up(self):
        numbers = [Number(1), Number(2), Number(4)]
        self.assertEqual(testing.transform(even, rows=numbers).rows(), [{"number": 2}, {"number": 4}])
        self.assertEqual(testing.transform(total, rows=numbers).rows(), [{"number": 7}])

    def test_very_many_rows_come_out_in_order(self):
        @transform.flat_map
        def letters(row: Line) -> Iterator[Word]:
            for letter in row.line:
                yield Word(letter)

        made = run(letters, "ab" * 10_000, "cd" * 10_000)
        self.assertEqual("".join(row["the word"] for row in made.rows()), "ab" * 10_000 + "cd" * 10_000)
        self.assertEqual(made.parents(), [0] * 20_000 + [1] * 20_000)

    def test_a_decorated_function_is_still_a_function(self):
        self.assertEqual(measure(Line("ab")), Number(100))
        self.assertEqual(measure.__name__, "measure")


class Settings(unittest.TestCase):
    def test_a_function_sees_its_configuration_and_the_context_of_its_call(self):
        made = run(stamp, "x", config={"times": 2}, context=Context(epoch=7))
        self.assertEqual(made.rows(), [{"number": 14}])
        self.assertEqual(made.logged, [(log.INFO, "x")])

    def test_a_plan_asks_for_no_column_that_is_not_read(self):
        schema = {"other": "utf8", "line": "json", "strange": "binary"}
        made = testing.transform(stamp, schema=schema, config={"times": 1})
        self.assertEqual(made.plan.columns, ["line"])

    def test_declared_columns_are_those_of_tuples(self):
        made = run(declared, "1.5", config={"times": 1})
        self.assertEqual(made.rows(), [{"a": Decimal("1.50"), "b": date(2026, 5, 25)}])
        made = run(declared, "1.505", config={"times": 0})
        self.assertEqual(made.rejected, [(0, "column `a`: 1.505 is not decimal(4,2)")])


class Mistakes(unittest.TestCase):
    """Those of the author are told when the module is imported."""

    def test_a_function_that_cannot_be_a_plugin_is_told(self):
        def three(a: Line, b: Line, c: Line) -> Line: ...
        def untyped(row) -> Line: ...
        def no_answer(row: Line) -> Iterator: ...
        def no_record(row: int) -> Line: ...

        for function in (three, untyped, no_answer, no_record):
            with self.subTest(function.__name__), self.assertRaises(TypeError):
                transform.flat_map(function)
        with self.assertRaises(TypeError):
            transform.map(open=Config)(measure.function)

    def test_a_field_of_no_type_is_told(self):
        @dataclass
        class Odd:
            value: complex

        @dataclass(kw_only=True)
        class Named:
            value: int

        def map_odd(row: Odd) -> Odd: ...
        def map_named(row: Named) -> Named: ...

        for function, cls in ((map_odd, Odd), (map_named, Named)):
            function.__annotations__ = {"row": cls, "return": cls}
            with self.assertRaises(TypeError):
                transform.map(function)

    def test_what_comes_back_is_checked(self):
        @transform.columns
        def wrong(batch: Batch[Number]) -> Columns[Number]:
            return Columns({"number": [1]}, [5])

        with self.assertRaisesRegex(testing.ContractBroken, "a parent names row 5 of 1"):
            testing.transform(wrong, rows=[Number(1)])

        @transform.columns
        def short(batch: Batch[Number]) -> Columns[Number]:
            return Columns({"number": [1]})

        with self.assertRaisesRegex(ValueError, "column `number` has 1 values for 2 rows"):
            testing.transform(short, rows=[Number(1), Number(2)])

        @transform.columns
        def other(batch: Batch[Number]) -> Columns[Number]:
            return Columns({"numbr": []})

        with self.assertRaisesRegex(TypeError, "columns `numbr`, and the port has `number`"):
            testing.transform(other, schema={"number": "int64"})


if __name__ == "__main__":
    unittest.main()
