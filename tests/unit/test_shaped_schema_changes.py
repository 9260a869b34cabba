"""Schema changes of tables whose columns the file shapes: followed where their values stay, never in clear."""

from typing import Any

import msgspec
import pytest

from cdc_pipelines.replication.catalog import MappedTable, Table
from cdc_pipelines.replication.changes.batches import Detach, Redefine, RenameTable
from cdc_pipelines.replication.column_shape import NO_SHAPE, AddedColumn, ColumnShape
from cdc_pipelines.replication.stream.schema_event import Rules
from cdc_pipelines.replication.value_rules import ValueRules
from tests.unit import schema_events
from tests.unit.log_reading import COLUMNS, KEYED
from tests.unit.log_records import Log
from tests.unit.schema_events import changed, without_columns

SHAPED = msgspec.structs.replace(
    KEYED,
    columns=(KEYED.columns[0], msgspec.structs.replace(
        KEYED.columns[1], target_type="varchar(64)", shape=ColumnShape(hash="sha256"))),
    shaped=("v",), added=(AddedColumn("_op", "text", "operation"),),
)
ID, V = COLUMNS


def judged(log: Log, table: MappedTable = SHAPED) -> list[Any]:
    """What the log's schema event comes to."""
    items = schema_events.judged(log, Rules(new_table=renamed), table=table)
    return [item for item in items if isinstance(item, Redefine | Detach | RenameTable)]


def renamed(table: Table) -> MappedTable:
    return msgspec.structs.replace(KEYED, source=table, target_name=table.name)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("modify v varchar(20)", [ID, {**V, "length": 20}]),
        ("change v w varchar(9)", [ID, {**V, "name": "w"}]),
        ("modify v text", [ID, {"name": "v", "typeName": "TEXT"}]),
    ],
)
def test_a_shaped_column_is_followed_where_its_values_stay(text: str, columns: list[dict[str, Any]]) -> None:
    (found,) = judged(changed(f"alter table t {text}", columns))
    assert isinstance(found, Redefine)
    assert found.questions == []
    assert (found.after.columns[1].target_type, found.after.columns[1].shape) == (
        "varchar(64)", ColumnShape(hash="sha256")
    )
    assert (found.after.shaped, found.after.added) == (SHAPED.shaped, SHAPED.added)


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        ("modify v varchar(5)", [ID, {**V, "length": 5}], "has v, which the file shapes, as varchar(5), where it was"),
        ("modify v double", [ID, {"name": "v", "typeName": "DOUBLE"}], "which hash: sha256 does not apply to"),
        ("drop v, add v varchar(9)", COLUMNS, "has another column v now, and the file shapes that name"),
        ("change v w varchar(9), add V varchar(9)", [ID, {**V, "name": "w"}, {**V, "name": "V"}],
         "has another column V now"),
        ("add _op int", [ID, V, {"name": "_op", "typeName": "INT"}],
         "has a column _op now, which the file has the pipeline add"),
    ],
)
def test_nothing_comes_in_clear_by_a_schema_change(text: str, columns: list[dict[str, Any]], words: str) -> None:
    (found,) = judged(changed(f"alter table t {text}", columns))
    assert isinstance(found, Detach)
    assert words in found.reason


def test_a_masked_column_does_not_come_into_the_key() -> None:
    mask = ColumnShape(mask="*")
    columns = (SHAPED.columns[0], msgspec.structs.replace(SHAPED.columns[1], target_type="varchar(9)", shape=mask))
    log = changed("alter table t drop primary key, add primary key (id, v)", key=["id", "v"])
    (found,) = judged(log, msgspec.structs.replace(SHAPED, columns=columns))
    assert "has v in its key, which the file masks or truncates" in found.reason


def test_a_column_whose_values_may_be_changed_does_not_come_into_the_key() -> None:
    rules = ValueRules(nul="remove")
    columns = (SHAPED.columns[0], msgspec.structs.replace(SHAPED.columns[1], shape=NO_SHAPE, rules=rules))
    log = changed("alter table t drop primary key, add primary key (id, v)", key=["id", "v"])
    (found,) = judged(log, msgspec.structs.replace(SHAPED, columns=columns, shaped=()))
    assert "has v in its key, of which values may be changed" in found.reason


def test_a_shaped_table_under_another_name_is_copied_anew() -> None:
    (found,) = judged(without_columns(changed("rename table t to other")))
    assert isinstance(found, Detach)
    assert "was renamed to other, and the file shapes it by its name" in found.reason
