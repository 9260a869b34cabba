"""Which copies get their connector before they begin."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from cdc_pipelines.replication.catalog import Column, MappedTable, Table
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.operations.early import COPY_BYTES_PER_SECOND, estimated_seconds, is_long

_ID = Column("id", "int", "int", nullable=False)
_BEGIN = MySqlPosition("binlog.000001", 4, "")


def of_minutes(minutes: float) -> MappedTable:
    """A table whose copy is expected to take so long."""
    size = round(minutes * 60 * COPY_BYTES_PER_SECOND)
    return MappedTable(Table("shop", "t", (_ID,), ("id",), data_bytes=size), "public", "t", ())


def source(limit_minutes: float, retention_s: float | None) -> Any:
    """What is asked of a runtime: the file's limit, and for how long the source keeps its log."""
    return cast(Any, SimpleNamespace(
        pipeline=SimpleNamespace(copy_=SimpleNamespace(early_connector_minutes=limit_minutes)),
        source=SimpleNamespace(log_runway=lambda _: {"retention_seconds": retention_s}),
    ))


@pytest.mark.parametrize(
    ("minutes", "limit", "retention_hours", "long"),
    [
        (59, 60, None, False),
        (61, 60, None, True),
        (0.1, 0, None, True),  # every copy
        (19, 60, 1, False),  # within a third of the hour that the log is kept
        (21, 60, 1, True),
        (61, 60, 720, True),
    ],
)
def test_a_copy_is_long_by_the_files_limit_or_by_what_the_source_keeps(
    minutes: float, limit: float, retention_hours: float | None, long: bool
) -> None:
    retention = None if retention_hours is None else retention_hours * 3600
    halves = [of_minutes(minutes / 2)] * 2
    assert estimated_seconds(halves) == pytest.approx(minutes * 60, rel=0.01)
    assert is_long(source(limit, retention), halves, _BEGIN) is long
