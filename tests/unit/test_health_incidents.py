"""An incident's life over a given clock, on a real SQLite store: once opened, raised, mended, over; never a flood."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cdc_pipelines.replication.control.store import Action, ControlStore, Incident, Problem
from cdc_pipelines.replication.errors import RetryableError
from cdc_pipelines.replication.health import incidents, rounds
from cdc_pipelines.replication.health.healing import PAUSES_S, REQUESTED
from cdc_pipelines.replication.health.incidents import CALM_S
from cdc_pipelines.replication.health.rounds import Seen
from cdc_pipelines.replication.health.rules import RULES, problem
from cdc_pipelines.replication.health.settings import Health
from tests.unit.dagster_pipelines import configure

BEGIN = datetime(2026, 5, 5, 12, 0, tzinfo=UTC)
SLOW = problem("lag", "the target is 400 s behind", "wait")
DEAD_TASK = problem("task_failed", "task 0: connection refused")
PERSON = problem("change_log_broken", "change log shop.g1.log was deleted", "resync")


class Clocked:
    """A pipeline that is looked at: `at` seconds after the beginning it had these problems."""

    def __init__(self, store: ControlStore) -> None:
        self.store = store
        self.begin = BEGIN

    def look(self, at: float, *problems: Problem) -> Seen:
        found: dict[str, Any] = {"problems": [vars(each) for each in problems], "overall": "?"}
        record, before = self.store.get("shop"), self.store.open_incident("shop")
        return rounds.follow(self.store, record, found, before, self.begin + timedelta(seconds=at))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clocked]:
    """A pipeline that shall run; actions are kept at the clock's time."""
    with contextlib.closing(ControlStore.open(f"sqlite:///{tmp_path}/control.db")) as store:
        configure(store)
        store.set_desired("shop", "running")
        store.set_status("shop", "running", is_active=True)
        yield Clocked(store)


def test_an_hour_of_failure_is_one_run(shop: Clocked) -> None:
    raised = []
    for at in range(0, 3600, 20):
        seen = shop.look(at, SLOW)
        if seen.raised and seen.incident is not None:
            raised.append(at)
            shop.store.set_run(seen.incident.id, "a run")
    assert raised == [60], "after the grace, and never again"
    (incident,) = shop.store.incidents("shop")
    assert incident.seconds == 3580
    assert incident.problems == (SLOW,)


def test_an_hour_of_failure_is_one_run_however_often_one_looks() -> None:
    incident, raised = None, []
    for at in range(3600):
        incident = incidents.advance(incident, "shop", [SLOW], BEGIN + timedelta(seconds=at))
        assert incident is not None
        if incidents.to_be_raised(incident, Health(), incident.seen_at):
            raised.append(at)
            incident = replace(incident, raised_at=incident.seen_at)
    assert raised == [60]


def test_what_passes_within_the_grace_is_kept_and_raised_for_nobody(shop: Clocked) -> None:
    assert not any(shop.look(at, SLOW).raised for at in range(0, 50, 10))
    assert not any(shop.look(at).raised for at in range(50, 200, 10))
    (incident,) = shop.store.incidents("shop")
    assert incident.raised_at is None
    assert incident.resolved_at == BEGIN + timedelta(seconds=50), "since when it is healthy"
    assert incident.seconds == 50


def test_what_only_a_person_can_mend_is_raised_at_once(shop: Clocked) -> None:
    seen = shop.look(0, PERSON)
    assert seen.raised
    assert seen.incident is not None
    shop.store.set_run(seen.incident.id, "a run")
    assert not shop.look(1, PERSON).raised


def test_a_run_is_asked_for_until_it_has_begun(shop: Clocked) -> None:
    """Whoever looked first may have died before Dagster heard of it."""
    lost = shop.look(0, PERSON)
    seen = shop.look(20, PERSON)
    assert seen.raised
    assert seen.incident is not None
    assert lost.incident is not None
    assert (seen.incident.id, seen.incident.raised_at) == (lost.incident.id, BEGIN)
    assert shop.look(40).raised, "healthy again, and nobody was told yet"
    assert not shop.look(40 + CALM_S).raised


def test_what_can_mend_itself_has_its_grace_unless_healing_is_off(shop: Clocked) -> None:
    assert not shop.look(0, DEAD_TASK).raised
    shop.look(1)
    shop.look(1 + CALM_S)
    spec = shop.store.get("shop").spec
    off = spec.model_copy(update={"health": spec.health.model_copy(update={"heal": False})})
    shop.store.save_pipeline(off, "", shop.store.get("shop").tables)
    seen = shop.look(100, DEAD_TASK)
    assert seen.raised
    assert seen.cure == ""


def test_a_crash_loop_is_one_incident(shop: Clocked) -> None:
    for at in range(0, 600, 10):  # ill for 10 s, well for 20
        shop.look(at, *([DEAD_TASK] if at % 30 == 0 else []))
    assert len(shop.store.incidents("shop")) == 1


def test_it_escalates_once_and_remembers_the_worst(shop: Clocked) -> None:
    shop.look(0, SLOW)
    shop.look(10, SLOW, PERSON)
    incident = shop.look(20, SLOW).incident
    assert incident is not None
    assert (incident.severity, incident.worst, incident.escalated_at) == (
        "degraded", "failed", BEGIN + timedelta(seconds=10)
    )
    incident = shop.look(30, PERSON).incident
    assert incident is not None
    assert incident.escalated_at == BEGIN + timedelta(seconds=10)


def test_healing_is_tried_after_growing_pauses_and_not_for_ever(
    shop: Clocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    actions: list[Action] = []  # the store keeps them at its own clock's time
    monkeypatch.setattr(shop.store, "actions", lambda *_: actions)
    for at in range(0, 7200, 30):
        seen = shop.look(at, DEAD_TASK)
        if seen.cure:
            assert seen.cure == "restart_task"
            tried.append(at)
            actions.append(Action("restart_task", REQUESTED, "", BEGIN + timedelta(seconds=at)))
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    assert pauses == list(PAUSES_S[1:])
    assert len(tried) == shop.store.get("shop").spec.health.heal_attempts == 5


@pytest.mark.parametrize("why", ["shall stand still", "somebody works on it"])
def test_nothing_is_mended_against_a_persons_word(shop: Clocked, why: str) -> None:
    shop.begin = datetime.now(UTC)  # what was requested is kept at the store's own time
    assert shop.look(0, DEAD_TASK).cure == "restart_task"
    with contextlib.ExitStack() as stack:
        if why == "shall stand still":
            shop.store.set_desired("shop", "stopped")
        else:
            stack.enter_context(shop.store.lease("shop", "a run", "restart"))
        assert shop.look(700, DEAD_TASK).cure == ""
    shop.store.set_desired("shop", "running")
    assert shop.look(800, DEAD_TASK).cure == "restart_task"


def test_two_that_look_at_once_open_one_incident(shop: Clocked) -> None:
    new = Incident(0, "shop", "failed", "failed", (PERSON,), opened_at=BEGIN, seen_at=BEGIN)
    first, second = shop.store.save_incident(new), shop.store.save_incident(new)
    assert first.id == second.id


def test_a_pipeline_that_was_torn_down_leaves_no_open_incident(shop: Clocked) -> None:
    shop.look(0, PERSON)
    shop.store.delete("shop")
    assert rounds.look_at_all(shop.store) == []
    assert shop.store.open_incidents() == {}


def test_a_save_that_fails_takes_nothing_from_the_other_pipelines(
    shop: Clocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(shop.store, "bar", config=2)
    shop.store.set_status("bar", "running", is_active=True)
    save = shop.store.save_incident

    def failing(of: str) -> None:
        def save_or_fail(incident: Incident) -> Incident:
            if incident.pipeline == of:
                raise RetryableError("the control store is locked", "")
            return save(incident)

        monkeypatch.setattr(shop.store, "save_incident", save_or_fail)

    failing("shop")
    seen = {each.record.name: each for each in look_at_ill(shop, monkeypatch)}
    assert seen["bar"].raised
    assert (seen["shop"].incident, seen["shop"].unkept) == (None, "the control store is locked")
    failing("bar")
    seen = {each.record.name: each for each in look_at_ill(shop, monkeypatch)}
    assert seen["shop"].raised
    assert seen["bar"].unkept


def look_at_ill(
    shop: Clocked, monkeypatch: pytest.MonkeyPatch, store: ControlStore | None = None, **more: float
) -> list[Seen]:
    """A look at pipelines all of which only a person can mend."""
    found: dict[str, Any] = {"problems": [vars(PERSON)], "overall": "failed"}
    monkeypatch.setattr(rounds, "statuses", lambda _, records, *__: [found for _ in records])
    return rounds.look_at_all(store or shop.store, **more)


def test_a_store_that_is_locked_holds_up_no_look(shop: Clocked, monkeypatch: pytest.MonkeyPatch) -> None:
    for config, name in enumerate(("bar", "baz"), 2):
        configure(shop.store, name, config=config)
        shop.store.set_status(name, "running", is_active=True)
    with (
        contextlib.closing(ControlStore.open(shop.store.url, patience_s=0.3)) as store,
        contextlib.closing(sqlite3.connect(shop.store.address.database or "", isolation_level=None)) as other,
    ):
        other.execute("begin immediate")
        began = time.monotonic()
        seen = look_at_ill(shop, monkeypatch, store, deadline_s=0.5)
        assert time.monotonic() - began < 3
        assert [bool(each.unkept) for each in seen] == [True] * 3
        assert "no time is left" in seen[-1].unkept
        other.execute("rollback")
        assert all(each.raised for each in look_at_ill(shop, monkeypatch, store))


def test_a_paused_or_stopped_connector_is_left_alone() -> None:
    """A person did it: healing never goes against a person."""
    assert not RULES["connector_paused"].cure
    assert not RULES["connector_stopped"].cure
