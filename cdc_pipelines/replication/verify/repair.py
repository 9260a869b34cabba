"""Repair: the rows that differ are written anew as the source has them, at one position, while the stream stands there.

A row's place in the stream matters: a change that comes later must find it repaired, one that came before must not
come again. So the consumer is held at the position for as long as a portion of rows takes, and each portion is one
target transaction that shuts every other writer of the pipeline out and makes sure that the stream is where it was.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cdc_pipelines.replication.added_columns import of_copied_rows
from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.checksum import Key, Salt
from cdc_pipelines.replication.databases.postgres import history, soft_deletes
from cdc_pipelines.replication.databases.postgres.connection import connect, server_errors, take_replica_role
from cdc_pipelines.replication.databases.postgres.epoch_lock import keep_others_out
from cdc_pipelines.replication.databases.postgres.load import copy_rows
from cdc_pipelines.replication.databases.postgres.state import LogOffset, PipelineState, TargetState
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from cdc_pipelines.replication.verify.barrier import Meeting, meet
from cdc_pipelines.replication.verify.compare import Compared
from cdc_pipelines.replication.verify.report import Repaired
from cdc_pipelines.replication.verify.tables import both_sides

if TYPE_CHECKING:
    from cdc_pipelines.replication.operations.runtime import Runtime

_KEYS_PER_PORTION = 5000  # found by their index on both sides: well under a second
_DIGESTS_PER_PORTION = 50_000  # found by reading the whole table on both sides, each time

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def repair_table(rt: "Runtime", log: Log, table: MappedTable, compared: Compared, salt: Salt) -> Repaired:
    """Make the rows that a comparison (with `salt`) found different equal to the source's, and commit.

    Rows of a table whose key is no integer are found by reading the table on both sides; the stream is held that long.
    Raises RetryableError where the stream could not be held (portions that are done stay), FencedError where
    something newer took over, ConfigurationError or IntegrityError where the target refuses the source's rows.
    """
    with rt.target("repair") as (_, state):
        facts = state.load()
    if facts is None:
        raise ConfigurationError(f"pipeline {rt.name} was never started", f"run `cdc start {rt.name}`.")
    removed = written = 0
    for portion in _portions(sorted(compared.picks), _KEYS_PER_PORTION if compared.ranges else _DIGESTS_PER_PORTION):
        with meet(rt, [table.source], hold=True) as meeting:
            gone, came = _replace(rt, facts, meeting, table, portion, compared.ranges, salt)
        removed, written = removed + gone, written + came
        log.info(
            "table %s: %d row(s) of the target removed, %d written as the source has them", table.name, gone, came,
            extra={"table": table.name},
        )
    return Repaired(compared.result.difference_count, removed, written, compared.result.differences)


def _portions(picks: Sequence[Key], size: int) -> Iterator[Sequence[Key]]:
    for start in range(0, len(picks), size):
        yield picks[start : start + size]


def _replace(
    rt: "Runtime", facts: PipelineState, meeting: Meeting, table: MappedTable, picks: Sequence[Key], by_key: bool,
    salt: Salt,
) -> tuple[int, int]:
    """One portion; rows removed and rows written."""
    what = f"table {table.name}: repairing"
    if meeting.gone:
        raise RetryableError(f"{what}: it was dropped or renamed on the source meanwhile", "compare again.")
    there = TargetState(meeting.target, rt.name)
    table = next((t for t in there.mapped_tables() if t.name == table.name), table)
    ours, theirs, ranges = both_sides(meeting.source, meeting.target, table, salt)
    if ranges != by_key or (ranges and len(picks[0]) != len(table.key)):
        raise RetryableError(f"{what}: its key was changed meanwhile", "run `cdc verify NAME --repair` again.")
    condition, params = ours.picked(picks)
    with connect(rt.target_spec, purpose=f"{rt.name}:repair") as conn, server_errors(what):
        take_replica_role(conn)
        conn.commit()
        with conn.transaction():
            state = TargetState(conn, rt.name)
            keep_others_out(conn, rt.name)
            state.require_epoch(facts.epoch, facts.generation)
            _require_still(there.offset(), state.offset(), rt.name)
            removed = theirs.delete(conn, picks)
            added = of_copied_rows(table, meeting.source.taken_at, meeting.position.log_place)
            rows = meeting.source.read_where(table, condition, params)
            if table.rows.history:
                written = history.open_rows(
                    conn, table,
                    lambda stage, more: copy_rows(conn, stage, rows, what=what, added=(*added, *more)),
                    taken_at=meeting.source.taken_at,
                )
            elif table.rows.soft:  # a row may be there that was marked as deleted, just now or long ago
                stage = soft_deletes.make_stage(conn, table)
                written, _ = copy_rows(conn, stage, rows, what=what, added=added)
                soft_deletes.take_staged(conn, table, stage)
            else:
                written, _ = copy_rows(conn, table, rows, what=what, added=added)
    return removed, written


def _require_still(seen: LogOffset | None, found: LogOffset | None, pipeline: str) -> None:
    """Raises RetryableError where the stream has moved since the snapshots were taken."""
    if seen is None or found is None or (seen.next_offset, seen.position) != (found.next_offset, found.position):
        raise RetryableError(
            f"pipeline {pipeline}: the stream went on while rows were to be repaired; nothing was written",
            f"run `cdc verify {pipeline} --repair` again.",
        )
