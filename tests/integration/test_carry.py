"""Carrying on real servers: what is there stays, what was begun is finished, what does not hold is told.

The source and the target are real; nothing streams but where a test plays that it does.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from cdc_pipelines.replication.changes.batches import RenameTable
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.databases.postgres import carried, shadow
from cdc_pipelines.replication.operations import carry_work
from cdc_pipelines.replication.operations.carried_outcome import Outcome, words
from cdc_pipelines.replication.operations.carrying import carry
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.operations.start import step_copy_all, step_plan
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.stream import restructure
from cdc_pipelines.stack.settings import StackSettings
from tests.copied import Copied

LOG = logging.getLogger("tests.carry")
ALL = dict.fromkeys(("indexes", "foreign_keys", "checks", "comments", "identity"), True)
SCHEMA = (
    "create table p (id int auto_increment primary key, name varchar(20), n int comment 'a number', "
    "unique key name (name), key n (n, name), constraint positive check (n > 0)) comment 'parents'",
    "create table c (id int primary key, p int, constraint of_p foreign key (p) references p (id))",
    "insert into p (name, n) values ('a', 1), ('b', 2), ('c', 3)",
    "insert into c values (1, 1), (2, 3)",
)


class Carrying(Runtime):
    """Pipeline `carrying` of tables p and c, with a store of its own."""

    def __init__(self, copied: Copied, store: ControlStore, pipeline: Pipeline) -> None:
        super().__init__(store.save_pipeline(pipeline, "", tuple(copied.mapped(name) for name in ("c", "p"))), store)
        self.copied = copied
        self.__dict__["source"] = copied.source

    def copy(self, *, force_resync: bool = False) -> None:
        step_plan(self, LOG, force_resync=force_resync)
        step_copy_all(self, LOG, on_chunk=lambda chunk: None)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        cursor = self.copied.target.execute(statement)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []

    def indexes(self, table: str = "p") -> dict[str, bool]:
        """Valid ones by name, and whether they are unique."""
        return dict(self.sql(
            "select indexrelid::regclass::text, indisunique from pg_index where indisvalid and not indisprimary "
            f"and indrelid = '{table}'::regclass"
        ))  # fmt: skip

    def constraints(self) -> set[str]:
        return {name for (name,) in self.sql(
            "select conname from pg_constraint where contype in ('c', 'f') and convalidated and connamespace = "
            "'public'::regnamespace"
        )}  # fmt: skip


@pytest.fixture
def rt(
    request: pytest.FixtureRequest, stack: StackSettings, target: psycopg.Connection, tmp_path: Path
) -> Iterator[Carrying]:
    flavor = getattr(request, "param", "mysql")
    copied = Copied(flavor, getattr(stack, flavor), request.getfixturevalue(flavor), target)
    copied.run(*SCHEMA)
    pipeline = Pipeline.model_validate({
        "name": "carrying", "config": 1, "source": copied.source.spec.model_dump(), "carry": ALL,
        "target": {"type": "postgres", "host": "127.0.0.1", "port": stack.postgres.port,
                   "database": target.info.dbname, "user": "cdc", "password": "${env:CDC_STACK_POSTGRES_PASSWORD}"},
    })
    made = Carrying(copied, ControlStore.open(f"sqlite:///{tmp_path}/control.db"), pipeline)
    made.copy()
    yield made
    copied.source.close()


def told(outcome: Outcome) -> dict[str, str]:
    return {words(each): each.why for each in outcome.rest}


@pytest.mark.parametrize("rt", ["mysql", "mariadb"], indirect=True)
def test_what_is_there_stays_and_what_is_missing_comes(rt: Carrying) -> None:
    """Also beside things of the target's own that have the names; a second look does nothing."""
    rt.sql("create index p_name on p (n)")
    rt.sql("comment on table p is 'our own words'")
    outcome = carry(rt)
    assert outcome.there == {"index": 3, "check": 1, "foreign_key": 1, "identity": 1, "comment": 1}
    assert told(outcome) == {"the comment of p": "the target has another one, of its own"}
    assert sorted(rt.indexes().values()) == [False, False, True]
    assert rt.indexes()["p_name"] is False, "the target's own"
    assert rt.constraints() == {"p_positive", "c_of_p"}
    before = rt.sql("select oid, relfilenode from pg_class order by 1"), rt.sql("select * from _cdc.carried")
    again = carry(rt)
    assert (again.made, again.dropped, again.told) == ([], [], [])
    assert (rt.sql("select oid, relfilenode from pg_class order by 1"), rt.sql("select * from _cdc.carried")) == before

    rt.sql("drop index p_n")
    assert [words(each) for each in carry(rt).made] == ["index p.n"]
    assert rt.sql("insert into p (name, n) values ('own', 1) returning id") == [(4,)]


def test_a_table_that_is_left_out_and_taken_in_again_has_everything_once(rt: Carrying) -> None:
    carry(rt)
    with rt.target("test") as (conn, state):
        mapping = next(table for table in state.mapped_tables() if table.name == "p")
        state.forget_table("p")
        conn.commit()
        assert carry(rt).there == {"index": 1}
        state.save_mapping(mapping)
        conn.execute(
            "insert into _cdc.chunk select pipeline, 'p', ordinal, shard, lower_key, upper_key, state, rows_estimate, "
            "rows, bytes, seconds, position from _cdc.chunk where table_name = 'c'"
        )
        conn.commit()
    assert [words(each) for each in carry(rt).made] == ["foreign key c.of_p"]
    assert rt.indexes() == {"p_name": True, "p_n": False}


def test_a_renamed_table_keeps_everything(rt: Carrying) -> None:
    carry(rt)
    rt.copied.run("rename table p to q")
    with rt.target("test") as (conn, state):
        before = next(table for table in state.mapped_tables() if table.name == "p")
        source = msgspec.structs.replace(before.source, name="q")
        after = msgspec.structs.replace(before, source=source, target_name="q")
        restructure.rename_table(conn, state, rt.name, RenameTable(before, after, []))
        conn.commit()
    assert [words(each) for each in carry(rt).made] == ["foreign key c.of_p"], "it names its parent"
    assert rt.indexes("q") == {"p_name": True, "p_n": False}


def test_what_the_source_has_no_more_or_otherwise_goes(rt: Carrying) -> None:
    carry(rt)
    rt.copied.run(
        "alter table p drop check positive, add constraint positive check (n > -10), drop key name, "
        "drop key n, add key n (name), comment 'elders'", "alter table c drop foreign key of_p, drop key of_p",
    )
    outcome = carry(rt)
    assert sorted(words(each) for each in outcome.dropped) == [
        "foreign key c.of_p", "index c.of_p", "unique index p.name"
    ]
    assert (rt.indexes(), rt.indexes("c"), rt.constraints()) == ({"p_n": False}, {}, {"p_positive"})
    assert rt.sql("select pg_get_constraintdef(oid), obj_description('p'::regclass) from pg_constraint "
                  "where conname = 'p_positive'") == [("CHECK ((n > '-10'::integer))", "elders")]


def test_what_a_process_died_over_is_finished(rt: Carrying, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right behind the record, and behind what was made without being looked at."""

    class Died(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Died

    for function in ("make_index", "validate", "set_sequence", "set_sequences"):
        with monkeypatch.context() as patch:
            patch.setattr(carry_work.carried, function, die)
            with pytest.raises(Died):
                carry(rt)
    assert rt.constraints() == {"p_positive", "c_of_p"}
    # A concurrent build that was killed leaves an index that refuses rows and serves nobody.
    rt.sql("drop index p_name")
    rt.sql("insert into p values (77, 'a', 1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        rt.sql("create unique index concurrently p_name on p (name)")
    rt.sql("delete from p where id = 77")
    rt.sql("update _cdc.carried set state = 'making' where name = 'name'")
    outcome = carry(rt)
    assert told(outcome) == {}
    assert rt.indexes()["p_name"] is True
    assert rt.sql("insert into p (name, n) values ('own', 1) returning id") == [(4,)]


def test_what_does_not_hold_is_told_and_tried_again_when_asked(rt: Carrying) -> None:
    """A unique index serves queries without its uniqueness meanwhile."""
    rt.sql("update p set name = 'a', n = -1 where id = 2")
    rt.sql("update c set p = 99 where id = 1")
    outcome = carry(rt)
    assert {what: why.split(";")[0] for what, why in told(outcome).items()} == {
        "unique index p.name": 'could not create unique index "p_name"',
        "check p.positive": 'check constraint "p_positive" of relation "p" is violated by some row',
        "foreign key c.of_p": 'insert or update on table "c" violates foreign key constraint "c_of_p"',
    }
    assert (rt.indexes(), rt.constraints()) == ({"p_name": False, "p_n": False}, set())
    assert carry(rt).made == []
    rt.sql("update p set name = 'b', n = 2 where id = 2")
    rt.sql("update c set p = 1 where id = 1")
    assert len(carry(rt, again=True).made) == 3
    assert (rt.indexes(), rt.constraints()) == ({"p_name": True, "p_n": False}, {"p_positive", "c_of_p"})


def test_what_must_hold_of_all_rows_waits_for_the_stream(rt: Carrying, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of two positions: until the stream has passed both, two rows may have one row's unique value."""
    rt.copied.run("insert into c values (3, 2)")
    later = rt.source.position().to_json()
    with rt.target("test") as (conn, state):
        [chunk] = state.chunks("p")
        state.save_plan([chunk, msgspec.structs.replace(chunk, ordinal=1, position=later)])
        conn.commit()
    waiting = ["foreign key c.of_p", "unique index p.name"]
    outcome = carry(rt)
    assert sorted(told(outcome)) == waiting
    assert rt.indexes() == {"p_n": False}
    with rt.target("test") as (conn, state):
        state.init_offset(0, chunk.position)
        conn.commit()
    monkeypatch.setattr(carry_work, "_PASS_S", 0.5)
    monkeypatch.setattr(carry_work, "connector_covers", lambda *_: False)
    assert sorted(told(carry(rt))) == waiting
    assert carry(rt, before_stream=True).rest == []
    rt.sql(f"update _cdc.log_offset set position = '{later}'")
    revision = rt.sql("select revision from _cdc.mapped_table where table_name = 'p'")
    outcome = carry(rt)
    assert (told(outcome), rt.indexes()["p_name"]) == ({}, True)
    assert rt.sql("select revision from _cdc.mapped_table where table_name = 'p'") != revision, "the applier must look"


def test_a_new_copy_finds_the_tables_without_them(rt: Carrying) -> None:
    carry(rt)
    rt.sql("create index own on p (id, n)")
    rt.copied.run("alter table p drop key name", "update p set name = 'same'")
    rt.copy(force_resync=True)
    assert (rt.indexes(), rt.constraints()) == ({"own": False}, set())
    assert carry(rt).there == {"index": 2, "check": 1, "foreign_key": 1, "identity": 1, "comment": 2}


def test_a_table_that_takes_anothers_place_counts_on(rt: Carrying) -> None:
    carry(rt)
    carried.drop_foreign_keys(rt.copied.target, rt.name, "p", "for this test")
    live = rt.copied.mapped("p")
    copy = msgspec.structs.replace(live, target_schema="_cdc", target_name="lane_1")
    shadow.create_shadow(rt.copied.target, copy, live)
    rt.sql("insert into _cdc.lane_1 select * from p")
    with rt.copied.target.transaction():
        assert shadow.take_place(rt.copied.target, copy, live) == "swapped"
    outcome = carry(rt)
    assert [words(each) for each in outcome.made] == ["foreign key c.of_p"]
    assert rt.indexes() == {"p_name": True, "p_n": False}
    assert rt.sql("select pg_get_serial_sequence('p', 'id')") == [("public.p_id_seq",)]
    assert rt.sql("insert into p (name, n) values ('own', 1) returning id") == [(4,)]


def test_a_row_that_is_refused_moves_what_refuses_it(rt: Carrying) -> None:
    carry(rt)
    rt.sql("create unique index own on p (n)")
    for statement, gone in (
        ("insert into p values (9, 'a', 9)", "name"), ("insert into p values (9, 'z', -9)", "positive"),
        ("insert into p values (9, 'z', 3)", None),
    ):
        with pytest.raises(psycopg.IntegrityError) as refused:
            rt.sql(statement)
        with rt.copied.target.transaction():
            found = carried.give_way(rt.copied.target, rt.name, refused.value)
        assert (found.name if found else None) == gone
    assert (rt.indexes(), rt.constraints()) == ({"own": True, "p_n": False}, {"c_of_p"})
    rt.copied.run("alter table p drop check positive")
    carry(rt)
    assert rt.indexes() == {"own": True, "p_n": False, "p_name": False}, "it serves queries still"
