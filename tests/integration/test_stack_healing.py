"""A stack of the test's own: what is killed, ruined or mistaken for another's comes back or is explained.

Other tests use the shared stack meanwhile: what gets killed here is MariaDB, cheap to set up.
"""

import json
import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from cdc_pipelines.stack import layout, ports, process
from cdc_pipelines.stack.errors import StackError
from cdc_pipelines.stack.settings import env_file, load_settings
from tests.conftest import mysql_connection
from tests.integration.stack_command import cdc_stack, pids, second_home, state_of

__all__ = ["second_home"]  # fixtures


def test_a_killed_part_comes_back_with_its_data(second_home: Path) -> None:
    assert cdc_stack("up", "--only", "mariadb,postgres").returncode == 0
    access = load_settings().mariadb
    with mysql_connection(access) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE shop")
        cursor.execute("CREATE TABLE shop.kept (id INT PRIMARY KEY)")
        cursor.execute("INSERT INTO shop.kept VALUES (1)")
    before = pids()
    server = psutil.Process(before["mariadb"])
    server.kill()
    while process.is_alive(server):
        time.sleep(0.02)
    assert state_of("mariadb") == "failed"

    done = cdc_stack("up", "--only", "mariadb,postgres")

    assert done.returncode == 0, done.stderr
    after = pids()
    assert after.pop("mariadb") not in (None, before.pop("mariadb"))
    assert after == before, "other parts were touched"
    with mysql_connection(access) as connection, connection.cursor() as cursor:
        assert cursor.execute("SELECT id FROM shop.kept") == 1


def test_a_stale_pid_file_never_hits_a_stranger(second_home: Path) -> None:
    """The pid on file now belongs to another process, as after a reboot: it must live, and MariaDB must run."""
    assert cdc_stack("up", "--only", "mariadb").returncode == 0
    pid_file = layout.discover().pid_file("mariadb")
    server = pids()["mariadb"]
    with subprocess.Popen(["sleep", "120"]) as stranger:
        record = json.loads(pid_file.read_text())
        pid_file.write_text(json.dumps(record | {"pid": stranger.pid}))
        assert pids()["mariadb"] == server, "the running server was not recognised by its command line"
        assert cdc_stack("up", "--only", "mariadb").returncode == 0
        pid_file.write_text(json.dumps(record | {"pid": stranger.pid, "created": psutil.Process().create_time()}))
        assert cdc_stack("down", "--only", "mariadb").returncode == 0
        assert stranger.poll() is None
        stranger.kill()
    pid_file.write_text("garbage")
    assert state_of("mariadb") == "stopped"
    assert cdc_stack("up", "--only", "mariadb").returncode == 0
    assert state_of("mariadb") == "running"


def test_ports_are_kept_unless_a_stranger_took_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_STACK_HOME", str(tmp_path))
    values: dict[str, str] = {}
    assert ports.assign(values, lambda part: False) == []
    first = dict(values)
    assert len({value for key, value in first.items() if key.endswith("_PORT")}) == 6
    with socket.create_server(("127.0.0.1", int(values["CDC_STACK_KAFKA_PORT"]))):
        assert ports.assign(values, lambda part: part == "kafka") == []
        assert values == first, "a port was given up although its own part holds it"
        (sentence,) = ports.assign(values, lambda part: False)
    assert first["CDC_STACK_KAFKA_PORT"] in sentence
    changed = {key for key in values if values[key] != first[key]}
    assert changed == {"CDC_STACK_KAFKA_PORT", "CDC_STACK_KAFKA_BOOTSTRAP"}


def test_a_fresh_home_starts_fails_visibly_and_wipes(second_home: Path) -> None:
    """From nothing to a serving MariaDB; then its data is ruined; then everything is deleted but the downloads."""
    with pytest.raises(StackError, match="run `cdc stack up`"):
        load_settings()
    done = cdc_stack("up", "--only", "mariadb", home=second_home)
    assert done.returncode == 0, done.stderr
    with mysql_connection(load_settings().mariadb) as connection, connection.cursor() as cursor:
        assert cursor.execute("SELECT 1") == 1
    assert cdc_stack("down", home=second_home).returncode == 0

    here = layout.discover()
    (here.data("mariadb") / "ibdata1").write_bytes(b"ruined" * 4096)
    done = cdc_stack("up", "--only", "mariadb", home=second_home)
    assert done.returncode == 1
    assert "mariadb: its process ended during the start" in done.stderr
    assert "[ERROR]" in done.stderr
    assert str(here.logs("mariadb") / "mariadb.log") in done.stderr
    assert state_of("mariadb") == "failed"

    assert cdc_stack("down", "--wipe", home=second_home).returncode == 0
    assert not here.data("mariadb").exists()
    assert any(here.parts.iterdir())


def test_another_password_on_file_than_in_the_data_is_explained(second_home: Path) -> None:
    assert cdc_stack("up", "--only", "mariadb", home=second_home).returncode == 0
    env_file().write_text(env_file().read_text().replace("CDC_STACK_MARIADB_PASSWORD=", "CDC_STACK_MARIADB_PASSWORD=x"))
    done = cdc_stack("up", "--only", "mariadb", home=second_home)
    assert done.returncode == 1
    assert "restore stack.env" in done.stderr
