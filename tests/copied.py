"""Tables of a MySQL or MariaDB database and their copies in a PostgreSQL database, for tests of the comparison."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pymysql

from cdc_pipelines.replication.catalog import MappedColumn, MappedTable
from cdc_pipelines.replication.databases.checksum import Row
from cdc_pipelines.replication.databases.mysql.checksum import MySqlChecksum
from cdc_pipelines.replication.databases.mysql.ranges import KeyRange
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.databases.postgres import ddl
from cdc_pipelines.replication.databases.postgres.checksum import PostgresChecksum
from cdc_pipelines.replication.databases.postgres.load import copy_rows
from cdc_pipelines.replication.pipeline import Source
from cdc_pipelines.replication.values import form_for
from cdc_pipelines.replication.verify.report import TableVerified
from cdc_pipelines.replication.verify.tables import new_salt, verify_table
from cdc_pipelines.stack.settings import ServerAccess


@dataclass
class Copied:
    """A source database (`admin` is a session on it) and a target database (`target`, committing by itself)."""

    flavor: str
    server: ServerAccess
    admin: pymysql.Connection
    target: psycopg.Connection
    renames: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        database = self.admin.db.decode()
        self.source = MySqlSource(Source(
            type=self.flavor, host=self.server.host, port=self.server.port, database=database, user=self.server.user,
            password=f"${{env:CDC_STACK_{self.flavor.upper()}_PASSWORD}}",
        ))

    def run(self, *statements: str, mode: str = "") -> None:
        """Statements on the source, as its administrator."""
        with self.admin.cursor() as cursor:
            cursor.execute("set sql_mode = %s", [mode])
            for statement in statements:
                cursor.execute(statement)

    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        with self.admin.cursor() as cursor:
            cursor.execute("set sql_mode = ''")
            marks = ", ".join(["%s"] * len(rows[0]))
            cursor.executemany(f"insert into `{table.replace('`', '``')}` values ({marks})", rows)

    def mapped(self, name: str) -> MappedTable:
        table = self.source.tables([name])[0]
        columns = tuple(
            MappedColumn(c, self.renames.get(c.name, c.name), form_for(c, self.flavor, "postgres").target_type)
            for c in table.columns
        )
        return MappedTable(table, "public", self.renames.get(name, name), columns)

    def copy(self, name: str) -> MappedTable:
        """Make the table on the target and load all rows."""
        table = self.mapped(name)
        with self.target.transaction(), self.source.open_snapshot(1, [table.source]) as snapshot:
            ddl.create_table(self.target, table)
            copy_rows(self.target, table, snapshot.sessions[0].read(table, KeyRange(())))
        return table

    def verify(self, table: MappedTable, **options: Any) -> TableVerified:
        """Compare as `verify` does, at rest: both sides stand still."""
        with self.source.open_snapshot(1, [table.source]) as snapshot, self.target.transaction():
            self.target.execute("set transaction isolation level repeatable read")
            return verify_table(snapshot.sessions[0], self.target, table, **options).result

    def verify_in_place(self, table: MappedTable, **options: Any) -> TableVerified:
        """Compare within the target session's open transaction, which may hold a planted change."""
        with self.source.open_snapshot(1, [table.source]) as snapshot:
            return verify_table(snapshot.sessions[0], self.target, table, **options).result

    def sides(self, table: MappedTable) -> tuple[list[Row], list[Row], bool]:
        """The canonical texts of both sides' rows, sorted, and whether their checksums agree."""
        with self.source.open_snapshot(1, [table.source]) as snapshot, self.target.transaction():
            salt = new_salt()
            ours = MySqlChecksum(snapshot.sessions[0], table, "postgres", salt, "digest")
            theirs = PostgresChecksum(self.target, table, self.flavor, salt, "digest")
            return _sorted(ours.rows()), _sorted(theirs.rows()), ours.totals() == theirs.totals()


def _sorted(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: tuple((value is None, value or "") for value in row))
