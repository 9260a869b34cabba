"""One canonical form per value: for every (source type, target type) how it is copied, applied and compared.

Copy, apply and verify all take their form from here, so they can't drift apart.
"""

from collections.abc import Callable

from cdc_pipelines.replication.catalog import Column, MappedColumn
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.values import mysql_postgres
from cdc_pipelines.replication.values.form import Form

_TABLES: dict[tuple[str, str], Callable[[Column], Form | None]] = {
    ("mysql", "postgres"): mysql_postgres.mysql_form,
    ("mariadb", "postgres"): mysql_postgres.mariadb_form,
}


def form_for(column: Column, source: str, target: str, table: str = "") -> Form:
    """The canonical form of a column between two kinds of server.

    Raises ConfigurationError where the pair or the column's type is not supported.
    """
    try:
        lookup = _TABLES[source, target]
    except KeyError:
        pairs = ", ".join(f"{s} → {t}" for s, t in _TABLES)
        raise ConfigurationError(f"no way from {source} to {target}", f"supported: {pairs}.") from None
    form = lookup(column)
    if form is None:
        where = f"{table}.{column.name}" if table else column.name
        raise ConfigurationError(
            f"column {where} has type {column.full_type}, which has no form on {target}",
            "leave it out: list the table's other columns under `columns` in the pipeline's file.",
        )
    return form


def forms_of(columns: tuple[MappedColumn, ...], source: str, target: str) -> list[Form]:
    """The forms of a mapped table's columns, in their order."""
    return [form_for(c.source, source, target) for c in columns]
