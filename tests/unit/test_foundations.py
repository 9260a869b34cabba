"""What a status asks of Kafka Connect goes through the pipeline's own client: another one would not be logged in."""

from types import SimpleNamespace
from typing import Any, cast

from cdc_pipelines.replication.operations import foundations
from cdc_pipelines.replication.operations.runtime import Runtime


def test_the_connector_is_looked_at_with_the_pipelines_credentials() -> None:
    asked: list[str] = []

    def config(name: str) -> dict[str, Any] | None:
        asked.append(name)
        return None

    client = SimpleNamespace(url="http://127.0.0.1:1", config=config)  # as a client shows its address: without the user
    pipeline = SimpleNamespace(connector_name="cdc_1_1")
    foundations.connector_as_made(cast(Runtime, SimpleNamespace(connect=client, pipeline=pipeline)), {})
    assert asked == ["cdc_1_1"]
