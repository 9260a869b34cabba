"""A lane seen as a pipeline of one table: what the copy and the applier ask for, under the lane's own state."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import psycopg

from cdc_pipelines.replication.databases.postgres.connection import connect
from cdc_pipelines.replication.databases.postgres.lane_store import LaneStore, state_name
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import CdcError, FencedError, LeaseHeldError
from cdc_pipelines.replication.operations.runtime import Runtime

SILENT_AFTER_S = 60.0
"""A worker beats every 3 seconds; one that has not for so long is dead, frozen or cut off."""
_CLAIM = "lane"
_HAND_OVER_S = 10.0


class LaneRuntime(Runtime):
    """The pipeline `main`, with the state of the lane of `table`; closes nothing of `main`'s but its own source."""

    def __init__(self, main: Runtime, table: str) -> None:
        super().__init__(main.record, main.store)
        self.main, self.table = main, table
        self._claim: psycopg.Connection | None = None
        self.epoch: int | None = None
        """That of the lane's state which this process holds."""

    @property
    def name(self) -> str:
        """Of the lane's state on the target."""
        return state_name(self.main.name, self.table)

    @contextmanager
    def target(self, purpose: str) -> Iterator[tuple[psycopg.Connection, TargetState]]:
        with connect(self.target_spec, purpose=f"{self.name}:{purpose}") as conn:
            yield conn, TargetState(conn, self.name)

    def __enter__(self) -> Self:
        """Claim the lane for this process, by a session of its own: it lets go when the process dies.

        The session of one that has not beaten for long, because it is frozen or cut off, is ended. Raises
        LeaseHeldError where another process works on the lane.
        """
        self._claim = connect(self.target_spec, purpose=f"{self.name}:{_CLAIM}", autocommit=True)
        ends = time.monotonic() + _HAND_OVER_S
        while not self._try_claim(self._claim):
            if not self._end_silent(self._claim) or time.monotonic() > ends:
                self._claim.close()
                raise LeaseHeldError(
                    f"pipeline {self.main.name}: another process works on table {self.table} already",
                    f"wait for it: `cdc status {self.main.name}` shows how far it is.",
                )
            time.sleep(0.2)
        return self

    def _try_claim(self, conn: psycopg.Connection) -> bool:
        key = int.from_bytes(hashlib.sha256(f"cdc:{self.name}".encode()).digest()[:8], signed=True)
        row = conn.execute("select pg_try_advisory_lock(%s)", [key]).fetchone()
        return row is not None and bool(row[0])

    def _end_silent(self, conn: psycopg.Connection) -> bool:
        """End the session of a worker that has been silent for long. False: it beats, or is not ours to end."""
        lane = LaneStore(conn, self.main.name).get(self.table)
        if lane is None or (datetime.now(UTC) - lane.beat_at).total_seconds() < SILENT_AFTER_S:
            return False
        try:
            conn.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = "
                "current_setting('application_name') and pid <> pg_backend_pid() and datname = current_database()"
            )
        except psycopg.errors.InsufficientPrivilege:
            return False
        return True

    def require_mine(self, conn: psycopg.Connection) -> None:
        """In the transaction of `conn`: the lane is still this process's, and stays so till it ends (FencedError)."""
        if self.epoch is None:
            raise FencedError(f"pipeline {self.main.name}, table {self.table}: its lane was never taken", "a defect.")
        TargetState(conn, self.name).require_epoch(self.epoch)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._claim is not None:
            self._claim.close()
        if isinstance(error, CdcError):
            error.name_pipeline(self.main.name)
        self.close()
