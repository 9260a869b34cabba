"""`cdc web` on real servers and a real Dagster: a pipeline's whole way over HTTP."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from cdc_pipelines.demo.dagster_server import free_port
from tests.conftest import PROJECT
from tests.integration.dagster_instance import DagsterInstance, DagsterPipe, wait_for

pytestmark = pytest.mark.timeout(300)

TOKEN = "integration-token-0123456789"


class Server:
    """`cdc web` as a process of its own."""

    def __init__(self, url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.url, self.process, self.log = url, process, log

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"authorization": f"Bearer {TOKEN}"} | more.pop("headers", {})
        return requests.request(method, f"{self.url}{path}", headers=headers, timeout=60, **more)

    def status(self, config: int) -> dict[str, Any]:
        answer = self.ask("GET", f"/cdc/config/{config}/status/")
        assert answer.status_code == 200, answer.text
        status: dict[str, Any] = answer.json()["status"]
        return status


@pytest.fixture
def server(dagster: DagsterInstance, tmp_path: Path) -> Iterator[Server]:
    port, log = free_port(), tmp_path / "web.log"
    environment = os.environ | dagster.environment | {"CDC_WEB_TOKEN": TOKEN, "CDC_DAGSTER_URL": dagster.server.url}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "cdc_pipelines.cli", "web", "--port", str(port)], cwd=PROJECT, env=environment,
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return requests.get(f"{url}/cdc/config/", timeout=5).status_code == 401
        except requests.ConnectionError:
            return False

    try:
        wait_for(answers, "`cdc web` to answer")
        yield Server(url, process, log)
    finally:
        process.terminate()
        process.wait(timeout=30)
    assert process.returncode in (0, -15)


def test_configure_start_status_stop_over_http(
    make_dagster_pipe: Callable[..., DagsterPipe], server: Server
) -> None:
    pipe = make_dagster_pipe()
    pipe.run(
        "create table customers (id int primary key, name varchar(40))",
        "insert into customers with recursive n(n) as (select 1 union all select n + 1 from n where n < 900) "
        "select n, concat('customer ', n) from n",
    )
    document = yaml.safe_load(pipe.file.read_text()) | {"name": pipe.name}
    pipe.file.unlink()
    config = document["config"]

    source = server.ask("POST", "/cdc/discover/", json={"source": document["source"]})
    assert [t["name"] for t in source.json()["tables"]] == ["customers"], source.text
    saved = server.ask("POST", "/cdc/config/", json=document)
    assert saved.status_code == 201, saved.text
    assert saved.json()["pipeline"]["status"] == "configured"
    assert server.status(config)["connector"]["state"] == "MISSING"

    started = server.ask("POST", f"/cdc/config/{config}/start/").json()["run"]
    again = server.ask("POST", f"/cdc/config/{config}/start/").json()["run"]
    assert (again["run_id"], again["already"]) == (started["run_id"], True)
    assert started["url"] == f"{pipe.dagster.server.url}/runs/{started['run_id']}"
    pipe.client.succeed(started["run_id"])
    status = wait_for(lambda: (s := server.status(config))["overall"] == "healthy" and s, "a healthy status")
    assert status["config"]["status"] == "running"
    assert status["statistics"]["total_rows_synced"] == 900
    assert [t["rows_copied"] for t in server.ask("GET", f"/cdc/config/{config}/tables/").json()["tables"]] == [900]
    wait_for(lambda: server.ask("GET", f"/cdc/config/{config}/lag/").json()["samples"], "a sample of the lag")

    stopped = server.ask("POST", f"/cdc/config/{config}/stop/")
    assert stopped.status_code == 202, stopped.text
    pipe.client.succeed(stopped.json()["run"]["run_id"])
    assert server.status(config)["config"]["status"] == "stopped"
    log = server.log.read_text()
    assert TOKEN not in log
    assert not re.search("Traceback", log), log
