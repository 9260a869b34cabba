"""The shadow on a real PostgreSQL: when it takes a table's place, what it inherits, what it leaves to the table."""

import msgspec
import psycopg
import pytest

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, Table
from cdc_pipelines.replication.databases.postgres import ddl
from cdc_pipelines.replication.databases.postgres.shadow import create_shadow, take_place, what_hangs_on
from cdc_pipelines.replication.databases.postgres.state import ensure_schema
from cdc_pipelines.replication.errors import ConfigurationError


def mapped(*columns: tuple[str, str], key: tuple[str, ...] = ("id",)) -> MappedTable:
    sources = tuple(Column(name, "x", "x", nullable=name not in key) for name, _ in columns)
    return MappedTable(
        Table("shop", "t", sources, key), "public", "t 1%",
        tuple(MappedColumn(c, c.name, kind) for c, (_, kind) in zip(sources, columns, strict=True)),
    )


LIVE = mapped(("id", "integer"), ("v", "varchar(9)"), ("f", "double precision"))
SHADOW = msgspec.structs.replace(LIVE, target_schema="_cdc", target_name="lane_1")
ROWS = [(1, "a", 0.5), (2, None, 0.0), (3, "c", 3.0)]


@pytest.fixture
def conn(target: psycopg.Connection) -> psycopg.Connection:
    """The live table, with rows that differ, and nothing else; autocommit."""
    ensure_schema(target)
    ddl.create_table(target, LIVE)
    target.execute("""insert into "t 1%" values (1, 'a', 0.5), (2, null, '-0'), (9, 'gone', 0)""")
    return target


def fill(conn: psycopg.Connection, shadow: MappedTable = SHADOW) -> None:
    create_shadow(conn, shadow, LIVE)
    with conn.cursor() as cursor:
        cursor.executemany("insert into _cdc.lane_1 values (%s, %s, %s)", ROWS)


def rows(conn: psycopg.Connection) -> list[tuple[object, ...]]:
    return conn.execute("""select id, v, f::text from "t 1%" order by id""").fetchall()


WANTED = [(1, "a", "0.5"), (2, None, "0"), (3, "c", "3")]


def test_a_table_on_which_nothing_hangs_is_replaced(conn: psycopg.Connection) -> None:
    for statement in (
        'create unique index "odd name" on "t 1%" (v, f desc) where id > 0',
        'create index "t 1%_lower" on "t 1%" (lower(v))',
        'alter table "t 1%" set (fillfactor = 70, autovacuum_enabled = false)',
        """comment on table "t 1%" is 'it''s'""", """comment on column "t 1%".v is 'value'""",
        'grant select, insert on "t 1%" to public', 'alter table "t 1%" alter v set default \'none\'',
        'alter table "t 1%" add constraint short check (length(v) < 8)',
    ):
        conn.execute(statement)
    look = (
        "select (select array_agg(indexname || indexdef order by indexname) from pg_indexes where tablename = 't 1%'), "
        "reloptions, obj_description(c.oid, 'pg_class'), col_description(c.oid, 2), relacl::text, relowner, "
        "(select array_agg(conname || pg_get_constraintdef(oid) order by conname) from pg_constraint "
        "where conrelid = c.oid), "
        "(select array_agg(pg_get_expr(adbin, adrelid)) from pg_attrdef where adrelid = c.oid) "
        "from pg_class c where relname = 't 1%'"
    )
    before = conn.execute(look).fetchone()
    fill(conn)
    with conn.transaction():
        assert take_place(conn, SHADOW, LIVE) == "swapped"
    assert rows(conn) == WANTED
    assert conn.execute(look).fetchone() == before
    assert conn.execute("select to_regclass('_cdc.lane_1')").fetchone() == (None,)


HANGS = {
    "views or functions": 'create view seen as select v from "t 1%"',
    "foreign keys": 'create table child (t int references "t 1%")',
    "triggers": "create function nothing() returns trigger language plpgsql as 'begin return new; end'; "
                'create trigger after_all after insert on "t 1%" for each row execute function nothing()',
    "row security": 'alter table "t 1%" enable row level security',
    "a publication": 'create publication everything for table "t 1%"',
    "partitions or inheritance": 'create table heir () inherits ("t 1%")',
    "grants on columns": 'grant select (v) on "t 1%" to public',
    "columns of its own (note)": """alter table "t 1%" add note text default 'kept'""",
    "a storage of its own": 'alter table "t 1%" replica identity full',
}  # fmt: skip


@pytest.mark.parametrize("words", HANGS)
def test_a_table_on_which_something_hangs_gets_the_rows(conn: psycopg.Connection, words: str) -> None:
    """Only those that differ, down to the sign of a zero."""
    conn.execute(HANGS[words])
    assert what_hangs_on(conn, LIVE) == [words]
    same = conn.execute("""select oid from pg_class where relname = 't 1%'""").fetchone()
    untouched = conn.execute("""select ctid from "t 1%" where id = 1""").fetchone()
    fill(conn)
    with conn.transaction():
        assert take_place(conn, SHADOW, LIVE) == "merged"
    assert rows(conn) == WANTED
    assert conn.execute("""select oid from pg_class where relname = 't 1%'""").fetchone() == same
    assert conn.execute("""select ctid from "t 1%" where id = 1""").fetchone() == untouched
    assert conn.execute("select to_regclass('_cdc.lane_1')").fetchone() == (None,)


def test_columns_of_the_target_s_own_keep_their_values(conn: psycopg.Connection) -> None:
    conn.execute('alter table "t 1%" add note text')
    conn.execute("""update "t 1%" set note = 'mine ' || id""")
    fill(conn)
    with conn.transaction():
        take_place(conn, SHADOW, LIVE)
    assert conn.execute("""select note from "t 1%" order by id""").fetchall() == [("mine 1",), ("mine 2",), (None,)]


def test_unique_values_may_change_places(conn: psycopg.Connection) -> None:
    conn.execute('create unique index on "t 1%" (v)')
    conn.execute('create view seen as select v from "t 1%"')
    conn.execute("""update "t 1%" set v = case id when 1 then 'c' else 'a' end where id <> 2""")
    fill(conn)
    with conn.transaction():
        assert take_place(conn, SHADOW, LIVE) == "merged"
    assert rows(conn) == WANTED


def test_a_table_without_a_key_gets_all_rows(conn: psycopg.Connection) -> None:
    live = msgspec.structs.replace(LIVE, source=msgspec.structs.replace(LIVE.source, key=()))
    shadow = msgspec.structs.replace(SHADOW, source=live.source)
    conn.execute('create view seen as select v from "t 1%"')
    fill(conn, shadow)
    conn.execute("insert into _cdc.lane_1 select 1, 'a', 0.5 where false")
    with conn.transaction():
        assert take_place(conn, shadow, live) == "merged"
    assert rows(conn) == WANTED


def test_another_definition_needs_a_table_on_which_nothing_hangs(conn: psycopg.Connection) -> None:
    wide = mapped(("id", "integer"), ("v", "text"))
    shadow = msgspec.structs.replace(wide, target_schema="_cdc", target_name="lane_1")
    conn.execute('create view seen as select v from "t 1%"')
    create_shadow(conn, shadow, wide)
    conn.execute("insert into _cdc.lane_1 values (1, 'longer than before')")
    with pytest.raises(ConfigurationError, match=r"column v is character varying\(9\), not text.*views or functions"), \
            conn.transaction():
        take_place(conn, shadow, wide, LIVE)
    conn.execute("drop view seen")
    with conn.transaction():
        assert take_place(conn, shadow, wide, LIVE) == "swapped", "column f was ours, and is not replicated any more"
    assert conn.execute("""select * from "t 1%" """).fetchall() == [(1, "longer than before")]


def test_readers_are_not_kept_waiting(conn: psycopg.Connection) -> None:
    """Who can't have the table for himself within a second gives up; the rows go in beside the reader."""
    fill(conn)
    with psycopg.connect(conn.info.dsn, password=conn.info.password) as reader:
        seen = reader.execute('select count(*) from "t 1%"').fetchone()
        with pytest.raises(psycopg.errors.LockNotAvailable), conn.transaction():
            take_place(conn, SHADOW, LIVE)
        with conn.transaction():
            assert take_place(conn, SHADOW, LIVE, swap=False) == "merged"
        assert reader.execute('select count(*) from "t 1%"').fetchone() == seen
    assert rows(conn) == WANTED


def test_a_key_that_the_source_has_no_more_does_not_refuse_its_rows(conn: psycopg.Connection) -> None:
    """Else a table that lost the index which was its key could never be copied again."""
    keyless = [msgspec.structs.replace(t, source=msgspec.structs.replace(t.source, key=())) for t in (LIVE, SHADOW)]
    live, shadow = keyless
    create_shadow(conn, shadow, live, LIVE)
    conn.execute("insert into _cdc.lane_1 values (1, 'a', 0), (1, 'a twin', 0)")
    with conn.transaction():
        assert take_place(conn, shadow, live, LIVE) == "swapped"
    assert rows(conn) == [(1, "a", "0"), (1, "a twin", "0")]
