"""The hand-over on the real stack: a copy's position, then Debezium from exactly there, on MySQL and MariaDB."""

import contextlib
import itertools
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pymysql
import pytest
import requests
from confluent_kafka import Consumer, TopicPartition

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.connect import ConnectClient, RefusedError
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.errors import ConfigurationError, FencedError, ResyncRequiredError
from cdc_pipelines.replication.operations.mapping import resolve
from cdc_pipelines.replication.pipeline import Pipeline, Source
from cdc_pipelines.replication.stream import connector_life, handover
from cdc_pipelines.replication.stream.log_topic import LogTopics
from cdc_pipelines.stack.settings import StackSettings
from tests.conftest import mysql_connection
from tests.integration.conftest import SourceServer
from tests.integration.own_servers import own_server

LOG = logging.getLogger("tests.handover")
_configs = itertools.count(1)


class Killed(Exception):  # noqa: N818
    """Stands for kill -9: the hand-over ends at this step, with nothing tidied up in Kafka Connect."""


@dataclass
class Record:
    offset: int
    key: Any
    headers: dict[str, bytes]
    value: dict[str, Any]

    @property
    def kind(self) -> str:
        value = self.value
        if "op" in value:
            return str(value["op"])
        if "tableChanges" in value:
            return "schema" if value["source"]["snapshot"] else "ddl"
        return str(value.get("status", "heartbeat"))


@dataclass
class Bench:
    """A pipeline on one server's database, without a target: what it takes to hand over and read the log."""

    server: SourceServer
    pipeline: Pipeline
    source: MySqlSource
    client: ConnectClient
    topics: LogTopics
    generation: int
    tables: Sequence[MappedTable] = ()
    fingerprints: dict[str, str] = field(default_factory=dict)
    position: MySqlPosition | None = None
    attempts: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def name(self) -> str:
        return self.pipeline.connector_name

    @property
    def log_topic(self) -> str:
        return self.pipeline.log_topic(self.generation)

    def copied(self) -> None:
        """As after a copy: the definitions and the position are known, the log is made."""
        self.tables = resolve(self.pipeline, self.source.tables())
        self.fingerprints = {t.name: t.source.fingerprint() for t in self.tables}
        self.position = self.source.position()
        self.topics.create_log(self.log_topic)

    def hand_over(self, **changes: Any) -> handover.HandOver:
        arguments: dict[str, Any] = {
            "client": self.client, "topics": self.topics, "source": self.source, "position": self.position,
            "generation": self.generation, "log_topic": self.log_topic, "attempt": next(self.attempts),
            "fingerprints": self.fingerprints, "log": LOG, "deadline_s": 180,
        }
        return handover.hand_over(self.pipeline, self.tables, **(arguments | changes))

    def log_until(self, done: Callable[[list[Record]], bool], timeout_s: float = 90) -> list[Record]:
        """The log from its beginning until `done`, then for half a second more; only our own database's part."""
        consumer = Consumer({
            "bootstrap.servers": self.pipeline.kafka.bootstrap_servers, "group.id": "handover-test",
            "enable.auto.commit": False, "auto.offset.reset": "error", "isolation.level": "read_committed",
            "log_level": 0,
        })
        consumer.assign([TopicPartition(self.log_topic, 0, 0)])
        records: list[Record] = []
        ends, settles = time.monotonic() + timeout_s, None
        try:
            while settles is None or time.monotonic() < settles:
                message = consumer.poll(0.1)
                if message is not None:
                    assert message.error() is None, message.error()
                    records.append(Record(
                        message.offset(), json.loads(message.key() or b"null"), dict(message.headers() or ()),
                        json.loads(message.value()),
                    ))
                if settles is None and message is not None and done(records):
                    settles = time.monotonic() + 0.5
                assert time.monotonic() < ends, f"not in the log: {[r.value for r in records if 'op' in r.value][-5:]}"
        finally:
            consumer.close()
        return records

    def rows_until(self, last: int) -> list[Record]:
        """The row events up to the one with id `last`."""
        return [r for r in self.log_until(lambda records: _id(records[-1]) == last) if _id(r) is not None]

    def state(self) -> dict[str, Any]:
        return handover.connector_state(self.client, self.name)


def _id(record: Record) -> int | None:
    if record.kind not in ("c", "u", "d"):
        return None
    return int((record.value["after"] or record.value["before"])["id"])


def ids(records: Sequence[Record]) -> list[int | None]:
    return [_id(r) for r in records]


def distinct(records: Sequence[Record]) -> list[int | None]:
    """The rows' ids, those that were sent again left out, as the consumer does: by transaction and order."""
    seen: dict[tuple[str, int], int | None] = {}
    for record in records:
        transaction = record.value["transaction"]
        seen.setdefault((transaction["id"], transaction["total_order"]), _id(record))
    return list(seen.values())


def _pipeline(stack: StackSettings, server: SourceServer, **sections: Any) -> Pipeline:
    return Pipeline.model_validate({
        "name": f"handover_{next(_configs)}", "client": 77, "config": os.getpid() * 1000 + next(_configs),
        "source": server.source.spec.model_dump(),
        "target": {"type": "postgres", "host": "127.0.0.1", "port": 1, "database": "d", "user": "u",
                   "password": "${env:CDC_STACK_POSTGRES_PASSWORD}"},
        "connect": {"url": stack.connect_url}, "kafka": {"bootstrap_servers": stack.kafka_bootstrap},
    } | sections)


@pytest.fixture
def make_bench(stack: StackSettings) -> Iterator[Callable[..., Bench]]:
    """Make benches; their connectors, offsets and topics are gone afterwards."""
    made: list[Bench] = []

    def make(server: SourceServer, **sections: Any) -> Bench:
        pipeline = _pipeline(stack, server, **sections)
        bench = Bench(
            server, pipeline, MySqlSource(pipeline.source), ConnectClient(stack.connect_url), LogTopics(pipeline),
            int(time.time()),
        )
        made.append(bench)
        return bench

    yield make
    for bench in made:
        handover.teardown_connector(bench.client, bench.topics, bench.pipeline)
        bench.source.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench], server: SourceServer) -> Bench:
    """Two tables with a row each, copied; then rows 2 and 3 are written."""
    server.run(
        "create table item (id int primary key, name varchar(40) default 'none', v int)",
        "create table note (id int primary key, body varchar(40))",
        "insert into item values (1, 'before', 1)", "insert into note values (1, 'before')",
    )
    bench = make_bench(server)
    bench.copied()
    server.run("insert into item values (2, 'between', 1)", "insert into note values (3, 'between')")
    return bench


# For what does not depend on the kind of server.
mysql_only = pytest.mark.parametrize("server", ["mysql"], indirect=True)


def test_from_exactly_the_position_in_commit_order(bench: Bench) -> None:
    server = bench.server
    done = bench.hand_over()
    assert not done.kept
    assert done.seconds < 60, "3 to 5 s on an idle machine"
    assert "snapshot" not in done.offset
    assert bench.client.config(bench.name)["snapshot.mode"] == "no_data"  # type: ignore[index]
    assert bench.state()["healthy"]

    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute("begin")
        cursor.execute("insert into item values (4, null, 1), (5, 'tx', 2)")
        cursor.execute("update note set body = 'tx' where id = 3")
        cursor.execute("delete from item where id = 5")
        cursor.execute("commit")
        cursor.execute("alter table item add column extra varchar(9) not null default 'e'")
        cursor.execute("insert into item (id, v) values (6, 1)")
        cursor.execute("update item set id = 60 where id = 6")
        cursor.execute("truncate table note")
        cursor.execute("insert into note values (7, 'last')")
    records = bench.log_until(lambda seen: seen[-1].kind == "END" and ids(seen)[-2] == 7)

    ours = [r for r in records if r.kind in ("c", "u", "d", "t", "ddl")]
    assert [(r.kind, r.value["source"]["table"], _id(r)) for r in ours] == [
        ("c", "item", 2), ("c", "note", 3),
        ("c", "item", 4), ("c", "item", 5), ("u", "note", 3), ("d", "item", 5),
        ("ddl", "item", None),
        ("c", "item", 6), ("d", "item", 6), ("c", "item", 60),
        ("t", "note", None), ("c", "note", 7),
    ]
    four, six = ours[2], ours[7]
    assert four.value["after"] == {"id": 4, "name": None, "v": 1}  # NULL stays NULL, whatever the default
    assert six.value["after"]["extra"] == "e"
    assert [r.value["transaction"]["total_order"] for r in ours[2:6]] == [1, 2, 3, 4]
    assert len({r.value["transaction"]["id"] for r in ours[2:6]}) == 1
    ends = [r for r in records if r.kind == "END" and r.value["id"] == four.value["transaction"]["id"]]
    assert [e.value["event_count"] for e in ends] == [4]
    begin = next(r for r in records if r.kind == "BEGIN" and r.value["id"] == four.value["transaction"]["id"])
    assert begin.offset < four.offset < ends[0].offset
    old, new = ours[8], ours[9]
    assert json.loads(old.headers["__debezium.newkey"]) == {"id": 60}
    assert json.loads(new.headers["__debezium.oldkey"]) == {"id": 6}
    assert old.value["source"]["pos"] == new.value["source"]["pos"]
    added = next(c for c in ours[6].value["tableChanges"][0]["table"]["columns"] if c["name"] == "extra")
    assert added["typeName"] == "VARCHAR"
    assert "__debezium.context.runId" in four.headers


@mysql_only
def test_what_rest_returns_holds_no_secret(bench: Bench, stack: StackSettings) -> None:
    bench.hand_over()
    password = getattr(stack, bench.server.flavor).password
    for path in ("", "/config", "/status", "/offsets", "/tasks"):
        text = requests.get(f"{stack.connect_url}/connectors/{bench.name}{path}", timeout=30).text
        assert password not in text, path
    assert bench.client.config(bench.name)["database.password"].startswith("${env:")  # type: ignore[index]


STEPS = ["history", "created", "guarded", "placed", "resumed", "recovered", "stopped", "switched", "streaming"]


@mysql_only
@pytest.mark.parametrize("step", STEPS)
def test_killed_after_any_step_it_is_run_again(bench: Bench, step: str) -> None:
    numbers = itertools.count(10)

    def die(done: str) -> None:
        if done == step:
            raise Killed

    with pytest.raises(Killed):
        bench.hand_over(on_step=die)
    bench.server.run(f"insert into item values ({next(numbers)}, 'dead', 1)")
    done = bench.hand_over()
    assert done.kept is (step != "history")
    bench.server.run(f"insert into item values ({next(numbers)}, 'last', 1)")
    rows = bench.rows_until(11)
    assert distinct(rows) == [2, 3, 10, 11]
    assert ids(rows) == [2, 3, 10, 11], "nothing was sent twice"
    assert bench.state()["healthy"]


def test_killed_again_and_again(bench: Bench) -> None:
    """One step further each time, or to the end where the dead one's connector has gone on; a row at every death."""
    for number, step in enumerate(STEPS, 10):
        def die(done: str, last: str = step) -> None:
            if done == last:
                raise Killed

        with contextlib.suppress(Killed):
            bench.hand_over(on_step=die)
        bench.server.run(f"insert into item values ({number}, 'dead', 1)")
    bench.hand_over()
    bench.server.run("insert into item values (99, 'last', 1)")
    assert ids(bench.rows_until(99)) == [2, 3, *range(10, 10 + len(STEPS)), 99]


@mysql_only
def test_a_healthy_connector_is_kept(bench: Bench) -> None:
    bench.hand_over()
    before = bench.client.config(bench.name)
    assert bench.hand_over().kept
    assert bench.client.config(bench.name) == before
    bench.server.run("insert into item values (4, 'last', 1)")
    assert ids(bench.rows_until(4)) == [2, 3, 4]
    histories = bench.topics.list(f"{bench.pipeline.topic_prefix}.g{bench.generation}.history.")
    assert histories == [before["schema.history.internal.kafka.topic"]]  # type: ignore[index]


def test_pause_and_resume(bench: Bench) -> None:
    bench.hand_over()
    assert handover.pause(bench.client, bench.pipeline)
    assert handover.pause(bench.client, bench.pipeline)
    assert bench.state()["state"] == "PAUSED"
    assert not bench.state()["healthy"]
    bench.server.run("insert into item values (4, 'while paused', 1)")
    assert bench.hand_over().kept
    assert bench.state()["healthy"]
    bench.server.run("insert into item values (5, 'last', 1)")
    assert ids(bench.rows_until(5)) == [2, 3, 4, 5]
    assert not handover.pause(bench.client, bench.pipeline.model_copy(update={"config": 0}))


@mysql_only
def test_the_healer_resumes_what_is_paused_and_leaves_what_is_stopped(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        handover.ensure_running(bench.client, bench.pipeline, bench.generation)
    bench.hand_over()
    handover.pause(bench.client, bench.pipeline)
    assert handover.ensure_running(bench.client, bench.pipeline, bench.generation)["healthy"]
    with pytest.raises(FencedError):
        handover.ensure_running(bench.client, bench.pipeline, bench.generation - 1)
    connector_life.stop(bench.client, bench.name)
    with pytest.raises(ConfigurationError, match="STOPPED"):
        handover.ensure_running(bench.client, bench.pipeline, bench.generation)
    assert bench.state()["state"] == "STOPPED"
    assert bench.hand_over().kept, "a start is a person's will, also after a stop"


@mysql_only
def test_somebody_elses_connector_is_left_alone(bench: Bench) -> None:
    bench.hand_over()
    other = bench.pipeline.model_copy(update={"name": "somebody"})
    config = bench.client.config(bench.name)
    with pytest.raises(ConfigurationError, match=f"connector {bench.name} already exists .* {bench.pipeline.name}"):
        handover.hand_over(
            other, bench.tables, client=bench.client, topics=bench.topics, source=bench.source,
            position=bench.position, generation=bench.generation, log_topic=bench.log_topic, attempt=9,  # type: ignore[arg-type]
            fingerprints=bench.fingerprints, log=LOG,
        )
    with pytest.raises(FencedError, match="generation"):
        bench.hand_over(generation=bench.generation - 1)
    assert bench.client.config(bench.name) == config
    assert bench.state()["healthy"]


@mysql_only
def test_a_new_generation_replaces_the_old_one(bench: Bench) -> None:
    bench.hand_over()
    old_log = bench.log_topic
    bench.generation += 1
    bench.copied()
    bench.server.run("insert into item values (4, 'new life', 1)")
    assert not bench.hand_over().kept
    bench.server.run("insert into item values (5, 'last', 1)")
    assert ids(bench.rows_until(5)) == [4, 5]
    assert bench.topics.topic_id(old_log) is None, "the old log is swept away"
    assert len(bench.topics.list(f"{bench.pipeline.topic_prefix}.g")) == 3


def test_deleted_behind_our_back_it_starts_again_from_the_applied_position(bench: Bench) -> None:
    bench.hand_over()
    bench.server.run("insert into item values (4, 'applied', 1)")
    bench.rows_until(4)
    applied = bench.source.position()  # of a consumer that has applied all of this
    bench.server.run("insert into item values (5, 'not applied', 1)")
    bench.rows_until(5)
    bench.client.delete(bench.name)  # its offsets stay behind, and must not be taken up
    bench.server.run("insert into item values (6, 'while gone', 1)")
    bench.position = applied
    assert not bench.hand_over().kept
    bench.server.run("insert into item values (7, 'last', 1)")
    rows = bench.rows_until(7)
    assert ids(rows) == [2, 3, 4, 5, 5, 6, 7], "what was not applied comes again, as a whole"
    assert distinct(rows) == [2, 3, 4, 5, 6, 7]


@mysql_only
def test_offsets_lost_behind_our_back_do_not_start_it_at_now(bench: Bench) -> None:
    bench.hand_over()
    bench.server.run("insert into item values (4, 'applied', 1)")
    bench.rows_until(4)
    applied = bench.source.position()
    connector_life.stop(bench.client, bench.name)
    bench.topics.delete([bench.client.config(bench.name)["offsets.storage.topic"]])  # type: ignore[index]
    bench.server.run("insert into item values (5, 'would be lost', 1)")
    bench.position = applied
    assert not bench.hand_over().kept
    bench.server.run("insert into item values (6, 'last', 1)")
    assert distinct(bench.rows_until(6)) == [2, 3, 4, 5, 6]


@mysql_only
def test_a_lost_schema_history_is_made_anew(bench: Bench) -> None:
    bench.hand_over()
    bench.server.run("insert into item values (4, 'applied', 1)")
    bench.rows_until(4)
    bench.position = bench.source.position()
    connector_life.stop(bench.client, bench.name)
    bench.topics.delete([bench.client.config(bench.name)["schema.history.internal.kafka.topic"]])  # type: ignore[index]
    bench.server.run("insert into item values (5, 'meanwhile', 1)")
    bench.hand_over()
    bench.server.run("insert into item values (6, 'last', 1)")
    assert distinct(bench.rows_until(6)) == [2, 3, 4, 5, 6]


@mysql_only
def test_new_settings_are_put_in_force_without_loss(bench: Bench) -> None:
    bench.hand_over()
    connect = bench.pipeline.connect.model_copy(update={"config": {"max.batch.size": "1024"}})
    bench.pipeline = bench.pipeline.model_copy(update={"connect": connect})
    bench.server.run("insert into item values (4, 'meanwhile', 1)")
    assert bench.hand_over().kept
    config = bench.client.config(bench.name)
    assert config is not None
    assert (config["max.batch.size"], config["snapshot.mode"]) == ("1024", "no_data")
    bench.server.run("insert into item values (5, 'last', 1)")
    assert ids(bench.rows_until(5)) == [2, 3, 4, 5]


@pytest.mark.parametrize("change", [
    "alter table note add column later int",
    "alter table note modify body varchar(40) first",  # same width: decoded wrongly with no error at all
    "drop table note",
])
def test_a_changed_definition_asks_for_a_resync(bench: Bench, change: str) -> None:
    bench.server.run(change)
    with pytest.raises(ResyncRequiredError, match="note") as caught:
        bench.hand_over()
    assert "item" not in caught.value.message
    assert bench.client.config(bench.name) is None, "no connector was made"


def test_definitions_are_held_still_meanwhile(bench: Bench) -> None:
    """DDL waits while the connector learns the definitions, and goes through afterwards, into the log."""
    refused: list[int] = []

    def alter(step: str) -> None:
        if step in ("guarded", "resumed"):
            with bench.server.admin() as connection, connection.cursor() as cursor:
                cursor.execute("set session lock_wait_timeout = 1")
                with pytest.raises(pymysql.err.OperationalError) as caught:
                    cursor.execute("alter table item add column held int")
                refused.append(caught.value.args[0])

    bench.hand_over(on_step=alter)
    assert refused == [1205, 1205]
    bench.server.run("alter table item add column held int", "insert into item values (4, 'last', 1, 4)")
    records = bench.log_until(lambda seen: _id(seen[-1]) == 4)
    ours = [r for r in records if r.kind in ("c", "ddl")]
    assert [r.kind for r in ours] == ["c", "c", "ddl", "c"]
    assert ours[-1].value["after"]["held"] == 4


@mysql_only
def test_torn_down_twice(bench: Bench) -> None:
    bench.hand_over()
    for _ in range(2):
        handover.teardown_connector(bench.client, bench.topics, bench.pipeline)
        assert bench.state()["state"] == "MISSING"
        assert bench.topics.list(bench.pipeline.topic_prefix) == []
    # Made again, it must not find the old offsets.
    bench.generation += 1
    bench.copied()
    bench.server.run("insert into item values (4, 'again', 1)")
    bench.hand_over()
    assert ids(bench.rows_until(4)) == [4]


@mysql_only
def test_the_log_must_be_there_and_as_we_made_it(bench: Bench) -> None:
    bench.topics.delete([bench.log_topic])
    with pytest.raises(ResyncRequiredError, match="does not exist"):
        bench.hand_over()


def test_odd_names_and_columns_left_out(make_bench: Callable[..., Bench], server: SourceServer) -> None:
    odd = ["com,ma", "a.b", "x$y", "sp ace", "gr`öße", "p|q", "(br)", "per%s"]
    for number, name in enumerate(odd):
        quoted = "`" + name.replace("`", "``") + "`"
        server.run(f"create table {quoted} (id int primary key, `na,me.x` varchar(9), secret varchar(9))",
                   f"insert into {quoted} values ({number}, 'old', 's')")
    server.run("create table aXb (id int primary key)", "create table p (id int primary key)")
    tables = [{"source": name} for name in odd[:-1]] + [{"source": odd[-1], "columns": ["id", "na,me.x"]}]
    bench = make_bench(server, tables=tables)
    bench.copied()
    server.run("insert into aXb values (1000)", "insert into p values (1001)")
    bench.hand_over()
    for number, name in enumerate(odd):
        server.run("insert into `" + name.replace("`", "``") + f"` values ({number + 100}, 'new', 's')")
    rows = bench.rows_until(99 + len(odd))
    assert [(r.value["source"]["table"], _id(r)) for r in rows] == [(n, i + 100) for i, n in enumerate(odd)]
    assert rows[0].value["after"] == {"id": 100, "na,me.x": "new", "secret": "s"}
    assert rows[-1].value["after"] == {"id": 99 + len(odd), "na,me.x": "new"}


def test_the_worker_can_not_log_in(make_bench: Callable[..., Bench], server: SourceServer) -> None:
    other = {"mysql": "MARIADB", "mariadb": "MYSQL"}[server.flavor]
    source = server.source.spec.model_dump() | {"connect_password": f"${{env:CDC_STACK_{other}_PASSWORD}}"}
    server.run("create table item (id int primary key)", "insert into item values (1)")
    bench = make_bench(server, source=source)
    bench.copied()
    with pytest.raises((RefusedError, ConfigurationError), match="Access denied"):
        bench.hand_over()


def purge(server: SourceServer) -> None:
    """Leave only the newest file of the log. MariaDB keeps one until InnoDB has flushed what is in it."""
    newest = server.run("flush binary logs", "show binary logs")[-1][0]
    ends = time.monotonic() + 30
    while server.run(f"purge binary logs to '{newest}'", "show binary logs")[0][0] != newest:
        assert time.monotonic() < ends
        time.sleep(0.2)


@pytest.mark.parametrize("flavor", ["mysql", "mariadb"])
def test_a_purged_log_asks_for_a_resync(
    flavor: str, stack: StackSettings, make_bench: Callable[..., Bench]
) -> None:
    settings = ["--gtid-mode=ON", "--enforce-gtid-consistency=ON"] if flavor == "mysql" else []
    with own_server(flavor, *settings) as access:
        with mysql_connection(access) as connection, connection.cursor() as cursor:
            cursor.execute("create database shop")
            cursor.execute("create user conn@'%%' identified by %s", [getattr(stack, flavor).password])
            cursor.execute("grant all on *.* to conn@'%'")
            cursor.execute("create table shop.item (id int primary key)")
        source = {"type": flavor, "host": "127.0.0.1", "port": access.port, "database": "shop", "user": "conn",
                  "password": f"${{env:CDC_STACK_{flavor.upper()}_PASSWORD}}"}
        server = SourceServer(flavor, access, "shop", MySqlSource(Source.model_validate(source)))
        bench = make_bench(server)
        bench.copied()
        server.run("insert into item values (2)", "flush binary logs", "insert into item values (3)")
        purge(server)
        with pytest.raises(ResyncRequiredError, match="purged"):
            bench.hand_over()
        assert bench.client.config(bench.name) is None

        # Purged while the connector is stopped: it says so too, instead of going on behind the gap.
        bench.generation += 1
        bench.copied()
        bench.hand_over()
        connector_life.stop(bench.client, bench.name)
        server.run("insert into item values (4)", "flush binary logs", "insert into item values (5)")
        purge(server)
        with pytest.raises(ResyncRequiredError, match="purged"):
            bench.hand_over()

        # Reset, and grown beyond the connector's old place: Debezium itself would go on from there.
        bench.generation += 1
        bench.copied()
        bench.hand_over()
        connector_life.stop(bench.client, bench.name)
        server.run("reset binary logs and gtids" if flavor == "mysql" else "reset master")
        server.run(*[f"insert into item values ({n})" for n in range(100, 200)])
        with pytest.raises(ResyncRequiredError, match="reset"):
            bench.hand_over()
        handover.teardown_connector(bench.client, bench.topics, bench.pipeline)
        server.source.close()
        bench.source.close()
