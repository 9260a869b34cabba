"""A connector whose connection to the source hangs half-open says RUNNING for minutes."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import yaml

from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.health import status as health
from cdc_pipelines.replication.operations import foundations
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.stack.settings import StackSettings
from tests.e2e.conftest import Pipe, wait_until
from tests.proxy import Proxy


def test_a_connector_that_hangs_is_told(
    make_pipe: Callable[..., Pipe], stack: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foundations, "SILENT_AFTER_S", 12.0)  # an idle source is silent for longer, this one writes
    with closing(Proxy(stack.mysql.port)) as proxy:
        pipe = make_pipe()
        document = yaml.safe_load(pipe.file.read_text())
        document["source"]["connect_port"] = proxy.port
        pipe.file.write_text(yaml.safe_dump(document))
        pipe.run("create table t (id int primary key)", "insert into t values (1)")
        pipe.configure()
        pipe.start()
        pipe.run("insert into t values (2)")
        pipe.arrives("select count(*) from t", [(2,)])
        monkeypatch.setenv("CDC_HOME", str(pipe.home))
        with Runtime.open(pipe.name, ControlStore.open()) as rt:
            assert health.status(rt)["overall"] == "healthy"
            proxy.stall()
            pipe.run("insert into t values (3)")
            seen: dict[str, Any] = {}

            def told() -> bool:
                seen.update(health.status(rt))
                return seen["overall"] == "degraded" and any("has sent nothing" in error for error in seen["errors"])

            wait_until(told, "the status to tell", 60)
            assert seen["connector"]["state"] == "RUNNING"
            assert any(f"cdc restart {pipe.name}" in error for error in seen["errors"])
            assert seen["lag"]["seconds"] > 0
            proxy.flow()
            pipe.arrives("select count(*) from t", [(3,)])
            wait_until(lambda: health.status(rt)["overall"] == "healthy", "the status to be healthy again", 60)
        pipe.ok("teardown", "--yes")
