"""What a person sees and clicks in Dagster's UI, in a real browser: the Launchpad, a run, a table's asset."""

import json
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from cdc_pipelines.dagster_client import LOCATION
from tests.integration.browser import shoot
from tests.integration.dagster_instance import DagsterPipe

pytestmark = pytest.mark.timeout(600)

_RUN_PATIENCE_MS = 180_000
TABLE = (
    "create table customers (id int primary key, name varchar(40))",
    "insert into customers with recursive n(n) as (select 1 union all select n + 1 from n where n < 900) "
    "select n, concat('customer ', n) from n",
)


def launchpad(url: str, config: dict[str, object]) -> str:
    """The Launchpad of `start_replication`, filled in."""
    return f"{url}/locations/{LOCATION}/jobs/start_replication/playground/setup?config={quote(json.dumps(config))}"


def test_a_start_from_the_launchpad_to_the_asset(make_dagster_pipe: Callable[..., DagsterPipe], page: Page) -> None:
    pipe = make_dagster_pipe()
    pipe.run(*TABLE)
    pipe.configure()
    pipe.client.reload()
    url = pipe.dagster.server.url

    # The Launchpad, filled in by a link, as a runbook would hold one: what is asked is checked while it is typed.
    page.goto(launchpad(url, {"pipeline": pipe.name}))
    launch = page.get_by_role("button", name="Launch Run")
    expect(launch).to_be_enabled()
    shoot(page, "launchpad")
    launch.click()

    # The run's page: the four steps as they pass, then success.
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}"))
    run = re.findall(r"/runs/([0-9a-f-]{36})", page.url)[0]
    expect(page.get_by_text("Success", exact=True).first).to_be_visible(timeout=_RUN_PATIENCE_MS)
    expect(page.get_by_text("Succeeded (6)")).to_be_visible()
    for step in range(1, 5):
        page.get_by_placeholder("Filter…").fill(f"STEP {step}/4")
        expect(page.get_by_text(re.compile(f"^STEP {step}/4: ")).first).to_be_visible()
    page.get_by_placeholder("Filter…").fill("STEP")
    shoot(page, "run")
    pipe.client.succeed(run)

    # The table's asset: materialized, with its rows and columns, downstream of the source's table.
    page.goto(f"{url}/assets/{pipe.name}/customers")
    expect(page.get_by_text("900", exact=True).first).to_be_visible()
    expect(page.get_by_text("varchar", exact=False).first).to_be_visible()
    shoot(page, "asset")
    page.goto(f"{url}/assets/{pipe.name}/customers?view=partitions")
    expect(page.get_by_text(re.compile("100%|Materialized")).first).to_be_visible()
    shoot(page, "partitions")


def test_the_launchpad_tells_a_typing_error(make_dagster_pipe: Callable[..., DagsterPipe], page: Page) -> None:
    pipe = make_dagster_pipe()
    page.goto(launchpad(pipe.dagster.server.url, {"pipline": pipe.name}))
    expect(page.get_by_text(re.compile('"pipline"')).last).to_be_visible()
    expect(page.get_by_role("button", name="Launch Run")).to_be_disabled()
    shoot(page, "typing-error")
