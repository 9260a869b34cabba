"""Imported once by the server that steps are forked from: what each step would otherwise import anew.

These are inner modules of Dagster and libraries that it and we import late. One that is gone in another version
costs its importing time again, nothing more. Nothing here may start a thread or open a connection: forks follow.
"""

import contextlib
import gc
import importlib

_LATE = (
    "alembic.command",
    "confluent_kafka.admin",
    "dagster._cli",
    "dagster._core.execution.plan.resume_retry",
    "dagster._core.execution.run_cancellation_thread",
    "dagster._core.execution.run_metrics_thread",
    "dagster._core.instance.factory",
    "dagster._core.storage.event_log.sql_event_log",
    "dagster._core.storage.runs.sql_run_storage",
    "dagster._core.storage.schedules.sql_schedule_storage",
    "dagster._core.storage.sqlite_storage",
    "dagster._daemon.daemon",
    "dagster._grpc.impl",
    "dagster_postgres.storage",
    "mysql.connector",
    "psycopg",
    "psycopg2",
    "pymysql",
    "requests",
    "rich.traceback",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite",
    "structlog",
    "upath.implementations.local",
)

for _name in _LATE:
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)

gc.freeze()  # what is loaded now stays shared between the forks
