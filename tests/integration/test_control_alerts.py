"""What people are told, as the control store keeps it, on both of its databases."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cdc_pipelines.replication.control.alerts import KEPT_DAYS
from cdc_pipelines.replication.control.store import ControlStore, Incident, Message, Problem
from tests.control_fixtures import postgres_url, sqlite_url

__all__ = ["postgres_url", "sqlite_url"]  # fixtures

NOW = datetime(2026, 5, 5, 12, 0, tzinfo=UTC)
MESSAGE = Message("s/run/1", "shop", None, "run_failed", "failed", '{"text": "größe"}')


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[ControlStore]:
    with contextlib.closing(ControlStore.open(request.getfixturevalue(f"{request.param}_url"))) as opened:
        yield opened


def after(**time: float) -> datetime:
    return NOW + timedelta(**time)


def test_of_many_that_claim_a_message_at_once_one_gets_it(store: ControlStore) -> None:
    together, got = threading.Barrier(8), []

    def claim() -> None:
        with contextlib.closing(ControlStore.open(store.url)) as own:
            together.wait()
            got.append(own.claim_message(MESSAGE, NOW, for_s=120))

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(got) == [0] * 7 + [1]


def test_a_message_is_free_again_after_its_claim_or_its_failure_and_never_once_it_is_told(store: ControlStore) -> None:
    assert store.claim_message(MESSAGE, NOW, for_s=120) == 1
    assert store.claim_message(MESSAGE, after(seconds=119), for_s=120) == 0
    assert store.waiting_messages(after(seconds=119)) == []
    assert [each.key for each in store.waiting_messages(after(seconds=120))] == [MESSAGE.key]
    assert store.claim_message(MESSAGE, after(seconds=120), for_s=120) == 2, "the second try"
    store.message_failed(MESSAGE.key, after(seconds=150))
    assert store.claim_message(MESSAGE, after(seconds=149), for_s=120) == 0
    assert store.claim_message(MESSAGE, after(seconds=150), for_s=120) == 3
    store.message_told(MESSAGE.key, after(seconds=151))
    assert store.claim_message(MESSAGE, after(days=1), for_s=120) == 0
    assert store.waiting_messages(after(days=1)) == []


def test_messages_of_runs_are_kept_for_a_while_those_of_incidents_as_long_as_these(store: ControlStore) -> None:
    of_incident = replace(MESSAGE, key="s/incident/7/opened", incident=7, event="opened")
    for each in (MESSAGE, of_incident):
        store.claim_message(each, NOW, for_s=120)
        store.message_told(each.key, NOW)
    later = replace(MESSAGE, key="s/run/2")
    store.claim_message(later, after(days=KEPT_DAYS + 1), for_s=120)
    store.message_told(later.key, after(days=KEPT_DAYS + 1))
    assert store.claim_message(MESSAGE, after(days=KEPT_DAYS + 1), for_s=120) == 1, "it is forgotten"
    assert [each.told_at for each in store.messages_of([7])[7]] == [NOW]


def test_incidents_whose_end_is_untold_are_those_people_heard_of(store: ControlStore) -> None:
    problem = Problem("lag", "degraded", "the target is 400 s behind")
    numbers = []
    for name in ("unheard", "heard", "told", "failed", "old", "open"):
        incident = store.save_incident(Incident(0, name, "degraded", "degraded", (problem,), NOW, NOW))
        numbers.append(incident.id)
        if name != "open":
            over = after(days=-2) if name == "old" else NOW
            store.save_incident(replace(incident, resolved_at=over))
        for event in [] if name == "unheard" else ["opened", *(["recovered"] if name in ("told", "failed") else [])]:
            key = f"{incident.id}/{event}"
            store.claim_message(Message(key, name, incident.id, event, "degraded", "{}"), NOW, for_s=120)
            if (name, event) != ("failed", "recovered"):
                store.message_told(key, NOW)
    assert [each.pipeline for each in store.half_told_incidents(after(days=-1))] == ["heard", "failed"]
    assert {len(each) for each in store.messages_of(numbers).values()} == {1, 2}
    assert store.messages_of([]) == {}
