"""A real table of PostgreSQL whose deleted rows stay: what is written to it, whatever way, leaves them there."""

from typing import Any

import msgspec
import psycopg
import pytest

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, RowRules, Table
from cdc_pipelines.replication.changes.batches import SMALL, KeyedBatch
from cdc_pipelines.replication.changes.rows import RowCodec
from cdc_pipelines.replication.databases.postgres import ddl, existing, soft_deletes
from cdc_pipelines.replication.databases.postgres.apply import TableApplier
from cdc_pipelines.replication.databases.postgres.shadow import create_shadow, take_place
from cdc_pipelines.replication.databases.postgres.state import TargetState, ensure_schema
from cdc_pipelines.replication.operations.generation import _empty_table

ID = Column("id", "int", "int", nullable=False)
V = Column("v 1%", "varchar", "varchar(9)", nullable=False, length=9)
SOFT = RowRules(deletes="soft", deleted_column="gone %s")
LIVE = MappedTable(
    Table("shop", "t", (ID, V), ("id",)), "public", "t 1%",
    (MappedColumn(ID, "id", "integer"), MappedColumn(V, "v 1%", "varchar(9)")), rows=SOFT,
)
SHADOW = msgspec.structs.replace(LIVE, target_schema="_cdc", target_name="lane_1")


@pytest.fixture
def conn(target: psycopg.Connection) -> psycopg.Connection:
    """Rows 1 and 2 live, 3 and 4 deleted long ago; autocommit."""
    ensure_schema(target)
    ddl.create_table(target, LIVE)
    target.execute(
        """insert into "t 1%" values (1, 'a', null), (2, 'b', null), (3, 'c', '2001-01-01Z'), (4, 'd', '2001-01-01Z')"""
    )
    return target


def rows(conn: psycopg.Connection, column: str = "gone %s") -> list[tuple[Any, ...]]:
    """(id, value, when it was deleted: `-`, `old`, or `now`)"""
    return conn.execute(
        f"""select id, "v 1%", case when "{column}" is null then '-' when "{column}" < '2002-01-01' then 'old' """
        f"""when "{column}" > now() - interval '1 hour' then 'now' else "{column}"::text end from "t 1%" order by id"""
    ).fetchall()


def row(codec: RowCodec, key: int, value: str) -> Any:
    return codec.row(msgspec.Raw(msgspec.json.encode({"id": key, "v 1%": value})))


def test_what_can_not_have_deleted_rows_is_told(target: psycopg.Connection) -> None:
    ensure_schema(target)
    target.execute('create table "t 1%" (id int primary key, "v 1%" varchar(9) unique)')
    assert existing.misfits(target, LIVE) == [
        "lacks column gone %s timestamp with time zone",
        "has a unique index on (v 1%), also over deleted rows: make it one `where gone %s is null`",
    ]
    target.execute('alter table "t 1%" add "gone %s" timestamptz not null, drop constraint "t 1%_v 1%_key"')
    (wrong,) = existing.misfits(target, LIVE)
    assert wrong.startswith("column gone %s is not a plain timestamp with time zone")


@pytest.mark.parametrize("size", [1, SMALL + 5])
@pytest.mark.parametrize("unique", [False, True])
def test_a_batch_marks_and_revives(conn: psycopg.Connection, size: int, unique: bool) -> None:
    if unique:
        conn.execute('create unique index on "t 1%" ("v 1%") where "gone %s" is null')
    codec = RowCodec(LIVE, "mysql", "postgres")
    batch = KeyedBatch({(1,): codec.gone(row(codec, 1, "a"), 1000), (3,): row(codec, 3, "b"), (2,): row(codec, 2, "a")},
                       fresh=False)
    for n in range(10, 10 + size):
        batch.images[n,] = row(codec, n, f"v{n}")
    applier = TableApplier(conn, codec, 1, unique=bool(existing.unique_indexes(conn, LIVE)))
    with conn.transaction():
        applier.apply(applier.pack(batch))
    assert rows(conn)[:4] == [(1, "a", "old"), (2, "a", "-"), (3, "b", "-"), (4, "d", "old")]
    assert len(rows(conn)) == 4 + size


def test_a_truncate_marks_what_is_live(conn: psycopg.Connection) -> None:
    conn.execute("set time zone 'UTC'")
    with conn.transaction():
        assert soft_deletes.mark_range(conn, LIVE, 1_700_000_000_000, None, (2,)) == 1
        assert soft_deletes.mark_range(conn, LIVE, 1_700_000_000_000) == 1
        assert soft_deletes.mark_range(conn, LIVE, 1_700_000_000_001) == 0
    assert rows(conn) == [(1, "a", "2023-11-14 22:13:20+00"), (2, "b", "2023-11-14 22:13:20+00"),
                          (3, "c", "old"), (4, "d", "old")]


@pytest.mark.parametrize("by_range", [True, False])
def test_a_chunk_brings_rows_back_and_marks_the_others(conn: psycopg.Connection, by_range: bool) -> None:
    def load(into: MappedTable) -> tuple[int, int]:
        return conn.execute(f"insert into {ddl.table_name(into).as_string(conn)} values (3, 'new')").rowcount, 0

    with conn.transaction():
        if not by_range:
            soft_deletes.mark_range(conn, LIVE, 10**12)
        found = soft_deletes.load_range(conn, LIVE, (2,), (4,), load, by_range=by_range)
    assert found == (1, 0)
    assert rows(conn)[1:] == [(2, "b", "now" if by_range else "old"), (3, "new", "-"), (4, "d", "old")]
    assert rows(conn)[0] == (1, "a", "-" if by_range else "old"), "rows beside the range are not touched"


WIDER = msgspec.structs.replace(
    LIVE, columns=(LIVE.columns[0], MappedColumn(V, "v 1%", "text"), MappedColumn(V, "more", "integer"))
)


def test_a_table_that_must_be_made_anew_keeps_its_rows_as_deleted_ones(conn: psycopg.Connection) -> None:
    conn.execute('grant select on "t 1%" to public')
    with conn.transaction():
        soft_deletes.rebuild(conn, WIDER)
    grants = conn.execute("select relacl::text ~ '[{,]=r/' from pg_class where relname = 't 1%'").fetchall()
    assert grants == [(True,)], "its readers still read it"
    assert rows(conn) == [(1, "a", "now"), (2, "b", "now"), (3, "c", "old"), (4, "d", "old")]
    assert existing.misfits(conn, WIDER) == ["holds rows that this pipeline did not write"]


@pytest.mark.parametrize("wanted", [LIVE, WIDER])
def test_a_resync_of_the_whole_pipeline_begins_with_all_rows_there(
    conn: psycopg.Connection, wanted: MappedTable
) -> None:
    state = TargetState(conn, "shop")
    with conn.transaction():
        state.new_generation(3, "source", [wanted])
        _empty_table(conn, wanted, "shop")
    assert [r[2] for r in rows(conn)] == (["-", "-"] if wanted is LIVE else ["now", "now"]) + ["old", "old"]
    assert state.count_rows(wanted) == (2 if wanted is LIVE else 0), "deleted rows don't count as copied ones"


@pytest.mark.parametrize(("column", "hangs"), [("gone %s", False), ("gone %s", True), ("_deleted_at", False)])
def test_a_lane_keeps_deleted_rows(conn: psycopg.Connection, column: str, hangs: bool) -> None:
    """2 was deleted while nobody followed, 4 came back, 5 is new."""
    live, shadow = (
        msgspec.structs.replace(t, rows=RowRules(deletes="soft", deleted_column=column)) for t in (LIVE, SHADOW)
    )
    if hangs:
        conn.execute('create view v as select * from "t 1%"')
    create_shadow(conn, shadow, live, LIVE)
    conn.execute("insert into _cdc.lane_1 values (1, 'z'), (4, 'again'), (5, 'new')")
    with conn.transaction():
        assert take_place(conn, shadow, live, LIVE) == ("merged" if hangs else "swapped")
    assert rows(conn, column) == [(1, "z", "-"), (2, "b", "now"), (3, "c", "old"), (4, "again", "-"), (5, "new", "-")]


def test_a_table_whose_deletes_are_applied_again_loses_its_deleted_rows(conn: psycopg.Connection) -> None:
    live, shadow = (msgspec.structs.replace(t, rows=RowRules()) for t in (LIVE, SHADOW))
    create_shadow(conn, shadow, live, LIVE)
    conn.execute("insert into _cdc.lane_1 values (1, 'z')")
    with conn.transaction():
        assert take_place(conn, shadow, live, LIVE) == "swapped"
    assert conn.execute('select * from "t 1%"').fetchall() == [(1, "z")]
