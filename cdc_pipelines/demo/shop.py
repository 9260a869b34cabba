"""Make the shop database: about 470,000 rows in 11 tables, the same ones for the same seed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pymysql

from cdc_pipelines.demo.shop_rows import insert_statements, row_counts
from cdc_pipelines.demo.shop_schema import TABLES


@dataclass
class Shop:
    """What was made: rows per table and the seconds it took."""

    database: str
    rows: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.rows.values())


def create_shop(
    connection: pymysql.Connection,
    database: str,
    *,
    scale: float = 1.0,
    seed: int = 20240229,
    on_table: Callable[[str, int], None] | None = None,
) -> Shop:
    """Drop and make `database` with its tables and rows.

    `connection` is an administrator's, to MySQL or MariaDB. A scale of 0.01 gives a shop for quick tests.
    `on_table(table, rows)` is called as each table is filled.
    """
    started = time.monotonic()
    shop = Shop(database)
    name = "`" + database.replace("`", "``") + "`"
    with connection.cursor() as cursor:
        # Zone and mode are part of what a seed means; `numbers` is this session's own.
        cursor.execute("SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES', autocommit = 1")
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        cursor.execute(f"USE {name}")
        for ddl in TABLES.values():
            cursor.execute(ddl)
        _make_numbers(cursor, max(row_counts(scale).values()))
        for table, statement in insert_statements(seed, scale).items():
            shop.rows[table] = cursor.execute(statement)
            if on_table is not None:
                on_table(table, shop.rows[table])
        cursor.execute("DROP TEMPORARY TABLE numbers")
        # Fresh statistics: a planner that sizes chunks by them must not see empty tables.
        cursor.execute(f"ANALYZE TABLE {', '.join(TABLES)}")
        cursor.fetchall()
    shop.seconds = time.monotonic() - started
    return shop


def _make_numbers(cursor: pymysql.cursors.Cursor, largest: int) -> None:
    cursor.execute("CREATE TEMPORARY TABLE numbers (n INT UNSIGNED NOT NULL PRIMARY KEY)")
    digits = len(str(largest))
    places = " + ".join(f"d{i}.d * {10**i}" for i in range(digits))
    tables = " CROSS JOIN ".join(f"digits AS d{i}" for i in range(digits))
    cursor.execute(
        "INSERT INTO numbers WITH digits(d) AS ("
        + " UNION ALL ".join(f"SELECT {d}" for d in range(10))
        + f") SELECT 1 + n FROM (SELECT {places} AS n FROM {tables}) AS every WHERE n < {largest} ORDER BY n"
    )
