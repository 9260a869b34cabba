"""What of MySQL's indexes, constraints and the like has an equal on PostgreSQL, and the words for what has none."""

import msgspec
import pytest

from cdc_pipelines.replication.carry.expressions import UntranslatableError, condition, index_expression
from cdc_pipelines.replication.carry.settings import KINDS, Carry
from cdc_pipelines.replication.carry.source import (
    IndexPart,
    SourceCheck,
    SourceForeignKey,
    SourceIndex,
    TableExtras,
)
from cdc_pipelines.replication.carry.wanted import Wanted, target_name, wanted
from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, RowRules, Table
from cdc_pipelines.replication.databases.mysql.extras import checks_of, foreign_keys

TARGETS = {
    "n": ("int", "integer"), "u": ("bigint", "numeric(20)"), "d": ("decimal", "numeric(9,2)"), "t": ("text", "text"),
    "v": ("varchar", "varchar(9)"), "e": ("enum", "text"), "s": ("set", "text"), "b": ("varbinary", "bytea"),
    "day": ("date", "date"), "at": ("datetime", "timestamp(3)"), "instant": ("timestamp", "timestamptz"),
    "exact": ("varchar", "varchar(9)"), 'od"d': ("int", "integer"),
}


def mapped(name: str = "t", key: tuple[str, ...] = ("n",), key_index: str = "PRIMARY") -> MappedTable:
    sources = [
        Column(name, kind, kind, collation="utf8mb4_bin" if name == "exact" else "utf8mb4_0900_ai_ci")
        for name, (kind, _) in TARGETS.items()
    ]
    columns = tuple(
        MappedColumn(c, "day_" if c.name == "day" else c.name, TARGETS[c.name][1]) for c in sources if c.name != "s"
    )
    return MappedTable(Table("shop", name, tuple(sources), key, key_index=key_index), "pub", name, columns)


TABLE = mapped()


@pytest.mark.parametrize(("mysql", "postgres"), {
    "(`n` > 0)": '("n" > 0)',
    "((`n` >= 0) and ((`d` < 99.5) or (`u` is null)))": '(("n" >= 0) and (("d" < 99.5) or ("u" is null)))',
    "(`n` between -(1) and 5)": '("n" between (-1) and 5)',
    "(0 <> `n`)": '(0 <> "n")',
    "(`n` <=> `d`)": '("n" is not distinct from "d")',
    "(not((`n` in (1,2))))": '(not ("n" in (1, 2)))',
    "(`n` is not null)": '(not ("n" is null))',
    "(`e` in (_utf8mb4'a',_utf8mb4'it''s'))": """("e" in ('a', 'it''s'))""",
    "(`exact` <> _latin1'x')": """("exact" <> 'x')""",
    "(`day` > DATE'2020-01-31')": """("day_" > '2020-01-31')""",
    "`at` < '2030-01-01 00:00:00'": """("at" < '2030-01-01 00:00:00')""",
    '(`od"d` = 1)': '("od""d" = 1)',
}.items())  # fmt: skip
def test_comparisons_that_mean_the_same_are_written_for_the_target(mysql: str, postgres: str) -> None:
    assert condition(TABLE, mysql) == postgres


@pytest.mark.parametrize(("mysql", "why"), {
    "(`v` in ('new','old'))": "compares texts",  # 'NEW' is one of these on the source
    "(`exact` > 'a')": "compares texts",
    "(`n` > '5')": "compares a number with",
    "(`n` = `v`)": "may compare differently",
    "(1 = 1)": "may compare differently",
    "((`n` + 1) > 0)": "may compare differently",
    "(`n` > (`d` + 1))": "compares a number with",
    "(`instant` > '2020-01-01')": "compares values",
    "(`b` = 'x')": "compares values",
    "(char_length(`v`) > 3)": "may compare differently",
    "regexp_like(`v`,'^a')": "no simple comparison",
    "(`v` like 'a%')": "no simple comparison",
    "(`n` xor 1)": "no simple comparison",
    "`n`": "no simple comparison",
    "(`s` = 'a')": "column s is not replicated",
    "(`n` >": "not understood",
    r"(`e` = 'a\\')": "compares a text or a date",
}.items())  # fmt: skip
def test_others_are_told(mysql: str, why: str) -> None:
    with pytest.raises(UntranslatableError, match=why):
        condition(TABLE, mysql)


def test_expressions_of_indexes() -> None:
    assert [index_expression(TABLE, text) for text in ("lower(`v`)", "upper(`t`)")] == ['lower("v")', 'upper("t")']
    for other in ("lower(`n`)", "(`n` + 1)", "cast(json_extract(`t`,_utf8mb4'$.a') as char(10) array)", "year(`day`)"):
        with pytest.raises(UntranslatableError, match="it is over an expression"):
            index_expression(TABLE, other)


def index(*parts: str | IndexPart, name: str = "i", **facts: object) -> SourceIndex:
    return SourceIndex(name, tuple(p if isinstance(p, IndexPart) else IndexPart(p) for p in parts), **facts)  # type: ignore[arg-type]


def of(table: MappedTable = TABLE, **extras: object) -> list[Wanted]:
    others = {"t": table, "p": mapped("p")}
    return wanted(table, TableExtras(**extras), others, KINDS, "shop")  # type: ignore[arg-type]


def test_indexes() -> None:
    found = of(indexes=(
        index(IndexPart("n", descending=True), "v"), index("v", unique=True),
        index(IndexPart("v", length=3), unique=True), index(IndexPart("b", length=3), unique=True),
        index(IndexPart(None, "lower(`v`)"), "n"),
    ))
    assert [each.definition for each in found] == [
        '("n" desc, "v")', 'unique ("v")', 'unique ((left("v", 3)))', 'unique ((substring("b" from 1 for 3)))',
        '((lower("v")), "n")',
    ]
    assert [each.plain for each in found] == ["", '("v")', '((left("v", 3)))', '((substring("b" from 1 for 3)))', ""]
    told = of(indexes=(
        index("v", method="FULLTEXT"), index("b", method="SPATIAL"), index("n", hidden=True),
        index(IndexPart("v", length=3)), index("s"),
    ))
    assert all(each.why_not and not each.definition for each in told)
    assert [each.why_not.split(",")[0] for each in told] == [
        "it is FULLTEXT", "it is SPATIAL", "the source does not use it (INVISIBLE",
        "it is over the first 3 characters of v", "column s is not replicated",
    ]



def test_a_table_that_keeps_its_history_is_unique_in_nothing_and_refers_to_nothing() -> None:
    history = msgspec.structs.replace(TABLE, rows=RowRules(history=True))
    key = SourceForeignKey("f", ("n",), "shop", "p", ("n",), "RESTRICT", "RESTRICT")
    found = of(history, indexes=(index("v", unique=True), index(IndexPart("v", length=3), unique=True)),
               foreign_keys=(key,))
    assert [(each.definition, each.unique) for each in found] == [('("v")', False), ("", False), ("", False)]
    assert "over the first 3 characters" in found[1].why_not
    assert "a closed version's parent may be gone" in found[2].why_not
    others = {"t": TABLE, "p": msgspec.structs.replace(mapped("p"), rows=RowRules(history=True))}
    (child,) = wanted(TABLE, TableExtras(foreign_keys=(key,)), others, KINDS, "shop")
    assert "the history of its parent p" in child.why_not


def test_the_index_that_is_the_key_is_there_already() -> None:
    table = mapped(key=("v",), key_index="one")
    assert [each.name for each in of(table, indexes=(index("v", name="one", unique=True), index("n")))] == ["i"]


def test_foreign_keys() -> None:
    keys = (
        SourceForeignKey("a", ("n",), "shop", "p", ("n",), "RESTRICT", "NO ACTION"),
        SourceForeignKey("b", ("n", "day"), "shop", "t", ("u", "day"), "CASCADE", "SET NULL"),
        SourceForeignKey("c", ("n",), "shop", "elsewhere", ("id",)),
        SourceForeignKey("d", ("n",), "other", "p", ("n",)),
        SourceForeignKey("e", ("s",), "shop", "p", ("n",)),
    )
    found = of(foreign_keys=keys)
    assert [each.definition for each in found] == [
        'foreign key ("n") references "pub"."p" ("n")',
        'foreign key ("n", "day_") references "pub"."t" ("u", "day_") on delete cascade on update set null', "", "", "",
    ]
    assert [each.parent for each in found] == ["p", "t", "", "", ""]
    assert [each.why_not.split(" is not")[0] for each in found[2:]] == [
        "its parent elsewhere", "its parent p", "column s",
    ]


def test_checks_comments_and_counters() -> None:
    found = of(
        checks=(SourceCheck("c", "(`n` > 0)"), SourceCheck("x", "(`n` > 0)", enforced=False),
                SourceCheck("j", "json_valid(`t`)")),
        comments={"": "a table", "n": "a number", "s": "not replicated"}, counter="n",
    )
    assert [(each.kind, each.name, each.definition) for each in found] == [
        ("check", "c", '("n" > 0)'), ("check", "x", ""), ("identity", "n", "generated by default as identity"),
        ("comment", "", "a table"), ("comment", "n", "a number"),
    ]
    (wide,) = of(counter="u")
    assert "numeric(20), which can't be an identity" in wide.why_not


def test_only_what_is_asked_for() -> None:
    extras = TableExtras(
        (index("v"),), (SourceForeignKey("a", ("n",), "shop", "t", ("n",)),), (SourceCheck("c", "`n` > 0"),), {"": "x"},
        "n",
    )
    names = ("indexes", "checks", "foreign_keys", "identity", "comments")
    for name, kind in zip(names, KINDS, strict=True):
        kinds = Carry.model_validate({name: True}).kinds
        assert {each.kind for each in wanted(TABLE, extras, {"t": TABLE}, kinds, "shop")} == {kind}
    assert wanted(TABLE, extras, {"t": TABLE}, Carry().kinds, "shop") == []


def test_names_fit_and_differ() -> None:
    assert target_name(TABLE, "by_name") == "t_by_name"
    long = [target_name(TABLE, "ä" * 40 + end) for end in ("1", "2")] + [target_name(TABLE, "by_name", 1)]
    assert len(set(long)) == 3
    assert all(len(name.encode()) <= 63 for name in long)
    assert target_name(TABLE, "ä" * 40 + "1") == long[0]
    other = msgspec.structs.replace(TABLE, target_name="t2")
    assert target_name(other, "by_name") != target_name(TABLE, "by_name")


def test_what_show_create_table_says() -> None:
    text = """CREATE TABLE `a` (
  `id` int NOT NULL COMMENT 'CONSTRAINT `no` CHECK (1)',
  PRIMARY KEY (`id`),
  CONSTRAINT `f``1` FOREIGN KEY (`x`, `y`) REFERENCES `p` (`i``d`, `j`) ON DELETE SET NULL ON UPDATE CASCADE,
  CONSTRAINT `f2` FOREIGN KEY (`x`) REFERENCES `other`.`p` (`id`),
  CONSTRAINT `c1` CHECK ((`x` > 0)),
  CONSTRAINT `c2` CHECK ((`x` > 0)) /*!80016 NOT ENFORCED */
) ENGINE=InnoDB"""
    assert list(foreign_keys(text, "shop")) == [
        SourceForeignKey("f`1", ("x", "y"), "shop", "p", ("i`d", "j"), "SET NULL", "CASCADE"),
        SourceForeignKey("f2", ("x",), "other", "p", ("id",)),
    ]
    assert list(checks_of(text)) == [SourceCheck("c1", "(`x` > 0)"), SourceCheck("c2", "(`x` > 0)", enforced=False)]
