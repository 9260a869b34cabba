"""A restart of the connector's task may tear a key change in two: its second half never comes, and nothing says so."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from confluent_kafka import Consumer, Producer, TopicPartition

from cdc_pipelines.replication.connect import ConnectClient
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.stack.settings import StackSettings
from tests.conftest import CommandResult
from tests.e2e.conftest import Pipe, wait_until
from tests.e2e.own_source import KINDS, TABLE, OwnPipe, own_pipe


class Torn:
    """Puts a transaction into a pipeline's log as a torn one looks there, with the connector's offset behind it."""

    def __init__(self, pipe: OwnPipe, kind: str, stack: StackSettings) -> None:
        self.pipe, self.kind = pipe, kind
        self.rt = Runtime.open(pipe.name, ControlStore.open())
        self.url = f"{stack.connect_url}/connectors/{self.rt.pipeline.connector_name}"
        self.producer = Producer({"bootstrap.servers": stack.kafka_bootstrap})
        self.topic = pipe.rows("select log_topic from _cdc.pipeline")[0][0]

    def tear(self, change: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        requests.put(f"{self.url}/stop", timeout=90).raise_for_status()
        wait_until(self._is_stopped, "the connector to be stopped")
        before = self.rt.source.position()
        self.pipe.run(change)
        after = self.rt.source.position()
        gtid = {
            "gtid": lambda: f"{after.server}:{after.gtids.rsplit('-', 1)[1]}", "mariadb": lambda: after.gtids,
            "plain": lambda: None,
        }[self.kind]()
        identity = gtid or f"file={before.file},pos={before.pos}"
        source = {"db": "shop", "table": "t", "gtid": gtid, "file": after.file, "pos": after.pos - 60, "row": 0,
                  "ts_ms": 1, "snapshot": None}
        offset = {"partition": {"server": self.rt.pipeline.topic_prefix}, "offset": after.connect_offset()}
        wait_until(  # not while Connect's workers rebalance
            lambda: requests.patch(f"{self.url}/offsets", json={"offsets": [offset]}, timeout=90).ok, "the offset",
        )
        self._send({"status": "BEGIN", "id": identity, "ts_ms": 1})
        self._send(
            {"op": "d", "before": old, "after": None, "source": source, "ts_ms": 1,
             "transaction": {"id": identity, "total_order": 1, "data_collection_order": 1}},
            [("__debezium.newkey", json.dumps(new).encode())],
        )
        self._send({"status": "END", "id": identity, "event_count": 1, "ts_ms": 1})

    def _send(self, value: dict[str, Any], headers: list[tuple[str, bytes]] | None = None) -> None:
        self.producer.produce(self.topic, json.dumps(value).encode(), headers=headers or [])
        assert self.producer.flush(30) == 0

    def _is_stopped(self) -> bool:
        status = requests.get(f"{self.url}/status", timeout=30).json()
        return status["connector"]["state"] == "STOPPED" and not status["tasks"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_torn_key_change_is_read_again(
    kind: str, stack: StackSettings, cdc: Callable[..., CommandResult], cdc_home: Path,
    pipeline_file: Callable[..., Path], target_database: str, target: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a resync, and what was written behind it arrives too."""
    with own_pipe(kind, stack, cdc, cdc_home, pipeline_file, target_database, target) as pipe:
        pipe.run(*TABLE)
        pipe.configure()
        generation = pipe.start()["generation"]
        pipe.run("insert into t values (3, 'c'), (4, 'd')")
        pipe.arrives("select count(*) from t", [(4,)])
        monkeypatch.setenv("CDC_HOME", str(cdc_home))
        Torn(pipe, kind, stack).tear("update t set id = 10 where id = 1", {"id": 1, "v": "a"}, {"id": 10})
        pipe.run("insert into t values (5, 'behind')")
        pipe.arrives("select id from t order by id", [(2,), (3,), (4,), (5,), (10,)], 120)
        assert "is read from the source again" in pipe.log_tail(200)
        assert pipe.start()["generation"] == generation, "copied again"
        pipe.equal()


def test_restarts_amid_key_changes(shared: Pipe, stack: StackSettings) -> None:
    """Tasks restarted by hand again and again, while every row of a table gets new keys."""
    pipe, rows = shared, 1 << 14
    pipe.run(
        "create table t (id bigint primary key, v int)", "insert into t values (1, 0)",
        *[f"insert into t select id + {1 << n}, {n} from t" for n in range(14)],
    )
    name = pipe.configure().json["connector_name"]
    pipe.start()
    connect = ConnectClient(stack.connect_url)
    log = Consumer({"bootstrap.servers": stack.kafka_bootstrap, "group.id": f"test-{name}"})
    partition = TopicPartition(pipe.rows("select log_topic from _cdc.pipeline")[0][0], 0)

    def end() -> int:
        return int(log.get_watermark_offsets(partition, timeout=30)[1])

    def change_keys() -> None:
        for _ in range(4):
            pipe.run("update t set id = id + 1000000, v = v + 1")

    writer = threading.Thread(target=change_keys)
    writer.start()
    for number in range(8):
        begun = end()
        if number % 2:
            connect.restart(name, only_failed=False)
        else:
            connect.stop(name)
            connect.wait_state(name, "STOPPED", deadline_s=60)
            connect.resume(name)
        ends = time.monotonic() + 5
        while end() < begun + 500 and time.monotonic() < ends:  # let it read on for a moment
            time.sleep(0.1)
    writer.join()
    log.close()
    pipe.arrives("select count(*), min(id), sum(v)::bigint from t",
                 [(rows, 4000001, int(pipe.source_rows("select sum(v) from t")[0][0]))], 180)
    pipe.equal()
