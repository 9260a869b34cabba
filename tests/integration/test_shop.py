"""The shop that demo and tests use is what it claims to be, on MySQL and MariaDB."""

from collections.abc import Callable

import pymysql
import pytest

from cdc_pipelines.demo.shop import create_shop
from cdc_pipelines.demo.shop_rows import AWKWARD_TEXTS, row_counts
from cdc_pipelines.demo.shop_schema import TABLES
from cdc_pipelines.demo.writer import ShopWriter


def _query(connection: pymysql.Connection, statement: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def _contents(connection: pymysql.Connection) -> dict[str, list[tuple]]:
    return {table: sorted(_query(connection, f"SELECT * FROM {table}"), key=repr) for table in TABLES}


def _another(shop: pymysql.Connection) -> Callable[[], pymysql.Connection]:
    """How to open one more connection like this one."""
    return lambda: pymysql.connect(
        host=shop.host, port=shop.port, user="root", password=shop.password, database=shop.db, charset="utf8mb4"
    )


@pytest.fixture(params=["mysql", "mariadb"])
def shop(request: pytest.FixtureRequest) -> pymysql.Connection:
    """A connection to a small shop on each kind of server."""
    connection: pymysql.Connection = request.getfixturevalue(request.param)
    create_shop(connection, request.getfixturevalue(f"{request.param}_database"), scale=0.01)
    return connection


def test_the_same_seed_gives_the_same_shop_on_both_servers(
    mysql: pymysql.Connection, mysql_database: str, mariadb: pymysql.Connection, mariadb_database: str
) -> None:
    made = create_shop(mysql, mysql_database, scale=0.01)
    create_shop(mariadb, mariadb_database, scale=0.01)
    on_mysql, on_mariadb = _contents(mysql), _contents(mariadb)
    for table in set(TABLES) - {"products", "payments"}:  # JSON texts differ in their spaces
        assert on_mysql[table] == on_mariadb[table], table
    assert {table: len(rows) for table, rows in on_mysql.items()} == made.rows

    create_shop(mysql, mysql_database, scale=0.01)
    assert _contents(mysql) == on_mysql
    create_shop(mysql, mysql_database, scale=0.01, seed=1)
    assert _contents(mysql)["orders"] != on_mysql["orders"]


def test_a_shop_has_what_breaks_careless_pipelines(shop: pymysql.Connection) -> None:
    # Compared here, not by DISTINCT or UNION: to a collation '' and ' ' may be equal.
    found = {text for (text,) in _query(shop, "SELECT notes FROM customers UNION ALL SELECT note FROM orders")}
    assert found == {None, *AWKWARD_TEXTS}
    nulls = _query(
        shop, "SELECT SUM(phone IS NULL), SUM(birth_date IS NULL), COUNT(*) FROM customers"
    )[0]
    assert 0 < nulls[0] < nulls[2]
    assert 0 < nulls[1] < nulls[2]
    lines = dict(_query(shop, "SELECT order_id, COUNT(*) FROM order_items GROUP BY order_id"))
    assert set(lines.values()) == {1, 2, 3, 4}
    keys = _query(
        shop,
        "SELECT t.table_name, COUNT(c.constraint_name) FROM information_schema.tables t "
        "LEFT JOIN information_schema.table_constraints c ON c.table_schema = t.table_schema "
        "AND c.table_name = t.table_name AND c.constraint_type = 'PRIMARY KEY' "
        "WHERE t.table_schema = DATABASE() GROUP BY t.table_name",
    )
    assert {table for table, count in keys if count == 0} == {"page_views"}
    assert len(keys) == len(TABLES) == 11


def test_a_whole_shop_has_at_least_300_000_rows() -> None:
    counts = row_counts(1.0)
    lines_at_least = counts["order_items"]
    assert sum(counts.values()) - counts["shipments"] // 4 - counts["payments"] // 20 + lines_at_least > 300_000


def test_the_writer_makes_every_kind_of_change(
    shop: pymysql.Connection
) -> None:
    before = _contents(shop)

    writer = ShopWriter(_another(shop), seed=3, rate=None)
    writer.write(600)
    writer.stop()
    after = _contents(shop)
    assert len(writer.counts) == 15
    assert sum(writer.counts.values()) == 600
    assert writer.transactions == 600 - writer.counts["abandon"]
    changed = {table for table in TABLES if before[table] != after[table]}
    assert changed == set(TABLES) - {"categories"}
    assert _query(shop, "SELECT COUNT(*) FROM customers WHERE full_name = 'must not be seen'") == [(0,)]
    assert _query(shop, "SELECT COUNT(*) > 0 FROM shipments WHERE id < 0") == [(1,)]
    assert _query(shop, "SELECT COUNT(*) FROM orders LEFT JOIN order_items ON order_id = id WHERE line_no IS NULL "
                        "AND placed_at > '2024-01-01'") == [(0,)]


def test_the_writer_keeps_its_rate_and_tells_its_error(shop: pymysql.Connection) -> None:
    with ShopWriter(_another(shop), rate=50) as writer:
        for _ in range(100):
            if writer.transactions >= 20:
                break
            writer._stopping.wait(0.05)
    assert 20 <= writer.transactions < 60

    writer = ShopWriter(_another(shop), rate=None)
    _query(shop, "DROP TABLE order_items")
    writer.start()
    assert writer._thread is not None
    writer._thread.join(timeout=20)
    with pytest.raises(pymysql.err.ProgrammingError):
        writer.stop()
