"""Foreign keys that act and are not logged: looked for where something may have changed, and told while they last."""

from collections.abc import Collection

import pytest

from cdc_pipelines.replication.databases.mysql.foreign_keys import ActingKey
from cdc_pipelines.replication.health import judge
from cdc_pipelines.replication.stream import cascades
from cdc_pipelines.replication.stream.cascades import UnloggedCascades
from cdc_pipelines.replication.stream.findings import Findings

_KEY = ActingKey("shop", "line", "`line_ibfk_1`", "FOREIGN KEY (`o`) REFERENCES `orders` (`id`)", "orders")


class Source:
    """What its tables have now, and how often it was asked."""

    def __init__(self) -> None:
        self.keys: list[ActingKey] = []
        self.asked = 0

    def unlogged_cascades(self, tables: Collection[str]) -> list[ActingKey]:
        self.asked += 1
        return [key for key in self.keys if key.child in tables]


def test_it_is_looked_for_after_a_schema_change_and_until_it_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source()
    watch = UnloggedCascades(source)  # type: ignore[arg-type]
    tables = ["line", "orders"]
    assert [watch.look(tables, 0), watch.look(tables, 0)] == [(), ()]
    assert source.asked == 1, "the text of every table is much to ask for at each look"
    source.keys = [_KEY]
    (found,) = watch.look(tables, 1)
    assert (found.child, found.parent) == ("line", "orders")
    source.keys = []  # by a statement that the stream has not come to yet
    assert watch.look(tables, 1) == ()
    asked = source.asked
    watch.look(tables, 1)
    assert source.asked == asked
    monkeypatch.setattr(cascades, "LOOK_EVERY_S", 0.0)
    watch.look(tables, 2)
    watch.look(tables, 2)
    assert source.asked == asked + 2, "now and then in any case"


def test_the_problem_names_both_tables_and_what_to_do() -> None:
    watch = UnloggedCascades(Source())  # type: ignore[arg-type]
    watch._source.keys = [_KEY]  # type: ignore[attr-defined]
    told = Findings.from_json(Findings(cascades=watch.look(["line"], 0)).to_json())
    (found,) = judge.found_problems("shop", [{"table": "line"}], told)
    assert (found.kind, found.severity) == ("cascade", "degraded")
    assert "table line has a foreign key to orders" in found.message
    assert "ALTER TABLE `shop`.`line` DROP FOREIGN KEY `line_ibfk_1`" in found.next_step
    assert "`cdc verify shop --table line --repair`" in found.next_step
    assert not list(judge.found_problems("shop", [{"table": "orders"}], told)), "it was left out since"
