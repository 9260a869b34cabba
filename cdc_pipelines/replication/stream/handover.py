"""The hand-over: the connector starts reading at exactly the position at which the copy ends.

    definitions held still → connector created STOPPED → offset set to the position, read back → recovery (it learns the
    tables' definitions and streams from the position) → progress → no_data, the mode that never moves an offset

Debezium's `no_data` alone would start at "now" and lose what was written during the copy; `recovery` keeps a given
offset, but takes today's definitions for those of back then. So the definitions are compared with the copied ones, and
a session holds them still meanwhile. Every step looks first at what is there: killed anywhere, it is run again.
"""

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.connect import Config, ConnectClient
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.errors import CdcError, RetryableError
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.stream.connector import (
    EXACTLY_ONCE_KEY,
    HISTORY_ID_KEY,
    HISTORY_TOPIC_KEY,
    LEFT_OUT_KEY,
    LOG_TOPIC_KEY,
    OFFSETS_ID_KEY,
    OFFSETS_TOPIC_KEY,
    START_KEY,
    SnapshotMode,
    connector_config,
)
from cdc_pipelines.replication.stream.connector_failures import HISTORY_GONE
from cdc_pipelines.replication.stream.connector_life import (
    failed_trace,
    remove,
    require_ours,
    restart_failed,
    source_offset,
    topics_of,
)
from cdc_pipelines.replication.stream.connector_seal import lost_topics, own_topics, require_sealed, sealed
from cdc_pipelines.replication.stream.connector_steps import ConnectorSteps, Log, runs
from cdc_pipelines.replication.stream.held_definitions import HeldDefinitions
from cdc_pipelines.replication.stream.log_topic import LogTopics
from cdc_pipelines.replication.table_mapping import follows_new_tables


@dataclass(frozen=True)
class HandOver:
    """The connector that streams, how long it took, its committed source offset; `kept`: it was there already."""

    connector: str
    seconds: float
    offset: dict[str, Any]
    kept: bool = False


def hand_over(
    pipeline: Pipeline,
    tables: Sequence[MappedTable],
    *,
    client: ConnectClient,
    topics: LogTopics,
    source: MySqlSource,
    position: MySqlPosition,
    generation: int,
    log_topic: str,
    attempt: int,
    fingerprints: Mapping[str, str],
    log: Log,
    owner: str | None = None,
    anew: bool = False,
    left_out: Collection[str] = (),
    deadline_s: float = 120.0,
    on_step: Callable[[str], None] = lambda step: None,
) -> HandOver:
    """Returns when changes flow into `log_topic`, each one after `position` exactly once (or again as a whole).

    `attempt` numbers the schema history and must be new; `fingerprints` are of the definitions that the rows up to
    `position` have; `owner` is the target's identity. A healthy connector of this generation is kept where it stands,
    unless it is to be made `anew`. `left_out` names what is no table and must not be captured, beside the sequences
    that the source has now.
    `on_step` is told each step's name once it is done. Raises ResyncRequiredError (definitions changed, log purged or
    reset, change log gone, connector changed by hand), ConfigurationError (a foreign connector of that name, a refused
    setting), FencedError (a newer generation has it), RetryableError (something out of reach, or no progress within
    `deadline_s` seconds).
    """

    def is_at_end(offset: dict[str, Any]) -> bool:
        # What was applied has been read as well: a connector commits a transaction's own id only with the next one.
        now, committed = source.position(), MySqlPosition.from_connect_offset(offset, position)
        return (committed.has_read(now) or position.includes(now)) and now.includes(committed)

    steps = ConnectorSteps(
        pipeline.connector_name, client, topics, log_topic, pipeline.history_topic(generation, attempt),
        pipeline.offsets_topic(generation, attempt), {"server": pipeline.topic_prefix}, position.connect_offset(), log,
        time.monotonic() + deadline_s, is_at_end, on_step,
    )
    definitions = HeldDefinitions(pipeline.name, source, tables, position, fingerprints, log)
    return _HandOver(pipeline, tables, source, position, generation, definitions, owner, steps, anew, left_out).run()


@dataclass
class _HandOver:
    pipeline: Pipeline
    tables: Sequence[MappedTable]
    source: MySqlSource
    position: MySqlPosition
    generation: int
    definitions: HeldDefinitions
    owner: str | None
    steps: ConnectorSteps
    anew: bool
    left_out: Collection[str]

    def __post_init__(self) -> None:
        self.name, self.client, self.topics = self.steps.name, self.steps.client, self.steps.topics
        self.log = self.steps.log
        self._topics: Config = {}  # the connector's own, as its configuration names them

    def run(self) -> HandOver:
        began = time.monotonic()
        self.topics.check(self.steps.log_topic)
        found = self.client.config(self.name)
        self._look_for_sequences(found or {})
        kept = found is not None and self._go_on(found)
        if not kept:
            if found is not None:
                self.log.info("connector %s: an earlier one is removed", self.name)
                remove(self.client, self.name)
                self.steps.done("removed")
            self._begin()
        self._sweep()
        self.log.info("connector %s: streams, after %.1f s", self.name, seconds := time.monotonic() - began)
        return HandOver(self.name, seconds, source_offset(self.client, self.name) or {}, kept)

    def _look_for_sequences(self, found: Config) -> None:
        """Those that are gone were left out before: the log may still have rows of them."""
        if self.pipeline.source.type != "mariadb" or not follows_new_tables(self.pipeline):
            return
        names = {*self.left_out, *json.loads(found.get(LEFT_OUT_KEY, "[]")), *self.source.sequences()}
        self.left_out = names - self.source.table_names() if names else names

    # What is there already

    def _go_on(self, found: Config) -> bool:
        """Let a connector that exists go on from where it is. False where it must be made anew."""
        if require_ours(self.client, self.pipeline, found, self.generation, self.owner) != self.generation:
            return False
        require_sealed(self.pipeline, found, self._like(found))
        # One that still runs may wait for ever in a log that was reset, or read the new one.
        self.source.require_same_history(self.position)
        if self.anew:
            # While it is still there: it may have yet to tell what makes the difference.
            self.source.require_reachable(self.position)
            self.definitions.compare()
            return False
        if self._may_keep(found):
            return self._keep(found)
        if self._may_continue(found):
            self.log.info("connector %s: a hand-over was broken off here, it goes on", self.name)
            self._adopt(found)
            self._recover(found[EXACTLY_ONCE_KEY] == "required")
            return True
        return False

    def _may_keep(self, found: Config) -> bool:
        """Whether it has gone through recovery, into our log, and knows where it stands.

        Without an offset `no_data` would start at "now"; with one from within a snapshot it would, too.
        """
        if found.get("snapshot.mode") != "no_data" or found.get(LOG_TOPIC_KEY) != self.steps.log_topic:
            return False
        if self._has_lost_topics(found):
            return False
        offset = self.steps.offset()
        return offset is not None and "snapshot" not in offset

    def _has_lost_topics(self, found: Config) -> bool:
        """Whether its history or offsets were deleted. It may go on for long without, but not over its next restart."""
        lost = lost_topics(self.topics, found)
        if lost:
            self.log.warning("connector %s: deleted behind its back: %s", self.name, ", ".join(lost))
        return bool(lost)

    def _may_continue(self, found: Config) -> bool:
        """Whether a hand-over that was broken off was this same one, and nothing failed."""
        if found != self._like(found, "recovery") | {"name": self.name} or self._has_lost_topics(found):
            return False
        status = self.client.status(self.name)
        if status is not None and failed_trace(status) is not None:
            return False
        stopped = status is None or status["connector"]["state"] == "STOPPED"
        return stopped or self.steps.offset() is not None

    def _keep(self, found: Config) -> bool:
        """Resume, mend or reconfigure. False where it can't go on, because its schema history was lost."""
        wanted = self._like(found)
        other = sorted(k for k in wanted.keys() | found.keys() if k != "name" and wanted.get(k) != found.get(k))
        if _lacks_history(found, wanted):
            self.log.info("connector %s: is made anew, to learn the definitions of more tables", self.name)
            return False
        status = self.client.status(self.name)
        if other or not runs(status):
            self.source.require_reachable(self._connector_position())
        try:
            if other:
                self.log.info("connector %s: settings change: %s", self.name, ", ".join(other))
                self.steps.switch(wanted, else_as_before=True)
            elif status is not None and failed_trace(status) is not None:
                self.log.info("connector %s: its failed task is restarted", self.name)
                self.steps.proven(lambda: restart_failed(self.client, self.name))
            else:
                self.steps.proven(lambda: self.client.resume(self.name))
        except RetryableError as error:
            if HISTORY_GONE not in error.message:
                raise
            self.log.warning("connector %s: its schema history is gone", self.name)
            return False
        return True

    def _connector_position(self) -> MySqlPosition:
        return MySqlPosition.from_connect_offset(self.steps.offset() or {}, self.position)

    # The way from nothing to streaming

    def _begin(self) -> None:
        self.source.require_reachable(self.position)
        self.definitions.compare()
        self.topics.create_history(self.steps.history)
        self.topics.create_offsets(self.steps.offsets_topic)
        self.steps.done("history")
        self._topics = self._made_topics()
        exactly_once = self.steps.create(lambda offered: self._config("recovery", offered))
        self._recover(exactly_once)

    def _made_topics(self) -> Config:
        steps, topics = self.steps, self.topics
        return {
            HISTORY_TOPIC_KEY: steps.history, HISTORY_ID_KEY: topics.topic_id(steps.history) or "",
            OFFSETS_TOPIC_KEY: steps.offsets_topic, OFFSETS_ID_KEY: topics.topic_id(steps.offsets_topic) or "",
        }

    def _adopt(self, found: Config) -> None:
        """Go on with the topics of the connector that is there."""
        self.steps.history, self.steps.offsets_topic = found[HISTORY_TOPIC_KEY], found[OFFSETS_TOPIC_KEY]
        self._topics = own_topics(found)

    def _recover(self, exactly_once: bool) -> None:
        """From a connector in recovery, wherever it is, to one that streams for good."""
        if not self.steps.recovered():
            with self.definitions.held():
                self.steps.done("guarded")
                status = self.client.status(self.name)
                if status is None or status["connector"]["state"] == "STOPPED":
                    self.steps.place()
                self.steps.resume()
                self.steps.wait_recovered()
        self.steps.switch(self._config("no_data", exactly_once))

    def _config(self, mode: SnapshotMode, exactly_once: bool) -> Config:
        return sealed(self._plain(mode, exactly_once) | self._topics)

    def _like(self, found: Config, mode: SnapshotMode = "no_data") -> Config:
        """What the connector that is there should have: its own topics, and the mark of where it began."""
        wanted = self._plain(mode, found.get(EXACTLY_ONCE_KEY) == "required") | own_topics(found)
        if mode == "no_data" and START_KEY in found:
            wanted[START_KEY] = found[START_KEY]
        return sealed(wanted)

    def _plain(self, mode: SnapshotMode, exactly_once: bool) -> Config:
        steps = self.steps
        return connector_config(
            self.pipeline, self.tables, generation=self.generation, log_topic=steps.log_topic,
            history_topic=steps.history, offsets_topic=steps.offsets_topic, snapshot_mode=mode, start=self.position,
            owner=self.owner, exactly_once=exactly_once, left_out=self.left_out,
        )

    def _sweep(self) -> None:
        """Delete topics that nobody reads again: earlier generations', and histories of connectors that are gone."""
        config = self.client.config(self.name) or {}
        used = {self.steps.log_topic, *own_topics(config).values()}
        try:
            old = topics_of(self.client, self.topics, self.pipeline, self.owner)
            self.topics.delete(t for t in old if t not in used)
        except CdcError as error:
            self.log.warning("old topics of pipeline %s were not deleted: %s", self.pipeline.name, error.message)


def _lacks_history(found: Config, wanted: Config) -> bool:
    """Whether tables come in whose definitions are not in the schema history: where it has the captured ones only."""
    before, after = (set(c.get("table.include.list", "").split(",")) for c in (found, wanted))
    return found.get("schema.history.internal.store.only.captured.tables.ddl") == "true" and not after <= before
