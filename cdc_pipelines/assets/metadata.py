"""What Dagster shows of a table and of a copied chunk, under the keys that its UI knows (`dagster/…`)."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from cdc_pipelines.assets.declared import DeclaredPipeline, DeclaredTable
from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.errors import CdcError
from cdc_pipelines.replication.pipeline import Server, Source
from cdc_pipelines.replication.verify import TableVerified
from cdc_pipelines.replication.verify.report import Difference

Metadata = dict[str, Any]


def target_metadata(pipeline: DeclaredPipeline, table: DeclaredTable) -> Metadata:
    """Of the replicated table's definition."""
    target = pipeline.spec.target
    found: Metadata = {
        "dagster/table_name": f"{target.database}.{table.target_schema}.{table.target_name}",
        "dagster/uri": dg.MetadataValue.text(
            f"{_uri(target, 'postgresql')}/{table.target_schema}/{table.target_name}"
        ),
        "pipeline": pipeline.name,
        "connector": pipeline.spec.connector_name,
    }
    if table.mapped is not None:
        found["dagster/column_schema"] = target_schema(table.mapped)
        found["key"] = ", ".join(c.target_name for c in table.mapped.key) or "none"
        if table.mapped.rows.where:
            found["rows"] = f"where {table.mapped.rows.where}"
    return found


def source_metadata(pipeline: DeclaredPipeline, table: DeclaredTable) -> Metadata:
    """Of the source table's definition. Row counts and sizes are the server's estimates as of `configure`."""
    source = pipeline.spec.source
    found: Metadata = {
        "dagster/table_name": f"{source.database}.{table.name}",
        "dagster/uri": dg.MetadataValue.text(f"{_uri(source, source.type)}/{table.name}"),
    }
    if table.mapped is not None:
        found["dagster/column_schema"] = _source_schema(table.mapped)
        found["rows (estimate)"] = table.mapped.source.rows_estimate
        found["bytes (estimate)"] = table.mapped.source.data_bytes
    return found


def chunk_metadata(chunk: Chunk) -> Metadata:
    """Of one chunk that was copied."""
    return {
        "dagster/partition_row_count": chunk.rows,
        "rows/s": round(chunk.rows / chunk.seconds) if chunk.seconds > 0 else chunk.rows,
        "bytes": chunk.bytes,
        "seconds": round(chunk.seconds, 3),
        "position": chunk.position or "",
    }


def copied_metadata(table: MappedTable, rows: int, size: int, seconds: float, chunks: int) -> Metadata:
    """Of a table whose chunks are all there. `seconds` are added up over the chunks, which ran in parallel."""
    return {
        "dagster/row_count": rows,
        "dagster/column_schema": target_schema(table),
        "chunks": chunks,
        "bytes": size,
        "seconds": round(seconds, 3),
        "rows/s": round(rows / seconds) if seconds > 0 else rows,
    }


def compared_metadata(table: TableVerified) -> Metadata:
    """Of a table that was compared with its source, or left out of a comparison."""
    if table.left_out:
        return {"not compared": table.left_out}
    found: Metadata = {
        "dagster/row_count": table.rows_target,
        "rows on the source": table.rows_source,
        "differences": table.difference_count,
        "verified through": table.position,
        "seconds": round(table.seconds, 3),
    }
    if table.malformed:
        found["versions that are not well-formed"] = table.malformed
    if table.repaired is not None:
        found["differences repaired"] = table.repaired.differences
        found["repaired rows"] = differences_table(table.repaired.listed)
    if table.differences:
        found["differing rows"] = differences_table(table.differences)
    return found


def differences_table(differences: Sequence[Difference]) -> dg.MetadataValue:
    """Differences that a comparison listed."""
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord({"kind": d.kind, "key": str(d.key), "columns": ", ".join(d.columns)})
            for d in differences
        ],
        schema=dg.TableSchema([dg.TableColumn(n) for n in ("kind", "key", "columns")]),
    )


def target_schema(table: MappedTable) -> dg.TableSchema:
    """The replicated columns as the target has them, and those that tell rows that stay."""
    keys = {c.target_name for c in table.key}
    rules = table.rows
    words = {
        rules.deleted_column: "when the row was deleted; null: it is live",
        rules.valid_from: "when the version became the source's row",
        rules.valid_to: "when it ceased to be it; null: it is the row of now",
        rules.version: "number of the version among those of its key",
    }
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.target_name,
                type=column.target_type,
                description=f"from {column.source.name} {column.source.full_type}"
                + (f" ({column.shape})" if column.shape.changes else ""),
                constraints=dg.TableColumnConstraints(
                    nullable=column.source.nullable and column.target_name not in keys,
                    unique=keys == {column.target_name} and not rules.history,
                    other=["key"] if column.target_name in keys else [],
                ),
            )
            for column in table.columns
        ] + [
            dg.TableColumn(name=added.name, type=added.target_type, description=f"added: {added.origin}")
            for added in table.added
        ] + [dg.TableColumn(name, kind, words[name]) for name, kind in rules.columns],
        constraints=dg.TableConstraints(other=[f"key ({', '.join(c.target_name for c in table.key)})"] if keys else []),
    )


def _source_schema(table: MappedTable) -> dg.TableSchema:
    return dg.TableSchema(
        [
            dg.TableColumn(
                name=column.name,
                type=column.full_type,
                constraints=dg.TableColumnConstraints(
                    nullable=column.nullable, other=["key"] if column.name in table.source.key else []
                ),
            )
            for column in table.source.columns
        ]
    )


def _uri(server: Server | Source, scheme: str) -> str:
    """Without the user: an address, not a login. References that can't be resolved here are shown as they stand."""
    try:
        host, port = server.resolved_host(), str(server.resolved_port())
    except (CdcError, ValueError):
        host, port = server.host, str(server.port)
    return f"{scheme}://{host}:{port}/{server.database}"
