"""A pipeline's file: every mistake is told with its place, its value and what is allowed; secrets never appear."""

from pathlib import Path

import pytest

from cdc_pipelines.replication.errors import ConfigurationError, PipelineFileError
from cdc_pipelines.replication.pipeline_file import load_pipeline, parse_pipeline

GOOD = """
config: 7
source: {type: mysql, host: db, port: 3306, database: shop, user: cdc, password: "${env:SRC}"}
target: {type: postgres, host: pg, port: "${env:PG_PORT:-5432}", database: dw, schema: shop, user: cdc,
         password: "${file:/run/secrets/pg}"}
"""
FILE = Path("pipelines/shop.yaml")


def test_names_follow_from_client_and_config() -> None:
    pipeline = parse_pipeline(GOOD + "client: 3\n", FILE)
    assert pipeline.name == "shop"
    assert pipeline.topic_prefix == "client_3_db_7"
    assert pipeline.connector_name == "cdc_3_7"
    assert pipeline.consumer_group(1700000000) == "cdc_consumer_3_7_1700000000"
    assert pipeline.log_topic(5) != pipeline.log_topic(6)


def test_a_bare_table_name_is_the_table_unchanged() -> None:
    pipeline = parse_pipeline(GOOD + "tables: [orders, {source: items, rename: {a: b}}]\n", FILE)
    assert isinstance(pipeline.tables, list)
    assert [t.source for t in pipeline.tables] == ["orders", "items"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "source: {type: mysql, host: db, port: 99999, database: shop, user: cdc, password: '${env:S}'}",
            ["source.port", "99999", "between 1 and 65535"],
        ),
        (
            "source: {type: oracle, host: db, port: 1, database: shop, user: cdc, password: '${env:S}'}",
            ["source.type", "oracle", "'mysql' or 'mariadb'"],
        ),
        ("colour: red", ["colour", "red"]),
        ("tables: []", ["tables", "at least one"]),
        ("tables: [a, a]", ["more than once: a"]),
        ("tables: [a]\nexclude: [b]", ["exclude goes with"]),
        ("copy: {workers: 0}", ["copy.workers", "0", "greater than or equal to 1"]),
    ],
)
def test_mistakes_name_file_line_path_value_and_what_is_allowed(change: str, words: list[str]) -> None:
    key = change.split(":")[0]
    text = "\n".join(line for line in GOOD.splitlines() if not line.startswith(f"{key}:")) + f"\n{change}\n"
    with pytest.raises(PipelineFileError) as caught:
        parse_pipeline(text, FILE)
    for word in [str(FILE), *words]:
        assert word in str(caught.value)


def test_all_mistakes_are_told_at_once_with_their_lines() -> None:
    with pytest.raises(PipelineFileError) as caught:
        parse_pipeline("config: x\nsource: {}\nwhat: 1\n", FILE)
    text = str(caught.value)
    assert "line 1, config" in text
    assert "line 3, what" in text
    assert "source.host" in text
    assert "target" in text


@pytest.mark.parametrize("literal", ["hunter2", "${env:A}x", "${env:A:-hunter2}"])
def test_a_literal_password_is_refused_and_not_repeated(literal: str) -> None:
    with pytest.raises(PipelineFileError) as caught:
        parse_pipeline(GOOD.replace("${env:SRC}", literal), FILE)
    assert "version control" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", ""])
def test_what_is_not_a_mapping_is_told(text: str) -> None:
    with pytest.raises(PipelineFileError):
        parse_pipeline(text, FILE)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(PipelineFileError, match="can't be read"):
        load_pipeline(tmp_path / "no.yaml")


def test_references_are_resolved_when_used(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = parse_pipeline(GOOD, FILE)
    monkeypatch.delenv("SRC", raising=False)
    assert pipeline.target.resolved_port() == 5432
    with pytest.raises(ConfigurationError, match="SRC is not set"):
        pipeline.source.resolved_password()
    monkeypatch.setenv("SRC", "s3cr3t-value")
    assert pipeline.source.resolved_password() == "s3cr3t-value"


@pytest.mark.parametrize(
    "alerts",
    [
        'apprise: ["slack://hunter2/b/c"]', 'apprise: "slack://hunter2"', 'slack: "slack://hunter2"',
        'webhook: {url: "https://chat.example/hunter2"}', 'webhook: "https://chat.example/hunter2"',
        'webhook: {url: "${env:HOOK}", secret: hunter2}', 'webhook: {url: "${env:HOOK:-hunter2}"}',
        "pagerduty: {routing_key: hunter2}", "pagerduty: hunter2",
    ],
)  # fmt: skip
def test_an_address_of_people_is_a_reference_and_is_not_repeated(alerts: str) -> None:
    with pytest.raises(PipelineFileError, match=r"line 6, alerts\.") as caught:
        parse_pipeline(f"{GOOD}alerts: {{{alerts}}}\n", FILE)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("hours", "pauses"), [("3", [3, 3, 3]), ("[1, 4]", [1, 4, 4]), ("null", [None] * 3), ("[]", [None] * 3)]
)
def test_pauses_between_reminders(hours: str, pauses: list[float | None]) -> None:
    alerts = parse_pipeline(f"{GOOD}alerts: {{remind_hours: {hours}}}\n", FILE).alerts
    assert [alerts.pause_s(n) for n in range(3)] == [hours and hours * 3600 for hours in pauses]


def test_reminders_can_not_be_a_flood() -> None:
    with pytest.raises(PipelineFileError, match=r"alerts.remind_hours\[0\]: .*0.25 \(found 0.01\)"):
        parse_pipeline(f"{GOOD}alerts: {{remind_hours: 0.01}}\n", FILE)
