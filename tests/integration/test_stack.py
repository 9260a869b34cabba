"""The local stack that all tests share: readiness of what it promises, secrets, who listens where."""

import fcntl
import ipaddress
import json
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from cdc_pipelines.stack import layout
from cdc_pipelines.stack.settings import StackSettings, env_file, load_env, passwords
from tests.conftest import PROJECT, mysql_connection, postgres_connection
from tests.integration.stack_command import cdc_stack, pids


def server_processes() -> list[psutil.Process]:
    """Every process of the stack, children included."""
    servers = [psutil.Process(pid) for pid in pids().values()]
    return servers + [child for server in servers for child in server.children(recursive=True)]


def tcp_connections(server: psutil.Process) -> list[Any]:
    """Its sockets, none when it ended meanwhile: other tests' sessions are children of the database servers."""
    try:
        return server.net_connections(kind="tcp")
    except psutil.NoSuchProcess:
        return []


def test_status_tells_everything_about_each_part(stack: StackSettings) -> None:
    done = cdc_stack("status", "--json")
    assert done.returncode == 0, done.stderr
    states: dict[str, dict[str, Any]] = {state["part"]: state for state in json.loads(done.stdout)}
    assert list(states) == ["mysql", "mariadb", "postgres", "kafka", "connect"]
    for name, state in states.items():
        assert state["state"] == "running", state
        assert psutil.pid_exists(state["pid"])
        assert state["uptime_seconds"] > 0
        assert Path(state["log"]).stat().st_size > 0, f"{name} logs nothing"
    assert states["mysql"]["version"].startswith("9.")
    assert states["mariadb"]["version"].startswith("10.11.")
    assert states["postgres"]["version"].startswith("15.")
    assert states["kafka"]["version"] == states["connect"]["version"] == "4.3.1"
    assert states["mysql"]["port"] == stack.mysql.port


def test_up_again_changes_nothing_and_is_quick(stack: StackSettings) -> None:
    facts, before, started = env_file().read_text(), pids(), time.monotonic()
    done = cdc_stack("up")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 10
    assert (env_file().read_text(), pids()) == (facts, before)


def test_everything_listens_on_loopback_only(stack: StackSettings) -> None:
    listening = set()
    for server in server_processes():
        for connection in tcp_connections(server):
            if connection.status == psutil.CONN_LISTEN:
                address = ipaddress.ip_address(connection.laddr.ip)
                address = getattr(address, "ipv4_mapped", None) or address
                assert address.is_loopback, f"pid {server.pid} listens on {connection.laddr}"
                listening.add(connection.laddr.port)
    values = load_env()
    assert listening >= {int(value) for key, value in values.items() if key.endswith("_PORT")}


def test_passwords_are_in_one_private_file_and_one_environment_only(stack: StackSettings) -> None:
    secrets = passwords(load_env())
    assert len(secrets) == 6
    assert stat.S_IMODE(env_file().stat().st_mode) == 0o600
    for anyone in psutil.process_iter():
        try:
            words = " ".join(anyone.cmdline())
        except psutil.Error:
            continue
        assert not any(secret in words for secret in secrets.values()), f"a password in {words[:60]}…"
    here = layout.discover()
    for file in [*(here.base / "conf").rglob("*"), *(here.base / "logs").rglob("*")]:
        if file.is_file():
            content = file.read_text(errors="replace")
            assert not any(secret in content for secret in secrets.values()), f"a password in {file}"
    environment = psutil.Process(pids()["connect"]).environ()
    assert {key: environment.get(key) for key in secrets} == secrets


def test_replicating_users_have_exactly_the_documented_privileges(stack: StackSettings) -> None:
    common = {"SELECT", "RELOAD", "LOCK TABLES", "SHOW DATABASES", "REPLICATION SLAVE"}
    expected = {"mysql": common | {"REPLICATION CLIENT"}, "mariadb": common | {"BINLOG MONITOR"}}
    for name, privileges in expected.items():
        with mysql_connection(getattr(stack, name), admin=False) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW GRANTS")
            (grant,), *more = cursor.fetchall()
        assert not more
        words, _, rest = grant.removeprefix("GRANT ").partition(" ON *.* TO ")
        assert set(words.split(", ")) == privileges
        assert "GRANT OPTION" not in rest


def test_servers_are_set_up_for_replication(stack: StackSettings) -> None:
    wanted = {
        "mysql": {"gtid_mode": "ON", "binlog_format": "ROW", "binlog_row_image": "FULL", "local_infile": "ON"},
        "mariadb": {"log_bin": "ON", "binlog_format": "ROW", "binlog_row_image": "FULL", "gtid_strict_mode": "ON"},
    }
    for name, variables in wanted.items():
        with mysql_connection(getattr(stack, name)) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW GLOBAL VARIABLES")
            found = dict(cursor.fetchall())
        assert {key: found[key] for key in variables} == variables
    for database in (stack.postgres_target_database, stack.postgres_dagster_database):
        with postgres_connection(stack.postgres, database) as connection:
            assert connection.execute("SHOW wal_level").fetchone() == ("logical",)
            (owner,) = connection.execute(
                "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
            ).fetchone()
            assert owner == "cdc"


@pytest.mark.parametrize(
    ("connector", "part", "extra"),
    [
        ("io.debezium.connector.mysql.MySqlConnector", "mysql", {"database.server.id": "424242"}),
        ("io.debezium.connector.mariadb.MariaDbConnector", "mariadb", {"database.server.id": "424242"}),
        ("io.debezium.connector.postgresql.PostgresConnector", "postgres", {"database.dbname": "cdc_target"}),
    ],
)
def test_connectors_log_in_with_passwords_out_of_the_workers_environment(
    stack: StackSettings, connector: str, part: str, extra: dict[str, str]
) -> None:
    """Debezium's validation opens a connection to the server, so an unresolved or wrong password shows."""
    settings = {
        "name": "probe",
        "connector.class": connector,
        "topic.prefix": "probe",
        "database.hostname": "127.0.0.1",
        "database.port": str(getattr(stack, part).port),
        "database.user": "cdc",
        "schema.history.internal.kafka.bootstrap.servers": stack.kafka_bootstrap,
        "schema.history.internal.kafka.topic": "probe",
    } | extra
    url = f"{stack.connect_url}/connector-plugins/{connector}/config/validate"
    right = settings | {"database.password": f"${{env:CDC_STACK_{part.upper()}_PASSWORD}}"}
    assert errors_of(requests.put(url, json=right, timeout=60)) == []
    assert errors_of(requests.put(url, json=settings | {"database.password": "wrong"}, timeout=60))


def errors_of(response: requests.Response) -> list[str]:
    response.raise_for_status()
    return [error for config in response.json()["configs"] for error in (config["value"] or {}).get("errors", [])]


def test_a_second_command_waits_for_the_first(stack: StackSettings) -> None:
    with layout.discover().lock_file.open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen(
            [sys.executable, "-u", "-m", "cdc_pipelines.cli", "stack", "up", "--only", "postgres"],
            cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as second:  # fmt: skip
            assert second.stdout
            assert "waiting for it" in second.stdout.readline()
            assert second.poll() is None
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert second.wait(30) == 0


def test_an_unknown_part_is_named_with_the_choices() -> None:
    done = cdc_stack("up", "--only", "mysql,oracle")
    assert done.returncode == 2
    assert "'oracle'" in done.stderr
    assert "mariadb, postgres" in done.stderr
