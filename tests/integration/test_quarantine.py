"""A change that the target refuses, on a real broker and a real target: its table is set apart, the others go on."""

import json
import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.postgres.dead_letters import DeadLetter
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from cdc_pipelines.replication.lanes.release import release
from cdc_pipelines.replication.operations import dead_letters
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.stream.refusal import RefusedError
from cdc_pipelines.stack.settings import StackSettings
from tests.integration.test_consumer import NAME, Stage, played, wait_for
from tests.unit.log_reading import COLUMNS, KEYED, KEYLESS, NEW_KEY, OLD_KEY
from tests.unit.test_log_reader import UUID

OTHER = msgspec.structs.replace(KEYED, source=msgspec.structs.replace(KEYED.source, name="u"), target_name="u")
Make = Callable[..., "Scene"]


class Scene(Stage):
    """A pipeline with the tables t and u, and k without a key; of each the source has row 1 when it is `begun`."""

    def begun(self) -> "Scene":
        self.transaction(2, *[("c", table, None, {"id": 1, "v": "a"}) for table in ("t", "u", "k")])
        return self

    def transaction(self, n: int, *changes: tuple[Any, ...]) -> None:
        self.log.transaction(n, *changes)

    def refuse(self, table: str, condition: str) -> None:
        self.conn.execute(f"alter table {table} add constraint odd check ({condition})".encode())

    def rows(self, table: str) -> list[int]:
        return [n for (n,) in self.conn.execute(f"select id from {table} order by id".encode())]

    def letters(self) -> list[DeadLetter]:
        return self.state.dead_letters()

    def applied(self) -> bool:
        """Whether all that was sent is done with."""
        offset = self.state.offset()
        return offset is not None and offset.next_offset >= len(self.log.records)

    def go_on(self) -> None:
        self.send()
        wait_for(self.applied, "the end of the log")

    def restart(self) -> None:
        self.consumers[-1].consumer.stop.set()
        assert self.consumers[-1].ended() is None
        self.start()

    def running(self) -> list[bool]:
        return [each.is_alive() for each in self.consumers]


@pytest.fixture
def make(stack: StackSettings, target_database: str) -> Iterator[Make]:
    made: list[Scene] = []

    def scene(**apply: Any) -> Scene:
        made.append(Scene(played(stack, target_database, **apply), [KEYED, OTHER, KEYLESS]))
        return made[-1]

    yield scene
    for each in made:
        each.end()


def row(n: int, v: str = "a") -> dict[str, Any]:
    return {"id": n, "v": v}


def insert(table: str, n: int, v: str = "a") -> tuple[Any, ...]:
    return ("c", table, None, row(n, v))


def test_a_table_is_set_apart_from_the_transaction_that_is_refused_and_the_others_go_on(make: Make) -> None:
    """One run would hold all of it: what came before is kept, and the other tables' rows come with the letter."""
    scene = make().begun()
    scene.refuse("t", "v <> 'bad'")
    begins = len(scene.log.records)
    scene.transaction(3, insert("t", 2), insert("u", 2), insert("t", 3, "bad"), insert("t", 4))
    scene.transaction(4, insert("t", 5), insert("u", 5))
    scene.send()
    scene.start()

    def seen() -> bool:
        counted = scene.conn.execute(
            "select (select count(*) from u where id = 2), (select count(*) from _cdc.dead_letter), "
            "(select count(*) from _cdc.mapped_table where state = 'detached')"
        ).fetchone()
        assert counted in [(0, 0, 0), (1, 1, 1)], "not in one transaction"
        return scene.applied()

    wait_for(seen, "the end of the log")
    assert scene.rows("t") == [1]
    assert scene.rows("u") == [1, 2, 5]
    (letter,) = scene.letters()
    assert (letter.table, letter.op, letter.sqlstate, letter.state) == ("t", "c", "23514", "held")
    assert (json.loads(letter.key or ""), letter.before, json.loads(letter.after or "")) == (
        {"id": 3}, None, row(3, "bad"),
    )  # fmt: skip
    assert json.loads(letter.position or "") == {"gtid": f"{UUID}:3", "file": "binlog.000001", "pos": 3000}
    assert (letter.log_offset, letter.commit_ms) == (begins + 3, 3000)
    assert "Failing row contains (3, bad)" in letter.error
    detached = scene.state.detached()["t"]
    assert (detached.kind, detached.offset, detached.skipped) == ("quarantined", begins, 4)
    assert MySqlPosition.from_json(detached.position or "").gtids == f"{UUID}:1-2"
    assert "odd" in detached.reason
    assert "Failing row" not in detached.reason, "it goes to people's phones"
    scene.transaction(5, ("u", "t", row(1), row(1, "b")), insert("u", 6))
    scene.log.truncate(6, "t")
    scene.go_on()
    scene.restart()
    scene.transaction(7, insert("t", 7), insert("u", 7))
    scene.go_on()
    assert (scene.rows("t"), scene.rows("u")) == ([1], [1, 2, 5, 6, 7])
    assert scene.state.detached()["t"].skipped == 7
    assert len(scene.letters()) == 1


def test_the_refused_row_of_a_large_transaction_is_found_and_none_of_its_parts_stays(make: Make) -> None:
    """It goes out in parts, large enough for COPY; the target's unique index lets rows change places."""
    scene = make(run_events=100).begun()
    scene.conn.execute("create unique index on t (v)")
    scene.transaction(3, *[insert("t", n, f"v{n}") for n in range(10, 160)])
    scene.send()
    scene.start()
    wait_for(scene.applied, "the first half")
    scene.refuse("t", "v <> 'v150' or id = 150")
    swaps = [("u", "t", row(n, f"v{n}"), row(n, f"v{n ^ 1}")) for n in range(10, 160)]
    scene.transaction(4, *swaps, *[insert("u", n) for n in range(10, 160)])
    scene.transaction(5, insert("u", 2))
    scene.go_on()
    (letter,) = scene.letters()
    assert json.loads(letter.key or "") == {"id": 151}
    assert (json.loads(letter.before or ""), json.loads(letter.after or "")) == (row(151, "v151"), row(151, "v150"))
    assert scene.conn.execute("select count(*) from t where v = 'v' || id").fetchone() == (150,)
    assert scene.rows("u") == [1, 2, *range(10, 160)]
    assert scene.state.detached()["t"].skipped == 150


def test_two_tables_are_refused_in_one_transaction(make: Make) -> None:
    """One without a key, which misses a row that somebody deleted; a key change counts as what it is."""
    scene = make().begun()
    scene.refuse("t", "id < 90")
    scene.send()
    scene.start()
    wait_for(scene.applied, "row 1")
    scene.conn.execute("delete from k")
    scene.log.begin(3)
    scene.log.row(3, "c", "k", after=row(2), order=1)
    scene.log.row(3, "u", "k", before=row(1), after=row(1, "b"), order=2)
    scene.log.row(3, "d", "t", before=row(1), order=3, headers=NEW_KEY)
    scene.log.row(3, "c", "t", after=row(99), order=4, headers=OLD_KEY)
    scene.log.row(3, "c", "u", after=row(2), order=5)
    scene.log.end(3, 5)
    scene.transaction(4, insert("u", 3), insert("k", 3))
    scene.go_on()
    assert (scene.rows("t"), scene.rows("u"), scene.rows("k")) == ([1], [1, 2, 3], [])
    found = {letter.table: letter for letter in scene.letters()}
    assert (found["k"].op, found["k"].key, found["k"].sqlstate) == ("u", None, None)
    assert json.loads(found["k"].before or "") == row(1)
    assert (found["t"].op, json.loads(found["t"].key or "")) == ("c", {"id": 99})
    assert scene.running() == [True]


def test_a_table_that_is_gone_or_has_another_column_of_that_name_is_set_apart(make: Make) -> None:
    scene = make().begun()
    scene.log.ddl(2, "k", COLUMNS, snapshot="true", kind="CREATE", key=[])
    scene.send()
    scene.start()
    wait_for(scene.applied, "row 1")
    scene.conn.execute("drop table t; alter table k add w boolean")
    scene.transaction(3, insert("t", 2), insert("u", 2))
    more = [*COLUMNS, {"name": "w", "typeName": "INT", "optional": True}]
    scene.log.ddl(4, "k", more, key=[], text="alter table k add w int")
    scene.transaction(5, ("c", "k", None, row(2) | {"w": 1}), insert("u", 3))
    scene.go_on()
    assert scene.rows("u") == [1, 2, 3]
    found = {letter.table: letter for letter in scene.letters()}
    assert (found["t"].op, found["t"].error) == ("c", "table public.t is not on the target")
    assert (found["k"].op, json.loads(found["k"].after or "")) == ("s", "alter table k add w int")
    assert "has a column w boolean already" in found["k"].error
    scene.restart()  # also without the table
    scene.transaction(6, insert("t", 3), insert("u", 4))
    scene.go_on()
    assert scene.rows("u") == [1, 2, 3, 4]


def test_a_consumer_that_dies_between_leaves_the_table_as_it_was(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make().begun()
    scene.refuse("t", "v <> 'bad'")
    scene.transaction(3, insert("t", 3, "bad"), insert("u", 3))
    scene.send()
    count = TargetState.count_skipped

    def dies(state: TargetState, changes: Any) -> None:
        raise RetryableError("killed", "")

    monkeypatch.setattr(TargetState, "count_skipped", dies)
    assert isinstance(scene.start().ended(), RetryableError)
    assert (scene.letters(), scene.state.detached(), scene.rows("u")) == ([], {}, [1])
    monkeypatch.setattr(TargetState, "count_skipped", count)
    scene.start()
    wait_for(scene.applied, "the end of the log")
    assert (len(scene.letters()), scene.rows("t"), scene.rows("u")) == (1, [1], [1, 3])


def test_a_target_that_can_not_just_now_is_no_reason_to_set_a_table_apart(make: Make) -> None:
    scene = make().begun()
    scene.conn.execute(
        "create function full_disk() returns trigger language plpgsql as "
        "$$ begin raise exception 'no space left' using errcode = '53100'; end $$; "
        "create trigger full_disk before insert on t for each row execute function full_disk(); "
        "alter table t enable always trigger full_disk"
    )
    scene.send()
    assert isinstance(scene.start().ended(), RetryableError)
    assert (scene.letters(), scene.state.detached()) == ([], {})


@pytest.mark.parametrize("reason", ["the setting", "the last table"])
def test_where_nothing_would_go_on_or_it_is_not_wanted_the_pipeline_stops(make: Make, reason: str) -> None:
    """Nothing need be copied again then: once the target is mended, it goes on where it stands."""
    scene = make(quarantine=reason != "the setting").begun()
    if reason == "the last table":
        for table in ("u", "k"):
            scene.state.detach(table, "for the test", "quarantined")
    scene.refuse("t", "v <> 'bad'")
    scene.transaction(3, insert("t", 3, "bad"))
    scene.send()
    error = scene.start().ended()
    assert isinstance(error, RefusedError)
    assert "table t: the target refused a change" in error.message
    assert "cdc start NAME" in error.next_step
    assert (scene.letters(), "t" in scene.state.detached()) == ([], False)
    scene.conn.execute("alter table t drop constraint odd")
    scene.start()
    wait_for(scene.applied, "the end of the log")
    assert scene.rows("t") == [1, 3]


class Reached(Runtime):
    """The runtime of a pipeline that no control store knows."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(SimpleNamespace(name=NAME, spec=scene.pipeline), None)  # type: ignore[arg-type]


def test_a_letter_is_tried_again_without_being_kept_and_accepted(make: Make) -> None:
    scene = make().begun()
    scene.refuse("t", "v <> 'bad'")
    scene.conn.execute("create unique index on k (v)")
    scene.send()
    scene.start()
    wait_for(scene.applied, "row 1")
    scene.transaction(3, ("u", "t", row(1), row(1, "bad")), insert("u", 3))
    scene.transaction(4, ("u", "k", row(1), row(1, "b")), insert("k", 7, "c"), insert("k", 2, "b"), insert("k", 8, "d"))
    scene.go_on()
    of_k, of_t = scene.letters()
    assert (of_k.op, json.loads(of_k.after or ""), of_k.sqlstate) == ("c", row(2, "b"), "23505")
    rt = Reached(scene)
    assert 'violates check constraint "odd"' in dead_letters.retry(rt, of_t.id)
    assert dead_letters.retry(rt, of_k.id) == "", "alone it is not refused"
    scene.conn.execute("alter table t drop constraint odd")
    assert dead_letters.retry(rt, of_t.id) == ""
    assert scene.conn.execute("select v from t").fetchall() == [("a",)], "a try must not stay"
    assert scene.rows("k") == [1]

    assert [each.id for each in dead_letters.letters(rt, table="t")] == [of_t.id]
    skipped = dead_letters.skip(rt, of_t.id, "seen")
    assert (skipped.state, skipped.note) == ("skipped", "seen")
    with pytest.raises(ConfigurationError, match="is skipped already"):
        dead_letters.skip(rt, of_t.id, "again")
    with pytest.raises(ConfigurationError, match="has no dead letter 0"):
        dead_letters.retry(rt, 0)
    assert [each.id for each in dead_letters.letters(rt)] == [of_k.id]
    assert [each.id for each in dead_letters.letters(rt, settled=True)] == [of_k.id, of_t.id]
    assert set(scene.state.detached()) == {"t", "k"}, "to accept a letter is not to release its table"
    with pytest.raises(ConfigurationError, match="table u is not in quarantine"):
        release(rt, "u", logging.getLogger("test"), holder="test")
    assert scene.state.settle_letters("k") == 1
    assert {each.table: each.state for each in scene.letters()} == {"k": "applied", "t": "skipped"}
    with scene.conn.transaction():
        scene.state.new_generation(2, "s", [KEYED])
    assert (scene.letters(), scene.state.detached()) == ([], {}), "of another life"
