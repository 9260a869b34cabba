"""Prometheus as Debian ships it, unpacked beside the stack's servers; nothing is installed on the machine."""

import contextlib
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import yaml

from cdc_pipelines.stack.debian import PackageRoot, package_root
from cdc_pipelines.stack.layout import discover
from tests.conftest import PROJECT

MONITORING = PROJECT / "deploy" / "monitoring"
RULES = MONITORING / "prometheus-rules.yml"
DASHBOARD = MONITORING / "grafana-dashboard.json"


def _root() -> PackageRoot:
    """Fetched once per stack home."""
    return package_root("prometheus", discover().parts / "prometheus", "bookworm", ["prometheus"])


def promtool(*words: str | Path, cwd: Path | None = None, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run it with `given` as its input; its exit code is not judged."""
    command = [*_root().command("usr/bin/promtool"), *map(str, words)]
    return subprocess.run(command, cwd=cwd, input=given, capture_output=True, text=True, timeout=60, check=False)


class Prometheus:
    """A running server's API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **words: str) -> Any:
        """An API answer's `data`."""
        answer = requests.get(f"{self.url}/api/v1/{path}", params=words, timeout=10)
        answer.raise_for_status()
        return answer.json()["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """(labels, value) of each series now."""
        found = self.ask("query", query=expression)["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]

    def value(self, expression: str) -> float | None:
        """The one value; None where there is none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return found[0][1] if found else None


@contextmanager
def prometheus(
    folder: Path, port: int, scrape: Sequence[str], further: Sequence[dict[str, Any]] = ()
) -> Iterator[Prometheus]:
    """A server that scrapes these addresses (`host:port`) every second, as job `cdc`, and evaluates our rules.

    `further` are more of its `scrape_configs`.
    """
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "cdc", "static_configs": [{"targets": list(scrape)}]}, *further],
    }))  # fmt: skip
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [*_root().command("usr/bin/prometheus"), f"--config.file={config}",
             f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, process, folder / "prometheus.log")
        yield Prometheus(url)
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{url}/-/ready", timeout=5).ok:
                return
        assert process.poll() is None, f"Prometheus ended:\n{log.read_text()}"
        assert time.monotonic() < deadline, f"Prometheus is not ready:\n{log.read_text()}"
        time.sleep(0.05)
