"""Resolving a declared pipeline against the tables of a source."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from cdc_pipelines.replication.catalog import Column, Table, mapped_table_from_json, to_json
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.operations.mapping import differences, resolve
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.pipeline_file import parse_pipeline
from tests.unit.test_pipeline_file import GOOD

ID = Column("id", "bigint", "bigint unsigned", nullable=False, unsigned=True)
NAME = Column("name", "varchar", "varchar(40)", length=40)
SHAPE = Column("shape", "inet6", "inet6")
ORDERS = Table("shop", "orders", (ID, NAME), ("id",))
ITEMS = Table("shop", "items", (ID, NAME), ("id",))
WORD = Column("word", "varchar", "varchar(40)", length=40, charset="latin1")
WORDS = Table("shop", "words", (WORD, msgspec.structs.replace(WORD, name="note")), ("word",))
PLACES = Table("shop", "places", (ID, SHAPE), ("id",))


def pipeline(extra: str = "") -> Pipeline:
    return parse_pipeline(GOOD + extra, Path("p.yaml"))


def test_all_tables_with_their_types() -> None:
    tables = resolve(pipeline(), [ORDERS, ITEMS])
    assert [t.name for t in tables] == ["items", "orders"]
    assert [c.target_type for c in tables[0].columns] == ["numeric(20)", "varchar(40)"]
    assert mapped_table_from_json(to_json(tables[0])) == tables[0]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("tables: [nope]", "table nope: not in database shop, which has items, orders"),
        ("tables: [{source: orders, columns: [name]}]", "the key's column(s) id must be replicated"),
        ("tables: [{source: orders, columns: [id, nope]}]", "no column nope"),
        ("tables: [{source: orders, rename: {name: id}}]", "more than one column would be named id"),
        ("tables: [{source: orders, target: x}, {source: items, target: x}]", "more than once: x"),
        ("tables: [{source: orders, target: " + "ü" * 40 + "}]", "longer than 63 bytes"),
        ("exclude: [nope]", "exclude: the source has no table nope"),
        ("values: {columns: {words: {word: {nul: remove}}}}", "values.columns.words.word.nul: in a column of the key"),
    ],
)
def test_mistakes_are_told(extra: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve(pipeline(extra), [ORDERS, ITEMS, *[WORDS] * ("words" in extra)])
    assert words in str(caught.value)


def test_no_value_rule_makes_one_key_of_two() -> None:
    (words,) = resolve(pipeline("values: {nul: remove, undecodable: replace}"), [WORDS])
    key, other = words.columns
    assert (key.rules.nul, key.rules.undecodable) == ("error", "error")
    assert (other.rules.nul, other.rules.undecodable) == ("remove", "replace")


@pytest.mark.parametrize(
    ("table", "word"),
    [
        (Table("shop", "hosts", (ID, Column("ip", "inet6", "inet6")), ("id",)), "ip (inet6)"),
        (Table("shop", "pages", (ID, Column("t", "text", "text /*M!100301 COMPRESSED*/")), ("id",)), "t (text"),
        (Table("shop", "prices", (ID, NAME), ("id",), versioned=True), "system versioning"),
    ],
)
def test_a_table_that_no_connector_can_read_is_told_whatever_is_replicated_of_it(table: Table, word: str) -> None:
    mariadb = pipeline(f"tables: [orders, {{source: {table.name}, columns: [id]}}]")
    mariadb = mariadb.model_copy(update={"source": mariadb.source.model_copy(update={"type": "mariadb"})})
    with pytest.raises(ConfigurationError) as caught:
        resolve(mariadb, [ORDERS, table])
    assert f"table {table.name}: has {word}" in str(caught.value)
    assert "leave the table out" in str(caught.value)


def test_a_type_without_a_form_is_told_with_the_way_out() -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve(pipeline(), [PLACES])
    assert "places.shape" in str(caught.value)
    assert "columns" in str(caught.value)


def words(*given: Any, **more: Any) -> list[str]:
    return list(map(str, differences(*given, **more)))


def test_differences_are_told_in_words() -> None:
    before = resolve(pipeline(), [ORDERS, ITEMS])
    assert differences(before, before) == []
    after = resolve(pipeline("tables: [{source: orders, target: o2}]"), [ORDERS])
    assert list(map(str, differences(before, after))) == [
        "table items is left out",
        "table orders lands in shop.o2 instead of shop.orders",
    ]


def followed(name: str) -> bool:
    return name != "unseen"


def test_what_the_stream_follows_is_no_difference() -> None:
    more = Column("more", "int", "int")
    wide = Table("shop", "orders", (ID, more, NAME), ("id",))
    before, after = resolve(pipeline(), [ORDERS]), resolve(pipeline(), [wide])
    assert words(before, after) == ["table orders has other columns or another key"]
    assert differences(before, after, followed=followed) == differences(after, before, followed=followed) == []
    other = Table("shop", "orders", (msgspec.structs.replace(ID, full_type="int", unsigned=False, type="int"),), ())
    assert differences(before, resolve(pipeline(), [other]), followed=followed) == []
    assert differences(before, resolve(pipeline(), [ORDERS, ITEMS]), followed=followed) == []
    unseen = resolve(pipeline(), [ORDERS, msgspec.structs.replace(ITEMS, name="unseen")])
    assert words(before, unseen, followed=followed) == ["table unseen is new"]
    moved = resolve(pipeline("tables: [{source: orders, rename: {name: title}}]"), [ORDERS])
    assert words(before, moved, followed=followed) == ["table orders has other columns or another key"]
    cut = resolve(pipeline("tables: [{source: orders, columns: [id]}]"), [wide])
    assert words(before, cut, followed=followed) == ["table orders has other columns or another key"]
