"""From the tables of a live source and a declared pipeline to the tables that are replicated."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence, Set

from cdc_pipelines.replication.catalog import MappedColumn, MappedTable, Table
from cdc_pipelines.replication.errors import CdcError, ConfigurationError
from cdc_pipelines.replication.pipeline import Pipeline, TableChoice
from cdc_pipelines.replication.values import form_for, heeded

_MAX_NAME_BYTES = 63  # of PostgreSQL; a longer one would be cut silently
_SYSTEM_COLUMNS = {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}


def resolve(pipeline: Pipeline, tables: Sequence[Table]) -> tuple[MappedTable, ...]:
    """The mapped tables, sorted by name. Raises ConfigurationError with every mistake at once."""
    by_name = {t.name: t for t in tables}
    mistakes: list[str] = []
    if pipeline.tables == "all":
        unknown = [name for name in pipeline.exclude if name not in by_name]
        mistakes += [f"exclude: the source has no table {name}" for name in unknown]
        choices = [TableChoice(source=name) for name in by_name if name not in pipeline.exclude]
    else:
        choices = list(pipeline.tables)
    if pipeline.schedules.verify is not None:
        chosen = {choice.source for choice in choices}
        strangers = [name for name in pipeline.schedules.verify.tables if name not in chosen]
        mistakes += [f"schedules.verify.tables: {name} is no table of this pipeline" for name in strangers]
    mistakes += _strangers_in_rules(pipeline, by_name, {choice.source for choice in choices})
    mapped: list[MappedTable] = []
    for choice in choices:
        table = by_name.get(choice.source)
        if table is None:
            mistakes.append(
                f"table {choice.source}: not in database {pipeline.source.database}, which has "
                f"{', '.join(sorted(by_name)[:20]) or 'no tables'}"
            )
            continue
        try:
            mapped.append(_map(pipeline, table, choice))
        except ConfigurationError as error:
            mistakes.append(f"table {table.name}: {error.message}")
    targets = [t.target_name for t in mapped]
    mistakes += [
        f"target name {n} stands for more than one table" for n in sorted({t for t in targets if targets.count(t) > 1})
    ]
    if not mapped and not mistakes:
        mistakes.append(f"database {pipeline.source.database} has no tables")
    if mistakes:
        raise ConfigurationError(
            f"pipeline {pipeline.name}: {len(mistakes)} mistake(s) in the mapping:\n"
            + "\n".join(f"  - {mistake}" for mistake in mistakes),
            "mend the pipeline's file; `cdc discover` shows what the source has.",
        )
    return tuple(sorted(mapped, key=lambda t: t.name))


def _strangers_in_rules(pipeline: Pipeline, by_name: Mapping[str, Table], chosen: Set[str]) -> Iterator[str]:
    """Rules of columns that are none of the pipeline's."""
    for name, columns in pipeline.values.columns.items():
        if name not in chosen or name not in by_name:
            yield f"values.columns: {name} is no table of this pipeline"
            continue
        known = {c.name for c in by_name[name].columns}
        for column in columns:
            if column not in known:
                yield f"values.columns.{name}: no column {column}; it has {', '.join(sorted(known))}"


def _map(pipeline: Pipeline, table: Table, choice: TableChoice) -> MappedTable:
    known = [c.name for c in table.columns]
    for label, names in (("columns", choice.columns or []), ("rename", choice.rename)):
        unknown = [n for n in names if n not in known]
        if unknown:
            raise ConfigurationError(f"{label}: no column {', '.join(unknown)}; it has {', '.join(known)}")
    wanted = [n for n in known if choice.columns is None or n in choice.columns]
    missing = [k for k in table.key if k not in wanted]
    if missing:
        raise ConfigurationError(f"columns: the key's column(s) {', '.join(missing)} must be replicated")
    adapts = pipeline.values.names == "adapt"
    target_name = choice.target or (_adapted(table.name) if adapts else table.name)
    names = [choice.rename.get(n) or (_adapted(n, column=True) if adapts else n) for n in wanted]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ConfigurationError(f"more than one column would be named {', '.join(twice)}")
    long = [n for n in [target_name, *names] if len(n.encode()) > _MAX_NAME_BYTES]
    if long:
        raise ConfigurationError(
            f"name(s) longer than {_MAX_NAME_BYTES} bytes: {', '.join(long)}; give a shorter one, or set values.names "
            "to adapt"
        )
    taken = [n for n in names if n in _SYSTEM_COLUMNS]
    if taken:
        raise ConfigurationError(
            f"PostgreSQL has columns of its own called {', '.join(taken)}; give another name under rename, or set "
            "values.names to adapt"
        )
    columns = []
    problems = []
    for source_name, name in zip(wanted, names, strict=True):
        column = table.column(source_name)
        try:
            rules = heeded(column, pipeline.values.rules(table.name, source_name))
            form = form_for(column, pipeline.source.type, pipeline.target.type, table.name, rules)
        except CdcError as error:
            problems.append(f"{error.message} ({error.next_step})")
            continue
        columns.append(MappedColumn(column, name, form.target_type, rules))
    if problems:
        raise ConfigurationError("; ".join(problems))
    return MappedTable(
        table, pipeline.target.schema_, target_name, tuple(columns), whole=choice.columns is None,
        rules=pipeline.values.rules(),
    )


def _adapted(name: str, *, column: bool = False) -> str:
    """The name, or one made from it that PostgreSQL can have: the same at every look."""
    if column and name in _SYSTEM_COLUMNS:
        return name + "_"
    whole = name.encode()
    if len(whole) <= _MAX_NAME_BYTES:
        return name
    digest = hashlib.sha256(whole).hexdigest()[:8]
    return f"{whole[: _MAX_NAME_BYTES - 9].decode(errors='ignore')}_{digest}"


def differences(
    before: Sequence[MappedTable], after: Sequence[MappedTable], *, streamed: bool = False
) -> list[str]:
    """What changes for tables that are replicated already, in words; empty where nothing does.

    With `streamed` a column that only one side knows is no difference where all columns are wanted: the stream adds
    what the source gains, before or after the pipeline is configured anew.
    """
    old, new = {t.name: t for t in before}, {t.name: t for t in after}
    words = [f"table {n} is new" for n in new if n not in old] + [f"table {n} is left out" for n in old if n not in new]
    for name in old.keys() & new.keys():
        a, b = old[name], new[name]
        if (a.target_schema, a.target_name) != (b.target_schema, b.target_name):
            words.append(
                f"table {name} lands in {b.target_schema}.{b.target_name} instead of {a.target_schema}.{a.target_name}"
            )
        ours, theirs = ({c.source.name: (c.target_name, c.target_type, c.rules) for c in t.columns} for t in (a, b))
        if streamed and a.whole and b.whole:
            common = ours.keys() & theirs.keys()
            ours, theirs = ({n: columns[n] for n in common} for columns in (ours, theirs))
        if ours != theirs or a.source.key != b.source.key or a.whole != b.whole:
            words.append(f"table {name} has other columns or another key")
    return sorted(words)
