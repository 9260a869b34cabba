"""Taking a table into a running pipeline, and leaving one out: shown beforehand, kept in the pipeline's file."""

import difflib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdc_pipelines.replication.catalog import MappedTable, Table
from cdc_pipelines.replication.control.store import PipelineRecord
from cdc_pipelines.replication.errors import CdcError, ConfigurationError
from cdc_pipelines.replication.lanes.requests import with_table, without_table
from cdc_pipelines.replication.operations import file_tables
from cdc_pipelines.replication.operations.mapping import resolve_table
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.operations.saving import staged
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.web.launch import ADD, REMOVE
from cdc_pipelines.web.parts import Parts
from cdc_pipelines.web.tables import Run, launch, require, require_stream


@dataclass(frozen=True)
class FileEdit:
    """What becomes of the pipeline's file. `text`: its new one; empty: it is left alone, because `left_alone`."""

    file: Path
    text: str
    left_alone: str = ""
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What it comes to: `spec` and `tables` of the pipeline, `table` as it is mapped, the file's change."""

    spec: Pipeline
    tables: tuple[MappedTable, ...]
    table: MappedTable
    edit: FileEdit

    @property
    def still_named(self) -> tuple[str, ...]:
        """Settings that go on naming the table though it is no longer the pipeline's: a file with them is refused."""
        name, schedules = self.table.name, self.spec.schedules
        places = {"shape": self.spec.shape, "values.columns": self.spec.values.columns} | {
            f"schedules.{kind}.tables": each.tables
            for kind in ("resync", "verify") if (each := getattr(schedules, kind)) is not None
        }
        return tuple(place for place, names in places.items() if name in names)


@dataclass(frozen=True)
class Candidate:
    """A table of the source that the pipeline does not have. `refusal`: why it can't be taken in as it is."""

    table: Table
    refusal: str = ""


def candidates(parts: Parts, record: PipelineRecord) -> list[Candidate]:
    """By name. Raises RetryableError where the source is out of reach, ProblemError where nothing streams."""
    require_stream(record)
    known = {each.name for each in record.tables}
    with Runtime(record, parts.store, impatient=True) as rt:
        there = rt.source.tables()
    found = []
    for table in sorted(there, key=lambda each: each.name):
        if table.name in known:
            continue
        try:
            resolve_table(with_table(record.spec, table.name, None), there, table.name)
            found.append(Candidate(table))
        except ConfigurationError as error:
            found.append(Candidate(table, error.message.removeprefix(f"table {table.name}: ")))
    return found


def plan_add(parts: Parts, record: PipelineRecord, name: str, target: str | None = None) -> Plan:
    """Raises ConfigurationError where the source has no such table, or it can't be replicated as it is."""
    require_stream(record)
    spec = with_table(record.spec, name, target)
    with Runtime(record, parts.store, impatient=True) as rt:
        table = resolve_table(spec, rt.source.tables(), name)
    if target not in (None, table.target_name):
        raise ConfigurationError(
            f"table {name} of pipeline {record.name} lands in {table.target_name}, by its configuration",
            f"leave `target` out, instead of {target}; or name the table in the pipeline's file.",
        )
    others = [each for each in record.tables if each.name != name]
    if taken := next((each.name for each in others if each.target_name == table.target_name), None):
        raise ConfigurationError(
            f"table {table.target_name} of the target is that of {taken} already", "give another name on the target."
        )
    edit = _edit(parts, record, lambda text, file: file_tables.text_with(text, file, name, target))
    return Plan(spec, tuple(sorted([*others, table], key=lambda each: each.name)), table, edit)


def plan_remove(parts: Parts, record: PipelineRecord, name: str) -> Plan:
    """Raises ConfigurationError where it is the only table, ProblemError where the pipeline has no such one."""
    require(record, name)
    others = tuple(each for each in record.tables if each.name != name)
    if not others:
        raise ConfigurationError(
            f"{name} is the only table of pipeline {record.name}", f"`cdc teardown {record.name}` ends the pipeline."
        )
    [table] = [each for each in record.tables if each.name == name]
    edit = _edit(parts, record, lambda text, file: file_tables.text_without(text, file, name))
    return Plan(without_table(record.spec, name), others, table, edit)


def add(parts: Parts, record: PipelineRecord, name: str, target: str | None = None) -> Run:
    """Launch the taking in of a table, once the source was seen to have it in a form that can be replicated."""
    plan = plan_add(parts, record, name, target)
    with _kept(parts, record, plan) as prepare:
        return launch(parts, record, ADD, name, {"table": name, "target": target or ""}, prepare)


def remove(parts: Parts, record: PipelineRecord, name: str, *, drop_table: bool) -> Run:
    """Launch the leaving out of a table, or of what an earlier try has left of it on the target."""
    config: dict[str, Any] = {"table": name, "drop_table": drop_table}
    if name not in {each.name for each in record.tables}:
        require(record, name, {each["table"] for each in parts.watch.status(record).get("tables", [])})
        return launch(parts, record, REMOVE, name, config)
    plan = plan_remove(parts, record, name)
    with _kept(parts, record, plan) as prepare:
        return launch(parts, record, REMOVE, name, config, prepare)


def _edit(parts: Parts, record: PipelineRecord, change: Callable[[str, Path], str | None]) -> FileEdit:
    """The change of the file, where it is what was configured, and can be changed."""
    file = parts.settings.pipelines / f"{record.name}.yaml"
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return FileEdit(file, "", "it is not where this page looks for it")
    if text != record.file_text:
        return FileEdit(file, "", "it was changed since it was configured")
    try:
        changed = change(text, file)
    except CdcError:
        changed = None
    if changed is None:
        return FileEdit(file, "", "its tables are written in a way that is not understood here")
    if not os.access(file.parent, os.W_OK):
        return FileEdit(file, "", "this page's server may not write there")
    return FileEdit(file, changed, "" if changed != text else "it says so already", _changed_lines(text, changed))


def _changed_lines(before: str, after: str) -> tuple[str, ...]:
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return tuple(line for line in list(diff)[2:] if not line.startswith("@@"))


@contextmanager
def _kept(parts: Parts, record: PipelineRecord, plan: Plan) -> Iterator[Callable[[], None]]:
    """What saves the plan with the file, just before the launch. After an error both are as they were.

    Where the file is left alone, the run itself changes what is configured.
    """
    if not plan.edit.lines:
        yield lambda: None
        return
    saved = False

    def save() -> None:
        nonlocal saved
        parts.store.save_pipeline(plan.spec, plan.edit.text, list(plan.tables))
        saved = True

    with staged(plan.edit.text, plan.edit.file) as put:
        try:
            yield save
        except Exception:
            if saved:
                parts.store.save_pipeline(record.spec, record.file_text, list(record.tables))
            raise
        if saved:
            put()
