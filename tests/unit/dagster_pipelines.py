"""Pipelines for the tests of Dagster's side: configured ones in a control store of their own, and a fake engine."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, Table
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import CheckResult
from cdc_pipelines.replication.operations.start import CopyPlan, ShardPlan, TableCopied
from cdc_pipelines.replication.pipeline_file import parse_pipeline

GENERATION = 1_700_000_000


def file_text(
    name: str = "shop", config: int = 1, tables: Sequence[object] | str = ("customers", "orders"), **sections: object
) -> str:
    """A pipeline file whose servers nobody can reach. `sections` are further ones of the file."""
    server = {"host": "192.0.2.1", "user": "cdc", "password": "${env:CDC_TEST_PASSWORD}"}
    return yaml.safe_dump(
        {
            "name": name,
            "client": 1,
            "config": config,
            "source": {"type": "mysql", "port": 3306, "database": name, **server},
            "target": {"type": "postgres", "port": 5432, "database": "warehouse", "schema": name, **server},
            "tables": tables if isinstance(tables, str) else list(tables),
            **sections,
        },
        allow_unicode=True,
    )


def mapped_table(name: str, schema: str = "shop") -> MappedTable:
    """A table of two columns, `id` its key."""
    columns = (
        Column("id", "bigint", "bigint unsigned", nullable=False, unsigned=True),
        Column("note", "varchar", "varchar(40)", length=40),
    )
    source = Table(schema, name, columns, ("id",), rows_estimate=1000, data_bytes=65536)
    types = ("numeric(20)", "text")
    mapped = tuple(MappedColumn(c, c.name, t) for c, t in zip(columns, types, strict=True))
    return MappedTable(source, schema, name, mapped)


def configure(
    store: ControlStore, name: str = "shop", config: int = 1, tables: Sequence[str] = ("customers", "orders"),
    **sections: object,
) -> None:
    """Save a pipeline as `configure` would, without asking a source."""
    text = file_text(name, config, tables, **sections)
    store.save_pipeline(parse_pipeline(text, Path(f"{name}.yaml")), text, [mapped_table(t, name) for t in tables])


@dataclass
class FakeEngine:
    """The engine's steps without servers: chunks are numbers in memory. `fail` makes a step raise."""

    chunks: dict[tuple[str, int], Chunk] = field(default_factory=dict)
    generation: int = GENERATION
    calls: list[str] = field(default_factory=list)
    fail: dict[str, Callable[[], BaseException]] = field(default_factory=dict)
    tables: tuple[str, ...] = ("customers", "orders")
    per_table: int = 2

    def install(self, monkeypatch: Any) -> "FakeEngine":
        from cdc_pipelines.replication.lanes import requests
        from cdc_pipelines.replication.operations import start
        from cdc_pipelines.replication.operations.runtime import Runtime

        for name in ("step_validate", "step_plan", "step_copy_shard", "step_check_copy", "step_connector",
                     "step_consumer", "copy_chunk"):  # fmt: skip
            monkeypatch.setattr(start, name, getattr(self, name))
        monkeypatch.setattr(start, "align_tables", lambda *_, **__: [])
        monkeypatch.setattr(requests, "streams", lambda *_: False)
        monkeypatch.setattr(Runtime, "target", self._target)
        return self

    def step_validate(self, rt: Any, log: Any, *, force_resync: bool) -> list[CheckResult]:
        self._called("validate")
        log.info("STEP 1/4: Validating prerequisites of pipeline %s…", rt.name)
        return [CheckResult("source", True, "reachable")]

    def step_plan(self, rt: Any, log: Any, *, force_resync: bool) -> CopyPlan:
        self._called(f"plan force_resync={force_resync}")
        log.info("STEP 2/4: Initial copy of %d tables…", len(rt.tables))
        if force_resync:
            self.generation += 1
            self.chunks.clear()
        for shard, table in enumerate(self.tables):
            for ordinal in range(self.per_table):
                self.chunks.setdefault((table, ordinal), Chunk(table, ordinal, None, None, 10, shard=shard))
        rt.store.set_status(rt.name, "copying", generation=self.generation)
        open_tables = {c.table for c in self.chunks.values() if not c.done}
        shards = [
            ShardPlan(shard, self.per_table, 20, (table,), table not in open_tables)
            for shard, table in enumerate(self.tables)
        ]
        return CopyPlan(self.generation, list(rt.tables), list(self.chunks.values()), shards)

    def step_copy_shard(self, rt: Any, log: Any, *, shard: int, on_chunk: Callable[[Chunk], None]) -> None:
        self._called(f"copy shard {shard}")
        for chunk in [c for c in self.chunks.values() if c.shard == shard and not c.done]:
            self._called(f"copy {chunk}")
            on_chunk(self.copied(chunk.table, chunk.ordinal))

    def copied(self, table: str, ordinal: int) -> Chunk:
        """Mark a chunk as done, as a target transaction would."""
        chunk = self.chunks[table, ordinal]
        done = Chunk(table, ordinal, None, None, 10, shard=chunk.shard, state="done", rows=10, bytes=400, seconds=0.5,
                     position='{"file":"binlog.000001","pos":4}')  # fmt: skip
        self.chunks[table, ordinal] = done
        return done

    def step_check_copy(self, rt: Any, log: Any) -> list[TableCopied]:
        self._called("check")
        return [
            TableCopied(t, sum(c.rows for c in mine), sum(c.bytes for c in mine), 1.0, len(mine))
            for t in rt.tables
            for mine in [[c for c in self.chunks.values() if c.table == t.name]]
        ]

    def step_connector(self, rt: Any, log: Any) -> dict[str, Any]:
        self._called("connector")
        log.info("STEP 3/4: Connector %s…", rt.pipeline.connector_name)
        return {"connector": rt.pipeline.connector_name}

    def step_consumer(self, rt: Any, log: Any, *, timeout_s: float = 120) -> dict[str, Any]:
        self._called("consumer")
        log.info("STEP 4/4: Consumer…")
        return {"group": "cdc_consumer_1_1_1"}

    def copy_chunk(self, rt: Any, log: Any, table: str, ordinal: int, on_chunk: Callable[[Chunk], None]) -> None:
        self._called(f"copy {table}#{ordinal}")
        on_chunk(self.copied(table, ordinal))

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if what in self.fail:
            raise self.fail[what]()

    @contextmanager
    def _target(self, *_: Any) -> Iterator[tuple[None, Any]]:
        yield None, SimpleNamespace(chunks=lambda: list(self.chunks.values()))
