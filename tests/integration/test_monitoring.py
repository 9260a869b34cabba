"""The alert rules and the dashboard in deploy/monitoring, judged by Prometheus's own tool."""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from cdc_pipelines.replication.control.store import ControlStore, Heartbeat
from cdc_pipelines.replication.metrics.catalogue import METRICS, Families
from cdc_pipelines.replication.metrics.collector import registry
from cdc_pipelines.replication.metrics.looks import Looks
from cdc_pipelines.replication.stream.measures import Histogram, Measures
from tests.conftest import PROJECT
from tests.control_fixtures import postgres_url
from tests.control_specs import make_spec
from tests.monitoring import DASHBOARD, RULES, promtool

__all__ = ["postgres_url"]  # fixture


def dashboard_expressions() -> Iterator[str]:
    """What the dashboard asks, as Grafana sends it."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"].replace("$pipeline", ".*").replace("$__rate_interval", "1m")


def metrics_of(text: str) -> set[str]:
    """The metrics that expressions name, without what a histogram adds."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bcdc_[a-z_]+", text)}


def test_names_and_help_texts_are_as_prometheus_wants_them() -> None:
    found = Families()
    for name, metric in METRICS.items():
        found.add(name, Histogram.over((0.5, 1.0)) if metric.kind == "histogram" else 1, *metric.labels)
    told = CollectorRegistry()
    told.register(type("Told", (Collector,), {"collect": lambda self: found.all()})())
    text = generate_latest(told).decode()
    assert text.count("# HELP") == len(METRICS)
    done = promtool("check", "metrics", given=text)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_control_store_on_postgresql_is_told_as_well(postgres_url: str) -> None:
    with contextlib.closing(ControlStore.open(postgres_url)) as store:
        store.save_pipeline(make_spec("shop", 1), "", ())
        measured = Measures.fresh()
        measured.applied(3, [1], 0)
        store.beat(Heartbeat("shop", "g", 1, "h", "0", "streaming", datetime.now(UTC), measures=measured.to_json()))
        source = registry(store, Looks(store))
        store.record_exit("shop", group="g", revision=1, host="h", pid=1, exit_code=-9, last_lines="")
        text = generate_latest(source).decode()
    for line in (
        "cdc_control_store_up 1.0", 'cdc_consumer_exits_total{code="-9",pipeline="shop"} 1.0',
        'cdc_run_events_sum{pipeline="shop"} 3.0', 'cdc_latency_seconds_count{pipeline="shop"} 1.0',
    ):  # fmt: skip
        assert f"\n{line}\n" in text, text


def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    for file in (RULES, PROJECT / "tests" / "integration" / "alert_rules.yml"):
        shutil.copy(file, tmp_path)
    done = promtool("test", "rules", "alert_rules.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_played() -> None:
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    played = (PROJECT / "tests" / "integration" / "alert_rules.yml").read_text()
    assert [rule["alert"] for rule in rules if f'alertname="{rule["alert"]}"' not in played] == []
    assert all(rule["annotations"].keys() == {"summary", "description"} for rule in rules)


def test_the_dashboards_questions_can_be_asked(tmp_path: Path) -> None:
    rules: list[dict[str, Any]] = [
        {"record": f"panel_{number}", "expr": each} for number, each in enumerate(dashboard_expressions())
    ]
    assert len(rules) > 15
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_and_dashboard_name_metrics_that_there_are() -> None:
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    asked = metrics_of(" ".join([*(rule["expr"] for rule in rules), *dashboard_expressions()]))
    assert asked <= METRICS.keys()
    assert METRICS.keys() - asked <= {
        "cdc_pipeline_status", "cdc_open_incidents", "cdc_incident_opened_timestamp_seconds", "cdc_consumer_state",
        "cdc_change_log_records",
    }, "a metric that nobody sees: put it into the dashboard"  # fmt: skip
