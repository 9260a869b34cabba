"""A real browser for tests of pages."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A page of headless Chromium. CDC_TEST_SCREENSHOTS names a folder for what it looked like at the end."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium, "no browser: run `make test`, or scripts/install_os_packages.sh --tests"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        page = browser.new_page(viewport={"width": 1500, "height": 950})
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        yield page
        shoot(page, "last")
        browser.close()


def shoot(page: Page, name: str) -> None:
    folder = os.environ.get("CDC_TEST_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")
