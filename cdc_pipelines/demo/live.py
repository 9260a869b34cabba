"""Live writes, and how long until they are visible on the target: measured from the source's COMMIT."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
import pymysql

from cdc_pipelines.demo.scene import DemoFailedError

PATIENCE_S = 20.0
_POLL_S = 0.002


@dataclass(frozen=True)
class Visible:
    """Milliseconds from COMMIT on the source until a reader of the target sees the change."""

    what: str
    times_ms: list[float]

    @property
    def median_ms(self) -> float:
        return statistics.median(self.times_ms)

    @property
    def slowest_ms(self) -> float:
        return max(self.times_ms)


class LiveWrites:
    """Does one kind of change at a time and watches the target for it."""

    def __init__(self, source: pymysql.Connection, target: psycopg.Connection) -> None:
        self._source = source
        self._target = target
        self._mark = int(time.time() * 1000)

    def measure(self, rounds: int) -> list[Visible]:
        """Each kind of change, `rounds` times. Raises DemoFailedError if one is not seen in time, or seen torn."""
        self._insert()  # not counted: the first change also wakes what slept
        kinds: list[tuple[str, Callable[[], float]]] = [
            ("INSERT", self._insert),
            ("UPDATE", self._update),
            ("DELETE", self._delete),
            ("transaction over 4 tables", self._order),
        ]
        return [Visible(what, [change() for _ in range(rounds)]) for what, change in kinds]

    def _insert(self) -> float:
        self._mark += 1
        return self._visible(
            "INSERT",
            [("INSERT INTO customers (email, full_name, notes, created_at) VALUES (%s, 'Live 👋', 'a\tb\\n', "
              "UTC_TIMESTAMP(6))", (self._email,))],
            "SELECT count(*) FROM customers WHERE email = %s", (self._email,), (1,),
        )

    def _update(self) -> float:
        """Update the customer that was inserted last."""
        note = f"updated at {time.time_ns()}"
        return self._visible(
            "UPDATE",
            [("UPDATE customers SET notes = %s WHERE email = %s", (note, self._email))],
            "SELECT count(*) FROM customers WHERE email = %s AND notes = %s", (self._email, note), (1,),
        )

    def _delete(self) -> float:
        """Delete the customers that were inserted, one at a time."""
        email, self._mark = self._email, self._mark - 1
        return self._visible(
            "DELETE",
            [("DELETE FROM customers WHERE email = %s", (email,))],
            "SELECT count(*) FROM customers WHERE email = %s", (email,), (0,),
        )

    def _order(self) -> float:
        """An order, its two lines, its payment and the stock: all at once or not at all."""
        note = f"live order {time.time_ns()}"
        reference = time.time_ns().to_bytes(16, "big")
        return self._visible(
            "transaction",
            [
                ("INSERT INTO orders (customer_id, status, note, placed_at) VALUES (1, 'paid', %s, UTC_TIMESTAMP(6))",
                 (note,)),
                ("SET @live_order = LAST_INSERT_ID()", ()),
                ("INSERT INTO order_items (order_id, line_no, product_id, quantity, unit_price) "
                 "VALUES (@live_order, 1, 1, 2, 9.90), (@live_order, 2, 2, 1, 19.90)", ()),
                ("UPDATE inventory SET reserved = @live_order WHERE product_id = 1 AND warehouse = 'LIS'", ()),
                ("INSERT INTO payments (order_id, method, amount, reference) VALUES (@live_order, 'card', 39.70, %s)",
                 (reference,)),
            ],
            # One statement reads one state of the target.
            "SELECT count(*), coalesce(sum((SELECT count(*) FROM order_items WHERE order_id = o.id)), 0), "
            "coalesce(sum((SELECT count(*) FROM payments WHERE reference = %s)), 0), "
            "coalesce(sum((SELECT count(*) FROM inventory WHERE reserved = o.id)), 0) "
            "FROM orders AS o WHERE note = %s",
            (reference, note), (1, 2, 1, 1), before=(0, 0, 0, 0),
        )

    @property
    def _email(self) -> str:
        return f"live{self._mark}@mail.example"

    def _visible(
        self,
        what: str,
        changes: list[tuple[str, tuple[object, ...]]],
        question: str,
        parameters: tuple[object, ...],
        wanted: tuple[int, ...],
        before: tuple[int, ...] | None = None,
    ) -> float:
        """Commit the changes in one transaction and ask until the answer is `wanted`; milliseconds.

        With `before` given, an answer that is neither is a state in which the source never was.
        """
        self._source.begin()
        with self._source.cursor() as cursor:
            for statement, values in changes:
                cursor.execute(statement, values)
        self._source.commit()
        committed = time.monotonic()
        while True:
            answer = self._target.execute(question, parameters).fetchone()
            elapsed = time.monotonic() - committed
            seen = tuple(int(number) for number in answer or ())
            if seen == wanted:
                return elapsed * 1000
            if before is not None and seen != before:
                raise DemoFailedError(f"a transaction was seen torn on the target: {seen} instead of {wanted}")
            if elapsed > PATIENCE_S:
                raise DemoFailedError(f"{what}: not visible on the target after {PATIENCE_S:.0f} s")
            time.sleep(_POLL_S)
