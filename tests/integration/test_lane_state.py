"""What the target knows of lanes: begun where the stream stands, adopted whole, ended by whatever begins anew."""

import psycopg
import pytest

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, Table
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.databases.postgres import ddl, existing
from cdc_pipelines.replication.databases.postgres.lane_store import LaneStore, state_name
from cdc_pipelines.replication.databases.postgres.shadow import create_shadow
from cdc_pipelines.replication.databases.postgres.state import TargetState, ensure_schema
from cdc_pipelines.replication.errors import ConfigurationError, FencedError

ID = Column("id", "int", "int", nullable=False)


def table(name: str, target: str = "") -> MappedTable:
    return MappedTable(
        Table("shop", name, (ID,), ("id",)), "public", target or name, (MappedColumn(ID, "id", "integer"),)
    )


A, B = table("a"), table("b")


@pytest.fixture
def conn(target: psycopg.Connection) -> psycopg.Connection:
    """Pipeline `shop` with tables `a` and `b`, streaming; autocommit."""
    ensure_schema(target)
    with target.transaction():
        state = TargetState(target, "shop")
        state.new_generation(3, "source", [A, B])
        for each in (A, B):
            ddl.create_table(target, each)
        state.save_plan([Chunk(t, 0, None, None, 1, state="done", position="old") for t in ("a", "b")])
        state.set_log_topic("log", "its id")
        state.init_offset(100, "P")
        state.learn_columns("a", "columns of a")
    return target


def begin(conn: psycopg.Connection, wanted: MappedTable = A, pipeline: str = "shop") -> TargetState:
    """A lane with its shadow and a copied chunk; its state."""
    with conn.transaction():
        shadow = LaneStore(conn, pipeline).open(wanted, reason="resync")
        state = TargetState(conn, state_name(pipeline, wanted.name))
        (mapped,) = state.mapped_tables()
        assert (mapped.target_schema, mapped.target_name) == ("_cdc", shadow)
        create_shadow(conn, mapped, wanted)
        state.save_plan([Chunk(wanted.name, n, None, None, 1, state="done", position="new") for n in (0, 1)])
    return state


def test_a_lane_begins_where_the_stream_stands(conn: psycopg.Connection) -> None:
    lane = begin(conn)
    facts, offset = lane.load(), lane.offset()
    assert facts is not None
    assert offset is not None
    assert (facts.generation, facts.log_topic, facts.log_topic_id) == (3, "log", "its id")
    assert (offset.next_offset, offset.position) == (100, "P")
    assert lane.log_columns() == {"a": "columns of a"}
    assert [c.position for c in TargetState(conn, "shop").chunks("a")] == ["old"], "the stream's own are as they were"


def test_a_pipeline_that_does_not_stream_has_no_lanes(conn: psycopg.Connection) -> None:
    conn.execute("delete from _cdc.log_offset")
    with pytest.raises(ConfigurationError, match="shop does not stream yet"):
        begin(conn)
    assert conn.execute("select count(*) from _cdc.pipeline").fetchone() == (1,)


def test_the_log_is_kept_for_the_slowest_reader(conn: psycopg.Connection) -> None:
    """A lane's too; but not for another pipeline's whose name begins alike."""
    state = TargetState(conn, "shop")
    lane = begin(conn)
    facts = state.load()
    assert facts is not None
    state.advance_offset(100, 500, "Q", None, 0, 0)
    assert state.slowest_offset(facts.epoch) == 100
    lane.advance_offset(100, 300, "Q", None, 0, 0)
    assert state.slowest_offset(facts.epoch) == 300
    with conn.transaction():
        TargetState(conn, "shop2").new_generation(1, "source", [table("a", "a2")])
        TargetState(conn, "shop2").init_offset(7, "P")
    assert state.slowest_offset(facts.epoch) == 300
    with conn.transaction():
        LaneStore(conn, "shop").close("a")
    assert state.slowest_offset(facts.epoch) == 500


def test_the_stream_adopts_all_that_the_lane_has(conn: psycopg.Connection) -> None:
    state, lane = TargetState(conn, "shop"), begin(conn, table("a", "renamed"))
    before = state.table_marks()
    with conn.transaction():
        state.claim_table(table("a", "renamed"))
        lane.learn_columns("a", "columns of today")
        lane.save_mapping(table("a", "renamed"))
        state.detach("a", "is copied again", "lane", position="P", offset=100)
        assert state.table_marks() != before
        state.adopt("a", "shop/a")
        LaneStore(conn, "shop").close("a")
    assert [t.target_name for t in state.mapped_tables()] == ["renamed", "b"]
    assert [(c.ordinal, c.position) for c in state.chunks("a")] == [(0, "new"), (1, "new")]
    assert state.log_columns() == {"a": "columns of today"}
    assert state.detached() == {}
    assert state.table_marks() != before, "a consumer could not see that anything changed"
    claims = conn.execute("select target_name from _cdc.claim where pipeline = 'shop' order by 1").fetchall()
    assert claims == [("b",), ("renamed",)]
    assert conn.execute("select count(*) from _cdc.pipeline").fetchone() == (1,)


@pytest.mark.parametrize("keep", [True, False])
def test_a_table_that_is_left_out_may_be_taken_in_again(conn: psycopg.Connection, keep: bool) -> None:
    """Its rows are of this pipeline; unless it is given up, nobody else gets it."""
    state = TargetState(conn, "shop")
    conn.execute("insert into a values (1)")
    with conn.transaction():
        state.forget_table("a")
        if not keep:
            state.disclaim(A)
    assert [t.name for t in state.mapped_tables()] == ["b"]
    assert state.chunks("a") == []
    assert (existing.misfits(conn, A, pipeline="shop") == []) is keep
    assert bool(TargetState(conn, "other").foreign_claims([A])) is keep


@pytest.mark.parametrize("end", ["resync", "teardown"])
def test_a_new_generation_ends_all_lanes(conn: psycopg.Connection, end: str) -> None:
    lane = begin(conn)
    facts = lane.load()
    assert facts is not None
    with conn.transaction():
        state = TargetState(conn, "shop")
        if end == "resync":
            state.new_generation(4, "source", [A, B])
        else:
            state.drop()
    with pytest.raises(FencedError), conn.transaction():
        lane.require_epoch(facts.epoch)
    for name in ("lane", "pipeline", "chunk", "log_offset", "mapped_table"):
        where = "" if name == "lane" else " where " + ("name" if name == "pipeline" else "pipeline") + " like '%/%'"
        assert conn.execute(f"select count(*) from _cdc.{name}{where}".encode()).fetchone() == (0,), name
    left = conn.execute("select tablename from pg_tables where schemaname = '_cdc' and tablename ~ '^lane_'").fetchall()
    assert left == []


def test_long_names_of_tables_give_names_that_fit_a_session(conn: psycopg.Connection) -> None:
    long = table("ü" * 64, "short")
    names = {state_name("p" * 40, "ü" * 64), state_name("p" * 40, "ü" * 63 + "a"), state_name("shop", "orders")}
    assert len(names) == 3
    assert all(len(name.encode()) <= 50 for name in names)
    lane = begin(conn, long)
    assert [t.name for t in lane.mapped_tables()] == ["ü" * 64]
