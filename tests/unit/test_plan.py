"""Chunks and shards, on a made-up source."""

import bisect
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, Table
from cdc_pipelines.replication.copy.plan import plan, row_bytes


class Source:
    """Answers the walk's questions for tables with one integer (or text) key."""

    def __init__(self, keys: dict[str, list]):
        self.keys = keys
        self.asked = 0

    def query(self, sql, params=()):
        self.asked += 1
        name = sql.split(" from ")[1].split(" where ")[0].split(".")[1].strip("`")
        offset = int(sql.rsplit("offset ", 1)[1])
        keys = self.keys[name]
        start = bisect.bisect_left(keys, params[0]) if params else 0
        return [(keys[start + offset],)] if start + offset < len(keys) else []


def table(name, rows, size=100, key_type="int", *, key=("id",)):
    column = Column("id", key_type, key_type, nullable=False, length=10)
    source = Table("shop", name, (column,), key, rows_estimate=rows, data_bytes=rows * size)
    return MappedTable(source, "public", name, (MappedColumn(column, "id", "integer"),))


def test_chunks_cover_a_table_without_gap_or_overlap():
    keys = [n * n for n in range(1000)]  # skewed
    chunks = plan(Source({"t": keys}), [table("t", 1000)], chunk_bytes=10_000, shards=4)
    assert [c.ordinal for c in chunks] == list(range(len(chunks)))
    assert chunks[0].lower is None
    assert chunks[-1].upper is None
    for before, after in itertools.pairwise(chunks):
        assert before.upper == after.lower
    counts = [
        sum((c.lower is None or k >= c.lower[0]) and (c.upper is None or k < c.upper[0]) for k in keys) for c in chunks
    ]
    assert sum(counts) == 1000
    assert max(counts) <= 100
    assert [c.rows_estimate for c in chunks][:-1] == counts[:-1]


def test_every_chunk_carries_its_tables_fingerprint():
    mapped = table("t", 10)
    [chunk] = plan(Source({"t": list(range(10))}), [mapped], chunk_bytes=10_000, shards=4)
    assert chunk.fingerprint == mapped.source.fingerprint()
    assert (chunk.lower, chunk.upper, chunk.state) == (None, None, "planned")


def test_never_more_chunks_than_allowed_also_when_statistics_are_far_too_low():
    chunks = plan(
        Source({"t": list(range(100_000))}), [table("t", 50)], chunk_bytes=1000, shards=2, max_chunks=20
    )
    assert 1 < len(chunks) <= 20


def test_a_table_without_a_key_is_one_chunk():
    [chunk] = plan(Source({"t": []}), [table("t", 100_000, key=())], chunk_bytes=1000, shards=4)
    assert (chunk.lower, chunk.upper) == (None, None)


def test_an_empty_table_has_a_chunk_too():
    [chunk] = plan(Source({"t": []}), [table("t", 0)], chunk_bytes=1000, shards=4)
    assert chunk.rows_estimate == 0


def test_a_table_with_a_text_key_stays_in_one_shard():
    keys = [f"{n:06d}" for n in range(1000)]
    tables = [table("t", 1000, key_type="varchar"), table("u", 1000)]
    chunks = plan(Source({"t": keys, "u": list(range(1000))}), tables, chunk_bytes=10_000, shards=4)
    assert len({c.shard for c in chunks if c.table == "t"}) == 1
    assert len([c for c in chunks if c.table == "t"]) == 10
    assert len({c.shard for c in chunks if c.table == "u"}) > 1


def test_little_data_gets_one_shard():
    tables = [table(name, 10) for name in "abc"]
    chunks = plan(Source({name: list(range(10)) for name in "abc"}), tables, chunk_bytes=1 << 20, shards=4)
    assert {c.shard for c in chunks} == {0}


def test_row_size_without_statistics_is_a_guess_not_a_division_by_zero():
    assert row_bytes(table("t", 0, 0)) > 0
    assert row_bytes(table("t", 1000, 300)) == 300


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3000), st.sampled_from(["int", "varchar"])), min_size=1, max_size=6),
    st.integers(1, 8),
)
def test_shards_are_balanced_as_far_as_tables_can_be_divided(shape, shards):
    names = [f"t{n}" for n in range(len(shape))]
    tables = [table(name, rows, key_type=kind) for name, (rows, kind) in zip(names, shape, strict=True)]
    source = Source({
        name: [f"{n:06d}" for n in range(rows)] if kind == "varchar" else list(range(rows))
        for name, (rows, kind) in zip(names, shape, strict=True)
    })
    chunk_bytes = 10_000
    chunks = plan(source, tables, chunk_bytes=chunk_bytes, shards=shards)
    assert sorted({c.shard for c in chunks}) == list(range(max(c.shard for c in chunks) + 1))
    assert max(c.shard for c in chunks) < shards
    assert {c.table for c in chunks} == set(names)

    loads: dict[int, int] = {}
    whole: dict[str, int] = {}
    for chunk in chunks:
        loads[chunk.shard] = loads.get(chunk.shard, 0) + chunk.rows_estimate * 100
        whole[chunk.table] = whole.get(chunk.table, 0) + chunk.rows_estimate * 100
    indivisible = max((whole[n] for n, (_, kind) in zip(names, shape, strict=True) if kind == "varchar"), default=0)
    ideal = sum(loads.values()) / len(loads)
    # Greedy dealing of what can't be divided is within one such table of the ideal; chunks within two of them.
    assert max(loads.values()) <= ideal + max(indivisible, 2 * chunk_bytes)


def test_shards_of_divisible_tables_hold_neighbours():
    chunks = plan(Source({"t": list(range(1200))}), [table("t", 1200)], chunk_bytes=10_000, shards=3)
    assert [c.shard for c in chunks] == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize("shards", [1, 5, 64])
def test_uneven_counts_differ_by_one_chunk_at_most(shards):
    chunks = plan(Source({"t": list(range(1200))}), [table("t", 1200)], chunk_bytes=10_000, shards=shards)
    counts = [sum(c.shard == s for c in chunks) for s in {c.shard for c in chunks}]
    assert max(counts) - min(counts) <= 1
