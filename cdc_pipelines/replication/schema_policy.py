"""What a pipeline does where its source's schema changes: the section `schema_changes` of its file."""

from typing import Any, Literal

from pydantic import Field
from pydantic.fields import FieldInfo

from cdc_pipelines.replication.strict import Strict

Policy = Literal["apply", "ignore", "resync", "stop"]


def _policy(default: Policy, statements: str, apply: str, ignore: str = "") -> Any:
    """A kind of change; `apply` and `ignore` say what these do (empty: there is no such choice)."""
    words = f"{statements}. `apply`: {apply}." + (f" `ignore`: {ignore}." if ignore else "")
    return Field(default, description=words, json_schema_extra={"statements": statements, "apply": apply,
                                                                "ignore": ignore})


class SchemaChanges(Strict):
    """What is done where a replicated table's definition changes while the stream runs.

    `resync`: from there on the table is left as it is, until it has been copied anew. `stop`: the pipeline stops right
    before the change.
    """

    add_column: Literal["apply", "resync", "stop"] = _policy(
        "apply", "ADD COLUMN, wherever it is put",
        "the target gets the column, and its rows the value that the source's rows have in it; where only the source "
        "knows that value (computed, volatile), the table is copied anew",
    )
    drop_column: Literal["ignore", "apply", "resync", "stop"] = _policy(
        "ignore", "DROP COLUMN", "the target's column is dropped",
        "the target's column stays, may be null, and is compared no more; it gives way where its name is used again",
    )
    rename_column: Literal["apply", "resync", "stop"] = _policy(
        "apply", "RENAME COLUMN, CHANGE", "the target's column gets the new name"
    )
    change_column: Literal["apply", "resync", "stop"] = _policy(
        "apply", "MODIFY, CHANGE, CONVERT TO CHARACTER SET: type, length, labels, character set, NULL and NOT NULL",
        "the target's column gets the new type where no value in the table is changed by it; else the table is copied "
        "anew",
    )
    change_key: Literal["apply", "resync", "stop"] = _policy(
        "apply", "ADD or DROP PRIMARY KEY, a unique index that is the key", "the target's table gets the new key"
    )
    create_table: Literal["apply", "ignore", "stop"] = _policy(
        "apply", "CREATE TABLE, also LIKE and SELECT, where `tables` is `all` or names it",
        "the table is made on the target and replicated from its first row on", "it is not replicated",
    )
    drop_table: Literal["ignore", "apply", "stop"] = _policy(
        "ignore", "DROP TABLE", "the target's table is dropped",
        "the target's table stays as it is and is replicated no more; it gives way where its name is used again",
    )
    rename_table: Literal["apply", "resync", "stop"] = _policy(
        "apply", "RENAME TABLE, ALTER TABLE RENAME, also of two tables that swap names",
        "the target's table gets the new name; where the rows under a name come from a table that was not replicated, "
        "it is copied anew",
    )
    truncate: Literal["apply", "ignore", "resync", "stop"] = _policy(
        "apply", "TRUNCATE TABLE", "the target's rows are deleted", "they stay: both sides differ from then on"
    )
    moved_rows: Literal["resync", "stop"] = Field(
        "resync",
        description="What changes rows without telling of them: TRUNCATE, DROP and EXCHANGE PARTITION, DISCARD "
        "TABLESPACE, ALTER IGNORE, CREATE OR REPLACE TABLE.",
    )
    unknown: Literal["resync", "stop"] = Field(
        "resync", description="What is not understood, or can be understood in more than one way."
    )


WITHOUT_EFFECT = (
    "another place (FIRST, AFTER), default, comment, index, foreign key, check, ORDER BY, AUTO_INCREMENT, engine and "
    "other options, ADD, REORGANIZE, COALESCE, REBUILD and REMOVE PARTITION"
)


def kinds() -> dict[str, FieldInfo]:
    """The kinds of changes that have a policy, in the order of the file."""
    return dict(SchemaChanges.model_fields)
