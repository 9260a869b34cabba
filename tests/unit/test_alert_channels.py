"""The channels, against a real web server and a real mail server: what arrives, what is told where it does not."""

import hashlib
import hmac
import json
import logging
import socket
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from cdc_pipelines.replication.alerts import delivery
from cdc_pipelines.replication.alerts.channels import check_channels, open_channels
from cdc_pipelines.replication.alerts.delivery import deliver
from cdc_pipelines.replication.alerts.document import Alert
from cdc_pipelines.replication.alerts.message import incident_alert
from cdc_pipelines.replication.alerts.settings import Alerts
from cdc_pipelines.replication.control.records import Incident, Problem
from tests.receivers import Mailbox, Receiver, mailbox, receiver

__all__ = ["mailbox", "receiver"]  # fixtures

NOW = datetime(2026, 5, 5, 12, 0, tzinfo=UTC)
LONG = "the consumer of order_lines & others <is> gone " * 8


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the two tries of a channel."""
    monkeypatch.setattr(delivery, "BETWEEN_TRIES_S", 0.05)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is looked up, and nothing is connected to."""

    def refused(*words: object, **_: object) -> None:
        raise AssertionError(f"it went to the network: {words}")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)


def alert(event: Any = "opened") -> Alert:
    incident = Incident(
        12, "shop", "failed", "failed", (Problem("consumer_gone", "failed", LONG, "run `cdc restart shop`."),),
        NOW, NOW, resolved_at=NOW if event == "recovered" else None, run="0a1b",
    )  # fmt: skip
    return incident_alert(event, incident, (), name=event, store="s1", now=NOW)


def outcome(settings: Alerts, **options: Any) -> list[str]:
    """The error of each channel."""
    return [each.error for each in deliver(open_channels(settings), options.pop("alert", alert()), **options)]


def test_a_webhook_gets_the_document_and_can_prove_where_it_is_from(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", f"{receiver.url}/in?token=abcdefgh")
    monkeypatch.setenv("HOOK_SECRET", "k3y-of-the-hook")
    sent = alert()
    assert outcome(Alerts(webhook={"url": "${env:HOOK}", "secret": "${env:HOOK_SECRET}"}), alert=sent) == [""]  # type: ignore[arg-type]
    (request,) = receiver.posted
    assert request.path == "/in?token=abcdefgh"
    assert json.loads(request.body) == json.loads(sent.to_json())
    assert request.headers["X-CDC-Event"] == "opened"
    proof = hmac.new(b"k3y-of-the-hook", request.body, hashlib.sha256).hexdigest()
    assert request.headers["X-CDC-Signature"] == f"sha256={proof}"


def test_a_mail_is_one_that_people_can_read(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL", f"mailto://127.0.0.1:{mailbox.port}?from=cdc@example.com&to=ops@example.com&mode=insecure")
    sent = alert()
    assert outcome(Alerts(apprise=["${env:MAIL}"]), alert=sent) == [""]
    (mail,) = mailbox.mails
    assert mail["Subject"].replace("\n", "") == sent.title
    assert "ops@example.com" in mail["To"]
    parts = {part.get_content_type(): part.get_content() for part in mail.walk() if not part.is_multipart()}
    assert "order_lines & others <is> gone" in " ".join(parts["text/plain"].split())
    assert "order_lines &amp; others &lt;is&gt; gone" in parts["text/html"]
    assert "&nbsp;" not in parts["text/html"], "lines that can't be broken"


def test_pagerduty_is_triggered_and_resolved_under_one_key(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PD", "r0uting-key")
    monkeypatch.setenv("CDC_DAGSTER_URL", "https://dagster.example.com/")
    settings = Alerts(pagerduty={"routing_key": "${env:PD}", "url": f"{receiver.url}/v2/enqueue"})  # type: ignore[arg-type]
    for event in ("opened", "reminder", "recovered"):
        assert outcome(settings, alert=alert(event)) == [""]
    events = [json.loads(each.body) for each in receiver.posted]
    assert [each["event_action"] for each in events] == ["trigger", "trigger", "resolve"]
    assert {each["dedup_key"] for each in events} == {"s1/incident/12"}
    assert {each["routing_key"] for each in events} == {"r0uting-key"}
    assert events[0]["payload"]["severity"] == "critical"
    assert events[0]["payload"]["summary"].startswith("shop is failed: the consumer of order_lines")
    assert events[0]["links"][0]["href"] == "https://dagster.example.com/runs/0a1b"


def test_a_refused_message_is_tried_once_more(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", receiver.url)
    settings = Alerts(webhook={"url": "${env:HOOK}"})  # type: ignore[arg-type]
    receiver.answers[:] = [503]
    assert outcome(settings) == [""]
    assert receiver.posted[0].body == receiver.posted[1].body, "the same message, by which it is known again"
    receiver.answers[:] = [500, 404]
    assert outcome(settings) == ["it answered HTTP 404"]
    receiver.answers[:] = [302, 302]
    assert outcome(settings) == ["it answered HTTP 302"], "a redirect is no delivery"
    assert len(receiver.posted) == 6


def test_what_hangs_keeps_nobody_from_hearing(
    receiver: Receiver, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.hang.set()
    monkeypatch.setenv("HOOK", receiver.url)
    monkeypatch.setenv("MAIL", f"mailto://127.0.0.1:{mailbox.port}?from=a@example.com&to=b@example.com&mode=insecure")
    began = time.monotonic()
    errors = outcome(Alerts(webhook={"url": "${env:HOOK}"}, apprise=["${env:MAIL}"]), deadline_s=1.5)  # type: ignore[arg-type]
    assert errors == ["", "no answer within 2 s"]
    assert time.monotonic() - began < 5
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize(
    ("address", "service"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "Slack"),
        ("workflows://prod-15.uksouth.logic.azure.com:443/3XXX5cde/iXXXU3vCFQy2XYZ", "MSTeams"),
        ("mailtos://user:p%40ss@mail.example.com:587?from=cdc@example.com&to=a@example.com,b@example.com", "E-Mail"),
        ("mailtos://user:pw@mail.example.com?mode=ssl&from=cdc@example.com&to=ops@example.com", "E-Mail"),
        ("mailto://relay.example.com:25?mode=insecure&from=cdc@example.com&to=ops@example.com", "E-Mail"),
        ("pagerduty://A1BRTD4JD@TIiajkdnlazkcOXrIdevi7FQ", "Pager Duty"),
        ("jsons://hooks.example.com/in", "JSON"),
        # as the services show them
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "Slack"),
        ("https://prod-15.uksouth.logic.azure.com:443/workflows/3XXX5cde/triggers/manual/paths/invoke"
         "?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=iXXXU3vCFQy2XYZ", "MSTeams"),
        ("https://default0123456789abcdef.12.environment.api.powerplatform.com:443/powerautomate/automations/direct/"
         "workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke"
         "?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=iXXXU3vCFQy2XYZ", "MSTeams"),
        ("https://discord.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "Discord"),
        ("https://chat.googleapis.com/v1/spaces/AAAAAAAA/messages?key=abcdefg&token=hijklmn", "Google Chat"),
    ],
)  # fmt: skip
def test_the_addresses_of_the_services_are_understood(
    address: str, service: str, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    """Those that the documentation names, and nobody is asked."""
    monkeypatch.setenv("CHAT", address)
    (result,) = check_channels(Alerts(apprise=["${env:CHAT}"]))
    assert result.ok, result.message
    assert service in result.name
    assert address not in result.name + result.message


def test_pagerduty_and_a_webhook_of_ones_own_are_understood(
    monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    monkeypatch.setenv("PD", "r0uting-key-of-32-characters-xxx")
    monkeypatch.setenv("HOOK", "https://hooks.example.com/in?token=abcdefgh")
    monkeypatch.setenv("HOOK_SECRET", "k3y-of-the-hook")
    settings = Alerts.model_validate({
        "webhook": {"url": "${env:HOOK}", "secret": "${env:HOOK_SECRET}"}, "pagerduty": {"routing_key": "${env:PD}"},
    })  # fmt: skip
    assert [(result.name, result.ok) for result in check_channels(settings)] == [
        ("alerts.webhook ${env:HOOK}", True), ("alerts.pagerduty ${env:PD}", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "environment variable CHAT is not set"),
        ("nosuch://s3cr3t-t0ken/x", "not an apprise URL"),
        ("slack://s3cr3t-t0ken", "not an apprise URL"),
        ("", "not an apprise URL"),
    ],
)
def test_an_address_that_is_none_is_told_before_it_is_needed(
    value: str | None, words: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if value is None:
        monkeypatch.delenv("CHAT", raising=False)
    else:
        monkeypatch.setenv("CHAT", value)
    settings = Alerts(apprise=["${env:CHAT}"])
    with caplog.at_level(logging.DEBUG):
        (result,) = check_channels(settings)
        (error,) = outcome(settings)
    assert not result.ok
    assert words in result.message
    assert result.fix
    assert words in error
    assert "${env:CHAT}" in result.name
    assert "s3cr3t-t0ken" not in result.message + result.fix + error + caplog.text


def test_one_bad_address_takes_no_other_away(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAD", "nosuch://x")
    monkeypatch.setenv("MAIL", f"mailto://127.0.0.1:{mailbox.port}?from=a@example.com&to=b@example.com&mode=insecure")
    errors = outcome(Alerts(apprise=["${env:BAD}", "${env:MAIL}"]))
    assert [bool(error) for error in errors] == [True, False]
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize("kind", ["webhook", "apprise"])
@pytest.mark.parametrize("refused", [True, False])
def test_no_part_of_an_address_reaches_a_log(
    kind: str, refused: bool, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At any level, and neither of a service that refuses nor of one that can't be reached."""
    where = receiver.url.removeprefix("http://") if refused else "127.0.0.1:1"
    receiver.answers[:] = [403, 403]
    scheme = {"webhook": "http", "apprise": "json"}[kind]
    monkeypatch.setenv("PLACE", f"{scheme}://us3r-part:passw0rd-part@{where}/t0ken-part/?x-sig=s1gnature-part")
    settings = Alerts.model_validate(
        {"webhook": {"url": "${env:PLACE}"}} if kind == "webhook" else {"apprise": ["${env:PLACE}"]}
    )
    with caplog.at_level(1):
        (error,) = outcome(settings)
    assert error
    assert not refused or "403" in error or "Forbidden" in error, "the reason is told"
    for part in ("us3r-part", "passw0rd-part", "t0ken-part", "s1gnature-part"):
        assert part not in error + caplog.text
