"""What becomes of a change that the target refuses: how it is found, and when the pipeline must stop after all."""

from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipelines.replication.changes.batches import Commit, Event, Item, KeyedBatch, Part, Truncate
from cdc_pipelines.replication.databases.postgres.refusals import is_refusal
from cdc_pipelines.replication.errors import IntegrityError, named
from cdc_pipelines.replication.health import judge
from cdc_pipelines.replication.position import Place
from cdc_pipelines.replication.stream.poison import first_refused
from cdc_pipelines.replication.stream.quarantine import MOST_TABLES, WITHIN_S, Quarantine
from cdc_pipelines.replication.stream.refusal import RefusedError
from tests.unit.log_reading import read
from tests.unit.log_records import Log, gtid

EVENT = Event("c", (7,), None, None, Place(None, "f.1", 4), 3, None)


def refusal(table: str = "t", event: Event | None = EVENT) -> RefusedError:
    return RefusedError(table, "too long", event=event)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), min_size=1))))
def test_the_first_of_those_that_are_refused_is_found_in_few_tries(case: tuple[int, set[int]]) -> None:
    count, poison = case
    asked: list[int] = []

    def is_refused(n: int) -> bool:
        asked.append(n)
        return any(step < n for step in poison)

    assert first_refused(count, is_refused) == min(poison)
    assert len(asked) <= count.bit_length()


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (psycopg.errors.CheckViolation, True),
        (psycopg.errors.StringDataRightTruncation, True),
        (psycopg.errors.UndefinedTable, True),
        (psycopg.errors.UndefinedColumn, True),
        (psycopg.errors.RaiseException, True),  # a trigger
        (psycopg.errors.ProgramLimitExceeded, True),  # too long for an index
        (psycopg.DataError, True),  # the driver's own: NUL in a text
        (psycopg.errors.DiskFull, False),
        (psycopg.errors.LockNotAvailable, False),
        (psycopg.errors.SerializationFailure, False),
        (psycopg.errors.DeadlockDetected, False),
        (psycopg.errors.AdminShutdown, False),
        (psycopg.errors.InsufficientPrivilege, False),
        (psycopg.errors.ReadOnlySqlTransaction, False),
        (psycopg.OperationalError, False),  # the connection was lost
    ],
)
def test_only_what_would_be_refused_again_and_again_is_a_refusal(error: type[psycopg.Error], refused: bool) -> None:
    assert is_refusal(error("words")) is refused


def test_what_is_refused_first_is_read_again_and_set_apart_once_it_is_found() -> None:
    quarantine = Quarantine(True)
    assert quarantine.judge(refusal(event=None), live=3, fetched=99) == ()
    assert quarantine.careful_until == 99
    found = refusal()
    assert quarantine.judge(found, live=3, fetched=120) == (found,)
    assert "row 7" in found.message


@pytest.mark.parametrize(("allowed", "live"), [(False, 3), (True, 1)])
def test_it_stops_where_it_may_not_or_nothing_would_go_on(allowed: bool, live: int) -> None:
    with pytest.raises(RefusedError, match="too long"):
        Quarantine(allowed).judge(refusal(), live=live, fetched=9)


def test_many_tables_at_once_are_no_matter_of_their_rows() -> None:
    now = [0.0]
    quarantine = Quarantine(True, clock=lambda: now[0])
    for n in range(MOST_TABLES):
        quarantine.judge(refusal(f"t{n}"), live=99, fetched=9)
        now[0] += 1
    with pytest.raises(IntegrityError, match=f"{MOST_TABLES + 1} tables were refused within 60 seconds.*too long"):
        quarantine.judge(refusal(), live=99, fetched=9)
    now[0] = WITHIN_S + 0.5
    quarantine.judge(refusal(), live=99, fetched=9)


def runs(items: list[Item]) -> list[list[Item]]:
    """The items of each run that has any, without its Commit."""
    found: list[list[Item]] = [[]]
    for item in items:
        if isinstance(item, Commit):
            found.append([])
        else:
            found[-1].append(item)
    return [run for run in found if run]


def test_a_stretch_that_was_refused_comes_as_single_transactions_with_their_events() -> None:
    log = Log()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}), ("u", "t", {"id": 1, "v": "a"}, {"id": 1, "v": "b"}))
    log.transaction(3, *[("c", "k", None, {"id": n, "v": "a"}) for n in range(60)])
    log.truncate(4, "t")
    careful_until = len(log.records)
    for n in (5, 6):
        log.transaction(n, ("c", "t", None, {"id": n, "v": "c"}))
    first, second, third, *rest = runs(read(log, batch=100, careful_until=careful_until))
    (part,) = first
    assert isinstance(part, Part)
    assert part.origins is not None
    assert isinstance(part.tables["t"], KeyedBatch)
    ((key, event),) = part.origins["t"].items()  # type: ignore[union-attr]
    assert (key, event.key, event.op, event.offset) == ((1,), (1,), "u", 2)
    assert (bytes(event.before), bytes(event.after)) == (b'{"id": 1, "v": "a"}', b'{"id": 1, "v": "b"}')
    assert (event.place, event.commit_ms) == (Place(gtid(2), "binlog.000001", 2000), 2000)
    (part,) = second
    assert isinstance(part, Part)
    assert [e.offset for e in part.origins["k"]] == list(range(5, 65))  # type: ignore[index]
    truncate = third[0]
    assert isinstance(truncate, Truncate)
    assert truncate.origin is not None
    assert (truncate.origin.op, truncate.origin.key) == ("t", None)
    parts = [i for run in rest for i in run if isinstance(i, Part)]
    assert [part.origins for part in parts] == [None], "from there on it is as quick as ever"
    assert len(rest) == 1


def test_large_transactions_of_such_a_stretch_come_in_parts_that_are_not_packed() -> None:
    log = Log()
    log.transaction(2, *[("c", "t", None, {"id": n, "v": "a"}) for n in range(150)])
    (run,) = runs(read(log, batch=100, run_events=60, careful_until=len(log.records)))
    sizes = []
    for part in run:
        assert isinstance(part, Part)
        batch = part.tables["t"]
        assert isinstance(batch, KeyedBatch)
        assert part.origins is not None
        assert part.origins["t"].keys() == batch.images.keys()  # type: ignore[union-attr]
        sizes.append(len(batch.images))
    assert sizes == [60, 60, 30]


def test_the_owner_is_told_of_tables_in_quarantine_and_of_letters_that_are_held() -> None:
    apart = {"kind": "quarantined", "since": "2026-01-01T10:00:00.000Z", "reason": "value too long (SQLSTATE 22001)"}
    tables: list[dict[str, Any]] = [
        {"table": "t", "detached": apart, "dead_letters": 1},
        {"table": "u", "detached": apart | {"kind": "lane"}, "dead_letters": 2},
        {"table": "v", "detached": None, "dead_letters": 0},
    ]
    quarantined, held = judge.quarantine_problems("shop", tables)
    assert (quarantined.kind, quarantined.severity) == ("table_quarantined", "degraded")
    assert "table t is in quarantine since 2026-01-01T10:00:00.000Z: value too long" in quarantined.message
    assert "`cdc quarantine release shop t`" in quarantined.next_step
    assert held.kind == "dead_letters"
    assert held.message.startswith("3 change(s)")
    assert "(t, u)" in held.message
    assert list(judge.quarantine_problems("shop", tables[2:])) == []


def test_commands_of_two_words_get_the_pipelines_name_too() -> None:
    assert named("`cdc quarantine release NAME t`, `cdc start NAME`", "shop") == (
        "`cdc quarantine release shop t`, `cdc start shop`"
    )
