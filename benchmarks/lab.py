"""What the benchmarks share: a home and databases of their own on the local stack, the rows, one table of results."""

import contextlib
import logging
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import yaml

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import NotConfiguredError
from cdc_pipelines.replication.operations import lifecycle
from cdc_pipelines.replication.operations.configure import configure
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.stack.settings import StackSettings, load_env

TABLE = """
create table event (
    id bigint unsigned primary key,
    state enum('new','paid','sent','returned') not null,
    amount decimal(12,2) not null,
    name varchar(80),
    body text,
    created datetime(6) not null,
    updated timestamp(3) null,
    meta json,
    token binary(16),
    score double,
    active boolean not null
)"""

# About 290 bytes a row as COPY text; nulls, tabs, newlines, backslashes and emoji among them.
ROWS = """
insert into event with recursive n(i) as (select {first} union all select i + 1 from n where i < {last})
select i, elt(1 + i % 4, 'new', 'paid', 'sent', 'returned'), (i * 7919 % 1000000) / 100,
    if(i % 17 = 0, null, concat('customer ', i * 2654435761 % 1000000, ' of the shop')),
    concat(repeat('some text of the body ', 4), i, if(i % 50 = 0, '\\ttab\\nline \\\\ 🙂', '')),
    timestamp('2024-01-01') + interval (i * 37 % 31536000) second + interval (i % 1000000) microsecond,
    if(i % 11 = 0, null, from_unixtime(1700000000 + i % 10000000)),
    json_object('k', i, 'tags', json_array('a', i % 10), 'x', i % 3 = 0),
    unhex(left(sha2(i, 256), 32)), i / 7, i % 2
from n"""


@dataclass
class Lab:
    """One benchmark's databases, pipeline and connections; `mysql` is the administrator's."""

    name: str
    stack: StackSettings
    store: ControlStore
    mysql: pymysql.Connection
    postgres: psycopg.Connection
    home: Path

    def execute(self, *statements: str) -> None:
        with self.mysql.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def fill(self, rows: int, first: int = 1, table: str = "event") -> None:
        """Rows `first` … of the common table, made by the server."""
        self.execute("set session cte_max_recursion_depth = 1000000000")
        step = 200_000
        for low in range(first, first + rows, step):
            statement = ROWS.format(first=low, last=min(low + step, first + rows) - 1)
            self.execute(statement.replace("insert into event", f"insert into {table}"))

    def runtime(self) -> Runtime:
        return Runtime.open(self.name, self.store)


@contextmanager
def lab(name: str, *tables: str, **settings: Any) -> Iterator[Lab]:
    """Databases and a configured pipeline, gone at the end. `settings` are sections of the pipeline's file."""
    values = load_env()
    os.environ.update(values)
    home = Path(tempfile.mkdtemp(prefix=f"cdc-{name}-"))
    os.environ |= {"CDC_HOME": str(home), "CDC_AGENT_AUTOSTART": "1"}  # the agent ends with the lab's home
    stack = StackSettings.from_env(values)
    admin = pymysql.connect(
        host=stack.mysql.host,
        port=stack.mysql.port,
        user=stack.mysql.admin_user,
        password=stack.mysql.admin_password,
        charset="utf8mb4",
        autocommit=True,
    )
    where = {
        "host": stack.postgres.host,
        "port": stack.postgres.port,
        "user": stack.postgres.user,
        "password": stack.postgres.password,
        "autocommit": True,
    }
    with psycopg.connect(**where, dbname=stack.postgres_target_database) as any_database:
        _drop(any_database, name)
        any_database.execute(f"create database {name}")
    owner = psycopg.connect(**where, dbname=name)
    with admin, admin.cursor() as cursor, owner:
        cursor.execute(f"drop database if exists {name}")
        cursor.execute(f"create database {name} character set utf8mb4")
        cursor.execute(f"use {name}")
        for table in tables:
            cursor.execute(table)
        place = {"host": "127.0.0.1", "user": "cdc"}
        document = {
            "config": sum(map(ord, name)),
            "source": place
            | {
                "type": "mysql",
                "port": "${env:CDC_STACK_MYSQL_PORT}",
                "database": name,
                "password": "${env:CDC_STACK_MYSQL_PASSWORD}",
            },
            "target": place
            | {
                "type": "postgres",
                "port": "${env:CDC_STACK_POSTGRES_PORT}",
                "database": name,
                "schema": name,
                "password": "${env:CDC_STACK_POSTGRES_PASSWORD}",
            },
            "connect": {"url": stack.connect_url},
            "kafka": {"bootstrap_servers": stack.kafka_bootstrap},
            "verify": {"background": False},
        } | settings
        file = home / f"{name}.yaml"
        file.write_text(yaml.safe_dump(document))
        store = ControlStore.open()
        configure(file, store)
        try:
            yield Lab(name, stack, store, admin, owner, home)
        finally:
            with contextlib.suppress(NotConfiguredError), Runtime.open(name, store) as rt:
                lifecycle.teardown(rt, logging.getLogger("benchmark"))
            store.close()
            cursor.execute(f"drop database if exists {name}")
            owner.close()
            with psycopg.connect(**where, dbname=stack.postgres_target_database) as any_database:
                _drop(any_database, name)
            shutil.rmtree(home, ignore_errors=True)


def _drop(conn: psycopg.Connection, name: str) -> None:
    """`with (force)` is refused while autovacuum is at work there, whose end only a superuser may order; without it the
    server itself sends autovacuum away.
    """
    conn.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and usename = current_user", [name]
    )
    conn.execute(f"drop database if exists {name}")


def rounds(count: int, *contestants: Callable[[], float]) -> list[list[float]]:
    """Run the contestants in turn, `count` times: noise of the machine falls on all of them. Rates per contestant."""
    results: list[list[float]] = [[] for _ in contestants]
    for _ in range(count):
        for place, contestant in enumerate(contestants):
            results[place].append(contestant())
    return results


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print one table of plain text."""
    texts = [
        [
            f"{v:,.0f}" if isinstance(v, float) and v >= 100 else f"{v:.2f}" if isinstance(v, float) else str(v)
            for v in row
        ]
        for row in rows
    ]
    widths = [max(len(c), *(len(r[i]) for r in texts)) for i, c in enumerate(columns)]
    print(f"\n{title}")
    for row in [list(columns), *texts]:
        print(
            "  "
            + "  ".join(
                text.rjust(w) if i else text.ljust(w) for i, (text, w) in enumerate(zip(row, widths, strict=True))
            )
        )


median = statistics.median
