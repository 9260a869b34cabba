"""The tables' definitions on the source: are they those that were copied, and do they stay so for a while?"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.databases.mysql.position import MySqlPosition
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.errors import CdcError, ResyncRequiredError

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


@dataclass(frozen=True)
class HeldDefinitions:
    """`fingerprints` are of the definitions that the rows of `tables` up to `position` have."""

    pipeline: str
    source: MySqlSource
    tables: Sequence[MappedTable]
    position: MySqlPosition
    fingerprints: Mapping[str, str]
    log: Log

    def compare(self) -> None:
        """Raises ResyncRequiredError where a table has another definition now, or is gone."""
        live = {t.name: t.fingerprint() for t in self.source.tables()}
        other = [
            f"{t.name} ({'changed' if t.name in live else 'gone'})"
            for t in self.tables if live.get(t.name) != self.fingerprints[t.name]
        ]
        if other:
            raise ResyncRequiredError(
                f"pipeline {self.pipeline}: table definitions on the source are not those of position "
                f"{self.position.file}:{self.position.pos}: {', '.join(other)}; rows since then can't be read exactly",
                f"run `cdc configure` with the pipeline's file, then `cdc start {self.pipeline} --force-resync`.",
            )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within the block the tables are, and stay, as they were copied; raises as `compare` where they are not."""
        self.compare()  # before the guard too: it can't read a table that is gone
        with self.source.guard([t.source for t in self.tables]) as guard:
            self.compare()
            yield
            try:
                guard.check()
            except CdcError:
                self.log.warning("the session that held the definitions still was lost; they are compared again")
                self.compare()
