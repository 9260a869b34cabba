"""Everything that an operation on one pipeline needs, opened when first used and closed together."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from types import TracebackType
from typing import Self

import psycopg

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.connect import ConnectClient
from cdc_pipelines.replication.control.store import ControlStore, PipelineRecord
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.databases.postgres.connection import connect
from cdc_pipelines.replication.databases.postgres.identity import target_identity
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import CdcError, RetryableError
from cdc_pipelines.replication.pipeline import Pipeline, Target
from cdc_pipelines.replication.stream.log_topic import LogTopics

_LOOK_S = 8.0


class Runtime:
    """One configured pipeline with its servers."""

    def __init__(self, record: PipelineRecord, store: ControlStore, *, impatient: bool = False) -> None:
        """`impatient`: for looking only. Kafka Connect has seconds to answer, not minutes."""
        self.record = record
        self.store = store
        self._impatient = impatient

    @classmethod
    def open(cls, name: str, store: ControlStore | None = None, *, impatient: bool = False) -> Self:
        """Raises NotConfiguredError where the control store knows no such pipeline."""
        store = store or ControlStore.open()
        return cls(store.get(name), store, impatient=impatient)

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def pipeline(self) -> Pipeline:
        return self.record.spec

    @property
    def target_spec(self) -> Target:
        return self.pipeline.target

    @property
    def tables(self) -> tuple[MappedTable, ...]:
        """The tables as they were resolved when the pipeline was configured."""
        return self.record.tables

    @cached_property
    def source(self) -> MySqlSource:
        return MySqlSource(self.pipeline.source)

    @cached_property
    def connect(self) -> ConnectClient:
        url = secrets.resolve(self.pipeline.connect.url)
        return ConnectClient(url, timeout_s=_LOOK_S, patience_s=_LOOK_S / 2) if self._impatient else ConnectClient(url)

    @cached_property
    def topics(self) -> LogTopics:
        return LogTopics(self.pipeline)

    def owner(self) -> str | None:
        """The target's identity, by which a connector is known to be this pipeline's; None while it is out of reach."""
        try:
            with self.target("identity") as (conn, _):
                return target_identity(conn)
        except RetryableError:
            return None

    @contextmanager
    def target(self, purpose: str) -> Iterator[tuple[psycopg.Connection, TargetState]]:
        """A connection to the target and the pipeline's state on it; each operation commits by itself."""
        with connect(self.target_spec, purpose=f"{self.name}:{purpose}") as conn:
            yield conn, TargetState(conn, self.name)

    def refresh(self) -> PipelineRecord:
        """Read the record again: another step or process may have changed it."""
        self.record = self.store.get(self.name)
        return self.record

    def close(self) -> None:
        if "source" in self.__dict__:
            self.source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, CdcError):
            error.name_pipeline(self.name)
        self.close()
