"""The applier that a table's shape asks for."""

import psycopg

from cdc_pipelines.replication.changes.rows import RowCodec
from cdc_pipelines.replication.databases.postgres import existing
from cdc_pipelines.replication.databases.postgres.apply import TableApplier
from cdc_pipelines.replication.databases.postgres.history_apply import HistoryApplier

AnyApplier = TableApplier | HistoryApplier


def applier_of(conn: psycopg.Connection, codec: RowCodec, number: int, *, to_be_unique: bool = False) -> AnyApplier:
    """`to_be_unique`: the target's table is to get a unique index beside its key's, if it has none.

    Raises ConfigurationError where the target table is gone.
    """
    unique = bool(existing.unique_indexes(conn, codec.table)) or to_be_unique
    return HistoryApplier(conn, codec, number) if codec.table.rows.history else TableApplier(
        conn, codec, number, unique=unique
    )
