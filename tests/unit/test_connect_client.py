"""The Kafka Connect client against a small real HTTP server that misbehaves as Connect does."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cdc_pipelines.replication import secrets
from cdc_pipelines.replication.connect import ConnectClient, ConnectorExistsError, RefusedError
from cdc_pipelines.replication.errors import ConfigurationError, RetryableError
from cdc_pipelines.replication.stream import connector_life

CONFIG = {"connector.class": "x.Y", "cdc.pipeline": "shop", "cdc.generation": "7"}
Answer = tuple[int, Any]


class Server(ThreadingHTTPServer):
    """Answers by `answers[method, path]` (the last one again and again), else by what connectors it holds."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[tuple[str, str], list[Answer | Callable[[], Answer]]] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.headers_seen: list[dict[str, str]] = []
        self.connectors: dict[str, dict[str, str]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def times(self, method: str, path: str) -> int:
        return sum(1 for m, p, _ in self.asked if (m, p) == (method, path))

    def answer(self, method: str, path: str, body: Any) -> Answer:
        scripted = self.answers.get((method, path))
        if scripted:
            found = scripted.pop(0) if len(scripted) > 1 else scripted[0]
            return found() if callable(found) else found
        name = path.split("/")[2] if path.count("/") > 1 else ""
        if (method, path) == ("POST", "/connectors"):
            return self.create(body)
        if name not in self.connectors:
            return 404, {"error_code": 404, "message": f"Connector {name} not found"}
        if method == "DELETE" and path.count("/") == 2:
            del self.connectors[name]
            return 204, None
        if method == "GET" and path.endswith("/config"):
            return 200, self.connectors[name] | {"name": name}
        return 202, None

    def create(self, body: Any) -> Answer:
        name = body["name"]
        if name in self.connectors:
            return 409, {"error_code": 409, "message": f"Connector {name} already exists"}
        self.connectors[name] = body["config"]
        return 201, body


class Handler(BaseHTTPRequestHandler):
    server: Server

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        path = self.path.split("?")[0]
        self.server.asked.append((self.command, path, body))
        self.server.headers_seen.append(dict(self.headers))
        status, answer = self.server.answer(self.command, path, body)
        text = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


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


def test_what_is_wrong_with_a_configuration_is_told_also_where_connect_breaks_telling_it(
    server: Server, client: ConnectClient
) -> None:
    broken = (500, {"error_code": 500, "message": 'Cannot invoke "….ConfigValueInfo.errors()" because … is null'})
    server.answers["POST", "/connectors"] = [broken]
    server.answers["PUT", "/connectors/c/config"] = [broken]
    server.answers["PUT", "/connector-plugins/x.Y/config/validate"] = [(200, {"error_count": 1, "configs": [
        {"value": {"name": "database.hostname", "errors": ["Unable to connect: Access denied for user 'cdc'"]}},
        {"value": {"name": "database.port", "errors": []}},
        {"value": None},
    ]})]
    for call in (client.create, client.put_config):
        with pytest.raises(RefusedError, match=r"database\.hostname: Unable to connect: Access denied") as caught:
            call("c", CONFIG)
        assert "environment holds the password" in caught.value.next_step
    assert server.times("POST", "/connectors") == 1, "a login that is refused is refused again"


BROKEN = (500, {"error_code": 500, "message": 'Cannot invoke "….ConfigValueInfo.errors()" because the return value of '
                                              '"….ConfigInfo.configValue()" is null'})
VALIDATE = ("PUT", "/connector-plugins/x.Y/config/validate")


def found(*errors: str) -> Answer:
    return 200, {"error_count": len(errors), "configs": [{"value": {"name": "database.hostname", "errors": [*errors]}}]}


def test_a_configuration_that_connect_could_not_try_out_for_a_moment_is_said_again(
    server: Server, client: ConnectClient
) -> None:
    """On a busy machine the worker's login to the source runs out of time now and then."""
    path = ("PUT", "/connectors/c/config")
    refused = (400, {"error_code": 400, "message": "Unable to connect: Communications link failure"})
    server.answers[path] = [BROKEN, BROKEN, refused, (200, None)]
    server.answers[VALIDATE] = [found(), found("Unable to connect: Communications link failure"), found()]
    client.put_config("c", CONFIG)
    assert server.times(*path) == 4
    server.answers["POST", "/connectors"] = [BROKEN, (201, None)]
    client.create("c", CONFIG)
    assert server.times("POST", "/connectors") == 2


def test_one_that_is_never_found_wrong_is_no_wrong_configuration(server: Server) -> None:
    server.answers["PUT", "/connectors/c/config"] = [BROKEN]
    server.answers[VALIDATE] = [found()]
    with pytest.raises(RetryableError, match=r"connector c: .*finds nothing wrong with it.*is null"):
        ConnectClient(server.url, patience_s=0.3).put_config("c", CONFIG)
    assert server.times("PUT", "/connectors/c/config") > 1


def test_a_source_that_stays_out_of_the_workers_reach_is_told_as_such(server: Server) -> None:
    server.answers["PUT", "/connectors/c/config"] = [BROKEN]
    server.answers[VALIDATE] = [found("Unable to connect: Communications link failure")]
    with pytest.raises(RefusedError, match="Communications link failure") as caught:
        ConnectClient(server.url, patience_s=0.3).put_config("c", CONFIG)
    assert "source.connect_host" in caught.value.next_step
    assert server.times("PUT", "/connectors/c/config") > 1


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
