"""Tables of the source are altered while the initial copy is under way."""

import logging

import pytest

from cdc_pipelines.replication.connect import ConnectClient
from cdc_pipelines.replication.control.store import ControlStore
from cdc_pipelines.replication.errors import ResyncRequiredError
from cdc_pipelines.replication.operations.runtime import Runtime
from cdc_pipelines.replication.operations.start import copy_chunk, step_copy_all, step_plan
from cdc_pipelines.stack.settings import StackSettings
from tests.e2e.conftest import Pipe, edit

LOG = logging.getLogger("tests.ddl_amid_copy")
TABLES = ("calm", "copied", "planned")
CHANGES = (
    "add column w int default 7", "modify v bigint", "drop column gone", "change name title varchar(20)",
    "add column first_one int first",
)  # fmt: skip


def copied_in_part(pipe: Pipe) -> Runtime:
    """The copy is under way: two of three tables are copied, writers go on, and then two tables are altered."""
    for table in TABLES:
        pipe.run(f"create table {table} (id int primary key, v int, gone int, name varchar(10))",
                 f"insert into {table} values (1, 1, 1, 'a'), (2, 2, 2, 'b')")  # fmt: skip
    pipe.configure()
    rt = Runtime.open(pipe.name, ControlStore.open())
    step_plan(rt, LOG, force_resync=False)
    for table in ("calm", "copied"):
        copy_chunk(rt, LOG, table, 0, lambda chunk: None)
    for table in TABLES:
        pipe.run(f"update {table} set v = 9 where id = 1", f"insert into {table} values (3, 3, 3, 'c')")
    for table in ("copied", "planned"):
        for number, change in enumerate(CHANGES, start=10):
            pipe.run(f"alter table {table} {change}", f"insert into {table} (id, v) values ({number}, 1)")
    return rt


def refused(pipe: Pipe, word: str) -> None:
    done = pipe.cdc("start", pipe.name)
    assert done.code == 2
    assert word in done.stderr


def test_with_an_early_connector_only_altered_tables_are_copied_again(
    pipe: Pipe, stack: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDC_HOME", str(pipe.home))
    edit(pipe.file, copy={"early_connector_minutes": 0})
    with copied_in_part(pipe) as rt:
        kept = pipe.rows("select copied_at from _cdc.chunk where table_name = 'calm'")
        made = rt.connect.config(rt.pipeline.connector_name)
        with pytest.raises(ResyncRequiredError, match="since their copy was planned: planned;"):
            step_copy_all(rt, LOG, on_chunk=lambda chunk: None)
    refused(pipe, "changed since they were configured: copied, planned")
    pipe.configure()
    pipe.start()
    assert pipe.rows("select copied_at from _cdc.chunk where table_name = 'calm'") == kept, "copied again"
    assert made == ConnectClient(stack.connect_url).config(pipe.status()["config"]["connector_name"]), "made anew"
    pipe.run("insert into copied (id, title) values (100, 'late')", "update calm set v = 100",
             "alter table planned add column later int", "update planned set later = id")  # fmt: skip
    pipe.arrives("select count(*), sum(later) from planned", [(8, 1 + 2 + 3 + 10 + 11 + 12 + 13 + 14)])
    pipe.equal()


def test_without_one_nothing_goes_on_by_old_definitions(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_HOME", str(pipe.home))
    with copied_in_part(pipe):
        pass
    refused(pipe, "changed since they were configured: copied, planned")
    pipe.configure()
    refused(pipe, f"cdc start {pipe.name} --force-resync")
    assert pipe.rows("select id from copied") == [(1,), (2,)]
