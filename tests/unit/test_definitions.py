"""The definitions load while every server is down, and hold what they promise."""

import contextlib
import logging
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy
from dagster._core.remote_representation.external_data import RepositorySnap  # what webserver and storage see
from dagster._core.snap import JobSnap
from dagster._serdes import serialize_value

from cdc_pipelines.assets.checks import equality_checks
from cdc_pipelines.assets.declared import declared_pipelines
from cdc_pipelines.assets.names import ChunkPartition, node_name
from cdc_pipelines.assets.observations import FRESH_EVERY_S
from cdc_pipelines.assets.tables import replicated_tables
from cdc_pipelines.jobs.start import start_job
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.schedules.declared import pipeline_schedules
from tests.unit.dagster_pipelines import configure, file_text


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A control store and a folder of pipeline files of this test's own."""
    monkeypatch.setenv("CDC_HOME", str(tmp_path / "cdc"))
    monkeypatch.delenv("CDC_CONTROL_URL", raising=False)
    monkeypatch.setenv("CDC_PIPELINES_DIR", str(tmp_path / "pipelines"))
    (tmp_path / "pipelines").mkdir()
    return tmp_path


def load() -> dg.Definitions:
    """What definitions.py wires, made anew from the present environment."""
    pipelines = declared_pipelines()
    from cdc_pipelines.definitions import defs

    jobs = [job for job in defs.jobs or [] if job.name != "start_replication"]
    return dg.Definitions(
        assets=[*replicated_tables(pipelines)], asset_checks=[*equality_checks(pipelines)],
        jobs=[*jobs, start_job(pipelines)], schedules=[*pipeline_schedules(pipelines)],
        resources=defs.resources, executor=defs.executor,
    )  # fmt: skip


def keys(definitions: dg.Definitions) -> list[str]:
    return sorted(key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys())


def config_fields(job: dg.JobDefinition) -> dict[str, tuple[bool, Any, str]]:
    """The Launchpad's fields: whether required, the default, the description."""
    fields = job.config_mapping.config_schema.config_type.fields
    return {
        name: (field.is_required, None if field.is_required else field.default_value, field.description)
        for name, field in fields.items()
    }


def test_it_loads_with_nothing_reachable(tmp_path: Path) -> None:
    """In a fresh process: the control store's server refuses, the pipeline's servers do not exist."""
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "shop.yaml").write_text(file_text())
    loaded = subprocess.run(
        [sys.executable, "-W", "error", "-c",
         "from cdc_pipelines.definitions import defs; print(*sorted("
         "k.to_user_string() for k in defs.resolve_asset_graph().get_all_asset_keys()))"],
        env={**os.environ, "CDC_PIPELINES_DIR": str(tmp_path / "pipelines"), "CDC_HOME": str(tmp_path),
             "CDC_CONTROL_URL": "postgresql+psycopg2://cdc:sup3rs3cret@127.0.0.1:1/control"},
        capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert loaded.stdout.split() == [
        "shop/customers", "shop/orders", "shop/source/customers", "shop/source/orders"
    ], loaded.stderr  # fmt: skip
    assert "the control store can't be read" in loaded.stderr
    assert "sup3rs3cret" not in loaded.stderr


def test_jobs(home: Path) -> None:
    names = {job.name for job in load().jobs or []}
    assert names == {
        "discover", "configure", "start_replication", "stop_replication", "restart_replication",
        "resync_tables", "release_tables", "add_table", "remove_table", "verify_replication", "teardown",
        "dead_letters", "retry_dead_letter", "skip_dead_letter", "replication_health", "heal_replication",
    }  # fmt: skip


def test_everything_people_choose_from_is_described(home: Path) -> None:
    with_tables(home, "shop")
    definitions = load()
    graph = definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        assert graph.get(key).description, key
    for job in definitions.jobs or []:
        assert job.description, job.name
        for name, (_, _, description) in config_fields(job).items():
            assert description, f"{job.name}: {name}"
        for node in job.nodes:
            assert node.definition.description, f"{job.name}: {node.name}"
    for resource in (definitions.resources or {}).values():
        for name, field in type(resource).model_fields.items():
            assert field.description, name


def test_launchpad_of_start_replication(home: Path) -> None:
    fields = config_fields(start_job([]))
    assert list(fields) == ["pipeline", "force_resync"]
    assert fields["pipeline"][:2] == (True, None)
    assert fields["force_resync"][:2] == (False, False)
    job = start_job([])
    assert dg.validate_run_config(job, {"pipeline": "shop"})
    with pytest.raises(dg.DagsterInvalidConfigError, match="force_resinc"):
        dg.validate_run_config(job, {"pipeline": "shop", "force_resinc": True})
    with pytest.raises(dg.DagsterInvalidConfigError, match="pipeline"):
        dg.validate_run_config(job, {"force_resync": True})


def test_the_launchpads_words_reach_every_step(home: Path) -> None:
    with_tables(home, "shop")
    resolved = dg.validate_run_config(start_job(declared_pipelines()), {"pipeline": "shop", "force_resync": True})
    assert resolved is not None
    given = {name: op["config"] for name, op in resolved["ops"].items()}
    for step in ("validate_prerequisites", "plan_copy"):
        assert given.pop(step) == {"pipeline": "shop", "force_resync": True}
    assert set(given) == {
        "copy_shard", "check_copy", "create_connector", "start_consumer"
    }  # fmt: skip
    assert all(config == {"pipeline": "shop"} for config in given.values())
    executor = resolved["execution"]["multiprocess"]
    assert executor["max_concurrent"] == 2  # the pipeline's copy.workers
    assert "cdc_pipelines.jobs.preload" in executor["start_method"]["forkserver"]["preload_modules"]


def test_a_file_alone_gives_assets_without_columns(home: Path) -> None:
    (home / "pipelines" / "shop.yaml").write_text(file_text())
    definitions = load()
    assert keys(definitions) == ["shop/customers", "shop/orders", "shop/source/customers", "shop/source/orders"]
    node = definitions.resolve_asset_graph().get(dg.AssetKey(["shop", "customers"]))
    assert "dagster/column_schema" not in node.metadata
    assert "Not configured yet" in (node.description or "")


def test_a_table_that_is_not_fresh_for_half_an_hour_is_told(home: Path) -> None:
    with_tables(home, "shop")
    policies = [
        spec.freshness_policy for assets in load().assets or [] if isinstance(assets, dg.AssetsDefinition)
        for spec in assets.specs if len(spec.key.path) == 2
    ]
    assert len(policies) == 2
    for policy in policies:
        assert isinstance(policy, TimeWindowFreshnessPolicy)
        windows = (policy.warn_window, policy.fail_window)
        assert [window.to_timedelta() for window in windows if window] == [timedelta(minutes=30), timedelta(hours=1)]
        assert windows[0].to_timedelta().total_seconds() >= 3 * FRESH_EVERY_S, "one that is late is no alarm yet"


def test_what_is_configured_wins_over_its_file(home: Path) -> None:
    (home / "pipelines" / "shop.yaml").write_text(file_text(tables=["something_else"]))
    with_tables(home, "shop")
    node = load().resolve_asset_graph().get(dg.AssetKey(["shop", "customers"]))
    assert node.metadata["dagster/table_name"] == "warehouse.shop.customers"
    assert node.metadata["dagster/uri"].value == "postgresql://192.0.2.1:5432/warehouse/shop/customers"
    schema = node.metadata["dagster/column_schema"]
    assert [(c.name, c.type, c.constraints.nullable, c.constraints.unique) for c in schema.columns] == [
        ("id", "numeric(20)", False, True), ("note", "text", True, False)
    ]  # fmt: skip
    assert "shop/something_else" not in keys(load())


def test_target_is_materializable_by_chunk_and_source_is_not(home: Path) -> None:
    with_tables(home, "shop")
    graph = load().resolve_asset_graph()
    target, source = graph.get(dg.AssetKey(["shop", "orders"])), graph.get(dg.AssetKey(["shop", "source", "orders"]))
    assert target.is_materializable
    assert target.partitions_def == dg.DynamicPartitionsDefinition(name="shop/orders")
    assert target.parent_keys == {source.key}
    assert source.is_external
    assert (target.kinds, source.kinds) == ({"postgres"}, {"mysql"})
    assert (target.group_name, source.group_name) == ("shop", "shop")


def test_two_pipelines_side_by_side(home: Path) -> None:
    """The same table names and schedules, one pipeline from a file, one configured."""
    schedules = {"resync": {"cron": "0 3 * * 0"}, "verify": {"cron": "30 2 * * *"}}
    (home / "pipelines" / "billing.yaml").write_text(file_text("billing", 2, schedules=schedules))
    with_tables(home, "shop", schedules=schedules)
    definitions = load()
    assert [k for k in keys(definitions) if k.endswith("customers")] == [
        "billing/customers", "billing/source/customers", "shop/customers", "shop/source/customers"
    ]  # fmt: skip
    repository = definitions.get_repository_def()
    assert len(repository.assets_defs_by_key) == 8
    assert {schedule.name for schedule in repository.schedule_defs} == {
        "resync__billing", "resync__shop", "verify__billing", "verify__shop"
    }  # fmt: skip


def test_table_names_may_be_anything(home: Path) -> None:
    names = ["order lines", "order-lines", "order_lines", "größen", "a.b", 'q"uo`t\'e', "select", "x/y", "a__b", "日本"]
    with_tables(home, "shop", tables=names)
    definitions = load()
    assert {k.path[-1] for k in definitions.resolve_asset_graph().get_all_asset_keys()} == set(names)
    assert len({a.op.name for a in definitions.assets if isinstance(a, dg.AssetsDefinition)}) == len(names)
    assert len({check.node_def.name for check in definitions.asset_checks}) == len(names)
    checks = definitions.get_repository_def().asset_graph.asset_check_keys
    assert {check.asset_key.path[-1] for check in checks} == set(names)


def test_node_names_of_different_tables_differ() -> None:
    pairs = [("a", "b__c"), ("a__b", "c"), ("a", "b c"), ("a", "b-c"), ("a", "b_c"), ("a_", "b"), ("a", "_b")]
    assert len({node_name(*pair) for pair in pairs}) == len(pairs)


def test_a_broken_file_takes_nothing_else_away(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    (home / "pipelines" / "broken.yaml").write_text("source: [")
    (home / "pipelines" / "shop.yaml").write_text(file_text())
    with caplog.at_level(logging.ERROR):
        assert [p.name for p in declared_pipelines()] == ["shop"]
    assert "broken.yaml" in caplog.text


def test_all_tables_are_unknown_until_configured(home: Path) -> None:
    (home / "pipelines" / "shop.yaml").write_text(file_text(tables="all"))
    assert keys(load()) == []
    assert [p.name for p in declared_pipelines()] == ["shop"]


def test_no_secret_reaches_a_snapshot(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots of jobs and resources are stored and shown; what a process resolves must not be in them."""
    monkeypatch.setenv("CDC_TEST_PASSWORD", "sup3rs3cret")
    monkeypatch.setenv("CDC_CONTROL_URL", f"sqlite:///{home}/sup3rs3cret.db")
    with_tables(home, "shop")
    definitions = load()
    repository = definitions.get_repository_def()
    text = serialize_value(RepositorySnap.from_def(repository))
    text += "".join(serialize_value(JobSnap.from_job_def(job)) for job in repository.get_all_jobs())
    assert "customers" in text  # it is the text that holds everything
    assert "sup3rs3cret" not in text
    assert "sup3rs3cret" not in repr(definitions.resources)


def test_chunk_partitions() -> None:
    assert str(ChunkPartition(1732550400, 7)) == "g1732550400-0007"
    assert ChunkPartition.parse("g1732550400-0007") == ChunkPartition(1732550400, 7)
    ordered = [str(ChunkPartition(17, n)) for n in range(500)]
    assert ordered == sorted(ordered)
    for text in ("0007", "g17-7", "g17-0007 ", "17-0007", ""):
        with pytest.raises(ConfigurationError, match="does not name a chunk"):
            ChunkPartition.parse(text)


def with_tables(home: Path, name: str, **more: Any) -> None:
    """A configured pipeline in the control store that the environment names."""
    with contextlib.closing(ControlStore.open()) as store:
        configure(store, name, **more)


def test_the_check_of_a_table_compares_it_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As "Execute" does, over a fake engine."""
    from cdc_pipelines.assets import checks
    from cdc_pipelines.replication.verify import TableVerified, VerifyReport

    asked: list[Any] = []

    def verify(rt: Any, log: Any, *, tables: list[str], by: str) -> VerifyReport:
        asked.append((rt.name, tables, by))
        return VerifyReport("shop", "{}", (TableVerified(tables[0], 5, 4, (), 1, 1.0, 1),))

    monkeypatch.setattr(checks, "verify", verify)
    with_tables(home, "shop", tables=["order lines", "customers"])
    key = dg.AssetKey(["shop", "order lines"])
    job = dg.define_asset_job("execute", selection=dg.AssetSelection.checks(dg.AssetCheckKey(key, "equal_to_source")))
    definitions = dg.Definitions.merge(load(), dg.Definitions(jobs=[job]))
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("execute").execute_in_process(instance=instance)
    (evaluation,) = result.get_asset_check_evaluations()
    assert (evaluation.asset_key, evaluation.passed) == (key, False)
    assert evaluation.metadata["differences"].value == 1
    assert asked == [("shop", ["order lines"], "dagster")]
