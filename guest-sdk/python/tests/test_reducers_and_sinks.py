"""Reducers and sinks, and the choice of a module's plugin."""

import io
import json
import types
import unittest
from contextlib import redirect_stderr
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

from wasmill import Batch, Columns, Delivery, Error, ErrorKind, Groups, Sink, context, log, reducer, testing
from wasmill.guest import find
from wasmill.keyed import Keyed
from wasmill.reducer import Reducer
from wasmill.transform import Transform
from wasmill.wit import Context


@dataclass
class Stats:
    total: int
    price: Decimal
    largest: float


def subtract(total: Stats, gone: Stats) -> Stats:
    return Stats(total.total - gone.total, total.price - gone.price, total.largest - gone.largest)


@reducer.reduce(inverse=subtract)
def add(a: Stats, b: Stats) -> Stats:
    return Stats(a.total + b.total, a.price + b.price, a.largest + b.largest)


@dataclass
class Number:
    n: int


@reducer.columns
def total(groups: Groups[Number]) -> Columns[Number]:
    numbers = groups["n"].numbers
    return Columns({"n": [sum(numbers[rows]) for rows in groups.groups()]})


@reducer.reduce
def difference(a: Number, b: Number) -> Number:
    return Number(a.n - b.n)


@dataclass
class Modulus:
    modulus: int


@reducer.reduce(inverse=lambda config, a, b: Number((a.n - b.n) % config.modulus))
def modular(config: Modulus, a: Number, b: Number) -> Number:
    return Number((a.n + b.n) % config.modulus)


SCHEMA = {"total": "int64", "price": "decimal(10,2)", "largest": "float64"}


class Reducers(unittest.TestCase):
    def test_rows_and_results_have_the_same_columns(self):
        rows = [{"total": n, "price": Decimal(n), "largest": 0.1 * n} for n in range(1, 6)]
        run = testing.reducer(add, rows=rows, schema=SCHEMA, groups=[4, 1])
        self.assertEqual(run.rows[0]["total"], 10)
        self.assertEqual(run.rows[1], rows[4])
        self.assertTrue(run.plan.invertible)

    def test_columns_are_reduced_at_once(self):
        run = testing.reducer(total, rows=[Number(n) for n in (1, 2, 3)], groups=[2, 1])
        self.assertEqual(run.rows, [{"n": 3}, {"n": 3}])
        self.assertFalse(run.plan.invertible)

    def test_a_configuration_comes_first(self):
        run = testing.reducer(modular, rows=[Number(5), Number(4)], config={"modulus": 7})
        self.assertEqual(run.rows, [{"n": 2}])

    def test_a_cut_that_makes_a_difference_is_found(self):
        with self.assertRaisesRegex(testing.ContractBroken, r"reduced in parts of \[1, 2\] rows"):
            testing.reducer(difference, rows=[Number(n) for n in (1, 2, 3)])

    def test_a_wrong_inverse_is_found(self):
        wrong = reducer.reduce(inverse=lambda total, gone: total)(add.function)
        rows = [Stats(1, Decimal(1), 1.0)] * 2
        with self.assertRaisesRegex(testing.ContractBroken, "without the first 1 rows"):
            testing.reducer(wrong, rows=[vars(row) for row in rows], schema=SCHEMA)

    def test_nulls_and_numbers_that_do_not_fit_are_errors_of_the_call(self):
        rows = [{"n": 1}, {"n": None}, {"n": None}]
        for plugin in (total, difference):
            with self.assertRaisesRegex(Error, "column `n` is null") as error:
                testing.reducer(plugin, rows=rows, schema={"n": "int64?"})
            self.assertEqual((error.exception.kind, error.exception.rows), (ErrorKind.REJECTED, [1, 2]))
        with self.assertRaisesRegex(Error, "column `n`: "):
            testing.reducer(total, rows=[Number(2**62), Number(2**62)])

    def test_what_is_raised_is_told_with_its_place(self):
        @reducer.reduce
        def divide(a: Number, b: Number) -> Number:
            return Number(a.n // b.n)

        with self.assertRaisesRegex(Error, r"^ZeroDivisionError: .*line \d+, in divide\)$"):
            testing.reducer(divide, rows=[Number(1), Number(0)])

    def test_without_an_inverse_there_is_none(self):
        with self.assertRaisesRegex(Error, "this reducer has no inverse"):
            total.open("", [column_of_n]).inverse(Context(), 0, [], [])


column_of_n = testing.given.fields_of({"n": "int64"})[0]


@dataclass
class Folder:
    folder: str
    refuse: int = -1


STORE: dict[str, Any] = {}


class Staged(Sink[Folder]):
    """Stages rows, and renames them in `commit`."""

    delivery = Delivery.TWO_PHASE

    @classmethod
    def columns(cls, config, input):
        return ["n", config.folder]

    def begin(self, idempotency_key: str) -> None:
        self.key, self.rows = idempotency_key, []

    def write(self, batch: Batch[Any]) -> None:
        STORE["tries"] = STORE.get("tries", 0) + 1
        if STORE["tries"] < STORE.get("from", 0):
            raise Error.retryable("busy", after=timedelta(seconds=7))
        for at, row in enumerate(batch.json()):
            if at == self.config.refuse:
                batch.reject(at, "refused")
            else:
                self.rows.append(row)

    def prepare(self) -> bytes:
        STORE[f".{self.key}"] = self.rows
        return json.dumps([self.key, context().epoch]).encode()

    def commit(self, epoch: int, tokens) -> None:
        for token in tokens:
            key, _ = json.loads(token)
            if f".{key}" in STORE:
                STORE[key] = STORE.pop(f".{key}")

    def abort(self, epoch: int, tokens) -> None:
        for token in tokens:
            STORE.pop(f".{json.loads(token)[0]}", None)


ROWS = [{"n": 1, "b": "x", "c": 0.5}, {"n": 2, "b": None, "c": 0.5}]
FIELDS = {"b": "utf8?", "c": "float64", "n": "int64"}


class Sinks(unittest.TestCase):
    def setUp(self):
        STORE.clear()

    def run_sink(self, **options):
        config = {"folder": "b"} | options.pop("config", {})
        return testing.sink(Staged, rows=ROWS, schema=FIELDS, config=config, key="p-7-0", **options)

    def test_rows_are_visible_when_they_are_committed_and_once(self):
        run = self.run_sink(context=Context(epoch=7))
        self.assertEqual(run.plan.columns, ["n", "b"])
        self.assertEqual(run.token, b'["p-7-0", 7]')
        self.assertNotIn("p-7-0", STORE)
        run.commit(7)
        run.commit(7)
        self.assertEqual(STORE["p-7-0"], ['{"n":1,"b":"x"}', '{"n":2,"b":null}'])

    def test_rows_that_are_aborted_are_gone(self):
        run = self.run_sink()
        run.abort(7)
        run.abort(7)
        self.assertEqual(set(STORE), {"tries"})

    def test_a_row_that_is_refused_is_told(self):
        run = self.run_sink(config={"refuse": 1})
        self.assertEqual(run.rejected, [(1, "refused")])
        self.assertEqual(run.sink.rows, ['{"n":1,"b":"x"}'])

    def test_a_busy_receiver_is_tried_again(self):
        STORE["from"] = 2
        with self.assertRaisesRegex(Error, "busy") as error:
            self.run_sink()
        self.assertEqual((error.exception.kind, error.exception.after_ms), (ErrorKind.RETRYABLE, 7000))
        STORE["tries"] = 0
        self.run_sink(retries=1)
        self.assertEqual(STORE["tries"], 2)

    def test_columns_and_settings_are_checked(self):
        with self.assertRaisesRegex(Error, "the input has no column `bb`; did you mean `b`?"):
            self.run_sink(config={"folder": "bb"})
        with self.assertRaisesRegex(Error, "no setting `foldr`; did you mean `folder`?"):
            self.run_sink(config={"foldr": "b"})

    def test_a_sink_says_which_settings_it_has(self):
        class Silent(Sink):
            def write(self, batch):
                pass

        class Unsaid(Sink[TypeVar("C")]):
            pass

        self.assertEqual(testing.sink(Silent, rows=ROWS, schema=FIELDS).rejected, [])
        with self.assertRaisesRegex(Error, "this plugin has none"):
            testing.sink(Silent, schema=FIELDS, config={"folder": "b"})
        with self.assertRaisesRegex(TypeError, r"Sink\[Config\], or Sink\[None\]"):
            testing.sink(Unsaid, schema=FIELDS)

    def test_a_marker_sink_holds_nothing_unless_it_says_so(self):
        self.assertIsNone(self.run_sink().sink.last_epoch(0))


def module(**values):
    made = types.ModuleType(__name__)
    vars(made).update(values)
    return made


class Modules(unittest.TestCase):
    def test_the_plugin_of_a_module_is_the_only_one(self):
        self.assertIs(find(module(Stats=Stats, add=add), Reducer), add)
        self.assertIs(find(module(Sink=Sink, Staged=Staged), Sink), Staged)
        with self.assertRaisesRegex(TypeError, "has none"):
            find(module(Sink=Sink), Sink)
        with self.assertRaisesRegex(TypeError, "has `add`, `total`"):
            find(module(add=add, total=total), Reducer)
        for kind, name in ((Transform, "transform"), (Keyed, "keyed plugin"), (Sink, "sink")):
            with self.assertRaisesRegex(TypeError, f"`add` .* is no {name}"):
                find(module(add=add), kind)


class Log(unittest.TestCase):
    def test_what_is_printed_are_lines(self):
        lines = []
        with log.written_to(lambda level, line: lines.append((level, line))):
            print("one", 2, "\nthree", file=log.Printed(log.WARN))
        self.assertEqual(lines, [(log.WARN, "one 2 "), (log.WARN, "three")])

    def test_lines_go_to_standard_error_otherwise(self):
        with redirect_stderr(io.StringIO()) as written:
            for say in (log.trace, log.debug, log.info, log.warn, log.error):
                say("x")
        self.assertEqual(written.getvalue().split("\n")[:-1], [f"{level}: x" for level in log.LEVELS])


if __name__ == "__main__":
    unittest.main()
