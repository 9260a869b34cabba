"""Incidents: continuous times in which a pipeline was not healthy, and what was done about them."""

import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, exists, insert, or_, select, update

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

        The run is written by `set_run` alone: it comes from another process. Where another process opened one for the
        pipeline meanwhile, that one is returned.
        """
        t = models.incidents
        values = dataclasses.asdict(incident) | {
            "problems": json.dumps([_masked(problem) for problem in incident.problems])
        }
        del values["id"], values["run"]
        with self._write() as connection:
            if incident.id:
                connection.execute(update(t).where(t.c.id == incident.id).values(values))
                return incident
            there = select(t).where(t.c.pipeline == incident.pipeline, t.c.resolved_at.is_(None))
            row = connection.execute(there).first()
            if row is None:
                row = connection.execute(insert(t).values(values | {"run": ""}).returning(t)).one()
        return _incident(row)

    def half_told_incidents(self, since: datetime) -> Sequence[Incident]:
        """Those that were resolved after `since`, of which people heard, but not that they are over."""
        t, m = models.incidents, models.alerts
        of_it = exists().where(m.c.incident == t.c.id)
        with self._read() as connection:
            rows = connection.execute(
                select(t).where(
                    t.c.resolved_at > since, of_it,
                    ~of_it.where(m.c.event == "recovered", m.c.told_at.is_not(None)),
                ).order_by(t.c.id)
            ).all()
        return [_incident(row) for row in rows]

    def set_run(self, number: int, run: str) -> None:
        """The run that failed for it, where people find the whole story."""
        t = models.incidents
        with self._write() as connection:
            connection.execute(update(t).where(t.c.id == number).values(run=run))

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
