"""What is configured and what Dagster has loaded: it is asked once for each difference, else people are told."""

import threading
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
import requests

from cdc_pipelines.assets.declared import configured_pipelines, declared_pipelines
from cdc_pipelines.dagster_client import DagsterClient
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.resources.pipelines import PipelinesResource
from cdc_pipelines.schedules.shown import Shown, shown
from cdc_pipelines.sensors import configuration as module
from tests.unit.dagster_pipelines import configure
from tests.unit.schedule_store import BOTH, VERIFY_AT, store

__all__ = ["store"]  # a fixture

NOW = datetime(2026, 5, 5, 12, 0, tzinfo=UTC)
HEARD = {"alerts": {"webhook": {"url": "${env:CDC_TEST_HOOK}"}}}


class Webserver:
    """Counts what it is asked for; answers nothing with an `error`."""

    def __init__(self) -> None:
        self.asked = 0
        self.loads = threading.Semaphore(0)
        self.error: Exception | None = None

    def location_state(self, _: DagsterClient) -> str:
        if self.error is not None:
            raise self.error
        self.asked += 1
        return "RepositoryLocation"


@pytest.fixture
def webserver(monkeypatch: pytest.MonkeyPatch) -> Webserver:
    found = Webserver()
    monkeypatch.setenv("CDC_DAGSTER_URL", "http://dagster.example.com/")
    monkeypatch.setattr(module, "_AFTER_S", 0)
    monkeypatch.setattr(DagsterClient, "location_state", lambda client: found.location_state(client))
    monkeypatch.setattr(DagsterClient, "reload", lambda _: found.loads.release())
    return found


class Ticks:
    """The sensor's, of a code location that was loaded once, each with the cursor that the last one left."""

    def __init__(self, loaded: Shown) -> None:
        self.loaded = loaded
        self.cursor: str | None = None

    def tick(self, after: float = 0) -> str:
        context = dg.build_sensor_context(cursor=self.cursor)
        result = module.look(context, PipelinesResource(), self.loaded, NOW + timedelta(seconds=after))
        self.cursor = result.cursor or self.cursor
        assert result.skip_reason is not None
        return str(result.skip_reason.skip_message)


@pytest.fixture
def ticks(store: ControlStore) -> Ticks:
    configure(store, **HEARD, schedules=BOTH)
    store.set_status("shop", "running", is_active=True)
    return Ticks(shown(declared_pipelines()))


def told(store: ControlStore) -> list[str]:
    waiting = store.waiting_messages(datetime.now(UTC) + timedelta(days=1))
    return [message.key.split("/schedule/")[1] for message in waiting]


def test_dagster_is_asked_once_for_a_difference(ticks: Ticks, store: ControlStore, webserver: Webserver) -> None:
    assert "shows what is configured" in ticks.tick()
    configure(store, tables=["customers", "orders", "payments"], **HEARD, schedules=BOTH)
    assert "that is new" in ticks.tick(), "whoever saved it may be at it"
    assert "is asked" in ticks.tick(30)
    assert webserver.loads.acquire(timeout=10)
    assert "was asked" in ticks.tick(60)
    assert "was asked" in ticks.tick(600)
    assert webserver.asked == 1, "the same again would load the same"
    configure(store, tables=["customers"], **HEARD, schedules=BOTH)
    ticks.tick(630)
    assert "is asked" in ticks.tick(660)
    assert webserver.loads.acquire(timeout=10)
    assert told(store) == [], "tables that are not shown are replicated all the same"


@pytest.mark.parametrize("change", ["a new pipeline", "another time", "no schedule", "torn down"])
def test_whatever_dagster_does_not_show_as_configured(
    ticks: Ticks, store: ControlStore, webserver: Webserver, change: str
) -> None:
    if change == "a new pipeline":
        configure(store, "bar", config=2)
    elif change == "torn down":
        store.delete("shop")
    else:
        verify = {"verify": VERIFY_AT | {"cron": "0 5 * * *"}} if change == "another time" else {}
        configure(store, **HEARD, schedules={"resync": BOTH["resync"]} | verify)
    ticks.tick()
    assert "is asked" in ticks.tick(30)
    ticks.loaded = shown(configured_pipelines(store))
    assert "shows what is configured" in ticks.tick()


def test_what_counts_at_once_needs_no_load(ticks: Ticks, store: ControlStore, webserver: Webserver) -> None:
    configure(store, **HEARD, schedules=BOTH | {"verify": VERIFY_AT | {"late_minutes": 5}}, health={"lag_seconds": 9})
    assert "shows what is configured" in ticks.tick()


@pytest.mark.parametrize("why", ["no address", "no answer"])
def test_people_are_told_once_where_nobody_can_be_asked(
    ticks: Ticks, store: ControlStore, webserver: Webserver, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    webserver.error = requests.ConnectionError()
    if why == "no address":
        monkeypatch.delenv("CDC_DAGSTER_URL")
    configure(store, **HEARD, schedules=BOTH | {"verify": VERIFY_AT | {"cron": "0 5 * * *"}})
    ticks.tick()
    assert "CDC_DAGSTER_URL" in ticks.tick(30)
    assert told(store) == [], "a daemon that loads the code location itself may still do so"
    for after in (180, 210):
        ticks.tick(after)
        (key,) = told(store)
        assert key.startswith("verify__shop/unloaded/"), "the other schedule is as it was"
    if why == "no answer":
        webserver.error = None
        assert "is asked" in ticks.tick(240), "once it is back"
        assert webserver.loads.acquire(timeout=10)


def test_people_are_told_where_loading_was_of_no_use(ticks: Ticks, store: ControlStore, webserver: Webserver) -> None:
    configure(store, **HEARD, schedules={"verify": VERIFY_AT | {"cron": "0 5 * * *"}})
    for after in (0, 30, 180):
        ticks.tick(after)
    (message,) = store.waiting_messages(datetime.now(UTC) + timedelta(days=1))
    assert "verify__shop is configured as `0 5 * * *` (UTC), by verify_replication" in message.document
    assert "Reload the code location" in message.document


def test_a_control_store_out_of_reach_is_a_skipped_tick(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: ControlStore) -> None:
        raise OSError("the control store is gone")

    monkeypatch.setattr(module, "configured_pipelines", gone)
    ticks.cursor = "{}"
    assert "the control store is gone" in ticks.tick()
