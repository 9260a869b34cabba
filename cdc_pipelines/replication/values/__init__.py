"""One canonical form per value: for every (source type, target type) how it is copied, applied and compared.

Copy, apply and verify all take their form from here, so they can't drift apart.
"""

from cdc_pipelines.replication.catalog import Column, MappedColumn
from cdc_pipelines.replication.column_shape import NO_SHAPE, ColumnShape
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.value_rules import NO_RULES, ValueRules
from cdc_pipelines.replication.values import charsets, mysql_postgres
from cdc_pipelines.replication.values.form import Case, Form
from cdc_pipelines.replication.values.shaping import shaped

_WAYS = {("mysql", "postgres"), ("mariadb", "postgres")}


def form_for(
    column: Column, source: str, target: str, table: str = "", rules: ValueRules = NO_RULES,
    shape: ColumnShape = NO_SHAPE,
) -> Form:
    """The canonical form of a column between two kinds of server.

    Raises ConfigurationError where the pair or the column's type is not supported, or the shape does not fit it.
    """
    where = f"{table}.{column.name}" if table else column.name
    if (source, target) not in _WAYS:
        ways = ", ".join(f"{s} → {t}" for s, t in sorted(_WAYS))
        raise ConfigurationError(f"no way from {source} to {target}", f"supported: {ways}.")
    case = Case(column, rules, source, where)  # type: ignore[arg-type]
    form = mysql_postgres.form(case)
    if form is None:
        kind = column.full_type
        if not charsets.is_told(column.charset, source):
            kind += f" in {column.charset}, whose characters the change log does not tell apart"
        raise ConfigurationError(
            f"column {where} has type {kind}, which has no form on {target}",
            "leave it out: list the table's other columns under `columns` in the pipeline's file.",
        )
    return shaped(form, case, shape)


def form_of(column: MappedColumn, source: str, target: str, table: str = "") -> Form:
    """The form of a mapped column, by the rules and the shape that its mapping holds. Raises as `form_for`."""
    return form_for(column.source, source, target, table, column.rules, column.shape)


def forms_of(columns: tuple[MappedColumn, ...], source: str, target: str, table: str = "") -> list[Form]:
    """The forms of a mapped table's columns, in their order."""
    return [form_of(c, source, target, table) for c in columns]


def heeded(column: Column, rules: ValueRules, *, is_key: bool = False) -> ValueRules:
    """The rules that a column's type heeds; the others as by default, so that they make no difference."""
    return (rules.of_key() if is_key else rules).only(mysql_postgres.heeds(column))
