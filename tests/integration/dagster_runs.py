"""Tables to start with, and what Dagster keeps of the runs."""

import json
import zlib
from typing import Any

import psycopg

from tests.integration.dagster_instance import DagsterPipe

CUSTOMERS = (
    "create table customers (id int primary key, name varchar(40))",
    "insert into customers with recursive n(n) as (select 1 union all select n + 1 from n where n < 900) "
    "select n, concat('customer ', n) from n",
)
ORDERS = (
    "create table `order lines` (id bigint primary key, customer int, note text)",
    "insert into `order lines` with recursive n(n) as (select 1 union all select n + 1 from n where n < 900) "
    "select n, 1 + n % 900, repeat('x', 200) from n",
)
BIG = (
    "create table big (id int primary key auto_increment, v varchar(1000))",
    "insert into big (v) with recursive n(n) as (select 1 union all select n + 1 from n where n < 900) "
    "select repeat('v', 900) from n",
)
DOUBLE = "insert into big (v) select v from big"
_OUTPUTS = """
query Outputs($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events {
  ... on ExecutionStepOutputEvent {
    metadataEntries { label ... on TableMetadataEntry { table { records } } } } } } } }"""
STEPS = ["STEP 1/4", "STEP 2/4", "STEP 3/4", "STEP 4/4"]


def materialized(pipe: DagsterPipe, run_id: str) -> dict[str, int]:
    """Table → number of chunks that a run reported as copied."""
    tables: dict[str, int] = {}
    for event in pipe.client.events(run_id):
        if event["__typename"] == "MaterializationEvent":
            assert event["assetKey"]["path"][0] == pipe.name
            assert event["partition"]
            tables[event["assetKey"]["path"][1]] = tables.get(event["assetKey"]["path"][1], 0) + 1
    return tables


def tables_told(pipe: DagsterPipe, run_id: str) -> dict[str, list[dict[str, Any]]]:
    """The tables in the metadata of a run's outputs: their rows, by label."""
    found: dict[str, list[dict[str, Any]]] = {}
    for event in pipe.client.graphql(_OUTPUTS, run=run_id)["logsForRun"]["events"]:
        for entry in event.get("metadataEntries", ()):
            if "table" in entry:
                found[entry["label"]] = [json.loads(row) for row in entry["table"]["records"]]
    return found


def stored(pipe: DagsterPipe) -> str:
    """All that Dagster keeps of runs: config, events, snapshots."""
    access = pipe.dagster.server.home.environment
    with psycopg.connect(
        host=access["CDC_DAGSTER_PG_HOST"], port=int(access["CDC_DAGSTER_PG_PORT"]), user=access["CDC_DAGSTER_PG_USER"],
        password=access["CDC_DAGSTER_PG_PASSWORD"], dbname=access["CDC_DAGSTER_PG_DB"],
    ) as storage:  # fmt: skip
        texts = [
            str(row[0])
            for query in ("select event from event_logs", "select run_body from runs")
            for row in storage.execute(query).fetchall()
        ]
        bodies = storage.execute("select snapshot_body from snapshots").fetchall()
    return "".join(texts + [zlib.decompress(bytes(row[0])).decode() for row in bodies])
