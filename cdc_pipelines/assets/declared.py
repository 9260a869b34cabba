"""What pipelines there are, found without any of their databases: the control store's records, then plain files.

Loading Dagster definitions must work while every server is down, and one broken file must not take the other
pipelines out of the UI. So whatever can't be read is left out, and said in the log of the code location.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import CdcError
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.pipeline_file import load_pipeline, pipelines_dir
from cdc_pipelines.replication.secrets import redact

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeclaredTable:
    """One replicated table. `mapped` is None until the pipeline is configured: a file alone tells no columns."""

    name: str
    target_schema: str
    target_name: str
    mapped: MappedTable | None = None


@dataclass(frozen=True)
class DeclaredPipeline:
    """One pipeline with the tables that are known of it."""

    spec: Pipeline
    tables: tuple[DeclaredTable, ...]
    configured: bool

    @property
    def name(self) -> str:
        return self.spec.name


def declared_pipelines(directory: Path | None = None) -> list[DeclaredPipeline]:
    """All pipelines by name. What is configured wins over its file, which may have been edited since."""
    found = {p.name: p for p in _from_files(directory or pipelines_dir())}
    found.update({p.name: p for p in _from_control_store()})
    return [found[name] for name in sorted(found)]


def _from_files(directory: Path) -> Iterator[DeclaredPipeline]:
    for file in sorted(directory.glob("*.yaml")):
        try:
            spec = load_pipeline(file)
        except CdcError as error:
            log.error("pipeline file left out of the definitions: %s", redact(str(error)))
            continue
        if isinstance(spec.tables, str):
            # `all` tables: only the source knows which, and `configure` asks it.
            yield DeclaredPipeline(spec, (), configured=False)
            continue
        tables = [DeclaredTable(t.source, spec.target.schema_, t.target or t.source) for t in spec.tables]
        yield DeclaredPipeline(spec, tuple(tables), configured=False)


def _from_control_store() -> list[DeclaredPipeline]:
    try:
        # Closed before anything is forked from this process.
        with contextlib.closing(ControlStore.open()) as store:
            return configured_pipelines(store)
    except (CdcError, SQLAlchemyError, OSError) as error:
        log.warning(
            "the control store can't be read, so the definitions hold only what files in %s say: %s",
            pipelines_dir(), redact(str(error)),
        )
        return []


def configured_pipelines(store: ControlStore) -> list[DeclaredPipeline]:
    """Those of the control store, as they are configured now."""
    return [
        DeclaredPipeline(
            record.spec,
            tuple(DeclaredTable(t.name, t.target_schema, t.target_name, t) for t in record.tables),
            configured=True,
        )
        for record in store.list()
    ]
