"""What the target knows about one pipeline: epoch, offset, chunks, mappings, claims.

All of `TargetState` works in the caller's transaction, so that a mark stands or falls with the rows it speaks of.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec
import psycopg
from psycopg import sql

from cdc_pipelines.replication.catalog import MappedTable, to_json
from cdc_pipelines.replication.databases.postgres.chunk_store import ChunkStore
from cdc_pipelines.replication.databases.postgres.dead_letters import DeadLetterStore
from cdc_pipelines.replication.databases.postgres.epoch_lock import lock_pipeline
from cdc_pipelines.replication.databases.postgres.lane_store import LaneStore
from cdc_pipelines.replication.databases.postgres.state_schema import ensure_schema, schema_exists
from cdc_pipelines.replication.databases.postgres.table_figures import TableFigures
from cdc_pipelines.replication.databases.postgres.table_store import TableStore
from cdc_pipelines.replication.errors import ConfigurationError, FencedError

__all__ = ["CLAIMED_FIX", "LogOffset", "PipelineState", "TargetState", "ensure_schema"]

CLAIMED_FIX = (
    "give the table another target name or schema, or tear the other pipeline down with its tables "
    "(`cdc teardown NAME --drop-tables`); where it was torn down and left them: "
    "DELETE FROM _cdc.claim WHERE pipeline = 'NAME'"
)


class PipelineState(msgspec.Struct, frozen=True):
    """The pipeline's row. `epoch` is what a writer must hold, `generation` the life that its data is of."""

    epoch: int
    generation: int
    source_identity: str
    log_topic: str | None = None
    log_topic_id: str | None = None
    history_attempt: int = 0


class LogOffset(msgspec.Struct, frozen=True):
    """How far the change log is applied: the next offset to read, and the source position (JSON) reached with it."""

    next_offset: int
    position: str
    commit_ms: int | None
    transactions: int
    events: int
    updated_at: datetime


class TargetState(ChunkStore, TableStore, TableFigures, DeadLetterStore):
    """The state of pipeline `name` on the target behind `conn`."""

    # The pipeline's row

    def exists(self) -> bool:
        """Whether the target has the schema `_cdc`, in this version's format (else ConfigurationError)."""
        return schema_exists(self._conn)

    def ensure_schema(self) -> None:
        """Make the schema `_cdc` where it is missing; see `state_schema.ensure_schema`."""
        ensure_schema(self._conn)

    def load(self) -> PipelineState | None:
        """The pipeline's row; None where the target knows nothing of it (or has no `_cdc` at all)."""
        if not schema_exists(self._conn):
            return None
        row = self._conn.execute(
            "select epoch, generation, source_identity, log_topic, log_topic_id, history_attempt "
            "from _cdc.pipeline where name = %s",
            [self._name],
        ).fetchone()
        return None if row is None else PipelineState(*row)

    def new_generation(self, generation: int, source_identity: str, tables: Sequence[MappedTable]) -> int:
        """Begin a new life: fence off whatever is older, forget its chunks and offset, claim the tables.

        Returns the new epoch. Raises ConfigurationError where another pipeline has claimed one of the tables,
        RetryableError where the pipeline's row stays locked by a session that is not ours.
        """
        self._conn.execute(
            "insert into _cdc.pipeline (name, epoch, generation, source_identity) values (%s, 0, %s, %s) "
            "on conflict do nothing",
            [self._name, generation, source_identity],
        )
        lock_pipeline(self._conn, self._name)
        self._forget()
        self._claim(tables)
        with self._conn.cursor() as cursor:
            cursor.executemany(
                "insert into _cdc.mapped_table (pipeline, table_name, target_schema, target_name, mapping) "
                "values (%s, %s, %s, %s, %s)",
                [(self._name, t.name, t.target_schema, t.target_name, to_json(t)) for t in tables],
            )
        row = self._conn.execute(
            "update _cdc.pipeline set epoch = nextval('_cdc.epoch'), generation = %s, source_identity = %s, "
            "log_topic = null, log_topic_id = null, history_attempt = 0, created_at = now() "
            "where name = %s returning epoch",
            [generation, source_identity, self._name],
        ).fetchone()
        assert row is not None
        return int(row[0])

    def raise_epoch(self) -> int:
        """Fence off every process that holds the present epoch; the data stays. Returns the new epoch."""
        lock_pipeline(self._conn, self._name)
        row = self._conn.execute(
            "update _cdc.pipeline set epoch = nextval('_cdc.epoch') where name = %s returning epoch", [self._name]
        ).fetchone()
        if row is None:
            raise ConfigurationError(
                f"pipeline {self._name}: the target holds no state of it", f"run `cdc start {self._name}`."
            )
        return int(row[0])

    def require_epoch(self, epoch: int, generation: int | None = None) -> None:
        """Hold the pipeline's row in share mode till the transaction ends. Raises FencedError if the epoch is not ours.

        Whoever raises the epoch waits for this transaction, or ends it. What else is noted in the row need not wait: an
        applier may hold a part of a transaction whose rest comes only from a connector that is yet to be made.
        """
        try:
            row = self._conn.execute(
                "select epoch, generation from _cdc.pipeline where name = %s for key share", [self._name]
            ).fetchone()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            row = None
        if row is None:
            raise FencedError(
                f"pipeline {self._name}: its state is gone from the target (torn down)",
                "this process ends; nothing was written.",
            )
        if row[0] != epoch or (generation is not None and row[1] != generation):
            raise FencedError(
                f"pipeline {self._name}: the target's epoch is {row[0]} (generation {row[1]}), "
                f"this process holds {epoch}" + (f" (generation {generation})" if generation is not None else ""),
                "something newer took over; this process ends, nothing was written.",
            )

    def set_log_topic(self, topic: str, topic_id: str) -> None:
        self._conn.execute(
            "update _cdc.pipeline set log_topic = %s, log_topic_id = %s where name = %s", [topic, topic_id, self._name]
        )

    def next_history_attempt(self) -> int:
        """A number for a schema history topic that was never given out before in this generation."""
        row = self._conn.execute(
            "update _cdc.pipeline set history_attempt = history_attempt + 1 where name = %s returning history_attempt",
            [self._name],
        ).fetchone()
        if row is None:
            raise ConfigurationError(
                f"pipeline {self._name}: the target holds no state of it", f"run `cdc start {self._name}`."
            )
        return int(row[0])

    def drop(self, *, keep_claims: bool = False) -> None:
        """Forget the pipeline. Whatever still runs for it is fenced off. `keep_claims` leaves its tables claimed."""
        if not schema_exists(self._conn):
            return
        lock_pipeline(self._conn, self._name)
        self._forget()
        if not keep_claims:
            for name in ("claim", "carried"):
                self._conn.execute(
                    sql.SQL("delete from _cdc.{} where pipeline = %s").format(sql.Identifier(name)), [self._name]
                )
        self._conn.execute("delete from _cdc.schema_change where pipeline = %s", [self._name])
        self._conn.execute("delete from _cdc.pipeline where name = %s", [self._name])

    def _forget(self) -> None:
        LaneStore(self._conn, self._name).close_all()
        for table in ("chunk", "log_offset", "mapped_table", "barrier", "verified", "verify_walk", "dead_letter"):
            self._conn.execute(
                sql.SQL("delete from _cdc.{} where pipeline = %s").format(sql.Identifier(table)),
                [self._name],
            )

    def _claim(self, tables: Sequence[MappedTable]) -> None:
        self._conn.execute("delete from _cdc.claim where pipeline = %s", [self._name])
        # In one order for all, so that two pipelines wait for each other instead of deadlocking.
        names = sorted((t.target_schema, t.target_name) for t in tables)
        with self._conn.cursor() as cursor:
            cursor.executemany(
                "insert into _cdc.claim (target_schema, target_name, pipeline) values (%s, %s, %s) "
                "on conflict do nothing",
                [(schema, name, self._name) for schema, name in names],
            )
        self._refuse_foreign(tables)

    def claim_table(self, table: MappedTable) -> None:
        """Claim one more table. Raises ConfigurationError where another pipeline has it."""
        self.claim(table)
        self._refuse_foreign([table])

    def _refuse_foreign(self, tables: Sequence[MappedTable]) -> None:
        taken = self.foreign_claims(tables)
        if taken:
            raise ConfigurationError(
                f"pipeline {self._name}: " + "; ".join(
                    f"target table {schema}.{name} belongs to pipeline {owner}" for schema, name, owner in taken
                ),
                CLAIMED_FIX,
            )

    def foreign_claims(self, tables: Sequence[MappedTable]) -> list[tuple[str, str, str]]:
        """(schema, name, pipeline) of those target tables that another pipeline writes to."""
        rows = self._conn.execute(
            "select target_schema, target_name, pipeline from _cdc.claim where pipeline <> %s order by 1, 2",
            [self._name],
        ).fetchall()
        wanted = {(t.target_schema, t.target_name) for t in tables}
        return [(schema, name, owner) for schema, name, owner in rows if (schema, name) in wanted]

    # The log's offset

    def offset(self, lane: str = "main") -> LogOffset | None:
        row = self._conn.execute(
            "select next_offset, position, commit_ms, transactions, events, updated_at "
            "from _cdc.log_offset where pipeline = %s and lane = %s",
            [self._name, lane],
        ).fetchone()
        return None if row is None else LogOffset(*row)

    def slowest_offset(self, epoch: int) -> int | None:
        """The next offset of the reader that is furthest behind, a lane's or the stream's own; None where the epoch is
        not ours any more."""
        row = self._conn.execute(
            "select min(o.next_offset) from _cdc.pipeline p join _cdc.log_offset o "
            "on o.pipeline = p.name or starts_with(o.pipeline, p.name || '/') where p.name = %s and p.epoch = %s",
            [self._name, epoch],
        ).fetchone()
        return None if row is None else row[0]

    def init_offset(self, next_offset: int, position_json: str, lane: str = "main") -> bool:
        """Where the log is read from first. An offset that is there already stays (returns False)."""
        cursor = self._conn.execute(
            "insert into _cdc.log_offset (pipeline, lane, next_offset, position) values (%s, %s, %s, %s) "
            "on conflict do nothing",
            [self._name, lane, next_offset, position_json],
        )
        return cursor.rowcount == 1

    def advance_offset(
        self,
        expected: int,
        next_offset: int,
        position_json: str | None,
        commit_ms: int | None,
        transactions: int,
        events: int,
        lane: str = "main",
    ) -> None:
        """Compare and swap. `transactions` and `events` are added to the totals; None keeps position or time.

        Raises FencedError where the stored offset is not `expected`: somebody else applied the same stretch.
        """
        cursor = self._conn.execute(
            "update _cdc.log_offset set next_offset = %s, position = coalesce(%s, position), "
            "commit_ms = coalesce(%s, commit_ms), transactions = transactions + %s, events = events + %s, "
            "updated_at = clock_timestamp() where pipeline = %s and lane = %s and next_offset = %s",
            [next_offset, position_json, commit_ms, transactions, events, self._name, lane, expected],
        )
        if cursor.rowcount != 1:
            found = self.offset(lane)
            raise FencedError(
                f"pipeline {self._name}: the target's log offset is {found.next_offset if found else 'gone'}, "
                f"this process was at {expected}",
                "another consumer is at work; this one ends, nothing was written.",
            )
