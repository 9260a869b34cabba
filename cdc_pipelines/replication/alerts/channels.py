"""The ways to people: apprise, a webhook of our own, PagerDuty. Each says in words why it could not, never a secret."""

import hashlib
import hmac
import html
import json
from collections.abc import Sequence
from typing import Any, Protocol

import requests

from cdc_pipelines.replication.alerts.document import Alert
from cdc_pipelines.replication.alerts.private import masked, muted
from cdc_pipelines.replication.alerts.settings import Alerts
from cdc_pipelines.replication.errors import CdcError, CheckResult, ConfigurationError
from cdc_pipelines.replication.secrets import resolve, resolve_secret

CONNECT_S, ANSWER_S = 5.0, 5.0
"""Seconds to reach a service of the web, and for its answer."""
APPRISE_S = 10.0
"""Of either at most, whatever apprise allows a service."""
SIGNATURE_HEADER = "X-CDC-Signature"


class ChannelError(Exception):
    """A message was not taken. The text says why, without the channel's address."""


class Channel(Protocol):
    """One way to people. `name`: where it stands in the pipeline's file, and the reference that stands there."""

    name: str

    def send(self, alert: Alert) -> None:
        """Raises ChannelError where it was not taken."""


def open_channels(settings: Alerts) -> Sequence[Channel]:
    """All channels. One whose address can't be resolved or understood raises that when it is to send."""
    channels: list[Channel] = []
    for number, reference in enumerate(settings.apprise):
        name = f"alerts.apprise[{number}] {reference}"
        channels.append(_opened(name, lambda name=name, reference=reference: AppriseChannel(name, reference)))
    if webhook := settings.webhook:
        name = f"alerts.webhook {webhook.url}"
        channels.append(_opened(name, lambda: WebhookChannel(name, webhook.url, webhook.secret)))
    if pagerduty := settings.pagerduty:
        name = f"alerts.pagerduty {pagerduty.routing_key}"
        channels.append(_opened(name, lambda: PagerDutyChannel(name, pagerduty.routing_key, pagerduty.url)))
    return channels


class BrokenChannel:
    """One that can't be opened, and why. The error need not name the channel: `name` stands before it."""

    def __init__(self, name: str, error: CdcError) -> None:
        self.name = name
        self.error = error

    def send(self, alert: Alert) -> None:
        raise ChannelError(f"{self.error.message}; {self.error.next_step}")


def _opened(name: str, make: Any) -> Channel:
    try:
        channel: Channel = make()
    except CdcError as error:
        return BrokenChannel(name, error)
    return channel


def check_channels(settings: Alerts) -> list[CheckResult]:
    """Whether each channel's address can be resolved and understood here. Nothing is sent."""
    return [
        CheckResult(channel.name, False, channel.error.message, channel.error.next_step)
        if isinstance(channel, BrokenChannel) else CheckResult(channel.name, True, "can be resolved")
        for channel in open_channels(settings)
    ]


class AppriseChannel:
    """A service that apprise knows, by its URL."""

    def __init__(self, name: str, reference: str) -> None:
        import apprise  # its imports take a moment: nobody else shall wait for them

        self._url = resolve_secret(reference).strip()
        asset = apprise.AppriseAsset(app_id="cdc", app_desc="cdc_pipelines", async_mode=False, storage_mode="memory")
        self._apprise = apprise.Apprise(asset=asset)
        with muted() as complaints:
            plugin = apprise.Apprise.instantiate(self._url, asset=asset)
        if plugin is None:
            # Without the URL behind these words, which apprise shortens only: `Could not load Slack URL: …`.
            words = complaints[-1].partition(" URL")[0] + " URL" if complaints else "unknown service"
            raise ConfigurationError(
                f"not an apprise URL: {masked(words, self._url)}",
                "let it resolve to one such as slack://…, mailtos://…, workflows://…: see docs/alerts.md.",
            )
        plugin.socket_connect_timeout = min(plugin.socket_connect_timeout, APPRISE_S)
        plugin.socket_read_timeout = min(plugin.socket_read_timeout, APPRISE_S)
        self._apprise.add(plugin)
        self._html = plugin.notify_format == apprise.NotifyFormat.HTML
        self.name = f"{name} ({plugin.service_name})"

    def send(self, alert: Alert) -> None:
        import apprise

        kind = {
            "failed": apprise.NotifyType.FAILURE, "degraded": apprise.NotifyType.WARNING,
            "recovered": apprise.NotifyType.SUCCESS, "test": apprise.NotifyType.INFO,
        }[alert.severity]
        # As text, where that is possible: of markdown, names like order_lines would be made italics. Where a service
        # wants HTML, apprise would make it of text with blanks that no mail client breaks a line at.
        body, shape = alert.text, apprise.NotifyFormat.TEXT
        if self._html:
            body, shape = html.escape(alert.text).replace("\n", "<br/>\n"), apprise.NotifyFormat.HTML
        with muted() as complaints:
            done = self._apprise.notify(body=body, title=alert.title, notify_type=kind, body_format=shape)
        if not done:
            raise ChannelError(masked("; ".join(complaints), self._url) or "the service refused it")


class WebhookChannel:
    """A receiver of the JSON document, signed where there is a secret to sign with."""

    def __init__(self, name: str, reference: str, secret: str | None) -> None:
        self.name = name
        self._url = _http_url(resolve_secret(reference).strip())
        self._secret = resolve_secret(secret) if secret else None

    def send(self, alert: Alert) -> None:
        body = alert.to_json().encode()
        headers = {"Content-Type": "application/json", "User-Agent": "cdc-pipelines", "X-CDC-Event": alert.event}
        if self._secret is not None:
            headers[SIGNATURE_HEADER] = signature(body, self._secret)
        _post(self._url, body, headers)


class PagerDutyChannel:
    """PagerDuty's Events API v2. apprise has it, too, but triggers there anew when all is well again."""

    def __init__(self, name: str, reference: str, url: str) -> None:
        self.name = name
        self._key = resolve_secret(reference).strip()
        self._url = _http_url(resolve(url))

    def send(self, alert: Alert) -> None:
        severities = {"failed": "critical", "degraded": "warning", "test": "info", "recovered": "info"}
        event: dict[str, Any] = {
            "routing_key": self._key,
            "event_action": "resolve" if alert.event == "recovered" else "trigger",
            "dedup_key": alert.thread,
            "client": "cdc_pipelines",
            "payload": {
                "summary": alert.title,
                "source": alert.pipeline,
                "severity": severities[alert.severity],
                "timestamp": alert.model_dump(mode="json")["at"],
                "custom_details": {"text": alert.text, "next step": alert.next_step},
            },
        }
        if alert.run is not None and alert.run.url is not None:
            event["client_url"] = alert.run.url
            event["links"] = [{"href": alert.run.url, "text": "the run in Dagster"}]
        _post(self._url, json.dumps(event).encode(), {"Content-Type": "application/json"})


def signature(body: bytes, secret: str) -> str:
    """What `X-CDC-Signature` holds: `sha256=` and the HMAC-SHA256 of the body, in hexadecimal digits."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(
            "not a web address (not repeated here: it may hold a token)", "let it begin with `https://`."
        )
    return url


def _post(url: str, body: bytes, headers: dict[str, str]) -> None:
    """Raises ChannelError unless the answer is of success. A redirect is none: it would not be a POST any more."""
    with muted():
        try:
            answer = requests.post(
                url, data=body, headers=headers, timeout=(CONNECT_S, ANSWER_S), allow_redirects=False, stream=True
            )
            status = answer.status_code
            answer.close()  # its body is of no interest, and may be endless
        except requests.Timeout:
            raise ChannelError(f"no answer within {ANSWER_S:.0f} s") from None
        except (requests.RequestException, ValueError) as error:
            raise ChannelError(masked(f"{type(error).__name__}: {error}", url)) from None
    if not 200 <= status < 300:
        raise ChannelError(f"it answered HTTP {status}")
