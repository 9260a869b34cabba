"""What a stream rests on beside its records, looked at now and then while it runs.

A source whose log was reset numbers its transactions anew, and they look like ones that were applied. A change log that
was made again, or a connector that captures something else since somebody changed it, look like a source at rest. None
of it shows in the records; so it is looked for. So are tables that left the source unseen. The watch also trims the
change log.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.connect import ConnectClient
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.databases.postgres.connection import connect
from cdc_pipelines.replication.databases.postgres.identity import target_identity
from cdc_pipelines.replication.databases.postgres.state import PipelineState
from cdc_pipelines.replication.errors import CdcError, ResyncRequiredError
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.stream.cascades import UnloggedCascades
from cdc_pipelines.replication.stream.connector import GENERATION_KEY
from cdc_pipelines.replication.stream.connector_life import source_offset
from cdc_pipelines.replication.stream.connector_seal import foreign_owner, require_sealed
from cdc_pipelines.replication.stream.findings import Findings
from cdc_pipelines.replication.stream.gone_tables import GoneTables
from cdc_pipelines.replication.stream.log_topic import LogTopics
from cdc_pipelines.replication.stream.trimming import trim

INTERVAL_S = 15.0
TRIM_EVERY_S = 60.0
_PATIENCE_S = 5.0

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


@dataclass(frozen=True)
class Reached:
    """How far a stream is: the target's position and tables, whether all that the log holds is applied, and how many
    schema changes were met."""

    position: Callable[[], MySqlPosition]
    tables: Callable[[], Collection[str]]
    is_at_end: Callable[[], bool]
    schema_changes: Callable[[], int]


class Watch(threading.Thread):
    """Looks every INTERVAL_S until closed. What is out of reach is left for the next look.

    `alarm` is the error that the stream must end with, once there is one. `clock_ahead_ms`: how much the source's clock
    is ahead of ours, once that was looked at. `findings`: what the log does not tell.
    """

    def __init__(self, pipeline: Pipeline, facts: PipelineState, reached: Reached, log: Log) -> None:
        super().__init__(name="watch", daemon=True)
        self.alarm: CdcError | None = None
        self.clock_ahead_ms: float | None = None
        self.findings = Findings()
        self._pipeline, self._facts, self._reached, self._log = pipeline, facts, reached, log
        self._source = MySqlSource(pipeline.source)
        self._gone, self._cascades = GoneTables(self._source), UnloggedCascades(self._source)
        self._connect = ConnectClient(
            secrets.resolve(pipeline.connect.url), timeout_s=_PATIENCE_S, patience_s=_PATIENCE_S
        )
        self._topics = LogTopics(pipeline, deadline_s=_PATIENCE_S)
        self._owner: str | None = None
        self._closing = threading.Event()
        self._trimmed_at = time.monotonic() - TRIM_EVERY_S
        self._told: set[str] = set()

    def close(self) -> None:
        self._closing.set()

    def raise_alarm(self) -> None:
        """Raises what was found, if anything was."""
        if self.alarm is not None:
            raise self.alarm

    def run(self) -> None:
        looks = (
            self._look_at_clock, self._look_at_source, self._look_at_log, self._look_at_connector,
            self._look_at_tables, self._trim,
        )
        self._fine(self._look_at_clock)
        while not self._closing.wait(INTERVAL_S):
            if not all(self._fine(look) for look in looks):
                return
        self._source.close()

    def _fine(self, look: Callable[[], None]) -> bool:
        """Look; False where the stream must end, for the reason that `alarm` is now."""
        try:
            look()
        except ResyncRequiredError as error:
            self.alarm = error
            return False
        except CdcError as error:
            self._tell(look.__name__, error.message)
        except Exception as error:  # noqa: BLE001 (a look that fails must not end the stream)
            self._tell(look.__name__, f"{type(error).__name__}: {secrets.redact(str(error))}")
        return True

    def _tell(self, look: str, message: str) -> None:
        """Once per kind of look: what is out of reach for long is told by the status, too."""
        if look not in self._told:
            self._told.add(look)
            self._log.warning("watch: %s", message)

    def _look_at_clock(self) -> None:
        before = time.time()
        self.clock_ahead_ms = self._source.clock_ms() - (before + time.time()) / 2 * 1000

    def _look_at_source(self) -> None:
        self._source.require_same_history(self._reached.position())

    def _look_at_log(self) -> None:
        self._topics.require_same(self._facts.log_topic or "", self._facts.log_topic_id)

    def _look_at_connector(self) -> None:
        """A missing one, or one whose task failed, is the status's to tell: what is in the log can be applied."""
        config = self._connect.config(self._pipeline.connector_name)
        if config is None or config.get(GENERATION_KEY) != str(self._facts.generation):
            return
        if not foreign_owner(self._pipeline, config, self._target_identity()):
            require_sealed(self._pipeline, config)

    def _look_at_tables(self) -> None:
        gone = self._gone.look(self._reached.tables, self._has_passed)
        cascades = self._cascades.look(self._reached.tables(), self._reached.schema_changes())
        self.findings = Findings(tuple(gone), cascades)

    def _has_passed(self, position: MySqlPosition) -> bool:
        """Behind the last change of its own tables the connector tells how far it has read."""
        applied = self._reached.position()
        if applied.includes(position):
            return True
        read = source_offset(self._connect, self._pipeline.connector_name)
        at_end = self._reached.is_at_end()  # asked behind the offset: what it covers is in the log
        return at_end and bool(read and read.get("file")) and self._source.has_told(read or {}, applied, position)

    def _target_identity(self) -> str:
        if self._owner is None:
            with connect(self._pipeline.target, purpose=f"{self._pipeline.name}:watch") as conn:
                self._owner = target_identity(conn)
        return self._owner

    def _trim(self) -> None:
        if time.monotonic() - self._trimmed_at < TRIM_EVERY_S:
            return
        self._trimmed_at = time.monotonic()
        self._look_at_log()
        if (before := trim(self._pipeline, self._topics, self._facts)) is not None:
            self._log.info("change log %s: trimmed up to offset %d", self._facts.log_topic, before)
