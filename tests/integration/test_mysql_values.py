"""One canonical form per value: copying a value, streaming it and checking it agree, for every type.

For each boundary value: what the snapshot's reading gives the target, and what the recorded event gives the target,
must both have the canonical text that the source itself renders.
"""

import json

import msgspec
import psycopg
import pytest

from cdc_pipelines.replication.catalog import Table
from cdc_pipelines.replication.databases.mysql.ranges import KeyRange
from cdc_pipelines.replication.databases.mysql.sql import quote
from cdc_pipelines.replication.values import form_for
from tests.integration.conftest import SourceServer
from tests.value_cases import EVENTS, MARIADB_ONLY, MYSQL_ONLY


def cases(server: SourceServer) -> dict[str, list[tuple[str, ...]]]:
    without = MYSQL_ONLY if server.flavor == "mariadb" else MARIADB_ONLY
    return {kind: values for kind, values in EVENTS.items() if kind not in without}


@pytest.fixture
def all_types(server: SourceServer) -> list[Table]:
    """One table per type: `k` counts the values, `v` holds them."""
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute("set sql_mode='', time_zone='+00:00'")
        for i, (definition, values) in enumerate(cases(server).items()):
            cursor.execute(f"create table t{i:02d} (k int primary key, v {definition})")
            for k, (sql, *_) in enumerate(values):
                cursor.execute(f"insert into t{i:02d} values ({k}, {sql})")
    return server.source.tables()


def canonical(target: psycopg.Connection, target_type: str, template: str, text: str | None) -> str | None:
    """What the target renders of a text that it was given by COPY."""
    with target.cursor() as cursor:
        cursor.execute("drop table if exists pg_temp.one")
        cursor.execute(f"create temporary table one (v {target_type})")
        with cursor.copy("copy one from stdin") as copy:
            copy.write_row([text])
        cursor.execute(f"select ({template.format(c='v')})::text from one")
        return cursor.fetchone()[0]


def same(how: str, one: str | None, other: str | None) -> bool:
    if how == "json" and one is not None and other is not None:
        return json.loads(one) == json.loads(other)
    return one == other


def test_copied_streamed_and_checked_values_agree(
    server: SourceServer, all_types: list[Table], target: psycopg.Connection
) -> None:
    wrong = []
    seen = 0
    with server.source.open_snapshot(1, all_types) as snapshot:
        session = snapshot.sessions[0]
        for table, (definition, values) in zip(all_types, cases(server).items(), strict=True):
            form = form_for(table.columns[1], server.flavor, "postgres")
            rows = dict(row for batch in session.read(server.map(table), KeyRange(())) for row in batch)
            source = dict(
                session.query(f"select k, concat_ws('', {form.source_canonical.format(c='v')}) from {table.name}")
            )
            nulls = dict(session.query(f"select k, {form.source_canonical.format(c='v')} is null from {table.name}"))
            for k, (sql, *payloads) in enumerate(values):
                expected = None if nulls[k] else source[k]
                value = msgspec.json.decode(
                    payloads[0] if server.flavor == "mysql" else payloads[-1], type=form.json | None
                )
                streamed = value if value is None or form.text is None else form.text(value)
                raw = rows[str(k).encode()]
                copied = None if raw is None else raw.decode()
                for way, text in (("copied", copied), ("streamed", streamed)):
                    got = canonical(target, form.target_type, form.target_canonical, text)
                    if not same(form.compare, got, expected):
                        wrong.append(f"{definition} {sql} {way} as {text!r}: {got!r}, on the source {expected!r}")
                    seen += 1
    assert not wrong, "\n".join(wrong)
    assert seen == 2 * sum(len(values) for values in cases(server).values())


def test_values_that_only_read_the_same_are_told_apart(server: SourceServer, target: psycopg.Connection) -> None:
    """The canonical texts of different values differ: a form that hides a difference would make verify blind."""
    pairs = {
        "double": [("0.1", "0.1000000000000000055e0*(1+2e-16)"), ("1e300", "1.0000000000000002e300")],
        "float": [("16777216", "16777218")],
        "time(6)": [("'00:00:00.000001'", "'-00:00:00.000001'")],
        "varchar(10)": [("'a'", "'a '"), ("'a'", "'A'"), ("''", "null")],
        "datetime(6)": [("'2024-01-01 00:00:00.000001'", "'2024-01-01 00:00:00.000002'")],
        "varbinary(4)": [("x'00'", "x'0000'")],
        "bit(4)": [("b'0001'", "b'0010'")],
        "decimal(5,5)": [("-0.12345", "-0.12344")],
    }
    server.run(
        "create table pairs (" + ", ".join(f"c{i} {t}" for i, t in enumerate(pairs)) + ", k int primary key)"
    )
    table = server.source.tables()[0]
    with server.source.open_snapshot(1, [table]) as snapshot:
        for i, values in enumerate(pairs.values()):
            form = form_for(table.column(f"c{i}"), server.flavor, "postgres")
            for one, other in values:
                server.run("delete from pairs", f"insert into pairs (k, c{i}) values (1, {one}), (2, {other})")
                with server.source.open_snapshot(1, [table]) as fresh:
                    texts = fresh.sessions[0].query(
                        f"select {form.source_canonical.format(c=quote(f'c{i}'))} from pairs order by k"
                    )
                assert texts[0] != texts[1], (form.source_canonical, one, other)
        assert snapshot.sessions[0].query("select count(*) from pairs") == [(0,)]
