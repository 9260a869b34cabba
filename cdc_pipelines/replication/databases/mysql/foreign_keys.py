"""Foreign keys by which the engine itself changes rows of the child: most servers' logs do not tell of those."""

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from pymysql.connections import Connection
from pymysql.cursors import Cursor

from cdc_pipelines.replication.databases.mysql.binlog import select
from cdc_pipelines.replication.databases.mysql.sql import quote_table

_QUOTED = r"`(?:[^`]|``)*`"
_FOREIGN_KEY = re.compile(
    rf"^\s+CONSTRAINT (?P<name>{_QUOTED}) (?P<definition>FOREIGN KEY \({_QUOTED}(?:, {_QUOTED})*\) "
    rf"REFERENCES (?P<parent>(?:{_QUOTED}\.)?{_QUOTED}) \({_QUOTED}(?:, {_QUOTED})*\))(?P<rules>.*)$", re.MULTILINE,
)
_ACTS = re.compile(r"\b(CASCADE|SET NULL|SET DEFAULT)\b")


class ActingKey(NamedTuple):
    """A constraint with rules that act, as SHOW CREATE TABLE words it."""

    schema: str
    child: str
    name: str
    definition: str  # FOREIGN KEY (…) REFERENCES … (…), without its rules
    parent: str

    @property
    def without_rules(self) -> str:
        """SQL that keeps the constraint and takes its rules off."""
        table = quote_table(self.schema, self.child)
        return f"ALTER TABLE {table} DROP FOREIGN KEY {self.name}; ALTER TABLE {table} ADD {self.definition};"


def acting_keys(conn: "Connection[Cursor]", schema: str, tables: Collection[str]) -> Iterator[ActingKey]:
    """Of these tables, as children.

    From each table's text: information_schema hides them from a user who may only read (MariaDB).
    """
    for table in tables:
        text = str(select(conn, f"show create table {quote_table(schema, table)}")[0][1])
        for m in _FOREIGN_KEY.finditer(text):
            if _ACTS.search(m["rules"]):
                yield ActingKey(schema, table, m["name"], m["definition"], m["parent"].replace("`", ""))


def logs_their_effects(conn: "Connection[Cursor]", flavor: str) -> bool | None:
    """Whether the server writes the changed children's rows into its log; None for a MySQL that only has to be told to.

    MySQL does from 9.6 on, with innodb_native_foreign_keys = OFF (its default); tried on 9.7. No MariaDB does.
    """
    if flavor != "mysql":
        return False
    found = select(conn, "show global variables like 'innodb_native_foreign_keys'")
    if not found:
        return False
    return True if str(found[0][1]).upper() == "OFF" else None
