"""What a pipeline's file may say about a table's rows: which are replicated, and what becomes of deleted ones."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from cdc_pipelines.replication.catalog import ALL_ROWS, MappedColumn, RowRules, Table
from cdc_pipelines.replication.errors import CdcError, ConfigurationError
from cdc_pipelines.replication.row_filter.binding import bind
from cdc_pipelines.replication.row_filter.language import columns_of, parse
from cdc_pipelines.replication.strict import Strict
from cdc_pipelines.replication.value_rules import Values
from cdc_pipelines.replication.values import form_for, heeded

_LONGEST = 4000  # characters


class RowShape(Strict):
    """The rows of one table, as they are to be on the target."""

    where: Annotated[str, StringConstraints(strip_whitespace=True, max_length=_LONGEST)] | None = Field(
        None, description="A condition that the replicated rows fulfil; all rows by default. See docs/shaping.md."
    )
    deletes: Literal["apply", "soft"] = Field(
        "apply",
        description="What a delete on the source does. `apply`: the row is deleted. `soft`: it stays, and the time of "
        "the delete is written into it.",
    )
    deleted_column: Annotated[str, StringConstraints(min_length=1)] = Field(
        "_deleted_at", description="The target's column for that time, with `deletes: soft`."
    )

    @field_validator("where")
    @classmethod
    def _is_a_condition(cls, text: str | None) -> str | None:
        if text is not None:
            parse(text)
        return text


def rules_of_rows(
    shape: RowShape | None, table: Table, columns: tuple[MappedColumn, ...], pair: tuple[str, str], values: Values
) -> RowRules:
    """What a table's mapping keeps of its shape. `pair`: the kinds of the two servers.

    Raises ConfigurationError where the table can't have it.
    """
    if shape is None:
        return ALL_ROWS
    if shape.deletes == "soft":
        _require_room(shape.deleted_column, table, columns)
    if shape.where is None:
        return RowRules(deletes=shape.deletes, deleted_column=shape.deleted_column)
    condition = parse(shape.where)
    known = {column.name: column for column in table.columns}
    replicated = {column.source.name for column in columns}
    try:
        bind(condition, known)
    except ValueError as error:
        raise ConfigurationError(f"shape.{table.name}.where: {error}") from error
    beside = []
    for name in columns_of(condition):
        if name in replicated:
            continue
        rules = heeded(known[name], values.rules(table.name, name))
        try:
            form = form_for(known[name], *pair, table.name, rules)
        except CdcError as error:
            raise ConfigurationError(f"shape.{table.name}.where: {error.message}") from error
        beside.append(MappedColumn(known[name], name, form.target_type, rules))
    return RowRules(shape.where, shape.deletes, shape.deleted_column, tuple(beside))


def _require_room(name: str, table: Table, columns: tuple[MappedColumn, ...]) -> None:
    where = f"shape.{table.name}"
    if not table.key:
        raise ConfigurationError(
            f"{where}.deletes: soft needs a key, which tells a row that comes back from another one; the table has "
            "none. Give it a primary key on the source, or say `deletes: apply`"
        )
    if name in {column.target_name for column in columns}:
        raise ConfigurationError(
            f"{where}.deleted_column: the table has a column {name} of its own; give a name that it does not have"
        )
