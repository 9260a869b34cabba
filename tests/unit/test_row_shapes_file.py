"""What a file asks of a table's rows: mistakes, what the mapping keeps, and what changes of file and source mean."""

from typing import Any

import msgspec
import pytest
import yaml

from cdc_pipelines.assets.metadata import target_schema
from cdc_pipelines.replication.catalog import Column, MappedTable, RowRules, Table, mapped_table_from_json, to_json
from cdc_pipelines.replication.errors import ConfigurationError, PipelineFileError
from cdc_pipelines.replication.operations.mapping import differences, resolve
from tests.unit import schema_events
from tests.unit.log_reading import KEYED
from tests.unit.schema_events import V, W, changed, detached, redefined
from tests.unit.test_mapping import ID, NAME, pipeline

TOTAL = Column("total", "decimal", "decimal(9,2)", precision=9, scale=2)
DATA = Column("data", "json", "json")
ORDERS = Table("shop", "orders", (ID, NAME, TOTAL, DATA), ("id",))
KEYLESS = Table("shop", "log", (ID, NAME))


def shaped(more: str = "", **shape: Any) -> MappedTable:
    (table,) = resolve(pipeline(yaml.safe_dump({"shape": {"orders": shape}}) + more), [ORDERS])
    return table


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"orders": {"where": "total => 1"}}, "at character 8, `> 1`: expected a number"),
        ({"orders": {"deletes": "ignore"}}, "'apply' or 'soft'"),
        ({"orders": {"filter": "total > 1"}}, "filter"),
        ({"orders": {"where": "total >= 1 or cost > 1"}},
         "table orders: shape.orders.where: at character 15: no column cost; the table has id, name, total, data"),
        ({"orders": {"where": "data = '{}'"}}, "only `is null` and `is not null` are valid"),
        ({"nope": {"where": "id = 1"}}, "shape: nope is no table of this pipeline"),
        ({"log": {"deletes": "soft"}}, "shape.log.deletes: soft needs a key"),
        ({"orders": {"deletes": "soft", "deleted_column": "name"}}, "the table has a column name of its own"),
        ({"orders": {"deletes": "soft", "add": {"_deleted_at": {"value": 1}}}}, "_deleted_at is also deleted_column"),
        ({"orders": {"deletes": "soft", "deleted_column": "xmin"}}, "PostgreSQL can't have a column xmin"),
        ({"log": {"history": True}}, "shape.log.history needs a key"),
        ({"orders": {"history": True, "deletes": "soft"}}, "keeps deleted rows already"),
        ({"orders": {"history": True, "valid_to_column": "name"}}, "valid_to_column: the table has a column name"),
        ({"orders": {"history": True, "valid_to_column": "_version"}}, "give each a name of its own"),
        ({"orders": {"history": True, "add": {"_version": {"value": 1}}}}, "_version is also version_column"),
        ({"orders": {"history": True, "valid_from_column": "ctid"}}, "valid_from_column: PostgreSQL can't have"),
    ],
)
def test_mistakes_name_table_place_and_what_is_valid(shape: dict, words: str) -> None:
    with pytest.raises((ConfigurationError, PipelineFileError)) as caught:
        resolve(pipeline(yaml.safe_dump({"shape": shape})), [ORDERS, KEYLESS])
    assert words in str(caught.value)


def test_the_mapping_keeps_what_is_asked_and_the_columns_that_the_filter_needs() -> None:
    whole = shaped(where="total > 1", deletes="soft")
    assert whole.rows == RowRules("total > 1", "soft")
    assert whole.captured is None
    assert whole.landing[-1] == ("_deleted_at", "timestamptz")
    part = shaped("tables: [{source: orders, columns: [id, name]}]", where="total > 1 and data is not null")
    assert [c.source.name for c in part.rows.beside] == ["total", "data"]
    assert part.captured == {"id", "name", "total", "data"}
    assert [name for name, _ in part.landing] == ["id", "name"]
    assert mapped_table_from_json(to_json(part)) == part


def test_the_asset_shows_the_column_of_deletes() -> None:
    columns = target_schema(shaped(where="total > 1", deletes="soft")).columns
    assert [(c.name, c.type) for c in columns][-1] == ("_deleted_at", "timestamptz")
    assert len(target_schema(shaped(where="total > 1")).columns) == len(columns) - 1


def test_a_history_has_columns_of_its_own_and_is_told_where_it_ends() -> None:
    table = shaped(history=True, version_column="nr")
    assert table.landing[-3:] == [("_valid_from", "timestamptz"), ("_valid_to", "timestamptz"), ("nr", "integer")]
    assert [c.name for c in target_schema(table).columns][-3:] == ["_valid_from", "_valid_to", "nr"]
    assert mapped_table_from_json(to_json(table)) == table
    told = [str(d) for d in differences([table], [shaped()], followed=lambda _: True)]
    assert told == [
        "table orders has another shape: history true → false, valid_from_column _valid_from → unset, valid_to_column "
        "_valid_to → unset, version_column nr → unset; all versions but the open ones go"
    ]


def test_a_mapping_from_before_has_all_rows() -> None:
    (plain,) = resolve(pipeline(), [ORDERS])
    document = msgspec.json.decode(to_json(plain))
    del document["rows"]
    assert mapped_table_from_json(msgspec.json.encode(document).decode()) == plain


def test_another_shape_is_a_difference_that_is_told() -> None:
    before = shaped(where="total > 1", deletes="soft")
    told = [str(d) for d in differences([before], [shaped(where="total > 2")], followed=lambda _: True)]
    assert told == [
        "table orders has another shape: where total > 1 → total > 2, deletes soft → apply, deleted_column _deleted_at "
        "→ unset; rows that are marked as deleted go"
    ]
    assert differences([before], [before], followed=lambda _: True) == []


ASKS_V = msgspec.structs.replace(KEYED, rows=RowRules("v = 'a'", "soft", "w"))
BESIDE = msgspec.structs.replace(
    KEYED, columns=KEYED.columns[:1], whole=False, rows=RowRules("v = 'a'", beside=KEYED.columns[1:])
)
KEY = schema_events.ID


@pytest.mark.parametrize(
    ("text", "columns", "key", "reason"),
    [
        ("alter table t drop v", [KEY], ["id"], "lost v, which shape.t.where asks"),
        ("alter table t rename column v to x", [KEY, {**V, "name": "x"}], ["id"], "has x for v, which shape.t.where"),
        ("alter table t modify v varchar(20)", [KEY, {**V, "length": 20}], ["id"], "another type for v, which shape.t"),
        ("alter table t add w int", [KEY, V, W], ["id"], "gained w, which is shape.t.deleted_column"),
        ("alter table t drop primary key", [KEY, V], [], "has no key any more, which its soft deletes need"),
    ],
)
def test_a_change_of_what_a_shape_needs_sets_the_table_apart(
    text: str, columns: list[dict], key: list[str], reason: str
) -> None:
    assert reason in detached(changed(text, columns, key=key), table=ASKS_V).reason
    if "where" in reason:
        assert reason in detached(changed(text, columns, key=key), table=BESIDE).reason


HISTORY = msgspec.structs.replace(KEYED, rows=RowRules(history=True))


@pytest.mark.parametrize(
    ("text", "columns", "key", "reason"),
    [
        ("alter table t add _version int", [KEY, V, {**W, "name": "_version"}], ["id"], "shape.t.version_column"),
        ("alter table t rename column v to _valid_to", [KEY, {**V, "name": "_valid_to"}], ["id"], "valid_to_column"),
        ("alter table t drop primary key, add primary key (v)", [KEY, V], ["v"], "by which its history is not kept"),
    ],
)
def test_a_change_of_what_a_history_needs_sets_the_table_apart(
    text: str, columns: list[dict], key: list[str], reason: str
) -> None:
    assert reason in detached(changed(text, columns, key=key), table=HISTORY).reason


def test_another_change_is_followed_and_the_shape_stays() -> None:
    found = redefined(changed("alter table t add x int after id", [KEY, {**W, "name": "x"}, V]), table=ASKS_V)
    assert found.after.rows == ASKS_V.rows
    assert [c.target_name for c in found.after.columns] == ["id", "x", "v"]
