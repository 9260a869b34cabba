"""Logs: readable or JSON, and never a secret."""

import io
import json
import logging
import subprocess
import sys

import pytest

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.errors import RetryableError
from cdc_pipelines.replication.logs import About, setup_logging
from tests.unit.root_logging import root_logging

__all__ = ["root_logging"]  # fixtures

SECRET = 'p"ä\\ss w0rd'  # what JSON would escape


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch, root_logging: None) -> None:
    monkeypatch.setenv("LOGS_TEST_PW", SECRET)
    secrets.resolve_secret("${env:LOGS_TEST_PW}")


def logged(json_lines: bool) -> str:
    stream = io.StringIO()
    setup_logging(json_lines, stream=stream)
    log = About(logging.getLogger("cdc.test"), pipeline="shop")
    log.info("login %s with %s", "cdc", SECRET)
    logging.getLogger("cdc.test").warning("moved", extra={"table": "orders", "position": f"b.1:{SECRET}"})
    try:
        try:
            raise ValueError(f"inner {SECRET}")
        except ValueError as cause:
            raise RetryableError(f"outer {SECRET}", "try again") from cause
    except RetryableError:
        log.exception("failed")
    return stream.getvalue()


def test_text_lines_name_the_pipeline_and_hide_secrets() -> None:
    text = logged(False)
    first, second, *rest = text.splitlines()
    assert first.endswith(f"Z INFO cdc.test [shop] login cdc with {secrets.MASK}")
    assert second.endswith(f"Z WARNING cdc.test moved (table=orders, position=b.1:{secrets.MASK})")
    assert f"ValueError: inner {secrets.MASK}" in "\n".join(rest)
    assert f"RetryableError: outer {secrets.MASK}" in "\n".join(rest)
    assert SECRET not in text


def test_json_lines_hold_the_same_and_hide_secrets_that_json_would_escape() -> None:
    lines = [json.loads(line) for line in logged(True).splitlines()]
    assert [line["level"] for line in lines] == ["INFO", "WARNING", "ERROR"]
    assert lines[0]["message"] == f"login cdc with {secrets.MASK}"
    assert (lines[0]["pipeline"], lines[1]["table"], lines[1]["position"]) == (
        "shop", "orders", f"b.1:{secrets.MASK}",
    )
    assert f"inner {secrets.MASK}" in lines[2]["exception"]
    assert SECRET not in json.dumps(lines, ensure_ascii=False)


def test_what_a_part_of_the_work_is_about_stands_beside_what_a_line_tells() -> None:
    stream = io.StringIO()
    setup_logging(True, stream=stream)
    lane = About(About(logging.getLogger("cdc.test"), pipeline="shop"), table="orders")
    lane.info("copied", extra={"position": "b.1:4"})
    lane.info("joins")
    copied, joins = (json.loads(line) for line in stream.getvalue().splitlines())
    assert {name: copied[name] for name in ("pipeline", "table", "position")} == {
        "pipeline": "shop", "table": "orders", "position": "b.1:4"
    }  # fmt: skip
    assert (joins["pipeline"], joins["table"], "position" in joins) == ("shop", "orders", False)


def test_people_are_not_told_twice() -> None:
    stream = io.StringIO()
    setup_logging(False, stream=stream)
    facts = {"table": "orders", "position": "b.1:4"}
    logging.getLogger("cdc.test").info("table orders: copied", extra=facts)
    logging.getLogger("cdc.test").info("table orders_old: copied", extra=facts)
    first, second = stream.getvalue().splitlines()
    assert first.endswith("table orders: copied (position=b.1:4)")
    assert second.endswith("table orders_old: copied (table=orders, position=b.1:4)")


def test_setting_up_twice_does_not_log_twice() -> None:
    stream = io.StringIO()
    setup_logging(False, stream=stream)
    setup_logging(False, stream=stream)
    logging.getLogger("cdc.test").info("once")
    assert stream.getvalue().count("once") == 1


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_LOG_FORMAT", "json")
    monkeypatch.setenv("CDC_LOG_LEVEL", "warning")
    stream = io.StringIO()
    setup_logging(stream=stream)
    logging.getLogger("cdc.test").info("quiet")
    logging.getLogger("cdc.test").warning("loud")
    assert json.loads(stream.getvalue())["message"] == "loud"


@pytest.mark.parametrize("where", ["main", "thread"])
def test_errors_that_nobody_catches_are_masked_too(where: str) -> None:
    code = f"""if True:
        import threading
        from cdc_pipelines.replication import logs, secrets
        logs.setup_logging()
        word = secrets.resolve_secret("${{env:LOGS_TEST_PW}}")
        def fail():
            raise ValueError("refused " + word)
        if {where!r} == "thread":
            thread = threading.Thread(target=fail, name="worker")
            thread.start()
            thread.join()
        else:
            fail()
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"ValueError: refused {secrets.MASK}" in done.stderr
    assert "CRITICAL" in done.stderr
    assert SECRET not in done.stderr
    assert done.returncode == (1 if where == "main" else 0)
