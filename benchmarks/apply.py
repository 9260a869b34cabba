"""Applying a change log to PostgreSQL, against Debezium's JDBC sink on the same changes in the same run.

    python -m benchmarks.apply [--events 200000]

The same transactions are read from MySQL by two Debezium connectors: ours (one log, schemaless) and the peer's (a topic
per table, with schemas, as the sink needs them). Both logs are complete before either side begins to apply; each
is timed from its first visible row to its last. First inserts alone, then 60 % updates, 25 % inserts, 15 % deletes.
"""

import argparse
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from benchmarks.lab import TABLE, Lab, lab, table
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.operations import lifecycle, start
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.stream.connector_life import raise_failed, source_offset

LOG = logging.getLogger("benchmark")
# New names each time: Connect keeps the offsets of what was deleted, and would go on from there.
SOURCE, SINK = (f"bench_apply_{what}_{int(time.time())}" for what in ("peer", "sink"))
LAST = 9_000_000_000  # key of the row that ends a workload


def peer_source(rt: Runtime, name: str) -> dict[str, str]:
    server = rt.pipeline.source
    converters = {
        f"{side}.converter{setting}": value
        for side in ("key", "value")
        for setting, value in (("", "org.apache.kafka.connect.json.JsonConverter"), (".schemas.enable", "true"))
    }
    return converters | {
        "connector.class": "io.debezium.connector.mysql.MySqlConnector",
        "tasks.max": "1",
        "topic.prefix": SOURCE,
        "database.hostname": server.resolved_host(),
        "database.port": str(server.resolved_port()),
        "database.user": server.resolved_user(),
        "database.password": "${env:CDC_STACK_MYSQL_PASSWORD}",
        "database.server.id": "98765",
        "database.include.list": name,
        "table.include.list": f"{name}\\.event",
        "snapshot.mode": "no_data",
        "snapshot.locking.mode": "none",
        "include.schema.changes": "false",
        "heartbeat.interval.ms": "1000",
        "schema.history.internal.kafka.bootstrap.servers": rt.pipeline.kafka.bootstrap_servers,
        "schema.history.internal.kafka.topic": f"{SOURCE}.history",
        "topic.creation.default.partitions": "1",
        "topic.creation.default.replication.factor": "1",
    }


def peer_sink(laboratory: Lab) -> dict[str, str]:
    postgres = laboratory.stack.postgres
    return {
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "tasks.max": "1",
        "topics": f"{SOURCE}.{laboratory.name}.event",
        "connection.url": f"jdbc:postgresql://127.0.0.1:{postgres.port}/{laboratory.name}?currentSchema={laboratory.name}",
        "connection.username": postgres.user,
        "connection.password": "${env:CDC_STACK_POSTGRES_PASSWORD}",
        "insert.mode": "upsert",
        "delete.enabled": "true",
        "primary.key.mode": "record_key",
        "schema.evolution": "basic",
        "collection.name.format": "sink_event",
        "batch.size": "2000",
        "use.reduction.buffer": "true",
        "consumer.override.max.poll.records": "5000",
        "consumer.override.auto.offset.reset": "earliest",
        **{
            f"{side}.converter{setting}": value
            for side in ("key", "value")
            for setting, value in (("", "org.apache.kafka.connect.json.JsonConverter"), (".schemas.enable", "true"))
        },
    }


def inserts(laboratory: Lab, events: int) -> int:
    laboratory.execute("set session cte_max_recursion_depth = 1000000000")
    for first in range(1, events, 500):
        laboratory.fill(500, first)
    mark(laboratory, LAST)
    return events + 1


def mixed(laboratory: Lab, events: int) -> int:
    """Transactions of 500 rows: 300 updated, 125 new, 75 gone."""
    for step in range(events // 500):
        low = 1 + step * 375
        laboratory.execute(
            "begin",
            "update event set amount = amount + 1, body = concat('changed ', body) "
            f"where id between {low} and {low + 299}",
        )
        laboratory.fill(125, 1_000_000 + step * 125)
        laboratory.execute(f"delete from event where id between {low + 300} and {low + 374}", "commit")
    mark(laboratory, LAST + 1)
    return events // 500 * 500 + 1


def mark(laboratory: Lab, key: int) -> None:
    laboratory.execute(
        f"insert into event values ({key}, 'new', 0, null, 'the last row', now(6), null, null, null, null, 0)"
    )


def running(rt: Runtime, name: str) -> dict[str, Any]:
    """The committed offset of a connector. Raises what its task failed of."""
    raise_failed(name, rt.connect.status(name))
    return source_offset(rt.connect, name) or {}


def logs_complete(rt: Runtime) -> None:
    """Both connectors have read all that the source has."""
    now = rt.source.position()
    for name in (rt.pipeline.connector_name, SOURCE):
        while True:
            offset = running(rt, name)
            if offset and MySqlPosition.from_connect_offset(offset, now).has_read(now):
                break
            time.sleep(0.5)


def time_between(laboratory: Lab, name: str, first: str, last: str, patience_s: float = 900) -> float:
    """Seconds from when the first query gives a row to when the last does."""
    postgres = laboratory.postgres
    deadline = time.monotonic() + patience_s
    seen = [0.0, 0.0]
    for place, query in enumerate((first, last)):
        while not postgres.execute(query).fetchone():
            if time.monotonic() > deadline:
                raise SystemExit(f"{name}: no answer to {query} within {patience_s:.0f} s")
            time.sleep(0.01)
        seen[place] = time.perf_counter()
    return seen[1] - seen[0]


@contextmanager
def consumer(laboratory: Lab, peaks: list[float]) -> Iterator[psutil.Process]:
    process = subprocess.Popen([sys.executable, "-m", "cdc_pipelines.cli", "consume", laboratory.name])
    watched = psutil.Process(process.pid)
    try:
        yield watched
        peaks.append(watched.memory_info().rss / 2**20)
    finally:
        process.terminate()
        process.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    arguments = parser.parse_args()
    rows: list[list[object]] = []
    with lab("bench_apply", TABLE) as laboratory, laboratory.runtime() as rt:
        start.start(rt, LOG, holder="benchmark")
        rt.store.set_desired(rt.name, "stopped")
        lifecycle.stop_consumer(rt, LOG)
        rt.connect.create(SOURCE, peer_source(rt, laboratory.name), "RUNNING")
        sink = False
        try:
            while not running(rt, SOURCE):
                time.sleep(0.5)
            for title, workload, last in (("inserts", inserts, LAST), ("60/25/15 mix", mixed, LAST + 1)):
                print(f"{title}: {arguments.events:,} events into both logs…", flush=True)
                events = workload(laboratory, arguments.events)
                logs_complete(rt)
                before = "select 1 from _cdc.log_offset where pipeline = 'bench_apply' and events > "
                applied = laboratory.postgres.execute(
                    "select events from _cdc.log_offset where pipeline = 'bench_apply'"
                ).fetchone()
                peaks: list[float] = []
                with consumer(laboratory, peaks):
                    seconds = time_between(
                        laboratory,
                        "consumer",
                        f"{before}{applied[0] if applied else 0}",
                        f"select 1 from bench_apply.event where id = {last}",
                    )
                ours = events / seconds
                if not sink:
                    laboratory.postgres.execute("create schema if not exists bench_apply")
                    rt.connect.create(SINK, peer_sink(laboratory), "RUNNING")
                    sink = True
                else:
                    rt.connect.resume(SINK)
                started = "select 1 from information_schema.tables where table_name = 'sink_event'"
                if last != LAST:
                    started = "select 1 from bench_apply.sink_event where body like 'changed%' limit 1"
                peer = events / time_between(
                    laboratory, "JDBC sink", started, f"select 1 from bench_apply.sink_event where id = {last}"
                )
                rt.connect.pause(SINK)
                rows.append([title, "JDBC sink", peer, 1.0, "-"])
                rows.append([title, "consumer", ours, ours / peer, f"{max(peaks):.0f}"])
        finally:
            for name in (SINK, SOURCE):
                rt.connect.delete(name)
            rt.topics.delete(rt.topics.list(SOURCE))
    table(
        f"change log → PostgreSQL, {arguments.events:,} events, transactions of 500 rows",
        ["workload", "applied by", "events/s", "ratio", "memory MiB"],
        rows,
    )


if __name__ == "__main__":
    main()
