"""What the source's engine does by itself or in two steps: cascading foreign keys, XA transactions."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from cdc_pipelines.stack.settings import StackSettings
from tests.conftest import CommandResult
from tests.e2e.conftest import Pipe
from tests.e2e.own_source import OwnPipe, own_pipe
from tests.e2e.pipeline_parts import resync_mends, stops


def test_cascaded_changes_arrive_where_the_server_logs_them(pipe: Pipe) -> None:
    """MySQL from 9.6 on, by default."""
    pipe.run(
        "create table parent (id int primary key)",
        "create table child (id int primary key, p int, "
        "foreign key (p) references parent (id) on delete cascade on update cascade)",
        "create table orphan (id int primary key, p int, foreign key (p) references parent (id) on delete set null)",
        "insert into parent values (1), (2), (3)",
        "insert into child values (10, 1), (11, 1), (20, 2)", "insert into orphan values (10, 1), (30, 3)",
    )
    pipe.configure()
    pipe.start()
    pipe.run("delete from parent where id = 1", "update parent set id = 5 where id = 2")
    pipe.arrives("select id, p from child order by id", [(20, 5)])
    pipe.arrives("select id, p from orphan order by id", [(10, None), (30, 3)])
    pipe.equal()


@pytest.mark.parametrize(("kind", "end"), [("gtid", "commit"), ("plain", "one phase"), ("mariadb", "rollback")])
def test_an_xa_transaction_on_a_replicated_table_stops_the_stream(
    kind: str, end: str, stack: StackSettings, cdc: Callable[..., CommandResult], cdc_home: Path,
    pipeline_file: Callable[..., Path], target_database: str, target: psycopg.Connection,
) -> None:
    """Its rows come when it is prepared, and nothing says whether it is committed. On other tables it does no harm."""
    with own_pipe(kind, stack, cdc, cdc_home, pipeline_file, target_database, target) as pipe:
        pipe.run("create table t (id int primary key, v varchar(20))", "insert into t values (1, 'a')",
                 "create table other (id int primary key)")
        text = pipe.file.read_text()
        pipe.file.write_text(text + "tables: [t]\n")
        pipe.configure()
        pipe.start()
        xa(pipe, end, "insert into other values (1), (2)")
        pipe.run("insert into t values (2, 'b')")
        pipe.arrives("select id from t order by id", [(1,), (2,)])
        xa(pipe, end, "insert into t values (3, 'c')", "insert into t values (4, 'd')")
        pipe.run("insert into t values (5, 'e')")
        stops(pipe, "XA transaction", f"cdc start {pipe.name} --force-resync")
        assert pipe.rows("select id from t order by id") == [(1,), (2,)]
        if kind == "gtid":
            resync_mends(pipe, refuses=False)


def xa(pipe: OwnPipe, end: str, *changes: str) -> None:
    ending = ["xa commit 'x' one phase"] if end == "one phase" else ["xa prepare 'x'", f"xa {end} 'x'"]
    pipe.run("xa start 'x'", *changes, "xa end 'x'", *ending)
