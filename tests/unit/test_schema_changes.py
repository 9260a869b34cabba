"""From the columns before and after, and the statement's text, to what becomes of a table's columns and key."""

import pytest

from cdc_pipelines.replication.changes.batches import (
    Part,
    Redefine,
)
from cdc_pipelines.replication.changes.conversions import IsNull, LongerThan, Outside
from tests.unit.log_reading import COLUMNS, read
from tests.unit.schema_events import ID, V, W, changed, described, detached, of, redefined, what

# Columns


def test_a_column_added_in_the_log_is_added_between_the_rows_around_it() -> None:
    log = described()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    log.ddl(3, "t", [ID, {**W, "defaultValueExpression": "5"}, V], text="alter table t add w int default 5 after id")
    log.transaction(4, ("c", "t", None, {"id": 2, "v": "b", "w": 7}))
    items = read(log)
    kinds = [type(i) for i in items if isinstance(i, Part | Redefine) and getattr(i, "events", 1)]
    assert kinds == [Part, Redefine, Part]
    (found,) = of(items, Redefine)
    assert [c.target_type for c in found.after.columns] == ["bigint", "integer", "varchar(9)"]
    assert found.literals == {"w": "5"}
    assert what(found) == [("add_column", "applied", "gained w")]


@pytest.mark.parametrize(
    ("text", "column", "literal"),
    [
        ("add w int", {}, None),
        ("add w int not null", {"optional": False}, "0"),
        ("add w varchar(4) not null", {"typeName": "VARCHAR", "length": 4, "optional": False}, ""),
        ("add w char(4) default 'a '", {"typeName": "CHAR", "length": 4, "defaultValueExpression": "a "}, "a"),
        ("add (w int default -3)", {"defaultValueExpression": "-3"}, "-3"),
        ("add w boolean default true", {"typeName": "BOOLEAN", "defaultValueExpression": "true"}, "1"),
        ("add w bit(4) default b'101'", {"typeName": "BIT", "length": 4, "defaultValueExpression": "101"}, "0101"),
        ("add w enum('it''s','b') not null", {"typeName": "ENUM", "optional": False, "enumValues": ["'it''s'", "'b'"]},
         "it's"),
        ("add w date not null", {"typeName": "DATE", "optional": False}, "1970-01-01"),
        ("add w varchar(9) default _utf8mb4'x' comment 'default 5'", {"typeName": "VARCHAR", "length": 9,
                                                                      "defaultValueExpression": "x"}, "x"),
    ],
)
def test_the_rows_that_are_there_get_the_value_that_the_source_wrote(text: str, column: dict, literal: str) -> None:
    assert redefined(changed(f"alter table t {text}", [*COLUMNS, {**W, **column}])).literals == {"w": literal}


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("add w varchar(40) default (uuid())", {"typeName": "VARCHAR", "length": 40}),
        ("add w varchar(40) default (concat('a', 'b'))", {"typeName": "VARCHAR", "length": 40}),
        ("add w datetime default now()", {"typeName": "DATETIME", "defaultValueExpression": "1970-01-01 00:00:00"}),
        ("add w timestamp default '2020-01-01'", {"typeName": "TIMESTAMP", "defaultValueExpression": "2020-01-01"}),
        ("add w binary(2) default 'a'", {"typeName": "BINARY", "length": 2, "defaultValueExpression": "a"}),
        ("add w int auto_increment unique", {"autoIncremented": True, "optional": False}),
        ("add w int as (id + 1)", {}),
        ("add w int generated always as (id + 1) stored", {}),
        ("add w timestamp not null", {"typeName": "TIMESTAMP", "optional": False}),
        ("add w inet6", {"typeName": "INET6"}),
    ],
)
def test_columns_whose_values_the_log_does_not_tell_need_a_copy(text: str, column: dict) -> None:
    found = detached(changed(f"alter table t {text}", [*COLUMNS, {**W, **column}]))
    assert (found.note.kind, found.note.done, found.stops) == ("add_column", "detached", False)
    assert "w" in found.reason


def test_a_dropped_column_is_kept_unless_the_file_wants_it_dropped() -> None:
    kept = redefined(changed("alter table t drop v", [ID]))
    assert (kept.drops, kept.after.kept, kept.origins) == (False, ("v",), {"id": "id"})
    assert what(kept) == [("drop_column", "kept", "lost v")]
    dropped = redefined(changed("alter table t drop v", [ID]), drop_column="apply")
    assert (dropped.drops, dropped.after.kept) == (True, ())


@pytest.mark.parametrize(
    ("text", "columns", "origins"),
    [
        ("rename column v to w", [ID, {**V, "name": "w"}], {"id": "id", "w": "v"}),
        ("CHANGE COLUMN `V` w varchar(9) first", [{**V, "name": "w"}, ID], {"id": "id", "w": "v"}),
        ("change v w varchar(9), add v varchar(9)", [ID, {**V, "name": "w"}, V], {"id": "id", "w": "v"}),
        ("drop column v, add column v varchar(9)", COLUMNS, {"id": "id"}),
        ("drop v, add w int", [ID, W], {"id": "id"}),
        ("rename column v to id2, rename column id to v", [{**ID, "name": "v"}, {**V, "name": "id2"}],
         {"v": "id", "id2": "v"}),
    ],
)
def test_the_text_tells_what_became_of_each_column(text: str, columns: list[dict], origins: dict) -> None:
    key = ["v"] if "rename column id" in text else ["id"]
    assert redefined(changed(f"alter table t {text}", columns, key=key)).origins == origins


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("alter table t drop v", [ID, W]),  # the columns are not what the text leads to
        ("alter table t rename column v to id, rename column id to v", [V]),  # as Debezium makes of it
        ("alter table t add column if not exists v int", [ID, {"name": "v", "typeName": "INT"}]),
        ("something unheard of", [ID, W]),
    ],
)
def test_what_is_in_doubt_needs_a_copy_and_a_connector_that_learns_anew(text: str, columns: list[dict]) -> None:
    found = detached(changed(text, columns))
    assert (found.note.kind, found.relearn) == ("unknown", True)


@pytest.mark.parametrize(
    ("column", "target_type", "questions"),
    [
        ({"typeName": "VARCHAR", "length": 20}, "varchar(20)", []),
        ({"typeName": "VARCHAR", "length": 5}, "varchar(5)", [LongerThan(5)]),
        ({"typeName": "TEXT"}, "text", []),
        ({"typeName": "VARCHAR", "length": 9, "optional": False}, "varchar(9)", [IsNull()]),
    ],
)
def test_a_changed_column_and_what_is_asked_of_its_values(column: dict, target_type: str, questions: list) -> None:
    found = redefined(changed("alter table t modify v …", [ID, {"name": "v", "optional": True, **column}]))
    assert found.after.columns[1].target_type == target_type
    assert found.questions == [("v", question) for question in questions]
    assert found.notes[0].kind == "change_column"


def test_the_key_can_not_be_null_whatever_the_log_says_of_it() -> None:
    """MODIFY id INT AUTO_INCREMENT: Debezium has the column optional then."""
    unsigned = {"name": "id", "typeName": "BIGINT UNSIGNED"}
    log = changed("alter table t modify id bigint unsigned", [unsigned, V])
    found = redefined(log)
    assert not found.after.columns[0].source.nullable
    ((name, question),) = found.questions
    assert (name, isinstance(question, Outside)) == ("id", True)


@pytest.mark.parametrize(
    "column",
    [
        {"typeName": "INT"}, {"typeName": "BLOB"}, {"typeName": "JSON"},
        {"typeName": "VARCHAR", "length": 9, "charsetName": "binary"},
    ],
)
def test_a_type_that_converts_values_needs_a_copy(column: dict) -> None:
    assert detached(changed("alter table t modify v …", [ID, {"name": "v", **column}])).note.kind == "change_column"


# Keys


def test_another_key_is_taken_over() -> None:
    found = redefined(changed("alter table t drop primary key, add primary key (id, v)", key=["id", "v"]))
    assert found.after.source.key == ("id", "v")
    assert what(found)[0] == ("change_key", "applied", "has the key (id, v)")


def test_the_name_of_a_key_column_is_no_other_key() -> None:
    found = redefined(changed("alter table t change id pk bigint", [{**ID, "name": "pk"}, V], key=["pk"]))
    assert [note.kind for note in found.notes] == ["rename_column"]
    assert found.after.source.key == ("pk",)
