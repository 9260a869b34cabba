"""Any table, any value: copied, touched, changed and compared, by the servers' checksums and by plain Python.

Many random tables go through one start of a pipeline. CDC_PROPERTY_TABLES makes more of them (`make properties`).
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pymysql
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from tests.conftest import CommandResult
from tests.e2e.conftest import Pipe, processes_of, wait_until
from tests.plain_compare import plain_compare
from tests.random_tables import RandomTable, character_sets, random_tables

TABLES = int(os.environ.get("CDC_PROPERTY_TABLES", "60"))
SEED = int(os.environ.get("CDC_PROPERTY_SEED", "1"))


@pytest.fixture(params=["mysql", "mariadb"])
def world(
    request: pytest.FixtureRequest, target_database: str, target: psycopg.Connection,
    pipeline_file: Callable[..., Any], cdc: Callable[..., CommandResult], cdc_home: Any,
) -> Iterator[Pipe]:
    """A pipeline from each kind of server; its source has sql_mode ''."""
    flavor = request.param
    source: pymysql.Connection = request.getfixturevalue(flavor)
    with source.cursor() as cursor:
        cursor.execute("set sql_mode=''")
    rules = {"undecodable": "replace"}
    file = pipeline_file(source.db.decode(), target_database, source_type=flavor, values=rules)
    pipe = Pipe(file.stem, file, cdc, cdc_home, source, target)
    yield pipe
    cdc("teardown", pipe.name, "--yes")
    for process in processes_of(cdc_home):
        process.kill()


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def drawn(flavor: str) -> list[RandomTable]:
    """The tables of this run, alike in every run of the same seed."""
    found: list[RandomTable] = []

    @seeded(SEED)
    @settings(max_examples=TABLES, phases=[Phase.generate], deadline=None, database=None,
              suppress_health_check=list(HealthCheck))
    @given(random_tables(flavor))
    def gather(table: RandomTable) -> None:
        found.append(table)

    gather()
    for n, table in enumerate(found):
        table.name = f"{n:04d} {table.names[-1]}"
    return found


def make(pipe: Pipe, table: RandomTable) -> None:
    columns = [
        f"{quoted(name)} {kind}" + (" not null" if i < table.key else "")
        for i, (name, kind) in enumerate(zip(table.names, table.definitions, strict=True))
    ]
    rest = f"touched int{table.keys(quoted)}"
    pipe.run(f"create table {quoted(table.name)} ({', '.join(columns)}, {rest}) character set utf8mb4")


def insert(pipe: Pipe, table: RandomTable, rows: list[tuple[Any, ...]]) -> None:
    """Rows that the server's collations take for ones that are there are left out."""
    names = ", ".join(map(quoted, table.names))
    with pipe.mysql.cursor() as cursor:
        for first in range(0, len(rows), 500):
            some = rows[first : first + 500]
            marks = ", ".join(["(" + ", ".join(["%s"] * len(table.names)) + ")"] * len(some))
            into = f"insert ignore into {quoted(table.name)} ({names}) values ".replace("%", "%%")
            cursor.execute(into + marks, [value for row in some for value in row])


def change(pipe: Pipe, table: RandomTable) -> None:
    """New rows, changed rows, changed keys, deleted and made again rows."""
    insert(pipe, table, table.streamed)
    name, names = quoted(table.name), [quoted(n) for n in table.names]
    shifted = ", ".join(f"{n} = default({n})" for n in names[table.key : table.key + 1])
    pipe.run(f"update {name} set {shifted}, touched = 2 limit 1")
    if table.key:
        first = names[0]
        if table.definitions[0].startswith(("varchar(30)", "char")):
            pipe.run(f"update ignore {name} set {first} = upper({first})", f"update ignore {name} set {first} = "
                     f"concat(trim({first}), ' ') limit 2")
        for each, kind in zip(names[: table.key], table.definitions, strict=False):
            if "int" in kind:
                pipe.run(f"update ignore {name} set {each} = if({each} > 0, {each} - 1, {each} + 1) limit 2")
        pipe.run(
            f"create temporary table again as select * from {name} limit 2", "begin", f"delete from {name} limit 2",
            f"insert ignore into {name} select * from again", "commit", "drop temporary table again",
        )


def image(pipe: Pipe, table: RandomTable) -> Any:
    """The target's rows as its own text, without the column that is touched."""
    columns = ", ".join('"' + n.replace('"', '""').replace("%", "%%") + '"' for n in table.names)
    name = '"' + table.name.replace('"', '""').replace("%", "%%") + '"'
    return sorted(pipe.target.execute(f"select row({columns})::text from {name}", ()).fetchall())


def test_any_value_arrives_by_every_way(world: Pipe, request: pytest.FixtureRequest) -> None:
    flavor = request.node.callspec.params["world"]
    random = drawn(flavor)
    tables = random + character_sets(flavor, every=7 if TABLES < 200 else 1)
    for table in tables:
        make(world, table)
        insert(world, table, table.copied)
    world.run("create table `end` (id int primary key)")
    world.configure()
    world.start()

    copied = {table.name: image(world, table) for table in tables}
    for table in tables:
        world.run(f"update {quoted(table.name)} set touched = 1")
    world.run("insert into `end` values (1)")
    world.arrives("select id from \"end\"", [(1,)])
    changed = []
    for table in tables:
        now = image(world, table)
        if now != copied[table.name]:
            before = copied[table.name]
            lost, new = ([row for row in a if row not in b] for a, b in ((before, now), (now, before)))
            changed.append(f"{table.name} {table.definitions}\n  {lost}\n  {new}")
    assert not changed, "touching a row changed it:\n" + "\n".join(changed)

    for table in random:
        change(world, table)
    world.run("insert into `end` values (2)")
    wait_until(lambda: world.rows('select id from "end" where id = 2'), "the last change")
    report = world.equal()
    assert len(report["tables"]) == len(tables) + 1
    for table in random:
        key = table.names[: table.key]
        found = plain_compare(world.mysql, world.target, table.name, table.name, key)
        assert found.equal, f"{table.name} {table.definitions}: {found}\n{table.copied}\n{table.streamed}"
