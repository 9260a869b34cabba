"""Several sources into one schema of a target, and one table into two pipelines: nobody touches what is another's."""

from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
import yaml

from tests.conftest import CommandResult
from tests.e2e.conftest import Pipe, edit, pipe_maker


@pytest.fixture
def make_other(
    mariadb: pymysql.Connection, target: psycopg.Connection, pipeline_file: Callable[..., Path],
    cdc: Callable[..., CommandResult], cdc_home: Path,
) -> Iterator[Callable[..., Pipe]]:
    """Make pipelines from MariaDB into the same target database."""
    with pipe_maker(mariadb, target, pipeline_file, cdc, cdc_home) as make:
        yield make


def into(pipe: Pipe, schema: str, **sections: Any) -> Pipe:
    document = yaml.safe_load(pipe.file.read_text())
    edit(pipe.file, target=document["target"] | {"schema": schema}, **sections)
    return pipe


def test_two_sources_share_a_schema_and_a_table_has_two_pipelines(
    make_pipe: Callable[..., Pipe], make_other: Callable[..., Pipe]
) -> None:
    shop, desk = into(make_pipe(), "crm"), into(make_other(source_type="mariadb"), "crm")
    shop.run("create table customer (id int primary key, mail varchar(20), state varchar(5))",
             "insert into customer values (1, 'a@b.c', 'in'), (2, 'd@e.f', 'out')")
    desk.run("create table ticket (id int primary key, customer int)", "insert into ticket values (1, 1)",
             "create table customer (id int primary key, nick varchar(20))", "insert into customer values (7, 'g')")
    masked = into(make_pipe(), "masked", shape={
        "customer": {"columns": {"mail": {"hash": "sha256"}}, "where": "state = 'in'"}
    })  # fmt: skip
    shop.configure()
    shop.start()

    # A table of the target has one pipeline.
    desk.configure()
    refused = desk.cdc("start", desk.name)
    assert refused.code == 2
    assert f"crm.customer belongs to pipeline {shop.name}" in refused.stderr
    assert shop.rows("select to_regclass('crm.ticket')") == [(None,)], "nothing was written"
    edit(desk.file, tables=["ticket", {"source": "customer", "target": "desk_customer"}])
    for pipe in (desk, masked):
        pipe.configure()
        pipe.start()

    shop.run("insert into customer values (3, 'g@h.i', 'in')", "update customer set state = 'out' where id = 1")
    desk.run("insert into ticket values (2, 3)", "update customer set nick = 'h'")
    shop.arrives("select id, mail, state from crm.customer order by id",
                 [(1, "a@b.c", "out"), (2, "d@e.f", "out"), (3, "g@h.i", "in")])
    desk.arrives("select id, customer from crm.ticket order by id", [(1, 1), (2, 3)])
    desk.arrives("select id, nick from crm.desk_customer", [(7, "h")])
    masked.arrives("select id, mail from masked.customer", [(3, sha256(b"g@h.i").hexdigest())])
    for pipe, tables in ((shop, ["customer"]), (desk, ["customer", "ticket"]), (masked, ["customer"])):
        assert sorted(each["table"] for each in pipe.equal()["tables"]) == tables

    # One that ends takes nothing along that the others have.
    shop.ok("teardown", "--yes", "--drop-tables")
    shop.run("insert into customer values (4, 'j@k.l', 'in')")
    desk.run("insert into ticket values (3, 4)")
    masked.arrives("select id from masked.customer order by id", [(3,), (4,)])
    desk.arrives("select count(*) from crm.ticket", [(3,)])
    assert shop.rows("select to_regclass('crm.customer')") == [(None,)]
