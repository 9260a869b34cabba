"""From the columns before and after, and the statement's text, to what the applier is asked to do."""

import json
from typing import Any

import msgspec
import pytest

from cdc_pipelines.replication.catalog import MappedTable, Table
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.position import Place
from cdc_pipelines.replication.schema_policy import SchemaChanges
from cdc_pipelines.replication.stream import messages
from cdc_pipelines.replication.stream.batches import (
    AddTable,
    Commit,
    Detach,
    Item,
    Note,
    Part,
    Redefine,
    RemoveTable,
    RenameTable,
    Truncate,
)
from cdc_pipelines.replication.stream.conversions import IsNull, LongerThan, Outside
from cdc_pipelines.replication.stream.definitions import Definitions
from cdc_pipelines.replication.stream.overlap import Overlap
from cdc_pipelines.replication.stream.schema_event import Rules, digest
from cdc_pipelines.replication.table_mapping import map_table
from tests.unit.log_records import Log, Record, gtid
from tests.unit.test_log_reader import COLUMNS, KEYED, KEYLESS, applied, at, read

ALL = Pipeline.model_validate({
    "name": "shop", "config": 1, "source": {"type": "mysql", "host": "h", "port": 1, "database": "shop", "user": "u",
                                            "password": "${env:P}"},
    "target": {"type": "postgres", "host": "h", "port": 1, "database": "d", "user": "u", "password": "${env:P}"},
})
ID, V = COLUMNS
W = {"name": "w", "typeName": "INT", "optional": True}


def everything(table: Table) -> MappedTable | None:
    from cdc_pipelines.replication.pipeline import TableChoice

    return map_table(ALL, table, TableChoice(source=table.name))


def described(columns: list[dict] = COLUMNS, key: list[str] | None = None) -> Log:
    """A log whose connector has told the columns of table t."""
    log = Log()
    log.ddl(1, "t", columns, snapshot="true", kind="CREATE", key=key)
    return log


def changed(text: str, columns: list[dict] = COLUMNS, **ddl: Any) -> Log:
    log = described()
    log.ddl(2, "t", columns, text=text, **ddl)
    return log


def without_columns(log: Log) -> Log:
    """The last event tells no columns, as those of indexes and databases do."""
    log.records[-1] = Record(len(log.records) - 1, json.loads(log.records[-1].value()) | {"tableChanges": []})
    return log


def of(items: list[Item], kind: type) -> list[Any]:
    return [item for item in items if isinstance(item, kind)]


def judged(log: Log, **settings: Any) -> list[Item]:
    """What the log's schema events come to, without a reader."""
    tables = Definitions("shop", ("mysql", "postgres"), [KEYED, KEYLESS], {}, Overlap({}),
                         Rules(SchemaChanges(**settings)))
    items: list[Item] = []
    for record in log.records:
        message = messages.decode(record.value(), record.offset())
        assert message.source is not None
        snapshot = message.source.snapshot is not None
        items += tables.learnt(message) if snapshot else tables.changes(message, message.place())
    return items


def redefined(log: Log, **settings: Any) -> Redefine:
    """The one change that is handed over; nothing is detached."""
    items = judged(log, **settings)
    assert not of(items, Detach), of(items, Detach)[0].reason
    (found,) = of(items, Redefine)
    return found


def detached(log: Log, **settings: Any) -> Detach:
    """What keeps the table from following."""
    items = judged(log, **settings)
    assert not of(items, Redefine)
    (found,) = of(items, Detach)
    return found


def what(item: Any) -> list[tuple[str, str, str]]:
    return [(note.kind, note.done, note.what) for note in item.notes]


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
        ("add w point", {"typeName": "POINT"}),
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


# Statements without effect


@pytest.mark.parametrize(
    "text",
    [
        "alter table t drop index v, drop key `i`, drop primary key, add primary key (id)",
        "alter table t drop foreign key f, drop constraint c, alter column v drop default",
        "alter table t comment 'never drop v, nor rename column v to w'",
        "alter table t change v v varchar(9) default 'x' first",
        "alter table t modify v varchar(9) comment 'id'",
        "alter table t rename index i to j, order by id, v",
        "alter table t add partition (partition p1 values less than (9)), algorithm=inplace",
        "alter table t optimize partition p0, p1",
        "rename table a to b",
    ],
)
def test_statements_that_only_look_like_it_are_passed(text: str) -> None:
    log = changed(text)
    log.transaction(3, ("c", "t", None, {"id": 3, "v": "behind"}))
    items = read(log)
    assert applied(items) == {("t", 3): "behind"}
    assert all(note.done == "nothing" for item in of(items, Note) + of(items, Redefine) for note in item.notes)


@pytest.mark.parametrize("text", ["create index i on t (v)", "drop index i on t", "drop database other"])
def test_so_are_those_that_tell_no_columns(text: str) -> None:
    log = without_columns(changed(text))
    log.transaction(3, ("c", "t", None, {"id": 3, "v": "behind"}))
    assert applied(read(log)) == {("t", 3): "behind"}


# Rows out of sight


@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE t DROP PARTITION p0, p1",
        "alter table t truncate partition p0",
        "alter table other exchange partition p0 with table t",
        "alter ignore table t add unique (v)",
        "alter table t discard tablespace",
        "alter table t engine = blackhole",
        "create or replace table t (id int)",
    ],
)
def test_rows_that_were_moved_out_of_sight_need_a_copy(text: str) -> None:
    found = detached(without_columns(changed(text)))
    assert found.note.kind == "moved_rows"
    assert found.relearn == text.startswith("create")


def test_an_action_that_nobody_knows_needs_a_copy() -> None:
    assert "FROBNICATE" in detached(changed("alter table t add key (v), frobnicate it")).reason


def test_a_table_that_was_never_described_can_not_be_judged() -> None:
    log = Log()
    log.ddl(2, "t", COLUMNS, text="alter table t add w int")
    assert "never described" in detached(log).reason


@pytest.mark.parametrize("text", ["drop database shop", "DROP SCHEMA IF EXISTS `shop`"])
def test_a_dropped_database_takes_its_tables_along(text: str) -> None:
    """No table is named: made again, they would be filled on top of the old rows."""
    items = judged(without_columns(changed(text)))
    assert {item.table for item in of(items, Detach)} == {"t", "k"}


# Policies


@pytest.mark.parametrize(
    ("kind", "text", "columns", "key"),
    [
        ("add_column", "alter table t add w int", [*COLUMNS, W], ["id"]),
        ("drop_column", "alter table t drop v", [ID], ["id"]),
        ("rename_column", "alter table t rename column v to w", [ID, {**V, "name": "w"}], ["id"]),
        ("change_column", "alter table t modify v text", [ID, {"name": "v", "typeName": "TEXT"}], ["id"]),
        ("change_key", "alter table t drop primary key, add primary key (id, v)", COLUMNS, ["id", "v"]),
        ("moved_rows", "alter table t drop partition p", COLUMNS, ["id"]),
        ("unknown", "alter table t frobnicate", COLUMNS, ["id"]),
    ],
)
def test_the_file_decides(kind: str, text: str, columns: list[dict], key: list[str]) -> None:
    stops = detached(changed(text, columns, key=key), **{kind: "stop"})
    assert (stops.note.kind, stops.note.done, stops.stops) == (kind, "stopped", True)
    again = detached(changed(text, columns, key=key), **{kind: "resync"})
    assert (again.note.kind, again.note.done, again.stops) == (kind, "detached", False)


def test_a_table_is_detached_exactly_at_its_place() -> None:
    """What stands before it is applied by then; behind it only other tables' rows are handed over."""
    log = described()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "a"}))
    log.ddl(3, "t", COLUMNS, text="alter table t frobnicate")
    log.transaction(4, ("c", "t", None, {"id": 2, "v": "b"}), ("c", "t2", None, {"id": 2, "v": "b"}))
    other = msgspec.structs.replace(KEYED, source=msgspec.structs.replace(KEYED.source, name="t2"))
    items = read(log, tables=[KEYED, other])
    place = items.index(of(items, Detach)[0])
    assert applied(items[:place]) == {("t", 1): "a"}
    assert applied(items) == {("t", 1): "a", ("t2", 2): "b"}


# Tables


def test_a_table_that_is_made_is_replicated_from_its_first_row_on() -> None:
    log = Log()
    log.ddl(2, "new", [ID, V], kind="CREATE", text="create table new (id bigint primary key, v varchar(9))")
    log.transaction(3, ("c", "new", None, {"id": 1, "v": "a"}))
    items = read(log, rules=Rules(new_table=everything))
    (made,) = of(items, AddTable)
    assert (made.table.target_name, made.table.source.key) == ("new", ("id",))
    assert applied(items) == {("new", 1): "a"}
    ignored = read(log, rules=Rules(SchemaChanges(create_table="ignore"), everything))
    assert not of(ignored, AddTable)
    assert of(ignored, Note)[0].notes[0].done == "ignored"
    assert not of(read(log), AddTable), "nobody wants it"


def test_the_rows_of_create_table_select_are_one_transaction_with_it() -> None:
    log = Log()
    log.begin(2)
    log.ddl(2, "new", [ID, V], kind="CREATE", text="CREATE TABLE `new` (…) START TRANSACTION")
    log.row(2, "c", "new", after={"id": 1, "v": "a"})
    log.end(2, 1)
    items = read(log, rules=Rules(new_table=everything))
    assert applied(items) == {("new", 1): "a"}
    assert len([item for item in of(items, Commit) if item.transactions]) == 1


def test_a_dropped_table_is_left_as_it_is() -> None:
    log = changed("drop table t", kind="DROP")
    log.transaction(9, ("c", "t", None, {"id": 9, "v": "of another one"}))
    items = read(log)
    (gone,) = of(items, RemoveTable)
    assert (gone.table.name, gone.drops) == ("t", False)
    assert applied(items) == {}
    assert of(read(log, rules=Rules(SchemaChanges(drop_table="apply"))), RemoveTable)[0].drops


def test_a_table_under_another_name_goes_on_there() -> None:
    log = described()
    log.ddl(2, "t2", COLUMNS, text="rename table t to t2")
    log.transaction(3, ("c", "t2", None, {"id": 3, "v": "a"}))
    items = read(log, rules=Rules(new_table=everything))
    (moved,) = of(items, RenameTable)
    assert (moved.before.name, moved.after.name, moved.after.target_name) == ("t", "t2", "t2")
    assert applied(items) == {("t2", 3): "a"}


def test_names_that_are_swapped_come_as_three_statements_at_one_place() -> None:
    """Applied in part before a restart, the rest is not taken for a repetition."""
    log = described()
    log.ddl(1, "k", COLUMNS, snapshot="true", kind="CREATE", key=[])
    renames = ["rename table t to tmp", "rename table k to t", "rename table tmp to k"]
    for text, table in zip(renames, ("tmp", "t", "k"), strict=True):
        log.ddl(2, table, COLUMNS, text=text, key=["id"] if table == "k" else [])
        if table == "tmp":  # gone by then
            without_columns(log)
    whole = read(log, rules=Rules(new_table=everything))
    assert [(i.before.name, i.after.name) for i in of(whole, RenameTable)] == [("t", "tmp"), ("k", "t"), ("tmp", "k")]
    assert not of(whole, Detach)
    log.records = log.records[:2] + log.records[3:]  # the reader begins behind the first one, which is applied
    meanwhile = {"rules": Rules(new_table=everything), "position": at(2), "tables": [KEYLESS]}
    rest = read(log, statements=(gtid(2), {digest(renames[0])}), **meanwhile)
    assert [(i.before.name, i.after.name) for i in of(rest, RenameTable)] == [("k", "t")]
    assert not of(read(log, statements=(gtid(2), set(map(digest, renames))), **meanwhile), RenameTable)


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("rename table t_new to t", "t"), ("alter table other rename t", "t"),
        ("alter table `shop`.`t` rename to x.gone", "x"),
    ],
)
def test_rows_from_a_table_that_is_not_replicated_or_to_one_need_a_copy(text: str, table: str) -> None:
    log = described()
    log.ddl(2, table, COLUMNS, text=text)
    assert detached(log).note.kind == "rename_table"


def test_a_truncate_as_the_file_wants_it() -> None:
    log = described()
    log.truncate(2, "t")
    assert of(read(log), Truncate)
    assert not of(read(log, rules=Rules(SchemaChanges(truncate="ignore"))), Truncate)
    (found,) = of(read(log, rules=Rules(SchemaChanges(truncate="resync"))), Detach)
    assert found.note.kind == "truncate"


def test_what_is_remembered_says_what_when_and_where() -> None:
    note = redefined(changed("alter table t\n add w int", [*COLUMNS, W])).notes[0]
    assert (note.table, note.statement, note.place, note.at_ms) == ("t", "alter table t add w int", gtid(2), 2000)
    assert Place(gtid(2), "binlog.000001", 2000)
