"""What lies in deploy/ is right as far as that can be seen without a systemd or a cluster that runs it."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml
from dagster._cli import create_dagster_cli
from dagster._daemon.cli import create_dagster_daemon_cli
from dagster_webserver.cli import dagster_webserver
from fastapi.testclient import TestClient

from cdc_pipelines import cli
from cdc_pipelines.agent import liveness, supervisor
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.web.app import create_app
from cdc_pipelines.web.settings import WebSettings

PROJECT = Path(__file__).resolve().parents[2]
UNITS = sorted((PROJECT / "deploy/systemd").glob("*.service"))
BIN = "/opt/cdc/venv/bin"
PROGRAMS = {
    "cdc": cli.cli,
    "dagster": create_dagster_cli(),
    "dagster-webserver": dagster_webserver,
    "dagster-daemon": create_dagster_daemon_cli(),
}


class Strict(yaml.SafeLoader):
    """A key that stands twice is an error, as Kubernetes takes it; YAML's own loader would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if len(keys) != len(set(keys)):
            raise yaml.constructor.ConstructorError(None, None, f"a key stands twice in {keys}", node.start_mark)
        return dict(super().construct_mapping(node, deep))


MANIFESTS = {
    f"{file.name} {document['kind']} {document['metadata']['name']}": document
    for file in sorted((PROJECT / "deploy/kubernetes").glob("*.yaml"))
    for document in yaml.load_all(file.read_text(encoding="utf-8"), Loader=Strict)
}
PODS = {name: d["spec"]["template"]["spec"] for name, d in MANIFESTS.items() if d["kind"] == "Deployment"}


def accept(program: str, *words: str) -> None:
    """Raises what the program would say to this command line; runs nothing."""
    command: click.Command = PROGRAMS[program]
    rest = list(words)
    while isinstance(command, click.Group):
        _, found, rest = command.resolve_command(click.Context(command), rest)
        assert found is not None, words
        command = found
    command.make_context(program, rest)


def settings(unit: Path) -> dict[str, list[str]]:
    """Directives of all sections; systemd allows some of them several times, which no parser of INI files does."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_there_is_something_to_test() -> None:
    names = [unit.stem for unit in UNITS]
    assert names == ["cdc-agent", "cdc-code-server", "cdc-daemon", "cdc-web", "cdc-webserver"]
    assert [name.split()[-1] for name in PODS] == ["cdc-agent", "cdc-code-location", "cdc-web"]


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        here = unit.read_text(encoding="utf-8").replace(BIN, str(Path(sys.executable).parent))
        (tmp_path / unit.name).write_text(here, encoding="utf-8")
    files = [tmp_path / unit.name for unit in UNITS]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, check=False
    )
    # It warns, with exit code 0, of directives that it doesn't know.
    assert (done.returncode, done.stderr.strip()) == (0, "")
    for file in files:
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=yes", "--threshold=25", file], capture_output=True, text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-300:]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_units_command_is_one(unit: Path) -> None:
    (command,) = settings(unit)["ExecStart"]
    program, *words = command.split()
    assert program.startswith(f"{BIN}/")
    local = [w.replace("/etc/cdc/workspace.yaml", str(PROJECT / "deploy/systemd/workspace.yaml")) for w in words]
    accept(program.removeprefix(f"{BIN}/"), *local)


def test_systemd_leaves_the_consumers_and_waits_for_the_agent() -> None:
    agent = settings(PROJECT / "deploy/systemd/cdc-agent.service")
    assert agent["KillMode"] == ["process"]
    assert int(agent["TimeoutStopSec"][0]) > supervisor.GRACE_S
    assert "ProcSubset" not in agent  # the boot id, by which hosts and places are told apart
    assert (agent["Type"], agent["NotifyAccess"]) == (["notify"], ["main"])


def test_only_who_needs_them_gets_the_databases_passwords() -> None:
    holders = {unit.stem for unit in UNITS if "/etc/cdc/cdc.env" in settings(unit)["EnvironmentFile"]}
    assert holders == {"cdc-agent", "cdc-code-server", "cdc-web"}


@pytest.mark.parametrize("version", ["1.29", "1.35"])
@pytest.mark.parametrize("name", MANIFESTS)
def test_kubernetes_takes_the_manifests(name: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


def test_a_wrong_manifest_is_noticed() -> None:
    wrong = yaml.safe_load(yaml.safe_dump(next(d for d in MANIFESTS.values() if d["kind"] == "Deployment")))
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.29", strict=True)


@pytest.mark.parametrize("name", PODS)
def test_a_containers_command_is_one(name: str) -> None:
    for container in PODS[name]["containers"]:
        accept(*container["command"])


def test_objects_find_each_other() -> None:
    made = {(d["kind"], d["metadata"]["name"]) for d in MANIFESTS.values()}
    told = (PROJECT / "deploy/kubernetes/config.yaml").read_text(encoding="utf-8")
    for pod in PODS.values():
        for container in pod["containers"]:
            for source in container["envFrom"]:
                (kind, reference), = source.items()
                kind = {"configMapRef": "ConfigMap", "secretRef": "Secret"}[kind]
                known = (kind, reference["name"]) in made or f"{kind.lower()} generic {reference['name']} " in told
                assert known, reference
            for value in (each.get("valueFrom", {}) for each in container["env"]):
                if "secretKeyRef" in value:
                    line = next(line for line in told.splitlines() if value["secretKeyRef"]["name"] in line)
                    assert value["secretKeyRef"]["key"] in line
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted == {volume["name"] for volume in pod["volumes"]}
    labels = [d["spec"]["template"]["metadata"]["labels"] for d in MANIFESTS.values() if d["kind"] == "Deployment"]
    for document in MANIFESTS.values():
        spec = document.get("spec", {})
        if document["kind"] in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
            wanted = spec.get("podSelector", spec.get("selector"))
            wanted = wanted.get("matchLabels", wanted)
            assert any(wanted.items() <= these.items() for these in labels), document["metadata"]


@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_locked_down_and_reached_where_it_listens_only(name: str) -> None:
    pod = PODS[name]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    (container,) = pod["containers"]
    context = container["securityContext"]
    assert (context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]) == (True, False)
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    app = {"app.kubernetes.io/name": name.split()[-1]}
    (port,) = container["ports"]
    (policy,) = (d["spec"] for d in MANIFESTS.values() if d["kind"] == "NetworkPolicy"
                 and d["spec"]["podSelector"]["matchLabels"] == app)  # fmt: skip
    (rule,) = policy["ingress"]
    assert rule["from"]
    assert [each["port"] for each in rule["ports"]] == [port["containerPort"]]
    for service in (d["spec"] for d in MANIFESTS.values() if d["kind"] == "Service" and d["spec"]["selector"] == app):
        assert [each["targetPort"] for each in service["ports"]] == [port["name"]]


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_the_pages_probe_needs_no_token_and_no_control_store(probe: str, tmp_path: Path) -> None:
    (pod,) = (pod for name, pod in PODS.items() if "cdc-web" in name)
    (container,) = pod["containers"]
    words = container["command"]
    store = ControlStore.open(f"sqlite:///{tmp_path / 'control.db'}")
    app = create_app(WebSettings(words[words.index("--host") + 1], token="x" * 16), store)
    store.close()
    (tmp_path / "control.db").unlink()
    (tmp_path / "control.db").mkdir()  # out of reach
    client = TestClient(app, base_url="http://pod.example.com:8090", raise_server_exceptions=False)
    asked = container[probe]["httpGet"]
    assert asked["port"] == container["ports"][0]["name"]
    assert client.get(asked["path"], follow_redirects=False).status_code == 200
    assert client.get("/cdc/config/", headers={"authorization": f"Bearer {'x' * 16}"}).is_error


def agent_container() -> dict[str, Any]:
    (pod,) = (pod for name, pod in PODS.items() if "cdc-agent" in name)
    (container,) = pod["containers"]
    assert pod["terminationGracePeriodSeconds"] > supervisor.GRACE_S
    return dict(container)


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_the_agents_probe_sees_whether_it_lives(probe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    container = agent_container()
    home = next(e["value"] for e in container["env"] if e["name"] == "CDC_HOME")
    command = [word.replace(home, str(tmp_path)) for word in container[probe]["exec"]["command"]]

    def passes() -> bool:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    monkeypatch.setenv("CDC_HOME", str(tmp_path))
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not passes()
    liveness.at_work()
    assert passes()
    long_ago = time.time() - 600
    os.utime(liveness.file(), (long_ago, long_ago))
    assert not passes()
