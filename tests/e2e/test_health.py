"""The table of health, row by row, on the real stack: each fault is caused, told by its name, and mended.

Rows that have tests beside the mechanism they belong to: connector_changed, change_log_broken (test_broken_worlds),
source_history (test_broken_source), runway (test_broken_source), differences (test_repair), table_quarantined and
dead_letters (test_quarantine), table_changed (test_schema_changes, test_limits), table_left_behind and lane_idle
(test_lanes), start_broken_off (test_kill), needs_person (test_broken_worlds).
"""

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import yaml
from sqlalchemy import delete, update

from cdc_pipelines.replication.control import models
from cdc_pipelines.replication.control.store import ControlStore, PipelineRecord
from cdc_pipelines.replication.health import healing, rounds
from cdc_pipelines.replication.health.facts import Connectors
from cdc_pipelines.replication.health.status import status
from cdc_pipelines.replication.operations import foundations
from cdc_pipelines.replication.operations.consumer_state import connector_covers
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.stack.settings import StackSettings
from tests.e2e.conftest import Pipe, edit, wait_until
from tests.proxy import Proxy

LOG = logging.getLogger("health")
NOBODY = 1  # a port where nobody listens


class Watched:
    """A running pipeline and the look at it, in this process."""

    def __init__(self, pipe: Pipe, stack: StackSettings, store: ControlStore, proxy: Proxy) -> None:
        self.pipe, self.store, self.proxy = pipe, store, proxy
        self.connector = f"{stack.connect_url}/connectors/{store.get(pipe.name).spec.connector_name}"
        self.rows = len(pipe.source_rows("select id from t"))

    def status(self, connectors: Connectors = None, **sections: dict[str, Any]) -> dict[str, Any]:
        """The status, with some settings of the file changed for this look; `connectors` as Connect answered before."""
        record = self.store.get(self.pipe.name)
        changed = {name: getattr(record.spec, name).model_copy(update=fields) for name, fields in sections.items()}
        spec = record.spec.model_copy(update=changed)
        with Runtime(record, self.store, impatient=True) as rt:

            def refresh() -> PipelineRecord:
                rt.record = replace(self.store.get(self.pipe.name), spec=spec)
                return rt.record

            rt.refresh = refresh
            return status(rt, connectors)

    def problems(self, **sections: dict[str, Any]) -> dict[str, str]:
        """Kind → severity."""
        return {each["kind"]: each["severity"] for each in self.status(**sections)["problems"]}

    def becomes(self, wanted: dict[str, str], timeout_s: float = 60) -> None:
        seen: dict[str, str] = {}

        def same() -> bool:
            seen.clear()
            seen.update(self.problems())
            return seen == wanted

        try:
            wait_until(same, f"the problems to be {wanted}", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; they are {seen}\n{self.pipe.log_tail()}") from None

    def heal(self) -> str:
        with Runtime.open(self.pipe.name, self.store) as rt, self.store.lease(self.pipe.name, "test", "heal"):
            return healing.heal(rt, LOG)

    def streams(self) -> None:
        """A change passes, and nothing is wrong any more."""
        self.rows += 1
        self.pipe.run(f"insert into t values ({self.rows})")
        self.pipe.arrives("select count(*) from t", [(self.rows,)])
        self.becomes({})

    def set(self, word: str) -> None:
        requests.put(f"{self.connector}/{word}", timeout=90).raise_for_status()

    def connector_is_at_end(self) -> bool:
        with Runtime.open(self.pipe.name, self.store) as rt:
            return connector_covers(rt, rt.source.position(), None)

    def resumes_by(self) -> dict[str, Any]:
        """Resume, and give Connect's answer from between: the connector runs, and its task is not made yet."""
        self.set("resume")
        while True:
            answer: dict[str, Any] = requests.get(f"{self.connector}/status", timeout=90).json()
            if answer["connector"]["state"] == "RUNNING":
                return answer

    def age_heartbeat(self, seconds: float) -> None:
        """What the store holds of a consumer that has been frozen for so long."""
        t = models.heartbeats
        with self.store._write() as connection:
            connection.execute(update(t).values(at=datetime.now(UTC) - timedelta(seconds=seconds)))


@pytest.fixture(scope="module")
def way(stack: StackSettings) -> Iterator[Proxy]:
    """The connector's way to the source."""
    with closing(Proxy(stack.mysql.port)) as proxy:
        yield proxy


@pytest.fixture
def watched(
    way: Proxy, keep_pipe: Callable[..., Pipe], stack: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Watched]:
    """A healthy pipeline, which every test leaves so; but for the last one's many deaths."""

    def begin(pipe: Pipe) -> None:
        source = yaml.safe_load(pipe.file.read_text())["source"]
        edit(pipe.file, source=source | {"connect_port": way.port})
        pipe.run("create table t (id int primary key)", "insert into t values (1)")
        pipe.configure()
        pipe.start()

    pipe = keep_pipe(begin)
    monkeypatch.setenv("CDC_HOME", str(pipe.home))
    monkeypatch.setenv("CDC_AGENT_AUTOSTART", "1")
    with closing(ControlStore.open()) as store:
        yield Watched(pipe, stack, store, way)


def test_the_connector_s_rows(watched: Watched) -> None:
    watched.streams()
    watched.set("pause")
    watched.becomes({"connector_paused": "degraded"})
    assert watched.heal() == "nothing to do any more", "a person paused it"
    watched.set("resume")
    watched.streams()
    watched.set("stop")
    watched.becomes({"connector_stopped": "failed"})
    assert watched.heal() == "nothing to do any more", "a person stopped it"
    between = watched.resumes_by()
    name = watched.store.get(watched.pipe.name).connector
    seen = watched.status({name: {"status": between}})["problems"]
    assert [(each["kind"], each["severity"]) for each in seen] == [("no_tasks", "degraded")], between
    watched.streams()

    again = requests.post(f"{watched.connector}/restart?includeTasks=true&onlyFailed=false", timeout=90).json()
    seen = watched.status({name: {"status": again}})["problems"]
    assert [(each["kind"], each["severity"]) for each in seen] == [("connector_not_running", "degraded")], again
    watched.streams()

    # a setting by somebody's hand that Connect takes, and with which the connector fails at its start
    made = requests.get(f"{watched.connector}/config", timeout=90).json()
    nowhere = made | {"admin.override.bootstrap.servers": "nowhere"}
    requests.put(f"{watched.connector}/config", json=nowhere, timeout=90).raise_for_status()
    watched.becomes({"connector_failed": "failed"})
    told = watched.status()
    assert told["connector"]["state"] == "FAILED"
    assert "Invalid url in bootstrap.servers" in told["problems"][0]["message"], "Connect's own reason"
    requests.put(f"{watched.connector}/config", json=made, timeout=90).raise_for_status()
    watched.streams()

    # a task that can't reach its source fails, and is restarted once it can
    port = watched.proxy.to
    watched.proxy.lead_to(NOBODY)
    requests.post(f"{watched.connector}/restart?includeTasks=true", timeout=90).raise_for_status()
    watched.becomes({"task_failed": "failed"}, 120)
    watched.proxy.lead_to(port)
    assert "was restarted" in watched.heal()
    watched.streams()

    # one that was deleted is made anew, from the applied position
    requests.delete(watched.connector, timeout=90).raise_for_status()
    watched.becomes({"connector_missing": "failed"})
    watched.rows += 1
    watched.pipe.run(f"insert into t values ({watched.rows})")
    assert "was made anew" in watched.heal()
    watched.streams()
    assert watched.pipe.equal()


def test_a_connector_that_hangs_is_told(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose connection to the source hangs half-open says RUNNING for minutes."""
    monkeypatch.setattr(foundations, "SILENT_AFTER_S", 12.0)  # an idle source is silent for longer, this one writes
    watched.streams()
    watched.proxy.stall()
    watched.rows += 1
    watched.pipe.run(f"insert into t values ({watched.rows})")
    seen: dict[str, Any] = {}

    def told() -> bool:
        seen.update(watched.status())
        return seen["overall"] == "degraded" and any("has sent nothing" in error for error in seen["errors"])

    wait_until(told, "the status to tell", 60)
    assert "connector_silent" in {each["kind"] for each in seen["problems"]}
    assert seen["connector"]["state"] == "RUNNING"
    assert any(f"cdc restart {watched.pipe.name}" in error for error in seen["errors"])
    assert seen["lag"]["seconds"] > 0
    watched.proxy.flow()
    watched.pipe.arrives("select count(*) from t", [(watched.rows,)])
    wait_until(lambda: watched.status()["overall"] == "healthy", "the status to be healthy again", 60)


def test_the_rows_of_servers_and_sizes(watched: Watched) -> None:
    watched.streams()
    assert watched.problems(connect={"url": f"http://127.0.0.1:{NOBODY}"}) == {"connect_unreachable": "degraded"}
    nowhere = f"127.0.0.1:{NOBODY}"
    assert watched.problems(kafka={"bootstrap_servers": nowhere})["kafka_unreachable"] == "degraded"
    assert watched.problems(source={"port": NOBODY})["source_unreachable"] == "degraded"
    assert watched.problems(target={"port": NOBODY}) == {"target_unreachable": "degraded"}
    assert watched.problems(health={"log_gb": 1e-9}) == {"log_size": "degraded"}
    assert watched.problems(health={"target_gb": 1e-9}) == {"target_size": "degraded"}
    told = watched.status(health={"target_gb": 1e-9})
    assert told["overall"] == "degraded"
    assert "health.target_gb is 1e-09" in told["errors"][0]


@pytest.mark.parametrize("what", ["target", "connect"])
def test_whatever_hangs_a_look_at_all_pipelines_ends_in_time(
    watched: Watched, stack: StackSettings, what: str
) -> None:
    """One pipeline's server takes connections and answers nothing: it alone is told, the others are seen."""
    port = stack.postgres.port if what == "target" else urlsplit(stack.connect_url).port
    assert port is not None
    with closing(Proxy(port)) as proxy:
        record = watched.store.get(watched.pipe.name)
        way: dict[str, Any] = {"url": f"http://127.0.0.1:{proxy.port}"} if what == "connect" else {"port": proxy.port}
        server = getattr(record.spec, what).model_copy(update=way)
        other = record.spec.model_copy(update={"name": "hangs", "config": record.config + 1, what: server})
        watched.store.save_pipeline(other, record.file_text, record.tables)
        watched.store.set_status("hangs", "running", is_active=True)
        proxy.stall()
        began = time.monotonic()
        seen = {each.record.name: each for each in rounds.look_at_all(watched.store, deadline_s=6)}
        assert time.monotonic() - began < 9
        proxy.flow()
        assert [p["kind"] for p in seen["hangs"].status["problems"]] == ["unanswered"]
        assert seen[watched.pipe.name].status["overall"] == "healthy", seen[watched.pipe.name].status
        assert seen[watched.pipe.name].incident is None
        watched.store.delete("hangs")


def test_a_source_that_hangs_is_told_in_time(watched: Watched, stack: StackSettings) -> None:
    record = watched.store.get(watched.pipe.name)
    with closing(Proxy(stack.mysql.port)) as proxy:
        source = record.spec.source.model_copy(update={"port": proxy.port})
        spec = record.spec.model_copy(update={"source": source})
        hangs = watched.store.save_pipeline(spec, record.file_text, record.tables)
        try:
            proxy.stall()
            began = time.monotonic()
            (seen,) = rounds.statuses(watched.store, [hangs], 3)
            assert time.monotonic() - began < 5
            assert [p["kind"] for p in seen["problems"]] == ["unanswered"]
        finally:
            watched.store.save_pipeline(record.spec, record.file_text, record.tables)


def test_the_consumer_s_rows(watched: Watched) -> None:
    watched.streams()
    consumer = watched.pipe.consumer()
    consumer.send_signal(signal.SIGSTOP)
    watched.age_heartbeat(31)
    assert watched.problems() == {"consumer_stale": "degraded"}
    watched.age_heartbeat(121)
    assert watched.problems() == {"consumer_gone": "failed"}
    beat = watched.store.heartbeat(watched.pipe.name)
    assert beat is not None
    watched.store.beat(replace(beat, state="starting", at=datetime.now(UTC)))
    assert watched.problems() == {"consumer_not_streaming": "degraded"}
    with watched.store._write() as connection:
        connection.execute(delete(models.heartbeats))
    assert watched.problems() == {"consumer_missing": "degraded"}
    consumer.send_signal(signal.SIGCONT)
    watched.streams()

    # the target falls behind
    consumer.send_signal(signal.SIGSTOP)
    watched.rows += 1
    other = f"{watched.pipe.mysql.db.decode()}_other"  # what comes behind takes the connector on, not the consumer
    watched.pipe.run(
        f"create database {other}", f"create table {other}.x (id int primary key)",
        f"insert into t values ({watched.rows})", f"insert into {other}.x values (1), (2)",
    )  # fmt: skip
    wait_until(watched.connector_is_at_end, "the connector to have read it all")
    wait_until(lambda: "lag" in watched.problems(health={"lag_seconds": 0.5}), "the lag to be told")
    assert "lag" not in watched.problems()
    watched.pipe.run(f"drop database {other}")
    consumer.send_signal(signal.SIGCONT)
    watched.streams()

    # it dies again and again; its agent brings it back each time
    for _ in range(3):
        dead = watched.pipe.consumer()
        dead.kill()
        wait_until(lambda dead=dead: watched.pipe.consumer().pid != dead.pid, "the next consumer")
    wait_until(lambda: watched.problems().get("crash_loop") == "degraded", "the crash loop to be told")

    # nobody is left to bring it back
    for process in [*watched.pipe.processes("agent"), watched.pipe.consumer()]:
        process.kill()
    wait_until(lambda: "agent_missing" in watched.problems(), "the agent to be missed", 60)
    watched.age_heartbeat(121)
    assert "consumer_gone" in watched.problems()
    assert "agent" in watched.heal()
    watched.rows += 1
    watched.pipe.run(f"insert into t values ({watched.rows})")
    watched.pipe.arrives("select count(*) from t", [(watched.rows,)])
    assert watched.pipe.equal()
