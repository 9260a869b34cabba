"""The diary of operations, where one fails."""

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import ResyncRequiredError, RetryableError

LOG = logging.getLogger("tests.diary")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ControlStore]:
    with closing(ControlStore.open(f"sqlite:///{tmp_path}/control.db")) as opened:
        yield opened


def test_a_failure_is_noted_on_its_way(store: ControlStore) -> None:
    with pytest.raises(ResyncRequiredError), store.failure_noted("shop", "start", "me", LOG):
        raise ResyncRequiredError("the log is gone", "copy again.")
    with store.failure_noted("shop", "resync t", "me", LOG):
        pass
    (entry,) = store.history("shop")
    assert (entry.operation, entry.holder, entry.outcome) == ("start", "me", "failed")
    assert entry.message == "the log is gone\n  Next step: copy again."


def test_what_went_wrong_first_is_told_where_the_store_is_gone_too(
    store: ControlStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*_: object) -> None:
        raise RetryableError("the control store is out of reach")

    monkeypatch.setattr(store, "record", gone)
    with pytest.raises(ResyncRequiredError, match="the log is gone"), store.failure_noted("shop", "start", "me", LOG):
        raise ResyncRequiredError("the log is gone")
    assert caplog.messages == ["that start of shop failed could not be noted: the control store is out of reach"]
