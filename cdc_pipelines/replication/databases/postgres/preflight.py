"""What a target must offer before anything is written to it. Everything is looked at; nothing raises."""

from collections.abc import Callable, Sequence

import psycopg
from psycopg import sql

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.postgres import ddl, existing
from cdc_pipelines.replication.databases.postgres.connection import brief, connect
from cdc_pipelines.replication.databases.postgres.state import CLAIMED_FIX, TargetState
from cdc_pipelines.replication.databases.postgres.state_schema import found_format
from cdc_pipelines.replication.errors import CdcError, CheckResult
from cdc_pipelines.replication.pipeline import Target

_OLDEST = 120000  # generated columns, and all that our SQL uses
_NAME_BYTES = 63


def check_target(
    spec: Target, mapped: Sequence[MappedTable], pipeline_name: str, *, anew: bool = False, foreign_keys: bool = False
) -> list[CheckResult]:
    """All results, met or not. A check that can't be run is itself one that is not met.

    `anew`: a new generation begins, which makes tables of ours again where their definition is another.
    `foreign_keys`: there will be some.
    """
    try:
        conn = connect(spec, purpose=f"{pipeline_name}:check", autocommit=True)
    except CdcError as error:
        return [CheckResult("target login", False, error.message, error.next_step)]
    where = f"PostgreSQL {conn.info.host}:{conn.info.port}, database {spec.database}, user {conn.info.user}"
    results = [CheckResult("target login", True, where)]
    checks: list[tuple[str, Callable[[], CheckResult]]] = [
        ("target version", lambda: _version(conn)),
        ("target encoding", lambda: _encoding(conn)),
        ("target is writable", lambda: _writable(conn)),
        ("target state schema", lambda: _state(conn)),
        ("target schema", lambda: _schema(conn, mapped)),
        ("target names", lambda: _names(mapped)),
        ("target tables", lambda: _tables(conn, mapped, pipeline_name, anew)),
        ("target claims", lambda: _claims(conn, mapped, pipeline_name)),
        ("target triggers", lambda: _triggers(conn, mapped, foreign_keys)),
    ]
    with conn:
        for name, check in checks:
            try:
                results.append(check())
            except CdcError as error:
                results.append(CheckResult(name, False, error.message, error.next_step))
            except psycopg.Error as error:
                results.append(CheckResult(name, False, f"can't be looked at: {brief(error)}", "see the server's log."))
    return results


def _version(conn: psycopg.Connection) -> CheckResult:
    text = _value(conn, "show server_version")
    ok = conn.info.server_version >= _OLDEST
    return CheckResult("target version", ok, f"PostgreSQL {text}", "" if ok else "use PostgreSQL 12 or newer.")


def _encoding(conn: psycopg.Connection) -> CheckResult:
    found = _value(conn, "show server_encoding")
    if found == "UTF8":
        return CheckResult("target encoding", True, "UTF8")
    return CheckResult(
        "target encoding",
        False,
        f"database {conn.info.dbname} has encoding {found}, which can't hold every text",
        "use a database made with: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0;",
    )


def _writable(conn: psycopg.Connection) -> CheckResult:
    if _value(conn, "select pg_is_in_recovery()"):
        return CheckResult("target is writable", False, "the server is a standby", "give the primary's host and port.")
    return CheckResult("target is writable", True, "not a standby")


def _state(conn: psycopg.Connection) -> CheckResult:
    found = found_format(conn)
    if found is not None:
        return CheckResult("target state schema", True, f"_cdc is there, format {found}")
    exists = _value(conn, "select to_regnamespace('_cdc') is not null")
    if exists:
        allowed = _value(conn, "select has_schema_privilege('_cdc', 'CREATE')")
        fix = _text(conn, "GRANT ALL ON SCHEMA _cdc TO {};", conn.info.user)
    else:
        allowed = _value(conn, "select has_database_privilege(current_database(), 'CREATE')")
        fix = _text(conn, "GRANT CREATE ON DATABASE {} TO {};", conn.info.dbname, conn.info.user)
    message = "_cdc will be created" if allowed else f"user {conn.info.user} may not create our schema _cdc"
    return CheckResult("target state schema", bool(allowed), message, "" if allowed else fix)


def _schema(conn: psycopg.Connection, mapped: Sequence[MappedTable]) -> CheckResult:
    """The right to create tables, in each schema in which one is missing."""
    problems, fixes = [], []
    user = conn.info.user
    for name in sorted({t.target_schema for t in mapped}):
        there = conn.execute("select oid from pg_catalog.pg_namespace where nspname = %s", [name]).fetchone()
        if there is None:
            if not _value(conn, "select has_database_privilege(current_database(), 'CREATE')"):
                problems.append(f"schema {name} does not exist, and user {user} may not create it")
                fixes.append(_text(conn, "CREATE SCHEMA {} AUTHORIZATION {};", name, user))
            continue
        missing = [t for t in mapped if t.target_schema == name and existing.find(conn, name, t.target_name) is None]
        row = conn.execute(
            "select has_schema_privilege(%(oid)s, 'USAGE'), has_schema_privilege(%(oid)s, 'CREATE')",
            {"oid": there[0]},
        ).fetchone()
        usage, create = row or (False, False)
        if not usage or (missing and not create):
            problems.append(f"user {user} may not {'create tables in' if usage else 'use'} schema {name}")
            fixes.append(_text(conn, "GRANT USAGE, CREATE ON SCHEMA {} TO {};", name, user))
    names = ", ".join(sorted({t.target_schema for t in mapped}))
    return CheckResult(
        "target schema", not problems, "; ".join(problems) or f"tables can be made in {names}", "\n".join(fixes)
    )


def _names(mapped: Sequence[MappedTable]) -> CheckResult:
    """PostgreSQL cuts longer names silently, so that two could become one."""
    long = [
        f"{kind} {name}"
        for table in mapped
        for kind, name in [
            ("schema", table.target_schema),
            ("table", table.target_name),
            *((f"column {table.target_name}.", c.target_name) for c in table.columns),
        ]
        if len(name.encode()) > _NAME_BYTES
    ]
    return CheckResult(
        "target names",
        not long,
        f"longer than PostgreSQL's {_NAME_BYTES} bytes: {', '.join(sorted(set(long)))}" if long
        else f"all fit {_NAME_BYTES} bytes",
        "give a shorter name under `target` (tables) or `rename` (columns) in the pipeline's file." if long else "",
    )


def _tables(conn: psycopg.Connection, mapped: Sequence[MappedTable], pipeline: str, anew: bool) -> CheckResult:
    problems, fixes = [], []
    found = 0
    for table in mapped:
        name = f"{table.target_schema}.{table.target_name}"
        if existing.find(conn, table.target_schema, table.target_name) is None:
            continue
        found += 1
        oid = _value(conn, _regclass(conn, table))
        row = conn.execute(
            "select array(select p from unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p "
            "where not has_table_privilege(%(oid)s, p)), "
            "(select pg_has_role(relowner, 'USAGE') from pg_catalog.pg_class where oid = %(oid)s)",
            {"oid": oid},
        ).fetchone()
        missing, owner = row or ([], False)
        if missing:
            problems.append(f"{name}: user {conn.info.user} lacks {', '.join(missing)} on it")
            fixes.append(
                _text(conn, "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {}.{} TO {};",
                      table.target_schema, table.target_name, conn.info.user)
            )
            if "SELECT" in missing:
                continue
        if not owner:
            problems.append(f"{name}: user {conn.info.user} does not own it, so added columns can't be followed")
            fixes.append(_text(conn, "ALTER TABLE {}.{} OWNER TO {};", table.target_schema, table.target_name,
                               conn.info.user))
        differences = existing.misfits(conn, table, pipeline=pipeline)
        if differences and not (anew and existing.is_ours(conn, table, pipeline)):
            problems.append(f"{name}: {'; '.join(differences)}")
            fixes.append(
                f"drop or empty {name}, or alter it as said, or give table {table.name} another target name."
            )
    message = "; ".join(problems) or (
        f"{found} of {len(mapped)} tables exist and fit; the others will be created" if found
        else f"{len(mapped)} tables will be created"
    )
    return CheckResult("target tables", not problems, message, "\n".join(dict.fromkeys(fixes)))


def _claims(conn: psycopg.Connection, mapped: Sequence[MappedTable], pipeline: str) -> CheckResult:
    if not _value(conn, "select to_regclass('_cdc.claim') is not null"):
        return CheckResult("target claims", True, "no other pipeline writes to this database")
    taken = TargetState(conn, pipeline).foreign_claims(mapped)
    return CheckResult(
        "target claims",
        not taken,
        "; ".join(f"{schema}.{name} belongs to pipeline {owner}" for schema, name, owner in taken)
        or "no other pipeline writes to these tables",
        CLAIMED_FIX if taken else "",
    )


def _triggers(conn: psycopg.Connection, mapped: Sequence[MappedTable], foreign_keys: bool) -> CheckResult:
    """Foreign keys and triggers of the target would refuse, or change, rows that come in the log's order."""
    found: list[str] = []
    always: list[str] = []
    for table in mapped:
        oid = _value(conn, _regclass(conn, table))
        if oid is None:
            continue
        names = conn.execute(
            "select case when tgisinternal then 'foreign key ' || (select conname from pg_catalog.pg_constraint c "
            "where c.oid = tgconstraint) else 'trigger ' || tgname end, tgenabled = 'A' "
            "from pg_catalog.pg_trigger where tgrelid = %s and tgenabled in ('O', 'A') order by 1",
            [oid],
        ).fetchall()
        for name, fires_always in dict.fromkeys(names):
            (always if fires_always else found).append(f"{table.target_schema}.{table.target_name}: {name}")
    if always:
        return CheckResult(
            "target triggers", False, f"{'; '.join(always)}: enabled ALWAYS, so nothing lets it rest",
            "ALTER TABLE … ENABLE TRIGGER … (without ALWAYS), or drop it.",
        )
    if foreign_keys:
        found.append("foreign keys that are to be made (carry.foreign_keys)")
    if not found:
        return CheckResult("target triggers", True, "no triggers or foreign keys on the target tables")
    try:
        with conn.transaction():
            conn.execute("set local session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        user = conn.info.user
        fix = (
            _text(conn, "GRANT SET ON PARAMETER session_replication_role TO {};", user)
            if conn.info.server_version >= 150000
            else _text(conn, "ALTER USER {} SUPERUSER; -- before version 15 only superusers may, or drop them", user)
        )
        return CheckResult(
            "target triggers", False,
            f"{'; '.join(found)}: user {user} may not let them rest (session_replication_role)", fix,
        )
    return CheckResult("target triggers", True, f"rest while rows are written: {'; '.join(found)}")


def _regclass(conn: psycopg.Connection, table: MappedTable) -> sql.Composed:
    return sql.SQL("select to_regclass({})::oid").format(sql.Literal(ddl.table_name(table).as_string(conn)))


def _value(conn: psycopg.Connection, query: str | sql.Composed) -> object:
    row = conn.execute(query).fetchone()
    return None if row is None else row[0]


def _text(conn: psycopg.Connection, statement: str, *names: str) -> str:
    """A statement for people, with the names quoted."""
    return statement.format(*(sql.Identifier(name).as_string(conn) for name in names))
