"""Somebody deletes, edits or wipes a part of a running pipeline: equal data, or a stop that says what mends it."""

import contextlib
import json
from collections.abc import Callable

import pytest
import requests
import yaml
from confluent_kafka import KafkaException, Producer

from cdc_pipelines.stack.settings import StackSettings
from tests.e2e.conftest import Pipe, edit, wait_until
from tests.e2e.pipeline_parts import Parts, kinds, resync_mends, stops


def begin(pipe: Pipe) -> None:
    # A connector that can't keep a change of a table says so when its producer's patience is over, after two minutes.
    patience = {"request.timeout.ms": "2000", "delivery.timeout.ms": "5000", "max.block.ms": "5000"}
    connect = yaml.safe_load(pipe.file.read_text())["connect"]
    connect["config"] = {f"schema.history.internal.producer.{key}": value for key, value in patience.items()}
    edit(pipe.file, connect=connect)
    pipe.run("create table t (id int primary key, v varchar(20))", "create table u (id int primary key)")
    pipe.configure()
    pipe.start()


@pytest.fixture
def pipe(keep_pipe: Callable[..., Pipe]) -> Pipe:
    """At work, with three rows on both sides. Every test mends what it breaks; the last ones change tables."""
    pipe = keep_pipe(begin)
    pipe.run("begin", "delete from t", "insert into t values (1, 'a'), (2, 'b'), (3, 'c')", "commit")
    pipe.arrives("select id from t order by id", [(1,), (2,), (3,)])
    return pipe


@pytest.fixture
def parts(pipe: Pipe, stack: StackSettings) -> Parts:
    return Parts(pipe, stack)


@pytest.mark.parametrize("made_again", [False, True])
def test_the_change_log_is_deleted(pipe: Pipe, parts: Parts, *, made_again: bool) -> None:
    parts.delete_topic(parts.log)
    if made_again:
        with contextlib.suppress(KafkaException):  # the connector was quicker
            parts.make_topic(parts.log)
    pipe.run("insert into t values (4, 'd')")
    stops(pipe, "change log", f"cdc start {pipe.name} --force-resync")
    wait_until(lambda: {"change_log_broken", "needs_person"} <= kinds(pipe.status()), "the consumer to stop")
    resync_mends(pipe)


def test_the_change_log_is_deleted_while_the_pipeline_is_stopped(pipe: Pipe, parts: Parts) -> None:
    pipe.ok("stop")
    parts.delete_topic(parts.log)
    stops(pipe, "was deleted", f"cdc start {pipe.name} --force-resync")
    resync_mends(pipe)


def test_the_consumer_group_is_deleted(pipe: Pipe, parts: Parts) -> None:
    """It only publishes lag: nothing is lost, and it comes back."""
    wait_until(lambda: parts.group in groups(parts), "the group to be there")
    parts.kafka.delete_consumer_groups([parts.group])[parts.group].result(30)
    pipe.run("insert into t values (4, 'd')")
    pipe.arrives("select count(*) from t", [(4,)])
    pipe.ok("restart")
    pipe.run("insert into t values (5, 'e')")
    pipe.arrives("select count(*) from t", [(5,)])
    assert pipe.status()["overall"] == "healthy"
    pipe.equal()


def groups(parts: Parts) -> list[str]:
    return [group.group_id for group in parts.kafka.list_consumer_groups().result(30).valid]


@pytest.mark.parametrize("edit", ["tables", "prefix"])
def test_the_connector_is_edited_so_that_changes_are_missing(pipe: Pipe, parts: Parts, edit: str) -> None:
    """Nothing in the log shows that it captured less for a while; so it is not gone on with."""
    if edit == "tables":
        parts.put(table__include__list=r"nothing\.else")
    else:
        parts.put(topic__prefix="elsewhere")
    pipe.run("insert into t values (4, 'lost')")
    assert "connector_changed" in kinds(stops(pipe, "by hand", f"cdc start {pipe.name} --force-resync"))
    resync_mends(pipe)


def test_the_connector_is_edited_and_nothing_is_lost(pipe: Pipe, parts: Parts) -> None:
    """A snapshot mode that would copy, or skip, does neither where an offset is; the next start sets it right."""
    parts.put(snapshot__mode="initial", max__batch__size="512")
    pipe.run("insert into t values (4, 'd')")
    pipe.arrives("select count(*) from t", [(4,)])
    pipe.start()
    config = parts.config()
    assert (config["snapshot.mode"], config["max.batch.size"]) == ("no_data", "4096")
    pipe.run("insert into t values (5, 'e')")
    pipe.arrives("select count(*) from t", [(5,)])
    pipe.equal()


def wipe_offsets(parts: Parts, stack: StackSettings) -> None:
    """Stop the connector and forget its offsets, by a record without a value in their topic.

    Connect 4.3 never answers DELETE /offsets for a connector with an offsets topic of its own, and takes no other
    request meanwhile.
    """
    parts.state("stop")
    config = parts.config()
    key = json.dumps([parts.name, {"server": config["topic.prefix"]}], separators=(",", ":"))
    producer = Producer({"bootstrap.servers": stack.kafka_bootstrap})
    producer.produce(config["offsets.storage.topic"], None, key=key)
    assert producer.flush(30) == 0
    left = requests.get(f"{parts.url}/offsets", timeout=60).json()["offsets"]
    assert not any(entry["offset"] for entry in left), left


def test_wiped_offsets_are_no_gap(pipe: Pipe, parts: Parts, stack: StackSettings) -> None:
    wipe_offsets(parts, stack)
    pipe.run("insert into t values (4, 'between')")
    pipe.start()
    pipe.run("insert into t values (5, 'e')")
    pipe.arrives("select id from t order by id", [(1,), (2,), (3,), (4,), (5,)])
    pipe.equal()


def test_a_connector_that_began_at_now_is_not_believed(pipe: Pipe, parts: Parts, stack: StackSettings) -> None:
    """Offsets wiped and the connector resumed by hand: what was written in between never reaches the log."""
    wipe_offsets(parts, stack)
    pipe.run("insert into t values (4, 'lost')")
    parts.state("resume")
    wait_until(parts.runs, "the task to run")
    pipe.run("insert into t values (5, 'e')")
    stops(pipe, "began anew", f"cdc start {pipe.name} --force-resync")
    resync_mends(pipe)


def test_two_pipelines_of_one_name_in_two_places(pipe: Pipe, parts: Parts) -> None:
    """The second, of another control store and for another target, leaves the first one's connector alone."""
    other = f"{pipe.target.info.dbname}_other"
    pipe.target.execute(f"create database {other}")
    try:
        text = pipe.file.read_text()
        pipe.file.write_text(text.replace(pipe.target.info.dbname, other))
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("CDC_CONTROL_URL", f"sqlite:///{pipe.home}/other.sqlite")
            pipe.configure()
            refused = pipe.cdc("start", pipe.name)
            assert refused.code != 0
            assert f"connector {parts.name} already exists" in refused.stderr
            assert "another target" in refused.stderr
            pipe.cdc("stop", pipe.name)
            assert parts.state_now() == "RUNNING", "stopped the other's connector"
            told = pipe.status()
            assert told["overall"] != "healthy"
            assert any("another target" in error for error in told["errors"])
            pipe.ok("teardown", "--yes")
        pipe.file.write_text(text)
        pipe.run("insert into t values (4, 'd')")
        pipe.arrives("select count(*) from t", [(4,)])
        assert pipe.status()["overall"] == "healthy"
        pipe.equal()
    finally:
        pipe.target.execute(f"drop database if exists {other} with (force)")


@pytest.mark.parametrize("topic", ["schema.history.internal.kafka.topic", "offsets.storage.topic"])
def test_a_topic_of_the_connector_is_deleted(pipe: Pipe, parts: Parts, topic: str) -> None:
    """The status says so while the connector still runs; a start makes it anew, without a copy and without a gap."""
    name = parts.config()[topic]
    copied = pipe.rows("select max(copied_at) from _cdc.chunk")
    parts.delete_topic(name)
    pipe.run("insert into t values (4, 'd')")
    told = wait_until(lambda: next((e for e in pipe.status()["errors"] if name in e), None), "the status to tell")
    assert f"cdc start {pipe.name}" in told
    assert pipe.status()["overall"] != "healthy"
    pipe.start()
    column = f"of_{topic.split('.')[0]}"
    pipe.run("insert into t values (5, 'e')", f"alter table u add column {column} int", "delete from u",
             f"insert into u (id, {column}) values (1, 6)")
    pipe.arrives(f"select (select count(*) from t), id, {column} from u", [(5, 1, 6)])
    assert pipe.status()["overall"] == "healthy", pipe.status()
    assert pipe.rows("select max(copied_at) from _cdc.chunk") == copied
    pipe.equal()


def test_the_schema_history_is_deleted_before_a_table_changes(pipe: Pipe, parts: Parts) -> None:
    """The connector can't keep the change and stops at it; what follows could be read by the old columns only."""
    parts.delete_topic(parts.config()["schema.history.internal.kafka.topic"])
    pipe.run("alter table t add column w int", "insert into t values (5, 'e', 5)")
    stops(pipe, "history")
    assert pipe.rows("select count(*) from t") == [(3,)]
    refused = pipe.cdc("start", pipe.name)
    assert "table definitions on the source are not those of position" in refused.stderr
    assert f"cdc start {pipe.name} --force-resync" in refused.stderr
    pipe.configure()
    pipe.start("--force-resync")
    pipe.run("insert into t values (6, 'f', 6)")
    pipe.arrives("select id, w from t where id > 4 order by id", [(5, 5), (6, 6)])
    pipe.equal()
