"""The OpenAPI document is right: requests made up from it are answered as it says, and none breaks the server."""

import contextlib
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cdc_pipelines.replication.operations import dead_letters
from tests.unit.dagster_pipelines import configure
from tests.unit.test_web_letters import HELD
from tests.unit.web_client import Web, open_web, served

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with pytest.MonkeyPatch.context() as patch, contextlib.contextmanager(open_web)(
        tmp_path_factory.mktemp("web"), patch
    ) as web:
        # The target's part, played here: that no server is there is no fault of the document.
        patch.setattr(dead_letters, "letters", lambda rt, *, table, settled: [HELD])
        patch.setattr(dead_letters, "retry", lambda rt, letter: "refused")
        patch.setattr(dead_letters, "skip", lambda rt, letter, note: HELD)
        configure(web.store)
        web.store.set_status("shop", "running", is_active=True)
        web.watch.sample()
        yield web


PATHS = 17


@pytest.fixture(scope="module")
def url(web: Web) -> Iterator[str]:
    """The same app behind a real HTTP server."""
    with served(web) as url:
        yield url


def test_requests_made_up_from_the_document(web: Web, url: str) -> None:
    document = schemathesis.openapi.from_dict(web.client.get("/openapi.json").json())
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) == PATHS
    seen: set[tuple[str, int]] = set()
    for operation in operations:
        web.dagster.running.clear()

        @settings(
            max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy())
        def answered_as_it_says(case: schemathesis.Case) -> None:
            number = case.path_parameters.get("id")
            if isinstance(number, int) and 1 < number < 2**63:
                case.path_parameters["id"] = 1  # the one that there is, so that its answers are seen as well
                if case.path_parameters.get("table", "") > "m":
                    case.path_parameters["table"] = "orders"
            answer = case.call_and_validate(base_url=url, checks=CHECKS, timeout=10)
            seen.add((f"{case.method} {case.path}", answer.status_code))

        answered_as_it_says()
    for path in ("config/{id}/start/", "config/{id}/verify/", "config/{id}/stop/", "config/{id}/restart/",
                 "config/{id}/tables/{table}/resync/"):  # fmt: skip
        assert (f"POST /cdc/{path}", 202) in seen
    assert ("DELETE /cdc/config/{id}/tables/{table}/", 202) in seen
    seen_of_one = ("status", "tables", "incidents", "lag", "deadletters")
    for path in ("config/", *(f"config/{{id}}/{what}/" for what in seen_of_one)):
        assert (f"GET /cdc/{path}", 200) in seen
