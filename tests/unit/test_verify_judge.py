"""The last judge and the report, without servers."""

import json

import msgspec
import pytest

from cdc_pipelines.replication.catalog import Column, MappedColumn, MappedTable, Table
from cdc_pipelines.replication.values import form_for
from cdc_pipelines.replication.verify.documents import normal_document, same_document
from cdc_pipelines.replication.verify.judge import Judge
from cdc_pipelines.replication.verify.report import Difference, TableVerified, VerifyReport


def judge(key: tuple[str, ...] = ("id",)) -> Judge:
    columns = (
        Column("id", "int", "int", nullable=False),
        Column("name", "varchar", "varchar(20)", length=20),
        Column("doc", "json", "json"),
    )
    forms = [form_for(c, "mysql", "postgres") for c in columns]
    mapped = tuple(MappedColumn(c, c.name, f.target_type) for c, f in zip(columns, forms, strict=True))
    return Judge(MappedTable(Table("db", "t", columns, key), "public", "t", mapped), forms)


def differences(
    source: list[tuple[str | None, ...]], target: list[tuple[str | None, ...]], key: tuple[str, ...] = ("id",)
) -> list[Difference]:
    """Of rows whose pick is their key."""
    found = judge(key).compare([(*row, "") for row in source], [(*row, "") for row in target])
    if key:
        assert [f.pick for f in found] == [(f.difference.key["id"],) for f in found]
    return [f.difference for f in found]


_EQUAL = [
    ("1e15", "1000000000000000"),
    ("1e300", "1" + "0" * 300),
    ("1.50", "1.5"),
    ("-0.0", "0.0"),
    ('{"a": 1, "b": [1e2]}', '{"b":[100],"a":1.0}'),
    ("1.2345678901234568e17", "123456789012345680"),
    ('"\\u00e9"', '"é"'),
    ("{broken", "{broken"),
]
# As the source has it, and as jsonb keeps what Java (before 19) writes for the same double
_SAME_DOUBLE = [
    ("2e23", "199999999999999980000000"),
    ("3.327170559595112e17", "332717055959511170"),
    ("1.7570195450010273e18", "1757019545001027330"),
    ('[{"a": 8.41e21}]', '[{"a": 8409999999999999000000}]'),
]
_DIFFERENT = [
    ("12345678901234567", "12345678901234568"),  # equal as doubles, but ids
    ("18446744073709551615", "18446744073709551614"),
    ("1", "true"),
    ("0", "false"),
    ("1", '"1"'),
    ("null", '"null"'),
    ("[1,2]", "[2,1]"),
    ("[1]", "[1,1]"),
    ("1", '{"number": "1e0"}'),
    ('{"a": {}}', '{"a": []}'),
    ('{"a": {"object": 1}}', '{"object": {"a": 1}}'),
    ("1.00000000000000000001", "1.00000000000000000002"),
    ("1e300", "1e301"),
    ("0.1", "0.10000000000000002"),
    ('"a"', '"a "'),
    ("{broken", "{broken }"),
    ("NaN", "1"),
]


@pytest.mark.parametrize(("source", "target"), _EQUAL)
def test_equal_documents_have_one_normal_form(source: str, target: str) -> None:
    assert normal_document(source) == normal_document(target)
    assert same_document(source, target)


@pytest.mark.parametrize(("source", "target"), _SAME_DOUBLE)
def test_a_double_is_the_same_however_it_is_spelt(source: str, target: str) -> None:
    assert same_document(source, target)
    assert normal_document(source) != normal_document(target)


@pytest.mark.parametrize(("source", "target"), _DIFFERENT)
def test_other_documents_differ(source: str, target: str) -> None:
    assert normal_document(source) != normal_document(target)
    assert not same_document(source, target)


def test_rows_are_paired_by_key() -> None:
    found = differences(
        [("1", "a", None), ("2", "b", "1e2"), ("3", "c", None), ("5", None, "[1]")],
        [("1", "a", None), ("2", "b", "100"), ("4", "d", None), ("5", "", "[2]")],
    )
    assert found == [
        Difference("missing", {"id": 3}),
        Difference("differs", {"id": 5}, ("name", "doc")),
        Difference("extra", {"id": 4}),
    ]


def test_a_key_that_is_there_twice_is_counted() -> None:
    row, other = ("1", "a", None), ("1", "b", None)
    assert differences([row], [row, row]) == [Difference("extra", {"id": 1})]
    assert differences([row], [other, row]) == [Difference("extra", {"id": 1})]
    assert differences([row, other], [row]) == [Difference("missing", {"id": 1})]
    assert differences([row, other], [other, row]) == []


def test_rows_without_a_key_are_a_multiset() -> None:
    row, other = ("1", "a", "1e1"), ("1", "a", "10")
    assert differences([row, row], [other, row], ()) == []
    assert differences([("1", "a", "2e23")], [("1", "a", "199999999999999980000000")], ()) == []
    assert differences([row, row, row], [other], ()) == [
        Difference("missing", {"id": 1, "name": "a", "doc": "1e1"})
    ] * 2


def _table(differences: int = 0, *, complete: bool = True, target: int = 5) -> TableVerified:
    return TableVerified("t", 5, target, (), differences, 1.0, 1, complete)


def test_a_report_is_equal_only_if_all_of_it_is() -> None:
    assert VerifyReport("p", "{}", (_table(), _table())).equal
    assert not VerifyReport("p", "{}", (_table(), _table(1))).equal
    assert not VerifyReport("p", "{}", (_table(complete=False),)).equal
    assert not VerifyReport("p", "{}", (_table(target=4),)).equal
    history = msgspec.structs.replace(_table(), malformed=2)
    assert (history.equal, history.same_rows, history.wrong) == (False, True, 2)
    document = VerifyReport("p", "{}", (_table(1),)).to_dict()
    assert json.loads(json.dumps(document))["tables"][0]["equal"] is False
