"""The Kafka Connect client against a small real HTTP server that misbehaves as Connect does."""

from collections.abc import Iterator
from typing import Any

import pytest

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.connect import ConnectClient, ConnectorExistsError, RefusedError
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from cdc_pipelines.replication.stream import connector_life
from tests.unit.connect_server import CONFIG, Answer, Server, serve


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


@pytest.fixture
def client(server: Server) -> ConnectClient:
    return ConnectClient(server.url, patience_s=5)


def rebalance() -> Answer:
    return 409, {"error_code": 409, "message": "Cannot complete request because of a conflicting operation "
                                               "(e.g. worker rebalance)"}


def test_a_rebalance_is_waited_out(server: Server, client: ConnectClient) -> None:
    server.answers["PUT", "/connectors/c/pause"] = [rebalance(), (503, None), (202, None)]
    assert client.pause("c") is True
    assert server.times("PUT", "/connectors/c/pause") == 3


def test_what_is_missing_is_none_and_not_an_error(client: ConnectClient) -> None:
    assert client.get("c") is None
    assert client.config("c") is None
    assert client.status("c") is None
    assert client.offsets("c") == []
    assert client.pause("c") is False
    assert client.delete("c") is False
    client.delete_offsets("c")


def test_all_connectors_are_asked_for_at_once(server: Server, client: ConnectClient) -> None:
    found = {name: {"status": {"name": name, "connector": {"state": "RUNNING"}}} for name in ("a", "b")}
    server.answers["GET", "/connectors"] = [rebalance(), (200, found)]
    assert client.all("status") == found
    assert server.times("GET", "/connectors") == len(server.asked) == 2
    assert server.queries_seen == ["expand=status"] * 2
    client.all()
    assert server.queries_seen[-1] == "expand=status&expand=info"
    server.answers["GET", "/connectors"] = [(200, {})]
    assert client.all() == {}, "a cluster without connectors is no error"


def test_create_and_find_it_created(server: Server, client: ConnectClient) -> None:
    client.create("c", CONFIG, "STOPPED")
    assert server.asked[-1][2] == {"name": "c", "config": CONFIG, "initial_state": "STOPPED"}
    client.create("c", CONFIG, "STOPPED")  # the same again is no conflict
    assert server.connectors == {"c": CONFIG}


def test_another_connector_of_that_name_is_a_conflict(server: Server, client: ConnectClient) -> None:
    server.connectors["c"] = {"connector.class": "somebody.Else"}
    with pytest.raises(ConnectorExistsError, match="connector c already exists"):
        client.create("c", CONFIG)
    assert server.connectors["c"] == {"connector.class": "somebody.Else"}


def test_a_500_that_took_effect_is_not_said_again(server: Server, client: ConnectClient) -> None:
    def late() -> Answer:
        server.connectors["c"] = CONFIG
        return 500, {"error_code": 500, "message": "Request timed out."}

    server.answers["POST", "/connectors"] = [late]
    client.create("c", CONFIG)
    assert server.times("POST", "/connectors") == 1

    changed = CONFIG | {"snapshot.mode": "no_data"}

    def late_config() -> Answer:
        server.connectors["c"] = changed
        return 500, {"error_code": 500, "message": "Request timed out."}

    server.answers["PUT", "/connectors/c/config"] = [late_config]
    client.put_config("c", changed)
    assert server.times("PUT", "/connectors/c/config") == 1  # a second one would restart the task again


def test_a_delete_that_took_effect_ends_well(server: Server, client: ConnectClient) -> None:
    server.answers["DELETE", "/connectors/c"] = [
        (500, {"error_code": 500, "message": "Request timed out."}),
        (404, {"error_code": 404, "message": "Connector c not found"}),
    ]
    assert client.delete("c") is False


def test_a_connector_that_somebody_resumed_is_worth_another_try(server: Server, client: ConnectClient) -> None:
    words = "Connectors must be in the STOPPED state before their offsets can be modified."
    answer = {"error_code": 400, "message": words}
    server.connectors["c"] = CONFIG
    server.answers["PATCH", "/connectors/c/offsets"] = [(400, answer)]
    with pytest.raises(RetryableError, match="connector c was resumed by somebody"):
        client.patch_offsets("c", [])
    server.answers["PATCH", "/connectors/c/offsets"] = [(400, {"error_code": 400, "message": "no such partition"})]
    with pytest.raises(RefusedError, match="no such partition"):
        client.patch_offsets("c", [])


def test_patience_ends_with_url_connector_and_last_answer(server: Server) -> None:
    server.answers["PUT", "/connectors/c/stop"] = [(500, {"error_code": 500, "message": "the disk is full"})]
    with pytest.raises(RetryableError) as caught:
        ConnectClient(server.url, patience_s=0.5).stop("c")
    message = str(caught.value)
    assert server.url in message
    assert "connector c" in message
    assert "the disk is full" in message


def test_nobody_listens_there() -> None:
    with pytest.raises(RetryableError, match=r"http://127\.0\.0\.1:1/connector-plugins"):
        ConnectClient("http://127.0.0.1:1", patience_s=0.3).plugins()


def test_secrets_in_answers_are_masked(server: Server, client: ConnectClient) -> None:
    secret = secrets.resolve_secret("${env:P}", {"P": "hunter2hunter2"})
    server.answers["POST", "/connectors"] = [(400, {"error_code": 400, "message": f"bad password {secret} for cdc"})]
    with pytest.raises(RefusedError) as caught:
        client.create("c", CONFIG)
    assert secret not in str(caught.value)
    assert secrets.MASK in str(caught.value)
    assert isinstance(caught.value, ConfigurationError)  # trying again would not help
    assert caught.value.status == 400


def test_credentials_in_the_url_log_in_and_never_show(server: Server) -> None:
    with_login = server.url.replace("http://", "http://us%40er:p%3Assword@")
    client = ConnectClient(with_login, patience_s=0.2)
    server.answers["GET", "/connector-plugins"] = [(500, {"message": "no"})]
    with pytest.raises(RetryableError) as caught:
        client.plugins()
    assert "ssword" not in str(caught.value)
    assert client.url == server.url
    assert server.headers_seen[-1]["Authorization"] == "Basic dXNAZXI6cDpzc3dvcmQ="


def test_names_are_quoted(server: Server, client: ConnectClient) -> None:
    client.status("a b/c")
    assert server.asked[-1][1] == "/connectors/a%20b%2Fc/status"


def test_wait_state_names_the_last_one(server: Server, client: ConnectClient) -> None:
    running = {"connector": {"state": "RUNNING"}, "tasks": [{"id": 0, "state": "RUNNING"}]}
    stopping = {"connector": {"state": "STOPPED"}, "tasks": [{"id": 0, "state": "RUNNING"}]}
    stopped = {"connector": {"state": "STOPPED"}, "tasks": []}
    server.answers["GET", "/connectors/c/status"] = [(200, running), (200, stopping), (200, stopped)]
    assert client.wait_state("c", "STOPPED", deadline_s=5) == stopped
    with pytest.raises(RetryableError, match="not RUNNING after 0 s: connector STOPPED, no tasks"):
        client.wait_state("c", "RUNNING", deadline_s=0)


def test_state_of_a_connector_whose_task_failed(server: Server, client: ConnectClient) -> None:
    trace = (
        "org.apache.kafka.connect.errors.ConnectException: An exception occurred\n\tat a.B.c(B.java:1)\n"
        "Caused by: io.debezium.DebeziumException: The connector is trying to read change stream starting at "
        "binlog.000001, but this is no longer available on the server.\n\t... 5 more\n"
    )
    server.answers["GET", "/connectors/c/status"] = [(200, {
        "connector": {"state": "RUNNING"}, "tasks": [{"id": 0, "state": "FAILED", "trace": trace}],
    })]
    state = connector_life.connector_state(client, "c")
    assert (state["state"], state["healthy"], state["tasks"]) == ("RUNNING", False, [{"id": 0, "state": "FAILED"}])
    assert "purged" in state["message"]
    assert "no longer available" in state["message"]
    assert "B.java" not in state["message"]


@pytest.mark.parametrize(("status", "healthy", "words"), [
    ({"connector": {"state": "RUNNING"}, "tasks": [{"id": 0, "state": "RUNNING"}]}, True, ""),
    ({"connector": {"state": "RUNNING"}, "tasks": []}, False, "no task"),
    ({"connector": {"state": "PAUSED"}, "tasks": [{"id": 0, "state": "PAUSED"}]}, False, "PAUSED"),
    ({"connector": {"state": "RUNNING"}, "tasks": [{"id": 0, "state": "UNASSIGNED"}]}, False, "not running yet"),
])
def test_health_asks_for_a_running_task(
    server: Server, client: ConnectClient, status: dict[str, Any], healthy: bool, words: str
) -> None:
    server.answers["GET", "/connectors/c/status"] = [(200, status)]
    state = connector_life.connector_state(client, "c")
    assert state["healthy"] is healthy
    assert words in state["message"]


def test_a_missing_connector_is_said_to_be_missing(client: ConnectClient) -> None:
    state = connector_life.connector_state(client, "c")
    assert state["state"] == "MISSING"
    assert not state["healthy"]
