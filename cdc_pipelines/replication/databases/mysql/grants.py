"""What a user may do, from SHOW GRANTS (which names the privileges of active roles as well)."""

import re
from collections.abc import Iterable

from pymysql.connections import Connection
from pymysql.cursors import Cursor

from cdc_pipelines.replication.databases.mysql.binlog import select

_NAME = r"\*|`(?:[^`]|``)*`"
_GRANT = re.compile(rf"GRANT (?P<what>.+?) ON (?:TABLE )?(?P<schema>{_NAME})\.(?P<table>{_NAME}) TO ")
_PRIVILEGE = re.compile(r"([A-Z][A-Z_ ]*[A-Z])(\s*\([^)]*\))?")
_ALIASES = {"REPLICATION CLIENT": "BINLOG MONITOR", "REPLICATION REPLICA": "REPLICATION SLAVE", "ALL": "ALL PRIVILEGES"}


class Grants:
    """Privileges as (privilege, schema pattern, table); those on single columns are left out."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._granted: list[tuple[str, str, str]] = []
        for line in lines:
            match = _GRANT.match(line)
            if match is None:
                continue
            schema, table = _bare(match["schema"]), _bare(match["table"])
            for privilege, columns in _PRIVILEGE.findall(match["what"]):
                if not columns:
                    self._granted.append((_ALIASES.get(privilege, privilege), schema, table))

    def has(self, privilege: str, schema: str = "*", table: str = "*") -> bool:
        """Whether the privilege is held on the table, the schema (`*` for its tables) or the server (`*`.`*`)."""
        wanted = {_ALIASES.get(privilege, privilege), "ALL PRIVILEGES"}
        return any(
            held in wanted and (on_schema == "*" or (schema != "*" and _like(on_schema, schema)))
            and on_table in ("*", table)
            for held, on_schema, on_table in self._granted
        )


def read_grants(conn: "Connection[Cursor]") -> Grants:
    return Grants(str(row[0]) for row in select(conn, "show grants"))


def _bare(quoted: str) -> str:
    return quoted if quoted == "*" else quoted[1:-1].replace("``", "`")


def _like(pattern: str, name: str) -> bool:
    """A schema in a grant is a LIKE pattern: `shop\\_%`."""
    regex = "".join(
        re.escape(escaped) if escaped else ".*" if char == "%" else "." if char == "_" else re.escape(char)
        for escaped, char in re.findall(r"\\(.)|(.)", pattern, re.DOTALL)
    )
    return re.fullmatch(regex, name, re.DOTALL) is not None
