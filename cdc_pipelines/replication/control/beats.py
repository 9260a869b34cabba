"""Heartbeats of consumers, and how consumer processes ended."""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from cdc_pipelines.replication import processes
from cdc_pipelines.replication.control import models
from cdc_pipelines.replication.control.assignments import hold_one
from cdc_pipelines.replication.control.base import StoreBase, safe
from cdc_pipelines.replication.control.engine import now
from cdc_pipelines.replication.control.records import ENDED_STATES, ConsumerExit, Heartbeat
from cdc_pipelines.replication.errors import CdcError

_log = logging.getLogger(__name__)
_BEAT_BUSY_MS = 5_000  # a beat that waits longer is better lost: the next one comes soon
_KEPT_EXITS = 100


class BeatStore(StoreBase):
    """The last heartbeat of each pipeline's consumer."""

    def beat(self, heartbeat: Heartbeat) -> bool:
        """Keep a heartbeat. False, never an error, where the store is locked, out of reach or closed to us.

        It renews its host's hold on the pipeline; False, too, where another host has it. A consumer of an old group
        neither holds anything nor overwrites what the current group's consumer said.
        """
        try:
            with self._write(busy_ms=_BEAT_BUSY_MS) as connection:
                p, t = models.pipelines, models.heartbeats
                values = dataclasses.asdict(heartbeat) | {
                    "message": safe(heartbeat.message), "machine": processes.machine()
                }
                wanted = connection.execute(
                    select(p.c.consumer_group).where(p.c.name == heartbeat.pipeline)
                ).scalar()
                if wanted in (None, heartbeat.group) and not self._may_speak(connection, heartbeat):
                    return False
                connection.execute(
                    self._insert(t).values(values).on_conflict_do_update(
                        index_elements=[t.c.pipeline],
                        set_=values,
                        where=or_(t.c.group == heartbeat.group, t.c.group != wanted) if wanted is not None else None,
                    )
                )
                if heartbeat.last_event_at is not None:
                    connection.execute(
                        update(p).where(p.c.name == heartbeat.pipeline).values(last_sync_at=heartbeat.last_event_at)
                    )
            return True
        except CdcError as error:
            _log.warning("heartbeat of %s is lost: %s", heartbeat.pipeline, error.message)
            return False

    def _may_speak(self, connection: Connection, heartbeat: Heartbeat) -> bool:
        """Whether the pipeline is its host's; a consumer that goes on holds it, one that ends only says so."""
        t, moment = models.assignments, now(connection)
        if heartbeat.state not in ENDED_STATES:
            return hold_one(self, connection, heartbeat.pipeline, heartbeat.host, moment)
        others = select(t.c.host).where(
            t.c.pipeline == heartbeat.pipeline, t.c.host != heartbeat.host, t.c.expires_at > moment
        )
        return connection.execute(others).first() is None

    def heartbeat(self, pipeline: str) -> Heartbeat | None:
        """The last one, however old."""
        t = models.heartbeats
        with self._read() as connection:
            row = connection.execute(select(t).where(t.c.pipeline == pipeline)).first()
        return _heartbeat(row) if row is not None else None

    def heartbeats(self) -> dict[str, Heartbeat]:
        """The last one of every pipeline."""
        with self._read() as connection:
            rows = connection.execute(select(models.heartbeats)).all()
        return {row.pipeline: _heartbeat(row) for row in rows}

    def clear_heartbeat(self, pipeline: str) -> None:
        t = models.heartbeats
        with self._write() as connection:
            connection.execute(delete(t).where(t.c.pipeline == pipeline))

    def close_heartbeat(self, pipeline: str, *, host: str, pid: int, state: str, message: str) -> None:
        """Say the last word for a consumer that was killed before it could, so that nobody waits for it."""
        t = models.heartbeats
        with self._write() as connection:
            connection.execute(
                update(t)
                .where(t.c.pipeline == pipeline, t.c.host == host, t.c.pid == pid, t.c.state.not_in(ENDED_STATES))
                .values(state=state, message=safe(message))
            )

    def record_exit(
        self, pipeline: str, *, group: str | None, revision: int, host: str, pid: int, exit_code: int | None,
        last_lines: str,
    ) -> None:
        """Keep how a consumer process ended; of each pipeline the last hundred."""
        t = models.exits
        with self._write() as connection:
            connection.execute(
                insert(t).values(
                    pipeline=pipeline, group=group, revision=revision, host=host, pid=pid, exit_code=exit_code,
                    last_lines=safe(last_lines), at=now(connection),
                )
            )
            oldest = (
                select(t.c.id).where(t.c.pipeline == pipeline).order_by(t.c.id.desc()).limit(1).offset(_KEPT_EXITS)
            )
            connection.execute(delete(t).where(t.c.pipeline == pipeline, t.c.id <= oldest.scalar_subquery()))

    def exits(self, pipeline: str, limit: int = 10) -> Sequence[ConsumerExit]:
        """How the pipeline's consumers ended, the newest first."""
        t = models.exits
        with self._read() as connection:
            rows = connection.execute(
                select(t).where(t.c.pipeline == pipeline).order_by(t.c.id.desc()).limit(limit)
            ).all()
        return [_exit(row) for row in rows]

    def exit_codes_after(self, number: int | None) -> tuple[int, list[tuple[str, int | None]]]:
        """The newest exit's number, and (pipeline, exit code) of those kept after exit `number`; None: of no one.

        The newest number falls where a pipeline was torn down: its numbers are given anew.
        """
        t = models.exits
        with self._read() as connection:
            newest = connection.execute(select(func.coalesce(func.max(t.c.id), 0))).scalar_one()
            after = newest if number is None else number
            rows = connection.execute(select(t.c.pipeline, t.c.exit_code).where(t.c.id > after, t.c.id <= newest)).all()
        return newest, [(row.pipeline, row.exit_code) for row in rows]

    def last_exits(self) -> dict[str, ConsumerExit]:
        """The newest exit of every pipeline."""
        t = models.exits
        newest = select(func.max(t.c.id)).group_by(t.c.pipeline)
        with self._read() as connection:
            rows = connection.execute(select(t).where(t.c.id.in_(newest))).all()
        return {row.pipeline: _exit(row) for row in rows}


def _heartbeat(row: Row[Any]) -> Heartbeat:
    return Heartbeat(**{field.name: getattr(row, field.name) for field in dataclasses.fields(Heartbeat)})


def _exit(row: Row[Any]) -> ConsumerExit:
    return ConsumerExit(**{field.name: getattr(row, field.name) for field in dataclasses.fields(ConsumerExit)})
