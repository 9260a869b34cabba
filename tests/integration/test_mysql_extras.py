"""What a source's tables have beside their rows, as a user sees it who may only read."""

import psycopg
import pytest

from cdc_pipelines.replication.carry.source import (
    IndexPart,
    SourceCheck,
    SourceForeignKey,
    SourceIndex,
    TableExtras,
)
from cdc_pipelines.replication.operations.discover import discover
from cdc_pipelines.stack.settings import StackSettings
from tests.copied import Copied

TARGET = {"type": "postgres", "host": "h", "port": 1, "database": "d", "user": "u", "password": "${env:P}"}


@pytest.mark.parametrize("flavor", ["mysql", "mariadb"])
def test_what_a_user_who_may_only_read_sees(
    flavor: str, stack: StackSettings, request: pytest.FixtureRequest, target: psycopg.Connection
) -> None:
    copied = Copied(flavor, getattr(stack, flavor), request.getfixturevalue(flavor), target)
    copied.run(
        "create table p (a int, b varchar(20), primary key (a))",
        "create table t (id int auto_increment primary key comment 'it''s', a int, v varchar(20), x text, "
        "unique key u (a, v(5)), key d (v desc), fulltext key f (x), constraint k foreign key (a) references p (a) "
        "on delete cascade, constraint c check (a > 1 and v is not null)) comment 'whole'",
    )
    parts = (IndexPart("a"), IndexPart("v", None, 5))
    check = {"mysql": "((`a` > 1) and (`v` is not null))", "mariadb": "`a` > 1 and `v` is not null"}[flavor]
    assert copied.source.extras(["t", "p", "gone"]) == {
        "t": TableExtras(
            (SourceIndex("d", (IndexPart("v", descending=True),)),
             SourceIndex("f", (IndexPart("x"),), method="FULLTEXT"), SourceIndex("u", parts, unique=True)),
            (SourceForeignKey("k", ("a",), copied.admin.db.decode(), "p", ("a",), "CASCADE"),),
            (SourceCheck("c", check),), {"": "whole", "id": "it's"}, "id",
        ),
        "p": TableExtras(),
    }
    proposed = discover(copied.source.spec).pipeline_yaml("p", client=1, config=1, target=TARGET)
    assert "there are 3 secondary indexes, 1 foreign keys, 1 checks, 2 comments, 1 AUTO_INCREMENT columns." in proposed
    copied.source.close()
