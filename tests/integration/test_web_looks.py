"""Every page in both colour schemes, in a real browser: contrast, names, headings and landmarks, as WCAG AA has them.

The pages' servers are played: what counts here is that every part of every page has something to show.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from cdc_pipelines.dagster_client import SeenRun
from tests.integration.browser import shoot
from tests.unit.test_web_setup import FORM
from tests.unit.web_client import TOKEN, Web, served
from tests.unit.web_full import RUN, open_full

pytestmark = pytest.mark.timeout(300)

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WITHOUT_A_NAME = """[...document.querySelectorAll("input:not([type=hidden]), select, textarea, button")]
  .filter((each) => !each.ariaLabel && !(each.labels ?? []).length && !(each.tagName === "BUTTON" && each.innerText))
  .map((each) => each.outerHTML)"""
IN_FULL = """() => {
  for (const each of document.querySelectorAll("details")) each.open = true;
  // What only eyes get must be seen as well: glyphs beside their word.
  for (const each of document.querySelectorAll("[aria-hidden]")) each.removeAttribute("aria-hidden");
  for (const each of document.getAnimations()) {  // where they change a colour the most
    each.pause();
    each.currentTime = each.effect.getComputedTiming().duration / 2;
  }
}"""


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    with contextlib.contextmanager(open_full)(tmp_path, monkeypatch, token=TOKEN) as web:
        yield web


@pytest.fixture
def url(web: Web) -> Iterator[str]:
    with served(web) as url:
        yield url


def all_pages(page: Page, web: Web, url: str) -> Iterator[str]:
    """Goes from page to page; the name of each when it is open."""

    def press(name: str) -> None:
        page.get_by_role("button", name=name, exact=True).first.click()

    page.goto(url)
    yield "login"
    page.get_by_label("Token").fill("wrong")
    press("Log in")
    expect(page.get_by_text("That is not the token")).to_be_visible()
    yield "login refused"
    page.get_by_label("Token").fill(TOKEN)
    press("Log in")
    expect(page.get_by_role("heading", name="ledger")).to_be_visible()
    yield "all pipelines"
    page.locator("#offline").evaluate("each => { each.hidden = false; }")
    yield "server out of reach"
    page.goto(f"{url}/pipelines/1?saved=1&run={RUN}&job=stop_replication")
    expect(page.get_by_text("dead letter").first).to_be_visible()
    yield "pipeline"
    steps = {"validate_prerequisites": "SUCCESS", "plan_copy": "IN_PROGRESS"}
    web.dagster.seen = [SeenRun(RUN, "start_replication", "STARTED", 1_800_000_000.0, None, steps)]
    page.goto(f"{url}/pipelines/2")
    expect(page.get_by_role("heading", name="The start")).to_be_visible()
    yield "pipeline starting"
    for path in ("3", "1/resync", "1/file", "1/deadletters", "1/tables/resync?table=customers", "1/tables/add",
                 "1/tables/add?table=fresh", "1/tables/remove?table=orders", "77"):  # fmt: skip
        page.goto(f"{url}/pipelines/{path}")
        yield path
    page.goto(f"{url}/pipelines/1/deadletters")
    press("Try letter 7 again")
    yield "letter refused"
    page.goto(f"{url}/pipelines/1/file")
    file = page.get_by_label("pipelines/shop.yaml")
    file.fill(file.input_value().replace("- orders", "- fresh"))
    press("See what it changes")
    expect(page.get_by_text("Saving changes this")).to_be_visible()
    yield "file changed"
    file.fill("a: [")
    press("Save")
    expect(page.get_by_role("alert").first).to_be_visible()
    yield "file refused"
    page.goto(f"{url}/new")
    yield "connect"
    for name, value in FORM.items():
        field = page.locator(f"[id='{name}']")
        if field.evaluate("each => each.tagName") == "INPUT":
            field.fill("Capital" if name == "name" else value)
    press("Test both and look at the tables")
    expect(page.locator("[aria-invalid=true]").first).to_be_visible()
    yield "connect refused"
    page.get_by_label("Name").fill(FORM["name"])
    press("Test both and look at the tables")
    expect(page.get_by_text("Source and target answer")).to_be_visible()
    yield "choose"
    press("Review the file")
    expect(page.get_by_label("The pipeline's file")).to_be_visible()
    yield "review"


def wrong_with(page: Page) -> list[str]:
    """What axe-core has against the page as it is, and what it would let pass: a placeholder as a name, a second h1."""
    options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"], "preload": False}
    page.emulate_media(color_scheme="light")
    wrong = _told("light", Axe().run(page, options=options).response)
    page.emulate_media(color_scheme="dark")
    wrong += _told("dark", page.evaluate("axe.run({runOnly: ['color-contrast']})"))  # all else is the same
    wrong += [f"no name: {each}" for each in page.evaluate(WITHOUT_A_NAME)]
    for what, count in (("h1", 1), ("main", 1), ("nav", 1), ("body > header", 1)):
        if (there := page.locator(what).count()) != count:
            wrong.append(f"{there} of {what}")
    return wrong


def _told(scheme: str, found: dict[str, Any]) -> list[str]:
    return [
        f"{scheme}, {rule['id']}: {node['html'][:200]} {node['failureSummary']}"
        for rule in found["violations"] for node in rule["nodes"]
    ]


def test_every_page_can_be_read_by_everybody(web: Web, url: str, page: Page) -> None:
    wrong = []
    for name in all_pages(page, web, url):
        page.evaluate(IN_FULL)
        wrong += [f"{name}: {each}" for each in wrong_with(page)]
        shoot(page, f"looks-{name.replace('/', '-')}")
    assert wrong == [], "\n".join(wrong)
