"""Foreign keys that came while the stream runs, and whose effects the source's log does not tell."""

import time
from collections.abc import Collection

from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.stream.findings import Cascade

LOOK_EVERY_S = 600.0  # each look asks for the text of every table


class UnloggedCascades:
    """Looks where a schema change has come by, now and then, and for as long as there is one to be mended.

    Before a start they are refused; a later one can't be held off: its statement is a change of definitions, and
    harmless until the server acts by it.
    """

    def __init__(self, source: MySqlSource) -> None:
        self._source = source
        self._changes: int | None = None
        self._next = 0.0
        self._found: tuple[Cascade, ...] = ()

    def look(self, tables: Collection[str], changes: int) -> tuple[Cascade, ...]:
        """`changes`: how many schema changes the stream has met."""
        if changes != self._changes or self._found or time.monotonic() >= self._next:
            keys = self._source.unlogged_cascades(tables)
            self._found = tuple(Cascade(key.child, key.parent, key.without_rules) for key in keys)
            self._changes, self._next = changes, time.monotonic() + LOOK_EVERY_S
        return self._found
