"""What the parts of the control store share: its engine and its transactions."""

from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects import postgresql, sqlite

from cdc_pipelines.replication.control.engine import transaction
from cdc_pipelines.replication.secrets import redact


def safe(text: str) -> str:
    """A text as it may be kept: known secrets masked, and without what a database refuses in a text."""
    return redact(text).replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")


class StoreBase:
    """Holds the engine. Every public method of the store is one transaction of its own."""

    _engine: Engine

    def _read(self) -> AbstractContextManager[Connection]:
        return transaction(self._engine, write=False)

    def _write(self, *, busy_ms: int | None = None) -> AbstractContextManager[Connection]:
        return transaction(self._engine, write=True, busy_ms=busy_ms)

    def _insert(self, table: Table) -> Any:
        """An insert that knows `on conflict`, which both databases have and SQLAlchemy spells per dialect."""
        return postgresql.insert(table) if self._engine.dialect.name == "postgresql" else sqlite.insert(table)

    def _serialise(self, connection: Connection, key: int) -> None:
        """Until the transaction ends nobody else passes here with this key. SQLite has one writer anyway."""
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("select pg_advisory_xact_lock(%s)", (key,))
