"""Verifying a pipeline: every table of the source compared with its copy, at one position, while changes flow."""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.postgres.connection import server_errors
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.databases.postgres.verified import record_verified
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.verify.barrier import meet
from cdc_pipelines.replication.verify.report import TableVerified, VerifyReport
from cdc_pipelines.replication.verify.tables import verify_table

if TYPE_CHECKING:
    from cdc_pipelines.replication.operations.runtime import Runtime

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def verify(
    rt: "Runtime", log: Log, *, tables: Sequence[str] | None = None, max_keys: int = 100,
    on_table: Callable[[TableVerified], None] | None = None,
) -> VerifyReport:
    """Compare the pipeline's tables (or those named) with their copies, exactly, and record what was found.

    The consumer stands still for the moments until both snapshots are open; then it goes on, and one table after the
    other is compared. At most `max_keys` differences are listed per table. `on_table` is called after each.
    Raises RetryableError (no meeting, a server lost), ConfigurationError (unknown table; no consumer, and the target is
    behind), IntegrityError (a target table is gone).
    """
    mapped = _chosen(rt, tables)
    found: list[TableVerified] = []
    with meet(rt, [table.source for table in mapped]) as meeting:
        log.info(
            "both sides stand at %s (%s); comparing %d table(s)",
            meeting.position.gtids or f"{meeting.position.file}:{meeting.position.pos}",
            "no consumer is running" if meeting.held_s is None else f"the consumer was held for {meeting.held_s:.1f} s",
            len(mapped),
        )
        position = meeting.position.to_json()
        # A schema change may have come with the last stretch: the mappings as of the snapshot count.
        current = {table.name: table for table in TargetState(meeting.target, rt.name).mapped_tables()}
        for table in (current.get(t.name, t) for t in mapped):
            result = verify_table(meeting.source, meeting.target, table, max_keys=max_keys)
            found.append(result)
            _tell(log, result)
            with rt.target("verified") as (conn, _), server_errors("recording the comparison"):
                record_verified(
                    conn, rt.name, table.name, position=position, rows=result.rows_source,
                    differences=result.difference_count,
                )
                conn.commit()
            if on_table is not None:
                on_table(result)
    return VerifyReport(rt.name, position, tuple(found))


def _chosen(rt: "Runtime", names: Sequence[str] | None) -> list[MappedTable]:
    if names is None:
        return list(rt.tables)
    known = {table.name: table for table in rt.tables}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigurationError(
            f"pipeline {rt.name} has no table {', '.join(unknown)}", f"its tables are: {', '.join(known)}."
        )
    return [known[name] for name in dict.fromkeys(names)]


def _tell(log: Log, result: TableVerified) -> None:
    rate = result.rows_source / result.seconds if result.seconds else 0
    if result.equal:
        log.info(
            "table %s: %d rows, equal (%.1f s, %.0f rows/s)", result.table, result.rows_source, result.seconds, rate
        )
        return
    log.warning(
        "table %s: %s%d difference(s); %d rows on the source, %d on the target (%.1f s)",
        result.table, "" if result.complete else "at least ", result.difference_count, result.rows_source,
        result.rows_target, result.seconds,
    )
