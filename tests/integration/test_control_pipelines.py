"""Pipelines in the control store: as they were saved, unique, and without secrets."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.control import models
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import ConfigurationError, NotConfiguredError
from tests.control_fixtures import StartWorker, go, postgres_url, sqlite_url, start_worker
from tests.control_specs import make_spec
from tests.integration.control_stage import TABLES, beat_of, raw, store, url, worker

__all__ = ["postgres_url", "sqlite_url", "start_worker", "store", "url", "worker"]  # fixtures


# Pipelines


def test_a_pipeline_comes_back_as_it_was_saved(store: ControlStore) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    spec = make_spec(tables=[{"source": "größen", "rename": {"n": "m"}}], copy={"chunk_mb": 8})
    record = store.save_pipeline(spec, "config: 7\n# größen 😍\n", TABLES)
    assert record == store.get("shop") == store.by_config(7)
    assert record.spec == spec
    assert record.tables == TABLES
    assert record.file_text == "config: 7\n# größen 😍\n"
    assert (record.status, record.is_active, record.desired) == ("configured", False, "stopped")
    assert record.generation is record.consumer_group is record.last_sync_at is None
    assert record.connector == "cdc_1_7"
    assert before < record.configured_at < datetime.now(UTC) + timedelta(seconds=2)
    assert record.configured_at.tzinfo is UTC


def test_a_new_definition_leaves_what_runs_alone(store: ControlStore) -> None:
    store.save_pipeline(make_spec(), "old", TABLES)
    store.set_desired("shop", "running", group="g1", generation=1_700_000_000)
    store.set_status("shop", "running", is_active=True, message="fine")
    record = store.save_pipeline(make_spec(client=3), "new", ())
    assert (record.file_text, record.client, record.tables) == ("new", 3, ())
    assert (record.status, record.is_active, record.desired, record.generation, record.consumer_group) == (
        "running", True, "running", 1_700_000_000, "g1",
    )


def test_pipelines_may_be_saved_by_many_at_once(worker: StartWorker, store: ControlStore) -> None:
    workers = [worker("saves", number, 8) for number in range(5)]
    go(*workers)
    assert [one.said() for one in workers] == ["done"] * 5
    assert len(store.list()) == 40


@pytest.mark.parametrize(
    ("settings", "shared"),
    [
        ({"config": 7}, "config id 7 and connector name cdc_1_7 and topic prefix client_1_db_7"),
        ({"config": 8, "connect": {"connector": "cdc_1_7"}}, "connector name cdc_1_7"),
        ({"config": 8, "kafka": {"topic_prefix": "client_1_db_7"}}, "topic prefix client_1_db_7"),
    ],
)
def test_two_pipelines_may_not_share_what_is_unique(store: ControlStore, settings: dict[str, Any], shared: str) -> None:
    store.save_pipeline(make_spec(), "", TABLES)
    with pytest.raises(ConfigurationError) as caught:
        store.save_pipeline(make_spec("other", **settings), "", TABLES)
    assert f"pipeline other: {shared} belong(s) to pipeline shop" in caught.value.message
    assert [r.name for r in store.list()] == ["shop"]


def test_an_unknown_pipeline_is_told_with_those_that_there_are(store: ControlStore) -> None:
    store.save_pipeline(make_spec("alpha", 1), "", ())
    store.save_pipeline(make_spec("beta", 2), "", ())
    for question in (
        lambda: store.get("gamma"), lambda: store.by_config(9), lambda: store.set_status("gamma", "failed"),
        lambda: store.set_desired("gamma", "stopped"),
    ):
        with pytest.raises(NotConfiguredError, match="alpha, beta") as caught:
            question()
        assert "cdc configure FILE" in caught.value.next_step


def test_a_deleted_pipeline_leaves_only_its_diary(store: ControlStore) -> None:
    store.save_pipeline(make_spec(), "", TABLES)
    store.beat(beat_of())
    store.record("shop", "teardown", "cli", "done")
    store.delete("shop")
    store.delete("shop")
    assert store.list() == []
    assert store.heartbeat("shop") is None
    assert [e.operation for e in store.history("shop")] == ["teardown"]


def test_an_old_consumers_failure_does_not_overwrite_a_new_start(store: ControlStore) -> None:
    store.save_pipeline(make_spec(), "", ())
    store.set_desired("shop", "running", group="g1")
    old = store.get("shop").desired_revision
    store.set_desired("shop", "running", group="g2")
    store.set_status("shop", "starting")
    assert not store.set_status("shop", "failed", if_revision=old)
    assert store.get("shop").status == "starting"
    assert store.set_status("shop", "failed", if_revision=old + 1)
    assert store.get("shop").status == "failed"


def test_a_record_of_another_version_is_told_and_does_not_hide_the_others(store: ControlStore, url: str) -> None:
    store.save_pipeline(make_spec("bad", 1), "", ())
    store.save_pipeline(make_spec("good", 2), "", ())
    raw(url, "update cdc_pipelines set spec = '{\"name\": \"bad\"}' where name = 'bad'")
    assert [r.name for r in store.list()] == ["good"]
    with pytest.raises(ConfigurationError, match="another version"):
        store.get("bad")
    assert [s.pipeline for s in store.desired_states()] == ["bad", "good"]


# Secrets


@pytest.mark.parametrize(
    "settings",
    [
        {"kafka": {"client": {"sasl.password": "PlainWord1"}}},
        {"kafka": {"client": {"sasl.password": "${env:X:-PlainWord1}"}}},
        {"connect": {"config": {"producer.override.sasl.jaas.config": 'Module required password="PlainWord1";'}}},
        {"connect": {"url": "http://user:PlainWord1@connect.example:8083"}},
    ],
)
def test_a_literal_secret_is_refused_and_not_repeated(store: ControlStore, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="as plain text") as caught:
        store.save_pipeline(make_spec(**settings), "", ())
    assert "PlainWord1" not in str(caught.value)
    assert store.list() == []


def test_references_and_harmless_settings_are_taken(store: ControlStore) -> None:
    client = {
        "sasl.password": "${env:KAFKA_PW}", "sasl.username": "me", "sasl.oauthbearer.token.endpoint.url": "https://id.example",
        "ssl.key.location": "/etc/key.pem",
    }
    config = {"producer.override.sasl.jaas.config": 'Module required password="${directory:/run/secrets:kafka}";'}
    url = "http://user:${env:CONNECT_PW}@connect.example:8083"
    record = store.save_pipeline(make_spec(kafka={"client": client}, connect={"config": config, "url": url}), "", ())
    assert record.spec.kafka.client == client


def test_known_secrets_never_reach_the_database(store: ControlStore, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTROL_TEST_PW", "Tr0ub4dor&3")
    spec = make_spec()
    secrets.resolve_secret(spec.source.password)
    store.save_pipeline(spec, "password: ${env:CONTROL_TEST_PW}", TABLES)
    store.set_status("shop", "failed", message="login with Tr0ub4dor&3 refused")
    store.beat(beat_of(message="login with Tr0ub4dor&3 refused"))
    store.record("shop", "start", "cli", "failed", "login with Tr0ub4dor&3 refused")
    store.record_exit("shop", group="g", revision=1, host="h", pid=1, exit_code=20, last_lines="pw Tr0ub4dor&3")
    assert store.get("shop").message == f"login with {secrets.MASK} refused"
    everything = [str(raw(url, f'select * from "{table.name}"')) for table in models.metadata.sorted_tables]
    assert "CONTROL_TEST_PW" in "".join(everything)
    assert "Tr0ub4dor" not in "".join(everything)
