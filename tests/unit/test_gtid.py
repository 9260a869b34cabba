"""GTID sets against plain Python sets of numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipelines.replication.databases.mysql.gtid import MariaDbGtidSet, MySqlGtidSet
from cdc_pipelines.replication.errors import IntegrityError

A = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
B = "4e11fa47-71ca-11e1-9e33-c80aa9429562"
NUMBERS = st.sets(st.integers(1, 40))
MODELS = st.dictionaries(st.sampled_from([A, B, f"{A}:tag"]), NUMBERS.filter(bool))


def text_of(model: dict[str, set[int]]) -> str:
    return ",".join(f"{source}:{number}" for source, numbers in model.items() for number in numbers)


def members(model: dict[str, set[int]]) -> set[str]:
    return {f"{source}:{number}" for source, numbers in model.items() for number in numbers}


@given(MODELS)
def test_holds_exactly_its_members(model: dict[str, set[int]]) -> None:
    gtids = MySqlGtidSet(text_of(model))
    for source in (A, B, f"{A}:tag"):
        for number in range(1, 42):
            assert (f"{source}:{number}" in gtids) == (number in model.get(source, ()))


@given(MODELS)
def test_text_and_back_is_the_same_set_in_shortest_form(model: dict[str, set[int]]) -> None:
    gtids = MySqlGtidSet(text_of(model))
    again = MySqlGtidSet(str(gtids))
    assert str(again) == str(gtids)
    assert again.includes(gtids)
    assert gtids.includes(again)
    for source, numbers in model.items():
        intervals = sum(1 for n in numbers if n - 1 not in numbers)
        part = next(p for p in str(gtids).split(",") if p.rsplit(":", intervals)[0] == source)
        assert part.removeprefix(f"{source}:").count(":") == intervals - 1


@given(MODELS, MODELS)
def test_includes_is_subset(one: dict[str, set[int]], other: dict[str, set[int]]) -> None:
    assert MySqlGtidSet(text_of(one)).includes(MySqlGtidSet(text_of(other))) == (members(other) <= members(one))


@given(MODELS, st.lists(st.tuples(st.sampled_from([A, B]), st.integers(1, 40))))
def test_adding_one_by_one_in_any_order(model: dict[str, set[int]], added: list[tuple[str, int]]) -> None:
    gtids = MySqlGtidSet(text_of(model))
    before, kept = str(gtids), gtids.copy()
    for source, number in added:
        gtids.add(f"{source}:{number}")
        model.setdefault(source, set()).add(number)
    assert str(gtids) == str(MySqlGtidSet(text_of(model)))
    assert str(kept) == before, "a copy changed with its original"


@given(MODELS)
def test_filled_has_everything_below_the_highest(model: dict[str, set[int]]) -> None:
    full = {source: set(range(1, max(numbers) + 1)) for source, numbers in model.items()}
    assert str(MySqlGtidSet(text_of(model)).filled()) == str(MySqlGtidSet(text_of(full)))


def test_reads_what_a_server_prints() -> None:
    gtids = MySqlGtidSet(f"{A.upper()}:1-5:11-18,\n{B}:1-27:Red:2-3")
    assert str(gtids) == f"{A}:1-5:11-18,{B}:1-27,{B}:red:2-3"
    assert f"{A}:6" not in gtids
    assert f"{A.upper()}:18" in gtids
    assert f"{B}:red:3" in gtids
    assert f"{B}:3" in gtids
    assert f"{B}:red:4" not in gtids


@pytest.mark.parametrize("bad", ["", "binlog.000001", f"{A}:", f"{A}:x"])
def test_a_text_that_is_no_gtid_is_an_error(bad: str) -> None:
    with pytest.raises(IntegrityError, match="GTID"):
        MySqlGtidSet().add(bad)


MARIADB = st.dictionaries(st.integers(0, 3), st.tuples(st.integers(1, 5), st.integers(1, 50)))


def mariadb_text(model: dict[int, tuple[int, int]]) -> str:
    return ",".join(f"{domain}-{server}-{sequence}" for domain, (server, sequence) in model.items())


@given(MARIADB, MARIADB)
def test_mariadb_compares_by_sequence_within_each_domain(
    one: dict[int, tuple[int, int]], other: dict[int, tuple[int, int]]
) -> None:
    mine = MariaDbGtidSet(mariadb_text(one))
    expected = all(domain in one and sequence <= one[domain][1] for domain, (_, sequence) in other.items())
    assert mine.includes(MariaDbGtidSet(mariadb_text(other))) == expected
    for domain, (server, sequence) in other.items():
        assert (f"{domain}-{server}-{sequence}" in mine) == (domain in one and sequence <= one[domain][1])


@given(MARIADB, st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 50))))
def test_mariadb_never_goes_back(model: dict[int, tuple[int, int]], added: list[tuple[int, int, int]]) -> None:
    gtids = MariaDbGtidSet(mariadb_text(model))
    for domain, server, sequence in added:
        before = gtids.copy()
        gtids.add(f"{domain}-{server}-{sequence}")
        assert gtids.includes(before)
        assert f"{domain}-{server}-{sequence}" in gtids
    assert str(MariaDbGtidSet(str(gtids))) == str(gtids)


@pytest.mark.parametrize("bad", ["", "0-1", "0-1-x", f"{A}:5"])
def test_mariadb_a_text_that_is_no_gtid_is_an_error(bad: str) -> None:
    with pytest.raises(IntegrityError, match="GTID"):
        MariaDbGtidSet().add(bad)
