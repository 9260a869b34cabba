"""The control store as everybody uses it: `ControlStore.open()`.

SQLite by default, for one host; PostgreSQL for more than one. Every method is one transaction; all raise
RetryableError where the database is out of reach, except `beat`, which only says so.
"""

from datetime import UTC, datetime, timedelta
from typing import Self

from sqlalchemy import Engine, select
from sqlalchemy.engine import URL

from cdc_pipelines.replication import processes
from cdc_pipelines.replication.control import models
from cdc_pipelines.replication.control.agents import FRESH_S, AgentStore
from cdc_pipelines.replication.control.alerts import AlertStore
from cdc_pipelines.replication.control.assignments import AssignmentStore
from cdc_pipelines.replication.control.beats import BeatStore
from cdc_pipelines.replication.control.diary import DiaryStore
from cdc_pipelines.replication.control.engine import cdc_home, make_engine, resolve_url
from cdc_pipelines.replication.control.incidents import IncidentStore
from cdc_pipelines.replication.control.leases import Lease, LeaseStore
from cdc_pipelines.replication.control.pipelines import PipelineStore
from cdc_pipelines.replication.control.records import (
    Action,
    AgentInfo,
    ConsumerExit,
    DesiredState,
    DiaryEntry,
    Heartbeat,
    Incident,
    LeaseInfo,
    Message,
    PipelineRecord,
    Problem,
)
from cdc_pipelines.replication.control.schema import ensure_schema
from cdc_pipelines.replication.errors import ConfigurationError

__all__ = [
    "Action",
    "AgentInfo",
    "ConsumerExit",
    "ControlStore",
    "DesiredState",
    "DiaryEntry",
    "Heartbeat",
    "Incident",
    "Lease",
    "LeaseInfo",
    "Message",
    "PipelineRecord",
    "Problem",
    "cdc_home",
]


class ControlStore(
    PipelineStore, LeaseStore, BeatStore, AgentStore, AssignmentStore, DiaryStore, IncidentStore, AlertStore
):
    """The database of pipelines, leases, heartbeats, agents, incidents and alerts. Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        """`engine`'s database must have the tables of this version; `open` sees to it."""
        self._engine = engine
        with self._read() as connection:
            facts = models.facts
            self.id = str(connection.execute(select(facts.c.value).where(facts.c.name == "id")).scalar_one())

    @classmethod
    def open(cls, url: str | None = None, *, patience_s: float | None = None) -> Self:
        """Open the store, making or migrating its tables where needed.

        `url` by default is the environment's `CDC_CONTROL_URL`, else SQLite in `CDC_HOME` (or `./.cdc`). With
        `patience_s` every call ends soon: none of its statements waits for longer. Raises ConfigurationError for an
        address that can't serve, for tables of a newer version, and for a SQLite file that another machine uses;
        RetryableError where the database is out of reach.
        """
        engine = make_engine(resolve_url(url), patience_s)
        ensure_schema(engine)
        store = cls(engine)
        store._refuse_other_machines()
        return store

    @property
    def url(self) -> str:
        """The whole address, a password included: for the environment of our own child processes only."""
        return self._engine.url.render_as_string(hide_password=False)

    @property
    def location(self) -> str:
        """The address as people may read it."""
        return self._engine.url.render_as_string(hide_password=True)

    @property
    def address(self) -> URL:
        return self._engine.url

    def close(self) -> None:
        self._engine.dispose()

    def _refuse_other_machines(self) -> None:
        """SQLite's write-ahead log lives in shared memory: one machine only (its containers may share the file)."""
        if self._engine.dialect.name != "sqlite":
            return
        t = models.agents
        oldest = datetime.now(UTC) - timedelta(seconds=FRESH_S)
        with self._read() as connection:
            other = connection.execute(
                select(t.c.host).where(t.c.at >= oldest, t.c.machine != processes.machine())
            ).scalar()
        if other is not None:
            raise ConfigurationError(
                f"the control store {self.location} is in use on another machine, {other}; SQLite serves one only",
                "use PostgreSQL on both: CDC_CONTROL_URL=postgresql+psycopg2://user:password@host/database.",
            )
