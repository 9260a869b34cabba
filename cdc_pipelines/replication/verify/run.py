"""Verifying a pipeline: every table of the source compared with its copy, at one position, while changes flow."""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.postgres.connection import server_errors
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.databases.postgres.table_store import Detached
from cdc_pipelines.replication.databases.postgres.verified import record_verified
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.verify.barrier import meet
from cdc_pipelines.replication.verify.compare import Compared
from cdc_pipelines.replication.verify.recheck import recheck
from cdc_pipelines.replication.verify.repair import repair_table
from cdc_pipelines.replication.verify.report import Repaired, TableVerified, VerifyReport, left_out
from cdc_pipelines.replication.verify.tables import new_salt, verify_table
from cdc_pipelines.replication.verify.walk import Pace

if TYPE_CHECKING:
    from cdc_pipelines.replication.operations.runtime import Runtime

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def verify(
    rt: "Runtime", log: Log, *, tables: Sequence[str] | None = None, max_keys: int = 100, repair: bool = False,
    rows_per_second: int | None = None, by: str = "command", on_table: Callable[[TableVerified], None] | None = None,
) -> VerifyReport:
    """Compare the pipeline's tables (or those named) with their copies, exactly, and record what was found.

    The consumer stands still for the moments until both snapshots are open; then it goes on, and one table after the
    other is compared. At most `max_keys` differences are listed per table. `on_table` is called after each.
    Tables that stand apart from the stream are left out, and told as such: they are not equal, and not recorded.
    `repair`: tables that differ are mended (see `repair_table`) and compared again; the report tells the second
    comparison. `by` is recorded with it. `rows_per_second` bounds the reading of tables with a key of integers; others
    are read in one go.
    Raises RetryableError (no meeting, a server lost), ConfigurationError (unknown table; no consumer, and the target is
    behind), IntegrityError (a target table is gone).
    """
    salt = new_salt()

    def compare(chosen: Sequence[MappedTable], repaired: dict[str, Repaired]) -> list[Compared]:
        found = []
        with meet(rt, [table.source for table in chosen]) as meeting:
            log.info(
                "both sides stand at %s (%s); comparing %d table(s)",
                meeting.position.gtids or f"{meeting.position.file}:{meeting.position.pos}",
                "no consumer is running"
                if meeting.held_s is None else f"the consumer was held for {meeting.held_s:.1f} s",
                len(chosen),
            )
            position = meeting.position.to_json()
            # A schema change may have come with the last stretch: the mappings as of the snapshot count.
            state = TargetState(meeting.target, rt.name)
            current, detached = {table.name: table for table in state.mapped_tables()}, state.detached()
            for table in (current.get(t.name, t) for t in chosen):
                if table.name in detached:
                    found.append(_left_out(log, detached[table.name], on_table))
                    continue
                compared = verify_table(
                    meeting.source, meeting.target, table, max_keys=max_keys, salt=salt, pace=Pace(rows_per_second)
                )
                compared = recheck(rt, table, compared, salt)
                result = msgspec.structs.replace(
                    compared.result, position=position, repaired=repaired.get(table.name)
                )
                _record(rt, result, by)
                _tell(log, result)
                if on_table is not None:
                    on_table(result)
                found.append(compared._replace(result=result))
        return found

    chosen = _chosen(rt, tables)
    compared = {c.result.table: c for c in compare(chosen, {})}
    position = next((c.result.position for c in compared.values() if c.result.position), "")
    if repair:
        repaired = {
            table.name: repair_table(rt, log, table, compared[table.name], salt)
            for table in chosen if _can_be_repaired(log, compared[table.name].result)
        }
        if repaired:
            compared |= {c.result.table: c for c in compare([t for t in chosen if t.name in repaired], repaired)}
    return VerifyReport(rt.name, position, tuple(c.result for c in compared.values()))


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


def _left_out(log: Log, table: Detached, on_table: Callable[[TableVerified], None] | None) -> Compared:
    words = {"quarantined": "is in quarantine", "lane": "is being copied", "changed": "must be copied again"}
    result = left_out(table.table, f"{words[table.kind]} since {table.since:%Y-%m-%d %H:%M:%S} UTC: {table.reason}")
    log.warning("table %s: not compared, it %s", result.table, result.left_out)
    if on_table is not None:
        on_table(result)
    return Compared(result, frozenset(), ranges=False)


def _can_be_repaired(log: Log, result: TableVerified) -> bool:
    if result.left_out:
        return False
    if not result.complete:
        log.warning(
            "table %s: too many rows differ (%d and more) to repair them one by one; copy the pipeline again: "
            "`cdc start NAME --force-resync`", result.table, result.difference_count,
        )
    return result.complete and not result.equal


def _record(rt: "Runtime", result: TableVerified, by: str) -> None:
    with rt.target("verified") as (conn, _), server_errors("recording the comparison"):
        record_verified(
            conn, rt.name, result.table, position=result.position, rows=result.rows_source,
            differences=result.difference_count, complete=result.complete,
            by=by, repaired=result.repaired.differences if result.repaired else 0,
        )
        conn.commit()


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
