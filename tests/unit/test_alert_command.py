"""Trying alerts from a terminal: `cdc alert-test`, `cdc check`; and a start that does not wait for them."""

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cdc_pipelines.cli import cli
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import CheckResult, ConfigurationError
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.operations.start import step_validate
from tests.control_specs import make_spec
from tests.receivers import Mailbox, Receiver, mailbox, receiver

__all__ = ["mailbox", "receiver"]  # fixtures


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlStore]:
    monkeypatch.setenv("CDC_HOME", str(tmp_path))
    monkeypatch.delenv("CDC_CONTROL_URL", raising=False)
    with contextlib.closing(ControlStore.open()) as opened:
        yield opened


def alert_test(store: ControlStore, alerts: dict[str, Any], *words: str) -> Result:
    store.save_pipeline(make_spec(alerts=alerts), "", ())
    return CliRunner().invoke(cli, ["alert-test", "shop", *words])


def test_every_channel_gets_the_message(
    store: ControlStore, receiver: Receiver, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", receiver.url)
    monkeypatch.setenv("MAIL", f"mailto://127.0.0.1:{mailbox.port}?from=a@example.com&to=b@example.com&mode=insecure")
    result = alert_test(store, {"webhook": {"url": "${env:HOOK}"}, "apprise": ["${env:MAIL}"]})
    assert (result.exit_code, result.stdout.splitlines()) == (
        0, ["ok  alerts.apprise[0] ${env:MAIL} (E-Mail)", "ok  alerts.webhook ${env:HOOK}"],
    )  # fmt: skip
    assert json.loads(receiver.posted[0].body)["event"] == "test"
    assert "shop: test of its alerts" in str(mailbox.mails[0]["Subject"])


def test_a_channel_that_takes_nothing_is_named_with_its_reason(
    store: ControlStore, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", f"{receiver.url}/t0ken-of-the-hook")
    monkeypatch.delenv("CHAT", raising=False)
    receiver.answers[:] = [401, 401]
    result = alert_test(store, {"webhook": {"url": "${env:HOOK}"}, "apprise": ["${env:CHAT}"]}, "--json")
    assert result.exit_code == 1
    chat, hook = json.loads(result.stdout)
    assert not chat["ok"]
    assert "CHAT is not set" in chat["error"]
    assert (hook["ok"], hook["error"]) == (False, "it answered HTTP 401")
    assert "t0ken-of-the-hook" not in result.output


def test_a_pipeline_that_tells_nobody_says_how_it_would(store: ControlStore) -> None:
    result = alert_test(store, {})
    assert isinstance(result.exception, ConfigurationError)
    assert "alerts" in result.exception.next_step


def test_a_wrong_address_is_told_by_a_check_and_a_start_goes_on(
    store: ControlStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Over a fake look at the servers, which finds all as it should be."""
    monkeypatch.setenv("CHAT", "nosuch://t0ken-of-the-chat")
    store.save_pipeline(make_spec(alerts={"apprise": ["${env:CHAT}"]}), "", ())
    fine = [CheckResult("source", True, "reachable")]
    monkeypatch.setattr("cdc_pipelines.replication.operations.check.check", lambda *_, **__: fine)
    monkeypatch.setattr("cdc_pipelines.replication.operations.start.check", lambda *_, **__: fine)
    result = CliRunner().invoke(cli, ["check", "shop"])
    assert result.exit_code == 2
    assert "ok  source: reachable" in result.stdout
    assert "NOT alerts.apprise[0] ${env:CHAT}: " in result.stdout
    assert "fix: let it resolve to" in result.stdout
    with caplog.at_level(logging.INFO):
        assert step_validate(Runtime(store.get("shop"), store), logging.getLogger("cdc.test")) == fine
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert ["people could not be told by alerts.apprise[0]" in record.getMessage() for record in warned] == [True]
    assert "t0ken-of-the-chat" not in result.output + caplog.text
