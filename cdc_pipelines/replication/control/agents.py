"""Agents: at most one per host and store; and which host's agent runs a pipeline's consumer."""

import os
import socket
from collections.abc import Collection, Sequence
from datetime import timedelta
from importlib.metadata import version

from sqlalchemy import Row, delete, insert, or_, select, update

from cdc_pipelines.replication import processes
from cdc_pipelines.replication.control import models
from cdc_pipelines.replication.control.base import StoreBase
from cdc_pipelines.replication.control.engine import now
from cdc_pipelines.replication.control.records import ENDED_STATES, AgentInfo

FRESH_S = 15.0  # an agent beats every few seconds
CONSUMER_FRESH_S = 60.0  # a consumer that beat this lately is left to the host it runs on
ASSIGNMENT_S = 30.0

_REGISTER_KEY = 0x6364_635F_6167_656E  # "cdc_agen"
_FORGET_AFTER = timedelta(days=1)


class AgentStore(StoreBase):
    """Agents by id."""

    def register_agent(self, agent_id: str) -> AgentInfo | None:
        """Make this process this host's agent. Where another one lives, nothing happens and it is returned."""
        t = models.agents
        with self._write() as connection:
            self._serialise(connection, _REGISTER_KEY)
            moment = now(connection)
            for row in connection.execute(select(t).where(t.c.place == processes.place())).all():
                if processes.alive(row.pid, row.born) and row.pid != os.getpid():
                    return _agent(row)
                connection.execute(delete(t).where(t.c.agent_id == row.agent_id))
            connection.execute(delete(t).where(t.c.at < moment - _FORGET_AFTER))
            connection.execute(
                insert(t).values(
                    agent_id=agent_id, host=socket.gethostname(), machine=processes.machine(),
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

    def assign(self, pipelines: Collection[str], host: str) -> set[str]:
        """Those of the pipelines whose consumers this host shall run, for the next ASSIGNMENT_S.

        A pipeline stays with a host while its agent renews this, and beyond while its consumer beats: consumers
        outlive their agent.
        """
        t = models.assignments
        mine: set[str] = set()
        with self._write() as connection:
            moment = now(connection)
            until = moment + timedelta(seconds=ASSIGNMENT_S)
            h = models.heartbeats
            elsewhere = set(
                connection.execute(
                    select(h.c.pipeline).where(
                        h.c.host != host, h.c.at >= moment - timedelta(seconds=CONSUMER_FRESH_S),
                        h.c.state.not_in(ENDED_STATES), h.c.pipeline.in_(pipelines),
                    )
                ).scalars()
            )
            for pipeline in sorted(pipelines):
                values = {"host": host, "expires_at": until}
                if pipeline in elsewhere:
                    kept = update(t).where(t.c.pipeline == pipeline, t.c.host == host).values(values)
                    taken = connection.execute(kept.returning(t.c.pipeline)).first()
                else:
                    new = self._insert(t).values(values | {"pipeline": pipeline}).on_conflict_do_update(
                        index_elements=[t.c.pipeline], set_=values,
                        where=or_(t.c.host == host, t.c.expires_at <= moment),
                    )
                    taken = connection.execute(new.returning(t.c.pipeline)).first()
                if taken is not None:
                    mine.add(pipeline)
        return mine

    def unassign(self, pipelines: Collection[str], host: str) -> None:
        """Let another host's agent have them."""
        t = models.assignments
        with self._write() as connection:
            connection.execute(delete(t).where(t.c.host == host, t.c.pipeline.in_(pipelines)))


def _agent(row: Row[tuple[object, ...]]) -> AgentInfo:
    return AgentInfo(row.agent_id, row.host, row.pid, row.version, row.started_at, row.at)
