"""docs/guarantees.md: every statement names tests, and each of them exists."""

import ast
import re
from functools import cache
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/guarantees.md"
_LINK = re.compile(r"\[`(test_\w+)`\]\((\.\./tests/[\w/]+\.py)\)")
_SHOWN = ("What we promise", "What the servers must offer for it", "What we don't promise")


@cache
def functions(file: Path) -> set[str]:
    return {n.name for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.FunctionDef)}


def sections() -> dict[str, str]:
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def statements(text: str) -> list[str]:
    """The items of lists, and the rows of tables below their heads."""
    items = [item for item in re.split(r"^(?=- )|\n\n", text, flags=re.MULTILINE) if item.startswith("- ")]
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.endswith("| tests |")]
    return items + rows


def test_every_named_test_exists() -> None:
    links = _LINK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(links) > 100
    for name, file in links:
        path = (PAGE.parent / file).resolve()
        assert path.is_file(), file
        assert name in functions(path), f"{name} in {file}"
    # Nothing that looks like a test is named without a link.
    assert len(re.findall(r"`test_\w+`", PAGE.read_text(encoding="utf-8"))) == len(links)


def test_no_statement_without_a_test() -> None:
    found = sections()
    for title in _SHOWN:
        assert len(statements(found[title])) > 5, title
        for statement in statements(found[title]):
            assert _LINK.search(statement), f"{title}: no test is named for: {statement}"


def test_there_is_a_place_for_the_campaign() -> None:
    assert "make chaos" in sections()["Under fire"]
