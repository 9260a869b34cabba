"""A real table of PostgreSQL that keeps its history: versions begin and end, and none is ever lost."""

from typing import Any

import msgspec
import psycopg
import pytest

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, RowRules, Table
from cdc_pipelines.replication.changes.batches import SMALL, HistoryBatch
from cdc_pipelines.replication.changes.rows import RowCodec
from cdc_pipelines.replication.databases.postgres import ddl, existing, history
from cdc_pipelines.replication.databases.postgres.appliers import applier_of
from cdc_pipelines.replication.databases.postgres.shadow import create_shadow, take_place
from cdc_pipelines.replication.databases.postgres.state import TargetState, ensure_schema
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.operations.generation import _empty_table

ID = Column("id", "int", "int", nullable=False)
V = Column("v 1%", "varchar", "varchar(9)", nullable=False, length=9)
RULES = RowRules(history=True, valid_to="until %s")
LIVE = MappedTable(
    Table("shop", "t", (ID, V), ("id",)), "public", "t 1%",
    (MappedColumn(ID, "id", "integer"), MappedColumn(V, "v 1%", "varchar(9)")), rows=RULES,
)
SHADOW = msgspec.structs.replace(LIVE, target_schema="_cdc", target_name="lane_1")
WIDER = msgspec.structs.replace(
    LIVE, columns=(LIVE.columns[0], MappedColumn(V, "v 1%", "text"), MappedColumn(V, "more", "integer"))
)
TAKEN = "2001-01-01 00:01:00+00"


@pytest.fixture
def conn(target: psycopg.Connection) -> psycopg.Connection:
    """1 and 2 are open since second 10; of 3 a closed version, 5 to 10. Autocommit."""
    ensure_schema(target)
    target.execute("set time zone 'UTC'")
    ddl.create_table(target, LIVE)
    target.execute("""insert into "t 1%" values (1, 'a', '2001-01-01 00:00:10', null, 1),
                   (2, 'b', '2001-01-01 00:00:10', null, 1),
                   (3, 'c', '2001-01-01 00:00:05', '2001-01-01 00:00:10', 1)""")
    return target


def rows(conn: psycopg.Connection, until: str = "until %s") -> list[tuple[Any, ...]]:
    """(id, version, value, from, until): seconds of the first minutes of 2001; `now` is this century."""
    second = "case when {0} > '2001-01-02' then 'now' else extract(epoch from {0} - '2001-01-01')::int::text end"
    return conn.execute(
        f"""select id, _version, "v 1%", {second.format("_valid_from")}, {second.format(f'"{until}"')} """
        """from "t 1%" order by id, _version"""
    ).fetchall()


def row(codec: RowCodec, key: int, value: str) -> Any:
    return codec.row(msgspec.Raw(msgspec.json.encode({"id": key, "v 1%": value})))


def ms(second: int) -> int:
    return (978_307_200 + second) * 1000


def batch(*found: tuple[int, list[tuple[int, str | None]]], **parts: int | None) -> HistoryBatch:
    """Per id (second, value) of its versions."""
    codec = RowCodec(LIVE, "mysql", "postgres")
    seconds = sorted({second for _, each in found for second, _ in each})
    return HistoryBatch(
        {(key,): [(seconds.index(s), None if v is None else row(codec, key, v)) for s, v in each]
         for key, each in found},
        {n: ms(second) for n, second in enumerate(seconds)}, **parts,
    )


def applied(conn: psycopg.Connection, *found: HistoryBatch) -> None:
    """All of them in one transaction."""
    applier = applier_of(conn, RowCodec(LIVE, "mysql", "postgres"), 1)
    with conn.transaction():
        for each in found:
            applier.apply(applier.pack(each))


@pytest.mark.parametrize("more", [0, SMALL])
def test_versions_end_where_the_next_begin(conn: psycopg.Connection, more: int) -> None:
    others = [(n, [(20, "x")]) for n in range(100, 100 + more)]
    applied(conn, batch(
        (1, [(20, "A"), (30, "AA"), (40, None)]), (2, [(20, None), (30, "B")]), (3, [(20, "C")]),
        (4, [(20, None)]), (5, [(30, "e"), (30, "e")]), *others,
    ))  # fmt: skip
    assert rows(conn)[: -more or None] == [
        (1, 1, "a", "10", "20"), (1, 2, "A", "20", "30"), (1, 3, "AA", "30", "40"),
        (2, 1, "b", "10", "20"), (2, 2, "B", "30", None),
        (3, 1, "c", "5", "10"), (3, 2, "C", "20", None),
        (5, 1, "e", "30", "30"), (5, 2, "e", "30", None),
    ]  # fmt: skip
    assert history.malformed(conn, LIVE) == 0


@pytest.mark.parametrize("more", [0, SMALL])
def test_a_version_never_ends_before_it_begins(conn: psycopg.Connection, more: int) -> None:
    """The log's time is a statement's, which may have waited for another's transaction; and clocks are set back."""
    others = [(n, [(1, "x")]) for n in range(100, 100 + more)]
    applied(conn, batch((1, [(8, "A"), (3, "AA")]), (2, [(9, None)]), (3, [(7, "C")]), *others))
    assert rows(conn)[: -more or None] == [
        (1, 1, "a", "10", "10"), (1, 2, "A", "10", "10"), (1, 3, "AA", "10", None), (2, 1, "b", "10", "10"),
        (3, 1, "c", "5", "10"), (3, 2, "C", "10", None),
    ]  # fmt: skip
    assert history.malformed(conn, LIVE) == 0


def test_a_transaction_in_several_parts_leaves_one_version(conn: psycopg.Connection) -> None:
    applied(
        conn, HistoryBatch(
            batch((1, [(20, "A")]), (2, [(20, None)]), (4, [(20, "d")])).versions, {0: ms(20)}, goes_on=0),
        HistoryBatch(
            batch((1, [(20, "AA")]), (2, [(20, "B")]), (4, [(20, None)])).versions, {0: ms(20)}, goes_on=0,
            went_before=0),
        HistoryBatch({**batch((1, [(20, "Z"), (30, "ZZ")])).versions}, {0: ms(20), 1: ms(30)}, went_before=0),
    )
    assert rows(conn) == [
        (1, 1, "a", "10", "20"), (1, 2, "Z", "20", "30"), (1, 3, "ZZ", "30", None),
        (2, 1, "b", "10", "20"), (2, 2, "B", "20", None), (3, 1, "c", "5", "10"),
    ]  # fmt: skip


def test_a_truncate_closes_what_is_open(conn: psycopg.Connection) -> None:
    with conn.transaction():
        assert history.close_range(conn, LIVE, ms(20), None, (2,)) == 1
        assert history.close_range(conn, LIVE, ms(3)) == 1
        assert history.close_range(conn, LIVE, ms(40)) == 0
    assert rows(conn) == [(1, 1, "a", "10", "20"), (2, 1, "b", "10", "10"), (3, 1, "c", "5", "10")]


@pytest.mark.parametrize("by_range", [True, False])
def test_a_copied_chunk_goes_on_with_the_versions_that_are_right(conn: psycopg.Connection, by_range: bool) -> None:
    conn.execute("""insert into "t 1%" values (4, 'd', '2001-01-01 00:00:10', null, 7)""")

    def load(into: MappedTable, more: tuple[bytes, ...] = ()) -> tuple[int, int]:
        assert not more
        name = ddl.table_name(into).as_string(conn)
        return conn.execute(f"insert into {name} values (2, 'b'), (3, 'again'), (4, 'new')").rowcount, 0

    with conn.transaction():
        if not by_range:
            history.expect_all(conn, LIVE)
        found = history.load_range(conn, LIVE, (2,), (9,), load, taken_at=TAKEN, by_range=by_range)
        assert found == (3, 0)
        if not by_range:
            assert history.end_unseen(conn, LIVE) == 1
    ends = None if by_range else "now"
    assert rows(conn) == [
        (1, 1, "a", "10", ends), (2, 1, "b", "10", None), (3, 1, "c", "5", "10"), (3, 2, "again", "60", None),
        (4, 7, "d", "10", "60"), (4, 8, "new", "60", None),
    ]  # fmt: skip


def test_the_first_copy_goes_straight_into_the_table(conn: psycopg.Connection) -> None:
    def load(into: MappedTable, more: tuple[bytes, ...] = ()) -> tuple[int, int]:
        names = [name for name, _ in into.loaded]
        assert (names, more) == (["id", "v 1%", "_valid_from", "_version"], (TAKEN.encode(), b"1"))
        return 0, 0

    with conn.transaction():
        history.load_range(conn, LIVE, (5,), (9,), load, taken_at=TAKEN, by_range=True)


def test_what_a_copy_that_was_broken_off_had_marked_is_open_again(conn: psycopg.Connection) -> None:
    before = rows(conn)
    history.expect_all(conn, LIVE)
    assert rows(conn) != before
    _empty_table(conn, LIVE, "shop", LIVE)
    assert rows(conn) == before


def test_a_table_that_is_made_anew_keeps_owner_grants_and_comment(conn: psycopg.Connection) -> None:
    conn.execute("""grant select on "t 1%" to public; comment on table "t 1%" is 'all of them'""")
    with conn.transaction():
        history.rebuild(conn, WIDER, RULES)
    ((granted, comment),) = conn.execute(
        "select relacl::text ~ '[{,]=r/', obj_description(oid) from pg_class where relname = 't 1%'"
    ).fetchall()
    assert (granted, comment) == (True, "all of them")


def test_a_former_value_that_does_not_fit_is_told(conn: psycopg.Connection) -> None:
    conn.execute("""update "t 1%" set "v 1%" = 'too long' where id = 3""")
    narrower = msgspec.structs.replace(LIVE, columns=(LIVE.columns[0], MappedColumn(V, "v 1%", "varchar(3)")))
    with pytest.raises(ConfigurationError, match=r"public\.t 1% has a value that the columns of now can't hold"):
        _empty_table(conn, narrower, "shop", LIVE)


@pytest.mark.parametrize("wanted", [LIVE, WIDER])
def test_a_resync_of_the_whole_pipeline_begins_with_all_versions_there(
    conn: psycopg.Connection, wanted: MappedTable
) -> None:
    before = rows(conn)
    state = TargetState(conn, "shop")
    with conn.transaction():
        state.new_generation(3, "source", [wanted])
        _empty_table(conn, wanted, "shop", LIVE)
    assert rows(conn) == before
    assert state.count_rows(wanted) == 2
    assert existing.misfits(conn, wanted, pipeline="shop") == []


@pytest.mark.parametrize(("wanted", "until"), [(LIVE, "until %s"), (WIDER, "until %s"), (LIVE, "_valid_to")])
def test_a_lane_keeps_the_history(conn: psycopg.Connection, wanted: MappedTable, until: str) -> None:
    """1 has another value, 2 was deleted where nobody followed, 3 came back, 4 is new."""
    live, shadow = (
        msgspec.structs.replace(
            wanted, target_schema=t.target_schema, target_name=t.target_name,
            rows=msgspec.structs.replace(RULES, valid_to=until),
        ) for t in (LIVE, SHADOW)
    )
    create_shadow(conn, shadow, live, LIVE)
    conn.execute(
        f"""insert into _cdc.lane_1 (id, "v 1%", _valid_from, "{until}", _version) values
        (1, 'z', '2001-01-01 00:00:50', '2001-01-01 00:00:55', 1), (1, 'Z', '2001-01-01 00:00:55', null, 2),
        (3, 'c', '2001-01-01 00:00:50', null, 1), (4, 'd', '2001-01-01 00:00:56', null, 1)"""
    )
    with conn.transaction():
        assert take_place(conn, shadow, live, LIVE) == "merged"
    assert rows(conn, until) == [
        (1, 1, "a", "10", "55"), (1, 2, "Z", "55", None), (2, 1, "b", "10", "50"),
        (3, 1, "c", "5", "10"), (3, 2, "c", "50", None), (4, 1, "d", "56", None),
    ]  # fmt: skip
    assert history.malformed(conn, live) == 0
    assert existing.find(conn, "_cdc", "lane_1") is None


def test_a_history_of_another_key_is_refused_before_anything_is_copied(conn: psycopg.Connection) -> None:
    other = msgspec.structs.replace(LIVE, source=msgspec.structs.replace(LIVE.source, key=("v 1%",)))
    with pytest.raises(ConfigurationError, match=r"kept by the key \(id\), and the table has the key \(v 1%\) now"):
        create_shadow(conn, msgspec.structs.replace(SHADOW, source=other.source), other, LIVE)
    with pytest.raises(ConfigurationError, match=r"rename public\.t 1% on the target"):
        _empty_table(conn, other, "shop", LIVE)
    assert len(rows(conn)) == 3


def test_a_history_under_names_that_nobody_knows_is_not_emptied(conn: psycopg.Connection) -> None:
    """Its table was left out, its columns got other names in the file, and it comes back."""
    renamed = msgspec.structs.replace(LIVE, rows=RowRules(history=True, valid_to="ended"))
    before = rows(conn)
    with pytest.raises(ConfigurationError, match=r"keeps a history .*until %s.* not in .*_valid_from, ended, _version"):
        _empty_table(conn, renamed, "p")
    assert rows(conn) == before
    conn.execute('delete from "t 1%"')
    _empty_table(conn, renamed, "p")
    assert rows(conn, "ended") == []


def test_what_is_wrong_with_a_table_or_its_versions_is_told(conn: psycopg.Connection) -> None:
    conn.execute("""insert into "t 1%" values (1, 'x', '2001-01-01 00:00:20', '2001-01-01 00:00:30', 2),
                 (3, 'x', '2001-01-01 00:00:09', '2001-01-01 00:00:08', 2)""")
    assert history.malformed(conn, LIVE) == 3
    with pytest.raises(psycopg.errors.UniqueViolation):
        conn.execute("""insert into "t 1%" values (1, 'x', '2001-01-01 00:00:20', null, 3)""")
    conn.execute('drop table "t 1%"')
    conn.execute('create table "t 1%" (id int primary key, "v 1%" varchar(9) unique)')
    assert existing.misfits(conn, LIVE) == [
        "lacks column _valid_from timestamp with time zone",
        "lacks column until %s timestamp with time zone",
        "lacks column _version integer",
        "has a unique index on (id), also over closed versions: make it one `where until %s is null`",
        "has a unique index on (v 1%), also over closed versions: make it one `where until %s is null`",
        "lacks a primary key or unique index on (id, _version)",
        "lacks a unique index on (id) where until %s is null",
    ]
