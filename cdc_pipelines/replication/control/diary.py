"""The diary: which operations were done on a pipeline, by whom, how they ended."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import insert, select

from cdc_pipelines.replication.control import models
from cdc_pipelines.replication.control.base import StoreBase, safe
from cdc_pipelines.replication.control.engine import now
from cdc_pipelines.replication.control.records import DiaryEntry
from cdc_pipelines.replication.errors import RetryableError

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


class DiaryStore(StoreBase):
    """Entries by pipeline. They outlive the pipeline itself."""

    def record(self, pipeline: str, operation: str, holder: str, outcome: str, message: str = "") -> None:
        """Add an entry; known secrets are masked."""
        with self._write() as connection:
            connection.execute(
                insert(models.diary).values(
                    pipeline=pipeline, operation=operation, holder=holder, outcome=outcome, message=safe(message),
                    at=now(connection),
                )
            )

    @contextmanager
    def failure_noted(self, pipeline: str, operation: str, holder: str, log: Log) -> Iterator[None]:
        """An error that ends the block goes into the diary on its way.

        Where the store can't be written to, a warning says so: what went wrong first is what is raised.
        """
        try:
            yield
        except Exception as error:
            try:
                self.record(pipeline, operation, holder, "failed", str(error))
            except RetryableError as lost:
                log.warning("that %s of %s failed could not be noted: %s", operation, pipeline, lost.message)
            raise

    def history(self, pipeline: str, limit: int = 50) -> Sequence[DiaryEntry]:
        """The newest entries first."""
        t = models.diary
        with self._read() as connection:
            rows = connection.execute(
                select(t).where(t.c.pipeline == pipeline).order_by(t.c.id.desc()).limit(limit)
            ).all()
        return [DiaryEntry(r.pipeline, r.operation, r.holder, r.outcome, r.message, r.at) for r in rows]
