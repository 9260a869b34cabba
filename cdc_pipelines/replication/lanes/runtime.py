"""A lane seen as a pipeline of one table: what the copy and the applier ask for, under the lane's own state."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import psycopg

from cdc_pipelines.replication.databases.postgres.connection import connect
from cdc_pipelines.replication.databases.postgres.lane_store import state_name
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import CdcError, LeaseHeldError
from cdc_pipelines.replication.operations.runtime import Runtime


class LaneRuntime(Runtime):
    """The pipeline `main`, with the state of the lane of `table`; closes nothing of `main`'s but its own source."""

    def __init__(self, main: Runtime, table: str) -> None:
        super().__init__(main.record, main.store)
        self.main, self.table = main, table
        self._claim: psycopg.Connection | None = None

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

        Raises LeaseHeldError where another process works on it.
        """
        key = int.from_bytes(hashlib.sha256(f"cdc:{self.name}".encode()).digest()[:8], signed=True)
        self._claim = connect(self.target_spec, purpose=f"{self.name}:lane", autocommit=True)
        row = self._claim.execute("select pg_try_advisory_lock(%s)", [key]).fetchone()
        if row is None or not row[0]:
            self._claim.close()
            raise LeaseHeldError(
                f"pipeline {self.main.name}: another process works on table {self.table} already",
                f"wait for it: `cdc status {self.main.name}` shows how far it is.",
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._claim is not None:
            self._claim.close()
        if isinstance(error, CdcError):
            error.name_pipeline(self.main.name)
        self.close()
