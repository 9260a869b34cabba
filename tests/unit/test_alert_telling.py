"""Telling people once, on a real control store: whoever tells, whatever fails, however often it is looked at."""

import contextlib
import json
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.alerts.delivery import Outcome
from cdc_pipelines.replication.alerts.document import Alert
from cdc_pipelines.replication.alerts.due import GRACE_S
from cdc_pipelines.replication.alerts.message import FailedRun, FailedStep
from cdc_pipelines.replication.alerts.settings import Alerts
from cdc_pipelines.replication.alerts.telling import CLAIM_S, Teller
from cdc_pipelines.replication.control.store import ControlStore, Incident, Problem
from tests.control_specs import make_spec

BEGAN = datetime(2026, 5, 5, 12, 0, tzinfo=UTC)
LOG = logging.getLogger("cdc.test.alerts")


@dataclass
class World:
    """A store with one pipeline, a clock, and people who hear, unless `deaf`."""

    store: ControlStore
    now: datetime = BEGAN
    heard: list[Alert] = field(default_factory=list)
    deaf: set[str] = field(default_factory=set)
    channels: tuple[str, ...] = ("chat",)

    def teller(self) -> Teller:
        return Teller(self.store, LOG, clock=lambda: self.now, send=self.send)

    def send(self, settings: Alerts, alert: Alert) -> Sequence[Outcome]:
        outcomes = [Outcome(each, "it answered HTTP 503" if each in self.deaf else "") for each in self.channels]
        if not all(each.error for each in outcomes):
            self.heard.append(alert)
        return outcomes

    def events(self) -> list[str]:
        return [each.event for each in self.heard]

    def after(self, **time: float) -> int:
        """One look, so much later."""
        self.now += timedelta(**time)
        return self.teller().follow_up()

    def incident(self, severity: Any = "degraded", **facts: Any) -> Incident:
        """One that is open, and for which a run was asked to fail."""
        problem = Problem("lag", severity, "the target is 400 s behind", "see docs/troubleshooting.md.")
        opened = Incident(0, "shop", severity, severity, (problem,), self.now, self.now, raised_at=self.now, **facts)
        return self.store.save_incident(opened)

    def change(self, incident: Incident, **facts: Any) -> None:
        self.store.save_incident(replace(incident, **facts))

    def settings(self, **alerts: Any) -> None:
        spec = make_spec(alerts={"apprise": ["${env:NO_SUCH_CHAT}"]} | alerts)
        self.store.save_pipeline(spec, "", ())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with contextlib.closing(ControlStore.open(f"sqlite:///{tmp_path / 'control.db'}")) as store:
        made = World(store)
        made.settings()
        yield made


def run(run_id: str = "0a1b", message: str = "connection refused") -> FailedRun:
    return FailedRun("shop", "start_replication", run_id, (FailedStep("validate_prerequisites", message, "look."),))


def test_an_incident_from_its_run_to_its_end(world: World) -> None:
    incident = world.incident()
    assert world.after(seconds=20) == 0, "its run is not seen yet"
    world.teller().incident_raised(incident.id, "0a1b")
    assert world.events() == ["opened"]
    assert world.heard[0].run is not None
    assert world.heard[0].run.id == "0a1b"
    world.teller().incident_raised(incident.id, "0a1b")
    world.after(minutes=5)
    assert world.events() == ["opened"]
    world.change(incident, severity="failed", worst="failed", escalated_at=world.now)
    world.after(seconds=30)
    world.after(seconds=30)
    assert world.events() == ["opened", "escalated"]
    world.after(hours=4)
    world.change(incident, severity="failed", worst="failed", resolved_at=world.now)
    world.after(seconds=30)
    world.after(seconds=30)
    assert world.events() == ["opened", "escalated", "reminder", "recovered"]
    assert world.heard[-1].title == "shop is healthy again after 4 h 6 min"
    assert len({each.thread for each in world.heard}) == 1


def test_where_its_run_is_never_seen_people_are_told_all_the_same(world: World) -> None:
    world.incident()
    world.after(seconds=GRACE_S + 1)
    assert world.events() == ["opened"]


def test_of_many_tellers_at_once_one_tells(world: World) -> None:
    """On one SQLite file, each with a store of its own, as two daemons have."""
    incident = world.incident()
    together = threading.Barrier(6)
    world.now += timedelta(seconds=GRACE_S + 1)

    def tell(number: int) -> None:
        with contextlib.closing(ControlStore.open(world.store.url)) as store:
            teller = Teller(store, LOG, clock=lambda: world.now, send=world.send)
            together.wait()
            teller.incident_raised(incident.id, "0a1b") if number % 2 else teller.follow_up()
            teller.run_failed(run())

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(world.events()) == ["opened", "run_failed"]


def test_an_hour_of_looks_gives_the_reminders_asked_for(world: World) -> None:
    world.settings(remind_hours=0.25)
    incident = world.incident()
    world.teller().incident_raised(incident.id, "0a1b")
    teller, at = world.teller(), []
    for second in range(10, 3601, 10):
        world.now = BEGAN + timedelta(seconds=second)
        if teller.follow_up():
            at.append(second)
    assert at == [900, 1800, 2700, 3600]
    assert world.events() == ["opened"] + ["reminder"] * 4


def test_nobody_heard_is_tried_again_with_growing_pauses(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.deaf = {"chat"}
    world.teller().run_failed(run())
    assert "chat did not take the message" in caplog.text
    assert "HTTP 503" in caplog.text
    assert "nobody could be told; tried again in 30 s" in caplog.text
    tries = len(caplog.records)
    for _ in range(120):
        world.after(seconds=30)
    assert 6 <= (len(caplog.records) - tries) / 2 <= 10, "two lines a try: not at every look"
    world.deaf = set()
    assert sum(world.after(seconds=30) for _ in range(60)) == 1
    assert world.events() == ["run_failed"]
    assert world.heard[0].at == BEGAN, "when it happened, not when it could be told"


def test_what_nobody_took_for_a_day_is_given_up(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.deaf = {"chat"}
    world.teller().run_failed(run())
    world.after(hours=25)
    assert "given up after 1 tries" in caplog.text
    world.deaf = set()
    world.after(hours=1)
    assert world.events() == []


def test_one_channel_that_took_it_is_enough_and_the_other_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.channels, world.deaf = ("chat", "mail"), {"mail"}
    world.teller().run_failed(run())
    world.after(minutes=10)
    assert world.events() == ["run_failed"]
    assert "mail did not take the message" in caplog.text


def test_an_incident_that_could_not_be_told_is_told_whole_at_its_end(world: World) -> None:
    incident = world.incident()
    world.deaf = {"chat"}
    world.teller().incident_raised(incident.id, "0a1b")
    world.change(incident, resolved_at=BEGAN + timedelta(minutes=5))
    world.deaf = set()
    world.after(minutes=6)
    world.after(minutes=6)
    assert world.events() == ["recovered"]
    assert "the target is 400 s behind" in world.heard[0].text


def test_a_teller_that_died_while_telling_is_replaced(world: World) -> None:
    incident = world.incident()
    world.now += timedelta(seconds=GRACE_S + 1)

    def die(settings: Alerts, alert: Alert) -> Sequence[Outcome]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Teller(world.store, LOG, clock=lambda: world.now, send=die).incident_raised(incident.id, "0a1b")
    world.after(seconds=CLAIM_S - 1)
    assert world.events() == []
    world.after(seconds=2)
    assert world.events() == ["opened"]


def test_who_is_told_is_the_file_s_to_say(world: World) -> None:
    world.settings(on_failed_runs=False, minimum="failed", remind_hours=None)
    incident = world.incident()
    world.teller().run_failed(run())
    world.after(hours=30)
    assert world.events() == []
    world.change(incident, severity="failed", worst="failed")
    world.after(seconds=30)
    world.after(hours=100)
    assert world.events() == ["opened"]


def test_nobody_named_and_nobody_there_are_no_errors(world: World) -> None:
    incident = world.incident()
    world.settings(apprise=[])
    world.after(hours=1)
    world.teller().run_failed(run())
    assert world.store.messages_of([incident.id]) == {}, "who is named later is told then"
    world.settings()
    world.after(hours=1)
    assert world.events() == ["opened"]
    world.change(incident, resolved_at=world.now)
    world.store.delete("shop")
    world.after(seconds=30)
    world.teller().run_failed(run())
    assert world.events() == ["opened"], "torn down: its settings are gone"


def test_what_a_run_said_of_a_password_is_not_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """This process never used the password: it is a run's error text that holds it."""
    monkeypatch.setattr(secrets, "_known_values", set())
    monkeypatch.setenv("CONTROL_TEST_PW", "sup3r'\"s3cret")
    world.deaf = {"chat"}
    world.teller().run_failed(run(message="login cdc:sup3r'\"s3cret@db.example failed"))
    world.deaf = set()
    world.after(minutes=5)
    (sent,) = world.heard
    assert "login cdc:********@db.example failed" in sent.text
    kept = json.dumps([sent.to_json(), caplog.text]) + Path(world.store.address.database or "").read_bytes().decode(
        "utf-8", "replace"
    )
    assert "s3cret" not in kept
