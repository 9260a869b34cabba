"""Indexes, foreign keys, checks, comments and counters of a MySQL or MariaDB database.

Foreign keys, and MySQL's checks, are read from SHOW CREATE TABLE: information_schema hides the one from a user who may
only read (MariaDB), and does not say whose the other are (MySQL).
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor, DictCursor

from cdc_pipelines.replication.carry.source import (
    IndexPart,
    SourceCheck,
    SourceForeignKey,
    SourceIndex,
    TableExtras,
)
from cdc_pipelines.replication.databases.mysql.binlog import select
from cdc_pipelines.replication.databases.mysql.server_errors import translate
from cdc_pipelines.replication.databases.mysql.sql import quote_table

_NAME = r"`((?:[^`]|``)*)`"
_FOREIGN_KEY = re.compile(
    rf"^\s+CONSTRAINT {_NAME} FOREIGN KEY (?P<columns>\([^\n]*?\)) REFERENCES "
    rf"(?P<parent>(?:`(?:[^`]|``)*`\.)?`(?:[^`]|``)*`) (?P<others>\([^\n]*?\))(?P<rules>(?: ON (?:DELETE|UPDATE) "
    r"(?:CASCADE|SET NULL|SET DEFAULT|RESTRICT|NO ACTION))*),?$", re.MULTILINE,
)
_CHECK = re.compile(
    rf"^\s+CONSTRAINT {_NAME} CHECK \((.*)\)( /\*!80016 NOT ENFORCED \*/)?,?$", re.MULTILINE,
)
_ONE_NAME = re.compile(_NAME)


def table_extras(conn: "Connection[Cursor]", database: str, names: Sequence[str]) -> dict[str, TableExtras]:
    """Of each of these tables that is there. Raises ConfigurationError where the user may not look at one."""
    mariadb = "mariadb" in str(conn.get_server_info()).lower()  # type: ignore[no-untyped-call]
    indexes: dict[str, list[dict[str, Any]]] = {}
    for row in _rows(conn, "select * from information_schema.statistics where table_schema = %s "
                           "order by table_name, index_name, seq_in_index", database):
        indexes.setdefault(row["table_name"], []).append(row)
    columns: dict[str, list[dict[str, Any]]] = {}
    for row in _rows(conn, "select table_name, column_name, column_comment, extra from information_schema.columns "
                           "where table_schema = %s", database):
        columns.setdefault(row["table_name"], []).append(row)
    comments = {
        row["table_name"]: row["table_comment"]
        for row in _rows(conn, "select table_name, table_comment from information_schema.tables "
                               "where table_schema = %s", database)
    }
    checks: dict[str, list[SourceCheck]] = {}
    if mariadb:
        for row in _rows(conn, "select table_name, constraint_name, check_clause from "
                               "information_schema.check_constraints where constraint_schema = %s", database):
            check = SourceCheck(row["constraint_name"], row["check_clause"])
            checks.setdefault(row["table_name"], []).append(check)
    found = {}
    for name in names:
        if name not in columns:  # dropped since, or nothing of it can be seen
            continue
        text = str(select(conn, f"show create table {quote_table(database, name)}")[0][1])
        mine = columns.get(name, [])
        spoken = {row["column_name"]: row["column_comment"] for row in mine if row["column_comment"]}
        found[name] = TableExtras(
            indexes=tuple(_indexes(indexes.get(name, []))),
            foreign_keys=tuple(foreign_keys(text, database)),
            checks=tuple(checks.get(name, [])) if mariadb else tuple(checks_of(text)),
            comments=({"": comments[name]} if comments.get(name) else {}) | spoken,
            counter=next((r["column_name"] for r in mine if "auto_increment" in r["extra"].lower()), None),
        )
    return found


def _rows(conn: "Connection[Cursor]", query: str, database: str) -> list[dict[str, Any]]:
    try:
        with conn.cursor(DictCursor) as cursor:
            cursor.execute(query, (database,))
            return [{key.lower(): _text(value) for key, value in row.items()} for row in cursor.fetchall()]
    except pymysql.err.MySQLError as error:
        raise translate(error, "reading indexes and constraints", f"{conn.host}:{conn.port}") from error


def _text(value: Any) -> Any:
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _indexes(rows: Sequence[dict[str, Any]]) -> Iterator[SourceIndex]:
    """All but the primary key, by name."""
    for name in dict.fromkeys(row["index_name"] for row in rows):
        if name == "PRIMARY":
            continue
        mine = [row for row in rows if row["index_name"] == name]
        yield SourceIndex(
            name,
            tuple(
                IndexPart(
                    row["column_name"], row.get("expression"),
                    None if row["sub_part"] is None else int(row["sub_part"]), row["collation"] == "D",
                )
                for row in mine
            ),
            unique=not int(mine[0]["non_unique"]),
            method=mine[0]["index_type"],
            hidden=mine[0].get("is_visible", "YES") == "NO" or mine[0].get("ignored", "NO") == "YES",
        )


def foreign_keys(text: str, database: str) -> Iterator[SourceForeignKey]:
    """Those of a table that SHOW CREATE TABLE describes so."""
    for match in _FOREIGN_KEY.finditer(text):
        parent = _names(match["parent"])
        rules = dict(re.findall(r"ON (DELETE|UPDATE) (CASCADE|SET NULL|SET DEFAULT|RESTRICT|NO ACTION)",
                                match["rules"]))
        yield SourceForeignKey(
            match[1].replace("``", "`"), tuple(_names(match["columns"])),
            parent[0] if len(parent) == 2 else database, parent[-1], tuple(_names(match["others"])),
            rules.get("DELETE", "NO ACTION"), rules.get("UPDATE", "NO ACTION"),
        )


def checks_of(text: str) -> Iterator[SourceCheck]:
    """Those of a table that MySQL's SHOW CREATE TABLE describes so."""
    for match in _CHECK.finditer(text):
        yield SourceCheck(match[1].replace("``", "`"), match[2], match[3] is None)


def _names(text: str) -> list[str]:
    return [name.replace("``", "`") for name in _ONE_NAME.findall(text)]
