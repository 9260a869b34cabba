"""Tables that left the source unseen: told once the stream has passed that, never while it may still come to it."""

from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.health import judge
from cdc_pipelines.replication.stream.findings import Findings
from cdc_pipelines.replication.stream.gone_tables import GoneTables
from tests.unit.log_reading import at


class Source:
    """Its tables, and how far its log is; every look at them is a transaction of others further."""

    def __init__(self, *names: str) -> None:
        self.names, self.end = set(names), 0

    def table_names(self) -> set[str]:
        self.end += 1
        return set(self.names)

    def position(self) -> MySqlPosition:
        return at(self.end)


class Stream:
    """Its tables, and how many of the source's transactions it has applied."""

    def __init__(self, *names: str) -> None:
        self.names, self.applied = set(names), 100

    def tables(self) -> set[str]:
        return set(self.names)

    def has_passed(self, position: MySqlPosition) -> bool:
        return at(self.applied).includes(position)


def test_a_table_is_told_at_the_second_look_and_no_more_once_it_is_back() -> None:
    source, stream = Source("a", "b"), Stream("a", "b")
    gone = GoneTables(source)  # type: ignore[arg-type]
    looks = []
    for names in ("ab", "a", "a", "a", "ab", "ab"):
        source.names = set(names)
        looks.append(gone.look(stream.tables, stream.has_passed))
    assert looks == [[], [], ["b"], ["b"], [], []]


def test_one_that_is_away_for_a_moment_now_and_then_is_not() -> None:
    """As tools for online schema changes swap tables."""
    source, stream = Source("a"), Stream("a")
    gone = GoneTables(source)  # type: ignore[arg-type]
    for there in (True, False, True, False, True):
        source.names = {"a"} if there else set()
        assert gone.look(stream.tables, stream.has_passed) == []


def test_nor_is_one_to_whose_drop_the_stream_has_not_come_yet() -> None:
    source, stream = Source("a", "b"), Stream("a", "b")
    gone = GoneTables(source)  # type: ignore[arg-type]
    stream.applied = 2
    gone.look(stream.tables, stream.has_passed)
    source.names.remove("b")
    for _ in range(5):
        gone.look(stream.tables, stream.has_passed)
    source.names.add("b")  # made again, and away again: counted anew
    gone.look(stream.tables, stream.has_passed)
    source.names.remove("b")
    for _ in range(3):
        assert gone.look(stream.tables, stream.has_passed) == []

    def applies_the_drop(position: MySqlPosition) -> bool:
        stream.names.discard("b")
        return True

    assert gone.look(stream.tables, applies_the_drop) == []


def test_the_problem_says_what_to_do_and_passes_with_the_table() -> None:
    told = Findings.from_json(Findings(gone_tables=("b", "left out since")).to_json())
    (found,) = judge.found_problems("shop", [{"table": "a"}, {"table": "b"}], told)
    assert (found.kind, found.severity) == ("table_gone", "degraded")
    assert found.message.startswith("table b is gone from the source")
    assert "`cdc remove-table shop b`" in found.next_step
    assert not list(judge.found_problems("shop", [{"table": "b"}], Findings.from_json(None)))
