"""Pipelines for tests that need no servers of theirs."""

from typing import Any

from cdc_pipelines.replication.pipeline import Pipeline

SERVER = {"host": "db.example", "port": 3306, "database": "shop", "user": "cdc", "password": "${env:CONTROL_TEST_PW}"}


def make_spec(name: str = "shop", config: int = 7, **settings: Any) -> Pipeline:
    """A pipeline whose servers don't exist."""
    return Pipeline.model_validate(
        {"name": name, "config": config, "source": SERVER | {"type": "mysql"}, "target": SERVER | {"type": "postgres"}}
        | settings
    )
