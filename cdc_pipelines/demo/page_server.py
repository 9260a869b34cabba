"""The demo's `cdc web`: a process of its own, written down like Dagster's, so that its end finds it by its pid."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import psutil
import requests

from cdc_pipelines.demo.dagster_server import HOST, DagsterServerError, Process, free_port
from cdc_pipelines.stack.ports import is_free

_WISH = 8090
_START_PATIENCE_S = 60.0
_STOP_PATIENCE_S = 15.0


class PageServer:
    """One page. `folder` holds its log and what is written down of it; `project` is where it runs."""

    def __init__(self, folder: Path, *, project: Path, environment: Mapping[str, str]) -> None:
        self._folder, self._project, self._environment = folder, project, environment
        self._file, self._log = folder / "page.json", folder / "page.log"

    def start(self, dagster_url: str) -> str:
        """Its address, once it answers. One that is there already is ended first: it may know another Dagster.

        Raises DagsterServerError where it does not come up.
        """
        self.stop()
        self._folder.mkdir(parents=True, exist_ok=True)
        port = _WISH if is_free(_WISH) else free_port()
        with self._log.open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "cdc_pipelines.cli", "web", "--port", str(port)], cwd=self._project,
                env={**self._environment, "CDC_DAGSTER_URL": dagster_url}, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )
        child.returncode = 0  # we never wait for it here: keep Popen from warning that it still runs
        process = Process(child.pid, psutil.Process(child.pid).create_time())
        self._file.write_text(json.dumps(asdict(process)))
        url, deadline = f"http://{HOST}:{port}", time.monotonic() + _START_PATIENCE_S
        while not _answers(url):
            if process.alive() is None or time.monotonic() > deadline:
                tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
                raise DagsterServerError(f"`cdc web` did not come up:\n{tail}")
            time.sleep(0.1)
        return url

    def stop(self) -> bool:
        """Whether there was one."""
        try:
            process = Process(**json.loads(self._file.read_text())).alive()
        except (OSError, ValueError):
            return False
        if process is not None:
            process.send_signal(signal.SIGTERM)
            _, left = psutil.wait_procs([process], timeout=_STOP_PATIENCE_S)
            for each in left:
                each.kill()
        self._file.unlink(missing_ok=True)
        return process is not None


def _answers(url: str) -> bool:
    """A token makes it ask who is there: that is an answer, too."""
    try:
        return requests.get(f"{url}/cdc/config/", timeout=5).status_code in (200, 401)
    except requests.RequestException:
        return False
