"""A reader at work ahead of an applier: it begins where that one stands, and what it read beyond is read again."""

import queue
from collections.abc import Collection

from cdc_pipelines.replication.changes.batches import Item
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.stream.applying import Applier
from cdc_pipelines.replication.stream.log_client import WAIT_MS, LogClient
from cdc_pipelines.replication.stream.reader import LogReader
from cdc_pipelines.replication.stream.schema_event import Rules

_CLOSED_WITHIN_S = 30.0


class ReadAhead:
    """Reads `applier`'s change log from its offset on, until closed. See LogReader for where it ends by itself."""

    def __init__(
        self, pipeline: Pipeline, applier: Applier, rules: Rules, *, group: str, stop_at: MySqlPosition | None = None,
        end: int | None = None, detached: Collection[str] = (), careful_until: int = 0, wait_ms: int = WAIT_MS,
    ) -> None:
        """`group` is the one under which Kafka knows it; `wait_ms` as LogClient has it."""
        self._applier = applier
        self._client = LogClient(
            pipeline.kafka, applier.facts.log_topic or "", applier.offset, group, wait_ms=wait_ms
        )
        self.reader = LogReader(
            self._client,
            database=pipeline.source.database,
            pair=pipeline.pair,
            tables=list(applier.live.mapped.values()),
            known=applier.live.known,
            offset=applier.offset,
            position=applier.position,
            overlap=applier.overlap,
            limits=pipeline.apply,
            stop_at=stop_at,
            end=end,
            detached=detached,
            careful_until=careful_until,
            rules=rules,
            statements=applier.live.statements,
        )
        self.reader.start()

    def next(self, wait_s: float) -> Item | None:
        """The next item for the applier; None where there is none within that time."""
        try:
            return self.reader.queue.get(timeout=wait_s)
        except queue.Empty:
            return None

    @property
    def is_dry(self) -> bool:
        """Whether nothing that was read waits to be applied."""
        return not self.reader.queue.unfinished_tasks and not self._applier.in_run and not self.reader.gathering

    def close(self) -> None:
        """End the reader, and the applier's open run with it."""
        self.reader.close()
        self.reader.join(timeout=_CLOSED_WITHIN_S)
        self._client.close()
        self._applier.abandon()
