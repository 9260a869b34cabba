"""What the health sensor records on the tables' assets, so that the UI plots it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from cdc_pipelines.assets.names import table_key

Facts = dict[str, Any]

FRESH_WARN_S, FRESH_FAIL_S = 1800, 3600
FRESH_EVERY_S = 600.0
"""How often a table that keeps up is recorded as fresh: Dagster judges freshness by materializations alone."""
_DATA_VERSION = "dagster/data_version"


def observations(pipeline: str, status: Facts) -> Iterator[dg.AssetObservation]:
    """One per replicated table: how far behind, how many rows, how the parts do."""
    shared = _shared(status)
    for table in status["tables"]:
        yield dg.AssetObservation(
            table_key(pipeline, table["table"]),
            description=f"{pipeline} is {status['overall']}",
            metadata=shared | {
                "rows copied": table["rows_copied"],
                "inserts": table["inserts"],
                "updates": table["updates"],
                "deletes": table["deletes"],
            },
        )


def schema_changes(pipeline: str, status: Facts, seen: float) -> tuple[list[dg.AssetObservation], float]:
    """One per schema change that came after number `seen`, the oldest first; and the number of the last one."""
    changes = status.get("schema_changes", [])
    last = float(max((each["number"] for each in changes), default=0))
    new = [each for each in reversed(changes) if each["number"] > seen or last < seen]
    return [
        dg.AssetObservation(
            table_key(pipeline, each["table"]),
            description=f"schema change, {each['done']}: {each['table']} {each['what']}",
            metadata={
                "schema change": each["kind"],
                "done": each["done"],
                "statement": dg.MetadataValue.md(f"```sql\n{each['statement']}\n```"),
                "source position": each["place"],
                "made at": each["at"] or each["seen_at"],
            },
        )
        for each in new
    ], last


def fresh(pipeline: str, status: Facts) -> Iterator[dg.AssetMaterialization]:
    """One per table of a pipeline that streams within its limits: the table holds what the source held just now.

    Its data version counts the changes, so that what hangs on the table is not made anew where nothing changed.
    """
    for table in status["tables"]:
        if table.get("detached"):  # it stands still
            continue
        yield dg.AssetMaterialization(
            table_key(pipeline, table["table"]),
            description="kept up to date by the stream",
            metadata={"lag (s)": status["lag"]["seconds"], "changes applied": table["changes_applied"]} | _rows(table),
            tags={_DATA_VERSION: f"{status['generation']}.{table['rows_copied']}.{table['changes_applied']}"},
        )


def _rows(table: Facts) -> Facts:
    """How many rows the table has, as Dagster shows it; after a TRUNCATE what was counted says nothing about that."""
    if table["truncates"]:
        return {}
    return {"dagster/row_count": table["rows_copied"] + table["inserts"] - table["deletes"]}


def is_fresh(status: Facts, lag_limit_s: float) -> bool:
    """Whether the target is known to hold what the source held within the limit."""
    seconds = status["lag"]["seconds"]
    return bool(
        status.get("consumer", {}).get("healthy") and status.get("config", {}).get("is_active")
        and seconds is not None and seconds <= lag_limit_s
    )


def _shared(status: Facts) -> dict[str, Any]:
    lag, runway = status["lag"], status["lag"].get("runway") or {}
    found: dict[str, Any] = {"overall": status["overall"]}
    numbers = {
        "lag (s)": lag["seconds"],
        "lag (records)": lag["messages"],
        "heartbeat age (s)": status["consumer"].get("heartbeat_age_seconds"),
        "log runway (h)": _hours(runway.get("runway_seconds")),
        "change log (bytes)": status.get("change_log", {}).get("bytes_estimate"),
    }
    found |= {name: value for name, value in numbers.items() if value is not None}
    if (at := status["timestamp"]) is not None:
        found["seen at"] = dg.MetadataValue.timestamp(datetime.fromisoformat(at).astimezone(UTC))
    return found


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 3600, 2)
