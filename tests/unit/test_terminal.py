"""Looking from a terminal: `cdc status` of all, `--watch`, `cdc logs`, completion by the shell."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from cdc_pipelines.agent.log_files import last_lines
from cdc_pipelines.cli import _COMMANDS, cli
from cdc_pipelines.cli import logs as logs_module
from cdc_pipelines.cli import status as status_module
from cdc_pipelines.cli.completion import PipelineName
from cdc_pipelines.replication.control.store import ControlStore, Heartbeat
from tests.conftest import PROJECT
from tests.control_specs import make_spec


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlStore]:
    monkeypatch.setenv("CDC_HOME", str(tmp_path))
    monkeypatch.delenv("CDC_CONTROL_URL", raising=False)
    with contextlib.closing(ControlStore.open()) as opened:
        yield opened


def cdc(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def log_of(store: ControlStore, name: str, text: str) -> Path:
    file = Path(store.address.database or "").parent / "logs" / f"{name}.log"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


# status


def status_of(overall: str, *problems: str) -> dict[str, Any]:
    return {
        "overall": overall, "timestamp": "2026-01-01T00:00:00Z",
        "config": {"status": "running"}, "connector": {"state": "RUNNING"}, "consumer": {"state": "STREAMING"},
        "lag": {"seconds": 1.5, "messages": 1234}, "statistics": {"total_rows_synced": 5},
        "problems": [{"kind": each, "severity": overall, "message": f"[{each}] is so", "next_step": "mend it"}
                     for each in problems],
    }  # fmt: skip


def see(monkeypatch: pytest.MonkeyPatch, *looks: dict[str, Any]) -> None:
    """What is looked at; after the last look somebody presses Ctrl-C."""
    left = [*looks]

    def look() -> dict[str, Any]:
        if not left:
            raise KeyboardInterrupt
        return left.pop(0)

    monkeypatch.setattr(status_module, "_looker", lambda name: look)
    monkeypatch.setattr(status_module, "_pause", lambda began: None)


def test_all_pipelines_at_a_glance_with_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    see(monkeypatch, {"shop": status_of("healthy"), "crm": status_of("degraded", "lag")})
    done = cdc("status")
    assert done.exit_code == 3
    assert [line.split()[:3] for line in done.stdout.splitlines()] == [
        ["pipeline", "health", "status"], ["shop", "healthy", "running"], ["crm", "degraded", "running"],
        ["!", "crm:", "[lag]"],
    ]  # fmt: skip
    assert "! crm: [lag] is so; mend it" in done.stdout


def test_one_that_gave_no_answer_in_time_stands_among_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `rounds` tells it: neither connector nor configuration is known."""
    unanswered = {key: status_of("degraded", "unanswered")[key] for key in ("overall", "consumer", "lag", "problems")}
    see(monkeypatch, {"crm": unanswered | {"timestamp": "T"}})
    assert "crm" in cdc("status").stdout
    see(monkeypatch, {"crm": unanswered | {"timestamp": "T"}})
    assert cdc("status", "--watch").stdout == (
        "T crm degraded lag_s=1.5 records=1234 consumer=STREAMING problems=unanswered\n"
    )


def test_watched_by_a_program_each_look_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    see(monkeypatch, {"shop": status_of("degraded", "lag", "lag")}, {"shop": status_of("healthy")})
    done = cdc("status", "--watch")
    assert (done.exit_code, done.stdout.splitlines()) == (0, [
        "2026-01-01T00:00:00Z shop degraded status=running lag_s=1.5 records=1234 connector=RUNNING "
        "consumer=STREAMING rows=5 problems=lag",
        "2026-01-01T00:00:00Z shop healthy status=running lag_s=1.5 records=1234 connector=RUNNING consumer=STREAMING "
        "rows=5",
    ])  # fmt: skip
    see(monkeypatch, {"shop": status_of("healthy")}, {"shop": status_of("failed")})
    done = cdc("status", "shop", "--watch", "--json")
    assert done.exit_code == 3, "as it was seen last"
    assert [json.loads(line)["overall"] for line in done.stdout.splitlines()] == ["healthy", "failed"]


def test_without_a_pipeline_it_says_how_to_get_one(store: ControlStore) -> None:
    done = cdc("status")
    assert (done.exit_code, done.stdout) == (0, "no pipeline is configured; `cdc configure FILE` does that\n")
    assert json.loads(cdc("status", "--json").stdout) == {}


# logs


@pytest.mark.parametrize(
    ("older", "text", "count", "lines"),
    [
        ("", "a\nb\nc\n", 2, ["b", "c"]),
        ("", "a\nb\nc\n", 9, ["a", "b", "c"]),
        ("", "a\nb\nhalf", 9, ["a", "b"]),
        ("", "a\nb\n", 0, []),
        ("", "", 5, []),
        ("x\ny\n", "a\n", 2, ["y", "a"]),
        ("", "".join(f"{n:>99}\n" for n in range(5000)), 3000, [f"{n:>99}" for n in range(2000, 5000)]),
    ],
)
def test_the_last_lines_of_a_log(tmp_path: Path, older: str, text: str, count: int, lines: list[str]) -> None:
    file = tmp_path / "shop.log"
    file.write_text(text)
    if older:
        (tmp_path / "shop.log.1").write_text(older)
    end, found = last_lines(file, count)
    assert found == lines
    assert text.encode()[:end] == text.encode()[: text.rfind("\n") + 1], "from where a follower goes on"


def test_a_log_is_followed_while_it_grows_and_when_it_is_moved_on(
    store: ControlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save_pipeline(make_spec(), "", ())
    file = log_of(store, "shop", "one\ntwo\nthr")
    happens: list[Callable[[], Any]] = [
        lambda: file.write_text("one\ntwo\nthree\nfour\n"), lambda: file.write_text(""),
        lambda: file.write_text("anew\n"),
    ]

    def sleep(seconds: float) -> None:
        if not happens:
            raise KeyboardInterrupt
        happens.pop(0)()

    monkeypatch.setattr(logs_module.time, "sleep", sleep)
    done = cdc("logs", "shop", "-n", "1", "--follow")
    assert (done.exit_code, done.stdout.splitlines()) == (0, ["two", "three", "four", "anew"])


def test_a_log_that_is_not_here_is_told_with_where_it_is(store: ControlStore) -> None:
    assert "no pipeline shop is configured" in str(cdc("logs", "shop").exception)
    store.save_pipeline(make_spec(), "", ())
    assert "no consumer of it has run yet" in str(cdc("logs", "shop").exception)
    store.beat(Heartbeat("shop", "g", 1, "another-host", "0", "streaming", datetime.now(UTC)))
    assert "its consumer ran on another-host" in str(cdc("logs", "shop").exception)
    log_of(store, "agent", "of the agent\n")
    assert cdc("logs", "--agent").stdout == "of the agent\n"


# completion


def completed(home: Path, *words: str) -> list[str]:
    """What the shell is told when somebody presses Tab after these words, as its script asks."""
    done = subprocess.run(
        [Path(sys.executable).with_name("cdc")], cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "CDC_HOME": str(home), "_CDC_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words),
             "COMP_CWORD": str(len(words) - 1)},
    )  # fmt: skip
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.split()]


def test_names_of_pipelines_are_completed_and_no_store_is_made(store: ControlStore, tmp_path: Path) -> None:
    for number, name in enumerate(("shop", "shop_two", "crm")):
        store.save_pipeline(make_spec(name, number), "", ())
    assert completed(tmp_path, "cdc", "verify", "sh") == ["shop", "shop_two"]
    assert "--watch" in completed(tmp_path, "cdc", "status", "--w")
    elsewhere = tmp_path / "elsewhere"
    assert completed(elsewhere, "cdc", "status", "sh") == []
    assert not elsewhere.exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shells_script_is_printed(shell: str) -> None:
    assert f"_CDC_COMPLETE={shell}_complete" in cdc("completion", shell).stdout


def test_every_argument_name_is_completed() -> None:
    context = click.Context(cli)
    for name in _COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter, click.Argument) and parameter.name == "name":
                assert isinstance(parameter.type, PipelineName), name
