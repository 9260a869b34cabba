"""Secrets: found by reference, hidden wherever people read."""

from pathlib import Path

import pytest

from cdc_pipelines import cli
from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.control.records import Heartbeat
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.stream.pulse import Pulse


def test_a_file_s_content_is_the_secret(tmp_path: Path) -> None:
    file = tmp_path / "pw"
    file.write_text("p w\n")
    assert secrets.resolve_secret(f"${{file:{file}}}") == "p w"


def test_what_was_resolved_as_a_secret_is_masked() -> None:
    value = secrets.resolve_secret("${env:X}", {"X": "correct horse"})
    assert secrets.redact(f"login with {value} failed") == f"login with {secrets.MASK} failed"


def test_a_missing_file_names_it_and_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no-such"):
        secrets.resolve(f"${{file:{tmp_path}/no-such}}")


def test_references_as_kafka_connect_resolves_them() -> None:
    assert secrets.for_connect("${env:PW}") == "${env:PW}"
    assert secrets.for_connect("${file:/run/secrets/pw}") == "${directory:/run/secrets:pw}"
    with pytest.raises(ConfigurationError):
        secrets.for_connect("literal")


def test_the_command_line_shows_no_secret(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    secrets.resolve_secret("${env:X}", {"X": "battery staple"})

    def refuse(**_: object) -> None:
        raise ConfigurationError("login with battery staple refused", "another one than battery staple.")

    monkeypatch.setattr(cli, "cli", refuse)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert f"login with {secrets.MASK} refused" in shown.err
    assert "staple" not in shown.err + shown.out


def test_a_heartbeat_shows_no_secret() -> None:
    secrets.resolve_secret("${env:X}", {"X": "battery staple"})
    sent: list[Heartbeat] = []
    pulse = Pulse(type("Store", (), {"beat": lambda self, beat: sent.append(beat)})(), "shop", "group")  # type: ignore[arg-type]
    pulse.start()
    pulse.now("streaming", "login with battery staple refused")
    pulse.end("failed", "login with battery staple refused")
    assert {beat.message for beat in sent} <= {"", f"login with {secrets.MASK} refused"}
    assert sent[-1].message == f"login with {secrets.MASK} refused"
