"""What a pipeline does where its source's schema changes: the section `schema_changes` of its file."""

import typing
from typing import Any, Literal, NamedTuple

from pydantic import Field

from cdc_pipelines.replication.strict import Strict


def _policy(default: str, statements: str, *, apply: str = "", ignore: str = "") -> Any:
    """A kind of change; `apply` and `ignore` say what these policies do."""
    words = f"{statements}." + (f" `apply`: {apply}." if apply else "") + (f" `ignore`: {ignore}." if ignore else "")
    return Field(default, description=words, json_schema_extra={"x-statements": statements, "x-apply": apply,
                                                                "x-ignore": ignore})


class SchemaChanges(Strict):
    """What is done where the definition of a replicated table changes while the stream runs.

    `resync`: from there on the table is left as it is, until it is copied anew. `stop`: the pipeline stops right before
    the change. See [Schema changes](schema-changes.md).
    """

    add_column: Literal["apply", "resync", "stop"] = _policy(
        "apply", "ADD COLUMN, wherever it is put",
        apply="the target gets the column, and its rows the value that the source's rows have in it; where only the "
        "source knows that value (computed, volatile), as `resync`",
    )
    drop_column: Literal["ignore", "apply", "resync", "stop"] = _policy(
        "ignore", "DROP COLUMN",
        apply="the target's column is dropped",
        ignore="the target's column stays, may be null, and is compared no more; it gives way where its name is used "
        "again",
    )
    rename_column: Literal["apply", "resync", "stop"] = _policy(
        "apply", "RENAME COLUMN, CHANGE", apply="the target's column gets the new name"
    )
    change_column: Literal["apply", "resync", "stop"] = _policy(
        "apply", "MODIFY, CHANGE, CONVERT TO CHARACTER SET: type, length, labels, character set, NULL and NOT NULL",
        apply="the target's column gets the new type, where that changes none of the table's values; else as `resync`",
    )
    change_key: Literal["apply", "resync", "stop"] = _policy(
        "apply", "ADD and DROP PRIMARY KEY; a unique index that serves as the key",
        apply="the target's table gets the new key",
    )
    create_table: Literal["apply", "ignore", "stop"] = _policy(
        "apply", "CREATE TABLE, also LIKE and SELECT, where `tables` is `all` or names it",
        apply="the table is made on the target and replicated from its first row on", ignore="it is not replicated",
    )
    drop_table: Literal["ignore", "apply", "stop"] = _policy(
        "ignore", "DROP TABLE",
        apply="the target's table is dropped",
        ignore="the target's table stays as it is and is replicated no more; it gives way where its name is used again",
    )
    rename_table: Literal["apply", "resync", "stop"] = _policy(
        "apply", "RENAME TABLE, ALTER TABLE … RENAME, also of tables that swap names",
        apply="the target's table gets the new name; where the rows under a name come from a table that is not "
        "replicated, or go to one, as `resync`",
    )
    truncate: Literal["apply", "ignore", "resync", "stop"] = _policy(
        "apply", "TRUNCATE TABLE",
        apply="the target's rows are deleted", ignore="they stay; both sides differ from then on",
    )
    moved_rows: Literal["resync", "stop"] = _policy(
        "resync", "What changes rows and does not tell them: TRUNCATE, DROP and EXCHANGE PARTITION, DISCARD "
        "TABLESPACE, ALTER IGNORE, CREATE OR REPLACE TABLE, DROP DATABASE",
    )
    unknown: Literal["resync", "stop"] = _policy(
        "resync", "What is not understood, or can be understood in more than one way"
    )


WITHOUT_EFFECT = (
    "another place (FIRST, AFTER), default, comment, index, foreign key, check, ORDER BY, AUTO_INCREMENT = n, engine "
    "and other options; ADD, REORGANIZE, COALESCE, REBUILD and REMOVE PARTITION"
)


class Kind(NamedTuple):
    """A kind of change that has a policy. `words`: what `apply` and `ignore` do; `also`: the other policies."""

    statements: str
    default: str
    words: dict[str, str]
    also: list[str]


def kinds() -> dict[str, Kind]:
    """In the order of the file."""
    found = {}
    for name, field in SchemaChanges.model_fields.items():
        extra: Any = field.json_schema_extra
        policies = typing.get_args(field.annotation)
        words = {policy: extra[f"x-{policy}"] for policy in ("apply", "ignore") if policy in policies}
        also = [policy for policy in policies if policy not in words]
        found[name] = Kind(extra["x-statements"], field.default, words, also)
    return found
