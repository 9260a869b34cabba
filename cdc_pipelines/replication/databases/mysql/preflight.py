"""What a source must offer before a copy starts. Everything is looked at; nothing raises, nothing is written."""

from collections.abc import Callable, Sequence

from cdc_pipelines.replication.catalog import MappedTable, Table
from cdc_pipelines.replication.databases.mysql import preflight_server as server
from cdc_pipelines.replication.databases.mysql import preflight_tables as of_tables
from cdc_pipelines.replication.databases.mysql import preflight_values as of_values
from cdc_pipelines.replication.databases.mysql.connection import connect
from cdc_pipelines.replication.databases.mysql.preflight_server import Look
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.errors import CdcError, CheckResult
from cdc_pipelines.replication.pipeline import Pipeline, Source

Check = Callable[[Look], CheckResult]

_SERVER: tuple[tuple[str, Check], ...] = (
    ("source version", server.version),
    ("source binary log", server.binary_log),
    ("source log format", server.log_format),
    ("source GTIDs", server.gtids),
    ("source log filters", server.log_filters),
    ("source replica", server.replica),
    ("source server id", server.server_id),
    ("source log retention", server.retention),
    ("source XA transactions", server.xa),
    ("source grants", server.grants),
)
_TABLES: tuple[tuple[str, Check], ...] = (
    ("source names", of_tables.names),
    ("source tables readable", of_tables.readable),
    ("source engines", of_tables.engines),
    ("source keys", of_tables.keys),
    ("source hidden keys", of_tables.hidden_keys),
    ("source column types", of_tables.column_types),
    ("source cascades", of_tables.cascades),
    ("source value sizes", of_tables.value_sizes),
    ("source values", of_values.values),
)


def check_source(
    source: MySqlSource, tables: Sequence[Table | MappedTable], spec: Source, *, pipeline: Pipeline | None = None
) -> list[CheckResult]:
    """All results, met or not. A check that can't be run is itself one that is not met.

    With mapped tables only the columns that are replicated are judged. `pipeline` adds what depends on its other
    settings: the connector's server id, and the largest event that Kafka takes.
    """
    try:
        conn = connect(spec, purpose="check")
    except CdcError as error:
        return [CheckResult("source login", False, error.message, error.next_step)]
    with conn:
        look = Look(conn, source, spec, tuple(tables), pipeline)
        where = f"{spec.type} {spec.resolved_host()}:{spec.resolved_port()}, database {spec.database}, user {look.user}"
        results = [CheckResult("source login", True, where)]
        for name, check in (*_SERVER, *_TABLES):
            try:
                results.append(check(look))
            except CdcError as error:
                results.append(CheckResult(name, False, f"can't be looked at: {error.message}", error.next_step))
            except (ValueError, LookupError) as error:  # a server that answers otherwise than we know
                results.append(CheckResult(name, False, f"can't be looked at: {error!r}", "report this, please."))
    return results
