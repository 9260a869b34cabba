"""`cdc web` as a process of its own, before a real Dagster."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from cdc_pipelines.demo.dagster_server import free_port
from tests.conftest import PROJECT
from tests.integration.dagster_instance import DagsterInstance, wait_for

TOKEN = "integration-token-0123456789"


class Server:
    """`cdc web` as a process of its own."""

    def __init__(self, url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.url, self.process, self.log = url, process, log
        self.answers: list[str] = []
        """Headers and bodies of all that were asked for here."""

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"authorization": f"Bearer {TOKEN}"} | more.pop("headers", {})
        answer = requests.request(method, f"{self.url}{path}", headers=headers, timeout=60, **more)
        self.answers.append(f"{answer.headers}\n{answer.text}")
        return answer

    def status(self, path: str) -> dict[str, Any]:
        answer = self.ask("GET", f"{path}/status/")
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
