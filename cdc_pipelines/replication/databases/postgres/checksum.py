"""How PostgreSQL spells the pieces of a checksum."""

from collections.abc import Collection, Sequence
from typing import Any, Literal

import psycopg
from psycopg.sql import Identifier
from psycopg.sql import Literal as SqlLiteral

from cdc_pipelines.replication.catalog import MappedColumn, MappedTable
from cdc_pipelines.replication.databases.checksum import Key, Salt, Span, TableChecksum
from cdc_pipelines.replication.databases.postgres.connection import server_errors
from cdc_pipelines.replication.databases.postgres.existing import ExistingTable, find
from cdc_pipelines.replication.errors import IntegrityError
from cdc_pipelines.replication.values import forms_of
from cdc_pipelines.replication.values.form import Form

_WORTH_COMPILING = 1_000_000  # rows


class PostgresChecksum(TableChecksum):
    """A target table, seen by a session in a REPEATABLE READ transaction."""

    INTEGER = "bigint"

    def __init__(
        self, conn: psycopg.Connection, table: MappedTable, source: str, salt: Salt, by: Literal["modulo", "digest"]
    ) -> None:
        self._conn = conn
        super().__init__(table, forms_of(table.columns, source, "postgres", table.name), salt, by)
        # Without the key's index each range would read the whole table; a fresh table has no statistics that say so.
        conn.execute("set local enable_seqscan = off" if by == "modulo" else "set local enable_seqscan = on")
        # That makes any plan look expensive; compiling it takes longer than reading a small table.
        conn.execute(f"set local jit = {'on' if table.source.rows_estimate > _WORTH_COMPILING else 'off'}".encode())

    def delete(self, conn: psycopg.Connection, picks: Collection[Key]) -> int:
        """Delete the rows that were picked (see `picked`), by another session; how many there were.

        Where deleted rows stay, they are marked so; of a history, the open versions are closed.
        """
        where, params = self.picked(picks)
        where, rules = self._narrowed(where), self.table.rows
        action = f"delete from {self._from}"  # noqa: S608
        if rules.ended:
            now = f"greatest(now(), {self._quoted(rules.valid_from)})" if rules.history else "now()"
            action = f"update {self._from} set {self._quoted(rules.ended)} = {now}"  # noqa: S608
        # As in `_run`; never without values, so that `%%` is unfolded.
        return conn.execute(f"{action} where {where}".encode(), params or []).rowcount

    def _run(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        with server_errors(f"comparing target table {self.table.target_schema}.{self.table.target_name}"):
            # The statement consists of our templates, and of names that psycopg has quoted.
            return self._conn.execute(sql.encode(), params, prepare=False).fetchall()

    def _name(self, column: MappedColumn) -> str:
        return self._quoted(column.target_name)

    @property
    def _from(self) -> str:
        return self._quoted(self.table.target_schema, self.table.target_name)

    @property
    def _only(self) -> str:
        ended = self.table.rows.ended
        return f"{self._quoted(ended)} is null" if ended else ""

    def _quoted(self, *names: str) -> str:
        # Statements are always given values (if none, an empty list), so that each of them unfolds `%%`.
        return Identifier(*names).as_string(self._conn).replace("%", "%%")

    def _canonical(self, form: Form) -> str:
        return form.target_canonical

    def _where(self, span: Span) -> tuple[str, Sequence[Any]]:
        names = ", ".join(self._name(column) for column in self.table.key)
        conditions, values = [], []
        for bound, operator in ((span.lower, ">="), (span.upper, "<")):
            if bound is not None:
                conditions.append(f"({names}) {operator} ({', '.join(['%s'] * len(bound))})")
                values += [str(value) for value in bound]  # as text: each takes its column's type, and so the index
        return (" and ".join(conditions) or "true"), values

    def _sha256(self, text: str) -> str:
        return f"encode(sha256(convert_to({text}, 'UTF8')), 'hex')"

    def _number(self, text: str) -> str:
        return f"('x' || left({self._sha256(text)}, 15))::bit(60)::bigint"

    def _literal(self, text: str) -> str:
        return SqlLiteral(text).as_string(self._conn).replace("%", "%%")

    def _as_text(self, value: str) -> str:
        return f"({value})::text"


def require_table(conn: psycopg.Connection, table: MappedTable) -> ExistingTable:
    """The target table as it is. Raises IntegrityError where it, or a column that is replicated, is not there."""
    name = f"{table.target_schema}.{table.target_name}"
    with server_errors(f"the definition of target table {name}"):
        found = find(conn, table.target_schema, table.target_name)
    missing = [] if found is None else [name for name, _ in table.landing if name not in found.columns]
    if found is None or missing:
        what = f"has no column {', '.join(missing)}" if missing else "does not exist"
        raise IntegrityError(
            f"target table {name} {what}, but table {table.name} is replicated into it",
            "something else changed the target; copy the pipeline again: `cdc start NAME --force-resync`.",
        )
    return found


def key_is_sound(found: ExistingTable, table: MappedTable) -> bool:
    """Whether the target itself sees to it that the key is never null and never there twice."""
    key = {column.target_name for column in table.key}
    if table.rows.history:
        return found.is_unique_while_open(table) and all(found.columns[name].not_null for name in key)
    return any(set(k) == key for k in found.keys) and all(found.columns[name].not_null for name in key)
