"""A pipeline whose source is a server of the test's own, which may be reset, replaced and purged."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import yaml

from cdc_pipelines.stack.settings import ServerAccess, StackSettings
from tests.conftest import CommandResult, mysql_connection
from tests.e2e.conftest import Pipe, processes_of
from tests.integration.own_servers import own_server
from tests.proxy import Proxy

GTIDS = ("--gtid-mode=ON", "--enforce-gtid-consistency=ON")
WITHOUT = ("--gtid-mode=OFF", "--enforce-gtid-consistency=OFF")
TABLE = ("create table t (id int primary key, v varchar(20))", "insert into t values (1, 'a'), (2, 'b')",
         "create table u (id int primary key)")
KINDS = {"gtid": ("mysql", GTIDS), "plain": ("mysql", WITHOUT), "mariadb": ("mariadb", ())}


@dataclass
class OwnPipe(Pipe):
    """A pipeline whose source, `server`, is reached through `proxy`, by our processes and by Kafka Connect."""

    server: ServerAccess
    proxy: Proxy

    @contextmanager
    def busy(self) -> Iterator[None]:
        """While the block runs, somebody writes to another database of the server.

        On a server that nobody else uses, a connector learns how far it is with the server's heartbeats only, once in
        48 seconds.
        """
        over = threading.Event()

        def write() -> None:
            own = self.mysql
            with pymysql.connect(host=own.host, port=own.port, user=own.user, password=own.password) as connection, \
                    connection.cursor() as cursor:
                cursor.execute("create database if not exists elsewhere")
                cursor.execute("create table if not exists elsewhere.noise (n int)")
                while not over.wait(0.2):
                    cursor.execute("insert into elsewhere.noise values (1)")
                    connection.commit()

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write)
            try:
                yield
            finally:
                over.set()
        writing.result()

    def equal(self) -> dict[str, Any]:
        with self.busy():
            return super().equal()


def prepare(access: ServerAccess, password: str) -> None:
    """An empty database `shop`, and a user with the only password of its kind that Kafka Connect knows."""
    with mysql_connection(access) as admin, admin.cursor() as cursor:
        cursor.execute("create user conn@'%%' identified by %s", [password])
        cursor.execute("grant all on *.* to conn@'%'")
        cursor.execute("create database shop")


@contextmanager
def own_pipe(
    kind: str, stack: StackSettings, cdc: Callable[..., CommandResult], home: Path,
    write_file: Callable[..., Path], target_database: str, target: psycopg.Connection, *settings: str,
) -> Iterator[OwnPipe]:
    """A pipeline (not yet configured) from an own server's database `shop`; taken down with it."""
    flavor, gtids = KINDS[kind]
    with own_server(flavor, *gtids, *settings) as access, closing(Proxy(access.port)) as proxy:
        prepare(access, getattr(stack, flavor).password)
        file = write_file("shop", target_database, source_type=flavor)
        document = yaml.safe_load(file.read_text())
        document["source"] |= {"port": proxy.port, "user": "conn"}
        file.write_text(yaml.safe_dump(document))
        with mysql_connection(access, "shop") as connection:
            pipe = OwnPipe(file.stem, file, cdc, home, connection, target, access, proxy)
            try:
                yield pipe
            finally:
                cdc("teardown", pipe.name, "--yes")
                for process in processes_of(home):
                    process.kill()


def new_log_file(pipe: Pipe) -> str:
    """Let the source's log go on in a new file; its name."""
    pipe.run("flush binary logs")
    return str(pipe.source_rows("show binary logs")[-1][0])


def purge(pipe: Pipe, newest: str | None = None) -> None:
    """Leave only the newest file of the source's log. MariaDB keeps one until InnoDB has flushed what is in it."""
    newest = newest or new_log_file(pipe)
    ends = time.monotonic() + 30
    while pipe.source_rows("show binary logs")[0][0] != newest:
        assert time.monotonic() < ends, f"{newest} is not the oldest file of the log"
        pipe.run(f"purge binary logs to '{newest}'")
        time.sleep(0.2)
