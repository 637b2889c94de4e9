"""Keyed plugins, over epochs as the host runs them."""

import unittest
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from wasmill import Context, Error, Reject, Rows, State, keyed, testing
from wasmill.wit import Buffers, Group, KeyedBatch


@dataclass
class Customer:
    customer: str


@dataclass
class Order:
    amount: int


@dataclass
class Account:
    spent: int


@dataclass
class Named:
    name: str
    spent: int


@keyed.update
def spend(key: Customer, orders: Rows[Order], state: State[Account]) -> Iterator[Named]:
    before = state.value.spent if state.value else 0
    for at, order in enumerate(orders):
        if order.amount < 0:
            orders.reject(at, "the amount is negative")
        if order.amount == 13:
            raise Reject("an unlucky order")
        before += max(order.amount, 0)
    state.put(Account(before))
    yield Named(key.customer, before)


@keyed.update(carry=True)
def forget(key: None, orders: Rows[None], state: State[Account]) -> Iterator[Account]:
    if state.timed_out:
        yield state.value
        state.remove()
    elif len(orders) == 3:
        state.clear_timer()
    else:
        state.put(Account(len(orders)))
        state.timeout_after(timedelta(seconds=10))


@dataclass
class Wide:
    spent: int
    orders: int | None


def widen(account: Account) -> Wide:
    return Wide(account.spent, None)


@keyed.update(carry=True, version=2, migrate={1: widen})
def wide(key: None, orders: Rows[Order], state: State[Wide]) -> Iterator[Wide]:
    before = state.value or Wide(0, 0)
    now = Wide(before.spent + sum(orders["amount"]), (before.orders or 0) + len(orders))
    state.put(now)
    yield now


@dataclass
class Click:
    page: str


@keyed.update(carry=True, whole_groups=True)
def join(key: None, rows: tuple[Rows[Order], Rows[Click]], state: State[None]) -> Iterator[Named]:
    orders, clicks = rows
    for click in clicks:
        yield Named(click.page, sum(orders["amount"]))


SCHEMA = {"customer": "utf8", "amount": "int64?"}


def orders(*pairs):
    return [{"customer": customer, "amount": amount} for customer, amount in pairs]


class States(unittest.TestCase):
    def test_a_state_goes_on_from_epoch_to_epoch(self):
        run = testing.keyed(spend, ["customer"], SCHEMA)
        first = run.epoch(0, orders(("ann", 5), ("bob", 1), ("ann", 2)))
        self.assertEqual(first.rows(), [{"name": "ann", "spent": 7}, {"name": "bob", "spent": 1}])
        second = run.epoch(1000, orders(("bob", 1)))
        self.assertEqual(second.rows(), [{"name": "bob", "spent": 2}])
        self.assertEqual(run.state, [{"customer": "ann", "spent": 7}, {"customer": "bob", "spent": 2}])

    def test_rows_are_turned_away_one_by_one(self):
        run = testing.keyed(spend, ["customer"], SCHEMA)
        epoch = run.epoch(0, orders(("bob", 1), ("ann", None), ("ann", -1), ("ann", 3)))
        self.assertEqual(epoch.rejected(), [(1, "column `amount` is null"), (2, "the amount is negative")])
        self.assertEqual(epoch.rows(), [{"name": "ann", "spent": 3}, {"name": "bob", "spent": 1}])

    def test_an_error_turns_all_rows_of_the_key_away_and_keeps_its_state(self):
        run = testing.keyed(spend, ["customer"], SCHEMA)
        run.epoch(0, orders(("ann", 1)))
        epoch = run.epoch(1, orders(("ann", 2), ("bob", 2), ("ann", 13), ("ann", None)))
        unlucky = "an unlucky order"
        self.assertEqual(epoch.rejected(), [(0, unlucky), (2, unlucky), (3, "column `amount` is null")])
        self.assertEqual(epoch.rows(), [{"name": "bob", "spent": 2}])
        self.assertEqual(run.state, [{"customer": "ann", "spent": 1}, {"customer": "bob", "spent": 2}])

    def test_parts_see_what_the_part_before_left(self):
        run = testing.keyed(spend, ["customer"], SCHEMA, parts_of=2)
        epoch = run.epoch(0, orders(("ann", 1), ("ann", 2), ("ann", 3), ("bob", 1)))
        self.assertEqual([row["spent"] for row in epoch.rows()], [3, 1, 6])

    def test_a_state_that_does_not_fit_is_an_error(self):
        @keyed.update(carry=True)
        def put(key: None, rows: Rows[Order], state: State[Account]) -> Iterator[Order]:
            state.put(Account(2**63) if rows[0].amount else rows[0])
            yield from ()

        run = testing.keyed(put, ["customer"], SCHEMA)
        with self.assertRaisesRegex(Error, "a state that does not fit: column `spent`: a number beyond int64"):
            run.epoch(0, orders(("ann", 1)))
        with self.assertRaisesRegex(Error, "a state that does not fit: a row is a `Order`, not a `Account`"):
            run.epoch(0, orders(("ann", 0)))

    def test_a_row_that_does_not_fit_is_an_error(self):
        run = testing.keyed(wide, ["customer"], SCHEMA)
        with self.assertRaisesRegex(Error, "column `spent`: a number beyond int64"):
            run.epoch(0, orders(("ann", 2**63 - 1), ("ann", 1)))

    def test_what_nobody_remembers_cannot_be_put(self):
        @keyed.update(carry=True)
        def put(key: None, rows: Rows[Order], state: State[None]) -> Iterator[Order]:
            state.put(None)
            yield from ()

        with self.assertRaisesRegex(Error, "its states have no columns"):
            testing.keyed(put, ["customer"], SCHEMA).epoch(0, orders(("ann", 1)))

    def test_a_call_that_changes_nothing_says_nothing(self):
        @keyed.update(carry=True)
        def look(key: None, rows: Rows[None], state: State[Account]) -> Iterator[Order]:
            yield Order(len(rows))

        plan_keys = [field for field in testing.keyed(look, ["customer"], SCHEMA)._keys]
        opened = look.open("", plan_keys, [[]])
        batch = KeyedBatch(1, b"\x0c", [], [Buffers()], [Group(b"\x02\0\0\0", [])])
        changes = opened.process(Context(), batch)
        self.assertEqual((changes.ops, changes.state, changes.timers, changes.rejected), (b"", [], b"", []))
        self.assertEqual((changes.outputs[0].origin, changes.outputs[0].columns[0].data), ("same", b"\x02" + bytes(7)))


class Timers(unittest.TestCase):
    def test_a_key_without_rows_is_called_when_its_timer_is_due(self):
        run = testing.keyed(forget, ["customer"], SCHEMA)
        run.epoch(0, orders(("ann", 1), ("bob", 1)))
        self.assertEqual(run.timers, [({"customer": "ann"}, 10_000), ({"customer": "bob"}, 10_000)])
        run.epoch(5000, orders(("bob", 1)))
        self.assertEqual(run.epoch(10_000, []).rows(), [{"customer": "ann", "spent": 1}])
        self.assertEqual(run.timers, [({"customer": "bob"}, 15_000)])
        run.epoch(11_000, orders(*[("bob", 1)] * 3))
        self.assertEqual((run.timers, len(run.state)), ([], 1))

    def test_a_key_without_state_has_no_timer(self):
        @keyed.update(carry=True)
        def wait(key: None, rows: Rows[None], state: State[Account]) -> Iterator[Account]:
            state.set_timer(5)
            yield from ()

        with self.assertRaisesRegex(Error, "set a timer for a key of which nothing is remembered"):
            testing.keyed(wait, ["customer"], SCHEMA).epoch(0, orders(("ann", 1)))

    def test_a_reason_without_a_row_is_an_error(self):
        @keyed.update(carry=True)
        def fail(key: None, rows: Rows[None], state: State[Account]) -> Iterator[Account]:
            if state.timed_out:
                raise Reject("too late")
            state.put(Account(0))
            state.set_timer(5)
            yield from ()

        run = testing.keyed(fail, ["customer"], SCHEMA)
        run.epoch(0, orders(("ann", 1)))
        with self.assertRaisesRegex(Error, "too late"):
            run.epoch(5, [])


class Versions(unittest.TestCase):
    def test_states_are_migrated(self):
        old = testing.keyed(spend, ["customer"], SCHEMA)
        old.epoch(0, orders(("ann", 5)))
        run = testing.keyed(wide, ["customer"], SCHEMA, start_from=old)
        self.assertEqual(run.state, [{"customer": "ann", "spent": 5, "orders": None}])
        self.assertEqual(run.epoch(1, orders(("ann", 1))).rows(), [{"customer": "ann", "spent": 6, "orders": 1}])

    def test_there_is_no_way_from_an_unknown_version(self):
        with self.assertRaisesRegex(Error, "cannot take over state of version 3"):
            wide.migrate(3, [], 0, [])
        with self.assertRaisesRegex(testing.ContractBroken, "does not migrate from version 2"):
            testing.keyed(spend, ["customer"], SCHEMA, start_from=testing.keyed(wide, ["customer"], SCHEMA))


class Inputs(unittest.TestCase):
    CLICKS = {"page": "utf8", "customer": "utf8"}

    def test_rows_of_several_inputs_come_together(self):
        run = testing.keyed(join, ["customer"], SCHEMA, self.CLICKS)
        self.assertTrue(run.plan.whole_groups)
        clicks = [{"customer": "bob", "page": "a"}, {"customer": "ann", "page": "b"}]
        epoch = run.epoch(0, orders(("ann", 1), ("ann", None), ("ann", 2), ("cid", 1)), clicks)
        ann, bob = {"customer": "ann", "name": "b", "spent": 3}, {"customer": "bob", "name": "a", "spent": 0}
        self.assertEqual(epoch.rows(), [ann, bob])
        self.assertEqual((epoch.rejected(0), epoch.rejected(1)), ([(1, "column `amount` is null")], []))

    def test_what_is_wrong_with_an_input_names_it(self):
        with self.assertRaisesRegex(Error, "^the step has 1 inputs, and the plugin reads 2$"):
            testing.keyed(join, ["customer"], SCHEMA)
        with self.assertRaisesRegex(Error, "^input 2: the plugin reads column `page`"):
            testing.keyed(join, ["customer"], SCHEMA, SCHEMA)
        with self.assertRaisesRegex(Error, "^key: the plugin reads column `customer`"):
            testing.keyed(spend, ["amount"], SCHEMA)


if __name__ == "__main__":
    unittest.main()
