"""Schema events of a log, and what they come to."""

import json
from typing import Any

from cdc_pipelines.replication.catalog import MappedTable, Table
from cdc_pipelines.replication.changes.batches import (
    Detach,
    Item,
    Redefine,
)
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.schema_policy import SchemaChanges
from cdc_pipelines.replication.stream import messages
from cdc_pipelines.replication.stream.definitions import Definitions
from cdc_pipelines.replication.stream.overlap import Overlap
from cdc_pipelines.replication.stream.schema_event import Rules
from cdc_pipelines.replication.table_mapping import map_table
from tests.unit.log_reading import COLUMNS, KEYED, KEYLESS
from tests.unit.log_records import Log, Record

ALL = Pipeline.model_validate({
    "name": "shop", "config": 1, "source": {"type": "mysql", "host": "h", "port": 1, "database": "shop", "user": "u",
                                            "password": "${env:P}"},
    "target": {"type": "postgres", "host": "h", "port": 1, "database": "d", "user": "u", "password": "${env:P}"},
})
ID, V = COLUMNS
W = {"name": "w", "typeName": "INT", "optional": True}


def everything(table: Table) -> MappedTable | None:
    from cdc_pipelines.replication.pipeline import TableChoice

    return map_table(ALL, table, TableChoice(source=table.name))


def described(columns: list[dict] = COLUMNS, key: list[str] | None = None) -> Log:
    """A log whose connector has told the columns of table t."""
    log = Log()
    log.ddl(1, "t", columns, snapshot="true", kind="CREATE", key=key)
    return log


def changed(text: str, columns: list[dict] = COLUMNS, **ddl: Any) -> Log:
    log = described()
    log.ddl(2, "t", columns, text=text, **ddl)
    return log


def without_columns(log: Log) -> Log:
    """The last event tells no columns, as those of indexes and databases do."""
    log.records[-1] = Record(len(log.records) - 1, json.loads(log.records[-1].value()) | {"tableChanges": []})
    return log


def of(items: list[Item], kind: type) -> list[Any]:
    return [item for item in items if isinstance(item, kind)]


def judged(log: Log, rules: Rules | None = None, *, table: MappedTable = KEYED, **settings: Any) -> list[Item]:
    """What the log's schema events come to, without a reader."""
    tables = Definitions("shop", ("mysql", "postgres"), [table, KEYLESS], {}, Overlap({}),
                         rules or Rules(SchemaChanges(**settings)))
    items: list[Item] = []
    for record in log.records:
        message = messages.decode(record.value(), record.offset())
        assert message.source is not None
        snapshot = message.source.snapshot is not None
        items += tables.learnt(message) if snapshot else tables.changes(message, message.place())
    return items


def redefined(log: Log, **settings: Any) -> Redefine:
    """The one change that is handed over; nothing is detached."""
    items = judged(log, **settings)
    assert not of(items, Detach), of(items, Detach)[0].reason
    (found,) = of(items, Redefine)
    return found


def detached(log: Log, rules: Rules | None = None, **settings: Any) -> Detach:
    """What keeps the table from following."""
    items = judged(log, rules, **settings)
    assert not of(items, Redefine)
    (found,) = of(items, Detach)
    return found


def what(item: Any) -> list[tuple[str, str, str]]:
    return [(note.kind, note.done, note.what) for note in item.notes]
