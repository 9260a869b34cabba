"""Prerequisites of the captured tables: readable, in a snapshot, with a usable key, their changes all in the log."""

import re
from collections.abc import Sequence
from typing import Any

from cdc_pipelines.replication.catalog import Column, MappedTable, Table
from cdc_pipelines.replication.databases.mysql.binlog import select, value
from cdc_pipelines.replication.databases.mysql.foreign_keys import acting_keys, logs_their_effects
from cdc_pipelines.replication.databases.mysql.preflight_server import Look, persist
from cdc_pipelines.replication.databases.mysql.server_errors import NOT_GRANTED, QUERY_KILLED
from cdc_pipelines.replication.databases.mysql.sql import quote, quote_table
from cdc_pipelines.replication.errors import CdcError, CheckResult, ConfigurationError
from cdc_pipelines.replication.values import form_of

_SNAPSHOT_ENGINES = {"INNODB", "ROCKSDB"}
_LOBS = {"text", "mediumtext", "longtext", "blob", "mediumblob", "longblob", "json"}
LOOK_BYTES = 256_000_000  # larger tables are not scanned for their largest value
_LOOK_SECONDS = 5
_SHOWN = 10
_SHOW_GIPK = "show_gipk_in_create_table_and_information_schema"
_UNREADABLE = re.compile(r"^[\"`]|`$|``")


def named(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _columns(table: Table | MappedTable) -> list[Column]:
    """The columns that are replicated."""
    if isinstance(table, MappedTable):
        return [c.source for c in table.columns]
    return [c for c in table.columns if not c.generated]


def readable(look: Look) -> CheckResult:
    refused = []
    for chosen, table in zip(look.chosen, look.tables, strict=True):
        columns = ", ".join(quote(c.name) for c in _columns(chosen)) or "1"
        try:
            select(look.conn, f"select {columns} from {quote_table(table.schema, table.name)} limit 0")  # noqa: S608
        except ConfigurationError as error:
            cause = error.__cause__
            if cause is None or cause.args[0] not in NOT_GRANTED:
                raise
            refused.append(table.name)
    return CheckResult(
        "source tables readable", not refused,
        f"user {look.user} may not read {named(refused)}" if refused else f"{len(look.tables)} tables",
        f"GRANT SELECT ON {quote(look.spec.database)}.* TO {look.grantee};" if refused else "",
    )


def _engines(look: Look) -> dict[str, str]:
    """Of all tables of the database."""
    return dict(select(
        look.conn, "select table_name, engine from information_schema.tables where table_schema = %s and "
        "table_type = 'BASE TABLE'", (look.spec.database,),
    ))


def names(look: Look) -> CheckResult:
    """Debezium takes a quote at a table name's edge for quoting. On MySQL it reads all tables' definitions."""
    tables = list(_engines(look)) if look.mysql else [t.name for t in look.tables]
    found = str(value(look.conn, "database()"))
    if found != look.spec.database:  # rows of the log would be taken for another database's
        return CheckResult("source names", False, f"the server calls database {look.spec.database} {found}",
                           f"set source.database to {found} in the pipeline's file.")
    wrong = [name for name in (look.spec.database, *tables) if _UNREADABLE.search(name)]
    return CheckResult(
        "source names", not wrong,
        f"Debezium can't read a name that begins with a quote or backtick, ends with a backtick or has two in a row: "
        f"{named(wrong)}" if wrong else "Debezium can read all",
        "give other names: RENAME TABLE … TO …;" if wrong else "",
    )


def engines(look: Look) -> CheckResult:
    """Only a transactional engine can be read as of one position."""
    found = _engines(look)
    wrong = [t.name for t in look.tables if str(found.get(t.name, "InnoDB")).upper() not in _SNAPSHOT_ENGINES]
    return CheckResult(
        "source engines", not wrong,
        f"not transactional: {named([f'{n} ({found[n]})' for n in wrong])}" if wrong else "all tables have snapshots",
        "\n".join(f"ALTER TABLE {quote_table(look.spec.database, name)} ENGINE=InnoDB;" for name in wrong[:_SHOWN]),
    )


def keys(look: Look) -> CheckResult:
    floats = [
        f"{t.name}.{name}" for t in look.tables for name in t.key if t.column(name).type in ("float", "double")
    ]
    # The target has the label, and so would take two rows for one.
    twice = [
        f"{t.name}.{name}" for t in look.tables for name in t.key
        if len(set(t.column(name).labels or ())) < len(t.column(name).labels or ())
    ]
    keyless = [t.name for t in look.tables if not t.key]
    if floats:
        return CheckResult(
            "source keys", False, f"keys of floating-point numbers can't be told apart reliably: {named(floats)}",
            "give these tables another primary key, or leave them out.",
        )
    if twice:
        return CheckResult(
            "source keys", False, f"keys of labels can't be told apart where a label is there twice: {named(twice)}",
            "give these columns labels that differ, or these tables another primary key, or leave them out.",
        )
    if keyless and look.mysql and look.spec.locking == "none":
        return CheckResult(
            "source keys", False, f"source.locking is none, but these tables have no key: {named(keyless)}",
            "set source.locking to brief, give them a primary key, or leave them out.",
        )
    note = f"; without a key (slower, row by row): {named(keyless)}" if keyless else ""
    return CheckResult("source keys", True, f"{len(look.tables) - len(keyless)} tables with a key{note}")


def hidden_keys(look: Look) -> CheckResult:
    """Keys that MySQL generates are in the log's rows, whether or not anybody is shown them with the columns."""
    check = "source hidden keys"
    if look.settings.get(_SHOW_GIPK, "ON") == "ON":
        return CheckResult(check, True, "every column is shown")
    select(look.conn, f"set session {_SHOW_GIPK} = ON")
    try:
        found = {name for (name,) in select(
            look.conn, "select table_name from information_schema.columns where table_schema = %s and "
            "column_name = 'my_row_id' and column_key = 'PRI' and extra like '%%INVISIBLE%%'", (look.spec.database,),
        )}
    finally:
        select(look.conn, f"set session {_SHOW_GIPK} = default")
    hidden = [t.name for t in look.tables if t.name in found and not any(c.name == "my_row_id" for c in t.columns)]
    return CheckResult(
        check, not hidden,
        f"{_SHOW_GIPK} is OFF, and so Debezium can't read the rows of tables with a generated key: {named(hidden)}"
        if hidden else "no captured table has one",
        f"{persist(look, _SHOW_GIPK, 'ON')}  -- then `cdc configure` again: the tables have one more column, my_row_id"
        if hidden else "",
    )


def column_types(look: Look) -> CheckResult:
    """Only of mapped tables: of others it is not known which columns are wanted."""
    wrong = []
    for table in look.chosen:
        if not isinstance(table, MappedTable):
            continue
        for column in table.columns:
            try:
                form_of(column, look.spec.type, "postgres", table.name)
            except ConfigurationError as error:
                if column.shape.changes:
                    return CheckResult("source column types", False, error.message, error.next_step)
                wrong.append(f"{table.name}.{column.source.name} ({column.source.full_type[:40]})")
    return CheckResult(
        "source column types", not wrong,
        f"no form on the target: {named(wrong)}" if wrong else "every replicated column has a form on the target",
        "leave them out: list the tables' other columns under `columns` in the pipeline's file." if wrong else "",
    )


def cascades(look: Look) -> CheckResult:
    """Rows that the engine changes because of a foreign key do not appear in the log of most servers."""
    found = list(acting_keys(look.conn, look.spec.database, [table.name for table in look.tables]))
    if not found:
        return CheckResult("source cascades", True, "no foreign key changes captured tables by itself")
    found_named = named([f"{key.child} → {key.parent}" for key in found])
    logged = logs_their_effects(look.conn, look.spec.type)
    if logged:
        return CheckResult("source cascades", True, f"{found_named}: this server logs their effects")
    if logged is None:
        fix = "set innodb_native_foreign_keys = OFF in the server's configuration and restart it."
    else:
        fix = "\n".join(
            f"{key.without_rules}  -- and let the application change the children" for key in found[:_SHOWN]
        )
    return CheckResult("source cascades", False, f"their effects are not in the server's log: {found_named}", fix)


def value_sizes(look: Look) -> CheckResult:
    """Whether the largest value fits into an event: binary values grow by a third, and an update carries two rows."""
    if look.pipeline is None:
        return CheckResult("source value sizes", True, "not looked at")
    limit = look.pipeline.kafka.max_message_bytes
    too_large, unseen = [], []
    for chosen, table in zip(look.chosen, look.tables, strict=True):
        lobs = [c for c in _columns(chosen) if c.type in _LOBS]
        if not lobs:
            continue
        if table.data_bytes > LOOK_BYTES:
            unseen.append(table.name)
            continue
        largest = _largest_row(look, table, lobs)
        if largest is None:
            unseen.append(table.name)
        elif largest > limit:
            too_large.append(f"{table.name} (an event of {largest / 1e6:.0f} MB)")
    if too_large:
        return CheckResult(
            "source value sizes", False,
            f"larger than kafka.max_message_bytes, {limit / 1e6:.0f} MB: {named(too_large)}",
            "raise kafka.max_message_bytes in the pipeline's file (and what the brokers allow), or leave columns out.",
        )
    note = f"; too large to look at: {named(unseen)}" if unseen else ""
    return CheckResult("source value sizes", True, f"events fit into {limit / 1e6:.0f} MB{note}")


def _largest_row(look: Look, table: Table, lobs: Sequence[Column]) -> int | None:
    """Bytes of the largest update event as estimated from its large columns; None where that takes too long."""
    parts = " + ".join(
        f"coalesce(octet_length({quote(c.name)}), 0) * {'8 / 3' if c.type.endswith('blob') else '2'}" for c in lobs
    )
    found = look_briefly(look, f"max({parts}) from {quote_table(table.schema, table.name)}")
    return None if found is None else int(found[0] or 0)


def look_briefly(look: Look, body: str) -> tuple[Any, ...] | None:
    """The one row that `select body` gives, of our own text and quoted names; None where that takes too long."""
    if look.mysql:
        sql = f"select /*+ max_execution_time({_LOOK_SECONDS * 1000}) */ {body}"
    else:
        sql = f"set statement max_statement_time={_LOOK_SECONDS} for select {body}"
    try:
        return select(look.conn, sql)[0]
    except CdcError as error:
        cause = error.__cause__
        if cause is None or cause.args[0] not in QUERY_KILLED:
            raise
        return None
