"""Watching a stream of real changes: a real Prometheus scrapes a real agent; a person looks from a terminal."""

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import PROJECT
from tests.e2e.conftest import Pipe, wait_until
from tests.monitoring import prometheus

TOKEN = "scrape-token-0123456789"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def metrics_url(pipe: Pipe) -> str:
    """Where the agent says that it serves them."""

    def told() -> re.Match[str] | None:
        return re.search(r"metrics: (http://(127\.0\.0\.1:\d+)/metrics)", pipe.log_tail(200))

    return wait_until(told, "the metrics' address in the agent's log")[1]


@contextmanager
def page_server(pipe: Pipe) -> Iterator[str]:
    """`cdc web` over the pipe's control store, with a token; its `host:port`."""
    address = f"127.0.0.1:{free_port()}"
    environment = os.environ | {"CDC_HOME": str(pipe.home), "CDC_WEB_TOKEN": TOKEN}
    with (pipe.home / "web.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cdc_pipelines.cli", "web", "--port", address.split(":")[1]], cwd=PROJECT,
            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield address
    finally:
        process.terminate()
        process.wait(30)


def scraping(job: str, address: str, **more: Any) -> dict[str, Any]:
    return {"job_name": job, "static_configs": [{"targets": [address]}], **more}


def watching(pipe: Pipe, *words: str, output: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "cdc_pipelines.cli", *words], cwd=PROJECT, env=os.environ | {"CDC_HOME": str(pipe.home)},
        stdin=subprocess.DEVNULL, stdout=output,
    )  # fmt: skip


def read_until(output: int, enough: Callable[[bytes], bool]) -> bytes:
    """What comes out until it is enough."""
    text = b""
    while not enough(text):
        more = os.read(output, 65_536)
        assert more, f"it ended: {text!r}"
        text += more
    return text


def start_from_a_terminal(pipe: Pipe) -> None:
    """`cdc start`: its steps, and below them how far the copy is."""
    person, terminal = pty.openpty()
    start = subprocess.Popen(
        [sys.executable, "-m", "cdc_pipelines.cli", "start", pipe.name], cwd=PROJECT, stderr=terminal,
        env=os.environ | {"CDC_HOME": str(pipe.home), "CDC_AGENT_AUTOSTART": "1", "TERM": "xterm", "COLUMNS": "120"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    )  # fmt: skip
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # nobody has the terminal any more
        while more := os.read(person, 65_536):
            shown += more
    os.close(person)
    said, _ = start.communicate(timeout=120)
    assert start.returncode == 0, shown
    for words in (b"100 %", b"2 of ~2 rows", b"rows/s", b"STEP 1/4", b"STEP 4/4"):
        assert words in shown, shown
    assert said.startswith(f"{pipe.name}: running, 2 rows copied".encode())


def look_from_a_terminal(pipe: Pipe) -> None:
    """`cdc status` of all pipelines, watched by a program and by a person; `cdc logs`, which goes on."""
    name = pipe.name
    every = pipe.cdc("status", "--json")
    assert every.json[name]["overall"] == pipe.status()["overall"] == "healthy"
    assert every.code == 0

    pipe_out, pipe_in = os.pipe()
    person, terminal = pty.openpty()
    lines = watching(pipe, "status", "--watch", "--json", output=pipe_in)
    screen = watching(pipe, "status", name, "--watch", output=terminal)
    log = watching(pipe, "logs", name, "--lines", "1", "--follow", output=pipe_in)
    for end in (pipe_in, terminal):
        os.close(end)
    try:
        shown = read_until(person, lambda text: text.count(name.encode()) >= 2)
        assert re.search(rb"healthy.*connector.*RUNNING.*consumer.*STREAMING", shown, re.DOTALL), shown
        with (pipe.home / "logs" / f"{name}.log").open("a") as file:
            file.write("a line that was written meanwhile\n")
        text = read_until(pipe_out, lambda seen: seen.count(b'"overall"') >= 2 and b"written meanwhile\n" in seen)
        looks = [json.loads(line) for line in text.splitlines() if line.startswith(b"{")]
        assert [(each["pipeline"], each["overall"]) for each in looks[:2]] == [(name, "healthy")] * 2
    finally:
        for process in (lines, screen, log):
            process.send_signal(signal.SIGINT)
        codes = [process.wait(60) for process in (lines, screen, log)]
        os.close(person)
        os.close(pipe_out)
    assert codes == [0, 0, 0], "Ctrl-C is how one ends it"


def test_a_stream_its_latency_and_its_killed_consumer_are_seen(
    make_pipe: Callable[..., Pipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDC_METRICS_PORT", "0")
    pipe = make_pipe()
    pipe.run("create table t (id int primary key, v varchar(20))", "insert into t values (1, 'a'), (2, 'b')")
    pipe.configure()
    start_from_a_terminal(pipe)
    url = metrics_url(pipe)
    with page_server(pipe) as page, prometheus(
        tmp_path, free_port(), [url.split("/")[2]],
        [scraping("page", page, authorization={"credentials": TOKEN}), scraping("stranger", page)],
    ) as server:
        pipe.run(*(f"insert into t values ({n}, 'x')" for n in range(10, 40)), "update t set v = 'y' where id < 20")

        def of(metric: str, **labels: str) -> float | None:
            chosen = "".join(f', {name}="{value}"' for name, value in labels.items())
            return server.value(f'{metric}{{job="cdc", pipeline="{pipe.name}"{chosen}}}')

        wait_until(lambda: of("cdc_events_applied_total") == 42, "all changes in the counter")
        assert (of("cdc_transactions_applied_total") or 0) >= 31, "those of other databases are there, empty"
        assert of("cdc_latency_seconds_count") == 31, "one observation for each transaction with rows"
        buckets = f'cdc_latency_seconds_bucket{{job="cdc", pipeline="{pipe.name}"}}'
        slowest = server.value(f"histogram_quantile(1, {buckets})")
        assert slowest is not None
        assert 0 < slowest <= 10, "measured, and of the order of what a person sees"
        runs = of("cdc_run_events_count")
        assert runs is not None
        assert 1 <= runs <= 31
        assert of("cdc_run_events_sum") == 42
        assert of("cdc_consumer_state", state="streaming") == 1
        wait_until(lambda: of("cdc_lag_records") == 0, "what others write to be passed by as well")
        age = of("cdc_consumer_heartbeat_age_seconds")
        assert age is not None
        assert age < 15

        # the page serves the same to who has its token
        wait_until(lambda: server.value('up{job="page"}') == 1, "`cdc web` to be scraped")
        applied = f'cdc_events_applied_total{{job="page", pipeline="{pipe.name}"}}'
        wait_until(lambda: server.value(applied) == 42, "the counter of `cdc web`")
        wait_until(lambda: server.value('up{job="stranger"}') == 0, "a scrape without the token to be refused")

        look_from_a_terminal(pipe)

        # by a look at the servers, which the agent takes beside the scrapes
        wait_until(lambda: of("cdc_lag_seconds") is not None, "a look after the start")
        assert of("cdc_copied_rows", table="t") == 2
        assert of("cdc_copy_chunks", table="t") == of("cdc_copy_chunks_done", table="t") == 1
        assert (of("cdc_log_runway_seconds") or 0) > 3600
        assert (of("cdc_change_log_bytes") or 0) > 0
        assert of("cdc_verification_age_seconds", table="t") is None, "never compared"
        assert of("cdc_pipeline_health") is not None

        assert of("cdc_consumer_exits_total", code="-9") == 0
        pipe.consumer().kill()
        wait_until(lambda: of("cdc_consumer_exits_total", code="-9") == 1, "the killed consumer in the counter")
        groups = server.ask("rules")["groups"]
        assert {rule["health"] for rule in groups[0]["rules"]} == {"ok"}, "every rule was evaluated"
    assert "password" not in requests.get(url, timeout=10).text
