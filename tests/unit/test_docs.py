"""The documentation names only what exists: links, anchors, commands, make targets, environment variables."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc_pipelines.cli import _COMMANDS

PROJECT = Path(__file__).resolve().parents[2]
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")])


def _anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as code hosts make them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        found.add(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
    return found


def _links(page: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not link.startswith(("http:", "https:")):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _links(page):
        name, _, anchor = link.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), link
        if anchor:
            assert anchor in _anchors(there), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_targets_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = re.findall(r"(?:^|[`|] ?)cdc ([a-z-]+)", text, re.MULTILINE)
    assert set(commands) <= set(_COMMANDS)
    assert {a or b for a, b in re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", text, re.MULTILINE)} <= targets


def test_the_operating_page_names_every_command_and_variable() -> None:
    text = (PROJECT / "docs/operate.md").read_text(encoding="utf-8")
    assert set(_COMMANDS) - {"consume"} <= set(re.findall(r"cdc ([a-z-]+)", text))
    read = subprocess.run(
        ["git", "grep", "-hoE", r"\bCDC_[A-Z_]+", "--",
         "cdc_pipelines", ":!cdc_pipelines/stack", ":!cdc_pipelines/demo"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    ).stdout.split()
    ours = {name for name in read if not name.startswith("CDC_STACK_")}
    examples = {"CDC_SOURCE_PASSWORD", "CDC_TARGET_PASSWORD"}  # in what `cdc discover` prints
    assert ours - examples <= set(re.findall(r"CDC_[A-Z_]+", text))
