"""A connector that is there already: kept, healed, replaced, torn down, and never another's."""

import pytest

from cdc_pipelines.replication.errors import ConfigurationError, FencedError
from cdc_pipelines.replication.stream import connector_life, handover
from tests.integration.handover_bench import LOG, Bench, bench, ids, make_bench
from tests.integration.writers import ONLY_MYSQL

__all__ = ["bench", "make_bench"]  # fixtures


@ONLY_MYSQL
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
    assert connector_life.pause(bench.client, bench.pipeline)
    assert connector_life.pause(bench.client, bench.pipeline)
    assert bench.state()["state"] == "PAUSED"
    assert not bench.state()["healthy"]
    bench.server.run("insert into item values (4, 'while paused', 1)")
    assert bench.hand_over().kept
    assert bench.state()["healthy"]
    bench.server.run("insert into item values (5, 'last', 1)")
    assert ids(bench.rows_until(5)) == [2, 3, 4, 5]
    assert not connector_life.pause(bench.client, bench.pipeline.model_copy(update={"config": 0}))


@ONLY_MYSQL
def test_the_healer_resumes_what_is_paused_and_leaves_what_is_stopped(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        connector_life.ensure_running(bench.client, bench.pipeline, bench.generation)
    bench.hand_over()
    connector_life.pause(bench.client, bench.pipeline)
    assert connector_life.ensure_running(bench.client, bench.pipeline, bench.generation)["healthy"]
    with pytest.raises(FencedError):
        connector_life.ensure_running(bench.client, bench.pipeline, bench.generation - 1)
    connector_life.stop(bench.client, bench.name)
    with pytest.raises(ConfigurationError, match="STOPPED"):
        connector_life.ensure_running(bench.client, bench.pipeline, bench.generation)
    assert bench.state()["state"] == "STOPPED"
    assert bench.hand_over().kept, "a start is a person's will, also after a stop"


@ONLY_MYSQL
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


@ONLY_MYSQL
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


@ONLY_MYSQL
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


@ONLY_MYSQL
def test_torn_down_twice(bench: Bench) -> None:
    bench.hand_over()
    for _ in range(2):
        connector_life.teardown_connector(bench.client, bench.topics, bench.pipeline)
        assert bench.state()["state"] == "MISSING"
        assert bench.topics.list(bench.pipeline.topic_prefix) == []
    # Made again, it must not find the old offsets.
    bench.generation += 1
    bench.copied()
    bench.server.run("insert into item values (4, 'again', 1)")
    bench.hand_over()
    assert ids(bench.rows_until(4)) == [4]
