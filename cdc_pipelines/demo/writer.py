"""A shop that is open: a seeded stream of transactions against the shop database, at a rate, in a thread.

Every kind of change that a pipeline must follow occurs: inserts, updates and deletes, changed keys, transactions
over several tables, updates of many rows, rolled-back transactions, changes of a table without a key.
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

import pymysql

from cdc_pipelines.demo.shop_rows import AWKWARD_TEXTS, WAREHOUSES

_LOCK_WAIT_TIMEOUT = 1205
_DEADLOCK = 1213
_STATES = ("new", "paid", "packed", "sent", "delivered", "cancelled")


class ShopWriter:
    """Writes to a shop made by `create_shop`.

        with ShopWriter(connect, seed=7, rate=200) as writer:
            ...                                   # the writer's thread is at work
        print(writer.transactions, writer.counts)

    `connect` opens the writer's own connection to the shop database. `rate` is in transactions a second; None is as
    fast as the server takes them. Without a thread, `write(n)` does n transactions here and now. The same seed on
    the same shop gives the same transactions.
    """

    def __init__(
        self, connect: Callable[[], pymysql.Connection], *, seed: int = 1, rate: float | None = 100.0
    ) -> None:
        self.counts: Counter[str] = Counter()
        """Committed transactions by kind; `abandon` counts those that were rolled back."""
        self.retries = 0
        """Transactions begun anew after a deadlock or a lock wait timeout."""
        self._connect = connect
        self._rate = rate
        self._random = random.Random(seed)
        self._kinds: list[tuple[Callable[[pymysql.cursors.Cursor], None], int]] = [
            (self._place_order, 25),
            (self._view_page, 15),
            (self._move_order_on, 14),
            (self._edit_customer, 12),
            (self._reprice, 8),
            (self._write_review, 7),
            (self._delete_review, 5),
            (self._cancel_order, 4),
            (self._welcome_customer, 4),
            (self._renumber_line, 3),
            (self._renumber_shipment, 2),
            (self._restock, 2),
            (self._end_view, 2),
            (self._forget_view, 1),
            (self._abandon, 2),
        ]
        self._connection: pymysql.Connection | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def transactions(self) -> int:
        """How many transactions were committed."""
        return sum(self.counts.values()) - self.counts["abandon"]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except Exception:
            if error is None:  # else what went wrong in the block first is what to tell
                raise

    def start(self) -> None:
        """Begin to write in a thread."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="shop-writer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its current transaction; raises what ended it before, if anything did."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def write(self, transactions: int = 1) -> None:
        """Do this many transactions in the caller's thread."""
        kinds, weights = zip(*self._kinds, strict=True)
        for _ in range(transactions):
            self._transact(self._random.choices(kinds, weights)[0])

    def _run(self) -> None:
        due = time.monotonic()
        try:
            while not self._stopping.is_set():
                self.write()
                if self._rate is not None:
                    due = max(due + 1 / self._rate, time.monotonic() - 1)  # catch up, but not by a long burst
                    self._stopping.wait(max(0.0, due - time.monotonic()))
        except BaseException as error:  # noqa: BLE001  handed to whoever calls stop()
            self._error = error

    def _transact(self, change: Callable[[pymysql.cursors.Cursor], None]) -> None:
        if self._connection is None:
            self._connection = self._connect()
        state = self._random.getstate()
        while True:
            try:
                self._connection.begin()
                with self._connection.cursor() as cursor:
                    change(cursor)
                if change == self._abandon:
                    self._connection.rollback()
                else:
                    self._connection.commit()
                break
            except pymysql.err.OperationalError as error:
                if error.args[0] not in (_LOCK_WAIT_TIMEOUT, _DEADLOCK):
                    raise
                self._connection.rollback()
                self._random.setstate(state)
                self.retries += 1
        self.counts[change.__name__.lstrip("_")] += 1

    def _text(self) -> str | None:
        return self._random.choice((*AWKWARD_TEXTS, None))

    def _any(self, cursor: pymysql.cursors.Cursor, table: str, column: str = "id") -> int:
        """Some existing key of a table: the first one from a random place on."""
        cursor.execute(f"SELECT MIN({column}), MAX({column}) FROM {table}")
        least, most = cursor.fetchone()
        cursor.execute(
            f"SELECT {column} FROM {table} WHERE {column} >= %s ORDER BY {column} LIMIT 1",
            (self._random.randint(least, most),),
        )
        return int(cursor.fetchone()[0])

    def _place_order(self, cursor: pymysql.cursors.Cursor) -> None:
        """One order over four tables: the order, its lines, the stock it takes, its payment."""
        cursor.execute(
            "INSERT INTO orders (customer_id, status, flags, discount, note, placed_at) "
            "VALUES (%s, 'paid', %s, %s, %s, UTC_TIMESTAMP(6))",
            (self._any(cursor, "customers"), self._random.choice(("", "gift", "gift,express")),
             self._random.choice((None, "5.00", "12.50")), self._text()),
        )
        order = cursor.lastrowid
        for line in range(1, self._random.randint(1, 5) + 1):
            product, quantity = self._any(cursor, "products"), self._random.randint(1, 4)
            cursor.execute(
                "INSERT INTO order_items (order_id, line_no, product_id, quantity, unit_price) "
                "SELECT %s, %s, id, %s, price FROM products WHERE id = %s",
                (order, line, quantity, product),
            )
            cursor.execute(
                "UPDATE inventory SET quantity = quantity - %s, reserved = reserved + %s "
                "WHERE product_id = %s AND warehouse = %s",
                (quantity, quantity, product, self._random.choice(WAREHOUSES)),
            )
        cursor.execute(
            "INSERT INTO payments (order_id, method, amount, reference, receipt, paid_at) "
            "SELECT order_id, 'card', SUM(quantity * unit_price), %s, %s, UTC_TIMESTAMP(3) FROM order_items "
            "WHERE order_id = %s GROUP BY order_id",
            (self._random.randbytes(16), json.dumps({"approved": True, "note": self._text()}), order),
        )

    def _move_order_on(self, cursor: pymysql.cursors.Cursor) -> None:
        cursor.execute(
            "UPDATE orders SET status = %s WHERE id = %s", (self._random.choice(_STATES), self._any(cursor, "orders"))
        )

    def _cancel_order(self, cursor: pymysql.cursors.Cursor) -> None:
        """Delete one order and all that hangs on it."""
        order = self._any(cursor, "orders")
        for table in ("order_items", "payments", "shipments"):
            cursor.execute(f"DELETE FROM {table} WHERE order_id = %s", (order,))
        cursor.execute("DELETE FROM orders WHERE id = %s", (order,))

    def _edit_customer(self, cursor: pymysql.cursors.Cursor) -> None:
        cursor.execute(
            "UPDATE customers SET notes = %s, tags = %s, newsletter = 1 - newsletter WHERE id = %s",
            (self._text(), self._random.choice(("", "vip", "vip,wholesale")), self._any(cursor, "customers")),
        )

    def _welcome_customer(self, cursor: pymysql.cursors.Cursor) -> None:
        cursor.execute(
            "INSERT INTO customers (email, full_name, birth_date, notes, created_at) "
            "VALUES (%s, 'Renée Wójcik 🙂', '1988-02-29', %s, UTC_TIMESTAMP(6))",
            (f"{self._random.getrandbits(96):024x}@mail.example", self._text()),
        )
        cursor.execute(
            "INSERT INTO addresses (customer_id, street, city, postcode, country, latitude, is_default) "
            "VALUES (%s, 'Große Straße 1', 'Zürich', '08001', 'CH', %s, 1)",
            (cursor.lastrowid, self._random.uniform(-90, 90)),
        )

    def _reprice(self, cursor: pymysql.cursors.Cursor) -> None:
        attributes = {"colour": "Slate", "sizes": [self._random.randint(30, 46), 0], "factor": self._random.random()}
        cursor.execute(
            "UPDATE products SET price = %s, attributes = %s WHERE id = %s",
            (f"{self._random.randint(1, 99_999) / 100:.2f}", json.dumps(attributes), self._any(cursor, "products")),
        )

    def _write_review(self, cursor: pymysql.cursors.Cursor) -> None:
        cursor.execute(
            "INSERT INTO reviews (product_id, customer_id, rating, title, body, created_at) "
            "VALUES (%s, NULL, %s, %s, %s, UTC_TIMESTAMP(6))",
            (self._any(cursor, "products"), self._random.randint(1, 5), self._text(), (self._text() or "👍") * 3),
        )

    def _delete_review(self, cursor: pymysql.cursors.Cursor) -> None:
        cursor.execute("DELETE FROM reviews WHERE id = %s", (self._any(cursor, "reviews"),))

    def _renumber_line(self, cursor: pymysql.cursors.Cursor) -> None:
        """Change one column of a composite key."""
        cursor.execute(
            "UPDATE order_items SET line_no = line_no + 7 WHERE order_id = %s ORDER BY line_no DESC LIMIT 1",
            (self._any(cursor, "order_items", "order_id"),),
        )

    def _renumber_shipment(self, cursor: pymysql.cursors.Cursor) -> None:
        """Change a key to a negative one and back."""
        cursor.execute("UPDATE shipments SET id = -id WHERE id = %s", (self._any(cursor, "shipments"),))

    def _restock(self, cursor: pymysql.cursors.Cursor) -> None:
        """One statement, many rows."""
        first = self._any(cursor, "products")
        cursor.execute(
            "UPDATE inventory SET quantity = quantity + 10, counted_at = UTC_TIMESTAMP() "
            "WHERE product_id BETWEEN %s AND %s",
            (first, first + 40),
        )

    def _view_page(self, cursor: pymysql.cursors.Cursor) -> None:
        cursor.execute(
            "INSERT INTO page_views (session, path, viewed_at) VALUES (%s, '/', UTC_TIMESTAMP(3))",
            (f"live-{self._random.randint(0, 500):010d}",),
        )

    def _end_view(self, cursor: pymysql.cursors.Cursor) -> None:
        """Update rows of the table without a key, equal ones among them."""
        cursor.execute(
            "UPDATE page_views SET duration_ms = %s WHERE session = %s",
            (self._random.randint(1, 90_000), f"live-{self._random.randint(0, 500):010d}"),
        )

    def _forget_view(self, cursor: pymysql.cursors.Cursor) -> None:
        cursor.execute(
            "DELETE FROM page_views WHERE session = %s ORDER BY viewed_at LIMIT 1",
            (f"live-{self._random.randint(0, 500):010d}",),
        )

    def _abandon(self, cursor: pymysql.cursors.Cursor) -> None:
        """Rolled back by the caller: none of it may ever be seen on the target."""
        customer = self._any(cursor, "customers")
        cursor.execute("UPDATE customers SET full_name = 'must not be seen' WHERE id = %s", (customer,))
        self._place_order(cursor)
