"""What people are told: claimed by one teller at a time, told once, tried again where nobody could be reached."""

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, select, update

from cdc_pipelines.replication.control import models
from cdc_pipelines.replication.control.base import StoreBase, safe
from cdc_pipelines.replication.control.records import Message

KEPT_DAYS = 90  # messages of failed runs, after they were told; those of incidents stay, as incidents do


class AlertStore(StoreBase):
    """Messages by key. Whoever dies while telling one has claimed it for a while only."""

    def claim_message(self, message: Message, at: datetime, *, for_s: float) -> int:
        """The number of this try, from 1, where the caller shall tell it now; 0 where it is told, or somebody is at it.

        Whoever may tell it calls `message_told` or `message_failed`; else it is free again after `for_s` seconds.
        """
        t = models.alerts
        until = at + timedelta(seconds=for_s)
        values = dataclasses.asdict(message) | {
            "document": safe(message.document), "tries": 1, "busy_until": until, "told_at": None,
        }
        again = {"severity": message.severity, "document": values["document"], "tries": t.c.tries + 1}
        with self._write() as connection:
            claimed = connection.execute(
                self._insert(t).values(values)
                .on_conflict_do_update(
                    index_elements=[t.c.key], set_=again | {"busy_until": until},
                    where=t.c.told_at.is_(None) & (t.c.busy_until <= at),
                )
                .returning(t.c.tries)
            ).scalar()
        return claimed or 0

    def message_told(self, key: str, at: datetime) -> None:
        """At least one channel took it."""
        t = models.alerts
        with self._write() as connection:
            connection.execute(update(t).where(t.c.key == key).values(told_at=at))
            connection.execute(
                delete(t).where(t.c.incident.is_(None), t.c.told_at < at - timedelta(days=KEPT_DAYS))
            )

    def message_failed(self, key: str, retry_at: datetime) -> None:
        """No channel took it: it is free to be claimed from then on."""
        t = models.alerts
        with self._write() as connection:
            connection.execute(update(t).where(t.c.key == key).values(busy_until=retry_at))

    def messages_of(self, incidents: Collection[int]) -> Mapping[int, Sequence[Message]]:
        """What was told, or tried to be told, of each of these incidents."""
        t = models.alerts
        found: dict[int, list[Message]] = defaultdict(list)
        with self._read() as connection:
            rows = connection.execute(select(t).where(t.c.incident.in_(incidents))).all()
        for row in rows:
            found[row.incident].append(_message(row))
        return found

    def waiting_messages(self, at: datetime) -> Sequence[Message]:
        """Those of failed runs that nobody could be told yet and may be tried now, the longest waiting first."""
        t = models.alerts
        with self._read() as connection:
            rows = connection.execute(
                select(t).where(t.c.incident.is_(None), t.c.told_at.is_(None), t.c.busy_until <= at)
                .order_by(t.c.busy_until)
            ).all()
        return [_message(row) for row in rows]

    def drop_message(self, key: str) -> None:
        """Give one up."""
        with self._write() as connection:
            connection.execute(delete(models.alerts).where(models.alerts.c.key == key))


def _message(row: Row[Any]) -> Message:
    return Message(**{field.name: getattr(row, field.name) for field in dataclasses.fields(Message)})
