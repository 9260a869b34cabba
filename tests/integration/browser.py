"""A real browser for tests of pages."""

import base64
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture
def page() -> Iterator[Page]:
    with opened() as page:
        yield page


@contextmanager
def opened(**context: Any) -> Iterator[Page]:
    """A page of headless Chromium; `context` as of Playwright's `new_context`.

    CDC_TEST_SCREENSHOTS names a folder for what it looked like at the end.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium, "no browser: run `make test`, or scripts/install_os_packages.sh --tests"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        page = browser.new_context(viewport={"width": 1500, "height": 950}, **context).new_page()
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        yield page
        shoot(page, "last")
        page.context.close()  # writes down what was recorded
        browser.close()


def answers(recorded: Path) -> list[str]:
    """Headers and body of each answer that came to a page opened with `record_har_path`."""
    texts = []
    for entry in json.loads(recorded.read_text(encoding="utf-8"))["log"]["entries"]:
        answer, content = entry["response"], entry["response"]["content"]
        body = content.get("text", "")
        if content.get("encoding") == "base64":
            body = base64.b64decode(body).decode("utf-8", "replace")
        texts.append("\n".join([*(f"{each['name']}: {each['value']}" for each in answer["headers"]), body]))
    return texts


def shoot(page: Page, name: str) -> None:
    folder = os.environ.get("CDC_TEST_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")
