"""Tables that left the source without a word in the log: Debezium leaves out a RENAME into another database."""

from collections.abc import Callable, Collection

from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.mysql.source import MySqlSource


class GoneTables:
    """Compares the stream's tables with the source's, look by look.

    A table counts as gone where two looks in turn missed it and the stream has passed the first of them: by then it
    would have applied a DROP or a RENAME of which the log tells. One that is swapped, or made again, was only away for
    a moment; and a stream that lags behind has not come to the statement yet.
    """

    def __init__(self, source: MySqlSource) -> None:
        self._source = source
        self._missed: dict[str, MySqlPosition] = {}

    def look(
        self, mapped: Callable[[], Collection[str]], has_passed: Callable[[MySqlPosition], bool]
    ) -> list[str]:
        """The names of those that are gone. `has_passed`: whether all that the source did until then is applied."""
        there = self._source.table_names()
        before, missed = self._missed, set(mapped()) - there
        # Asked behind the names: what took a table away stands at or before it.
        now = self._source.position() if missed - before.keys() else None
        self._missed = {name: before.get(name) or now for name in missed}  # type: ignore[misc]
        passed = {position: has_passed(position) for position in {before[name] for name in missed & before.keys()}}
        still = set(mapped())  # what was applied before it had passed is out of them by now
        return sorted(name for name in missed & before.keys() & still if passed[before[name]])
