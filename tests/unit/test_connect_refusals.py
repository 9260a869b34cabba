"""What Kafka Connect refuses of a configuration: for good, or for a moment in which it could not try it out."""

from collections.abc import Iterator

import pytest

from cdc_pipelines.replication.connect import ConnectClient, RefusedError
from cdc_pipelines.replication.errors import RetryableError
from tests.unit.connect_server import CONFIG, Answer, Server, serve

BROKEN = (500, {"error_code": 500, "message": 'Cannot invoke "….ConfigValueInfo.errors()" because the return value of '
                                              '"….ConfigInfo.configValue()" is null'})
PUT = ("PUT", "/connectors/c/config")
VALIDATE = ("PUT", "/connector-plugins/x.Y/config/validate")


def found(*errors: str) -> Answer:
    return 200, {"error_count": len(errors), "configs": [{"value": {"name": "database.hostname", "errors": [*errors]}}]}


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


def test_what_is_wrong_with_a_configuration_is_told_also_where_connect_breaks_telling_it(
    server: Server,
) -> None:
    client = ConnectClient(server.url, patience_s=5)
    server.answers["POST", "/connectors"] = [BROKEN]
    server.answers[PUT] = [BROKEN]
    server.answers[VALIDATE] = [(200, {"error_count": 1, "configs": [
        {"value": {"name": "database.hostname", "errors": ["Unable to connect: Access denied for user 'cdc'"]}},
        {"value": {"name": "database.port", "errors": []}},
        {"value": None},
    ]})]
    for call in (client.create, client.put_config):
        with pytest.raises(RefusedError, match=r"database\.hostname: Unable to connect: Access denied") as caught:
            call("c", CONFIG)
        assert "environment holds the password" in caught.value.next_step
    assert server.times("POST", "/connectors") == 1, "a login that is refused is refused again"


def test_a_configuration_that_connect_could_not_try_out_for_a_moment_is_said_again(
    server: Server,
) -> None:
    """On a busy machine the worker's login to the source runs out of time now and then."""
    refused = (400, {"error_code": 400, "message": "Unable to connect: Communications link failure"})
    client = ConnectClient(server.url, patience_s=5)
    server.answers[PUT] = [BROKEN, BROKEN, refused, (200, None)]
    server.answers[VALIDATE] = [found(), found("Unable to connect: Communications link failure"), found()]
    client.put_config("c", CONFIG)
    assert server.times(*PUT) == 4
    server.answers["POST", "/connectors"] = [BROKEN, (201, None)]
    client.create("c", CONFIG)
    assert server.times("POST", "/connectors") == 2


def test_one_that_is_never_found_wrong_is_no_wrong_configuration(server: Server) -> None:
    server.answers[PUT] = [BROKEN]
    server.answers[VALIDATE] = [found()]
    with pytest.raises(RetryableError, match=r"connector c: .*finds nothing wrong with it.*is null"):
        ConnectClient(server.url, patience_s=0.3).put_config("c", CONFIG)
    assert server.times(*PUT) > 1


def test_a_source_that_stays_out_of_the_workers_reach_is_told_as_such(server: Server) -> None:
    server.answers[PUT] = [BROKEN]
    server.answers[VALIDATE] = [found("Unable to connect: Communications link failure")]
    with pytest.raises(RefusedError, match="Communications link failure") as caught:
        ConnectClient(server.url, patience_s=0.3).put_config("c", CONFIG)
    assert "source.connect_host" in caught.value.next_step
    assert server.times(*PUT) > 1
