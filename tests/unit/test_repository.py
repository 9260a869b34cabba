"""The checks of the repository itself can fail, and the docs' generated parts hold every setting."""

import re
import sys
from pathlib import Path

import check_tree
import generate_docs
import pytest

from cdc_pipelines.replication.pipeline import Pipeline

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https" + "://packages.some-registry.org/simple",
        "mirror = 'http" + "://user:word@10.1.2.3/debian'",
        "cd /wo" + "rk/main && make",
        'path = "/ho' + 'me/somebody/cdc"',
    ],
)
def test_an_address_or_a_path_of_one_machine_is_found(line: str) -> None:
    found = list(check_tree.findings("some/file", f"# fine\n{line}\n"))
    assert len(found) == 1
    assert found[0].startswith("some/file:2: ")


@pytest.mark.parametrize(
    "line",
    [
        "url = http://127.0.0.1:8083/connectors",
        "http://localhost:3000/runs/1",
        "host: db.example.com, https://db.example.com/x",
        "closed to it, e.g. /root is",
        "/var/lib/cdc-stack and .stack/work/x",
    ],
)
def test_harmless_lines_pass(line: str) -> None:
    assert list(check_tree.findings("some/file", line)) == []


def test_generated_docs_name_every_setting() -> None:
    reference = (PROJECT / "docs/pipeline.md").read_text(encoding="utf-8")
    schema = Pipeline.model_json_schema(by_alias=True)
    for definition in [schema, *schema["$defs"].values()]:
        for setting in definition["properties"]:
            assert re.search(rf"^\| `{setting}` \|", reference, re.MULTILINE), setting


def test_stale_docs_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for file in (PROJECT / "docs").glob("*.*"):
        name = file.name
        (tmp_path / name).write_text((PROJECT / "docs" / name).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(generate_docs, "DOCS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["generate_docs.py", "--check"])
    assert generate_docs.main() == 0
    stale = tmp_path / "pipeline.schema.json"
    stale.write_text(stale.read_text(encoding="utf-8").replace("tables", "tabels", 1), encoding="utf-8")
    assert generate_docs.main() == 1
