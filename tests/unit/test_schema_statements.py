"""Statements that change no columns, move rows, or make, drop and rename tables; and what the file wants of them."""

import msgspec
import pytest

from cdc_pipelines.replication.changes.batches import (
    AddTable,
    Commit,
    Detach,
    Note,
    Redefine,
    RemoveTable,
    RenameTable,
    Truncate,
)
from cdc_pipelines.replication.schema_policy import SchemaChanges
from cdc_pipelines.replication.stream.schema_event import Rules, digest
from tests.unit.log_reading import COLUMNS, KEYED, KEYLESS, applied, at, read
from tests.unit.log_records import Log, gtid
from tests.unit.schema_events import (
    ID,
    V,
    W,
    changed,
    described,
    detached,
    everything,
    judged,
    of,
    redefined,
    without_columns,
)

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


def test_a_statement_with_settings_of_its_own_is_read() -> None:
    """MariaDB writes them into its log."""
    text = "SET STATEMENT lock_wait_timeout=5, sql_mode='x' FOR alter table t add column w int default 4"
    assert redefined(changed(text, [*COLUMNS, W | {"defaultValueExpression": "4"}])).literals == {"w": "4"}


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


@pytest.mark.parametrize(
    ("text", "now", "apart"),
    [
        ("create table new (id bigint primary key, v varchar(9))", "latin1", True),
        ("create table new (id bigint primary key, v varchar(9))", "utf8mb4", False),
        ("create table new (id bigint primary key, v varchar(9)) charset=utf8mb4", "latin1", False),  # changed later
        ("create table new like t", "latin1", False),
    ],
)
def test_texts_of_a_new_table_are_not_read_in_a_character_set_that_only_the_log_supposes(
    text: str, now: str, apart: bool
) -> None:
    """Debezium misses an ALTER DATABASE that names none, and reads those of later tables in the old one."""
    log = described()
    log.ddl(2, "new", [ID, {**V, "charsetName": "utf8mb4"}], text=text, kind="CREATE")
    items = judged(log, Rules(new_table=everything, charsets_now=lambda table: {"v": now}))
    assert [made.table.name for made in of(items, AddTable)] == ["new"]
    assert [(item.table, item.relearn) for item in of(items, Detach)] == ([("new", True)] if apart else [])


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


@pytest.mark.parametrize(
    ("kind", "policy", "table", "text"),
    [
        ("create_table", "stop", "new", "create table new (id bigint primary key, v varchar(9))"),
        ("drop_table", "stop", "t", "drop table t"),
        ("rename_table", "stop", "t", "rename table t to t2"),
        ("rename_table", "resync", "t", "rename table t to t2"),
        ("truncate", "stop", "t", "truncate table t"),
        ("truncate", "resync", "t", "truncate table t"),
    ],
)
def test_so_it_does_of_whole_tables(kind: str, policy: str, table: str, text: str) -> None:
    """What stands before is applied; of the change itself nothing."""
    log = described()
    log.transaction(2, ("c", "t", None, {"id": 1, "v": "before"}))
    if kind == "truncate":
        log.truncate(3, "t")
    else:
        log.ddl(3, text.split()[-1] if kind == "rename_table" else table, COLUMNS, text=text,
                kind={"create_table": "CREATE", "drop_table": "DROP"}.get(kind, "ALTER"))
    items = read(log, rules=Rules(SchemaChanges.model_validate({kind: policy}), everything))
    (found,) = of(items, Detach)
    assert (found.table, found.stops, found.note.kind) == (table, policy == "stop", kind)
    assert (found.note.done, found.note.statement) == ("stopped" if found.stops else "detached", text)
    assert not [item for item in items if isinstance(item, AddTable | RemoveTable | RenameTable | Truncate)]
    assert applied(items[: items.index(found)]) == {("t", 1): "before"}


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
