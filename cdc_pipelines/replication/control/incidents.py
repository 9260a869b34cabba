"""Incidents: continuous times in which a pipeline was not healthy, what was done, what people were told."""

import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, or_, select, update

from cdc_pipelines.replication.control import models
from cdc_pipelines.replication.control.base import StoreBase, safe
from cdc_pipelines.replication.control.engine import now
from cdc_pipelines.replication.control.records import Action, Incident, Problem


class IncidentStore(StoreBase):
    """Incidents by pipeline; at most one of each is open. They outlive the pipeline itself."""

    def open_incident(self, pipeline: str) -> Incident | None:
        """The one that is not resolved yet."""
        t = models.incidents
        with self._read() as connection:
            row = connection.execute(select(t).where(t.c.pipeline == pipeline, t.c.resolved_at.is_(None))).first()
        return _incident(row) if row is not None else None

    def open_incidents(self) -> dict[str, Incident]:
        """Those of all pipelines that are not resolved yet, by pipeline."""
        t = models.incidents
        with self._read() as connection:
            rows = connection.execute(select(t).where(t.c.resolved_at.is_(None))).all()
        return {row.pipeline: _incident(row) for row in rows}

    def incidents(self, pipeline: str | None = None, limit: int = 50) -> Sequence[Incident]:
        """The newest first, of one pipeline or of all."""
        t = models.incidents
        query = select(t).order_by(t.c.id.desc()).limit(limit)
        with self._read() as connection:
            rows = connection.execute(query if pipeline is None else query.where(t.c.pipeline == pipeline)).all()
        return [_incident(row) for row in rows]

    def incident(self, number: int) -> Incident | None:
        t = models.incidents
        with self._read() as connection:
            row = connection.execute(select(t).where(t.c.id == number)).first()
        return _incident(row) if row is not None else None

    def save_incident(self, incident: Incident) -> Incident:
        """Keep it as it is now; with id 0 it is a new one. Returns it with its id.

        What people were told, and the run, are written by `told` and `set_run` alone: they come from other processes.
        Where another process opened one for the pipeline meanwhile, that one is returned.
        """
        t = models.incidents
        values = dataclasses.asdict(incident) | {
            "problems": json.dumps([_masked(problem) for problem in incident.problems])
        }
        for name in ("id", "run", "told_at", "told_times", "told_recovered_at"):
            del values[name]
        with self._write() as connection:
            if incident.id:
                connection.execute(update(t).where(t.c.id == incident.id).values(values))
                return incident
            there = select(t).where(t.c.pipeline == incident.pipeline, t.c.resolved_at.is_(None))
            row = connection.execute(there).first()
            if row is None:
                row = connection.execute(insert(t).values(values | {"run": "", "told_times": 0}).returning(t)).one()
        return _incident(row)

    def set_run(self, number: int, run: str) -> None:
        """The run that failed for it, where people find the whole story."""
        t = models.incidents
        with self._write() as connection:
            connection.execute(update(t).where(t.c.id == number).values(run=run))

    def claim_telling(self, incident: Incident, at: datetime) -> bool:
        """Whether the caller shall tell people now: nobody else did since `incident` was read. See `give_back`."""
        t = models.incidents
        with self._write() as connection:
            done = connection.execute(
                update(t).where(t.c.id == incident.id, t.c.told_times == incident.told_times)
                .values(told_at=at, told_times=incident.told_times + 1)
            )
        return bool(done.rowcount)

    def claim_recovery(self, incident: Incident, at: datetime) -> bool:
        """The same for the message that it is over."""
        t = models.incidents
        with self._write() as connection:
            done = connection.execute(
                update(t).where(t.c.id == incident.id, t.c.told_recovered_at.is_(None)).values(told_recovered_at=at)
            )
        return bool(done.rowcount)

    def give_back(self, incident: Incident) -> None:
        """Nobody could be told: what was claimed is as it was in `incident`."""
        t = models.incidents
        with self._write() as connection:
            connection.execute(
                update(t).where(t.c.id == incident.id).values(
                    told_at=incident.told_at, told_times=incident.told_times,
                    told_recovered_at=incident.told_recovered_at,
                )
            )

    def untold_recoveries(self) -> Sequence[Incident]:
        """Resolved incidents of which people heard, but not that they are over."""
        t = models.incidents
        with self._read() as connection:
            rows = connection.execute(
                select(t).where(
                    t.c.resolved_at.is_not(None), t.c.told_times > 0, t.c.told_recovered_at.is_(None)
                ).order_by(t.c.id)
            ).all()
        return [_incident(row) for row in rows]

    def record_action(self, number: int, action: str, outcome: str, message: str = "") -> None:
        """Keep what was done about an incident."""
        with self._write() as connection:
            connection.execute(
                insert(models.incident_actions).values(
                    incident=number, action=action, outcome=outcome, message=safe(message), at=now(connection)
                )
            )

    def actions(self, *numbers: int) -> Sequence[Action]:
        """What was done about these incidents, the oldest first."""
        t = models.incident_actions
        with self._read() as connection:
            rows = connection.execute(
                select(t).where(or_(*(t.c.incident == number for number in numbers))).order_by(t.c.id)
            ).all()
        return [Action(row.action, row.outcome, row.message, row.at) for row in rows]


def _masked(problem: Problem) -> dict[str, str]:
    return {key: safe(value) for key, value in dataclasses.asdict(problem).items()}


def _incident(row: Row[Any]) -> Incident:
    fields = {field.name: getattr(row, field.name) for field in dataclasses.fields(Incident)}
    return Incident(**fields | {"problems": tuple(Problem(**each) for each in json.loads(row.problems))})
