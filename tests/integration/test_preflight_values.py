"""Preflight finds the values that PostgreSQL can't hold, before a copy meets them."""

import msgspec
import pytest

from cdc_pipelines.replication.databases.mysql.connection import connect
from cdc_pipelines.replication.databases.mysql.preflight_server import Look
from cdc_pipelines.replication.databases.mysql.preflight_values import values
from cdc_pipelines.replication.errors import CheckResult
from cdc_pipelines.replication.value_rules import ValueRules
from tests.integration.conftest import SourceServer


def look(server: SourceServer, **rules: str) -> CheckResult:
    """What the check says of the database's tables by these rules for every column."""
    tables = []
    for table in server.source.tables():
        mapped = server.map(table)
        columns = tuple(msgspec.structs.replace(c, rules=ValueRules(**rules)) for c in mapped.columns)
        tables.append(msgspec.structs.replace(mapped, columns=columns))
    with connect(server.source.spec, purpose="check") as conn:
        return values(Look(conn, server.source, server.source.spec, tuple(tables), None))


def fill(server: SourceServer, definition: str, *literals: str, mode: str = "") -> None:
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute(f"set sql_mode='{mode}'")
        cursor.execute("drop table if exists t")
        cursor.execute(f"create table t (`i d%s` int primary key auto_increment, `v {{}}%s` {definition})")
        for literal in literals:
            cursor.execute(f"insert into t (`v {{}}%s`) values ({literal})")


@pytest.mark.parametrize(
    ("definition", "good", "bad", "rules", "words"),
    [
        ("varchar(9)", "'a'", "_utf8mb4 x'6100'", {}, "the character NUL (1 rows)"),
        ("varchar(9) character set ucs2", "'a'", "_utf8mb4 x'6100'", {}, "the character NUL (1 rows)"),
        ("text character set latin1", "'é'", "x'e981'", {}, "bytes that are no text in latin1"),
        ("text character set cp1251", "_utf8mb4'Ж'", "x'98'", {}, "bytes that are no text in cp1251"),
        ("text character set sjis", "_utf8mb4'日本'", "x'81ad'", {}, "bytes that are no text in sjis"),
        ("date", "'2024-02-03'", "'0000-00-00'", {"zero_dates": "error"}, "zero dates (1 rows)"),
        ("datetime(6)", "'2024-02-03'", "'2024-00-03'", {"zero_dates": "error"}, "zero dates (1 rows)"),
        ("timestamp null", "'2024-02-03'", "'0000-00-00'", {"zero_dates": "error"}, "zero dates (1 rows)"),
        ("date", "'2024-02-29'", "'2023-02-29'", {}, "days that no calendar has (1 rows)"),
        ("tinyint(1)", "1", "2", {"tinyint1": "boolean"}, "beside 0 and 1 (1 rows)"),
        ("bigint unsigned", "1", "9223372036854775808", {"bigint_unsigned": "bigint"}, "from 2⁶³ on (1 rows)"),
        ("time", "'24:00:00'", "'24:00:01'", {"time": "time"}, "no times of a day (1 rows)"),
        ("time(3)", "'00:00:00'", "'-00:00:00.5'", {"time": "time"}, "no times of a day (1 rows)"),
    ],
)
def test_a_value_that_a_rule_refuses_is_found_and_told_with_the_way_out(
    server: SourceServer, definition: str, good: str, bad: str, rules: dict[str, str], words: str
) -> None:
    fill(server, definition, good, mode="ALLOW_INVALID_DATES")
    assert look(server, **rules).ok
    fill(server, definition, good, bad, mode="ALLOW_INVALID_DATES")
    result = look(server, **rules)
    assert not result.ok
    assert f"t.v {{}}%s: {words}" in result.message
    assert result.fix.startswith("t.v {}%s: ")


def test_values_that_a_rule_changes_are_told_and_let_through(server: SourceServer) -> None:
    fill(server, "text character set latin1", "'é'", "x'e98100'")
    result = look(server, nul="remove", undecodable="replace")
    assert result.ok
    assert "the character NUL (1 rows)" in result.message
    assert "bytes that are no text in latin1" in result.message


def test_zero_dates_in_a_key_are_refused_always(server: SourceServer) -> None:
    server.run("set sql_mode=''", "create table k (d date primary key)", "insert into k values ('0000-00-00')")
    result = look(server)
    assert not result.ok
    assert "k.d: zero dates (1 rows)" in result.message


def test_zero_dates_that_the_log_does_not_tell_from_others_are_refused(server: SourceServer) -> None:
    fill(server, "date not null", "'0000-00-00'")
    assert not look(server).ok
    assert look(server, zero_dates="as_logged").ok
    fill(server, "datetime not null default '0000-00-00 00:00:00'", "'0000-00-00'", "'1970-01-01'")
    result = look(server)
    assert result.ok
    assert "counts as a zero date (1 rows)" in result.message


@pytest.mark.parametrize("server", ["mysql"], indirect=True)  # MariaDB's documents are texts
def test_a_nul_in_a_document_is_told_from_an_escaped_backslash(server: SourceServer) -> None:
    fill(server, "json", r"'[\"\\\\u0000\"]'")
    assert look(server).ok
    fill(server, "json", r"'[\"\\u0000\"]'")
    assert not look(server).ok
    fill(server, "json", "json_object('at', now())")
    assert "dates, times or bytes of SQL's own" in look(server).message


def test_no_rule_is_needed_for_what_postgres_holds(server: SourceServer) -> None:
    fill(server, "time", "'-838:59:59'")
    assert look(server).message == "the target can hold what was looked at"
