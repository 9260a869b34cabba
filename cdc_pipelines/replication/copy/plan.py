"""Cutting tables into chunks, and chunks into balanced shards."""

from collections.abc import Sequence

import msgspec

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.databases.mysql.ranges import KeyRange, Session, is_exact, walk

MAX_CHUNKS = 500
_ROW_BYTES = 100  # where the server has no statistics yet


def plan(
    session: Session,
    tables: Sequence[MappedTable],
    *,
    chunk_bytes: int,
    shards: int,
    max_chunks: int = MAX_CHUNKS,
) -> list[Chunk]:
    """The tables in chunks of about `chunk_bytes` of source data, dealt out to at most `shards` shards.

    A table whose key ranges can't be told exactly outside the server stays in one shard: one reader, one position. One
    whose key is hashed is one chunk.
    """
    chunks: list[Chunk] = []
    for table in tables:
        rows = max(1, chunk_bytes // row_bytes(table))
        # The bounds of chunks are keys in clear, and stand in the target.
        ranges = [KeyRange(())] if table.hides_key else walk(session, table, rows, max_chunks)
        step = max(rows, -(-table.source.rows_estimate // max_chunks))
        chunks += _chunks(table, ranges, step)
    return _deal(chunks, {t.name: t for t in tables}, chunk_bytes, shards)


def row_bytes(table: MappedTable) -> int:
    """Average size of a row on the source, as its statistics have it."""
    source = table.source
    if source.rows_estimate <= 0 or source.data_bytes <= 0:
        return _ROW_BYTES
    return max(1, source.data_bytes // source.rows_estimate)


def _chunks(table: MappedTable, ranges: Sequence[KeyRange], step: int) -> list[Chunk]:
    fingerprint = table.source.fingerprint()
    before_last = step * (len(ranges) - 1)
    # The walk counted all but the last range; the last has what the statistics leave for it.
    rest = table.source.rows_estimate - before_last
    if len(ranges) > 1:
        rest = min(step, max(1, rest))
    return [
        Chunk(
            table=table.name,
            ordinal=ordinal,
            lower=found.lower,
            upper=found.upper,
            rows_estimate=step if ordinal < len(ranges) - 1 else rest,
            fingerprint=fingerprint,
        )
        for ordinal, found in enumerate(ranges)
    ]


def _deal(chunks: Sequence[Chunk], tables: dict[str, MappedTable], chunk_bytes: int, shards: int) -> list[Chunk]:
    weights = {(c.table, c.ordinal): max(1, c.rows_estimate * row_bytes(tables[c.table])) for c in chunks}
    free = [c for c in chunks if is_exact(tables[c.table])]
    bound: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        if not is_exact(tables[chunk.table]):
            bound.setdefault(chunk.table, []).append(chunk)

    # Little data gains nothing from many steps.
    total = sum(weights.values())
    count = max(1, min(shards, len(free) + len(bound), -(-total // max(1, chunk_bytes))))
    loads = [0] * count
    place: dict[tuple[str, int], int] = {}

    # Tables that can't be divided first, the heaviest first, each to the shard with the least.
    def weight(table: str) -> int:
        return sum(weights[c.table, c.ordinal] for c in bound[table])

    for name in sorted(bound, key=weight, reverse=True):
        shard = loads.index(min(loads))
        for chunk in bound[name]:
            place[name, chunk.ordinal] = shard
        loads[shard] += weight(name)

    # The rest in its order, so that a shard reads neighbours: each shard is filled up to one common level.
    level = _level(loads, sum(weights[c.table, c.ordinal] for c in free))
    order = sorted(range(count), key=lambda i: loads[i])
    at = 0
    for chunk in free:
        size = weights[chunk.table, chunk.ordinal]
        while at < count - 1 and loads[order[at]] + size / 2 > level:
            at += 1
        full = loads[order[at]] + size / 2 > level  # all of them: what rounding left over goes where least is
        shard = loads.index(min(loads)) if full else order[at]
        place[chunk.table, chunk.ordinal] = shard
        loads[shard] += size

    used = sorted(set(place.values()))
    return [msgspec.structs.replace(c, shard=used.index(place[c.table, c.ordinal])) for c in chunks]


def _level(loads: Sequence[int], more: int) -> float:
    """The height to which `more` fills shards that hold `loads` already, poured like water."""
    ordered = sorted(loads)
    for n in range(1, len(ordered) + 1):
        level = (sum(ordered[:n]) + more) / n
        if n == len(ordered) or level <= ordered[n]:
            return level
    return float(more)
