"""The control store on both of its databases: a SQLite file and the stack's PostgreSQL."""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, inspect, make_url, text

from cdc_pipelines.agent import run
from cdc_pipelines.replication import processes, secrets
from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, Table
from cdc_pipelines.replication.control import engine as store_engine
from cdc_pipelines.replication.control import models, schema
from cdc_pipelines.replication.control.store import ControlStore, Heartbeat
from cdc_pipelines.replication.errors import (
    ConfigurationError,
    FencedError,
    LeaseHeldError,
    NotConfiguredError,
    RetryableError,
)
from tests.control_fixtures import StartWorker, go, postgres_url, sqlite_url, start_worker
from tests.control_specs import make_spec

__all__ = ["postgres_url", "sqlite_url", "start_worker"]  # fixtures

TABLES = (
    MappedTable(
        Table(
            "shop", "größen",
            (Column("id", "bigint", "bigint", nullable=False), Column("n", "text", "text")),
            ("id",),
        ),
        "public", "größen",
        (
            MappedColumn(Column("id", "bigint", "bigint", nullable=False), "id", "bigint"),
            MappedColumn(Column("n", "text", "text"), "n", "text"),
        ),
    ),
)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """The address of a store that doesn't exist yet."""
    address: str = request.getfixturevalue(f"{request.param}_url")
    return address


@pytest.fixture
def worker(url: str, start_worker: StartWorker) -> StartWorker:
    """Start a worker on this test's store."""
    return partial(start_worker, url)


@pytest.fixture
def store(url: str) -> Iterator[ControlStore]:
    opened = ControlStore.open(url)
    yield opened
    opened.close()


def is_sqlite(store: ControlStore) -> bool:
    return store.address.get_backend_name() == "sqlite"


def raw(url: str, statement: str, **values: Any) -> list[Any]:
    """Beside the store's own code: run a statement on its database."""
    engine = create_engine(url)
    with engine.begin() as connection:
        result = connection.execute(text(statement), values)
        rows = list(result.all()) if result.returns_rows else []
    engine.dispose()
    return rows


def beat_of(pipeline: str = "shop", group: str = "g1", **facts: Any) -> Heartbeat:
    return Heartbeat(pipeline, group, os.getpid(), "here", "1.0", facts.pop("state", "streaming"),
                     facts.pop("at", datetime.now(UTC)), **facts)


# Opening


def test_many_processes_may_make_the_store_at_once(worker: StartWorker, url: str) -> None:
    workers = [worker("opening") for _ in range(6)]
    go(*workers)
    ids = {one.said() for one in workers}
    assert len(ids) == 1
    assert ids == {ControlStore.open(url).id}


def test_opening_again_changes_nothing(store: ControlStore, url: str) -> None:
    store.save_pipeline(make_spec(), "text", TABLES)
    again = ControlStore.open(url)
    assert again.id == store.id
    assert again.get("shop") == store.get("shop")


def test_tables_of_a_newer_version_are_refused(store: ControlStore, url: str) -> None:
    raw(url, f"update {models.VERSION_TABLE} set version_num = '9999'")
    with pytest.raises(ConfigurationError, match=r"newer version.*9999") as caught:
        ControlStore.open(url)
    assert "install that version" in caught.value.next_step
    assert raw(url, f"select version_num from {models.VERSION_TABLE}") == [("9999",)]


def test_migrations_make_what_the_models_say(store: ControlStore, url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": models.VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, models.metadata) == []
    engine.dispose()


def test_a_store_that_is_out_of_reach_is_told_without_its_password() -> None:
    with pytest.raises(RetryableError) as caught:
        ControlStore.open("postgresql://cdc:topsecretword@127.0.0.1:1/nothing")
    assert "127.0.0.1:1" in str(caught.value)
    assert "topsecretword" not in str(caught.value)


def test_a_migration_that_fails_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("killed here")

    monkeypatch.setattr(schema.uuid, "uuid4", fail)  # asked for after the last table
    with pytest.raises(RuntimeError, match="killed here"):
        ControlStore.open(url)
    engine = create_engine(url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()
    monkeypatch.undo()
    assert ControlStore.open(url).list() == []


def test_a_store_that_refuses_us_is_a_matter_of_configuration(postgres_url: str) -> None:
    address = make_url(postgres_url)
    wrong = [address.set(password="wrong"), address.set(database="no_such_database"), address.set(username="nobody_x")]
    for refused in wrong:
        with pytest.raises(ConfigurationError, match=r"authentication failed|does not exist") as caught:
            ControlStore.open(refused.render_as_string(hide_password=False))
        assert "CDC_CONTROL_URL" in caught.value.next_step


def test_texts_that_a_database_refuses_are_kept_readable(store: ControlStore) -> None:
    store.record("shop", "start", "me", "failed", "byte \0 and half \ud83d of a character")
    assert store.history("shop")[0].message == "byte \\0 and half \\ud83d of a character"
    assert store.beat(beat_of(message="\0"))


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


# Leases


def test_of_two_processes_one_gets_the_lease(worker: StartWorker, store: ControlStore) -> None:
    for attempt in range(3):
        pair = [worker("lease", f"p{attempt}", f"holder{n}", 2, 30) for n in range(2)]
        go(*pair)
        answers = sorted(one.said() for one in pair)
        assert answers[0] == "got"
        assert answers[1].startswith(f"held pipeline p{attempt} is held by holder")


def test_under_a_lease_one_works_at_a_time(worker: StartWorker, store: ControlStore, tmp_path: Path) -> None:
    file = tmp_path / "number"
    file.write_text("0")
    workers = [worker("count", "shop", str(file), 15) for _ in range(4)]
    go(*workers)
    assert [one.said() for one in workers] == ["done"] * 4
    assert file.read_text() == "60"


def test_a_held_lease_names_its_holder(store: ControlStore) -> None:
    with store.lease("shop", "run 42", "start", ttl_s=20):
        with pytest.raises(LeaseHeldError, match=r"held by run 42 for `start`.* (19|20) s left"):
            store.lease("shop", "cli", "stop").__enter__()
        with store.lease("other", "cli", "stop"):
            pass
    with store.lease("shop", "cli", "stop") as lease:
        lease.check()
    assert store.lease_info("shop") is None


def test_the_lease_of_a_killed_process_is_free_at_once(worker: StartWorker, store: ControlStore) -> None:
    victim = worker("lease", "shop", "victim", 60, 60)
    go(victim)
    assert victim.said() == "got"
    with pytest.raises(LeaseHeldError):
        store.lease("shop", "me", "start").__enter__()
    victim.kill()
    started = time.monotonic()
    with store.lease("shop", "me", "start"):
        assert time.monotonic() - started < 5


def test_a_lease_of_another_machine_is_waited_for(store: ControlStore, url: str) -> None:
    with store.lease("shop", "far", "start", ttl_s=2, keep=True):
        pass  # kept: no process stands for it, only its expiry
    raw(url, "update cdc_leases set place = 'another machine', pid = 1, born = 'x'")
    started = time.monotonic()
    with pytest.raises(LeaseHeldError):
        store.lease("shop", "me", "start", wait_s=0.5).__enter__()
    with store.lease("shop", "me", "start", wait_s=10):
        assert 1 < time.monotonic() - started < 5


def test_a_lease_is_renewed_while_it_is_held(store: ControlStore) -> None:
    with store.lease("shop", "me", "copy", ttl_s=1) as lease:
        time.sleep(2.5)
        lease.check()
        with pytest.raises(LeaseHeldError):
            store.lease("shop", "you", "stop").__enter__()


def test_a_lost_lease_is_told(store: ControlStore, url: str) -> None:
    with store.lease("shop", "me", "copy", ttl_s=1) as lease:
        raw(url, "update cdc_leases set holder = 'you'")
        time.sleep(0.6)
        with pytest.raises(FencedError, match="no longer held by me"):
            lease.check()
    held = store.lease_info("shop")
    assert held is not None
    assert held.holder == "you"


def test_the_same_holder_enters_again_and_only_the_outermost_gives_back(store: ControlStore, url: str) -> None:
    second = ControlStore.open(url)
    with store.lease("shop", "run", "restart"):
        with second.lease("shop", "run", "start"):
            pass
        assert store.lease_info("shop") is not None
        with pytest.raises(LeaseHeldError):
            store.lease("shop", "other", "stop").__enter__()
    assert store.lease_info("shop") is None


def test_a_kept_lease_stays_the_holders(worker: StartWorker, store: ControlStore) -> None:
    with store.lease("shop", "run 1", "plan", keep=True):
        pass
    other = worker("lease", "shop", "run 2", 0, 30)
    go(other)
    assert other.said().startswith("held pipeline shop is held by run 1 for `plan`")
    same = worker("lease", "shop", "run 1", 0, 30)
    go(same)
    assert same.said() == "got"
    same.process.join()
    assert store.lease_info("shop") is None  # that one was not kept: the run's last step
    with store.lease("shop", "run 3", "plan", keep=True):
        pass
    assert store.release("shop", "run 1") is False
    assert store.release("shop", "run 3") is True
    with store.lease("shop", "run 4", "plan"):
        pass


def test_an_operations_own_error_comes_through(store: ControlStore) -> None:
    with pytest.raises(ValueError, match="mine"), store.lease("shop", "me", "copy"):
        raise ValueError("mine")
    assert store.lease_info("shop") is None


# Heartbeats


def test_a_heartbeat_comes_back(store: ControlStore) -> None:
    store.save_pipeline(make_spec(), "", ())
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    beat = beat_of(
        at=moment, log_offset=2**40, log_end=2**40 + 5, applied_position='{"file": "b.1"}', commit_ms=1_760_000_000_123,
        lag_seconds=0.25, events_total=3, transactions_total=2, last_event_at=moment, message="größe",
    )
    assert store.beat(beat) is True
    assert store.heartbeat("shop") == beat
    assert store.heartbeats() == {"shop": beat}
    assert store.get("shop").last_sync_at == moment
    store.clear_heartbeat("shop")
    assert store.heartbeat("shop") is None


def test_an_old_groups_consumer_does_not_speak_for_the_new_one(store: ControlStore) -> None:
    store.save_pipeline(make_spec(), "", ())
    store.set_desired("shop", "running", group="g1")
    store.beat(beat_of(group="g1"))
    store.set_desired("shop", "running", group="g2")
    store.beat(beat_of(group="g1", message="still there"))
    assert store.heartbeat("shop").message == "still there"
    store.beat(beat_of(group="g2", state="starting"))
    store.beat(beat_of(group="g1", state="stopped"))
    assert (store.heartbeat("shop").group, store.heartbeat("shop").state) == ("g2", "starting")


def test_the_last_word_is_said_once(store: ControlStore) -> None:
    store.beat(beat_of())
    store.close_heartbeat("shop", host="here", pid=os.getpid() + 1, state="failed", message="another process")
    assert store.heartbeat("shop").state == "streaming"
    store.close_heartbeat("shop", host="here", pid=os.getpid(), state="failed", message="killed")
    store.close_heartbeat("shop", host="here", pid=os.getpid(), state="stopped", message="again")
    assert (store.heartbeat("shop").state, store.heartbeat("shop").message) == ("failed", "killed")


def test_ten_consumers_beat_at_once(worker: StartWorker, store: ControlStore) -> None:
    for number in range(10):
        store.save_pipeline(make_spec(f"p{number}", number), "", ())
    workers = [worker("beats", f"p{number}", 30) for number in range(10)]
    go(*workers)
    assert [one.said() for one in workers] == [30] * 10
    assert {beat.log_offset for beat in store.heartbeats().values()} == {29}


def test_a_locked_store_costs_a_beat_and_nothing_else(store: ControlStore, url: str) -> None:
    store.beat(beat_of(message="first"))
    if is_sqlite(store):
        blocker = sqlite3.connect(store.address.database or "", isolation_level=None, check_same_thread=False)
        blocker.execute("begin immediate")
    else:
        blocker = psycopg.connect(url.replace("+psycopg2", ""))
        blocker.execute("lock table cdc_heartbeats in access exclusive mode")
    started = time.monotonic()
    assert store.beat(beat_of(message="second")) is False
    assert time.monotonic() - started < 15
    blocker.rollback()
    blocker.close()
    assert store.heartbeat("shop").message == "first"
    assert store.beat(beat_of(message="third")) is True


def test_a_waiting_writer_gets_its_turn(store: ControlStore) -> None:
    """Several threads of one process write through one store."""
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(20):
                store.record(f"p{number}", "x", "me", "done")
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [len(store.history(f"p{n}", 100)) for n in range(8)] == [20] * 8


def test_a_forked_process_does_not_disturb_its_parents_connection(store: ControlStore) -> None:
    store.record("shop", "parent", "me", "done")
    with store._read() as connection:
        parents = connection.connection.dbapi_connection
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with store._read() as connection:
                own = connection.connection.dbapi_connection is not parents
            store.record("shop", "child", "me", "done")
            code = 0 if own else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    store.record("shop", "parent again", "me", "done")
    assert [e.operation for e in store.history("shop")] == ["parent again", "child", "parent"]


# Exits, agents, assignments


def test_exits_are_kept_newest_first_and_not_for_ever(store: ControlStore) -> None:
    for code in range(130):
        store.record_exit("shop", group="g", revision=4, host="h", pid=code, exit_code=code, last_lines="x")
    store.record_exit("other", group="g", revision=1, host="h", pid=1, exit_code=None, last_lines="")
    assert [e.exit_code for e in store.exits("shop", 3)] == [129, 128, 127]
    assert len(store.exits("shop", 1000)) == 100
    assert {name: e.exit_code for name, e in store.last_exits().items()} == {"shop": 129, "other": None}


def test_one_agent_per_host(worker: StartWorker, store: ControlStore) -> None:
    pair = [worker("agent"), worker("agent")]
    go(*pair)
    answers = [one.said() for one in pair]
    assert sorted(a.split()[0] for a in answers) == ["refused", "registered"]
    winner = pair[answers.index("registered")]
    assert [a.pid for a in store.live_agents()] == [winner.pid]
    assert f"refused {winner.pid}" in answers
    winner.kill()
    assert list(store.live_agents()) == []
    third = worker("agent")
    go(third)
    assert third.said() == "registered"


def test_one_agent_per_name_wherever_it_is(
    store: ControlStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.register_agent("mine") is None
    monkeypatch.setattr(processes, "place", lambda: "another container")
    other = store.register_agent("theirs")
    assert other is not None
    assert (other.agent_id, other.here) == ("mine", False)
    stop = threading.Event()
    stop.set()
    with pytest.raises(RetryableError) as caught:
        run._register(store, "theirs", stop)
    assert "in another container or on another machine" in caught.value.message
    assert "CDC_HOST" in caught.value.next_step
    with monkeypatch.context() as named:
        named.setenv("CDC_HOST", "db-2")
        assert store.register_agent("second") is None
    assert {a.host for a in store.live_agents()} == {processes.host(), "db-2"}
    old = datetime.now(UTC) - timedelta(seconds=20)  # it was killed, and could not say so
    raw(url, "update cdc_agents set at = :at", at=old.replace(tzinfo=None) if is_sqlite(store) else old)
    assert store.register_agent("theirs") is None


def test_an_agent_that_was_replaced_is_told(store: ControlStore, url: str) -> None:
    assert store.register_agent("mine") is None
    assert store.agent_beat("mine")
    store.forget_agent("mine")
    assert not store.agent_beat("mine")


def test_an_agent_that_does_not_beat_is_not_live(store: ControlStore, url: str) -> None:
    store.register_agent("mine")
    assert len(store.live_agents()) == 1
    old = datetime.now(UTC) - timedelta(seconds=20)
    raw(url, "update cdc_agents set at = :at", at=old.replace(tzinfo=None) if is_sqlite(store) else old)
    assert list(store.live_agents()) == []


def test_a_pipeline_is_one_hosts(store: ControlStore, url: str) -> None:
    assert store.assign(["a", "b"], "host1") == {"a", "b"}
    assert store.assign(["a", "b", "c"], "host2") == {"c"}
    store.unassign(["a"], "host1")
    assert store.assign(["a", "b", "c"], "host2") == {"a", "c"}
    past = datetime.now(UTC) - timedelta(seconds=1)
    raw(url, "update cdc_assignments set expires_at = :at", at=past.replace(tzinfo=None) if is_sqlite(store) else past)
    store.beat(beat_of("b"))  # its consumer lives on, on host `here`
    assert store.assign(["b"], "host2") == set()
    assert store.assign(["b"], "here") == {"b"}
    store.beat(beat_of("b", state="stopped"))
    store.unassign(["b"], "here")
    assert store.assign(["b"], "host2") == {"b"}


def test_a_host_that_comes_back_from_an_outage_lets_the_others_come_first(store: ControlStore, url: str) -> None:
    assert store.assign(["a"], "host1") == {"a"}
    past = datetime.now(UTC) - timedelta(seconds=1)
    raw(url, "update cdc_assignments set expires_at = :at", at=past.replace(tzinfo=None) if is_sqlite(store) else past)
    assert store.assigned_to("a") is None
    assert store.assign(["a", "new"], "host2", take_over=False) == {"new"}
    assert store.assign(["a"], "host1", take_over=False) == {"a"}
    assert store.assigned_to("a") == "host1"


def test_a_consumer_whose_pipeline_another_host_has_is_not_heard(store: ControlStore) -> None:
    store.save_pipeline(make_spec("shop", 1), "", ())
    store.set_desired("shop", "running", group="g")
    assert store.beat(beat_of(group="g", message="mine"))  # of host `here`
    store.unassign(["shop"], "here")
    assert store.assign(["shop"], "elsewhere") == {"shop"}
    assert store.beat(beat_of(group="g", message="a zombie's")) is False
    assert store.beat(beat_of(group="g", state="failed", message="its last words")) is False
    assert store.heartbeat("shop").message == "mine"
    assert store.assigned_to("shop") == "elsewhere"


def test_a_consumer_of_an_old_group_holds_nothing(store: ControlStore) -> None:
    store.save_pipeline(make_spec("shop", 1), "", ())
    store.set_desired("shop", "running", group="g2")
    store.beat(beat_of(group="g1"))
    assert store.assigned_to("shop") is None
    assert store.assign(["shop"], "elsewhere") == {"shop"}


# SQLite alone


def test_by_default_the_store_is_a_private_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDC_CONTROL_URL", raising=False)
    monkeypatch.delenv("CDC_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    store = ControlStore.open()
    assert store.address.database == str(tmp_path / ".cdc" / "control.db")
    assert (tmp_path / ".cdc").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / ".cdc" / "control.db").stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(tmp_path / ".cdc" / "control.db") as connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    monkeypatch.setenv("CDC_HOME", str(tmp_path / "elsewhere"))
    assert ControlStore.open().address.database == str(tmp_path / "elsewhere" / "control.db")


def test_a_file_in_use_on_another_machine_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'control.db'}"
    store = ControlStore.open(url)
    store.register_agent("theirs")
    ControlStore.open(url)
    raw(url, "update cdc_agents set machine = 'another', place = 'another', host = 'far'")
    with pytest.raises(ConfigurationError, match="another machine, far"):
        ControlStore.open(url)


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_engine, "file_system_of", lambda file: "nfs4")
    with pytest.raises(ConfigurationError, match="network file system"):
        ControlStore.open(f"sqlite:///{tmp_path / 'control.db'}")


def test_a_file_of_another_kind_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'control.db'}"
    (tmp_path / "control.db").write_text("this is no database" * 100)
    with pytest.raises(ConfigurationError, match="not a database"):
        ControlStore.open(url)
