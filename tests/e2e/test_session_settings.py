"""Whatever servers, databases and roles have set for their sessions, the same rows arrive."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pymysql
import pytest
from psycopg import sql

from cdc_pipelines.stack.settings import ServerAccess, StackSettings
from tests.conftest import CommandResult, postgres_connection
from tests.e2e.own_source import own_pipe
from tests.plain_compare import plain_compare

BOTH = (
    "--default-time-zone=+05:30", "--character-set-server=latin1", "--explicit-defaults-for-timestamp=OFF",
    "--transaction-isolation=READ-UNCOMMITTED", "--completion-type=CHAIN",
    "--sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,TRADITIONAL,PAD_CHAR_TO_FULL_LENGTH",
)
SOURCES = {
    "gtid": (*BOTH, "--binlog-row-metadata=FULL", "--sql-generate-invisible-primary-key=ON"),
    "mariadb": (*BOTH, "--binlog-row-metadata=MINIMAL", "--lower-case-table-names=1",
                "--skip-character-set-client-handshake"),
}
GLOBALS = ("sql_safe_updates = 1", "sql_quote_show_create = 0", "group_concat_max_len = 4", "wait_timeout = 3",
           "net_write_timeout = 1", "div_precision_increment = 0")
TARGET = {
    "timezone": "Asia/Kolkata", "datestyle": "SQL, DMY", "intervalstyle": "iso_8601", "bytea_output": "escape",
    "standard_conforming_strings": "off", "client_encoding": "LATIN1", "extra_float_digits": "-15",
    "idle_session_timeout": "1000", "idle_in_transaction_session_timeout": "1", "statement_timeout": "1",
    "lock_timeout": "1", "quote_all_identifiers": "on", "array_nulls": "off", "transform_null_equals": "on",
    "default_transaction_isolation": "serializable", "default_transaction_read_only": "on", "search_path": "other",
}
TABLE = """create table Mixed (id int primary key, c char(9), b varbinary(9), f float, d double, ts timestamp(3) null,
dt datetime null, t time null, bits bit(9), y year, e enum('a','b'), txt text, blb blob)"""
ROW = r"""'a', x'5c27', 0.1, 1e-7, '2024-01-02 03:04:05.678', '2024-01-02 03:04:05', '-12:34:56', b'101', 2024, 'b',
'x\', x'0061'"""


@contextmanager
def a_session(server: ServerAccess) -> Iterator[Callable[..., None]]:
    """What runs statements in a session that has the server's settings, but does not end."""
    login = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
    with closing(pymysql.connect(**login, database="shop", charset="latin1", autocommit=True)) as session, \
            session.cursor() as cursor:

        def run(*statements: str) -> None:
            for statement in statements:
                cursor.execute(statement)

        run("set session wait_timeout = 600")
        yield run


@pytest.mark.parametrize("kind", list(SOURCES))
def test_settings_of_sessions_change_nothing(
    kind: str, stack: StackSettings, cdc: Callable[..., CommandResult], cdc_home: Path,
    pipeline_file: Callable[..., Path], target_database: str, target: psycopg.Connection,
) -> None:
    """Rows and schema changes; what a statement in another character set did to a column is read from the source."""
    target.execute("create schema other")
    target.execute("create table other.mixed (id int)")
    with postgres_connection(stack.postgres, target_database, admin=True) as admin:
        setting = sql.SQL("alter role {} in database {} set {} = {}")
        for name, value in TARGET.items():
            words = map(sql.Identifier, (stack.postgres.user, target_database, name))
            admin.execute(setting.format(*words, sql.Literal(value)))
    with own_pipe(kind, stack, cdc, cdc_home, pipeline_file, target_database, target, *SOURCES[kind]) as pipe:
        pipe.run(*(f"set global {setting}" for setting in GLOBALS))
        # Table names as this server takes them, and quotes that its connector can read in a schema change.
        mixed, quote = ("MIXED", '"') if kind == "mariadb" else ("Mixed", "`")
        with a_session(pipe.server) as run:
            run(TABLE, f"insert into Mixed values (1, {ROW})", 'create table "no key" (v varchar(9))',
                """insert into "no key" values ('a' || 'b'), ('ü')""", "create table odd (id int primary key)")
            run("create table child (id int primary key, p int, foreign key (p) references odd (id) on delete cascade)")
            pipe.configure()
            assert "child → odd" in pipe.cdc("check", pipe.name, "--json").stdout
            run("drop table child")
            pipe.configure()
            pipe.start()
            run(f"insert into {mixed} values (2, {ROW})", "update Mixed set txt = 'y\\' where id = 1",
                """insert into "no key" values ('c\\')""",
                f"alter table {mixed} add column {quote}two words{quote} varchar(9) default 'q' not null",
                f"insert into Mixed values (3, {ROW}, 'é')",
                "alter table Mixed add column at timestamp not null default '2024-01-01 00:00:00'",
                f"alter table {quote}no key{quote} rename to Keyless", "insert into Keyless (v) values ('d')",
                "alter table odd add column ü int default 7", "insert into odd values (2, 2)",
                "create table Later (id int primary key, v char(3))", "insert into Later values (1, 'é')")
            names = {name if kind == "gtid" else name.lower() for name in ("Mixed", "Keyless", "odd", "Later")}
            pipe.arrives(
                "select array_agg(tablename::text order by tablename collate \"C\") from pg_tables "
                "where schemaname = 'public'", [(sorted(names),)],
            )
            pipe.ok("heal")
            run("insert into odd values (3, 3)", "update Mixed set c = 'healed' where id = 1")
        pipe.equal()
        pipe.run("set session sql_mode = ''")  # what is compared with shall not be padded
        for name in names:
            found = plain_compare(pipe.mysql, pipe.target, name, name, [])
            assert found.equal, (name, found)
