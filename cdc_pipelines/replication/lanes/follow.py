"""A lane's own applier: one table's changes out of the change log, up to where the pipeline's consumer is.

It never overtakes the consumer, so that both can meet at one offset.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from cdc_pipelines.replication.changes.batches import AtBarrier, Failed
from cdc_pipelines.replication.databases.postgres.connection import connect, take_replica_role
from cdc_pipelines.replication.lanes.runtime import LaneRuntime
from cdc_pipelines.replication.stream.applying import Applier
from cdc_pipelines.replication.stream.log_client import WAIT_MS
from cdc_pipelines.replication.stream.read_ahead import ReadAhead
from cdc_pipelines.replication.stream.schema_event import Rules
from cdc_pipelines.replication.table_mapping import column_names

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

_QUICK_MS = 20


class Follower:
    """The applier of one lane, on a target session of its own."""

    def __init__(self, lane: LaneRuntime, applier: Applier) -> None:
        self._lane, self._applier = lane, applier

    @property
    def offset(self) -> int:
        """The next offset of the change log; all before it is applied and committed."""
        return self._applier.offset

    def go_to(self, end: int, *, quick: bool = False) -> None:
        """Apply everything before the log's offset `end`, and commit. `quick`: somebody waits for it.

        Raises what an applier and a reader raise; what was not committed is read again by the next one.
        """
        applier = self._applier
        if applier.offset >= end:
            return
        pipeline = self._lane.pipeline
        rules = Rules(pipeline.schema_changes, column_name=column_names(pipeline))
        ahead = ReadAhead(
            pipeline, applier, rules, group=f"{pipeline.topic_prefix}.lane", end=end,
            wait_ms=_QUICK_MS if quick else WAIT_MS,
        )
        try:
            self._apply(ahead)
        finally:
            ahead.close()

    def _apply(self, ahead: ReadAhead) -> None:
        while True:
            item = ahead.next(0.5)
            if item is None:
                if not ahead.reader.is_alive():
                    return  # closed by somebody else
                continue
            if isinstance(item, AtBarrier):
                return
            if isinstance(item, Failed):
                self._applier.abandon()
                raise item.error
            self._applier.handle(item)


@contextmanager
def follower(lane: LaneRuntime, log: Log) -> Iterator[Follower]:
    """The lane's applier, for as long as the block lasts. The copy must be complete (ConfigurationError else)."""
    with connect(lane.target_spec, purpose=f"{lane.name}:follow") as conn:
        take_replica_role(conn)
        conn.commit()
        yield Follower(lane, Applier(conn, lane.name, lane.pipeline.pair, log, alone=True))
