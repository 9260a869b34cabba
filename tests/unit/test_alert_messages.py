"""The words of messages, and the document that a webhook gets."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.alerts.document import Alert
from cdc_pipelines.replication.alerts.message import (
    FailedRun,
    FailedStep,
    _duration,
    incident_alert,
    run_alert,
    trial_alert,
)
from cdc_pipelines.replication.control.records import Action, Incident, Problem

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs/alert.schema.json").read_text(encoding="utf-8"))
BEGAN = datetime(2026, 5, 5, 12, 0, tzinfo=UTC)
LAG = Problem("lag", "degraded", "the target is 400 s behind", "see docs/troubleshooting.md.")
GONE = Problem("consumer_gone", "failed", "no heartbeat for 130 s", "run `cdc restart shop`.")
TRIED = (
    Action("restart_consumer", "requested", "", BEGAN + timedelta(seconds=20)),
    Action("heal", "failed", "the consumer does not stream after 60 s", BEGAN + timedelta(seconds=81)),
)
NOW = BEGAN + timedelta(hours=3, minutes=5)


def told(event: Any, severity: Any = "failed", *problems: Problem, name: str = "", **facts: Any) -> Alert:
    incident = Incident(12, "shop", severity, severity, problems or (LAG, GONE), BEGAN, NOW, **facts)
    return incident_alert(event, incident, TRIED, name=name or event, store="s1", now=NOW)


@pytest.fixture
def failed_run() -> FailedRun:
    step = FailedStep("copy_shard[shard_0]", "source db.example:3306: connection refused", "check that it runs.")
    return FailedRun("shop", "start_replication", "0a1b2c3d", (step,))


def test_opened_says_what_since_when_why_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_DAGSTER_URL", "https://dagster.example.com/prefix/")
    sent = told("opened", run="0a1b2c3d")
    assert sent.title == "shop is failed: no heartbeat for 130 s"
    assert sent.next_step == "run `cdc restart shop`.", "of the worst problem"
    assert sent.text == (
        "Pipeline shop is failed; it has not been healthy since 2026-05-05 12:00:00 UTC (3 h 5 min).\n"
        "\n"
        "What is wrong:\n"
        "- degraded, lag: the target is 400 s behind\n"
        "  Next step: see docs/troubleshooting.md.\n"
        "- failed, consumer_gone: no heartbeat for 130 s\n"
        "  Next step: run `cdc restart shop`.\n"
        "\n"
        "What was done by itself:\n"
        "- 12:01:21 UTC heal: failed; the consumer does not stream after 60 s\n"
        "\n"
        "Incident 12; see `cdc status shop`.\n"
        "Run: https://dagster.example.com/prefix/runs/0a1b2c3d"
    )
    assert (sent.severity, sent.seconds, sent.incident) == ("failed", 11100.0, 12)


def test_without_the_address_of_dagster_a_message_names_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDC_DAGSTER_URL", raising=False)
    sent = told("opened", run="0a1b2c3d")
    assert sent.text.endswith("Run: 0a1b2c3d of replication_health, in Dagster")
    assert sent.run is not None
    assert sent.run.url is None
    assert told("opened").run is None, "people may be told before its run is seen"


def test_reminder_and_end_say_how_long() -> None:
    lasts = told("reminder", "degraded", LAG)
    assert lasts.title == "shop is still degraded after 3 h 5 min: the target is 400 s behind"
    calm = told("opened", calm_since=NOW)
    assert calm.text.splitlines()[0].endswith("It has looked healthy again since 2026-05-05 15:05:00 UTC.")
    over = told("recovered", "failed", resolved_at=BEGAN + timedelta(minutes=12))
    assert over.title == "shop is healthy again after 12 min"
    assert over.text.startswith("Pipeline shop was failed from 2026-05-05 12:00:00 UTC to 2026-05-05 12:12:00 UTC.")
    assert "What it was:" in over.text
    assert "Next step" not in over.text, "there is nothing to do any more"
    assert (over.severity, over.next_step, over.seconds) == ("recovered", "", 720.0)


def test_a_failed_run_is_told_with_its_step_reason_and_next_step(
    failed_run: FailedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDC_DAGSTER_URL", "http://127.0.0.1:3000")
    sent = run_alert(failed_run, store="s1", now=NOW)
    assert sent.title == "shop: start_replication failed: source db.example:3306: connection refused"
    reason = "- copy_shard[shard_0]: source db.example:3306: connection refused\n  Next step: check that it runs."
    assert reason in sent.text
    assert sent.text.endswith("Run: http://127.0.0.1:3000/runs/0a1b2c3d")
    assert (sent.event, sent.severity, sent.incident) == ("run_failed", "failed", None)
    died = FailedRun("shop", "start_replication", "0a", (), "Run worker exited with code -9")
    assert "Run worker exited with code -9" in run_alert(died, store="s1", now=NOW).text


def test_every_document_is_as_its_schema_says(failed_run: FailedRun) -> None:
    sent = [
        told("opened", run="0a1b"), told("escalated"), told("reminder", "degraded", LAG),
        told("recovered", resolved_at=NOW), run_alert(failed_run, store="s1", now=NOW),
        trial_alert("shop", store="s1", now=NOW),
    ]  # fmt: skip
    for each in sent:
        document = json.loads(each.to_json())
        jsonschema.validate(document, SCHEMA, format_checker=jsonschema.FormatChecker())
        assert set(document) == set(SCHEMA["properties"])
        assert Alert.model_validate_json(each.to_json()) == each, "it can be kept, and told later"
    assert json.loads(sent[0].to_json())["at"] == "2026-05-05T15:05:00.000Z"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(sent[0].to_json()) | {"event": "another"}, SCHEMA)


def test_messages_of_one_incident_belong_together_and_each_has_its_own_id(failed_run: FailedRun) -> None:
    sent = [told("opened"), told("reminder", name="reminder-1"), told("reminder", name="reminder-2"),
            told("recovered", resolved_at=NOW)]  # fmt: skip
    assert len({each.thread for each in sent}) == 1
    assert len({each.id for each in sent}) == 4
    other = FailedRun("shop", "start_replication", "another", ())
    one, two = (run_alert(each, store="s1", now=NOW) for each in (failed_run, other))
    assert one.thread == two.thread
    assert one.id != two.id


def test_no_secret_and_no_flood_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_TEST_PASSWORD", "sup3rs3cret")
    secrets.resolve_secret("${env:CDC_TEST_PASSWORD}")
    words = "access denied for cdc:sup3rs3cret@db\n" + "x" * 100_000
    problem = Problem("source_unreachable", "failed", words, words)
    sent = [
        told("opened", "failed", *[problem] * 20),
        run_alert(FailedRun("shop", "verify_replication", "1", (FailedStep("a", words, words),)), store="s", now=NOW),
        run_alert(FailedRun("shop", "verify_replication", "1", (), words), store="s", now=NOW),
    ]
    for each in sent:
        assert "sup3rs3cret" not in each.to_json()
        assert "access denied for cdc:********@db" in each.text
        assert len(each.title) <= 150
        assert "\n" not in each.title
        assert len(each.text) <= 6000
        assert "see `cdc status shop`" in each.text or "Run: 1 of" in each.text, "where to look is not cut off"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (11_100, "3 h 5 min"),
     (86_400, "1 d"), (187_200, "2 d 4 h")],
)  # fmt: skip
def test_durations(seconds: float, words: str) -> None:
    assert _duration(seconds) == words
