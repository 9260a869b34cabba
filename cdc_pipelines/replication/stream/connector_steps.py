"""The single steps of a hand-over: create, place, resume, prove, switch. Each looks first at what is there."""

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cdc_pipelines.replication.connect import Config, ConnectClient, Json, RefusedError
from cdc_pipelines.replication.errors import CdcError, IntegrityError, RetryableError
from cdc_pipelines.replication.stream import messages
from cdc_pipelines.replication.stream.connector_life import connector_state, raise_failed, stop
from cdc_pipelines.replication.stream.log_topic import LogTopics

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

_POLL_S = 0.1
# For an answer about offsets Connect reads a topic from its beginning.
_OFFSET_POLL_S = 1.0
# A record and its transaction's marker; the marker of an aborted transaction alone is one.
_PROOF_RECORDS = 2
# A task that can't read the log fails within this time after it says RUNNING.
_IDLE_PROOF_S = 3.0
# Heartbeats may follow the last row.
_TAIL_RECORDS = 20
# Where a transaction begins. What an offset holds beside these counts the events within it.
_TRANSACTION_START = ("file", "pos", "gtids", "ts_sec", "server_id")


@dataclass
class ConnectorSteps:
    """One connector on its way into one change log. `partition` names the source in Connect's offsets.

    `ends` is the monotonic second at which patience ends; `is_at_end` says whether an offset has all that the source
    has now; `on_step` is told each step's name once it is done.
    """

    name: str
    client: ConnectClient
    topics: LogTopics
    log_topic: str
    history: str  # topic of the schema history
    offsets_topic: str
    partition: dict[str, str]
    position: dict[str, Any]  # the offset to begin at
    log: Log
    ends: float
    is_at_end: Callable[[dict[str, Any]], bool]
    on_step: Callable[[str], None]

    def create(self, config: Callable[[bool], Config]) -> bool:
        """Create it STOPPED from `config(exactly_once)`. Returns whether the worker offers exactly-once."""
        exactly_once = True
        try:
            self.client.create(self.name, config(True), "STOPPED")
        except RefusedError as error:
            if "exactly" not in error.answer.lower():
                raise
            self.log.warning(
                "the Connect worker does not offer exactly-once (exactly.once.source.support=enabled); "
                "what it sends again after a failure will be recognised and dropped"
            )
            exactly_once = False
            self.client.create(self.name, config(False), "STOPPED")
        self.client.wait_state(self.name, "STOPPED", deadline_s=self.left())
        self.done("created")
        return exactly_once

    def place(self) -> None:
        """Set a STOPPED connector's offset to the position, and read it back."""
        if self.offset() == self.position:
            return
        self.client.patch_offsets(self.name, [{"partition": self.partition, "offset": self.position}])
        found = self.client.offsets(self.name)
        if self.offset(found) != self.position:
            raise IntegrityError(
                f"connector {self.name}: its offset was set to {self.position}, but Kafka Connect gives {found}",
                "look at the Connect worker's log; then run the same command again.",
            )
        self.done("placed")

    def resume(self) -> None:
        self.client.resume(self.name)
        self.done("resumed")

    def wait_recovered(self) -> None:
        """Until an offset other than the one we gave is committed, outside of the schema's snapshot."""
        while True:
            status = self.client.status(self.name)
            raise_failed(self.name, status)
            if runs(status) and self.recovered():
                self.done("recovered")
                return
            self._wait("recovery shows no progress")

    def recovered(self) -> bool:
        """Whether the schema's snapshot is complete. In its middle the offset says so by the key `snapshot`."""
        if self.topics.offsets(self.history)[1] == 0:
            return False
        offset = self.offset()
        return offset is not None and "snapshot" not in offset and offset != self.position

    def switch(self, config: Config, *, else_as_before: bool = False) -> None:
        """Put a configuration in force, without tearing a transaction, and wait until changes flow under it.

        A task that is stopped between the two halves of a key change skips the second one later on. The connector then
        goes back to the start of the transaction, which comes again as a whole. Where the configuration can't be had,
        it stays STOPPED, or goes on `else_as_before`: never so in recovery, which would learn today's definitions.
        """
        stop(self.client, self.name)
        self.done("stopped")
        offset = self.offset()
        if offset is None or "snapshot" in offset:
            # `no_data` would start at "now" from such an offset.
            raise RetryableError(
                f"connector {self.name} was stopped within its schema's snapshot", "run the same command again."
            )
        if self.is_torn():
            self.client.patch_offsets(self.name, [{"partition": self.partition, "offset": transaction_start(offset)}])
            self.done("rewound")
        try:
            self.client.put_config(self.name, config)
        except CdcError:
            if else_as_before:
                with contextlib.suppress(CdcError):  # the first error is the one to be told
                    self.client.resume(self.name)
                    self.log.warning("connector %s: goes on with the settings that it had", self.name)
            raise
        self.done("switched")
        self.proven(lambda: self.client.resume(self.name))

    def is_torn(self) -> bool:
        """Whether the log of a stopped connector ends with the first half of a key change."""
        for record in reversed(self.topics.tail(self.log_topic, _TAIL_RECORDS)):
            message = messages.decode(record.value() or b"", record.offset() or 0)
            if message.op is not None:
                return message.op == "d" and "__debezium.newkey" in messages.headers(record)
            if message.status is not None or message.tableChanges is not None:
                return False
        return False

    def proven(self, action: Callable[[], object]) -> None:
        """Do what makes the connector run, and wait until its records arrive in the log.

        An idle source gives it nothing to send: its heartbeats hang on the server's, which come rarely. There it is
        proof that it keeps running while all that the source has is committed as read.
        """
        before = self._log_end()
        action()
        idle_since: float | None = None
        asked_at = float("-inf")
        while True:
            status = self.client.status(self.name)
            raise_failed(self.name, status)
            if not runs(status):
                idle_since = None
            elif self._log_end() >= before + _PROOF_RECORDS:
                break
            elif time.monotonic() - asked_at >= _OFFSET_POLL_S:
                asked_at = time.monotonic()
                idle_since = (idle_since or asked_at) if self._has_read_all() else None
                if idle_since is not None and asked_at - idle_since >= _IDLE_PROOF_S:
                    break
            self._wait("nothing arrives in the change log")
        self.done("streaming")

    def _has_read_all(self) -> bool:
        offset = self.offset()
        return offset is not None and "snapshot" not in offset and self.is_at_end(offset)

    def offset(self, offsets: list[Json] | None = None) -> dict[str, Any] | None:
        """The committed offset of this source; None where there is none."""
        for entry in self.client.offsets(self.name) if offsets is None else offsets:
            if entry["partition"] == self.partition and entry["offset"]:
                return dict(entry["offset"])
        return None

    def left(self) -> float:
        return self.ends - time.monotonic()

    def done(self, step: str) -> None:
        self.log.debug("connector %s: %s", self.name, step)
        self.on_step(step)

    def _log_end(self) -> int:
        return self.topics.offsets(self.log_topic)[1]

    def _wait(self, what: str) -> None:
        if self.left() <= 0:
            state = connector_state(self.client, self.name)
            raise RetryableError(
                f"connector {self.name}: {what}, and the time allowed is over (connector {state['state']}, "
                f"tasks {state['tasks']})",
                "look at the Connect worker's log; running the same command again goes on from here.",
            )
        time.sleep(_POLL_S)


def transaction_start(offset: dict[str, Any]) -> dict[str, Any]:
    """The offset at which the transaction begins that `offset` stands in."""
    return {key: offset[key] for key in _TRANSACTION_START if key in offset}


def runs(status: Json | None) -> bool:
    """Whether connector and all tasks are RUNNING, and there is one."""
    return (
        status is not None
        and status["connector"]["state"] == "RUNNING"
        and bool(status["tasks"])
        and all(task["state"] == "RUNNING" for task in status["tasks"])
    )
