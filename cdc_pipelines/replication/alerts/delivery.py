"""One message through all channels at once, each tried twice, none waited for longer than a moment."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cdc_pipelines.replication.alerts.channels import Channel, ChannelError
from cdc_pipelines.replication.alerts.document import Alert
from cdc_pipelines.replication.secrets import redact

DEADLINE_S = 22.0
"""For both tries of all channels: what hangs longer counts as failed, and goes on alone."""
BETWEEN_TRIES_S = 1.0


@dataclass(frozen=True)
class Outcome:
    """How one channel did: `error` is empty where it took the message."""

    channel: str
    error: str = ""


def deliver(channels: Sequence[Channel], alert: Alert, *, deadline_s: float = DEADLINE_S) -> list[Outcome]:
    """The outcome of every channel, in their order. Never raises for one."""
    errors: dict[int, str] = {}

    def work(number: int, channel: Channel) -> None:
        errors[number] = _try_twice(channel, alert)

    # Daemons: a process that ends does not wait for a service that hangs.
    threads = [threading.Thread(target=work, args=each, daemon=True) for each in enumerate(channels)]
    ends = time.monotonic() + deadline_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))
    late = f"no answer within {deadline_s:.0f} s"
    return [Outcome(channel.name, errors.get(number, late)) for number, channel in enumerate(channels)]


def _try_twice(channel: Channel, alert: Alert) -> str:
    error = _try(channel, alert)
    if error:
        time.sleep(BETWEEN_TRIES_S)
        error = _try(channel, alert)
    return error


def _try(channel: Channel, alert: Alert) -> str:
    try:
        channel.send(alert)
    except ChannelError as error:
        return redact(str(error)) or type(error).__name__
    except Exception as error:  # noqa: BLE001 - of a library: the other channels and the next try must not suffer
        return f"{type(error).__name__} inside of it"  # its words may hold the address
    return ""
