"""What a pipeline's file may say about a table's rows: which are replicated, and what becomes of former ones."""

from typing import Annotated, Literal, Self

import msgspec
from pydantic import Field, StringConstraints, field_validator, model_validator

from cdc_pipelines.replication.catalog import ALL_ROWS, MappedColumn, RowRules, Table
from cdc_pipelines.replication.errors import CdcError, ConfigurationError
from cdc_pipelines.replication.row_filter.binding import bind
from cdc_pipelines.replication.row_filter.language import columns_of, parse
from cdc_pipelines.replication.strict import Strict
from cdc_pipelines.replication.value_rules import Values
from cdc_pipelines.replication.values import form_for, heeded

_LONGEST = 4000  # characters

_ColumnName = Annotated[str, StringConstraints(min_length=1)]


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
    deleted_column: _ColumnName = Field(
        "_deleted_at", description="The target's column for that time, with `deletes: soft`."
    )
    history: bool = Field(
        False,
        description="Whether the target keeps every version of a row, from when and until when it was the source's. "
        "See docs/shaping.md.",
    )
    valid_from_column: _ColumnName = Field(
        "_valid_from", description="The target's column for the time from which a version is valid, with `history`."
    )
    valid_to_column: _ColumnName = Field(
        "_valid_to", description="The target's column for the time until which it was; null in the open version."
    )
    version_column: _ColumnName = Field(
        "_version", description="The target's column for the version's number among those of its key."
    )

    @field_validator("where")
    @classmethod
    def _is_a_condition(cls, text: str | None) -> str | None:
        if text is not None:
            parse(text)
        return text

    @model_validator(mode="after")
    def _one_way_to_keep_rows(self) -> Self:
        if not self.history:
            return self
        if self.deletes == "soft":
            raise ValueError(
                "history: true keeps deleted rows already, as closed versions; leave `deletes: soft` out"
            )
        names = [self.valid_from_column, self.valid_to_column, self.version_column]
        if len(set(names)) < len(names):
            raise ValueError(f"the history's columns are {', '.join(names)}; give each a name of its own")
        return self


def rules_of_rows(
    shape: RowShape | None, table: Table, columns: tuple[MappedColumn, ...], pair: tuple[str, str], values: Values
) -> RowRules:
    """What a table's mapping keeps of its shape. `pair`: the kinds of the two servers.

    Raises ConfigurationError where the table can't have it.
    """
    if shape is None:
        return ALL_ROWS
    rules = RowRules(
        deletes=shape.deletes, deleted_column=shape.deleted_column, history=shape.history,
        valid_from=shape.valid_from_column, valid_to=shape.valid_to_column, version=shape.version_column,
    )
    _require_room(rules, table, columns)
    if shape.where is None:
        return rules
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
        heed = heeded(known[name], values.rules(table.name, name))
        try:
            form = form_for(known[name], *pair, table.name, heed)
        except CdcError as error:
            raise ConfigurationError(f"shape.{table.name}.where: {error.message}") from error
        beside.append(MappedColumn(known[name], name, form.target_type, heed))
    return msgspec.structs.replace(rules, where=shape.where, beside=tuple(beside))


def settings_of(rules: RowRules) -> dict[str, str]:
    """The settings that name columns of ours: setting → the column that it names."""
    return {setting: name for setting, name in rules.asked.items() if setting.endswith("_column") and name}


def _require_room(rules: RowRules, table: Table, columns: tuple[MappedColumn, ...]) -> None:
    """What rows that stay need: a key, and names for the columns that tell them."""
    where = f"shape.{table.name}"
    if rules.ended and not table.key:
        setting, instead = ("history", "leave it out") if rules.history else ("deletes: soft", "say `deletes: apply`")
        raise ConfigurationError(
            f"{where}.{setting} needs a key, which tells a row that comes back from another one; the table has "
            f"none. Give it a primary key on the source, or {instead}"
        )
    for setting, name in settings_of(rules).items():
        if name in {column.target_name for column in columns}:
            raise ConfigurationError(
                f"{where}.{setting}: the table has a column {name} of its own; give a name that it does not have"
            )
