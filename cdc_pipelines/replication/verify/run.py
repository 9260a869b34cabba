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
from cdc_pipelines.replication.verify.barrier import Meeting, meet
from cdc_pipelines.replication.verify.compare import Compared
from cdc_pipelines.replication.verify.recheck import recheck
from cdc_pipelines.replication.verify.repair import repair_table
from cdc_pipelines.replication.verify.report import MALFORMED, Repaired, TableVerified, VerifyReport, left_out
from cdc_pipelines.replication.verify.tables import new_salt, verify_table
from cdc_pipelines.replication.verify.walk import Pace

if TYPE_CHECKING:
    from cdc_pipelines.replication.operations.runtime import Runtime

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]
_Found = tuple[MappedTable | None, Compared]


def verify(
    rt: "Runtime", log: Log, *, tables: Sequence[str] | None = None, max_keys: int = 100, repair: bool = False,
    rows_per_second: int | None = None, by: str = "command", on_table: Callable[[TableVerified], None] | None = None,
) -> VerifyReport:
    """Compare the pipeline's tables (or those named) with their copies, exactly, and record what was found.

    The consumer stands still for the moments until both snapshots are open; then it goes on, and one table after the
    other is compared. The tables are those that the stream has at that position: what was made, dropped or renamed just
    before counts. At most `max_keys` differences are listed per table. `on_table` is called after each.
    Tables that stand apart from the stream are left out, and told as such: they are not equal, and not recorded.
    `repair`: tables that differ are mended (see `repair_table`) and compared again; the report tells the second
    comparison. `by` is recorded with it. `rows_per_second` bounds the reading of tables with a key of integers; others
    are read in one go.
    Raises RetryableError (no meeting, a server lost), ConfigurationError (unknown table; no consumer, and the target is
    behind), IntegrityError (a target table is gone).
    """
    salt = new_salt()

    def compare(chosen: Sequence[MappedTable], repaired: dict[str, Repaired]) -> dict[str, _Found]:
        found: dict[str, _Found] = {}
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
            names = [table.name for table in chosen]
            if tables is None and not repaired:
                names += [name for name in current if name not in names]
            for name in names:
                table = current.get(name)
                if table is None and tables is None and name in meeting.gone:
                    log.info("table %s: gone from the source, and from the stream", name, extra={"table": name})
                    continue
                why = _why_not(rt, name, table, detached.get(name), meeting)
                if table is None or why:
                    found[name] = table, _left_out(log, name, why, on_table)
                    continue
                compared = verify_table(
                    meeting.source, meeting.target, table, max_keys=max_keys, salt=salt, pace=Pace(rows_per_second)
                )
                compared = recheck(rt, table, compared, salt)
                result = msgspec.structs.replace(compared.result, position=position, repaired=repaired.get(name))
                _record(rt, result, by)
                _tell(log, result)
                if on_table is not None:
                    on_table(result)
                found[name] = table, compared._replace(result=result)
        return found

    found = compare(_chosen(rt, tables), {})
    position = next((c.result.position for _, c in found.values() if c.result.position), "")
    if repair:
        differing = {
            name: (table, compared) for name, (table, compared) in found.items()
            if table is not None and _can_be_repaired(log, compared.result)
        }
        repaired = {name: repair_table(rt, log, table, compared, salt) for name, (table, compared) in differing.items()}
        if repaired:
            found |= compare([table for table, _ in differing.values()], repaired)
    return VerifyReport(rt.name, position, tuple(compared.result for _, compared in found.values()))


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


def _why_not(
    rt: "Runtime", name: str, table: MappedTable | None, apart: Detached | None, meeting: Meeting
) -> str:
    """Why a table can't be compared, in words behind "it"; empty where it can."""
    if apart is not None:
        words = {"quarantined": "is in quarantine", "lane": "is being copied", "changed": "must be copied again"}
        return f"{words[apart.kind]} since {apart.since:%Y-%m-%d %H:%M:%S} UTC: {apart.reason}"
    if table is None:
        gone = name in meeting.gone
        return (
            "was dropped or renamed on the source, and the stream has followed" if gone
            else f"is not in the stream; `cdc start {rt.name}` takes it in"
        )
    if name in meeting.gone:
        return (
            "is gone from the source, of which the change log does not tell (as where it was renamed into another "
            f"database); `cdc remove-table {rt.name} {name}` leaves it out"
        )
    return ""


def _left_out(log: Log, name: str, why: str, on_table: Callable[[TableVerified], None] | None) -> Compared:
    result = left_out(name, why)
    log.warning("table %s: not compared, it %s", name, why, extra={"table": name})
    if on_table is not None:
        on_table(result)
    return Compared(result, frozenset(), ranges=False)


def _can_be_repaired(log: Log, result: TableVerified) -> bool:
    if result.left_out:
        return False
    if not result.complete:
        log.warning(
            "table %s: too many rows differ (%d and more) to repair them one by one; copy the pipeline again: "
            "`cdc start NAME --force-resync`", result.table, result.difference_count, extra={"table": result.table},
        )
    return result.complete and not result.same_rows


def _record(rt: "Runtime", result: TableVerified, by: str) -> None:
    with rt.target("verified") as (conn, _), server_errors("recording the comparison"):
        record_verified(
            conn, rt.name, result.table, position=result.position, rows=result.rows_source,
            differences=result.wrong, complete=result.complete,
            by=by, repaired=result.repaired.differences if result.repaired else 0,
        )
        conn.commit()


def _tell(log: Log, result: TableVerified) -> None:
    rate = result.rows_source / result.seconds if result.seconds else 0
    if result.equal:
        log.info(
            "table %s: %d rows, equal (%.1f s, %.0f rows/s)", result.table, result.rows_source, result.seconds, rate,
            extra={"table": result.table},
        )
        return
    log.warning(
        "table %s: %s%d difference(s); %d rows on the source, %d on the target (%.1f s)",
        result.table, "" if result.complete else "at least ", result.difference_count, result.rows_source,
        result.rows_target, result.seconds, extra={"table": result.table},
    )
    if result.malformed:
        log.warning(MALFORMED, result.table, result.malformed, extra={"table": result.table})
