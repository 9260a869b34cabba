"""What a file may ask of columns: its mistakes, told with table, column, bad value and valid ones; and its mapping."""

import hashlib
import hmac
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from cdc_pipelines.replication.catalog import Column, MappedTable, Table, mapped_table_from_json, to_json
from cdc_pipelines.replication.changes.batches import Event
from cdc_pipelines.replication.changes.rows import RowCodec
from cdc_pipelines.replication.column_shape import ColumnShape
from cdc_pipelines.replication.copy.plan import plan
from cdc_pipelines.replication.databases.mysql.ranges import is_exact
from cdc_pipelines.replication.errors import ConfigurationError, PipelineFileError
from cdc_pipelines.replication.operations.mapping import differences, resolve
from cdc_pipelines.replication.operations.settings_changes import settings_changes
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.pipeline_file import parse_pipeline
from cdc_pipelines.replication.position import Place
from cdc_pipelines.replication.stream.refusal import RefusedError, letter
from cdc_pipelines.replication.values import form_for, forms_of
from tests.unit.test_pipeline_file import GOOD

KEY = "a secret of more than 16 bytes"
HMAC = {"hash": "hmac_sha256", "key": "${env:CDC_TEST_PII_KEY}"}
CUSTOMER = Table("shop", "customer", (
    Column("id", "int", "int", nullable=False), Column("email", "varchar", "varchar(60)", length=60, charset="utf8mb4"),
    Column("note", "text", "text", charset="utf8mb4"),
    Column("price", "decimal", "decimal(10,2)", precision=10, scale=2), Column("doc", "json", "json"),
    Column("size", "float", "float"),
), ("id",))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_TEST_PII_KEY", KEY)


def pipeline(columns: Any = None, add: Any = None, table: str = "customer") -> Pipeline:
    shape = {table: {"columns": columns or {}, "add": add or {}}}
    return parse_pipeline(GOOD + yaml.safe_dump({"shape": shape}, sort_keys=False), Path("p.yaml"))


def mapped(columns: Any = None, add: Any = None) -> MappedTable:
    return resolve(pipeline(columns, add), [CUSTOMER])[0]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ({}, "give exactly one of hash, mask, truncate and type, not none of them"),
        ({"hash": "sha256", "truncate": 3}, "exactly one of hash, mask, truncate and type, not hash and truncate"),
        ({"hash": "md5"}, "columns.email.hash: Input should be 'sha256' or 'hmac_sha256' (found \"md5\")"),
        ({"hash": "hmac_sha256"}, "hash hmac_sha256 needs a key"),
        ({"hash": "sha256", "key": "${env:K}"}, "key goes with hash: hmac_sha256 only"),
        ({"mask": {"with": "**"}}, "with must be one printable character"),
        ({"mask": {"keep": 3}}, "shape.customer.columns.email.mask.keep: there is no such setting here"),
        ({"truncate": 0}, "greater than or equal to 1 (found 0)"),
    ],
)
def test_mistakes_in_the_file_are_told_where_they_stand(column: Any, words: str) -> None:
    with pytest.raises(PipelineFileError) as caught:
        pipeline({"email": column})
    assert words in str(caught.value)
    assert "shape.customer.columns.email" in str(caught.value)


@pytest.mark.parametrize("field", ["key", "kye"])
def test_a_key_in_the_file_is_refused_and_not_repeated(field: str) -> None:
    with pytest.raises(PipelineFileError) as caught:
        pipeline({"email": {"hash": "hmac_sha256", field: KEY}})
    assert f"shape.customer.columns.email.{field}" in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "add", "words"),
    [
        ({"mail": {"hash": "sha256"}}, {}, "shape.customer.columns: no column mail is replicated; there are id, email"),
        ({"size": {"hash": "sha256"}}, {},
         "column customer.size is float, which hash: sha256 does not apply to (it applies to tinyint, smallint,"),
        ({"doc": {"mask": {}}}, {}, "column customer.doc is json, which mask does not apply to"),
        ({"id": {"mask": {}}}, {}, "shape.customer.columns.id: a column of the key can't be masked or truncated"),
        ({"id": {"type": "smallint"}}, {},
         "column customer.id is int, which can't become smallint (valid: integer, bigint, numeric(p,s) with "
         "at least 10 digits before the point (at most p 65, s 30), text, varchar(n) from 11 on.)"),
        ({"price": {"type": "numeric(9,2)"}}, {},
         "valid: numeric(10,2), numeric(p,s) with at least 8 digits before the point, at least 2 behind it"),
        ({"price": {"type": "numeric(70,6)"}}, {}, "customer.price is decimal(10,2), which can't become numeric(70,6)"),
        ({"email": {"type": "varchar(59)"}}, {}, "valid: varchar(60), text, varchar(n) from 60 on"),
        ({"note": {"type": "jsonb; drop table x"}}, {}, "column customer.note is text, which can't become jsonb; drop"),
        ({}, {"email": {"value": 1}}, "shape, add: the source has a column email already"),
        ({}, {"ctid": {"value": 1}}, "shape, add: PostgreSQL can't have a column ctid"),
    ],
)
def test_what_does_not_fit_the_table_is_told_with_what_would(columns: Any, add: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        mapped(columns, add)
    assert words in str(caught.value)


def test_a_shape_of_no_table_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="shape: nope is no table of this pipeline; it has customer"):
        resolve(pipeline({"a": {"hash": "sha256"}}, table="nope"), [CUSTOMER])


def test_a_key_must_be_there_and_long_and_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    table = mapped({"email": HMAC})
    monkeypatch.setenv("CDC_TEST_PII_KEY", KEY + "!")
    with pytest.raises(ConfigurationError, match="holds another key than the one that the target's values"):
        forms_of(table.columns, "mysql", "postgres", "customer")
    assert [str(d) for d in differences([table], [mapped({"email": HMAC})])] == ["table customer is shaped otherwise"]
    monkeypatch.setenv("CDC_TEST_PII_KEY", "short")
    with pytest.raises(ConfigurationError, match="has 5 bytes, and could be guessed"):
        mapped({"email": HMAC})
    monkeypatch.delenv("CDC_TEST_PII_KEY")
    with pytest.raises(ConfigurationError, match="CDC_TEST_PII_KEY is not set"):
        mapped({"email": HMAC})


def test_the_mapping_holds_the_shape_and_never_the_key() -> None:
    table = mapped(
        {"email": HMAC, "note": {"truncate": 5}, "price": {"type": "numeric(20,6)"}, "id": {"type": "bigint"}},
        {"s": {"value": "shop"}, "n": {"value": 3}, "b": {"value": True}, "p": {"from": "pipeline"},
         "at": {"from": "commit_time"}},
    )
    assert [c.target_type for c in table.columns[:4]] == ["bigint", "varchar(64)", "varchar(5)", "numeric(20,6)"]
    assert [(a.name, a.target_type, a.text) for a in table.added] == [
        ("s", "text", "shop"), ("n", "bigint", "3"), ("b", "boolean", "true"), ("p", "text", "p"),
        ("at", "timestamptz", ""),
    ]
    assert mapped_table_from_json(to_json(table)) == table
    assert KEY not in to_json(table)


def test_a_mapping_of_before_shapes_has_none() -> None:
    table = mapped()
    old = msgspec.json.decode(to_json(table))
    for name in ("added", "shaped"):
        del old[name]
    for column in old["columns"]:
        del column["shape"]
    assert mapped_table_from_json(msgspec.json.encode(old)) == table


def test_changes_of_a_shape_are_told_with_their_effect() -> None:
    before, after = pipeline({"email": {"truncate": 5}}), pipeline({"email": HMAC})
    told = [str(change) for change in settings_changes(before, after)]
    assert "shape.customer.columns.email.truncate: 5 → unset (at the next start, beside the stream)" in told
    assert all(KEY not in each for each in told)
    tables = [resolve(each, [CUSTOMER]) for each in (before, after)]
    assert [str(d) for d in differences(*tables)] == ["table customer is shaped otherwise"]
    assert differences(*tables, followed=lambda name: True) == differences(*tables)
    added = resolve(pipeline({"email": HMAC}, {"a": {"value": 1}}), [CUSTOMER])
    assert [str(d) for d in differences(tables[1], added)] == ["table customer is shaped otherwise"]


@pytest.mark.parametrize(
    ("shape", "value", "expected"),
    [
        ({"mask": "*", "keep_last": 4}, "0301234567", "******4567"),
        ({"mask": "*", "keep_last": 4}, "4567", "****"),
        ({"mask": "*", "keep_first": 1, "keep_last": 1}, "ab", "**"),
        ({"mask": "#", "keep_first": 2}, "grün", "gr##"),
        ({"mask": "*"}, "", ""),
        ({"truncate": 2}, "€uro", "€u"),
        ({"hash": "sha256"}, "€", hashlib.sha256("€".encode()).hexdigest()),
    ],
)
def test_shaped_texts(shape: dict[str, Any], value: str, expected: str) -> None:
    form = form_for(CUSTOMER.column("email"), "mysql", "postgres", "customer", shape=ColumnShape(**shape))
    assert form.text is not None
    assert form.text(value) == expected


@pytest.mark.parametrize(
    ("shape", "exact", "hidden"),
    [(None, True, False), ({"type": "bigint"}, True, False), ({"type": "text"}, False, False),
     ({"hash": "sha256"}, False, True), (HMAC, False, True)],
)
def test_keys_that_are_no_integers_on_the_target_are_not_cut_by_ranges(shape: Any, exact: bool, hidden: bool) -> None:
    table = mapped({"id": shape} if shape else None)
    assert is_exact(table) is exact
    if hidden:  # the bounds of its chunks would stand in the target
        (chunk,) = plan(None, [table], chunk_bytes=1, shards=4)  # type: ignore[arg-type]  # nothing is asked
        assert (chunk.lower, chunk.upper) == (None, None)


def test_a_row_tells_the_change_that_it_comes_from() -> None:
    add = {"_op": {"from": "operation"}, "_at": {"from": "commit_time"}, "_place": {"from": "position"},
           "s": {"value": "sh\top"}}
    codec = RowCodec(mapped(add=add), "mysql", "postgres")
    image = msgspec.Raw(b'{"id":1,"email":null,"note":null,"price":null,"doc":null,"size":null}')
    row = codec.row(image)
    codec.stamp(row, "u", Place("uuid:7", "binlog.000001", 9), 1_700_000_000_123)
    told = ["u", "2023-11-14T22:13:20.123+00:00", "uuid:7", "sh\top"]
    assert codec.texts(row)[6:] == told
    assert codec.copy_text([row]).decode().rstrip("\n").split("\t", 6)[6] == "\t".join(told).replace("h\to", "h\\to")
    codec.stamp(row, "c", Place(None, "binlog.000001", 9), None)
    assert codec.texts(row)[6:9] == ["c", None, "binlog.000001:9"]


def test_a_dead_letter_and_its_message_hold_shaped_values_only() -> None:
    table = mapped({"id": {"hash": "sha256"}, "email": {"mask": {}}, "note": HMAC})
    codec = RowCodec(table, "mysql", "postgres")
    image = b'{"id":4711,"email":"a@secret","note":"secret","price":"1.50","doc":"{}","size":1.5}'
    event = Event("u", (4711,), msgspec.Raw(b"null"), msgspec.Raw(image), Place(None, "b.000001", 4), 9, 1)
    refusal = RefusedError("customer", "no", event=event, key=codec.shown_key(event.key or ()))
    hashed = hashlib.sha256(b"4711").hexdigest()
    assert f"of row {hashed}" in refusal.message

    found = letter(refusal, codec)

    assert found.key == f'{{"id":"{hashed}"}}'
    assert found.before is None
    assert msgspec.json.decode(found.after or "") == {
        "id": hashed, "email": "********", "note": hmac.new(KEY.encode(), b"secret", "sha256").hexdigest(),
        "price": "1.50", "doc": "{}", "size": 1.5,
    }
    again = RowCodec(table, "mysql", "postgres", disguised=True)
    assert again.texts(again.row(msgspec.Raw((found.after or "").encode()))) == codec.texts(codec.row(event.after))
