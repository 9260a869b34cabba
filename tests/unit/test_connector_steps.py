"""The steps of a hand-over against a Kafka Connect that is played: what is looked at before, and what is not done."""

import json
import logging
import time
from types import SimpleNamespace
from typing import Any

import pytest

from cdc_pipelines.replication.connect import RefusedError
from cdc_pipelines.replication.errors import CdcError, IntegrityError, RetryableError
from cdc_pipelines.replication.stream import connector, connector_life, connector_steps
from cdc_pipelines.replication.stream.connector_steps import ConnectorSteps
from tests.unit.log_records import Log, Record

PARTITION = {"server": "client_1_db_1"}
POSITION = {"file": "binlog.000001", "pos": 100, "gtids": "u:1-5"}
INSIDE = {"file": "binlog.000001", "pos": 700, "gtids": "u:1-7", "event": 3, "row": 2, "transaction_id": "u:8",
          "ts_sec": 5}
NEW_KEY = [("__debezium.newkey", b"{}")]


class PlayedConnect:
    """One connector: its state, its committed offset, and all that was asked of it, in order."""

    url = "http://connect"

    def __init__(self, offset: dict[str, Any] | None) -> None:
        self.offset, self.did, self.running = offset, [], False
        self.keeps = True  # what its offset is set to
        self.refuses = False
        self.fails_at = float("inf")

    def offsets(self, name: str) -> list[dict[str, Any]]:
        return [{"partition": PARTITION, "offset": self.offset}] if self.offset else []

    def patch_offsets(self, name: str, offsets: list[dict[str, Any]]) -> None:
        assert not self.running, "offsets are changed in a stopped connector only"
        self.did.append("patch")
        if self.keeps:
            self.offset = offsets[0]["offset"]

    def put_config(self, name: str, config: dict[str, str]) -> None:
        self.did.append("config")
        if self.refuses:
            raise RefusedError("refused")

    def stop(self, name: str) -> None:
        self.running = False
        self.did.append("stop")

    def wait_state(self, name: str, state: str, **_: Any) -> None:
        pass

    def resume(self, name: str) -> None:
        self.running = True
        self.did.append("resume")

    def status(self, name: str, **_: Any) -> dict[str, Any]:
        state = "RUNNING" if self.running else "STOPPED"
        failed = time.monotonic() > self.fails_at
        tasks = [{"id": 0, "state": "FAILED" if failed else "RUNNING", "trace": "why"}] if self.running else []
        return {"connector": {"state": state}, "tasks": tasks}


def steps(connect: PlayedConnect, tail: list[Record] | None = None, *, history: int = 1) -> ConnectorSteps:
    """Each look at the log finds two more records, as long as the connector runs."""
    ends = iter(range(0, 1000, 2))
    topics = SimpleNamespace(
        tail=lambda topic, records: (tail or [])[-records:],
        offsets=lambda topic: (0, history if topic == "history" else next(ends)),
    )
    return ConnectorSteps(
        "cdc_1_1", connect, topics, "log", "history", "offsets", PARTITION, POSITION,  # type: ignore[arg-type]
        logging.getLogger("test"), time.monotonic() + 1, lambda offset: True, lambda step: None,
    )


def torn() -> Log:
    log = Log()
    log.begin(8)
    log.row(8, "u", "t", before={"id": 5}, after={"id": 5}, order=1)
    log.row(8, "d", "t", before={"id": 1}, order=2, headers=NEW_KEY)
    log.heartbeat()
    return log


def test_a_transaction_torn_within_a_key_change_is_sent_again_from_its_start() -> None:
    """The task would begin behind the first half, and skip the second."""
    connect = PlayedConnect(dict(INSIDE))
    steps(connect, torn().records).switch({"snapshot.mode": "no_data"})
    assert connect.did == ["stop", "patch", "config", "resume"]
    assert connect.offset == {"file": "binlog.000001", "pos": 700, "gtids": "u:1-7", "ts_sec": 5}


@pytest.mark.parametrize("end", ["second half", "an ordinary delete", "a whole transaction", "nothing"])
def test_a_log_that_ends_otherwise_is_not_sent_again(end: str) -> None:
    log = Log() if end == "nothing" else torn()
    if end == "second half":
        log.row(8, "c", "t", after={"id": 9}, order=3)
    elif end == "an ordinary delete":
        log.row(8, "d", "t", before={"id": 2}, order=3)
    elif end == "a whole transaction":
        log.end(8, 2)
    connect = PlayedConnect(dict(INSIDE))
    steps(connect, log.records).switch({"snapshot.mode": "no_data"})
    assert connect.did == ["stop", "config", "resume"]
    assert connect.offset == INSIDE


@pytest.mark.parametrize(("as_before", "then"), [(True, ["resume"]), (False, [])])
def test_a_stream_goes_on_where_its_new_settings_are_refused(*, as_before: bool, then: list[str]) -> None:
    """Its old ones still hold. In recovery it must not: it would take today's definitions for those of back then."""
    connect = PlayedConnect(dict(INSIDE))
    connect.refuses = True
    with pytest.raises(RefusedError, match="refused"):
        steps(connect).switch({"snapshot.mode": "no_data"}, else_as_before=as_before)
    assert connect.did == ["stop", "config", *then]


@pytest.mark.parametrize("offset", [None, {**POSITION, "snapshot": "INITIAL"}])
def test_from_within_its_schemas_snapshot_it_is_not_switched(offset: dict[str, Any] | None) -> None:
    """`no_data` would start at "now" from there: a gap, in silence."""
    connect = PlayedConnect(offset)
    with pytest.raises(RetryableError, match="within its schema's snapshot"):
        steps(connect).switch({"snapshot.mode": "no_data"})
    assert connect.did == ["stop"]


@pytest.mark.parametrize(
    ("offset", "history", "recovered"),
    [
        (None, 1, False),
        (POSITION, 1, False),  # the one that it was given
        ({**POSITION, "pos": 200, "snapshot": "INITIAL"}, 1, False),
        ({**POSITION, "pos": 200}, 0, False),  # it has not learnt the tables
        ({**POSITION, "pos": 200}, 1, True),
    ],
)
def test_recovery_is_over_when_an_offset_of_its_own_is_committed(
    offset: dict[str, Any] | None, history: int, recovered: bool
) -> None:
    assert steps(PlayedConnect(offset), history=history).recovered() is recovered


def test_an_offset_that_did_not_take_is_seen() -> None:
    """Kafka Connect answers 200 to whatever it is given."""
    connect = PlayedConnect(None)
    connect.keeps = False
    with pytest.raises(IntegrityError, match="its offset was set to"):
        steps(connect).place()
    connect.keeps = True
    steps(connect).place()
    assert json.dumps(connect.offset) == json.dumps(POSITION)


def test_running_is_no_proof_that_changes_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector_steps, "_POLL_S", 0.02)
    made = steps(PlayedConnect(dict(INSIDE)))
    made.topics = SimpleNamespace(offsets=lambda topic: (0, 7))  # type: ignore[assignment]
    made.is_at_end = lambda offset: False
    made.ends = time.monotonic() + 0.2
    with pytest.raises(RetryableError, match="nothing arrives in the change log"):
        made.proven(lambda: made.client.resume("cdc_1_1"))


@pytest.mark.parametrize("fails_after_s", [None, 0.15])
def test_on_an_idle_source_it_is_proof_to_keep_running(
    monkeypatch: pytest.MonkeyPatch, fails_after_s: float | None
) -> None:
    """Nothing arrives; all that the source has is committed as read. A task that can't read the log fails soon."""
    for name, value in {"_POLL_S": 0.02, "_OFFSET_POLL_S": 0.04, "_IDLE_PROOF_S": 0.3}.items():
        monkeypatch.setattr(connector_steps, name, value)
    connect = PlayedConnect(dict(INSIDE))
    made = steps(connect)
    made.topics = SimpleNamespace(offsets=lambda topic: (0, 7))  # type: ignore[assignment]
    began = time.monotonic()
    if fails_after_s is None:
        made.proven(lambda: connect.resume("cdc_1_1"))
        assert time.monotonic() - began >= 0.3
    else:
        connect.fails_at = began + fails_after_s
        with pytest.raises(CdcError, match="cdc_1_1"):
            made.proven(lambda: connect.resume("cdc_1_1"))


def test_a_topic_that_another_connector_uses_is_not_ours_to_delete() -> None:
    """Two pipelines may have been given the same topic prefix."""
    def using(generation: int, pipeline: str) -> dict[str, Any]:
        return {"info": {"config": {
            connector_life.LOG_TOPIC_KEY: f"p.g{generation}.log", connector.PIPELINE_KEY: pipeline,
        }}}

    connect = SimpleNamespace(all=lambda *_: {"ours": using(1, "shop"), "other": using(2, "others")})
    there = ["p.g1.history.1", "p.g1.log", "p.g2.log", "p.g3.offsets.4", "p.g4.log.backup", "p.gone"]
    topics = SimpleNamespace(list=lambda prefix: [t for t in there if t.startswith(prefix)])
    pipeline = SimpleNamespace(topic_prefix="p", connector_name="ours", name="shop")
    found = connector_life.topics_of(connect, topics, pipeline)  # type: ignore[arg-type]
    assert found == ["p.g1.history.1", "p.g1.log", "p.g3.offsets.4"]
