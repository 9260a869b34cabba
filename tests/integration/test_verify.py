"""The comparison finds every kind of difference, and only differences: on real servers, against a plain comparison."""

from random import Random

import msgspec
import pytest

from cdc_pipelines.replication.errors import ConfigurationError, IntegrityError, RetryableError
from cdc_pipelines.replication.verify.tables import verify_table
from tests.copied import Copied
from tests.integration.judged import agree, plain, wide


def test_equal_tables_are_equal(copied: Copied) -> None:
    table = wide(copied)
    result = copied.verify(table, rows_per_range=700)
    assert result.equal
    assert (result.rows_source, result.rows_target, result.chunks) == (5000, 5000, 8)
    assert plain(copied, table).equal


# What is done to the target → the columns that must be named, or the kind of difference
_CHANGES = {
    "one byte": ("update wide set a = 'A1' || substr(a, 3) where id = 500", ("a",)),
    "case": ("update wide set a = upper(a) where id = 500", ("a",)),
    "trailing space": ("update wide set a = a || ' ' where id = 500", ("a",)),
    "leading space": ("update wide set a = ' ' || a where id = 500", ("a",)),
    "null for a value": ("update wide set a = null where id = 500", ("a",)),
    "empty for null": ("update wide set b = '' where id = 500", ("b",)),
    "value for null": ("update wide set b = 'x' where id = 500", ("b",)),
    "swapped columns": ("update wide set a = b, b = a where id = 510", ("a", "b")),
    "a value slid into its neighbour": ("update wide set a = null, b = a where id = 500", ("a", "b")),
    "a value moved over the border": ("update wide set a = a || 'b', b = substr(b, 2) where id = 510", ("a", "b")),
    "last character of a long text": ("update wide set t = left(t, -1) || 'T' where id = 1500", ("t",)),
    "last bit of a double": ("update wide set d = d * (1 + 1e-15) where id = 500", ("d",)),
    "sign of a zero": ("update wide set d = '-0' where id = 500", ("d",)),
    "a float": ("update wide set f = f * 1.000001::float4 where id = 500", ("f",)),
    "last digit": ("update wide set n = n + 0.0001 where id = 500", ("n",)),
    "a microsecond": ("update wide set moment = moment + interval '1 microsecond' where id = 500", ("moment",)),
    "a microsecond with zone": ("update wide set stamp = stamp - interval '1 microsecond' where id = 500", ("stamp",)),
    "an hour": ("update wide set stamp = stamp + interval '1 hour' where id = 500", ("stamp",)),
    "a millisecond of a negative span": ("update wide set span = span - interval '1 ms' where id = 500", ("span",)),
    "a zero byte more": ("update wide set raw = raw || '\\x00' where id = 500", ("raw",)),
    "a json number": ("update wide set j = jsonb_set(j, '{i}', '51') where id = 500", ("j",)),
    "a json type": ("update wide set j = jsonb_set(j, '{i}', '\"50\"') where id = 500", ("j",)),
    "json null for null": ("update wide set j = 'null' where id = 500", ("j",)),
    "a flag": ("update wide set flag = 1 - flag where id = 500", ("flag",)),
    "a bit": ("update wide set bits = bits # B'000000001' where id = 500", ("bits",)),
    "a label": ("update wide set e = case e when 'x' then 'y' else 'x' end where id = 500", ("e",)),
    "a day": ("update wide set dt = dt + 1 where id = 500", ("dt",)),
    "a lost row": ("delete from wide where id = 500", "missing"),
    "the lost first row": ("delete from wide where id = 10", "missing"),
    "the lost last row": ("delete from wide where id = 50000", "missing"),
    "a row too many": ("insert into wide (id) values (501)", "extra"),
    "a row too many before all": ("insert into wide (id) values (0)", "extra"),
    "a row too many behind all": ("insert into wide (id) values (18446744073709551615)", "extra"),
}


def test_every_kind_of_difference_is_found_and_named(copied: Copied) -> None:
    table = wide(copied)
    for side in (copied.admin.cursor(), copied.target):
        side.execute("update wide set d = 0 where id = 500")
    for what, (statement, expected) in _CHANGES.items():
        at = 520 if what == "last bit of a double" else 500
        with copied.target.transaction(force_rollback=True):
            copied.target.execute(statement.replace("500", str(at), 1) if at != 500 else statement)
            result = copied.verify_in_place(table, rows_per_range=700)
        assert result.difference_count == 1, what
        (difference,) = result.differences
        if isinstance(expected, str):
            assert difference.kind == expected, what
        else:
            assert (difference.kind, difference.columns) == ("differs", expected), what
            assert difference.key == {"id": 510 if "510" in statement else 1500 if "1500" in statement else at}, what
    assert copied.verify(table).equal


def test_many_differences_in_all_places_are_counted_exactly(copied: Copied) -> None:
    table = wide(copied, 8000)
    copied.target.execute("delete from wide where id % 70 = 0")
    copied.target.execute("update wide set a = upper(a) where id % 110 = 0")
    copied.target.execute("insert into wide (id, a) select i, 'extra' from generate_series(5, 70005, 130) i")
    copied.run("delete from wide where id between 20000 and 30000")
    agree(copied, table, copied.verify(table, max_keys=100_000, rows_per_range=500))
    few = copied.verify(table, max_keys=3, rows_per_range=500)
    assert len(few.differences) == 3
    assert few.difference_count == plain(copied, table).count


def test_an_empty_side_lacks_every_row(copied: Copied) -> None:
    table = wide(copied, 3000)
    copied.target.execute("delete from wide")
    agree(copied, table, copied.verify(table, max_keys=100_000, rows_per_range=100))
    table = copied.copy("wide")
    copied.run("delete from wide")
    agree(copied, table, copied.verify(table, max_keys=100_000, rows_per_range=100))
    copied.target.execute("delete from wide")
    assert copied.verify(table).equal


def test_counting_is_given_up_where_everything_differs(copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc_pipelines.replication.verify.compare._MAX_DIFFERENCES", 1000)
    table = wide(copied, 4000)
    copied.target.execute("update wide set a = upper(a)")
    result = copied.verify(table, rows_per_range=500)
    assert not result.equal
    assert not result.complete
    assert 1000 <= result.difference_count < 4000
    assert len(result.differences) == 100


def test_a_target_that_lost_its_key_is_compared_as_it_is(copied: Copied) -> None:
    table = wide(copied, 1000)
    copied.target.execute("alter table wide drop constraint wide_pkey")
    copied.target.execute("alter table wide alter column id drop not null")
    assert copied.verify(table).equal
    copied.target.execute("insert into wide select * from wide where id in (10, 500, 700)")
    copied.target.execute("insert into wide (id, a) values (null, 'no key')")
    agree(copied, table, copied.verify(table))


def test_a_missing_target_table_or_column_is_said(copied: Copied) -> None:
    table = wide(copied, 10)
    copied.target.execute("alter table wide drop column e")
    with pytest.raises(IntegrityError, match="has no column e"):
        copied.verify(table)
    copied.target.execute("drop table wide")
    with pytest.raises(IntegrityError, match="does not exist"):
        copied.verify(table)


def test_an_error_of_either_side_ends_the_comparison(copied: Copied) -> None:
    table = wide(copied, 5000)
    gone = msgspec.structs.replace(table, source=msgspec.structs.replace(table.source, name="gone"))
    with copied.source.open_snapshot(1, []) as snapshot, copied.target.transaction(), pytest.raises(ConfigurationError):
        verify_table(snapshot.sessions[0], copied.target, gone, rows_per_range=100)
    with copied.source.open_snapshot(1, []) as snapshot, copied.target.transaction(force_rollback=True):
        copied.target.execute("set local statement_timeout = 1")
        with pytest.raises(RetryableError):
            verify_table(snapshot.sessions[0], copied.target, table, rows_per_range=4000)


@pytest.mark.parametrize("side", ["copied", "from_mariadb"])
def test_random_differences(side: str, request: pytest.FixtureRequest) -> None:
    """Many random changes on both sides, in three tables, against the plain comparison."""
    copied: Copied = request.getfixturevalue(side)
    random = Random(11)
    texts = ["", " ", "a", "A", "a ", "é", "e\u0301", "\U0001f600", "\x1f", "\\", "NULL", None, "x" * 100]
    copied.run(
        "create table r1 (k int primary key, a varchar(200), b varchar(200), d double)",
        "create table r2 (k varchar(20) collate utf8mb4_bin primary key, a varchar(200), b varchar(200), d double)",
        "create table r3 (k int, a varchar(200), b varchar(200), d double)",
    )
    names = ("r1", "r2", "r3")
    for name in names:
        copied.insert(name, [(n, random.choice(texts), random.choice(texts), random.choice([None, 0.1, -0.0, n]))
                             for n in range(400)])
    tables = {name: copied.copy(name) for name in names}
    for _ in range(8):
        for name in names:
            with copied.admin.cursor() as cursor:
                for _ in range(random.randint(0, 6)):
                    key = str(random.randrange(450))
                    for side in random.sample([cursor, copied.target], random.randint(1, 2)):
                        match random.randrange(3):
                            case 0:
                                side.execute(f"delete from {name} where k = %s", [key])
                            case 1:
                                side.execute(f"update {name} set a = b, b = a where k = %s", [key])
                            case 2:
                                side.execute(
                                    f"insert into {name} (k, a) select %s, %s where not exists "
                                    f"(select 1 from {name} where k = %s)", [key, random.choice(texts), key],
                                )
            step = random.randint(5, 200)
            agree(copied, tables[name], copied.verify(tables[name], max_keys=1000, rows_per_range=step))


def test_values_that_are_written_otherwise_are_no_differences(copied: Copied) -> None:
    copied.run(
        "set cte_max_recursion_depth = 10000",
        "create table docs (id int primary key, j json, d double)",
        "insert into docs with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000) "
        "select i, concat('{\"n\": ', i, 'e20, \"m\": -0.0}'), i * 1e300 from n",
    )
    table = copied.copy("docs")
    ours, theirs, same = copied.sides(table)
    assert not same, "the checksums must differ, or this test tests nothing"
    assert len(ours) == len(theirs) == 3000
    assert copied.verify(table).equal
    copied.target.execute("update docs set j = jsonb_set(j, '{n}', '77e21') where id = 77")
    agree(copied, table, copied.verify(table))


def test_more_than_a_hundred_columns(copied: Copied) -> None:
    columns = [f"c{i} int" for i in range(250)]
    copied.run(f"create table broad (id int primary key, {', '.join(columns)})")
    copied.insert("broad", [(n, *(n + i if (n + i) % 5 else None for i in range(250))) for n in range(300)])
    table = copied.copy("broad")
    assert copied.verify(table).equal
    copied.target.execute("update broad set c249 = 0, c91 = 0 where id = 7")
    result = copied.verify(table)
    assert [(d.kind, d.key, d.columns) for d in result.differences] == [("differs", {"id": 7}, ("c91", "c249"))]


def test_rows_with_the_separator_in_them_are_told_apart(copied: Copied) -> None:
    copied.run("create table pairs (id int primary key, a varchar(20) not null, b varchar(20) not null)")
    copied.insert("pairs", [(1, "x\x1fy", "z"), (2, "x", "y\x1fz")])
    table = copied.copy("pairs")
    copied.target.execute("update pairs set a = E'x', b = E'y\\x1fz' where id = 1")
    result = copied.verify(table)
    assert [(d.key, d.columns) for d in result.differences] == [({"id": 1}, ("a", "b"))]


def test_blobs_larger_than_a_text_may_be(copied: Copied) -> None:
    """Their hex digits alone are more than max_allowed_packet, where MySQL's functions answer with null."""
    copied.run("create table files (id int primary key, raw longblob)")
    table = copied.copy("files")
    copied.run("insert into files values (1, repeat('x', 40 << 20)), (2, '')")
    copied.target.execute("insert into files values (1, convert_to(repeat('x', 40 << 20), 'UTF8')), (2, '')")
    assert copied.verify(table).equal
    copied.target.execute("update files set raw = substr(raw, 2) where id = 1")
    result = copied.verify(table)
    assert [(d.kind, d.key, d.columns) for d in result.differences] == [("differs", {"id": 1}, ("raw",))]
