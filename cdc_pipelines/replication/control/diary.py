"""The diary: which operations were done on a pipeline, by whom, how they ended."""

from collections.abc import Sequence

from sqlalchemy import insert, select

from cdc_pipelines.replication.control import models
from cdc_pipelines.replication.control.base import StoreBase, safe
from cdc_pipelines.replication.control.engine import now
from cdc_pipelines.replication.control.records import DiaryEntry


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

    def history(self, pipeline: str, limit: int = 50) -> Sequence[DiaryEntry]:
        """The newest entries first."""
        t = models.diary
        with self._read() as connection:
            rows = connection.execute(
                select(t).where(t.c.pipeline == pipeline).order_by(t.c.id.desc()).limit(limit)
            ).all()
        return [DiaryEntry(r.pipeline, r.operation, r.holder, r.outcome, r.message, r.at) for r in rows]
