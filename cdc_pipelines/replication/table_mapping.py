"""How one table of the source is mapped, and which tables that are made there later are wanted."""

import hashlib
from collections.abc import Callable

import msgspec

from cdc_pipelines.replication.catalog import MappedColumn, MappedTable, Table
from cdc_pipelines.replication.column_shape import NO_SHAPE, ColumnShape, ColumnShapes
from cdc_pipelines.replication.errors import CdcError, ConfigurationError
from cdc_pipelines.replication.pipeline import Pipeline, TableChoice
from cdc_pipelines.replication.row_shape import rules_of_rows, settings_of
from cdc_pipelines.replication.uncapturable import why_uncapturable
from cdc_pipelines.replication.value_rules import Values
from cdc_pipelines.replication.values import form_for, heeded
from cdc_pipelines.replication.values.hashing import key_check

_MAX_NAME_BYTES = 63  # of PostgreSQL; a longer one would be cut silently
_SYSTEM_COLUMNS = {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}


def follows_new_tables(pipeline: Pipeline) -> bool:
    """Whether the connector captures tables that are made later.

    Not on MariaDB with tables left out: Debezium's parser fails on types that it doesn't know, unless it is kept from
    looking at them; and then it does not know the database's character set, and reads new tables' texts wrongly.
    """
    return pipeline.tables == "all" and not (pipeline.source.type == "mariadb" and pipeline.exclude)


def wants(pipeline: Pipeline, name: str) -> bool:
    """Whether the file wants a source's table of this name."""
    if pipeline.tables == "all":
        return name not in pipeline.exclude
    return any(choice.source == name for choice in pipeline.tables)


def new_tables(pipeline: Pipeline) -> Callable[[Table], MappedTable | None]:
    """The mapping of a table that is made on the source while the stream runs; None for one that nobody wants.

    What is returned raises ConfigurationError for a wanted one that can't be mapped.
    """
    seen = pipeline.tables != "all" or follows_new_tables(pipeline)
    return lambda table: mapping_of(pipeline, table) if seen else None


def column_names(pipeline: Pipeline) -> Callable[[str], str]:
    """What the target calls a column that comes while the stream runs.

    What is returned raises ConfigurationError for a name that the target can't have.
    """

    def name_of(name: str) -> str:
        if pipeline.values.names == "adapt":
            return _adapted(name, column=True)
        if name in _SYSTEM_COLUMNS or len(name.encode()) > _MAX_NAME_BYTES:
            raise ConfigurationError(f"the target can't have a column {name}")
        return name

    return name_of


def mapping_of(pipeline: Pipeline, table: Table) -> MappedTable | None:
    """How the file maps a table; None where it does not want it. Raises ConfigurationError where it can't be mapped."""
    if pipeline.tables == "all":
        choice = TableChoice(source=table.name) if wants(pipeline, table.name) else None
    else:
        choice = next((choice for choice in pipeline.tables if choice.source == table.name), None)
    return None if choice is None else map_table(pipeline, table, choice)


def map_table(pipeline: Pipeline, table: Table, choice: TableChoice) -> MappedTable:
    """Raises ConfigurationError with what is wrong, which does not name the table."""
    if why := why_uncapturable(table, pipeline.source.type):
        raise ConfigurationError(why)
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
    shapes = pipeline.shape.get(table.name, ColumnShapes())
    problems = [*_misshapen(shapes, table, wanted), *_merging(pipeline.values, table), *_not_to_be_added(shapes, names)]
    columns = []
    for source_name, name in zip(wanted, names, strict=True):
        column = table.column(source_name)
        try:
            rules = heeded(column, pipeline.values.rules(table.name, source_name), is_key=source_name in table.key)
            shape = _shape(shapes, table.name, source_name)
            form = form_for(column, *pipeline.pair, table.name, rules, shape)
        except CdcError as error:
            problems.append(f"{error.message} ({error.next_step})")
            continue
        columns.append(MappedColumn(column, name, form.target_type, rules, shape))
    if problems:
        raise ConfigurationError("; ".join(problems))
    rows = rules_of_rows(
        pipeline.shape.get(table.name), table, tuple(columns), pipeline.pair, pipeline.values
    )
    for setting, name in settings_of(rows).items():
        _require_name(setting, name)
        if name in shapes.add:
            raise ConfigurationError(f"shape, add: {name} is also {setting}; give one of them another name")
    return MappedTable(
        table, pipeline.target.schema_, target_name, tuple(columns), whole=choice.columns is None,
        rules=pipeline.values.rules(), rows=rows,
        added=tuple(added.column(name, pipeline.name) for name, added in shapes.add.items()),
        shaped=tuple(sorted(name.lower() for name in shapes.columns)),
    )


def _shape(shapes: ColumnShapes, table: str, column: str) -> ColumnShape:
    """Raises ConfigurationError where an HMAC's key can't be had."""
    shaped = shapes.columns.get(column)
    if shaped is None:
        return NO_SHAPE
    shape = shaped.shape()
    if shape.key is None:
        return shape
    return msgspec.structs.replace(shape, key_check=key_check(shape.key, f"{table}.{column}"))


def _misshapen(shapes: ColumnShapes, table: Table, wanted: list[str]) -> list[str]:
    found = []
    for name, shaped in shapes.columns.items():
        if name not in wanted:
            found.append(f"shape.{table.name}.columns: no column {name} is replicated; there are {', '.join(wanted)}")
        elif name in table.key and not shaped.shape().keeps_apart:
            found.append(
                f"shape.{table.name}.columns.{name}: a column of the key can't be masked or truncated, as two rows "
                "could become one; give it a hash"
            )
    return found


def _merging(values: Values, table: Table) -> list[str]:
    return [
        f"values.columns.{table.name}.{name}.{rule}: in a column of the key nothing can be left out or replaced, as "
        "two rows could become one; leave the rule out, and give such rows another key on the source"
        for name in table.key for rule in values.merging(table.name, name)
    ]


def _not_to_be_added(shapes: ColumnShapes, names: list[str]) -> list[str]:
    """`names` are those of the replicated columns on the target."""
    found = []
    for name in shapes.add:
        if name in names:
            found.append(f"shape, add: the source has a column {name} already; give the added one another name")
        elif name in _SYSTEM_COLUMNS or len(name.encode()) > _MAX_NAME_BYTES:
            found.append(f"shape, add: PostgreSQL can't have a column {name}; give another, shorter name")
    return found


def _require_name(setting: str, name: str) -> None:
    if len(name.encode()) > _MAX_NAME_BYTES or name in _SYSTEM_COLUMNS:
        raise ConfigurationError(
            f"{setting}: PostgreSQL can't have a column {name}; give a name of at most {_MAX_NAME_BYTES} bytes, "
            f"and none of {', '.join(sorted(_SYSTEM_COLUMNS))}"
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
