"""Check a pipeline's file against the live source and save it. Creates nothing in Kafka Connect or the target."""

from dataclasses import dataclass
from pathlib import Path

from cdc_pipelines.replication.catalog import MappedTable
from cdc_pipelines.replication.control.store import ControlStore, PipelineRecord
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.errors import NotConfiguredError
from cdc_pipelines.replication.operations.mapping import differences, resolve
from cdc_pipelines.replication.operations.settings_changes import Change, settings_changes
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.pipeline_file import parse_pipeline
from cdc_pipelines.replication.stream.connector import validate_extra
from cdc_pipelines.replication.table_mapping import follows_new_tables, wants


@dataclass(frozen=True)
class ConfigureResult:
    """`changes`: each with when it takes effect.

    `needs_resync`: what is on the target is of no use with another source, target or log. `record` is None where
    nothing was saved, because only the plan was asked for and the pipeline is new.
    """

    spec: Pipeline
    tables: tuple[MappedTable, ...]
    record: PipelineRecord | None
    created: bool
    changes: list[Change]
    needs_resync: bool


def configure(path: str | Path, store: ControlStore, *, plan: bool = False) -> ConfigureResult:
    """Check and save; with `plan` save nothing, and tell what saving would change.

    Raises PipelineFileError, ConfigurationError (every mistake at once) or RetryableError (source out of reach).
    """
    file = Path(path)
    return configure_text(file.read_text(encoding="utf-8") if file.is_file() else "", file, store, plan=plan)


def configure_text(text: str, file: Path, store: ControlStore, *, plan: bool = False) -> ConfigureResult:
    """Like `configure`, for a text that is (or will be) that file's."""
    spec = parse_pipeline(text, file)
    validate_extra(spec.connect.config)
    source = MySqlSource(spec.source)
    try:
        tables = resolve(spec, source.tables())
    finally:
        source.close()
    try:
        before = store.get(spec.name)
    except NotConfiguredError:
        record = None if plan else store.save_pipeline(spec, text, tables)
        return ConfigureResult(spec, tables, record, True, [], False)
    changes = settings_changes(before.spec, spec) + _table_changes(before, spec, tables)
    needs_resync = before.generation is not None and any(change.effect == "with a resync" for change in changes)
    record = before if plan else store.save_pipeline(spec, text, tables)
    return ConfigureResult(spec, tables, record, False, changes, needs_resync)


def _table_changes(before: PipelineRecord, spec: Pipeline, after: tuple[MappedTable, ...]) -> list[Change]:
    """What the stream follows by itself is there already; other tables are brought in line one by one."""
    def followed(name: str) -> bool:
        return follows_new_tables(before.spec) and wants(before.spec, name) and wants(spec, name)

    moved = set(differences(before.tables, after, followed=followed))
    return [
        Change(str(each), "at the next start, beside the stream" if each in moved else "at the next restart")
        for each in differences(before.tables, after)
    ]
