"""Agents: at most one per host and store."""

import os
from collections.abc import Sequence
from datetime import timedelta
from importlib.metadata import version

from sqlalchemy import Row, delete, insert, select, update

from cdc_pipelines.replication import processes
from cdc_pipelines.replication.control import models
from cdc_pipelines.replication.control.base import StoreBase
from cdc_pipelines.replication.control.engine import now
from cdc_pipelines.replication.control.records import AgentInfo

FRESH_S = 15.0  # an agent beats every few seconds

_REGISTER_KEY = 0x6364_635F_6167_656E  # "cdc_agen"
_FORGET_AFTER = timedelta(days=1)


class AgentStore(StoreBase):
    """Agents by id."""

    def register_agent(self, agent_id: str) -> AgentInfo | None:
        """Make this process this host's agent. Where another one lives, nothing happens and it is returned.

        One of the same host's name in another place (another container, or machine) counts while it beats.
        """
        t = models.agents
        with self._write() as connection:
            self._serialise(connection, _REGISTER_KEY)
            moment = now(connection)
            oldest = moment - timedelta(seconds=FRESH_S)
            for row in connection.execute(select(t).where(t.c.host == processes.host())).all():
                here = row.place == processes.place()
                if here and row.pid != os.getpid() and processes.alive(row.pid, row.born):
                    return _agent(row)
                if not here and row.at >= oldest:
                    return _agent(row)
                connection.execute(delete(t).where(t.c.agent_id == row.agent_id))
            connection.execute(delete(t).where(t.c.at < moment - _FORGET_AFTER))
            connection.execute(
                insert(t).values(
                    agent_id=agent_id, host=processes.host(), machine=processes.machine(),
                    place=processes.place(), pid=os.getpid(), born=processes.birth(os.getpid()),
                    version=version("cdc-pipelines"), started_at=moment, at=moment,
                )
            )
        return None

    def agent_beat(self, agent_id: str) -> bool:
        """Say that the agent lives. False where its row is gone: another one took its place."""
        t = models.agents
        with self._write() as connection:
            moment = now(connection)
            return bool(connection.execute(update(t).where(t.c.agent_id == agent_id).values(at=moment)).rowcount)

    def forget_agent(self, agent_id: str) -> None:
        with self._write() as connection:
            connection.execute(delete(models.agents).where(models.agents.c.agent_id == agent_id))

    def live_agents(self, max_age_s: float = FRESH_S) -> Sequence[AgentInfo]:
        """Agents that beat lately; one of our own host whose process is gone is not among them."""
        t = models.agents
        with self._read() as connection:
            oldest = now(connection) - timedelta(seconds=max_age_s)
            rows = connection.execute(select(t).where(t.c.at >= oldest).order_by(t.c.host)).all()
        return [
            _agent(row) for row in rows
            if row.place != processes.place() or processes.alive(row.pid, row.born)
        ]


def _agent(row: Row[tuple[object, ...]]) -> AgentInfo:
    here = row.place == processes.place()
    return AgentInfo(row.agent_id, row.host, row.pid, row.version, row.started_at, row.at, here)
