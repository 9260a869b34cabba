"""Before anything is written to a PostgreSQL: sessions, logins, what the preflight finds."""

from typing import Any

import psycopg
import pytest

from cdc_pipelines.replication.databases.postgres import ddl, existing
from cdc_pipelines.replication.databases.postgres.connection import connect, take_replica_role
from cdc_pipelines.replication.databases.postgres.load import copy_rows
from cdc_pipelines.replication.databases.postgres.preflight import check_target
from cdc_pipelines.replication.databases.postgres.state import TargetState
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from cdc_pipelines.replication.pipeline import Target
from cdc_pipelines.stack.settings import StackSettings
from tests.conftest import postgres_connection
from tests.integration.target_stage import ORDERS, USERS, Open, column, conn, failures, mapped, open_, scalar, spec

__all__ = ["conn", "open_", "spec"]  # fixtures


def test_a_session_is_named_and_does_not_depend_on_what_the_role_has_set(
    stack: StackSettings, target_database: str, open_: Open
) -> None:
    with postgres_connection(stack.postgres, target_database, admin=True) as admin:
        for setting in ("timezone = 'Asia/Tokyo'", "intervalstyle = 'sql_standard'", "statement_timeout = '1s'",
                        "default_transaction_isolation = 'serializable'", "client_encoding = 'LATIN1'"):
            admin.execute(f'alter database "{target_database}" set {setting}')
    conn = open_("shop:copy")
    shown = {name: scalar(conn, f"show {name}") for name in (
        "application_name", "timezone", "intervalstyle", "statement_timeout", "transaction_isolation", "client_encoding"
    )}
    assert shown == {
        "application_name": "cdc:shop:copy", "timezone": "UTC", "intervalstyle": "postgres", "statement_timeout": "0",
        "transaction_isolation": "read committed", "client_encoding": "UTF8",
    }


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"user": "nobody_of_that_name"}, ConfigurationError, "user nobody_of_that_name"),
        ({"password": "${env:WRONG}"}, ConfigurationError, "login refused"),
        ({"database": "no_such_db"}, ConfigurationError, "no_such_db"),
        ({"port": 1}, RetryableError, "127.0.0.1:1"),
        ({"tls": {"mode": "require"}}, ConfigurationError, "SSL"),
    ],
)
def test_login_errors_say_what_to_do(
    spec: Target, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], error: type[Exception], text: str
) -> None:
    monkeypatch.setenv("WRONG", "not-the-password")
    wrong = Target.model_validate(spec.model_dump(by_alias=True) | change)
    with pytest.raises(error, match=text) as caught:
        connect(wrong, purpose="shop:test")
    assert "not-the-password" not in str(caught.value)
    assert "Next step" in str(caught.value)


def test_a_fresh_target_meets_everything_and_nothing_is_written(spec: Target, open_: Open) -> None:
    results = check_target(spec, [USERS, ORDERS], "shop")
    assert failures(results) == {}
    assert len(results) >= 9
    conn = open_()
    assert not TargetState(conn, "shop").exists()
    assert existing.find(conn, "public", "users") is None


def test_a_server_out_of_reach_is_one_result(spec: Target) -> None:
    [result] = check_target(spec.model_copy(update={"port": 1}), [USERS], "shop")
    assert not result.ok
    assert "127.0.0.1:1" in result.message


def test_everything_wrong_is_reported_together(spec: Target, conn: psycopg.Connection) -> None:
    TargetState(conn, "other").new_generation(1, "a", [ORDERS])
    conn.execute("create table users (id bigint primary key, name varchar(10)); insert into users values (1)")
    conn.commit()
    long = mapped("long", column("é" * 32, "int", nullable=False), key=("é" * 32,))
    found = failures(check_target(spec, [USERS, ORDERS, long], "shop"))
    assert set(found) == {"target tables", "target claims", "target names"}
    assert "public.users: column id is bigint, not integer; holds rows" in found["target tables"]
    assert "public.orders belongs to pipeline other" in found["target claims"]
    assert "é" * 32 in found["target names"]


def test_triggers_and_foreign_keys_need_a_right_that_is_named_and_then_enough(
    stack: StackSettings, spec: Target, target_database: str, conn: psycopg.Connection
) -> None:
    ddl.create_table(conn, USERS)
    ddl.create_table(conn, ORDERS)
    conn.commit()
    without, planned = (
        {r.name: r for r in check_target(spec, [USERS, ORDERS], "shop", foreign_keys=keys)}["target triggers"]
        for keys in (False, True)
    )
    assert without.ok
    assert "foreign keys that are to be made" in planned.message
    assert planned.ok or planned.fix == 'GRANT SET ON PARAMETER session_replication_role TO "cdc";'
    conn.execute("alter table orders add constraint belongs foreign key (id) references users")
    conn.commit()
    results = {r.name: r for r in check_target(spec, [USERS, ORDERS], "shop")}
    with postgres_connection(stack.postgres, target_database, admin=True) as admin:
        result = results["target triggers"]
        if result.ok:  # the stack's user may have the right already
            assert take_replica_role(conn)
        else:
            assert result.fix == 'GRANT SET ON PARAMETER session_replication_role TO "cdc";'
            assert "public.orders: foreign key belongs" in result.message
            assert not take_replica_role(conn)
            try:
                admin.execute(result.fix)
                assert failures(check_target(spec, [USERS, ORDERS], "shop")) == {}
                with connect(spec, purpose="shop:test") as other:
                    assert take_replica_role(other)
                    assert copy_rows(other, ORDERS, [[(b"5", b"2024-01-01")]])[0] == 1  # no such user yet
            finally:
                admin.execute('revoke set on parameter session_replication_role from "cdc"')


def test_a_table_of_somebody_else_is_told_with_its_grants(
    stack: StackSettings, spec: Target, target_database: str
) -> None:
    with postgres_connection(stack.postgres, target_database, admin=True) as admin:
        admin.execute("create table public.users (id int primary key, name varchar(10))")
        results = {r.name: r for r in check_target(spec, [USERS], "shop")}
        assert "lacks SELECT, INSERT, UPDATE, DELETE" in results["target tables"].message
        admin.execute(results["target tables"].fix)
        again = {r.name: r for r in check_target(spec, [USERS], "shop")}
        assert "does not own it" in again["target tables"].message
        admin.execute(again["target tables"].fix)
        assert failures(check_target(spec, [USERS], "shop")) == {}
