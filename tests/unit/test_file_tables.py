"""One table more or less in a pipeline's file: everything else of it stays, and what we write is what we mean."""

from pathlib import Path

import pytest

from cdc_pipelines.replication.operations.file_tables import text_with, text_without
from cdc_pipelines.replication.pipeline_file import parse_pipeline

FILE = Path("shop.yaml")
HEAD = """# ours
client: 1
config: 1
source: {type: mysql, host: h, port: 1, database: shop, user: cdc, password: "${env:A}"}
target: {type: postgres, host: h, port: 1, database: w, schema: shop, user: cdc, password: "${env:A}"}
"""
BLOCK = """tables:
  # the people
  - {source: people, target: persons}  # about 10 rows
  - source: orders
    columns: [id, "no"]
    rename:
      "no": number  # as they call it
# at night
copy: {chunk_mb: 2}
"""


@pytest.mark.parametrize(
    ("before", "name", "target", "after"),
    [
        (BLOCK, "a b", "ab", BLOCK.replace("call it\n", "call it\n  - {source: a b, target: ab}\n")),
        ("tables: [people, orders]  # two\n", "new", None, "tables: [people, orders, {source: new}]  # two\n"),
        ("tables: [\n  people,\n  orders\n]\n", "new", None, "tables: [\n  people,\n  orders, {source: new}]\n"),
        ("tables:\n- people", "no", None, "tables:\n- people\n- {source: 'no'}\n"),
        ("exclude: [people, orders]\ntables: all\n", "people", None, "exclude: [orders]\ntables: all\n"),
        ("tables: all\nexclude:\n  - people\n  - orders  # large\n", "orders", None,
         "tables: all\nexclude:\n  - people\n"),
        ("tables: all\nexclude:\n  - people\n", "people", None, "tables: all\nexclude:\n  []\n"),
        ("tables: all\n", "people", None, "tables: all\n"),
    ],
)  # fmt: skip
def test_a_table_more(before: str, name: str, target: str | None, after: str) -> None:
    assert text_with(HEAD + before, FILE, name, target) == HEAD + after


@pytest.mark.parametrize(
    ("before", "name", "after"),
    [
        (BLOCK, "people", BLOCK.replace("  - {source: people, target: persons}  # about 10 rows\n", "")),
        (BLOCK, "orders", BLOCK[: BLOCK.index("  - source: orders")] + BLOCK[BLOCK.index("# at night") :]),
        ("tables: [people, orders]\n", "people", "tables: [orders]\n"),
        ("tables: [people, {source: orders}]\n", "orders", "tables: [people]\n"),
        ("tables: all  # of them\ncopy: {chunk_mb: 2}\n", "a, b",
         "tables: all  # of them\nexclude: ['a, b']\ncopy: {chunk_mb: 2}\n"),
        ("tables: all\nexclude: [people]\n", "orders", "tables: all\nexclude: [people, orders]\n"),
        ("tables: all\nexclude: []\n", "orders", "tables: all\nexclude: [orders]\n"),
    ],
)  # fmt: skip
def test_a_table_less(before: str, name: str, after: str) -> None:
    edited = text_without(HEAD + before, FILE, name)
    assert edited == HEAD + after
    assert name not in [getattr(each, "source", "") for each in parse_pipeline(edited, FILE).tables]


def test_what_can_t_be_told_is_left_alone() -> None:
    anchored = HEAD + "tables: &t [people, orders]\nverify: {background: false}\n"
    assert text_with(anchored, FILE, "new", None) is not None
    folded = HEAD + "tables: [people, orders,]\n"  # ends in a comma
    assert text_with(folded, FILE, "new", None) is None
    assert text_without(HEAD + "tables: [people]\n", FILE, "people") is None, "a pipeline has a table at least"
