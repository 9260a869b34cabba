"""What was made of a source's indexes, constraints and the like, and what was not, as the target keeps it."""

from datetime import datetime
from typing import Any, Literal

import msgspec
import psycopg
from psycopg import sql

from cdc_pipelines.replication.carry.settings import Kind

State = Literal["making", "made", "waiting", "given_up", "not_made"]
"""making: begun, perhaps by a process that died; waiting: for the stream, or a table that stands apart; given_up: the
target refused it, or it the stream's rows; not_made: it has no equal on the target."""

_COLUMNS = sql.SQL(
    "table_name, kind, name, target_schema, target_table, target_name, definition, parent, state, why, at"
)


class Carried(msgspec.Struct, frozen=True):
    """One thing of source table `table`. `name` is the source's; `target_name` the index's, constraint's, column's."""

    table: str
    kind: Kind
    name: str
    target_schema: str
    target_table: str
    target_name: str
    definition: str
    parent: str = ""
    state: State = "making"
    why: str = ""
    at: datetime | None = None

    @property
    def unique(self) -> bool:
        return self.kind == "index" and self.definition.startswith("unique ")


class CarriedStore:
    """The things of pipeline `name`, in the caller's transaction."""

    def __init__(self, conn: psycopg.Connection, name: str) -> None:
        self._conn, self._name = conn, name

    def all(self) -> list[Carried]:
        """By table, kind and name."""
        return self._where(sql.SQL(""), {})

    def _where(self, condition: sql.SQL, values: dict[str, Any]) -> list[Carried]:
        rows = self._conn.execute(
            sql.SQL("select {} from _cdc.carried where pipeline = %(pipeline)s {} "
                    'order by table_name collate "C", kind, name collate "C"').format(_COLUMNS, condition),
            {"pipeline": self._name} | values,
        )
        return [Carried(*row) for row in rows]

    def named(self, schema: str, table: str, target_name: str) -> Carried | None:
        """The index or constraint of that name on that table of the target."""
        found = self._where(
            sql.SQL("and target_schema = %(schema)s and target_table = %(table)s and target_name = %(name)s "
                    "and kind in ('index', 'check', 'foreign_key')"),
            {"schema": schema, "table": table, "name": target_name},
        )
        return found[0] if found else None

    def makes_unique(self, table: str) -> bool:
        """Whether a unique index of this table is there, or is just being made."""
        return any(
            each.unique and each.state in ("making", "made")
            for each in self._where(sql.SQL("and table_name = %(table)s"), {"table": table})
        )

    def save(self, each: Carried) -> None:
        """In place of what is known of it."""
        self._conn.execute(
            "insert into _cdc.carried (pipeline, table_name, kind, name, target_schema, target_table, target_name, "
            "definition, parent, state, why) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
            "on conflict (pipeline, table_name, kind, name) do update set target_schema = excluded.target_schema, "
            "target_table = excluded.target_table, target_name = excluded.target_name, "
            "definition = excluded.definition, parent = excluded.parent, state = excluded.state, why = excluded.why, "
            "at = clock_timestamp()",
            [self._name, each.table, each.kind, each.name, each.target_schema, each.target_table, each.target_name,
             each.definition, each.parent, each.state, each.why],
        )

    def forget(self, each: Carried) -> None:
        self._conn.execute(
            "delete from _cdc.carried where pipeline = %s and table_name = %s and kind = %s and name = %s",
            [self._name, each.table, each.kind, each.name],
        )

    def forget_all(self) -> None:
        self._conn.execute("delete from _cdc.carried where pipeline = %s", [self._name])

    def summary(self) -> dict[str, Any]:
        """Ready for JSON: how many there are of each kind, and what is not there, with the reason."""
        rows = self._where(
            sql.SQL("and table_name in (select m.table_name from _cdc.mapped_table m where m.pipeline = %(pipeline)s)"),
            {},
        )
        made: dict[str, int] = {}
        for each in rows:
            if each.state == "made":
                made[each.kind] = made.get(each.kind, 0) + 1
        return {
            "made": made,
            "not_made": [
                {"table": each.table, "kind": each.kind, "name": each.name, "state": each.state, "why": each.why}
                for each in rows if each.state != "made"
            ],
        }

