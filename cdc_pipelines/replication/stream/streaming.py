"""A pipeline's stream on one target session: an applier, the reader ahead of it, and what a refused change leads to."""

import logging
from collections.abc import Callable, Sequence
from contextlib import closing

import psycopg

from cdc_pipelines.replication.changes.batches import AtBarrier, Commit, Failed, Item
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.errors import RetryableError
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.stream.applying import Applier
from cdc_pipelines.replication.stream.log_topic import LogTopics
from cdc_pipelines.replication.stream.quarantine import Quarantine
from cdc_pipelines.replication.stream.read_ahead import ReadAhead
from cdc_pipelines.replication.stream.reader import ReaderFacts
from cdc_pipelines.replication.stream.refusal import RefusedError
from cdc_pipelines.replication.stream.schema_event import Rules
from cdc_pipelines.replication.table_mapping import column_names, new_tables

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


class Stream:
    """Opened and closed any number of times; the applier stands where its last commit was."""

    def __init__(
        self, pipeline: Pipeline, applier: Applier, group: str, log: Log, committed: Callable[[Commit], None]
    ) -> None:
        """`committed` is told of each run once it is durable."""
        self.applier = applier
        self._pipeline, self._group, self._log, self._committed = pipeline, group, log, committed
        self._quarantine = Quarantine(pipeline.apply.quarantine)
        self._ahead: ReadAhead | None = None
        self._stop_at: MySqlPosition | None = None

    def open(self, stop_at: MySqlPosition | None = None) -> None:
        """Read from where the applier stands, up to `stop_at` or for good.

        Raises ResyncRequiredError where the log is not the one that the target knows, or does not hold its offset.
        """
        pipeline, applier, self._stop_at = self._pipeline, self.applier, stop_at
        topics, topic = LogTopics(pipeline), applier.facts.log_topic or ""
        topics.require_same(topic, applier.facts.log_topic_id)
        topics.require_offset(topic, applier.offset)
        rules = Rules(pipeline.schema_changes, new_tables(pipeline), column_names(pipeline), self._charsets_now)
        self._ahead = ReadAhead(
            pipeline, applier, rules, group=self._group, stop_at=stop_at, detached=applier.live.detached,
            careful_until=self._quarantine.careful_until,
        )

    def _charsets_now(self, table: str) -> dict[str, str]:
        with closing(MySqlSource(self._pipeline.source)) as source:
            return source.charsets(table)

    def close(self) -> None:
        """End the reader; what it had read ahead is read again by the next one."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.close()

    def look_again(self) -> None:
        """While it is closed: whether a lane or a removal changed the tables."""
        if self.applier.is_outdated():
            self.applier = self.applier.renewed()

    # One item after the other

    def next(self, wait_s: float) -> Item | None:
        """What comes next in the log; None where nothing does within that time."""
        assert self._ahead is not None
        return self._ahead.next(wait_s)

    def handle(self, item: Item) -> None:
        """Apply one item. Where the target refuses it, its stretch is read again, with care.

        Raises what stopped the reader, what an applier raises, and RefusedError where the pipeline is to stop there.
        """
        ahead = self._ahead
        assert ahead is not None
        try:
            self._take(item, ahead)
        except RefusedError as refusal:
            self._refused(refusal, ahead)
        finally:
            ahead.reader.queue.task_done()

    def _take(self, item: Item, ahead: ReadAhead) -> None:
        if isinstance(item, Failed):
            self.applier.abandon()
            raise item.error
        if isinstance(item, AtBarrier) or not self.applier.handle(item):
            return
        ahead.reader.applied_offset = self.applier.offset
        assert isinstance(item, Commit)
        self._committed(item)

    def _refused(self, refusal: RefusedError, ahead: ReadAhead) -> None:
        """Read the run's stretch of the log again, without the refused change's table once that is found."""
        applier, fetched = self.applier, ahead.reader.facts.fetched
        live = len(applier.live.mapped) - len(applier.live.detached)
        pending: Sequence[RefusedError] = ()
        try:
            gave_way = applier.give_way(refusal)
        except psycopg.OperationalError as error:
            raise RetryableError(
                f"{refusal.message}, and what refused it can't be taken away now: {error}",
                "the consumer will be started again.",
            ) from error
        if not gave_way:
            pending = self._quarantine.judge(refusal, live=live, fetched=fetched)
            self._log.warning(
                "%s; reading again from offset %d to set it apart", refusal.message, applier.offset,
                extra={"table": refusal.table, "position": refusal.log_place or applier.position.log_place},
            )
        self.close()
        self.applier = applier.renewed(pending)
        self.open(self._stop_at)

    # How far it is

    @property
    def facts(self) -> ReaderFacts | None:
        """What the reader saw; None while it is closed."""
        ahead = self._ahead
        return None if ahead is None else ahead.reader.facts

    @property
    def has_caught_up(self) -> bool:
        """Whether all that the log held when its end was first reached is applied."""
        ahead = self._ahead
        return ahead is not None and ahead.reader.facts.read_to_end and ahead.is_dry

    @property
    def is_at_end(self) -> bool:
        """Whether all that the log holds is applied."""
        facts = self.facts
        return facts is not None and facts.log_end is not None and self.done_to() >= facts.log_end

    def done_to(self) -> int:
        """The log's offset before which nothing is left to apply.

        What was read and needs no applying (heartbeats) counts, though it is stored only now and then.
        """
        ahead = self._ahead
        read = 0 if ahead is None else ahead.reader.facts.next_offset  # looked at first: what is read after it may wait
        return max(self.applier.offset, read if ahead is not None and ahead.is_dry else 0)
