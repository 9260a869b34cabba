"""What API and pages tell of a pipeline beside its status: its record, tables, incidents, what a source has."""

import re
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from cdc_pipelines.replication.control.store import ControlStore, PipelineRecord
from cdc_pipelines.replication.health.facts import iso
from cdc_pipelines.replication.health.judge import is_idle
from cdc_pipelines.replication.operations.discover import Discovery

Facts = dict[str, Any]


def configured(record: PipelineRecord) -> Facts:
    return {
        "id": record.config, "name": record.name, "client": record.client, "status": record.status,
        "is_active": record.is_active, "connector_name": record.connector,
        "kafka_topic_prefix": record.spec.topic_prefix, "tables": len(record.tables), "message": record.message,
        "source": f"{record.spec.source.type} {record.spec.source.database}",
        "target": f"{record.spec.target.type} {record.spec.target.database}.{record.spec.target.schema_}",
        "configured_at": iso(record.configured_at),
    }


def tables(record: PipelineRecord, status: Facts) -> list[Facts]:
    """The configured tables, with the target's figures where there are any yet, and the lane of who has one."""
    figures = {each["table"]: each for each in status.get("tables", [])}
    now = datetime.now(UTC)
    lanes = {each["table"]: each | {"idle": is_idle(each, now)} for each in status.get("lanes", [])}
    return [
        {
            "table": table.name, "target": f"{table.target_schema}.{table.target_name}",
            "columns": len(table.columns), "key": list(table.source.key),
            "rows_estimate": table.source.rows_estimate, "data_bytes": table.source.data_bytes,
            "lane": lanes.get(table.name),
        } | figures.get(table.name, {})
        for table in record.tables
    ]


def leaving(record: PipelineRecord, status: Facts) -> list[Facts]:
    """Tables that still stream, and that the configuration no longer has."""
    known = {table.name for table in record.tables}
    return [
        each | {"lane": None, "leaving": True} for each in status.get("tables", []) if each["table"] not in known
    ]


def incidents(store: ControlStore, name: str, limit: int) -> list[Facts]:
    """The newest first, with what was done about each."""
    return [
        {
            "id": each.id, "severity": each.severity, "worst": each.worst, "opened_at": iso(each.opened_at),
            "escalated_at": iso(each.escalated_at), "resolved_at": iso(each.resolved_at), "seconds": each.seconds,
            "run": each.run, "problems": [asdict(problem) for problem in each.problems],
            "actions": [asdict(action) | {"at": iso(action.at)} for action in store.actions(each.id)],
        }
        for each in store.incidents(name, limit)
    ]


def discovered(found: Discovery, name: str | None, config: int, client: int = 1) -> Facts:
    """Tables with their columns and sizes, and a pipeline file over all of them."""
    tables = []
    for table in found.tables:
        without = found.unsupported(table)
        tables.append(
            {
                "name": table.name, "key": list(table.key), "rows_estimate": table.rows_estimate,
                "data_bytes": table.data_bytes, "why_not": found.why_not(table),
                "columns": [
                    {"name": c.name, "type": c.full_type, "nullable": c.nullable, "supported": c.name not in without}
                    for c in table.columns
                ],
            }
        )
    database = found.source.database
    chosen = name or re.sub(r"[^a-z0-9_]", "_", f"p_{database}".lower())[:40]
    target: dict[str, object] = {
        "type": "postgres", "host": "127.0.0.1", "port": 5432, "database": "cdc_target", "schema": database,
        "user": "cdc", "password": "${env:CDC_TARGET_PASSWORD}",
    }
    return {"tables": tables, "file": found.pipeline_yaml(chosen, client=client, config=config, target=target)}


def free_config_id(store: ControlStore) -> int:
    return max((record.config for record in store.list()), default=0) + 1
