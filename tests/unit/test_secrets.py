"""Secrets: found by reference, hidden wherever people read."""

from pathlib import Path

import pytest

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.errors import ConfigurationError


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
