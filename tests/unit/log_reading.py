"""Two tables, and what the reader gives for a change log of theirs."""

import queue
from collections.abc import Collection, Sequence

import msgspec

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, Table
from cdc_pipelines.replication.changes.batches import (
    AtBarrier,
    Commit,
    Failed,
    Item,
    KeyedBatch,
    Part,
)
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.errors import (
    CdcError,
)
from cdc_pipelines.replication.pipeline import Apply
from cdc_pipelines.replication.stream.overlap import Overlap
from cdc_pipelines.replication.stream.reader import LogReader
from cdc_pipelines.replication.stream.schema_event import Rules
from tests.unit.log_records import UUID, FakeClient, Log

INT = Column("id", "bigint", "bigint", nullable=False)
TEXT = Column("v", "varchar", "varchar(9)", length=9)
KEYED = MappedTable(
    Table("shop", "t", (INT, TEXT), ("id",)),
    "public",
    "t",
    (MappedColumn(INT, "id", "bigint"), MappedColumn(TEXT, "v", "varchar(9)")),
)
KEYLESS = MappedTable(
    Table("shop", "k", (INT, TEXT)),
    "public",
    "k",
    (MappedColumn(INT, "id", "bigint"), MappedColumn(TEXT, "v", "varchar(9)")),
)
UNIQUE = MappedTable(Table("shop", "q", (INT, TEXT), ("id",), key_index="u"), "public", "q", KEYED.columns)
NEW_KEY, OLD_KEY = [("__debezium.newkey", b"{}")], [("__debezium.oldkey", b"{}")]
COLUMNS = [{"name": "id", "typeName": "BIGINT"}, {"name": "v", "typeName": "VARCHAR", "length": 9}]


def at(n: int) -> MySqlPosition:
    return MySqlPosition("binlog.000001", n * 1000 + 500, f"{UUID}:1-{n}" if n else f"{UUID}:1", "s")


def read(
    log: Log,
    *,
    start: int = 1,
    overlap: Overlap | None = None,
    stop_at: MySqlPosition | None = None,
    position: MySqlPosition | None = None,
    marks: int = 0,
    batch: int = 3,
    detached: Collection[str] = (),
    end: int | None = None,
    careful_until: int = 0,
    tables: Sequence[MappedTable] = (KEYED, KEYLESS),
    rules: Rules | None = None,
    statements: tuple[str, set[str]] = ("", set()),
    **limits: float,
) -> list[Item]:
    """All items that the log gives, from transaction `start` (applied) on; ends with the reader's own end."""
    client = FakeClient(log.records, batch, marks)
    reader = LogReader(
        client,
        database="shop",
        pair=("mysql", "postgres"),
        tables=list(tables),
        known={},
        offset=0,
        position=position or at(start),
        overlap=overlap or Overlap({}),
        limits=Apply(**({"idle_commit_seconds": 0.05} | limits)),
        stop_at=stop_at,
        detached=detached,
        end=end,
        careful_until=careful_until,
        rules=rules,
        statements=statements,
    )
    reader.start()
    items: list[Item] = []
    while client.idle_s < 0.15 or not reader.queue.empty():  # until long after the idle commit
        try:
            item = reader.queue.get(timeout=0.02)
        except queue.Empty:
            assert reader.is_alive()
            continue
        items.append(item)
        if isinstance(item, Failed | AtBarrier):
            break
    reader.close()
    reader.join(5)
    return items


def applied(items: list[Item]) -> dict[tuple[str, int], str | None]:
    """The last image per (table, id) of everything before the last Commit; fails where a part was never committed."""
    state: dict[tuple[str, int], str | None] = {}
    pending: list[Part] = []
    for item in items:
        if isinstance(item, Part):
            pending.append(item)
        if isinstance(item, Commit):
            for part in pending:
                for name, batch in part.tables.items():
                    assert isinstance(batch, KeyedBatch)
                    for key, row in batch.images.items():
                        state[name, key[0]] = msgspec.structs.astuple(row)[1] if row is not None else None
            pending = []
    return state


def failure(items: list[Item]) -> CdcError:
    assert isinstance(items[-1], Failed), items
    assert isinstance(items[-1].error, CdcError), items[-1].error
    return items[-1].error
