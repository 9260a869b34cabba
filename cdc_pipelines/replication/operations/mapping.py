"""From the tables of a live source and a declared pipeline to the tables that are replicated."""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Literal, NamedTuple

from cdc_pipelines.replication.catalog import MappedTable, Table
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.pipeline import Pipeline, TableChoice
from cdc_pipelines.replication.table_mapping import map_table, mapping_of


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
    chosen = {choice.source for choice in choices}
    for kind in ("resync", "verify"):
        schedule = getattr(pipeline.schedules, kind)
        strangers = [name for name in schedule.tables if name not in chosen] if schedule is not None else []
        mistakes += [f"schedules.{kind}.tables: {name} is no table of this pipeline" for name in strangers]
    mistakes += _strangers_in_rules(pipeline, by_name, {choice.source for choice in choices})
    mistakes += [f"shape: {name} is no table of this pipeline" for name in pipeline.shape if name not in chosen]
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
            mapped.append(map_table(pipeline, table, choice))
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
    """Rules and shapes of columns, or tables, that are none of the pipeline's."""
    for name in pipeline.shape:
        if name not in chosen or name not in by_name:
            yield f"shape: {name} is no table of this pipeline; it has {', '.join(sorted(chosen)[:20]) or 'none'}"
    for name, columns in pipeline.values.columns.items():
        if name not in chosen or name not in by_name:
            yield f"values.columns: {name} is no table of this pipeline"
            continue
        known = {c.name for c in by_name[name].columns}
        for column in columns:
            if column not in known:
                yield f"values.columns.{name}: no column {column}; it has {', '.join(sorted(known))}"


def resolve_table(pipeline: Pipeline, tables: Sequence[Table], name: str) -> MappedTable:
    """One of the pipeline's tables as it is to be mapped now. Raises ConfigurationError like `resolve`."""
    table = next((t for t in tables if t.name == name), None)
    if table is None:
        raise ConfigurationError(
            f"table {name}: not in database {pipeline.source.database}, which has "
            f"{', '.join(sorted(t.name for t in tables)[:20]) or 'no tables'}",
            "names are those of the source, as it writes them.",
        )
    try:
        mapped = mapping_of(pipeline, table)
    except ConfigurationError as error:
        raise ConfigurationError(f"table {name}: {error.message}", error.next_step) from error
    if mapped is None:
        raise ConfigurationError(
            f"pipeline {pipeline.name}: its configuration does not have table {name}",
            f"`cdc add-table {pipeline.name} {name}` takes it in.",
        )
    return mapped


class Difference(NamedTuple):
    """What another mapping means for one table; `str()` gives the words."""

    table: str
    kind: Literal["new", "left out", "changed"]
    words: str

    def __str__(self) -> str:
        return f"table {self.table} {self.words}"


def differences(
    before: Sequence[MappedTable], after: Sequence[MappedTable], *, followed: Callable[[str], bool] | None = None
) -> list[Difference]:
    """What changes for tables that are replicated already, by table; empty where nothing does.

    `followed`: the stream follows the source's changes, and this says of which tables it would see that they come or
    go. Then only what the pipeline's file, or another version of ours, changes is a difference.
    """
    old, new = {t.name: t for t in before}, {t.name: t for t in after}
    strange = [n for n in old.keys() ^ new.keys() if followed is None or not followed(n)]
    found = [
        Difference(n, "new", "is new") if n in new else Difference(n, "left out", "is left out") for n in strange
    ]
    for name in old.keys() & new.keys():
        a, b = old[name], new[name]
        if (a.target_schema, a.target_name) != (b.target_schema, b.target_name):
            words = f"lands in {b.target_schema}.{b.target_name} instead of {a.target_schema}.{a.target_name}"
            found.append(Difference(name, "changed", words))
        other = _columns_differ(a, b) if followed is None else _choices_differ(a, b)
        if _is_shaped_otherwise(a, b):
            found.append(Difference(name, "changed", "is shaped otherwise"))
        elif other or a.whole != b.whole:
            found.append(Difference(name, "changed", "has other columns or another key"))
        if a.rows.asked != b.rows.asked:
            found.append(Difference(name, "changed", _rows_differ(a, b)))
    return sorted(found)


def _is_shaped_otherwise(a: MappedTable, b: MappedTable) -> bool:
    ours, theirs = ({c.source.name: c.shape for c in t.columns} for t in (a, b))
    return a.added != b.added or any(ours[n] != theirs[n] for n in ours.keys() & theirs.keys())
def _rows_differ(a: MappedTable, b: MappedTable) -> str:
    old, new = a.rows.asked, b.rows.asked
    changes = [f"{what} {_said(old[what])} → {_said(new[what])}" for what in old if old[what] != new[what]]
    lost = ""
    if a.rows.soft and not b.rows.soft:
        lost = "; rows that are marked as deleted go"
    elif a.rows.history and not b.rows.history:
        lost = "; all versions but the open ones go"
    return f"has another shape: {', '.join(changes)}{lost}"


def _said(value: str) -> str:
    return value or "unset"


def _columns_differ(a: MappedTable, b: MappedTable) -> bool:
    ours, theirs = ({c.source.name: (c.target_name, c.target_type, c.rules) for c in t.columns} for t in (a, b))
    return ours != theirs or a.source.key != b.source.key


def _choices_differ(a: MappedTable, b: MappedTable) -> bool:
    """Whether columns land elsewhere, or otherwise though the source's are the same."""
    ours, theirs = ({c.source.name: c for c in t.columns} for t in (a, b))
    if not (a.whole and b.whole) and ours.keys() != theirs.keys():
        return True
    return any(
        (ours[n].target_name, ours[n].rules) != (theirs[n].target_name, theirs[n].rules)
        or (ours[n].source.full_type == theirs[n].source.full_type and ours[n].target_type != theirs[n].target_type)
        for n in ours.keys() & theirs.keys()
    )
