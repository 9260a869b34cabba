"""What a person is told about an edited file before it is saved: each setting, its values, when it takes effect."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cdc_pipelines.replication.operations.settings_changes import _SECTIONS, settings_changes
from cdc_pipelines.replication.pipeline import Pipeline
from cdc_pipelines.replication.pipeline_file import parse_pipeline
from tests.unit.dagster_pipelines import file_text


def pipeline(**sections: Any) -> Pipeline:
    document = yaml.safe_load(file_text())
    for name, fields in sections.items():
        document[name] = {**document.get(name, {}), **fields} if isinstance(fields, dict) else fields
    return parse_pipeline(yaml.safe_dump(document), Path("shop.yaml"))


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ({"health": {"lag_seconds": 60}}, "health.lag_seconds: 300 → 60 (at once)"),
        ({"copy": {"workers": 8}}, "copy.workers: 2 → 8 (at the next copy)"),
        ({"kafka": {"log_keep_hours": None}}, "kafka.log_keep_hours: 24 → unset (at the next restart)"),
        ({"connect": {"config": {"max.batch.size": "9"}}}, "connect.config.max.batch.size: unset → 9"),
        ({"source": {"host": "192.0.2.9"}}, "source.host: 192.0.2.1 → 192.0.2.9 (at the next restart)"),
        ({"source": {"database": "other"}}, "source.database: shop → other (with a resync)"),
        ({"target": {"schema": "other"}}, "target.schema: shop → other (with a resync)"),
        ({"source": {"password": "${env:OTHER}"}}, "source.password: ${env:CDC_TEST_PASSWORD} → ${env:OTHER} (at the"),
    ],
)
def test_each_edit_is_told_with_its_effect(edit: dict[str, Any], told: str) -> None:
    words = [str(change) for change in settings_changes(pipeline(), pipeline(**edit))]
    assert any(word.startswith(told) for word in words), words
    assert len(words) == 1, words


def test_an_untouched_file_changes_nothing() -> None:
    assert settings_changes(pipeline(), pipeline()) == []


def test_every_section_of_the_file_has_an_effect() -> None:
    """A section added to the file must say when it takes effect."""
    apart = {"name", "client", "config", "tables", "exclude"}
    sections = {field.alias or name for name, field in Pipeline.model_fields.items()} - apart
    assert sections == set(_SECTIONS)
