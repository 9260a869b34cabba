"""Check a pipeline's file against the live source and save it. Creates nothing in Kafka Connect or the target."""

from dataclasses import dataclass
from pathlib import Path

from cdc_pipelines.replication.control.store import ControlStore, PipelineRecord
from cdc_pipelines.replication.databases.mysql.source import MySqlSource
from cdc_pipelines.replication.errors import NotConfiguredError
from cdc_pipelines.replication.operations.mapping import differences, resolve
from cdc_pipelines.replication.pipeline_file import parse_pipeline
from cdc_pipelines.replication.stream.connector import validate_extra


@dataclass(frozen=True)
class ConfigureResult:
    """`changes` are in words. `needs_resync`: what is on the target was copied under another mapping."""

    record: PipelineRecord
    created: bool
    changes: list[str]
    needs_resync: bool


def configure(path: str | Path, store: ControlStore) -> ConfigureResult:
    """Raises PipelineFileError, ConfigurationError (every mistake at once) or RetryableError (source out of reach)."""
    file = Path(path)
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
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
        return ConfigureResult(store.save_pipeline(spec, text, tables), True, [], False)
    changes = differences(before.tables, tables)
    moved = bool(differences(before.tables, tables, streamed=True))
    for label, old, new in (
        ("source", before.spec.source, spec.source),
        ("target", before.spec.target, spec.target),
        ("topic prefix", before.spec.topic_prefix, spec.topic_prefix),
        ("connector", before.spec.connector_name, spec.connector_name),
    ):
        if old != new:
            changes.append(f"{label} is another")
            moved = True
    if before.spec.schedules != spec.schedules:
        changes.append("schedules are others: reload Dagster's code location, which then follows them")
    needs_resync = moved and before.generation is not None
    return ConfigureResult(store.save_pipeline(spec, text, tables), False, changes, needs_resync)
