"""Statuses that many ask for at once, and the history of the lag."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdc_pipelines.replication.control.store import ControlStore, PipelineRecord
from cdc_pipelines.web.watch import KEPT, Watch
from tests.unit.dagster_pipelines import configure
from tests.unit.web_client import facts


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ControlStore]:
    store = ControlStore.open(f"sqlite:///{tmp_path / 'control.db'}")
    configure(store)
    store.set_status("shop", "running")
    yield store
    store.close()


class Look:
    """Counts looks; `gate` holds them up; `error` ends them."""

    def __init__(self) -> None:
        self.looks = 0
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.error: Exception | None = None

    def __call__(self, record: PipelineRecord) -> dict[str, Any]:
        self.looks += 1
        self.begun.set()
        assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        return facts(record) | {"look": self.looks}


def test_one_look_serves_all_who_ask_within_moments(store: ControlStore) -> None:
    look = Look()
    watch = Watch(store, look)
    record = store.get("shop")
    assert [watch.status(record)["look"] for _ in range(5)] == [1] * 5
    assert watch.status(record, fresh_s=-1)["look"] == 2
    watch.look_again("shop")
    assert watch.last("shop") is not None, "what was seen is still shown meanwhile"
    assert watch.status(record)["look"] == 3


def test_nobody_queues_behind_a_server_that_hangs(store: ControlStore) -> None:
    look = Look()
    watch = Watch(store, look)
    record = store.get("shop")
    watch.status(record)
    look.gate.clear()
    look.begun.clear()
    other = threading.Thread(target=watch.status, args=(record,), kwargs={"fresh_s": -1})
    other.start()
    assert look.begun.wait(10)
    assert watch.status(record, fresh_s=-1)["look"] == 1
    look.gate.set()
    other.join(10)
    assert look.looks == 2


def test_one_pipelines_trouble_leaves_the_others_their_history(store: ControlStore) -> None:
    configure(store, "ledger", 2)
    store.set_status("ledger", "running")
    configure(store, "unborn", 3)
    look = Look()

    def picky(record: PipelineRecord) -> dict[str, Any]:
        if record.name == "ledger":
            raise RuntimeError("its server answered nonsense")
        return look(record)

    watch = Watch(store, picky)
    for _ in range(3):
        watch.look_again("shop")
        watch.sample()
    assert [len(watch.history(name)) for name in ("shop", "ledger", "unborn")] == [3, 0, 0]
    for _ in range(KEPT):
        watch._of("shop").samples.append(watch.history("shop")[0])
    assert len(watch.history("shop")) == KEPT, "memory is bounded"


def test_the_lag_from_before_a_teardown_is_forgotten(store: ControlStore) -> None:
    watch = Watch(store, Look())
    watch.sample()
    store.delete("shop")
    configure(store)
    watch.sample()
    store.set_status("shop", "running")
    watch.sample()
    assert len(watch.history("shop")) == 1
