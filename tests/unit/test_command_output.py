"""What commands print: with --json one document for a program, else steps and progress for a person."""

import contextlib
import json
import logging
import os
import pty
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from cdc_pipelines.cli import _COMMANDS, cli
from cdc_pipelines.cli.progress import telling_progress
from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.chunk import Chunk
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.databases.postgres.dead_letters import DeadLetter
from cdc_pipelines.replication.errors import CheckResult
from cdc_pipelines.replication.lanes.worker import Joined
from cdc_pipelines.replication.operations.carried_outcome import Outcome
from cdc_pipelines.replication.pipeline_file import parse_pipeline
from tests.unit.dagster_pipelines import configure, file_text, mapped_table
from tests.unit.root_logging import root_logging

__all__ = ["root_logging"]  # fixtures

LETTER = DeadLetter(
    table="orders", op="u", key='{"id": 2}', before=None, after='{"id": 2}', position='{"file": "b.1", "pos": 4}',
    commit_ms=1, log_offset=7, sqlstate="23514", error="refused", id=5, state="held", note=None,
    created_at=datetime(2026, 1, 1, tzinfo=UTC), settled_at=None,
)  # fmt: skip
JOINED = Joined(mapped_table("orders"), 3, "swapped", 1.5, ())
REPORT = SimpleNamespace(equal=True, tables=[], to_dict=lambda: {"equal": True})
STARTED = {"tables": {"orders": 3}, "seconds": 1.5}
ENGINE = "cdc_pipelines.replication"
SAID = {
    f"{ENGINE}.operations.start.start": STARTED,
    f"{ENGINE}.operations.lifecycle.stop": {"pipeline": "shop"},
    f"{ENGINE}.operations.lifecycle.restart": {"pipeline": "shop"},
    f"{ENGINE}.operations.lifecycle.teardown": {"pipeline": "shop"},
    f"{ENGINE}.lanes.requests.resync_table": JOINED,
    f"{ENGINE}.lanes.requests.add_table": JOINED,
    f"{ENGINE}.lanes.requests.remove_table": True,
    f"{ENGINE}.lanes.release.release": JOINED,
    f"{ENGINE}.verify.verify": REPORT,
    f"{ENGINE}.health.healing.heal": "nothing",
    f"{ENGINE}.health.healing.heal_tables": "",
    f"{ENGINE}.health.status.status": {"overall": "healthy"},
    f"{ENGINE}.operations.carrying.carry": Outcome(),
    f"{ENGINE}.operations.check.check": [CheckResult("source", True, "reachable")],
    f"{ENGINE}.operations.discover.discover": SimpleNamespace(tables=[mapped_table("orders").source]),
    f"{ENGINE}.operations.dead_letters.letters": [LETTER],
    f"{ENGINE}.operations.dead_letters.letter": LETTER,
    f"{ENGINE}.operations.dead_letters.retry": "still refused",
    f"{ENGINE}.operations.dead_letters.skip": LETTER,
    f"{ENGINE}.operations.dead_letters.quarantined": [{"table": "orders", "since": "", "skipped": 1, "reason": "no"}],
    f"{ENGINE}.databases.postgres.schema_log.latest": [],
    f"{ENGINE}.alerts.delivery.deliver": [],
    "cdc_pipelines.cli.status._looker": lambda: {"shop": {"overall": "healthy"}},
    "cdc_pipelines.stack.orchestrate.status": [],
    f"{ENGINE}.operations.configure.configure": SimpleNamespace(
        spec=parse_pipeline(file_text(), Path("shop.yaml")), record=None, created=True, changes=[], needs_resync=False,
        tables=[mapped_table("orders")],
    ),
}
"""What the engine answers, by the function that is asked; where it is given a log, it logs a step and a warning."""

STEPS = [
    "start shop", "stop shop", "restart shop", "teardown shop --yes", "resync shop", "resync shop --table orders",
    "add-table shop orders", "remove-table shop orders", "quarantine release shop orders", "verify shop", "heal shop",
]  # fmt: skip
LOOKS = [
    "alert-test shop", "carry shop", "check shop", "configure FILE", "deadletters list shop",
    "deadletters retry shop 5", "deadletters show shop 5", "deadletters skip shop 5 --note seen", "discover FILE",
    "incidents", "list", "quarantine list shop", "schema-changes shop", "stack status", "status shop",
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A control store in which `shop` is configured, and its file."""
    folder = tmp_path_factory.mktemp("home")
    alerts = {"webhook": {"url": "${env:CDC_TEST_HOOK}"}}
    (folder / "shop.yaml").write_text(file_text(alerts=alerts))
    with contextlib.closing(ControlStore.open(f"sqlite:///{folder / 'control.db'}")) as store:
        configure(store, alerts=alerts)
    return folder


@pytest.fixture
def cdc(home: Path, monkeypatch: pytest.MonkeyPatch, root_logging: None) -> Callable[[str], Result]:
    """Run a command over an engine that answers as `SAID`."""
    monkeypatch.setenv("CDC_HOME", str(home))
    for variable in ("CDC_CONTROL_URL", "CDC_LOG_FORMAT"):
        monkeypatch.delenv(variable, raising=False)
    for function, answer in SAID.items():
        monkeypatch.setattr(function, saying(answer))
    target = contextlib.nullcontext((None, SimpleNamespace(exists=lambda: False)))
    monkeypatch.setattr(f"{ENGINE}.operations.runtime.Runtime.target", lambda *_: target)
    monkeypatch.setattr(f"{ENGINE}.alerts.channels.check_channels", lambda _: [])
    return lambda words: CliRunner().invoke(cli, words.replace("FILE", str(home / "shop.yaml")).split())


def saying(answer: Any) -> Callable[..., Any]:
    def said(*given: Any, **_: Any) -> Any:
        for log in (each for each in given if isinstance(each, logging.Logger | logging.LoggerAdapter)):
            log.info("one step of it")
            log.warning("a warning")
        return answer

    return said


@pytest.mark.parametrize("words", STEPS + LOOKS)
def test_with_json_stdout_is_one_document_and_stderr_what_went_wrong(
    words: str, cdc: Callable[[str], Result]
) -> None:
    done = cdc(f"{words} --json")
    assert done.exit_code in (0, 3), done.output
    json.loads(done.stdout)
    lines = done.stderr.splitlines()
    assert len(lines) == done.stderr.count("a warning"), lines
    assert bool(lines) == (words in STEPS)


@pytest.mark.parametrize("words", STEPS)
def test_without_it_steps_are_told_beside_the_outcome(words: str, cdc: Callable[[str], Result]) -> None:
    done = cdc(words)
    assert done.exit_code == 0, done.output
    assert "one step of it" in done.stderr
    assert "one step of it" not in done.stdout
    assert done.stdout


def test_every_command_with_json_is_among_these() -> None:
    context, found = click.Context(cli), set()
    for name in _COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        members = command.commands if isinstance(command, click.Group) else {"": command}
        for member, each in members.items():
            if any("--json" in parameter.opts for parameter in each.params):
                found.add((name, member) if member else (name,))
    tried = {tuple(words.split()) for words in STEPS + LOOKS}
    assert {each for each in found if not any(words[: len(each)] == each for words in tried)} == set()


def test_a_question_is_not_asked_on_stdout(cdc: Callable[[str], Result]) -> None:
    asked = cdc("teardown shop --json")  # and nobody there to answer
    assert (asked.exit_code, asked.stdout) == (1, "")
    assert "Tear down pipeline shop?" in asked.stderr


def test_steps_as_json_lines_name_their_pipeline(
    cdc: Callable[[str], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDC_LOG_FORMAT", "json")
    lines = [json.loads(line) for line in cdc("stop shop").stderr.splitlines()]
    assert [(line["level"], line["pipeline"], line["message"]) for line in lines] == [
        ("INFO", "shop", "one step of it"), ("WARNING", "shop", "a warning"),
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_step_tells_a_secret(
    form: str, cdc: Callable[[str], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDC_LOG_FORMAT", form)
    monkeypatch.setenv("STEP_TEST_PW", "s3cr3t-of-the-step")
    secrets.resolve_secret("${env:STEP_TEST_PW}")

    def stop(_: object, log: Any) -> dict[str, str]:
        log.warning("the server said: no s3cr3t-of-the-step")
        logging.getLogger("some.library").warning("login with s3cr3t-of-the-step")
        return {}

    monkeypatch.setattr(f"{ENGINE}.operations.lifecycle.stop", stop)
    done = cdc("stop shop")
    assert done.stderr.count(secrets.MASK) == 2
    assert "s3cr3t" not in done.output


# progress


def copying(progress: Any) -> None:
    chunks = [Chunk("orders", 0, None, (9,), 3_000), Chunk("orders", 1, (9,), None, 1_000)]
    progress.plan(chunks)
    progress.moved("orders", 3_000, 90_000)


def test_a_person_sees_how_far_a_copy_is(monkeypatch: pytest.MonkeyPatch, root_logging: None) -> None:
    person, terminal = pty.openpty()
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(terminal, "w") as stderr, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stderr)
        with telling_progress() as progress:
            copying(progress)
            shown = os.read(person, 65_536)
            while b"rows/s" not in shown:
                shown += os.read(person, 65_536)
        stderr.flush()
    os.close(person)
    assert b"75 %" in shown
    assert b"3,000 of ~4,000 rows" in shown
    assert b"left" in shown


@pytest.mark.parametrize(("terminal", "quiet"), [(False, False), (True, True)])
def test_nobody_else_does(
    terminal: bool, quiet: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a file that stderr goes to, nor whoever asked for JSON; whatever rich is told of colours."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with telling_progress(quiet=quiet) as progress:
        copying(progress)
    assert capsys.readouterr() == ("", "")
