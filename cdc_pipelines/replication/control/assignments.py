"""Which host runs a pipeline's consumer: held for seconds, renewed by the host's agent and by the consumer itself.

Only the store's clock counts: hosts' clocks differ. What is held here decides who may *begin*. That two consumers never
write is the target's to see to (stream/lead.py): a host that is cut off from this store may go on writing.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, or_, select

from cdc_pipelines.replication.control import models
from cdc_pipelines.replication.control.base import StoreBase
from cdc_pipelines.replication.control.engine import now

# Agents renew every second, consumers every 3: one of these may be late before another host takes over. A take-over
# takes this, and then the start of a consumer.
HELD_S = 7.0


class AssignmentStore(StoreBase):
    """Hosts by pipeline."""

    def assign(self, pipelines: Collection[str], host: str, *, take_over: bool = True) -> set[str]:
        """Those of the pipelines whose consumers this host shall run, for the next HELD_S.

        A pipeline stays with a host while its agent renews this, or its consumer does: consumers outlive their agent.
        Without `take_over` those that another host has let run out are left to it.
        """
        with self._write() as connection:
            return _hold(self, connection, pipelines, host, now(connection), take_over=take_over)

    def assigned_to(self, pipeline: str) -> str | None:
        """The host that has it now; None where it ran out, or nobody ever had it."""
        t = models.assignments
        with self._read() as connection:
            valid = select(t.c.host).where(t.c.pipeline == pipeline, t.c.expires_at > now(connection))
            host: str | None = connection.execute(valid).scalar()
        return host

    def unassign(self, pipelines: Collection[str], host: str) -> None:
        """Let another host's agent have them, at once."""
        t = models.assignments
        with self._write() as connection:
            connection.execute(delete(t).where(t.c.host == host, t.c.pipeline.in_(pipelines)))


def hold_one(store: StoreBase, connection: Connection, pipeline: str, host: str, moment: datetime) -> bool:
    """In the caller's transaction: renew or take one pipeline for a host. False where another host has it."""
    return bool(_hold(store, connection, [pipeline], host, moment, take_over=True))


def _hold(
    store: StoreBase, connection: Connection, pipelines: Collection[str], host: str, moment: datetime, *,
    take_over: bool,
) -> set[str]:
    if not pipelines:
        return set()
    t = models.assignments
    until = moment + timedelta(seconds=HELD_S)
    # In one order for all, so that two hosts wait for each other instead of deadlocking.
    rows = [{"pipeline": name, "host": host, "expires_at": until} for name in sorted(pipelines)]
    statement = store._insert(t).values(rows)
    taken = statement.on_conflict_do_update(
        index_elements=[t.c.pipeline],
        set_={"host": statement.excluded.host, "expires_at": statement.excluded.expires_at},
        where=or_(t.c.host == host, t.c.expires_at <= moment) if take_over else t.c.host == host,
    )
    return set(connection.execute(taken.returning(t.c.pipeline)).scalars())
