"""Online schema change tools: a table beside the old one, filled by triggers, and a swap of names."""

import threading
from pathlib import Path

import pytest

from cdc_pipelines.stack.settings import StackSettings
from tests.conftest import mysql_connection
from tests.e2e.conftest import Pipe, wait_until
from tests.percona import alter_online
from tests.plain_compare import plain_compare


@pytest.mark.parametrize("shared", ["mariadb"], indirect=True)
def test_percona_s_tool_under_writes_ends_equal(shared: Pipe, stack: StackSettings, tmp_path: Path) -> None:
    pipe, database = shared, shared.mysql.db.decode()
    pipe.run("create table t (id int primary key, v varchar(10), w int)", "insert into t values (1, 'a', 0)")
    pipe.run(*[f"insert into t select id + {1 << n}, v, {n} from t" for n in range(12)])
    pipe.configure()
    pipe.start()
    stop = threading.Event()

    def write() -> None:
        with mysql_connection(stack.mariadb, database) as connection, connection.cursor() as cursor:
            step = 0
            while not stop.wait(0.01):
                step += 1
                cursor.execute("update t set v = %s where id = %s", (f"w{step}", 1 + step * 7 % 4096))
                cursor.execute("replace into t (id, v) values (%s, 'new')", (5000 + step,))
                cursor.execute("delete from t where id = %s", (1 + step * 13 % 4096,))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        alter_online(stack.mariadb, database, "t", "add column c int not null default 5 first, drop column w, "
                     "modify v varchar(30)", tmp_path)  # fmt: skip
    finally:
        stop.set()
        writer.join()
    pipe.run("insert into t (id, v) values (9999999, 'thirty characters are in order')")
    # The tool's own table comes and goes; what lists the pipeline's tables hears of it a moment later.
    wait_until(lambda: pipe.status()["statistics"]["tables_enabled"] == 1, "the tool's table to be gone")
    pipe.arrives("select count(*) from t where id = 9999999", [(1,)])
    pipe.equal()
    assert plain_compare(pipe.mysql, pipe.target, "t", "t", ["id"]).equal
    assert pipe.rows("select table_name from _cdc.mapped_table") == [("t",)]
    kinds = [each["kind"] for each in pipe.ok("schema-changes", "--json").json]
    assert kinds[:3] == ["drop_table", "rename_table", "rename_table"]
