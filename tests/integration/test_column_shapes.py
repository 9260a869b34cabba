"""A shaped value is the same whether the source's SQL or this process makes it, for every type and both servers."""

import hashlib
import hmac
import random
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import psycopg
import pytest

from cdc_pipelines.replication.catalog import Column
from cdc_pipelines.replication.column_shape import ColumnShape
from cdc_pipelines.replication.databases.mysql.read import SnapshotSession
from cdc_pipelines.replication.databases.mysql.sql import quote
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.values import form_for
from cdc_pipelines.replication.values.form import Form
from cdc_pipelines.replication.values.hashing import key_check
from tests.integration.conftest import SourceServer
from tests.integration.test_mysql_values import cases, same

KEY = "a key that is longer than one block of the hash, so that it is hashed itself before it is used"
ROWS = 300
MORE = {
    "binary(16)": [("x'00112233445566778899aabbccddeeff'", '"ABEiM0RVZneImaq7zN3u/w=="'), ("x'ff00'", '"/wA="')],
    "mediumblob": [("x'00ff'", '"AP8="')],
}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PII_KEY", KEY)
    return KEY


def hmac_shape() -> ColumnShape:
    return ColumnShape(hash="hmac_sha256", key="${env:PII_KEY}", key_check=key_check("${env:PII_KEY}", "t.c"))


def shapes() -> list[ColumnShape]:
    return [
        ColumnShape(hash="sha256"), hmac_shape(), ColumnShape(mask="*"), ColumnShape(mask="•", keep_last=4),
        ColumnShape(mask="#", keep_first=1, keep_last=2), ColumnShape(truncate=3), ColumnShape(truncate=200),
        *(ColumnShape(type=name) for name in (
            "smallint", "integer", "bigint", "boolean", "numeric(38,3)", "numeric(65,30)", "text", "varchar(300)",
            "json", "jsonb", "uuid",
        )),
    ]


def fitting(column: Column, flavor: str) -> Iterator[tuple[ColumnShape, Form]]:
    for shape in shapes():
        with suppress(ConfigurationError):
            yield shape, form_for(column, flavor, "postgres", "t", shape=shape)


def rendered(session: SnapshotSession, table: str, column: str, forms: list[Form]) -> dict[Any, list[Any]]:
    """Per row, for each form in turn, what is copied and the canonical text; all in one query."""
    session.prepare(forms)
    templates = [template for form in forms for template in (form.read, form.source_canonical)]
    parts = [f"concat({template.format(c=quote(column))})" for template in templates]
    rows = session.query(f"select k, {', '.join(parts)} from {quote(table)}")
    return {k: [v.decode() if isinstance(v, bytes) else v for v in values] for k, *values in rows}


def on_target(target: psycopg.Connection, form: Form, texts: list[str | None]) -> list[str | None]:
    """The canonical texts of what the target takes."""
    with target.cursor() as cursor:
        cursor.execute("drop table if exists pg_temp.given")
        cursor.execute(f"create temporary table given (n int, v {form.target_type})")
        with cursor.copy("copy given from stdin") as copy:
            for row in enumerate(texts):
                copy.write_row(row)
        cursor.execute(f"select ({form.target_canonical.format(c='v')})::text from given order by n")
        return [value for (value,) in cursor.fetchall()]


def test_boundary_values_of_every_type(server: SourceServer, target: psycopg.Connection) -> None:
    wrong, seen, every = [], set(), cases(server) | MORE
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute("set sql_mode='', time_zone='+00:00'")
        for i, (definition, values) in enumerate(every.items()):
            cursor.execute(f"create table t{i:02d} (k int primary key, v {definition})")
            for k, (sql, *_) in enumerate(values):
                cursor.execute(f"insert into t{i:02d} values ({k}, {sql})")
    tables = server.source.tables()
    with server.source.open_snapshot(1, tables) as snapshot:
        for table, (definition, values) in zip(tables, every.items(), strict=True):
            found = list(fitting(table.columns[1], server.flavor))
            if not found:
                continue
            rows = rendered(snapshot.sessions[0], table.name, "v", [form for _, form in found])
            for place, (shape, form) in enumerate(found):
                seen.add((table.columns[1].type, str(shape).split("(")[0]))
                copied = [rows[k][2 * place] for k in range(len(values))]
                canonical = [rows[k][2 * place + 1] for k in range(len(values))]
                streamed = []
                for _, *payloads in values:
                    payload = payloads[0] if server.flavor == "mysql" else payloads[-1]
                    value = msgspec.json.decode(payload, type=form.json | None)
                    streamed.append(value if value is None or form.text is None else form.text(value))
                for way, texts in (("copied", copied), ("streamed", streamed)):
                    got = on_target(target, form, texts)
                    wrong += [
                        f"{definition} {values[k][0]}, {shape}, {way} as {texts[k]!r}: {got[k]!r}, on the source "
                        f"{canonical[k]!r}"
                        for k in range(len(values)) if not same(form.compare, got[k], canonical[k])
                    ]
    assert not wrong, "\n".join(wrong)
    assert {
        ("varchar", "masked"), ("int", "hash hmac_sha256"), ("mediumblob", "hash sha256"), ("datetime", "type text"),
        ("decimal", "type numeric"), ("binary", "type uuid"), ("enum", "masked"),
    } <= seen


CHARACTERS = "abcXYZ 0189-_%\\'\"*#{}\t\n€äßéøñ" + "日本語кий" + "😀🎉" + "é"


def test_any_value_is_hashed_masked_and_cut_alike(server: SourceServer, key: str) -> None:
    """Beside the two ways of ours, hashes are computed here a third time."""
    draw = random.Random(7)
    columns = {
        "narrow": "varchar(40) character set latin1", "wide": "varchar(40) character set utf16", "plain": "varchar(40)",
        "long": "text", "raw": "varbinary(40)", "blob": "blob", "number": "bigint", "label": "enum('a','b c','é,x')",
        "padded": "binary(5)", "char": "char(10)",
    }
    latin = [c for c in CHARACTERS if c.encode("latin1", "ignore").decode("latin1") == c]

    def text(characters: Any = CHARACTERS, most: int = 40) -> str:
        return "".join(draw.choice(characters) for _ in range(draw.randint(0, most)))

    rows = [
        (k, text(latin), text(), text(), text(), draw.randbytes(draw.randint(0, 40)),
         draw.randbytes(draw.randint(0, 90)), draw.randint(-(2**63), 2**63 - 1), draw.choice(["a", "b c", "é,x"]),
         draw.randbytes(draw.randint(0, 5)), text(most=10).rstrip(" "))
        for k in range(ROWS)
    ]
    server.run(f"create table t (k int primary key, {', '.join(f'`{n}` {d}' for n, d in columns.items())})")
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.executemany(f"insert into t values ({', '.join(['%s'] * len(rows[0]))})", rows)
    (table,) = server.source.tables()
    wrong = []
    with server.source.open_snapshot(1, [table]) as snapshot:
        for place, name in enumerate(columns, 1):
            column = table.column(name)
            found = [(s, f) for s, f in fitting(column, server.flavor) if s.hides]
            assert [s.hash for s, _ in found][:2] == ["sha256", "hmac_sha256"], name
            given = rendered(snapshot.sessions[0], "t", name, [form for _, form in found])
            for k, *values in rows:
                value = values[place - 1]
                event = b64encode(value).decode() if isinstance(value, bytes) else value
                if name == "label":
                    event = event.replace(",", "\\,")
                if name == "padded":
                    value = value.ljust(5, b"\0")
                raw = value if isinstance(value, bytes) else str(value).encode()
                hashes = {
                    "sha256": hashlib.sha256(raw).hexdigest(),
                    "hmac_sha256": hmac.new(key.encode(), raw, "sha256").hexdigest(),
                }
                for n, (shape, form) in enumerate(found):
                    copied, canonical = given[k][2 * n : 2 * n + 2]
                    streamed = form.text(event)
                    expected = hashes[shape.hash] if shape.hash else streamed
                    if not copied == canonical == streamed == expected:
                        wrong.append(f"{name} {value!r}, {shape}: {copied!r} {canonical!r} {streamed!r} {expected!r}")
                    if shape.mask and len(str(value)) > 4:
                        hidden = set(streamed[shape.keep_first : len(streamed) - shape.keep_last])
                        assert len(streamed) == len(str(value)), (shape, value)
                        assert hidden == {shape.mask}
    assert not wrong, f"{len(wrong)}\n" + "\n".join(wrong[:20])


def test_a_key_does_not_stand_in_queries(server: SourceServer, key: str) -> None:
    """Neither in clear nor as the blocks that it is turned into: those are in one statement of each session."""
    server.run("create table t (k int primary key, c varchar(9))")
    (table,) = server.source.tables()
    form = form_for(table.column("c"), server.flavor, "postgres", "t", shape=hmac_shape())
    told = form.read + form.source_canonical
    assert key not in told
    assert "x'" not in told
    assert key.encode().hex() not in told + "".join(form.session)
