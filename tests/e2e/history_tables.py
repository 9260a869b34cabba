"""Tables whose versions are kept, for the tests of histories.

`item`: one of its columns is not replicated. `word`: keyed by a text, names of its own. `person`: a filter, shapes of
columns, added ones. `bulk`: for transactions of many rows. `plain`: all rows as they are.
"""

from typing import Any

from tests.e2e.conftest import Pipe, edit

SCHEMA = (
    "create table item (id int primary key, name varchar(20) not null, price decimal(8,2), hidden int, "
    "unique key name (name))",
    "create table word (w varchar(20) primary key, n int)",
    "create table person (id int primary key, mail varchar(40), state varchar(9))",
    "create table bulk (id int primary key, v int)",
    "create table plain (id int primary key)",
    "insert into item values (1, 'a', 1, 0), (2, 'b', 2, 0), (3, 'c', 3, 0)",
    "insert into word values ('one', 1), ('two', 2)",
    "insert into person values (1, 'a@b.c', 'in'), (2, 'd@e.f', 'out')",
    "insert into plain values (1)",
)
NAMES = {"valid_from_column": "since", "valid_to_column": "until %", "version_column": "nr"}
SHAPE: dict[str, Any] = {
    "item": {"history": True},
    "word": {"history": True} | NAMES,
    "person": {
        "history": True, "where": "state = 'in'", "columns": {"mail": {"hash": "sha256"}},
        "add": {"_op": {"from": "operation"}, "origin": {"value": "crm"}},
    },
    "bulk": {"history": True},
}
TABLES = [{"source": "item", "columns": ["id", "name", "price"]}, "word", "person", "bulk", "plain"]
ITEMS = "select id, _version, name, price::text, _valid_to is null from item order by id, _version"
WORDS = 'select w, nr, n, "until %" is null from word order by w, nr'
ALL = {
    "item": "select * from item order by id, _version", "word": "select * from word order by w, nr",
    "person": "select * from person order by id, _version", "bulk": "select * from bulk order by id, _version",
}


def started(pipe: Pipe, **sections: Any) -> Pipe:
    """With `sections` of its file changed."""
    edit(pipe.file, tables=TABLES, shape=SHAPE, **sections)
    pipe.run(*SCHEMA)
    pipe.configure()
    pipe.start()
    return pipe


def comes_up(pipe: Pipe) -> None:
    """What was written until now has been applied."""
    pipe.run("insert into plain select max(id) + 1 from plain")
    pipe.arrives("select max(id) from plain", pipe.source_rows("select max(id) from plain"))


def everything(pipe: Pipe) -> dict[str, list[tuple[Any, ...]]]:
    return {table: pipe.rows(query) for table, query in ALL.items()}
