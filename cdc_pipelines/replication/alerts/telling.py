"""Telling people, once: of incidents by what is due, of failed runs as they come; again where nobody could be told."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from functools import partial

from cdc_pipelines.replication.alerts.channels import open_channels
from cdc_pipelines.replication.alerts.delivery import Outcome, deliver
from cdc_pipelines.replication.alerts.document import Alert
from cdc_pipelines.replication.alerts.due import GIVE_UP, due
from cdc_pipelines.replication.alerts.message import FailedRun, incident_alert, run_alert
from cdc_pipelines.replication.alerts.private import learn_secrets
from cdc_pipelines.replication.alerts.settings import Alerts
from cdc_pipelines.replication.control.store import ControlStore, Incident, Message, PipelineRecord
from cdc_pipelines.replication.errors import NotConfiguredError

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

CLAIM_S = 120.0
"""A teller that has not come back after this long counts as dead. Longer than any delivery."""
FOLLOW_UP_S = 40.0
_RETRY_S, _RETRY_MOST_S = 30.0, 1800.0
_AT_ONCE = 8


class Teller:
    """Tells people of what the control store holds. Any number of them may work on one store."""

    def __init__(
        self, store: ControlStore, log: Log, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        send: Callable[[Alerts, Alert], Sequence[Outcome]] = lambda settings, alert: deliver(
            open_channels(settings), alert
        ),
    ) -> None:
        """`send` is for tests: how a message goes out."""
        self._store = store
        self._log = log
        self._clock = clock
        self._send = send

    def incident_raised(self, number: int, run_id: str) -> None:
        """A run failed for this incident: people are told of it, with the run as the place to look."""
        self._store.set_run(number, run_id)
        incident = self._store.incident(number)
        if incident is not None:
            self._follow(incident, self._store.messages_of([number]).get(number, ()), run_seen=True)

    def run_failed(self, failed: FailedRun) -> None:
        """Another run of a pipeline failed."""
        record = self._record(failed.pipeline)
        if record is not None and record.spec.alerts.anybody and record.spec.alerts.on_failed_runs:
            learn_secrets(record.spec)
            self._tell(record, run_alert(failed, store=self._store.id, now=self._clock()))

    def leave(self, record: PipelineRecord, alert: Alert) -> None:
        """Keep a message for the next follow-up to tell: where nobody may wait for a slow channel."""
        if record.spec.alerts.anybody and record.spec.alerts.on_failed_runs:
            self._store.claim_message(_message(alert), self._clock(), for_s=0)

    def follow_up(self, *, deadline_s: float = FOLLOW_UP_S) -> int:
        """What is due by now: incidents nobody was told of yet, worse ones, reminders, ends; and what did not go out.

        Returns the number of messages told. What does not begin within the time is left to the next call.
        """
        now = self._clock()
        incidents = [*self._store.open_incidents().values(), *self._store.half_told_incidents(now - GIVE_UP)]
        messages = self._store.messages_of([each.id for each in incidents])
        work = [partial(self._follow, each, messages.get(each.id, ())) for each in incidents]
        work += [partial(self._tell_again, each) for each in self._store.waiting_messages(now)]
        if not work:
            return 0
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="alerts")
        try:
            futures = [pool.submit(each) for each in work]
            return sum(future.result() for future in wait(futures, timeout=deadline_s).done)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _follow(self, incident: Incident, messages: Sequence[Message], *, run_seen: bool = False) -> bool:
        record = self._record(incident.pipeline)
        if record is None or not record.spec.alerts.anybody:
            return False
        now = self._clock()
        what = due(incident, messages, record.spec.alerts, now, run_seen=run_seen)
        if what is None:
            return False
        learn_secrets(record.spec)
        actions = self._store.actions(incident.id)
        alert = incident_alert(what.event, incident, actions, name=what.name, store=self._store.id, now=now)
        return self._tell(record, alert)

    def _tell_again(self, message: Message) -> bool:
        record = self._record(message.pipeline)
        alert = Alert.model_validate_json(message.document)
        if record is not None and record.spec.alerts.anybody:
            if self._clock() - alert.at < GIVE_UP:
                return self._tell(record, alert)
            self._log.error("%s: given up after %d tries, nobody was told: %s", record.name, message.tries, alert.title)
        self._store.drop_message(message.key)
        return False

    def _tell(self, record: PipelineRecord, alert: Alert) -> bool:
        number = self._store.claim_message(_message(alert), self._clock(), for_s=CLAIM_S)
        if not number:
            return False
        outcomes = self._send(record.spec.alerts, alert)
        for each in outcomes:
            if each.error:
                self._log.error("%s: %s did not take the message %r: %s", record.name, each.channel, alert.title,
                                each.error)  # fmt: skip
        if any(not each.error for each in outcomes):
            self._store.message_told(alert.id, self._clock())
            self._log.info("%s: people were told: %s", record.name, alert.title)
            return True
        pause_s = min(_RETRY_S * 2 ** (number - 1), _RETRY_MOST_S)
        self._store.message_failed(alert.id, self._clock() + timedelta(seconds=pause_s))
        self._log.error("%s: nobody could be told; tried again in %.0f s", record.name, pause_s)
        return False

    def _record(self, pipeline: str) -> PipelineRecord | None:
        """None where it was torn down: then it has no settings either that would say whom to tell."""
        try:
            return self._store.get(pipeline)
        except NotConfiguredError:
            return None


def _message(alert: Alert) -> Message:
    return Message(alert.id, alert.pipeline, alert.incident, alert.event, alert.severity, alert.to_json())
