"""`cdc web` on real servers and a real Dagster: a pipeline's whole way over HTTP and in a real browser."""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from playwright.sync_api import Page, expect

from cdc_pipelines.stack.settings import StackSettings
from tests.integration.browser import answers, opened, shoot
from tests.integration.dagster_instance import DagsterPipe, wait_for
from tests.integration.web_server import TOKEN, Server, server

__all__ = ["server"]  # a fixture

pytestmark = pytest.mark.timeout(300)



def no_wider_than_the_window(page: Page) -> None:
    for width in (390, 1400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"it scrolls sideways at {width} px"


def set_up(page: Page, document: dict[str, Any]) -> None:
    """Through the three steps, as a new user goes."""
    page.get_by_role("link", name="New pipeline").click()
    page.get_by_label("Name").fill(document["name"])
    for title in ("source", "target"):
        section = page.get_by_role("group", name=title.capitalize())
        for label, key in (("Host", "host"), ("Port", "port"), ("Database", "database"), ("User", "user"),
                           ("Password's place", "password")):  # fmt: skip
            section.get_by_label(label).fill(str(document[title][key]))
    page.get_by_label("Kafka Connect").fill(document["connect"]["url"])
    page.get_by_label("Brokers").fill("nowhere")
    page.get_by_role("group", name="Target").get_by_label("Database").fill("no_such_database")
    page.get_by_role("button", name="Test both").click()
    expect(page.get_by_role("alert").get_by_text("no_such_database", exact=False).first).to_be_visible()
    page.get_by_role("group", name="Target").get_by_label("Database").fill(document["target"]["database"])
    page.get_by_label("Brokers").fill(document["kafka"]["bootstrap_servers"])
    page.get_by_role("button", name="Test both").click()
    expect(page.get_by_text("Source and target answer")).to_be_visible()
    no_wider_than_the_window(page)
    page.get_by_label("Lands in table").fill("people")
    shoot(page, "web-choose")
    page.get_by_role("button", name="Review the file").click()
    file = page.get_by_label("The pipeline's file")
    text = re.sub(r"^config: .*$", f"config: {document['config']}", file.input_value(), flags=re.MULTILINE)
    file.fill(text + "verify: {background: false}\ncarry: {indexes: true}\n")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Nothing runs yet")).to_be_visible()


def take_in(pipe: DagsterPipe, page: Page) -> None:
    """A table that the source has got since is added, once the page has told what that does."""
    pipe.run(
        "create table orders (id int primary key, amount int)",
        "insert into orders with recursive n(n) as (select 1 union all select n + 1 from n where n < 900) "
        "select n, 1 from n",
    )
    page.get_by_role("link", name="Add a table…").click()
    no_wider_than_the_window(page)
    page.get_by_role("button", name="Add orders…").click()
    expect(page.get_by_role("heading", name="Add orders to")).to_be_visible()
    expect(page.get_by_text("- {source: orders}")).to_be_visible()
    no_wider_than_the_window(page)
    shoot(page, "web-add")
    page.get_by_role("button", name="Add this table").click()
    expect(page.get_by_label("Runs").get_by_text("add_table")).to_be_visible()
    expect(page.get_by_label("Runs").get_by_text("succeeded")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile(r"orders .*orders 900 "))).to_be_visible()
    assert pipe.rows("select count(*) from orders") == [(900,)]
    assert "- {source: orders}\n" in pipe.file.read_text()


def change_its_source(pipe: DagsterPipe, page: Page) -> None:
    pipe.run("alter table customers add column born date")
    changes = page.get_by_role("region", name="Schema changes")
    expect(changes.get_by_role("row", name=re.compile("customers .*born.*applied"))).to_be_visible()
    carried = page.get_by_label("Indexes, constraints and the like")
    expect(carried.get_by_text("Made on the target: 1 index.")).to_be_visible()
    expect(carried.get_by_text("index customers.words")).to_be_visible()


def release(pipe: DagsterPipe, page: Page) -> None:
    """A table that the target refused is copied again by its button, while a reader holds it."""
    pipe.target.execute("alter table orders add constraint small check (amount < 100)")
    pipe.run("update orders set amount = 100 where id = 7", "update orders set amount = 2 where id = 8")
    quarantined = page.get_by_role("row", name=re.compile("orders: .*in quarantine.*small.*dead letter"))
    expect(quarantined).to_be_visible()
    expect(page.get_by_label("State").get_by_text("degraded")).to_be_visible()
    shoot(page, "web-quarantine")
    page.get_by_role("link", name="Resync orders…").click()
    expect(page.get_by_role("heading", name="Copy orders again?")).to_be_visible()
    expect(page.get_by_text("It is in quarantine")).to_be_visible()
    no_wider_than_the_window(page)
    shoot(page, "web-ask")
    pipe.target.execute("alter table orders drop constraint small")
    with pipe.target.transaction():
        assert pipe.rows("select sum(amount) from orders") == [(900,)]
        page.get_by_role("button", name="Copy this table again").click()
        expect(page.get_by_label("Runs").get_by_text("resync_tables")).to_be_visible()
        # The reader keeps the new rows from taking their place: for so long the table is seen on its way.
        expect(page.get_by_role("row", name=re.compile("orders: .*taking its place.*step 3 of 4"))).to_be_visible()
        expect(page.get_by_role("link", name="Resync orders…")).to_be_hidden()
        no_wider_than_the_window(page)
        shoot(page, "web-lane")
    expect(page.get_by_role("link", name="Resync orders…")).to_be_visible()
    expect(page.get_by_label("Runs").get_by_text("succeeded")).to_be_visible()
    expect(quarantined).to_be_hidden()
    expect(page.get_by_label("State").get_by_text("healthy")).to_be_visible()
    assert pipe.rows("select sum(amount) from orders") == [(1000,)]
    pipe.run("update orders set amount = 3 where id = 8")
    wait_for(lambda: pipe.rows("select sum(amount) from orders") == [(1001,)], "the released table to follow")


def leave_out(pipe: DagsterPipe, page: Page) -> None:
    page.get_by_role("link", name="Remove orders…").click()
    page.get_by_label("Drop ").check()
    no_wider_than_the_window(page)
    shoot(page, "web-remove")
    page.get_by_role("button", name="Remove this table").click()
    expect(page.get_by_label("Runs").get_by_text("remove_table")).to_be_visible()
    expect(page.get_by_label("Runs").get_by_text("succeeded")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("orders"))).to_be_hidden()
    assert pipe.rows("select to_regclass('orders')") == [(None,)]
    assert "orders" not in pipe.file.read_text()


def kill_consumers(pipe: DagsterPipe, count: int) -> None:
    """One after the other: the second dies before it streams, so that the pause is long enough to be seen."""
    killed: set[int] = set()
    while len(killed) < count:
        for process in pipe.dagster.consumers():
            if process.cmdline()[-2:] == ["consume", pipe.name] and process.pid not in killed:
                process.kill()
                killed.add(process.pid)
        time.sleep(0.05)


def held(pipe: DagsterPipe) -> psutil.Process:
    """The next consumer, frozen as soon as it is there: else it is at work before anybody has looked."""
    while True:
        for process in pipe.dagster.consumers():
            if process.cmdline()[-2:] == ["consume", pipe.name]:
                process.suspend()
                return process
        time.sleep(0.02)


def see_it_heal(pipe: DagsterPipe, page: Page) -> None:
    """A killed consumer is seen, and the agent's next one."""
    state = page.get_by_label("State")
    kill_consumers(pipe, 2)
    third = held(pipe)
    expect(state.get_by_text("degraded")).to_be_visible()
    expect(page.get_by_role("heading", name="What is wrong")).to_be_visible()
    expect(page.get_by_text("signal 9").first).to_be_visible()
    shoot(page, "web-killed")
    third.resume()
    expect(state.get_by_text("healthy")).to_be_visible()
    expect(page.get_by_role("heading", name="What is wrong")).to_be_hidden()


def start_by_keyboard(page: Page) -> None:
    """Past the header by its first link, then to the button; where one is can be seen."""
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#"))  # the next Tab begins there
    page.keyboard.press("Tab")
    start = page.get_by_role("button", name="Start", exact=True)
    expect(start).to_be_focused()
    assert start.evaluate("it => getComputedStyle(it).outlineStyle") != "none"
    page.keyboard.press("Enter")


def restart(pipe: DagsterPipe, page: Page) -> None:
    """Another consumer goes on where the first one was."""

    def consumer() -> list[int]:
        return [each.pid for each in pipe.dagster.consumers() if each.cmdline()[-2:] == ["consume", pipe.name]]

    before = consumer()
    page.get_by_role("button", name="Restart", exact=True).click()
    expect(page.get_by_label("Runs").get_by_text("restart_replication")).to_be_visible()
    pipe.client.succeed(re.findall(r"run=([0-9a-f-]{36})", page.url)[0])
    ended = page.get_by_label("Runs").locator("p", has_text="succeeded restart_replication")
    expect(ended).to_be_visible()
    expect(page.get_by_label("State").get_by_text("healthy")).to_be_visible()
    assert len(before) == len(consumer()) == 1
    assert before != consumer()
    pipe.run("insert into customers (id, name) values (1001, 'after the restart')")
    wait_for(lambda: pipe.rows("select name from people where id = 1001"), "the stream after the restart")


def no_secret_was_told(stack: StackSettings, server: Server, seen: Sequence[str]) -> None:
    servers = (stack.mysql, stack.mariadb, stack.postgres)
    secrets = {TOKEN, *(each.password for each in servers), *(each.admin_password for each in servers)}
    assert all(len(secret) >= 8 for secret in secrets)
    for text in (*seen, server.log.read_text()):
        assert [secret for secret in secrets if secret in text] == [], text[:500]


def test_a_pipelines_whole_way(
    make_dagster_pipe: Callable[..., DagsterPipe], server: Server, stack: StackSettings, tmp_path: Path
) -> None:
    """Set up, started, restarted and stopped in the page; seen there and over HTTP all the while."""
    recorded = tmp_path / "answers.har"
    with opened(record_har_path=recorded, record_har_content="embed") as page:
        go_the_whole_way(make_dagster_pipe(), server, page)
    pages = answers(recorded)
    assert len([text for text in pages if "What is wrong" in text]) > 1, "those that were fetched anew, too"
    assert any("${env:CDC_STACK_MYSQL_PASSWORD}" in text for text in pages)
    no_secret_was_told(stack, server, [*pages, *server.answers])


def go_the_whole_way(pipe: DagsterPipe, server: Server, page: Page) -> None:
    pipe.run(
        "create table customers (id int primary key, name varchar(40), key by_name (name), fulltext key words (name))",
        "insert into customers with recursive n(n) as (select 1 union all select n + 1 from n where n < 900) "
        "select n, concat('customer ', n) from n",
    )
    document = yaml.safe_load(pipe.file.read_text()) | {"name": pipe.name}
    pipe.file.unlink()
    path = f"/cdc/config/{document['config']}"

    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(server.url)
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    set_up(page, document)
    assert pipe.file.exists()
    listed = server.ask("GET", "/cdc/config/").json()["pipelines"]
    assert [(p["status"], p["is_active"]) for p in listed if p["name"] == pipe.name] == [("configured", False)]
    assert server.status(path)["connector"]["state"] == "MISSING", "nothing is made before a start"
    page.get_by_role("link", name="Pipelines", exact=True).click()
    page.get_by_role("link", name=pipe.name).click()
    state = page.get_by_label("State")
    expect(state.get_by_text("not started")).to_be_visible()
    start_by_keyboard(page)
    expect(page.get_by_label("Runs").get_by_text("start_replication")).to_be_visible()
    run = re.findall(r"run=([0-9a-f-]{36})", page.url)[0]

    again = server.ask("POST", f"{path}/start/").json()["run"]
    assert (again["run_id"], again["already"]) == (run, True), "two clicks are one run"
    expect(page.get_by_role("heading", name="The start")).to_be_visible()
    shoot(page, "web-start")
    expect(state.get_by_text("healthy")).to_be_visible(timeout=90_000)  # without a reload
    expect(page.get_by_role("heading", name="The start")).to_be_hidden()
    expect(page.get_by_role("row", name=re.compile("customers.*900"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("Lag since"))).to_be_visible()
    no_wider_than_the_window(page)
    shoot(page, "web-running")
    pipe.client.succeed(run)

    wait_for(lambda: server.status(path)["config"]["status"] == "running", "a look that is not from before")
    status = server.status(path)
    assert status["overall"] == "healthy"
    assert status["statistics"]["total_rows_synced"] == 900
    assert pipe.rows("select count(*) from people") == [(900,)]
    assert [t["rows_copied"] for t in server.ask("GET", f"{path}/tables/").json()["tables"]] == [900]

    take_in(pipe, page)
    change_its_source(pipe, page)
    release(pipe, page)
    leave_out(pipe, page)
    see_it_heal(pipe, page)
    pipe.run("insert into customers (id, name) values (1000, 'after all of it')")
    wait_for(lambda: pipe.rows("select name from people where id = 1000"), "the stream")

    restart(pipe, page)

    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_label("Runs").get_by_text("stop_replication")).to_be_visible()
    expect(state.get_by_text("stopped").first).to_be_visible(timeout=60_000)
    wait_for(lambda: server.status(path)["config"]["status"] == "stopped", "the stop to end")
    page.get_by_role("link", name="Force resync…").click()
    expect(page.get_by_role("button", name="Empty the tables and copy again")).to_be_visible()
    page.get_by_role("link", name="Leave it as it is").click()
    expect(state).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    assert [error for error in errors if "422" not in error] == []
    log = server.log.read_text()
    assert "Traceback" not in log, log
