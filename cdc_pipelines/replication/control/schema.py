"""Bringing the store's tables to what this version of the package needs."""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, column, inspect, select, table

from cdc_pipelines.replication.control import models
from cdc_pipelines.replication.control.engine import transaction
from cdc_pipelines.replication.errors import ConfigurationError

_ADVISORY_KEY = 0x6364_635F_6374_726C  # "cdc_ctrl"


def ensure_schema(engine: Engine) -> None:
    """Create or migrate the tables, at most one process at a time; nothing happens where they are current.

    Raises ConfigurationError where a newer version of the package made them, RetryableError where the database
    is out of reach.
    """
    if _revision(engine) == models.HEAD:
        return
    with _one_at_a_time(engine), transaction(engine, write=True) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("set local statement_timeout = 0")  # it is done once, and to its end
            connection.exec_driver_sql(f"select pg_advisory_xact_lock({_ADVISORY_KEY})")
        _upgrade(connection)


def _revision(engine: Engine) -> str | None:
    """The migration that the tables stand at; None for a database without them."""
    version = table(models.VERSION_TABLE, column("version_num"))
    with transaction(engine, write=False) as connection:
        if not inspect(connection).has_table(models.VERSION_TABLE):
            return None
        found = connection.execute(select(version.c.version_num)).scalar()
        return str(found) if found else None


@contextmanager
def _one_at_a_time(engine: Engine) -> Iterator[None]:
    """On SQLite: a lock beside the file, held also while the file is switched to write-ahead logging.

    PostgreSQL has its advisory lock for this, taken inside the transaction.
    """
    if engine.dialect.name != "sqlite":
        yield
        return
    file = Path(engine.url.database or "")
    descriptor = os.open(file.with_name(file.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Stays with the file from then on. Not possible inside a transaction.
        with closing(engine.raw_connection()) as raw:
            raw.cursor().execute("pragma journal_mode = wal")
        yield
    finally:
        os.close(descriptor)


def _upgrade(connection: Connection) -> None:
    # Imported here: alembic takes long to import, and a store is migrated once.
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.script.revision import ResolutionError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    context = MigrationContext.configure(connection, opts={"version_table": models.VERSION_TABLE})
    current = context.get_current_revision()
    if current is not None:
        try:
            known = current in {r.revision for r in ScriptDirectory.from_config(config).walk_revisions()}
        except ResolutionError:
            known = False
        if not known:
            raise ConfigurationError(
                f"the control store {connection.engine.url.render_as_string(hide_password=True)} was made by a newer "
                f"version of cdc_pipelines (schema {current}; this one knows {models.HEAD})",
                "install that version here, or point CDC_CONTROL_URL at another store.",
            )
    command.upgrade(config, "head")
    if connection.execute(select(models.facts.c.value).where(models.facts.c.name == "id")).scalar() is None:
        connection.execute(models.facts.insert().values(name="id", value=uuid.uuid4().hex))
