"""The lanes of a pipeline, as the target keeps them: which tables are on a way of their own, and how far they are.

A lane has a whole state of its own (epoch, chunks, offset, mapping), under the name `<pipeline>/<table>`; so its copy
and its applier are those of a pipeline. A row of `_cdc.lane` says that it exists, and in which phase it is.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec
import psycopg
from psycopg import sql

from cdc_pipelines.replication.catalog import MappedTable, to_json
from cdc_pipelines.replication.databases.postgres.epoch_lock import lock_pipeline
from cdc_pipelines.replication.errors import ConfigurationError, FencedError

Phase = Literal["copying", "following", "detached", "merged"]
PHASES: tuple[Phase, ...] = ("copying", "following", "detached", "merged")
"""copying: into the shadow; following: the shadow takes in changes; detached: the stream leaves the table to the lane,
readers still see what it was; merged: the target table has the lane's rows, and follows in the lane."""

_COLUMNS = sql.SQL("table_name, target_schema, target_name, shadow, phase, reason, started_at, beat_at, message")


class Lane(msgspec.Struct, frozen=True):
    """One lane. `shadow` is the table in the schema `_cdc` that it is copied into, `target_…` the one that is to have
    its rows; `beat_at` is its worker's last sign of life."""

    table: str
    target_schema: str
    target_name: str
    shadow: str
    phase: Phase
    reason: str
    started_at: datetime
    beat_at: datetime
    message: str


_NAME_BYTES = 50  # a session's name on PostgreSQL has 63, and says more than whose it is


def state_name(pipeline: str, table: str) -> str:
    """The name under which the target keeps a lane's state. No pipeline's name holds a slash."""
    name = f"{pipeline}/{table}"
    if len(name.encode()) <= _NAME_BYTES:
        return name
    return f"{pipeline}/{hashlib.sha256(table.encode()).hexdigest()[:8]}"


class LaneStore:
    """The lanes of pipeline `name`, in the caller's transaction."""

    def __init__(self, conn: psycopg.Connection, name: str) -> None:
        self._conn = conn
        self._name = name

    def all(self) -> list[Lane]:
        """By table."""
        rows = self._conn.execute(
            sql.SQL('select {} from _cdc.lane where pipeline = %s order by table_name collate "C"').format(_COLUMNS),
            [self._name],
        )
        return [Lane(*row) for row in rows]

    def get(self, table: str) -> Lane | None:
        return next((lane for lane in self.all() if lane.table == table), None)

    def open(self, table: MappedTable, *, reason: str) -> str:
        """Begin a lane where the stream stands now: its state, an empty plan, the shadow's name. Returns that name.

        Raises ConfigurationError where the pipeline has not begun to stream.
        """
        lane = state_name(self._name, table.name)
        row = self._conn.execute(
            "insert into _cdc.pipeline (name, epoch, generation, source_identity, log_topic, log_topic_id) "
            "select %s, nextval('_cdc.epoch'), generation, source_identity, log_topic, log_topic_id "
            "from _cdc.pipeline where name = %s returning epoch",
            [lane, self._name],
        ).fetchone()
        copied = self._conn.execute(
            "insert into _cdc.log_offset (pipeline, next_offset, position, commit_ms) "
            "select %s, next_offset, position, commit_ms from _cdc.log_offset where pipeline = %s and lane = 'main'",
            [lane, self._name],
        ).rowcount
        if row is None or not copied:
            raise ConfigurationError(
                f"pipeline {self._name} does not stream yet, so table {table.name} can't be copied beside the stream",
                f"run `cdc start {self._name}`.",
            )
        shadow = f"lane_{row[0]}"
        self._conn.execute(
            "insert into _cdc.mapped_table (pipeline, table_name, target_schema, target_name, mapping, log_columns) "
            "values (%s, %s, '_cdc', %s, %s, "
            "(select log_columns from _cdc.mapped_table where pipeline = %s and table_name = %s))",
            [
                lane, table.name, shadow,
                to_json(msgspec.structs.replace(table, target_schema="_cdc", target_name=shadow)),
                self._name, table.name,
            ],
        )
        self._conn.execute(
            "insert into _cdc.lane (pipeline, table_name, target_schema, target_name, shadow, phase, reason) "
            "values (%s, %s, %s, %s, %s, 'copying', %s)",
            [self._name, table.name, table.target_schema, table.target_name, shadow, reason],
        )
        return shadow

    def turn_to(self, table: str, before: Phase, after: Phase) -> None:
        """Raises FencedError where the lane is gone, or somebody else has moved it."""
        hit = self._conn.execute(
            "update _cdc.lane set phase = %s, beat_at = clock_timestamp(), message = '' "
            "where pipeline = %s and table_name = %s and phase = %s",
            [after, self._name, table, before],
        ).rowcount
        if hit != 1:
            raise FencedError(
                f"pipeline {self._name}, table {table}: its lane is not {before} any more",
                "something newer took over; this process ends.",
            )

    def beat(self, table: str, message: str) -> None:
        """The worker lives; `message` is what it does."""
        self._conn.execute(
            "update _cdc.lane set beat_at = clock_timestamp(), message = %s where pipeline = %s and table_name = %s",
            [message, self._name, table],
        )

    def close(self, table: str) -> None:
        """Forget a lane and its state. The shadow, if it is still there, goes too; its worker is fenced off."""
        lane = state_name(self._name, table)
        found = self.get(table)
        lock_pipeline(self._conn, lane)
        for name in ("chunk", "log_offset", "mapped_table", "claim", "schema_change"):
            self._conn.execute(
                sql.SQL("delete from _cdc.{} where pipeline = %s").format(sql.Identifier(name)), [lane]
            )
        self._conn.execute("delete from _cdc.pipeline where name = %s", [lane])
        self._conn.execute("delete from _cdc.lane where pipeline = %s and table_name = %s", [self._name, table])
        if found is not None:
            self._conn.execute(sql.SQL("drop table if exists {}").format(sql.Identifier("_cdc", found.shadow)))

    def close_all(self) -> Sequence[str]:
        """Forget every lane. Returns their tables."""
        tables = [lane.table for lane in self.all()]
        for table in tables:
            self.close(table)
        return tables
